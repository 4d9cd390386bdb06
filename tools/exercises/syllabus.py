"""Write the tables of the instructor's guide: python -m tools.exercises.syllabus [--measure [slug ...]]

What each chapter needs and costs, what each assignment costs, and two courses made of them, into book/instructors.md
between its `syllabus` marks. Costs of chapters come from their cost boxes; --measure runs the solved assignments (all,
or those named) on one thread and keeps seconds and pace in notebooks/exercises/costs.json, with a hash of the code.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from typing import NamedTuple

from tools import chapters, costs
from tools.exercises import source

GUIDE = chapters.ROOT / "book" / "instructors.md"
COSTS = source.FOLDER / "costs.json"
MARKS = re.compile(r"(<!-- syllabus: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.S)
PAGE = 130          # words a minute: prose with formulas, slower than the 200 to 250 of plain text
CODE = 6            # lines of code a minute
LIMIT = 10.0        # seconds that a solved assignment may take on one thread, at pace 1
SPACE = "\u00a0"    # between a number and its unit, where no line may break
SIX = (
    ("What a generative model is; one thing after another", ("01", "02")),
    ("Attention", ("04",)),
    ("Codes", ("09",)),
    ("Adversaries", ("11",)),
    ("Diffusion", ("16",)),
    ("Flow matching, and looking back", ("15",)),
)
TWELVE = (
    ("What a generative model is", ("01",)),
    ("A state and its gates", ("02",)),
    ("Pixels and sound, one at a time", ("03",)),
    ("Attention", ("04",)),
    ("Reading and rewriting", ("05", "06")),
    ("Pictures as sentences", ("07",)),
    ("Codes, continuous and discrete", ("09", "10")),
    ("Adversaries", ("11",)),
    ("Styles and translation", ("12", "13")),
    ("Flows", ("14",)),
    ("Diffusion", ("16",)),
    ("Flow matching; the families side by side", ("15", "21")),
)


class Chapter(NamedTuple):
    slug: str
    title: str
    needs: tuple        # numbers of chapters
    minutes: float      # to read, at PAGE and CODE
    seconds: float      # to run, QUICK, one thread, at pace 1
    gigabytes: float


def text_hash(slug):
    """Hash of what --measure runs: the code of the public notebook, its setup cell left out."""
    nb = chapters.read(source.FOLDER / slug / f"{slug}.ipynb")
    code = [c.source for c in nb.cells if c.cell_type == "code" and "setup" not in chapters.tags(c)]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:12]


def measure(slug):
    """{"seconds", "pace", "code", "hardware"} of the solved assignment, run from top to bottom on one thread."""
    nb = source.render(chapters.read(source.FOLDER / slug / f"{slug}.ipynb"), slug)
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "code")
    before, started = costs.yardstick(), time.monotonic()
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=chapters.environment(),
                          cwd=chapters.ROOT)
    seconds = time.monotonic() - started
    if done.returncode or "not yet" in done.stdout:
        raise ValueError(f"{slug}: its own solutions fail:\n{done.stdout}{done.stderr}")
    pace = (before + costs.yardstick()) / 2 / costs.YARDSTICK
    return {"seconds": round(seconds, 1), "pace": round(pace, 2), "code": text_hash(slug), "hardware": costs.hardware()}


def stored():
    """{slug: what --measure found}."""
    return json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.exists() else {}


def chapter(path):
    """A chapter's line. Raises ValueError when its first cell does not say what it needs."""
    nb = chapters.read(path)
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    needs = re.search(r"^\*\*Needs\*\*: (.*?)\.?(?: \(Chapters .*planned.*)?$", text, re.M)
    if not needs:
        raise ValueError(f"{path.name}: no line '**Needs**: ...'")
    numbers = re.findall(r"chapters? ((?:\d+(?:, | and )?)+)", needs[1])
    words = len(re.findall(r"\w+", re.sub(r"<details>.*?</details>", "", text, flags=re.S)))
    lines = sum(len(cell.source.splitlines()) for cell in nb.cells if cell.cell_type == "code")
    box = costs.parse(chapters.tagged(nb, "cost")[0].source)
    return Chapter(path.stem, chapters.headings(nb)[0][1].split(":")[0],
                   tuple(f"{int(n):02d}" for found in numbers for n in re.findall(r"\d+", found)),
                   words / PAGE + lines / CODE, box.paced, box.gigabytes)


def known():
    """{number: Chapter} of the chapters that exist."""
    return {path.stem[:2]: chapter(path) for path in chapters.paths()}


def hours(minutes):
    return f"{minutes / 60:.1f}{SPACE}h"


def chapter_table():
    """Every chapter: what it needs, reads and runs in, and its assignment."""
    yield "| Chapter | Needs | To read | To run | Memory | Assignment | Points | Its solution runs in |"
    yield "|---|---|---|---|---|---|---|---|"
    found = stored()
    for number, c in known().items():
        row = [f"[{number} {c.title}](../notebooks/{c.slug}.ipynb)", ", ".join(c.needs) or "none", hours(c.minutes),
               f"{c.seconds:.0f}{SPACE}s", f"{c.gigabytes:.1f}{SPACE}GB"]
        if c.slug in found:
            tasks = source.tasks(chapters.read(source.FOLDER / c.slug / f"{c.slug}.ipynb"))
            seconds = found[c.slug]["seconds"] / found[c.slug]["pace"]
            row += [f"[{len(tasks)} tasks](../notebooks/assignments/{c.slug}.ipynb)",
                    f"{sum(t.points for t in tasks):g}", f"{seconds:.0f}{SPACE}s"]
        else:
            row += ["none", "", ""]
        yield f"| {' | '.join(row)} |"


def course_table(weeks):
    """One course: a week in a line."""
    yield "| Week | Theme | Chapters | To read | Hand in |"
    yield "|---|---|---|---|---|"
    found, chapters_known = stored(), known()
    for week, (theme, numbers) in enumerate(weeks, start=1):
        these = [chapters_known[n] for n in numbers]
        links = ", ".join(f"[{c.slug[:2]} {c.title}](../notebooks/{c.slug}.ipynb)" for c in these)
        work = ", ".join(f"[{c.slug[:2]}](../notebooks/assignments/{c.slug}.ipynb)" for c in these if c.slug in found)
        yield f"| {week} | {theme} | {links} | {hours(sum(c.minutes for c in these))} | {work} |"


def written(text):
    """The guide's text with its tables as they are now. Raises ValueError at an unknown mark."""
    made = {"chapters": chapter_table, "six": lambda: course_table(SIX), "twelve": lambda: course_table(TWELVE)}

    def fill(match):
        if match["name"] not in made:
            raise ValueError(f"{GUIDE.name}: unknown table {match['name']!r}; there are {', '.join(made)}")
        return match[1] + "\n" + "\n".join(made[match["name"]]()) + "\n\n" + match[3]

    return MARKS.sub(fill, text)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs="*", metavar="slug", help="run the solved assignments first")
    args = parser.parse_args(argv)
    if args.measure is not None:
        for slug in args.measure or source.slugs():
            found = measure(slug)
            COSTS.write_text(json.dumps(stored() | {slug: found}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            print(f"{slug}: {found['seconds']} s at pace {found['pace']}", flush=True)
    GUIDE.write_text(written(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

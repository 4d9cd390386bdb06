"""Measure the parts of a long results script once: what is finished is kept, and measured again only when its code is.

A script in tools/results is cut by lines `# ---- names: what it is` into sections; the names, parted by commas, are the
first words of the parts that the section measures. A section headed `shared` belongs to every part.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from genai_utils.results import save_results
from tools import chapters

FOLDER = Path("runs")


def code(name: str, script: Path, sources: Iterable[str]) -> str:
    """Return the hash of all that a part depends on: its section of the script, what is shared, and its sources.

    Args:
        name: of the part; its first word is the section's.
        script: the file that measures it.
        sources: other files, from the root of the repository.
    Raises:
        ValueError: the script has no such section.
    """
    kind = name.split()[0]
    sections = [(text.partition("\n")[0].partition(":")[0].split(", "), text)
                for text in script.read_text().split("\n# ---- ")]  # fmt: skip
    if not any(kind in names for names, _ in sections):
        raise ValueError(f"{script.name} has no section for {name!r}: head it '# ---- {kind}: what it is'")
    own = "".join(text for names, text in sections if kind in names or names == ["shared"])
    files = (Path(chapters.ROOT / source).read_bytes() for source in sources)
    return hashlib.sha256(b"".join([own.encode(), *files])).hexdigest()


def measure(
    plan: Mapping[str, Callable[[], dict]],
    script: Path,
    sources: Mapping[str, Iterable[str]],
    kept_in: Path,
    wanted: Iterable[str] = (),
) -> dict[str, dict]:
    """Return what was found by part, measuring those that are not kept or whose code has changed.

    Args:
        plan: name -> function of every part, in the order of measuring.
        script: the file that measures them.
        sources: first word of a part's name -> files that it depends on.
        kept_in: the file of finished parts, read and written; several processes may add to it.
        wanted: first words of the parts to measure; none: all. Others are returned only if they are kept.
    """
    wanted = set(wanted)
    codes = {name: code(name, script, sources[name.split()[0]]) for name in plan}  # now: of the code that runs
    done = {}
    for name, run in plan.items():
        kept = _read(kept_in)
        if kept.get(name, {}).get("code") == codes[name]:
            done[name] = kept[name]["found"]
        elif not wanted or name.split()[0] in wanted:
            done[name] = run()
            _write(kept_in, _read(kept_in) | {name: {"code": codes[name], "found": done[name]}})
            print(name, str(done[name])[:160], flush=True)
    return done


def main(
    number: str,
    plan: Mapping[str, Callable[[], dict]],
    gather: Callable[[dict], dict],
    script: str,
    sources: Mapping[str, Iterable[str]],
    *,
    also: Iterable[str] = (),
    seeds: Iterable[int],
    libraries: tuple[str, ...],
) -> None:
    """Measure the parts named on the command line; none named: all, and write genai_utils/results/<number>.json.

    Args:
        number: of the chapter, such as "02".
        plan: as in `measure`.
        gather: makes of what was found the values as the chapter reads them.
        script: `__file__` of the script.
        sources: as in `measure`.
        also: further files that `gather` reads.
        seeds: that the values rest on.
        libraries: whose versions matter.
    """
    import torch

    torch.set_num_threads(1)
    path, wanted = Path(script), sys.argv[1:]
    done = measure(plan, path, sources, FOLDER / f"results-{number}.json", wanted)
    if not wanted:
        every = {source for files in sources.values() for source in files} | {*also, f"tools/results/{path.name}"}
        save_results(number, gather(done), sources=sorted(every), command=f"python -m tools.results.{path.stem}",
                     seeds=seeds, libraries=libraries)  # fmt: skip


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def _write(path: Path, kept: Mapping) -> None:
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")  # an interruption must not cost what is kept
    temporary.write_text(json.dumps(kept))
    temporary.replace(path)

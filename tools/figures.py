"""Where the figures in a chapter's prose come from, and whether those that were measured are still so.

    python -m tools.figures [NN ...]      what is wrong, chapter by chapter

tests/figures/NN.txt holds one line for each piece of chapter NN's prose that states figures: decimal numbers, shares in
per cent, and numbers of four digits or more (years apart). A line begins with the kind of evidence:

    measured: after 400 steps it costs {02:lstm.at.400.nats.mean|.2f} nats
    measured: {02:gru.seconds / 02:lstm.seconds|.1f} times as long
    printed: 0.54 of 1.39 nats
    given: a dropout of 0.1

- `measured`: the braces hold paths into the stored results, written as ext/measured.py says; `+`, `-`, `*` and `/`
  between paths, or a path and a number, reckon with what is stored before it is rounded, from left to right.
- `printed`: the chapter prints or draws it when it runs, and stores it nowhere: look at the built page.
- `given`: a setting, a definition, arithmetic of the text, or somebody's figure with its citation.

The line, with the numbers put in, must stand in the prose once, word for word; line breaks count as spaces, `−` as `-`,
and `85 %` as `85%`. Every figure of the prose must stand in some line. Formulas of more than a number, code, links and
cost boxes are left out.
"""

import argparse
import operator
import re
import sys

from ext.measured import measured
from tools import chapters

FOLDER = chapters.ROOT / "tests" / "figures"
KINDS = ("measured", "printed", "given")
YEAR = r"(?:19\d\d|20[0-2]\d)\b"
NUMBER = rf"\d[\d,]*\.\d+|\d{{1,3}}(?:[, ]\d{{3}})+|(?!{YEAR})\d{{4,}}|\d+%"
FIGURE = re.compile(rf"(?<![\w.,])(?<![A-Za-z]-)-?(?:{NUMBER})(?!\d|\.\d)")
SILENT = re.compile(r"\$\$.*?\$\$|\$[^$]+\$|```.*?```|\{[\w:]+\}`[^`]*`|`[^`]*`|\]\([^)]*\)|https?://\S+", re.S)
BARE = re.compile(r"\$-?[\d.,]+\$")
BRACES = re.compile(r"\{([^{}]+)\}")
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
TERM = re.compile(r"(?P<path>[a-z0-9_]+:\S.*)|\d+(\.\d+)?")


def plain(text):
    """Text as lines are compared: one kind of minus, one kind of space (a no-break one too)."""
    return re.sub(r"\s+", " ", text.replace("\N{MINUS SIGN}", "-")).replace(" %", "%")


def prose(nb):
    """(what a reader reads, the same with formulas, code and links blanked), cost boxes left out."""
    cells = [c for c in nb.cells if c.cell_type == "markdown" and "cost" not in chapters.tags(c)]
    read = plain("\n\n".join(cell.source for cell in cells))
    return read, SILENT.sub(lambda found: found[0] if BARE.fullmatch(found[0]) else " " * len(found[0]), read)


def reckon(inside, root):
    """The formatted number that the inside of a pair of braces stands for.

    Raises:
        ValueError: a path, format or sign that is wrong.
    """
    terms, bar, spec = inside.rpartition("|") if "|" in inside else (inside, "", "")
    terms = re.split(r" ([-+*/]) ", terms.strip())
    if len(terms) == 1:
        return measured(inside, root)
    value, sign = 0.0, "+"
    for i, term in enumerate(terms):
        if i % 2:
            sign = term
            continue
        if not (found := TERM.fullmatch(term)):
            raise ValueError(f"write paths and numbers with signs between them, got {term!r}")
        number = float(measured(f"{term}|.17g", root) if found["path"] else term)
        if sign == "/" and not number:
            raise ValueError(f"{term} is 0, and nothing is divided by it")
        value = SIGNS[sign](value, number)
    try:
        return format(value, spec.strip() or "-")
    except ValueError as error:
        raise ValueError(f"{inside!r}: {error}") from None


def wrong(nb, lines, root=chapters.ROOT):
    """What is wrong with a chapter and the lines of its file, each as one sentence."""
    read, heard = prose(nb)
    faults, covered = [], [False] * len(read)
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, colon, text = line.partition(":")
        if kind not in KINDS or not text.strip():
            faults.append(f"line {number}: begin with one of {', '.join(KINDS)} and a colon, got {line!r}")
            continue
        if (kind == "measured") != bool(BRACES.search(text)):
            faults.append(f"line {number}: measured lines hold paths in braces and the others none, got {line!r}")
            continue
        try:
            shown = plain(BRACES.sub(lambda found: reckon(found[1], root), text)).strip()
        except ValueError as error:
            faults.append(f"line {number}: {error}")
            continue
        places = [found.start() for found in re.finditer(re.escape(shown), read)]
        if len(places) != 1:
            how_often = f"says {len(places)} times" if places else "does not say"
            faults.append(f"line {number}: the prose {how_often} {shown!r}")
        elif not re.search(r"\d", shown):
            faults.append(f"line {number}: no figure in {shown!r}")
        for place in places:
            covered[place : place + len(shown)] = [True] * len(shown)
    for found in FIGURE.finditer(heard):
        if not all(covered[found.start() : found.end()]):
            around = read[max(0, found.start() - 50) : found.end() + 30]
            faults.append(f"no line says where {found[0]} comes from: ...{around}...")
    return faults


def lines_of(path):
    """The lines of the file that belongs to a chapter; none if there is no such file."""
    file = FOLDER / f"{path.name[:2]}.txt"
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", metavar="NN", help="numbers of chapters; all of them by default")
    chosen, total = parser.parse_args(argv).chapters, 0
    if unknown := sorted(set(chosen) - {path.name[:2] for path in chapters.paths()}):
        parser.error(f"no chapter {', '.join(unknown)}")
    for path in chapters.paths():
        if not chosen or path.name[:2] in chosen:
            faults = wrong(chapters.read(path), lines_of(path))
            total += len(faults)
            print(f"{path.name}: {len(faults)} wrong", *faults, sep="\n- ")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())

"""What every chapter must be: one function per rule, each returning the list of what is wrong."""

import ast
import re
from functools import cache
from typing import NamedTuple

from pybtex.database import parse_file

from tools import chapters, costs

ALT_LENGTH = 30
CITE = re.compile(r"\{cite(?::[a-z]+)?\}`([^`]+)`")
HEADING_OR_SOLUTION = re.compile(
    r"^### (?P<title>Exercise .*)$"
    r"|<details>(?s:(?!</details>).)*?^```python\n(?P<solution>(?s:.*?))^```\s*</details>", re.M)
EXERCISE = re.compile(r"Exercise (?P<number>\d+) \((?P<kind>warm-up|build|open)\): \S.*")


@cache
def bibliography():
    return set(parse_file(chapters.ROOT / "book" / "references.bib").entries)


def sections(nb, path):
    """One H1, first; the H2 sections of STYLE.md section 7, in order; H3 below them and nothing deeper."""
    found, heads = [], chapters.headings(nb)
    if [level for level, _ in heads].count(1) != 1 or not heads or heads[0][0] != 1:
        found.append("needs exactly one '# Title', before every other heading")
    titles = [text for level, text in heads if level == 2]
    if titles != list(chapters.SECTIONS):
        missing = [s for s in chapters.SECTIONS if s not in titles]
        extra = [t for t in titles if t not in chapters.SECTIONS]
        found.append(f"sections must be {list(chapters.SECTIONS)}; missing {missing}, unknown {extra}, got {titles}")
    found += [f"'{text}' is a heading of level {level}; 3 is the deepest" for level, text in heads if level > 3]
    return found


def opening(nb, path):
    """The first four cells: title with what the reader will be able to do, cost box, setup, parameters."""
    if len(nb.cells) < 4:
        return ["needs at least title, cost box, setup and parameters"]
    found, (title, cost, setup, parameters) = [], nb.cells[:4]
    if title.cell_type != "markdown" or "**You will be able to**" not in title.source:
        found.append("cell 0 must be the title with '**You will be able to**'")
    else:
        bullets = re.findall(r"^\s*[-*] ", title.source.split("**You will be able to**")[1], re.M)
        if not 3 <= len(bullets) <= 5:
            found.append(f"'You will be able to' wants 3 to 5 bullets, has {len(bullets)}")
    for number, cell, kind, tag in ((1, cost, "markdown", "cost"), (2, setup, "code", "setup"),
                                    (3, parameters, "code", "parameters")):
        if cell.cell_type != kind or tag not in chapters.tags(cell):
            found.append(f"cell {number} must be {kind} with the tag '{tag}'")
    names = {node.id for node in ast.walk(ast.parse(parameters.source)) if isinstance(node, ast.Name)}
    if parameters.cell_type == "code" and not {"QUICK", "SEED", "quick_mode"} <= names:
        found.append("the parameters cell must set QUICK = quick_mode() and SEED")
    return found


def sizes(nb, path):
    """At most 60 cells, 62 with a live model; code cells of at most 25 lines and 88 columns (setup: 10 lines)."""
    most = 60 + 2 * any("run_live(" in cell.source for cell in nb.cells if cell.cell_type == "code")
    found = [f"{len(nb.cells)} cells, {most} are allowed"] if len(nb.cells) > most else []
    for index, cell in enumerate(nb.cells):
        if cell.cell_type == "code":
            lines, limit = cell.source.splitlines(), 10 if "setup" in chapters.tags(cell) else 25
            if len(lines) > limit:
                found.append(f"cell {index} has {len(lines)} lines, {limit} are allowed")
            found += [f"cell {index}, line {n} has {len(line)} columns, 88 are allowed"
                      for n, line in enumerate(lines, 1) if len(line) > 88]
    return found


def cost_box(nb, path):
    """A cost box that the measuring command wrote for this very code, within the limits."""
    boxes = chapters.tagged(nb, "cost")
    if len(boxes) != 1:
        return [f"exactly one cell must carry the tag 'cost', found {len(boxes)}"]
    cure = f"; cure: make costs CHAPTER={path.name[:2]}"
    try:
        cost = costs.parse(boxes[0].source)
    except ValueError as error:
        return [f"{error}{cure}"]
    found = []
    if cost.code != chapters.code_hash(nb):
        found.append(f"cost box is of code {cost.code}, the code now is {chapters.code_hash(nb)}{cure}")
    if cost.paced > 40:
        found.append(f"QUICK takes {cost.paced:.1f} s at pace 1, 40 are allowed")
    if float(cost.flops) > 5e15:
        found.append(f"full scale takes {cost.flops} FLOPs, 5e15 are allowed")
    return found


def references(nb, path):
    """Citations that resolve in book/references.bib, and at least one in the last section."""
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    keys = {key.strip() for group in CITE.findall(text) for key in group.split(",")}
    found = [f"{{cite}}`{key}` is not in book/references.bib" for key in sorted(keys - bibliography())]
    if not CITE.search(text.rpartition("## References")[2]):
        found.append("the section References cites nothing")
    return found


def widgets(nb, path):
    """At least one widget: a call of play_..., explore_... or fit_..., imported from genai_utils.widgets."""
    names = {name for _, name, _ in chapters.calls(nb) if name}
    views = {n for n in names if re.match(r"(play|explore|fit)_", n)} & widget_names(nb)
    return [] if views else ["no widget: call one of genai_utils.widgets' play_..., explore_..., fit_..."]


def widget_names(nb):
    """Names that the chapter imports from genai_utils.widgets."""
    found = set()
    for cell in nb.cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genai_utils.widgets"):
                    found |= {alias.asname or alias.name for alias in node.names}
    return found


class Exercise(NamedTuple):
    number: int
    kind: str
    starter: str
    check: str
    solution: str


def exercises(nb, path):
    """Three exercises or more, each with starter, check and folded solution; an open question may go without."""
    heads = [text for level, text in chapters.headings(nb) if level == 3 and text.startswith("Exercise")]
    wrong = [f"'{text}' must read 'Exercise {n} (warm-up|build|open): what to do'" for n, text in enumerate(heads, 1)
             if not (match := EXERCISE.fullmatch(text)) or int(match["number"]) != n]
    if wrong:
        return wrong
    try:
        found = list(read_exercises(nb))
    except ValueError as error:
        return [str(error)]
    if len(found) < 3:
        return [f"{len(found)} exercises with starter, check and solution; 3 are the least"]
    for exercise in found:
        if "NotImplementedError" not in exercise.starter:
            wrong.append(f"the starter of exercise {exercise.number} must raise NotImplementedError")
        if f'@check("exercise {exercise.number}")' not in exercise.check:
            wrong.append(f'the check of exercise {exercise.number} must use @check("exercise {exercise.number}")')
    return wrong


def read_exercises(nb):
    """Yield each Exercise that has a starter; raises ValueError when one of its parts is missing."""
    title, parts = None, {}

    def close(solution=None):
        """End the exercise that is open: complete, or a question without any part."""
        if title is None or (not parts and solution is None and title["kind"] == "open"):
            return
        if parts.keys() < {"exercise", "check"} or solution is None:
            has = sorted(parts) + ["solution"] * (solution is not None)
            raise ValueError(f"'{title[0]}' is incomplete: of exercise, check and solution it has {has or 'nothing'}")
        yield Exercise(int(title["number"]), title["kind"], parts["exercise"], parts["check"], solution)

    for cell in nb.cells:
        if cell.cell_type == "code":
            for tag in {"exercise", "check"} & set(chapters.tags(cell)):
                if title is None:
                    raise ValueError(f"a cell tagged '{tag}' stands outside an exercise")
                parts[tag] = cell.source
            continue
        for event in HEADING_OR_SOLUTION.finditer(cell.source):   # one cell may hold a solution and the next heading
            if event["solution"] is not None:
                yield from close(event["solution"])
                title, parts = None, {}
            else:
                yield from close()
                title, parts = EXERCISE.fullmatch(event["title"].strip()), {}
    yield from close()


def in_toc(nb, path):
    """The chapter stands in _toc.yml."""
    return [] if f"notebooks/{path.stem}" in chapters.toc() else [f"_toc.yml does not name notebooks/{path.stem}"]


def alt_texts(nb):
    """(where, alt text or None) of every picture the notebook shows by show(...) or by markdown."""
    found = []
    for index, _, call in chapters.calls(nb):
        if isinstance(call.func, ast.Name) and call.func.id == "show":
            value = next((k.value for k in call.keywords if k.arg == "alt"), None)
            parts = value.values if isinstance(value, ast.JoinedStr) else [value]
            texts = [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]
            found.append((f"cell {index}", "".join(texts) or None))
    for index, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown":
            found += [(f"cell {index}", alt or None) for alt in re.findall(r"!\[([^\]]*)\]\(", cell.source)]
            for tag in re.findall(r"<img\b[^>]*>", cell.source):
                alt = re.search(r'\balt="([^"]*)"', tag)
                found.append((f"cell {index}", alt[1] if alt else None))
    return found


def pictures(nb, path):
    """Every picture has an alt text of 30 characters or more, written in the call; none is shown another way."""
    found = []
    for where, alt in alt_texts(nb):
        if alt is None:
            found.append(f"{where}: a picture without alt text, as in show(figure, alt='what is to be seen')")
        elif len(alt) < ALT_LENGTH:
            found.append(f"{where}: alt text {alt!r} is too short; say what is to be seen ({ALT_LENGTH} characters)")
    for index, name, call in chapters.calls(nb):
        if name == "show" and isinstance(call.func, ast.Attribute):
            found.append(f"cell {index}: {ast.unparse(call.func)}() gives no alt text; use show(figure, alt=...)")
    for index, cell in enumerate(nb.cells):
        last = ast.parse(cell.source).body[-1:] if cell.cell_type == "code" else []
        for node in last:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                if getattr(node.value.func, "id", "") in ("image_grid", "imshow", "plot"):
                    found.append(f"cell {index}: wrap {node.value.func.id}(...) in show(..., alt=...)")
    return found


RULES = (sections, opening, sizes, cost_box, references, widgets, exercises, in_toc, pictures)

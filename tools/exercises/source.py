"""The sources of the assignments: where they are, their tasks, what a source must be, and one version of it.

A source is notebooks/exercises/<slug>/<slug>.ipynb, an nbgrader notebook with solutions and hidden tests, and beside it
answers.py, right and wrong answers by which the graders are proved. A folder named by GENAI_PRIVATE_EXERCISES, of the
same layout, goes before.
"""

import ast
import contextlib
import copy
import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from tools import chapters, set_repository
from tools.exercises.fold import fold

FOLDER = chapters.ROOT / "notebooks" / "exercises"
START = Path.cwd()     # what a relative GENAI_PRIVATE_EXERCISES is relative to, wherever a proof runs
COLUMNS = 100           # of a code cell, variants filled in
LINES = 25              # of a code cell that a student reads; a check is folded, and may be longer
NAME = re.compile(r"<<([a-z][a-z0-9_]*)>>")
HEADING = re.compile(r"^## Task (\d+) \((warm-up|build|experiment|open)\): \S.*$", re.M)
TASK_ID = re.compile(r"[a-z][a-z0-9_]*")
TEST_ID = re.compile(r"(?P<task>[a-z][a-z0-9_]*)-test(-[2-9])?")
REGION = {kind: re.compile(rf"^([ \t]*)### BEGIN {kind}[ \t]*\n(.*?)^[ \t]*### END {kind}[ \t]*(?:\n|\Z)", re.M | re.S)
          for kind in ("SOLUTION", "HIDDEN TESTS")}
ANSWER = re.compile(r"^# ---- (?P<head>.*)$", re.M)
HEAD = re.compile(r"(?P<task>[a-z][a-z0-9_]*) (?P<kind>right|wrong|survives): (?P<what>.+?)(?: \| (?P<message>[^|]+))?")


class Task(NamedTuple):
    id: str
    solution: object        # the cell that the student fills in
    check: object           # the visible check cell, or None
    tests: tuple            # the graded cells; an open question's is its solution cell
    points: float
    statement: object       # the markdown cell before the solution

    @property
    def open(self):
        """Whether a person grades it."""
        return self.solution.cell_type == "markdown" or bool(grading(self.solution).get("grade"))


class Answer(NamedTuple):
    task: str
    kind: str               # right, wrong or survives
    what: str               # what is different, the mistake, or the mutant
    message: str            # wrong: words that the student must be told; survives: why it is no error
    text: str               # the functions of the solution cell that differ (see complete), with <<names>>


def private():
    """The folder that GENAI_PRIVATE_EXERCISES names, or None."""
    folder = os.environ.get("GENAI_PRIVATE_EXERCISES")
    return START / folder if folder else None


def folder(slug):
    """Where the assignment's source lives: in the private folder if it is there."""
    if private() and (private() / slug / f"{slug}.ipynb").exists():
        return private() / slug
    return FOLDER / slug


def path(slug):
    return folder(slug) / f"{slug}.ipynb"


def slugs():
    """Every assignment, private ones included, in order. Raises ValueError when the private folder is not there."""
    if private() and not private().is_dir():
        raise ValueError(f"GENAI_PRIVATE_EXERCISES={private()}: no such folder")
    found = {p.stem for place in (FOLDER, private()) if place for p in place.glob("*/*.ipynb")
             if p.stem == p.parent.name}
    return sorted(found)


def read(slug):
    """The source notebook, with variants still open."""
    if not path(slug).exists():
        raise ValueError(f"no assignment {slug!r}; there are {', '.join(slugs()) or 'none'}")
    return chapters.read(path(slug))


def grading(cell):
    """nbgrader's metadata of a cell, or an empty dict."""
    return cell.metadata.get("nbgrader", {})


def tasks(nb):
    """The tasks in order. Raises ValueError when cells do not belong together; see rules for what else is wrong."""
    by_id = {grading(cell)["grade_id"]: cell for cell in nb.cells if grading(cell).get("grade_id")}
    found = []
    for index, cell in enumerate(nb.cells):
        if not grading(cell).get("solution"):
            continue
        name = grading(cell).get("grade_id", "")
        statement = next((c for c in reversed(nb.cells[:index]) if c.cell_type == "markdown"), None)
        if grading(cell).get("grade"):
            tests = (cell,)
        else:
            tests = tuple(c for i, c in by_id.items()
                          if grading(c).get("grade") and (m := TEST_ID.fullmatch(i)) and m["task"] == name)
            if not tests:
                raise ValueError(f"task {name!r} has no graded cell '{name}-test'; add one with points")
        points = sum(float(grading(c).get("points", 0)) for c in tests)
        found.append(Task(name, cell, by_id.get(f"{name}-check"), tests, points, statement))
    return found


def auto(nb):
    """The tasks that a test grades."""
    return [task for task in tasks(nb) if not task.open]


def region(text, kind):
    """What stands between ### BEGIN <kind> and ### END <kind> ('SOLUTION', 'HIDDEN TESTS'); '' without a region."""
    return "".join(match[2] for match in REGION[kind].finditer(text))


def stub(cell):
    """The text that a student gets in place of a solution cell: what nbgrader's generate_assignment writes."""
    if cell.cell_type == "markdown":
        return REGION["SOLUTION"].sub(lambda m: f"{m[1]}YOUR ANSWER HERE\n", cell.source).rstrip("\n")
    return REGION["SOLUTION"].sub(
        lambda m: f"{m[1]}# YOUR CODE HERE\n{m[1]}raise NotImplementedError()\n", cell.source).rstrip("\n")


# ---- variants

def table(nb):
    """{names tied together: [one tuple of texts per choice]} from the notebook's metadata."""
    found = {}
    for names, choices in nb.metadata.get("genai", {}).get("variants", {}).items():
        names = tuple(names.split("|"))
        rows = [tuple(map(str, row)) if isinstance(row, list) else (str(row),) for row in choices]
        if len(rows) < 2 or len(set(rows)) < len(rows) or any(len(row) != len(names) for row in rows):
            raise ValueError(f"variants of {'|'.join(names)!r} must be two or more different choices of "
                             f"{len(names)} text(s) each, got {choices}")
        found[names] = rows
    return found


def n_choices(nb):
    """The largest number of choices that one variant has: seeds that differ in all of them."""
    return max((len(rows) for rows in table(nb).values()), default=1)


def choice(nb, slug, seed):
    """{name: text} of the variants that a seed chooses: 0 the first of each, any other by a hash."""
    found = {}
    for names, rows in table(nb).items():
        digest = hashlib.sha256(f"{seed}/{slug}/{'|'.join(names)}".encode()).digest()
        row = rows[0 if str(seed) == "0" else int.from_bytes(digest[:8], "big") % len(rows)]
        found.update(zip(names, row))
    return found


def fill(text, values, where="text"):
    """Replace every <<name>>. Raises ValueError at a name that the notebook's variants do not have."""
    if unknown := sorted(set(NAME.findall(text)) - values.keys()):
        raise ValueError(f"{where}: <<{unknown[0]}>> is no variant; metadata genai.variants has {sorted(values)}")
    return NAME.sub(lambda m: values[m[1]], text)


def render(nb, slug, seed=0):
    """The notebook of one seed: variants replaced, and folded so that no trace of the others stays. Raises ValueError
    at an unknown or unused name."""
    values = choice(nb, slug, seed)
    used = {name for cell in nb.cells for name in NAME.findall(cell.source)}
    if unused := sorted(values.keys() - used):
        raise ValueError(f"{slug}: variant {unused[0]!r} is used in no cell; write <<{unused[0]}>> or remove it")
    nb = copy.deepcopy(nb)
    for index, cell in enumerate(nb.cells):
        varies = NAME.search(cell.source) is not None
        cell.source = fill(cell.source, values, f"{slug}, cell {index}")
        if varies and cell.cell_type == "code":
            with contextlib.suppress(SyntaxError):      # rules says so
                cell.source = fold(cell.source)
    nb.metadata.pop("genai", None)
    return nb


def varied(nb):
    """Ids of the tasks whose solution and graded tests hold a variant: last year's answer may not fit them."""
    return [task.id for task in auto(nb) if any(NAME.search(cell.source) for cell in task.tests)
            and NAME.search(region(task.solution.source, "SOLUTION"))]


# ---- answers

def read_answers(slug):
    """The Answers beside the source, in order. Raises ValueError at a heading that cannot be read."""
    file = folder(slug) / "answers.py"
    if not file.exists():
        raise ValueError(f"{slug}: answers.py is missing beside the notebook")
    text = file.read_text(encoding="utf-8")
    heads, found = list(ANSWER.finditer(text)), []
    for head, end in zip(heads, [h.start() for h in heads[1:]] + [len(text)]):
        match = HEAD.fullmatch(head["head"].strip())
        if not match or (match["kind"] != "right" and not match["message"]):
            raise ValueError(f"{slug}/answers.py: cannot read '# ---- {head['head']}'; write '<task> right: <what>', "
                             "'<task> wrong: <the mistake> | <words of the message>' or "
                             "'<task> survives: <mutant> | <why it is no error>'")
        found.append(Answer(match["task"], match["kind"], match["what"].strip(), (match["message"] or "").strip(),
                            text[head.end():end].strip("\n")))
    return found


def complete(text, solution):
    """The whole cell of an answer: the functions of the solution that the answer does not define, then its own text."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    own = {name for node in tree.body for name in (
        [node.name] if hasattr(node, "name") else [n.id for n in ast.walk(node) if isinstance(n, ast.Name)])}
    kept = [ast.get_source_segment(solution, node) for node in ast.parse(solution).body
            if isinstance(node, ast.FunctionDef) and node.name not in own]
    return "\n\n\n".join([*kept, text])


# ---- rules

def rules(nb, slug):
    """What is wrong with a source and its answers: one sentence each, naming the cell and the cure."""
    found = []
    for rule in (_opening, _cells, _tasks, _variants, _headings, _answers):
        try:
            found += rule(nb, slug)
        except ValueError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))


def _opening(nb, slug):
    found = []
    if not nb.cells or nb.cells[0].cell_type != "markdown" or not nb.cells[0].source.startswith("# "):
        found.append("cell 0 must be markdown and open with '# Title'")
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    wanted = set_repository.setup_cell(set_repository.address()[0])
    if not code or "setup" not in chapters.tags(code[0]) or code[0].source != wanted:
        found.append("the first code cell must carry the tag 'setup' and be the setup cell of the chapters; "
                     "copy it from any chapter")
    if len(code) < 2 or "parameters" not in chapters.tags(code[1]):
        found.append("the second code cell must carry the tag 'parameters': imports and nothing that takes time")
    return found


def _cells(nb, slug):
    found, seen = [], set()
    values = choice(nb, slug, 0)
    every = [{name: text for names, rows in table(nb).items() for name, text in zip(names, rows[min(k, len(rows) - 1)])}
             for k in range(n_choices(nb))]     # the k-th of each: every choice is in one of them
    for index, cell in enumerate(nb.cells):
        where, meta = f"cell {index}", grading(cell)
        if cell.cell_type == "code":
            if cell.get("outputs") or cell.get("execution_count"):
                found.append(f"{where} holds outputs; clear them")
            try:
                ast.parse(fill(cell.source, values, where))
            except SyntaxError as error:
                found.append(f"{where} is no Python: {error}")
            found += [f"{where}, line {n} has {len(line)} columns, {COLUMNS} are allowed: {line.strip()}"
                      for choices in every for n, line in enumerate(fill(cell.source, choices).splitlines(), 1)
                      if len(line) > COLUMNS]
            if not meta.get("grade") and "check" not in chapters.tags(cell):
                shown = len(stub(cell).splitlines())
                found += [f"{where} shows {shown} lines, {LINES} are allowed: split it"] if shown > LINES else []
        for kind, allowed in (("SOLUTION", meta.get("solution")), ("HIDDEN TESTS", meta.get("grade"))):
            marks = len(re.findall(rf"### (?:BEGIN|END) {kind}", cell.source))
            if marks and not allowed:
                found.append(f"{where} has {kind} marks, but nbgrader's metadata do not remove them: they would leak")
            if marks != 2 * len(REGION[kind].findall(cell.source)):
                found.append(f"{where}: every '### BEGIN {kind}' needs its '### END {kind}', each on a line of its own")
        if not meta:
            continue
        name = meta.get("grade_id", "")
        lacks = {"schema_version", "grade", "solution", "locked", "task", "grade_id", "cell_type"} - meta.keys()
        if lacks or meta.get("schema_version") != 3 or meta.get("cell_type") != cell.cell_type:
            found.append(f"{where} ({name}): nbgrader's metadata must be schema 3; it lacks {sorted(lacks)}")
        if name in seen:
            found.append(f"{where}: grade_id {name!r} is used twice")
        seen.add(name)
        if meta.get("grade") and not float(meta.get("points", 0)) > 0:
            found.append(f"{where} ({name}): a graded cell needs points above 0")
        if not meta.get("solution") and not meta.get("locked"):
            found.append(f"{where} ({name}): set locked to true, so that grading restores the cell")
    return found


def _tasks(nb, slug):
    found, known = [], tasks(nb)
    if not 3 <= len(known) <= 5:
        found.append(f"{len(known)} graded tasks; 3 to 5 are wanted")
    if not any(task.open for task in known):
        found.append("no open question: add a markdown cell with grade and solution true, and a rubric as its solution")
    for task in known:
        if not TASK_ID.fullmatch(task.id):
            found.append(f"grade_id {task.id!r} of a solution cell must be a Python name in small letters")
        hidden = region(task.solution.source, "SOLUTION")
        if not hidden.strip():
            found.append(f"task {task.id}: the solution must stand between ### BEGIN SOLUTION and ### END SOLUTION")
        if task.open:
            if "MARK SCHEME" not in hidden or not re.search(r"\bpoints?\b", hidden):
                found.append(f"task {task.id}: its solution must be a rubric: MARK SCHEME, and what earns which points")
            continue
        if task.check is None:
            found.append(f"task {task.id}: no visible check; add a locked, ungraded cell '{task.id}-check'")
        elif "check" not in chapters.tags(task.check) or f'@check("{task.id}")' not in task.check.source:
            found.append(f'cell {task.id}-check must carry the tag \'check\' and use @check("{task.id}")')
        elif grading(task.check).get("grade"):
            found.append(f"cell {task.id}-check must not be graded: students see it")
        order = [task.solution, *([task.check] if task.check else []), *task.tests]
        places = [next(i for i, c in enumerate(nb.cells) if c is cell) for cell in order]
        if places != list(range(places[0], places[0] + len(places))):
            found.append(f"task {task.id}: solution, check and tests must follow each other directly, in this order")
        for cell in task.tests:
            rest = REGION["HIDDEN TESTS"].sub("", cell.source).strip()
            if not region(cell.source, "HIDDEN TESTS").strip():
                found.append(f"cell {grading(cell)['grade_id']} has no hidden test")
            if not rest.startswith("#") or len(rest.splitlines()) != 1:
                found.append(f"cell {grading(cell)['grade_id']}: want one comment line beside the hidden test")
    return found


def _variants(nb, slug):
    used = {name for cell in nb.cells for name in NAME.findall(cell.source)}
    known = {name for names in table(nb) for name in names}
    found = [f"<<{name}>> is used but metadata genai.variants lacks it" for name in sorted(used - known)]
    found += [f"variant {name!r} is used in no cell" for name in sorted(known - used)]
    if not varied(nb):
        found.append("no autograded task varies: put a <<name>> into the solution and the hidden test of one at least")
    return found


def _headings(nb, slug):
    found = []
    for number, task in enumerate(tasks(nb), 1):
        heads = HEADING.findall(task.statement.source) if task.statement is not None else []
        want = "open" if task.open else "warm-up, build or experiment"
        if len(heads) != 1 or int(heads[0][0]) != number or (heads[0][1] == "open") != task.open:
            found.append(f"task {task.id}: the markdown before it needs the heading '## Task {number} ({want}): ...'")
        elif not re.search(rf"\b{task.points:g} points?\b", task.statement.source):
            found.append(f"task {task.id}: the statement must say '{task.points:g} points'")
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    if "<details>" not in text:
        found.append("no hint: add '<details><summary>Hint</summary>' to a statement")
    return found


def _answers(nb, slug):
    answers, values = read_answers(slug), choice(nb, slug, 0)
    names = [task.id for task in auto(nb)]
    found = [f"answers.py names task {a.task!r}, which no test grades" for a in answers if a.task not in names]
    for answer in answers:
        where = f"answers.py, {answer.task} {answer.kind}: {answer.what}"
        if answer.kind != "survives":
            try:
                ast.parse(fill(answer.text, values, where))
            except SyntaxError as error:
                found.append(f"{where}: no Python: {error}")
    for name in names:
        count = {kind: sum(a.task == name and a.kind == kind for a in answers) for kind in ("right", "wrong")}
        if count["right"] < 2 or count["wrong"] < 3:
            found.append(f"answers.py has {count['right']} right and {count['wrong']} wrong answers to {name}; "
                         "2 and 3 are the least")
    return found

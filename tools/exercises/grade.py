"""Grade a folder or zip of submissions: python -m tools.exercises.grade SLUG FROM [--due TIME] [--course DIR]

Reads what Moodle and Canvas export, or <student>/<slug>.ipynb, or <student>_<slug>.ipynb. Each submission is put back
to the release (tampering.py), run in a sandbox of its own (sandbox.py), scored by nbgrader into the course's
gradebook.db, and gets an HTML page of feedback. Written to <course>/: submitted, autograded, feedback (nbgrader's
layout), received (every file as it came), grades/<slug>.csv, grades/<slug>-moodle.csv, grades/<slug>-canvas.csv, and
grades/<slug>-by-hand.csv with the open answers: fill in its points, and give it back as --marks.

Nothing is overwritten: what is replaced stays as <name>.bak-<UTC time>. Running it again changes nothing, and grades
only submissions that are new or different, or all when the assignment has changed or with --force. The tables hold the
students of this folder or zip. Points given by hand, there or in nbgrader's formgrader, are kept and stand in the
tables.
"""

import argparse
import datetime
import hashlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import nbformat

from tools import chapters
from tools.exercises import byhand, gradebook, release, sandbox, tampering

GAVE_UP = "not graded: nbgrader gave up"
VERSION = "1"   # raise it when the same submission would now be graded otherwise
TELLING = ("MemoryError", "RuntimeError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")
OUTPUTS = ("stream", "display_data", "execute_result", "error")
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[^\n]*$", re.M | re.S)


def parse(data):
    """The submission as a notebook; raises ValueError in words."""
    try:
        text = data.decode("utf-8-sig")
        raw = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"broken JSON ({error})"[:200]) from None
    if not isinstance(raw, dict) or not isinstance(raw.get("cells"), list) or raw.get("nbformat") != 4:
        raise ValueError("JSON, but no notebook of format 4")
    try:
        nb = nbformat.reads(text, as_version=4)
        for cell in nb.cells:
            if not isinstance(cell.source, str) or cell.cell_type not in ("code", "markdown", "raw"):
                raise ValueError("a cell without text or type")
            cell.metadata.get("nbgrader", {}).get("grade_id")
        nbformat.validate(nb)
    except Exception as error:  # whatever a made-up notebook can provoke in nbformat
        raise ValueError(f"no valid notebook ({type(error).__name__}: {str(error).splitlines()[0]})"[:200]) from None
    return nb


def failure(name, text):
    return nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])


def checked(outputs):
    """Outputs that came out of the sandbox, as notebook nodes: whatever is no valid output becomes an error."""
    if outputs is None:
        return [failure("NotRun", "this cell was not run to its end")]
    found = []
    for output in outputs:
        try:
            node = nbformat.from_dict(output)
            if node.output_type not in OUTPUTS:
                raise ValueError(node.output_type)
            nbformat.validate(node, ref="output", version=4)
            found.append(node)
        except Exception:   # made up by the student's code
            found.append(failure("BrokenOutput", "the cell's output is no notebook output"))
    return found


def run(nb, limits, notes):
    """Execute a restored notebook in the sandbox and put the outputs into it."""
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    outputs, lines, _ = sandbox.execute([cell.source for cell in code], limits)
    notes += lines
    for number, (cell, found) in enumerate(zip(code, outputs), start=1):
        if not tampering.is_fixed(cell):
            notes += [f"code cell {number}: {o.ename}: {str(o.evalue)[:100]}".strip(": ")
                      for o in checked(found)[-1:] if o.output_type == "error" and o.ename in TELLING]
        cell.outputs, cell.execution_count = checked(found), number
        if not cell.source.strip():
            cell.outputs = []
        if cell.metadata.get("nbgrader", {}).get("grade"):
            for output in cell.outputs:     # nbgrader gives no point for a cell that warns: a warning is no failure
                if output.output_type == "stream":
                    output.name = "stdout"


def autograde(course, slug, student, limits):
    """Run nbgrader's autograde on one submitted notebook; return (flags, notes). Raises release.ReleaseError."""
    from nbgrader.converters import Autograde
    from nbgrader.preprocessors import NbGraderPreprocessor, OverwriteCells
    from nbgrader.preprocessors import Execute as PlainExecute

    flags, notes = [], []
    student_version = chapters.read(course / "release" / slug / f"{slug}.ipynb")
    source = chapters.read(course / "source" / slug / f"{slug}.ipynb")

    class Restore(NbGraderPreprocessor):
        def preprocess(self, nb, resources):
            flags.extend(tampering.restore(nb, student_version))
            flags.extend(tampering.suspicious(nb, source))
            return nb, resources

    class Execute(NbGraderPreprocessor):
        def preprocess(self, nb, resources):
            run(nb, limits, notes)
            return nb, resources

    before = [step for step in Autograde.sanitize_preprocessors.default() if step is not OverwriteCells]
    steps = [*before[:-1], Restore, OverwriteCells, before[-1]]
    graded = [Execute if step is PlainExecute else step for step in Autograde.autograde_preprocessors.default()]
    settings = release.config(course, slug)
    settings.CourseDirectory.student_id = student
    release.convert(Autograde, settings, sanitize_preprocessors=steps, autograde_preprocessors=graded, force=True)
    return flags, notes


def feedback(course, slug, student):
    """Write the student's HTML page: points, comments, messages; neither hidden tests nor scripts in outputs."""
    from nbconvert.exporters import HTMLExporter
    from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
    from nbgrader.converters import GenerateFeedback
    from nbgrader.preprocessors import GetGrades, NbGraderPreprocessor

    class Hide(NbGraderPreprocessor):
        def preprocess_cell(self, cell, resources, index):
            if HIDDEN.search(cell.source):
                cell.source = HIDDEN.sub("# (hidden test)", cell.source)
                for output in cell.get("outputs", []):
                    if output.output_type == "error":   # a traceback quotes the test
                        output.traceback = [f"{output.ename}: {output.evalue}"]
            return cell, resources

    settings = release.config(course, slug)
    settings.CourseDirectory.student_id = student
    settings.HTMLExporter.sanitize_html = True
    release.convert(GenerateFeedback, settings, exporter_class=HTMLExporter, force=True,
                    preprocessors=[GetGrades, Hide, CSSHTMLHeaderPreprocessor])


def open_gradebook(course):
    from nbgrader.api import Gradebook

    return Gradebook(f"sqlite:///{(course / 'gradebook.db').resolve()}")


def graded_cells(course, slug):
    """{grade_id: most points} in the order of the notebook."""
    nb = chapters.read(course / "source" / slug / f"{slug}.ipynb")
    marks = [cell.metadata.get("nbgrader", {}) for cell in nb.cells]
    return {m["grade_id"]: float(m["points"]) for m in marks if m.get("grade") or m.get("task")}


def scores(course, slug, student):
    """({grade_id: points}, grade_ids that wait for a person) from the gradebook."""
    with open_gradebook(course) as book:
        notebook = book.find_submission_notebook(slug, slug, student)
        points = {grade.name: float(grade.score or 0) for grade in notebook.grades}
        return points, sorted(grade.name for grade in notebook.grades if grade.needs_manual_grade)


def messages(course, slug, student):
    """What the failed tests said, for the student and the table."""
    nb = chapters.read(course / "autograded" / student / slug / f"{slug}.ipynb")
    found = []
    for cell in nb.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            for output in cell.outputs:
                if output.output_type == "error":
                    text = (output.evalue or output.ename).strip().splitlines() or [output.ename]
                    found.append(f"{tampering.grade_id(cell)}: {text[0][:200]}")
    return "; ".join(found)


def store(course, slug, files):
    """Keep every file as it came, and lay out the one that counts for nbgrader."""
    student, counted = files[0].student, files[0]
    for file in files:
        name = f"{hashlib.sha256(file.data).hexdigest()[:8]}-{Path(file.path).name}"
        place = course / "received" / student / slug / name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.data)
    folder = course / "submitted" / student / slug
    notebook, stamp = folder / f"{slug}.ipynb", counted.time.strftime("%Y-%m-%d %H:%M:%S UTC")
    if not notebook.exists() or notebook.read_bytes() != counted.data:
        release.backup(folder)
        folder.mkdir(parents=True)
        notebook.write_bytes(counted.data)
        (folder / "timestamp.txt").write_text(stamp)


def backup_books(course, slug, done):
    """Copy gradebook.db and the ledger aside, once in a run, before the first change."""
    for path in (course / "gradebook.db", course / "grades" / f"{slug}.json"):
        if not done and path.exists():
            shutil.copy2(path, release.backup_name(path))
    done.append(True)


def grade_one(course, slug, files, earlier, limits, saved, force=False):
    """Grade one student's counted file, or keep the earlier result; return a record for grades/<slug>.json."""
    counted, student = files[0], files[0].student
    source = (course / "source" / slug / f"{slug}.ipynb").read_bytes()
    digest = hashlib.sha256(b"\0".join([VERSION.encode(), source, counted.data, counted.problem.encode()])).hexdigest()
    autograded = course / "autograded" / student / slug
    same = earlier and earlier["digest"] == digest and (earlier["limits"] == str(limits) or not earlier["notes"])
    if same and not force:
        if autograded.exists() if earlier["status"] == "graded" else GAVE_UP not in earlier["status"]:
            return earlier
    record = {"digest": digest, "status": "graded", "flags": [], "notes": [], "feedback": "", "limits": str(limits)}
    store(course, slug, files)
    backup_books(course, slug, saved)
    for folder in (autograded, course / "feedback" / student / slug):
        release.backup(folder)
    try:
        if counted.problem:
            raise ValueError(counted.problem)
        parse(counted.data)
        record["flags"], record["notes"] = autograde(course, slug, student, limits)
    except ValueError as error:
        record["status"] = f"not graded: {error}"
    except release.ReleaseError as error:
        record["status"] = f"{GAVE_UP}: {str(error).splitlines()[-1][:200] if str(error) else ''}"
        record["notes"] = str(error).splitlines()[-8:]
    return record


def as_row(course, slug, files, record, cells, due, roster):
    """One student's line of the tables."""
    counted, student = files[0], files[0].student
    points, waiting = (scores(course, slug, student) if record["status"] == "graded" else ({}, []))
    known = roster.get(counted.id) or roster.get(counted.name)
    moment = gradebook.submitted_at(known) or counted.time
    return {
        "student": student, "name": counted.name, "platform": counted.platform, "id": counted.id,
        "status": record["status"], "points": points, "maximum": sum(cells.values()), "by_hand": ", ".join(waiting),
        "late": gradebook.lateness(moment, due, counted.late), "flag": "; ".join(record["flags"]),
        "messages": messages(course, slug, student) if record["status"] == "graded" else "",
        "notes": record["notes"], "counted": counted.path, "kept": ", ".join(file.path for file in files[1:]),
    }


def fingerprint(course, slug, row, record):
    """What a feedback page was made from: when it changes, the page is written anew."""
    with open_gradebook(course) as book:
        made_from = [row["points"], row["by_hand"], record["digest"], byhand.comments(book, slug, row["student"])]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]


def grade(slug, place, course=release.COURSE, *, due=None, roster=None, limits=None, marks=None, force=False,
          say=print):
    """Grade everything in `place` (folder or zip); return the rows of the tables. Raises CollectError, ReleaseError."""
    course, limits, started = Path(course), limits or sandbox.Limits(), time.monotonic()
    if not slug or not (course / "release" / slug / f"{slug}.ipynb").exists():
        there = sorted(path.name for path in (course / "release").glob("*/"))
        raise release.ReleaseError(f"{slug or 'no ASSIGNMENT'}: not released in {course}, which has "
                                   f"{', '.join(there) or 'nothing'}; first: {release.COMMAND}")
    known = gradebook.read_roster(roster)
    given = byhand.read(marks, course, slug) if marks else {}
    students, lines = gradebook.collect(place, slug)
    if unknown := sorted(given.keys() - students.keys()):
        raise byhand.MarksError(f"MARKS={marks}: no submission of {unknown[0]!r}; there are {', '.join(students)}")
    say(sandbox.describe(limits=limits))
    if due:
        say(f"due: {due.astimezone():%Y-%m-%d %H:%M %Z}; later ones are called late, and lose nothing")
    for line in lines:
        say(line)
    ledger = course / "grades" / f"{slug}.json"
    records = json.loads(ledger.read_text()) if ledger.exists() else {}
    cells, rows, saved, fresh, entered = graded_cells(course, slug), [], [], 0, 0
    for student, files in students.items():
        began = time.monotonic()
        record = grade_one(course, slug, files, records.get(student), limits, saved, force)
        new = record is not records.get(student)
        fresh += new
        if record["status"] == "graded" and student in given:
            with open_gradebook(course) as book:
                if changed := byhand.pending(book, slug, student, given[student]):
                    entered += len(changed)
                    backup_books(course, slug, saved)
                    byhand.enter(book, slug, student, changed)
        row = as_row(course, slug, files, record, cells, due, known)
        if record["status"] == "graded" and record["feedback"] != (page := fingerprint(course, slug, row, record)):
            release.backup(course / "feedback" / student / slug)
            feedback(course, slug, student)
            record["feedback"] = page
        records[student] = record
        rows.append(row)
        total = f"{gradebook.number(sum(row['points'].values()))} of {gradebook.number(row['maximum'])}"
        what = [row["status"] if row["status"] != "graded" else total]
        what += [f"not yet marked: {row['by_hand']}"] if row["by_hand"] else []
        what += ["its marks cannot be entered"] if student in given and row["status"] != "graded" else []
        what += [f"late {row['late']}"] if row["late"] else []
        what += [f"FLAG {flag}" for flag in record["flags"]] + row["notes"]
        say(f"{student}: {'; '.join(what)} ({f'{time.monotonic() - began:.1f} s' if new else 'as before'})")
        release.put(ledger, json.dumps(records, indent=1, sort_keys=True) + "\n", keep=False)
    gradable = [row["student"] for row in rows if row["status"] == "graded"]
    with open_gradebook(course) as book:
        answers = byhand.table(course, slug, book, gradable) if gradable else None
        unread = byhand.unread(course / "grades" / f"{slug}-by-hand.csv", course, slug, book)
    if marks:
        say(f"{entered} marks entered, {sum(map(len, given.values())) - entered} were there or cannot be entered")
    if unread:
        answers = None
        say(f"{slug}-by-hand.csv holds points that were not handed back ({', '.join(unread)}) and is left as it is; "
            f"hand it back: MARKS={course / 'grades' / f'{slug}-by-hand.csv'}")
    tables = {f"{slug}-by-hand.csv": answers, f"{slug}.csv": gradebook.overview(rows, list(cells)),
              f"{slug}-moodle.csv": gradebook.moodle(rows, known),
              f"{slug}-canvas.csv": gradebook.canvas(rows, known, slug)}
    for name, text in tables.items():
        if rows and text is not None:
            changed = release.put(course / "grades" / name, text)
            say(f"{os.path.relpath(course / 'grades' / name)}{'' if changed else ' (as before)'}")
    say(f"{len(rows)} submissions, {fresh} graded now, {sum(bool(r['flag']) for r in rows)} flagged, "
        f"{sum(r['status'] != 'graded' for r in rows)} not gradable, {time.monotonic() - started:.0f} s")
    return rows


def moment(text):
    """DUE as a time: ISO, of this machine's time zone unless it names one."""
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(datetime.timezone.utc)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO time, such as 2027-01-15T23:59+01:00") from None


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slug", help="the assignment, such as 09_vae")
    parser.add_argument("place", metavar="FROM", help="folder or zip of submissions")
    parser.add_argument("--due", type=moment, help="ISO time; fills the late column")
    parser.add_argument("--course", type=Path, default=release.COURSE, help="course folder (default: _build/course)")
    parser.add_argument("--roster", type=Path, help="Moodle's grading worksheet or Canvas' gradebook, to fill in")
    parser.add_argument("--marks", type=Path, help="grades/<slug>-by-hand.csv with points filled in")
    parser.add_argument("--seconds", type=float, default=sandbox.Limits.seconds, help="limit for a notebook")
    parser.add_argument("--cell-seconds", type=float, default=sandbox.Limits.cell_seconds, help="limit for a cell")
    parser.add_argument("--memory", type=int, default=sandbox.Limits.memory, help="limit in MiB")
    parser.add_argument("--force", action="store_true", help="grade all again, as after a change of genai_utils")
    args = parser.parse_args(argv)
    if not args.place.strip():      # Path("") would be this folder
        sys.exit("error: name the submissions: FROM=folder-or-zip")
    limits = sandbox.Limits(seconds=args.seconds, cell_seconds=args.cell_seconds, memory=args.memory)
    try:
        rows = grade(args.slug, Path(args.place), args.course, due=args.due, roster=args.roster, limits=limits,
                     marks=args.marks, force=args.force, say=lambda line: print(line, flush=True))
    except (gradebook.CollectError, byhand.MarksError, release.ReleaseError, ValueError) as error:
        sys.exit(f"error: {error}")
    if waiting := sum(bool(row["by_hand"]) for row in rows):
        print(f"{waiting} have answers that wait for you: their totals are provisional", flush=True)
    if not rows:
        sys.exit(1)


if __name__ == "__main__":
    main()

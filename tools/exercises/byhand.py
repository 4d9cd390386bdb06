"""Marks that a person gives, in a table: grades/<slug>-by-hand.csv, written and read back by tools/exercises/grade.py.

One line for each answer to an open question: student, task, of (the most points), points, comment, answer. Fill in
points (and a comment, which the student reads in the feedback) and grade again with MARKS=<that file>.
"""

import csv
import io
from pathlib import Path

from nbgrader.api import MissingEntry

from tools import chapters
from tools.exercises import gradebook, source, tampering

COLUMNS = ("student", "task", "of", "points", "comment", "answer")
LONGEST = 5000      # characters of an answer in the table; the whole stands in the feedback page


class MarksError(Exception):
    """The table of marks cannot be used; the message names the line and the cure."""


def open_tasks(course, slug):
    """{grade_id: most points} of the cells that a person marks."""
    nb = chapters.read(Path(course) / "source" / slug / f"{slug}.ipynb")
    return {tampering.grade_id(c): float(source.grading(c)["points"]) for c in nb.cells
            if source.grading(c).get("grade") and source.grading(c).get("solution")}


def table(course, slug, book, students):
    """The table as text: what is marked already stands in it, so that nothing is lost when it is written again."""
    tasks, out = open_tasks(course, slug), io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for student in students:
        nb = chapters.read(Path(course) / "autograded" / student / slug / f"{slug}.ipynb")
        answers = {tampering.grade_id(c): c.source for c in nb.cells if tampering.grade_id(c)}
        for task, most in tasks.items():
            grade = book.find_grade(task, slug, slug, student)
            given = gradebook.number(grade.manual_score) if grade.manual_score is not None else ""
            comment = book.find_comment(task, slug, slug, student).manual_comment or ""
            row = (student, task, gradebook.number(most), given, comment, answers.get(task, "")[:LONGEST])
            writer.writerow(map(gradebook.cell, row))
    return out.getvalue()


def read(path, course, slug):
    """{student: [(task, points, comment)]} of the lines with points. Raises MarksError: a bad table is not used."""
    tasks, found = open_tasks(course, slug), {}
    try:
        rows = list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MarksError(f"MARKS={path}: cannot be read ({error})") from None
    if lacks := [name for name in ("student", "task", "points") if rows and name not in rows[0]]:
        raise MarksError(f"MARKS={path}: no column {lacks[0]!r}; fill in the table that grading wrote, "
                         f"grades/{slug}-by-hand.csv")
    for line, row in enumerate(rows, start=2):
        where, text = f"MARKS={path}, row {line} ({row['student']})", (row["points"] or "").strip().replace(",", ".")
        if not text:
            continue
        if row["task"] not in tasks:
            raise MarksError(f"{where}: no open question {row['task']!r}; there are {', '.join(tasks)}")
        try:
            points = float(text)
        except ValueError:
            raise MarksError(f"{where}: points must be a number, got {row['points']!r}") from None
        if not 0 <= points <= tasks[row["task"]]:
            raise MarksError(f"{where}: points must be from 0 to {tasks[row['task']]:g}, got {text}")
        found.setdefault(row["student"], []).append((row["task"], points, row.get("comment") or ""))
    return found


def unread(path, course, slug, book):
    """Students whose points in the table at `path` are not in the gradebook: filled in, and not handed back."""
    if not Path(path).exists():
        return []
    try:
        given = read(path, course, slug)
        return sorted(student for student, marks in given.items()
                      if any(book.find_grade(task, slug, slug, student).manual_score != points
                             for task, points, _ in marks))
    except (MarksError, LookupError, MissingEntry):      # half filled in: certainly not to be lost
        return ["cannot be read"]


def pending(book, slug, student, marks):
    """Those of a student's [(task, points, comment)] that are not in the gradebook already."""
    def known(task):
        grade, note = book.find_grade(task, slug, slug, student), book.find_comment(task, slug, slug, student)
        return grade.manual_score, grade.needs_manual_grade, note.manual_comment or ""

    return [(task, points, comment) for task, points, comment in marks if known(task) != (points, False, comment)]


def enter(book, slug, student, marks):
    """Put a student's [(task, points, comment)] into the gradebook."""
    for task, points, comment in marks:
        grade, note = book.find_grade(task, slug, slug, student), book.find_comment(task, slug, slug, student)
        grade.manual_score, grade.needs_manual_grade, note.manual_comment = points, False, comment or None
    book.db.commit()


def comments(book, slug, student):
    """What the student reads beside the points."""
    return [note.manual_comment or "" for note in book.find_submission_notebook(slug, slug, student).comments]

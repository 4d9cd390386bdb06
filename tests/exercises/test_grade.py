"""Grading from end to end: one course, the submissions that people and accidents hand in, all in one folder."""

import csv
import os
import re
import zipfile
from datetime import datetime, timezone

import nbformat
import pytest

from tests.exercises.tiny_assignment import SLUG, answered, rewritten, source, without
from tools.exercises import grade, release, sandbox

LIMITS = sandbox.Limits(seconds=60, cell_seconds=3)
DUE = datetime(2027, 1, 15, 12, tzinfo=timezone.utc)


def hand_in(folder, name, nb, *, minutes=-10):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nb if isinstance(nb, str) else nbformat.writes(nb))
    os.utime(path, (DUE.timestamp() + 60 * minutes,) * 2)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(folder, course, **options):
    lines = []
    rows = grade.grade(SLUG, folder, course, due=DUE, limits=LIMITS, say=lines.append, **options)
    return {row["student"]: row for row in rows}, lines


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    nb = source()
    release.badge(nb, SLUG)
    release.generate(nb, SLUG, folder)
    return folder


@pytest.fixture(scope="module")
def handed_in(course, tmp_path_factory):
    folder = tmp_path_factory.mktemp("handed-in")
    student = grade.chapters.read(course / "release" / SLUG / f"{SLUG}.ipynb")
    hand_in(folder, f"Ann Right_101_assignsubmission_file/{SLUG}.ipynb", answered(student), minutes=65)
    hand_in(folder, f"stubdan_LATE_202_9001_{SLUG}.ipynb", student)
    hand_in(folder, f"twicecarol_203_9002_{SLUG}.ipynb", student, minutes=-20)
    hand_in(folder, f"twicecarol_203_9003_{SLUG}-1.ipynb", answered(student, mean="def mean(xs):\n    return sum(xs)"))
    hand_in(folder, f"loop/{SLUG}.ipynb", answered(student, area="while True: pass"))
    hand_in(folder, f"import/{SLUG}.ipynb", answered(student, area="import no_such_package"))
    hand_in(folder, f"exit_{SLUG}.ipynb", answered(student, area="exit()"))
    hand_in(folder, f"memory/{SLUG}.ipynb", answered(student, mean="kept = bytearray(5 << 30)"))
    hand_in(folder, f"deleted/{SLUG}.ipynb", without(answered(student), "area-test", "mean-test"))
    changed = rewritten(answered(student, area="def area(r):\n    return 0"), "area-test", "assert True")
    hand_in(folder, f"changed/{SLUG}.ipynb", changed)
    hand_in(folder, f"broken/{SLUG}.ipynb", '{"cells": [')
    hand_in(folder, f"list/{SLUG}.ipynb", "[1, 2]")
    hand_in(folder, f"nested/{SLUG}.ipynb", "[" * 100_000)
    hand_in(folder, "pdf/answer.pdf", "%PDF-1.4")
    warns = ("import warnings\nfrom IPython.display import HTML\ndef mean(xs):\n    warnings.warn('slow')\n"
             "    return sum(xs) / len(xs)\nHTML('<b>bold</b><script>alert(1)</script>')")
    hand_in(folder, f"warns/{SLUG}.ipynb", answered(student, mean=warns))
    return folder


@pytest.fixture(scope="module")
def graded(course, handed_in):
    return run(handed_in, course)


POINTS = {  # area-test (1), area-test-2 (2), mean-test (2); `why` (2) waits for a person
    "Ann-Right_101": (1, 2, 2), "stubdan_202": (0, 0, 0), "twicecarol_203": (1, 2, 0), "loop": (0, 0, 2),
    "import": (0, 0, 2), "exit": (0, 0, 2), "memory": (1, 2, 0), "deleted": (1, 2, 2), "changed": (0, 0, 2),
    "broken": (), "list": (), "nested": (), "pdf": (), "warns": (1, 2, 2),
}


@pytest.mark.parametrize("student", POINTS)
def test_each_submission_gets_its_points_whatever_the_others_do(graded, student):
    row = graded[0][student]
    points = tuple(row["points"][name] for name in ("area-test", "area-test-2", "mean-test")) if row["points"] else ()
    assert points == POINTS[student] and row["maximum"] == 7


@pytest.mark.parametrize("student, words", [
    ("loop", "more than 3 s"), ("import", "ModuleNotFoundError"), ("exit", "called exit"), ("memory", "MemoryError"),
    ("deleted", "test cell mean-test was deleted"), ("changed", "test cell area-test was changed"),
    ("broken", "broken JSON"), ("list", "no notebook"), ("nested", "broken JSON"), ("pdf", "not a notebook"),
    ("stubdan_202", "0 of 7"), ("twicecarol_203", "two submissions"),
])
def test_what_befell_a_submission_is_said_in_a_line(graded, student, words):
    assert any(line.startswith(f"{student}: ") and words in line for line in graded[1])


def test_only_tampering_and_exit_are_flagged(graded):
    assert {student for student, row in graded[0].items() if row["flag"]} == {"deleted", "changed", "exit"}


def test_the_open_question_waits_for_a_person_unless_untouched(graded):
    assert graded[0]["Ann-Right_101"]["by_hand"] == "why" and graded[0]["stubdan_202"]["by_hand"] == ""


def test_the_late_column_follows_due_or_the_platform(graded):
    late = {student: row["late"] for student, row in graded[0].items() if row["late"]}
    assert late == {"Ann-Right_101": "1 h 05 min", "stubdan_202": "yes (LATE in the file's name)"}


def test_messages_of_failed_tests_are_in_table_and_feedback(graded, course):
    assert graded[0]["twicecarol_203"]["messages"] == "mean-test: a sum where the mean is meant"
    page = (course / "feedback" / "twicecarol_203" / SLUG / f"{SLUG}.html").read_text()
    assert "a sum where the mean is meant" in page and "<html" in page


def test_feedback_shows_no_hidden_test_and_runs_no_script(graded, course):
    for student in ("Ann-Right_101", "twicecarol_203", "stubdan_202"):
        page = re.sub(r"<[^>]+>", "", (course / "feedback" / student / SLUG / f"{SLUG}.html").read_text())
        assert "(hidden test)" in page and "mean([1, 2, 6])" not in page and "1e-9" not in page
    page = (course / "feedback" / "warns" / SLUG / f"{SLUG}.html").read_text()
    assert "<b>bold</b>" in page and "<script>alert(1)" not in page


def test_both_files_of_a_student_are_kept_as_they_came(graded, course, handed_in):
    kept = {path.read_bytes() for path in (course / "received" / "twicecarol_203" / SLUG).iterdir()}
    assert kept == {path.read_bytes() for path in handed_in.glob("twicecarol*")}
    assert (course / "submitted" / "broken" / SLUG / f"{SLUG}.ipynb").read_text() == '{"cells": ['


def test_tables_of_both_platforms_are_written(graded, course):
    read = lambda name: list(csv.DictReader((course / "grades" / name).open(newline="")))
    assert len(read(f"{SLUG}.csv")) == len(POINTS)
    moodle = {row["Identifier"]: row["Grade"] for row in read(f"{SLUG}-moodle.csv")}
    canvas = {row["ID"]: row[SLUG] for row in read(f"{SLUG}-canvas.csv")}
    assert moodle["Participant 101"] == "5" and (canvas["202"], canvas["203"]) == ("0", "3")


def test_running_again_changes_nothing(graded, course, handed_in):
    before = files(course)
    rows, lines = run(handed_in, course)
    assert files(course) == before and rows == graded[0]
    assert "0 graded now" in lines[-1]


def test_a_new_submission_is_graded_alone_and_the_old_one_is_kept(graded, course, handed_in):
    """Also: points given by hand outlive a second run. (Runs after the tests above: it changes the course.)"""
    before = files(course)
    with grade.open_gradebook(course) as book:
        book.find_grade("why", SLUG, SLUG, "Ann-Right_101").manual_score = 1.5
        book.find_grade("why", SLUG, SLUG, "Ann-Right_101").needs_manual_grade = False
        book.db.commit()
    student = grade.chapters.read(course / "release" / SLUG / f"{SLUG}.ipynb")
    hand_in(handed_in, f"broken/{SLUG}.ipynb", answered(student))
    rows, lines = run(handed_in, course)
    assert "1 graded now" in lines[-1]
    assert sum(rows["broken"]["points"].values()) == 5 and sum(rows["Ann-Right_101"]["points"].values()) == 6.5
    after = files(course)
    lost = [name for name, data in before.items() if data not in after.values() and not name.startswith("gradebook.db")]
    assert lost == []
    assert any(name.startswith("gradebook.db.bak-") for name in after)


def marks(path, *rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("student", "task", "of", "points", "comment", "answer"), *rows])
    return path


def test_points_given_in_the_table_reach_gradebook_feedback_and_tables(graded, course, handed_in, tmp_path):
    table = list(csv.DictReader((course / "grades" / f"{SLUG}-by-hand.csv").open(newline="")))
    assert {row["student"]: row["answer"] for row in table}["loop"] == "Because of Archimedes."
    loop, unmarked = ("loop", "why", 2, "1,5", "A reason, but no proof.", ""), ("exit", "why", 2, "", "", "")
    given = marks(tmp_path / "marks.csv", loop, unmarked)
    rows, _ = run(handed_in, course, marks=given)
    assert sum(rows["loop"]["points"].values()) == 3.5 and rows["loop"]["by_hand"] == ""
    assert rows["exit"]["by_hand"] == "why"
    assert "A reason, but no proof." in (course / "feedback" / "loop" / SLUG / f"{SLUG}.html").read_text()
    table = list(csv.DictReader((course / "grades" / f"{SLUG}-by-hand.csv").open(newline="")))
    assert {row["student"]: row["points"] for row in table}["loop"] == "1.5"
    before = files(course)
    run(handed_in, course, marks=given)
    assert files(course) == before


@pytest.mark.parametrize("row, said", [
    (("loop", "why", 2, 3, "", ""), "from 0 to 2"), (("loop", "why", 2, "good", "", ""), "must be a number"),
    (("loop", "mean", 2, 1, "", ""), "no open question 'mean'"),
    (("nobody", "why", 2, 1, "", ""), "no submission of 'nobody'"),
])
def test_a_bad_table_of_points_is_refused_whole(graded, course, handed_in, tmp_path, row, said):
    before = files(course)
    given = marks(tmp_path / "marks.csv", ("exit", "why", 2, 1, "", ""), row)
    with pytest.raises(grade.byhand.MarksError, match=said):
        run(handed_in, course, marks=given)
    assert files(course) == before


def test_force_grades_all_again_and_keeps_points_given_by_hand_for_review(graded, course, tmp_path):
    student = grade.chapters.read(course / "release" / SLUG / f"{SLUG}.ipynb")
    folder = tmp_path / "again"
    hand_in(folder, f"again/{SLUG}.ipynb", answered(student))
    run(folder, course)
    run(folder, course, marks=marks(tmp_path / "marks.csv", ("again", "why", 2, 2, "", "")))
    rows, lines = run(folder, course, force=True)
    assert "1 graded now" in lines[-1] and sum(rows["again"]["points"].values()) == 7
    assert rows["again"]["by_hand"] == "why"


def test_an_assignment_that_was_not_released_is_refused_and_nothing_is_made(tmp_path):
    with pytest.raises(SystemExit, match="90_tiny: not released in .*which has nothing"):
        grade.main([SLUG, str(tmp_path), "--course", str(tmp_path / "coursee")])
    assert not (tmp_path / "coursee").exists()
    with pytest.raises(SystemExit, match="name the submissions"):
        grade.main([SLUG, "", "--course", str(tmp_path)])


def test_points_that_were_filled_in_and_not_handed_back_are_kept_and_named(graded, course, tmp_path):
    student = grade.chapters.read(course / "release" / SLUG / f"{SLUG}.ipynb")
    folder, table = tmp_path / "late", course / "grades" / f"{SLUG}-by-hand.csv"
    hand_in(folder, f"late/{SLUG}.ipynb", answered(student))
    rows, lines = run(folder, course)
    assert any("not yet marked: why" in line for line in lines) and rows["late"]["by_hand"] == "why"
    marks(table, ("late", "why", 2, "1.5", "", "Because of Archimedes."))
    before = table.read_bytes()
    _, lines = run(folder, course)
    assert table.read_bytes() == before and any("not handed back (late)" in line for line in lines)
    rows, lines = run(folder, course, marks=table)
    assert "1 marks entered" in " ".join(lines) and sum(rows["late"]["points"].values()) == 6.5


def test_a_zip_is_graded_as_the_folder_is(graded, course, tmp_path):
    student = grade.chapters.read(course / "release" / SLUG / f"{SLUG}.ipynb")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        name = f"Zoe Zipped_301_assignsubmission_file/{SLUG}.ipynb"
        archive.writestr(name, nbformat.writes(answered(student)))
    rows, _ = run(tmp_path / "all.zip", course)
    assert sum(rows["Zoe-Zipped_301"]["points"].values()) == 5 and rows["Zoe-Zipped_301"]["id"] == "301"


def test_another_seed_is_refused_once_there_are_submissions(graded, course):
    release.remember(course, SLUG, "spring")
    with pytest.raises(release.ReleaseError, match="say SEED=spring"):
        release.refuse_another_seed(course, SLUG, 0)
    release.refuse_another_seed(course, SLUG, "spring")
    release.refuse_another_seed(course, "91_other", 0)


def test_the_command_refuses_in_words(tmp_path, course):
    with pytest.raises(SystemExit, match="no such folder or zip"):
        grade.main([SLUG, str(tmp_path / "nowhere"), "--course", str(course)])
    with pytest.raises(SystemExit):
        grade.main([SLUG, str(tmp_path), "--due", "tomorrow", "--course", str(course)])


@pytest.mark.parametrize("output", [{"output_type": "stream"}, {"output_type": "grade"}, "text", None, {"a": object}])
def test_made_up_outputs_become_errors(output):
    (found,) = grade.checked([output])
    assert found.output_type == "error"


def test_a_cell_that_was_not_run_is_an_error_and_not_full_marks():
    assert grade.checked(None)[0].ename == "NotRun"

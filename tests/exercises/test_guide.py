"""The instructor's guide, followed to the letter in a clone of this repository: its files written, its commands run."""

import csv
import datetime
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import chapters
from tools.exercises import syllabus

GUIDE = syllabus.GUIDE.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<kind>bash|\{code-block\} text)\n(?::caption: (?P<name>\S+)\n\n)?(?P<body>.*?)^```$",
                   re.M | re.S)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """This working tree as `git clone` would give it, with this Python as its .venv."""
    folder = tmp_path_factory.mktemp("instructor") / "book"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=chapters.ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (chapters.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(chapters.ROOT / name, folder / name)
    ours = os.environ | {"VENV": sys.prefix}  # up to date, or else the clone's `make setup` would install itself in it
    subprocess.run([sys.executable, "tools/bootstrap.py"], cwd=chapters.ROOT, env=ours, check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def section(title):
    found = re.search(rf"^## {title}\n(.*?)(?=^## (?!Task)|\Z)", GUIDE, re.M | re.S)
    assert found, f"the guide has no section {title!r}"
    return list(BLOCK.finditer(found[1]))


def follow(block, clone):
    """Write the file or run the commands of one block; return what was printed."""
    if block["kind"] != "bash":
        path = clone / block["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block["body"], encoding="utf-8")
        return ""
    ours = ("VENV", "PYTHONPATH", "GENAI_PRIVATE_EXERCISES", "MAKEFLAGS")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(["bash", "-e", "-c", block["body"]], cwd=clone, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_instructor_releases_grades_marks_and_exports(clone):
    release, hand_in, grade, mark, check = section("The whole way, once")
    course = clone / "../course"
    follow(release, clone)
    student_version = (course / "release/09_vae/09_vae.ipynb").read_text()
    assert "YOUR CODE HERE" in student_version and "BEGIN SOLUTION" not in student_version
    assert follow(hand_in, clone).count("09_vae.ipynb") == 3
    assert "3 submissions, 3 graded now, 0 flagged, 0 not gradable" in follow(grade, clone)
    rows = read(course / "grades/09_vae.csv")
    points = [float(row["points"]) for row in rows]
    assert points == [16, 0, 16] and {bool(row["late"]) for row in rows} == {after_due()}
    for row in rows:
        assert "<html" in (course / "feedback" / row["student"] / "09_vae/09_vae.html").read_text()
    assert [row["Grade"] for row in read(course / "grades/09_vae-moodle.csv")] == ["16", "0", "16"]
    table = read(course / "grades/09_vae-by-hand.csv")
    with (course / "grades/09_vae-by-hand.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, table[0])
        writer.writeheader()
        writer.writerows([row | {"points": "3", "comment": "Which figure shows it?"} for row in table])
    follow(mark, clone)
    assert [row["points"] for row in read(course / "grades/09_vae.csv")] == ["19", "3", "19"]
    assert "Which figure shows it?" in (course / "feedback/student-01/09_vae/09_vae.html").read_text()
    assert "3 submissions have the marks that they deserve" in follow(check, clone)


def after_due():
    """Whether now is after the guide's DUE: the files are as old as this test."""
    due = datetime.datetime.fromisoformat(re.search(r"DUE=(\S+)", GUIDE)[1])
    return datetime.datetime.now(datetime.timezone.utc) > due


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_an_exercise_is_added_as_the_guide_says(clone):
    printed = [follow(block, clone) for block in section("Add an exercise")]
    proof = {line.split()[1]: line.split()[2:] for line in printed[-1].splitlines() if line.startswith("01_entropy ")}
    assert proof["entropy"][:3] == ["2", "4/4", "6/6"] and proof["excess"][:3] == ["2", "4/4", "6/6"]
    released = (clone / "../course/release/01_entropy/01_entropy.ipynb").read_text()
    assert "Task 3 (open)" in released and "MARK SCHEME" not in released
    assert not (clone / "notebooks/exercises/01_entropy").exists()
    assert not (clone / "notebooks/assignments/01_entropy.ipynb").exists()


def test_the_guides_tables_are_what_the_command_writes():
    assert syllabus.written(GUIDE) == GUIDE, "cure: python -m tools.exercises.syllabus"


@pytest.mark.parametrize("weeks", [syllabus.SIX, syllabus.TWELVE], ids=["six", "twelve"])
def test_a_course_teaches_each_chapter_after_those_it_needs(weeks):
    known, taught = syllabus.known(), []
    for _, numbers in weeks:
        for number in numbers:
            assert set(known[number].needs) <= set(taught), f"{number} needs {known[number].needs}, taught: {taught}"
            taught.append(number)
    assert len(taught) == len(set(taught)) and len(weeks) in (6, 12)


def test_the_long_course_teaches_every_chapter():
    assert {n for _, numbers in syllabus.TWELVE for n in numbers} == set(syllabus.known())


def test_costs_of_assignments_are_of_this_code_and_within_the_limit():
    found = syllabus.stored()
    assert {slug: found[slug]["code"] for slug in found} == {slug: syllabus.text_hash(slug) for slug in public()}, (
        "cure: python -m tools.exercises.syllabus --measure")
    assert {slug: row for slug, row in found.items() if row["seconds"] / row["pace"] > syllabus.LIMIT} == {}


def public():
    return sorted(path.parent.name for path in Path(syllabus.source.FOLDER).glob("*/*.ipynb"))


def test_every_chapter_has_an_assignment():
    assert set(public()) == {path.stem for path in chapters.paths()}

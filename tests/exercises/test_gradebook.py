"""File names of the learning platforms, zips that mean harm, and the tables that the platforms import."""

import csv
import datetime
import io
import os
import zipfile

import pytest

from tools.exercises import gradebook

SLUG = "09_vae"
UTC = datetime.timezone.utc


@pytest.mark.parametrize("path, platform, name, number", [
    ("Ann Bell_123_assignsubmission_file/09_vae.ipynb", "moodle", "Ann Bell", "123"),
    ("Ann Bell_123_assignsubmission_file_/my work.ipynb", "moodle", "Ann Bell", "123"),
    ("export/Anné O'Bell_123_assignsubmission_file/deep/09_vae.ipynb", "moodle", "Anné O'Bell", "123"),
    ("Ann Bell_123_assignsubmission_file_09_vae.ipynb", "moodle", "Ann Bell", "123"),
    ("Participant_77_assignsubmission_file/09_vae.ipynb", "moodle", "Participant", "77"),
    ("bellann_123_456789_09_vae.ipynb", "canvas", "bellann", "123"),
    ("bellann_LATE_123_456789_09_vae-2.ipynb", "canvas", "bellann", "123"),
    ("submissions/bellann_123_456789_my solution.ipynb", "canvas", "bellann", "123"),
    ("anon_aB3x9_456789_09_vae.ipynb", "canvas", None, "anon_aB3x9"),
    ("LATE_anon_aB3x9_456789_09_vae.ipynb", "canvas", None, "anon_aB3x9"),
    ("ann/09_vae.ipynb", "folder", "ann", "ann"),
    ("ann/09_vae/09_vae.ipynb", "folder", "ann", "ann"),
    ("ann_09_vae.ipynb", "folder", "ann", "ann"),
    ("ann_5_09_vae.ipynb", "folder", "ann_5", "ann_5"),
    ("ann.bell@example.org_09_vae.ipynb", "folder", "ann.bell@example.org", "ann.bell@example.org"),
])
def test_a_file_name_of_each_platform_says_whose_it_is(path, platform, name, number):
    owner = gradebook.whose(path, SLUG)
    assert (owner["platform"], owner["name"], owner["id"]) == (platform, name, number)
    assert bool(owner.get("late")) == ("LATE" in path)


def test_a_name_without_a_student_is_named_and_left_out(tmp_path):
    (tmp_path / "notebook.ipynb").write_text("{}")
    students, lines = gradebook.collect(tmp_path, SLUG)
    assert not students and lines[0] == "ignored: notebook.ipynb: the name says no student"


def test_nbgraders_own_layout_is_read_for_this_assignment_alone_and_without_backups(tmp_path):
    for name in ("ann/09_vae/09_vae.ipynb", "ann/11_gan/11_gan.ipynb", "ann/09_vae.bak-2027/09_vae.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    students, _ = gradebook.collect(tmp_path, SLUG)
    assert {name: [file.path for file in files] for name, files in students.items()} == {
        "ann": ["ann/09_vae/09_vae.ipynb"]}


def test_a_roster_that_cannot_be_read_is_refused_in_words(tmp_path):
    with pytest.raises(gradebook.CollectError, match="cannot be read"):
        gradebook.read_roster(tmp_path / "nowhere.csv")


def zipped(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries:
            archive.writestr(name, text)
    return path


def test_paths_that_leave_the_zip_are_refused_by_name_and_the_others_collected(tmp_path):
    link = zipfile.ZipInfo("eve/09_vae.ipynb")
    link.external_attr = 0o120777 << 16
    path = zipped(tmp_path / "all.zip", ("../up/09_vae.ipynb", "{}"), ("/etc/09_vae.ipynb", "{}"),
                  ("C:\\Users\\09_vae.ipynb", "{}"), ("a/../../09_vae.ipynb", "{}"), (link, "/etc/passwd"),
                  ("ann/09_vae.ipynb", "{}"), ("__MACOSX/ann/09_vae.ipynb", "{}"))
    students, lines = gradebook.collect(path, SLUG)
    assert list(students) == ["ann"] and students["ann"][0].data == b"{}"
    refused = [line for line in lines if line.startswith("refused")]
    assert len(refused) == 5
    for name in ("../up/09_vae.ipynb", "/etc/09_vae.ipynb", "Users", "a/../../09_vae.ipynb", "eve/09_vae.ipynb"):
        assert any(name in line for line in refused)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.zip"]


def test_a_zip_bomb_is_marked_and_the_others_collected(tmp_path):
    path = zipped(tmp_path / "all.zip", ("ann/09_vae.ipynb", "{}"), ("bomb/09_vae.ipynb", b"0" * (30 << 20)),
                  ("small/09_vae.ipynb", b"0" * (8 << 20)))
    students, _ = gradebook.collect(path, SLUG)
    assert students["ann"][0].problem == ""
    assert "zip bomb" in students["bomb"][0].problem and students["bomb"][0].data == b""
    assert "zip bomb" in students["small"][0].problem


def test_a_zip_of_too_many_bytes_or_no_zip_is_refused_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(gradebook, "BIGGEST_ZIP", 1000)
    path = zipped(tmp_path / "all.zip", ("ann/09_vae.ipynb", b"0" * 2000))
    with pytest.raises(gradebook.CollectError, match="zip bomb"):
        gradebook.collect(path, SLUG)
    (tmp_path / "no.zip").write_text("not a zip")
    with pytest.raises(gradebook.CollectError, match="no.zip"):
        gradebook.collect(tmp_path / "no.zip", SLUG)
    with pytest.raises(gradebook.CollectError, match="no such folder"):
        gradebook.collect(tmp_path / "nowhere", SLUG)


def test_a_link_out_of_the_folder_is_refused_by_name(tmp_path):
    secret = tmp_path / "secret.ipynb"
    secret.write_text("{}")
    (tmp_path / "all" / "ann").mkdir(parents=True)
    (tmp_path / "all" / "ann" / "09_vae.ipynb").symlink_to(secret)
    students, lines = gradebook.collect(tmp_path / "all", SLUG)
    assert not students and lines[0].startswith("refused: ann/09_vae.ipynb")


def test_of_two_submissions_the_latest_counts_and_the_other_is_named(tmp_path):
    for name, seconds in (("bellann_1_10_09_vae.ipynb", 1000), ("bellann_1_11_09_vae-1.ipynb", 2000)):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (seconds, seconds))
    students, lines = gradebook.collect(tmp_path, SLUG)
    first, second = students["bellann_1"]
    assert first.path == "bellann_1_11_09_vae-1.ipynb" and second.path == "bellann_1_10_09_vae.ipynb"
    assert lines == ["bellann_1: two submissions: bellann_1_11_09_vae-1.ipynb counts (the latest), "
                     "bellann_1_10_09_vae.ipynb is kept"]


def test_names_that_become_the_same_folder_stay_two_students(tmp_path):
    for name in ("ann*", "ann?"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "09_vae.ipynb").write_text("{}")
    students, _ = gradebook.collect(tmp_path, SLUG)
    assert len(students) == 2 and all("/" not in s and "*" not in s for s in students)


def test_a_file_that_is_no_notebook_is_marked(tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "answer.pdf").write_text("%PDF")
    students, _ = gradebook.collect(tmp_path, SLUG)
    assert students["ann"][0].problem == "not a notebook (.ipynb)"


def test_lateness_follows_due_and_what_the_platform_says():
    due = datetime.datetime(2027, 1, 15, 12, tzinfo=UTC)
    late = lambda minutes, said=False: gradebook.lateness(due + datetime.timedelta(minutes=minutes), due, said)
    assert (late(-1), late(0), late(125)) == ("", "", "2 h 05 min")
    assert "LATE" in late(-1, True) and gradebook.lateness(due, None, False) == ""


def test_the_time_of_moodles_worksheet_is_read():
    row = {"Last modified (submission)": "Friday, 15 January 2027, 11:59 PM"}
    assert gradebook.submitted_at(row).astimezone().strftime("%d %H:%M") == "15 23:59"
    assert gradebook.submitted_at({"Last modified (submission)": "-"}) is None


def a_row(**given):
    known = {"student": "s", "name": "Ann Bell", "platform": "moodle", "id": "123", "status": "graded",
             "points": {"kl-test": 1.5, "why": 2.0}, "maximum": 5.0, "by_hand": "", "late": "", "flag": "",
             "messages": "kl-test: a sum where the mean is meant", "notes": [], "counted": "x", "kept": ""}
    return known | given


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_moodles_table_has_the_columns_that_its_importer_wants():
    rows = table(gradebook.moodle([a_row(), a_row(platform="canvas", id="9")], {}))
    assert len(rows) == 1
    assert {"Identifier", "Grade", "Last modified (grade)"} <= set(rows[0])
    assert (rows[0]["Identifier"], rows[0]["Grade"], rows[0]["Maximum Grade"]) == ("Participant 123", "3.5", "5")
    assert "a sum where the mean" in rows[0]["Feedback comments"]


def test_canvas_table_has_the_header_and_points_possible_that_its_importer_wants():
    rows = table(gradebook.canvas([a_row(platform="canvas"), a_row(platform="folder", name="bob", id="bob")], {}, SLUG))
    assert list(rows[0]) == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", SLUG]
    assert "Points Possible" in rows[0]["Student"] and rows[0][SLUG] == "5"
    assert (rows[1]["ID"], rows[1][SLUG], rows[2]["SIS Login ID"]) == ("123", "3.5", "bob")


def test_a_roster_of_either_platform_fills_in_what_file_names_lack(tmp_path):
    path = tmp_path / "worksheet.csv"
    path.write_text("\ufeffIdentifier,Full name,Email address,Status,Grade,Last modified (grade)\n"
                    "Participant 123,Ann Bell,ann@example.org,Submitted,,-\n", encoding="utf-8")
    assert table(gradebook.moodle([a_row()], gradebook.read_roster(path)))[0]["Email address"] == "ann@example.org"
    path.write_text('Student,ID,SIS User ID,SIS Login ID,Section,09_vae (4411)\n"Bell, Ann",123,77,annb,A,\n')
    row = table(gradebook.canvas([a_row(platform="canvas")], gradebook.read_roster(path), SLUG))[1]
    assert (row["Student"], row["SIS Login ID"], row["Section"]) == ("Bell, Ann", "annb", "A")
    assert row["09_vae (4411)"] == "3.5"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(gradebook.CollectError, match="Identifier"):
        gradebook.read_roster(path)


def test_no_cell_of_a_table_is_a_formula():
    text = gradebook.overview([a_row(name="=cmd|' /C calc'!A0", messages="")], ["kl-test", "why"])
    assert table(text)[0]["name"].startswith("'=") and table(text)[0]["messages"] == ""

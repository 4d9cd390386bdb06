"""Submissions as learning platforms export them, and grades as they import them.

Sources, read in the platforms' own code:
- Moodle's "Download all submissions" (moodle/moodle, mod/assign/classes/downloader.php): with folders,
  `<full name>_<id>_assignsubmission_file/<file>` (versions before 4: with `_` at the folder's end), without folders
  `<full name>_<id>_assignsubmission_file_<file>`; the full name has no `_`; marking blind, it is `Participant`.
- Moodle's grading worksheet (mod/assign/feedback/offline/importgradeslib.php) is read by column names, of which
  `Identifier` (`Participant <id>`), `Grade` and `Last modified (grade)` must be there.
- Canvas' "Download Submissions" (instructure/canvas-lms, lib/content_zipper.rb): `<sortable name, lower
  case, letters and digits>_[LATE_]<user id>_<file id>_<file>`, marking anonymously `[LATE_]anon_<id>_<file id>_<file>`.
- Canvas' gradebook import (lib/gradebook_importer.rb): `Student,ID,SIS User ID,SIS Login ID,Section`, then assignments;
  a row whose first cell contains `Points Possible`; a student is found by ID, else SIS ids, else name.
"""

import csv
import dataclasses
import datetime
import hashlib
import io
import os
import re
import zipfile
from pathlib import Path, PurePosixPath

BIGGEST = 20 << 20          # bytes of one notebook
BIGGEST_ZIP = 2 << 30       # bytes of everything in a zip
MOST_FILES = 20_000
RATIO = 200                 # a notebook that packs better than this is a bomb (source text: 3 to 10)
MOODLE_FOLDER = re.compile(r"(?P<name>[^_]+)_(?P<id>\d+)_assignsubmission_(?P<plugin>[a-z]+)_?")
MOODLE_FILE = re.compile(r"(?P<name>[^_]+)_(?P<id>\d+)_assignsubmission_(?P<plugin>[a-z]+)_(?P<file>.+)")
CANVAS_HEAD = r"(?:(?P<name>\w+?)_)??(?P<late>LATE_)?(?P<id>\d+|anon_[A-Za-z0-9]+)_(?P<file_id>\d+)"
CANVAS_FILE = re.compile(CANVAS_HEAD + r"_(?P<file>.+)")
MOODLE_COLUMNS = ("Identifier", "Full name", "Email address", "Status", "Grade", "Maximum Grade",
                  "Grade can be changed", "Last modified (submission)", "Last modified (grade)", "Feedback comments")
CANVAS_COLUMNS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")


class CollectError(Exception):
    """The submissions could not be read at all; the message says what to do."""


@dataclasses.dataclass
class Received:
    """One file of one student. `problem` is empty, or says in words why it cannot be graded."""
    student: str            # folder name in the course: safe as a path
    name: str               # as the platform writes it
    platform: str           # moodle, canvas or folder
    id: str                 # the platform's number, or the name
    path: str               # within the folder or zip
    data: bytes
    time: datetime.datetime
    file_id: int = 0        # Canvas counts its files up
    late: bool = False      # said by the platform
    problem: str = ""


def safe_name(text):
    """The text as a folder name that neither a file system nor nbgrader's patterns stumble over."""
    clean = re.sub(r"[^\w.@ -]", "-", text).strip(" .").replace(" ", "-")
    return clean[:80] or "student-" + hashlib.sha256(text.encode()).hexdigest()[:8]


def whose(path, slug):
    """dict(platform, name, id, file, late, file_id) for a file's path within the export, or None: a pattern we lack."""
    parts = PurePosixPath(path).parts
    file = parts[-1]
    for part in parts[:-1]:
        if found := MOODLE_FOLDER.fullmatch(part):
            return {"platform": "moodle", "file": file} | found.groupdict()
    if found := MOODLE_FILE.fullmatch(file):
        return {"platform": "moodle"} | found.groupdict()
    ours = re.fullmatch(rf"(?P<head>.+)_(?P<file>{re.escape(slug)}(?:-\d+)?\.ipynb)", file)
    if ".bak-" in path or len(parts) > 2 and file == f"{parts[-2]}.ipynb" and parts[-2] != slug:
        return None         # nbgrader's layout, <student>/<assignment>/<assignment>.ipynb: another one, or a backup
    found = re.fullmatch(CANVAS_HEAD, ours["head"]) if ours else CANVAS_FILE.fullmatch(file)
    if found:
        return {"platform": "canvas", "file": ours["file"] if ours else "", **found.groupdict()}
    if ours:
        return {"platform": "folder", "name": ours["head"], "id": ours["head"], "file": file}
    if len(parts) > 1:
        owner = parts[-3] if len(parts) > 2 and parts[-2] == slug else parts[-2]
        return {"platform": "folder", "name": owner, "id": owner, "file": file}
    return None


def from_folder(folder, lines):
    """(path, bytes or None, time, problem) of every file below a folder; links that leave it are refused by name."""
    root = Path(folder).resolve()
    for at, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            path = Path(at, name)
            inner = path.relative_to(root).as_posix()
            if name.startswith("."):
                continue
            if not path.resolve().is_relative_to(root) or not path.is_file():
                lines.append(f"refused: {inner}: a link that leaves the folder, or not a plain file")
                continue
            status = path.stat()
            time = datetime.datetime.fromtimestamp(status.st_mtime, datetime.timezone.utc)
            if status.st_size > BIGGEST:
                yield inner, b"", time, f"larger than {BIGGEST >> 20} MiB"
            else:
                yield inner, path.read_bytes() if name.endswith(".ipynb") else b"", time, ""


def from_zip(path, lines):
    """The same of a zip, without unpacking it to disk; entries that would leave the folder are refused by name."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise CollectError(f"{path}: not a zip that can be read ({error})") from None
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > BIGGEST_ZIP:
            raise CollectError(f"{path}: a zip bomb, or no export: {len(entries)} files, "
                               f"{sum(entry.file_size for entry in entries) >> 20} MiB unpacked")
        for entry in sorted(entries, key=lambda entry: entry.filename):
            name = entry.filename.replace("\\", "/")
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name:
                lines.append(f"refused: {entry.filename}: a path that leaves the folder")
                continue
            if entry.external_attr >> 16 & 0o170000 == 0o120000:
                lines.append(f"refused: {entry.filename}: a link")
                continue
            if parts[-1].startswith(".") or "__MACOSX" in parts:
                continue
            try:    # a zip says no time zone: this machine's is meant
                time = datetime.datetime(*entry.date_time).astimezone(datetime.timezone.utc)
            except ValueError:
                time = datetime.datetime.fromtimestamp(Path(path).stat().st_mtime, datetime.timezone.utc)
            if entry.file_size > BIGGEST or entry.file_size > max(entry.compress_size, 1) * RATIO + (1 << 20):
                yield name, b"", time, f"a zip bomb: {entry.compress_size} bytes unpack to {entry.file_size}"
                continue
            data, problem = b"", ""
            if name.endswith(".ipynb"):
                try:
                    with archive.open(entry) as stream:
                        data = stream.read(BIGGEST + 1)
                except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
                    problem = f"cannot be unpacked: {error}"
                if len(data) > BIGGEST:
                    data, problem = b"", f"a zip bomb: more than {BIGGEST >> 20} MiB"
            yield name, data, time, problem


def collect(place, slug):
    """({student: [Received, the one that counts first]}, lines for a person) of a folder or zip of submissions."""
    place, lines, by_owner = Path(place), [], {}
    if not place.exists():
        raise CollectError(f"FROM={place}: no such folder or zip")
    files = from_folder(place, lines) if place.is_dir() else from_zip(place, lines)
    for path, data, time, problem in files:
        owner = whose(path, slug)
        if owner is None or owner.get("plugin", "file") != "file":
            lines.append(f"ignored: {path}: {'typed text' if owner else 'the name says no student'}")
            continue
        name = owner.get("name") or owner["id"]
        if not path.endswith(".ipynb"):
            problem = problem or "not a notebook (.ipynb)"
        label = name if owner["platform"] == "folder" else f"{name}_{owner['id']}"
        by_owner.setdefault((owner["platform"], owner["id"]), []).append(Received(
            safe_name(label), name, owner["platform"], owner["id"], path, data, time,
            int(owner.get("file_id") or 0), bool(owner.get("late")), problem))
    students = {}
    latest = lambda file: (not file.path.endswith(".ipynb"), -file.time.timestamp(), -file.file_id, file.path)
    for (platform, number), files in sorted(by_owner.items()):
        files.sort(key=latest)
        name = files[0].student
        if name in students:    # two names that are the same once they are safe
            name += "-" + hashlib.sha256(f"{platform}/{number}".encode()).hexdigest()[:6]
        students[name] = [dataclasses.replace(file, student=name) for file in files]
        for other in files[1:]:
            if other.path.endswith(".ipynb"):
                lines.append(f"{name}: two submissions: {files[0].path} counts (the latest), {other.path} is kept")
    if not students:
        lines.append(f"no submission found in {place}; names like <student>/{slug}.ipynb, <student>_{slug}.ipynb, "
                     "or as Moodle and Canvas export them")
    return students, lines


def read_roster(path):
    """{platform id, login or name: row} of a file exported by the platform: Moodle's worksheet or Canvas' gradebook."""
    if not path:
        return {}
    try:
        rows = list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError) as error:
        raise CollectError(f"ROSTER={path}: cannot be read ({error}); export it again, as CSV in UTF-8") from None
    if not rows or not ({"Identifier", "Student"} & set(rows[0])):
        raise CollectError(f"ROSTER={path}: neither Moodle's grading worksheet (column Identifier) nor Canvas' "
                           "gradebook (column Student); export it as CSV, with English column names")
    found = {}
    for row in rows:
        keys = (re.sub(r"^\D*", "", row.get("Identifier") or ""), row.get("ID"), row.get("Full name"),
                row.get("Email address"), row.get("SIS Login ID"), row.get("Student"))
        found.update({key.strip(): row for key in keys if key and key.strip()})
    return found


def submitted_at(row):
    """When the roster (Moodle's worksheet) says that the student submitted, in UTC; None when it does not."""
    from dateutil import parser

    text = (row or {}).get("Last modified (submission)") or ""
    try:
        return parser.parse(text).astimezone(datetime.timezone.utc) if re.search(r"\d{4}", text) else None
    except (ValueError, OverflowError):
        return None


def lateness(time, due, said_late):
    """The late column: empty, hours and minutes after DUE, or that the platform says so."""
    seconds = (time - due).total_seconds() if due else 0
    if seconds > 0:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    return "yes (LATE in the file's name)" if said_late else ""


def number(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


def cell(text):
    """A text that no spreadsheet takes for a formula."""
    text = str(text)
    return "'" + text if re.match(r"[=+@\t\r]|-[^\d]", text) else text


def as_csv(header, rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()


def overview(rows, graded):
    """The instructor's own table: every student, points per graded cell, flags, what was counted."""
    header = ("student", "name", "platform", "id", "status", *graded, "points", "of", "to mark by hand", "late", "flag",
              "messages", "counted", "kept")
    return as_csv(header, [
        (r["student"], r["name"], r["platform"], r["id"], r["status"], *(number(r["points"].get(g, 0)) for g in graded),
         number(sum(r["points"].values())), number(r["maximum"]), r["by_hand"], r["late"], r["flag"], r["messages"],
         r["counted"], r["kept"]) for r in rows])


def moodle(rows, roster):
    """Moodle's grading worksheet, for "Upload grading worksheet"; None when no row is for Moodle."""
    rows = [r for r in rows if r["platform"] != "canvas"]
    table = []
    for r in rows:
        known = roster.get(r["id"]) or roster.get(r["name"]) or {}
        identifier = known.get("Identifier") or (f"Participant {r['id']}" if r["platform"] == "moodle" else "")
        table.append((identifier, known.get("Full name") or r["name"], known.get("Email address") or "",
                      known.get("Status") or "", number(sum(r["points"].values())), number(r["maximum"]), "Yes",
                      known.get("Last modified (submission)") or "-", known.get("Last modified (grade)") or "-",
                      comment(r)))
    return as_csv(MOODLE_COLUMNS, table) if rows else None


def canvas(rows, roster, slug):
    """Canvas' gradebook, for "Import Grades"; None when no row is for Canvas."""
    rows = [r for r in rows if r["platform"] != "moodle"]
    if not rows:
        return None
    table = [("    Points Possible", "", "", "", "", number(rows[0]["maximum"]))]
    for r in rows:
        known = roster.get(r["id"]) or roster.get(r["name"]) or {}
        login = known.get("SIS Login ID") or (r["name"] if r["platform"] == "folder" else "")
        table.append((known.get("Student") or r["name"],
                      known.get("ID") or (r["id"] if r["platform"] == "canvas" and r["id"].isdigit() else ""),
                      known.get("SIS User ID") or "", login, known.get("Section") or "",
                      number(sum(r["points"].values()))))
    columns = [name for row in roster.values() for name in row if name]     # Canvas writes `<assignment> (<number>)`
    assignment = next((name for name in columns if re.fullmatch(rf"{re.escape(slug)}( \(\d+\))?", name)), slug)
    return as_csv((*CANVAS_COLUMNS, assignment), table)


def comment(row):
    """What a student reads beside the grade."""
    status = row["status"] if row["status"] != "graded" else ""
    waiting = row["by_hand"] and f"provisional, not yet marked: {row['by_hand']}"
    parts = [status, waiting, row["late"] and f"late: {row['late']}", row["messages"]]
    return "; ".join(part for part in parts if part)

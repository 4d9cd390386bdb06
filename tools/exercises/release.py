"""Write the student versions of the assignments: python -m tools.exercises.release [slug ...] [--seed S] [--check]

Seed 0 of a notebook that is in this repository goes to notebooks/assignments/, which the book renders; any other
(another seed, or a notebook of the folder that GENAI_PRIVATE_EXERCISES names) goes to the course folder only, since
what is committed here is public. Either way the course folder gets what grading needs: source, release and
gradebook.db, in nbgrader's own layout. --check writes nothing and fails when a committed student version is stale.
"""

import argparse
import datetime
import functools
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from tools import chapters, set_repository
from tools.clean_notebooks import as_text, normalise

ROOT = chapters.ROOT
ASSIGNMENTS = ROOT / "notebooks" / "assignments"
COURSE = ROOT / "_build" / "course"
COMMAND = "make release-exercises"


class ReleaseError(Exception):
    """An assignment could not be released; the message says what to do."""


def is_public(slug, seed):
    """Whether this version may be committed and linked: seed 0, and not from the private folder."""
    from tools.exercises import source

    return str(seed) == "0" and source.folder(slug).parent == source.FOLDER


def backup(path):
    """Move a file or folder out of the way, to <name>.bak-<UTC time>; return the new path, or None if there is none."""
    path = Path(path)
    if not path.exists():
        return None
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
    return path.rename(path.with_name(f"{path.name}.bak-{stamp}"))


def put(path, text, *, keep=True):
    """Write a text file, the old one kept as a backup unless keep=False; say whether anything changed."""
    path = Path(path)
    if path.exists() and path.read_bytes() == text.encode():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    if keep:
        backup(path)
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
    return True


def badge(nb, slug, base=None):
    """Set the Colab link and the setup cell.

    base: "public" for this repository, owner/repo/blob/branch/folder of another place, or None for no link.
    """
    url, branch = set_repository.address()
    try:
        set_repository.stamp(nb, f"assignments/{slug}.ipynb", url, branch)
    except ValueError as error:
        raise ReleaseError(str(error)) from None
    public = set_repository.colab_line(url, branch, f"assignments/{slug}.ipynb")
    if base != "public":
        link = f"https://colab.research.google.com/github/{base.strip('/')}/{slug}.ipynb" if base else ""
        text = nb.cells[0].source.replace(public, f"[Open in Colab]({link})" if base else "")
        nb.cells[0].source = text.replace("\n\n\n\n", "\n\n").rstrip()


def config(course, slug):
    """nbgrader's settings for one assignment of a course folder."""
    from traitlets.config import Config

    settings = Config()
    settings.CourseDirectory.root = str(Path(course).resolve())
    settings.CourseDirectory.assignment_id = slug
    settings.CourseDirectory.db_url = f"sqlite:///{(Path(course) / 'gradebook.db').resolve()}"
    return settings


def convert(converter_class, settings, **options):
    """Run one of nbgrader's converters; return what it logged (warnings and worse). Raises ReleaseError."""
    from nbgrader.converters.base import NbGraderException
    from nbgrader.coursedir import CourseDirectory

    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    log = logging.getLogger(f"nbgrader.{converter_class.__name__}")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.WARNING)
    directory = CourseDirectory(config=settings, log=log)
    path = os.environ.get("PATH", "")
    warnings.filterwarnings("ignore", module="nbgrader")    # of sqlalchemy, about nbgrader's own queries
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"     # a new gradebook.db needs `alembic`
    try:
        converter = converter_class(coursedir=directory, config=settings, log=log, **options)
        converter.start()
    except (NbGraderException, SystemExit) as error:
        raise ReleaseError("\n".join([*lines, str(error)]).strip()) from None
    finally:
        os.environ["PATH"] = path
    return lines


def generate(nb, slug, course):
    """Student version of a rendered source notebook, with nbgrader's generate_assignment; fills the course folder.

    Returns the clean student notebook. Nothing is written when source and release are there and as they would be.
    """
    from nbgrader.converters import GenerateAssignment

    course = Path(course)
    text = as_text(normalise(nb))
    source, release = (course / kind / slug / f"{slug}.ipynb" for kind in ("source", "release"))
    if not (source.exists() and source.read_text(encoding="utf-8") == text and release.exists()
            and (course / "gradebook.db").exists()):
        save_gradebook(course)
        for path in (source, release):      # whole folders: nbgrader copies what else lies beside a source notebook
            backup(path.parent)
        put(source, text)
        convert(GenerateAssignment, config(course, slug), force=True)
        release.write_text(as_text(normalise(chapters.read(release))), encoding="utf-8")
    return chapters.read(release)


@functools.cache
def save_gradebook(course):
    """Copy gradebook.db aside, once in a run, before the first change."""
    if (course / "gradebook.db").exists():
        shutil.copy2(course / "gradebook.db", backup_name(course / "gradebook.db"))


def backup_name(path):
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
    return path.with_name(f"{path.name}.bak-{stamp}")


def leaks(nb):
    """Marks of the source that a student version must not contain."""
    marks = ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN TESTS", "END HIDDEN TESTS", "MARK SCHEME")
    return sorted({mark for cell in nb.cells for mark in marks if mark in cell.source})


SETTINGS = """\
# nbgrader's settings. In this folder `nbgrader db student list`, `nbgrader release_assignment`, and the formgrader of a
# JupyterLab that is started here, work on this course.
c = get_config()
c.CourseDirectory.course_id = {name!r}
"""


def build(slug, course, *, seed=0, colab=None):
    """Render and generate one assignment into a course folder; return the student notebook. Raises ReleaseError."""
    from tools.exercises import source

    try:
        nb = source.render(source.read(slug), slug, seed)
    except (ValueError, OSError) as error:
        raise ReleaseError(f"{slug}: {error}") from None
    for cell in chapters.tagged(nb, "check"):
        cell.metadata.tags = [*chapters.tags(cell), "hide-input"]       # the book's pages fold its code
    badge(nb, slug, "public" if is_public(slug, seed) else colab)
    nb = generate(nb, slug, course)
    if found := leaks(nb):
        raise ReleaseError(f"{slug}: the student version still contains {', '.join(found)}; each must be on a line of "
                           "its own, '### BEGIN ...', in a cell whose metadata say solution or grade")
    return nb


def refuse_another_seed(course, slug, seed):
    """Raise ReleaseError when students of this course work, or have worked, on another version of the assignment."""
    path = Path(course) / "seeds.json"
    old = json.loads(path.read_text()).get(slug) if path.exists() else None
    if old not in (None, str(seed)) and any((Path(course) / "submitted").glob(f"*/{slug}/*")):
        raise ReleaseError(f"{slug}: submissions in {course} answer the version of SEED={old}, not {seed}; "
                           f"say SEED={old}, or take another COURSE folder")


def remember(course, slug, seed):
    """Note in the course folder which seed was released, and how nbgrader finds it; students see neither."""
    path = Path(course) / "seeds.json"
    seeds = json.loads(path.read_text()) if path.exists() else {}
    put(path, json.dumps(seeds | {slug: str(seed)}, indent=1, sort_keys=True) + "\n", keep=False)
    settings = Path(course) / "nbgrader_config.py"
    if not settings.exists():       # yours to change
        put(settings, SETTINGS.format(name=Path(course).resolve().name))


def stale(slugs):
    """Those of the public assignments whose committed student version is not what this command writes."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for slug in slugs:
            path = ASSIGNMENTS / f"{slug}.ipynb"
            if is_public(slug, 0) and (not path.exists() or path.read_text(encoding="utf-8") != as_text(
                    build(slug, folder))):
                found.append(slug)
    return found


def main(argv=None):
    from tools.exercises import source

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slugs", nargs="*", metavar="slug", help="default: every assignment")
    parser.add_argument("--seed", default="0", help="chooses the variants; 0 (the default) is the public version")
    parser.add_argument("--course", type=Path, default=COURSE, help="course folder (default: _build/course)")
    parser.add_argument("--colab", help="owner/repo/blob/branch/folder where you put a private release, for its badge")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a committed version is stale")
    args = parser.parse_args(argv)
    try:
        known = source.slugs()
    except ValueError as error:
        sys.exit(f"error: {error}")
    if unknown := [slug for slug in args.slugs if slug not in known]:
        sys.exit(f"error: no such assignment: {', '.join(unknown)}; there are {', '.join(known) or 'none'}")
    try:
        if args.check:
            if old := stale(args.slugs or known):
                sys.exit(f"error: {', '.join(old)}: the committed student version is not what {COMMAND} writes; run it")
            print(f"{len(args.slugs or known)} student versions are up to date")
            return
        for slug in args.slugs or known:
            refuse_another_seed(args.course, slug, args.seed)
            nb = build(slug, args.course, seed=args.seed, colab=args.colab)
            remember(args.course, slug, args.seed)
            place = args.course / "release" / slug / f"{slug}.ipynb"
            if is_public(slug, args.seed):
                place = ASSIGNMENTS / f"{slug}.ipynb"
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.exists() or place.read_text(encoding="utf-8") != as_text(nb):
                    place.write_text(as_text(nb), encoding="utf-8")     # its earlier text is in git
            print(f"{slug}: {os.path.relpath(place)}", flush=True)
    except ReleaseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Hand in as students would: python -m tools.exercises.rehearse SLUG FOLDER [--students N] [--course DIR] [--check]

Writes submissions that are made of the answers by which the graders are proved: the first right, the second untouched,
the next ones with one task answered rightly in another way or wrongly, in turn. After `make grade` on that folder,
--check compares the marks in the course folder with what each of them deserves. Answers fit the seed with which the
assignment was released there.
"""

import argparse
import csv
import json
import sys
from copy import deepcopy
from pathlib import Path

from tools import chapters
from tools.clean_notebooks import as_text
from tools.exercises import release, source


def students(slug, seed, release_nb, number):
    """[(name, notebook, {task: whether it earns every point, or None if untouched})]."""
    values, made = source.choice(source.read(slug), slug, seed), source.render(source.read(slug), slug, seed)
    solutions = {task.id: task.solution.source for task in source.auto(made)}
    answers = [a for a in source.read_answers(slug) if a.kind in ("right", "wrong")]
    known = [("right", {}), ("stub", None)]
    known += [(a.kind, {a.task: source.complete(source.fill(a.text, values), solutions[a.task])}) for a in answers]
    found = []
    for index in range(number):
        kind, changed = known[index % len(known)]
        nb = deepcopy(release_nb)
        for cell in nb.cells:
            name = source.grading(cell).get("grade_id")
            if changed is not None and name in solutions:
                cell.source = (solutions | changed)[name]
        expected = {task: None if changed is None else kind == "right" or task not in changed for task in solutions}
        found.append((f"student-{index + 1:02d}", nb, expected))
    return found


def mistakes(slug, expected, grades, points):
    """Where the marks are not what an answer deserves; `grades`: {student: row of the table}."""
    found = []
    for name, _, tasks in expected:
        row = grades.get(name)
        if row is None or row["status"] != "graded":
            found.append(f"{name}: {row['status'] if row else 'not in the table'}")
            continue
        for task, right in tasks.items():
            earned = sum(float(row[column]) for column in row if (m := source.TEST_ID.fullmatch(column or ""))
                         and m["task"] == task)
            if (right and earned != points[task]) or (right is None and earned) or (
                    right is False and earned >= points[task]):
                found.append(f"{name}: {task} earns {earned:g} of {points[task]:g}")
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slug", help="the assignment, such as 09_vae")
    parser.add_argument("folder", type=Path, nargs="?", help="where to write the submissions")
    parser.add_argument("--students", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--course", type=Path, default=release.COURSE, help="course folder (default: _build/course)")
    parser.add_argument("--check", action="store_true", help="write nothing; look at the grades in the course folder")
    args = parser.parse_args(argv)
    student_version = args.course / "release" / args.slug / f"{args.slug}.ipynb"
    seeds = args.course / "seeds.json"
    if not student_version.exists() or not seeds.exists():
        sys.exit(f"error: {args.slug} is not in {args.course}; first: {release.COMMAND} ASSIGNMENT={args.slug} "
                 f"COURSE={args.course}")
    seed = json.loads(seeds.read_text())[args.slug]
    made = students(args.slug, seed, chapters.read(student_version), args.students)
    if args.check:
        table = args.course / "grades" / f"{args.slug}.csv"
        rows = {row["student"]: row for row in csv.DictReader(table.open(encoding="utf-8", newline=""))}
        points = {task.id: task.points for task in source.auto(source.read(args.slug))}
        if found := mistakes(args.slug, made, rows, points):
            sys.exit("error: " + "\n".join(found))
        print(f"{len(made)} submissions have the marks that they deserve")
        return
    if args.folder is None:
        parser.error("name the FOLDER to write to, or --check")
    for name, nb, _ in made:
        place = args.folder / name / f"{args.slug}.ipynb"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(as_text(nb), encoding="utf-8")
        print(place)


if __name__ == "__main__":
    main()

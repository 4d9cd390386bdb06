import pytest

from tools.exercises import proofs
from tools.exercises.mutants import mutants

TEST = ("test", "f", 2.0, "assert f(3) == 9, 'not the square'")


def graded(*texts, seconds=10.0, memory=2 * 1024**3):
    scripts = [[("solution", "f", 0.0, text), TEST] for text in texts]
    return {i: r["f"] for i, r in proofs.run(scripts, {"__name__": "__main__"}, seconds=seconds, memory=memory)}


def test_right_answers_earn_their_points_and_wrong_ones_are_told_why():
    done = graded("f = lambda x: x * x", "f = lambda x: 2 * x")
    assert done[0].points == 2 and done[1].points == 0 and "not the square" in done[1].messages[0]


@pytest.mark.parametrize("text, said", [
    ("raise RuntimeError('at once')", "at once"),
    ("import sys; sys.exit(3)", "SystemExit"),
    ("import os; os._exit(3)", "status 3"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "status -9"),
    ("x = bytearray(5 * 1024**3)", "MemoryError"),
    ("def f(x): return f(x)", "RecursionError"),
    ("def f(:", "SyntaxError"),
])
def test_an_answer_that_breaks_is_marked_and_the_next_goes_on(text, said):
    done = graded(text, "f = lambda x: x**2")
    assert done[0].points == 0 and said in " ".join(done[0].messages)
    assert done[1].points == 2


def test_an_endless_answer_is_stopped_with_what_it_started():
    done = graded("import os\nos.fork()\nwhile True: pass", "f = lambda x: x**2", seconds=0.7)
    assert done[0].points == 0 and "stopped after 0.7 s" in done[0].messages[0]
    assert done[1].points == 2


def test_answers_do_not_see_each_other():
    done = graded("f = lambda x: x**2", "pass")
    assert done[0].points == 2 and done[1].points == 0


def test_mutants_are_programs_that_differ_each_with_a_name_of_its_own():
    text = "def f(x, n):\n    y = x.sum(1).sqrt() - 2 * x\n    return y.mean() if n < 3 else -y"
    made = mutants(text)
    names = [name for name, _ in made]
    assert len(set(names)) == len(names) and len({text for _, text in made}) == len(made)
    for part in ("-> x.mean(1)", "-> x.sum(1)", "n < 3 -> n <= 3", "2 -> 3", "2 -> 1", "-y -> y", ".detach()"):
        assert any(part in name for name in names), part
    for name, changed in made:
        compile(changed, name, "exec")


def test_the_stub_earns_nothing_and_the_source_everything_in_the_first_two_tasks():
    from tools.exercises import source

    nb = source.read("09_vae")
    made = source.render(nb, "09_vae")
    space = proofs.prepare(made)
    stubs = {task.id: source.stub(task.solution) for task in source.tasks(made)}
    scripts = [proofs.script(made, {}, only="loss"), proofs.script(made, stubs, only="loss")]
    done = dict(proofs.run(scripts, space))
    assert done[0]["loss"].points == 6 and done[1]["loss"].points == 0
    assert "loss: not attempted" in done[1]["loss"].messages


def test_a_verdict_finds_a_grader_that_is_too_kind_or_tells_the_wrong_thing():
    totals, case = {"f": 2.0}, lambda kind, words="": ("f", kind, "what", words, [])
    full, none = {"f": proofs.Result(2.0, ["f: passed"])}, {"f": proofs.Result(0.0, ["the sum"])}
    assert "earns every point" in proofs.verdict(case("wrong"), full, totals)
    assert "is not told" in proofs.verdict(case("wrong", "a mean"), none, totals)
    assert "earns 0 of 2" in proofs.verdict(case("right"), none, totals)
    assert "every point" in proofs.verdict(case("old"), full, totals)
    assert not proofs.verdict(case("wrong", "The SUM"), none, totals)

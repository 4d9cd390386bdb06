import pytest
import torch

from genai_utils.checks import check


def verdict(capsys, body):
    check("exercise 3")(body)
    return capsys.readouterr().out


def test_check_says_not_attempted_for_the_untouched_starter(capsys):
    def body():
        raise NotImplementedError

    assert verdict(capsys, body) == "exercise 3: not attempted\n"


def test_check_says_which_of_several_functions_is_still_the_starter(capsys):
    def choose():
        raise NotImplementedError

    def sweep():
        raise NotImplementedError

    check("sweep")(lambda: choose())
    check("sweep")(lambda: sweep())
    check("exercise 3")(lambda: choose())
    assert capsys.readouterr().out.splitlines() == [
        "sweep: not attempted: choose", "sweep: not attempted", "exercise 3: not attempted",
    ]  # fmt: skip


def test_check_does_not_take_what_torch_cannot_do_for_an_untouched_starter(capsys):
    def body():
        torch.ones(2, dtype=torch.bool) & torch.ones(2)

    assert verdict(capsys, body).startswith("exercise 3: not yet: ")


def test_check_says_passed_and_gives_the_function_back(capsys):
    def body():
        pass

    assert check("exercise 3")(body) is body
    assert capsys.readouterr().out == "exercise 3: passed\n"


def test_check_names_the_mistake_on_one_line(capsys):
    def body():
        torch.testing.assert_close(torch.zeros(3), torch.ones(3), msg=lambda m: f"the mean is off\n{m}")

    out = verdict(capsys, body)
    assert out.startswith("exercise 3: not yet: the mean is off; ") and out.count("\n") == 1


def test_check_survives_any_error_and_names_its_type(capsys):
    def body():
        torch.zeros(2) @ torch.zeros(3)

    assert verdict(capsys, body).startswith("exercise 3: not yet: RuntimeError: ")


def test_check_explains_an_assertion_without_a_message(capsys):
    def body():
        raise AssertionError

    assert "a property does not hold" in verdict(capsys, body)


@pytest.mark.parametrize("name", ["", "  ", None, print])
def test_check_refuses_a_missing_name(name):
    with pytest.raises(ValueError, match="exercise 1"):
        check(name)

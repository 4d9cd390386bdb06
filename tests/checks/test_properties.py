import pytest
import torch

from genai_utils import checks

X = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).double()
MASK = torch.ones(5, 5, dtype=torch.float64)
NOISE = torch.randn(4000, generator=torch.Generator().manual_seed(1))


def mixed(lower):
    return lambda x: torch.einsum("ts,bsd->btd", MASK.tril(lower), x)


def test_tell_accepts_what_is_right_and_names_the_mistake():
    checks.tell(torch.tensor(2.0), 2.0, {"the sum": 4.0})
    with pytest.raises(AssertionError, match="the rate is the sum"):
        checks.tell(4.0, 2.0, {"the sum": 4.0}, what="the rate")


@pytest.mark.parametrize("got, said", [
    (None, "return"), ("a", "is a str"), (torch.zeros(2, 1), "axis is left over"), (torch.tensor(0.0), "missing"),
    (torch.tensor([1.0, torch.nan]), "not finite"), (torch.tensor([1.0, 3.0]), "no mistake that this check knows"),
])
def test_tell_explains_results_that_are_no_known_mistake(got, said):
    with pytest.raises(AssertionError, match=said):
        checks.tell(got, torch.tensor([1.0, 2.0]))


def test_tell_does_not_show_the_right_number():
    with pytest.raises(AssertionError) as failure:
        checks.tell(1.0, 123.456)
    assert "123" not in str(failure.value)


def test_slips_and_reductions_are_told_from_the_right_result():
    for said, wrong in checks.slips(3.7).items():
        with pytest.raises(AssertionError, match=said.replace("?", ".")):
            checks.tell(wrong, 3.7, checks.slips(3.7))
    terms = X[0].square()
    for said, wrong in checks.reductions(terms).items():
        with pytest.raises(AssertionError, match=said):
            checks.tell(wrong, terms.sum(1).mean(), checks.reductions(terms))


@pytest.mark.parametrize("f, said", [
    (lambda a, b: a * b.detach(), "no gradient reaches b"), (lambda a, b: (a * b).detach(), "no gradient can flow"),
    (lambda a, b: 1.0, "must be a tensor"), (lambda a, b: (a - a).sqrt() + b, "a is not finite"),
])
def test_gradient_reaches_names_the_input_that_is_cut_off(f, said):
    checks.gradient_reaches(lambda a, b: a * b, a=X, b=X)
    with pytest.raises(AssertionError, match=said):
        checks.gradient_reaches(f, a=X, b=X)


def test_gradient_stops_names_the_input_that_must_be_held_constant():
    checks.gradient_stops(lambda a: a.detach() * 2, a=X)
    with pytest.raises(AssertionError, match="flows to a"):
        checks.gradient_stops(lambda a: a * 2, a=X)


@pytest.mark.parametrize("draws, said", [
    (0.09 * NOISE, "square root is missing"), (0.3**0.5 * NOISE, "one square root too many"),
    (NOISE, "was not scaled"), (0 * NOISE, "nothing is random"), (0.3 * NOISE + 1, "wrong mean"),
    (0.3 * (2 * torch.rand(4000, generator=torch.Generator().manual_seed(2)) - 1), "uniform"),
])
def test_spread_names_the_wrong_variance(draws, said):
    checks.spread(0.3 * NOISE, 0.0, 0.3)
    with pytest.raises(AssertionError, match=said):
        checks.spread(draws, 0.0, 0.3)


@pytest.mark.parametrize("p, said", [
    (X, "logits"), (X.log_softmax(-1), "log-prob"), (X.softmax(1), "wrong axis"), (X.sigmoid(), "normalise"),
])
def test_is_probability_says_what_stands_there_instead(p, said):
    checks.is_probability(X.softmax(-1))
    with pytest.raises(AssertionError, match=said):
        checks.is_probability(p)


def test_not_probability_refuses_one_softmax_too_many():
    checks.not_probability(X)
    with pytest.raises(AssertionError, match="too many"):
        checks.not_probability(X.softmax(-1))


@pytest.mark.parametrize("f, said", [
    (mixed(1), "output t sees input t . 1"), (mixed(-1), "does not see input t"), (mixed(9), "nothing is masked"),
    (lambda x: x.flip(1).cumsum(1).flip(1), "turned round"), (lambda x: x, "which it may see"),
])
def test_causal_says_how_the_mask_is_wrong(f, said):
    checks.causal(mixed(0), X)
    checks.causal(mixed(-1), X, inclusive=False)
    with pytest.raises(AssertionError, match=said):
        checks.causal(f, X)


def test_repeatable_finds_draws_that_leave_the_generator_out():
    checks.repeatable(lambda g: torch.randn(3, generator=g))
    with pytest.raises(AssertionError, match="hand generator"):
        checks.repeatable(lambda g: torch.randn(3))
    with pytest.raises(AssertionError, match="nothing is drawn"):
        checks.repeatable(lambda g: torch.zeros(3))


def test_untouched_finds_a_change_in_place():
    checks.untouched(lambda a, b: a + b, X.clone(), X.clone())
    with pytest.raises(AssertionError, match="argument 2"):
        checks.untouched(lambda a, b: b.add_(a), X.clone(), X.clone())


@pytest.mark.parametrize("call", [
    lambda: checks.causal(mixed(0), X[:, :2]), lambda: checks.spread(NOISE[:9], 0, 1), lambda: checks.reductions(X),
])
def test_checks_that_could_tell_nothing_are_refused(call):
    with pytest.raises(ValueError):
        call()

"""The character language model: causality, probabilities that sum to one, carried state, resumption, sampling."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from genai_utils.autoregressive.char_lm import (
    CarriedState, RecurrentLM, RecurrentLMConfig, lm_loss, log_prob, sample_tokens,
)  # fmt: skip
from genai_utils.autoregressive.rnn import CELLS
from genai_utils.core import from_json, seed_all, to_json
from genai_utils.data.sets import StreamBatches
from genai_utils.training import adamw, fit, make_step, warmup_cosine

ALPHABET = "\nabcd"  # V = 5


def build(cell="lstm", dtype=torch.float64, n_layers=2, seed=0, **kw):
    """A model whose predictions are far from uniform."""
    torch.manual_seed(seed)
    cfg = RecurrentLMConfig(alphabet=ALPHABET, cell=cell, d_embed=6, d_hidden=10, n_layers=n_layers, **kw)
    model = RecurrentLM(cfg).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.7)
    return model.eval()


def text(n=3, T=8, seed=1):
    return torch.randint(5, (n, T), generator=torch.Generator().manual_seed(seed))


def every_cell():
    return pytest.mark.parametrize("cell", CELLS)


@every_cell()
def test_logits_have_their_shape_and_gradient_reaches_every_parameter(cell):
    model, tokens = build(cell), text()
    logits, _ = model(tokens)
    assert logits.shape == (3, 8, 5)
    lm_loss(model, (tokens, text(seed=2)))[0].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@every_cell()
def test_logits_at_a_place_see_all_tokens_up_to_it_and_none_after(cell):
    model, tokens = build(cell), text(n=1)
    logits = model(tokens)[0][0]
    for j in range(8):
        changed = tokens.clone()
        changed[0, j] = (changed[0, j] + 1) % 5
        difference = (model(changed)[0][0] - logits).abs().amax(1)
        assert torch.equal(difference[:j], torch.zeros(j, dtype=torch.float64)), f"token {j} leaks"
        assert (difference[j:] > 1e-7).all(), f"token {j} is not seen"


def test_probabilities_of_all_texts_of_four_characters_sum_to_one():
    model = build()
    tokens = torch.tensor(list(itertools.product(range(5), repeat=4)))
    for start in ("\n", "a", "cab\n"):
        torch.testing.assert_close(log_prob(model, tokens, start).exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    assert not torch.equal(log_prob(model, tokens, "a"), log_prob(model, tokens))
    whole = log_prob(model, torch.cat([torch.tensor([[3, 1]]).expand(625, -1), tokens], dim=1))  # "ca", then tokens
    torch.testing.assert_close(log_prob(model, tokens, "\nca"), whole - log_prob(model, torch.tensor([[3, 1]])))


def test_loss_and_log_prob_equal_the_sum_over_places_by_hand():
    model, tokens, targets = build(), text(), text(seed=2)
    by_hand = torch.zeros(3, 8, dtype=torch.float64)
    story = torch.zeros(3, dtype=torch.float64)
    for b in range(3):
        for i in range(8):
            p = model(tokens[b : b + 1, : i + 1])[0][0, -1].softmax(0)
            by_hand[b, i] = -p[targets[b, i]].log()
            before = torch.cat([torch.tensor([0]), tokens[b, :i]])[None]  # token 0 is the end of the story before
            story[b] += model(before)[0][0, -1].log_softmax(0)[tokens[b, i]]
    loss, logs = lm_loss(model, (tokens, targets))
    torch.testing.assert_close(loss, by_hand.mean())
    assert logs == {"nll": loss}
    torch.testing.assert_close(log_prob(model, tokens), story)


def test_new_model_is_as_unsure_as_a_fair_die_and_learns_one_batch():
    seed_all(0)
    model = RecurrentLM(RecurrentLMConfig(alphabet=ALPHABET, d_embed=8, d_hidden=32))
    batch = text(n=4), text(n=4, seed=2)
    step = make_step(model, lm_loss, adamw(model, 2e-2))
    losses = [step(batch)["nll"].item() for _ in range(80)]
    assert losses[0] == pytest.approx(math.log(5), rel=0.1) and losses[-1] < 0.1


def test_dropout_acts_in_training_only_and_on_embeddings_and_outputs():
    model, tokens = build(dropout=0.5, n_layers=1), text()
    assert torch.equal(model(tokens)[0], model(tokens)[0])
    model.train()
    assert not torch.equal(model(tokens)[0][:, 0], model(tokens)[0][:, 0])
    seen = []
    model.head.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    model.body.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    model(tokens)
    assert all(0.2 < (x == 0).double().mean() < 0.8 for x in seen) and len(seen) == 2


def test_dropout_acts_between_layers_too():
    model, tokens = build(dropout=0.5).train(), text()
    embedded = model.embed(tokens)
    assert not torch.equal(model.body(embedded)[0], model.body(embedded)[0])


def test_only_an_lstm_starts_with_open_forget_gates():
    lstm = RecurrentLM(RecurrentLMConfig(alphabet=ALPHABET, d_hidden=10, n_layers=2))
    for w in lstm.body.weights():
        assert torch.equal((w.bias_ih + w.bias_hh)[10:20], torch.ones(10))


# Carried state


def strips(rows=2, length=4, n=41, seed=3):
    tokens = torch.randint(5, (n,), generator=torch.Generator().manual_seed(seed))
    return StreamBatches(tokens, rows, length)


@every_cell()
def test_losses_with_a_carried_state_are_those_of_one_long_read(cell):
    model, batches, carried = build(cell), strips(), CarriedState()
    windows = [next(batches) for _ in range(batches.steps)]
    losses = torch.stack([carried.loss(model, batch)[0] for batch in windows])
    tokens, targets = (torch.cat([batch[k] for batch in windows], dim=1) for k in (0, 1))
    whole = F.cross_entropy(model(tokens)[0].transpose(1, 2), targets, reduction="none")
    torch.testing.assert_close(losses, whole.unflatten(1, (-1, 4)).mean((0, 2)), rtol=1e-12, atol=1e-12)
    forgetful = torch.stack([lm_loss(model, batch[:2])[0] for batch in windows])
    assert ((forgetful - losses).abs()[1:] > 1e-4).all() and torch.equal(forgetful[0], losses[0])


@every_cell()
def test_gradient_of_a_window_stops_exactly_at_its_border(cell):
    """It is that of the window alone, read from a constant state; a read over both windows has another one."""
    model, carried, batches = build(cell), CarriedState(), strips()
    embedded = []
    hook = model.embed.register_forward_hook(lambda module, args, out: (out.retain_grad(), embedded.append(out))[0])
    first, second = next(batches), next(batches)
    carried.loss(model, first)
    constant = carried.state
    carried.loss(model, second)[0].backward()
    assert embedded[0].grad is None and (embedded[1].grad.abs().amax(2) > 0).all()
    hook.remove()
    found = [p.grad.clone() for p in model.parameters()]
    expected = torch.autograd.grad(lm_loss(model, second[:2], constant)[0], list(model.parameters()))
    tokens = torch.cat([first[0], second[0]], dim=1)
    through = F.cross_entropy(model(tokens)[0][:, 4:].flatten(0, 1), second[1].flatten())
    longer = torch.autograd.grad(through, list(model.parameters()))
    for (name, _), mine, reference, other in zip(model.named_parameters(), found, expected, longer):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-14)
        assert ((mine - other).abs().max() > 1e-6) != name.startswith("head"), name


def test_fresh_batch_begins_from_nothing_and_another_must_not_come_first():
    model, carried, batches = build(), CarriedState(), strips()
    one_pass = [carried.loss(model, next(batches))[0] for _ in range(batches.steps)]
    again = carried.loss(model, next(batches))[0]
    assert torch.equal(again, one_pass[0])
    with pytest.raises(ValueError, match=r'not fresh .* step.parts\["carried"\]'):
        CarriedState().loss(model, next(batches))


@every_cell()
@pytest.mark.parametrize("stop", [3, 5])  # within the first pass of five batches, and at its end
def test_resumed_run_with_a_carried_state_ends_with_the_same_bits(cell, stop, tmp_path):
    def run(steps, name):
        seed_all(0)
        cfg = RecurrentLMConfig(alphabet=ALPHABET, cell=cell, d_embed=6, d_hidden=10, n_layers=2, dropout=0.2)
        model, carried = RecurrentLM(cfg), CarriedState()
        opt = adamw(model, 1e-2)
        step = make_step(model, carried.loss, opt, schedule=warmup_cosine(opt, 8, warmup=2))
        step.parts["carried"] = carried
        rows = fit(step, strips(), steps=steps, every=1, checkpoint=tmp_path / name, progress=False)
        return model.state_dict(), carried.state_dict()["state"], rows

    whole, state, rows = run(8, "whole.pt")
    run(stop, "parted.pt")
    resumed, state_again, rows_again = run(8, "parted.pt")
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert len(state) == (2 if cell == "lstm" else 1) and all(map(torch.equal, state, state_again))
    assert rows == rows_again


def test_state_that_was_saved_before_any_batch_loads_as_nothing():
    carried = CarriedState()
    carried.loss(build(), next(strips()))
    carried.load_state_dict(CarriedState().state_dict())
    assert carried.state is None


# Sampling


def naive_samples(model, prompt, steps, temperature, seed):
    """Recompute everything for every character: the sampler without its memory."""
    g, tokens = torch.Generator().manual_seed(seed), prompt
    for _ in range(steps):
        logits = model(tokens)[0][:, -1]
        if temperature == 0:
            drawn = logits.argmax(1, keepdim=True)
        else:
            drawn = torch.multinomial((logits / temperature).softmax(1), 1, generator=g)
        tokens = torch.cat([tokens, drawn], dim=1)
    return tokens[:, prompt.shape[1] :]


@every_cell()
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_sampling_with_the_carried_state_equals_recomputing_everything(cell, temperature):
    model, prompt = build(cell), text(n=4, T=3)
    g = torch.Generator().manual_seed(5)
    steps = list(sample_tokens(model, prompt, 12, temperature=temperature, generator=g))
    drawn = torch.stack([tokens for tokens, _ in steps], dim=1)
    assert torch.equal(drawn, naive_samples(model, prompt, 12, temperature, seed=5))
    assert temperature == 0 or len(drawn.unique()) > 2
    before = torch.cat([prompt, drawn], dim=1)[:, :-1]
    whole = model(before)[0][:, 2:].log_softmax(2)
    found = torch.stack([log_probs for _, log_probs in steps], dim=1)
    torch.testing.assert_close(found, whole.detach(), rtol=1e-10, atol=1e-10)
    assert not found.requires_grad


def test_sampling_repeats_with_the_generator():
    model, prompt = build(), text(n=4, T=2)
    runs = [
        torch.stack([t for t, _ in sample_tokens(model, prompt, 20, generator=torch.Generator().manual_seed(seed))])
        for seed in (0, 0, 1)
    ]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_samples_follow_the_probabilities_of_the_model():
    """All 25 texts of two characters: counts within four standard errors of n p."""
    model, n = build(), 20_000
    steps = list(
        sample_tokens(model, torch.zeros(n, 1, dtype=torch.int64), 2, generator=torch.Generator().manual_seed(0))
    )
    seen = torch.bincount(steps[0][0] * 5 + steps[1][0], minlength=25) / n
    p = log_prob(model, torch.tensor(list(itertools.product(range(5), repeat=2)))).exp().detach()
    assert ((seen - p).abs() <= 4 * (p * (1 - p) / n).sqrt() + 1e-12).all()


def test_temperature_divides_the_logits_but_leaves_the_log_probabilities():
    model, n = build(), 20_000
    prompt = torch.zeros(n, 1, dtype=torch.int64)
    tokens, log_probs = next(
        sample_tokens(model, prompt, 1, temperature=0.5, generator=torch.Generator().manual_seed(0))
    )
    p = model(prompt[:1])[0][0, 0].softmax(0).detach()
    torch.testing.assert_close(log_probs[0].exp(), p)
    sharp = p.square() / p.square().sum()
    seen = torch.bincount(tokens, minlength=5) / n
    assert ((seen - sharp).abs() < 4 * (sharp * (1 - sharp) / n).sqrt()).all() and (sharp - p).abs().max() > 0.02


# Refusals


def test_config_survives_json():
    cfg = RecurrentLMConfig(alphabet='\n "é', cell="gru", d_embed=3, d_hidden=4, n_layers=2, dropout=0.1)
    assert from_json(RecurrentLMConfig, to_json(cfg)) == cfg
    assert RecurrentLM(cfg).vocab == 4


@pytest.mark.parametrize("wrong, message", [
    ({"alphabet": ""}, "alphabet must have each of its characters once, got ''"), ({"alphabet": "abca"}, "got 'abca'"),
    ({"cell": "tanh"}, "one of rnn, gru, lstm, got 'tanh'"), ({"d_embed": 0}, "{'d_embed': 0}"),
    ({"d_hidden": 0, "n_layers": 0}, "{'d_hidden': 0, 'n_layers': 0}"), ({"dropout": 1.0}, "dropout .* got 1.0"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        RecurrentLM(RecurrentLMConfig(**({"alphabet": ALPHABET} | wrong)))


def test_tokens_that_do_not_fit_are_refused():
    model, tokens = build(), text()
    for wrong, message in [
        (tokens + 1, r"tokens must be in \[0, 5\), got 5; encode with CharTokenizer"), (tokens - 1, "got -1"),
        (tokens.int(), r"got \(3, 8\) torch.int32"), (tokens[0], r"must be \(B, T\) int64.* got \(8,\)"),
        (tokens[:, :0], r"at least one row and one token, got \(3, 0\)"), (tokens[:0], r"got \(0, 8\)"),
    ]:  # fmt: skip
        for read in (model, lambda t: log_prob(model, t), lambda t: lm_loss(model, (t, tokens))):
            with pytest.raises(ValueError, match=message):
                read(wrong)
    with pytest.raises(ValueError, match=r"targets must be in \[0, 5\), got 5"):
        lm_loss(model, (tokens, tokens + 1))
    with pytest.raises(ValueError, match=r"targets must be as the tokens, \(3, 8\), got \(3, 7\)"):
        lm_loss(model, (tokens, tokens[:, 1:]))
    for start in ("x", "", "ax"):
        with pytest.raises(ValueError, match=f"start must be one or more characters of the alphabet .* got '{start}'"):
            log_prob(model, tokens, start)


@pytest.mark.parametrize("wrong, message", [
    ({"steps": 0}, "steps=0"), ({"temperature": -0.1}, "temperature=-0.1"), ({"temperature": math.inf}, "=inf"),
    ({"temperature": math.nan}, "temperature=nan"), ({"prompt": torch.zeros(1, 0, dtype=torch.int64)}, r"\(1, 0\)"),
    ({"prompt": torch.tensor([[5]])}, r"prompt must be in \[0, 5\), got 5"), ({"prompt": torch.tensor([0])}, r"\(1,\)"),
])  # fmt: skip
def test_sampling_refuses_bad_input_at_its_first_step(wrong, message):
    asked = {"prompt": torch.tensor([[0]]), "steps": 2, "temperature": 1.0} | wrong
    with pytest.raises(ValueError, match=message):
        next(sample_tokens(build(), **asked))

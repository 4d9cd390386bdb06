import itertools
import math

import pytest
import torch

from genai_utils.core import from_json, seed_all, to_json
from genai_utils.metrics import Classifier
from genai_utils.training import adamw, make_step
from genai_utils.vae.prior import (
    PRESETS, CodePrior, CodePriorConfig, DescriptionLength, description_length, prior_loss, sample_codes,
)  # fmt: skip
from genai_utils.vae.vqvae import VQVAE, VQVAEConfig
from genai_utils.weights import load_weights

SMALL = {"side": 3, "n_codes": 6, "d_model": 16, "n_layers": 2, "n_heads": 2}
CONFIGS = {"classes": CodePriorConfig(**SMALL, n_classes=4), "no-classes": CodePriorConfig(**SMALL, n_classes=0)}


def build(cfg, dtype=torch.float64, seed=0):
    """A prior whose logits are far from uniform: the small weights of its start are drawn anew."""
    torch.manual_seed(seed)
    model = CodePrior(cfg).to(dtype)
    with torch.no_grad():
        for table in (model.start, model.code, model.place):
            table.weight.normal_()
        model.head.weight.normal_(std=0.5)
    return model.eval()


def batch(cfg, n=4):
    g = torch.Generator().manual_seed(0)
    codes = torch.randint(cfg.n_codes, (n, cfg.side, cfg.side), generator=g)
    return codes, torch.arange(n) % cfg.n_classes if cfg.n_classes else None


def configs():
    return pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)


@configs()
def test_logits_have_their_shape_and_gradient_reaches_every_parameter(cfg):
    model = build(cfg)
    logits = model(*batch(cfg))
    assert logits.shape == (4, 9, 6)
    prior_loss(model, batch(cfg))[0].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_prior_sees_every_code_before_a_place_and_none_from_it_on():
    model = build(CONFIGS["classes"])
    codes, labels = batch(model.cfg, n=1)
    logits = model(codes, labels)[0]
    for j in range(9):
        changed = codes.clone().view(1, 9)
        changed[0, j] = (changed[0, j] + 1) % 6
        difference = (model(changed.view(1, 3, 3), labels)[0] - logits).abs().amax(1)
        assert torch.equal(difference[: j + 1], torch.zeros(j + 1, dtype=torch.float64)), f"code {j} leaks"
        assert (difference[j + 1 :] > 1e-6).all(), f"code {j} is not seen"


def test_every_place_sees_the_label():
    model = build(CONFIGS["classes"])
    codes, labels = batch(model.cfg)
    assert ((model(codes, labels) - model(codes, (labels + 1) % 4)).abs().amax((0, 2)) > 1e-6).all()


@configs()
def test_cached_logits_equal_those_of_the_whole_sequence(cfg):
    model, (codes, labels) = build(cfg), batch(cfg)
    with torch.no_grad():
        whole, cache, token = model(codes, labels), model.cache(4), model.first(4, labels)
        cache.fill_(math.nan)  # nothing is read before it is written
        for i in range(9):
            torch.testing.assert_close(model.next_logits(token, i, cache), whole[:, i], rtol=1e-10, atol=1e-10)
            token = model.code(codes.flatten(1)[:, i])


@configs()
def test_probabilities_of_all_grids_sum_to_one(cfg):
    cfg = CodePriorConfig(side=2, n_codes=3, n_classes=cfg.n_classes, d_model=16, n_layers=2, n_heads=2)
    model = build(cfg)
    codes = torch.tensor(list(itertools.product(range(3), repeat=4))).view(81, 2, 2)
    for y in range(cfg.n_classes or 1):
        log_p = model.log_prob(codes, torch.full((81,), y) if cfg.n_classes else None)
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12) and log_p.std() > 0.5
    assert model.log_prob(codes).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_log_prob_without_labels_is_the_average_over_the_classes():
    model = build(CONFIGS["classes"])
    codes, _ = batch(model.cfg)
    by_hand = sum(model.log_prob(codes, torch.full((4,), y)).exp() / 4 for y in range(4)).log()
    torch.testing.assert_close(model.log_prob(codes), by_hand)


@configs()
def test_loss_is_the_naive_sum_over_the_places(cfg):
    model, (codes, labels) = build(cfg), batch(cfg)
    loss, logs = prior_loss(model, (codes, labels))
    p = model(codes, labels).softmax(2)
    naive = -sum(p[b, 3 * i + j, codes[b, i, j]].log() for b in range(4) for i in range(3) for j in range(3)) / 4
    assert loss.item() == pytest.approx(naive.item(), rel=1e-12)
    assert logs["nll"].item() == loss.item() and logs["nll_per_code"].item() == pytest.approx(loss.item() / 9)


def test_labels_of_a_set_are_ignored_by_a_prior_without_classes():
    model, (codes, _) = build(CONFIGS["no-classes"]), batch(CONFIGS["no-classes"])
    assert torch.equal(prior_loss(model, (codes, torch.arange(4)))[0], prior_loss(model, (codes, None))[0])


def test_prior_learns_one_batch_that_only_the_labels_tell_apart():
    seed_all(0)
    model = CodePrior(CONFIGS["classes"])
    data = batch(model.cfg)
    step = make_step(model, prior_loss, adamw(model, 1e-2))
    losses = [step(data)["nll"].item() for _ in range(60)]
    assert losses[0] == pytest.approx(9 * math.log(6), rel=0.2) and losses[-1] < 0.5


# Sampling


@configs()
def test_sampling_fills_the_grid_place_by_place_and_repeats_with_the_generator(cfg):
    model, labels = build(cfg), batch(cfg)[1]
    films = [list(sample_codes(model, 4, labels, generator=torch.Generator().manual_seed(s))) for s in (0, 0, 1)]
    assert [i for i, _ in films[0]] == list(range(9))
    for i, codes in films[0]:
        assert codes.shape == (4, 3, 3) and codes.dtype == torch.int64
        assert (codes.flatten(1)[:, : i + 1] >= 0).all() and (codes.flatten(1)[:, i + 1 :] == -1).all()
        assert torch.equal(codes.flatten(1)[:, : i + 1], films[0][-1][1].flatten(1)[:, : i + 1])
    assert films[0][-1][1].max() < 6
    assert torch.equal(films[0][-1][1], films[1][-1][1]) and not torch.equal(films[0][-1][1], films[2][-1][1])


def test_samples_follow_the_probabilities_of_their_label():
    """All 16 grids of two codes at four places: counts within four standard errors of n p."""
    cfg = CodePriorConfig(side=2, n_codes=2, n_classes=2, d_model=16, n_layers=2, n_heads=2)
    model, n = build(cfg), 20_000
    grids = torch.tensor(list(itertools.product(range(2), repeat=4))).view(16, 2, 2)
    for y in (0, 1):
        labels = torch.full((n,), y)
        *_, (_, codes) = sample_codes(model, n, labels, generator=torch.Generator().manual_seed(y))
        seen = torch.bincount((codes.flatten(1) * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16) / n
        p = model.log_prob(grids, labels[:16]).exp().detach()
        assert ((seen - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()
        other = model.log_prob(grids, 1 - labels[:16]).exp().detach()
        assert ((seen - other).abs() > 4 * (other * (1 - other) / n).sqrt()).any()


def test_temperature_divides_the_logits():
    """The first code's frequencies at temperature 0.5 are those of the squared probabilities; near 0 the likeliest."""
    model, n = build(CONFIGS["no-classes"]), 20_000
    p = model(torch.zeros(1, 3, 3, dtype=torch.int64))[0, 0].softmax(0).detach()
    sharp = p.square() / p.square().sum()
    _, codes = next(sample_codes(model, n, temperature=0.5, generator=torch.Generator().manual_seed(0)))
    seen = torch.bincount(codes[:, 0, 0], minlength=6) / n
    assert ((seen - sharp).abs() < 4 * (sharp * (1 - sharp) / n).sqrt()).all() and (sharp - p).abs().max() > 0.02
    *_, (_, first) = sample_codes(model, 3, temperature=1e-9, generator=torch.Generator().manual_seed(0))
    best = torch.zeros(1, 9, dtype=torch.int64)
    for i in range(9):
        best[0, i] = model(best.view(1, 3, 3))[0, i].argmax()
    assert torch.equal(first.flatten(1), best.expand(3, 9))


# Description length


def autoencoder(**kw):
    torch.manual_seed(1)
    base = {"side": 4, "widths": (4, 4), "groups": 2, "latent": 3, "n_codes": 3, "d_code": 2}
    return VQVAE(VQVAEConfig(**(base | kw))).double().eval()


@pytest.mark.parametrize("labelled", [True, False])
def test_description_length_is_one_term_of_the_sum_over_all_codes_and_so_a_bound(labelled):
    """With 3 codes at 4 places all 81 grids can be summed."""
    vqvae = autoencoder()
    prior = build(CodePriorConfig(side=2, n_codes=3, n_classes=2, d_model=16, n_layers=1, n_heads=2))
    x = torch.randint(256, (5, 1, 4, 4), generator=torch.Generator().manual_seed(0)) / 127.5 - 1
    x, labels = x.double(), torch.tensor([0, 1, 0, 1, 1]) if labelled else None
    grids = torch.tensor(list(itertools.product(range(3), repeat=4))).view(81, 2, 2)
    length = description_length(vqvae, prior, x, labels)
    for i in range(5):
        label = labels[i].expand(81) if labelled else None
        terms = prior.log_prob(grids, label) + vqvae.likelihood.log_prob(vqvae.decode(grids), x[i].expand(81, 1, 4, 4))
        exact = -terms.logsumexp(0)
        mine = (grids == vqvae.encode(x)[i]).all((1, 2)).nonzero().item()
        torch.testing.assert_close(length.codes[i] + length.pixels[i], -terms[mine])
        torch.testing.assert_close(length.codes[i], -prior.log_prob(grids, label)[mine])
        assert length.codes[i] + length.pixels[i] > exact
    assert isinstance(length, DescriptionLength) and not length.codes.requires_grad


def test_density_has_no_description_length():
    prior = build(CodePriorConfig(side=2, n_codes=3, n_classes=0, d_model=8, n_layers=1, n_heads=2))
    with pytest.raises(ValueError, match="a Gaussian likelihood is a density"):
        description_length(autoencoder(likelihood="gaussian"), prior, torch.zeros(1, 1, 4, 4).double())
    with pytest.raises(ValueError, match="8-bit pixels"):
        description_length(autoencoder(), prior, torch.full((1, 1, 4, 4), 0.3).double())


# Refusals


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_build_and_survive_json(cfg):
    assert from_json(CodePriorConfig, to_json(cfg)) == cfg
    with torch.device("meta"):
        CodePrior(cfg)


@pytest.mark.parametrize("wrong, message", [
    ({"side": 0}, "{'side': 0}"), ({"n_codes": 0, "n_layers": 0}, "{'n_codes': 0, 'n_layers': 0}"),
    ({"n_heads": 3}, "d_model must be a multiple of n_heads=3, got 16"), ({"n_classes": -1}, "n_classes"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CodePrior(CodePriorConfig(**(SMALL | wrong)))


def test_codes_and_labels_that_do_not_fit_are_refused():
    model, (codes, labels) = build(CONFIGS["classes"]), batch(CONFIGS["classes"])
    for wrong, message in [
        ((codes[:, :2], labels), r"codes must be \(B, 3, 3\) int64, got \(4, 2, 3\)"),
        ((codes.float(), labels), r"got \(4, 3, 3\) torch.float32"),
        ((codes - 1, labels), r"codes must be in \[0, 6\), got -1"), ((codes + 6, labels), r"\[0, 6\), got \d+"),
        ((codes, None), r"takes labels in \[0, 4\), got none"), ((codes, labels + 1), r"labels must be in .* got 4"),
        ((codes, labels[:3]), r"labels must be \(4,\)"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            prior_loss(model, wrong)
    with pytest.raises(ValueError, match="takes no labels"):
        build(CONFIGS["no-classes"])(codes, labels)


@pytest.mark.parametrize("wrong, message", [
    ({"n": 0}, "got n=0"), ({"temperature": 0.0}, "temperature=0.0"), ({"labels": None}, "got none"),
    ({"labels": torch.tensor([0])}, r"labels must be \(2,\)"), ({"labels": torch.tensor([0, 7])}, "got 7"),
])  # fmt: skip
def test_sampling_refuses_bad_input_at_its_first_step(wrong, message):
    asked = {"n": 2, "labels": torch.tensor([0, 1]), "temperature": 1.0} | wrong
    with pytest.raises(ValueError, match=message):
        next(sample_codes(build(CONFIGS["classes"]), **asked))


def test_shipped_prior_draws_the_digits_it_is_asked_for_from_the_shipped_autoencoder():
    vqvae, prior = load_weights("vqvae-mnist", VQVAE), load_weights("code-prior-mnist", CodePrior)
    judge, labels = load_weights("classifier-mnist", Classifier), torch.arange(40) % 10
    *_, (_, codes) = sample_codes(prior, 40, labels, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        digits = vqvae.likelihood.mean(vqvae.decode(codes))
        assert (judge(digits).argmax(1) == labels).float().mean() > 0.8
        again = (vqvae.encode(digits) == codes).float().mean()
    assert again > 0.5  # of chance 1/128: the picture still says from which codes it was made

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from genai_utils.autoregressive.wavenet import (
    PRESETS, WaveCache, WaveNet, WaveNetConfig, dilations, receptive_field, sample_waves, wavenet_loss,
)  # fmt: skip
from genai_utils.core import from_json, seed_all, to_json
from genai_utils.data.audio import mu_law_decode, mu_law_encode
from genai_utils.training import adamw, make_step
from genai_utils.weights import load_weights

SMALL = {"levels": 6, "width": 4, "skip": 5, "n_blocks": 2, "n_layers": 3}
CONFIGS = {"classes": WaveNetConfig(**SMALL, n_classes=3), "no-classes": WaveNetConfig(**SMALL)}


def build(cfg, dtype=torch.float64, seed=0):
    """A network whose every weight is random and whose logits are far from uniform."""
    g = torch.Generator().manual_seed(seed)
    model = WaveNet(cfg)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * (0.5 if p.ndim == 1 else 1.2 * p[0].numel() ** -0.5))
        model.embed.weight.mul_(2)
    return model.to(dtype).eval()


def batch(cfg, n=4, T=20):
    codes = torch.randint(cfg.levels, (n, T), generator=torch.Generator().manual_seed(0))
    return codes, torch.arange(n) % cfg.n_classes if cfg.n_classes else None


def waves_of(codes, levels, dtype=torch.float64):
    return mu_law_decode(codes, levels).to(dtype)


def configs():
    return pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)


@configs()
def test_logits_have_their_shape_and_gradient_reaches_every_parameter(cfg):
    model, (codes, labels) = build(cfg), batch(cfg)
    assert model(codes, labels).shape == (4, 6, 20)
    wavenet_loss(model, (waves_of(codes, 6), labels))[0].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@pytest.mark.parametrize("n_blocks, n_layers, reach", [(1, 1, 2), (1, 4, 16), (2, 3, 15), (3, 2, 10)])
def test_output_sees_every_sample_of_its_receptive_field_and_no_other(n_blocks, n_layers, reach):
    cfg = WaveNetConfig(**(SMALL | {"n_blocks": n_blocks, "n_layers": n_layers}))
    assert receptive_field(cfg) == reach and len(dilations(cfg)) == n_blocks * n_layers
    model, (codes, _) = build(cfg), batch(cfg, n=1, T=2 * reach + 1)
    logits = model(codes)[0]
    for j in range(codes.shape[1]):
        changed = codes.clone()
        changed[0, j] = (changed[0, j] + 1) % 6
        difference = (model(changed)[0] - logits).abs().amax(0)
        seen = difference[j + 1 : j + 1 + reach]
        assert difference[: j + 1].max() == 0, f"sample {j} leaks"
        assert (seen > 1e-9).all(), f"sample {j} is not seen"
        assert not difference[j + 1 + reach :].any(), f"sample {j} is seen from beyond the receptive field"


def test_first_sample_sees_a_start_of_its_own():
    model = build(CONFIGS["no-classes"])
    before = model(torch.zeros(1, 3, dtype=torch.int64))
    with torch.no_grad():
        model.embed.weight[6] += 1
    after = model(torch.zeros(1, 3, dtype=torch.int64))
    assert ((before - after).abs().amax((0, 1)) > 1e-6).all()


def test_every_sample_hears_the_label():
    model, (codes, labels) = build(CONFIGS["classes"]), batch(CONFIGS["classes"])
    assert ((model(codes, labels) - model(codes, (labels + 1) % 3)).abs().amax((0, 1)) > 1e-6).all()


def test_label_reaches_the_gates_of_every_layer():
    model, (codes, labels) = build(CONFIGS["classes"]), batch(CONFIGS["classes"])
    logits = model(codes, labels)
    for i in range(6 * 8):  # six layers, two filters of width 4
        other = build(CONFIGS["classes"])
        with torch.no_grad():
            other.condition.weight[:, i] += 1
        assert ((other(codes, labels) - logits).abs().amax((1, 2)) > 1e-6).all(), f"layer {i // 8}, gate {i % 8}"


@configs()
def test_network_equals_its_formulas_term_by_term(cfg):
    """Eq. 2 sample by sample and channel by channel, for a network small enough to write out."""
    model, (codes, labels) = build(cfg), batch(cfg, n=2, T=6)
    W, weight = cfg.width, dict(model.named_parameters())
    with torch.no_grad():
        for b in range(2):
            x = [model.embed.weight[6 if i == 0 else codes[b, i - 1]] for i in range(6)]
            skip = [torch.zeros(cfg.skip, dtype=torch.float64) for _ in range(6)]
            for k, d in enumerate([1, 2, 4, 1, 2, 4]):
                conv, bias = weight[f"layers.{k}.conv.weight"], weight[f"layers.{k}.conv.bias"].clone()
                out, out_bias = weight[f"layers.{k}.out.weight"][:, :, 0], weight[f"layers.{k}.out.bias"]
                if cfg.n_classes:
                    bias += weight["condition.weight"][labels[b], 2 * W * k : 2 * W * (k + 1)]
                following = []
                for i in range(6):
                    past = x[i - d] if i >= d else torch.zeros(W, dtype=torch.float64)
                    gates = conv[:, :, 0] @ past + conv[:, :, 1] @ x[i] + bias
                    z = torch.tanh(gates[:W]) / (1 + torch.exp(-gates[W:]))
                    both = out @ z + out_bias
                    skip[i] = skip[i] + both[-cfg.skip :]
                    following.append(x[i] + both[: -cfg.skip] if k < 5 else None)
                x = following
            h = torch.stack(skip).clamp(min=0) @ weight["head.1.weight"][:, :, 0].T + weight["head.1.bias"]
            naive = h.clamp(min=0) @ weight["head.3.weight"][:, :, 0].T + weight["head.3.bias"]
            torch.testing.assert_close(model(codes, labels)[b].T, naive, rtol=1e-12, atol=1e-12)


@configs()
def test_probabilities_of_all_sequences_sum_to_one(cfg):
    cfg = WaveNetConfig(**(SMALL | {"levels": 3}), n_classes=cfg.n_classes)
    model, codes = build(cfg), torch.tensor(list(itertools.product(range(3), repeat=4)))
    for y in range(cfg.n_classes or 1):
        log_p = model.log_prob(codes, torch.full((81,), y) if cfg.n_classes else None)
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12) and log_p.std() > 0.5


@configs()
def test_loss_is_the_naive_sum_over_the_samples(cfg):
    model, (codes, labels) = build(cfg), batch(cfg)
    waves = waves_of(codes, 6)
    assert torch.equal(mu_law_encode(waves, 6), codes)
    loss, logs = wavenet_loss(model, (waves, labels))
    p = model(codes, labels).softmax(1)
    naive = -sum(p[b, codes[b, i], i].log() for b in range(4) for i in range(20)) / 80
    assert loss.item() == pytest.approx(naive.item(), rel=1e-12)
    assert -model.log_prob(codes, labels).sum().item() == pytest.approx(80 * naive.item(), rel=1e-12)
    assert logs["nll"].item() == loss.item() and logs["bits"].item() == pytest.approx(loss.item() / math.log(2))


def test_labels_of_a_set_are_ignored_by_a_model_without_classes():
    model, (codes, _) = build(CONFIGS["no-classes"]), batch(CONFIGS["no-classes"])
    waves = waves_of(codes, 6)
    assert torch.equal(wavenet_loss(model, (waves, torch.arange(4)))[0], wavenet_loss(model, (waves, None))[0])


def test_model_learns_one_batch_that_only_the_labels_tell_apart_at_first():
    seed_all(0)
    model = WaveNet(WaveNetConfig(levels=16, width=16, skip=16, n_blocks=1, n_layers=4, n_classes=4))
    codes, labels = batch(model.cfg, T=24)
    step = make_step(model, wavenet_loss, adamw(model, 1e-2))
    losses = [step((waves_of(codes, 16, torch.float32), labels))["nll"].item() for _ in range(50)]
    assert losses[0] == pytest.approx(math.log(16), rel=0.2) and losses[-1] < 0.1


# Sampling


@configs()
@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_cached_logits_equal_those_of_the_whole_sequence(cfg, dtype, bound):
    model, (codes, labels) = build(cfg, dtype), batch(cfg, T=50)  # past three turns of the longest queue
    with torch.no_grad():
        whole, cache, last = model(codes, labels), WaveCache(model, 4, labels), torch.full((4,), 6)
        for i in range(50):
            error = (cache.next_logits(last) - whole[:, :, i]).abs() / whole[:, :, i].abs().clamp(min=1)
            assert error.max() <= bound, f"sample {i}"
            last = codes[:, i]


@configs()
def test_samples_are_those_of_the_naive_sampler(cfg):
    model, labels = build(cfg), batch(cfg)[1]
    drawn = torch.stack([c for _, c in sample_waves(model, 4, 40, labels, generator=_seeded(3))], dim=1)
    naive, g = torch.zeros(4, 0, dtype=torch.int64), _seeded(3)
    with torch.no_grad():
        for _ in range(40):
            padded = F.pad(naive, (0, 1))  # the sample in question: any code, as nothing sees it
            p = model(padded, labels)[:, :, -1].softmax(1)
            naive = torch.cat([naive, torch.multinomial(p, 1, generator=g)], dim=1)
    assert torch.equal(drawn, naive) and len(drawn.unique()) == 6


@configs()
def test_sampling_goes_sample_by_sample_and_repeats_with_the_generator(cfg):
    model, labels = build(cfg), batch(cfg)[1]
    films = [list(sample_waves(model, 4, 12, labels, generator=_seeded(s))) for s in (0, 0, 1)]
    assert [i for i, _ in films[0]] == list(range(12))
    assert all(c.shape == (4,) and c.dtype == torch.int64 and not c.is_inference() for _, c in films[0])
    waves = [torch.stack([c for _, c in film]) for film in films]
    assert torch.equal(waves[0], waves[1]) and not torch.equal(waves[0], waves[2])


def test_samples_follow_the_probabilities_of_their_label():
    """All 27 sequences of three samples: counts within four standard errors of n p."""
    cfg = WaveNetConfig(**(SMALL | {"levels": 3}), n_classes=2)
    model, n = build(cfg), 20_000
    codes = torch.tensor(list(itertools.product(range(3), repeat=3)))
    for y in (0, 1):
        drawn = torch.stack([c for _, c in sample_waves(model, n, 3, torch.full((n,), y), generator=_seeded(y))], 1)
        seen = torch.bincount((drawn * torch.tensor([9, 3, 1])).sum(1), minlength=27) / n
        p, other = (model.log_prob(codes, torch.full((27,), k)).exp().detach() for k in (y, 1 - y))
        assert ((seen - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()
        assert ((seen - other).abs() > 4 * (other * (1 - other) / n).sqrt()).any()


def test_temperature_divides_the_logits():
    """The first sample's frequencies at temperature 0.5 are its squared probabilities; near 0 it is the likeliest."""
    model, n = build(CONFIGS["no-classes"]), 20_000
    p = model(torch.zeros(1, 1, dtype=torch.int64))[0, :, 0].softmax(0).detach()
    sharp = p.square() / p.square().sum()
    _, codes = next(sample_waves(model, n, 1, temperature=0.5, generator=_seeded(0)))
    seen = torch.bincount(codes, minlength=6) / n
    assert ((seen - sharp).abs() < 4 * (sharp * (1 - sharp) / n).sqrt()).all() and (sharp - p).abs().max() > 0.02
    drawn = torch.stack([c for _, c in sample_waves(model, 1, 9, temperature=1e-9, generator=_seeded(0))], 1)
    assert torch.equal(drawn, model(drawn).argmax(1))


def test_sampler_takes_the_weights_as_they_are_when_it_starts():
    model = build(CONFIGS["no-classes"])
    with torch.no_grad():
        cache, whole = WaveCache(model, 1), model(torch.zeros(1, 1, dtype=torch.int64))
        for p in model.parameters():
            p.zero_()
        torch.testing.assert_close(cache.next_logits(torch.tensor([6])), whole[:, :, 0])


# The shipped voice


def test_shipped_voice_says_what_it_is_asked_for_more_readily_than_another_digit():
    """The mean of log p(x | y) - log p(x | y + 1) over waves drawn for y is a divergence: 0 if labels do nothing."""
    model, labels = load_weights("wavenet-digits", WaveNet), torch.arange(10)
    codes = torch.stack([c for _, c in sample_waves(model, 10, 400, labels, generator=_seeded(0))], 1)
    with torch.no_grad():
        gain = torch.stack([model.log_prob(codes, labels) - model.log_prob(codes, labels.roll(k)) for k in (1, 4, 7)])
    gain = gain.mean(0).double()  # one number a wave: waves are independent
    assert gain.mean() > 4 * gain.std() / len(gain) ** 0.5


def test_shipped_voice_hears_the_whole_word_and_its_queues_give_what_the_network_gives():
    model, labels = load_weights("wavenet-digits", WaveNet), torch.tensor([3, 8])
    assert receptive_field(model.cfg) >= 4_000  # half a second
    codes = torch.stack([c for _, c in sample_waves(model, 2, 300, labels, generator=_seeded(1))], 1)
    cache, last = WaveCache(model, 2, labels), torch.full((2,), 256)
    with torch.no_grad():
        whole = model(codes, labels)
    for i in range(300):
        logits = cache.next_logits(last)
        assert (logits - whole[:, :, i]).abs().max() <= 1e-5 * whole.abs().max().clamp(min=1), f"sample {i}"
        last = codes[:, i]


# Refusals


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_build_and_survive_json(cfg):
    assert from_json(WaveNetConfig, to_json(cfg)) == cfg
    with torch.device("meta"):
        WaveNet(cfg)


@pytest.mark.parametrize("wrong, message", [
    ({"width": 0}, "{'width': 0}"), ({"skip": 0, "n_blocks": -1}, "{'skip': 0, 'n_blocks': -1}"),
    ({"n_layers": 0}, "n_layers"), ({"levels": 1}, "levels must be .* 2, got 1"), ({"n_classes": -1}, "n_classes"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        WaveNet(WaveNetConfig(**(SMALL | wrong)))


def test_codes_and_labels_that_do_not_fit_are_refused():
    model, (codes, labels) = build(CONFIGS["classes"]), batch(CONFIGS["classes"])
    for wrong, message in [
        ((codes[0], labels), r"codes must be \(B, T\) int64, not empty, got \(20,\)"),
        ((codes[:, :0], labels), r"got \(4, 0\)"), ((codes.float(), labels), r"got \(4, 20\) torch.float32"),
        ((codes - 1, labels), r"codes must be in \[0, 6\), got -1"), ((codes + 6, labels), r"\[0, 6\), got \d+"),
        ((codes, None), r"takes labels in \[0, 3\), got none"), ((codes, labels + 1), r"labels must be in .* got 3"),
        ((codes, labels - 1), "got -1"), ((codes, labels[:3]), r"labels must be \(4,\)"),
        ((codes, labels.float()), "torch.float32"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model(*wrong)
    with pytest.raises(ValueError, match="takes no labels"):
        build(CONFIGS["no-classes"])(codes, labels)


@pytest.mark.parametrize("waves", [
    torch.zeros(20), torch.zeros(1, 2, 20), torch.zeros(2, 20, dtype=torch.int16), torch.full((2, 20), math.nan),
    torch.full((2, 20), math.inf), torch.full((2, 20), 1.5),
])  # fmt: skip
def test_loss_refuses_waves_that_are_none(waves):
    with pytest.raises(ValueError, match=r"\[-1, 1\]|finite"):
        wavenet_loss(build(CONFIGS["no-classes"]), (waves, None))


@pytest.mark.parametrize("wrong, message", [
    ({"n": 0}, "got n=0"), ({"steps": 0}, "steps=0"), ({"temperature": 0.0}, "temperature=0.0"),
    ({"temperature": math.nan}, "temperature=nan"), ({"labels": None}, "got none"),
    ({"labels": torch.tensor([0])}, r"labels must be \(2,\)"), ({"labels": torch.tensor([0, 7])}, "got 7"),
])  # fmt: skip
def test_sampling_refuses_bad_input_at_its_first_sample(wrong, message):
    asked = {"n": 2, "steps": 3, "labels": torch.tensor([0, 1]), "temperature": 1.0} | wrong
    with pytest.raises(ValueError, match=message):
        next(sample_waves(build(CONFIGS["classes"]), **asked))


def _seeded(seed):
    return torch.Generator().manual_seed(seed)

import itertools

import pytest
import torch

from genai_utils.autoregressive import pixel_sampler
from genai_utils.autoregressive.pixel_sampler import GatedCache, draw, sample_pixels
from genai_utils.autoregressive.pixelcnn import PixelCNN, PixelCNNConfig, from_levels, to_levels
from genai_utils.metrics import Classifier
from genai_utils.weights import load_weights, registry

SMALL = {"side": 6, "levels": 4, "width": 12, "n_layers": 3, "first_kernel": 3, "n_mixtures": 3}
CONFIGS = {
    "softmax-classes": PixelCNNConfig(**SMALL, output="softmax", n_classes=3),
    "logistic": PixelCNNConfig(**SMALL | {"first_kernel": 5}),
    "wide-kernels-classes": PixelCNNConfig(**SMALL | {"first_kernel": 7, "kernel": 5}, output="softmax", n_classes=3),
    "one-layer": PixelCNNConfig(**SMALL | {"n_layers": 1}, output="softmax"),
    "grey": PixelCNNConfig(**SMALL | {"levels": 256}, output="softmax"),
    "masked-classes": PixelCNNConfig(**SMALL, output="softmax", stack="masked", n_classes=3),
}


def build(cfg, dtype=torch.float64, seed=0):
    """A model whose answers are far from uniform: every weight is drawn anew, and large."""
    torch.manual_seed(seed)
    model = PixelCNN(cfg).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.4 if p.ndim == 4 else 0.3)
    return model.eval()


def asked(cfg, n=4):
    return torch.arange(n) % cfg.n_classes if cfg.n_classes else None


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def last(steps):
    *_, (_, k) = steps
    return k


@torch.no_grad()
def slow_sample(model, n, labels, generator, temperature=1.0, known=None, mask=None):
    """The obvious sampler: the whole network for every pixel; a level is drawn by walking up its probabilities."""
    H, K = model.cfg.side, model.cfg.levels
    u = torch.rand(H * H, n, 1, generator=generator, dtype=model.head[1].weight.dtype)
    k = torch.zeros(n, H, H, dtype=torch.int64)
    for i, (r, c) in enumerate(itertools.product(range(H), range(H))):
        params = model(from_levels(k, K, u.dtype)[:, None], labels)
        p = (model.probabilities(params)[:, :, r, c].log() / temperature).softmax(1)
        for b in range(n):
            if mask is not None and mask.expand(n, -1, -1, -1)[b, 0, r, c]:
                k[b, r, c] = round((known[b, 0, r, c].item() + 1) * (K - 1) / 2)
                continue
            below = p[b, 0].item()
            while u[i, b].item() >= below and k[b, r, c] < K - 1:
                k[b, r, c] += 1
                below += p[b, k[b, r, c]].item()
    return k


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("name", CONFIGS)
def test_cached_samples_are_those_of_the_whole_network(name, temperature):
    model = build(CONFIGS[name])
    labels = asked(model.cfg)
    fast = last(sample_pixels(model, 4, labels, temperature=temperature, generator=chance()))
    assert torch.equal(fast, slow_sample(model, 4, labels, chance(), temperature))
    assert fast.unique().numel() >= 4 and not torch.equal(fast[0], fast[3])


@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", [name for name in CONFIGS if CONFIGS[name].stack == "gated"])
@torch.no_grad()
def test_cached_params_are_those_of_the_whole_network_and_read_nothing_unwritten(name, dtype, error):
    model = build(CONFIGS[name], dtype)
    cfg, labels = model.cfg, asked(model.cfg)
    x = from_levels(torch.randint(cfg.levels, (4, 1, 6, 6), generator=chance()), cfg.levels, dtype)
    whole, cache = model(x, labels), GatedCache(model, 4, labels)
    margin, m = cfg.first_kernel // 2, cfg.kernel // 2
    cache.x[margin:, margin : margin + 6] = torch.nan
    for v, pixel in zip(cache.v, cache.pixel):
        v[m:, m : m + 6] = torch.nan
        for one in pixel:
            one.fill_(torch.nan)
    for r in range(6):
        cache.start_row(r)
        for c in range(6):
            params = model.params(cache.step(c))
            assert ((params - whole[:, :, r, c]).abs() <= error * whole[:, :, r, c].abs().clamp(min=1)).all()
            cache.put(c, x[:, 0, r, c])


@pytest.mark.parametrize("name", CONFIGS)
def test_same_generator_repeats_the_pictures_and_another_one_does_not(name):
    model, n = build(CONFIGS[name]), 3
    a, b, c = (last(sample_pixels(model, n, asked(model.cfg, n), generator=chance(seed))) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_pixels_come_in_order_and_stay():
    model, seen = build(CONFIGS["softmax-classes"]), []
    for i, k in sample_pixels(model, 2, torch.tensor([0, 1]), generator=chance()):
        assert k.shape == (2, 6, 6) and k.dtype == torch.int64
        assert (k.flatten(1)[:, : i + 1] >= 0).all() and (k.flatten(1)[:, i + 1 :] == -1).all()
        seen.append((i, k))
    assert [i for i, _ in seen] == list(range(36))
    for i, k in seen:  # a picture handed out is not written to afterwards
        assert torch.equal(k.flatten(1)[:, : i + 1], seen[-1][1].flatten(1)[:, : i + 1])
        assert (k.flatten(1)[:, i + 1 :] == -1).all()


def test_label_decides_what_is_drawn():
    model = build(CONFIGS["softmax-classes"])
    a, b = (last(sample_pixels(model, 4, torch.full((4,), y), generator=chance())) for y in (0, 1))
    assert not torch.equal(a, b)
    mixed = last(sample_pixels(model, 4, torch.tensor([0, 1, 1, 0]), generator=chance()))
    assert torch.equal(mixed, torch.stack([a[0], b[1], b[2], a[3]]))


@pytest.mark.parametrize("output, stack", [("softmax", "gated"), ("logistic", "gated"), ("softmax", "masked")])
@torch.no_grad()
def test_pictures_are_as_frequent_as_their_probabilities_say(output, stack):
    sizes = SMALL | {"side": 2, "levels": 2, "n_layers": 2}
    model, n = build(PixelCNNConfig(**sizes, output=output, stack=stack)), 4_000
    every = torch.tensor(list(itertools.product(range(2), repeat=4))).view(16, 2, 2)
    p = model.log_prob(from_levels(every, 2, torch.float64)[:, None]).exp()
    k = last(sample_pixels(model, n, generator=chance()))
    share = (k[:, None] == every).all(3).all(2).double().mean(0)
    assert ((share - p).abs() <= 4 * (p * (1 - p) / n).sqrt()).all() and p.max() > 2 / 16


def test_logistic_model_draws_levels_that_exist_at_any_temperature():
    model = PixelCNN(PixelCNNConfig(**SMALL | {"levels": 256, "n_mixtures": 10})).eval()
    with torch.no_grad():
        model.head[3].bias[:20] = torch.randn(20, generator=chance(1)) - 3 * (torch.arange(20) >= 10)  # far below white
    k = last(sample_pixels(model, 20, temperature=0.7, generator=chance()))
    assert k.min() >= 0 and k.max() < 256


@pytest.mark.parametrize("name", ["softmax-classes", "masked-classes"])
def test_autocast_changes_no_picture(name):
    model = build(CONFIGS[name], torch.float32)
    plain = last(sample_pixels(model, 4, asked(model.cfg), generator=chance()))
    with torch.autocast("cpu", torch.bfloat16):
        steps = sample_pixels(model, 4, asked(model.cfg), generator=chance())
        next(steps)
        assert torch.is_autocast_enabled("cpu")  # between steps it is the caller's
        assert torch.equal(last(steps), plain)


def test_half_precision_leaves_rare_levels_their_chance(monkeypatch):
    model, seen = build(CONFIGS["softmax-classes"], torch.bfloat16), []
    monkeypatch.setattr(pixel_sampler, "draw", lambda p, u, temperature: seen.append(u) or draw(p, u, temperature))
    last(sample_pixels(model, 4, asked(model.cfg), generator=chance()))
    u = torch.cat(seen).double()
    assert (u * 256 != (u * 256).round()).double().mean() > 0.9


# Completion


@pytest.mark.parametrize("name", ["softmax-classes", "logistic", "masked-classes"])
def test_completion_keeps_known_pixels_and_draws_the_others_given_them(name):
    model = build(CONFIGS[name])
    labels, g = asked(model.cfg), chance(1)
    known = from_levels(torch.randint(4, (4, 1, 6, 6), generator=g), 4, torch.float64)
    mask = torch.rand(4, 1, 6, 6, generator=g) < 0.5
    mask[:, :, 2] = True  # a row that is known in all pictures
    k = last(sample_pixels(model, 4, labels, known=known, mask=mask, generator=chance()))
    assert torch.equal(k[mask[:, 0]], to_levels(known, 4)[mask])
    assert torch.equal(k, slow_sample(model, 4, labels, chance(), known=known, mask=mask))
    free = last(sample_pixels(model, 4, labels, generator=chance()))
    assert not torch.equal(k[~mask[:, 0]], free[~mask[:, 0]])


def test_one_mask_serves_all_pictures_and_known_pixels_are_seen_from_the_start():
    model = build(CONFIGS["logistic"])
    known, mask = torch.full((3, 1, 6, 6), -1.0).double(), torch.zeros(1, 1, 6, 6, dtype=torch.bool)
    mask[:, :, 3:] = True
    i, k = next(sample_pixels(model, 3, known=known, mask=mask, generator=chance()))
    assert i == 0 and (k[:, 3:] == 0).all() and (k.flatten(1)[:, 1:18] == -1).all()
    k = last(sample_pixels(model, 3, known=known, mask=mask, generator=chance()))
    free = last(sample_pixels(model, 3, generator=chance()))
    assert torch.equal(k[:, :3], free[:, :3])  # what is known has no say in the pixels before it
    assert (k[:, 3:] == 0).all() and not (free[:, 3:] == 0).all()


# Drawing a level


def test_levels_take_stretches_as_long_as_their_probabilities():
    p = torch.tensor([[0.25, 0.0, 0.5, 0.0, 0.25, 0.0]], dtype=torch.float64)
    u = (torch.arange(1000, dtype=torch.float64)[:, None] + 0.5) / 1000
    assert torch.bincount(draw(p.expand(1000, -1), u), minlength=6).tolist() == [250, 0, 500, 0, 250, 0]
    assert draw(p[:, 1:], torch.zeros(1, 1).double()).item() == 1  # u = 0: not the level of probability 0
    assert draw(p, torch.full((1, 1), 0.25).double()).item() == 2 and draw(p, 1 - u[:1] * 1e-12).item() == 4


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_log_probabilities(temperature):
    p = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64)
    u = (torch.arange(10_000, dtype=torch.float64)[:, None] + 0.5) / 10_000
    share = torch.bincount(draw(p.expand(10_000, -1), u, temperature)).double() / 10_000
    torch.testing.assert_close(share, (p.log() / temperature).softmax(1)[0], rtol=0, atol=2e-4)


def test_low_temperature_draws_the_likeliest_level_without_underflow():
    p = torch.softmax(torch.randn(50, 256, generator=chance()), 1)
    assert torch.equal(draw(p, torch.rand(50, 1, generator=chance()), 1e-4), p.argmax(1))


@pytest.mark.skipif("pixelcnn-mnist" not in registry(), reason="the weights have not been trained: make weights")
def test_shipped_model_draws_the_digits_it_is_asked_for_and_completes_them():
    model, judge = load_weights("pixelcnn-mnist", PixelCNN), load_weights("classifier-mnist", Classifier)
    labels = torch.arange(100) % 10
    k = last(sample_pixels(model, 100, labels, generator=chance()))
    digits = from_levels(k, 256)[:, None]
    upper = torch.arange(28)[:, None].expand(1, 1, 28, 28) < 14
    again = last(sample_pixels(model, 100, labels, known=digits, mask=upper, generator=chance(1)))
    with torch.no_grad():
        for drawn in (digits, from_levels(again, 256)[:, None]):  # 0.88 of 1,000; four standard errors of 100 below
            assert (judge(drawn).argmax(1) == labels).float().mean() > 0.75
        assert (model.log_prob(digits, labels) > model.log_prob(digits, (labels + 1) % 10)).float().mean() > 0.8
    assert torch.equal(again[:, :14], k[:, :14]) and not torch.equal(again, k)


# Refusals


@pytest.mark.parametrize("wrong, message", [
    ({"n": 0}, "got n=0"), ({"temperature": 0.0}, "temperature=0.0"), ({"temperature": float("nan")}, "nan"),
    ({"labels": None}, "got none"), ({"labels": torch.tensor([0])}, r"labels must be \(2,\)"),
    ({"labels": torch.tensor([0, 7])}, "got 7"), ({"known": torch.zeros(2, 1, 6, 6)}, "together, got known alone"),
    ({"mask": torch.zeros(2, 1, 6, 6) > 0}, "together, got mask alone"),
    ({"known": torch.zeros(2, 1, 6, 5), "mask": torch.zeros(2, 1, 6, 6) > 0}, r"known must be .*\(2, 1, 6, 5\)"),
    ({"known": torch.zeros(3, 1, 6, 6), "mask": torch.zeros(1, 1, 6, 6) > 0}, "2 pictures.*got 3"),
    ({"known": torch.zeros(2, 1, 6, 6), "mask": torch.zeros(2, 6, 6) > 0}, r"mask must be \(2 or 1, 1, 6, 6\) bool"),
    ({"known": torch.zeros(2, 1, 6, 6), "mask": torch.zeros(2, 1, 6, 6)}, "bool, got .* torch.float32"),
    ({"known": torch.full((2, 1, 6, 6), 255.0), "mask": torch.zeros(2, 1, 6, 6) > 0}, "known must be in .*got 255"),
])  # fmt: skip
def test_sampling_refuses_bad_input_at_its_first_step(wrong, message):
    given = {"n": 2, "labels": torch.tensor([0, 1]), "temperature": 1.0} | wrong
    with pytest.raises(ValueError, match=message):
        next(sample_pixels(build(CONFIGS["softmax-classes"]), **given))

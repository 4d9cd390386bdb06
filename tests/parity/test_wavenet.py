"""Our WaveNet against wavenet_vocoder 0.1.1: every weight random, whole waves, one at a time, and backward.

Theirs scales the residual, and in its legacy mode also the sum of the skips, by sqrt(1/2) after every layer; ours
scales neither. The scales are constants, so they go into the weights: see `translate`.
"""

import math
import types
import warnings

import pytest
import torch
from torch.nn import functional as F

from genai_utils.autoregressive import wavenet as wavenet_module
from genai_utils.autoregressive.wavenet import WaveCache, WaveNet, WaveNetConfig, receptive_field

wavenet_vocoder = pytest.importorskip("wavenet_vocoder")
pytestmark = pytest.mark.filterwarnings("ignore:Using a non-full backward hook")  # theirs

CFG = WaveNetConfig(levels=24, width=8, skip=6, n_blocks=2, n_layers=4, n_classes=5)
CASES = {
    "plain": (CFG, False),
    "legacy": (CFG, True),  # the default of theirs
    "no-classes": (WaveNetConfig(levels=24, width=8, skip=12, n_blocks=3, n_layers=2), True),
    "one-layer": (WaveNetConfig(levels=24, width=8, skip=6, n_blocks=1, n_layers=1, n_classes=5), True),
}
FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)
HALF = math.sqrt(0.5)


def published(cfg, legacy, seed=0):
    """Return theirs, without its weight norm (which only reparametrises) and with every weight random."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its weight norm and its hooks are of an older PyTorch
        model = wavenet_vocoder.WaveNet(
            out_channels=cfg.levels, layers=cfg.n_blocks * cfg.n_layers, stacks=cfg.n_blocks, kernel_size=2, dropout=0,
            residual_channels=cfg.width, gate_channels=2 * cfg.width, skip_out_channels=cfg.skip, legacy=legacy,
            gin_channels=3 if cfg.n_classes else -1, n_speakers=cfg.n_classes or None, weight_normalization=False,
        ).eval()  # fmt: skip
        model.make_generation_fast_()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * (0.3 if p.ndim == 1 else 1.5 * p[0].numel() ** -0.5))
    return model


def translate(state, cfg, legacy):
    """Return our state dict for theirs; linear in their weights but for the condition, which is a product.

    Let r_k = 2^(-k/2) and our x_k = (their x_k) / r_k: then the residual needs no scale, the k-th convolution reads
    weights times r_k, and its residual is divided by r_k. In legacy mode the skip of layer k is halved, as a power, by
    every later layer but the first sum.
    """
    n, out = cfg.n_blocks * cfg.n_layers, {}
    first, bias = state["first_conv.weight"][:, :, 0], state["first_conv.bias"]
    out["embed.weight"] = torch.cat([first.T + bias, bias[None]])  # no sample: nothing but the bias
    conditions = []
    for k in range(n):
        theirs, ours, r = f"conv_layers.{k}.", f"layers.{k}.", HALF**k
        s = HALF ** (n - max(k, 1)) if legacy else 1.0
        out[ours + "conv.weight"] = r * state[theirs + "conv.weight"]
        out[ours + "conv.bias"] = state[theirs + "conv.bias"]
        for part in ("weight", "bias"):
            residual, skip = state[theirs + f"conv1x1_out.{part}"] / r, s * state[theirs + f"conv1x1_skip.{part}"]
            out[ours + f"out.{part}"] = torch.cat([residual, skip]) if k < n - 1 else skip
        if cfg.n_classes:
            v, b = state[theirs + "conv1x1g.weight"][:, :, 0], state[theirs + "conv1x1g.bias"]
            conditions.append(state["embed_speakers.weight"] @ v.T + b)
    for i in (1, 3):
        for part in ("weight", "bias"):
            out[f"head.{i}.{part}"] = state[f"last_conv_layers.{i}.{part}"]
    return out | ({"condition.weight": torch.cat(conditions, dim=1)} if conditions else {})


def pair(case, dtype=torch.float32, n=3, T=40):
    """Return (theirs, ours, codes, labels, x): x is what theirs reads, our codes one place back, with nothing first."""
    cfg, legacy = CASES[case]
    theirs, ours = published(cfg, legacy).double(), WaveNet(cfg).double().eval()
    ours.load_state_dict(translate(theirs.state_dict(), cfg, legacy))
    codes = torch.randint(cfg.levels, (n, T), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(n) if cfg.n_classes else None
    x = F.pad(F.one_hot(codes, cfg.levels).transpose(1, 2), (1, -1)).to(dtype)
    return theirs.to(dtype), ours.to(dtype), codes, labels, x


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


def speakers(labels):
    return None if labels is None else labels[:, None]


@pytest.mark.parametrize("case", CASES)
def test_wavenet_equals_wavenet_vocoder_in_float32(case, record_property):
    theirs, ours, codes, labels, x = pair(case)
    with torch.no_grad():
        reference = theirs(x, g=speakers(labels))
        found = error(ours(codes, labels), reference)
    record_property("float32 logits error", found)
    assert reference.std() > 0.1 and found <= FLOAT32


@pytest.mark.parametrize("case", CASES)
def test_wavenet_and_its_gradients_equal_wavenet_vocoder_in_float64(case, record_property):
    """Theirs are pushed through `translate`: dL/d(theirs) by autograd is what the chain rule makes of our gradients."""
    theirs, ours, codes, labels, x = pair(case, torch.float64)
    cfg, legacy = CASES[case]
    reference, mine = theirs(x, g=speakers(labels)), ours(codes, labels)
    assert error(mine, reference) <= FLOAT64
    weight = torch.randn(mine.shape, dtype=mine.dtype, generator=torch.Generator().manual_seed(2))
    (weight * reference).sum().backward()
    (weight * mine).sum().backward()
    leaves = {k: v.clone().requires_grad_() for k, v in theirs.state_dict().items()}
    translated = translate(leaves, cfg, legacy)
    parameters = dict(ours.named_parameters())
    assert translated.keys() == parameters.keys()
    assert all(p.grad.abs().max() > 0 for p in parameters.values())
    sum((translated[k] * p.grad).sum() for k, p in parameters.items()).backward()
    unread = f"conv_layers.{cfg.n_blocks * cfg.n_layers - 1}.conv1x1_out"  # nothing reads the last residual
    errors = {k: error(leaves[k].grad, p.grad) for k, p in theirs.named_parameters() if not k.startswith(unread)}
    record_property("float64 logits error", error(mine, reference))
    record_property("float64 gradient error", max(errors.values()))
    assert max(errors.values()) <= FLOAT64, errors


@pytest.mark.parametrize("dtype, bound", [(torch.float32, FLOAT32), (torch.float64, FLOAT64)])
@pytest.mark.parametrize("case", CASES)
def test_generation_equals_their_incremental_forward(case, dtype, bound, record_property):
    theirs, ours, codes, labels, x = pair(case, dtype)
    with torch.no_grad():
        reference = theirs.incremental_forward(
            x[:, :, :1], test_inputs=x, g=speakers(labels), T=x.shape[2], softmax=False, quantize=False
        )
        cache, last, mine = WaveCache(ours, len(codes), labels), torch.full((len(codes),), ours.cfg.levels), []
        for i in range(codes.shape[1]):
            mine.append(cache.next_logits(last))
            last = codes[:, i]
    found = error(torch.stack(mine, dim=2), reference)
    record_property(f"{str(dtype).removeprefix('torch.')} generation error", found)
    assert found <= bound


@pytest.mark.parametrize("case", CASES)
def test_receptive_field_is_theirs(case):
    """Theirs counts samples of its input, which is one place back already."""
    theirs, ours, *_ = pair(case)
    assert receptive_field(ours.cfg) == theirs.receptive_field


# Errors planted on purpose: each must show


def _replace(**functions):
    """Return a plant that swaps functions of torch in our module."""
    fake = types.SimpleNamespace(**(vars(torch) | functions))
    return lambda model, mp: mp.setattr(wavenet_module, "torch", fake)


def _dilations(change):
    def plant(model, mp):
        for layer in model.layers:
            layer.dilation = change(layer.dilation)
            layer.conv.dilation = (layer.dilation,)

    return plant


def _each_layer(change):
    def plant(model, mp):
        with torch.no_grad():
            for k, layer in enumerate(model.layers):
                change(k, layer, model.cfg.width)

    return plant


def _unscaled(k, layer, width):
    layer.conv.weight.mul_(HALF**-k)


def _swap_gates(k, layer, width):
    for p in (layer.conv.weight, layer.conv.bias):
        p.copy_(p.roll(width, 0))


def _swap_taps(k, layer, width):
    layer.conv.weight.copy_(layer.conv.weight.flip(2))


def _no_residual(model, mp):
    for layer in model.layers:
        mp.setattr(
            layer, "forward", lambda x, c, layer=layer: (lambda y, s: (y - x, s))(*type(layer).forward(layer, x, c))
        )


def _conditions(change):
    def plant(model, mp):
        conditions = model.conditions
        mp.setattr(model, "conditions", lambda n, labels: change(conditions(n, labels)))

    return plant


def _pad_right(model, mp):
    pad = lambda x, sides, **kw: F.pad(x, sides[::-1] if x.is_floating_point() else sides, **kw)
    mp.setattr(wavenet_module, "F", types.SimpleNamespace(**(vars(F) | {"pad": pad})))


def _unshifted(model, mp):
    pad = lambda x, sides, **kw: F.pad(x, sides) if x.is_floating_point() else F.pad(x, (0, 1))
    mp.setattr(wavenet_module, "F", types.SimpleNamespace(**(vars(F) | {"pad": pad})))


def _start_with_zero(model, mp):
    pad = lambda x, sides, value=0: F.pad(x, sides)
    mp.setattr(wavenet_module, "F", types.SimpleNamespace(**(vars(F) | {"pad": pad})))


def _without(i):
    return lambda model, mp: mp.setattr(model.head[i], "forward", lambda x: x)


PLANTED = {
    "dilation doubled": _dilations(lambda d: 2 * d),
    "dilation as layers count": _dilations(lambda d: d.bit_length()),
    "residual scale missing": _each_layer(_unscaled),
    "tanh and sigmoid swapped": _each_layer(_swap_gates),
    "past and present swapped": _each_layer(_swap_taps),
    "sigmoid for tanh": _replace(tanh=torch.sigmoid),
    "tanh for sigmoid": _replace(sigmoid=torch.tanh),
    "no residual": _no_residual,
    "label missing": _conditions(lambda c: 0 * c),
    "label of the next layer": _conditions(lambda c: c.roll(1, 1)),
    "label of the next wave": _conditions(lambda c: c.roll(1, 0)),
    "padding on the right": _pad_right,
    "input not shifted": _unshifted,
    "starts with code zero": _start_with_zero,
    "first ReLU of the head missing": _without(0),
    "second ReLU of the head missing": _without(2),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_wavenet_parity_notices_a_planted_error(plant, monkeypatch, record_property):
    theirs, ours, codes, labels, x = pair("legacy", torch.float64)
    with torch.no_grad():
        reference = theirs(x, g=speakers(labels))
        assert error(ours(codes, labels), reference) <= FLOAT64
        PLANTED[plant](ours, monkeypatch)
        shifted = error(ours(codes, labels), reference)
    record_property("planted", shifted)
    assert shifted > 1e3 * FLOAT64

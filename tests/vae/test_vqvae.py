import math
from dataclasses import replace

import pytest
import torch

from genai_utils.core import from_json, seed_all, to_json
from genai_utils.data.sets import ImageSet
from genai_utils.nn import perplexity
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.vae import PRESETS as VAES
from genai_utils.vae.vqvae import PRESETS, VQVAE, VQVAEConfig, vqvae_loss

SMALL = {"side": 8, "widths": (8, 8), "groups": 4, "latent": 6, "n_codes": 16, "d_code": 4}
CONFIGS = {
    "averages": VQVAEConfig(**SMALL, restart=0.1),
    "gradient": VQVAEConfig(**SMALL, decay=None),
    "colour": VQVAEConfig(**SMALL, channels=3, decay=None, attention=(False, True)),
    "bernoulli": VQVAEConfig(**SMALL, likelihood="bernoulli", mid_attention=False),
    "gaussian": VQVAEConfig(**(SMALL | {"widths": (8, 8, 16)}), likelihood="gaussian", std=0.5, blocks=2),
}


def build(cfg, dtype=torch.float64):
    torch.manual_seed(0)
    return VQVAE(cfg).to(dtype)


def pictures(cfg, n=4, dtype=torch.float64, side=None):
    """Pictures of values that every likelihood can give rise to, if they are binary."""
    g = torch.Generator().manual_seed(0)
    shape = (n, cfg.channels, side or cfg.side, side or cfg.side)
    levels = 2 if cfg.likelihood == "bernoulli" else 256
    return torch.randint(levels, shape, generator=g).to(dtype) * (2 / (levels - 1)) - 1


def configs(*names):
    return pytest.mark.parametrize("cfg", [CONFIGS[n] for n in names or CONFIGS], ids=names or CONFIGS)


@configs()
def test_codes_and_parameters_have_their_shapes(cfg):
    model, x = build(cfg).eval(), pictures(cfg)
    values = cfg.channels * (2 if cfg.likelihood == "logistic" else 1)
    side = cfg.side // 2 ** (len(cfg.widths) - 1)
    codes, (params, quantised) = model.encode(x), model(x)
    assert codes.shape == (4, side, side) and codes.dtype == torch.int64 and torch.equal(codes, quantised.codes)
    assert 0 <= codes.min() and codes.max() < cfg.n_codes and len(codes.unique()) > 1
    assert params.shape == model.decode(codes).shape == (4, values, cfg.side, cfg.side)
    assert quantised.z_q.shape == model.encode_vectors(x).shape == (4, cfg.d_code, side, side)
    assert model.likelihood.log_prob(params, x).shape == (4,)


@configs()
def test_decoding_the_codes_gives_what_the_whole_model_gives(cfg):
    model, x = build(cfg).eval(), pictures(cfg)
    torch.testing.assert_close(model.decode(model.encode(x)), model(x)[0])


def test_other_sides_than_those_of_training_are_taken():
    model = build(CONFIGS["averages"])
    codes = model.encode(pictures(model.cfg, side=12))
    assert codes.shape == (4, 6, 6) and model.decode(codes[:, :, :3]).shape == (4, 2, 12, 6)


@configs()
def test_gradient_reaches_every_parameter(cfg):
    model, x = build(cfg), pictures(cfg)
    loss, _ = vqvae_loss(model, (x, None))
    loss.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
    assert ("quantize.codebook" in dict(model.named_parameters())) == (cfg.decay is None)


def test_encoder_learns_from_the_likelihood_alone_as_if_the_vectors_were_not_quantised():
    """Straight through: the encoder's gradient is that of the decoder with respect to its input, at z_q."""
    model, x = build(CONFIGS["gradient"]), pictures(CONFIGS["gradient"])
    vqvae_loss(model, (x, None), commitment=0.0)[0].backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if n.startswith(("encoder", "quant_conv"))}
    model.zero_grad()
    h = model.encode_vectors(x)
    z_q = model.quantize.embed(model.quantize.nearest(h)).detach().requires_grad_()
    (-model.likelihood.log_prob(model.decode_vectors(z_q), x).mean()).backward()
    h.backward(z_q.grad)
    assert found.keys() == {n for n, p in model.encoder.named_parameters("encoder")} | {
        "quant_conv.weight", "quant_conv.bias"}  # fmt: skip
    for name, p in model.named_parameters():
        if name in found:
            torch.testing.assert_close(found[name], p.grad, msg=name)


@configs("averages", "colour")
@pytest.mark.parametrize("commitment", [0.25, 2.0])
def test_loss_is_the_naive_sum_of_equation_3(cfg, commitment):
    model, x = build(cfg).eval(), pictures(cfg)
    loss, logs = vqvae_loss(model, (x, torch.arange(4)), commitment=commitment)
    h, codes = model.encode_vectors(x), model.encode(x)
    nll = distance = 0.0
    for b in range(4):
        nll -= model.likelihood.log_prob(model.decode(codes[b : b + 1]), x[b : b + 1]).item() / 4
        for i in range(4):
            for j in range(4):
                distance += (h[b, :, i, j] - model.quantize.codebook[codes[b, i, j]]).square().sum().item() / 4
    weight = commitment + (1 if cfg.decay is None else 0)
    assert loss.item() == pytest.approx(nll + weight * distance)
    assert logs["nll"].item() == pytest.approx(nll) and logs["commitment"].item() == pytest.approx(distance)
    assert logs["perplexity"].item() == pytest.approx(perplexity(codes, 16).item())


@configs("averages", "gradient")
def test_model_learns_one_batch(cfg):
    seed_all(0)
    model, x = VQVAE(replace(cfg, mid_attention=False)), pictures(cfg, n=2, dtype=torch.float32)
    step = make_step(model, vqvae_loss, adamw(model, 2e-2))
    losses = [step((x, None))["nll"].item() for _ in range(40)]
    assert min(losses[-5:]) < losses[0] - 50, losses  # of 64 * log 256 = 355 nats that uniform noise has


def test_only_training_moves_the_codebook_and_restarts_repeat_with_the_generator():
    cfg = VQVAEConfig(**SMALL, restart=0.9, decay=0.5)
    books = []
    for seed in (0, 0, 1):
        model, g = build(cfg), torch.Generator().manual_seed(seed)
        start = model.quantize.codebook.clone()
        vqvae_loss(model.eval(), (pictures(cfg), None), generator=g)
        assert torch.equal(model.quantize.codebook, start)
        vqvae_loss(model.train(), (pictures(cfg), None), generator=g)
        books.append(model.quantize.codebook)
    assert torch.equal(books[0], books[1]) and not torch.equal(books[0], books[2])


def test_half_precision_keeps_distances_and_likelihood_in_float32():
    model, x = build(CONFIGS["averages"], torch.float32), pictures(CONFIGS["averages"], dtype=torch.float32)
    exact, _ = vqvae_loss(model.eval(), (x, None))
    with torch.autocast("cpu", torch.bfloat16):
        params, quantised = model(x)
        rounded, logs = vqvae_loss(model, (x, None))
    assert {params.dtype, quantised.z_q.dtype, rounded.dtype, *(v.dtype for v in logs.values())} == {torch.float32}
    assert rounded.item() == pytest.approx(exact.item(), rel=0.05) and rounded.item() != exact.item()


def train(steps, checkpoint, total=10):
    """Train up to `steps` of a run of `total`, with restarts and a running average; return all tensors of its state."""
    seed_all(0)
    cfg = VQVAEConfig(**SMALL, restart=0.3, decay=0.7)
    images = torch.randint(256, (12, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    data = ImageSet("noise", images, torch.zeros(12, dtype=torch.int64), ("noise",))
    model = VQVAE(cfg)
    opt, ema = adamw(model, 1e-2), EMA(model, 0.9)
    step = make_step(model, vqvae_loss, opt, schedule=warmup_cosine(opt, total, warmup=2), ema=ema)
    fit(step, data.batches(4, seed=0), steps=steps, every=5, checkpoint=checkpoint, progress=False)
    return {**model.state_dict(), **{f"ema.{k}": v for k, v in ema.model.state_dict().items()}}


def test_resumed_training_ends_with_the_same_bits_codebook_and_averages_included(tmp_path):
    whole = train(10, None)
    half = {k: v.clone() for k, v in train(5, tmp_path / "run.pt").items()}
    resumed = train(10, tmp_path / "run.pt")
    assert {"quantize.codebook", "quantize.count", "quantize.total"} <= whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert not any(torch.equal(whole[k], half[k]) for k in whole)


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_build_and_survive_json(cfg):
    assert from_json(VQVAEConfig, to_json(cfg)) == cfg
    with torch.device("meta"):
        VQVAE(cfg)


def test_presets_of_both_kinds_of_autoencoder_are_kept_apart():
    assert not any(isinstance(cfg, VQVAEConfig) for cfg in VAES.values())


@pytest.mark.parametrize("wrong, message", [
    ({"side": 9}, "side must be a multiple of 2 for 2 levels, got 9"), ({"channels": 0}, "{'channels': 0}"),
    ({"latent": 0, "n_codes": 0, "d_code": 0}, "{'latent': 0, 'n_codes': 0, 'd_code': 0}"),
    ({"decay": 1.5}, "decay=1.5"), ({"decay": None, "restart": 0.1}, "restart=0.1 needs a decay"),
    ({"likelihood": "poisson"}, "likelihood must be one of .* 'poisson'"), ({"widths": (8, 6)}, r"groups=4, got \[6\]"),
    ({"attention": (True,)}, "one entry per width"), ({"likelihood": "gaussian", "std": 0.0}, "std must be above 0"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        VQVAE(VQVAEConfig(**(SMALL | wrong)))


def test_impossible_input_is_refused():
    model = build(CONFIGS["averages"], torch.float32)
    x = pictures(model.cfg, dtype=torch.float32)
    with pytest.raises(ValueError, match="commitment must be at least 0, got -1"):
        vqvae_loss(model, (x, None), commitment=-1)
    with pytest.raises(ValueError, match="8-bit pixels"):
        vqvae_loss(model, (x + 1e-3, None))
    with pytest.raises(ValueError, match=r"x must be \(B, 1, H, W\), sides multiples of 2; got \(4, 1, 8, 7\)"):
        model.encode(x[..., :7])
    codes = model.encode(x)
    with pytest.raises(ValueError, match=r"codes must be in \[0, 16\), got 16"):
        model.decode(codes.clamp(min=16))
    with pytest.raises(ValueError, match=r"codes must be \(B, h, w\), got \(4, 4\)"):
        model.decode(codes[0])


def test_loss_of_a_codebook_that_fits_is_the_likelihood():
    """If every vector is an entry, nothing is left but -log p(x | z)."""
    model, x = build(VQVAEConfig(**(SMALL | {"n_codes": 64}), decay=None)), pictures(CONFIGS["gradient"])
    with torch.no_grad():
        h = model.encode_vectors(x).movedim(1, -1).reshape(64, 4)
        model.quantize.codebook.copy_(h)
    loss, logs = vqvae_loss(model, (x, None))
    exact = -model.likelihood.log_prob(model.decode_vectors(model.encode_vectors(x)), x).mean()
    assert loss.item() == pytest.approx(exact.item()) and logs["commitment"].item() == pytest.approx(0, abs=1e-20)
    assert logs["perplexity"].item() == pytest.approx(64) and math.isfinite(loss.item())

"""The benchmark compares equals, says what it found, and is the only author of the numbers on its page."""

import json
import time
from dataclasses import replace
from functools import partial

import pytest
import torch

from genai_utils.results import FOLDER, load_results
from tests.benchmarks import (
    autoregressive_cases, flow_cases, gan_cases, harness, plain_autoregressive, transformer_cases, vae_cases,
)  # fmt: skip
from tests.benchmarks.cases import EQUAL, SIZES, Case, Pair, ddim, networks, train_step
from tests.benchmarks.suites import DIFFUSION, SUITES

pytest.importorskip("diffusers")
CPU = torch.device("cpu")
VAE_ROWS = {case.name: case for case in vae_cases.plan(CPU, tiny=True, with_compile=False)}
AUTOREGRESSIVE_ROWS = {case.name: case for case in autoregressive_cases.plan(CPU, tiny=True)}
TRANSFORMER_ROWS = {case.name: case for case in transformer_cases.plan(CPU, tiny=True)}
GAN_ROWS = {case.name: case for case in gan_cases.plan(CPU, tiny=True)}
FLOW_ROWS = {case.name: case for case in flow_cases.plan(CPU, tiny=True)}


def test_both_sides_of_sampling_give_the_same_images():
    pair = ddim("tiny", 2, CPU)
    assert pair.error < 1e-4 and pair.flops > 0 and pair.items == 2
    torch.testing.assert_close(pair.ours(), pair.peer(), rtol=1e-4, atol=1e-4)


def test_both_networks_have_the_same_parameters():
    ours, peer = networks("tiny", CPU)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())


def test_train_step_gives_both_sides_the_same_gradient_and_moves_their_weights_alike():
    pair = train_step("tiny", 2, CPU)
    assert pair.error < 1e-4 and pair.flops > 0 and pair.items == 2
    losses = [(pair.ours().item(), pair.peer().item()) for _ in range(4)]
    assert losses[-1][0] < losses[0][0] and losses[-1][1] < losses[0][1]
    assert all(abs(ours - peer) < 1e-4 for ours, peer in losses)


@pytest.mark.parametrize("name", VAE_ROWS)
def test_both_sides_of_every_row_of_the_vae_family_do_the_same_work(name):
    pair = VAE_ROWS[name].build()
    assert pair.error < (EQUAL["bf16"] if "bf16" in name else 1e-4) and pair.flops > 0
    ours, theirs = (vae_cases._same_draws(run) for run in (pair.ours, pair.peer))
    assert pair.items == (1 if ours.ndim == 0 else len(ours)) or "train step" in name
    torch.testing.assert_close(ours.flatten(), theirs.flatten(), rtol=1e-3, atol=1e-2 if "bf16" in name else 1e-4)


@pytest.mark.parametrize("name", AUTOREGRESSIVE_ROWS)
def test_both_sides_of_every_row_of_the_autoregressive_family_do_the_same_work(name):
    if "vocoder" in name:
        pytest.importorskip("wavenet_vocoder")
    pair, n = AUTOREGRESSIVE_ROWS[name].build(), int(name.rpartition(" ")[2])
    ours, theirs = (vae_cases._same_draws(run) for run in (pair.ours, pair.peer))
    assert pair.error < 1e-4 and pair.flops > 0 and pair.items % n == 0
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    if "cache" in name:  # pictures and waves as drawn, logits with an axis for levels
        assert len(ours) == n and pair.items == (ours[:, 0] if "vocoder" in name else ours).numel()
        assert ours.float().std() > 0.1  # no constant, which any sampler could draw
    else:
        assert pair.items == 32 * int(name.split(" characters")[0].rpartition(" ")[2])


@pytest.mark.parametrize("name", TRANSFORMER_ROWS)
def test_both_sides_of_every_row_of_the_transformers_do_the_same_work(name):
    pair, n = TRANSFORMER_ROWS[name].build(), int(name.rpartition(" ")[2])
    ours, theirs = pair.ours(), pair.peer()
    assert pair.error < 1e-4 and pair.flops > 0 and pair.items % n == 0
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    if "train step" in name:
        assert ours.ndim == 0 and pair.items == n * {"GPT": 12, "BERT": 20}[name.split()[0]]
    elif "forward" in name:
        assert ours.std() > 0.1 and ours[..., 0].numel() == pair.items
    else:
        written = ours[:, -pair.items // n :]
        assert written.numel() == pair.items and not torch.equal(written[:, 1:], written[:, :-1])
        assert len(written.unique()) > 3  # no token that repeats, which no cache could get wrong


@pytest.mark.parametrize("name", GAN_ROWS)
def test_both_sides_of_every_row_of_the_gans_do_the_same_work(name):
    if "BigGAN" in name:
        pytest.importorskip("pytorch_pretrained_biggan")
    pair, n = GAN_ROWS[name].build(), int(name.rpartition(" ")[2])
    ours, theirs = (vae_cases._same_draws(run) for run in (pair.ours, pair.peer))
    assert pair.error < 1e-4 and pair.flops > 0 and pair.items == n
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    if "step" not in name:
        assert len(ours) == n and ours.std() > 0.1 and not torch.equal(ours[0], ours[1])


@pytest.mark.parametrize("name", FLOW_ROWS)
def test_both_sides_of_every_row_of_the_flows_do_the_same_work(name):
    pair, n = FLOW_ROWS[name].build(), int(name.rpartition(" ")[2])
    assert pair.error < 1e-4 and pair.flops > 0 and pair.items == n
    if "sample" in name or "Euler" in name:  # noise in an order of its own, or another network: other draws
        drawn = [out[0] if isinstance(out, tuple) else out for out in (pair.ours(), pair.peer())]
        assert drawn[0].shape == drawn[1].shape and all(torch.isfinite(x).all() and x.std() > 0.1 for x in drawn)
    else:
        first, again = ([run() for run in (pair.ours, pair.peer)] for _ in range(2))
        torch.testing.assert_close(first[0], first[1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(again[0], again[1], rtol=1e-4, atol=1e-4)
        assert torch.equal(first[0], again[0]) == ("train" not in name)  # a step has moved the weights
        assert "train" in name or (len(first[0]) == n and first[0].std() > 0.1)


@pytest.mark.parametrize("peer", ["normflows", "zuko"])
def test_peers_of_realnvp_train_all_of_the_weights_and_no_others(peer):
    pytest.importorskip(peer)
    ours, copied, (theirs, *_) = flow_cases.realnvps(flow_cases.SIZES["tiny"]["points"][0][0], peer, CPU)
    assert {id(p) for p in theirs.parameters()} == {id(p) for p in copied.parameters()}
    assert not {id(p) for p in ours.parameters()} & {id(p) for p in theirs.parameters()}


def test_both_sides_of_dcgan_go_on_alike_as_they_learn():
    pair = next(case for name, case in GAN_ROWS.items() if name.startswith("DCGAN")).build()
    losses = [[vae_cases._same_draws(run) for run in (pair.ours, pair.peer)] for _ in range(4)]
    for ours, theirs in losses:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    first, last = losses[0][0], losses[-1][0]
    assert (last < first - 1e-3).all()  # of both players: at the same draws, each has learned


def test_operations_of_a_step_with_a_penalty_on_gradients_are_those_of_its_convolutions():
    layer = torch.nn.Conv2d(2, 3, 3, padding=1, bias=False)
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    forward = 2 * 3 * 2 * 9 * 16
    assert gan_cases._count(lambda: layer(x)) == forward
    assert gan_cases._count(lambda: layer(x).square().sum().backward()) == 3 * forward  # of x, and of the weight


def test_steps_of_gpt_on_a_gpu_in_bf16_agree_as_far_as_bf16_does():
    names = [case.name for case in transformer_cases.plan(torch.device("cuda"))]
    gpt2 = "GPT train step, 12 layers of 768, 1024 of 50257 tokens, batch 8, bf16"
    assert gpt2 in names and f"{gpt2}, compiled" in names
    pair = transformer_cases.gpt_step(transformer_cases.SIZES["tiny"]["train"], 4, CPU, bf16=True)
    assert 1e-5 < pair.error < EQUAL["bf16"]  # bf16 it is
    assert pair.ours().item() == pytest.approx(pair.peer().item(), rel=1e-2)


ROWS = VAE_ROWS | AUTOREGRESSIVE_ROWS | TRANSFORMER_ROWS  # those of the GANs have two players
TRAINED = {n: c for n, c in ROWS.items() if "train step" in n and "bf16" not in n}


@pytest.mark.parametrize("name", TRAINED)
def test_steps_of_a_family_move_both_sides_alike(name, monkeypatch):
    adamw = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda parameters, **how: adamw(parameters, **how | {"lr": 1e-2}))
    pair = TRAINED[name].build()
    losses = [[vae_cases._same_draws(run).item() for run in (pair.ours, pair.peer)] for _ in range(4)]
    assert losses[-1][0] < losses[0][0] - 1e-3
    assert all(ours == pytest.approx(theirs, rel=1e-3) for ours, theirs in losses)


def test_plain_vae_has_the_layers_of_ours():
    for network in ("conv", "mlp"):
        ours, peer = vae_cases.vaes("full", network, CPU)
        assert ours.cfg == vae_cases.VAEConfig(latent=8, network=network)
        assert [p.shape for p in ours.parameters()] == [p.shape for p in peer.parameters()]
        kinds = [[type(m).__name__ for m in model.modules() if not list(m.children())] for model in (ours, peer)]
        assert kinds[0] == kinds[1]


def stretched(models):
    """The weights of the peer, a little longer."""
    with torch.no_grad():
        for p in models[1].parameters():
            p.mul_(1.1)
    return models


@pytest.mark.parametrize("name, what, wrong", [
    ("VAE train step, conv", "plain_loss", lambda f: lambda logits, mu, log_var, x: f(logits, mu, 0 * log_var, x)),
    ("VAE train step, mlp", "vaes", lambda f: lambda *sizes: stretched(f(*sizes))),
    ("VAE decode, conv", "vaes", lambda f: lambda *sizes: stretched(f(*sizes))),
    ("VQ-VAE train step", "vqvae_loss", lambda f: partial(f, commitment=0.3)),
    ("VQ-VAE decode", "vqvaes", lambda f: lambda *sizes: stretched(f(*sizes))),
    ("Code prior", "sample_codes", lambda f: lambda prior, n, labels: f(prior, n, labels.flip(0))),
])  # fmt: skip
def test_a_side_of_the_vae_family_that_does_other_work_is_not_timed(name, what, wrong, monkeypatch):
    monkeypatch.setattr(vae_cases, what, wrong(getattr(vae_cases, what)))
    case = next(case for row, case in VAE_ROWS.items() if row.startswith(name))
    with pytest.raises(RuntimeError, match=f"{name}.*: ours and the peer's differ by"):
        harness.measure(case, rounds=3, seconds=1, device=CPU)


WAVES = "WaveNet, 2 layers of 6, 24 samples, cache against"


def late(sampler):
    """A sampler that draws other chances, since one was drawn before."""
    return lambda *given: (torch.rand(1), sampler(*given))[1]


@pytest.mark.parametrize("name, module, what, wrong", [
    ("LSTM train step", "autoregressive_cases", "plain_lm_loss", lambda f: lambda m, x, y: f(m, x, y.roll(1, 1))),
    ("LSTM train step, 2", "autoregressive_cases", "language_models", lambda f: lambda *how: stretched(f(*how))),
    ("GRU train step", "autoregressive_cases", "lm_loss", lambda f: lambda m, batch: f(m, batch[::-1])),
    ("PixelCNN, 3", "autoregressive_cases", "plain_sample_pixels", late),
    ("PixelCNN, 2", "autoregressive_cases", "plain_sample_pixels", lambda f: lambda *a: f(*a[:3], a[3].flip(0))),
    ("PixelCNN, 3", "plain_autoregressive", "from_levels", lambda f: lambda k, K: f(k, K).roll(1, -1)),
    (f"{WAVES} none, batch 1", "autoregressive_cases", "plain_sample_waves", late),
    (f"{WAVES} none, batch 4", "plain_autoregressive", "receptive_field", lambda f: lambda cfg: f(cfg) - 1),
    (f"{WAVES} wavenet_vocoder's, batch 1", "autoregressive_cases", "WaveCache",
     lambda f: lambda model, n: f(type(model)(model.cfg), n)),
])  # fmt: skip
def test_a_side_of_the_autoregressive_family_that_does_other_work_is_not_timed(name, module, what, wrong, monkeypatch):
    if "vocoder" in name:
        pytest.importorskip("wavenet_vocoder")
    module = {"autoregressive_cases": autoregressive_cases, "plain_autoregressive": plain_autoregressive}[module]
    monkeypatch.setattr(module, what, wrong(getattr(module, what)))
    case = next(case for row, case in AUTOREGRESSIVE_ROWS.items() if row.startswith(name))
    with pytest.raises(RuntimeError, match=f"{name}.*: ours and the peer's differ by"):
        harness.measure(case, rounds=3, seconds=1, device=CPU)


def misplaced(f):
    """Hides other words than the labels say."""
    return lambda model, batch: f(model, batch._replace(places=batch.places.flip(1)))


def one_beam(f):
    """Keeps one beginning only."""
    return lambda state, start, beams, steps, **how: f(state, start, 1, steps, **how)


@pytest.mark.parametrize("name, what, wrong", [
    ("GPT train step", "gpt_loss", lambda f: lambda m, batch: f(m, (batch[0], batch[1].roll(1, 1)))),
    ("GPT train step", "translate_state", lambda f: lambda theirs: {k: 1.01 * v for k, v in f(theirs).items()}),
    ("GPT, 20 greedy", "models", lambda f: lambda *how: stretched(f(*how))),
    ("GPT, 20 greedy", "write_tokens", lambda f: lambda state, x, steps, **how: f(state, x.flip(1), steps, **how)),
    ("BERT train step", "mlm_loss", misplaced),
    ("ViT forward", "models", lambda f: lambda *how: stretched(f(*how))),
    ("T5, 10 tokens greedy", "models", lambda f: lambda *how: stretched(f(*how))),
    ("T5, 10 tokens by 4", "beam_search", one_beam),
    ("BART forward", "models", lambda f: lambda *how: stretched(f(*how))),
])  # fmt: skip
def test_a_side_of_the_transformers_that_does_other_work_is_not_timed(name, what, wrong, monkeypatch):
    monkeypatch.setattr(transformer_cases, what, wrong(getattr(transformer_cases, what)))
    case = next(case for row, case in TRANSFORMER_ROWS.items() if row.startswith(name))
    with pytest.raises(RuntimeError, match=f"{name}.*: ours and the peer's differ by"):
        harness.measure(case, rounds=3, seconds=1, device=CPU)


@pytest.mark.parametrize("name, what, wrong", [
    ("Modulated convolution, 6 to 4 maps, 8", "scaled_conv", lambda f: lambda *a, up: f(*a, demodulate=False, up=up)),
    ("Modulated convolution, 6 to 4 maps, 4", "scaled_conv", lambda f: lambda x, w, s, up: f(x, w, s.flip(0), up=up)),
    ("StyleGAN2 generator", "StyleGenerator", lambda f: lambda cfg: f(replace(cfg, clamp=0.1))),
    ("StyleGAN2 discriminator", "r1_penalty", lambda f: lambda critic, real: 1.01 * f(critic, real)),
    ("BigGAN-deep", "biggans", lambda f: lambda *how: stretched(f(*how))),
    ("DCGAN", "dcgans", lambda f: lambda *how: stretched(f(*how))),
    ("DCGAN", "plain_step", lambda f: lambda model, cfg, opts: f(model, cfg, (opts[0], opts[0]))),
])  # fmt: skip
def test_a_side_of_the_gans_that_does_other_work_is_not_timed(name, what, wrong, monkeypatch):
    if "BigGAN" in name:
        pytest.importorskip("pytorch_pretrained_biggan")
    monkeypatch.setattr(gan_cases, what, wrong(getattr(gan_cases, what)))
    case = next(case for row, case in GAN_ROWS.items() if row.startswith(name))
    with pytest.raises(RuntimeError, match=f"{name}.*: ours and the peer's differ by"):
        harness.measure(case, rounds=3, seconds=1, device=CPU)


def shrunk(coupling):
    """A coupling whose bound on the scale is another."""
    coupling.bound.data.mul_(0.9)
    return coupling


@pytest.mark.parametrize("name, what, wrong", [
    ("RealNVP log-density, 2", "Interleaved", lambda f: lambda coupling, bounded: f(shrunk(coupling), bounded)),
    ("RealNVP sample, 6", "Interleaved", lambda f: lambda coupling, bounded: f(shrunk(coupling), bounded)),
    ("RealNVP train step, 6", "Interleaved", lambda f: lambda coupling, bounded: f(shrunk(coupling), bounded)),
    ("Glow log-density", "glows", lambda f: lambda *how: darker(f(*how))),
    ("Glow sample", "glows", lambda f: lambda *how: darker(f(*how))),
    ("Glow train step", "glows", lambda f: lambda *how: darker(f(*how))),
])  # fmt: skip
def test_a_side_of_the_flows_that_does_other_work_is_not_timed(name, what, wrong, monkeypatch):
    monkeypatch.setattr(flow_cases, what, wrong(getattr(flow_cases, what)))
    case = next(case for row, case in FLOW_ROWS.items() if row.startswith(name))
    with pytest.raises(RuntimeError, match=f"{name}.*: ours and the peer's differ by"):
        harness.measure(case, rounds=3, seconds=1, device=CPU)


def darker(found):
    """Ours, a peer of which one ActNorm is off, and images."""
    ours, theirs, x = found
    with torch.no_grad():
        theirs.flows[0][0].flows[2].s.add_(0.1)
    return ours, theirs, x


def test_peers_of_the_transformers_use_the_fused_kernel_and_drop_nothing():
    config = transformer_cases.SIZES["full"]["train"]
    assert [config[k] for k in ("n_layer", "n_head", "n_embd", "n_positions")] == [6, 6, 384, 256]
    sizes = transformer_cases.SIZES["tiny"]
    for ours, kind, config_kind, config in (
        (transformer_cases.GPT, "GPT2LMHeadModel", "GPT2Config", sizes["train"]),
        (transformer_cases.BERT, "BertForMaskedLM", "BertConfig", sizes["bert"][0]),
        (transformer_cases.ViT, "ViTForImageClassification", "ViTConfig", sizes["vit"]),
        (transformer_cases.T5, "T5ForConditionalGeneration", "T5Config", sizes["t5"]),
        (transformer_cases.BART, "BartForConditionalGeneration", "BartConfig", sizes["bart"]),
    ):
        peer = transformer_cases.models(ours, kind, config_kind, config, CPU)[1]
        assert peer.config._attn_implementation == "sdpa"
        assert not any(m.p for m in peer.modules() if isinstance(m, torch.nn.Dropout))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_plain_language_model_is_torchs_own_layer_with_our_weights(cell):
    cfg = autoregressive_cases.SHAKESPEARE
    ours, peer = autoregressive_cases.language_models(cell, cfg)
    assert ours.cfg.cell == cell and type(peer.body) is type(ours.body.kernel)
    weights = zip(ours.parameters(), peer.parameters(), strict=True)
    assert all(torch.equal(a, b) and a is not b for a, b in weights)


def test_plan_holds_the_cases_that_the_page_promises():
    names = [case.name for case in DIFFUSION.plan(CPU)]
    for wanted in ("U-Net train step, narrow, batch 8", "U-Net train step, narrow, batch 16",
                   "DDIM 20 steps, narrow, batch 8", "DDIM 20 steps, narrow, batch 16",
                   "U-Net train step, narrow, batch 8, bf16",
                   "U-Net train step, small, batch 8, compiled"):  # fmt: skip
        assert wanted in names
    assert all(SIZES[size]["sample_size"] == 32 for size in ("small", "narrow", "published"))
    names = [case.name for case in vae_cases.plan(CPU)]
    for network in ("conv", "mlp"):
        for wanted in ("train step, {}, batch 64", "train step, {}, batch 128", "decode, {}, batch 256"):
            assert f"VAE {wanted.format(network)}" in names
    for wanted in ("VQ-VAE train step, batch 16", "VQ-VAE decode, batch 64",
                   "Code prior, 49 codes, cache against none, batch 16",
                   *(f"VAE {work}, {variant}" for work in ("train step, conv, batch 64", "decode, conv, batch 256")
                     for variant in ("bf16", "compiled"))):  # fmt: skip
        assert wanted in names
    bars = {case.name: case.bar for case in autoregressive_cases.plan(CPU)}
    pixels = "PixelCNN, {} of 28 rows, cache against none, batch 4"
    waves = "WaveNet, 16 layers of 32, 256 samples, cache against"
    wanted = {"LSTM train step, 1 layer of 192, 64 characters, batch 32": harness.BAR,
              "LSTM train step, 2 layers of 320, 64 characters, batch 32": harness.BAR,
              "GRU train step, 1 layer of 192, 64 characters, batch 32": harness.BAR,
              **{pixels.format(what): 1 / 50 for what in ("6 layers of 32, 4", "8 layers of 48, 3")},
              **{f"{waves} wavenet_vocoder's, batch {n}": 0.5 for n in (1, 4)},
              **{f"{waves} none, batch {n}": harness.BAR for n in (1, 4)}}  # fmt: skip
    assert {name: bars.get(name) for name in wanted} == wanted
    bars = {case.name: case.bar for case in transformer_cases.plan(CPU)}
    wanted = {"GPT train step, 6 layers of 384, 256 of 65 tokens, batch 4": 0.97,
              "GPT, 128 greedy tokens, 6 layers of 384, batch 1": 1.0,
              "GPT, 128 greedy tokens, 2 layers of 64, batch 1": 0.5,
              "BERT train step, logits of hidden words only, 4 layers of 256, 128 tokens, batch 8": 0.83,
              "ViT forward, 6 layers of 192, 224 pixels, patches of 16, batch 4": harness.BAR,
              "T5, 32 tokens greedy, 4 layers of 256, batch 4": harness.BAR,
              "T5, 32 tokens by 4 beams, 4 layers of 256, batch 4": harness.BAR,
              "BART forward, 4 layers of 256, 64 and 32 tokens, batch 4": harness.BAR}  # fmt: skip
    assert bars == wanted
    bars = {case.name: case.bar for case in gan_cases.plan(CPU)}
    wanted = {"Modulated convolution, 64 to 64 maps, 32×32, batch 4": harness.BAR,
              "Modulated convolution, 64 to 64 maps, 16×16 to twice the side, batch 4": 0.6,
              "StyleGAN2 generator forward, 64×64, batch 4": 0.8,
              "StyleGAN2 discriminator step with R1, 64×64, batch 4": harness.BAR,
              "BigGAN-deep forward, 128×128, batch 4": harness.BAR,
              "DCGAN step, 32×32, batch 64": harness.BAR}  # fmt: skip
    assert bars == wanted
    assert {c.bar for c in flow_cases.plan(CPU) if c.name.startswith("RealNVP")} == {1.0}
    assert {c.bar for c in flow_cases.plan(CPU) if c.name.startswith("Glow")} == {harness.BAR}


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_rows_of_a_suite_have_names_of_their_own_and_compiling_can_be_left_out(suite, kind):
    for tiny in (False, True):
        names = [case.name for case in suite.plan(torch.device(kind), tiny=tiny)]
        assert len(set(names)) == len(names)
        never = {autoregressive_cases.SUITE: True, transformer_cases.SUITE: kind == "cpu", gan_cases.SUITE: True,
                 flow_cases.SUITE: True}  # fmt: skip
        assert any("compiled" in name for name in names) == (not never.get(suite, False))
        without = [case.name for case in suite.plan(torch.device(kind), tiny=tiny, with_compile=False)]
        assert without == [name for name in names if "compiled" not in name]


def test_suites_have_names_results_and_markers_of_their_own():
    for what in ([s.name for s in SUITES], [s.result for s in SUITES], [m for s in SUITES for m in s.markers]):
        assert len(set(what)) == len(what)
    assert not any(a != b and a in b for s in SUITES for a in s.markers for t in SUITES for b in t.markers)


@pytest.mark.parametrize("error", [0.1, float("nan")])
def test_sides_that_differ_are_not_timed(error):
    pair = Pair(ours=lambda: None, peer=lambda: pytest.fail("timed"), error=error, items=1, flops=1)
    case = Case(name="unequal", build=lambda: pair)
    with pytest.raises(RuntimeError, match=f"unequal: ours and the peer's differ by {error}"):
        harness.measure(case, rounds=3, seconds=1, device=CPU)


def test_short_calls_are_timed_several_at_once(monkeypatch):
    calls = {"ours": 0, "peer": 0}
    pair = Pair(ours=lambda: count("ours"), peer=lambda: count("peer"), error=0.0, items=1, flops=1)

    def count(side):
        calls[side] += 1

    monkeypatch.setattr(harness, "TIMED", 1e-4)
    harness.measure(Case(name="short", build=lambda: pair), rounds=3, seconds=1, device=CPU)
    assert calls["peer"] > 3 + 3  # two before, one to warm up, and more than one in each of three rounds


def test_a_slow_peer_takes_rounds_away_but_leaves_nine(monkeypatch):
    monkeypatch.setattr(harness, "TIMED", 1e-3)
    pair = Pair(ours=lambda: time.sleep(0.001), peer=lambda: time.sleep(0.03), error=0.0, items=1, flops=1)
    case = Case(name="slow peer", build=lambda: pair)
    assert harness.measure(case, rounds=40, seconds=0.3, device=CPU)["n"] < 20  # of 40, were the peer as fast
    assert harness.measure(case, rounds=40, seconds=0, device=CPU)["n"] == 9


def row(low, value=1.0, high=2.0):
    span = {"value": value, "low": low, "high": high}
    return {"case": "some case", "device": "cpu", "n": 9, "error": 0.0, "flops": 1, "ours_ms": span, "peer_ms": span,
            "ratio": span, "noise": span, "per_second": 1.0, "bar": harness.BAR}  # fmt: skip


def test_slower_names_only_cases_whose_whole_interval_is_above_the_bar():
    assert harness.slower([row(1.02), row(0.9, 1.5)]) == []
    assert harness.slower([row(1.04)]) == ["some case"]


def test_a_row_with_a_bar_of_its_own_is_held_to_it_and_says_so():
    assert harness.slower([row(0.03) | {"bar": 0.02}]) == ["some case"]
    assert harness.slower([row(0.01, 0.03) | {"bar": 0.02}]) == []
    pair = Pair(ours=lambda: None, peer=lambda: None, error=0.0, items=3, flops=1, note="note")
    case = harness.CaseWithBar(name="claim", build=lambda: pair, bar=1 / 50, unit="pixels")
    found = harness.measure(case, rounds=3, seconds=1, device=CPU)
    assert found["bar"] == 1 / 50 and found["case"] == "claim (note; at most 0.02)"
    assert harness.line(found).endswith(" pixels/s")
    found = harness.measure(Case(name="plain", build=lambda: pair), rounds=3, seconds=1, device=CPU)
    assert found["bar"] == harness.BAR and found["case"] == "plain (note)" and found["unit"] == "images"


def test_units_stand_in_the_head_of_a_table_when_all_rows_share_one_and_in_the_rows_when_not():
    of = lambda *rows: harness.table({"command": "c", "hardware": "h", "versions": {},
                                      "values": {"rows": rows, "precision": "highest", "load": "0"}})  # fmt: skip
    pixels, waves = (row(0.9) | {"unit": unit} for unit in ("pixels", "samples"))
    assert "| rounds | images/s |" in of(row(0.9)) and "| rounds | pixels/s |" in of(pixels, pixels)
    mixed = of(pixels, waves)
    assert "| rounds | a second |" in mixed and "| 9 | 1.0 pixels |" in mixed and "| 9 | 1.0 samples |" in mixed


def blank_page(path):
    tables = "\n\n".join("\n".join([suite.markers[0], f"old {suite.name}", suite.markers[1]]) for suite in SUITES)
    path.write_text(f"# Before\n\n{tables}\n\nafter\n")
    return path


def test_run_prints_and_writes_its_rows_and_the_table_of_the_page(tmp_path, capsys):
    page = blank_page(tmp_path / "page.md")
    options = ["--tiny", "--no-compile", "--rounds", "3", "--page", str(page)]
    options += ["--only", "U-Net train step, tiny, batch 8"]
    status = harness.main(SUITES, [*options, "--folder", str(tmp_path)])
    results, printed = load_results("bench", folder=tmp_path), capsys.readouterr().out
    assert results["command"].startswith("python -m tests.benchmarks --tiny")
    rows = results["values"]["rows"]
    assert [r["case"] for r in rows] == ["U-Net train step, tiny, batch 8", "U-Net train step, tiny, batch 8, bf16"]
    for r in rows:
        assert r["ratio"]["low"] <= r["ratio"]["value"] <= r["ratio"]["high"]
        assert r["n"] == 3 and r["ours_ms"]["value"] > 0 and harness.line(r) in printed
    text = page.read_text()
    assert text.startswith("# Before\n") and text.endswith("after\n") and "old diffusion" not in text
    assert harness.table(results) in text
    assert status == (1 if harness.slower(rows) else 0)
    harness.write_page(DIFFUSION, results, page)
    assert page.read_text() == text  # writing again changes nothing


def test_each_suite_writes_its_own_results_and_its_own_table(tmp_path):
    page = blank_page(tmp_path / "page.md")
    options = ["--tiny", "--no-compile", "--rounds", "3", "--page", str(page), "--folder", str(tmp_path)]
    harness.main(SUITES, [*options, "--suite", "vae", "--only", "decode, mlp"])
    assert [path.name for path in tmp_path.glob("*.json")] == ["bench_vae.json"]
    results = load_results("bench_vae", folder=tmp_path)
    assert [r["case"] for r in results["values"]["rows"]] == ["VAE decode, mlp, batch 256"]
    assert set(results["sources"]) == set(vae_cases.SUITE.sources)
    text = page.read_text()
    assert harness.table(results) in text and "old vae" not in text and "old diffusion" in text
    with pytest.raises(SystemExit):  # the case is the other suite's
        harness.main(SUITES, [*options, "--suite", "diffusion", "--only", "decode, mlp"])
    with pytest.raises(SystemExit):
        harness.main(SUITES, [*options, "--suite", "no such suite"])
    assert page.read_text() == text


def test_a_part_of_a_run_is_not_written_unless_a_folder_is_named(tmp_path):
    page = blank_page(tmp_path / "page.md")
    before, stored = page.read_text(), {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}
    harness.main(SUITES, ["--tiny", "--no-compile", "--rounds", "3", "--page", str(page), "--only", "decode, mlp"])
    assert page.read_text() == before
    assert {path.name: path.read_bytes() for path in FOLDER.glob("*.json")} == stored


def test_page_without_its_markers_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="once each"):
        harness.write_page(DIFFUSION, {}, page)


def test_gpu_rows_show_utilisation_and_memory():
    gpu = row(0.9) | {"device": "cuda", "mfu": 0.345, "peak_memory_mib": 1234.0, "per_second": 5678.0}
    results = {"command": "c", "hardware": "h", "versions": {"torch": "2"},
               "values": {"rows": [row(0.9), gpu], "precision": "highest", "load": "0"}}  # fmt: skip
    text = harness.table(results)
    assert text.index("One CPU thread") < text.index("One GPU")
    assert "| 5678 | 34.5% | 1234 |" in text and "MFU 34.5%" in harness.line(gpu)
    assert "unknown" in harness.table(results | {"values": results["values"] | {"rows": [gpu | {"mfu": None}]}})


def test_times_below_ten_milliseconds_keep_three_digits():
    assert "| 1.00 | 1.00 |" in harness.table({"command": "c", "hardware": "h", "versions": {},
        "values": {"rows": [row(0.9)], "precision": "highest", "load": "0"}})  # fmt: skip
    assert " 12.3 " in harness.line(row(0.9, 12.34, 13.0))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_numbers_on_the_page_are_those_of_the_last_run(suite):
    path, text = FOLDER / f"{suite.result}.json", harness.PAGE.read_text()
    assert path.exists(), f"run `python -m tests.benchmarks --suite {suite.name}`"
    begin, end = suite.markers
    assert text.count(begin) == text.count(end) == 1
    assert text.split(begin)[1].split(end)[0].strip() == harness.table(json.loads(path.read_text()))

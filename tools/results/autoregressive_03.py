"""Measure what chapter 03 shows: `python -m tools.results.autoregressive_03` writes genai_utils/results/03.json.

Needs MNIST and CIFAR-10 (a network, or GENAI_DATA); `tones` is embedded. About an hour on one CPU thread. Each finished
part is kept in runs/ and not measured twice, unless the section of this file that measures it, or a source named for
it, has changed. `python -m tools.results.autoregressive_03 blind speed` measures the parts named and stops.
"""

import io
import lzma
import math
import zlib
from dataclasses import asdict, replace
from functools import cache, partial

import torch
from PIL import Image
from torch import Tensor, nn

from genai_utils.autoregressive.pixel_sampler import draw as draw_levels
from genai_utils.autoregressive.pixel_sampler import sample_pixels
from genai_utils.autoregressive.pixelcnn import (
    MaskedConv2d, PixelCNN, PixelCNNConfig, from_levels, gate, pixelcnn_loss, to_levels,
)  # fmt: skip
from genai_utils.autoregressive.wavenet import WaveNet, WaveNetConfig, sample_waves, wavenet_loss
from genai_utils.autoregressive.wavenet import PRESETS as WAVENETS
from genai_utils.core import seed_all
from genai_utils.data import load, mu_law_decode, mu_law_encode, to_floats
from genai_utils.metrics import (
    Classifier, Estimate, bits_per_dim, mean_estimate, median_estimate, pitch, score_digits, score_tones,
    share_estimate,
)  # fmt: skip
from genai_utils.metrics.classifier import run_in_batches
from genai_utils.metrics.speed import compare
from genai_utils.results import load_results
from genai_utils.training import adamw, fit, make_step, warmup_cosine
from genai_utils.vae.likelihoods import binarise
from genai_utils.weights import load_weights, registry
from tools.parts import main

MODELS, WEIGHTS, RESULTS = "genai_utils/autoregressive", "genai_utils/weights", "genai_utils/results"
PIXELS = (f"{MODELS}/pixelcnn.py",)
DRAWN = (*PIXELS, f"{MODELS}/pixel_sampler.py")
SHIPPED = (*DRAWN, f"{WEIGHTS}/pixelcnn-mnist.safetensors")
TONES = (f"{MODELS}/wavenet.py", "genai_utils/data/audio.py", "genai_utils/metrics/sound.py")
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its section of this file
    "blind": PIXELS, "unmask": DRAWN, "temperature": SHIPPED, "completion": SHIPPED, "ood": SHIPPED,
    "compression": SHIPPED, "dilation": TONES,
    "tones_temperature": (*TONES, f"{WEIGHTS}/wavenet-tones.safetensors"),
    "longer": (*TONES, f"{WEIGHTS}/wavenet-tones.safetensors"), "speed": (*DRAWN, f"{MODELS}/wavenet.py"),
    "bits": (*SHIPPED, f"{WEIGHTS}/code-prior-mnist.safetensors",
             f"{RESULTS}/10.json", f"{RESULTS}/16.json"),
}  # fmt: skip
SEEDS = (0, 1, 2)
DIMS = 784


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them: lists over seeds, or estimates (value, low, high, n, level)."""

    def over(prefix: str) -> dict[str, list]:
        runs = [done[f"{prefix}/{s}"] for s in SEEDS]
        return {key: [run[key] for run in runs] for key in runs[0]}

    return {
        "blind": {"settings": BLIND, "seeds": SEEDS, "runs": {kind: over(f"blind {kind}") for kind in STACKS}},
        "unmask": {"settings": UNMASK, "seeds": SEEDS, "runs": {mask: over(f"unmask {mask}") for mask in "AB"}},
        "temperature": {f"{t:g}": done[f"temperature {t:g}"] for t in TEMPERATURES},
        "completion": {name: done[f"completion {name}"] for name in COMPLETIONS},
        "ood": {"settings": OOD, "sets": {name: done[f"ood {name}"] for name in STRANGERS}},
        "compression": done["compression"],
        "dilation": {"settings": DILATION, "seeds": SEEDS, "runs": {
            name: over(f"dilation {name}") for name in DESIGNS}},
        "tones_temperature": {f"{t:g}": done[f"tones_temperature {t:g}"] for t in TONE_TEMPERATURES},
        "longer": done["longer"],
        "speed": {name: done[f"speed {name}"] for name in ("pixelcnn", "wavenet")},
        "bits": done["bits"],
    }  # fmt: skip


# ---- shared


def plain(found: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    """Return estimates as dicts of floats, to five digits."""
    return {name: {k: float(f"{v:.5g}") if k != "n" else v for k, v in asdict(e).items()} for name, e in found.items()}


@cache
def test_digits(n: int) -> tuple[Tensor, Tensor]:
    """Return the first n test digits, (n, 1, 28, 28) in [-1, 1], and their labels."""
    test = load("mnist", split="test")
    return to_floats(test.images[:n]), test.labels[:n]


@cache
def binary_digits(n: int) -> Tensor:
    """Return n test digits of -1 and 1, (n, 1, 28, 28), as chapter 9 drew them."""
    test = load("mnist", split="test")
    return binarise(to_floats(test.images), torch.Generator().manual_seed(0))[:n]


@cache
def shipped() -> PixelCNN:
    return load_weights("pixelcnn-mnist", PixelCNN).to(memory_format=torch.channels_last)


def draw_digits(model: PixelCNN, labels: Tensor | None, n: int, seed: int, temperature: float = 1.0) -> Tensor:
    """Return digits (n, 1, 28, 28) in [-1, 1], a hundred at a time."""
    g, out = torch.Generator().manual_seed(seed), []
    for part in torch.arange(n).split(100):
        asked = None if labels is None else labels[part]
        *_, (_, k) = sample_pixels(model, len(part), asked, temperature=temperature, generator=g)
        out.append(from_levels(k, model.cfg.levels)[:, None])
    return torch.cat(out)


# ---- blind, unmask: small networks on binarised MNIST

BLIND = {"steps": 600, "batch": 16, "rate": 4e-3, "layers": 6, "kernel": 3, "n": 1_000}
STACKS = {"masked": 30, "masked, gated units": 22, "gated": 16, "rows only": 33}  # width: about as many parameters
UNMASK = {"steps": 500, "batch": 16, "rate": 4e-3, "layers": 5, "width": 16, "every": 10, "n": 100, "n_nats": 1_000}


class GatedUnits(nn.Module):
    """One stack with the gates of two: a masked one, for its blind spot, or the horizontal one of the two, alone."""

    def __init__(self, cfg: PixelCNNConfig, first: bool, rows_only: bool) -> None:
        super().__init__()
        D, self.first = cfg.width, first
        d_in, kernel = (1, cfg.first_kernel) if first else (D, cfg.kernel)
        if rows_only:
            self.conv = nn.Conv2d(d_in, 2 * D, (1, kernel // 2 + (not first)), padding=(0, kernel // 2))
        else:
            self.conv = MaskedConv2d("A" if first else "B", d_in, 2 * D, kernel)
        self.out = nn.Conv2d(D, D, 1)

    def forward(self, x: Tensor, labels: None) -> Tensor:
        h = self.out(gate(self.conv(x)[:, :, :, : x.shape[3]]))
        return h if self.first else x + h


def small_net(kind: str) -> PixelCNN:
    """Return one of the networks compared."""
    cfg = PixelCNNConfig(
        levels=2, output="softmax", width=STACKS[kind], n_layers=BLIND["layers"], first_kernel=BLIND["kernel"],
        kernel=BLIND["kernel"], stack="gated" if kind == "gated" else "masked",
    )  # fmt: skip
    model = PixelCNN(cfg)
    if kind in ("masked, gated units", "rows only"):
        units = partial(GatedUnits, cfg, rows_only=kind == "rows only")
        model.layers = nn.ModuleList(units(first=i == 0) for i in range(cfg.n_layers))
    return model


def parameters(model: PixelCNN) -> int:
    """Return how many numbers training changes: those that a mask sets to zero do not count."""
    masked = [m for m in model.modules() if isinstance(m, MaskedConv2d)]
    hidden = sum(m.weight[:, :, 0, 0].numel() * int((m.mask == 0).sum()) for m in masked)
    return sum(p.numel() for p in model.parameters()) - hidden


def fit_binary(model: PixelCNN, how: dict, seed: int, every: int) -> list[float]:
    """Train on MNIST, binarised afresh in every batch; return the loss, in nats per picture, by row."""
    model.to(memory_format=torch.channels_last).train()
    g = torch.Generator().manual_seed(seed)
    batches = ((binarise(x, g), y) for x, y in load("mnist").batches(how["batch"], seed=seed))
    opt = adamw(model, how["rate"])
    schedule = warmup_cosine(opt, how["steps"], warmup=50)
    step = make_step(model, pixelcnn_loss, opt, schedule=schedule, amp=torch.bfloat16)
    rows = fit(step, batches, steps=how["steps"], every=every, progress=False)
    model.eval()
    return [float(f"{row['loss']:.5g}") for row in rows]


def nats_of(model: PixelCNN, n: int) -> dict[str, float]:
    """Return the mean of -log p(x) of n binarised test digits, in nats and in bits per dimension, and its error."""
    nats = -run_in_batches(model.log_prob, binary_digits(n), 100)
    error = nats.double().std().item() / math.sqrt(n)
    return {"nats": nats.mean().item(), "bits_per_dim": bits_per_dim(nats.mean().item(), DIMS), "standard_error": error}


def blind_run(kind: str, seed: int) -> dict[str, float]:
    """Train one network; its exact likelihood on test digits."""
    seed_all(seed)
    model = small_net(kind)
    fit_binary(model, BLIND, seed, BLIND["steps"])
    return nats_of(model, BLIND["n"]) | {"parameters": parameters(model), "width": STACKS[kind]}


def unmask_run(mask: str, seed: int) -> dict:
    """Train a masked stack whose first mask hides the pixel itself, A, or lets it through, B; then draw from it."""
    seed_all(seed)
    cfg = PixelCNNConfig(
        levels=2, output="softmax", stack="masked", width=UNMASK["width"], n_layers=UNMASK["layers"], first_kernel=7
    )
    model = PixelCNN(cfg)
    if mask == "B":
        model.layers[0].conv.mask[cfg.first_kernel // 2, cfg.first_kernel // 2] = 1
    losses = fit_binary(model, UNMASK, seed, UNMASK["every"])
    drawn = draw_digits(model, None, UNMASK["n"], seed)
    scores = {k: float(e) for k, e in score_digits(drawn, resamples=0).items()}
    ink = (drawn > 0).float().mean().item()
    return {"losses": losses, "nats": nats_of(model, UNMASK["n_nats"])["nats"], "ink": ink} | scores


# ---- temperature

TEMPERATURES = (0.8, 0.9, 1.0, 1.1)
DRAWS = 1_000


def temperature_run(temperature: float) -> dict:
    """Judge digits of the shipped model, 100 of each class, drawn with a temperature."""
    asked = torch.arange(DRAWS) % 10
    return plain(score_digits(draw_digits(shipped(), asked, DRAWS, 0, temperature), asked))


# ---- completion: the lower half of a digit, given the upper

COMPLETIONS = ("judged", "distinct")
HALF = {"n": 500, "rows": 14, "digits": 25, "copies": 8}


@torch.no_grad()
def class_posterior(x: Tensor) -> Tensor:
    """Return p(y | upper half), (B, 10): exact, for the upper half comes first, so that p(upper half | y) is known."""
    model, top = shipped(), x[:, :, : HALF["rows"]]
    k = to_levels(top[:, 0], model.cfg.levels)
    ask = lambda y: model.pixel_log_prob(model.network(top, torch.full((len(x),), y)), k).sum((1, 2))
    return torch.stack([ask(y) for y in range(10)], dim=1).softmax(1)


def complete(x: Tensor, labels: Tensor, g: torch.Generator) -> Tensor:
    """Return x (B, 1, 28, 28) with its lower half drawn anew, given the labels."""
    mask = torch.zeros(1, 1, 28, 28, dtype=torch.bool)
    mask[:, :, : HALF["rows"]] = True
    *_, (_, k) = sample_pixels(shipped(), len(x), labels, known=x, mask=mask, generator=g)
    return from_levels(k, shipped().cfg.levels)[:, None]


def judged(x: Tensor) -> Tensor:
    """Return the class that the shipped classifier sees in pictures, (B,)."""
    return run_in_batches(load_weights("classifier-mnist", Classifier), x).argmax(1)


def completion_judged() -> dict:
    """Share of digits that the judge calls by their name after the lower half was hidden and drawn."""
    x, labels = test_digits(HALF["n"])
    posterior = run_in_batches(class_posterior, x, 100)
    g = torch.Generator().manual_seed(0)
    inferred = torch.multinomial(posterior, 1, generator=g)[:, 0]
    draws = lambda asked: torch.cat([complete(*part, g) for part in zip(x.split(100), asked.split(100))])
    black = x.clone()
    black[:, :, HALF["rows"] :] = -1
    seen = {
        "given_label": judged(draws(labels)), "label_inferred": judged(draws(inferred)), "black": judged(black),
        "whole": judged(x), "guess": posterior.argmax(1),
    }  # fmt: skip
    return plain({name: share_estimate(int((y == labels).sum()), len(x)) for name, y in seen.items()})


def completion_distinct() -> dict:
    """How different several completions of one upper half are, the label drawn from its posterior each time."""
    digits, copies = HALF["digits"], HALF["copies"]
    x = test_digits(digits)[0].repeat_interleave(copies, 0)
    g = torch.Generator().manual_seed(1)
    inferred = torch.multinomial(run_in_batches(class_posterior, x, 100), 1, generator=g)[:, 0]
    drawn = torch.cat([complete(*part, g) for part in zip(x.split(100), inferred.split(100))])
    lower = drawn[:, 0, HALF["rows"] :].flatten(1).view(digits, copies, -1)
    apart = ((lower[:, :, None] - lower[:, None]).abs() > 0.5).float().mean(3)  # (digits, copies, copies)
    classes = torch.tensor([len(set(row.tolist())) for row in judged(drawn).view(digits, copies)])
    found = {"different_pixels": apart.sum((1, 2)) / (copies * (copies - 1)), "classes": classes}
    return plain({name: mean_estimate(values) for name, values in found.items()}) | {
        "digits": digits, "completions": copies, "unique": len(drawn.flatten(1).unique(dim=0)) / len(drawn),
    }  # fmt: skip


# ---- ood: the likelihood of what are no digits

OOD = {"n": 150}
STRANGERS = ("digits", "training digits", "glyphs", "inverted", "blank", "noise", "cifar10")


def strangers(name: str) -> Tensor:
    """Return pictures (N, 1, 28, 28) in [-1, 1]."""
    n, g = OOD["n"], torch.Generator().manual_seed(0)
    if name == "training digits":
        return to_floats(load("mnist").images[:n])
    if name == "glyphs":
        return to_floats(load("glyphs", "test", n=n, classes="0123456789").images)
    if name == "blank":
        return torch.full((1, 1, 28, 28), -1.0)
    if name == "noise":
        return to_floats(torch.randint(256, (n, 1, 28, 28), generator=g).to(torch.uint8))
    if name == "cifar10":
        grey = load("cifar10", "test").images[:n, :, 2:30, 2:30].float()  # the middle
        weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
        return to_floats((grey * weights).sum(1, keepdim=True).round().to(torch.uint8))
    x = test_digits(n)[0]
    return -x if name == "inverted" else x


def ood_values(name: str) -> list[float]:
    """Return -log p(x), the label unknown, in bits per dimension, of each picture."""
    nats = -run_in_batches(shipped().log_prob, strangers(name), 100)
    return [round(v, 4) for v in bits_per_dim(nats, DIMS).tolist()]


def ood_run(name: str) -> dict:
    """The likelihood of a set of pictures, and how well it tells them from test digits.

    `auroc`: the chance that such a picture has a higher -log p than a test digit; `reversed`: a lower one.
    """
    values, digits = (torch.tensor(part, dtype=torch.float64) for part in (ood_values(name), digit_values()))
    above = (values[:, None] > digits).double() + 0.5 * (values[:, None] == digits).double()
    mean = values.mean().item()
    estimate = mean_estimate(values) if len(values) > 1 else Estimate(value=mean, low=mean, high=mean, n=1)
    auroc = above.mean().item()
    return plain({"bits_per_dim": estimate}) | {"auroc": auroc, "reversed": 1 - auroc, "values": values.tolist()}


@cache
def digit_values() -> list[float]:
    return ood_values("digits")


# ---- compression, bits: on the same 1,000 test digits, as far as they are of the shipped model


@cache
@torch.no_grad()
def given_label() -> Estimate:
    """Return -log p(x | y) of the first 1,000 test digits in bits a dimension: those of which the score has p(x)."""
    x, labels = test_digits(1_000)
    nats = -torch.cat([shipped().log_prob(*part) for part in zip(x.split(100), labels.split(100))])
    return mean_estimate(bits_per_dim(nats, DIMS))


def png_sizes(pixels: Tensor) -> tuple[int, int]:
    """Return the bits of a grey picture (28, 28) uint8 as an optimised PNG: the file, and its image data alone."""
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG", optimize=True)
    data, at, inside = file.getvalue(), 8, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        inside += length * (data[at + 4 : at + 8] == b"IDAT")
        at += 12 + length
    return 8 * len(data), 8 * inside


def compression() -> dict:
    """Bits a picture: what an arithmetic coder needs with the shipped model, and what general programs need.

    The first 1,000 test digits. `together`: all of them as one file.
    """
    images = load("mnist", split="test").images[:1_000, 0]
    raw = [picture.numpy().tobytes() for picture in images]
    files, inside = (torch.tensor(sizes, dtype=torch.float64) for sizes in zip(*map(png_sizes, images)))
    best = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}]
    packers = {
        "zlib": partial(zlib.compress, level=9), "lzma": partial(lzma.compress, format=lzma.FORMAT_RAW, filters=best)
    }  # fmt: skip
    sizes = {name: torch.tensor([8.0 * len(pack(one)) for one in raw]) for name, pack in packers.items()}
    found = {"png": mean_estimate(files), "png_stream": mean_estimate(inside)}
    found |= {name: mean_estimate(values) for name, values in sizes.items()}
    together = {f"{name}_together": 8 * len(pack(b"".join(raw))) / len(raw) for name, pack in packers.items()}
    score = Estimate(**registry()["pixelcnn-mnist"]["score"]["bits_per_dim"])
    for name, e in (("model", score), ("model_given_label", given_label())):
        found[name] = Estimate(value=DIMS * e.value, low=DIMS * e.low, high=DIMS * e.high, n=e.n)
    return plain(found) | together | {"raw": 8 * DIMS, "label": math.log2(10)}


def bits() -> dict:
    """Bits per dimension of MNIST's test digits: this chapter's, exact, beside the bounds of chapters 10 and 16.

    p(x) takes ten times the work of p(x | y), so the score has it for 1,000 digits only, the first; they cost fewer
    bits than all 10,000 do (`pixelcnn_given_label` beside `pixelcnn_given_label_all`).
    """
    ours, codes = (registry()[name]["score"] for name in ("pixelcnn-mnist", "code-prior-mnist"))
    return {
        **plain({"pixelcnn_given_label": given_label()}),
        "pixelcnn": ours["bits_per_dim"], "pixelcnn_given_label_all": ours["bits_per_dim_given_label"],
        "classified_by_likelihood": ours["classified_by_likelihood"],
        "vqvae": codes["bits_per_dim_bound"], "vqvae_given_label": codes["bits_per_dim_bound_given_label"],
        "diffusion": load_results("16")["values"]["bits_per_dim"],
        "pixel_histograms": load_results("10")["values"]["bits"]["pixel_histograms_per_dim"],
        "kinds": {"pixelcnn": "exact", "vqvae": "bound", "diffusion": "bound", "pixel_histograms": "exact"},
    }  # fmt: skip


# ---- dilation

DILATION = {"steps": 300, "batch": 4, "rate": 4e-3, "width": 24, "skip": 48, "n_waves": 240, "n": 128, "samples": 2_000}
DESIGNS = {
    "doubling 8": [2**i for i in range(8)], "ones 8": [1] * 8, "doubling 6": [2**i for i in range(6)],
    "doubling 4": [1, 2, 4, 8], "doubling 2": [1, 2],
}  # fmt: skip


def small_wavenet(design: list[int]) -> WaveNet:
    """Return a WaveNet whose layers have these dilations."""
    cfg = WaveNetConfig(
        width=DILATION["width"], skip=DILATION["skip"], n_blocks=1, n_layers=len(design), n_classes=8
    )  # fmt: skip
    model = WaveNet(cfg)
    for layer, d in zip(model.layers, design):
        layer.dilation, layer.conv.dilation = d, (d,)
    return model


def draw_waves(model: WaveNet, labels: Tensor, steps: int, seed: int, temperature: float = 1.0) -> Tensor:
    """Return waves (N, T) in [-1, 1] of the classes asked for."""
    g = torch.Generator().manual_seed(seed)
    drawn = sample_waves(model, len(labels), steps, labels, temperature=temperature, generator=g)
    return mu_law_decode(torch.stack([c for _, c in drawn], dim=1), model.cfg.levels)


@torch.no_grad()
def dilation_run(name: str, seed: int) -> dict[str, float]:
    """Train a WaveNet on tones; its exact likelihood of test waves, and the pitch of what it draws."""
    seed_all(seed)
    design, steps = DESIGNS[name], DILATION["steps"]
    model = small_wavenet(design)
    opt = adamw(model, DILATION["rate"])
    with torch.enable_grad():
        schedule = warmup_cosine(opt, steps, warmup=30)
        step = make_step(model, wavenet_loss, opt, schedule=schedule, amp=torch.bfloat16)
        fit(step, load("tones").batches(DILATION["batch"], seed=seed), steps=steps, every=steps, progress=False)
    model.eval()
    test, n = load("tones", "test"), DILATION["n_waves"]
    codes, labels = mu_law_encode(test.waves[:n].float() / 32_768), test.labels[:n]
    nats = -torch.cat([model.log_prob(*part) for part in zip(codes.split(40), labels.split(40))]) / codes.shape[1]
    asked = torch.arange(DILATION["n"]) % 8
    drawn = score_tones(draw_waves(model, asked, DILATION["samples"], seed), asked, resamples=0)
    nats = nats.mean().item()
    return {"nats": nats, "bits": nats / math.log(2), "receptive_field": 1 + sum(design), "layers": len(design)} | {
        "parameters": sum(p.numel() for p in model.parameters())
    } | {k: float(drawn[k]) for k in ("agreement", "in_tune", "tone", "periodicity")}  # fmt: skip


# ---- tones_temperature

TONE_TEMPERATURES = (0.7, 0.85, 1.0)


def tones_temperature_run(temperature: float, n: int = 256) -> dict:
    """Judge tones of the shipped WaveNet, drawn with a temperature."""
    asked = torch.arange(n) % 8
    return plain(score_tones(draw_waves(load_weights("wavenet-tones", WaveNet), asked, 2_000, 0, temperature), asked))


# ---- longer


def longer(n: int = 128, window: int = 2_000, windows: int = 4) -> dict:
    """Draw four times as many samples as a training wave has; is the note kept?

    `drift_cents`: median change of pitch from the first 2,000 samples to the last, either way; `kept`: share that is a
    tone at the end, within 50 cents of where it began.
    """
    asked = torch.arange(n) % 8
    parts = draw_waves(load_weights("wavenet-tones", WaveNet), asked, window * windows, 0).split(window, 1)
    scores = [plain(score_tones(part, asked)) for part in parts]
    drift = 1_200 * torch.log2(pitch(parts[-1]) / pitch(parts[0]))
    drift = drift.abs().nan_to_num(math.inf)
    loud = [part.square().mean(1).sqrt() for part in parts]
    return {key: [score[key] for score in scores] for key in ("agreement", "in_tune", "tone")} | {
        "windows": [[i * window, (i + 1) * window] for i in range(windows)],
        "loudness": [plain({"rms": mean_estimate(level)})["rms"] for level in loud],
    } | plain({
        "drift_cents": median_estimate(drift[drift.isfinite()]),
        "kept": share_estimate(int((drift <= 50).sum()), n),
    })  # fmt: skip


# ---- speed

SPEED = {"batch": 4, "layers": 6, "width": 32, "samples": 1_000, "rounds": 3}


@torch.no_grad()
def naive_pixels(model: PixelCNN, n: int, g: torch.Generator) -> Tensor:
    """Draw pictures with the whole network for every pixel: levels (n, H, W)."""
    H, K = model.cfg.side, model.cfg.levels
    x, k, u = torch.zeros(n, 1, H, H), torch.zeros(n, H, H, dtype=torch.int64), torch.rand(H * H, n, 1, generator=g)
    for i in range(H * H):
        r, c = divmod(i, H)
        k[:, r, c] = draw_levels(model.probabilities(model.network(x, None)[:, :, r, c]), u[i])
        x[:, 0, r, c] = from_levels(k[:, r, c], K)
    return k


@torch.no_grad()
def naive_waves(model: WaveNet, n: int, steps: int, g: torch.Generator) -> Tensor:
    """Draw waves with the whole network for every sample, on no more of the past than reaches it: codes (n, steps)."""
    reach = 1 + sum(layer.dilation for layer in model.layers)
    codes = torch.zeros(n, steps, dtype=torch.int64)
    for i in range(steps):
        logits = model(codes[:, max(0, i - reach) : i + 1])[:, :, -1]  # the last code is not seen
        codes[:, i] = torch.multinomial(logits.softmax(1), 1, generator=g)[:, 0]
    return codes


def speed_run(name: str) -> dict:
    """Milliseconds a pixel, or a sample, of the cached sampler and of the naive one; and whether they drew the same."""
    seed_all(0)
    seeded = lambda: torch.Generator().manual_seed(0)
    if name == "pixelcnn":
        cfg = PixelCNNConfig(output="softmax", n_layers=SPEED["layers"], width=SPEED["width"])
        model, n, count = PixelCNN(cfg).eval(), SPEED["batch"], DIMS
        ours = lambda: list(sample_pixels(model, n, generator=seeded()))[-1][1]
        peer = lambda: naive_pixels(model, n, seeded())
    else:
        model, n, count = WaveNet(replace(WAVENETS["tones"], n_classes=0)).eval(), 1, SPEED["samples"]
        ours = lambda: torch.stack([c for _, c in sample_waves(model, n, count, generator=seeded())], 1)
        peer = lambda: naive_waves(model, n, count, seeded())
    same = (ours() == peer()).float().mean().item()
    found = compare(ours, peer, rounds=SPEED["rounds"], warmup=0)
    per = lambda e: Estimate(value=e.value / count, low=e.low / count, high=e.high / count, n=e.n)
    return plain({"cached_ms": per(found.ours_ms), "naive_ms": per(found.peer_ms)}) | {
        "batch": n, "steps": count, "same": same, "rounds": SPEED["rounds"]
    } | plain({"ratio": found.ratio, "noise": found.noise})  # fmt: skip


# ---- all


def plan() -> dict:
    """Return name -> function of every part."""
    parts = {f"blind {kind}/{s}": partial(blind_run, kind, s) for s in SEEDS for kind in STACKS}
    parts |= {f"unmask {mask}/{s}": partial(unmask_run, mask, s) for s in SEEDS for mask in "AB"}
    parts |= {f"dilation {name}/{s}": partial(dilation_run, name, s) for s in SEEDS for name in DESIGNS}
    parts |= {f"tones_temperature {t:g}": partial(tones_temperature_run, t) for t in TONE_TEMPERATURES}
    parts |= {"longer": longer, "bits": bits, "compression": compression}
    parts |= {f"temperature {t:g}": partial(temperature_run, t) for t in TEMPERATURES}
    parts |= {"completion judged": completion_judged, "completion distinct": completion_distinct}
    parts |= {f"ood {name}": partial(ood_run, name) for name in STRANGERS}
    return parts | {f"speed {name}": partial(speed_run, name) for name in ("pixelcnn", "wavenet")}


if __name__ == "__main__":
    main("03", plan(), gather, __file__, PART_SOURCES, seeds=SEEDS, libraries=("torch", "numpy", "pillow"))

"""Measure what chapter 10 shows: `python -m tools.results.vqvae_10` writes genai_utils/results/10.json.

Needs MNIST (a network, or GENAI_DATA) for the shipped weights; the small networks learn `digits`, which is embedded.
About 15 minutes on one CPU thread; every finished part is kept in runs/ and not measured twice.
"""

import hashlib
import json
import math
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from genai_utils.core import seed_all
from genai_utils.data import load, to_floats
from genai_utils.metrics import bits_per_dim, mean_estimate, score_digits, share_estimate
from genai_utils.metrics.classifier import run_in_batches
from genai_utils.nn import Quantised, VectorQuantizer, perplexity
from genai_utils.results import save_results
from genai_utils.training import adamw, fit, make_step, warmup_cosine
from genai_utils.vae.prior import CodePrior, sample_codes
from genai_utils.vae.vqvae import VQVAE, VQVAEConfig
from genai_utils.weights import load_tensors, load_weights

SEEDS = (0, 1, 2)
SOURCES = [f"genai_utils/vae/{f}.py" for f in ("convnet", "likelihoods", "prior", "vqvae")] + [
    "genai_utils/nn/quantize.py", "genai_utils/weights/code-prior-mnist.safetensors",
    "genai_utils/weights/vae-test-digits.safetensors", "genai_utils/weights/vqvae-mnist.safetensors",
    "tools/results/vqvae_10.py",
]  # fmt: skip
PARTS = Path("runs/results-10.json")

# The shipped VQ-VAE and prior, on MNIST


@cache
def shipped() -> tuple[VQVAE, CodePrior]:
    return load_weights("vqvae-mnist", VQVAE), load_weights("code-prior-mnist", CodePrior)


@cache
def mnist(split: str, n: int) -> tuple[Tensor, Tensor]:
    """The first n digits as floats, and their codes."""
    x = to_floats(load("mnist", split=split).images[:n])
    return x, run_in_batches(shipped()[0].encode, x)


def draw_mean(codes: Tensor) -> Tensor:
    """Return the mean picture of codes, (N, 1, 28, 28) in [-1, 1]."""
    vqvae, _ = shipped()
    return vqvae.likelihood.mean(run_in_batches(vqvae.decode, codes))


def place_frequencies(codes: Tensor, n_codes: int) -> Tensor:
    """Return how often each code stands at each place, (L, K), every count one too high so that none is zero."""
    counts = torch.nn.functional.one_hot(codes.flatten(1), n_codes).sum(0) + 1.0
    return counts / counts.sum(1, keepdim=True)


def bits() -> dict:
    """Bits that need no transformer: codes under frequencies of each place, and 8-bit pixels under histograms."""
    x, codes = mnist("test", 10_000)
    _, train_codes = mnist("train", 20_000)
    p = place_frequencies(train_codes, shipped()[0].cfg.n_codes)
    placed = -p.log2().gather(1, codes.flatten(1).T).sum(0)  # (N,)
    grey, level = load("mnist").images.flatten(1), load("mnist", split="test").images.flatten(1)
    counts = torch.ones(784, 256)
    counts.scatter_add_(1, grey.T.long(), torch.ones(784, len(grey)))
    pixels = -(counts / counts.sum(1, keepdim=True)).log().gather(1, level.T.long()).sum(0)
    return {
        "codes_by_place": asdict(mean_estimate(placed)),
        "pixel_histograms_per_dim": asdict(mean_estimate(bits_per_dim(pixels, 784))),
    }


@torch.no_grad()
def places(n: int = 1_000) -> dict:
    """Where the prior spends its bits, given the label; and what blank places, 12 x 12 pixels of black, take and give.

    `dearer` is what the pixels cost more, in bits a digit, when all blank places get the commonest of their words.
    """
    vqvae, prior = shipped()
    x, codes = (part[:n] for part in mnist("test", 10_000))
    labels = load("mnist", split="test").labels[:n]
    logits = torch.cat([prior(*part) for part in zip(codes.split(250), labels.split(250))])
    spent = torch.nn.functional.cross_entropy(logits.mT, codes.flatten(1), reduction="none") / math.log(2)  # (n, L)
    ink = torch.nn.functional.max_pool2d(x, 12, stride=4, padding=4).flatten(1)  # brightest of 12 x 12 around a place
    blank = ink <= -1
    words = codes.flatten(1)[blank]
    one_word = torch.where(blank, words.mode().values, codes.flatten(1)).view_as(codes)
    own, plain = (vqvae.likelihood.log_prob(run_in_batches(vqvae.decode, c), x) for c in (codes, one_word))
    return {
        "mean": spent.mean(0).view(codes.shape[1:]).tolist(),
        "blank": {
            "places": float(blank.float().sum(1).mean()),  # per digit
            "bits": float(spent[blank].mean()),  # per blank place
            "other_bits": float(spent[~blank].mean()),
            "perplexity": float(perplexity(words, vqvae.cfg.n_codes)),
            "dearer": asdict(mean_estimate((own - plain) / math.log(2))),
        },
        "n": n,
    }


@torch.no_grad()
def repaint(seed: int = 0) -> dict:
    """Paint another code over every place of 30 shipped digits: how much changes, and how far from the place.

    `share[r]` of all change (absolute difference of the means) lies within r places of the repainted one; r = 0 is its
    own 4 x 4 pixels. The new code is one that another place of the digits has, so that frequent codes come often.
    """
    vqvae, _ = shipped()
    codes = vqvae.encode(to_floats(load_tensors("vae-test-digits")["images"][::2]))
    n, h, w = codes.shape
    g = torch.Generator().manual_seed(seed)
    before = draw_mean(codes)
    others = codes.flatten()[torch.randint(codes.numel(), (n, h * w), generator=g)]
    rows, columns = torch.arange(28)[:, None] // 4, torch.arange(28) // 4
    changed, near, total, valid = 0.0, torch.zeros(h), 0.0, 0
    for place in range(h * w):
        new = codes.flatten(1).clone()
        new[:, place] = others[:, place]
        real = new[:, place] != codes.flatten(1)[:, place]
        change = (draw_mean(new.view(n, h, w)) - before)[real, 0].abs()  # (M, 28, 28)
        distance = torch.maximum((rows - place // w).abs(), (columns - place % w).abs())
        near += torch.stack([change[:, distance <= r].sum() for r in range(h)])
        changed += (change * 127.5 > 5).double().mean((1, 2)).sum().item()
        total, valid = total + change.sum().item(), valid + int(real.sum())
    return {"changed_pixels": changed / valid, "share": (near / total).tolist(), "n": valid}


def slopes(n: int = 300, seed: int = 0) -> dict:
    """Does the straight-through slope know which neighbouring entry is better?

    At one random place of each test digit: predicted change of -log p(x | z) by the gradient at z_q, and the real one,
    when the code becomes one of the 8 entries nearest to its own.
    """
    vqvae, _ = shipped()
    x, codes = (part[:n] for part in mnist("test", 10_000))
    z_q = vqvae.quantize.embed(codes).requires_grad_()
    nll = -vqvae.likelihood.log_prob(vqvae.decode_vectors(z_q), x)
    slope = torch.autograd.grad(nll.sum(), z_q)[0].flatten(2)  # (N, D, L)
    book = vqvae.quantize.codebook
    closest = torch.cdist(book, book).argsort(1)[:, 1:9]  # (K, 8)
    i, place = torch.arange(n), torch.randint(codes[0].numel(), (n,), generator=torch.Generator().manual_seed(seed))
    old = codes.flatten(1)[i, place]
    guess, real = [], []
    for j in range(8):
        new = codes.flatten(1).clone()
        new[i, place] = closest[old, j]
        guess.append(((book[closest[old, j]] - book[old]) * slope[i, :, place]).sum(1))
        with torch.no_grad():
            params = vqvae.decode(new.view_as(codes))
            real.append(-vqvae.likelihood.log_prob(params, x) - nll.detach())
    guess, real = torch.stack(guess), torch.stack(real)  # (8, N)
    better = guess < 0
    return {
        "same_sign": asdict(share_estimate(int((better == (real < 0)).sum()), guess.numel())),
        "predicted_better": float(better.float().mean()),
        "better_if_predicted": float((real[better] < 0).float().mean()),
        "better_at_all": float((real < 0).float().mean()),
        "correlation": float(torch.corrcoef(torch.stack([guess.flatten(), real.flatten()]))[0, 1]),
    }


@torch.no_grad()
def neighbours(n: int = 20, nearest: int = 16) -> dict:
    """What the description length leaves out: add every grid that differs at one place, in one of 16 close entries."""
    vqvae, prior = shipped()
    x, codes = (part[:n] for part in mnist("test", 10_000))
    labels = load("mnist", split="test").labels[:n]
    book = vqvae.quantize.codebook
    closest = torch.cdist(book, book).argsort(1)[:, 1 : nearest + 1]
    saved = []
    for i in range(n):
        own = codes[i].flatten()
        grids = own.repeat(len(own) * nearest + 1, 1)
        at = torch.arange(len(own)).repeat_interleave(nearest)
        grids[torch.arange(1, len(grids)), at] = closest[own].flatten()
        grids = grids.view(-1, *codes[i].shape)
        parts = [
            prior.log_prob(part, labels[i].expand(len(part)))
            + vqvae.likelihood.log_prob(vqvae.decode(part), x[i].expand(len(part), -1, -1, -1))
            for part in grids.split(200)
        ]
        terms = torch.cat(parts)
        saved.append((terms.logsumexp(0) - terms[0]).item() / math.log(2))
    return {"bits_saved": asdict(mean_estimate(torch.tensor(saved))), "terms": len(grids)}


@torch.no_grad()
def write_codes(seed: int, n: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return codes (n, h, w) from the prior, digits 0 ... 9 in turn, and their labels."""
    labels, g, out = torch.arange(n) % 10, torch.Generator().manual_seed(seed), []
    for part in labels.split(100):
        *_, (_, codes) = sample_codes(shipped()[1], len(part), part, temperature=temperature, generator=g)
        out.append(codes)
    return torch.cat(out), labels


def judged(codes: Tensor, labels: Tensor | None = None) -> dict[str, float]:
    return {name: e.value for name, e in score_digits(draw_mean(codes), labels, resamples=0).items()}


def samples(kind: str, n: int = 1_000) -> dict[str, list[float]]:
    """Judge n digits from each seed, their codes from the prior, from each place's frequencies, or from a fair die."""
    _, train_codes = mnist("train", 20_000)
    K, shape = shipped()[0].cfg.n_codes, train_codes.shape[1:]
    rows = []
    for seed in SEEDS:
        g, labels = torch.Generator().manual_seed(seed), None
        if kind == "prior":
            codes, labels = write_codes(seed, n)
        elif kind == "places":
            codes = torch.multinomial(place_frequencies(train_codes, K), n, replacement=True, generator=g).T
        else:
            codes = torch.randint(K, (n, shape.numel()), generator=g)
        rows.append(judged(codes.reshape(n, *shape), labels))
    return {name: [row[name] for row in rows] for name in rows[0]}


def rebuilt(n: int = 1_000) -> dict[str, list[float]]:
    """Judge reconstructions of three disjoint sets of n test digits."""
    _, codes = mnist("test", 10_000)
    rows = [judged(codes[s * n : (s + 1) * n]) for s in SEEDS]
    return {name: [row[name] for row in rows] for name in rows[0]}


def temperatures(n: int = 500) -> dict[str, dict[str, list[float]]]:
    """Judge n digits from each seed at several temperatures."""
    found = {}
    for temperature in (0.5, 0.7, 0.85, 1.0, 1.2):
        rows = [judged(*write_codes(seed, n, temperature)) for seed in SEEDS]
        found[str(temperature)] = {name: [row[name] for row in rows] for name in rows[0]}
    return found


# Small networks on the 8 x 8 digits

SMALL = {"side": 8, "widths": (16, 32), "mid_attention": False, "n_codes": 32, "d_code": 8, "restart": 0.05}
STEPS, EVERY = 300, 20


class Variant(VectorQuantizer):
    """A quantiser with one of the usual mistakes, named by `mistake`; `length` is that of the vectors it saw last."""

    mistake, length = "", None

    def forward(self, h: Tensor, generator: torch.Generator | None = None) -> Quantised:
        B, D = h.shape[:2]
        self.length = h.detach().norm(dim=1).mean()
        if self.mistake == "axes":  # reshape(-1, D) of (B, D, h, w): D numbers in a row, from one channel
            mixed = h.reshape(B, -1, D).transpose(1, 2).reshape(h.shape)
            out = super().forward(mixed, generator)
            return out._replace(z_q=out.z_q.flatten(2).transpose(1, 2).reshape(h.shape))
        out = super().forward(h, generator)
        return out._replace(z_q=out.z_q.detach()) if self.mistake == "cut" else out

    @torch.no_grad()
    def nearest(self, h: Tensor) -> Tensor:
        if self.mistake != "norm":
            return super().nearest(h)
        return torch.einsum("bd...,kd->bk...", h, self.codebook).argmax(1)  # -2 h e alone: |e|^2 forgotten


def train(
    seed: int, *, weights: tuple[float, float] = (1.0, 0.25), mistake: str = "", far: float = 0.0, **kw
) -> tuple[VQVAE, list[dict[str, float]]]:
    """Train a small VQ-VAE and return it with its log.

    Args:
        weights: of the codebook's and of the commitment loss.
        mistake: see `Variant`.
        far: added to every coordinate of every entry at the start.
        kw: fields of the config.
    """
    seed_all(seed)
    cfg = VQVAEConfig(**(SMALL | kw))
    model = VQVAE(cfg)
    model.quantize = Variant(cfg.n_codes, cfg.d_code, decay=cfg.decay, restart=cfg.restart)
    model.quantize.mistake = mistake
    with torch.no_grad():
        model.quantize.codebook += far
        if cfg.decay is not None:
            model.quantize.total.copy_(model.quantize.codebook)

    def loss(model: VQVAE, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        params, q = model(batch[0])
        nll = -model.likelihood.log_prob(params, batch[0]).mean()
        logs = {"nll": nll, "perplexity": perplexity(q.codes, cfg.n_codes), "length": model.quantize.length}
        return nll + weights[0] * q.codebook_loss + weights[1] * q.commitment_loss, logs

    opt = adamw(model, lr=4e-3)
    step = make_step(model, loss, opt, schedule=warmup_cosine(opt, STEPS, warmup=30))
    rows = fit(step, load("digits").batches(32, seed=seed), steps=STEPS, every=EVERY, progress=False)
    return model.eval(), rows


@torch.no_grad()
def measure(model: VQVAE) -> dict[str, float]:
    """Measure a small VQ-VAE on the 300 test digits."""
    x = to_floats(load("digits", split="test").images)
    h = model.encode_vectors(x)
    params, q = model(x)
    return {
        "nll": -model.likelihood.log_prob(params, x).mean().item(),
        "mse": (model.likelihood.mean(params) - x).square().mean().item(),
        "perplexity": perplexity(q.codes, model.cfg.n_codes).item(),
        "length": h.norm(dim=1).mean().item(),  # of the encoder's vectors
        "error": (q.commitment_loss * len(h) / (h - h.mean((0, 2, 3), keepdim=True)).square().sum()).item(),
    }


WRONG = {
    "right": {},
    "no restarts": {"restart": 0.0},
    "far start": {"restart": 0.0, "far": 5.0},
    "far start, restarts": {"far": 5.0},
    "gradient": {"decay": None, "restart": 0.0},
    "gradient, swapped": {"decay": None, "restart": 0.0, "weights": (0.25, 1.0)},
    "gradient, no commitment": {"decay": None, "restart": 0.0, "weights": (1.0, 0.0)},
    "no commitment": {"weights": (1.0, 0.0)},
    "norm forgotten": {"mistake": "norm"},
    "axes mixed": {"mistake": "axes"},
    "straight-through late": {"mistake": "cut"},
}
SIZES = (2, 8, 32, 128)


def over_seeds(**options) -> dict:
    """Measure one network per seed: {figure: [per seed]}, and the course of two of them over the training steps."""
    runs = [train(seed, **options) for seed in SEEDS]
    found = [measure(model) for model, _ in runs]
    course = {name: [[round(row[name], 4) for row in rows] for _, rows in runs] for name in ("length", "perplexity")}
    return {name: [row[name] for row in found] for name in found[0]} | {"course": course}


def transform_coder(budgets: list[int]) -> dict[str, list[float]]:
    """The classic: principal components, each rounded to 2^b levels; every bit goes where it saves most.

    The levels are those of k-means on the training digits' coefficients. Squared error per pixel of the test digits.
    """
    x, test = (to_floats(load("digits", split=s).images).flatten(1).double() for s in ("train", "test"))
    mean = x.mean(0)
    _, _, axes = torch.linalg.svd(x - mean, full_matrices=False)
    a, b = (x - mean) @ axes.T, (test - mean) @ axes.T  # (N, 64)
    deepest = 7
    left = torch.empty(deepest + 1, 64, dtype=torch.float64)  # squared error of each component on the training digits
    on_test = left.clone()
    for j in range(64):
        for bits in range(deepest + 1):
            levels = k_means(a[:, j], 2**bits)
            for values, table in ((a[:, j], left), (b[:, j], on_test)):
                table[bits, j] = (values[:, None] - levels).square().amin(1).mean()
    given, found = torch.zeros(64, dtype=torch.long), []
    each = torch.arange(64)
    for n in range(max(budgets) + 1):
        if n in budgets:
            found.append(on_test[given, each].sum().item() / 64)
        gain = left[given, each] - left[(given + 1).clamp(max=deepest), each]
        given[gain.argmax()] += 1
    return {"bits": sorted(budgets), "mse": found}


def k_means(values: Tensor, k: int, rounds: int = 30) -> Tensor:
    """Return k levels (k,) for values (N,), by Lloyd's algorithm from their quantiles."""
    levels = values.quantile((torch.arange(k, dtype=values.dtype) + 0.5) / k)
    for _ in range(rounds):
        nearest = (values[:, None] - levels).abs().argmin(1)
        counts = torch.bincount(nearest, minlength=k)
        sums = torch.zeros(k, dtype=values.dtype).index_add_(0, nearest, values)
        levels = torch.where(counts > 0, sums / counts.clamp(min=1), levels)
    return levels


def main() -> None:
    todo = {"bits": bits, "places": places, "repaint": repaint, "slopes": slopes, "neighbours": neighbours}
    todo |= {f"samples {kind}": partial(samples, kind) for kind in ("prior", "places", "uniform")}
    todo |= {"rebuilt": rebuilt, "temperatures": temperatures}
    todo |= {f"wrong {name}": partial(over_seeds, **options) for name, options in WRONG.items()}
    gaussian = {"likelihood": "gaussian", "std": 0.25}
    todo |= {f"size {K}": partial(over_seeds, n_codes=K, **gaussian) for K in SIZES}
    todo |= {"transform": lambda: transform_coder([0, *(round(16 * math.log2(K)) for K in SIZES)])}
    PARTS.parent.mkdir(exist_ok=True)
    code = hashlib.sha256(b"".join(Path(source).read_bytes() for source in SOURCES)).hexdigest()
    kept = json.loads(PARTS.read_text()) if PARTS.exists() else {}
    done = kept if kept.get("code") == code else {"code": code}  # parts measured by other code are worth nothing
    for name, measured in todo.items():
        if name not in done:
            done[name] = measured()
            PARTS.write_text(json.dumps(done))
            print(name, str(done[name])[:150], flush=True)
    del done["code"]
    groups = {
        group: {name.removeprefix(f"{group} "): done.pop(name) for name in list(done) if name.startswith(f"{group} ")}
        for group in ("samples", "wrong", "size")
    }
    values = done | groups | {"steps": STEPS, "every": EVERY}
    save_results("10", values, sources=SOURCES, command="python -m tools.results.vqvae_10", seeds=list(SEEDS))


if __name__ == "__main__":
    main()

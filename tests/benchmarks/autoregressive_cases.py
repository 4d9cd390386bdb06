"""What is timed of the autoregressive family: against plain models on torch's layers, no cache, and wavenet_vocoder."""

from collections.abc import Iterator
from itertools import islice

import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.autoregressive.char_lm import RecurrentLM, RecurrentLMConfig, lm_loss
from genai_utils.autoregressive.pixel_sampler import sample_pixels
from genai_utils.autoregressive.pixelcnn import PRESETS, PixelCNN, PixelCNNConfig
from genai_utils.autoregressive.wavenet import WaveCache, WaveNet, WaveNetConfig, sample_waves
from genai_utils.metrics.speed import count_flops
from tests.benchmarks import vae_cases
from tests.benchmarks.cases import Pair
from tests.benchmarks.harness import BAR, CaseWithBar, Suite
from tests.benchmarks.plain_autoregressive import PlainLM, plain_lm_loss, plain_sample_pixels, plain_sample_waves

NO_CACHE_BAR = 1 / 50  # of PixelCNN; a cache that does not pay is no cache
VOCODER_BAR = 0.5

LETTERS = "".join(map(chr, range(33, 33 + 65)))  # 65 characters, as tiny Shakespeare has
TALES = RecurrentLMConfig(alphabet=LETTERS[:38], d_embed=32, d_hidden=192)  # the sizes of the shipped model
SHAKESPEARE = RecurrentLMConfig(alphabet=LETTERS, d_embed=64, d_hidden=320, n_layers=2)
SMALL_LM = RecurrentLMConfig(alphabet=LETTERS[:5], d_embed=3, d_hidden=6)
SIZES = {
    "tiny": {
        "lm": {"narrow": (SMALL_LM, 7), "wide": (RecurrentLMConfig(alphabet="abcdef", d_hidden=8, n_layers=2), 5)},
        "pixels": {
            "narrow": (PixelCNNConfig(side=6, width=8, n_layers=3, n_mixtures=3), 2),
            "wide": (PixelCNNConfig(side=6, levels=8, output="softmax", width=10, n_layers=2, n_classes=3), 2)},
        "waves": (WaveNetConfig(levels=16, width=6, skip=8, n_blocks=1, n_layers=2), 24)},
    "full": {
        "lm": {"narrow": (TALES, 64), "wide": (SHAKESPEARE, 64)},  # with characters in a row
        "pixels": {"narrow": (PixelCNNConfig(), 4), "wide": (PRESETS["mnist"], 3)},  # with rows of a picture
        "waves": (WaveNetConfig(), 256)},  # with samples
}  # fmt: skip


def plan(device: torch.device, *, tiny: bool = False, with_compile: bool = True) -> Iterator[CaseWithBar]:
    """Yield the rows of one device, all in float32: none is compiled, since no loop over values is."""
    size = SIZES["tiny" if tiny else "full"]

    def row(name, unit, n, work, *args, bar=BAR):
        return CaseWithBar(name=f"{name}, batch {n}", bar=bar, unit=unit, build=lambda: work(*args, n, device))

    for cell, which in (("lstm", "narrow"), ("lstm", "wide"), ("gru", "narrow")):
        cfg, length = size["lm"][which]
        layers = f"{cfg.n_layers} layer{'s' * (cfg.n_layers > 1)} of {cfg.d_hidden}"
        name = f"{cell.upper()} train step, {layers}, {length} characters"
        yield row(name, "characters", 32, lm_step, cell, cfg, length)
    for cfg, rows in size["pixels"].values():
        name = f"PixelCNN, {cfg.n_layers} layers of {cfg.width}, {rows} of {cfg.side} rows, cache against none"
        yield row(name, "pixels", 4, pixels, cfg, rows, bar=NO_CACHE_BAR)
    cfg, steps = size["waves"]
    name = f"WaveNet, {cfg.n_blocks * cfg.n_layers} layers of {cfg.width}, {steps} samples"
    for n in (1, 4):
        yield row(f"{name}, cache against none", "samples", n, waves, cfg, steps)
    for n in (1, 4):
        yield row(f"{name}, cache against wavenet_vocoder's", "samples", n, vocoder, cfg, steps, bar=VOCODER_BAR)


def language_models(cell: str, cfg: RecurrentLMConfig) -> tuple[RecurrentLM, PlainLM]:
    """Return the package's language model and the plain one, with the same random weights in the same order."""
    torch.manual_seed(0)
    ours = RecurrentLM(RecurrentLMConfig(**vars(cfg) | {"cell": cell}))
    layer = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
    peer = PlainLM(layer, len(cfg.alphabet), cfg.d_embed, cfg.d_hidden, cfg.n_layers)
    peer.load_state_dict(dict(zip(peer.state_dict(), ours.state_dict().values(), strict=True)))
    return ours, peer


def lm_step(cell: str, cfg: RecurrentLMConfig, length: int, n: int, device: torch.device) -> Pair:
    """Cross-entropy of the next characters, backward, and one step of fused AdamW."""
    ours, peer = language_models(cell, cfg)
    tokens = torch.randint(len(cfg.alphabet), (n, length + 1), generator=_seeded())
    flops = count_flops(lambda: lm_loss(ours, (tokens[:, :-1], tokens[:, 1:]))[0].backward())  # not on a GPU: see there
    ours, peer = ours.to(device), peer.to(device)
    batch = tokens[:, :-1].to(device), tokens[:, 1:].to(device)
    return vae_cases._train_pair(
        (ours, lambda: lm_loss(ours, batch)[0]), (peer, lambda: plain_lm_loss(peer, *batch)),
        lambda theirs: dict(zip(dict(ours.named_parameters()), theirs.values(), strict=True)),
        flops=flops, items=n * length, device=device,
    )  # fmt: skip


def pixels(cfg: PixelCNNConfig, rows: int, n: int, device: torch.device) -> Pair:
    """Draw the first rows of pictures with activations kept, against the whole network for every pixel."""
    torch.manual_seed(0)
    model = PixelCNN(cfg).to(device).eval()
    _spread(model)
    labels = torch.arange(n, device=device) % cfg.n_classes if cfg.n_classes else None

    def run_ours():
        *_, (_, k) = islice(sample_pixels(model, n, labels), rows * cfg.side)
        return k[:, :rows]

    def run_peer():
        return plain_sample_pixels(model, n, rows, labels)

    x = torch.zeros(n, 1, rows, cfg.side, device=device)
    flops = count_flops(lambda: model.network(x, labels))  # each activation once
    return Pair(
        ours=run_ours, peer=run_peer, error=_share_that_differs(run_ours, run_peer), items=n * rows * cfg.side,
        flops=flops,
    )  # fmt: skip


def waves(cfg: WaveNetConfig, steps: int, n: int, device: torch.device) -> Pair:
    """Draw waves with past inputs kept, against all samples that the network sees, read anew for every one."""
    torch.manual_seed(0)
    model = WaveNet(cfg).to(device).eval()
    _spread(model)

    def run_ours():
        return torch.stack([codes for _, codes in sample_waves(model, n, steps)], dim=1)

    def run_peer():
        return plain_sample_waves(model, n, steps)

    return Pair(
        ours=run_ours, peer=run_peer, error=_share_that_differs(run_ours, run_peer), items=n * steps,
        flops=count_flops(model, torch.zeros(n, steps, dtype=torch.int64, device=device)),  # each activation once
    )  # fmt: skip


def vocoder(cfg: WaveNetConfig, steps: int, n: int, device: torch.device) -> Pair:
    """Logits of given waves, sample by sample: our cache against `incremental_forward`, which has no weight norm here.

    Nothing is drawn, since theirs draws one wave at a time, with numpy.
    """
    from tests.parity.test_wavenet import published, translate

    peer = published(cfg, legacy=False)  # legacy: one product more in every layer
    ours = WaveNet(cfg).eval()
    ours.load_state_dict(translate(peer.state_dict(), cfg, legacy=False))
    ours, peer = ours.to(device), peer.to(device)
    codes = torch.randint(cfg.levels, (n, steps), generator=_seeded()).to(device)
    before = F.pad(codes[:, :-1], (1, 0), value=cfg.levels)  # what is seen is one place back
    x = F.one_hot(before, cfg.levels + 1)[:, :, :-1].transpose(1, 2).float()  # (n, V, steps); at first nothing

    @torch.no_grad()
    def run_ours():
        cache = WaveCache(ours, n)
        return torch.stack([cache.next_logits(last) for last in before.unbind(1)], dim=2)

    @torch.no_grad()
    def run_peer():
        return peer.incremental_forward(x[:, :, :1], test_inputs=x, T=steps, softmax=False, quantize=False)

    theirs = run_peer()
    error = ((run_ours() - theirs).abs() / theirs.abs().clamp(min=1)).max().item()
    return Pair(ours=run_ours, peer=run_peer, error=error, items=n * steps, flops=count_flops(ours, codes))


def _spread(model: nn.Module) -> None:
    """Make probabilities far from uniform, and dependent on all layers: a wrong cache would change what is drawn."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim > 1 and "embed" not in name:
                nn.init.normal_(p, std=1.5 * p[0].numel() ** -0.5)


def _share_that_differs(run_ours, run_peer) -> float:
    ours, theirs = (vae_cases._same_draws(run) for run in (run_ours, run_peer))
    return (ours != theirs).float().mean().item()


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


SUITE = Suite(
    name="autoregressive", result="bench_autoregressive", plan=plan, seconds=30, libraries=("torch", "wavenet_vocoder"),
    sources=(
        *(f"genai_utils/autoregressive/{name}.py" for name in (
            "rnn", "char_lm", "pixelcnn", "pixel_sampler", "wavenet")),
        *(f"tests/benchmarks/{name}.py" for name in ("autoregressive_cases", "plain_autoregressive", "vae_cases")),
        "tests/parity/test_wavenet.py",
    ),
)  # fmt: skip

"""Train the WaveNet of chapter 3 on one speaker's digits: `python -m tools.recipes.wavenet_digits`.

A class-conditional network learns half a second at 8 kHz of Jackson's "zero" to "nine" (`spoken_digits`: a network, or
GENAI_DATA). Writes the weights "wavenet-digits", scored as they ship, rounded to fp16: bits per sample on recordings it
never saw, beside two baselines, and how many drawn digits a listener (the LSTM of chapter 2, trained on recordings)
takes for the digit asked for. About 45 minutes on one CPU core; interrupted, it resumes from runs/wavenet-digits.pt.
"""

import argparse
import copy
import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from genai_utils.autoregressive.speech import SpeechClassifier, SpeechClassifierConfig, speech_loss
from genai_utils.autoregressive.wavenet import WaveNet, WaveNetConfig, sample_waves, wavenet_loss
from genai_utils.core import pick_device, seed_all
from genai_utils.data import AudioSet, load, mu_law_decode, mu_law_encode
from genai_utils.metrics import mean_estimate, share_estimate
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json

COMMAND = "python -m tools.recipes.wavenet_digits"
SPEAKER = "jackson"
DATA = f"spoken_digits, 450 recordings of {SPEAKER}, trimmed, cut after half a second"
TERMS = "CC BY-SA 4.0"
CONFIG = WaveNetConfig(n_layers=11, n_classes=10)  # sees 4,095 samples back: how long the word has lasted
SEED, BATCH = 0, 2
SAMPLES = 4_000  # of a wave: 0.5 s
LOUDNESS = 0.1  # root mean square of a recording, of a largest amplitude of 1
FRAME, HOP, QUIET = 160, 80, 0.04  # samples; a frame below this share of the loudest is silence at the ends
DRAWN = 200  # digits that the listener judges, 20 of each


def recordings(split: str, speaker: str | None = None) -> AudioSet:
    """Return recordings, of one speaker or of all, equally loud, without silence at their ends, SAMPLES long.

    Longer ones are cut, shorter ones padded with zeros; `lengths` counts what is left of the recording.
    """
    data = load("spoken_digits", split)
    names = data.extra["speakers"]
    which = torch.arange(len(data)) if speaker is None else data.extra["speaker"] == names.index(speaker)
    waves = [w[:n].float() / 32_768 for w, n in zip(data.waves[which], data.lengths[which].tolist())]
    waves = [trim(w)[:SAMPLES] for w in waves]
    waves = [(w * LOUDNESS / w.square().mean().sqrt()).clamp(-1, 1) for w in waves]
    rows = torch.stack([F.pad(w, (0, SAMPLES - len(w))) for w in waves])
    rows = (rows * 32_767).round().to(torch.int16)
    lengths = torch.tensor([len(w) for w in waves])
    return replace(data, waves=rows, lengths=lengths, labels=data.labels[which], extra={"speaker": speaker})


def trim(wave: Tensor) -> Tensor:
    """Return the wave (T,) from the first frame that is not quiet to the last."""
    if len(wave) < FRAME:
        return wave
    power = wave.unfold(0, FRAME, HOP).square().mean(1).sqrt()
    loud = (power > QUIET * power.max()).nonzero().flatten().tolist() or [0]
    return wave[loud[0] * HOP : loud[-1] * HOP + FRAME]


def train(steps: int) -> WaveNet:
    """Return the running average of a WaveNet, rounded to the fp16 in which it ships."""
    seed_all(SEED)
    device = pick_device()
    data = recordings("train", SPEAKER).to(device)
    model = WaveNet(CONFIG).to(device)
    opt, ema = adamw(model, 2e-3), EMA(model, 0.999)
    schedule = warmup_cosine(opt, steps, warmup=100)
    amp = torch.bfloat16 if device.type == "cuda" else torch.float32  # a CPU took 5 times as long in bfloat16
    step = make_step(model, wavenet_loss, opt, schedule=schedule, ema=ema, amp=amp)
    rows = fit(step, data.batches(BATCH, seed=SEED), steps=steps, every=250, checkpoint="runs/wavenet-digits.pt")
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit("stopped before the end: nothing written. Run it again to go on")
    return copy.deepcopy(ema.model).cpu().half().float().eval()


@torch.no_grad()
def score(model: WaveNet) -> dict:
    """Measure the model on the speaker's test recordings, and its drawn digits by a listener; with baselines.

    Bits are per sample of what was recorded: the padding is left out.
    """
    known, test = recordings("train", SPEAKER), recordings("test", SPEAKER)
    codes, levels = codes_of(test), codes_of(known)
    within, inside = (torch.arange(SAMPLES) < d.lengths[:, None] for d in (test, known))
    parts = zip(codes.split(10), test.labels.split(10))
    nats = torch.cat([F.cross_entropy(model(c, y), c, reduction="none") for c, y in parts])  # (N, T)
    counts = torch.bincount(levels[inside], minlength=model.cfg.levels) + 1.0
    by_level = -(counts / counts.sum()).log()[codes]  # a sample as if it knew no other
    by_line = linear_prediction(levels, inside, codes)
    bits = lambda rows: mean_estimate((rows * within).sum(1) / within.sum(1) / math.log(2))

    listener = train_listener()
    asked = torch.arange(DRAWN) % model.cfg.n_classes
    heard = lambda codes, labels: (listener(mu_law_decode(codes)).argmax(1) == labels).float()
    agreement = lambda codes, labels: share_estimate(int(heard(codes, labels).sum()), len(labels))
    everyone, drawn = recordings("test"), draw(model, asked)
    cooler = {str(t): agreement(draw(model, asked, temperature=t), asked) for t in (0.9, 0.8)}
    return as_json({
        "bits_per_sample": bits(nats),
        "bits_per_sample_of_level_frequencies": bits(by_level),
        "bits_per_sample_of_linear_prediction": bits(by_line),
        "agreement": agreement(drawn, asked),
        "agreement_of_test_recordings": agreement(codes, test.labels),
        "agreement_of_test_recordings_of_all_speakers": agreement(codes_of(everyone), everyone.labels),
        "agreement_of_independent_levels": agreement(shuffled(codes), test.labels),
    }) | {
        "agreement_by_digit": [round(heard(drawn, asked)[asked == y].mean().item(), 3) for y in range(10)],
        "agreement_at_temperature": as_json(cooler),
    }  # fmt: skip


def codes_of(data: AudioSet) -> Tensor:
    """Return the levels of mu-law of all waves, (N, T) int64."""
    return mu_law_encode(data.waves.float() / 32_768)


def shuffled(codes: Tensor, seed: int = SEED) -> Tensor:
    """Return the codes (N, T), each wave's in an order of their own: as loud as a voice, and noise."""
    order = torch.rand(codes.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return codes.gather(1, order)


def linear_prediction(levels: Tensor, inside: Tensor, codes: Tensor, order: int = 16, recent: int = 32) -> Tensor:
    """Return nats of each of the codes (N, T) by the classical model of a voice, fitted to `levels` (M, T).

    A sample is a weighted sum of the last 16, plus Laplace noise whose scale is a constant and a multiple of the mean
    size of the last 32 errors. The weights are those of least squares, the scale that of least nats, on 100 waves.
    Source: linear predictive coding, Atal & Hanauer 1971; the moving scale is ours.
    """
    sound = mu_law_decode(torch.arange(256)).double()
    middles = (sound[1:] + sound[:-1]) / 2
    low, high = F.pad(middles, (1, 0), value=-math.inf), F.pad(middles, (0, 1), value=math.inf)  # borders of levels

    def past(codes: Tensor) -> Tensor:
        return F.pad(sound[codes], (order, -1)).unfold(1, order, 1)  # (N, T, order): what came before each sample

    def nats(codes: Tensor, constant: float, multiple: float) -> Tensor:
        guess = past(codes) @ weights
        sizes = (sound[codes] - guess).abs()
        mean = F.pad(sizes, (recent, -1)).unfold(1, recent, 1).mean(2)
        scale = constant + multiple * mean
        below, above = ((border[codes] - guess) / scale for border in (low, high))
        return -(laplace(above) - laplace(below)).clamp(min=1e-9).log()

    def laplace(v: Tensor) -> Tensor:
        return 0.5 + 0.5 * v.sign() * -torch.expm1(-v.abs())

    some = torch.randperm(len(levels), generator=torch.Generator().manual_seed(SEED))[:100]
    x, y = past(levels[some])[inside[some]], sound[levels[some]][inside[some]]
    weights = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    grid = [(c, m) for c in (1e-4, 3e-4, 1e-3, 3e-3) for m in (0.5, 0.7, 0.9, 1.1)]
    best = min(grid, key=lambda pair: nats(levels[some], *pair)[inside[some]].mean().item())
    return nats(codes, *best)


@torch.enable_grad()
def train_listener(steps: int = 500) -> SpeechClassifier:
    """Return chapter 2's classifier, trained on the train recordings of all speakers, prepared as the WaveNet's."""
    seed_all(SEED)
    data = recordings("train")
    model = SpeechClassifier(SpeechClassifierConfig())
    opt = adamw(model, 3e-3, weight_decay=0.05)
    batches = ((mu_law_decode(mu_law_encode(waves)), labels) for waves, labels in data.batches(32, seed=SEED))
    step = make_step(model, speech_loss, opt, schedule=warmup_cosine(opt, steps))
    fit(step, batches, steps=steps, every=steps, progress=False)
    return model.eval()


def draw(model: WaveNet, labels: Tensor, temperature: float = 1.0, seed: int = SEED) -> Tensor:
    """Return the codes (N, T) of digits asked for."""
    g = torch.Generator().manual_seed(seed)
    steps = sample_waves(model, len(labels), SAMPLES, labels, temperature=temperature, generator=g)
    return torch.stack([codes for _, codes in steps], dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=7_500, help="updates (default 7500)")
    args = parser.parse_args()
    model = train(args.steps)
    results = {"command": COMMAND} | score(model)
    entry = {"data": DATA, "terms": TERMS, "seed": SEED, "hardware": hardware(), "dtype": torch.float16}
    save_weights("wavenet-digits", model, score=results, command=COMMAND, **entry)
    print("wavenet-digits", *(f"{key}: {value}" for key, value in results.items()), sep="\n  ")


if __name__ == "__main__":
    main()

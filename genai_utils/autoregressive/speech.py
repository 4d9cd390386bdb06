"""A recurrent network that listens: sound becomes frames of a log-mel spectrogram, and an LSTM names what was said.

Sources: [MEL] Davis & Mermelstein 1980 (filters spaced by the mel scale; the scale's formula is the common
         2595 log10(1 + f / 700)). [LSTM] Hochreiter & Schmidhuber 1997. [GRAVES] Graves & Schmidhuber 2005 (frames of
         speech classified by LSTMs).
Shapes:  B batch, T samples, N frames, M mel bands, H hidden width, K classes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.autoregressive.rnn import Recurrent


@dataclass(frozen=True, kw_only=True)
class SpeechClassifierConfig:
    n_classes: int = 10  # K
    rate: int = 8000  # samples a second
    n_mels: int = 40  # M, bands
    frame: int = 256  # samples in a window, a power of two: 32 ms
    hop: int = 128  # samples from one frame to the next, at most `frame`
    cell: str = "lstm"  # of the network: "rnn", "gru" or "lstm"
    d_hidden: int = 96  # H
    dropout: float = 0.3  # share of the frames' summary that is dropped in training, in [0, 1)


def mel_filters(n_mels: int, frame: int, rate: int) -> Tensor:
    """Return triangular filters (n_mels, frame // 2 + 1) on the bins of a spectrum, peaks evenly spaced in mel."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, n_mels + 2, dtype=torch.float64) / 2595) - 1)  # Hz
    bins = torch.arange(frame // 2 + 1, dtype=torch.float64) * rate / frame
    low, peak, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (bins - low) / (peak - low), (high - bins) / (high - peak)
    return torch.minimum(rise, fall).clamp(min=0).float()


def log_mel(waves: Tensor, filters: Tensor, frame: int, hop: int) -> Tensor:
    """Return the log of the power in each mel band, (B, N, M), with N = 1 + (T - frame) // hop.

    Args:
        waves: (B, T) float in [-1, 1], at least one frame long.
        filters: (M, frame // 2 + 1) of `mel_filters`.
        frame, hop: samples in a window, and from one to the next.
    Raises:
        ValueError: waves of another shape, too short, or not finite.
    """
    if waves.ndim != 2 or waves.shape[1] < frame:
        raise ValueError(f"waves must be (B, T) with T of at least one frame of {frame}, got {tuple(waves.shape)}")
    if waves.device.type == "cpu" and not waves.isfinite().all():  # a GPU would have to wait
        raise ValueError(f"waves must be finite; wave {(~waves.isfinite()).any(1).nonzero()[0].item()} is not")
    windows = waves.float().unfold(1, frame, hop) * torch.hann_window(frame, device=waves.device)  # (B, N, frame)
    power = torch.fft.rfft(windows).abs().square()
    return (power @ filters.T + 1e-6).log()  # 1e-6: silence in 16 bits is about as quiet as that


class SpeechClassifier(nn.Module):
    """logits = model(waves): of the word that was said. Silence after its end does not count."""

    Config = SpeechClassifierConfig

    def __init__(self, cfg: SpeechClassifierConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.register_buffer("filters", mel_filters(cfg.n_mels, cfg.frame, cfg.rate), persistent=False)
        self.norm = nn.LayerNorm(cfg.n_mels, elementwise_affine=False)  # each frame for itself: loudness goes
        self.recurrent = Recurrent(cfg.cell, cfg.n_mels + 1, cfg.d_hidden)
        self.dropout = nn.Dropout(cfg.dropout)
        self.head = nn.Linear(2 * cfg.d_hidden, cfg.n_classes)

    def frames(self, waves: Tensor) -> Tensor:
        """Return what the network reads, (B, N, M + 1): each frame's normalised bands, and how loud it is."""
        bands = log_mel(waves, self.filters, self.cfg.frame, self.cfg.hop)
        return torch.cat([self.norm(bands), bands.mean(2, keepdim=True) / 4], dim=2)

    def forward(self, waves: Tensor) -> Tensor:
        """Return logits (B, K) for waves (B, T) in [-1, 1]; zeros at the end of a wave are padding.

        The summary of a wave is the mean and the maximum of the hidden states over the frames that hold sound.
        """
        x = self.frames(waves)
        lengths = self.lengths(waves)
        hidden, _ = self.recurrent(x)  # (B, N, H)
        past_end = torch.arange(x.shape[1], device=x.device)[None, :, None] >= lengths[:, None, None]
        mean = hidden.masked_fill(past_end, 0).sum(1) / lengths[:, None]
        peak = hidden.masked_fill(past_end, -1.0).amax(1)  # -1: below every state
        return self.head(self.dropout(torch.cat([mean, peak], dim=1))).float()

    def lengths(self, waves: Tensor) -> Tensor:
        """Return how many frames hold sound, (B,) int64, at least 1."""
        place = torch.arange(1, waves.shape[1] + 1, device=waves.device)
        end = (place * (waves != 0)).amax(1)  # samples up to the last that is not silent
        n = 1 + (waves.shape[1] - self.cfg.frame) // self.cfg.hop
        return ((end - self.cfg.frame).div(self.cfg.hop, rounding_mode="floor") + 1).clamp(1, n)


def speech_loss(model: SpeechClassifier, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy in nats per recording of (waves (B, T), labels (B,)); logs the share that is right."""
    waves, labels = batch
    logits = model(waves)
    return F.cross_entropy(logits, labels), {"accuracy": (logits.argmax(1) == labels).float().mean()}


def _check(cfg: SpeechClassifierConfig) -> None:
    sizes = ("n_classes", "rate", "n_mels", "frame", "hop", "d_hidden")
    if bad := {k: v for k in sizes if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.hop > cfg.frame:
        raise ValueError(f"hop must be at most frame={cfg.frame}, else sound is skipped, got {cfg.hop}")
    if not 0 <= cfg.dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {cfg.dropout}")
    empty = (mel_filters(cfg.n_mels, cfg.frame, cfg.rate).sum(1) == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"{cfg.n_mels} mel bands are too narrow for a frame of {cfg.frame}: bands {empty} hold no bin")

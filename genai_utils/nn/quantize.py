"""Vector quantisation: each vector becomes the nearest entry of a learned codebook, and a whole number is left of it.

Sources: [VQ] van den Oord et al. 2017, arXiv:1711.00937. [JUKE] Dhariwal et al. 2020, arXiv:2005.00341, Sec. 3.1
         (random restarts).
Shapes:  B batch, D width of an entry, h, w sides of the grid of places, K entries, N = B h w vectors in all.
"""

from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

SMOOTHING = 1e-5  # places; what Laplace smoothing adds to every count, so that an entry nobody uses divides by no zero


class Quantised(NamedTuple):
    """What the quantiser makes of h (B, D, h, w)."""

    z_q: Tensor  # (B, D, h, w) entries, at least float32; their gradient goes to h as it is
    codes: Tensor  # (B, h, w) int64 in [0, K)
    codebook_loss: Tensor  # |sg[h] - e|^2, which moves entries to vectors; 0 where moving averages do that
    commitment_loss: Tensor  # |h - sg[e]|^2, which moves vectors to entries


class VectorQuantizer(nn.Module):
    """z_q, codes, codebook_loss, commitment_loss = quantize(h): the nearest entry at every place.

    Both losses are those of [VQ] Eq. 3, squared lengths of D-vectors, summed over the places of an image, in the mean
    over the batch: sums, as a log-likelihood in nats per image is. Where there are several latents the paper averages
    over them (Sec. 3.2), so that a weight here counts h w times as much as the same weight there.

    The codebook, (K, D), learns in one of two ways:
    by gradient (`decay` None): it is a parameter, and `codebook_loss` is for the optimiser;
    by moving averages ([VQ] Appendix A.1): in training mode every call moves the buffers `count` and `total`, averages
    of how many vectors chose an entry and of their sum; the entry is their ratio. Counts are Laplace-smoothed.
    Over several processes (torch.distributed) the averages are those of all batches together.
    """

    def __init__(self, n_codes: int, width: int, *, decay: float | None = 0.99, restart: float = 0.0) -> None:
        """Make a codebook of `n_codes` (K) entries of `width` (D), uniform in [-1/K, 1/K].

        Args:
            n_codes, width: at least 1.
            decay: gamma of the moving averages, in [0, 1); None: learn by gradient.
            restart: in [0, 1). An entry whose average count falls below this share of the mean over all entries moves
                to a vector of the batch, drawn at random, and again until it is chosen often enough; [JUKE], whose
                threshold is a count. 0: never.
        Raises:
            ValueError: a number out of range; restarts without the moving averages that say which entry is dead.
        """
        super().__init__()
        if n_codes < 1 or width < 1:
            raise ValueError(f"n_codes and width must be at least 1, got n_codes={n_codes}, width={width}")
        if not (decay is None or 0 <= decay < 1) or not 0 <= restart < 1:
            raise ValueError(f"decay must be None or in [0, 1), restart in [0, 1); got {decay=}, {restart=}")
        if restart and decay is None:
            raise ValueError(f"restart={restart} needs a decay: the moving averages say which entry is dead")
        self.n_codes, self.width, self.decay, self.restart = n_codes, width, decay, restart
        entries = (2 * torch.rand(n_codes, width) - 1) / n_codes
        if decay is None:
            self.codebook = nn.Parameter(entries)
        else:
            self.register_buffer("codebook", entries)
            self.register_buffer("count", torch.ones(n_codes))  # N_i: as if each entry had been chosen once
            self.register_buffer("total", entries.clone())  # m_i

    def forward(self, h: Tensor, generator: torch.Generator | None = None) -> Quantised:
        """Quantise h; in training mode, move the averages of `decay` afterwards.

        Args:
            h: (B, D, h, w) vectors, one for each place.
            generator: draws the vectors of restarts; on h's device.
        Raises:
            ValueError: h has another width.
        """
        h = h.to(torch.promote_types(h.dtype, torch.float32))
        codes = self.nearest(h)
        e = self._entries(codes)
        if self.training and self.decay is not None:
            self._average(_rows(h.detach()), codes.flatten(), generator)
        zero = torch.zeros((), device=h.device, dtype=h.dtype)
        codebook_loss = _squared_length(h.detach() - e) if self.decay is None else zero
        return Quantised(h + (e - h).detach(), codes, codebook_loss, _squared_length(h - e.detach()))

    @torch.no_grad()
    def nearest(self, h: Tensor) -> Tensor:
        """Return the index of the nearest entry, (B, h, w) int64, of h (B, D, h, w); [VQ] Eq. 1.

        Distances are in float32 or better, also under autocast: in bf16 the nearest would be a guess. They are
        ``|e|^2 - 2 h e``, which lacks ``|h|^2`` but has the same minimum, so that nothing larger than (N, K) is made;
        and from the mean entry, so that a codebook far from the origin costs no digits.
        Raises:
            ValueError: h has another width.
        """
        if h.ndim < 2 or h.shape[1] != self.width:
            raise ValueError(f"h must be (B, {self.width}, ...), got {tuple(h.shape)}")
        with torch.autocast(h.device.type, enabled=False):
            rows = _rows(h.to(torch.promote_types(h.dtype, torch.float32)))
            entries = self.codebook.to(rows.dtype)
            origin = entries.mean(0)
            rows, entries = rows - origin, entries - origin
            distances = torch.addmm(entries.square().sum(1), rows, entries.T, alpha=-2)  # (N, K)
            return distances.argmin(1).view(len(h), *h.shape[2:])

    def embed(self, codes: Tensor) -> Tensor:
        """Return the entries (B, D, h, w) of codes (B, h, w).

        Raises:
            ValueError: codes are not whole numbers; on a CPU also codes beyond [0, K).
        """
        if codes.dtype != torch.int64:
            raise ValueError(f"codes must be int64, got {codes.dtype}")
        if codes.device.type == "cpu" and not ((0 <= codes) & (codes < self.n_codes)).all():  # a GPU would have to wait
            wrong = codes[(codes < 0) | (codes >= self.n_codes)][0].item()
            raise ValueError(f"codes must be in [0, {self.n_codes}), got {wrong}")
        return self._entries(codes)

    def _entries(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    @torch.no_grad()
    def _average(self, rows: Tensor, codes: Tensor, generator: torch.Generator | None) -> None:
        """Move count, total and codebook by one batch: rows (N, D), codes (N,). Nothing here waits for a GPU."""
        seen = torch.zeros(self.n_codes, self.width + 1, device=rows.device, dtype=rows.dtype)
        seen.index_add_(0, codes, F.pad(rows, (0, 1), value=1.0))  # sums, and in the last column counts
        if several := distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(seen)
        self.total.lerp_(seen[:, :-1].to(self.total), 1 - self.decay)
        self.count.lerp_(seen[:, -1].to(self.count), 1 - self.decay)
        places = self.count.sum()
        smooth = (self.count + SMOOTHING) / (places + self.n_codes * SMOOTHING) * places
        self.codebook.copy_(self.total / smooth[:, None])
        if not self.restart:
            return
        drawn = rows[torch.randint(len(rows), (self.n_codes,), device=rows.device, generator=generator)]
        if several:
            distributed.broadcast(drawn, 0)  # every process restarts at the same vectors
        drawn, least = drawn.to(self.total), self.restart * self.count.mean()
        dead = self.count < least
        self.codebook.copy_(torch.where(dead[:, None], drawn, self.codebook))
        self.total.copy_(torch.where(dead[:, None], least * drawn, self.total))
        self.count.copy_(torch.where(dead, least, self.count))


def perplexity(codes: Tensor, n_codes: int) -> Tensor:
    """Return exp(entropy) of how often each code occurs, a scalar in [1, K]: how many codes are in use, in effect.

    Args:
        codes: int64 in [0, K), any shape, at least one.
        n_codes: K.
    Raises:
        ValueError: codes is empty.
    """
    if not codes.numel():
        raise ValueError("codes is empty: give at least one")
    counts = torch.zeros(n_codes, dtype=torch.int64, device=codes.device)  # float32 would stop at 2^24
    counts.index_add_(0, codes.flatten(), torch.ones(codes.numel(), dtype=counts.dtype, device=codes.device))
    return torch.special.entr(counts / codes.numel()).sum().exp()


def _rows(h: Tensor) -> Tensor:
    """Return the vectors of h (B, D, ...), one in a row: (N, D)."""
    return h.movedim(1, -1).flatten(0, -2)


def _squared_length(difference: Tensor) -> Tensor:
    """Sum the squares of each image; the mean over the batch."""
    return difference.square().flatten(1).sum(1).mean()

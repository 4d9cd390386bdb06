"""Does every factor of variation have one latent to itself? The mutual information gap (MIG).

For each factor, rank the latents by the information they carry about it. If the first carries all of it and the second
nothing, the gap between them is the factor's entropy, and the score is 1; if two latents share the factor, it is 0.
Nothing is trained, so nothing has to be tuned. The gap does not see whether one latent carries two factors.

Sources: [MIG] Chen et al. 2018, arXiv:1802.04942, Sec. 4. [CCA] Locatello et al. 2019, arXiv:1811.12359 (10,000 mean
         codes, 20 bins). Bias of the estimate: Miller 1955, Note on the bias of information estimates.
Shapes:  N data, Z latent width, F factors, V values of a factor.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genai_utils.metrics.estimate import Estimate, bootstrap_estimate, redraw


@dataclass(frozen=True, kw_only=True)
class MutualInformationGap:
    score: Estimate  # mean over the factors, in [0, 1], n = N
    per_factor: dict[str, float]  # gap over entropy of each factor, in [0, 1]
    information: Tensor  # (Z, F) float64, nats: between latent and factor, not normalised; F in the order of per_factor
    entropy: Tensor  # (F,) float64, nats: the most that a latent can know of each factor; divide by it to normalise


def mutual_information_gap(
    codes: Tensor,
    factors: Mapping[str, Tensor],
    bins: int = 20,
    *,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> MutualInformationGap:
    """Return how far the most informative latent leads the second, for each factor and on average; [MIG] Sec. 4.

    Both information and entropy are those of the counts (the plug-in estimate), uncorrected as in [CCA], so that scores
    compare with published ones. That overstates: a latent that knows nothing, its codes spread over all bins, seems to
    carry (bins - 1) (V - 1) / 2N nats, 0.009 for 10 values and N = 10,000. Compare at equal N and bins.

    Bins are equally wide, from the smallest to the largest code of each latent, so the scale of a latent does not
    count: a posterior mean that hardly moves counts like any other. Drop those that `genai_utils.vae.active_units`
    calls inactive.

    Args:
        codes: (N, Z) means of q(z | x), Z >= 2. Data drawn with independent factors make the score a fair one.
        factors: name of each factor -> (N,) its values, any numbers; each distinct number is a value of its own, so a
            continuous factor has to be cut into classes first.
        bins: per latent, at least 2.
        resamples: bootstrap draws for the interval of the score; 0 gives no interval.
        level: coverage of the interval, in (0, 1).
        seed: of the bootstrap.
    Raises:
        ValueError: codes that are not (N, Z) with Z >= 2 or not finite; fewer than 2 bins; no factor; a factor of
            another length, not finite, with one value only, or with so many that N < bins V (each is named).
    """
    values = _check(codes, factors, bins)
    codes = codes.detach().double().cpu()
    low, high = codes.amin(0), codes.amax(0)
    width = torch.where(high > low, (high - low) / bins, 1.0)  # a constant latent lies in one bin
    binned = ((codes - low) / width).long().clamp(max=bins - 1)  # (N, Z); the last bin holds its upper border
    rows = torch.cat([binned, values], dim=1).int()  # (N, Z + F); int32 halves the time of the bootstrap
    n, z = codes.shape

    def gaps(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        information, entropy = _information(rows[:, :z], rows[:, z:], bins)
        first, second = information.topk(2, dim=0).values
        return ((first - second) / entropy).nan_to_num(), information, entropy  # nan: a resample with one value only

    gap, information, entropy = gaps(rows)
    score = bootstrap_estimate(
        gap.mean().item(),
        lambda g: gaps(redraw(rows, g))[0].mean().item(),
        n=n, resamples=resamples, level=level, seed=seed, bounds=(0.0, 1.0),
    )  # fmt: skip
    per_factor = dict(zip(factors, gap.tolist()))
    return MutualInformationGap(score=score, per_factor=per_factor, information=information, entropy=entropy)


def _information(binned: Tensor, values: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Return I(latent; factor) in nats, (Z, F), and H(factor), (F,), from (N, Z) and (N, F) whole numbers from 0."""
    (n, z), first_bin = binned.shape, bins * torch.arange(binned.shape[1], dtype=torch.int32)
    information, entropy = [], []
    for value in values.T:
        v = int(value.max()) + 1
        cells = ((first_bin + binned) * v + value[:, None]).flatten()
        p = torch.bincount(cells, minlength=z * bins * v).view(z, bins, v).double() / n  # joint frequencies
        h_value = _entropy(p[0].sum(0), dims=(0,))
        information.append(_entropy(p.sum(2), dims=(1,)) + h_value - _entropy(p, dims=(1, 2)))
        entropy.append(h_value)
    return torch.stack(information, dim=1).clamp(min=0), torch.stack(entropy)  # rounding can leave -1e-16


def _entropy(p: Tensor, dims: tuple[int, ...]) -> Tensor:
    return -torch.xlogy(p, p).sum(dims)


def _check(codes: Tensor, factors: Mapping[str, Tensor], bins: int) -> Tensor:
    """Return the values of all factors as whole numbers from 0, (N, F)."""
    if codes.ndim != 2 or codes.shape[1] < 2:
        raise ValueError(f"codes must be (N, Z) with Z >= 2, got {tuple(codes.shape)}")
    if not codes.isfinite().all():
        raise ValueError(f"codes must be finite; {int((~codes.isfinite()).any(1).sum())} of {len(codes)} rows are not")
    if bins < 2:
        raise ValueError(f"bins must be at least 2, got {bins}")
    if not factors:
        raise ValueError("a gap needs at least one factor, got none")
    columns = []
    for name, factor in factors.items():
        if factor.shape != codes.shape[:1]:
            raise ValueError(f"factor {name!r} must be ({len(codes)},) as there are codes, got {tuple(factor.shape)}")
        if not factor.isfinite().all():
            raise ValueError(f"factor {name!r} must be finite; {int((~factor.isfinite()).sum())} values are not")
        distinct, column = factor.detach().cpu().unique(return_inverse=True)
        if len(distinct) < 2:
            raise ValueError(f"factor {name!r} has one value only, {distinct.tolist()}: there is nothing to know of it")
        if len(codes) < bins * len(distinct):
            raise ValueError(
                f"factor {name!r} has {len(distinct)} values: with {bins} bins that takes {bins * len(distinct)} codes "
                f"or more, got {len(codes)}; take fewer bins, or cut the factor into classes"
            )
        columns.append(column)
    return torch.stack(columns, dim=1)

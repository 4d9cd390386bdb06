"""Train one family under the protocol, stop at each budget, draw, judge.

A run has a constant learning rate and is judged by a moving average of its weights. So one run answers for every budget
that it passes, and a longer run contains the shorter one. At each budget the average is kept as a *snapshot*; judging
reads snapshots and trains nothing, so that it can be done again.

Shapes:  as in contestant.py.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from genai_utils.compare.contestant import Contestant, Sampler
from genai_utils.compare.evaluate import Evaluation
from genai_utils.compare.protocol import Protocol, draw_labels
from genai_utils.core import seed_all
from genai_utils.data.sets import ImageSet, to_floats
from genai_utils.metrics.likelihood import bits_per_dim
from genai_utils.metrics.speed import count_flops
from genai_utils.training import EMA, fit
from genai_utils.training.loop import TrainingDiverged

DRAW = 500  # pictures drawn at a time
NOISE = 1_000  # the noise of a run's samples has the seed of the run and so much more


def flops_of_step(make: type[Contestant], protocol: Protocol, batches: Iterable) -> float:
    """Return the counted floating-point operations of one training step, backward passes included.

    Args:
        make: a class of contestant; a fresh one takes a few steps and is thrown away.
        protocol: the protocol.
        batches: gives (x, labels).
    """
    contestant, source = make(protocol), iter(batches)
    step = contestant.step(EMA(contestant.net, protocol.decay), contestant.rate)
    step(next(source))  # what sets itself by the first batch does so uncounted
    batch = next(source)
    return float(count_flops(lambda: step(batch)))


def train(
    make: type[Contestant],
    protocol: Protocol,
    data: ImageSet,
    *,
    seed: int,
    steps: dict[str, int],
    rate: float | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[str, nn.Module | str]]:
    """Train to each budget in turn, yielding (budget, averaged network), or (budget, why the run failed).

    Args:
        make: a class of contestant.
        protocol: the protocol.
        data: pictures to learn from.
        seed: of the weights, the batches and all noise.
        steps: budget's name -> updates at which it is spent.
        rate: learning rate; None is the contestant's own.
        folder: where the run's checkpoint and its snapshots are kept: what is there is not trained again. None keeps
            nothing.
    """
    name, order = f"{make.__name__}-{seed}" + ("" if rate is None else f"-{rate:g}"), sorted(steps, key=steps.get)
    kept = {} if folder is None else {b: Path(folder) / f"{name}-{steps[b]}.pt" for b in order}
    seed_all(seed)
    contestant = make(protocol)
    ema = EMA(contestant.net, protocol.decay)
    rate = contestant.rate if rate is None else rate
    step, batches = contestant.step(ema, rate), data.batches(contestant.batch, seed=seed)
    how = {"config": {"rate": rate, "batch": contestant.batch, "parameters": contestant.parameters, "seed": seed}}
    done, failed = 0, None
    for budget in order:
        until = steps[budget]
        if folder is not None:
            how["checkpoint"] = Path(folder) / f"{name}.pt"
        if kept and kept[budget].exists():
            found = torch.load(kept[budget], weights_only=True)
            failed = found if isinstance(found, str) else None
            if not failed:
                ema.model.load_state_dict(found)
        elif not failed:
            try:
                fit(step, batches, steps=until if kept else until - done, every=min(200, until), progress=False, **how)
            except TrainingDiverged as error:
                failed = str(error).partition(". ")[0]
        if kept and not kept[budget].exists():
            whole = kept[budget].with_suffix(".tmp")  # a kill while it is written must not leave half a snapshot
            torch.save(failed or ema.model.state_dict(), whole)
            whole.replace(kept[budget])
        done = until
        yield budget, failed or ema.model


@torch.no_grad()
def draw(sampler: Sampler, net: nn.Module, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return n pictures (n, 1, H, H) and the labels they were asked for, from a generator of that seed."""
    labels, generator = draw_labels(n), torch.Generator().manual_seed(NOISE + seed)
    return torch.cat([sampler(net, part, generator) for part in labels.split(DRAW)]), labels


def likelihood(contestant: Contestant, net: nn.Module, test: ImageSet, seed: int) -> dict[str, float]:
    """Return bits per dimension of held-out pictures given their labels, its standard error over pictures, and n."""
    protocol = contestant.protocol
    n = protocol.n_integral if contestant.costly else protocol.n_likelihood
    generator, parts = torch.Generator().manual_seed(NOISE + seed), []
    x, labels = to_floats(test.images[:n]), test.labels[:n]
    for a, b in zip(x.split(100), labels.split(100)):
        with torch.set_grad_enabled(contestant.likelihood == "estimate"):  # which integrates a divergence
            parts.append(contestant.nats(net, a, b, generator).detach())
    bits = bits_per_dim(torch.cat(parts).double(), x[0].numel())
    return {"bits_per_dim": bits.mean().item(), "bits_error": bits.std().item() / math.sqrt(n), "n_likelihood": n}


def judge(
    contestant: Contestant, evaluation: Evaluation, found: nn.Module | str, *, sampler: str, seed: int, bits: bool
) -> dict:
    """Return the measures of one snapshot as one sampler draws from it; {"failed": why} if there is nothing to judge.

    Args:
        contestant: of the family.
        evaluation: of the protocol.
        found: what `train` yielded.
        sampler: which of the contestant's.
        seed: of the noise.
        bits: whether to compute the likelihood, if the family has one.
    """
    if isinstance(found, str):
        return {"failed": found}
    try:
        row = evaluation(*draw(contestant.samplers[sampler], found, contestant.protocol.n_samples, seed))
        if bits and contestant.likelihood:
            row |= likelihood(contestant, found, evaluation.test, seed)
    except ValueError as error:
        return {"failed": str(error)}
    return row


def run(
    make: type[Contestant], evaluation: Evaluation, *, seed: int, steps: dict[str, int], bits: bool = True, **how
) -> Iterator[dict]:
    """Train one family from one seed, and yield a tidy row for each budget and sampler.

    Args:
        make, seed, steps: as for `train`.
        evaluation: judges; its protocol and its data are the run's.
        bits: whether to compute likelihoods.
        how: rate and folder, as for `train`.
    """
    contestant = make(evaluation.protocol)
    for budget, found in train(make, evaluation.protocol, evaluation.train, seed=seed, steps=steps, **how):
        for k, sampler in enumerate(contestant.samplers):
            row = judge(contestant, evaluation, found, sampler=sampler, seed=seed, bits=bits and k == 0)
            yield {"family": sampler, "seed": seed, "budget": budget, "steps": steps[budget]} | row

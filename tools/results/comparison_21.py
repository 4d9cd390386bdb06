"""Measure chapter 21: `python -m tools.results.comparison_21` (some 15 hours of one core; it resumes after a kill).

Every family of genai_utils.compare is trained from three seeds to the budgets of the protocol, after a short sweep that
chose its learning rate; then what a sample costs is timed. What is finished, snapshots of weights and rows, is kept in
a folder of runs/ that is named after the scale, the device and the rest of the protocol, and used again as long as the
code that made it is the same, comments and docstrings aside.

With names of stages or families only those are measured, and nothing is written to genai_utils/results:
`python -m tools.results.comparison_21 sweep vae glow` in one terminal, `... runs pixelcnn` in another. `--until 1e12`
stops at that budget.

`--scale full` is the larger stage, MNIST at 32x32 and two million parameters, which wants a GPU: no language models, no
weights to ship. It writes genai_utils/results/21_full.json. The embedded scale is one of CPUs.
"""

import argparse
import ast
import dataclasses
import gc
import hashlib
import inspect
import json
import math
import shutil
import statistics
import time
from pathlib import Path

import torch

from genai_utils.compare import (
    CONTESTANTS,
    PRESETS,
    Evaluation,
    flops_of_step,
    judge,
    load_pictures,
    placed,
    protocol,
    train,
)
from genai_utils.compare import costs as costing
from genai_utils.compare import evaluate as judging
from genai_utils.compare import runs as running
from genai_utils.compare import texts
from genai_utils.compare.shipped import load_contestant, weights_name
from genai_utils.data.tales import floor_per_character
from genai_utils.results import save_results
from genai_utils.training import EMA
from genai_utils.weights import save_weights
from tools.recipes import hardware

STAGES = ("calibrate", "sweep", "runs", "costs")
TEXTS = {"lstm": texts.LSTMContestant, "gpt": texts.GPTContestant}
EVERY = CONTESTANTS | TEXTS
N_STORIES = 500  # that a language model writes to be judged
SWEEP_SEED = 100
LADDERS = {  # budgets at which every run stops to be judged; the first is also that of a run of the sweep
    "embedded": (1e12, 3e12, 6e12, 3e13),
    "full": (6e13, 2e14, 4e14, 2e15),
}


def choose(scale: str, device: str) -> None:
    """Set what every stage reads: a protocol, its budgets, where rows are kept, where a family computes."""
    global SCALE, PROTOCOL, LADDER, FOLDER, DEVICE, BACKEND
    SCALE, PROTOCOL, LADDER, DEVICE = scale, PRESETS[scale], LADDERS[scale], torch.device(device)
    spent = ("flops", "seconds", "seeds")  # which rows name, so that a longer race goes on from a shorter one
    rest = {k: v for k, v in dataclasses.asdict(PROTOCOL).items() if k not in spent}
    mark = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:8]
    FOLDER = Path(f"runs/compare-{scale}-{device}-{mark}")
    BACKEND = "inductor" if shutil.which("g++") else None  # which compiles for a CPU with it


choose("embedded", "cpu")


# ---- what a kept figure depends on


def code(*things) -> str:
    """Return a short hash of the code of classes, functions and modules, without comments and docstrings."""
    return code_of_text(*(inspect.getsource(thing) for thing in things))


def code_of_text(*sources: str) -> str:
    """Return the same of texts in Python."""
    text = []
    for source in sources:
        tree = ast.parse(inspect.cleandoc("\n" + source))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                    del body[0]
        text.append(ast.dump(tree))
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:12]


def training_code(make) -> str:
    own = [c for c in make.__mro__ if c.__module__.startswith("genai_utils.compare")]
    data = [texts.Stories] if make in TEXTS.values() else [protocol.shrink, protocol.load_pictures]
    return code(*own, running.train, *data)


def judging_code(name: str) -> str:
    return code(texts) if name in TEXTS else code(judging, running.draw, running.likelihood, running.judge)


# ---- kept rows


def kept() -> dict[str, dict]:
    """Return the rows by their key; the last one of a key counts."""
    path = FOLDER / "rows.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["key"]: row for row in map(json.loads, lines)}


def keep(key: str, row: dict) -> dict:
    FOLDER.mkdir(parents=True, exist_ok=True)
    row = {"key": key} | row
    with open(FOLDER / "rows.jsonl", "a") as file:  # one short write: processes do not cut into each other
        file.write(json.dumps(row) + "\n")
    print(key, {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items() if k != "key"}, flush=True)
    return row


# ---- stages


def as_timed(make: type) -> type:
    """Return the class of contestant as its cost is measured: on a CPU as a reader runs it, on a GPU as it is raced."""
    return make if DEVICE.type == "cpu" else placed(make, DEVICE, backend=BACKEND)


def clock() -> float:
    """Return CPU seconds; of a GPU the time at which it has done all that it was asked."""
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(DEVICE)
    return time.perf_counter()


def calibrate(name: str) -> dict:
    """Count the FLOPs of a training step and time it: seconds of one CPU thread or of the GPU, the median of 15."""
    make = EVERY[name]
    key = f"calibrate {name} {training_code(make)}"
    if key in (rows := kept()):
        return rows[key]
    data = texts.Stories() if name in TEXTS else load_pictures(PROTOCOL)[0]
    contestant = as_timed(make)(PROTOCOL)
    batches = data.batches(contestant.batch, seed=0)
    step = contestant.step(EMA(contestant.net, PROTOCOL.decay), contestant.rate)
    seconds = []
    for batch, _ in zip(batches, range(18)):
        before = clock()
        step(batch)
        seconds.append(clock() - before)
    return keep(key, {
        "family": name, "flops": flops_of_step(make, PROTOCOL, batches), "seconds": statistics.median(seconds[3:]),
        "batch": contestant.batch, "parameters": contestant.parameters, "rate": contestant.rate,
        "parameters_to_sample": contestant.parameters_to_sample,
    })  # fmt: skip


def budgets(name: str, until: float) -> dict[str, int]:
    """Return budget's name -> steps, of the ladder up to `until`, and of equal time where it is reached on the way.

    Where equal time is more than the whole ladder, the last stretch goes on to it.
    """
    one = calibrate(name)
    steps = {f"{flops:g}": round(flops / one["flops"]) for flops in LADDER if flops <= until}
    timed = round(PROTOCOL.seconds / one["seconds"])
    return steps | ({"time": timed} if timed <= max(steps.values()) or until >= LADDER[-1] else {})


def best_rate(name: str) -> float:
    """Return the learning rate with the least Frechet distance in the sweep."""
    own = swept(name)
    if len(own) < 3:
        raise SystemExit(f"the sweep of {name} is not complete: run the stage sweep first")
    least = "above_floor" if name in TEXTS else "frechet"
    return min((row for row in own if not row.get("failed")), key=lambda row: row[least])["rate"]


FAILED = 1_000.0  # stands for the ratio of distances where training diverged
QUICKER = {"diffusion": "ddim"}  # of a family with two samplers, that by which its learning rate is chosen


def swept(name: str) -> list[dict]:
    """Return the rows of the sweep of a family, as its code stands; of two samplers, those of the quicker."""
    known, hashes = kept().values(), {training_code(EVERY[name]), judging_code(name)}
    own = [row for row in known if row["key"].startswith(f"sweep {name} ") and hashes <= set(row["key"].split())]
    return [row for row in own if row["family"] == QUICKER.get(name, name)]


def sensitivity(name: str) -> float:
    """Return how many times larger the distance is one step of the sweep beside the best rate, on the worse side."""
    tried = sorted(swept(name), key=lambda row: row["rate"])
    here = [row["rate"] for row in tried].index(best_rate(name))
    beside = [tried[i] for i in (here - 1, here + 1) if 0 <= i < len(tried)]
    return max(FAILED if row.get("failed") else row["frechet"] / tried[here]["frechet"] for row in beside)


def sweep(name: str, evaluation) -> None:
    """Try learning rates a factor of three apart, and go on until the best has a worse one on either side."""
    rates = [EVERY[name].rate * factor for factor in (1 / 3, 1, 3)]
    steps = {f"{LADDER[0]:g}": round(LADDER[0] / calibrate(name)["flops"])}
    while True:
        rates = sorted(float(f"{rate:.1g}") for rate in rates)
        for rate in rates:
            measure("sweep", name, evaluation, seed=SWEEP_SEED, rate=rate, steps=steps)
        best = best_rate(name)
        if best not in (rates[0], rates[-1]):
            return
        rates.append(best * 3 if best == rates[-1] else best / 3)


def wanted(row: str, budget: str) -> bool:
    """Say whether a row is judged at a budget: DDPM, slow to draw, at the last alone; of texts no time is compared."""
    return budget != "time" if row in TEXTS else row != "ddpm" or budget == f"{LADDER[-1]:g}"


def measure(stage: str, name: str, evaluation: Evaluation, *, seed: int, rate: float, steps: dict[str, int]) -> None:
    """Train and judge one run, but for the rows that are kept."""
    make = EVERY[name]
    swift = make if name in TEXTS else placed(make, DEVICE, backend=BACKEND)
    contestant = swift(PROTOCOL)
    samplers = ("text",) if name in TEXTS else tuple(contestant.samplers)
    keys = {
        f"{stage} {name} {seed} {rate:g} {budget} {sampler} {steps[budget]} {training_code(make)} {judging_code(name)}":
        (budget, sampler)
        for budget in steps for sampler in samplers if wanted(name if name in TEXTS else sampler, budget)
    }  # fmt: skip
    missing = {pair: key for key, pair in keys.items() if key not in kept()}
    if not missing:
        return
    folder = FOLDER / f"{name}-{training_code(make)}"
    folder.mkdir(parents=True, exist_ok=True)
    todo = {budget: steps[budget] for budget in steps if any(b == budget for b, _ in missing)}
    data = evaluation if name in TEXTS else evaluation.train
    for budget, found in train(swift, PROTOCOL, data, seed=seed, rate=rate, steps=todo, folder=folder):
        for sampler in samplers:
            if key := missing.get((budget, sampler)):
                if name in TEXTS:
                    row = texts.judge_text(contestant, evaluation, found, n=N_STORIES, seed=seed)
                else:
                    last = stage == "run" and budget == f"{LADDER[-1]:g}"  # the others would be an hour for one figure
                    bits = last and sampler != "ddpm"  # DDPM and DDIM are one model
                    row = judge(contestant, evaluation, found, sampler=sampler, seed=seed, bits=bits)
                about = {"stage": stage, "contestant": name, "family": name if name in TEXTS else sampler}
                about |= {"seed": seed, "rate": rate, "budget": budget, "steps": steps[budget]}
                keep(key, about | row)


# ---- what a picture costs


def costs(name: str) -> dict:
    """Time and count sampling, and measure the memory of training (on a GPU: there), of one family."""
    make = EVERY[name]
    key = f"costs {name} {training_code(make)} {code(costing)}"
    if key in (rows := kept()):
        return rows[key]
    memory = costing.training_memory(name, scale=SCALE) if DEVICE.type == "cpu" else gpu_memory(make)
    found = {"sampling": costing.sampling_cost(as_timed(make), PROTOCOL, clock=clock), "memory": memory}
    return keep(key, {"contestant": name} | found)


def gpu_memory(make: type) -> float:
    """Return by how many MB (1e6 bytes) five steps of training raise the memory of the GPU, at its peak."""
    gc.collect()  # what earlier families left there
    resident, contestant = torch.cuda.memory_allocated(DEVICE), as_timed(make)(PROTOCOL)
    step = contestant.step(EMA(contestant.net, PROTOCOL.decay), contestant.rate)
    torch.cuda.reset_peak_memory_stats(DEVICE)
    for batch, _ in zip(load_pictures(PROTOCOL)[0].batches(contestant.batch, seed=0), range(5)):
        step(batch)
    return (torch.cuda.max_memory_allocated(DEVICE) - resident) / 1e6


# ---- the table


MEASURES = {  # title, unit, which way is better, whether its axis is logarithmic
    "frechet": ("Fréchet distance", "", "lower", True),
    "validity": ("surely classified", "share", "higher", False),
    "precision": ("precision", "share", "higher", False),
    "recall": ("recall", "share", "higher", False),
    "coverage": ("coverage", "share", "higher", False),
    "modes": ("modes reached", "share of 210", "higher", False),
    "class_entropy": ("entropy of classes", "nats", "higher", False),
    "memorised": ("copies", "share", "lower", False),
    "bits_per_dim": ("likelihood", "bits per dimension", "lower", False),
    "accuracy": ("accuracy", "share of classes as asked for", "higher", False),
    "images_per_second": ("throughput", "pictures a second", "higher", True),
    "first_image_ms": ("latency", "ms to the first picture", "lower", True),
    "flops_per_image": ("operations of one picture", "FLOPs", "lower", True),
    "peak_memory_mb": ("memory of training", "MB", "lower", True),
    "train_seconds": ("time to train", "s", "lower", True),
    "stability": ("spread over seeds", "deviation over mean of the Fréchet distance", "lower", True),
    "failed_runs": ("runs that failed", "share", "lower", False),
    "lr_sensitivity": ("worse by a learning rate 3 times off", "ratio of Fréchet distances", "lower", True),
}
JUDGED = ("frechet", "validity", "precision", "recall", "coverage", "modes", "class_entropy", "memorised", "accuracy")
LIKELIHOOD = ("bits_per_dim", "bits_error", "n_likelihood")
LITTLE = 0.5  # a run of which no more samples than this are classified surely has failed, as has one that diverged
ROWS = {"ddpm": "diffusion", "ddim": "diffusion"}  # rows of the table that are named after a sampler -> the family
TITLES = {"ddpm": "DDPM", "ddim": "DDIM"}


def over(values: list[float], n: int, **more) -> dict:
    """Return the mean over seeds, the least and the most of them, and the sample size of each."""
    return {"value": statistics.fmean(values), "low": min(values), "high": max(values), "n": n,
            "seeds": len(values)} | more  # fmt: skip


def runs_of(row: str, budget: str) -> list[dict]:
    """Return what was measured of one row of the table at one budget, a dict for each seed.

    A shorter race kept other rows beside them: DDPM at its own last budget, likelihoods there, its own equal time.
    """
    if not wanted(row, budget):
        return []
    name = ROWS.get(row, row)
    hashes = {training_code(EVERY[name]), judging_code(name)}
    own = [r for r in kept().values() if r.get("stage") == "run" and r["family"] == row and r["budget"] == budget]
    rate = best_rate(name)
    steps = budgets(name, LADDER[-1])[budget]
    own = [r for r in own if hashes <= set(r["key"].split()) and (r["rate"], r["steps"]) == (rate, steps)]
    if budget != f"{LADDER[-1]:g}":
        own = [{k: v for k, v in r.items() if k not in LIKELIHOOD} for r in own]
    return sorted(own, key=lambda r: r["seed"])


def summary(row: str, budget: str) -> dict[str, dict]:
    """Return measure -> its mean and range over seeds, of one row of the table at one budget."""
    name, one = ROWS.get(row, row), calibrate(ROWS.get(row, row))
    found, good = runs_of(row, budget), [r for r in runs_of(row, budget) if not r.get("failed")]
    failed = [bool(r.get("failed")) or r["validity"] <= LITTLE for r in found]
    out = {"failed_runs": {"value": sum(failed) / len(found), "low": sum(failed) / len(found),
                           "high": sum(failed) / len(found), "n": len(found), "seeds": len(found)}}  # fmt: skip
    steps = found[0]["steps"]
    out["train_seconds"] = over([steps * one["seconds"]], 15)
    for measure in JUDGED if good else ():
        out[measure] = over([r[measure] for r in good], PROTOCOL.n_samples)
    if len(good) > 1:
        distances = [r["frechet"] for r in good]
        out["stability"] = over([statistics.stdev(distances) / statistics.fmean(distances)], len(good))
    bits = [r for r in runs_of("ddim" if row == "ddpm" else row, budget) if "bits_per_dim" in r]
    if bits:
        error = max(r["bits_error"] for r in bits)  # of the mean over pictures; the range is that over seeds
        out["bits_per_dim"] = over([r["bits_per_dim"] for r in bits], bits[0]["n_likelihood"],
                                   kind=EVERY[name].likelihood, error=error)  # fmt: skip
    if row != "ddpm":  # whose learning rate is DDIM's
        out["lr_sensitivity"] = over([sensitivity(name)], PROTOCOL.n_samples)
    spent = costs(name)
    for measure in ("images_per_second", "first_image_ms"):
        value, low, high, rounds = spent["sampling"][row][measure]
        out[measure] = {"value": value, "low": low, "high": high, "n": rounds, "seeds": 1}
    out["flops_per_image"] = over([spent["sampling"][row]["flops_per_image"]], 10)
    out["peak_memory_mb"] = over([spent["memory"]], 1)
    return out


def table_rows() -> list[str]:
    """Return the rows of the table, in the order of the chapters."""
    return [row for name in CONTESTANTS for row in (("ddpm", "ddim") if name == "diffusion" else (name,))]


def language_models() -> tuple[str, ...]:
    """Return the names of the language models of this scale: the larger stage has none."""
    return tuple(TEXTS) if SCALE == "embedded" else ()


def complete(budget: str, seeds) -> bool:
    """Say whether every family has every seed at this budget."""
    rows = (row for row in (*table_rows(), *language_models()) if wanted(row, budget))
    return all({r["seed"] for r in runs_of(row, budget)} >= set(seeds) for row in rows)


def text_summary(budget: str) -> dict[str, dict]:
    """Return name -> measure -> its mean and range over seeds, of the language models."""
    held_out = len(texts.Stories().test)
    sizes = {"nats": held_out, "above_floor": held_out, "accepted": N_STORIES, "copied": N_STORIES, "remembers": 300}
    return {
        name: {key: over([r[key] for r in runs_of(name, budget) if not r.get("failed")], n) for key, n in sizes.items()}
        for name in TEXTS
    }


def gather(seeds) -> dict:
    """Return what the chapter, the chart and the decision guide read."""
    done = [f"{flops:g}" for flops in LADDER if complete(f"{flops:g}", seeds)]
    if not done:
        raise SystemExit("no budget has every family and seed yet: run the stages first")
    last, evaluation = done[-1], Evaluation(PROTOCOL)
    rows = [row for row in table_rows() if runs_of(row, last)]
    tables = {"flops": {row: summary(row, last) for row in rows}}
    if complete("time", seeds):
        tables["time"] = {row: summary(row, "time") for row in rows if runs_of(row, "time")}
    own = {}  # of the stage that the chapter runs
    if language_models():
        ship(last, evaluation)
        own = {
            "again": again(evaluation),
            "text": {"floor": floor_per_character(), "budget": last, "summary": text_summary(last),
                     "ladder": {budget: text_summary(budget) for budget in done},
                     "parameters": {name: calibrate(name)["parameters"] for name in TEXTS}},
        }  # fmt: skip
    return own | {
        "protocol": dataclasses.asdict(PROTOCOL) | {"flops": float(last), "sweep": LADDER[0]},
        "order": rows,
        "families": {
            row: {
                "title": TITLES.get(row, EVERY[ROWS.get(row, row)].title), "group": EVERY[ROWS.get(row, row)].group,
                "chapter": EVERY[ROWS.get(row, row)].chapter, "rate": best_rate(ROWS.get(row, row)),
            } | {k: calibrate(ROWS.get(row, row))[k] for k in ("parameters", "parameters_to_sample", "batch", "flops")}
            for row in rows
        },
        "measures": {
            key: dict(zip(("title", "unit", "better", "log"), about)) for key, about in MEASURES.items()
        },
        "held_out": evaluation.held_out(),
        "summary": tables,
        "ladder": {row: {budget: summary(row, budget)["frechet"] for budget in done if runs_of(row, budget)}
                   for row in rows},
        "sweep": {row: {f"{r['rate']:g}": r.get("frechet") for r in sorted(swept(ROWS.get(row, row)),
                        key=lambda r: r["rate"])} for row in rows if row != "ddpm"},
        "tried": sum(len(swept(name)) for name in (*CONTESTANTS, *language_models())),
        "runs": [
            {k: v for k, v in r.items() if k not in ("key", "stage", "contestant")}
            for budget in [*done, *(["time"] if "time" in tables else [])] for row in (*rows, *language_models())
            for r in runs_of(row, budget)
        ],
    }  # fmt: skip


SLICE = {"family": "vae", "flops": 1e11, "seeds": tuple(range(20))}  # what the chapter trains again
CHECKED = ("vae", "dcgan", "wgan_gp", "stylegan2", "glow")  # rows that it judges again: those that draw quickly
FEW, OFTEN = 500, 20  # pictures of each, and how often


def ship(last: str, evaluation: Evaluation) -> None:
    """Write the weights of each family's first run, at the last budget."""
    for name, make in CONTESTANTS.items():
        steps = {last: budgets(name, float(last))[last]}
        folder = FOLDER / f"{name}-{training_code(make)}"
        how = {"seed": PROTOCOL.seeds[0], "rate": best_rate(name), "folder": folder}
        ((_, found),) = train(make, PROTOCOL, evaluation.train, steps=steps, **how)
        if isinstance(found, str):
            raise SystemExit(f"the first run of {name} failed ({found}): there is nothing to ship")
        row = next(r for r in runs_of("ddim" if name == "diffusion" else name, last) if r["seed"] == how["seed"])
        kind = torch.float32 if name in ("realnvp", "glow") else torch.float16  # an inverse wants all its digits
        state = {k: v.float() for k, v in found.state_dict().items()}
        score = {k: round(row[k], 4) for k in ("frechet", "validity", "recall")} | {"n": PROTOCOL.n_samples}
        save_weights(
            weights_name(name), state, command="python -m tools.results.comparison_21", terms="MIT", seed=how["seed"],
            data="glyphs: 20,000 digits at 16x16", score=score, hardware=hardware(), dtype=kind,
        )  # fmt: skip


def again(evaluation: Evaluation) -> dict:
    """Return the figures that the chapter measures again, with their spread over noise or seeds."""
    fast = Evaluation(dataclasses.replace(PROTOCOL, n_samples=FEW), data=(evaluation.train, evaluation.test))
    judged = {}
    for row in CHECKED:
        contestant, net = load_contestant(ROWS.get(row, row))
        draws = (running.draw(contestant.samplers[row], net, FEW, seed) for seed in range(OFTEN))
        judged[row] = [fast(*drawn)["frechet"] for drawn in draws]
    name, make = SLICE["family"], EVERY[SLICE["family"]]
    steps = {"slice": round(SLICE["flops"] / calibrate(name)["flops"])}
    trained = [
        next(running.run(make, fast, seed=seed, steps=steps, rate=best_rate(name), bits=False))["frechet"]
        for seed in SLICE["seeds"]
    ]
    return {"n": FEW, "judged": judged, "trained": SLICE | {"steps": steps["slice"], "frechet": trained}}


SOURCES = (
    *(f"genai_utils/compare/{name}.py" for name in (
        "contestant", "costs", "evaluate", "games", "likelihoods", "noise", "placement", "protocol", "runs", "shipped",
        "texts")),
    "tools/results/comparison_21.py",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"stages ({', '.join(STAGES)}) or families ({', '.join(EVERY)})")
    parser.add_argument("--until", type=float, default=math.inf, help="the largest budget, in FLOPs")
    parser.add_argument("--seeds", type=int, nargs="*", help="the protocol's, 0 1 2, by default")
    parser.add_argument("--scale", choices=LADDERS, default="embedded")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cpu for the embedded scale, cuda for any other")
    args = parser.parse_args()
    device = args.device or ("cpu" if args.scale == "embedded" else "cuda")
    if device == "cuda" and args.scale == "embedded":
        parser.error("the embedded scale is raced on a CPU, so that its times are those of a reader's machine")
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU of CUDA here; --device cpu would race without one, for weeks")
    choose(args.scale, device)
    here, seeds = (*CONTESTANTS, *language_models()), args.seeds or list(PROTOCOL.seeds)
    if unknown := sorted(set(args.names) - {*STAGES, *here}):
        parser.error(f"no stage or family {', '.join(unknown)} on the {args.scale} scale")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # else an LSTM near the floor, whose gradients vanish, trains six times slower
    stages = [s for s in STAGES if s in args.names] or STAGES
    families = [f for f in here if f in args.names] or list(here)
    if "calibrate" in stages:
        for name in families:
            calibrate(name)
    judges = {True: texts.Stories() if set(families) & set(TEXTS) else None}
    judges[False] = Evaluation(PROTOCOL) if set(families) - set(TEXTS) and {"sweep", "runs"} & set(stages) else None
    for name in families:
        if "sweep" in stages:
            sweep(name, judges[name in TEXTS])
    for until in (flops for flops in LADDER if flops <= args.until) if "runs" in stages else ():
        for seed in seeds:  # all families to one budget, then all to the next
            for name in families:
                measure("run", name, judges[name in TEXTS], seed=seed, rate=best_rate(name), steps=budgets(name, until))
    if "costs" in stages:
        for name in families:
            if name not in TEXTS:
                costs(name)
    if not args.names:
        name, how = ("21", "") if args.scale == "embedded" else (f"21_{args.scale}", f" --scale {args.scale}")
        judge_of = f"genai_utils/weights/{judging.JUDGES[PROTOCOL.data]}.safetensors"
        save_results(name, gather(seeds), sources=(*SOURCES, judge_of), seeds=seeds,
                     command="python -m tools.results.comparison_21" + how)  # fmt: skip


if __name__ == "__main__":
    main()

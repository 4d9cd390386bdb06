"""Run cases, print `case ours_ms peer_ms ratio`, write the data behind book/performance.md and its table."""

import argparse
import os
import sys
import time
from pathlib import Path

import torch

from genai_utils.metrics.speed import compare, peak_memory
from genai_utils.results import FOLDER, load_results, save_results
from tests.benchmarks.cases import EQUAL, Case, cases

ROOT = Path(__file__).parents[2]
SOURCES = [*(f"genai_utils/diffusion/{n}.py" for n in ("process", "samplers", "unet")), "tests/benchmarks/cases.py"]
PAGE = ROOT / "book" / "performance.md"
BEGIN, END = "% written by `make bench` from here", "% to here"
BAR = 1.03  # never slower than the peer by more than this, at equal numerics

# Dense peak rates of tensor cores in FLOP/s, from the makers' data sheets; float32 is the rate without TF32
PEAKS = {
    "H200": {"bf16": 989e12, "float32": 67e12}, "H100": {"bf16": 989e12, "float32": 67e12},
    "A100": {"bf16": 312e12, "float32": 19.5e12}, "L4": {"bf16": 121e12, "float32": 30.3e12},
}  # fmt: skip


def measure(case: Case, *, rounds: int, seconds: float, device: torch.device) -> dict:
    """Return the row of one case: medians with intervals, and how exactly the two sides agreed.

    Args:
        rounds: most rounds to run; at least 9 of them are run whatever they take.
        seconds: about how long to spend; fewer rounds are run of a slow case.
    Raises:
        RuntimeError: the two sides do not do the same work.
    """
    pair = case.build()
    if pair.error > (limit := EQUAL[case.peak]):
        raise RuntimeError(f"{case.name}: ours and the peer's differ by {pair.error:.2g}, more than {limit}: not timed")
    name = f"{case.name} ({pair.note})" if pair.note else case.name
    for fn in (pair.ours, pair.peer):  # allocation, compilation, caches
        fn(), fn()
    start = time.perf_counter()
    pair.ours()
    if device.type == "cuda":
        torch.cuda.synchronize()
    once = time.perf_counter() - start
    rounds = max(9, min(rounds, int(seconds / (3 * once)))) if rounds >= 9 else rounds
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    result = compare(pair.ours, pair.peer, rounds=rounds, warmup=1)
    row = {"case": name, "device": device.type, "n": rounds, "error": pair.error, "flops": pair.flops}
    for field in ("ours_ms", "peer_ms", "ratio", "noise"):
        estimate = getattr(result, field)
        row[field] = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    row["per_second"] = 1e3 * pair.items / result.ours_ms.value
    if device.type == "cuda":
        row["peak_memory_mib"] = peak_memory()["cuda"] / 2**20
        rate = next((v for k, v in PEAKS.items() if k in torch.cuda.get_device_name()), {}).get(case.peak)
        row["mfu"] = pair.flops / (result.ours_ms.value / 1e3) / rate if rate else None
    return row


def line(row: dict) -> str:
    """Return the row as `case ours_ms peer_ms ratio`, with the interval of the ratio and the A/A row."""
    r, noise = row["ratio"], row["noise"]
    text = f"{row['case']:<52} {row['ours_ms']['value']:>9.1f} {row['peer_ms']['value']:>9.1f} {r['value']:>7.3f}"
    text += f"  [{r['low']:.3f}, {r['high']:.3f}]  A/A [{noise['low']:.3f}, {noise['high']:.3f}]  n={row['n']}"
    if "mfu" in row:
        mfu = f"{row['mfu']:.1%}" if row["mfu"] else "unknown"
        text += f"  MFU {mfu}  {row['peak_memory_mib']:.0f} MiB  {row['per_second']:.0f} images/s"
    return text


def slower(rows: list[dict]) -> list[str]:
    """Return the cases in which we are surely slower than the bar allows: the whole interval lies above it."""
    return [row["case"] for row in rows if row["ratio"]["low"] > BAR]


def table(results: dict) -> str:
    """Return the Markdown that book/performance.md shows for these results."""
    lines = [f"Measured on {results['hardware']} by `{results['command']}`, with "
             + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
             + f", matrix products at precision \"{results['values']['precision']}\". The machine's load when it "
             + f"began: {results['values']['load']}.", ""]  # fmt: skip
    for device, title in (("cpu", "One CPU thread"), ("cuda", "One GPU")):
        rows = [row for row in results["values"]["rows"] if row["device"] == device]
        gpu = device == "cuda"
        if rows:
            lines += [f"**{title}**", ""]
            lines += ["| case | ours, ms | peer, ms | ratio | interval of the ratio | ours against ours | rounds |"
                      + " MFU | images/s | peak memory, MiB |" * gpu]  # fmt: skip
            lines += ["|---|--:|--:|--:|--:|--:|--:|" + "--:|--:|--:|" * gpu]
            lines += [_table_row(row) for row in rows] + [""]
    return "\n".join(lines).rstrip()


def _table_row(row: dict) -> str:
    r, noise = row["ratio"], row["noise"]
    text = f"| {row['case']} | {row['ours_ms']['value']:.1f} | {row['peer_ms']['value']:.1f} "
    text += f"| {r['value']:.3f} | {r['low']:.3f} to {r['high']:.3f} "
    text += f"| {noise['low']:.3f} to {noise['high']:.3f} | {row['n']} |"
    if row["device"] == "cuda":
        mfu = f"{row['mfu']:.1%}" if row["mfu"] else "unknown"
        text += f" {mfu} | {row['per_second']:.0f} | {row['peak_memory_mib']:.0f} |"
    return text


def write_page(results: dict, page: Path = PAGE) -> None:
    """Put the table between the markers of the page; everything else on it stays."""
    text = page.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{page} must hold the lines {BEGIN!r} and {END!r} once each")
    before, rest = text.split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{rest.split(END)[1]}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="most rounds per case (40)")
    parser.add_argument("--seconds", type=float, default=120, help="about how long to spend on a case (120)")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--only", default="", help="part of a case's name; without --folder, nothing is written")
    parser.add_argument("--size", default="narrow", choices=["tiny", "small", "narrow"], help="of the U-Net on the CPU")
    parser.add_argument("--folder", type=Path, help=f"where to write bench.json ({FOLDER.relative_to(ROOT)})")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page whose table to write")
    given = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    load = ", ".join(f"{v:.1f}" for v in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    rows = []
    cpu, compiled = torch.device("cpu"), "tiny" if args.size == "tiny" else "small"
    compiled = None if args.no_compile else compiled
    plan = [(case, cpu) for case in cases(args.size, (8, 16), compiled=compiled, device=cpu)]
    if torch.cuda.is_available():
        cuda, compiled = torch.device("cuda"), None if args.no_compile else "published"
        plan += [(case, cuda) for case in cases("published", (8, 16), compiled=None, device=cuda)]
        plan += [(case, cuda) for case in cases("published", (128,), compiled=compiled, device=cuda)]
    print(f"{'case':<52} {'ours_ms':>9} {'peer_ms':>9} {'ratio':>7}  with 95 % intervals", flush=True)
    for case, device in plan:
        if args.only in case.name:
            rows.append(measure(case, rounds=args.rounds, seconds=args.seconds, device=device))
            print(line(rows[-1]), flush=True)
    if not rows:
        parser.error(f"no case matches {args.only!r}")
    if args.folder or not args.only:
        folder = args.folder or FOLDER
        path = save_results(
            "bench", {"rows": rows, "precision": torch.get_float32_matmul_precision(), "load": load}, sources=SOURCES,
            command=" ".join(["python -m tests.benchmarks", *given]), seeds=[0, 1], libraries=("torch", "diffusers"),
            folder=folder,
        )  # fmt: skip
        write_page(load_results("bench", folder=folder), args.page)
        print(f"written: {path} and the table of {args.page}")
    for name in slower(rows):
        print(f"SLOWER than the peer by more than {BAR - 1:.0%}: {name}")
    return 1 if slower(rows) else 0

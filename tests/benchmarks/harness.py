"""Run the cases of each family, print `case ours_ms peer_ms ratio`, write data and tables of book/performance.md."""

import argparse
import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from genai_utils.metrics.speed import compare, peak_memory
from genai_utils.results import FOLDER, load_results, save_results
from tests.benchmarks.cases import EQUAL, Case

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "book" / "performance.md"
BAR = 1.03  # never slower than the peer by more than this, at equal numerics
TIMED = 0.03  # seconds; shorter calls are timed several at once

# Dense peak rates of tensor cores in FLOP/s, from the makers' data sheets; float32 is the rate without TF32
PEAKS = {
    "H200": {"bf16": 989e12, "float32": 67e12}, "H100": {"bf16": 989e12, "float32": 67e12},
    "A100": {"bf16": 312e12, "float32": 19.5e12}, "L4": {"bf16": 121e12, "float32": 30.3e12},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CaseWithBar(Case):
    """A case whose ratio is held to a bar of its own, or which does not count images."""

    bar: float = BAR  # largest ratio that is not slower
    unit: str = "images"  # what `items` counts


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The cases of one family, and where their numbers go."""

    name: str  # of the family; for --suite, and in the markers of its table
    result: str  # its file in genai_utils/results, without the ending
    sources: tuple[str, ...]  # files that the numbers depend on, from the root
    libraries: tuple[str, ...]  # packages whose versions matter
    plan: Callable[..., Iterable[Case]]  # plan(device, tiny=, with_compile=): the rows of one device
    seconds: float  # about how long to spend on a case

    @property
    def markers(self) -> tuple[str, str]:
        """The lines of book/performance.md between which its table stands."""
        return f"% {self.name}: written by `make bench` from here", f"% {self.name}: to here"


def measure(case: Case, *, rounds: int, seconds: float, device: torch.device) -> dict:
    """Return the row of one case: medians with intervals, and how exactly the two sides agreed.

    Args:
        rounds: most rounds to run; at least 9 of them are run whatever they take.
        seconds: about how long to spend; fewer rounds are run of a slow case.
    Raises:
        RuntimeError: the two sides do not do the same work.
    """
    if not isinstance(case, CaseWithBar):
        case = CaseWithBar(**vars(case))
    pair = case.build()
    if not pair.error <= (limit := EQUAL[case.peak]):  # nan is no agreement
        raise RuntimeError(f"{case.name}: ours and the peer's differ by {pair.error:.2g}, more than {limit}: not timed")
    notes = "; ".join(filter(None, (pair.note, f"at most {case.bar:.3g}" if case.bar != BAR else "")))
    name = f"{case.name} ({notes})" if notes else case.name
    for fn in (pair.ours, pair.peer):  # allocation, compilation, caches
        fn(), fn()
    once, peer_once = _once(pair.ours, device), _once(pair.peer, device)
    calls = max(1, round(TIMED / once))
    longest = int(seconds / (calls * (2 * once + peer_once)))  # a round is ours twice and the peer
    rounds = max(9, min(rounds, longest)) if rounds >= 9 else rounds
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    result = compare(pair.ours, pair.peer, rounds=rounds, warmup=1, calls=calls)
    row = {"case": name, "device": device.type, "n": rounds, "error": pair.error, "flops": pair.flops,
           "bar": case.bar, "unit": case.unit}  # fmt: skip
    for field in ("ours_ms", "peer_ms", "ratio", "noise"):
        estimate = getattr(result, field)
        row[field] = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    row["per_second"] = 1e3 * pair.items / result.ours_ms.value
    if device.type == "cuda":
        row["peak_memory_mib"] = peak_memory()["cuda"] / 2**20
        rate = next((v for k, v in PEAKS.items() if k in torch.cuda.get_device_name()), {}).get(case.peak)
        row["mfu"] = pair.flops / (result.ours_ms.value / 1e3) / rate if rate else None
    return row


def _once(run: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def line(row: dict) -> str:
    """Return the row as `case ours_ms peer_ms ratio`, with the interval of the ratio and the A/A row."""
    r, noise = row["ratio"], row["noise"]
    text = f"{row['case']:<52} {_ms(row['ours_ms']):>9} {_ms(row['peer_ms']):>9} {r['value']:>7.3f}"
    text += f"  [{r['low']:.3f}, {r['high']:.3f}]  A/A [{noise['low']:.3f}, {noise['high']:.3f}]  n={row['n']}"
    if "mfu" in row:
        mfu = f"{row['mfu']:.1%}" if row["mfu"] else "unknown"
        text += f"  MFU {mfu}  {row['peak_memory_mib']:.0f} MiB"
    return f"{text}  {_rate(row)} {_unit(row)}/s"


def slower(rows: list[dict]) -> list[str]:
    """Return the cases in which we are surely slower than the bar allows: the whole interval lies above it."""
    return [row["case"] for row in rows if row["ratio"]["low"] > row["bar"]]


def table(results: dict) -> str:
    """Return the Markdown that book/performance.md shows for these results."""
    lines = [f"Measured on {results['hardware']} by `{results['command']}`, with "
             + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
             + f", matrix products at precision \"{results['values']['precision']}\". The machine's load when it "
             + f"began: {results['values']['load']}.", ""]  # fmt: skip
    for device, title in (("cpu", "One CPU thread"), ("cuda", "One GPU")):
        rows = [row for row in results["values"]["rows"] if row["device"] == device]
        gpu, units = device == "cuda", sorted({_unit(row) for row in rows})
        mixed = len(units) > 1  # then each row names its own
        if rows:
            rate = "a second" if mixed else f"{units[0]}/s"
            lines += [f"**{title}**", ""]
            lines += ["| case | ours, ms | peer, ms | ratio | interval of the ratio | ours against ours | rounds |"
                      + f" {rate} |" + " MFU | peak memory, MiB |" * gpu]  # fmt: skip
            lines += ["|---|--:|--:|--:|--:|--:|--:|--:|" + "--:|--:|" * gpu]
            lines += [_table_row(row, mixed) for row in rows] + [""]
    return "\n".join(lines).rstrip()


def _table_row(row: dict, mixed: bool) -> str:
    r, noise = row["ratio"], row["noise"]
    text = f"| {row['case']} | {_ms(row['ours_ms'])} | {_ms(row['peer_ms'])} "
    text += f"| {r['value']:.3f} | {r['low']:.3f} to {r['high']:.3f} "
    text += f"| {noise['low']:.3f} to {noise['high']:.3f} | {row['n']} | {_rate(row)}{f' {_unit(row)}' * mixed} |"
    if row["device"] == "cuda":
        mfu = f"{row['mfu']:.1%}" if row["mfu"] else "unknown"
        text += f" {mfu} | {row['peak_memory_mib']:.0f} |"
    return text


def _ms(time: dict) -> str:
    return f"{time['value']:.1f}" if time["value"] >= 10 else f"{time['value']:.2f}"


def _rate(row: dict) -> str:
    return f"{row['per_second']:.0f}" if row["per_second"] >= 10 else f"{row['per_second']:.1f}"


def _unit(row: dict) -> str:
    return row.get("unit", "images")


def write_page(suite: Suite, results: dict, page: Path = PAGE) -> None:
    """Put the suite's table between its markers on the page; everything else on it stays."""
    text, (begin, end) = page.read_text(), suite.markers
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page} must hold the lines {begin!r} and {end!r} once each")
    before, rest = text.split(begin)
    page.write_text(f"{before}{begin}\n\n{table(results)}\n\n{end}{rest.split(end)[1]}")


def keep_freed_memory() -> None:
    """Let this process keep the memory that a call frees, for the next call: rows of a few ms else time page faults."""
    if os.name == "posix" and hasattr(libc := ctypes.CDLL(None), "mallopt"):  # glibc
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 2**25)  # bytes, the largest it takes
        libc.mallopt(m_trim_threshold, 2**30)


def main(suites: Sequence[Suite], argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--suite", choices=[suite.name for suite in suites], help="run one family only")
    parser.add_argument("--rounds", type=int, default=40, help="most rounds per case (40)")
    parser.add_argument("--seconds", type=float, help="about how long to spend on a case (each suite has its own)")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--only", default="", help="part of a case's name; without --folder, nothing is written")
    parser.add_argument("--tiny", action="store_true", help="networks too small to say anything: tries the benchmark")
    parser.add_argument("--folder", type=Path, help=f"where to write the results ({FOLDER.relative_to(ROOT)})")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page whose tables to write")
    given = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    devices = [torch.device(name) for name in ["cpu"] + ["cuda"] * torch.cuda.is_available()]
    command = " ".join(["python -m tests.benchmarks", *given])
    print(f"{'case':<52} {'ours_ms':>9} {'peer_ms':>9} {'ratio':>7}  with 95 % intervals", flush=True)
    found = []
    for suite in suites:
        if args.suite not in (None, suite.name):
            continue
        load = ", ".join(f"{v:.1f}" for v in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
        rows, seconds = [], suite.seconds if args.seconds is None else args.seconds
        for device in devices:
            for case in suite.plan(device, tiny=args.tiny, with_compile=not args.no_compile):
                if args.only in case.name:
                    rows.append(measure(case, rounds=args.rounds, seconds=seconds, device=device))
                    print(line(rows[-1]), flush=True)
        if rows and (args.folder or not args.only):
            folder = args.folder or FOLDER
            values = {"rows": rows, "precision": torch.get_float32_matmul_precision(), "load": load}
            path = save_results(
                suite.result, values, sources=suite.sources, command=command, seeds=[0, 1], libraries=suite.libraries,
                folder=folder,
            )  # fmt: skip
            write_page(suite, load_results(suite.result, folder=folder), args.page)
            print(f"written: {path} and its table in {args.page}", flush=True)
        found += rows
    if not found:
        parser.error(f"no case matches {args.only!r}")
    for name in slower(found):
        print(f"SLOWER than the bar allows ({BAR:g} times the peer, unless the row says): {name}")
    return 1 if slower(found) else 0

"""Quantise in two processes (gloo, on the CPU); test_quantize.py starts one of these for each and judges them.

    python tests/nn/two_processes.py FOLDER RANK
"""

import sys
from pathlib import Path

import torch
from torch import distributed

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from genai_utils.nn import VectorQuantizer


def main(folder, rank):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(0)  # the same codebook in both ...
    start = VectorQuantizer(6, 3, decay=0.7).double()
    with torch.no_grad():
        start.codebook.copy_(torch.randn(6, 3))
        start.codebook[4:] = 30.0  # which no vector chooses
        start.total.copy_(start.codebook)
    plain, restarting = (VectorQuantizer(6, 3, decay=0.7, restart=r).double() for r in (0.0, 0.3))
    for quantize in (plain, restarting):
        quantize.load_state_dict(start.state_dict())
    torch.manual_seed(1 + rank)  # ... but other vectors, and other draws
    seen = [torch.randn(2, 3, 4, 4, dtype=torch.float64) for _ in range(5)]
    books = []
    for h in seen:
        plain(h)
        restarting(h)
        books.append(restarting.codebook.clone())
    distributed.destroy_process_group()
    end = {
        "start": start.state_dict(), "plain": plain.state_dict(), "restarting": restarting.state_dict(),
        "seen": torch.stack(seen), "after one": books[0],
    }  # fmt: skip
    torch.save(end, Path(folder) / f"end-{rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""Train the T5 of chapter 06: `python -m tools.recipes.t5`.

"t5-text-to-text" does three tasks that a prefix names: it says dates, times, numbers and sums of money in words, tells
what happened in a tale in one sentence, and answers questions about a tale. It is scored by exact match on unseen items
as it ships, rounded to fp16. About 25 minutes on one CPU core; interrupted, it resumes from runs/t5-text-to-text.pt.
"""

import argparse
import copy
from collections import Counter, defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

from genai_utils.core import pick_device, seed_all
from genai_utils.data import Batches, ByteBPE, load, padded
from genai_utils.metrics import share_estimate
from genai_utils.training import adamw, fit, make_step, warmup_cosine
from genai_utils.transformer.beam import beam_search
from genai_utils.transformer.seq2seq import seq2seq_loss
from genai_utils.transformer.t5 import T5, T5Config
from genai_utils.weights import save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json

COMMAND = "python -m tools.recipes.t5"
NAME = "t5-text-to-text"
SIZES = {"d_model": 128, "d_head": 16, "d_ff": 384, "n_layers": 3, "n_decoder_layers": 3, "n_heads": 8}
SEED, STEPS, RATE = 0, 3_000, 1e-3  # 3e-3 with 4 heads: 4 % right after 1,500 updates
VOCAB, SENTINELS = 512, 16
SPECIALS = ("<pad>", "</s>", *(f"<extra_id_{k}>" for k in range(SENTINELS)))
TURNS = ("say", "answer", "say", "summarise")  # one task each batch: its rows are of like length
ROWS = {"say": 64, "summarise": 16, "answer": 32}  # of a batch: a tale is long
TRAIN, TEST = {"say": 60_000, "summarise": 10_000, "answer": 20_000}, 1_000
LONGEST = 48  # tokens of an answer

Pairs = list[tuple[str, str]]  # what the encoder reads, and what is to be written


def tasks(split: str, sizes: dict[str, int]) -> dict[str, Pairs]:
    """Return the tasks by name: pairs of a source, with the task's prefix, and its target."""
    spoken = load("spoken_forms", split, n=sizes["say"])
    told = load("tale_summaries", split, n=sizes["summarise"])
    asked = load("tale_questions", split, n=sizes["answer"])
    return {
        "say": [(f"say: {written}", words) for written, words in zip(spoken.sources, spoken.targets)],
        "summarise": [(f"summarise: {story}", summary) for story, summary in zip(told.sources, told.targets)],
        "answer": [
            (f"answer: {question} tale: {story}", answer)
            for story, question, answer in zip(asked.stories, asked.questions, asked.answers)
        ],
    }


def train_tokenizer(data: dict[str, Pairs]) -> ByteBPE:
    """Return a tokenizer that joins no digits: it has seen stories and spoken words, in which there are none."""
    said = [target for _, target in data["say"][:8_000]]
    told = [source.partition(" tale: ")[2] for source, _ in data["answer"][:1_000]]
    asked = [source.partition(" tale: ")[0] for source, _ in data["answer"][:1_000]]
    summed = [target for _, target in data["summarise"][:1_000]]
    text = "\n".join([*said, *told, *asked, *summed])
    return ByteBPE.train("".join(c for c in text if not c.isdigit()), vocab=VOCAB, specials=SPECIALS)


class Turns:
    """An endless iterator over batches of several tasks, in turns; it has a state, so that a run can be resumed."""

    def __init__(self, batches: dict[str, Batches]) -> None:
        self.batches, self.turn = batches, 0

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> tuple[Tensor, Tensor, Tensor]:
        task = TURNS[self.turn % len(TURNS)]
        self.turn += 1
        return next(self.batches[task])

    def state_dict(self) -> dict:
        return {"turn": self.turn} | {name: each.state_dict() for name, each in self.batches.items()}

    def load_state_dict(self, state: dict) -> None:
        self.turn = state["turn"]
        for name, each in self.batches.items():
            each.load_state_dict(state[name])


def task_batches(pairs: Pairs, rows: int, tokenizer: ByteBPE, device: torch.device) -> Batches:
    """Return batches (source, mask, targets) of `rows` items of one task; sources and targets are closed by </s>."""
    end = torch.tensor([SPECIALS.index("</s>")])
    encoded = [[torch.cat([tokenizer.encode(text), end]) for text in pair] for pair in pairs]

    def pick(which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sources, targets = zip(*(encoded[i] for i in which.tolist()))
        source, mask = padded(sources, 0)
        return source.to(device), mask.to(device), padded(targets, 0)[0].to(device)

    return Batches(pick, len(encoded), rows, SEED)


def train(data: dict[str, Pairs], tokenizer: ByteBPE, steps: int) -> T5:
    """Train to the end; return a copy rounded to the fp16 in which it ships, in evaluation mode, on the CPU."""
    seed_all(SEED)
    device = pick_device()
    model = T5(T5Config(vocab=tokenizer.vocab, **SIZES)).to(device)
    batches = Turns({name: task_batches(pairs, ROWS[name], tokenizer, device) for name, pairs in data.items()})
    opt = adamw(model, RATE, weight_decay=0.01)
    step = make_step(model, seq2seq_loss, opt, schedule=warmup_cosine(opt, steps))
    rows = fit(step, batches, steps=steps, every=100, checkpoint=f"runs/{NAME}.pt")
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit("stopped before the end: nothing written. Run it again to go on")
    return copy.deepcopy(model).cpu().half().float().eval()


@torch.no_grad()
def write(model: T5, tokenizer: ByteBPE, sources: list[str], rows: int = 100) -> list[str]:
    """Return the model's likeliest answer to each source, token by token."""
    end, texts = torch.tensor([model.cfg.end]), []
    for i in range(0, len(sources), rows):
        encoded = [torch.cat([tokenizer.encode(text), end]) for text in sources[i : i + rows]]
        source, mask = padded(encoded, model.cfg.pad)
        start = torch.full((len(source), 1), model.cfg.start)
        state = model.decoding(source, mask, length=LONGEST)
        answers, _ = beam_search(state, start, 1, LONGEST, end=model.cfg.end)
        texts += [tokenizer.decode(row[row != model.cfg.end]) for row in answers]
    return texts


def score(model: T5, tokenizer: ByteBPE, seen: dict[str, Pairs], unseen: dict[str, Pairs]) -> dict:
    """Return for each task the share of exact matches, of the model and of what knows no better.

    `copy` writes what it reads, without the prefix; `lead` the first sentence of it; `commonest` the target that was
    commonest in training, for questions the commonest answer to that very question.
    """
    found = {}
    for task, pairs in unseen.items():
        sources, targets = zip(*pairs)
        share = lambda guesses, targets=targets: share_estimate(sum(map(str.__eq__, guesses, targets)), len(targets))
        read = [source.partition("tale: " if task == "answer" else ": ")[2] for source in sources]
        counts = defaultdict(Counter)
        for source, target in seen[task]:
            counts[_question(task, source)][target] += 1
        common = [next(iter(counts[_question(task, s)].most_common(1)), ("", 0))[0] for s in sources]
        found |= {
            f"{task}_exact_match": share(write(model, tokenizer, list(sources))),
            f"{task}_copy": share(read),
            f"{task}_lead": share([text.partition(". ")[0].removesuffix(".") + "." for text in read]),
            f"{task}_commonest": share(common),
        }
    return as_json(found)


def _question(task: str, source: str) -> str:
    return source.partition(" tale: ")[0] if task == "answer" else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help=f"updates (default {STEPS})")
    args = parser.parse_args()
    seen, drawn = tasks("train", TRAIN), tasks("test", dict.fromkeys(TRAIN, 2 * TEST))
    known = {pair for pairs in seen.values() for pair in pairs}  # a short tale may be in both splits
    unseen = {task: [pair for pair in pairs if pair not in known][:TEST] for task, pairs in drawn.items()}
    tokenizer = train_tokenizer(seen)
    model = train(seen, tokenizer, args.steps)
    found = score(model, tokenizer, seen, unseen)
    names = ("spoken_forms", "tale_summaries", "tale_questions")
    data = ", ".join(f"{name} {n:,}" for name, n in zip(names, TRAIN.values()))
    save_weights(
        NAME, model, command=COMMAND, data=data, terms="MIT", seed=SEED, score={"command": COMMAND} | found,
        hardware=hardware(), dtype=torch.float16, tokenizer=tokenizer,
    )  # fmt: skip
    print(NAME, *(f"{key}: {value}" for key, value in found.items()), sep="\n  ")


if __name__ == "__main__":
    main()

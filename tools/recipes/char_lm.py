"""Train the language models of chapter 02: `python -m tools.recipes.char_lm`, or with `--only` one of them.

"lstm-tales" is an LSTM on tales, whose exact floor it is measured against; "lstm-shakespeare" a larger one on real
text, beside a unigram and a 5-gram model of the same characters. Both are scored as they ship, rounded to fp16. About
5 and 25 minutes on one CPU core; interrupted, it resumes from runs/lstm-tales.pt and runs/lstm-shakespeare.pt.
"""

import argparse
import copy
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from genai_utils.autoregressive.char_lm import (
    CarriedState, RecurrentLM, RecurrentLMConfig, lm_loss, log_prob, sample_tokens,
)  # fmt: skip
from genai_utils.core import pick_device, seed_all
from genai_utils.data import CharTokenizer, StreamBatches, TextSet, load
from genai_utils.data.sets import Batches
from genai_utils.data.tales import END, derivations, ending, floor_per_character
from genai_utils.data.tales import log_prob as exact_log_prob
from genai_utils.metrics import Estimate, mean_estimate, share_estimate
from genai_utils.training import adamw, fit, make_step, warmup_cosine
from genai_utils.weights import save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json

COMMAND = "python -m tools.recipes.char_lm"
STORIES = 40_000  # to train on
TALES = {"d_embed": 32, "d_hidden": 192, "n_layers": 1}
SHAKESPEARE = {"d_embed": 64, "d_hidden": 320, "n_layers": 2, "dropout": 0.3}
SEED, ROWS = 0, 32
WINDOW = 256  # characters of a story and what follows it: 203 on average
SAMPLES = 1_000  # stories that the score rests on
BLOCK = 1_000  # characters whose mean counts as one value: neighbours are not independent
Z = 1.96  # standard errors to either side of a 95 % interval


def train_tales(data: TextSet, steps: int) -> RecurrentLM:
    """Return a model trained on windows that begin where a story ends, from an empty state, as it will write."""
    seed_all(SEED)
    tokenizer, device = CharTokenizer.of(data.text), pick_device()
    tokens = data.tokens(tokenizer)
    ends = (tokens == tokenizer.encode(END)).nonzero()[:, 0]
    ends = ends[ends + WINDOW < len(tokens)].to(device)
    windows = tokens.to(device).unfold(0, WINDOW + 1, 1)  # a view: window i starts at character i
    pick = lambda which: (windows[ends[which], :-1], windows[ends[which], 1:])
    model = RecurrentLM(RecurrentLMConfig(alphabet=tokenizer.alphabet, **TALES)).to(device)
    opt = adamw(model, 4e-3, weight_decay=0.01)
    step = make_step(model, lm_loss, opt, schedule=warmup_cosine(opt, steps), amp=torch.bfloat16)
    return run("lstm-tales", model, step, Batches(pick, len(ends), ROWS, SEED, device), steps)


def train_shakespeare(data: TextSet, steps: int) -> RecurrentLM:
    """Return a model trained by truncated back-propagation on text read in order, with a carried state."""
    seed_all(SEED)
    tokenizer, device = CharTokenizer.of(data.text), pick_device()
    model = RecurrentLM(RecurrentLMConfig(alphabet=tokenizer.alphabet, **SHAKESPEARE)).to(device)
    batches = StreamBatches(data.tokens(tokenizer).to(device), ROWS, 128)
    opt, carried = adamw(model, 3e-3, weight_decay=0.01), CarriedState()
    step = make_step(model, carried.loss, opt, schedule=warmup_cosine(opt, steps), amp=torch.bfloat16)
    step.parts["carried"] = carried
    return run("lstm-shakespeare", model, step, batches, steps)


def run(name: str, model: RecurrentLM, step: Callable, batches: Iterator, steps: int) -> RecurrentLM:
    """Train to the end; return a copy rounded to the fp16 in which it ships, in evaluation mode, on the CPU."""
    rows = fit(step, batches, steps=steps, every=100, checkpoint=f"runs/{name}.pt")
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit("stopped before the end: nothing written. Run it again to go on")
    return copy.deepcopy(model).cpu().half().float().eval()


@torch.no_grad()
def score_tales(model: RecurrentLM, seen: TextSet, test: TextSet) -> dict:
    """Measure a model of tales: nats above the floor, the word that only the beginning tells, and stories it writes."""
    tokenizer = CharTokenizer(model.cfg.alphabet)
    log_q = torch.cat([log_prob(model, tokenizer.encode(s + END)[None]) for s in test.documents]).double()
    log_p = torch.tensor([exact_log_prob(s) for s in test.documents], dtype=torch.float64)
    lengths = torch.tensor([len(s) + 1 for s in test.documents])
    drawn = write_stories(model, SAMPLES)
    known = set(seen.documents)
    fit_in = [story for story in drawn if story and derivations(story)]
    return {"floor_nats_per_character": round(floor_per_character(), 5)} | as_json({
        "nats_per_character": per_character(-log_q, lengths),
        "nats_above_floor": per_character(log_p - log_q, lengths),
        "last_word": share_estimate(sum(knows_last_word(model, tokenizer, s) for s in test.documents), len(log_q)),
        "accepted": share_estimate(len(fit_in), SAMPLES),
        "accepted_and_new": share_estimate(sum(story not in known for story in fit_in), SAMPLES),
    })  # fmt: skip


def per_character(nats: Tensor, lengths: Tensor) -> Estimate:
    """Return the sum of nats (N,) over that of lengths (N,), with the interval of such a ratio over N stories."""
    ratio = nats.sum() / lengths.sum()
    half = Z * (nats - ratio * lengths).std() / math.sqrt(len(nats)) / lengths.double().mean()
    return Estimate(value=ratio.item(), low=(ratio - half).item(), high=(ratio + half).item(), n=len(nats))


def knows_last_word(model: RecurrentLM, tokenizer: CharTokenizer, story: str) -> bool:
    """Say whether the model, taking the likeliest character each time, closes the story with the word it asks for."""
    told = len(ending(story).beginning) + 1  # up to the space before the last word
    tokens = tokenizer.encode(END + story)[None]
    logits, _ = model(tokens[:, :-1])
    return bool((logits[0, told:].argmax(1) == tokens[0, told + 1 :]).all())


def write_stories(model: RecurrentLM, n: int, longest: int = 1_000) -> list[str]:
    """Return n stories drawn at temperature 1, without END; one that has not ended by then is ""."""
    tokenizer = CharTokenizer(model.cfg.alphabet)
    prompt = tokenizer.encode(END)[None].expand(n, 1)
    rows, ended = [], torch.zeros(n, dtype=torch.bool)
    for tokens, _ in sample_tokens(model, prompt, longest, generator=torch.Generator().manual_seed(SEED)):
        rows.append(tokens)
        ended |= tokens == prompt[0, 0]
        if ended.all():
            break
    texts = [tokenizer.decode(tokens) for tokens in torch.stack(rows, dim=1)]
    return [text.partition(END)[0] if END in text else "" for text in texts]


@torch.no_grad()
def score_shakespeare(model: RecurrentLM, train: TextSet, test: TextSet) -> dict:
    """Measure a model of real text: nats per character of the test part, read from its beginning to its end."""
    tokenizer = CharTokenizer(model.cfg.alphabet)
    tokens, state, found = tokenizer.encode(test.text), None, []
    for part, targets in zip(tokens[:-1].split(BLOCK), tokens[1:].split(BLOCK)):
        logits, state = model(part[None], state)
        found.append(torch.nn.functional.cross_entropy(logits[0], targets, reduction="none"))
    scores = {
        "nats_per_character": torch.cat(found),
        "five_gram_nats_per_character": n_gram_nats(train.text, test.text, 5, model.vocab),
        "unigram_nats_per_character": n_gram_nats(train.text, test.text, 1, model.vocab),
    }
    return as_json({name: over_blocks(nats) for name, nats in scores.items()}) | {"characters": len(tokens) - 1}


def over_blocks(nats: Tensor) -> Estimate:
    """Return the mean over characters, with the interval that the means of whole blocks of 1,000 have."""
    blocks = nats[: len(nats) // BLOCK * BLOCK].view(-1, BLOCK).mean(1)
    return mean_estimate(blocks)


def n_gram_nats(train: str, test: str, order: int, vocab: int) -> Tensor:
    """Return -log p of every character of test but the first, in nats: an n-gram model, interpolated with all shorter.

    The share of the shorter model is types / (types + count) of a context, with types the number of distinct
    characters that followed it: Witten & Bell 1991, IEEE Trans. Information Theory 37(4), method C.
    """
    p = torch.full((len(test) - 1,), 1 / vocab, dtype=torch.float64)
    for k in range(order):  # characters of context
        after = defaultdict(Counter)
        for i in range(k, len(train)):
            after[train[i - k : i]][train[i]] += 1
        total = {context: (sum(counts.values()), len(counts)) for context, counts in after.items()}
        for i in range(1, len(test)):
            context = test[i - k : i]
            if i >= k and context in total:
                count, types = total[context]
                p[i - 1] = (after[context][test[i]] + types * p[i - 1].item()) / (count + types)
    return -p.log()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("tales", "shakespeare"), help="train one of the two")
    parser.add_argument("--tales-steps", type=int, default=3_000, help="updates on tales (default 3000)")
    parser.add_argument("--shakespeare-steps", type=int, default=5_500, help="updates on Shakespeare (default 5500)")
    args = parser.parse_args()
    if args.only != "shakespeare":
        data, test = load("tales", n=STORIES), load("tales", "test")
        model = train_tales(data, args.tales_steps)
        finish("lstm-tales", model, score_tales(model, data, test), f"tales, {STORIES:,} stories", "MIT")
    if args.only != "tales":
        data, test = load("tiny_shakespeare"), load("tiny_shakespeare", "test")
        model = train_shakespeare(data, args.shakespeare_steps)
        score = score_shakespeare(model, data, test)
        finish("lstm-shakespeare", model, score, "tiny_shakespeare, first 90 %", "public domain")


def finish(name: str, model: RecurrentLM, score: dict, data: str, terms: str) -> None:
    """Write the weights and their registry entry, and print the score."""
    save_weights(
        name, model, command=COMMAND, data=data, terms=terms, seed=SEED, score={"command": COMMAND} | score,
        hardware=hardware(), dtype=torch.float16,
    )  # fmt: skip
    print(name, *(f"{key}: {value}" for key, value in score.items()), sep="\n  ")


if __name__ == "__main__":
    main()

"""Train the language models of chapter 04: `python -m tools.recipes.gpt`, or with `--only` one of them.

"gpt-tales" is a small GPT on tales, whose exact floor it is measured against; "gpt-shakespeare" one on real text. Both
read tokens of a byte-pair encoding that was learnt from their training text, and ship with it; both are scored as they
ship, rounded to fp16, per character, as the models of chapter 02 are. About 20 and 40 minutes on one CPU core;
interrupted, it resumes from runs/gpt-tales.pt and runs/gpt-shakespeare.pt.
"""

import argparse

import torch
from torch import Tensor
from torch.nn import functional as F

from genai_utils.core import pick_device, seed_all
from genai_utils.data import TextSet, load
from genai_utils.data.bpe import ByteBPE
from genai_utils.data.sets import Batches
from genai_utils.data.tales import END, derivations, ending, entropy, floor_per_character
from genai_utils.data.tales import log_prob as exact_log_prob
from genai_utils.metrics import Estimate, mean_estimate, share_estimate
from genai_utils.training import adamw, make_step, warmup_cosine
from genai_utils.transformer.decoding import sample_tokens
from genai_utils.transformer.gpt import GPT, GPTConfig, gpt_loss, log_prob
from genai_utils.weights import save_weights
from tools.recipes import hardware
from tools.recipes.char_lm import BLOCK, SAMPLES, SEED, STORIES, per_character, run
from tools.recipes.score import as_json

COMMAND = "python -m tools.recipes.gpt"
TALES = {"context": 160, "d_model": 128, "n_layers": 4, "n_heads": 4}  # no story of 11,000 has more than 151 tokens
SHAKESPEARE = {"context": 128, "d_model": 192, "n_layers": 4, "n_heads": 6}
DROPOUT = {"dropout": 0.15, "embed_dropout": 0.15, "attention_dropout": 0.0}  # of Shakespeare, read some fifteen times
VOCAB = 512
LEARNT_FROM = 400_000  # characters of tales that the byte-pair encoding is learnt from
TALES_ROWS, SHAKESPEARE_ROWS = 16, 32


def train_tales(data: TextSet, tokenizer: ByteBPE, steps: int) -> GPT:
    """Return a model trained on windows that begin where a story ends, as it will write."""
    seed_all(SEED)
    device, cfg = pick_device(), GPTConfig(vocab=tokenizer.vocab, **TALES)
    tokens = data.tokens(tokenizer)
    ends = (tokens == end_of_story(tokenizer)).nonzero()[:, 0]
    ends = ends[ends + cfg.context < len(tokens)].to(device)
    model = GPT(cfg).to(device)
    opt = adamw(model, 2e-3, weight_decay=0.05)
    step = make_step(model, gpt_loss, opt, schedule=warmup_cosine(opt, steps))
    return run("gpt-tales", model, step, windows(tokens.to(device), ends, cfg.context, TALES_ROWS), steps)


def train_shakespeare(data: TextSet, tokenizer: ByteBPE, steps: int) -> GPT:
    """Return a model trained on windows from everywhere in the text."""
    seed_all(SEED)
    device, cfg = pick_device(), GPTConfig(vocab=tokenizer.vocab, **SHAKESPEARE, **DROPOUT)
    tokens = data.tokens(tokenizer).to(device)
    model = GPT(cfg).to(device)
    opt = adamw(model, 2e-3, weight_decay=0.1)
    step = make_step(model, gpt_loss, opt, schedule=warmup_cosine(opt, steps))
    starts = torch.arange(len(tokens) - cfg.context, device=device)
    return run("gpt-shakespeare", model, step, windows(tokens, starts, cfg.context, SHAKESPEARE_ROWS), steps)


def windows(tokens: Tensor, starts: Tensor, length: int, rows: int) -> Batches:
    """Return batches (tokens, targets), each (rows, length), of windows that begin at `starts`."""
    cut = tokens.unfold(0, length + 1, 1)  # a view: window i starts at token i
    pick = lambda which: (cut[starts[which], :-1], cut[starts[which], 1:])
    return Batches(pick, len(starts), rows, SEED, tokens.device)


def end_of_story(tokenizer: ByteBPE) -> int:
    """Return the token of END, which is one token in every story."""
    (token,) = tokenizer.encode(END).tolist()
    return token


@torch.no_grad()
def score_tales(model: GPT, tokenizer: ByteBPE, seen: TextSet, test: TextSet) -> dict:
    """Measure a model of tales: nats above the floor, the word that only the beginning tells, and stories it writes."""
    prompt = tokenizer.encode(END)[None]
    stories = [tokenizer.encode(s + END)[None] for s in test.documents]
    log_q = torch.cat([log_prob(model, story, prompt) for story in stories]).double()
    log_p = torch.tensor([exact_log_prob(s) for s in test.documents], dtype=torch.float64)
    lengths = torch.tensor([len(s) + 1 for s in test.documents])
    drawn = write_stories(model, tokenizer, SAMPLES)
    known = set(seen.documents)
    fit_in = [story for story in drawn if story and derivations(story)]
    floors = {"floor_nats_per_character": round(floor_per_character(), 5), "entropy_of_a_story": round(entropy(), 4)}
    return floors | as_json({
        "nats_per_character": per_character(-log_q, lengths),
        "nats_above_floor": per_character(log_p - log_q, lengths),
        "nats_of_a_story_above_floor": mean_estimate(log_p - log_q),
        "last_word": share_estimate(sum(knows_last_word(model, tokenizer, s) for s in test.documents), len(log_q)),
        "accepted": share_estimate(len(fit_in), SAMPLES),
        "accepted_and_new": share_estimate(sum(story not in known for story in fit_in), SAMPLES),
    })  # fmt: skip


def knows_last_word(model: GPT, tokenizer: ByteBPE, story: str) -> bool:
    """Say whether the model, taking the likeliest token each time, closes the story with the word it asks for."""
    told = len(tokenizer.encode(END + ending(story).beginning))  # the last word begins a piece: its tokens follow
    tokens = tokenizer.encode(END + story)[None]
    logits = model(tokens[:, :-1])
    return bool((logits[0, told - 1 :].argmax(1) == tokens[0, told:]).all())


def write_stories(model: GPT, tokenizer: ByteBPE, n: int) -> list[str]:
    """Return n stories drawn at temperature 1, without END; one that has not ended within the context is ""."""
    context, end = model.cfg.context, end_of_story(tokenizer)
    prompt = torch.full((n, 1), end)
    generator = torch.Generator().manual_seed(SEED)
    drawn = sample_tokens(model.decoding(n, context), prompt, context, end=end, generator=generator)
    texts = [tokenizer.decode(tokens) for tokens in torch.stack([tokens for tokens, _ in drawn], dim=1)]
    return [text.partition(END)[0] if END in text else "" for text in texts]


@torch.no_grad()
def score_shakespeare(model: GPT, tokenizer: ByteBPE, test: TextSet) -> dict:
    """Measure a model of real text: nats per character of the test part, all but its first character."""
    tokens = tokenizer.encode(test.text)
    if tokenizer.decode(tokens[:1]) != test.text[:1]:
        raise ValueError(
            f"the test part must begin with a token of one character, not {tokenizer.decode(tokens[:1])!r}"
        )
    nats, lengths = token_nats(model, tokens), torch.tensor([len(tokenizer.decode(t[None])) for t in tokens[1:]])
    if (characters := int(lengths.sum())) != len(test.text) - 1:
        raise ValueError(f"the tokens spell {characters} characters, not {len(test.text) - 1}: some hold parts of one")
    return as_json({"nats_per_character": over_blocks(nats, lengths)}) | {"characters": characters, "tokens": len(nats)}


def token_nats(model: GPT, tokens: Tensor) -> Tensor:
    """Return -log p of every token but the first, (N - 1,), each given at least half a context of those before it."""
    context, found = model.cfg.context, []
    for start in range(0, len(tokens) - 1, context // 2):
        part = tokens[start : start + context + 1]
        nats = F.cross_entropy(model(part[None, :-1])[0], part[1:], reduction="none")
        found.append(nats if start == 0 else nats[context // 2 :])  # its first half was scored by the window before
        if start + context + 1 >= len(tokens):
            break
    return torch.cat(found)


def over_blocks(nats: Tensor, lengths: Tensor) -> Estimate:
    """Return nats per character, with the interval that blocks of about 1,000 characters have."""
    block = (lengths.cumsum(0) - 1) // BLOCK  # where each token's last character stands
    total = torch.zeros(int(block[-1]) + 1, dtype=torch.float64)
    return per_character(total.index_add(0, block, nats.double()), total.index_add(0, block, lengths.double()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("tales", "shakespeare"), help="train one of the two")
    parser.add_argument("--tales-steps", type=int, default=2_500, help="updates on tales (default 2500)")
    parser.add_argument("--shakespeare-steps", type=int, default=2_000, help="updates on Shakespeare (default 2000)")
    args = parser.parse_args()
    if args.only != "shakespeare":
        data, test = load("tales", n=STORIES), load("tales", "test")
        tokenizer = ByteBPE.train(data.text[:LEARNT_FROM], vocab=VOCAB)
        model = train_tales(data, tokenizer, args.tales_steps)
        score = score_tales(model, tokenizer, data, test)
        finish("gpt-tales", model, tokenizer, score, f"tales, {STORIES:,} stories", "MIT")
    if args.only != "tales":
        data, test = load("tiny_shakespeare"), load("tiny_shakespeare", "test")
        tokenizer = ByteBPE.train(data.text, vocab=VOCAB)
        model = train_shakespeare(data, tokenizer, args.shakespeare_steps)
        score = score_shakespeare(model, tokenizer, test)
        finish("gpt-shakespeare", model, tokenizer, score, "tiny_shakespeare, first 90 %", "public domain")


def finish(name: str, model: GPT, tokenizer: ByteBPE, score: dict, data: str, terms: str) -> None:
    """Write the weights and their registry entry, and print the score."""
    save_weights(
        name, model, command=COMMAND, data=data, terms=terms, seed=SEED, score={"command": COMMAND} | score,
        hardware=hardware(), dtype=torch.float16, tokenizer=tokenizer,
    )  # fmt: skip
    print(name, *(f"{key}: {value}" for key, value in score.items()), sep="\n  ")


if __name__ == "__main__":
    main()

"""Measure what chapter 04 shows: `python -m tools.results.gpt_04` writes genai_utils/results/04.json.

It needs the shipped gpt-tales, and reads Tiny Shakespeare (a network, or GENAI_DATA) for gpt-shakespeare where that is
shipped. About a quarter of an hour on one CPU thread. Each finished part is kept in runs/ and not measured twice,
unless the sections of this file that measure it, or a source named for it, have changed. With names of parts, such as
`python -m tools.results.gpt_04 facts cache`, it measures these and stops.
"""

import math
import re
from collections import Counter
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from genai_utils.core import seed_all
from genai_utils.data import TextSet, load
from genai_utils.data.bpe import ByteBPE
from genai_utils.data.sets import Batches
from genai_utils.data.tales import END, FACTS, FEMALE, NEVER_TOLD, ending, entropy, floor_per_character
from genai_utils.data.tales import log_prob as exact_log_prob
from genai_utils.metrics import compare, count_flops, mean_estimate, share_estimate
from genai_utils.nn import KVCache, SelfAttention, attention_maps
from genai_utils.results import load_results
from genai_utils.training import EMA, adamw, make_step, warmup_cosine
from genai_utils.transformer.decoding import sample_tokens
from genai_utils.transformer.gpt import GPT, GPTConfig, GPTDecoding, gpt_loss
from genai_utils.weights import load_tokenizer, load_weights
from tools.recipes.char_lm import per_character
from tools.recipes.score import as_json
from tools.parts import main

MODEL = ("genai_utils/transformer/gpt.py", "genai_utils/nn/attention.py")
WRITING, TALES = "genai_utils/transformer/decoding.py", "genai_utils/data/tales.py"
SHIPPED = {name: path for name in ("gpt-tales", "gpt-shakespeare")
           if Path(path := f"genai_utils/weights/{name}.safetensors").exists()}  # fmt: skip
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its sections of this file
    "scaling": (*MODEL, TALES), "breaks": (*MODEL, TALES, WRITING), "induction": MODEL,
    "shipped": (*MODEL, *SHIPPED.values()), "names": (*MODEL, TALES, *SHIPPED.values()),
    "facts": (*MODEL, TALES, SHIPPED["gpt-tales"]), "cache": MODEL,
    "sampling": (*MODEL, TALES, WRITING, SHIPPED["gpt-tales"]),
}  # fmt: skip
RECURRENT = "genai_utils/results/02.json"  # where the LSTM's figures come from
SEEDS = (0, 1, 2)

# ---- scaling, breaks, sampling: tales as tokens, and what a model makes of them

CORPUS = {"stories": 40_000, "learnt_from": 400_000, "vocab": 512, "context": 160, "test": 400}


@cache
def corpus() -> tuple[TextSet, ByteBPE, Tensor]:
    """Return the stories to train on, the byte-pair encoding of the shipped model's recipe, and their tokens."""
    data = load("tales", n=CORPUS["stories"])
    tokenizer = ByteBPE.train(data.text[: CORPUS["learnt_from"]], vocab=CORPUS["vocab"])
    return data, tokenizer, data.tokens(tokenizer)


def windows(rows: int, seed: int) -> Batches:
    """Return batches of windows that begin where a story ends."""
    _, tokenizer, tokens = corpus()
    ends = (tokens == tokenizer.encode(END)).nonzero()[:, 0]
    ends = ends[ends + CORPUS["context"] < len(tokens)]
    cut = tokens.unfold(0, CORPUS["context"] + 1, 1)  # a view: window i starts at token i
    return Batches(lambda which: (cut[ends[which], :-1], cut[ends[which], 1:]), len(ends), rows, seed)


@torch.no_grad()
def above_floor(model: GPT, tokenizer: ByteBPE, stories: tuple[str, ...], rows: int = 50) -> dict[str, float]:
    """Return nats per character of stories, and how far above their exact -log p, story by story."""
    texts = [tokenizer.encode(END + story + END) for story in stories]
    found = []
    for part in (texts[k : k + rows] for k in range(0, len(texts), rows)):
        tokens = pad_sequence([text[:-1] for text in part], True, int(part[0][0]))
        targets = pad_sequence([text[1:] for text in part], True, -100)
        found.append(F.cross_entropy(model(tokens).transpose(1, 2), targets, reduction="none").sum(1))
    nats, lengths = torch.cat(found).double(), torch.tensor([len(story) + 1 for story in stories])
    exact = torch.tensor([-exact_log_prob(story) for story in stories], dtype=torch.float64)
    above = per_character(nats - exact, lengths)
    return {"nats": (nats.sum() / lengths.sum()).item(), "above_floor": above.value,
            "standard_error": (above.high - above.low) / (2 * 1.96)}  # fmt: skip


def write(model: GPT, tokenizer: ByteBPE, n: int, seed: int, **warping: float) -> list[str]:
    """Return n stories that the model writes, without END; one that has not ended within the context is ""."""
    context, end = model.cfg.context, int(tokenizer.encode(END))
    of_heads = [block.attention for block in model.blocks]  # their own widths: `breaks` widens them
    caches = [KVCache(n, heads.n_heads, context, heads.d_head, model.embed.weight) for heads in of_heads]
    g = torch.Generator().manual_seed(seed)
    prompt = torch.full((n, 1), end)
    drawn = sample_tokens(GPTDecoding(model, caches), prompt, context, end=end, generator=g, **warping)
    texts = [tokenizer.decode(tokens) for tokens in torch.stack([tokens for tokens, _ in drawn], dim=1)]
    return [text.partition(END)[0] if END in text else "" for text in texts]


def accepted(stories: list[str]) -> list[str]:
    """Return those that the grammar may write."""
    return [story for story in stories if story and exact_log_prob(story) > -math.inf]


# ---- scaling: size of the model and tokens seen, against nats above the exact floor

SCALING = {"rows": 8, "warmup": 50, "average": 0.98, "steps": (50, 100, 200, 400)}
SIZES = {  # parameters that are no embedding: layers, width, heads, rate, seeds
    "13 k": (1, 32, 2, 4e-3, 3), "57 k": (2, 48, 3, 4e-3, 3), "234 k": (3, 80, 5, 3e-3, 2),
    "793 k": (4, 128, 4, 2e-3, 1),
}  # fmt: skip


def scaling_run(size: str, seed: int) -> dict:
    """Train at a constant rate; score the average of the last fifty weights, or so, at each of `steps`."""
    layers, width, heads, rate, _ = SIZES[size]
    _, tokenizer, _ = corpus()
    test = load("tales", "test", n=CORPUS["test"]).documents
    seed_all(seed)
    cfg = GPTConfig(vocab=CORPUS["vocab"], context=CORPUS["context"], d_model=width, n_layers=layers, n_heads=heads)
    model = GPT(cfg)
    opt, ema = adamw(model, rate, weight_decay=0.01), EMA(model, SCALING["average"])
    warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda i: min(1.0, (i + 1) / SCALING["warmup"]))
    step, batches, found = make_step(model, gpt_loss, opt, schedule=warm, ema=ema), windows(SCALING["rows"], seed), []
    for i in range(1, SCALING["steps"][-1] + 1):
        step(next(batches))
        if i in SCALING["steps"]:
            found.append(above_floor(ema.model, tokenizer, test))
    batch = next(batches)
    return {
        "layers": layers, "width": width, "parameters": sum(p.numel() for p in model.parameters()),
        "non_embedding": sum(p.numel() for p in model.blocks.parameters()),
        "flops_per_token": count_flops(lambda: gpt_loss(model, batch)[0].backward()) / batch[0].numel(),
        "above_floor": [each["above_floor"] for each in found],
        "standard_error": [each["standard_error"] for each in found],
    }  # fmt: skip


# ---- breaks, induction: a start from which a head may look at a place soon


@torch.no_grad()
def ready(model: GPT, size: float) -> GPT:
    """Give a new model positions that are sines times `size`, and queries and keys of unit variance; return it.

    From GPT's own small start every place looks like every other, and "one place back" has to be learnt place by place,
    which takes far longer than what is shown here. Of sines, one place back is a rotation.
    """
    length, width = model.positions.weight.shape
    angles = torch.arange(length)[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
    model.positions.weight.copy_(size * torch.stack([angles.sin(), angles.cos()], -1).flatten(1))
    for block in model.blocks:
        nn.init.normal_(block.attention.qkv.weight, std=width**-0.5)
    return model


# ---- breaks: what becomes of it without the mask, without the scale, without positions

BREAKS = {"width": 64, "layers": 2, "heads": 4, "rows": 8, "steps": 400, "rate": 4e-3, "drawn": 100, "d_head": 256}
VARIANTS = ("whole", "no mask", "no scale", "no positions", "wide", "wide, no scale")


def broken(variant: str) -> GPT:
    """Return a new model with something taken out."""
    width, layers = BREAKS["width"], BREAKS["layers"]
    model = GPT(GPTConfig(vocab=CORPUS["vocab"], context=CORPUS["context"], d_model=width, n_layers=layers,
                          n_heads=BREAKS["heads"]))  # fmt: skip
    for block in model.blocks:
        if variant.startswith("wide"):  # one head
            block.attention = SelfAttention(width, 1, d_head=BREAKS["d_head"], causal=True)
            nn.init.normal_(block.attention.out.weight, std=0.02 * (2 * layers) ** -0.5)
            nn.init.zeros_(block.attention.qkv.bias)
        if variant.endswith("no scale"):
            block.attention.scale = 1.0
        if variant == "no mask":
            block.attention.causal = False
    ready(model, 0.02 * 2**0.5)  # as large as the embeddings
    if variant == "no positions":
        nn.init.zeros_(model.positions.weight).requires_grad_(False)
    return model


@torch.no_grad()
def spread(model: GPT, tokens: Tensor) -> float:
    """Return the mean entropy of a row of attention weights, as a share of what equal weights would have."""
    with attention_maps(model) as maps:
        model(tokens)
    weights = torch.stack([calls[0] for calls in maps.values()])  # (L, B, H, T, S)
    seen = (weights > 0).sum(-1).clamp(min=2) if not model.blocks[0].attention.causal else (
        torch.arange(1, tokens.shape[1] + 1).clamp(min=2))  # fmt: skip
    return (torch.special.entr(weights).sum(-1) / seen.log())[..., 1:].mean().item()


def breaks_run(variant: str, seed: int) -> dict[str, float]:
    """Train one variant on tales; return its score, the share of its stories that the grammar accepts, and `spread`."""
    _, tokenizer, _ = corpus()
    test = load("tales", "test", n=CORPUS["test"]).documents
    seed_all(seed)
    model, batches = broken(variant), windows(BREAKS["rows"], seed)
    opt, look = adamw(model, BREAKS["rate"], weight_decay=0.01), next(windows(16, 100))[0]
    at_start = spread(model, look)
    step, losses = make_step(model, gpt_loss, opt, schedule=warmup_cosine(opt, BREAKS["steps"])), []
    for _ in range(BREAKS["steps"]):
        losses.append(step(next(batches))["nll"].item())
    rows = 1 if variant == "no mask" else 50  # without a mask it would read the padding
    found = above_floor(model.eval(), tokenizer, test, rows) | {"loss": sum(losses[-20:]) / 20, "n": len(test)}
    found |= {"entropy_at_start": at_start, "entropy": spread(model, look)}
    good = accepted(write(model, tokenizer, BREAKS["drawn"], seed))
    found |= {"accepted": len(good) / BREAKS["drawn"], "drawn": BREAKS["drawn"]}
    if variant == "no mask":
        for block in model.blocks:
            block.attention.causal = True
        found["above_floor_masked"] = above_floor(model, tokenizer, test)["above_floor"]
    return found


# ---- induction, shipped: what stood after this token the last time

INDUCTION = {"vocab": 32, "length": 48, "period": (6, 20), "rows": 32, "width": 64, "heads": 2, "rate": 3e-3,
             "steps": 300, "every": 10, "test": 64, "start": 0.5}  # fmt: skip
KINDS = ("2", "1", "2, plain start")  # layers, and how they start


def rounds(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return rows (n, length + 1) of different tokens, all of which then come again and again, and how many, (n, 1)."""
    low, high = INDUCTION["period"]
    tokens = torch.rand(n, INDUCTION["vocab"], generator=g).argsort(1)[:, :high]
    period = torch.randint(low, high + 1, (n, 1), generator=g)
    return tokens.gather(1, torch.arange(INDUCTION["length"] + 1) % period), period


@torch.no_grad()
def look_back(model: GPT, rows: Tensor, period: Tensor) -> dict:
    """Return how a model reads repeated rows: its loss in the first round and after, and where its heads look.

    `score`, per layer and head: the mean weight, from the places of later rounds, on what followed the same place of
    the rounds before; `previous`: the weight on the token before; `uniform`: the score that equal weights would have.
    """
    tokens, targets = rows[:, :-1], rows[:, 1:]
    with attention_maps(model) as maps:
        nats = F.cross_entropy(model(tokens).transpose(1, 2), targets, reduction="none")  # (B, T)
    place = torch.arange(tokens.shape[1])
    again = place >= period  # (B, T): this token stood here before
    back = place[:, None] - place + 1  # how far before place i + 1 the key j stands
    after = (back % period[..., None] == 0) & (back > 1) & again[..., None]  # (B, T, S)
    weights = torch.stack([calls[0] for calls in maps.values()])  # (L, B, H, T, S)
    score = (weights * after[:, None]).sum((1, 3, 4)) / again.sum()
    equal = after.sum(-1) / (place + 1)
    return {
        "score": score.tolist(), "previous": weights.diagonal(-1, 3, 4).mean((1, 3)).tolist(),
        "uniform": (equal.sum() / again.sum()).item(),
        "first": (nats * ~again).sum(1) / (~again).sum(1), "again": (nats * again).sum(1) / again.sum(1),
    }  # fmt: skip


def reader(kind: str) -> GPT:
    """Return a new model of one layer or two; unless the start is plain, its weights are as large as need be."""
    model = GPT(GPTConfig(vocab=INDUCTION["vocab"], context=INDUCTION["length"], d_model=INDUCTION["width"],
                          n_layers=int(kind[0]), n_heads=INDUCTION["heads"], tied=False))  # fmt: skip
    if "plain" in kind:
        return model
    nn.init.normal_(model.embed.weight, std=INDUCTION["start"])
    return ready(model, INDUCTION["start"])


def induction_run(kind: str, seed: int, steps: int = INDUCTION["steps"]) -> dict[str, list]:
    """Train on repeated rows; by step, the loss of both rounds and the best head of every layer."""
    seed_all(seed)
    g = torch.Generator().manual_seed(seed)
    model = reader(kind)
    step = make_step(model, gpt_loss, adamw(model, INDUCTION["rate"]))
    test = rounds(INDUCTION["test"], torch.Generator().manual_seed(10_000))
    found = {"loss_first": [], "loss_again": [], "score": [], "previous": []}
    for i in range(steps + 1):
        if i % INDUCTION["every"] == 0:
            seen = look_back(model, *test)
            for kind in ("first", "again"):
                found[f"loss_{kind}"].append(round(seen[kind].mean().item(), 4))
            for kind in ("score", "previous"):
                found[kind].append([round(max(heads), 4) for heads in seen[kind]])
        rows, _ = rounds(INDUCTION["rows"], g)
        step((rows[:, :-1], rows[:, 1:]))
    return found | {"uniform": seen["uniform"]}


def shipped_run(name: str) -> dict:
    """Read random tokens, of those that its text has, three times over: does a shipped model notice?"""
    model, tokenizer = load_weights(name, GPT), load_tokenizer(name)
    text = load("tales", n=2_000).text if name == "gpt-tales" else load("tiny_shakespeare").text[:200_000]
    known, n, period = tokenizer.encode(text).unique(), 64, model.cfg.context // 3
    drawn = torch.randint(len(known), (n, period), generator=torch.Generator().manual_seed(0))
    seen = look_back(model, known[drawn].repeat(1, 3), torch.full((n, 1), period))
    nats = as_json({f"nats_{kind}": mean_estimate(seen.pop(kind)) for kind in ("first", "again")})
    return seen | nats | {"period": period, "tokens": len(known)}


# ---- names: words that no text has: are they copied from what was just read?

MADE_UP = ("zorb", "quim", "blick", "dax", "fep", "gorp", "jeel", "kiv", "lomp", "murd", "nud", "plok", "rusp", "sprim",
           "tove", "vosk", "wug", "yilt", "trid", "crull")  # fmt: skip


@torch.no_grad()
def copied(model: GPT, tokenizer: ByteBPE, text: str, answer: str, given: int = 0) -> tuple[bool, float]:
    """Return whether the likeliest tokens after a text spell the answer, and its probability; `given` tokens are."""
    start, whole = tokenizer.encode(text), tokenizer.encode(text + answer)
    first = len(start) + given
    log_p = model(whole[None, :-1]).log_softmax(-1)[0, first - 1 :]
    wanted = whole[first:, None]
    return bool((log_p.argmax(1) == wanted[:, 0]).all()), log_p.gather(1, wanted).sum().exp().item()


def names_run(name: str) -> dict:
    """Ask for a word that was read once: in tales the lost thing at the end, in Shakespeare who speaks again."""
    model, tokenizer = load_weights(name, GPT), load_tokenizer(name)
    found = {}
    if name == "gpt-tales":
        ends = [(story, e) for story in load("tales", "test").documents if (e := ending(story)).kind == "thing"][:200]
        for kind in ("known", "made_up"):
            found[kind] = []
            for k, (_, end) in enumerate(ends):
                word = end.last if kind == "known" else MADE_UP[k % len(MADE_UP)]
                text = END + re.sub(rf"\b{end.last}\b", word, end.beginning)
                found[kind].append(copied(model, tokenizer, text, f" {word}."))
    else:
        lines = [line for line in load("tiny_shakespeare", "test").text.split("\n") if 20 < len(line) < 45][:400]
        found = {"first": [], "again": []}
        for k in range(200):
            who = MADE_UP[k % len(MADE_UP)].upper()
            before, line, reply = "I am here.\n\n", lines[2 * k], lines[2 * k + 1]
            found["first"].append(copied(model, tokenizer, before, f"{who}:", 1))
            text = f"{before}{who}:\n{line}\n\nCITIZEN:\n{reply}\n\n"
            found["again"].append(copied(model, tokenizer, text, f"{who}:", 1))
    return {kind: as_json({"right": share_estimate(sum(right for right, _ in pairs), len(pairs)),
                           "probability": mean_estimate(torch.tensor([p for _, p in pairs]))})
            for kind, pairs in found.items()}  # fmt: skip


# ---- facts: what is said of what was never told

BEGINNINGS = 40
QUESTIONS = {"home": "So {she} carried it home to the", "friend": "Then {she} danced with",
             "loves": "Now {she} is happy and dreams of"}  # fmt: skip


def beginnings(hero: str, fact: str) -> list[str]:
    """Return stories of a hero up to a question for a fact that they have not told; no two are the same."""
    question = QUESTIONS[fact].format(she="she" if hero in FEMALE else "he")
    found = []
    for story in load("tales", "test", n=12_000, seed=1).documents:
        begun = ending(story).beginning.rpartition(". ")[0] + ". " if f" called {hero}" in story else ""
        if begun and not re.search(rf"\b{FACTS[hero][fact]}\b", begun) and (text := begun + question) not in found:
            found.append(text)
            if len(found) == BEGINNINGS:
                break
    return found


@torch.no_grad()
def facts_run(hero: str, fact: str) -> dict:
    """Return what gpt-tales holds of each possible answer, over many beginnings: lists, one value of each beginning."""
    model, tokenizer = load_weights("gpt-tales", GPT), load_tokenizer("gpt-tales")
    words = [facts[fact] for facts in FACTS.values()]
    rows = []
    for text in beginnings(hero, fact):
        start = len(tokenizer.encode(END + text))
        whole = [tokenizer.encode(f"{END}{text} {word}.") for word in words]
        targets = pad_sequence(whole, True, -100)[:, start:]
        logits = model(pad_sequence(whole, True)[:, :-1])[:, start - 1 :]
        rows.append(-F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").sum(1))
    p = torch.stack(rows).double().exp()  # (n, 6)
    whole = torch.cat([p, (1 - p.sum(1, keepdim=True)).clamp(min=0)], 1)
    right = words.index(FACTS[hero][fact])
    return {
        "words": words, "said": p.argmax(1).tolist(), "right": (p.argmax(1) == right).tolist(),
        "truth_probability": p[:, right].tolist(), "confidence": p.max(1).values.tolist(),
        "entropy": torch.special.entr(whole).sum(1).tolist(), "mass": p.mean(0).tolist(),
        "other": whole[:, -1].mean().item(),
    }  # fmt: skip


def gather_facts(done: dict) -> dict:
    """Return the figures of every question, and of all that are told and never told."""
    answers, pooled = {}, {True: {}, False: {}}
    measures = ("truth_probability", "confidence", "entropy")
    for hero in FACTS:
        for fact in QUESTIONS:
            found, told = done[f"facts {hero} {fact}"], (hero, fact) not in NEVER_TOLD
            n, words = len(found["right"]), found["words"]
            answers.setdefault(hero, {})[fact] = {
                "told": told, "truth": FACTS[hero][fact], "n": n, "right": sum(found["right"]) / n,
                "said": dict(Counter(words[k] for k in found["said"])), "mass": dict(zip(words, found["mass"])),
                "other": found["other"], **{key: sum(found[key]) / n for key in measures},
            }  # fmt: skip
            for key in ("right", *measures):
                pooled[told].setdefault(key, []).extend(found[key])
    summary = {name: as_json({"right": share_estimate(sum(pooled[told]["right"]), len(pooled[told]["right"]))}
                             | {key: mean_estimate(torch.tensor(pooled[told][key])) for key in measures})
               for told, name in ((True, "told"), (False, "never told"))}  # fmt: skip
    return {"per_hero": BEGINNINGS, "questions": QUESTIONS, "answers": answers, "summary": summary}


# ---- cache: what the next token costs, with keys and values kept and without

CACHED = {"vocab": 512, "context": 128, "d_model": 192, "n_layers": 4, "n_heads": 6}  # the size of gpt-shakespeare
LENGTHS, ROUNDS = (32, 64, 96, 128), 40


@torch.no_grad()
def cache_run(length: int) -> dict[str, float]:
    """Return milliseconds and floating-point operations of the last of `length` tokens, one row, fresh weights."""
    seed_all(0)
    model = GPT(GPTConfig(**CACHED)).eval()
    tokens, state = torch.randint(CACHED["vocab"], (1, length)), model.decoding(1)
    state.step(tokens[:, :-1])

    def kept() -> Tensor:
        for layer in state.cache:
            layer.length = length - 1
        return state.step(tokens[:, -1:])

    def anew() -> Tensor:
        return model.score(model.read(tokens)[:, -1])

    if (gap := (kept() - anew()).abs().max().item()) > 1e-4:
        raise RuntimeError(f"the two ways differ by {gap}")
    found = compare(kept, anew, rounds=ROUNDS)
    return {"ms_with": found.ours_ms.value, "ms_without": found.peer_ms.value, "flops_with": count_flops(kept),
            "flops_without": count_flops(anew), "parameters": sum(p.numel() for p in model.parameters()),
            "ratio": [found.ratio.value, found.ratio.low, found.ratio.high]}  # fmt: skip


# ---- sampling: quality against variety

DRAWN = 500
PLAIN = {"temperature": 1.0, "top_k": None, "top_p": None}
SETTINGS = (
    {f"temperature {t:g}": PLAIN | {"temperature": t} for t in (0.5, 0.7, 1.0, 1.3)}
    | {f"top-k {k}": PLAIN | {"top_k": k} for k in (2, 5, 20)}
    | {f"top-p {p}": PLAIN | {"top_p": p} for p in (0.5, 0.8, 0.95)}
)  # fmt: skip


def sampling_run(name: str) -> dict:
    """Return how many stories are of the grammar, and of these how many differ, how surprising they are, and who is in.

    `heroes`: the share of each hero; `hero_entropy`: of these shares, in nats.
    """
    if name == "fair":
        stories = list(load("tales", "test", n=DRAWN, seed=2).documents)
    else:
        model, tokenizer = load_weights("gpt-tales", GPT), load_tokenizer("gpt-tales")
        stories = write(model, tokenizer, DRAWN, 0, **SETTINGS[name])
    good, known = accepted(stories), set(corpus()[0].documents)
    if len(good) < 2:
        raise RuntimeError(f"{name}: only {len(good)} of {DRAWN} stories are of the grammar")
    heroes = Counter(re.search(r" called (\w+)", story)[1] for story in good)
    shares = {hero: heroes[hero] / len(good) for hero in FACTS}
    return as_json({
        "accepted": share_estimate(len(good), DRAWN), "distinct": share_estimate(len(set(good)), len(good)),
        "new": share_estimate(sum(story not in known for story in good), DRAWN),
        "nats": mean_estimate(torch.tensor([-exact_log_prob(story) for story in good])),
    }) | {"characters": sum(map(len, good)) / len(good), "heroes": shares,
          "hero_entropy": torch.special.entr(torch.tensor(list(shares.values()))).sum().item()}  # fmt: skip


# ---- all


def seeds(kind: str) -> tuple[int, ...]:
    """Return those of a kind of `induction`: where nothing happens, one is enough."""
    return SEEDS[:1] if "plain" in kind else SEEDS


def plan() -> dict:
    """Return name -> function of every part."""
    parts = {f"facts {hero} {fact}": partial(facts_run, hero, fact) for hero in FACTS for fact in QUESTIONS}
    parts |= {f"cache {length}": partial(cache_run, length) for length in LENGTHS}
    parts |= {f"names {name}": partial(names_run, name) for name in SHIPPED}
    parts |= {f"shipped {name}": partial(shipped_run, name) for name in SHIPPED}
    parts |= {f"sampling {name}": partial(sampling_run, name) for name in (*SETTINGS, "fair")}
    parts |= {f"induction {kind}/{s}": partial(induction_run, kind, s) for kind in KINDS for s in seeds(kind)}
    parts |= {f"breaks {variant}/{s}": partial(breaks_run, variant, s) for s in SEEDS for variant in VARIANTS}
    return parts | {f"scaling {size}/{s}": partial(scaling_run, size, s)
                    for size, settings in SIZES.items() for s in range(settings[-1])}  # fmt: skip


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them: lists over seeds."""

    def over(names: list[str]) -> dict[str, list]:
        runs = [done[name] for name in names]
        return {key: [run[key] for run in runs] for key in runs[0]}

    data, _, tokens = corpus()
    per_token = len(data.text) / len(tokens)
    seen = [steps * SCALING["rows"] * CORPUS["context"] for steps in SCALING["steps"]]
    sizes = {}
    for size in SIZES:
        runs = over([f"scaling {size}/{s}" for s in range(SIZES[size][-1])])
        fixed = {key: runs[key][0] for key in ("layers", "width", "parameters", "non_embedding", "flops_per_token")}
        sizes[size] = runs | fixed | {
            "steps": SCALING["steps"], "tokens": seen, "characters": [n * per_token for n in seen], "n": CORPUS["test"],
            "flops": [n * fixed["flops_per_token"] for n in seen], "rate": SIZES[size][3],
        }  # fmt: skip
    recurrent = load_results("02")["values"]["tales"]
    s, lstm = recurrent["settings"], recurrent["runs"]["lstm"]
    caches = {length: done[f"cache {length}"] for length in LENGTHS}
    return {
        "scaling": {"settings": CORPUS | SCALING, "seeds": SEEDS, "floor": floor_per_character(),
                    "characters_per_token": per_token, "sizes": sizes, "lstm": {
                        "parameters": lstm["parameters"][0], "characters": s["steps"] * s["batch"] * s["length"],
                        "above_floor": lstm["above_floor"], "standard_error": lstm["standard_error"], "n": s["n"]}},
        "breaks": {"settings": CORPUS | BREAKS, "seeds": SEEDS, "floor": floor_per_character(), "runs": {
            variant: over([f"breaks {variant}/{s}" for s in SEEDS]) for variant in VARIANTS}},
        "induction": {"settings": INDUCTION, "seeds": SEEDS, "guess": math.log(INDUCTION["vocab"]),
                      "steps": list(range(0, INDUCTION["steps"] + 1, INDUCTION["every"])),
                      "uniform": done["induction 2/0"]["uniform"],
                      "runs": {kind: over([f"induction {kind}/{s}" for s in seeds(kind)]) for kind in KINDS},
                      "shipped": {name: done[f"shipped {name}"] for name in SHIPPED},
                      "names": {name: done[f"names {name}"] for name in SHIPPED}},
        "facts": gather_facts(done),
        "cache": {"config": CACHED, "lengths": LENGTHS, "rounds": ROUNDS, "parameters": caches[32]["parameters"],
                  "ratio": [caches[length]["ratio"] for length in LENGTHS],
                  "bytes_per_token": 2 * 4 * CACHED["n_layers"] * CACHED["d_model"],
                  **{kind: {way: [caches[length][f"{kind}_{way}"] for length in LENGTHS] for way in ("with", "without")}
                     for kind in ("flops", "ms")}},
        "sampling": {"n": DRAWN, "settings": SETTINGS, "entropy": entropy(), "fair": done["sampling fair"],
                     "runs": {name: done[f"sampling {name}"] for name in SETTINGS}},
    }  # fmt: skip


if __name__ == "__main__":
    main("04", plan(), gather, __file__, PART_SOURCES, also=(RECURRENT,), seeds=SEEDS, libraries=("torch",))

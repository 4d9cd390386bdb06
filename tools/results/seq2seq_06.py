"""Measure what chapter 06 shows: `python -m tools.results.seq2seq_06` writes genai_utils/results/06.json.

`exact`, `beam`, `exposure` and `alignment` measure weights that ship; `nocross` and `noising` train small models on
embedded data; `translation` trains one on Multi30k, which GENAI_DATA must hold or the network give. About forty minutes
on one CPU thread. Each finished part is kept in runs/ and not measured twice, unless the section of this file that
measures it, or a source named for it, has changed. `python -m tools.results.seq2seq_06 exact beam` measures the parts
named and stops.
"""

import copy
import itertools
import re
import time
from collections.abc import Callable, Sequence
from functools import cache, partial, reduce
from operator import getitem
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genai_utils.core import seed_all
from genai_utils.data import Batches, ByteBPE, load, padded
from genai_utils.metrics import Estimate, mean_estimate, share_estimate
from genai_utils.nn import attention_maps
from genai_utils.training import adamw, fit, make_step, warmup_cosine
from genai_utils.transformer.beam import beam_search, beam_steps
from genai_utils.transformer.corruption import span_corruption, text_infilling, token_masking
from genai_utils.transformer.seq2seq import EncoderDecoder, log_prob, seq2seq_loss, shift_right
from genai_utils.transformer.t5 import T5, T5Config
from genai_utils.weights import load_tokenizer, load_weights, registry
from tools.parts import main
from tools.recipes.char_lm import per_character
from tools.recipes.score import as_json
from tools.recipes.t5 import LONGEST, SPECIALS, TEST, TRAIN, tasks, write

MODEL = ("genai_utils/transformer/t5.py", "genai_utils/transformer/seq2seq.py", "genai_utils/transformer/beam.py")
SPOKEN, TASKS = "genai_utils/data/spoken_forms.py", "genai_utils/data/tale_tasks.py"
SHIPPED = (*MODEL, SPOKEN, TASKS, "genai_utils/weights/t5-text-to-text.safetensors")
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its section of this file
    "exact": SHIPPED, "beam": SHIPPED, "exposure": SHIPPED, "alignment": SHIPPED,
    "translation": (*MODEL, "genai_utils/data/bpe.py"),
    "nocross": (*MODEL, SPOKEN), "blinded": SHIPPED,
    "noising": (*MODEL, TASKS, "genai_utils/transformer/corruption.py"),
}  # fmt: skip
SEEDS = (0, 1)
PAD, END, SENTINELS = 0, 1, tuple(range(2, len(SPECIALS)))


# ---- shared: answers searched for, likelihoods, and a short training

WIDTHS, SURE = (1, 2, 4, 8, 16), 1e-3  # nats that rounding cannot make


class Found(NamedTuple):
    """The best answers that a search found to N sources."""

    answers: list[Tensor]  # without the end
    log_probs: Tensor  # (N,) nats, given the source
    tokens: Tensor  # (N,) of an answer, with the end
    calls: Tensor  # (N,) of the network, for all sources of a batch together


@torch.no_grad()
def search(
    model: EncoderDecoder, sources: Sequence[Tensor], width: int, *, penalty: float = 0.0, rows: int = 100
) -> Found:
    """Return what a beam search of `width` finds; `rows` sources are searched at a time."""
    answers, found = [], []
    for i in range(0, len(sources), rows):
        source, mask = padded(sources[i : i + rows], PAD)
        start = torch.full((len(source), 1), model.cfg.start)
        state = model.decoding(source, mask, length=LONGEST)
        steps = list(beam_steps(state, start, width, LONGEST, end=END, length_penalty=penalty))
        best, scores = steps[-1].finished[:, 0], steps[-1].scores[:, 0]
        tokens = ((best != END).sum(1) + 1).clamp(max=LONGEST)
        answers += [row[row != END] for row in best]
        found.append((scores * tokens**penalty, tokens, torch.full_like(tokens, len(steps))))
    return Found(answers, *map(torch.cat, zip(*found)))


def log_probs(model: EncoderDecoder, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Return log p(target | source), (N,), in nats."""
    batches = ((*padded(sources[i : i + 100], PAD), padded(targets[i : i + 100], PAD)[0])
               for i in range(0, len(sources), 100))  # fmt: skip
    return torch.cat([log_prob(model, batch) for batch in batches])


def closed(tokenizer: ByteBPE, texts: Sequence[str]) -> list[Tensor]:
    """Return the tokens of each text, and the end."""
    return [torch.cat([tokenizer.encode(text), torch.tensor([END])]) for text in texts]


def of(estimate: Estimate) -> dict:
    return as_json({"x": estimate})["x"]


def of_share(hits: Sequence[bool]) -> dict:
    return of(share_estimate(int(sum(hits)), len(hits)))


def of_nats(found: Tensor, targets: Sequence[Tensor]) -> dict:
    """Return nats per token of log-probabilities (N,)."""
    return of(per_character(-found.double(), torch.tensor([len(target) for target in targets])))


def of_found(found: Found, width: int) -> dict:
    calls = found.calls.double().mean().item()
    return {"log_prob": of(mean_estimate(found.log_probs)), "tokens": found.tokens.double().mean().item(),
            "calls": calls, "rows": calls * width}  # fmt: skip


def by_width(model: EncoderDecoder, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> dict:
    """Return what searches of every width find, and whether what they miss or what they prefer is to blame."""
    truth, runs = log_probs(model, sources, targets), {}
    found = {width: search(model, sources, width) for width in WIDTHS}
    for width, each in found.items():
        right = torch.tensor([torch.equal(answer, target[:-1]) for answer, target in zip(each.answers, targets)])
        runs[str(width)] = {
            "right": of_share(right), **of_found(each, width),
            "search_errors": of_share(truth > each.log_probs + SURE),
            "model_errors": of_share(~right & (each.log_probs > truth + SURE)),
            "missed": of_share(found[WIDTHS[-1]].log_probs > each.log_probs + SURE)}  # fmt: skip
    return {"n": len(sources), "runs": runs}


def batches_of(items: Callable[[Sequence[int]], tuple[list, list]], count: int, rows: int, seed: int) -> Batches:
    """Return batches for `seq2seq_loss`; `items` gives the sources and targets of some of `count` items."""

    def take(which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sources, targets = items(which.tolist())
        return *padded(sources, PAD), padded(targets, PAD)[0]

    return Batches(take, count, rows, seed)


def trained(model: T5, batches: Batches, steps: int, rate: float, **how) -> T5:
    """Train to the end, or leave; `how` is passed to `fit`."""
    opt = adamw(model.train(), rate, weight_decay=0.01)
    step = make_step(model, seq2seq_loss, opt, schedule=warmup_cosine(opt, steps, warmup=50), amp=torch.float32)
    rows = fit(step, batches, steps=steps, **{"every": steps, "progress": False} | how)
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit("stopped before the end: nothing written. Run it again to go on")
    return model.eval()


# ---- exact, beam, exposure, alignment: the weights that ship, and items that they have not seen

NAME = "t5-text-to-text"
SETS = {"say": "spoken_forms", "summarise": "tale_summaries", "answer": "tale_questions"}


@cache
def shipped() -> tuple[T5, ByteBPE]:
    return load_weights(NAME, T5).eval(), load_tokenizer(NAME)


@cache
def unseen(task: str) -> list[tuple[str, str, str]]:
    """Return (source, target, kind) of the items on which the entry's score rests; spoken forms share none anyway."""
    few = dict.fromkeys(TRAIN, 1)
    drawn = tasks("test", few | {task: 2 * TEST})[task]
    known = set() if task == "say" else set(tasks("train", few | {task: TRAIN[task]})[task])
    data = load(SETS[task], "test", n=2 * TEST)
    kinds = data.extra.get("kinds", [""] * len(drawn))
    return [(*pair, kind) for pair, kind in zip(drawn, kinds) if pair not in known][:TEST]


def encoded(task: str, n: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return the tokens of the first n unseen items, closed."""
    sources, targets, _ = zip(*unseen(task)[:n])
    return closed(shipped()[1], sources), closed(shipped()[1], targets)


# ---- exact: exact matches by kind, and what wrong summaries claim

WRONG = 4  # wrong answers that are kept of each task
FORM = re.compile(r"(\w+) the (\w+) lost (his|her) (\w+ \w+), (a friend|she|he) found it ([\w ]+), and s?he ([^.]+)\.")
CLAIMS = ("hero", "kind", "pronoun", "thing", "finder", "found", "ending")


def exact_run(task: str) -> dict:
    items = unseen(task)
    said = write(*shipped(), [source for source, _, _ in items])
    right = torch.tensor([words == target for words, (_, target, _) in zip(said, items)])
    kinds = {}
    for kind in sorted({kind for _, _, kind in items}):
        kinds[kind] = of_share(right[torch.tensor([k == kind for _, _, k in items])])
    wrong = [{"source": items[k][0], "target": items[k][1], "said": said[k]} for k in (~right).nonzero()[:WRONG, 0]]
    found = {"right": of_share(right), "kinds": kinds, "wrong": wrong}
    return found | ({"summaries": claims(said, [target for _, target, _ in items])} if task == "summarise" else {})


def claims(said: list[str], targets: list[str]) -> dict:
    """Return how many summaries say of their tale what is not so: a true summary is made of the tale's facts."""
    formless, untrue, wrong = [], [], [words != target for words, target in zip(said, targets)]
    for words, target in zip(said, targets):
        claim, fact = FORM.fullmatch(words), FORM.fullmatch(target)
        formless.append(claim is None)
        untrue.append([a != b for a, b in zip((claim or fact).groups(), fact.groups())])
    any_untrue = list(map(any, untrue))
    return {"untrue": of_share(any_untrue), "formless": of_share(formless),
            "of_wrong": of_share([u for u, w in zip(any_untrue, wrong) if w]) if any(wrong) else None,
            "facts": {name: of_share(column) for name, column in zip(CLAIMS, zip(*untrue))}}  # fmt: skip


# ---- beam: spoken forms, searched more or less

BEAM_ITEMS = 500


def beam_run() -> dict:
    return by_width(shipped()[0], *encoded("say", BEAM_ITEMS))


# ---- exposure: one wrong token among true ones, and what the model writes after it

EXPOSURE = {"items": {"say": 400, "summarise": 200}, "places": (0, 1, 2, 4, 8, 12), "far": 8}
INTO = ("free", "second", "random")  # the true token; the likeliest other one; any of those that answers have


@torch.no_grad()
def exposure_run(task: str) -> dict:
    model, (sources, targets) = shipped()[0], encoded(task, EXPOSURE["items"][task])
    source, mask = padded(sources, PAD)
    target = padded(targets, PAD)[0]
    logits = torch.cat([model(s, shift_right(t, model.cfg.start), m)
                        for s, t, m in zip(source.split(100), target.split(100), mask.split(100))])  # fmt: skip
    hits = ((logits.argmax(2) == target) & (target != PAD)).sum(1)
    urn, g = torch.cat([row[:-1] for row in targets]), torch.Generator().manual_seed(0)
    found = {how: {} for how in INTO}
    for place in EXPOSURE["places"]:
        rows = torch.tensor([k for k, row in enumerate(targets) if len(row) >= place + 3])  # one later token, the end
        if len(rows) < 20:
            break
        true = target[rows, place]
        others = logits[rows, place].scatter(1, true[:, None], -torch.inf)
        others[:, [PAD, END]] = -torch.inf
        drawn = urn[torch.randint(len(urn), (len(rows), 50), generator=g)]
        drawn = drawn.gather(1, (drawn != true[:, None]).int().argmax(1, keepdim=True))[:, 0]
        for how, token in zip(INTO, (true, others.argmax(1), drawn)):
            prefix = torch.cat([target[rows, :place], token[:, None]], dim=1)
            later = [targets[k][place + 1 : -1].tolist() for k in rows.tolist()]
            found[how][str(place)] = after(later, go_on(model, source[rows], mask[rows], prefix))
    answers = search(model, sources, 1).answers
    return {
        "n": len(targets), "free": found.pop("free"), "ways": list(found), "runs": found,
        "places": list(found["second"]),
        "answers": of_share([torch.equal(answer, row[:-1]) for answer, row in zip(answers, targets)]),
        "forced": of(per_character(hits.double(), torch.tensor(list(map(len, targets))))),
    }  # fmt: skip


def go_on(model: T5, source: Tensor, mask: Tensor, prefix: Tensor) -> list[list[int]]:
    """Return what the model writes greedily after a prefix (B, T), without the end."""
    start, written = torch.full((len(source), 1), model.cfg.start), []
    for rows in zip(source.split(100), mask.split(100), torch.cat([start, prefix], dim=1).split(100)):
        state = model.decoding(*rows[:2], length=prefix.shape[1] + LONGEST)
        best, _ = beam_search(state, rows[2], 1, LONGEST, end=END)
        written += [row[row != END].tolist() for row in best]
    return written


def after(later: list[list[int]], written: list[list[int]]) -> dict:
    """Compare what stands after a place with what should: place by place, and from the end."""
    same = [[a == b for a, b in itertools.zip_longest(true, said[: len(true)])] for true, said in zip(later, written)]
    kept = [sum(itertools.takewhile(bool, (a == b for a, b in zip(true[::-1], said[::-1]))))
            for true, said in zip(later, written)]  # fmt: skip
    share = lambda counts: of(mean_estimate(torch.tensor([n / len(true) for n, true in zip(counts, later)])))
    by_distance = [[row[i] for row in same if len(row) > i] for i in range(EXPOSURE["far"])]
    return {"n": len(later), "later_right": share(map(sum, same)), "kept_end": share(kept),
            "recovers": of_share([n == len(true) for n, true in zip(kept, later)]),
            "by_distance": [sum(row) / len(row) for row in by_distance if row]}  # fmt: skip


# ---- alignment: where cross-attention looks while a word is written

ALIGNED, ALIGNED_ITEMS = ("cardinal", "ordinal", "money", "date"), 600  # items of all kinds, of which these are taken
Spots = list[int]  # characters of the source


def said(number: int, spots: Spots) -> list[Spots | None]:
    """Return for each word of cardinal(number) the digits that it says, None for "and", "hundred" and "thousand".

    `spots` are the places of the digits, the last first.
    """
    if number < 20:
        return [spots[: 1 + (number > 9)]]
    if number < 100:
        return [spots[1:2]] + ([spots[:1]] if number % 10 else [])
    digits = 3 if number >= 1000 else 2
    high, low = divmod(number, 10**digits)
    return said(high, spots[digits:]) + [None] + [None] * (0 < low < 100) + (said(low, spots) if low else [])


def spots_of_words(kind: str, source: str) -> list[Spots | None]:
    """Return for each word of the spoken form the characters of the source that it says, None where there are none."""
    places = [[i for i in range(m.end() - 1, m.start() - 1, -1) if source[i].isdigit()]
              for m in re.finditer(r"\d[\d,]*", source)]  # fmt: skip
    numbers = [int("".join(source[i] for i in reversed(spots))) for spots in places]
    if kind in ("cardinal", "ordinal"):
        return said(numbers[0], places[0])
    if kind == "money":
        parts = [said(*part) + [None] for part in zip(numbers, places) if part[0]]
        return parts[0] if len(parts) == 1 else [*parts[0], None, *parts[1]]
    name = re.search(r"[A-Z][a-z]+", source)
    found = dict(zip(("year", "month", "day") if "-" in source else ("day", "month", "year") if not name else
                     ("day", "year"), zip(numbers, places)))  # fmt: skip
    month = list(range(*name.span())) if name else found["month"][1]
    number, spots = found["year"]
    rest = number % 100
    low = said(rest, spots) if rest > 9 else [None, spots[:1]] if rest else [None]  # "oh five"; "hundred"
    year = said(number, spots) if 2000 <= number < 2010 else said(number // 100, spots[2:]) + low
    return [None, *said(*found["day"]), None, month, *year]


def token_of(pieces: list[str], text: str, place: int) -> int:
    """Return which token holds the character at a place; counted from the end, since "£" may be two tokens."""
    left = len(text) - place
    for k in reversed(range(len(pieces))):
        left -= len(pieces[k])
        if left <= 0:
            return k
    raise ValueError(f"no token holds character {place} of {text!r}")


@torch.no_grad()
def alignment_run() -> dict:
    model, tokenizer = shipped()
    items = [item for item in unseen("say")[:ALIGNED_ITEMS] if item[2] in ALIGNED]
    cfg, rows = model.cfg, []  # of each item: (words, L, H) hits and mass; (words,) hits of the diagonal, and of chance
    for source, target, kind in items:
        read, written = tokenizer.pieces(source), tokenizer.pieces(target)
        tokens = shift_right(closed(tokenizer, [target])[0][None], cfg.start)
        with attention_maps(model) as maps:
            model(closed(tokenizer, [source])[0][None], tokens)
        look = torch.stack([maps[f"decoder.blocks.{k}.cross"][0][0] for k in range(cfg.n_decoder_layers)])  # L H T S
        words, truths = list(re.finditer(r"[^\W\d_]+", target)), spots_of_words(kind, source)
        if len(words) != len(truths):
            raise ValueError(f"{source!r} has {len(truths)} words to say, not those of {target!r}")
        first, found = len("say: "), []
        for k, (word, spots) in enumerate(zip(words, truths)):
            if spots:
                at = look[:, :, token_of(written, target, word.start())]  # (L, H, S), where the word is predicted
                keys = sorted({token_of(read, source, spot) for spot in spots})
                hit = torch.isin(at.argmax(2), torch.tensor(keys))
                place = first + int((k + 0.5) / len(words) * (len(source) - first))
                found.append((hit.double(), at[:, :, keys].sum(2).double(), place in spots,
                              len(spots) / (len(source) - first)))  # fmt: skip
        rows.append([torch.stack([torch.as_tensor(x, dtype=torch.float64) for x in column]).sum(0)
                     for column in zip(*found)] + [torch.tensor(len(found))])  # fmt: skip
    hits, mass, diagonal, chance, n = map(torch.stack, zip(*rows))
    ratio = lambda values, which=slice(None): of(per_character(values[which], n[which]))
    choose, judge = torch.arange(len(n)) % 2 == 0, torch.arange(len(n)) % 2 == 1
    best = divmod(int(hits[choose].sum(0).argmax()), cfg.n_heads)
    by_kind = {}
    for kind in ALIGNED:
        which = judge & torch.tensor([each == kind for _, _, each in items])
        by_kind[kind] = {"best": ratio(hits[:, best[0], best[1]], which), "diagonal": ratio(diagonal, which)}
    grid = lambda values: [[ratio(values[:, i, j]) for j in range(cfg.n_heads)] for i in range(cfg.n_decoder_layers)]
    return {"items": len(n), "n": int(n.sum()), "layers": cfg.n_decoder_layers, "heads": cfg.n_heads, "kinds": ALIGNED,
            "hits": grid(hits), "mass": grid(mass), "best": best, "best_hits": ratio(hits[:, best[0], best[1]], judge),
            "by_kind": by_kind, "diagonal": ratio(diagonal), "chance": ratio(chance)}  # fmt: skip


# ---- translation: English to French, by a small T5 trained on Multi30k

TRANSLATION = {
    "sizes": {"d_model": 128, "d_head": 32, "d_ff": 512, "n_layers": 2, "n_decoder_layers": 2, "n_heads": 4},
    "vocab": 4_000, "steps": 2_500, "rows": 64, "rate": 3e-3, "held_out": 500, "every": 500, "searched": 300,
}  # fmt: skip
PENALTIES = (0.0, 1.0)


def translation_run() -> dict:
    """Train on all pairs but the last, on which the curve is measured; score on the test pairs."""
    from sacrebleu.metrics import BLEU

    metric, cfg = BLEU(), TRANSLATION
    data, test = load("multi30k"), load("multi30k", "test")
    n = len(data) - cfg["held_out"]
    tokenizer = ByteBPE.train("\n".join([*data.sources[:n], *data.targets[:n]]), vocab=cfg["vocab"], specials=SPECIALS)
    sources, targets = closed(tokenizer, data.sources), closed(tokenizer, data.targets)
    order = sorted(range(n), key=lambda k: (len(sources[k]), len(targets[k])))
    blocks = [order[i : i + cfg["rows"]] for i in range(0, n, cfg["rows"])]  # of like length: little padding

    def items(which):
        (block,) = which
        return [sources[k] for k in blocks[block]], [targets[k] for k in blocks[block]]

    def bleu(found: Found, truths: Sequence[str]) -> float:
        said = [tokenizer.decode(answer, specials=False) for answer in found.answers]
        return metric.corpus_score(said, [truths]).score

    def log(row: dict) -> None:  # what is added is kept in the checkpoint
        nonlocal before
        row["minutes"] = (time.process_time() - before) / 60
        model.eval()
        row["bleu"] = bleu(search(model, sources[n:], 1), data.targets[n:])
        row["nats"] = of_nats(log_probs(model, sources[n:], targets[n:]), targets[n:])["value"]
        model.train()
        before = time.process_time()

    seed_all(0)
    model = T5(T5Config(vocab=tokenizer.vocab, **cfg["sizes"]))
    curve, before = [], time.process_time()
    keep = lambda row: (log(row), curve.append(row))
    trained(model, batches_of(items, len(blocks), 1, 0), cfg["steps"], cfg["rate"], every=cfg["every"], on_log=keep)
    asked, truths = closed(tokenizer, test.sources), closed(tokenizer, test.targets)
    greedy = search(model, asked, 1)
    scores = {"copy": metric.corpus_score(list(test.sources), [test.targets]).score,
              "greedy": bleu(greedy, test.targets),
              "beam 4": bleu(search(model, asked, 4, penalty=1.0), test.targets)}  # fmt: skip
    runs, few = {}, cfg["searched"]
    for penalty in PENALTIES:
        for width in WIDTHS:
            found = search(model, asked[:few], width, penalty=penalty)
            runs.setdefault(str(penalty), {})[str(width)] = {
                "bleu": bleu(found, test.targets[:few]), **of_found(found, width),
                "empty": sum(len(answer) == 0 for answer in found.answers) / few}  # fmt: skip
    minutes = torch.tensor([row["minutes"] for row in curve]).cumsum(0).tolist()
    return {
        "parameters": sum(p.numel() for p in model.parameters()), "pairs": n, "minutes": minutes[-1],
        "signature": str(metric.get_signature()), "n": len(test), "bleu": scores,
        "nats": of_nats(log_probs(model, asked, truths), truths),
        "curve": {"steps": [row["step"] for row in curve], "minutes": minutes, "n": cfg["held_out"],
                  **{key: [row[key] for row in curve] for key in ("bleu", "nats")}},
        "searched": {"n": few, "penalties": list(map(str, PENALTIES)), "runs": runs,
                     "reference_tokens": sum(map(len, truths[:few])) / few},
    }  # fmt: skip


# ---- nocross, blinded, noising: a small T5 and its tokenizer

SMALL = {
    "sizes": {"d_model": 64, "d_head": 16, "d_ff": 192, "n_layers": 2, "n_decoder_layers": 2, "n_heads": 4},
    "vocab": 512, "rate": 5e-3,
}  # fmt: skip


@cache
def small_tokenizer() -> ByteBPE:
    """Return a tokenizer that joins no digits."""
    text = "\n".join([*load("spoken_forms", n=4_000).targets, *load("tale_summaries", n=1_000).sources])
    return ByteBPE.train("".join(c for c in text if not c.isdigit()), vocab=SMALL["vocab"], specials=SPECIALS)


def small_model(seed: int) -> T5:
    seed_all(seed)
    return T5(T5Config(vocab=small_tokenizer().vocab, **SMALL["sizes"]))


def scored(model: T5, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> dict:
    """Return exact matches of greedy answers, and nats per token of the truth."""
    answers = search(model, sources, 1).answers
    right = [torch.equal(answer, target[:-1]) for answer, target in zip(answers, targets)]
    return {"right": of_share(right), "nats": of_nats(log_probs(model, sources, targets), targets)}


# ---- nocross, blinded: the same model with the cross-attention's output held at zero: a language model of answers

NOCROSS = SMALL | {"pairs": 20_000, "steps": 800, "rows": 64, "n": 1_000, "searched": 500}


def blind(model: T5) -> T5:
    """Return the model, whose decoder is told nothing of the source any more, and cannot learn to look."""
    for layer in model.cross_attentions():
        nn.init.zeros_(layer.out.weight).requires_grad_(False)
    return model


@cache
def spoken(split: str, n: int) -> tuple[list[Tensor], list[Tensor]]:
    data = load("spoken_forms", split, n=n)
    return closed(small_tokenizer(), data.sources), closed(small_tokenizer(), data.targets)


@cache
def small_spoken(how: str, seed: int) -> T5:
    sources, targets = spoken("train", NOCROSS["pairs"])
    model = small_model(seed) if how == "with" else blind(small_model(seed))
    items = lambda which: ([sources[k] for k in which], [targets[k] for k in which])
    return trained(model, batches_of(items, len(sources), NOCROSS["rows"], seed), NOCROSS["steps"], NOCROSS["rate"])


def blinded_run(how: str) -> dict:
    """Return the same of the weights that ship, which are not trained to do without."""
    model, data = shipped()[0], encoded("say", NOCROSS["searched"])
    return scored(model if how == "with" else blind(copy.deepcopy(model)), *data)


def beam_of_small(seed: int) -> dict:
    """Return what search finds in a model that is far from sure."""
    return by_width(small_spoken("with", seed), *(side[: NOCROSS["searched"]] for side in spoken("test", NOCROSS["n"])))


def nocross_run(how: str, seed: int) -> dict:
    return scored(small_spoken(how, seed), *spoken("test", NOCROSS["n"]))


# ---- noising: what a model is pretrained on, and what that is worth with few summaries

NOISING = SMALL | {"tales": 4_000, "steps": 200, "rows": 16, "tune_steps": 120, "tune_rate": 3e-3, "n": 500,
                   "rate_infilling": 0.3, "rate_masking": 0.3, "rate_spans": 0.15}  # fmt: skip
COUNTS = (200, 1_000)
WAYS = ("span corruption", "text infilling", "token masking", "language model")
TUNED = (*WAYS, "from scratch")


def noised(way: str, text: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return source and target, without ends."""
    if way == "span corruption":
        return span_corruption(text, SENTINELS, rate=NOISING["rate_spans"], generator=g)
    if way == "language model":
        return text[:0], text
    if way == "text infilling":
        return text_infilling(text, SENTINELS[0], NOISING["rate_infilling"], generator=g), text
    return token_masking(text, SENTINELS[0], NOISING["rate_masking"], generator=g), text


@cache
def summaries(split: str, n: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    data = load("tale_summaries", split, n=n, seed=seed)
    return closed(small_tokenizer(), data.sources), closed(small_tokenizer(), data.targets)


@cache
def unseen_summaries() -> tuple[list[Tensor], list[Tensor]]:
    """Return test items whose tale is in no text that a model has learnt from."""
    known = set(load("tale_summaries", n=NOISING["tales"]).sources)
    known |= {story for seed in SEEDS for story in load("tale_summaries", n=max(COUNTS), seed=10 + seed).sources}
    test = load("tale_summaries", "test", n=2 * NOISING["n"])
    new = [k for k, story in enumerate(test.sources) if story not in known][: NOISING["n"]]
    return tuple(closed(small_tokenizer(), [side[k] for k in new]) for side in (test.sources, test.targets))


def noising_run(way: str, seed: int) -> dict:
    """Pretrain in one way, or not; fine-tune copies on few summaries; score each."""
    model, found, seen = small_model(seed), {}, []
    if way != "from scratch":
        texts = [tokens[:-1] for tokens in summaries("train", NOISING["tales"], 0)[0]]
        g, end = torch.Generator().manual_seed(seed), torch.tensor([END])

        def items(which):
            pairs = [[torch.cat([side, end]) for side in noised(way, texts[k], g)] for k in which]
            seen.extend((len(source), len(target)) for source, target in pairs)
            return map(list, zip(*pairs))

        trained(model, batches_of(items, len(texts), NOISING["rows"], seed), NOISING["steps"], NOISING["rate"])
        lengths = torch.tensor(seen).double().mean(0).tolist()
        found |= {"source_tokens": lengths[0], "target_tokens": lengths[1]}
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for count in COUNTS:
        model.load_state_dict(state)
        sources, targets = (side[:count] for side in summaries("train", max(COUNTS), 10 + seed))
        pick = lambda which, s=sources, t=targets: ([s[k] for k in which], [t[k] for k in which])
        trained(model, batches_of(pick, count, NOISING["rows"], seed), NOISING["tune_steps"], NOISING["tune_rate"])
        found[str(count)] = scored(model, *unseen_summaries())
    return found


# ---- all


def plan() -> dict:
    """Return name -> function of every part, the dearest to the chapter first."""
    parts = {f"exact {task}": partial(exact_run, task) for task in SETS}
    parts |= {"beam": beam_run}
    parts |= {f"exposure {task}": partial(exposure_run, task) for task in EXPOSURE["items"]}
    parts |= {"alignment": alignment_run, "translation": translation_run}
    parts |= {f"nocross {how} {s}": partial(nocross_run, how, s) for s in SEEDS for how in ("with", "without")}
    parts |= {"nocross beam": partial(beam_of_small, SEEDS[0])}
    parts |= {f"blinded {how}": partial(blinded_run, how) for how in ("with", "without")}
    return parts | {f"noising {way}/{s}": partial(noising_run, way, s) for s in SEEDS for way in TUNED}


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them: lists over seeds."""

    def over(prefix: str, *keys: str) -> list:
        return [reduce(getitem, keys, done[f"{prefix}{s}"]) for s in SEEDS]

    score, counts = registry()[NAME]["score"], list(map(str, COUNTS))
    tasks_done = {task: done[f"exact {task}"] for task in SETS}
    translation = done["translation"]
    return {
        "exact": {"tasks": {task: {"model": found["right"]} | {who: score[f"{task}_{who}"]
                                                               for who in ("copy", "lead", "commonest")}
                            for task, found in tasks_done.items()},
                  "kinds": {task: tasks_done[task]["kinds"] for task in ("say", "answer")},
                  "wrong": {task: found["wrong"] for task, found in tasks_done.items()},
                  "summaries": tasks_done["summarise"]["summaries"]},
        "beam": {"widths": list(map(str, WIDTHS)), "say": done["beam"], "small": done["nocross beam"],
                 "translation": translation["searched"]},
        "exposure": {task: done[f"exposure {task}"] for task in EXPOSURE["items"]},
        "alignment": done["alignment"],
        "noising": {"settings": NOISING, "seeds": SEEDS, "counts": counts, "ways": TUNED,
                    **{figure: {way: {count: over(f"noising {way}/", count, figure) for count in counts}
                                for way in TUNED} for figure in ("right", "nats")},
                    **{side: {way: over(f"noising {way}/", side) for way in WAYS}
                       for side in ("source_tokens", "target_tokens")}},
        "nocross": {"settings": NOCROSS, "seeds": SEEDS,
                    "runs": {how: {figure: over(f"nocross {how} ", figure) for figure in ("right", "nats")}
                             for how in ("with", "without")},
                    "shipped": {how: done[f"blinded {how}"] for how in ("with", "without")},
                    "commonest": score["say_commonest"]},
        "translation": {"settings": TRANSLATION, **{key: translation[key] for key in translation if key != "searched"}},
    }  # fmt: skip


if __name__ == "__main__":
    main("06", plan(), gather, __file__, PART_SOURCES, seeds=SEEDS, libraries=("torch", "sacrebleu"))

"""Measure what chapter 05 shows: `python -m tools.results.bert_05` writes genai_utils/results/05.json.

All data is embedded; `labels`, `context`, `likelihood`, `generate` and `spans` measure weights that ship. About ten
minutes on one CPU thread. Each finished part is kept in runs/ and not measured twice, unless the section of this file
that measures it, or a source named for it, has changed. `python -m tools.results.bert_05 share positions` measures the
parts named and stops.
"""

import itertools
import math
import re
from collections import Counter
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.core import seed_all
from genai_utils.data import load
from genai_utils.data.sets import Batches
from genai_utils.data.tales import FACTS, GRAMMAR, derivations, entropy, expected_length, words
from genai_utils.data.wordpiece import WordPiece
from genai_utils.metrics import Estimate, count_flops, mean_estimate, share_estimate
from genai_utils.training import adamw, make_step, warmup_cosine
from genai_utils.transformer.bert import BERT, BERTClassifier, BERTConfig, BERTSpans, classification_loss
from genai_utils.transformer.masked import Masked, mask_tokens, mlm_loss, pseudo_log_prob, unmask_steps
from genai_utils.transformer.spans import answers
from genai_utils.weights import load_tokenizer, load_weights, registry
from tools.recipes.bert import (
    DROPOUT, QUESTIONS, ROWS, SIZES, bag_of_words_right, cut, fine_tune_sentiment, first, hidden, masked_score,
    pretrain, rows_of, run, sentiment_right, share_right, tokenizer_of,
)  # fmt: skip
from tools.recipes.char_lm import per_character
from tools.recipes.score import as_json
from tools.parts import main

MODEL = ("genai_utils/transformer/bert.py", "genai_utils/transformer/masked.py", "tools/recipes/bert.py")
WORDS = (*MODEL, "genai_utils/weights/bert-words.safetensors")
REVIEWS, TALES = "genai_utils/data/reviews.py", "genai_utils/data/tales.py"
SMALL_SOURCES = (*MODEL, REVIEWS, TALES)
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its section of this file
    "labels": (*WORDS, REVIEWS), "share": SMALL_SOURCES, "positions": SMALL_SOURCES, "context": (*WORDS, TALES),
    "likelihood": (*WORDS, TALES), "generate": (*WORDS, TALES), "speed": MODEL,
    "spans": (*MODEL, "genai_utils/transformer/spans.py", "genai_utils/data/tale_tasks.py",
              "genai_utils/weights/bert-spans.safetensors"),
}  # fmt: skip
OTHERS = ("gpt-tales", "lstm-tales")  # whose entries in the registry say what share of their tales is accepted
ALSO = [f"genai_utils/weights/{name}.safetensors" for name in (*OTHERS, "bert-sentiment")]
SEEDS, FEW_SEEDS = (0, 1, 2), (0, 1)


@cache
def shipped() -> tuple[BERT, WordPiece]:
    return load_weights("bert-words", BERT).eval(), load_tokenizer("bert-words")


def of_share(hits: Tensor) -> dict:
    """Return the share of (N,) bool that is True, as JSON."""
    return as_json({"x": share_right(hits)})["x"]


def of(estimate: Estimate) -> dict:
    return as_json({"x": estimate})["x"]


# ---- labels: how many labels sentiment needs, of a model that has read reviews before and of ones that have not

COUNTS = (50, 500, 5_000)
LABELS = {"steps": 1_000, "rate": 5e-4, "rows": ROWS, "dropout": DROPOUT, "n": 2_000}


@cache
def labelled(seed: int):
    return load("reviews", n=5_000, seed=10 + seed)


@cache
def sentiment_test():
    return load("reviews", "test", n=LABELS["n"], seed=10)


def labels_run(kind: str, count: int, seed: int) -> dict:
    """Return the accuracy on test reviews of a model of `count` labelled ones; each seed has labels of its own."""
    data, test = first(labelled(seed), count), sentiment_test()
    if kind == "bag of words":
        seen = set(re.findall(r"\w+", " ".join(data.documents).lower()))
        met = [word not in seen for text in test.documents for word in re.findall(r"\w+", text.lower())]
        return {"accuracy": of_share(bag_of_words_right(data, test)), "words": sum(met) / len(met)}
    bert, tokenizer = shipped()
    if kind == "from scratch":
        seed_all(100 + seed)
        bert = BERT(bert.cfg)
    model = fine_tune_sentiment(bert, tokenizer, data, LABELS["steps"], lr=LABELS["rate"], seed=seed)
    return {"accuracy": of_share(sentiment_right(model, tokenizer, test))}


# ---- share, positions: a small model, pretrained with more or fewer words hidden, with and without positions

SMALL = {
    "sizes": {"length": 160, "n_layers": 2, "n_heads": 2, "d_model": 64, "d_inner": 256}, "steps": 400, "texts": 6_000,
    "reviews_in_a_row": 3, "rate": 3e-3, "n": 500, "labels": 500, "tune_steps": 160, "tune_rate": 2e-3,
    "tested": LABELS["n"],
}  # fmt: skip
SHARES = (0.01, 0.15, 0.4, 0.8)


@cache
def small_texts() -> tuple[WordPiece, list, dict]:
    """Return tokenizer, texts to pretrain on, and held-out ones; reviews stand in rows as long as a tale.

    At least one word of a row is hidden, and 1 % of a single review is less than a word.
    """

    def joined(split: str, n: int) -> list[str]:
        size = SMALL["reviews_in_a_row"]
        reviews = load("reviews", split, n=n * size).documents
        return [" ".join(reviews[k : k + size]) for k in range(0, n * size, size)]

    kinds = [joined("train", SMALL["texts"]), load("tales", n=SMALL["texts"]).documents]
    held = {"reviews": joined("test", SMALL["n"]), "tales": load("tales", "test", n=SMALL["n"]).documents}
    return tokenizer_of(*kinds), kinds, held


def without_positions(model: BERT) -> None:
    nn.init.zeros_(model.positions.weight).requires_grad_(False)


def tune(bert: BERT, tokenizer: WordPiece, seed: int, start=None) -> dict:
    """Return the accuracy that a small model reaches with 500 labels; `start` changes it before it is trained."""
    seed_all(seed)
    model, data = BERTClassifier.of(bert, 2, dropout=DROPOUT), first(labelled(seed), SMALL["labels"])
    if start is not None:
        start(model.bert)
    (tokens, mask), steps = rows_of(tokenizer, data.documents), SMALL["tune_steps"]
    take = lambda which: (*cut(tokens[which], mask[which]), data.labels[which])
    opt = adamw(model, SMALL["tune_rate"], weight_decay=0.01)
    schedule = warmup_cosine(opt, steps, warmup=steps // 10)
    step = make_step(model, classification_loss, opt, schedule=schedule, amp=torch.float32)
    run(step, Batches(take, len(tokens), ROWS, seed), steps)
    return of_share(sentiment_right(model.eval(), tokenizer, sentiment_test()))


def small_run(share: float, seed: int, start=None) -> dict:
    """Pretrain a small model and return how well it restores 15 % of held-out words, and what it is worth after."""
    tokenizer, kinds, held = small_texts()
    model = pretrain(
        tokenizer, kinds, SMALL["steps"], share=share, sizes=SMALL["sizes"], lr=SMALL["rate"], seed=seed, start=start
    )
    found = {}
    for name, texts in held.items():
        score = masked_score(model, tokenizer, texts)
        found |= {f"{name}_nats": of(score["nats_per_word"]), f"{name}_restored": of(score["restored"])}
    counts = [hidden(tokenizer, *rows_of(tokenizer, texts[:500]), share).chosen.sum().item() for texts in kinds]
    found["hidden"] = sum(counts) / 1_000 * ROWS
    found["tales_nats_shuffled"] = of(shuffled_nats(model, tokenizer, held["tales"]))
    return found | {"accuracy": tune(model, tokenizer, seed, start)}


@torch.no_grad()
def shuffled_nats(model: BERT, tokenizer: WordPiece, texts) -> Estimate:
    """Return nats per hidden word, of the same words as `masked_score` hides, in rows put in random order."""
    g, order, nats = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1), []
    tokens, mask = rows_of(tokenizer, texts)
    for rows in zip(tokens.split(100), mask.split(100)):
        batch = hidden(tokenizer, *cut(*rows), 0.15, g)
        shuffle = (torch.rand(batch.tokens.shape, generator=order) + 2 * ~batch.mask).argsort(1)
        places = shuffle.argsort(1).gather(1, batch.places)
        states = model(batch.tokens.gather(1, shuffle), batch.mask)
        logits = model.mlm_logits(states.gather(1, places[..., None].expand(-1, -1, states.shape[-1])))
        nll = F.cross_entropy(logits.transpose(1, 2), batch.targets, reduction="none")
        nats.append((nll * batch.chosen).sum(1) / batch.chosen.sum(1))
    return mean_estimate(torch.cat(nats))


def small_scratch(seed: int) -> dict:
    tokenizer, _, _ = small_texts()
    seed_all(100 + seed)
    return {"accuracy": tune(BERT(BERTConfig(vocab=tokenizer.vocab, **SMALL["sizes"])), tokenizer, seed)}


def small_guess() -> dict:
    """Return the nats of a word that is guessed by how frequent it is in what is trained on, by kind of text."""
    tokenizer, kinds, held = small_texts()
    counts = Counter(itertools.chain.from_iterable(tokenizer.encode(" ".join(texts)).tolist() for texts in kinds))
    total = sum(counts.values()) + tokenizer.vocab
    nats = lambda text: [-math.log((counts[k] + 1) / total) for k in tokenizer.encode(text).tolist()]
    means = {name: torch.tensor([sum(v := nats(text)) / len(v) for text in texts]) for name, texts in held.items()}
    return {f"{name}_nats": of(mean_estimate(values)) for name, values in means.items()}


# ---- context: one hidden word, given what stands to its left, to its right, or both

CONTEXT = {"stories": 50, "places": 250}  # places: those for which the grammar's own answer is computed
KIND_OF_WORD = {
    "name": set(map(str.lower, FACTS)), "pronoun": {"she", "he", "her", "his"}, "mark": {".", ","},
    "thing": set("silver red golden paper tin bell kite key boat drum".split()),
    "adjective": set("small brave curious sleepy merry shy gentle hungry lucky proud quiet".split()),
    "fact": {facts[key] for facts in FACTS.values() for key in ("kind", "home", "loves")},
    "searched": set("under bridge behind barn tall grass pond up hill snail toad crow".split()),
}  # fmt: skip


@torch.no_grad()
def surprisals(model: BERT, tokenizer: WordPiece, story: str, side: str) -> tuple[Tensor, Tensor]:
    """Return for each word of a story -log p, (T,), and whether it is the likeliest, with the other side all [MASK]."""
    row = tokenizer.encode_pair(story)[0]
    T = len(row) - 2
    own, place = torch.arange(1, T + 1)[:, None], torch.arange(T + 2)
    gone = {"left": place >= own, "right": place <= own, "both": place == own}[side] & (row != tokenizer.cls)
    rows = row.repeat(T, 1).masked_fill(gone & (row != tokenizer.sep), tokenizer.mask)
    logits = model.mlm_logits(model(rows)[torch.arange(T), own[:, 0]])
    return F.cross_entropy(logits, row[1:-1], reduction="none"), logits.argmax(1) == row[1:-1]


def exact_both(tokens: tuple[str, ...], place: int) -> float:
    """Return -log p(word | all the others) of a tale under the grammar: Bayes over all words."""
    log_p = {w: GRAMMAR.log_prob((*tokens[:place], w, *tokens[place + 1 :])) for w in terminals()}
    own = [p for w, p in log_p.items() if w.lower() == tokens[place].lower()]  # the model does not know capitals
    total = torch.tensor(list(log_p.values()), dtype=torch.float64).logsumexp(0)
    return (total - torch.tensor(own, dtype=torch.float64).logsumexp(0)).item()


@cache
def terminals() -> tuple[str, ...]:
    symbols = {symbol for rules in GRAMMAR.rules.values() for _, to in rules for symbol in to}
    return tuple(sorted(symbols - set(GRAMMAR.rules)))


def context_run() -> dict:
    model, tokenizer = shipped()
    stories = load("tales", "test", n=CONTEXT["stories"]).documents
    kinds = [next((k for k, among in KIND_OF_WORD.items() if w.lower() in among), "other")
             for story in stories for w in words(story)]  # fmt: skip
    lengths, nats, found = torch.tensor([len(words(story)) for story in stories]), {}, {"nats": {}, "right_share": {}}
    for side in ("left", "right", "both"):
        each, right = zip(*(surprisals(model, tokenizer, story, side) for story in stories))
        nats[side] = torch.cat(each).double()
        for key, values in (("nats", each), ("right_share", right)):
            totals = torch.stack([v.double().sum() for v in values])
            found[key][side] = of(per_character(totals, lengths))
    gain = {}
    for kind in sorted(set(kinds)):
        which = torch.tensor([k == kind for k in kinds])
        gain[kind] = {side: nats[side][which].mean().item() for side in nats} | {"n": int(which.sum())}
    which = torch.randperm(len(kinds), generator=torch.Generator().manual_seed(0))[: CONTEXT["places"]]
    flat = [(words(story), i) for story in stories for i in range(len(words(story)))]
    exact = torch.tensor([exact_both(*flat[k]) for k in which.tolist()], dtype=torch.float64)
    return {
        "stories": len(stories), "n": len(kinds), "how": "all words of the other side are [MASK]", **found,
        "gain": gain,
        "exact": {"left": entropy() / (expected_length("token") - 1), "both": of(mean_estimate(exact)),
                  "both_model": of(mean_estimate(nats["both"][which])),
                  "gap": of(mean_estimate(nats["both"][which] - exact))},
    }  # fmt: skip


# ---- likelihood: what masked probabilities multiply to

TINY = {"words": 4, "length": 4, "stay": (0.25, 0.5, 0.7, 0.9, 0.97), "steps": 400, "rows": 128, "width": 32}
FRAME = ("Once there lived a small {} called {}. Home was the {}. One day {} lost {} red kite. At last {} found it "
         "under the bridge. That night {} slept beside {} kite.")  # fmt: skip
ORDERS = {"n": 400, "apart": 10, "threshold": 0.1}


def tiny_run(stay: float) -> dict:
    """Train a BERT on a chain of words that stays with probability `stay`; add up the products of all texts."""
    V, T = TINY["words"], TINY["length"]
    move = torch.full((V, V), (1 - stay) / (V - 1), dtype=torch.float64).fill_diagonal_(stay)
    texts = torch.tensor(list(itertools.product(range(V), repeat=T)))
    joint = torch.stack([move[texts[:, i], texts[:, i + 1]] for i in range(T - 1)]).prod(0) / V
    table, log_exact = joint.view((V,) * T), torch.zeros(len(texts), dtype=torch.float64)
    for i in range(T):
        log_exact += (table / table.sum(i, keepdim=True)).flatten().log()
    seed_all(0)
    width = TINY["width"]
    cfg = BERTConfig(vocab=V + 1, length=T, n_layers=1, n_heads=2, d_model=width, d_inner=2 * width, dropout=0.0,
                     attention_dropout=0.0)  # fmt: skip
    model, special = BERT(cfg), (V,)
    opt = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = warmup_cosine(opt, TINY["steps"], warmup=20)
    for _ in range(TINY["steps"]):
        rows = texts[torch.multinomial(joint, TINY["rows"], replacement=True)]
        batch = mask_tokens(rows, vocab=V + 1, hide=V, special=special, share=1 / T, kinds=(1.0, 0.0))
        loss, _ = mlm_loss(model, batch)
        opt.zero_grad()
        loss.backward()
        opt.step()
        schedule.step()
    log_q = pseudo_log_prob(model.eval(), texts, hide=V, special=special).double()
    gap = (joint * (log_exact - log_q)).sum().item() / T
    return {"sum": log_q.exp().sum().item(), "sum_exact": log_exact.exp().sum().item(), "joint": joint.sum().item(),
            "gap": gap}  # fmt: skip


@torch.no_grad()
def frame_run() -> dict:
    """Add up the products of the masked probabilities of all free words: kind, name, home, and he or she."""
    model, tokenizer = shipped()
    told = set(terminals())  # one home is in no tale
    kinds, homes = (sorted({facts[key] for facts in FACTS.values()} & told) for key in ("kind", "home"))
    choices = itertools.product(kinds, FACTS, homes, (("she", "her"), ("he", "his")))
    texts = [FRAME.format(kind, name, home, s, h, s, s, h) for kind, name, home, (s, h) in choices]
    rows = torch.stack([tokenizer.encode_pair(text)[0] for text in texts])
    log_q = torch.zeros(len(rows))
    for i in (rows != rows[0]).any(0).nonzero()[:, 0].tolist():
        column = torch.full((len(rows), 1), i)
        log_p = model.mlm_logits(model(rows.scatter(1, column, tokenizer.mask))[:, i]).log_softmax(-1)
        log_q += log_p.gather(1, rows[:, i : i + 1])[:, 0]
    best = log_q.argsort(descending=True)[:6].tolist()
    log_p = torch.tensor([GRAMMAR.log_prob(words(text)) for text in texts])
    return {
        "text": FRAME.replace("{}", "[MASK]"), "texts": len(texts), "sum": log_q.exp().sum().item(), "true": 1.0,
        "possible": int(log_p.isfinite().sum()), "best": [[texts[k], log_q[k].exp().item()] for k in best],
    }  # fmt: skip


@torch.no_grad()
def orders_run() -> dict:
    """Hide two words of a tale and restore one after the other: how the probability depends on which comes first."""
    model, tokenizer = shipped()
    g, rows, pairs = torch.Generator().manual_seed(0), [], []
    for story in load("tales", "test", n=ORDERS["n"]).documents:
        rows.append(tokenizer.encode_pair(story)[0])
        apart = int(torch.randint(1, ORDERS["apart"] + 1, (), generator=g))
        i = int(torch.randint(1, len(rows[-1]) - 1 - apart, (), generator=g))
        pairs.append((i, i + apart))
    totals = []
    for row, (i, j) in zip(rows, pairs):
        both, right, left = row.clone(), row.clone(), row.clone()
        both[[i, j]] = right[j] = left[i] = tokenizer.mask
        log_p = model.mlm_logits(model(torch.stack([both, right, left]))).log_softmax(-1)
        a, b = row[i], row[j]
        totals.append((log_p[0, i, a] + log_p[1, j, b], log_p[0, j, b] + log_p[2, i, a]))
    left_first, right_first = torch.tensor(totals).unbind(1)
    apart = (left_first - right_first).abs()
    return {"difference": of(mean_estimate(apart)), "above": of_share(apart > ORDERS["threshold"]),
            "threshold": ORDERS["threshold"], "n": len(apart), "largest": apart.max().item(),
            "mean": {"left first": left_first.mean().item(), "right first": right_first.mean().item()}}  # fmt: skip


# ---- generate: tales from nothing but [MASK]

GENERATE = {"n": 300, "batch": 50, "temperature": 1.0}
STEPS, ORDER = ("1", "2", "4", "8", "T"), ("confident", "random")


def restore_capitals(text: str) -> str:
    text = re.sub(r"(^|\. )([a-z])", lambda found: found[1] + found[2].upper(), text)
    return re.sub(rf"\b({'|'.join(FACTS).lower()})\b", lambda found: found[1].capitalize(), text)


def generate_run(order: str, steps: str) -> dict:
    """Return what share of the texts the grammar accepts; lengths are those of tales, in ascending order."""
    model, tokenizer = shipped()
    g, texts = torch.Generator().manual_seed(0), []
    lengths = sorted(len(words(story)) for story in load("tales", n=GENERATE["n"], seed=7).documents)
    special = [k for k in tokenizer.specials.tokens.values() if k != tokenizer.mask]
    for part in torch.tensor(lengths).split(GENERATE["batch"]):
        T = int(part.max()) + 2
        place, last = torch.arange(T), part[:, None] + 1
        tokens = torch.full((len(part), T), tokenizer.mask).where(place < last, tokenizer.pad)
        tokens = tokens.masked_fill(place == 0, tokenizer.cls).masked_fill(place == last, tokenizer.sep)
        count = T - 2 if steps == "T" else int(steps)
        options = {"hide": tokenizer.mask, "special": special, "temperature": GENERATE["temperature"], "order": order}
        *_, (tokens, _) = unmask_steps(model, tokens, count, mask=place <= last, generator=g, **options)
        texts += [restore_capitals(tokenizer.decode(row, specials=False)) for row in tokens]
    accepted = [text for text in texts if derivations(text)]
    named = [re.search(r"(\w+) called (\w+)\.", text) for text in texts]
    agrees = [found is not None and FACTS.get(found[2], {}).get("kind") == found[1] for found in named]
    return {
        "accepted": of(share_estimate(len(accepted), len(texts))), "kind_agrees": of_share(torch.tensor(agrees)),
        "distinct": of(share_estimate(len(set(accepted)), len(accepted))) if accepted else None,
        "passes": sum(lengths) / len(lengths) if steps == "T" else int(steps),
        "accepted_words": sum(len(words(text)) for text in accepted) / len(accepted) if accepted else None,
        "words": sum(lengths) / len(lengths), "example": texts[len(texts) // 2],
    }  # fmt: skip


# ---- spans: answers to questions about tales


def spans_run(n: int = 1_000) -> dict:
    """Return exact matches of bert-spans and of two baselines that do not read the story, by kind of question."""
    model, tokenizer = load_weights("bert-spans", BERTSpans).eval(), load_tokenizer("bert-spans")
    train, test = load("tale_questions", n=QUESTIONS), load("tale_questions", "test", n=n)
    common: dict[str, Counter] = {}
    for kind, answer in zip(train.extra["kinds"], train.answers):
        common.setdefault(kind, Counter())[answer] += 1
    said = {
        "model": answers(model, tokenizer, test.questions, test.stories),
        "most frequent": [common[kind].most_common(1)[0][0] for kind in test.extra["kinds"]],
        "first name": [re.search(r"called (\w+)", story)[1] for story in test.stories],
    }
    right = {who: torch.tensor([a == b for a, b in zip(found, test.answers)]) for who, found in said.items()}
    kinds = {}
    for kind in sorted(set(test.extra["kinds"])):
        which = torch.tensor([k == kind for k in test.extra["kinds"]])
        kinds[kind] = {who: of_share(hits[which]) for who, hits in right.items()} | {"n": int(which.sum())}
    wrong = [{"story": test.stories[k], "question": test.questions[k], "answer": test.answers[k],
              "said": said["model"][k], "kind": test.extra["kinds"][k]}
             for k in (~right["model"]).nonzero()[:5, 0].tolist()]  # fmt: skip
    baselines = {who: of_share(hits) for who, hits in right.items() if who != "model"}
    return {"n": n, "exact": of_share(right["model"]), "kinds": kinds, "baselines": baselines, "wrong": wrong}


# ---- speed: work of a step with logits at the hidden words only, and at all of them

SPEED = {"rows": 32, "share": 0.15}
COUNTED = {
    "bert-words": BERTConfig(vocab=549, dropout=0.0, attention_dropout=0.0, **SIZES),
    "bert-base": BERTConfig(vocab=30_522, dropout=0.0, attention_dropout=0.0),
}


def all_logits_loss(model: BERT, batch: Masked) -> Tensor:
    """-log p of the hidden words, with logits at every place: the labels of the others are ignored."""
    logits = model.mlm_logits(model(batch.tokens))
    labels = torch.full_like(batch.tokens, -100).scatter(1, batch.places, batch.targets)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def speed_run(name: str) -> dict:
    """Return FLOPs of the forward pass, and of forward and backward, counted on tensors that hold nothing."""
    cfg, length = COUNTED[name], 64 if name == "bert-words" else 128
    with torch.device("meta"):
        model, tokens = BERT(cfg), torch.zeros(SPEED["rows"], length, dtype=torch.int64)
        places = torch.zeros(SPEED["rows"], round(SPEED["share"] * length), dtype=torch.int64)
        batch = Masked(tokens, places, places, torch.ones_like(places, dtype=torch.bool))
    losses = {"masked": lambda: mlm_loss(model, batch)[0], "all": lambda: all_logits_loss(model, batch)}
    found = {how: {"forward": count_flops(loss), "step": count_flops(lambda loss=loss: loss().backward())}
             for how, loss in losses.items()}  # fmt: skip
    ratio = {key: found["masked"][key] / found["all"][key] for key in ("forward", "step")}
    sizes = {"vocab": cfg.vocab, "length": length, "width": cfg.d_model, "layers": cfg.n_layers}
    return sizes | found | {"ratio": ratio}


# ---- all


def plan() -> dict:
    """Return name -> function of every part."""
    parts = {f"speed {name}": partial(speed_run, name) for name in COUNTED}
    parts |= {f"likelihood tiny {stay}": partial(tiny_run, stay) for stay in TINY["stay"]}
    parts |= {"share guess": small_guess}
    parts |= {f"share {share} {s}": partial(small_run, share, s) for s in FEW_SEEDS for share in SHARES}
    parts |= {f"share scratch {s}": partial(small_scratch, s) for s in FEW_SEEDS}
    parts |= {f"positions without {s}": partial(small_run, 0.15, s, without_positions) for s in FEW_SEEDS}
    parts |= {"likelihood frame": frame_run, "likelihood orders": orders_run, "context": context_run}
    parts |= {f"generate {order} {k}": partial(generate_run, order, k) for order in ORDER for k in STEPS}
    parts |= {"spans": spans_run}
    return parts | {f"labels {kind}/{count} {s}": partial(labels_run, kind, count, s) for count in (50, 500, 5_000)
                    for kind in ("bag of words", "pretrained", "from scratch") for s in SEEDS}  # fmt: skip


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them: lists over seeds."""

    def over(prefix: str, seeds=FEW_SEEDS, **more) -> dict[str, list]:
        runs = [done[f"{prefix} {s}"] for s in seeds]
        return {key: [run[key] for run in runs] for key in runs[0]}

    counts, shares = [str(n) for n in COUNTS], {str(share): over(f"share {share}") for share in SHARES}
    tested = sentiment_test().labels
    entries = registry()
    return {
        "labels": {"settings": LABELS, "seeds": SEEDS, "counts": COUNTS,
                   "accuracy": {kind: {c: over(f"labels {kind}/{c}", SEEDS)["accuracy"] for c in counts}
                                for kind in ("pretrained", "from scratch", "bag of words")},
                   "majority": of_share(tested == tested.mode().values),
            "shipped": entries["bert-sentiment"]["score"],
                   "words": {c: over(f"labels bag of words/{c}", SEEDS)["words"] for c in counts}},
        "share": {"settings": SMALL, "seeds": FEW_SEEDS, "runs": shares, "guess": done["share guess"],
                  "from scratch": over("share scratch")},
        "positions": {"settings": SMALL, "seeds": FEW_SEEDS,
                      "runs": {"with": shares["0.15"], "without": over("positions without")}},
        "context": done["context"],
        "likelihood": {"tiny": {"words": TINY["words"], "length": TINY["length"], "stay": TINY["stay"],
                                "texts": TINY["words"] ** TINY["length"],
                                **over("likelihood tiny", TINY["stay"])},
                       "frame": done["likelihood frame"], "orders": done["likelihood orders"]},
        "generate": {"n": GENERATE["n"], "steps": STEPS, "settings": GENERATE,
                     "runs": {order: {k: done[f"generate {order} {k}"] for k in STEPS} for order in ORDER},
                     "others": {name: entries[name]["score"]["accepted"] for name in OTHERS}},
        "spans": done["spans"],
        "speed": {**SPEED, "models": {name: done[f"speed {name}"] for name in COUNTED}},
    }  # fmt: skip


if __name__ == "__main__":
    main("05", plan(), gather, __file__, PART_SOURCES, also=ALSO, seeds=SEEDS, libraries=("torch", "scikit-learn"))

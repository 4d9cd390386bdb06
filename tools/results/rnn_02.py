"""Measure what chapter 02 shows: `python -m tools.results.rnn_02` writes genai_utils/results/02.json.

`speech` needs the spoken digits (a network, or GENAI_DATA); the rest is embedded. About an hour on one CPU thread. Each
finished part is kept in runs/ and not measured twice, unless the section of this file that measures it, or a source
named for it, has changed. `python -m tools.results.rnn_02 copy sunspots` measures the parts named and stops.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.autoregressive.char_lm import CarriedState, RecurrentLM, RecurrentLMConfig, lm_loss, log_prob
from genai_utils.autoregressive.forecast import (
    Forecaster, ForecasterConfig, crps, forecast, forecast_loss, linear_autoregression, seasonal_naive,
)  # fmt: skip
from genai_utils.autoregressive.rnn import Recurrent
from genai_utils.autoregressive.speech import SpeechClassifier, SpeechClassifierConfig, log_mel, speech_loss
from genai_utils.core import seed_all
from genai_utils.data import CharTokenizer, load
from genai_utils.data.tales import END, ending, floor_per_character
from genai_utils.data.tales import log_prob as exact_log_prob
from genai_utils.metrics.speed import compare
from genai_utils.training import adamw, fit, make_step, warmup_cosine
from tools.parts import main

MODELS = "genai_utils/autoregressive"
LANGUAGE = (f"{MODELS}/rnn.py", f"{MODELS}/char_lm.py", "genai_utils/data/tales.py")
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its section of this file
    "copy": (f"{MODELS}/rnn.py",), "tales": LANGUAGE, "window": LANGUAGE, "clipping": LANGUAGE,
    "threshold": LANGUAGE,
    "length": (f"{MODELS}/rnn.py", f"{MODELS}/char_lm.py"),
    "sunspots": (f"{MODELS}/rnn.py", f"{MODELS}/forecast.py", "genai_utils/data/sunspots.txt"),
    "speech": (f"{MODELS}/rnn.py", f"{MODELS}/speech.py", "genai_utils/data/audio.py"),
}  # fmt: skip
SEEDS = (0, 1, 2)

# ---- copy: a symbol, then chatter, then the question

SYMBOLS, CHATTER = 8, 8  # to remember, and to be ignored; a guess is right one time in eight
DELAYS = (5, 10, 20, 40, 80, 160, 320)
COPY = {"width": 64, "batch": 32, "steps": 800, "rate": 3e-3, "solved": 0.99, "n": 1_000}
READERS = {  # cell, bias of the forget gate (None: torch's own initialisation), largest gradient norm (None: any)
    "rnn": ("rnn", None, 1.0), "rnn, no clipping": ("rnn", None, None), "gru": ("gru", None, 1.0),
    "lstm, forget bias 0": ("lstm", 0.0, 1.0), "lstm, forget bias 1": ("lstm", 1.0, 1.0),
    "lstm, forget bias 5": ("lstm", 5.0, 1.0), "transformer": (None, None, 1.0),
}  # fmt: skip


def recall(n: int, delay: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return one-hot sequences (n, delay + 1, SYMBOLS + CHATTER) and the symbols (n,) they start with."""
    symbols = torch.randint(SYMBOLS, (n,), generator=g)
    tokens = SYMBOLS + torch.randint(CHATTER, (n, delay + 1), generator=g)
    tokens[:, 0] = symbols
    return F.one_hot(tokens, SYMBOLS + CHATTER).float(), symbols


class Reader(nn.Module):
    """Reads a sequence and, at its end, names its first symbol."""

    def __init__(self, kind: str, delay: int) -> None:
        super().__init__()
        cell, bias, _ = READERS[kind]
        width = COPY["width"]
        if cell is None:
            self.embed, self.place = nn.Linear(SYMBOLS + CHATTER, width), nn.Embedding(delay + 1, width)
            layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        else:
            self.body = Recurrent(cell, SYMBOLS + CHATTER, width, forget_bias=bias)
        self.head = nn.Linear(width, SYMBOLS)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.body, Recurrent):
            return self.head(self.body(x)[0][:, -1])
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.head(self.body(self.embed(x) + self.place.weight, mask=mask, is_causal=True)[:, -1])


def copy_run(kind: str, seed: int) -> dict[str, dict[str, float]]:
    """Train a new reader on each delay in turn, until one is not solved; return by delay what came of it.

    Solved: within 800 updates, 99 % of 1,000 fresh sequences are answered right; training stops as soon as they are.
    """
    found = {}
    for delay in DELAYS:
        found[str(delay)] = train_reader(kind, delay, seed)
        if found[str(delay)]["right"] < COPY["solved"]:
            break
    return found


def train_reader(kind: str, delay: int, seed: int) -> dict[str, float]:
    """Return the share of right answers, the loss in nats, and the updates that were made."""
    seed_all(seed)
    g = torch.Generator().manual_seed(seed)
    model = Reader(kind, delay)
    opt = torch.optim.Adam(model.parameters(), lr=COPY["rate"])
    clip = READERS[kind][2]
    fresh, answers = recall(COPY["n"], delay, torch.Generator().manual_seed(10_000))
    for step in range(1, COPY["steps"] + 1):
        x, symbols = recall(COPY["batch"], delay, g)
        loss = F.cross_entropy(model(x), symbols)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), math.inf if clip is None else clip)
        opt.step()
        if step == COPY["steps"] or (step % 20 == 0 and loss < 0.1):
            with torch.no_grad():
                logits = model(fresh)
            right, loss = (logits.argmax(1) == answers).float().mean().item(), F.cross_entropy(logits, answers)
            if right >= COPY["solved"]:
                break
    return {"right": right, "loss": loss.item(), "steps": step}


# ---- tales, window: characters of tales against the exact floor

TALES = {"steps": 1_200, "batch": 32, "length": 64, "rate": 4e-3, "n": 500}
WINDOWS = ((8, "carried"), (8, "reset"), (64, "reset"))  # beside (64, carried), which every run of "tales" is
WIDTHS = {"rnn": 224, "gru": 148, "lstm": 128}  # about as many parameters each; the run says how many


def tales_model(cell: str, seed: int, *, length: int, carry: bool) -> RecurrentLM:
    """Return a language model trained on tales by truncated back-propagation over `length` characters."""
    seed_all(seed)
    train = load("tales")
    tokenizer = CharTokenizer.of(train.text)
    cfg = RecurrentLMConfig(alphabet=tokenizer.alphabet, cell=cell, d_embed=32, d_hidden=WIDTHS[cell], n_layers=1)
    model = RecurrentLM(cfg)
    steps = TALES["steps"] * TALES["length"] // length  # as many characters for every length
    batches = train.batches(tokenizer, TALES["batch"], length)
    opt = adamw(model, TALES["rate"], weight_decay=0.0)
    carried = CarriedState()
    loss = carried.loss if carry else lambda m, batch: lm_loss(m, batch[:2])
    step = make_step(model, loss, opt, schedule=warmup_cosine(opt, steps))
    fit(step, batches, steps=steps, every=steps, progress=False)
    return model.eval()


@torch.no_grad()
def tales_run(cell: str, seed: int, *, length: int = TALES["length"], carry: bool = True) -> dict[str, float]:
    """Nats per character above the floor on fresh stories, and how often the end of a story fits its beginning."""
    with torch.enable_grad():
        model = tales_model(cell, seed, length=length, carry=carry)
    test = load("tales", "test", n=TALES["n"])
    tokenizer = CharTokenizer(model.cfg.alphabet)
    start = load("tales", n=1).text  # a story that was read before: with a carried state hardly any begins from nothing
    log_q = torch.stack([log_prob(model, tokenizer.encode(s + END)[None], start)[0] for s in test.documents]).double()
    log_p = torch.tensor([exact_log_prob(story) for story in test.documents], dtype=torch.float64)
    characters = sum(len(story) + 1 for story in test.documents)
    above = (log_p - log_q).sum().item() / characters
    spread = (log_p - log_q).std().item() * math.sqrt(len(log_p)) / characters
    return {
        "nats": -log_q.sum().item() / characters, "above_floor": above, "standard_error": spread,
        "parameters": sum(p.numel() for p in model.parameters()),
    } | last_words(model, tokenizer, test.documents, start)  # fmt: skip


def last_words(model: RecurrentLM, tokenizer: CharTokenizer, stories: tuple[str, ...], start: str) -> dict[str, float]:
    """Return how often the model, greedily, writes the last word, which only an earlier clue tells.

    `told`: the word stands in the story; `known`: it does not, but follows from who the hero is. `far`: the clue is
    more than 100 characters back. `distance`: mean number of characters from the clue to the word.
    """
    found = {"told": [], "known": [], "far": []}
    distances = []
    for story in stories:
        end = ending(story)
        tokens = tokenizer.encode(f"{start}{end.beginning} {end.last}")
        logits, _ = model(tokens[None, :-1])
        n = len(end.last)
        right = bool((logits[0, -n:].argmax(1) == tokens[-n:]).all())
        found["told" if end.told else "known"].append(right)
        if end.distance > 100:
            found["far"].append(right)
        distances.append(end.distance)
    shares = {name: sum(hits) / len(hits) for name, hits in found.items()}
    return shares | {"distance": sum(distances) / len(distances)} | {f"n_{name}": len(v) for name, v in found.items()}


# ---- clipping

CLIPPING = {"rate": 5e-3, "steps": 400, "batch": 32, "length": 64, "width": 128}


def clipping_run(clip: float | None, seed: int) -> dict:
    """Train a plain RNN on tales with plain gradient descent; the loss and the gradient's norm at every step."""
    seed_all(seed)
    train = load("tales")
    tokenizer = CharTokenizer.of(train.text)
    cfg = RecurrentLMConfig(alphabet=tokenizer.alphabet, cell="rnn", d_embed=32, d_hidden=CLIPPING["width"], n_layers=1)
    model = RecurrentLM(cfg)
    opt = torch.optim.SGD(model.parameters(), lr=CLIPPING["rate"] * 100, momentum=0.9)
    carried = CarriedState()
    losses, norms = [], []
    for _, batch in zip(range(CLIPPING["steps"]), train.batches(tokenizer, CLIPPING["batch"], CLIPPING["length"])):
        loss, _ = carried.loss(model, batch)
        opt.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), math.inf if clip is None else clip)
        if not (loss.isfinite() and norm.isfinite()):
            break
        opt.step()
        losses.append(round(loss.item(), 4))
        norms.append(float(f"{norm.item():.4g}"))
    return {"losses": losses, "norms": norms}


# ---- threshold: at which norm to clip, and how large the recurrent weights are at the start

THRESHOLD = {
    "scales": (1.0, 1.5, 2.0), "thresholds": ("off", "10", "1", "0.1"), "stories": 400, "rate": 0.3, "steps": 200,
    "batch": 8, "length": 64, "width": 64, "last": 20,
    "shown": (*range(1, 11), *range(12, 21, 2), *range(25, 51, 5), *range(60, 201, 10)),  # steps, counted from 1
}  # fmt: skip


def threshold_run(scale: float, threshold: str, seed: int, *, steps: int = THRESHOLD["steps"]) -> dict:
    """Train a plain RNN on tales by gradient descent with momentum, from recurrent weights of a given scale.

    `losses` (nats per character) and `norms` (of the gradient, before it is clipped) at the steps shown; `last`: the
    mean loss of the last 20 steps; `largest`: the largest norm of all steps.
    """
    train = load("tales", n=THRESHOLD["stories"])
    tokenizer = CharTokenizer.of(train.text)
    torch.manual_seed(seed)
    cfg = RecurrentLMConfig(alphabet=tokenizer.alphabet, cell="rnn", d_embed=16, d_hidden=THRESHOLD["width"])
    model = RecurrentLM(cfg)
    nn.init.orthogonal_(model.body.weights()[0].weight_hh, scale)
    opt, carried = torch.optim.SGD(model.parameters(), THRESHOLD["rate"], momentum=0.9), CarriedState()
    clip = math.inf if threshold == "off" else float(threshold)
    losses, norms = [], []
    for _, batch in zip(range(steps), train.batches(tokenizer, THRESHOLD["batch"], THRESHOLD["length"])):
        loss, _ = carried.loss(model, batch)
        opt.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), clip).item())
        opt.step()
        losses.append(loss.item())
    shown = [step - 1 for step in THRESHOLD["shown"] if step <= steps]
    last = losses[-THRESHOLD["last"] :]
    return {
        "losses": [float(f"{losses[k]:.4g}") for k in shown], "norms": [float(f"{norms[k]:.4g}") for k in shown],
        "last": sum(last) / len(last), "largest": max(norms),
    }  # fmt: skip


# ---- length: why transformers took over: time against the length of the sequence

LENGTHS = (16, 64, 256, 1024)
PARALLEL = {"characters": 4_096, "width": 128, "vocab": 64, "rounds": 15}


class TinyTransformer(nn.Module):
    """One causal block of about as many parameters as the LSTM it is timed against."""

    def __init__(self, width: int, vocab: int, length: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(vocab, width), nn.Embedding(length, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.place.weight[: tokens.shape[1]]
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return self.head(x + self.mlp(self.norm2(x)))


def length_run(length: int) -> dict[str, float]:
    """Milliseconds of a training step on 4,096 characters cut into sequences of `length`, LSTM beside transformer."""
    seed_all(0)
    tokens = torch.randint(PARALLEL["vocab"], (PARALLEL["characters"] // length, length))
    width, vocab = PARALLEL["width"], PARALLEL["vocab"]
    alphabet = "".join(chr(48 + k) for k in range(vocab))
    lstm = RecurrentLM(RecurrentLMConfig(alphabet=alphabet, cell="lstm", d_embed=width, d_hidden=width, n_layers=1))
    former = TinyTransformer(width, vocab, length)

    def step(model, logits_of):
        def run():
            F.cross_entropy(logits_of(model).flatten(0, 1), tokens.flatten()).backward()
            model.zero_grad()

        return run

    found = compare(
        step(lstm, lambda m: m(tokens)[0]), step(former, lambda m: m(tokens)), rounds=PARALLEL["rounds"]
    )  # fmt: skip
    return {
        "lstm_ms": found.ours_ms.value, "transformer_ms": found.peer_ms.value,
        "ratio": [found.ratio.value, found.ratio.low, found.ratio.high],
        "parameters": [sum(p.numel() for p in m.parameters()) for m in (lstm, former)],
    }  # fmt: skip


# ---- sunspots

SUNSPOTS = {
    "steps": 300, "window": 66, "batch": 16, "rate": 5e-3, "horizon": 22, "period": 11, "order": 9, "draws": 500,
}  # fmt: skip


def sunspot_model(seed: int) -> Forecaster:
    """Return a forecaster fitted to the years up to 1920, every step from the true past (teacher forcing)."""
    seed_all(seed)
    values = load("sunspots").values
    model = Forecaster(ForecasterConfig())
    model.fit_scale(values)
    opt = adamw(model, SUNSPOTS["rate"], weight_decay=0.1)
    g = torch.Generator().manual_seed(seed)

    def batches():
        while True:
            starts = torch.randint(len(values) - SUNSPOTS["window"], (SUNSPOTS["batch"],), generator=g)
            windows = torch.stack([values[s : s + SUNSPOTS["window"] + 1] for s in starts])
            yield windows[:, :-1], windows[:, 1:]

    step = make_step(model, forecast_loss, opt, schedule=warmup_cosine(opt, SUNSPOTS["steps"]))
    fit(step, batches(), steps=SUNSPOTS["steps"], every=SUNSPOTS["steps"], progress=False)
    return model.eval()


def sunspot_run(method: str, seed: int) -> dict[str, list[float]]:
    """Forecast from every year of the test part, up to 22 years ahead: errors and intervals, by horizon.

    An origin is a year whose past is all known; nothing after 1920 was used for fitting.
    """
    train, test = load("sunspots"), load("sunspots", "test")
    series = torch.cat([train.values, test.values])
    first, H = len(train.values), SUNSPOTS["horizon"]
    g = torch.Generator().manual_seed(seed)
    if method == "lstm":
        model = sunspot_model(seed)
        draw = lambda past: forecast(model, past, H, SUNSPOTS["draws"], generator=g)
    elif method == "autoregression":
        fitted = linear_autoregression(train.values, SUNSPOTS["order"])
        draw = lambda past: fitted.sample(past, H, SUNSPOTS["draws"], generator=g)
    else:
        fitted = seasonal_naive(train.values, SUNSPOTS["period"])
        draw = lambda past: fitted.sample(past, H, SUNSPOTS["draws"], generator=g)
    found = {k: [[] for _ in range(H)] for k in ("absolute", "crps", "in_80", "in_95")}
    for origin in range(first, len(series) - 1):
        samples, truth = draw(series[:origin]), series[origin : origin + H]  # (draws, H)
        for k, value in enumerate(truth):
            drawn = samples[:, k]
            found["absolute"][k].append((drawn.median() - value).abs().item())
            found["crps"][k].append(float(crps(drawn, value)))
            for share in (80, 95):
                low, high = drawn.quantile(0.5 - share / 200), drawn.quantile(0.5 + share / 200)
                found[f"in_{share}"][k].append(float(low <= value <= high))
    return {name: [sum(at) / len(at) for at in rows] for name, rows in found.items()} | {
        "n": [len(at) for at in found["crps"]]
    }


# ---- speech: spoken digits

SPEECH = {"steps": 500, "batch": 32, "rate": 3e-3}


def speech_model(waves: Tensor, labels: Tensor, seed: int) -> SpeechClassifier:
    """Return a classifier of recordings (N, T) in [-1, 1]."""
    seed_all(seed)
    model = SpeechClassifier(SpeechClassifierConfig())
    opt = adamw(model, SPEECH["rate"], weight_decay=0.05)
    g = torch.Generator().manual_seed(seed)

    def batches():
        while True:
            which = torch.randint(len(waves), (SPEECH["batch"],), generator=g)
            yield waves[which], labels[which]

    step = make_step(model, speech_loss, opt, schedule=warmup_cosine(opt, SPEECH["steps"]))
    fit(step, batches(), steps=SPEECH["steps"], every=SPEECH["steps"], progress=False)
    return model.eval()


@torch.no_grad()
def speech_run(seed: int) -> dict[str, float]:
    """Share of spoken digits that an LSTM names right: known speakers, one it never heard, played backwards."""
    train, test = load("spoken_digits"), load("spoken_digits", "test")
    x, y = train.waves.float() / 32768, train.labels
    tx, ty = test.waves.float() / 32768, test.labels
    right = lambda model, waves, labels: (model(waves).argmax(1) == labels).float().mean().item()
    with torch.enable_grad():
        model = speech_model(x, y, seed)
    backwards = torch.stack([torch.cat([w[:n].flip(0), w[n:]]) for w, n in zip(tx, test.lengths)])
    found = {"test": right(model, tx, ty), "backwards": right(model, backwards, ty)}
    speaker, names = train.extra["speaker"], train.extra["speakers"]
    left_out = seed % len(names)
    known = speaker != left_out
    with torch.enable_grad():
        model = speech_model(x[known], y[known], seed)
    found["new_speaker"] = right(model, x[~known], y[~known])
    return found | {"n": len(ty), "n_new_speaker": int((~known).sum()), "left_out": names[left_out]}


@torch.no_grad()
def speech_baseline() -> dict[str, float]:
    """Share that logistic regression on the mean and spread of the frames names right: it cannot know their order."""
    from sklearn.linear_model import LogisticRegression

    train, test = load("spoken_digits"), load("spoken_digits", "test")
    model = SpeechClassifier(SpeechClassifierConfig())

    def summary(data) -> Tensor:
        rows = []
        for wave, n in zip(data.waves.float() / 32768, data.lengths.tolist()):
            bands = log_mel(wave[None, : max(n, model.cfg.frame)], model.filters, model.cfg.frame, model.cfg.hop)[0]
            rows.append(torch.cat([bands.mean(0), bands.std(0, correction=0)]))
        return torch.stack(rows)

    x = summary(train)
    centre, scale = x.mean(0), x.std(0)
    fitted = LogisticRegression(max_iter=2_000).fit(((x - centre) / scale).numpy(), train.labels.numpy())
    score = fitted.score(((summary(test) - centre) / scale).numpy(), test.labels.numpy())
    return {"test": float(score), "n": len(test.labels)}


# ---- all


def plan() -> dict:
    """Return name -> function of every part."""
    parts = {f"sunspots {m} {s}": partial(sunspot_run, m, s)
             for m in ("lstm", "autoregression", "seasonal") for s in (SEEDS if m == "lstm" else (0,))}  # fmt: skip
    parts |= {f"speech {s}": partial(speech_run, s) for s in SEEDS} | {"speech baseline": speech_baseline}
    parts |= {f"tales {cell} {s}": partial(tales_run, cell, s) for cell in WIDTHS for s in SEEDS}
    parts |= {f"window {length} {carry} {s}": partial(tales_run, "lstm", s, length=length, carry=carry == "carried")
              for length, carry in WINDOWS for s in SEEDS}  # fmt: skip
    parts |= {f"clipping {clip} {s}": partial(clipping_run, clip, s) for clip in (None, 1.0) for s in SEEDS}
    parts |= {f"threshold {scale} {threshold} {s}": partial(threshold_run, scale, threshold, s)
              for scale in THRESHOLD["scales"] for threshold in THRESHOLD["thresholds"] for s in SEEDS}  # fmt: skip
    parts |= {f"copy {kind}/{s}": partial(copy_run, kind, s) for kind in READERS for s in SEEDS}
    return parts | {f"length {n}": partial(length_run, n) for n in LENGTHS}


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them: lists over seeds."""

    def over(prefix: str, seeds=SEEDS) -> dict[str, list]:
        runs = [done[f"{prefix} {s}"] for s in seeds]
        return {key: [run[key] for run in runs] for key in runs[0]}

    return {
        "copy": {"settings": COPY, "delays": DELAYS, "symbols": SYMBOLS, "chatter": CHATTER, "seeds": SEEDS, "runs": {
            kind: [done[f"copy {kind}/{s}"] for s in SEEDS] for kind in READERS}},
        "tales": {"settings": TALES, "widths": WIDTHS, "seeds": SEEDS, "floor": floor_per_character(),
                  "runs": {cell: over(f"tales {cell}") for cell in WIDTHS}},
        "window": {f"{length} {carry}": over(f"window {length} {carry}") for length, carry in WINDOWS},
        "clipping": {"settings": CLIPPING, "seeds": SEEDS, "runs": {
            name: over(f"clipping {clip}") for name, clip in (("none", None), ("1", 1.0))}},
        "threshold": {"settings": THRESHOLD, "seeds": SEEDS, "runs": {
            str(scale): {threshold: over(f"threshold {scale} {threshold}") for threshold in THRESHOLD["thresholds"]}
            for scale in THRESHOLD["scales"]}},
        "length": {"settings": PARALLEL, "runs": {str(n): done[f"length {n}"] for n in LENGTHS}},
        "sunspots": {"settings": SUNSPOTS, "seeds": SEEDS, "lstm": over("sunspots lstm"),
                     "autoregression": over("sunspots autoregression", (0,)),
                     "seasonal": over("sunspots seasonal", (0,))},
        "speech": {"settings": SPEECH, "seeds": SEEDS, "lstm": over("speech"), "baseline": done["speech baseline"]},
    }  # fmt: skip


if __name__ == "__main__":
    main("02", plan(), gather, __file__, PART_SOURCES, seeds=SEEDS, libraries=("torch", "scikit-learn"))

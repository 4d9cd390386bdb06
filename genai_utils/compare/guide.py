"""How to choose a family: four questions, rules with their evidence, and the families that fit.

A rule gives a family -2 to 2 for some answers, or rules it out, and says why. Its evidence is a paper, a stored result
of a chapter, or chapter 21's comparison, whose scores and words are worked out from the numbers. The rules stand in
guide_rules.txt; the page book/choose.md shows them all, and its form adds them up as `recommend` does. Only families
with evidence for what matters most are proposed.

Sources: each rule names its own, as keys of book/references.bib.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genai_utils.results import load_results

QUESTIONS = {  # key: (question, {answer: its words})
    "data": (
        "What do you want to make?",
        {"image": "Pictures", "text": "Text", "audio": "Sound", "series": "Time series", "points": "Points or tables"},
    ),
    "aim": (
        "What matters most?",
        {
            "quality": "Each sample looks right",
            "variety": "Nothing is missing, rare cases included",
            "speed": "Samples come quickly",
            "likelihood": "An exact likelihood",
            "latent": "A smooth latent space to move in",
            "class": "Control, by a class or a property",
            "prompt": "Control, by a caption, a prompt or an instruction",
            "repair": "Filling gaps, cleaning, restoring",
            "translate": "Turning one thing into another",
            "anomaly": "A score for what is unusual",
        },
    ),
    "amount": ("How many examples have you got?", {"few": "Hundreds", "some": "Thousands", "many": "Millions"}),
    "compute": (
        "What can you train on?",
        {"laptop": "A laptop", "gpu": "One graphics card", "many": "Many graphics cards"},
    ),
}


WEIGHT = 2  # a rule about what matters most counts as much as two others
KINDS = {"exact": "exact", "bound": "a bound", "estimate": "an estimate"}  # of a likelihood, and their words
COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}


@dataclass(frozen=True)
class Family:
    title: str
    chapter: str | None  # its file in notebooks/; None while the chapter is planned


FAMILIES = {  # what is equal keeps this order: what is simpler to train comes first
    "vae": Family("Variational autoencoder", "09_vae"),
    "lstm": Family("LSTM", "02_rnn_lstm"),
    "pixelcnn": Family("PixelCNN", "03_pixelcnn_wavenet"),
    "wavenet": Family("WaveNet", "03_pixelcnn_wavenet"),
    "gpt": Family("GPT", "04_gpt"),
    "image_transformer": Family("Image transformer (GPT over pixels)", "04_gpt"),
    "seq2seq": Family("T5 and BART", "06_t5_bart"),
    "bert": Family("BERT", "05_bert"),
    "ddim": Family("Diffusion with the DDIM sampler", "16_diffusion"),
    "ddpm": Family("Diffusion with the DDPM sampler", "16_diffusion"),
    "flow_matching": Family("Flow matching", "15_flow_matching"),
    "realnvp": Family("RealNVP flow", "14_flows"),
    "glow": Family("Glow flow", "14_flows"),
    "vqvae": Family("VQ-VAE with a prior over its codes", "10_vqvae"),
    "wgan_gp": Family("WGAN-GP", "11_gan"),
    "dcgan": Family("DCGAN", "11_gan"),
    "stylegan2": Family("StyleGAN2", "12_stylegan_biggan"),
    "cyclegan": Family("CycleGAN", "13_cyclegan"),
    "latent_diffusion": Family("Latent diffusion with guidance", None),
    "vqgan_parti": Family("VQGAN and Parti", None),
    "llm": Family("Large language model", None),
}


ONE_NETWORK = ("ddim", "ddpm")  # two samplers of one network: whichever comes first is shown for both


SITUATIONS = {  # what the page shows without a question asked: the words, and the answers in the order of QUESTIONS
    "Pictures, the best from one graphics card": ("image", "quality", "some", "gpu"),
    "Pictures, the best there are": ("image", "quality", "many", "many"),
    "Pictures at once, many a second": ("image", "speed", "some", "gpu"),
    "Pictures with a map to walk on": ("image", "latent", "some", "laptop"),
    "Pictures from captions": ("image", "prompt", "many", "many"),
    "One kind of picture into another, without pairs": ("image", "translate", "few", "gpu"),
    "A probability for every picture": ("image", "likelihood", "some", "gpu"),
    "Pictures that are out of the ordinary": ("image", "anomaly", "some", "laptop"),
    "Text, with one graphics card": ("text", "quality", "some", "gpu"),
    "Summaries and translations": ("text", "translate", "some", "gpu"),
    "A writer that does as it is told": ("text", "prompt", "many", "many"),
    "Speech and music": ("audio", "quality", "some", "gpu"),
    "Forecasts with their spread": ("series", "quality", "some", "laptop"),
    "Tables and points with a density": ("points", "likelihood", "some", "laptop"),
}


@dataclass(frozen=True)
class Rule:
    when: tuple[tuple[str, tuple[str, ...]], ...]  # (question, answers of which one must be given); () holds always
    family: str
    score: int | None  # -2 to 2; None rules the family out
    text: str  # one or two sentences
    evidence: tuple[str, ...]  # "paper:KEY", "result:NUMBER:PATH" or "measure:KEY", at least one

    @property
    def points(self) -> int:
        """What it adds to the family's total: its score, twice if it is about what matters most."""
        return (self.score or 0) * (WEIGHT if self.about_aim else 1)

    @property
    def about_aim(self) -> bool:
        return any(key == "aim" for key, _ in self.when)


@dataclass(frozen=True)
class Choice:
    family: str
    score: int
    reasons: tuple[Rule, ...]  # best first, of equals those about the aim; 0 says what to mind

    @property
    def aim(self) -> int:
        """The part of the score that is about what matters most."""
        return sum(rule.points for rule in self.reasons if rule.about_aim)

    @property
    def fits(self) -> bool:
        """Whether there is more for it than against it in what matters most; others are not recommended."""
        return self.aim > 0


def recommend(answers: Mapping[str, str], values: Mapping[str, Any]) -> list[Choice]:
    """Return the families that are not ruled out: those that fit, then the rest, each best first.

    Of equal scores, the one with more about the aim comes first, then the order of FAMILIES. `proposed` says which of
    them to show.

    Args:
        answers: one for every question, such as {"data": "image", "aim": "speed", "amount": "some", "compute": "gpu"}.
        values: chapter 21's results, `load_results(21)["values"]`.
    Raises:
        ValueError: an answer is missing or unknown; a result that a rule quotes is missing.
    """
    return rank(answers, build_rules(values))


def rank(answers: Mapping[str, str], rules: Sequence[Rule]) -> list[Choice]:
    """Return what `recommend` returns, for rules that are built already."""
    held, out = matching(answers, rules), excluded(answers, rules)
    found = []
    for family in FAMILIES:
        reasons = sorted((rule for rule in held if rule.family == family and rule.score is not None),
                         key=lambda rule: (-rule.points, not rule.about_aim))  # fmt: skip
        if family not in out:
            found.append(Choice(family, sum(rule.points for rule in reasons), tuple(reasons)))
    return sorted(found, key=lambda choice: (not choice.fits, -choice.score, -choice.aim))


def proposed(choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices to show, three at most: those that fit, once for each network; if none fits, of all of them.

    Args:
        choices: what `rank` returns.
    """
    kept: list[Choice] = []
    for choice in [choice for choice in choices if choice.fits] or choices:
        if choice.family not in ONE_NETWORK or not any(other.family in ONE_NETWORK for other in kept):
            kept.append(choice)
    return kept[:3]


def excluded(answers: Mapping[str, str], rules: Sequence[Rule]) -> dict[str, tuple[Rule, ...]]:
    """Return the families that these answers rule out, with the rules that do so."""
    out: dict[str, tuple[Rule, ...]] = {}
    for rule in matching(answers, rules):
        if rule.score is None:
            out[rule.family] = (*out.get(rule.family, ()), rule)
    return out


def matching(answers: Mapping[str, str], rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules that hold for these answers.

    Raises:
        ValueError: an answer is missing or unknown.
    """
    if extra := sorted(answers.keys() - QUESTIONS.keys()):
        raise ValueError(f"there is no question {', '.join(extra)}; the questions are {', '.join(QUESTIONS)}")
    for key, (question, options) in QUESTIONS.items():
        if answers.get(key) not in options:
            raise ValueError(f"{key} ({question}) must be one of {', '.join(options)}; got {answers.get(key)!r}")
    return [rule for rule in rules if all(answers[key] in wanted for key, wanted in rule.when)]


def all_answers() -> Iterator[dict[str, str]]:
    """Yield every combination of answers."""
    for given in itertools.product(*(options for _, options in QUESTIONS.values())):
        yield dict(zip(QUESTIONS, given))


def places(rules: Sequence[Rule]) -> dict[str, tuple[int, dict[str, str], str]]:
    """Return, by family, its best place (0 is the first), answers that give it, and the family that is first for them.

    A family that all answers rule out is not there.
    """
    best: dict[str, tuple[int, dict[str, str], str]] = {}
    for answers in all_answers():
        choices = rank(answers, rules)
        for place, choice in enumerate(choices):
            if choice.family not in best or place < best[choice.family][0]:
                best[choice.family] = place, answers, choices[0].family
    return best


def build_rules(values: Mapping[str, Any], text: str | None = None) -> tuple[Rule, ...]:
    """Return every rule, its numbers filled in.

    Args:
        values: chapter 21's results.
        text: rules, as guide_rules.txt has them and explains; None: those of that file.
    Raises:
        ValueError: a result that a rule quotes is missing, or a line is no rule.
    """
    found: list[Rule] = []
    if text is None:
        text = Path(__file__).with_name("guide_rules.txt").read_text(encoding="utf-8")
    for when, line in _lines(text):
        if line.startswith("measured "):
            found += [rule for key in line.split()[1:] for rule in _measured(key, when, values)]
            continue
        if not (match := re.fullmatch(r"([a-z0-9_, ]+?) (-?\d|x) (.+)", line)):
            raise ValueError(f"guide_rules.txt: not families, a score and a reason: {line!r}")
        names, score, why = match[1].split(", "), match[2], match[3]
        if unknown := sorted({*names} - FAMILIES.keys()):
            raise ValueError(f"guide_rules.txt: there is no family {', '.join(unknown)}: {line!r}")
        evidence = [f"paper:{key}" for keys in re.findall(r"\[(.+?)\]", why) for key in keys.split(", ")]
        for number, path in re.findall(r"<(\d+):([^>]+?)(?: %)?>", why):
            evidence.append(f"measure:{path}" if number == "21" else f"result:{number}:{path}")
        for key in (item[8:] for item in evidence if item.startswith("measure:")):
            if key not in values["measures"]:
                raise ValueError(f"chapter 21's results have no measure {key!r}, which guide_rules.txt names: {line!r}")
        if score != "x" and not -2 <= int(score) <= 2:
            raise ValueError(f"guide_rules.txt: a score is from -2 to 2: {line!r}")
        if not evidence:
            raise ValueError(f"guide_rules.txt: a reason without evidence: {line!r}")
        why = re.sub(r"\s*(\[.+?\]|<21:.+?>)", "", why)
        why = re.sub(r"<(\d+):([^>]+?)( %)?>", lambda m: _show(number_of(int(m[1]), m[2]), bool(m[3])), why)
        value = None if score == "x" else int(score)
        found += [Rule(when, name, value, why, tuple(dict.fromkeys(evidence))) for name in names]
    return tuple(found)


def _lines(text: str) -> Iterator[tuple[tuple[tuple[str, tuple[str, ...]], ...], str]]:
    """Yield (when, rule) of each rule in the file, continued lines joined."""
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    joined = re.sub(r"\n {6,}", " ", text)
    for line in joined.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith(" "):
            yield when, line.strip()
            continue
        pairs = [] if line == "always" else [part.split("=") for part in line.split()]
        when = tuple((key, tuple(answers.split(","))) for key, answers in pairs)
        if bad := [f"{k}={a}" for k, given in when for a in given if k not in QUESTIONS or a not in QUESTIONS[k][1]]:
            raise ValueError(f"guide_rules.txt: no such answer: {', '.join(bad)}")


def _measured(key: str, when: tuple[tuple[str, tuple[str, ...]], ...], values: Mapping[str, Any]) -> list[Rule]:
    """Return a rule for each family that has the measure: from 2, better than all others, to -2, worse than all.

    Raises:
        ValueError: no family has the measure, it says nothing about better or worse, or a value is of an unknown kind.
    """
    summary = values["summary"]["flops"]
    table = {name: summary[name][key] for name in FAMILIES if key in summary.get(name, {})}
    if key not in values["measures"] or not table:
        raise ValueError(f"chapter 21's results have no measure {key!r} for any family of the guide")
    measure = values["measures"][key]
    if measure["better"] not in ("lower", "higher"):
        raise ValueError(f"the measure {key!r} says nothing about better or worse, so it cannot recommend")
    if unknown := sorted({cell.get("kind", "exact") for cell in table.values()} - KINDS.keys()):
        raise ValueError(f"the measure {key!r} has a value of the kind {', '.join(unknown)}, not {', '.join(KINDS)}")
    up, title, found = measure["better"] == "higher", measure["title"], []
    unit = "" if not measure.get("unit") or measure["unit"].startswith("share") else f" {measure['unit']}"
    for name, mine in table.items():
        others = [cell for other, cell in table.items() if other != name]
        below = sum(_better(mine, cell, up) for cell in others)
        above = sum(_better(cell, mine, up) for cell in others)
        score = round(2 * (below - above) / len(others)) if others else 0
        kind = f", {KINDS[mine['kind']]}" if "kind" in mine else ""
        spread = f" ({_show(mine['low'])} to {_show(mine['high'])})" if mine["low"] < mine["high"] else ""
        text = f"{title[:1].upper()}{title[1:]}: {_show(mine['value'])}{unit}{kind}{spread}, "
        text += f"{_standing(mine, others, up)}, at this book's small scale."
        found.append(Rule(when, name, score, text, (f"measure:{key}",)))
    return found


def _better(a: Mapping[str, Any], b: Mapping[str, Any], up: bool) -> bool:
    """Return whether a is better than b and their ranges are apart.

    An exact likelihood is beaten by a better exact one and by a better bound, since the truth behind a bound is better
    still. To be better than a bound or an estimate proves nothing, and an estimate proves nothing of anybody.
    """
    if a.get("kind") == "estimate" or b.get("kind", "exact") != "exact":
        return False
    return a["low"] > b["high"] if up else a["high"] < b["low"]


def _standing(mine: Mapping[str, Any], others: Sequence[Mapping[str, Any]], up: bool) -> str:
    """Return in words how a value stands among the others."""
    below = sum(_better(mine, cell, up) for cell in others)
    above = sum(_better(cell, mine, up) for cell in others)
    exact = [cell for cell in others if mine.get("kind", "exact") == cell.get("kind", "exact") == "exact"]
    proved = sum(_better(mine, cell, up) or _better(cell, mine, up) for cell in others if cell not in exact)
    unknown, count = len(others) - len(exact) - proved, len(others)
    if not count:
        return "the only one"
    if count in (below, above):
        return f"{'best' if below else 'worst'} of {count + 1}"
    if unknown == count:
        return f"which cannot be compared with any of {count} others"
    notes = []
    if (below or above) and any(cell["low"] < cell["high"] for cell in (mine, *others)):
        seeds = mine.get("seeds", 1)
        notes.append(f"ranges over {COUNTS.get(seeds, seeds)} seeds do not touch" if seeds > 1 else
                     "ranges over repetitions do not touch")  # fmt: skip
    if unknown:
        notes.append(f"{'the rest' if below + above + unknown == count else unknown} cannot be compared")
    note = f" ({'; '.join(notes)})" if notes else ""
    if not below and not above:
        return f"neither better nor worse than any of {count} others{note}"
    return f"better than {below or 'none'} of {count} others, worse than {above or 'none'}{note}"


def number_of(chapter: int, path: str) -> float:
    """Return the number at a dotted path of a chapter's stored results: * is every entry, -1 the last; means of many.

    Raises:
        ValueError: there is no such result.
    """
    nodes = [_stored(chapter)]
    for part in path.split("."):
        try:
            if part == "*":
                nodes = [x for node in nodes for x in (node.values() if isinstance(node, Mapping) else node)]
            else:
                nodes = [node[part] if isinstance(node, Mapping) else node[int(part)] for node in nodes]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"the results of chapter {chapter} have no {path!r}: {part!r} is not there") from error
    numbers = [x for node in nodes for x in _leaves(node)]
    if not numbers or not all(isinstance(x, int | float) for x in numbers):
        raise ValueError(f"{path!r} of chapter {chapter}'s results is no number and no list of numbers")
    return sum(numbers) / len(numbers)


def _leaves(node: Any) -> list[Any]:
    """Return what a list holds, of lists in lists as well, and the values of estimates."""
    if isinstance(node, list):
        return [x for entry in node for x in _leaves(entry)]
    return [node.get("value") if isinstance(node, Mapping) else node]


@functools.lru_cache(maxsize=32)
def _stored(chapter: int) -> Any:
    return load_results(chapter)["values"]


def _show(x: float, percent: bool = False) -> str:
    """Return x for a sentence, with three digits, or as a percentage."""
    if percent:
        return f"{100 * x:.0f} %" if x in (0, 1) or 0.01 <= x < 0.99 else f"{100 * x:.1f} %"
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"

"""How to choose a family: four questions, rules with their evidence, and the families that fit best.

A rule gives a family -2 to 2 for some answers, or rules it out, and says why. Its evidence is a paper, a stored result
of a chapter, or chapter 21's comparison, whose scores and words are worked out from the numbers. The rules stand in
guide_rules.txt; the page book/choose.md shows them all, and its form adds them up as `recommend` does.

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
            "control": "Control, by a class, a caption or a prompt",
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


@dataclass(frozen=True)
class Family:
    title: str
    chapter: str | None  # its file in notebooks/; None while the chapter is planned


FAMILIES = {  # equal scores keep this order: what is simpler to train comes first
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


SITUATIONS = {  # what the page shows without a question asked: the words, and the answers in the order of QUESTIONS
    "Pictures, the best from one graphics card": ("image", "quality", "some", "gpu"),
    "Pictures, the best there are": ("image", "quality", "many", "many"),
    "Pictures at once, many a second": ("image", "speed", "some", "gpu"),
    "Pictures with a map to walk on": ("image", "latent", "some", "laptop"),
    "Pictures from captions": ("image", "control", "many", "many"),
    "One kind of picture into another, without pairs": ("image", "translate", "few", "gpu"),
    "A probability for every picture": ("image", "likelihood", "some", "gpu"),
    "Pictures that are out of the ordinary": ("image", "anomaly", "some", "laptop"),
    "Text, trained from nothing": ("text", "quality", "some", "gpu"),
    "Summaries and translations": ("text", "translate", "some", "gpu"),
    "A writer that does as it is told": ("text", "control", "many", "many"),
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


def recommend(answers: Mapping[str, str], values: Mapping[str, Any]) -> list[Choice]:
    """Return the families that are not ruled out, best first; equal scores keep the order of FAMILIES.

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
    return sorted(found, key=lambda choice: -choice.score)


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
    """Return a rule for each family that has the measure: from 2, clearly better than all others, to -2, clearly worse.

    Clearly better means that the intervals over seeds do not overlap.
    """
    summary = values["summary"]["flops"]
    table = {name: summary[name][key] for name in FAMILIES if key in summary.get(name, {})}
    if key not in values["measures"] or not table:
        raise ValueError(f"chapter 21's results have no measure {key!r} for any family of the guide")
    measure = values["measures"][key]
    if measure["better"] not in ("lower", "higher"):
        raise ValueError(f"the measure {key!r} says nothing about better or worse, so it cannot recommend")
    up, others, found = measure["better"] == "higher", len(table) - 1, []
    for name, mine in table.items():
        above = sum(b["low"] > mine["high"] if up else b["high"] < mine["low"] for b in table.values())
        below = sum(b["high"] < mine["low"] if up else b["low"] > mine["high"] for b in table.values())
        score = round(2 * (below - above) / others) if others else 0
        unit = f" {measure['unit']}" if measure.get("unit") else ""
        spread = f" ({_show(mine['low'])} to {_show(mine['high'])})" if mine["low"] < mine["high"] else ""
        if others and below == others:
            standing = f"clearly the best of {others + 1}"
        elif others and above == others:
            standing = f"clearly the worst of {others + 1}"
        else:
            counts = (f"{count or 'none'}" for count in (below, above))
            standing = "of {} others clearly better than {}, clearly worse than {}".format(others, *counts)
        text = f"{measure['title']}: {_show(mine['value'])}{unit}{spread}, {standing}, at this book's small scale."
        found.append(Rule(when, name, score, text, (f"measure:{key}",)))
    return found


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

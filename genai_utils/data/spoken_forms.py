"""Spoken forms: dates, times, numbers and sums of money as they are written, and the British English words for them.

A task of text to text that is certain, endless and local: "28/11/2026" is "the twenty-eighth of November twenty
twenty-six". The rules:

- numbers have "and" before what is left of a hundred or a thousand: "one hundred and five thousand and three";
- 1905 is "nineteen oh five", 1900 "nineteen hundred", 2000 to 2009 "two thousand (and one ...)", 2010 "twenty ten";
- 28/11/2026 has the day first;
- 14:05 is "five past two in the afternoon", 14:35 "twenty-five to three", 14:07 "seven minutes past two"; mornings end
  at 12:00, which is "midday", and afternoons at 18:00; 00:00 is "midnight".

Sources: ours. The set has the kinds of text normalisation, Sproat & Jaitly 2016, arXiv:1611.00068.
Shapes:  N items of a split.
"""

import hashlib
from datetime import date, timedelta

import torch

from genai_utils.data.tasks import PairedText, check_draw

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = " ten twenty thirty forty fifty sixty seventy eighty ninety".split(" ")
IRREGULAR = {
    **{"one": "first", "two": "second", "three": "third", "five": "fifth"},
    **{"eight": "eighth", "nine": "ninth", "twelve": "twelfth"},
}
MONTHS = "January February March April May June July August September October November December".split()
FIRST_DAY, DAYS = date(1900, 1, 1), (date(2100, 1, 1) - date(1900, 1, 1)).days


def cardinal(number: int) -> str:
    """Return the words for a whole number in [0, 999,999]; ValueError for another."""
    if not 0 <= number <= 999_999:
        raise ValueError(f"number must be within [0, 999999], got {number}")
    if number < 20:
        return ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return TENS[tens] + (f"-{ONES[ones]}" if ones else "")
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    high, low = divmod(number, unit)
    joint = "" if not low else f" and {cardinal(low)}" if low < 100 else f" {cardinal(low)}"
    return f"{cardinal(high)} {name}{joint}"


def ordinal(number: int) -> str:
    """Return the words for a rank in [1, 999,999], as in "twenty-first"; ValueError for another."""
    if not 1 <= number <= 999_999:
        raise ValueError(f"number must be within [1, 999999], got {number}")
    words = cardinal(number)
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[cut:]
    return words[:cut] + (IRREGULAR.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th"))


def year(number: int) -> str:
    """Return the words for a year in [1100, 2099]; ValueError for another."""
    if not 1100 <= number <= 2099:
        raise ValueError(f"year must be within [1100, 2099], got {number}")
    if 2000 <= number < 2010:
        return cardinal(number)
    century, rest = divmod(number, 100)
    return f"{cardinal(century)} {'hundred' if not rest else f'oh {ONES[rest]}' if rest < 10 else cardinal(rest)}"


def clock(hour: int, minute: int) -> str:
    """Return the words for a time of day, hour in [0, 23] and minute in [0, 59]; ValueError for another."""
    if not (0 <= hour <= 23 and 0 <= minute <= 59):
        raise ValueError(f"a time must be within 00:00 and 23:59, got {hour:02}:{minute:02}")
    if minute == 0 and hour % 12 == 0:
        return "midday" if hour else "midnight"
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    name = cardinal((hour + (minute > 30) - 1) % 12 + 1)
    if minute == 0:
        return f"{name} o'clock {part}"
    if minute in (15, 30, 45):
        return f"{'half' if minute == 30 else 'quarter'} {'to' if minute > 30 else 'past'} {name} {part}"
    count = min(minute, 60 - minute)
    unit = "" if count % 5 == 0 else " minute" if count == 1 else " minutes"
    return f"{cardinal(count)}{unit} {'to' if minute > 30 else 'past'} {name} {part}"


def money(pence: int) -> str:
    """Return the words for a sum in [1, 99,999,999] pence; ValueError for another."""
    if not 1 <= pence <= 99_999_999:
        raise ValueError(f"pence must be within [1, 99999999], got {pence}")
    pounds, rest = divmod(pence, 100)
    parts = [f"{cardinal(pounds)} pound{'s' * (pounds != 1)}"] if pounds else []
    return " and ".join(parts + ([f"{cardinal(rest)} {'penny' if rest == 1 else 'pence'}"] if rest else []))


def day(of: date) -> str:
    """Return the words for a date, as in "the first of May twenty ten"; ValueError for a year that `year` refuses."""
    return f"the {ordinal(of.day)} of {MONTHS[of.month - 1]} {year(of.year)}"


def suffix(number: int) -> str:
    """Return the letters that make a number a rank: "st", "nd", "rd" or "th"."""
    return "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


DATE_FORMS = (
    lambda of: of.isoformat(),
    lambda of: f"{of.day:02}/{of.month:02}/{of.year}",
    lambda of: f"{MONTHS[of.month - 1][:3]} {of.day}, {of.year}",
    lambda of: f"{of.day} {MONTHS[of.month - 1]} {of.year}",
)
# kind -> share of the items, how many values there are (1, 2, ...), and in how many forms each is written
KINDS = {
    "date": (0.3, DAYS, len(DATE_FORMS)),
    "cardinal": (0.25, 999_999, 1),
    "ordinal": (0.15, 9_999, 1),
    "time": (0.15, 24 * 60, 1),
    "money": (0.15, 999_999, 1),
}
POSSIBLE = sum(values * forms for _, values, forms in KINDS.values())  # items in both splits: 2,303,633


def item(kind: str, value: int, form: int = 0) -> tuple[str, str]:
    """Return (written, spoken) for value 1, 2, ... of a kind.

    Args:
        kind: a key of KINDS.
        value: the number or rank itself; pence; days from 1 January 1900, which is 1; minutes from 00:00, which is 1.
        form: of dates, an index into DATE_FORMS.
    Raises:
        ValueError: no such kind, value or form.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    _, values, forms = KINDS[kind]
    if not (1 <= value <= values and 0 <= form < forms):
        raise ValueError(f"{kind} has values 1 to {values} and forms 0 to {forms - 1}, got {value} and {form}")
    if kind == "date":
        of = FIRST_DAY + timedelta(days=value - 1)
        return DATE_FORMS[form](of), day(of)
    if kind == "time":
        hour, minute = divmod(value - 1, 60)
        return f"{hour:02}:{minute:02}", clock(hour, minute)
    if kind == "money":
        return f"£{value // 100:,}.{value % 100:02}", money(value)
    if kind == "ordinal":
        return f"{value:,}{suffix(value)}", ordinal(value)
    return f"{value:,}", cardinal(value)


def held_out(kind: str, value: int) -> bool:
    """Return whether a value, in all its forms, belongs to the test: about one in ten, as a hash decides."""
    return hashlib.sha256(f"{kind} {value}".encode()).digest()[0] < 26


def spoken_forms(split: str = "train", *, n: int | None = None, seed: int = 0) -> PairedText:
    """Return n items as written (`sources`) and as spoken (`targets`); the splits share none, in no form.

    Numbers, ranks and sums have each count of digits alike often; dates and times are even. There are POSSIBLE items;
    draws are independent, so a short one occurs more than once. `extra["kinds"]` has the kind of each.

    Args:
        split: "train" (20,000 by default) or "test" (1,000).
        n: how many.
        seed: other seeds give other draws of the same distribution; at least 0.
    Raises:
        ValueError: n or seed out of range.
    """
    n = check_draw(n, seed, {"train": 20_000, "test": 1_000}, split)
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))

    def below(bound: int) -> int:
        return int(torch.randint(bound, (), generator=generator))

    pairs, kinds = [], []
    shares = [name for name, (share, _, _) in KINDS.items() for _ in range(round(20 * share))]
    for _ in range(n):
        kind = shares[below(20)]
        _, values, forms = KINDS[kind]
        while True:
            if kind in ("date", "time"):
                value = 1 + below(values)
            else:
                low = 10 ** below(len(str(values)))
                value = low + below(9 * low)
            if held_out(kind, value) == (split == "test"):
                break
        pairs.append(item(kind, value, below(forms)))
        kinds.append(kind)
    sources, targets = zip(*pairs)
    return PairedText("spoken_forms", sources, targets, {"kinds": tuple(kinds)})

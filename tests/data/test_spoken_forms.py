"""Spoken forms: what is said is read back, by a second way, to what was written; the splits share nothing."""

import hashlib
import re
from collections import Counter
from datetime import datetime

import pytest
import torch

from genai_utils.data import load
from genai_utils.data.spoken_forms import KINDS, POSSIBLE, cardinal, clock, held_out, item, money, ordinal, suffix, year

DIGITS = dict(zip("one two three four five six seven eight nine".split(), range(1, 10)))
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
VALUE = DIGITS | {word: k for k, word in enumerate(TEENS, start=10)} | {"zero": 0, "oh": 0}
VALUE |= {word: 10 * k for k, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
RANKS = {"first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12}
RANKS |= {f"{word}th": k for word, k in VALUE.items()} | {f"{word[:-1]}ieth": k for word, k in VALUE.items()}


def read_number(words: str) -> int:
    """Read a number from the left: "hundred" and "thousand" multiply what was said before them."""
    total, part = 0, 0
    for word in re.split(r"[ -]", words):
        if word == "thousand":
            total, part = 1_000 * part, 0
        elif word == "hundred":
            part *= 100
        elif word != "and":
            part += VALUE[word]
    return total + part


def read_rank(words: str) -> int:
    head, joint, last = re.fullmatch(r"(.*?)([ -]?)(\w+)", words).groups()
    if last in ("hundredth", "thousandth"):
        return read_number(f"{head} {last[:-2]}")
    return read_number(f"{head}{joint}zero" if head else "zero") + RANKS[last]


def read_year(words: str) -> int:
    if words.startswith("two thousand"):
        return read_number(words)
    century, rest = words.split(" ", 1)
    return 100 * VALUE[century] + (0 if rest == "hundred" else read_number(rest))


def read_time(words: str) -> str:
    if words in ("midday", "midnight"):
        return "12:00" if words == "midday" else "00:00"
    said, part = words.split(" in the ")
    said = said.replace("quarter", "fifteen").replace("half", "thirty").replace(" minutes", "").replace(" minute", "")
    if said.endswith("o'clock"):
        hour, minute = VALUE[said.split()[0]], 0
    else:
        minute, sign, hour = re.fullmatch(r"(.*) (past|to) (\w+)", said).groups()
        hour, minute = VALUE[hour], read_number(minute)
        hour, minute = (hour, minute) if sign == "past" else ((hour - 2) % 12 + 1, 60 - minute)
    return f"{hour % 12 + 12 * (part != 'morning'):02}:{minute:02}"


def read(kind: str, words: str):
    """What words say, in one standard form."""
    if kind == "cardinal":
        return read_number(words)
    if kind == "ordinal":
        return read_rank(words)
    if kind == "time":
        return read_time(words)
    if kind == "money":
        sums = re.fullmatch(r"(?:(.*) pounds?)?(?: and )?(?:(.*) (?:penny|pence))?", words).groups()
        return sum(unit * read_number(said) for unit, said in zip((100, 1), sums) if said)
    rank, month, number = re.fullmatch(r"the (\S+) of (\w+) (.*)", words).groups()
    return datetime.strptime(f"{read_rank(rank)} {month} {read_year(number)}", "%d %B %Y").date()


def read_written(kind: str, text: str):
    """The same of what is written, by Python's own readers."""
    if kind == "time":
        return text
    if kind != "date":
        return int(re.sub(r"\D", "", text))
    for form in ("%Y-%m-%d", "%d/%m/%Y", "%b %d, %Y", "%d %B %Y"):
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            pass


def test_spoken_forms_bytes_are_those_recorded():
    for split, recorded in RECORDED.items():
        data = load("spoken_forms", split, n=1_000)
        lines = "".join(f"{source}\t{target}\n" for source, target in zip(data.sources, data.targets))
        assert hashlib.sha256(lines.encode()).hexdigest() == recorded, split


def test_words_read_back_are_what_was_written():
    for split in ("train", "test"):
        data = load("spoken_forms", split, n=2_000)
        for kind, source, target in zip(data.extra["kinds"], data.sources, data.targets):
            assert read(kind, target) == read_written(kind, source), (source, target)


def test_cardinals_and_ordinals_read_back_whatever_their_size():
    large = torch.randint(1, 1_000_000, (2_000,), generator=torch.Generator().manual_seed(0)).tolist()
    for number in [*range(1, 2_100), *large, 100_000, 999_999]:
        assert read_number(cardinal(number)) == number == read_rank(ordinal(number))


def test_and_stands_before_what_is_left_of_a_hundred_and_only_there():
    for number in [*range(1, 3_000), 100_001, 100_099, 101_000, 110_110, 999_999]:
        low, unit = number % 100, number >= 100
        expected = bool(unit and low) + bool(number // 1_000 >= 100 and number // 1_000 % 100)
        assert cardinal(number).split().count("and") == expected, number


@pytest.mark.parametrize(
    "kind, written, spoken",
    [
        ("cardinal", "105,003", "one hundred and five thousand and three"),
        ("cardinal", "12,340", "twelve thousand three hundred and forty"),
        ("ordinal", "21st", "twenty-first"),
        ("ordinal", "1,111th", "one thousand one hundred and eleventh"),
        ("ordinal", "40th", "fortieth"),
        ("ordinal", "2,000th", "two thousandth"),
        ("date", "2026-11-28", "the twenty-eighth of November twenty twenty-six"),
        ("date", "03/04/1905", "the third of April nineteen oh five"),
        ("date", "Feb 29, 2000", "the twenty-ninth of February two thousand"),
        ("date", "1 January 1900", "the first of January nineteen hundred"),
        ("date", "31/12/2009", "the thirty-first of December two thousand and nine"),
        ("time", "14:05", "five past two in the afternoon"),
        ("time", "11:35", "twenty-five to twelve in the morning"),
        ("time", "23:59", "one minute to twelve in the evening"),
        ("time", "00:30", "half past twelve in the morning"),
        ("time", "12:45", "quarter to one in the afternoon"),
        ("time", "18:00", "six o'clock in the evening"),
        ("time", "12:00", "midday"),
        ("money", "£3.50", "three pounds and fifty pence"),
        ("money", "£1.01", "one pound and one penny"),
        ("money", "£0.99", "ninety-nine pence"),
        ("money", "£1,000.00", "one thousand pounds"),
    ],
)
def test_items_are_those_written_by_hand(kind, written, spoken):
    wanted = read_written(kind, written)
    if kind == "date":
        value = (wanted - datetime(1900, 1, 1).date()).days + 1
    else:
        value = 60 * int(wanted[:2]) + int(wanted[3:]) + 1 if kind == "time" else wanted
    assert (written, spoken) in [item(kind, value, form) for form in range(KINDS[kind][2])]


def test_no_two_values_are_said_alike():
    assert len({cardinal(number) for number in range(20_000)}) == 20_000
    assert len({clock(hour, minute) for hour in range(24) for minute in range(60)}) == 1_440
    assert len({year(number) for number in range(1100, 2100)}) == 1_000
    assert len({money(pence) for pence in range(1, 20_000)}) == 19_999


def test_splits_share_no_item_in_any_form():
    said = {}
    for split in ("train", "test"):
        data = load("spoken_forms", split, n=1_500)
        said[split] = set(zip(data.extra["kinds"], data.targets))  # a date in two forms is said alike
    assert not said["train"] & said["test"]


def test_about_a_tenth_is_held_out_and_midnight_is_not():
    for kind, (_, values, _) in KINDS.items():
        n = min(values, 5_000)
        share = sum(held_out(kind, value) for value in range(1, n + 1)) / n
        assert abs(share - 26 / 256) < 4 * (0.1 * 0.9 / n) ** 0.5, kind
    assert not held_out("time", 1) and not held_out("time", 12 * 60 + 1)  # said in words of their own


def test_kinds_are_as_often_as_their_shares_say():
    data = load("spoken_forms", n=4_000)
    seen = Counter(data.extra["kinds"])
    for kind, (share, _, _) in KINDS.items():
        assert abs(seen[kind] / 4_000 - share) < 4 * (share * (1 - share) / 4_000) ** 0.5, kind


def test_possible_items_are_counted():
    assert POSSIBLE == 4 * 73_049 + 999_999 + 9_999 + 1_440 + 999_999
    for kind, (_, values, forms) in KINDS.items():
        ends = [item(kind, value, form)[0] for value in (1, values) for form in range(forms)]
        assert len(set(ends)) == 2 * forms
        for value, form in ((0, 0), (values + 1, 0), (1, forms)):
            with pytest.raises(ValueError, match=f"{kind} has values 1 to {values}"):
                item(kind, value, form)


def test_spoken_forms_are_the_same_for_a_seed_and_others_for_another():
    draws = [load("spoken_forms", split, n=9, seed=seed).sources for split in ("train", "test") for seed in (0, 1)]
    assert len(set(draws)) == 4 and load("spoken_forms", n=20).sources[:9] == draws[0]


def test_suffixes_of_ranks():
    said = {1: "st", 2: "nd", 3: "rd", 4: "th", 11: "th", 12: "th", 13: "th", 21: "st", 102: "nd", 111: "th", 120: "th"}
    assert {number: suffix(number) for number in said} == said


def test_spoken_forms_refuse_bad_input():
    for function, bad in ((cardinal, -1), (cardinal, 1_000_000), (ordinal, 0), (year, 1099), (year, 2100), (money, 0)):
        with pytest.raises(ValueError, match=f"within .*got {bad}"):
            function(bad)
    for hour, minute in ((24, 0), (0, 60), (-1, 0)):
        with pytest.raises(ValueError, match="within 00:00 and 23:59"):
            clock(hour, minute)
    with pytest.raises(ValueError, match="kind must be one of date, .*got 'colour'"):
        item("colour", 1)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        load("spoken_forms", n=0)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        load("spoken_forms", seed=-1)


RECORDED = {
    "train": "7261add4bceec2df3e555d90d202e08b1f73ce8c94868a04854b7380be4ea467",
    "test": "8af3d3cf99b11a9f1faaebc50107caca1be414e909a1f007f14e9780804ed36a",
}

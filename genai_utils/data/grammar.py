"""Probabilistic context-free grammars whose entropy, lengths and log-probabilities are exact.

Sources: Booth & Thompson 1973, IEEE Transactions on Computers C-22(5) (expected counts; when sentences end);
         Baker 1979, Trainable grammars for speech recognition (inside probabilities).
Shapes:  T tokens of a sentence, K nonterminals.
"""

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence

import torch

Rules = dict[str, tuple[tuple[float, tuple[str, ...]], ...]]


def is_nonterminal(symbol: str) -> bool:
    """Return whether a symbol is a nonterminal: it stands in angle brackets, as in "<noun>"."""
    return len(symbol) > 2 and symbol[0] == "<" and symbol[-1] == ">"


class Grammar:
    """A grammar: for every nonterminal, alternatives with their probabilities.

    Args:
        rules: nonterminal -> ((probability, symbols), ...), at least one alternative of at least one symbol. A symbol
            in angle brackets is a nonterminal, any other is a token.
        start: the nonterminal that every derivation starts from.
    Raises:
        ValueError: a nonterminal without rules, an alternative without symbols, probabilities that are not above 0 or
            do not sum to 1, a nonterminal that comes first in its own expansion (left recursion, which the parser here
            cannot follow), or one that calls itself once or more on average, so that sentences never end.
    """

    def __init__(self, rules: Rules, start: str) -> None:
        self.rules = {name: tuple((float(p), tuple(symbols)) for p, symbols in rules[name]) for name in rules}
        self.start = start
        _check(self.rules, start)
        self._first = self._first_tokens(_left_order(self.rules))
        self._openings = {name: self._by_first_token(name) for name in self.rules}
        self._mean = self._mean_calls()
        bounds = {name: list(itertools.accumulate(p for p, _ in each)) for name, each in self.rules.items()}
        self._bounds = {name: b[:-1] for name, b in bounds.items()}  # the last alternative takes what rounding leaves

    # chance

    def sample(self, generator: torch.Generator | None = None) -> tuple[tuple[str, ...], float]:
        """Return one sentence, as tokens, and the log of the product of the probabilities of its rules, in nats.

        All chance comes from float64 uniforms of `generator`, a CPU generator, drawn in blocks of 64.
        """
        tokens, log_prob, stack, chance = [], 0.0, [self.start], _uniforms(generator)
        while stack:
            symbol = stack.pop()
            if (alternatives := self.rules.get(symbol)) is None:
                tokens.append(symbol)
                continue
            k = bisect.bisect(self._bounds[symbol], next(chance)) if len(alternatives) > 1 else 0
            p, symbols = alternatives[k]
            log_prob += math.log(p)
            stack.extend(reversed(symbols))
        return tuple(tokens), log_prob

    # exact quantities

    def counts(self) -> dict[str, float]:
        """Return how often each symbol, nonterminal or token, is expected in a derivation.

        The counts n of nonterminals solve n = e + n M: once for the start, and as often as others call them.
        """
        names = list(self.rules)
        e = torch.tensor([float(name == self.start) for name in names], dtype=torch.float64)
        n = torch.linalg.solve((torch.eye(len(names), dtype=torch.float64) - self._mean).T, e).tolist()
        counts = dict(zip(names, n))
        for name in names:
            for p, symbols in self.rules[name]:
                for symbol in symbols:
                    if not is_nonterminal(symbol):
                        counts[symbol] = counts.get(symbol, 0.0) + counts[name] * p
        return counts

    def entropy(self) -> float:
        """Return the entropy of a derivation in nats: expected counts of nonterminals times entropies of their rules.

        It is the entropy of a sentence when no sentence has two derivations (see `conflicts`); else it is more.
        """
        counts = self.counts()
        return sum(-counts[name] * p * math.log(p) for name, each in self.rules.items() for p, _ in each)

    def log_prob(self, tokens: Sequence[str]) -> float:
        """Return the log-probability of a sentence in nats, summed over its derivations; -inf when there is none."""
        return self._inside(tokens)[0]

    def derivations(self, tokens: Sequence[str]) -> int:
        """Return how many derivations (parse trees) a sentence has."""
        return self._inside(tokens)[1]

    def conflicts(self) -> list[tuple[str, str]]:
        """Return the pairs (nonterminal, token) for which the token opens two of the nonterminal's alternatives.

        When there are none, the next token decides every rule, from left to right: no sentence of the whole language
        has two derivations. When there are some, the grammar may or may not be ambiguous.
        """
        found = set()
        for name, alternatives in self.rules.items():
            seen: set[str] = set()
            for _, symbols in alternatives:
                opens = self._first.get(symbols[0], {symbols[0]})
                found |= {(name, token) for token in opens & seen}
                seen |= opens
        return sorted(found)

    # workings

    def _inside(self, tokens: Sequence[str]) -> tuple[float, int]:
        """Return (log-probability, derivations) of a sentence, from the inside probabilities of the parts it needs.

        known[name, i] maps every end j to the (log-probability, derivations) of name -> tokens[i:j]. A pair waits on
        the stack until those that it needs are known: no recursion of Python's, so that a sentence may be long.
        """
        if isinstance(tokens, str) or not all(isinstance(token, str) for token in tokens):
            raise ValueError(f"a sentence must be a sequence of str, one for each token, got {tokens!r}")
        tokens, known, waiting = (*tokens, None), {}, [(self.start, 0)]  # None opens nothing
        while waiting:
            name, i = waiting[-1]
            total, missing = {}, []
            for log_p, symbols in self._openings[name].get(tokens[i], ()):
                ends = {i: (log_p, 1)}
                for symbol in symbols:
                    if symbol in self.rules:
                        missing += [(symbol, j) for j in ends if (symbol, j) not in known]
                        ends = _join(ends, {j: known.get((symbol, j), {}) for j in ends})
                    else:
                        ends = {j + 1: found for j, found in ends.items() if tokens[j] == symbol}
                for j, found in ends.items():
                    total[j] = _add(total[j], found) if j in total else found
            if missing:
                waiting += missing
            else:
                known[waiting.pop()] = total
        return known[self.start, 0].get(len(tokens) - 1, (-math.inf, 0))

    def _by_first_token(self, name: str) -> dict[str, list[tuple[float, tuple[str, ...]]]]:
        """Return for each token the alternatives, with log-probabilities, that can open with it."""
        openings: dict[str, list[tuple[float, tuple[str, ...]]]] = {}
        for p, symbols in self.rules[name]:
            for token in self._first.get(symbols[0], {symbols[0]}):
                openings.setdefault(token, []).append((math.log(p), symbols))
        return openings

    def _first_tokens(self, order: list[str]) -> dict[str, set[str]]:
        """Return for each nonterminal the tokens that its expansions open with."""
        first: dict[str, set[str]] = {}
        for name in order:
            first[name] = set().union(*(first.get(symbols[0], {symbols[0]}) for _, symbols in self.rules[name]))
        return first

    def _mean_calls(self) -> torch.Tensor:
        """Return M (K, K) float64: how often, on average, one expansion of a row's nonterminal calls a column's.

        Sentences end when M's spectral radius is below 1, that is, when its powers vanish. Squaring is sure about
        matrices without recursion, whose eigenvalues are not to be had from rounded arithmetic.
        """
        names = list(self.rules)
        M = torch.zeros(len(names), len(names), dtype=torch.float64)
        for row, name in enumerate(names):
            for p, symbols in self.rules[name]:
                for symbol in symbols:
                    if is_nonterminal(symbol):
                        M[row, names.index(symbol)] += p
        power = M
        for _ in range(40):
            power = (power @ power).clamp(max=1e100)
        if endless := [name for name, p in zip(names, power.diagonal().tolist()) if p > 1e-3]:
            raise ValueError(
                f"{', '.join(endless)} calls itself once or more on average, so that sentences never end; lower the "
                "probability of its recursive alternatives"
            )
        return M


def _join(ends, nexts):
    """Return where derivations that reached `ends` are after a symbol that leads from j to each of nexts[j]."""
    moved: dict[int, tuple[float, int]] = {}
    for j, (log_p, n) in ends.items():
        for k, (log_q, m) in nexts[j].items():
            found = (log_p + log_q, n * m)
            moved[k] = _add(moved[k], found) if k in moved else found
    return moved


def _add(a: tuple[float, int], b: tuple[float, int]) -> tuple[float, int]:
    high, low = max(a[0], b[0]), min(a[0], b[0])
    return high + math.log1p(math.exp(low - high)), a[1] + b[1]


def _uniforms(generator: torch.Generator | None) -> Iterator[float]:
    while True:
        yield from torch.rand(64, generator=generator, dtype=torch.float64).tolist()


def _check(rules: Rules, start: str) -> None:
    if start not in rules:
        raise ValueError(f"start {start!r} has no rules; there are rules for {', '.join(rules) or 'nothing'}")
    for name, alternatives in rules.items():
        if not is_nonterminal(name):
            raise ValueError(f"nonterminal {name!r} must stand in angle brackets: '<{name}>'")
        for p, symbols in alternatives:
            if not p > 0:
                raise ValueError(f"probabilities of {name} must be above 0, got {p:g}; leave the alternative out")
            if not symbols:
                raise ValueError(f"{name} has an alternative without symbols; let the rules that call {name} skip it")
            if missing := [s for s in symbols if is_nonterminal(s) and s not in rules]:
                raise ValueError(f"{name} calls {missing[0]}, which has no rules; give it rules or mend its name")
        total = math.fsum(p for p, _ in alternatives)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"probabilities of {name} must sum to 1, got {total:g}; divide them by it")


def _left_order(rules: Rules) -> list[str]:
    """Return the nonterminals so that each stands after those which come first in its alternatives."""
    opens = {name: {symbols[0] for _, symbols in each if is_nonterminal(symbols[0])} for name, each in rules.items()}
    order: list[str] = []
    while len(order) < len(rules):
        ready = [name for name in rules if name not in order and opens[name] <= set(order)]
        if not ready:
            stuck = [name for name in rules if name not in order]
            raise ValueError(
                f"left recursion among {', '.join(stuck)}: one comes first in its own expansion; write the recursive "
                "call last"
            )
        order += ready
    return order

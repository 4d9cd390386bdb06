"""Language models under the protocol: an LSTM against a GPT on tales, whose entropy is known exactly.

The floor under the loss of any model is not an estimate here: for every held-out story the grammar gives the exact
probability, and a model is judged by the nats per character that it pays above it.

Sources: chapters 02 and 04 and genai_utils/data/tales.py.
Shapes:  B batch, T = 256 characters of a window, n stories.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from genai_utils.autoregressive import char_lm
from genai_utils.autoregressive.char_lm import RecurrentLM, RecurrentLMConfig
from genai_utils.compare.contestant import Contestant
from genai_utils.compare.protocol import Protocol
from genai_utils.data import load
from genai_utils.data.sets import Batches
from genai_utils.data.tales import ending
from genai_utils.data.tales import log_prob as exact_log_prob
from genai_utils.data.tokenizers import END, CharTokenizer
from genai_utils.transformer.decoding import sample_tokens
from genai_utils.transformer.gpt import GPT, GPTConfig, gpt_loss

WINDOW, IGNORED = 256, -100


class Stories:
    """Tales as windows of T characters that begin where a story begins, so that no model starts in the middle."""

    def __init__(self) -> None:
        text = load("tales")
        self.tokenizer = CharTokenizer.of(text.text)
        self.known = set(text.documents)
        self.tokens = self.tokenizer.encode(END + text.text)
        ends = (self.tokens == self.end).nonzero()[:, 0]
        self.ends = ends[ends + WINDOW < len(self.tokens)]
        # a longer story does not fit the window: one in twenty is left out of what is judged
        self.test = tuple(s for s in load("tales", "test").documents if len(s) < WINDOW)

    @property
    def end(self) -> int:
        """The token that ends a story, and before the first one opens it."""
        return int(self.tokenizer.encode(END))

    def batches(self, size: int, seed: int) -> Batches:
        """Return an endless, resumable iterator over (tokens, targets), (B, T) int64 each."""
        cut = self.tokens.unfold(0, WINDOW + 1, 1)  # a view: window i starts at character i
        take = lambda which: (cut[self.ends[which], :-1], cut[self.ends[which], 1:])
        return Batches(take, len(self.ends), size, seed)


class LSTMContestant(Contestant):
    title, group, chapter, likelihood = "LSTM", "recurrent", "02_rnn_lstm", "exact"
    batch, rate = 16, 4e-3

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        width = 137 if protocol.parameters == 100_000 else 640
        alphabet = CharTokenizer.of(load("tales").text).alphabet
        self.model = self.net = RecurrentLM(RecurrentLMConfig(alphabet=alphabet, d_embed=32, d_hidden=width))

    def loss(self, model, batch):
        return char_lm.lm_loss(model, batch)

    def logits(self, net: RecurrentLM, tokens: Tensor) -> Tensor:
        return net(tokens)[0]

    def write(self, net: RecurrentLM, prompt: Tensor, generator: torch.Generator):
        return char_lm.sample_tokens(net, prompt, WINDOW, generator=generator)


class GPTContestant(Contestant):
    title, group, chapter, likelihood = "GPT", "transformer", "04_gpt", "exact"
    batch, rate = 16, 2e-3

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        small = protocol.parameters == 100_000
        sizes = {"d_model": 48, "n_layers": 3, "d_hidden": 192} if small else {"d_model": 160, "n_layers": 6}
        vocab = len(CharTokenizer.of(load("tales").text).alphabet)
        self.model = self.net = GPT(GPTConfig(vocab=vocab, context=WINDOW, n_heads=4, **sizes))

    def loss(self, model, batch):
        return gpt_loss(model, batch)

    def logits(self, net: GPT, tokens: Tensor) -> Tensor:
        return net(tokens)

    def write(self, net: GPT, prompt: Tensor, generator: torch.Generator):
        return sample_tokens(net.decoding(len(prompt)), prompt, WINDOW, generator=generator)


@torch.no_grad()
def log_probs(contestant, net: nn.Module, stories: Stories, texts: tuple[str, ...]) -> Tensor:
    """Return log p of each text and its end, (n,) float64, in nats."""
    rows, found = [stories.tokenizer.encode(END + text + END) for text in texts], []
    for part in (rows[k : k + 50] for k in range(0, len(rows), 50)):
        tokens = pad_sequence([row[:-1] for row in part], True, stories.end)
        targets = pad_sequence([row[1:] for row in part], True, IGNORED)
        logits = contestant.logits(net, tokens)
        found.append(-F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none").sum(1))
    return torch.cat(found).double()


def write_stories(contestant, net: nn.Module, stories: Stories, n: int, seed: int) -> list[str]:
    """Return n stories, without their end; one that has not ended within the window is "" and counts as wrong."""
    prompt, generator = torch.full((n, 1), stories.end), torch.Generator().manual_seed(seed)
    drawn = torch.stack([tokens for tokens, _ in contestant.write(net, prompt, generator)], dim=1)  # (n, T)
    texts = [stories.tokenizer.decode(row) for row in drawn]
    return [text.partition(END)[0] if END in text else "" for text in texts]


def remembers(contestant, net: nn.Module, stories: Stories, texts: tuple[str, ...]) -> float:
    """Return how often, of stories whose last word only an early clue gives, the model prefers that word.

    Greedy character by character, after the story's own beginning.
    """
    right = []
    for text in texts:
        last = ending(text)
        tokens = stories.tokenizer.encode(f"{END}{last.beginning} {last.last}")
        with torch.no_grad():
            best = contestant.logits(net, tokens[None, :-1])[0, -len(last.last) :].argmax(1)
        right.append(bool((best == tokens[-len(last.last) :]).all()))
    return sum(right) / len(right)


def judge_text(contestant, stories: Stories, found: nn.Module | str, *, n: int, seed: int) -> dict[str, float]:
    """Return the measures of one snapshot; {"failed": why} if there is nothing to judge.

    nats: per character of held-out stories; above_floor: how much of it the grammar does not ask for, with its standard
    error over stories; accepted: share of n written stories that the grammar may write; copied: share of those that
    stand in the training set, as some held-out ones do; remembers: see there.
    """
    if isinstance(found, str):
        return {"failed": found}
    found.eval()
    log_q = log_probs(contestant, found, stories, stories.test)
    log_p = torch.tensor([exact_log_prob(text) for text in stories.test], dtype=torch.float64)
    characters = sum(len(text) + 1 for text in stories.test)
    written = write_stories(contestant, found, stories, n, seed)
    right = [text for text in written if text and exact_log_prob(text) > -math.inf]
    return {
        "nats": -log_q.sum().item() / characters,
        "above_floor": (log_p - log_q).sum().item() / characters,
        "above_floor_error": (log_p - log_q).std().item() * math.sqrt(len(log_p)) / characters,
        "accepted": len(right) / n,
        "copied": sum(text in stories.known for text in right) / max(len(right), 1),
        "remembers": remembers(contestant, found, stories, stories.test[:300]),
    }

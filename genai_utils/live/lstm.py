"""Chapter 2 live: an LSTM reads a prompt and writes on, character by character; the state is all that it remembers.

Every prompt follows an empty line, as speeches do in the plays; a "/" in it is a new line.

Sources: as in genai_utils.autoregressive.char_lm and rnn, whose steps these are.
Shapes:  V characters of the alphabet, L layers, H width of the hidden state.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from genai_utils.autoregressive.char_lm import RecurrentLM
from genai_utils.live.entry import Act, Graph, Live, Refused, bars, numbers, seed, slider, text, words
from genai_utils.live.random import SharedRandom
from genai_utils.live.text import checked, grown, likeliest

START, EVERY = "\n\n", 4  # read before every prompt; characters from one answer to the next


class Read(nn.Module):
    """token (1, 1), state h and c (L, 1, H) -> logits (V,) of the next character, hidden, cell."""

    def __init__(self, lm: RecurrentLM) -> None:
        super().__init__()
        self.lm = lm

    def forward(self, token: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        read = self.lm.body.trace(self.lm.embed(token), (h, c))
        return self.lm.head(read.outputs[0, 0]), *read.state


def graphs(lm: RecurrentLM) -> dict[str, Graph]:
    state = torch.zeros(2, lm.cfg.n_layers, 1, lm.cfg.d_hidden)
    inputs = {"token": torch.zeros(1, 1, dtype=torch.int64), "h": state[0], "c": state[1]}
    return {"read": Graph(module=Read(lm), inputs=inputs, outputs=("logits", "hidden", "cell"))}


def facts(lm: RecurrentLM) -> dict:
    """The alphabet, and the shape of the state."""
    return {"alphabet": lm.cfg.alphabet, "state": [lm.cfg.n_layers, 1, lm.cfg.d_hidden]}


def read_characters(run, facts, characters: str, state: dict | None = None) -> dict:
    """Return logits and state after further characters."""
    zeros = torch.zeros(facts["state"])
    found = state or {"hidden": zeros, "cell": zeros}
    for c in characters:
        token = torch.tensor([[facts["alphabet"].index(c)]])
        found = run("read", token=token, h=found["hidden"], c=found["cell"])
    return found


def read_prompt(run, facts, prompt: str) -> tuple[str, dict]:
    """Return the prompt with its new lines, and logits and state after it; refuse what the alphabet lacks."""
    lines = checked("prompt", prompt).replace("/", "\n")
    if unknown := [c for c in dict.fromkeys(lines) if c not in facts["alphabet"]]:
        known = facts["alphabet"].replace("\n", "/")
        raise Refused("prompt", f"it never read {' '.join(unknown)}: its characters are {known}")
    return lines, read_characters(run, facts, START + lines)


def shares(logits: Tensor, temperature: float) -> Tensor:
    """Return p (V,), float64; temperature 0 is greedy."""
    if temperature == 0:
        return nn.functional.one_hot(logits.argmax(), len(logits)).double()
    return (logits.double() / temperature).softmax(0)


def next_character(run, facts, inputs) -> Iterator[dict]:
    """Read a prompt: the likeliest next characters."""
    _, found = read_prompt(run, facts, inputs["prompt"])
    p = shares(found["logits"], inputs["temperature"])
    yield {"next": likeliest(list(facts["alphabet"]), p, p > 0, p)}


def write(run, facts, inputs) -> Iterator[dict]:
    """Write on, character by character."""
    random, written, n = SharedRandom(inputs["seed"]), "", inputs["characters"]
    lines, found = read_prompt(run, facts, inputs["prompt"])
    while len(written) < n:
        p = shares(found["logits"], inputs["temperature"])
        written += facts["alphabet"][p.argmax().item() if inputs["temperature"] == 0 else random.pick(p)]
        if len(written) % EVERY == 0 or len(written) == n:
            yield {
                "text": grown(lines, written),
                "figures": [("characters written", len(written), 0, f"of {n}")],
            }
        found = read_characters(run, facts, written[-1], found)


PROMPT = "prompt (a / is a new line)"
SPEECH = "ROMEO:/What say'st thou? Speak again, and tell me all.//"

LIVE = Live(
    weights={"lstm-shakespeare": RecurrentLM},
    graphs=graphs,
    facts=facts,
    acts={
        "next": Act(
            title="The next character",
            program=next_character,
            graphs=("read",),
            controls=(
                text("prompt", PROMPT, "ROMEO:/What say'st tho", longest=300),
                slider("temperature", "temperature", 0, 2, 1, step=0.1, digits=1),
            ),
            outputs=(bars("next", "the likeliest next characters"),),
            presets={
                "within a word it is sure": {},
                "after a space any word may begin": {"prompt": "ROMEO:/What say'st thou? Speak "},
                "the same, hot: the shares draw level": {"prompt": "ROMEO:/What say'st thou? Speak ", "temperature": 2},
            },
        ),
        "write": Act(
            title="Write on",
            program=write,
            graphs=("read",),
            go="Write on",
            controls=(
                text("prompt", PROMPT, SPEECH, longest=300),
                slider("temperature", "temperature", 0, 2, 0.7, step=0.1, digits=1),
                slider("characters", "characters", 1, 300, 200),
                seed(7),
            ),
            outputs=(words("text", "prompt, and what it wrote"), numbers("figures")),
            presets={
                "a speech at temperature 0.7": {},
                "the same draws at temperature 1": {"temperature": 1},
                "greedy: it soon repeats itself": {"temperature": 0},
            },
        ),
    },
)

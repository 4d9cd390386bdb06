"""Chapter 4 live: what comes next and who looks where, and the model writing on, token by token.

Every prompt follows the END of a story before it, as in training. Bars have the length of a token's share before
top-k and top-p cut; the number beside is its share after it, and it is these that are drawn from.

Sources: as in genai_utils.transformer.gpt and decoding, whose forward and whose cuts these are.
Shapes:  t tokens read now, P before them, S = P + t, V tokens there are; L layers, H heads, D width of a head.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.export import Dim

from genai_utils.data import ByteBPE
from genai_utils.data.tales import END
from genai_utils.live.entry import Act, Graph, Live, Refused, bars, choice, numbers, seed, slider, text, words
from genai_utils.live.random import SharedRandom
from genai_utils.live.text import checked, grown, likeliest
from genai_utils.nn import attention_maps
from genai_utils.transformer.decoding import warp_logits
from genai_utils.transformer.gpt import GPT
from genai_utils.weights import load_tokenizer

TALE = (
    "Long ago there was a shy fox called Finn. He loved songs. One day he lost his silver bell. He looked by the pond. "
    "At last he found it up the hill. So he carried it home to the"
)


class Grown:
    """A `KVCache` whose memory grows: in a graph, what was read goes in and comes out."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.keys, self.values = torch.cat([self.keys, k], dim=2), torch.cat([self.values, v], dim=2)
        return self.keys, self.values


class Step(nn.Module):
    """tokens (1, t), past keys and values (L, 1, H, P, D) -> logits (V,), keys, values (.., S, D), looks (L, H, S).

    Logits are of the token after the last; looks are the attention weights of the last. P may be 0.
    """

    def __init__(self, gpt: GPT) -> None:
        super().__init__()
        self.gpt = gpt

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gpt, cache = self.gpt, [Grown(k, v) for k, v in zip(keys, values)]
        place = torch.arange(tokens.shape[1], device=tokens.device) + keys.shape[3]
        x = gpt.embed(tokens) + gpt.positions(place)
        with attention_maps(gpt) as maps:
            for block, of_layer in zip(gpt.blocks, cache):
                x = block(x, of_layer)
            looks = torch.stack([of_layer[0, :, -1] for (of_layer,) in maps.values()])
        logits = gpt.score(gpt.norm(x[0, -1]))
        return logits, torch.stack([c.keys for c in cache]), torch.stack([c.values for c in cache]), looks


def graphs(gpt: GPT) -> dict[str, Graph]:
    L, H, context = gpt.cfg.n_layers, gpt.cfg.n_heads, gpt.cfg.context
    past, cache = {3: Dim("past", min=0, max=context)}, torch.zeros(2, L, 1, H, 4, gpt.cfg.d_model // H)
    return {
        "step": Graph(
            module=Step(gpt),
            inputs={"tokens": torch.tensor([[5, 6, 7]]), "past_keys": cache[0], "past_values": cache[1]},
            outputs=("logits", "keys", "values", "looks"),
            dynamic={"tokens": {1: Dim("t", min=1, max=context)}, "past_keys": past, "past_values": past},
        )
    }


def facts(gpt: GPT) -> dict:
    """The tokenizer, the shape of a cache that has read nothing, and how many tokens fit."""
    cfg = gpt.cfg
    cache = [cfg.n_layers, 1, cfg.n_heads, 0, cfg.d_model // cfg.n_heads]
    return {"tokenizer": load_tokenizer("gpt-tales").to_dict(), "cache": cache, "context": cfg.context}


def read_prompt(tokenizer: ByteBPE, facts: dict, prompt: str) -> Tensor:
    """Return the tokens (1, T) of END and a prompt; refuse one that is empty or too long."""
    tokens = tokenizer.encode(END + checked("prompt", prompt))[None]
    if (n := tokens.shape[1] - 1) > (fit := facts["context"] - 1):
        raise Refused("prompt", f"the prompt has {n} tokens and {fit} fit: shorten it")
    return tokens


def shares(logits: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Return p (V,) that is drawn from and the same before the cuts; top_k 0 cuts nothing, temperature 0 is greedy."""
    if temperature == 0:
        p = nn.functional.one_hot(logits.argmax(), len(logits)).double()
        return p, p
    every = logits[None].double()
    warped = warp_logits(every, temperature=temperature, top_k=top_k or None, top_p=top_p)
    return warped.softmax(-1)[0], (every / temperature).softmax(-1)[0]


def next_token(run, facts, inputs) -> Iterator[dict]:
    """Read a prompt: the likeliest next tokens, and how much a head looks at each token of the prompt."""
    tokenizer = ByteBPE.from_dict(facts["tokenizer"])
    tokens, empty = read_prompt(tokenizer, facts, inputs["prompt"]), torch.zeros(facts["cache"])
    found = run("step", tokens=tokens, past_keys=empty, past_values=empty)
    p, before = shares(found["logits"], inputs["temperature"], inputs["top_k"], inputs["top_p"])
    kept, looks = p > 0, found["looks"][inputs["layer"], inputs["head"]]
    names = [tokenizer.decode(torch.tensor([k])) for k in range(tokenizer.vocab)]
    yield {
        "next": likeliest(names, before, kept, p),
        "looks": [[piece, look] for piece, look in zip(tokenizer.pieces(END + inputs["prompt"]), looks.tolist())],
    }


def write(run, facts, inputs) -> Iterator[dict]:
    """Write on, token by token, until END, the number of tokens asked for, or the end of the context."""
    tokenizer, random = ByteBPE.from_dict(facts["tokenizer"]), SharedRandom(inputs["seed"])
    tokens = read_prompt(tokenizer, facts, inputs["prompt"])
    n, (end,) = tokens.shape[1], tokenizer.encode(END).tolist()
    found, written = {"keys": torch.zeros(facts["cache"]), "values": torch.zeros(facts["cache"])}, []
    for _ in range(min(inputs["tokens"], facts["context"] + 1 - n)):
        found = run("step", tokens=tokens, past_keys=found["keys"], past_values=found["values"])
        p, _ = shares(found["logits"], inputs["temperature"], inputs["top_k"], inputs["top_p"])
        written.append(p.argmax().item() if inputs["temperature"] == 0 else random.pick(p))
        tokens = torch.tensor([written[-1:]])
        yield {
            "text": grown(inputs["prompt"], tokenizer.decode(torch.tensor(written))),
            "figures": [
                ("tokens written", len(written), 0, f"of {inputs['tokens']}"),
                ("with the prompt", n + len(written), 0, f"of {facts['context'] + 1}"),
            ],
        }
        if written[-1] == end:
            return


def prompt(value: str) -> dict:
    return text("prompt", "prompt", value, longest=600)


SAMPLING = (
    slider("temperature", "temperature", 0, 2, 1, step=0.1, digits=1),
    slider("top_k", "top-k (0: all)", 0, 50, 0),
    slider("top_p", "top-p", 0.05, 1, 1, step=0.05, digits=2),
)
FOUR = ["1", "2", "3", "4"]

LIVE = Live(
    weights={"gpt-tales": GPT},
    graphs=graphs,
    facts=facts,
    acts={
        "next": Act(
            title="What comes next",
            program=next_token,
            graphs=("step",),
            controls=(prompt(TALE), *SAMPLING, choice("layer", "layer", FOUR, 1), choice("head", "head", FOUR, 3)),
            outputs=(
                bars("next", "the likeliest next tokens (bars: before the cut; numbers: after it)"),
                words("looks", "how much the head looks at each token from the last one"),
            ),
            presets={
                "the end of a tale: one word fits, and the head looks beside the name": {},
                "the beginning: several words may come": {"prompt": "Once there lived a"},
                "the same, hot and cut by top-k 5": {"prompt": "Once there lived a", "temperature": 2, "top_k": 5},
                "the same, cut by top-p 0.5": {"prompt": "Once there lived a", "top_p": 0.5},
            },
        ),
        "write": Act(
            title="Write on",
            program=write,
            graphs=("step",),
            go="Write on",
            controls=(prompt("Once there lived a"), *SAMPLING, slider("tokens", "tokens", 1, 80, 80), seed(7)),
            outputs=(words("text", "prompt, and what it wrote"), numbers("figures")),
            presets={
                "a tale at temperature 1": {},
                "greedy: always the likeliest token": {"temperature": 0},
                "too hot: temperature 2": {"temperature": 2},
                "the same heat, cut by top-p 0.8": {"temperature": 2, "top_p": 0.8},
            },
        ),
    },
)

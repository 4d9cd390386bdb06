"""Chapter 3 live: a note played sample by sample, each drawn from what the network says of the next one.

Sources: [WAVENET] van den Oord et al. 2016, arXiv:1609.03499, Eq. 1-3. [FAST] Le Paine et al. 2016, arXiv:1611.09482.
Shapes:  L layers, W width, V levels of mu-law; sound (T,) in [-1, 1], 8,000 samples a second.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.autoregressive.wavenet import WaveNet, dilations
from genai_utils.data import mu_law_decode
from genai_utils.data.audio import NOTES, RATE
from genai_utils.live.entry import Act, Graph, Live, Refused, choice, numbers, seed, slider, sound
from genai_utils.live.random import SharedRandom

EVERY, LONGEST = 400, 1.0  # samples between two answers; seconds


class Sample(nn.Module):
    """code (1,): the sample before, V at the start; label (1,); past (L, W): what each layer read a dilation ago.

    Returns the logits (V,) of the next sample, and what each layer read now, (L, W).
    """

    def __init__(self, model: WaveNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, code: Tensor, label: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        model = self.model
        conditions = model.condition(label).view(len(model.layers), 1, -1, 1)
        x, skip, read = model.embed(code)[:, :, None], 0.0, []  # (1, W, 1)
        for i, layer in enumerate(model.layers):
            read.append(x[:, :, 0])
            taps = torch.cat([past[i : i + 1, :, None], x], 2)
            f, g = (F.conv1d(taps, layer.conv.weight, layer.conv.bias) + conditions[i]).chunk(2, dim=1)
            out = layer.out(torch.tanh(f) * torch.sigmoid(g))  # [WAVENET] Eq. 2
            x, skip = x + out[:, : layer.residual] if layer.residual else x, skip + out[:, layer.residual :]
        return model.head(skip)[0, :, 0], torch.cat(read)


def graphs(model: WaveNet) -> dict[str, Graph]:
    past = torch.zeros(len(model.layers), model.cfg.width)
    inputs = {"code": torch.tensor([model.cfg.levels]), "label": torch.tensor([0]), "past": past}
    return {"sample": Graph(module=Sample(model), inputs=inputs, outputs=("logits", "read"))}


def facts(model: WaveNet) -> dict:
    """How far back each layer reaches, and the sizes of what is kept."""
    return {"dilations": dilations(model.cfg), "width": model.cfg.width, "levels": model.cfg.levels, "rate": RATE}


def play(run, facts, inputs) -> Iterator[dict]:
    """Draw a wave; of each layer as many past inputs are kept as it reaches back."""
    temperature, seconds = inputs["temperature"], inputs["seconds"]
    if not temperature > 0:
        raise Refused("temperature", f"temperature must be above 0, got {temperature:g}: 1 draws from the model")
    if not 0 < seconds <= LONGEST:
        raise Refused("seconds", f"seconds must be in (0, {LONGEST:g}], got {seconds:g}: a note is a quarter of one")
    random, label, V = SharedRandom(inputs["seed"]), torch.tensor([inputs["label"]]), facts["levels"]
    queues = [torch.zeros(d, facts["width"]) for d in facts["dilations"]]
    codes, n, bits = [V], math.ceil(seconds * facts["rate"] - 1e-6), 0.0
    for i in range(n):
        past = torch.stack([queue[i % len(queue)] for queue in queues])
        found = run("sample", code=torch.tensor(codes[-1:]), label=label, past=past)
        for queue, now in zip(queues, found["read"]):
            queue[i % len(queue)] = now
        logits = found["logits"].double()
        codes.append(random.pick((logits / temperature).softmax(0)))
        bits -= logits.log_softmax(0)[codes[-1]].item() / math.log(2)
        if (i + 1) % EVERY == 0 or i + 1 == n:
            yield {
                "sound": mu_law_decode(torch.tensor(codes[1:]), V),
                "figures": [("samples", i + 1, 0, f"of {n}"), ("bits a sample", bits / (i + 1), 2, "")],
            }


LIVE = Live(
    weights={"wavenet-tones": WaveNet},
    graphs=graphs,
    facts=facts,
    acts={
        "play": Act(
            title="Play a note",
            program=play,
            graphs=("sample",),
            go="Compute",
            controls=(
                choice("label", "note", list(NOTES)),
                slider("temperature", "temperature", 0.2, 1.5, 1, step=0.05, digits=2),
                slider("seconds", "seconds", 0.05, LONGEST, 0.25, step=0.05, digits=2),
                seed(3),
            ),
            outputs=(sound("sound", "the wave so far", RATE), numbers("figures")),
            presets={
                "a C4": {},
                "a C5, an octave up": {"label": 7},
                "an A4 at temperature 0.5": {"label": 5, "temperature": 0.5},
                "half a second, twice what it learned from": {"seconds": 0.5},
            },
        )
    },
)

"""What a learner would write: the plain references of the benchmark of recurrent networks, PixelCNN and WaveNet.

The language model has torch's own recurrent layer, and no config, state or checks of the input. The samplers keep
nothing: for every value they send all that was drawn so far through the network, and use one place of what comes out.
Sources: [LM] Graves 2013, arXiv:1308.0850. [PCNN] van den Oord et al. 2016, arXiv:1601.06759, Sec. 2.2 (the order of
         the pixels). [WAVENET] van den Oord et al. 2016, arXiv:1609.03499, Eq. 1.
Shapes:  B batch, T places, V tokens, n pictures or waves, H = W side.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.autoregressive.pixel_sampler import draw
from genai_utils.autoregressive.pixelcnn import PixelCNN, from_levels
from genai_utils.autoregressive.wavenet import WaveNet, receptive_field


class PlainLM(nn.Module):
    """logits (B, T, V) = lm(tokens (B, T)): of the character after every token."""

    def __init__(self, layer: type[nn.RNNBase], vocab: int, d_embed: int, d_hidden: int, n_layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, d_embed)
        self.body = layer(d_embed, d_hidden, n_layers, batch_first=True)
        self.head = nn.Linear(d_hidden, vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        outputs, _ = self.body(self.embed(tokens))
        return self.head(outputs)


def plain_lm_loss(model: PlainLM, tokens: Tensor, targets: Tensor) -> Tensor:
    """Return -log p(target | tokens up to its place) in nats per character, of tokens and targets (B, T) int64."""
    return F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())


@torch.no_grad()
def plain_sample_pixels(model: PixelCNN, n: int, rows: int, labels: Tensor | None) -> Tensor:
    """Draw the first rows of n pictures, levels (n, rows, W) int64: the whole network runs for every pixel."""
    H, K, like = model.cfg.side, model.cfg.levels, model.head[1].weight
    u = torch.rand(H**2, n, 1, device=like.device)  # one chance a pixel, as ours draws them
    k = torch.zeros(n, H, H, dtype=torch.int64, device=like.device)  # what is not drawn yet is not seen
    for i in range(rows * H):
        params = model(from_levels(k, K)[:, None], labels)[:, :, i // H, i % H]
        k[:, i // H, i % H] = draw(model.probabilities(params), u[i])
    return k[:, :rows]


@torch.no_grad()
def plain_sample_waves(model: WaveNet, n: int, steps: int) -> Tensor:
    """Draw n waves, codes (n, steps) int64: the network runs on all samples that it sees, for every new one."""
    seen, codes = receptive_field(model.cfg), torch.empty(n, 0, dtype=torch.int64, device=model.embed.weight.device)
    for i in range(steps):
        window = F.pad(codes[:, max(0, i - seen) :], (0, 1))  # the sample to be drawn: any code, it is not seen
        probabilities = model(window)[:, :, -1].softmax(1)
        codes = torch.cat([codes, torch.multinomial(probabilities, 1)], dim=1)
    return codes

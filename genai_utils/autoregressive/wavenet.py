"""WaveNet: sound one sample at a time, each a choice among the levels of mu-law, from dilated causal convolutions.

Sources: [WAVENET] van den Oord et al. 2016, arXiv:1609.03499, Eq. 1-3: the chain rule, gated units, a condition.
         [FAST] Le Paine et al. 2016, arXiv:1611.09482: a queue of past inputs for each layer. [Ours] the past's share
         of the gates is computed for a whole queue at once.
Shapes:  B batch, T samples, V levels, K classes, W residual channels, S skip channels, d dilation.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.data.audio import mu_law_encode


@dataclass(frozen=True, kw_only=True)
class WaveNetConfig:
    levels: int = 256  # V, of mu-law, at least 2
    width: int = 32  # W, residual channels; the gates have twice as many
    skip: int = 64  # S, channels that every layer adds to on the way to the output
    n_blocks: int = 2  # the dilations of a block start again at 1
    n_layers: int = 8  # of a block: dilations 1, 2, 4, ..., 2^(n_layers - 1)
    n_classes: int = 0  # K, classes that sound can be asked for by; 0: no labels


PRESETS = {"tones": WaveNetConfig(n_classes=8), "digits": WaveNetConfig(n_layers=10, n_classes=10)}


def dilations(cfg: WaveNetConfig) -> list[int]:
    """Return the dilation of every layer, from the input to the output."""
    return [2**i for i in range(cfg.n_layers)] * cfg.n_blocks


def receptive_field(cfg: WaveNetConfig) -> int:
    """Return how many samples before sample i reach the logits for it: one, and one dilation more for each layer."""
    return 1 + sum(dilations(cfg))


class Layer(nn.Module):
    """A dilated causal convolution of two taps, gates, then 1x1: what the next layer reads, and a share of the skip."""

    def __init__(self, cfg: WaveNetConfig, dilation: int, last: bool) -> None:
        super().__init__()
        self.dilation, self.residual = dilation, 0 if last else cfg.width  # nobody reads the last layer's residual
        self.conv = nn.Conv1d(cfg.width, 2 * cfg.width, 2, dilation=dilation)  # both filters of Eq. 2, f then g
        self.out = nn.Conv1d(cfg.width, self.residual + cfg.skip, 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map x (B, W, T) to its like and to the skip (B, S, T); the condition V h (B, 2W, 1) is added to the gates."""
        gates = self.conv(F.pad(x, (self.dilation, 0)))  # (B, 2W, T): before the start there are zeros
        if condition is not None:
            gates = gates + condition
        f, g = gates.chunk(2, dim=1)
        out = self.out(torch.tanh(f) * torch.sigmoid(g))  # Eq. 2
        return (x + out[:, : self.residual] if self.residual else x), out[:, self.residual :]


class WaveNet(nn.Module):
    """logits = model(codes, labels): of the level of every sample, given the label and the samples before it; Eq. 3."""

    Config = WaveNetConfig

    def __init__(self, cfg: WaveNetConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.embed = nn.Embedding(cfg.levels + 1, cfg.width)  # a 1x1 convolution of one-hots; the last row: "start"
        spans = dilations(cfg)
        self.layers = nn.ModuleList(Layer(cfg, d, last=i == len(spans) - 1) for i, d in enumerate(spans))
        if cfg.n_classes:  # V h of Sec. 2.5 for a one-hot h: a row for each class, 2W numbers for each layer
            self.condition = nn.Embedding(cfg.n_classes, len(spans) * 2 * cfg.width)
            nn.init.normal_(self.condition.weight, std=0.1)
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv1d(cfg.skip, cfg.skip, 1), nn.ReLU(), nn.Conv1d(cfg.skip, cfg.levels, 1)
        )  # [WAVENET] Fig. 4

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (B, V, T) in float32 or better; those for sample i depend on the label and on codes before i.

        The first sample sees a learned vector, "start", and every convolution sees zeros before it.

        Args:
            codes: (B, T) int64 in [0, V), levels of mu-law.
            labels: (B,) int64 in [0, n_classes), given exactly when the config has classes.
        Raises:
            ValueError: codes of another shape or type; labels missing or not expected; on a CPU also values out of
                range.
        """
        if codes.ndim != 2 or codes.dtype != torch.int64 or not codes.numel():
            raise ValueError(f"codes must be (B, T) int64, not empty, got {tuple(codes.shape)} {codes.dtype}")
        _check_range("codes", codes, self.cfg.levels)
        before = F.pad(codes[:, :-1], (1, 0), value=self.cfg.levels)  # what sample i sees is one place back
        conditions = self.conditions(len(codes), labels)
        x, skip = self.embed(before).transpose(1, 2), 0.0  # (B, W, T)
        for i, layer in enumerate(self.layers):
            x, share = layer(x, None if conditions is None else conditions[:, i, :, None])
            skip = skip + share
        return _full(self.head(skip))

    def conditions(self, n: int, labels: Tensor | None) -> Tensor | None:
        """Return what labels (n,) add to the gates of every layer, (n, layers, 2W); errors as in `forward`."""
        n_classes = self.cfg.n_classes
        if (labels is None) != (n_classes == 0):
            wanted = f"labels in [0, {n_classes})" if n_classes else "no labels (n_classes is 0)"
            raise ValueError(f"this model takes {wanted}, got {'none' if labels is None else 'some'}")
        if labels is None:
            return None
        if labels.shape != (n,) or labels.dtype != torch.int64:
            raise ValueError(f"labels must be ({n},) int64, one a wave, got {tuple(labels.shape)} {labels.dtype}")
        _check_range("labels", labels, n_classes)
        return self.condition(labels).unflatten(1, (len(self.layers), -1))

    def log_prob(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return log p(codes | labels) in nats, (B,); Eq. 1 and 3. Arguments and errors as in `forward`."""
        return -F.cross_entropy(self(codes, labels), codes, reduction="none").sum(1)


def wavenet_loss(model: WaveNet, batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(codes | labels) in nats per sample, averaged over samples and batch.

    Args:
        model: the network.
        batch: (waves, labels): (B, T) float in [-1, 1], which become codes of mu-law here, and (B,) int64 classes. The
            labels are used only if the config has classes, so that a labelled set serves both kinds of model.
    Returns:
        The scalar loss, and logs: `nll`, the same, and `bits`, in bits per sample.
    Raises:
        ValueError: waves of another shape, outside [-1, 1] or not finite; labels that do not fit.
    """
    waves, labels = batch
    if waves.ndim != 2 or not waves.is_floating_point():
        raise ValueError(f"waves must be (B, T) float in [-1, 1], got {tuple(waves.shape)} {waves.dtype}")
    codes = mu_law_encode(waves, model.cfg.levels)
    nll = F.cross_entropy(model(codes, labels if model.cfg.n_classes else None), codes)
    return nll, {"nll": nll, "bits": nll / math.log(2)}


class _Queue:
    """What one layer keeps of the past, and its weights as the sampler multiplies by them.

    Three economies, with float32's accuracy kept: sigmoid(g) = (1 + tanh(g / 2)) / 2, so that one tanh serves both
    gates and the halves go into the weights; residual and skip are one matrix, its bias a row for a constant one; and
    the past's share of the gates, known d samples ahead, is one product for all of them.
    """

    def __init__(self, layer: Layer, n: int, width: int, condition: Tensor | None) -> None:
        w, b = layer.conv.weight.detach().clone(), layer.conv.bias.detach().expand(n, -1).clone()  # (2W, W, 2), (n, 2W)
        if condition is not None:
            b += condition
        w[width:] *= 0.5
        b[:, width:] *= 0.5
        self.bias, self.w_past, self.w_now = b, w[:, :, 0].T.contiguous(), w[:, :, 1].T.contiguous()
        out = torch.cat([0.5 * layer.out.weight[:, :, 0].T, layer.out.bias[None]])  # (W + 1, W + S)
        self.w_out = F.pad(out, (width - layer.residual, 0)).detach()  # the last layer: no residual, so zeros
        inputs = w.new_zeros(layer.dilation, n, self.w_out.shape[1])  # the state before the layer: x, then the skip
        past = w.new_empty(layer.dilation, n, 2 * width)
        self.states, self.now, self.past = inputs.unbind(), inputs[:, :, :width].unbind(), past.unbind()
        self.all_inputs, self.all_past = inputs[:, :, :width].flatten(0, 1), past
        self.look_ahead()

    def look_ahead(self) -> None:
        """Compute what the d inputs in the queue, bias and label add to the gates of the next d samples."""
        torch.mm(self.all_inputs, self.w_past, out=self.all_past.flatten(0, 1))
        self.all_past.add_(self.bias)


class WaveCache:
    """What the sampler keeps: of each layer the last `dilation` inputs, so that a sample costs one sample.

    Args:
        model: whose weights are copied as they are now.
        n: waves drawn side by side.
        labels: (n,) int64 classes, if the model takes them.
    Raises:
        ValueError: labels do not fit.
    """

    def __init__(self, model: WaveNet, n: int, labels: Tensor | None = None) -> None:
        with torch.no_grad():
            conditions, width = model.conditions(n, labels), model.cfg.width
            each = [None] * len(model.layers) if conditions is None else conditions.unbind(1)
            self.queues = [_Queue(layer, n, width, c) for layer, c in zip(model.layers, each)]
            self.table = F.pad(model.embed.weight, (0, model.cfg.skip))  # (V + 1, W + S): a skip starts at zero
            (w1, b1), (w2, b2) = ((m.weight[:, :, 0].T.contiguous(), m.bias) for m in (model.head[1], model.head[3]))
            self.head = w1, b1.clone(), w2, b2.clone()
            self.gates = w1.new_empty(n, 2 * width)
            self.units = w1.new_ones(n, width + 1)  # tanh(f) (1 + tanh(g / 2)), and a one for the bias
            self.final = w1.new_empty(n, width + model.cfg.skip)
        self.f, self.g = self.gates.chunk(2, dim=1)
        self.z, self.skip = self.units[:, :width], self.final[:, width:]
        self.i = 0  # samples seen

    @torch.no_grad()
    def next_logits(self, codes: Tensor) -> Tensor:
        """Return the logits (n, V) of the next sample, given the last one: codes (n,) int64; V stands for "start"."""
        i, queues = self.i, self.queues
        self.i += 1
        state = torch.index_select(self.table, 0, codes, out=queues[0].states[i % len(queues[0].states)])
        for k, queue in enumerate(queues, start=1):
            d = len(queue.states)
            torch.addmm(queue.past[i % d], queue.now[i % d], queue.w_now, out=self.gates).tanh_()
            torch.addcmul(self.f, self.f, self.g, out=self.z)  # Eq. 2
            room = self.final if k == len(queues) else queues[k].states[i % len(queues[k].states)]
            state = torch.addmm(state, self.units, queue.w_out, out=room)
            if i % d == d - 1:
                queue.look_ahead()
        w1, b1, w2, b2 = self.head
        return _full(torch.addmm(b2, torch.addmm(b1, self.skip.relu(), w1).relu_(), w2))


@torch.no_grad()
def sample_waves(
    model: WaveNet,
    n: int,
    steps: int,
    labels: Tensor | None = None,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Draw n waves sample by sample, yielding (i, codes) after every sample: (n,) int64 in [0, V), of mu-law.

    Queues of past inputs make a sample cost one sample, however far back the network sees.

    Args:
        model: a network in evaluation mode.
        n: how many.
        steps: samples of each wave.
        labels: (n,) int64 classes to ask for, if the model takes them.
        temperature: divides the logits, above 0; 1 draws from the model, less prefers what is likely.
        generator: on the model's device.
    Raises:
        ValueError: n or steps < 1, temperature <= 0, or labels that do not fit (raised at the first sample).
    """
    if n < 1 or steps < 1 or not temperature > 0:
        raise ValueError(
            f"need n >= 1, steps >= 1 and temperature > 0, got n={n}, steps={steps}, temperature={temperature}"
        )
    cache = WaveCache(model, n, labels)
    codes = torch.full((n,), model.cfg.levels, device=model.embed.weight.device)  # "start"
    for i in range(steps):
        probabilities = (cache.next_logits(codes) / temperature).softmax(1)
        codes = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        yield i, codes


def _check_range(name: str, values: Tensor, n: int) -> None:
    if values.device.type == "cpu" and not ((0 <= values) & (values < n)).all():  # a GPU would have to wait
        raise ValueError(f"{name} must be in [0, {n}), got {values[(values < 0) | (values >= n)][0].item()}")


def _full(x: Tensor) -> Tensor:
    """Leave half precision: likelihoods are sums of many terms."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check(cfg: WaveNetConfig) -> None:
    sizes = ("width", "skip", "n_blocks", "n_layers")
    if bad := {k: v for k in sizes if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.levels < 2:
        raise ValueError(f"levels must be at least 2, got {cfg.levels}")
    if cfg.n_classes < 0:
        raise ValueError(f"n_classes must be at least 0, got {cfg.n_classes}")

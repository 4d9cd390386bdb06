"""BigGAN and BigGAN-deep: generators of pictures of a class, which enters through every batch norm.

The two variants differ in more than depth. BigGAN cuts z into chunks, one for the first layer and one for each block
(hierarchical z); its blocks have two convolutions. BigGAN-deep gives all of z to every block; its blocks are
bottlenecks of four convolutions, and skips drop maps where others would project. Published files are BigGAN-deep.

Sources: [BG] Brock et al. 2019, arXiv:1809.11096, Sec. 3 and Appendix B. [SAGAN] Zhang et al. 2019, arXiv:1805.08318,
         Sec. 3 (attention). [SN] Miyato et al. 2018, arXiv:1802.05957. Layout of published files: the package
         pytorch-pretrained-biggan.
Shapes:  B batch, C channels, H = W image side, Z width of z, E width of an embedded class, K classes, D width of a
         condition, M maps of a layer. Images are in [-1, 1].
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from genai_utils.gan.gan import full
from genai_utils.nn.attention import attend


@dataclass(frozen=True, kw_only=True)
class BigGANConfig:
    side: int = 32  # H, in pixels: 4 doubled at every block that goes up
    channels: int = 1  # C
    n_classes: int = 10  # K
    latent: int = 32  # Z; without `deep` a multiple of the blocks and one
    d_class: int = 32  # E
    width: int = 16  # maps at the last side
    multiples: tuple[int, ...] = (4, 4, 2, 1)  # of the width: maps before the first block and after each; the last is 1
    ups: tuple[bool, ...] = (True, True, True)  # which blocks double the side
    attention: int | None = 2  # the block before which attention stands, in [0, blocks); None: nowhere
    deep: bool = False  # BigGAN-deep
    rgb_maps: int | None = None  # maps of the last convolution, of which the first C are the picture; None: C
    n_stats: int = 11  # truncations 0, 1 / (n - 1), ..., 1 for which batch norms keep statistics, at least 2
    swapped: bool = False  # between two of them weigh each by its distance, not by its nearness: see `ConditionalNorm`
    eps: float = 1e-5  # of the batch norms; and of the power iteration


DEEP = {
    "channels": 3, "n_classes": 1000, "latent": 128, "d_class": 128, "width": 128, "deep": True, "rgb_maps": 128,
    "n_stats": 51, "swapped": True, "eps": 1e-4,
}  # fmt: skip
PRESETS = {
    "mnist": BigGANConfig(),
    "mnist-deep": BigGANConfig(
        width=32, deep=True, multiples=(4, 4, 4, 4, 2, 2, 1), ups=(False, True) * 3, attention=4
    ),
    "cifar10": BigGANConfig(channels=3, latent=64, width=32),
    "imagenet-128": BigGANConfig(  # [BG] Table 4
        side=128, channels=3, n_classes=1000, latent=120, d_class=128, width=96, multiples=(16, 16, 8, 4, 2, 1),
        ups=(True,) * 5, attention=4, n_stats=51, eps=1e-4,
    ),
    "imagenet-deep-128": BigGANConfig(  # [BG] Table 7, as published
        side=128, multiples=(16, 16, 16, 16, 8, 8, 4, 4, 2, 2, 1), ups=(False, True) * 5, attention=8, **DEEP
    ),
}  # fmt: skip


def check_config(cfg: BigGANConfig) -> None:
    """Refuse sizes that cannot be built with a ValueError that names them."""
    counts = (
        "channels",
        "n_classes",
        "latent",
        "d_class",
        "width",
        *(("rgb_maps",) if cfg.rgb_maps is not None else ()),
    )
    if bad := {k: v for k in counts if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.side < 8 or cfg.side & (cfg.side - 1) or cfg.side != 4 * 2 ** sum(cfg.ups):
        raise ValueError(f"side must be a power of two, 4 doubled by each of the {sum(cfg.ups)} blocks of ups that are "
                         f"True, {4 * 2 ** sum(cfg.ups)}; got {cfg.side}")  # fmt: skip
    if len(cfg.multiples) != len(cfg.ups) + 1 or cfg.multiples[-1] != 1 or min(cfg.multiples) < 1:
        raise ValueError(
            f"multiples must be {len(cfg.ups) + 1} numbers, one more than ups, each at least 1 and the last 1; "
            f"got {cfg.multiples}"
        )
    if cfg.attention is not None:
        if not 0 <= cfg.attention < len(cfg.ups):
            raise ValueError(f"attention must be a block in [0, {len(cfg.ups)}) or None, got {cfg.attention}")
        widths = maps(cfg)[cfg.attention : cfg.attention + (1 if cfg.deep else 2)]  # the discriminator's, too
        if any(m % 8 for m in widths):
            raise ValueError(f"attention needs multiples of 8 maps, got {widths}: change the width")
    if cfg.deep:
        if any(m % 4 for m in maps(cfg)[:-1]):
            raise ValueError(f"blocks of BigGAN-deep need multiples of 4 maps, got {maps(cfg)}: change the width")
        if any(b > a for a, b in zip(maps(cfg), maps(cfg)[1:])):
            raise ValueError(f"skips of BigGAN-deep only drop maps, so multiples must not rise, got {cfg.multiples}")
    elif cfg.latent % (len(cfg.ups) + 1):
        raise ValueError(
            f"latent must be a multiple of {len(cfg.ups) + 1}, a chunk for the first layer and each block, "
            f"got {cfg.latent}"
        )
    if cfg.rgb_maps is not None and cfg.rgb_maps < cfg.channels:
        raise ValueError(f"rgb_maps must be at least channels, {cfg.channels}, or None, got {cfg.rgb_maps}")
    if cfg.n_stats < 2 or not cfg.eps > 0:
        raise ValueError(f"need n_stats >= 2 and eps > 0, got n_stats={cfg.n_stats}, eps={cfg.eps}")


def maps(cfg: BigGANConfig) -> list[int]:
    """Return the maps before the first block and after each."""
    return [cfg.width * m for m in cfg.multiples]


class Spectral(nn.Module):
    """W divided by its largest singular value; [SN] Algorithm 1: in training each call takes one step towards it.

    PyTorch's `spectral_norm` parametrization, by whose names we go, moves u before v, so that a published network would
    not go on as it was trained; it is rounded by autocast; and it takes its first 15 steps even on the meta device.
    """

    def __init__(self, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.eps = eps
        rows = weight.detach().flatten(1)
        self.register_buffer("_u", torch.empty_like(rows[:, 0]))
        self.register_buffer("_v", torch.empty_like(rows[0]))
        if not weight.is_meta:
            self._u.copy_(F.normalize(torch.randn_like(rows[:, 0]), dim=0))
            self.iterate(rows)  # one step is exact for an orthogonal weight

    @torch.no_grad()
    def iterate(self, rows: Tensor) -> None:
        """Move u and v towards the first singular vectors of a matrix whose rows are the filters."""
        self._v.copy_(F.normalize(rows.T @ self._u, dim=0, eps=self.eps))
        self._u.copy_(F.normalize(rows @ self._v, dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        rows = weight.flatten(1)
        with torch.autocast("cpu" if weight.is_meta else weight.device.type, enabled=False):
            if self.training:
                self.iterate(rows)
            u, v = self._u.clone(), self._v.clone()  # the next call changes them before this one's backward pass
            return weight / torch.dot(u, rows @ v)


def spectral(layer: nn.Module, eps: float) -> nn.Module:
    """Return the layer, its weight orthogonal and divided by its largest singular value at every call."""
    if not layer.weight.is_meta:  # there it would take seconds and leave nothing
        nn.init.orthogonal_(layer.weight)
    register_parametrization(layer, "weight", Spectral(layer.weight, eps), unsafe=True)  # unsafe: without a trial call
    return layer


class ConditionalNorm(nn.Module):
    """Batch norm whose gain, 1 + scale(condition), and offset are linear in a condition; with none, plain batch norm.

    In training the statistics are the batch's. In evaluation they come from a table, as they depend on how far z is
    truncated: `standing_statistics` fills it. Between two truncations of the table they are interpolated. With
    `swapped`, as in the published code, each neighbour has the weight that belongs to the other one; published files
    are read so, because they are compared with that code.
    """

    def __init__(self, maps: int, d_condition: int | None, *, n_stats: int, eps: float, swapped: bool) -> None:
        super().__init__()
        self.eps, self.swapped = eps, swapped
        self.register_buffer("means", torch.zeros(n_stats, maps))
        self.register_buffer("variances", torch.ones(n_stats, maps))
        if d_condition is None:
            self.weight, self.bias = nn.Parameter(torch.ones(maps)), nn.Parameter(torch.zeros(maps))
        else:
            self.scale, self.offset = (spectral(nn.Linear(d_condition, maps, bias=False), eps) for _ in range(2))

    def statistics(self, truncation: float) -> tuple[Tensor, Tensor]:
        """Return mean and variance (M,) of each map at a truncation in (0, 1]."""
        last = len(self.means) - 1
        share, start = math.modf(truncation / (1 / last))  # so computed that 0.58 falls short of row 29, as published
        start = int(start)
        if share == 0 or start == last:  # rounded, 1 / (1 / 49) is more than 49
            return self.means[start], self.variances[start]
        share = 1 - share if self.swapped else share
        return tuple(torch.lerp(t[start], t[start + 1], share) for t in (self.means, self.variances))

    def forward(self, x: Tensor, condition: Tensor | None, truncation: float) -> Tensor:
        """Return (B, M, H, W) from x of that shape, condition (B, D)."""
        if condition is None:
            gain, offset = self.weight[None], self.bias[None]
        else:
            gain, offset = 1 + full(self.scale(condition)), full(self.offset(condition))
        if self.training:
            x = F.batch_norm(x, None, None, training=True, eps=self.eps)
        else:
            mean, variance = self.statistics(truncation)
            gain = gain * torch.rsqrt(variance + self.eps)
            offset = offset - mean * gain
        return torch.addcmul(offset.to(x.dtype)[:, :, None, None], x, gain.to(x.dtype)[:, :, None, None])


class NonLocal(nn.Module):
    """Attention between all places of a map: queries from every place, keys and values from one place in four.

    Source: [SAGAN] Eq. 1 to 3, with the pooling and the widths of [BG]; scores are not divided by a root.
    """

    def __init__(self, maps: int, eps: float) -> None:
        super().__init__()
        convolution = lambda a, b: spectral(nn.Conv2d(a, b, 1, bias=False), eps)
        self.theta, self.phi, self.g = (convolution(maps, maps // part) for part in (8, 8, 2))
        self.out = convolution(maps // 2, maps)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.theta(x), F.max_pool2d(self.phi(x), 2), F.max_pool2d(self.g(x), 2)
        q, k, v = (t.flatten(2).transpose(1, 2)[:, None] for t in (q, k, v))  # (B, 1, places, width)
        y = attend(q, k, v, scale=1.0)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.gamma * self.out(y)


class Block(nn.Module):
    """BigGAN's block: two 3x3 convolutions, each after norm and ReLU, and a projected skip; [BG] Figure 15 (b)."""

    def __init__(self, inputs: int, outputs: int, d_condition: int, up: bool, norm: dict[str, Any]) -> None:
        super().__init__()
        self.up = up
        self.norms = nn.ModuleList(ConditionalNorm(n, d_condition, **norm) for n in (inputs, outputs))
        self.convs = nn.ModuleList(
            spectral(nn.Conv2d(n, outputs, 3, padding=1), norm["eps"]) for n in (inputs, outputs)
        )
        self.skip = spectral(nn.Conv2d(inputs, outputs, 1), norm["eps"]) if up or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor, truncation: float) -> Tensor:
        h = F.relu(self.norms[0](x, condition, truncation))
        h = self.convs[0](double(h) if self.up else h)
        h = self.convs[1](F.relu(self.norms[1](h, condition, truncation)))
        skip = self.skip(x)  # before it is doubled: a quarter of the work, the same result
        return h + (double(skip) if self.up else skip)


class DeepBlock(nn.Module):
    """BigGAN-deep's block: a bottleneck of four convolutions, and a skip that drops maps; [BG] Figure 16 (b)."""

    def __init__(self, inputs: int, outputs: int, d_condition: int, up: bool, norm: dict[str, Any]) -> None:
        super().__init__()
        self.up, self.outputs = up, outputs
        middle = inputs // 4
        widths = [inputs, middle, middle, middle, outputs]
        self.norms = nn.ModuleList(ConditionalNorm(n, d_condition, **norm) for n in widths[:-1])
        self.convs = nn.ModuleList(
            spectral(nn.Conv2d(a, b, side, padding=side // 2), norm["eps"])
            for a, b, side in zip(widths, widths[1:], (1, 3, 3, 1))
        )

    def forward(self, x: Tensor, condition: Tensor, truncation: float) -> Tensor:
        h = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs)):
            h = F.relu(norm(h, condition, truncation))
            h = conv(double(h) if self.up and i == 1 else h)
        skip = x[:, : self.outputs]
        return h + (double(skip) if self.up else skip)


def double(x: Tensor) -> Tensor:
    """Return (B, M, 2H, 2W), every pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class BigGAN(nn.Module):
    """x = generator(z, labels): the generator, of either variant."""

    Config = BigGANConfig

    def __init__(self, cfg: BigGANConfig) -> None:
        super().__init__()
        check_config(cfg)
        self.cfg = cfg
        empty = torch.empty(cfg.n_classes, cfg.d_class)  # to fill it on the meta device would load torch's compiler
        self.embed = nn.Embedding.from_pretrained(empty, freeze=False)  # shared by all layers
        if not self.embed.weight.is_meta:
            nn.init.orthogonal_(self.embed.weight)
        norm = {"n_stats": cfg.n_stats, "eps": cfg.eps, "swapped": cfg.swapped}
        d_condition = self.chunk + cfg.d_class
        widths = maps(cfg)
        self.first = spectral(nn.Linear(d_condition if cfg.deep else self.chunk, 16 * widths[0]), cfg.eps)
        block, layers = DeepBlock if cfg.deep else Block, []
        for i, up in enumerate(cfg.ups):
            layers += [NonLocal(widths[i], cfg.eps)] if i == cfg.attention else []
            layers += [block(widths[i], widths[i + 1], d_condition, up, norm)]
        self.layers = nn.ModuleList(layers)
        self.norm_out = ConditionalNorm(widths[-1], None, **norm)
        self.to_rgb = spectral(nn.Conv2d(widths[-1], cfg.rgb_maps or cfg.channels, 3, padding=1), cfg.eps)

    @property
    def chunk(self) -> int:
        """The numbers of z that one layer is given: all in BigGAN-deep, a chunk in BigGAN."""
        return self.cfg.latent if self.cfg.deep else self.cfg.latent // (len(self.cfg.ups) + 1)

    def conditions(self, z: Tensor, labels: Tensor) -> list[Tensor]:
        """Return what the first layer is given and then, for each block, its condition (B, D)."""
        mixed = labels.is_floating_point()
        y = labels.to(self.embed.weight.dtype) @ self.embed.weight if mixed else self.embed(labels)
        if self.cfg.deep:
            return [torch.cat([z, y], 1)] * (len(self.cfg.ups) + 1)
        first, *chunks = z.split(self.chunk, 1)
        return [first, *(torch.cat([y, part], 1) for part in chunks)]

    def forward(self, z: Tensor, labels: Tensor, *, truncation: float = 1.0) -> Tensor:
        """Return pictures (B, C, H, H) in [-1, 1].

        Args:
            z: (B, Z), from `draw_latents` with the same truncation.
            labels: (B,) int64 classes in [0, K), or (B, K) weights of the classes' embeddings.
            truncation: in (0, 1]; says which statistics the norms use in evaluation.
        Raises:
            ValueError: z or labels does not have its shape, truncation is out of range; on a CPU also a class out of
                range.
        """
        if z.ndim != 2 or z.shape[1] != self.cfg.latent:
            raise ValueError(f"z must be (B, {self.cfg.latent}), got {tuple(z.shape)}")
        check_labels(labels, len(z), self.cfg.n_classes)
        if not 0 < truncation <= 1:
            raise ValueError(f"truncation must be in (0, 1], got {truncation}")
        first, *conditions = self.conditions(z, labels)
        x = self.first(first).unflatten(1, (4, 4, -1)).movedim(-1, 1)  # published weights are in this order
        conditions = iter(conditions)
        for layer in self.layers:
            x = layer(x) if isinstance(layer, NonLocal) else layer(x, next(conditions), truncation)
        x = F.relu(self.norm_out(x, None, truncation))
        rows = slice(self.cfg.channels)  # only the maps that are the picture are computed
        return torch.tanh(full(F.conv2d(x, self.to_rgb.weight[rows], self.to_rgb.bias[rows], padding=1)))

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "BigGAN":
        """Load a BigGAN-deep in the layout of pytorch-pretrained-biggan, such as "biggan-deep-128" of its files.

        Args:
            name: a folder with config.json and pytorch_model.bin (or model.safetensors), or a repository id of the
                Hugging Face Hub.
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token).
        Raises:
            ValueError: the config asks for something this BigGAN lacks (named), or the tensors do not fit it.
            FileNotFoundError: the folder lacks a file (named).
        """
        from genai_utils.gan.published_biggan import read_biggan

        cfg, state = read_biggan(name, **hub)
        with torch.device("meta"):
            model = cls(cfg)
        model.load_state_dict(state, assign=True)
        return model.eval()


def check_labels(labels: Tensor, n: int, n_classes: int) -> None:
    """Refuse labels other than (n,) int64 in [0, n_classes), a range seen on a CPU only, or (n, n_classes) floats."""
    if labels.is_floating_point():
        if labels.shape != (n, n_classes):
            raise ValueError(f"weights of classes must be ({n}, {n_classes}), got {tuple(labels.shape)}")
    elif labels.shape != (n,) or labels.dtype != torch.int64:
        raise ValueError(f"labels must be ({n},) int64, got {tuple(labels.shape)} {labels.dtype}")
    elif labels.device.type == "cpu" and n and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise ValueError(f"classes must be in [0, {n_classes}), got {int(labels.min())} to {int(labels.max())}")

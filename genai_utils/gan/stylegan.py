"""StyleGAN2: a mapping network turns z into a style, and the style sets the scale of every feature map at every side.

Sources: [SG1] Karras et al. 2019, arXiv:1812.04948 (mapping, noise, style mixing, truncation). [SG2] Karras et al.
         2020, arXiv:1912.04958 (modulation, skip generator, residual discriminator). [ADA] Karras et al. 2020,
         arXiv:2006.06676: the constants, as in its PyTorch code, of which published_stylegan.py reads the files.
Shapes:  B batch, C channels, H = W image side, Z width of z, S width of a style w, L = 2 log2(H) - 2 places where a
         style enters, I and O maps into and out of a convolution, k its side. Images are in [-1, 1].
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.gan.equal import EqualConv2d, EqualLinear, minibatch_std
from genai_utils.gan.gan import Game, full
from genai_utils.gan.modulation import Resample, activate, bound, scaled_conv

NOISES = ("random", "fixed", "none")


@dataclass(frozen=True, kw_only=True)
class StyleGANConfig:
    side: int = 32  # H, in pixels; a power of two, at least 8
    channels: int = 1  # C
    latent: int = 64  # Z
    d_style: int = 64  # S
    mapping_layers: int = 4  # layers from z to w, at least 1
    lr_mul: float = 0.01  # speed of those layers in units of the learning rate, > 0; [SG1] Appendix C
    base: int = 1024  # maps at side r are base // r, ...
    max_width: int = 64  # ... but at most so many
    mean_decay: float = 0.995  # of the moving mean of w, in [0, 1)
    group: int = 4  # images per group of the minibatch standard deviation; a batch is a multiple, or smaller
    clamp: float | None = None  # bound on activations, > 0; published files have 256, for half precision


PRESETS = {
    "mnist": StyleGANConfig(),
    "cifar10": StyleGANConfig(channels=3, latent=128, d_style=128, mapping_layers=2, base=4096, max_width=128),
    "ffhq-1024": StyleGANConfig(
        side=1024, channels=3, latent=512, d_style=512, mapping_layers=8, base=32768, max_width=512
    ),  # [SG2] config F
}


def check_config(cfg: StyleGANConfig) -> None:
    """Refuse sizes that cannot be built with a ValueError that names them."""
    if cfg.side < 8 or cfg.side & (cfg.side - 1):
        raise ValueError(f"side must be a power of two, at least 8, got {cfg.side}; pad or resize the images")
    if bad := {
        k: v for k in ("channels", "latent", "d_style", "mapping_layers", "group") if (v := getattr(cfg, k)) < 1
    }:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.base < cfg.side or cfg.max_width < 1:
        raise ValueError(f"base must be at least the side, {cfg.side}, and max_width at least 1, got {cfg.base} and "
                         f"{cfg.max_width}: there would be no maps")  # fmt: skip
    if not 0 <= cfg.mean_decay < 1:
        raise ValueError(f"mean_decay must be in [0, 1), got {cfg.mean_decay}")
    if cfg.clamp is not None and not cfg.clamp > 0:
        raise ValueError(f"clamp must be above 0, or None for no bound, got {cfg.clamp}")


def sides(cfg: StyleGANConfig) -> list[int]:
    """Return the sides at which there are blocks: 4, 8, ..., H."""
    return [2**i for i in range(2, cfg.side.bit_length())]


def width(cfg: StyleGANConfig, side: int) -> int:
    """Return the feature maps at a side."""
    return min(cfg.base // side, cfg.max_width)


# ---- generator


class Mapping(nn.Module):
    """w = mapping(z): z on the sphere of radius sqrt(Z), then fully connected layers that learn slowly."""

    def __init__(self, cfg: StyleGANConfig) -> None:
        super().__init__()
        inputs = [cfg.latent, *[cfg.d_style] * (cfg.mapping_layers - 1)]
        self.layers = nn.ModuleList(EqualLinear(n, cfg.d_style, lr_mul=cfg.lr_mul) for n in inputs)
        self.register_buffer("mean_style", torch.zeros(cfg.d_style))
        self.decay = cfg.mean_decay

    def forward(self, z: Tensor) -> Tensor:
        """Return styles (B, S) from z (B, Z)."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = activate(layer(x))
        return x

    @torch.no_grad()
    def track(self, w: Tensor) -> None:
        """Move the mean style towards the mean of w (B, S); the step does so, a forward pass changes nothing."""
        self.mean_style.lerp_(w.mean(0).to(self.mean_style.dtype), 1 - self.decay)


class StyledConv(nn.Module):
    """A convolution whose weights follow the style, then noise, bias and activation; with `up` to twice the side."""

    def __init__(self, cfg: StyleGANConfig, inputs: int, outputs: int, side: int, *, up: bool) -> None:
        super().__init__()
        self.up, self.side, self.clamp = up, side, cfg.clamp
        self.affine = _affine(cfg.d_style, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))  # no scale: demodulation divides it out
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("fixed_noise", torch.randn(side, side))
        self.resample = Resample() if up else None

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Return (B, O, H, H) from x (B, I, H, H), or (B, I, H/2, H/2) with `up`; w (B, S); noise (B or 1, 1, H, H)."""
        y = scaled_conv(x, self.weight, self.affine(w), up=self.up)
        if self.up:
            y = self.resample.blur(y, pad=1, gain=4)  # the stride left one value in four: hence the gain
        if noise is not None:
            y = y + self.noise_strength * noise
        return activate(y + self.bias.to(y.dtype)[:, None, None], self.clamp)


class ToRGB(nn.Module):
    """Maps to image channels, by the style, without demodulation: this is a sum into the picture, not a feature."""

    def __init__(self, cfg: StyleGANConfig, inputs: int) -> None:
        super().__init__()
        self.clamp = cfg.clamp
        self.affine = _affine(cfg.d_style, inputs)
        self.weight = nn.Parameter(torch.randn(cfg.channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(cfg.channels))
        self.scale = inputs**-0.5

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = scaled_conv(x, self.weight, self.affine(w) * self.scale, demodulate=False)
        return bound(y + self.bias.to(y.dtype)[:, None, None], self.clamp)


class Synthesis(nn.Module):
    """x = synthesis(w): from a learned constant of side 4; the picture is the sum of what each side adds to it."""

    def __init__(self, cfg: StyleGANConfig) -> None:
        super().__init__()
        self.cfg = cfg
        maps = {side: width(cfg, side) for side in sides(cfg)}
        self.const = nn.Parameter(torch.randn(maps[4], 4, 4))
        convs = [StyledConv(cfg, maps[4], maps[4], 4, up=False)]
        for side in sides(cfg)[1:]:
            convs += [StyledConv(cfg, maps[side // 2], maps[side], side, up=True)]
            convs += [StyledConv(cfg, maps[side], maps[side], side, up=False)]
        self.convs = nn.ModuleList(convs)  # number i reads style i
        self.to_rgb = nn.ModuleList(ToRGB(cfg, n) for n in maps.values())  # that of side k reads style 2k + 1
        self.resample = Resample()

    def forward(
        self, w: Tensor, noise: str | Sequence[Tensor] = "random", generator: torch.Generator | None = None
    ) -> Tensor:
        """Return pictures (B, C, H, H), in about [-1, 1], from styles (B, L, S).

        Args:
            w: one style for each place: L of them, coarse to fine; the last enters the last `to_rgb` alone.
            noise: "random"; "fixed", the same at every call; "none"; or L - 1 tensors (B or 1, 1, side, side).
            generator: draws random noise; on w's device.
        Raises:
            ValueError: w or noise does not have its shape, or noise is none of the words.
        """
        if w.ndim != 3 or w.shape[1:] != (len(self.convs) + 1, self.cfg.d_style):
            raise ValueError(f"w must be (B, {len(self.convs) + 1}, {self.cfg.d_style}), got {tuple(w.shape)}")
        rgb, x = None, self.const.expand(len(w), -1, -1, -1)
        for i, (conv, eps) in enumerate(zip(self.convs, self._noise(w, noise, generator), strict=True)):
            x = conv(x, w[:, i], eps)
            if i % 2 == 0:  # the last at its side
                y = self.to_rgb[i // 2](x, w[:, i + 1])
                rgb = y if rgb is None else self.resample.up(rgb) + y
        return full(rgb)

    def _noise(
        self, w: Tensor, noise: str | Sequence[Tensor], generator: torch.Generator | None
    ) -> Iterator[Tensor | None]:
        if isinstance(noise, str):
            if noise not in NOISES:
                raise ValueError(f"noise must be one of {', '.join(NOISES)}, or tensors, got {noise!r}")
        elif [tuple(eps.shape[1:]) for eps in noise] != [(1, conv.side, conv.side) for conv in self.convs]:
            wanted = ", ".join(f"{conv.side}x{conv.side}" for conv in self.convs)
            raise ValueError(f"noise must be {len(self.convs)} tensors (B or 1, 1, side, side) with sides {wanted}")
        for i, conv in enumerate(self.convs):
            if noise == "random":
                shape = (len(w), 1, conv.side, conv.side)
                yield torch.randn(shape, generator=generator, device=w.device, dtype=conv.fixed_noise.dtype)
            elif noise == "fixed":
                yield conv.fixed_noise[None, None]
            else:
                yield None if noise == "none" else noise[i]


class StyleGenerator(nn.Module):
    """x = generator(z): mapping, then synthesis with the same style at every place."""

    Config = StyleGANConfig

    def __init__(self, cfg: StyleGANConfig) -> None:
        super().__init__()
        check_config(cfg)
        self.cfg = cfg
        self.mapping = Mapping(cfg)
        self.synthesis = Synthesis(cfg)

    @property
    def n_styles(self) -> int:
        """L, the places where a style enters."""
        return len(self.synthesis.convs) + 1

    def styles(self, z: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Return styles (B, L, S) from z (B, Z), drawn towards the mean style; [SG1] Appendix B.

        Args:
            z: standard normal.
            truncation: psi, the share of the distance from the mean style that is kept, in [0, 1].
            cutoff: only the first so many places are drawn to the mean, in [0, L]; None: all.
        Raises:
            ValueError: z is not (B, Z), or truncation or cutoff is out of its range.
        """
        if z.ndim != 2 or z.shape[1] != self.cfg.latent:
            raise ValueError(f"z must be (B, {self.cfg.latent}), got {tuple(z.shape)}")
        if not 0 <= truncation <= 1:
            raise ValueError(f"truncation must be in [0, 1], got {truncation}")
        cutoff = self.n_styles if cutoff is None else cutoff
        if not 0 <= cutoff <= self.n_styles:
            raise ValueError(f"cutoff must be in [0, {self.n_styles}], got {cutoff}")
        w = self.mapping(z)
        near = torch.lerp(self.mapping.mean_style.to(w.dtype), w, truncation)
        return mix_styles(_repeat(near, self.n_styles), _repeat(w, self.n_styles), cutoff)

    def forward(
        self,
        z: Tensor,
        *,
        truncation: float = 1.0,
        noise: str | Sequence[Tensor] = "random",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return pictures (B, C, H, H) from z (B, Z); arguments as of `styles` and `Synthesis.forward`."""
        return self.synthesis(self.styles(z, truncation=truncation), noise, generator)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "StyleGenerator":
        """Load a generator of StyleGAN2-ADA's PyTorch layout; see `published_stylegan.read_generator`."""
        from genai_utils.gan.published_stylegan import read_generator

        cfg, state = read_generator(name, **hub)
        model = cls(cfg)
        model.load_state_dict(state)
        return model.eval()


def mix_styles(coarse: Tensor, fine: Tensor, crossover: int | Tensor) -> Tensor:
    """Return styles (B, L, S): those of `coarse` at the places before the crossover, those of `fine` from there on.

    Args:
        coarse, fine: (B, L, S).
        crossover: in [0, L], for all or (B,) for each: 0 is all fine, L all coarse.
    Source: [SG1] Sec. 3.1.
    """
    place = torch.arange(coarse.shape[1], device=coarse.device)[None, :, None]
    crossover = crossover[:, None, None] if isinstance(crossover, Tensor) else crossover
    return torch.where(place < crossover, coarse, fine)


# ---- discriminator


class DownBlock(nn.Module):
    """(B, I, H, H) to (B, O, H/2, H/2): two convolutions beside a linear path, the sum at unit variance."""

    def __init__(self, cfg: StyleGANConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.clamp = cfg.clamp
        self.conv0 = EqualConv2d(inputs, inputs, 3, padding=1)
        self.conv1 = EqualConv2d(inputs, outputs, 3, stride=2)
        self.skip = EqualConv2d(inputs, outputs, 1, bias=False)
        self.resample = Resample()

    def forward(self, x: Tensor) -> Tensor:
        h = activate(self.conv0(x), self.clamp)
        h = activate(self.conv1(self.resample.blur(h, pad=2)), self.clamp)
        return (h + self.skip(self.resample.down(x))) * math.sqrt(0.5)


class StyleDiscriminator(nn.Module):
    """Logits (B,) = discriminator(x): residual blocks down to side 4, the minibatch's deviation, two layers."""

    Config = StyleGANConfig

    def __init__(self, cfg: StyleGANConfig) -> None:
        super().__init__()
        check_config(cfg)
        self.cfg = cfg
        maps = [width(cfg, side) for side in reversed(sides(cfg))]
        self.from_rgb = EqualConv2d(cfg.channels, maps[0], 1)
        self.blocks = nn.ModuleList(DownBlock(cfg, a, b) for a, b in zip(maps, maps[1:]))
        self.conv = EqualConv2d(maps[-1] + 1, maps[-1], 3, padding=1)
        self.fc = EqualLinear(maps[-1] * 16, maps[-1])
        self.out = EqualLinear(maps[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B,), above 0 for "real", from images (B, C, H, H) in [-1, 1].

        Raises:
            ValueError: x has another shape, or B is above cfg.group and no multiple of it.
        """
        wanted = (self.cfg.channels, self.cfg.side, self.cfg.side)
        if x.ndim != 4 or x.shape[1:] != wanted:
            raise ValueError(f"x must be (B, {', '.join(map(str, wanted))}), got {tuple(x.shape)}")
        h = activate(self.from_rgb(x), self.cfg.clamp)
        for block in self.blocks:
            h = block(h)
        h = activate(self.conv(minibatch_std(h, self.cfg.group)), self.cfg.clamp)
        return full(self.out(activate(self.fc(h.flatten(1))))).squeeze(1)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "StyleDiscriminator":
        """Load a discriminator of StyleGAN2-ADA's PyTorch layout; see `published_stylegan.read_discriminator`."""
        from genai_utils.gan.published_stylegan import read_discriminator

        cfg, state = read_discriminator(name, **hub)
        model = cls(cfg)
        model.load_state_dict(state)
        return model.eval()


class StyleGAN(Game):
    """The game of the two: `StyleGAN(StyleGANConfig(side=32))`, trained by `stylegan_step`."""

    Config = StyleGANConfig

    def __init__(self, cfg: StyleGANConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.generator, self.discriminator = StyleGenerator(cfg), StyleDiscriminator(cfg)

    def sample(self, n: int, *, network: nn.Module | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Return n samples, as `Game.sample` does; the generator draws the noise of the synthesis, too."""
        network = partial(self.generator if network is None else network, generator=generator)
        return super().sample(n, network=network, generator=generator)


@torch.no_grad()
def sample(
    model: StyleGenerator,
    n: int,
    *,
    truncation: float = 1.0,
    batch: int = 64,
    noise: str = "random",
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Yield n pictures (b, C, H, H), in about [-1, 1], at most `batch` at a time.

    Args:
        model: usually the moving average of the generator.
        n: at least 1.
        truncation: psi, in [0, 1].
        batch: at least 1.
        noise: "random", "fixed" or "none".
        generator: draws z and noise; on the model's device.
    Raises:
        ValueError: n or batch is below 1, or truncation out of range (raised at the first batch).
    """
    if n < 1 or batch < 1:
        raise ValueError(f"n and batch must be at least 1, got n={n}, batch={batch}")
    like = model.synthesis.const
    for start in range(0, n, batch):
        rows = min(batch, n - start)
        z = torch.randn(rows, model.cfg.latent, generator=generator, device=like.device, dtype=like.dtype)
        yield model(z, truncation=truncation, noise=noise, generator=generator)


def _affine(d_style: int, maps: int) -> EqualLinear:
    """The layer from a style to scales, which start around 1."""
    layer = EqualLinear(d_style, maps)
    nn.init.ones_(layer.bias)
    return layer


def _repeat(w: Tensor, places: int) -> Tensor:
    return w[:, None].expand(-1, places, -1)

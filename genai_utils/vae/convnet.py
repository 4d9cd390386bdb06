"""The encoder and decoder of convolutional autoencoders: residual blocks, halvings, attention at the bottom.

They know neither latents nor codes: the encoder maps pictures to a grid of vectors, the decoder a grid of vectors to
the numbers of a likelihood. VQ-VAE, VQGAN and the autoencoder of latent diffusion differ only in what is between.

Sources: [VQGAN] Esser et al. 2021, arXiv:2012.09841. [LDM] Rombach et al. 2022, arXiv:2112.10752. Layout of published
         files: VQModel and AutoencoderKL in Hugging Face diffusers.
Shapes:  B batch, H, W sides of a picture, h, w sides of the grid: H / f and W / f, f = 2 ** (levels - 1).
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class ResBlock(nn.Module):
    """norm, SiLU, conv, twice; the input is added at the end."""

    def __init__(self, c_in: int, c_out: int, groups: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, c_in, eps)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, c_out, eps)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:  # (B, c_in, H, W) -> (B, c_out, H, W)
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    """Self-attention with one head over the places of the grid, added to its input."""

    def __init__(self, width: int, groups: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        tokens = self.norm(x).flatten(2).transpose(1, 2)[:, None]  # (B, 1, HW, C)
        mixed = F.scaled_dot_product_attention(*self.qkv(tokens).chunk(3, dim=-1))
        return x + self.out(mixed)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])


class Downsample(nn.Module):
    """Halve both sides by a convolution of stride 2, padded at the right and at the bottom only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double both sides by repeating every place, then convolve."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks of one resolution, each followed by attention if it attends; `resample` leads to the next one."""

    def __init__(
        self, widths: Sequence[int], attends: Sequence[bool], resample: nn.Module | None, groups: int, eps: float
    ) -> None:
        """Make a block for each pair of successive `widths`; `attends` says which of them attend."""
        super().__init__()
        self.blocks = nn.ModuleList(ResBlock(a, b, groups, eps) for a, b in zip(widths, widths[1:]))
        self.attention = nn.ModuleList(
            Attention(width, groups, eps) if attend else nn.Identity() for width, attend in zip(widths[1:], attends)
        )
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        for block, attend in zip(self.blocks, self.attention):
            x = attend(block(x))
        return x if self.resample is None else self.resample(x)


class Encoder(nn.Module):
    """(B, c_in, H, W) -> (B, c_out, H / f, W / f)."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        widths: Sequence[int],
        *,
        blocks: int = 2,
        attention: Sequence[bool] = (),
        mid_attention: bool = True,
        groups: int = 32,
        eps: float = 1e-6,
    ) -> None:
        """Build a level for each width; all but the last halve the sides.

        Args:
            c_in, c_out: feature maps of the input and of the result.
            widths: feature maps of each level, each a multiple of `groups`.
            blocks: residual blocks of each level.
            attention: which levels attend, one entry per width; none: no level does.
            mid_attention: whether the middle, two blocks at the lowest resolution, attends.
            groups, eps: of every GroupNorm.
        Raises:
            ValueError: these do not fit together.
        """
        super().__init__()
        attention = check_levels(widths, blocks, attention, groups)
        self.conv_in = nn.Conv2d(c_in, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        for i, (before, width) in enumerate(zip((widths[0], *widths), widths)):
            resample = Downsample(width) if i < len(widths) - 1 else None
            self.down.append(Level([before] + [width] * blocks, [attention[i]] * blocks, resample, groups, eps))
        self.mid = Level([widths[-1]] * 3, [mid_attention, False], None, groups, eps)
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps)
        self.conv_out = nn.Conv2d(widths[-1], c_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the grid of vectors of pictures whose sides are multiples of f = 2 ** (levels - 1).

        Raises:
            ValueError: x has other channels, or sides that cannot be halved so often.
        """
        factor, channels = 2 ** (len(self.down) - 1), self.conv_in.in_channels
        if x.ndim != 4 or x.shape[1] != channels or x.shape[2] % factor or x.shape[3] % factor:
            raise ValueError(f"x must be (B, {channels}, H, W), sides multiples of {factor}; got {tuple(x.shape)}")
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(self.mid(h))))


class Decoder(nn.Module):
    """(B, c_in, h, w) -> (B, c_out, h f, w f): the encoder's mirror image, with one more block in every level."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        widths: Sequence[int],
        *,
        blocks: int = 2,
        attention: Sequence[bool] = (),
        mid_attention: bool = True,
        groups: int = 32,
        eps: float = 1e-6,
    ) -> None:
        """Build the mirror image of an `Encoder` with the same widths, blocks and attention."""
        super().__init__()
        attention = check_levels(widths, blocks, attention, groups)[::-1]
        widths = tuple(widths)[::-1]
        self.conv_in = nn.Conv2d(c_in, widths[0], 3, padding=1)
        self.mid = Level([widths[0]] * 3, [mid_attention, False], None, groups, eps)
        self.up = nn.ModuleList()
        for i, (before, width) in enumerate(zip((widths[0], *widths), widths)):
            resample = Upsample(width) if i < len(widths) - 1 else None
            attends = [attention[i]] * (blocks + 1)
            self.up.append(Level([before] + [width] * (blocks + 1), attends, resample, groups, eps))
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps)
        self.conv_out = nn.Conv2d(widths[-1], c_out, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Return pictures, or the numbers of their likelihood, from a grid of vectors.

        Raises:
            ValueError: z has another width.
        """
        if z.ndim != 4 or z.shape[1] != self.conv_in.in_channels:
            raise ValueError(f"z must be (B, {self.conv_in.in_channels}, h, w), got {tuple(z.shape)}")
        h = self.mid(self.conv_in(z))
        for level in self.up:
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(h)))


def check_levels(widths: Sequence[int], blocks: int, attention: Sequence[bool], groups: int) -> tuple[bool, ...]:
    """Return one entry of attention per width; refuse numbers that do not fit together."""
    if not widths or blocks < 1 or groups < 1:
        raise ValueError(f"need a width, a block and a group at least; got {widths=}, {blocks=}, {groups=}")
    if bad := [w for w in widths if w < 1 or w % groups]:
        raise ValueError(f"every width must be a multiple of groups={groups}, got {bad}")
    if attention and len(attention) != len(widths):
        raise ValueError(f"attention needs one entry per width: {len(widths)} widths, got {tuple(attention)}")
    return tuple(attention) or (False,) * len(widths)

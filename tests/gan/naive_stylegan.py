"""StyleGAN2 as its paper's figures read: image after image, zeros put between pixels, no grouped convolution.

Functions of a state dict of ours. What our networks compute is compared with this, and timed against it.
"""

import math

import torch
from torch.nn import functional as F

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
FILTER = torch.outer(TAPS, TAPS)


def stuff(x):
    """Put a zero after every pixel but the last of a row or column."""
    b, c, h, w = x.shape
    y = x.new_zeros(b, c, 2 * h - 1, 2 * w - 1)
    y[:, :, ::2, ::2] = x
    return y


def filtered(x, before, after):
    """Pad with zeros and filter each map."""
    x = F.pad(x, (before, after, before, after))
    return F.conv2d(x, FILTER.to(x).expand(x.shape[1], 1, 4, 4), groups=x.shape[1])


def upsample(x):
    return 4 * filtered(stuff(x), 2, 2)


def leaky(x):
    return math.sqrt(2) * F.leaky_relu(x, 0.2)


def linear(p, name, x, lr_mul=1.0):
    weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    return x @ (weight * lr_mul / math.sqrt(weight.shape[1])).T + bias * lr_mul


def conv(p, name, x, padding):
    weight = p[f"{name}.weight"]
    y = F.conv2d(x, weight / math.sqrt(weight[0].numel()), padding=padding)
    return y + p[f"{name}.bias"][:, None, None] if f"{name}.bias" in p else y


def modulated(weight, style, demodulate):
    """Weights (O, I, k, k) of one image, from its style (I,)."""
    w = weight * style[:, None, None]
    return w / torch.sqrt((w**2).sum((1, 2, 3), keepdim=True) + 1e-8) if demodulate else w


def styled_conv(p, name, x, w, noise, up):
    out = []
    for image, style in zip(x, linear(p, f"{name}.affine", w)):
        weight = modulated(p[f"{name}.weight"], style, demodulate=True)
        image = image[None]
        if up:  # a transposed convolution, step by step
            y = F.conv2d(stuff(image), weight.flip(2, 3), padding=2)
            out.append(4 * filtered(y, 1, 1))
        else:
            out.append(F.conv2d(image, weight, padding=1))
    y = torch.cat(out)
    if noise is not None:
        y = y + p[f"{name}.noise_strength"] * noise
    return leaky(y + p[f"{name}.bias"][:, None, None])


def to_rgb(p, name, x, w):
    out = []
    for image, style in zip(x, linear(p, f"{name}.affine", w)):
        weight = modulated(p[f"{name}.weight"], style / math.sqrt(x.shape[1]), demodulate=False)
        out.append(F.conv2d(image[None], weight))
    return torch.cat(out) + p[f"{name}.bias"][:, None, None]


def mapping(p, cfg, z):
    x = z / torch.sqrt((z**2).mean(1, keepdim=True) + 1e-8)
    for i in range(cfg.mapping_layers):
        x = leaky(linear(p, f"mapping.layers.{i}", x, cfg.lr_mul))
    return x


def synthesis(p, cfg, w, noises):
    """Pictures from styles (B, L, S); noises: one for each convolution, or None."""
    x, rgb, place = p["synthesis.const"].expand(len(w), -1, -1, -1), None, 0
    for block in range(int(math.log2(cfg.side)) - 1):
        for up in (True, False) if block else (False,):
            x = styled_conv(p, f"synthesis.convs.{place}", x, w[:, place], noises[place], up)
            place += 1
        y = to_rgb(p, f"synthesis.to_rgb.{block}", x, w[:, place])
        rgb = y if rgb is None else upsample(rgb) + y
    return rgb


def generator(p, cfg, z, noises):
    places = 2 * int(math.log2(cfg.side)) - 2
    return synthesis(p, cfg, mapping(p, cfg, z)[:, None].repeat(1, places, 1), noises)


def deviation(x, group):
    """The minibatch's standard deviation as a further map; image n is in group n mod (B / group)."""
    group = min(group, len(x))
    groups, maps = len(x) // group, []
    for n in range(len(x)):
        members = torch.stack([x[m] for m in range(len(x)) if m % groups == n % groups])
        std = torch.sqrt(((members - members.mean(0)) ** 2).mean(0) + 1e-8).mean()
        maps.append(std.expand(1, *x.shape[2:]))
    return torch.cat([x, torch.stack(maps)], 1)


def discriminator(p, cfg, x):
    """Logits (B,)."""
    x = leaky(conv(p, "from_rgb", x, 0))
    for i in range(int(math.log2(cfg.side)) - 2):
        h = filtered(leaky(conv(p, f"blocks.{i}.conv0", x, 1)), 2, 2)
        h = leaky(conv(p, f"blocks.{i}.conv1", h, 0)[:, :, ::2, ::2])  # every place, then one in four
        skip = conv(p, f"blocks.{i}.skip", filtered(x, 1, 1)[:, :, ::2, ::2], 0)
        x = (h + skip) / math.sqrt(2)
    x = leaky(conv(p, "conv", deviation(x, cfg.group), 1))
    return linear(p, "out", leaky(linear(p, "fc", x.flatten(1))))[:, 0]

"""BigGAN and BigGAN-deep as the figures of the paper read: image after image in attention, pixels repeated, sums plain.

Functions of a state dict of ours, in evaluation of its spectral norms. What our networks compute is compared with this.
"""

import torch
from torch.nn import functional as F


def weight(s, name):
    w, vector = s[f"{name}.parametrizations.weight.original"], f"{name}.parametrizations.weight.0._"
    return w / (s[vector + "u"] @ (w.flatten(1) @ s[vector + "v"]))


def conv(s, name, x):
    w = weight(s, name)
    return F.conv2d(x, w, s.get(f"{name}.bias"), padding=w.shape[-1] // 2)


def double(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def four(x):
    """Return the four pixels of every 2 x 2, (4, B, M, H/2, W/2)."""
    return torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])


def norm(s, name, x, condition, cfg, truncation):
    """Batch statistics where truncation is None, else those of the table, a straight line between its rows."""
    if truncation is None:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    else:
        place = truncation * (cfg.n_stats - 1)
        low = int(place)
        high, share = min(low + 1, cfg.n_stats - 1), place - low
        tables = s[f"{name}.means"], s[f"{name}.variances"]
        mean, variance = ((1 - share) * t[low] + share * t[high] for t in tables)
    if condition is None:
        gain, offset = s[f"{name}.weight"][None], s[f"{name}.bias"][None]
    else:
        gain = 1 + condition @ weight(s, f"{name}.scale").T
        offset = condition @ weight(s, f"{name}.offset").T
    x = (x - mean[:, None, None]) / (variance[:, None, None] + cfg.eps).sqrt()
    return gain[:, :, None, None] * x + offset[:, :, None, None]


def attention(s, name, x):
    theta, phi, g = (conv(s, f"{name}.{part}", x) for part in ("theta", "phi", "g"))
    y = []
    for q, k, v in zip(theta.flatten(2), four(phi).amax(0).flatten(2), four(g).amax(0).flatten(2)):
        share = torch.exp(q.T @ k)
        y.append(v @ (share / share.sum(1, keepdim=True)).T)
    return x + s[f"{name}.gamma"] * conv(s, f"{name}.out", torch.stack(y).unflatten(2, x.shape[2:]))


def generator(s, cfg, z, labels, truncation=None):
    y, n = s["embed.weight"][labels], len(cfg.ups)
    if cfg.deep:
        first = torch.cat([z, y], 1)
        conditions = [first] * n
    else:
        parts = z.unflatten(1, (n + 1, -1))
        first, conditions = parts[:, 0], [torch.cat([y, parts[:, i + 1]], 1) for i in range(n)]
    x = first @ weight(s, "first").T + s["first.bias"]
    x = x.view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
    layer, ups = 0, list(zip(cfg.ups, conditions))
    while f"layers.{layer}.gamma" in s or f"layers.{layer}.convs.0.bias" in s:
        name = f"layers.{layer}"
        layer += 1
        if f"{name}.gamma" in s:
            x = attention(s, name, x)
            continue
        up, condition = ups.pop(0)
        h, i = x, 0
        while f"{name}.convs.{i}.bias" in s:
            h = F.relu(norm(s, f"{name}.norms.{i}", h, condition, cfg, truncation))
            if up and i == (1 if cfg.deep else 0):
                h = double(h)
            h, i = conv(s, f"{name}.convs.{i}", h), i + 1
        x = double(x) if up else x
        x = conv(s, f"{name}.skip", x) if f"{name}.skip.bias" in s else x[:, : h.shape[1]]
        x = x + h
    x = F.relu(norm(s, "norm_out", x, None, cfg, truncation))
    return torch.tanh(conv(s, "to_rgb", x))[:, : cfg.channels]


def discriminator(s, cfg, x, labels):
    downs = list(reversed(cfg.ups)) + ([] if cfg.deep else [False])
    if cfg.deep:
        x = conv(s, "layers.0", x)
    layer, first = (1 if cfg.deep else 0), True
    while downs or f"layers.{layer}.gamma" in s:
        name = f"layers.{layer}"
        layer += 1
        if f"{name}.gamma" in s:
            x = attention(s, name, x)
            continue
        down, h, i = downs.pop(0), x, 0
        while f"{name}.convs.{i}.bias" in s:
            h = h if first and not cfg.deep else F.relu(h)
            h = four(h).mean(0) if cfg.deep and down and i == 3 else h
            h, i, first = conv(s, f"{name}.convs.{i}", h), i + 1, False
        if cfg.deep:
            x = four(x).mean(0) if down else x
            x = torch.cat([x, conv(s, f"{name}.skip", x)], 1) if f"{name}.skip.bias" in s else x
        else:
            x = conv(s, f"{name}.skip", x) if f"{name}.skip.bias" in s else x
            x, h = (four(x).mean(0), four(h).mean(0)) if down else (x, h)
        x = x + h
    h = F.relu(x).sum((2, 3))
    return h @ weight(s, "out")[0] + s["out.bias"] + (weight(s, "embed")[labels] * h).sum(1)

"""CycleGAN: two translators between two domains of pictures of which no pair is known; there and back must return.

Domain A is X of [CYCLE] and domain B is Y; `a_to_b` is G there, `b_to_a` is F, and each domain has a discriminator.

Sources: [CYCLE] Zhu et al. 2017, arXiv:1703.10593. [LS] Mao et al. 2017, arXiv:1611.04076 (least squares). [POOL]
         Shrivastava et al. 2017, arXiv:1612.07828, Sec. 2.3. [PATCH] Isola et al. 2017, arXiv:1611.07004, Sec. 3.2.2.
         [IN] Ulyanov et al. 2016, arXiv:1607.08022.
Shapes:  B batch, C channels, H, W image sides, multiples of 4, w width, P, Q sides of the map of patches. Images are
         in [-1, 1].
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.core import amp_dtype
from genai_utils.training.loop import Step

Pictures = tuple[Tensor, Tensor]  # (x_a, x_b): (B, C, H, W) of domain A, and as many of B; no pairs


@dataclass(frozen=True, kw_only=True)
class CycleGANConfig:
    side: int = 32  # H, in pixels, of the pictures it is trained on; a multiple of 4. Translators take others, too
    channels: int = 1  # C
    width: int = 16  # w, feature maps of a translator at full size; 4 w in its residual blocks
    blocks: int = 3  # residual blocks of a translator
    d_width: int = 16  # feature maps after a discriminator's first halving
    d_layers: int = 2  # its halvings, at least 1; a patch has 16, 34, 70 pixels for 1, 2, 3
    cycle: float = 10.0  # weight of the way there and back, lambda of [CYCLE] Eq. 3, >= 0
    identity: float = 5.0  # weight of leaving a domain's own pictures alone, >= 0; [CYCLE] App. 7.1: lambda / 2
    pool: int = 50  # earlier translations that a discriminator may be shown, of each domain; 0: none


PRESETS = {
    "small": CycleGANConfig(),
    "mnist": CycleGANConfig(side=28),
    "published": CycleGANConfig(side=256, channels=3, width=64, blocks=9, d_width=64, d_layers=3),
}


class ResidualBlock(nn.Module):
    """x + f(x), (B, C, H, W) both: two 3x3 convolutions, each instance-normed; nothing after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(channels, channels, 3), nn.ReLU(), *_conv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResNetGenerator(nn.Module):
    """y = generator(x): a translator of pictures, (B, C, H, W) to (B, C, H, W) in [-1, 1]; [CYCLE] Appendix 7.2.

    The first instance norm takes away the contrast and the brightness of the picture as a whole: but for its epsilon,
    the output is the same for x and 0.5 x + 0.2.
    """

    Config = CycleGANConfig

    def __init__(self, cfg: CycleGANConfig) -> None:
        super().__init__()
        _check_config(cfg)
        self.cfg = cfg
        w = cfg.width
        self.enter = nn.Sequential(*_conv(cfg.channels, w, 7), nn.ReLU())  # (B, w, H, W)
        self.down = nn.Sequential(
            nn.Conv2d(w, 2 * w, 3, 2, 1, bias=False), nn.InstanceNorm2d(2 * w), nn.ReLU(),  # (B, 2w, H/2, W/2)
            nn.Conv2d(2 * w, 4 * w, 3, 2, 1, bias=False), nn.InstanceNorm2d(4 * w), nn.ReLU(),  # (B, 4w, H/4, W/4)
        )  # fmt: skip
        self.blocks = nn.Sequential(*(ResidualBlock(4 * w) for _ in range(cfg.blocks)))
        self.up = nn.Sequential(
            nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, 1, 1, bias=False), nn.InstanceNorm2d(2 * w), nn.ReLU(),
            nn.ConvTranspose2d(2 * w, w, 3, 2, 1, 1, bias=False), nn.InstanceNorm2d(w), nn.ReLU(),
        )  # fmt: skip
        self.leave = nn.Sequential(nn.Conv2d(w, cfg.channels, 7, 1, 3, padding_mode="reflect"), nn.Tanh())
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        """Return the translation of x.

        Raises:
            ValueError: x has other channels, or a side that is no multiple of 4 or below 8.
        """
        _check_pictures(x, self.cfg.channels)
        return self.leave(self.up(self.blocks(self.down(self.enter(x)))))

    @classmethod
    def from_pretrained(
        cls, source: str | Path | Mapping[str, Tensor], *, part: str = "G", epoch: str = "latest"
    ) -> "ResNetGenerator":
        """Load a translator of the authors' PyTorch repository; see `published_cyclegan.read_generator`."""
        from genai_utils.gan.published_cyclegan import read_generator

        cfg, state = read_generator(source, part=part, epoch=epoch)
        generator = cls(cfg)
        generator.load_state_dict(state)
        return generator.eval()


class PatchDiscriminator(nn.Module):
    """scores = discriminator(x): one number for each patch of x, (B, 1, P, Q); near 1 "real", near 0 "made".

    Only the convolutions are local (see `patch_side`): an instance norm knows the mean and contrast of the whole.
    """

    def __init__(self, cfg: CycleGANConfig) -> None:
        super().__init__()
        self.cfg = cfg
        widths = [cfg.d_width * min(2**k, 8) for k in range(cfg.d_layers + 1)]
        layers = [nn.Conv2d(cfg.channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]  # no norm here: [CYCLE] Appendix 7.2
        for k in range(1, cfg.d_layers + 1):
            stride = 2 if k < cfg.d_layers else 1
            layers += [nn.Conv2d(widths[k - 1], widths[k], 4, stride, 1, bias=False), nn.InstanceNorm2d(widths[k])]
            layers += [nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class CycleGAN(nn.Module):
    """Two translators, `generators.a_to_b` and `.b_to_a`, and two discriminators, `discriminators.a` and `.b`."""

    Config = CycleGANConfig

    def __init__(self, cfg: CycleGANConfig) -> None:
        super().__init__()
        _check_config(cfg)
        self.cfg = cfg
        self.generators = nn.ModuleDict({"a_to_b": ResNetGenerator(cfg), "b_to_a": ResNetGenerator(cfg)})
        self.discriminators = nn.ModuleDict({"a": PatchDiscriminator(cfg), "b": PatchDiscriminator(cfg)})

    def forward(self, x_a: Tensor, x_b: Tensor) -> Pictures:
        """Return the translations (of x_b in A, of x_a in B): as the arguments, domain A first."""
        return self.generators.b_to_a(x_b), self.generators.a_to_b(x_a)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, epoch: str = "latest") -> "CycleGAN":
        """Load all four networks of a training by the authors' code; see `published_cyclegan.read_cyclegan`."""
        from genai_utils.gan.published_cyclegan import read_cyclegan

        cfg, state = read_cyclegan(folder, epoch=epoch)
        model = cls(cfg)
        model.load_state_dict(state)
        return model.eval()


def patch_side(d_layers: int) -> int:
    """Return the side in pixels of the patch that the convolutions behind one score see: 16, 34, 70 for 1, 2, 3.

    Before the two layers of stride 1 it is 7 positions wide; each halving before them makes n of 2 n + 2.
    """
    side = 7
    for _ in range(d_layers):
        side = 2 * side + 2
    return side


def generator_loss(model: CycleGAN, batch: Pictures, fakes: Pictures | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Adversarial, cycle and identity terms of both translators; [CYCLE] Eq. 3 and Sec. 5.2, with [LS]'s first term.

    Where the paper writes an L1 norm, a sum, the authors' code and ours take the mean over all values.

    Args:
        model: the four networks; gradients reach the discriminators too, so the caller must not step them.
        batch: (x_a, x_b).
        fakes: what `model(x_a, x_b)` returns, if the caller has it.
    Returns:
        The scalar loss, and logs: `adversarial`, the sum over both domains of the mean of (D(made) - 1)^2; `cycle`
        and `identity`, sums over both domains of mean absolute differences, before they are weighted.
    Raises:
        ValueError: pictures of the wrong shape, or a domain without one.
    """
    G, D, (x_a, x_b) = model.generators, model.discriminators, _checked(model, batch)
    fake_a, fake_b = fakes or model(x_a, x_b)
    adversarial = (_float(D.a(fake_a)) - 1).square().mean() + (_float(D.b(fake_b)) - 1).square().mean()
    cycle = _distance(G.b_to_a(fake_b), x_a) + _distance(G.a_to_b(fake_a), x_b)  # [CYCLE] Eq. 2
    identity = adversarial.new_zeros(())
    if model.cfg.identity:  # two more passes, saved where nobody asks for them
        identity = _distance(G.b_to_a(x_a), x_a) + _distance(G.a_to_b(x_b), x_b)
    loss = adversarial + model.cfg.cycle * cycle + model.cfg.identity * identity
    return loss, {"adversarial": adversarial, "cycle": cycle, "identity": identity}


def discriminator_loss(model: CycleGAN, batch: Pictures, fakes: Pictures) -> tuple[Tensor, dict[str, Tensor]]:
    """Half of mean (D(x) - 1)^2 + mean D(made)^2, summed over both domains; [CYCLE] Sec. 4, halved as in App. 7.1.

    A discriminator that says 1/2 to everything has a loss of 1/4: 1/2 in all.

    Args:
        batch: (x_a, x_b).
        fakes: (pictures made for A, made for B), (B, C, H, W) each; no gradient goes back into them.
    Returns:
        The scalar loss, and logs: `real` and `fake`, the mean score of either kind.
    """
    D, (x_a, x_b), (fake_a, fake_b) = model.discriminators, _checked(model, batch), fakes
    real = [_float(D.a(x_a)), _float(D.b(x_b))]
    fake = [_float(D.a(fake_a.detach())), _float(D.b(fake_b.detach()))]
    loss = sum((r - 1).square().mean() + f.square().mean() for r, f in zip(real, fake)) / 2
    return loss, {"real": sum(r.mean() for r in real) / 2, "fake": sum(f.mean() for f in fake) / 2}


class ImagePool:
    """made = pool(made): some of a generator's earlier pictures in place of its latest; [POOL], [CYCLE] Sec. 4.

    Until the pool is full, pictures go in and come out as they are. From then on each picture is, with probability
    1/2, swapped for one in the pool that is drawn uniformly, no two of a batch for the same. Draws are made on the CPU.

    Args:
        size: how many pictures it holds; 0: every batch comes out as it went in.
        generator: of the draws, on the CPU; None is torch's own, whose state checkpoints of `fit` hold.
    Raises:
        ValueError: size is negative; a batch is larger than the pool.
    """

    def __init__(self, size: int = 50, generator: torch.Generator | None = None) -> None:
        if size < 0:
            raise ValueError(f"size of a pool must be at least 0, got {size}")
        self.cfg, self.generator = {"size": size}, generator
        self.images: Tensor | None = None  # (size, C, H, W), of which the first `filled` are pictures
        self.filled = 0

    @torch.no_grad()
    def __call__(self, made: Tensor) -> Tensor:
        """Return (B, C, H, W) pictures to show to the discriminator, for those just made."""
        size = self.cfg["size"]
        if size == 0:
            return made
        if len(made) > size:
            raise ValueError(f"a pool of {size} takes batches of at most {size}, got {len(made)}: enlarge it")
        if self.images is None:
            self.images = made.new_zeros(size, *made.shape[1:])
        self.images = self.images.to(made)  # a resumed pool comes back on the CPU
        fresh = min(size - self.filled, len(made))
        self.images[self.filled : self.filled + fresh] = made[:fresh]
        places = torch.randperm(self.filled, generator=self.generator)[: len(made) - fresh]
        swapped = torch.rand(len(places), generator=self.generator) < 0.5
        self.filled += fresh
        if not swapped.any():
            return made
        which, places = (fresh + swapped.nonzero()[:, 0]).to(made.device), places[swapped].to(made.device)
        shown = made.clone()
        shown[which], self.images[places] = self.images[places], made[which]
        return shown

    def state_dict(self) -> dict[str, Any]:
        """Return the pictures in the pool, for a checkpoint."""
        return {"images": self.images, "filled": self.filled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the pictures that `state_dict` returned."""
        self.images, self.filled = state["images"], state["filled"]


def linear_decay(opt: torch.optim.Optimizer, steps: int, *, constant: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return a schedule, stepped once per update: constant at first, then linearly to zero at `steps`; [CYCLE] Sec. 4.

    The paper keeps 2e-4 for 100 epochs and takes 100 more to zero: constant = steps / 2.

    Raises:
        ValueError: not 0 <= constant < steps.
    """
    if not 0 <= constant < steps:
        raise ValueError(f"need 0 <= constant < steps, got constant={constant}, steps={steps}")
    factor = lambda i: max(0.0, min(1.0, (steps - i) / (steps - constant)))
    schedule = torch.optim.lr_scheduler.LambdaLR(opt, factor)
    schedule.cfg = {"steps": steps, "constant": constant}  # `fit` refuses to resume another schedule
    return schedule


def cyclegan_step(
    model: CycleGAN,
    opt_g: torch.optim.Optimizer,
    opt_d: torch.optim.Optimizer,
    *,
    schedules: tuple[torch.optim.lr_scheduler.LRScheduler, ...] = (),
    ema: Any = None,
    amp: torch.dtype | None = None,
    generator: torch.Generator | None = None,
) -> Step:
    """Return step((x_a, x_b)) -> logs: an update of both translators, then one of both discriminators.

    The published optimisers are `adamw(model.generators, 2e-4, betas=(0.5, 0.999))` and the same of
    `model.discriminators`, both with `linear_decay`.

    Args:
        model: the four networks, on their device.
        opt_g: optimiser of `model.generators`' parameters, and opt_d of `model.discriminators`'.
        schedules: stepped once per update.
        ema: an `EMA` of the model, updated once per update.
        amp: dtype of autocast. None chooses by capability, torch.float32 switches it off; with fp16 losses are scaled.
        generator: of the image pools' draws, on the CPU; None is torch's own, which `fit` saves. It is resumed, too.
    """
    device = next(model.parameters()).device
    amp = amp_dtype(device) if amp is None else None if amp == torch.float32 else amp
    scaler = torch.amp.GradScaler(device.type, enabled=amp == torch.float16)
    pool_a, pool_b = (ImagePool(model.cfg.pool, generator) for _ in range(2))
    own_g, own_d = ([p for group in opt.param_groups for p in group["params"]] for opt in (opt_g, opt_d))

    def update(loss: Tensor, opt: torch.optim.Optimizer, own: list[Tensor]) -> None:
        scaler.scale(loss).backward(inputs=own)  # nobody else's gradient is even computed
        scaler.step(opt)
        opt.zero_grad(set_to_none=True)

    def step(batch: Pictures) -> dict[str, Tensor]:
        batch = _checked(model, batch)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            fake_a, fake_b = model(*batch)
            loss_g, logs_g = generator_loss(model, batch, (fake_a, fake_b))
        update(loss_g, opt_g, own_g)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            loss_d, logs_d = discriminator_loss(model, batch, (pool_a(fake_a.detach()), pool_b(fake_b.detach())))
        update(loss_d, opt_d, own_d)
        scaler.update()
        for schedule in schedules:
            schedule.step()
        if ema is not None:
            ema.update(model)
        logs = {"loss": loss_g, "loss_d": loss_d} | logs_g | logs_d
        return {k: v.detach() for k, v in logs.items()}

    parts = {"model": model, "opt_g": opt_g, "opt_d": opt_d, "pool_a": pool_a, "pool_b": pool_b, "ema": ema}
    parts |= {"scaler": scaler, "generator": generator} | {f"schedule_{k}": s for k, s in enumerate(schedules)}
    step.parts = {name: part for name, part in parts.items() if part is not None}
    return step


@torch.no_grad()
def cycle_steps(model: CycleGAN, x: Tensor, *, start: str = "a", steps: int = 2) -> Iterator[tuple[str, Tensor]]:
    """Walk from domain to domain, yielding (domain, pictures) from the given ones on: steps + 1 times in all.

    Args:
        x: (B, C, H, W) pictures of domain `start`, "a" or "b".
        steps: translations; 2 are one cycle.
    Raises:
        ValueError: no such domain, or pictures of the wrong shape (raised at the first step).
    """
    if start not in ("a", "b"):
        raise ValueError(f"start must be 'a' or 'b', got {start!r}")
    yield start, x
    for _ in range(steps):
        x = model.generators.a_to_b(x) if start == "a" else model.generators.b_to_a(x)
        start = "b" if start == "a" else "a"
        yield start, x


def _conv(c_in: int, c_out: int, kernel: int) -> list[nn.Module]:
    """Reflect the border, convolve, norm; a bias would be taken away again by the norm, so there is none."""
    conv = nn.Conv2d(c_in, c_out, kernel, 1, kernel // 2, padding_mode="reflect", bias=False)
    return [conv, nn.InstanceNorm2d(c_out)]


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)  # [CYCLE] Appendix 7.1
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _float(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))  # losses are means of many terms


def _distance(x: Tensor, y: Tensor) -> Tensor:
    return (_float(x) - _float(y)).abs().mean()


def _check_config(cfg: CycleGANConfig) -> None:
    names = ("channels", "width", "blocks", "d_width", "d_layers")
    if bad := {k: v for k in names if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if bad := {k: v for k in ("cycle", "identity", "pool") if (v := getattr(cfg, k)) < 0}:
        raise ValueError(f"weights and the pool's size must be at least 0, got {bad}")
    least = max(8, 3 * 2**cfg.d_layers)  # below that an instance norm would have a single place to look at
    if cfg.side % 4 or cfg.side < least:
        raise ValueError(f"side must be a multiple of 4, at least {least} for d_layers={cfg.d_layers}, got {cfg.side}")


def _check_pictures(x: Tensor, channels: int) -> None:
    if x.ndim != 4 or x.shape[1] != channels or x.shape[2] % 4 or x.shape[3] % 4 or min(x.shape[2:]) < 8:
        wanted = f"(B, {channels}, H, W), sides multiples of 4 from 8 on"
        raise ValueError(f"pictures must be {wanted}; got {tuple(x.shape)}: pad or crop them")


def _checked(model: CycleGAN, batch: Pictures) -> Pictures:
    for domain, x in zip("AB", batch, strict=True):
        if not len(x):
            raise ValueError(f"domain {domain} has no picture in this batch; give at least one of each domain")
        _check_pictures(x, model.cfg.channels)
    return batch

"""What is timed: pairs of callables, ours and the reference library's, that do the same work on the same weights."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from genai_utils.diffusion import UNet, ddim_steps, denoiser, linear_schedule, visit_times
from genai_utils.diffusion.published import translate_state
from genai_utils.metrics.speed import count_flops

# Layout of google/ddpm-cifar10-32 (attention at 16x16, one head, padding on one side) at widths that a CPU can time
PUBLISHED = {
    "sample_size": 32, "layers_per_block": 2, "attention_head_dim": None, "downsample_padding": 0,
    "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
SIZES = {
    "tiny": PUBLISHED | {
        "sample_size": 8, "block_out_channels": (8, 8, 16), "layers_per_block": 1, "norm_num_groups": 4},
    "small": PUBLISHED | {"block_out_channels": (16, 32, 32), "layers_per_block": 1, "norm_num_groups": 8},
    "narrow": PUBLISHED | {"block_out_channels": (32, 64, 64), "norm_num_groups": 8},
    "published": PUBLISHED | {
        "block_out_channels": (128, 256, 256, 256), "norm_num_groups": 32,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D")},
}  # fmt: skip

# Largest difference between the two sides' results at which they count as the same work
EQUAL = {"float32": 1e-3, "bf16": 0.2}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two sides of a row, with what is needed to judge it."""

    ours: Callable[[], object]
    peer: Callable[[], object]
    error: float  # largest relative difference of the two sides' images or gradients, before timing
    items: int  # images per call
    flops: int  # of one call of ours, a multiply-add counted as two
    note: str = ""  # what the reader of the row must know


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    build: Callable[[], Pair]
    peak: str = "float32"  # which of the device's peak rates the work could reach


def cases(size: str, batches: tuple[int, ...], *, compiled: str | None, device: torch.device) -> Iterator[Case]:
    """Yield the rows of one device: float32 first, then bf16, then compiled (at `compiled`'s size; None leaves out)."""

    def row(work, work_name, n, which=size, bf16=False, with_compile=False):
        variant = ", bf16" * bf16 + ", compiled" * with_compile
        return Case(
            name=f"{work_name}, {which}, batch {n}{variant}", peak="bf16" if bf16 else "float32",
            build=lambda: work(which, n, device, bf16=bf16, with_compile=with_compile),
        )  # fmt: skip

    for n in batches:
        yield row(train_step, "U-Net train step", n)
    for n in batches:
        yield row(ddim, "DDIM 20 steps", n)
    yield row(train_step, "U-Net train step", batches[0], bf16=True)
    yield row(ddim, "DDIM 20 steps", batches[0], bf16=True)
    if compiled:
        gpu = device.type == "cuda"  # where compiled bf16 is what one would train with
        yield row(train_step, "U-Net train step", batches[0], compiled, bf16=gpu, with_compile=True)
        yield row(ddim, "DDIM 20 steps", batches[0], compiled, bf16=gpu, with_compile=True)


def networks(size: str, device: torch.device, *, with_compile: bool = False) -> tuple[Callable, Callable]:
    """Return ours and diffusers' U-Net with the same random weights; both map (x, t) to a tensor."""
    from diffusers import UNet2DModel

    class Peer(UNet2DModel):  # the same class, answering with the tensor alone: no wrapper in the timed code
        def forward(self, x, t):
            return super().forward(x, t, return_dict=False)[0]

    torch.manual_seed(0)
    published, peer = UNet2DModel(**SIZES[size]), Peer(**SIZES[size])
    peer.load_state_dict(published.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        published.save_pretrained(folder)
        ours = UNet.from_pretrained(folder)
    pair = (ours.to(device), peer.to(device))
    return tuple(torch.compile(m) for m in pair) if with_compile else pair


def train_step(size: str, n: int, device: torch.device, *, bf16: bool = False, with_compile: bool = False) -> Pair:
    """Forward, mean squared error, backward, and one step of fused AdamW."""
    x, eps, t = _inputs(size, n, device)

    def step(model):
        opt = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

        def run():
            with _autocast(device, bf16):
                loss = F.mse_loss(model(x, t).float(), eps)
            loss.backward()
            opt.step()
            opt.zero_grad(set_to_none=True)
            return loss.detach()

        return run

    def gradients(model):
        model.train()
        with _autocast(device, bf16):
            loss = F.mse_loss(model(x, t).float(), eps)
        loss.backward()
        found = {k.removeprefix("_orig_mod."): p.grad.float() for k, p in model.named_parameters()}
        model.zero_grad(set_to_none=True)
        return found

    def difference(models):
        """Return the largest difference of a gradient, in units of the largest entry of its tensor."""
        ours, theirs = gradients(models[0]), translate_state(gradients(models[1]))
        floor = 1e-3 * max(g.abs().max() for g in theirs.values())  # the keys' biases have no gradient but rounding
        return max(((ours[k] - g).abs().max() / g.abs().max().clamp(min=floor)).item() for k, g in theirs.items())

    models, note = networks(size, device, with_compile=with_compile), ""
    error = difference(models)
    if with_compile and error > EQUAL["bf16" if bf16 else "float32"]:
        note = "peer not compiled: its gradients would be wrong"
        models = (models[0], networks(size, device)[1].train())
        error = difference(models)
    ours, peer = (step(model) for model in models)
    plain = networks(size, device)[0].train()
    flops = count_flops(lambda: F.mse_loss(plain(x, t), eps).backward())
    return Pair(ours=ours, peer=peer, error=error, items=n, flops=flops, note=note)


def ddim(size: str, n: int, device: torch.device, *, bf16: bool = False, with_compile: bool = False) -> Pair:
    """20 steps of DDIM from the same noise: our network and sampler against theirs."""
    from diffusers import DDIMScheduler

    x_T, _, t = _inputs(size, n, device)
    alpha_bar, times = linear_schedule(), visit_times(1000, 20, "leading")
    ours, peer = networks(size, device, with_compile=with_compile)
    ours.eval(), peer.eval()
    scheduler = DDIMScheduler(clip_sample=True)
    scheduler.set_timesteps(20)

    def run_ours():
        with _autocast(device, bf16):
            *_, (_, x, _) = ddim_steps(denoiser(ours, alpha_bar), x_T, alpha_bar, times)
        return x

    @torch.no_grad()
    def run_peer():
        x = x_T
        with _autocast(device, bf16):
            for time in scheduler.timesteps:
                x = scheduler.step(peer(x, time), time, x, use_clipped_model_output=True).prev_sample
        return x

    with torch.no_grad():
        flops = len(times) * count_flops(networks(size, device)[0].eval(), x_T, t)
    if bf16:  # rounding grows over the steps, so compare the first prediction and not the last image
        with torch.no_grad(), _autocast(device, bf16):
            error = _error(ours(x_T, t).float(), peer(x_T, t).float())
    else:
        error = _error(run_ours(), run_peer())
    return Pair(ours=run_ours, peer=run_peer, error=error, items=n, flops=flops)


def _inputs(size, n, device):
    g, side = torch.Generator().manual_seed(1), SIZES[size]["sample_size"]
    x, eps = torch.randn(2, n, 3, side, side, generator=g).to(device)
    return x, eps, torch.randint(1000, (n,), generator=g).to(device)


def _autocast(device, bf16):
    return torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()


def _error(ours, theirs):
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()

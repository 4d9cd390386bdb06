"""What is timed of the VAE family, and against what: a plain VAE, diffusers' VQModel, and sampling without a cache."""

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.metrics.speed import count_flops
from genai_utils.vae.prior import CodePrior, CodePriorConfig, sample_codes
from genai_utils.vae.published import translate_state
from genai_utils.vae.vae import VAE, VAEConfig, vae_loss
from genai_utils.vae.vqvae import VQVAE, vqvae_loss
from tests.benchmarks.cases import Case, Pair
from tests.benchmarks.harness import Suite
from tests.benchmarks.plain_vae import PlainVAE, conv_vae, mlp_vae, plain_loss, plain_sample_codes

# A VQModel with the layout of the package's default VQ-VAE: 28x28 pictures, 7x7 codes, attention in the middle
VQMODEL = {
    "in_channels": 1, "out_channels": 1, "sample_size": 28, "layers_per_block": 1, "block_out_channels": (24, 48, 48),
    "norm_num_groups": 8, "down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3,
    "latent_channels": 16, "vq_embed_dim": 16, "num_vq_embeddings": 128, "lookup_from_codebook": True,
}  # fmt: skip
SIZES = {
    "tiny": {
        "vae": VAEConfig(width=4, hidden=16, latent=8), "prior": CodePriorConfig(side=3, d_model=16, n_layers=2),
        "vqmodel": VQMODEL | {"block_out_channels": (4, 8, 8), "norm_num_groups": 2, "num_vq_embeddings": 16}},
    "full": {"vae": VAEConfig(latent=8), "prior": CodePriorConfig(), "vqmodel": VQMODEL},
}  # fmt: skip


def plan(device: torch.device, *, tiny: bool = False, with_compile: bool = True) -> Iterator[Case]:
    """Yield the rows of one device: float32 first, then bf16, then compiled."""
    size = "tiny" if tiny else "full"
    gpu = device.type == "cuda"  # where compiled bf16 is what one trains with

    def row(name, work, n, *, bf16=False, **how):
        variant = ", bf16" * bf16 + ", compiled" * ("with_compile" in how)
        how |= {"bf16": True} if bf16 else {}
        return Case(
            name=f"{name}, batch {n}{variant}", peak="bf16" if bf16 else "float32",
            build=lambda: work(size, n, device, **how),
        )  # fmt: skip

    for network in ("conv", "mlp"):
        for n in (64, 128):
            yield row(f"VAE train step, {network}", vae_train_step, n, network=network)
        yield row(f"VAE decode, {network}", vae_decode, 256, network=network)
    yield row("VQ-VAE train step", vqvae_train_step, 16)
    yield row("VQ-VAE decode", vqvae_decode, 64)
    side = SIZES[size]["prior"].side
    yield row(f"Code prior, {side**2} codes, cache against none", code_prior, 16)
    variants = [{"bf16": True}] + [{"bf16": gpu, "with_compile": True}] * with_compile
    for variant in variants:
        yield row("VAE train step, conv", vae_train_step, 64, network="conv", **variant)
        yield row("VAE decode, conv", vae_decode, 256, network="conv", **variant)


def vaes(size: str, network: str, device: torch.device) -> tuple[VAE, PlainVAE]:
    """Return the package's VAE and the plain one, with the same random weights: their layers have the same order."""
    cfg = SIZES[size]["vae"]
    torch.manual_seed(0)
    conv = network == "conv"
    peer = conv_vae(cfg.width, cfg.hidden, cfg.latent) if conv else mlp_vae(cfg.hidden, cfg.latent)
    ours = VAE(VAEConfig(network=network, width=cfg.width, hidden=cfg.hidden, latent=cfg.latent))
    ours.load_state_dict(dict(zip(ours.state_dict(), peer.state_dict().values(), strict=True)))
    return ours.to(device), peer.to(device)


def vae_train_step(
    size: str, n: int, device: torch.device, *, network: str, bf16: bool = False, with_compile: bool = False
) -> Pair:
    """Draw z, negative ELBO, backward, and one step of fused AdamW on binarised pictures."""
    ours, peer = vaes(size, network, device)
    x = torch.where(torch.rand(n, 1, 28, 28, generator=_seeded()) < 0.13, 1.0, -1.0).to(device)  # the ink of MNIST
    target = (x + 1) / 2  # what the plain loss wants; made here, so that it costs the plain side nothing
    run_ours, run_peer = _compiled(ours, peer) if with_compile else (ours, peer)
    return _train_pair(
        (ours, lambda model=run_ours: vae_loss(model, (x, None))[0]),
        (peer, lambda: plain_loss(*run_peer(x), target)),
        lambda theirs: dict(zip(dict(ours.named_parameters()), theirs.values(), strict=True)),
        flops=count_flops(lambda: vae_loss(ours, (x, None))[0].backward()), items=n, device=device, bf16=bf16,
    )  # fmt: skip


def vae_decode(
    size: str, n: int, device: torch.device, *, network: str, bf16: bool = False, with_compile: bool = False
) -> Pair:
    """From codes to pictures in [-1, 1]: the mean of p(x | z)."""
    ours, peer = vaes(size, network, device)
    z = torch.randn(n, ours.cfg.latent, generator=_seeded()).to(device)
    decode, decoder = _compiled(ours.decode, peer.decoder) if with_compile else (ours.decode, peer.decoder)

    @torch.no_grad()
    def run_ours():
        with _autocast(device, bf16):
            return ours.likelihood.mean(decode(z))

    @torch.no_grad()
    def run_peer():
        with _autocast(device, bf16):
            return 2 * torch.sigmoid(decoder(z).float()) - 1

    error = (run_ours() - run_peer()).abs().max().item()
    return Pair(ours=run_ours, peer=run_peer, error=error, items=n, flops=count_flops(ours.decode, z))


def vqvaes(size: str, device: torch.device) -> tuple[VQVAE, nn.Module]:
    """Return our VQ-VAE and diffusers' VQModel with the same random weights and a codebook that is in use."""
    from diffusers import VQModel

    torch.manual_seed(0)
    peer = VQModel(**SIZES[size]["vqmodel"])
    peer.quantize.legacy = False  # the weights of the two terms as in [VQ] Eq. 3, which its default swaps
    with torch.no_grad():
        rows = peer.encode(_greys(64, torch.device("cpu"))).latents.movedim(1, -1).flatten(0, -2)
        peer.quantize.embedding.weight.copy_(rows[torch.randperm(len(rows))[: peer.quantize.n_e]])
    with tempfile.TemporaryDirectory() as folder:
        peer.save_pretrained(folder)
        ours = VQVAE.from_pretrained(folder)
    return ours.train().to(device), peer.train().to(device)


def vqvae_train_step(size: str, n: int, device: torch.device) -> Pair:
    """Squared error, codebook and commitment terms, backward, and one step of fused AdamW.

    Both codebooks learn by gradient (theirs knows no moving averages). Our loss is -log p of a Gaussian, half the sum
    of squares and a constant; VQModel's term is a mean, which becomes the sum of the paper times places and width.
    """
    ours, peer = vqvaes(size, device)
    x = _greys(n, device)
    d, terms = x[0].numel(), peer.config.vq_embed_dim * (x.shape[-1] // ours.factor) ** 2

    def peer_loss():
        out, quantiser_loss = peer(x, return_dict=False)
        return 0.5 * d * (F.mse_loss(out, x) + math.log(2 * math.pi)) + terms * quantiser_loss

    return _train_pair(
        (ours, lambda: vqvae_loss(ours, (x, None))[0]), (peer, peer_loss), translate_state,
        flops=count_flops(lambda: vqvae_loss(ours, (x, None))[0].backward()), items=n, device=device,
    )  # fmt: skip


def vqvae_decode(size: str, n: int, device: torch.device) -> Pair:
    """From codes to pictures: look up the entries and decode them."""
    ours, peer = vqvaes(size, device)
    side = 28 // ours.factor
    codes = torch.randint(ours.cfg.n_codes, (n, side, side), generator=_seeded()).to(device)
    shape = (n, side, side, ours.cfg.d_code)

    @torch.no_grad()
    def run_ours():
        return ours.likelihood.mean(ours.decode(codes))

    @torch.no_grad()
    def run_peer():
        return peer.decode(codes, force_not_quantize=True, shape=shape, return_dict=False)[0]

    theirs = run_peer()
    error = ((run_ours() - theirs).abs() / theirs.abs().clamp(min=1)).max().item()
    return Pair(ours=run_ours, peer=run_peer, error=error, items=n, flops=count_flops(ours.decode, codes))


def code_prior(size: str, n: int, device: torch.device) -> Pair:
    """Draw grids of codes with keys and values kept, against all codes so far through the transformer every time."""
    torch.manual_seed(0)
    prior = CodePrior(SIZES[size]["prior"]).to(device).eval()
    nn.init.normal_(prior.head.weight)  # probabilities far from uniform: a wrong cache would change the codes
    labels = (torch.arange(n) % prior.cfg.n_classes).to(device)

    def run_ours():
        *_, (_, codes) = sample_codes(prior, n, labels)
        return codes

    def run_peer():
        return plain_sample_codes(prior, n, labels)

    codes, theirs = (_same_draws(run) for run in (run_ours, run_peer))
    error = (codes.flatten(1) != theirs).float().mean().item()  # share of codes that differ
    return Pair(ours=run_ours, peer=run_peer, error=error, items=n, flops=count_flops(run_ours))


Side = tuple[nn.Module, Callable[[], Tensor]]  # a model, and the loss of it on the batch at hand


def _train_pair(
    ours: Side,
    peer: Side,
    in_our_names: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    *,
    flops: int,
    items: int,
    device: torch.device,
    bf16: bool = False,
) -> Pair:
    """Return both sides' steps; the error is that of the loss and of every gradient, at the same draws of z."""

    def step(model, compute_loss):
        opt = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

        def run():
            with _autocast(device, bf16):
                loss = compute_loss()
            loss.backward()
            opt.step()
            opt.zero_grad(set_to_none=True)
            return loss.detach()

        return run

    def gradients(model, compute_loss):
        model.zero_grad(set_to_none=True)
        with _autocast(device, bf16):
            loss = _same_draws(compute_loss)
        loss.backward()
        found = {k: p.grad.float() for k, p in model.named_parameters()}
        model.zero_grad(set_to_none=True)
        return loss.detach().float(), found

    (loss, found), (their_loss, theirs) = gradients(*ours), gradients(*peer)
    theirs = in_our_names(theirs)
    floor = 1e-3 * max(g.abs().max() for g in theirs.values())  # the keys' biases have no gradient but rounding
    errors = [(found[k] - g).abs().max() / g.abs().max().clamp(min=floor) for k, g in theirs.items()]
    errors.append((loss - their_loss).abs() / their_loss.abs())
    error = torch.stack(errors).max().item()  # nan, if one is
    return Pair(ours=step(*ours), peer=step(*peer), error=error, items=items, flops=flops)


def _same_draws(run: Callable[[], Tensor]) -> Tensor:
    torch.manual_seed(2)
    return run()


def _compiled(*functions: Callable) -> list[Callable]:
    return [torch.compile(f) for f in functions]


def _greys(n: int, device: torch.device) -> Tensor:
    return (2 * torch.rand(n, 1, 28, 28, generator=_seeded()) - 1).to(device)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def _autocast(device: torch.device, bf16: bool) -> contextlib.AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()


SUITE = Suite(
    name="vae", result="bench_vae", plan=plan, seconds=20, libraries=("torch", "diffusers"),
    sources=(
        *(f"genai_utils/vae/{name}.py" for name in ("vae", "likelihoods", "vqvae", "convnet", "prior")),
        "genai_utils/nn/quantize.py", "tests/benchmarks/vae_cases.py", "tests/benchmarks/plain_vae.py",
    ),
)  # fmt: skip

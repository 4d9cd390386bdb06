"""Our schedules and samplers against diffusers' schedulers: every spacing, every prediction type, float32 and float64.

diffusers keeps its schedule in float32. To compare the arithmetic of a step more finely than that, the float64 tests
put our schedule into the peer; so do whole trajectories, which would add up its rounding over the steps.
"""

import itertools
import sys
import types

import pytest
import torch

from genai_utils.diffusion.process import denoiser, q_sample, target
from genai_utils.diffusion.samplers import ddim_step, ddim_steps, ddpm_step, ddpm_steps, dpmpp_steps
from genai_utils.diffusion.schedules import betas, cosine_schedule, linear_schedule, rescale_zero_snr, visit_times
from genai_utils.diffusion.unet import UNet

diffusers = pytest.importorskip("diffusers")

T = 1000
PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
SPACINGS = ("leading", "trailing", "linspace")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}  # times max(1, |out|)
CASES = list(itertools.product(SPACINGS, PREDICTIONS))


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


def draw(shape, dtype, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def network(x, t):
    """Stand for a network: any smooth function of image and timestep, of about unit size."""
    return torch.sin(2 * x + 0.01 * t.reshape(-1, 1, 1, 1).to(x.dtype)) + 0.3 * x


def scheduler(kind, alpha_bar, **options):
    """Return the peer; given a schedule it computes with that instead of its own in float32."""
    peer = kind(**options)
    if alpha_bar is not None:
        peer.alphas_cumprod = alpha_bar.clone()
    return peer


def own(dtype, alpha_bar):
    """Let the peer keep its own schedule in float32 tests of a single step."""
    return alpha_bar if dtype == torch.float64 else None


@pytest.mark.parametrize("ours, options", [
    (linear_schedule(), {"beta_schedule": "linear"}),
    (linear_schedule(beta_start=0.00085, beta_end=0.012), {"beta_start": 0.00085, "beta_end": 0.012}),
    (cosine_schedule(), {"beta_schedule": "squaredcos_cap_v2"}),
    (rescale_zero_snr(linear_schedule()), {"rescale_betas_zero_snr": True}),
    (rescale_zero_snr(cosine_schedule()), {"beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True}),
], ids=["linear", "linear-other-range", "cosine", "linear-zero-snr", "cosine-zero-snr"])  # fmt: skip
def test_schedule_equals_diffusers(ours, options, record_property):
    peer = diffusers.DDPMScheduler(**options)
    errors = {"alpha_bar": error(ours, peer.alphas_cumprod.double()), "beta": error(betas(ours), peer.betas.double())}
    for name, value in errors.items():
        record_property(name, value)
    assert max(errors.values()) <= (1e-5 if "rescale_betas_zero_snr" in options else 1e-6), errors


@pytest.mark.parametrize("kind", ["DDPMScheduler", "DDIMScheduler"])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_visit_times_equal_diffusers(spacing, kind):
    peer = getattr(diffusers, kind)(timestep_spacing=spacing)
    for steps in [2, 3, 7, 10, 20, 33, 50, 64, 100, 250, 333, 500, 999, 1000]:
        peer.set_timesteps(steps)
        assert visit_times(T, steps, spacing) == peer.timesteps.tolist(), steps


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_q_sample_and_v_equal_diffusers(dtype, record_property):
    alpha_bar = linear_schedule()
    peer = scheduler(diffusers.DDPMScheduler, own(dtype, alpha_bar))
    x0, eps = draw((8, 3, 4, 4), dtype, 0), draw((8, 3, 4, 4), dtype, 1)
    t = torch.tensor([0, 1, 2, 37, 500, 750, 998, 999])
    errors = {
        "add_noise": error(q_sample(x0, t, eps, alpha_bar), peer.add_noise(x0, eps, t)),
        "velocity": error(target(x0, t, eps, alpha_bar, "v"), peer.get_velocity(x0, eps, t)),
    }
    for name, value in errors.items():
        record_property(f"{dtype} {name}", value)
    assert max(errors.values()) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("spacing, predict", CASES)
def test_ddim_step_equals_diffusers(spacing, predict, clip, dtype, record_property):
    """One step at every visited time. The peer steps to t - T // steps; under "linspace" that is not its next visit."""
    steps, alpha_bar = 10, linear_schedule()
    options = {"timestep_spacing": spacing, "prediction_type": PREDICTIONS[predict], "clip_sample": clip}
    peer = scheduler(diffusers.DDIMScheduler, own(dtype, alpha_bar), **options)
    peer.set_timesteps(steps)
    denoise = denoiser(network, alpha_bar, predict=predict, clip=clip)
    x, noise, worst = draw((4, 3, 4, 4), dtype, 0), draw((4, 3, 4, 4), dtype, 1), 0.0
    for t, eta in itertools.product(peer.timesteps.tolist(), [0.0, 0.5, 1.0]):
        a, a_next = alpha_bar[t].item(), alpha_bar[t - T // steps].item() if t >= T // steps else 1.0
        x0_hat, eps_hat = denoise(x, torch.full((4,), t))
        ours = ddim_step(x0_hat, eps_hat, a, a_next, eta, noise if a_next < 1 else None)
        theirs = peer.step(
            network(x, torch.full((4,), t)), t, x, eta=eta, use_clipped_model_output=True, variance_noise=noise
        )
        worst = max(worst, error(ours, theirs.prev_sample), error(x0_hat, theirs.pred_original_sample))
    record_property(f"{dtype}", worst)
    assert worst <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("spacing, predict", CASES)
def test_ddpm_step_equals_diffusers(spacing, predict, variance, dtype, record_property):
    alpha_bar = linear_schedule()
    options = {"timestep_spacing": spacing, "prediction_type": PREDICTIONS[predict], "clip_sample": True}
    options["variance_type"] = {"posterior": "fixed_small", "beta": "fixed_large"}[variance]
    peer = scheduler(diffusers.DDPMScheduler, own(dtype, alpha_bar), **options)
    peer.set_timesteps(10)
    times = visit_times(T, 10, spacing)
    denoise, x, worst = denoiser(network, alpha_bar, predict=predict), draw((4, 3, 4, 4), dtype, 0), 0.0
    for t, t_next in zip(times, times[1:] + [-1]):
        a, a_next = alpha_bar[t].item(), alpha_bar[t_next].item() if t_next >= 0 else 1.0
        x0_hat, _ = denoise(x, torch.full((4,), t))
        noise = torch.randn(x.shape, dtype=dtype, generator=torch.Generator().manual_seed(t))
        ours = ddpm_step(x, x0_hat, a, a_next, noise if a_next < 1 else None, variance=variance)
        theirs = peer.step(network(x, torch.full((4,), t)), t, x, generator=torch.Generator().manual_seed(t))
        if a_next < 1 or variance == "posterior" or t == 0:  # the peer adds "fixed_large" noise even to the last image
            worst = max(worst, error(ours, theirs.prev_sample), error(x0_hat, theirs.pred_original_sample))
    record_property(f"{dtype}", worst)
    assert worst <= TOLERANCE[dtype]


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("predict", PREDICTIONS)
def test_ddpm_trajectory_with_the_same_generator_equals_diffusers(spacing, predict, record_property):
    alpha_bar, x = linear_schedule(), draw((4, 3, 4, 4), torch.float64, 0)
    options = {"timestep_spacing": spacing, "prediction_type": PREDICTIONS[predict], "variance_type": "fixed_small"}
    peer = scheduler(diffusers.DDPMScheduler, alpha_bar, **options)
    peer.set_timesteps(50)
    steps = ddpm_steps(
        denoiser(network, alpha_bar, predict=predict), x, alpha_bar, visit_times(T, 50, spacing),
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    g, worst = torch.Generator().manual_seed(3), 0.0
    for t, ours, _ in steps:
        x = peer.step(network(x, torch.full((4,), t)), t, x, generator=g).prev_sample
        worst = max(worst, error(ours, x))
    record_property("float64", worst)
    assert worst <= 1e-9


@pytest.mark.parametrize("predict", ["v", "x0"])
def test_ddim_from_zero_snr_equals_diffusers(predict, record_property):
    alpha_bar, x = rescale_zero_snr(linear_schedule()), draw((4, 3, 4, 4), torch.float64, 0)
    peer = scheduler(
        diffusers.DDIMScheduler, alpha_bar, timestep_spacing="trailing", clip_sample=True,
        prediction_type=PREDICTIONS[predict], rescale_betas_zero_snr=True,
    )  # fmt: skip
    peer.set_timesteps(20)
    worst, denoise = 0.0, denoiser(network, alpha_bar, predict=predict)
    for t, ours, _ in ddim_steps(denoise, x, alpha_bar, visit_times(T, 20, "trailing")):
        x = peer.step(network(x, torch.full((4,), t)), t, x, use_clipped_model_output=True).prev_sample
        worst = max(worst, error(ours, x))
    record_property("float64", worst)
    assert worst <= 1e-9


class Float64(types.ModuleType):
    """torch, but its float32 is float64: lets the peer step without rounding to float32, as it insists on otherwise."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


# x0_hat = (x - sigma eps) / alpha multiplies the float32 rounding of the peer's steps by up to 1 / alpha = 157
@pytest.mark.parametrize("exact, tolerance", [(True, 1e-9), (False, 1e-4)], ids=["float64", "as-it-is"])
@pytest.mark.parametrize("spacing, predict", CASES)
@pytest.mark.parametrize("steps", [8, 20])  # the peer treats fewer than 15 steps specially, but not with this ending
def test_dpmpp_trajectory_equals_diffusers(steps, spacing, predict, exact, tolerance, record_property, monkeypatch):
    kind = diffusers.DPMSolverMultistepScheduler
    if exact:
        monkeypatch.setattr(sys.modules[kind.__module__], "torch", Float64("torch"))
    alpha_bar, x = linear_schedule(), draw((4, 3, 4, 4), torch.float64, 0)
    peer = scheduler(
        kind, alpha_bar, algorithm_type="dpmsolver++", solver_order=2, lower_order_final=True,
        final_sigmas_type="zero", timestep_spacing=spacing, prediction_type=PREDICTIONS[predict],
    )  # fmt: skip
    peer.set_timesteps(steps)
    if exact:
        a = alpha_bar[peer.timesteps]
        peer.sigmas = torch.cat([((1 - a) / a).sqrt(), torch.zeros(1, dtype=a.dtype)])  # as it has them, not rounded
    worst, denoise = 0.0, denoiser(network, alpha_bar, predict=predict, clip=False)
    for t, ours, _ in dpmpp_steps(denoise, x, alpha_bar, peer.timesteps.tolist()):
        x = peer.step(network(x, torch.full((4,), t)), t, x).prev_sample
        worst = max(worst, error(ours, x))
    record_property("float64" if exact else "float64 against its float32 steps", worst)
    assert worst <= tolerance


def unet_trajectories(dtype, clip, tmp_path):
    """Return the 20 images of ours and of theirs on a DDIM walk from the same noise with the same U-Net."""
    torch.manual_seed(0)
    theirs = diffusers.UNet2DModel(
        sample_size=16, block_out_channels=(16, 24, 32), norm_num_groups=8, attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    ).eval()  # fmt: skip
    theirs.save_pretrained(tmp_path)
    theirs, ours = theirs.to(dtype), UNet.from_pretrained(tmp_path).to(dtype)
    alpha_bar, x = linear_schedule(), draw((2, 3, 16, 16), dtype, 0)
    peer = scheduler(diffusers.DDIMScheduler, alpha_bar, clip_sample=clip)
    peer.set_timesteps(20)
    times, path = visit_times(T, 20, "leading"), []
    walk = [x_ours for _, x_ours, _ in ddim_steps(denoiser(ours, alpha_bar, clip=clip), x, alpha_bar, times)]
    with torch.no_grad():
        for t in peer.timesteps:
            x = peer.step(theirs(x, t).sample, t, x, use_clipped_model_output=True).prev_sample
            path.append(x)
    return torch.stack(walk), torch.stack(path)


@pytest.mark.parametrize("clip", [False, True])
def test_ddim_trajectory_of_20_steps_with_the_unet_equals_diffusers(clip, tmp_path, record_property):
    ours, theirs = unet_trajectories(torch.float64, clip, tmp_path)
    assert theirs[-1].std() > 0.1
    record_property("float64", error(ours, theirs))
    assert error(ours, theirs) <= 1e-9
    # In float32 the rounding of 20 network calls adds up in both: ours must stay as near to the float64 walk as theirs
    ours32, theirs32 = unet_trajectories(torch.float32, clip, tmp_path)
    record_property("float32", error(ours32, theirs32))
    record_property("float32 ours from float64", error(ours32, theirs))
    record_property("float32 theirs from float64", error(theirs32, theirs))
    assert error(ours32, theirs) <= max(1e-5, 2 * error(theirs32, theirs))


STEP_ERRORS = {
    "none": lambda x, x0_hat, a, a_next, noise: ddpm_step(x, x0_hat, a, a_next, noise),
    "returns x0_hat": lambda x, x0_hat, a, a_next, noise: x0_hat,
    "variance beta for posterior": lambda x, x0_hat, a, a_next, noise: ddpm_step(
        x, x0_hat, a, a_next, noise, variance="beta"
    ),
    "standard deviation for variance": lambda x, x0_hat, a, a_next, noise: ddpm_step(
        x, x0_hat, a, a_next, noise * ((1 - a / a_next) * (1 - a_next) / (1 - a)) ** 0.5
    ),
    "no noise": lambda x, x0_hat, a, a_next, noise: ddpm_step(x, x0_hat, a, a_next, None),
    "schedule off by one": lambda x, x0_hat, a, a_next, noise: ddpm_step(
        x, x0_hat, *(linear_schedule()[(linear_schedule() - v).abs().argmin() - 1].item() for v in (a, a_next)), noise
    ),
}


@pytest.mark.parametrize("plant", STEP_ERRORS)
def test_ddpm_parity_notices_a_planted_error(plant, record_property):
    alpha_bar, x, t = linear_schedule(), draw((4, 3, 4, 4), torch.float64, 0), 500
    peer = scheduler(diffusers.DDPMScheduler, alpha_bar, timestep_spacing="leading")
    peer.set_timesteps(10)
    x0_hat, _ = denoiser(network, alpha_bar)(x, torch.full((4,), t))
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(t))
    ours = STEP_ERRORS[plant](x, x0_hat, alpha_bar[t].item(), alpha_bar[t - 100].item(), noise)
    theirs = peer.step(network(x, torch.full((4,), t)), t, x, generator=torch.Generator().manual_seed(t)).prev_sample
    record_property("planted", error(ours, theirs))
    assert (error(ours, theirs) <= TOLERANCE[torch.float64]) == (plant == "none")

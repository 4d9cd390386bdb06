"""The live U-Net of chapter 16 is the package's, rounded less; its walks are the package's samplers."""

import copy

import pytest
import torch

from genai_utils import live
from genai_utils.diffusion import cosine_schedule, ddim_steps, denoiser, dpmpp_steps, visit_times
from genai_utils.live import SharedRandom, diffusion
from genai_utils.live.steady import SteadyUNet, WideGroupNorm
from tests.live import exported


@pytest.fixture(scope="module")
def unet():
    return diffusion.LIVE.models()[0].eval()


def test_group_norm_in_float64_is_group_norm():
    norm, x = torch.nn.GroupNorm(3, 12, eps=1e-3), 5 + SharedRandom(0).normal(2, 12, 4, 5)
    norm.weight.data, norm.bias.data = SharedRandom(1).normal(12), SharedRandom(2).normal(12)
    torch.testing.assert_close(WideGroupNorm(norm)(x), norm.double()(x.double()).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("T", [1000, None], ids=["table", "formula"])
@pytest.mark.parametrize("t", [977, 500, 3])
def test_the_steady_unet_is_the_unet(unet, T, t):
    x, t, label = SharedRandom(t).normal(1, 1, 28, 28), torch.tensor([t]), torch.tensor([4])
    with torch.no_grad():
        exact = copy.deepcopy(unet).double()(x.double(), t, label)
        found = SteadyUNet(unet, T)(x, t, label)
        theirs = exported.runner(diffusion.graphs(unet))("unet", x=x, t=t, label=label)["eps"]
    assert (found - exact).abs().mean() < 5e-7 and (found - exact).abs().max() < 5e-6
    assert (theirs - exact).abs().mean() < 5e-7 and (theirs - exact).abs().max() < 5e-6
    assert not any(isinstance(module, WideGroupNorm) for module in unet.modules())  # it is as it was


@pytest.mark.parametrize("sampler, steps_of", [(0, ddim_steps), (2, dpmpp_steps)])
def test_a_walk_is_the_packages(unet, sampler, steps_of):
    facts = diffusion.facts(unet)
    inputs = exported.inputs_of(diffusion.LIVE.acts["draw"]) | {"sampler": sampler, "steps": 5, "seed": 3, "label": 8}
    found = list(diffusion.draw(live.runner(diffusion.graphs(unet)), facts, inputs))
    alpha_bar = cosine_schedule()
    denoise = denoiser(lambda x, t: unet(x, t, torch.tensor([8])), alpha_bar)
    with torch.no_grad():
        wanted = steps_of(denoise, SharedRandom(3).normal(1, 1, 28, 28), alpha_bar, visit_times(facts["start"], 5))
        for step, (t, x, x0_hat) in zip(found, wanted, strict=True):
            torch.testing.assert_close(step["pictures"], torch.cat([x, x0_hat]), rtol=0, atol=1e-4)
            assert step["figures"][1][1] == t


def test_walks_begin_where_a_thousandth_of_the_variance_is_signal(unet):
    facts = diffusion.facts(unet)
    assert facts["alpha_bar"][facts["start"] - 1] >= 1e-3 > facts["alpha_bar"][facts["start"]]

"""The decoder of chapter 09 that also sees earlier pixels is causal, so that its likelihood is exact."""

import pytest
import torch

from genai_utils.vae import VAEConfig, vae_loss
from tools.results.vae_09 import Causal, StrongVAE


def strong(side=8):
    torch.manual_seed(0)
    model = StrongVAE(VAEConfig(side=side, network="mlp", hidden=8, latent=2), width=4).double()
    torch.nn.init.normal_(model.far.weight)
    return model


@pytest.mark.parametrize("pixel", [0, 1, 27, 63])
def test_a_pixel_is_described_by_all_earlier_pixels_and_no_others(pixel):
    model, x = strong(), torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(model.context(x).flatten()[pixel], x)[0].flatten()
    assert (slope[pixel:] == 0).all() and (slope[:pixel] != 0).all()


def test_convolutions_alone_are_causal_with_and_without_the_pixel_itself():
    for own in (False, True):
        layer, x = Causal(1, 1, 3, own), torch.randn(1, 1, 5, 5, requires_grad=True)
        slope = torch.autograd.grad(layer(x)[0, 0, 2, 2], x)[0].flatten()
        assert (slope[13:] == 0).all() and bool(slope[12] != 0) == own and slope[11] != 0


def test_probabilities_of_all_pictures_sum_to_one_given_a_code():
    torch.manual_seed(0)
    model = strong(side=3)
    torch.nn.init.normal_(model.near[0].weight)
    bits = torch.arange(2**9)[:, None] >> torch.arange(9) & 1
    x = (2.0 * bits - 1).double().view(-1, 1, 3, 3)
    z = torch.randn(1, 2, dtype=torch.float64).expand(len(x), -1)
    log_p = model.likelihood.log_prob(model.decode(z) + model.context(x), x)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_its_loss_is_the_vaes_with_the_context_added():
    model, x = strong(), (torch.rand(4, 1, 8, 8).round() * 2 - 1).double()
    loss, logs = vae_loss(model, (x, None), generator=torch.Generator().manual_seed(1))
    params, *_ = super(StrongVAE, model).forward(x, None, torch.Generator().manual_seed(1))
    nll = -model.likelihood.log_prob(params + model.context(x), x).mean()
    torch.testing.assert_close(logs["nll"], nll)
    torch.testing.assert_close(loss, nll + logs["kl"])

import pytest
import torch

from genai_utils.nn import RMSNorm


def test_rms_norm_is_the_formula_written_out():
    x = torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norm = RMSNorm(8, eps=1e-3).double()
    torch.nn.init.normal_(norm.weight)
    for row, found in zip(x.flatten(0, 1), norm(x).flatten(0, 1)):
        wanted = torch.stack([value * weight for value, weight in zip(row, norm.weight)])
        torch.testing.assert_close(found, wanted / ((row**2).sum() / 8 + 1e-3).sqrt())


def test_rms_norm_forgets_the_size_of_its_input_and_keeps_its_mean():
    x = torch.randn(4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 2
    norm = RMSNorm(16, eps=0.0).double()
    torch.testing.assert_close(norm(7 * x), norm(x))
    torch.testing.assert_close(norm(x).square().mean(1), torch.ones(4, dtype=torch.float64))
    assert (norm(x).mean(1) > 0.5).all()  # a LayerNorm would take it away


def test_rms_norm_gradients_are_those_of_the_formula():
    x = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    norm = RMSNorm(6).double()
    assert torch.autograd.gradcheck(lambda x, weight: torch.func.functional_call(norm, {"weight": weight}, x), (
        x, torch.linspace(0.5, 2, 6, dtype=torch.float64, requires_grad=True)))  # fmt: skip


@pytest.mark.parametrize("dtype, eps", [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_rms_norm_of_half_precision_is_computed_in_float32(dtype, eps):
    x = 300 * torch.randn(4, 64, generator=torch.Generator().manual_seed(0))  # its squares overflow float16
    found = RMSNorm(64).to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), RMSNorm(64)(x), rtol=eps, atol=eps)

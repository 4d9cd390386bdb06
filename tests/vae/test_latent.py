import math

import pytest
import torch

from genai_utils.vae.latent import active_units, linear_path, spherical_path, traverse

WEIGHTS = torch.linspace(0, 1, 11, dtype=torch.float64)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_latent_whose_mean_hardly_moves_is_not_active():
    spread = torch.tensor([1.0, 0.0, 0.05, 0.3, 0.0], dtype=torch.float64)  # 0.05 squared is below 0.01, 0.3 above
    mu = spread * draw(4000, 5) + torch.tensor([0.0, 2.0, 5.0, -5.0, 0.0])  # a constant offset carries nothing
    assert active_units(mu).tolist() == [True, False, False, True, False]
    assert active_units(mu, threshold=0.001).tolist() == [True, False, True, True, False]
    assert active_units(mu, threshold=0.5).tolist() == [True, False, False, False, False]


def test_active_units_compares_the_variance_over_the_data_with_the_threshold():
    mu = torch.tensor([[0.0], [0.2]])  # variance 0.02
    assert active_units(mu, 0.0199).item() and not active_units(mu, 0.0201).item()


@pytest.mark.parametrize("shape", [(1, 4), (0, 4), (4,), (4, 2, 2)])
def test_active_units_refuses_what_has_no_variance_over_data(shape):
    with pytest.raises(ValueError, match=r"mu must be \(B, Z\) with B >= 2, got"):
        active_units(torch.zeros(shape))


@pytest.mark.parametrize("path", [linear_path, spherical_path])
def test_path_starts_at_a_ends_at_b_and_runs_back_the_same_way(path):
    a, b = draw(6), 2 * draw(6, seed=1)
    codes = path(a, b, WEIGHTS)
    assert codes.shape == (11, 6) and codes.dtype == torch.float64
    torch.testing.assert_close(codes[[0, -1]], torch.stack([a, b]), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(path(b, a, WEIGHTS).flip(0), codes, rtol=1e-12, atol=1e-13)


def test_linear_path_is_the_weighted_mean_and_goes_on_beyond_its_ends():
    a, b = draw(6), draw(6, seed=1)
    by_hand = torch.stack([a + w * (b - a) for w in (-0.5, 0.25, 1.5)])
    torch.testing.assert_close(linear_path(a, b, torch.tensor([-0.5, 0.25, 1.5])), by_hand)


def test_spherical_path_keeps_its_radius_and_its_pace_where_the_line_cuts_through():
    a, b = draw(64), draw(64, seed=1)
    b = b * a.norm() / b.norm()
    arc, line = spherical_path(a, b, WEIGHTS), linear_path(a, b, WEIGHTS)
    torch.testing.assert_close(arc.norm(dim=1), a.norm().expand(11), rtol=1e-12, atol=0)
    steps = arc.diff(dim=0).norm(dim=1)
    torch.testing.assert_close(steps, steps[:1].expand(10), rtol=1e-10, atol=0)
    whole = torch.arccos(a @ b / a.norm() ** 2)
    pace = 2 * a.norm() * torch.sin(whole / 20)  # the chord of a tenth of the arc
    torch.testing.assert_close(steps, pace.expand(10), rtol=1e-10, atol=0)
    assert line.norm(dim=1)[5] < 0.8 * a.norm()


def test_spherical_path_in_the_plane_turns_evenly():
    a, b = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    angles = WEIGHTS * math.pi / 2
    torch.testing.assert_close(spherical_path(a, b, WEIGHTS), torch.stack([angles.cos(), angles.sin()], dim=1))


def test_spherical_path_stays_in_the_plane_of_its_ends_when_their_lengths_differ():
    a, b = draw(8), 3 * draw(8, seed=1)
    arc = spherical_path(a, b, WEIGHTS)
    basis = torch.linalg.qr(torch.stack([a, b], dim=1)).Q
    torch.testing.assert_close(arc @ basis @ basis.T, arc)
    u, v = a / a.norm(), b / b.norm()
    by_hand = torch.stack([
        torch.sin((1 - w) * torch.arccos(u @ v)) * a + torch.sin(w * torch.arccos(u @ v)) * b for w in WEIGHTS
    ]) / torch.sin(torch.arccos(u @ v))  # fmt: skip
    torch.testing.assert_close(arc, by_hand)


@pytest.mark.parametrize("stretch", [1.0, 3.0])
def test_spherical_path_between_parallel_codes_is_the_line(stretch):
    a = draw(8)
    torch.testing.assert_close(spherical_path(a, stretch * a, WEIGHTS), linear_path(a, stretch * a, WEIGHTS))


@pytest.mark.parametrize("angle", [1e-7, 1e-5, 9e-3, 3.0, math.pi - 1e-3])
@pytest.mark.parametrize("dtype, rtol", [(torch.float32, 1e-3), (torch.float64, 1e-9)])
def test_spherical_path_is_exact_from_the_smallest_angle_to_almost_half_a_turn(angle, dtype, rtol):
    """In float32 an arc cosine of the scalar product would be off by a twentieth of what is left to half a turn."""
    a, b = torch.tensor([2.0, 0.0], dtype=dtype), 2 * torch.tensor([math.cos(angle), math.sin(angle)], dtype=dtype)
    codes = spherical_path(a, b, WEIGHTS.to(dtype)).double()
    by_hand = 2 * torch.stack([torch.cos(WEIGHTS * angle), torch.sin(WEIGHTS * angle)], dim=1)
    torch.testing.assert_close(codes[:, 1], by_hand[:, 1], rtol=rtol, atol=0)
    torch.testing.assert_close(codes, by_hand, rtol=0, atol=rtol)


@pytest.mark.parametrize("b, message", [
    (-1.0, "opposite directions"), (-3.0, "opposite directions"), (0.0, "not at the origin; take linear_path"),
])  # fmt: skip
def test_spherical_path_refuses_ends_without_a_shortest_arc(b, message):
    a = draw(5).float()
    for ends in ((a, b * a), (b * a, a)):
        with pytest.raises(ValueError, match=message):
            spherical_path(*ends, WEIGHTS)


@pytest.mark.parametrize("path", [linear_path, spherical_path])
@pytest.mark.parametrize("a, b", [((4,), (5,)), ((2, 4), (2, 4)), ((4,), (1, 4))])
def test_path_refuses_what_are_not_two_codes_of_one_width(path, a, b):
    with pytest.raises(ValueError, match=r"two codes of one width, \(Z,\), got"):
        path(torch.ones(a), torch.ones(b), WEIGHTS)


def test_path_takes_weights_of_any_type_and_answers_in_the_type_of_its_ends():
    a, b = draw(3).float(), draw(3, seed=1).float()
    for path in (linear_path, spherical_path):
        assert path(a, b, torch.tensor([0, 1])).dtype == torch.float32
        assert path(a, b, WEIGHTS).dtype == torch.float32


def test_traverse_moves_one_latent_and_leaves_the_others_and_the_code_alone():
    z = draw(4)
    kept, values = z.clone(), torch.tensor([-2.0, 0.0, 3.0])
    codes = traverse(z, 2, values)
    assert codes.shape == (3, 4) and codes.dtype == z.dtype
    assert codes[:, 2].tolist() == values.tolist()
    assert torch.equal(codes[:, [0, 1, 3]], z[[0, 1, 3]].expand(3, 3)) and torch.equal(z, kept)


@pytest.mark.parametrize("z, latent", [((4,), 4), ((4,), -1), ((2, 4), 0)])
def test_traverse_refuses_a_latent_that_is_not_there(z, latent):
    with pytest.raises(ValueError, match=rf"latent in \[0, Z\), got .* latent={latent}"):
        traverse(torch.zeros(z), latent, torch.zeros(3))

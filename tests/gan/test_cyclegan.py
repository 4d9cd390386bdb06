import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from genai_utils.core import from_json, seed_all, to_json
from genai_utils.data.unpaired import UnpairedSet
from genai_utils.gan.cyclegan import (
    PRESETS,
    CycleGAN,
    CycleGANConfig,
    ImagePool,
    PatchDiscriminator,
    ResNetGenerator,
    cycle_steps,
    cyclegan_step,
    discriminator_loss,
    generator_loss,
    linear_decay,
    patch_side,
)
from genai_utils.training import EMA, adamw, fit

SMALL = CycleGANConfig(side=16, width=4, blocks=2, d_width=4, d_layers=2, pool=0)
COLOUR = replace(SMALL, channels=3, d_layers=1, cycle=3.0, identity=0.7)


def build(cfg=SMALL, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    model = CycleGAN(cfg).to(dtype)
    for p in model.parameters():  # from 0.02 to an ordinary size: nothing is zero by habit
        nn.init.normal_(p, std=0.3 if p.ndim == 1 else p[0].numel() ** -0.5)
    return model


def pictures(cfg=SMALL, n=2, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(n, cfg.channels, cfg.side, cfg.side, generator=g, dtype=dtype) * 2 - 1 for _ in range(2))


def sgd(module, lr=1.0):
    return torch.optim.SGD(module.parameters(), lr=lr)


class Shuffle(nn.Module):
    """An exact map: the negative of a picture with its pixels in another order."""

    def __init__(self, order):
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, x):
        return -x.flatten(1)[:, self.order].view_as(x)


@pytest.mark.parametrize("cfg", [SMALL, COLOUR], ids=["grey", "colour"])
def test_translations_and_scores_have_their_shapes(cfg):
    model, (x_a, x_b) = build(cfg), pictures(cfg)
    fake_a, fake_b = model(x_a, x_b)
    assert fake_a.shape == fake_b.shape == x_a.shape and max(fake_a.abs().max(), fake_b.abs().max()) <= 1
    torch.testing.assert_close(fake_a, model.generators.b_to_a(x_b))
    torch.testing.assert_close(fake_b, model.generators.a_to_b(x_a))
    side = cfg.side // 2**cfg.d_layers - 2
    assert model.discriminators.a(x_a).shape == (2, 1, side, side)
    assert model.generators.a_to_b(x_a[..., :12, :8]).shape == (2, cfg.channels, 12, 8)


@pytest.mark.parametrize("cfg", [SMALL, COLOUR], ids=["grey", "colour"])
def test_generator_loss_is_the_naive_sum_of_its_six_terms(cfg):
    model, (x_a, x_b) = build(cfg), pictures(cfg)
    loss, logs = generator_loss(model, (x_a, x_b))
    G, F, D_a, D_b = (*model.generators.values(), *model.discriminators.values())
    adversarial, cycle, identity = 0.0, 0.0, 0.0
    n = x_a.numel()
    for there, back, judge, x, y in ((G, F, D_b, x_a, x_b), (F, G, D_a, x_b, x_a)):
        scores = judge(there(x)).flatten().tolist()
        adversarial += sum((s - 1) ** 2 for s in scores) / len(scores)
        cycle += sum(abs(v) for v in (back(there(x)) - x).flatten().tolist()) / n
        identity += sum(abs(v) for v in (there(y) - y).flatten().tolist()) / n
    assert loss.item() == pytest.approx(adversarial + cfg.cycle * cycle + cfg.identity * identity)
    found = {k: v.item() for k, v in logs.items()}
    assert found == pytest.approx({"adversarial": adversarial, "cycle": cycle, "identity": identity})
    assert generator_loss(model, (x_a, x_b), model(x_a, x_b))[0].item() == pytest.approx(loss.item())


def test_discriminator_loss_is_half_the_naive_sum_and_sends_nothing_to_the_fakes():
    model, (x_a, x_b) = build(), pictures()
    fakes = tuple(x.requires_grad_() for x in pictures(seed=1))
    loss, logs = discriminator_loss(model, (x_a, x_b), fakes)
    total = 0.0
    for judge, real, fake in zip(model.discriminators.values(), (x_a, x_b), fakes):
        for x, target in ((real, 1), (fake, 0)):
            scores = judge(x).flatten().tolist()
            total += sum((s - target) ** 2 for s in scores) / len(scores) / 2
    assert loss.item() == pytest.approx(total)
    means = [(model.discriminators.a(a).mean() + model.discriminators.b(b).mean()) / 2 for a, b in ((x_a, x_b), fakes)]
    assert [logs["real"].item(), logs["fake"].item()] == pytest.approx([m.item() for m in means])
    loss.backward()
    assert [x.grad for x in fakes] == [None, None]


def test_discriminators_that_cannot_tell_cost_a_half():
    model = build()
    for judge in model.discriminators.values():
        nn.init.zeros_(judge.body[-1].weight)
        nn.init.constant_(judge.body[-1].bias, 0.5)
    assert discriminator_loss(model, pictures(), pictures(seed=1))[0].item() == pytest.approx(0.5)


def test_cycle_through_inverse_maps_costs_zero_though_identity_does_not():
    model, batch = build(), pictures()
    order = torch.randperm(SMALL.side**2, generator=torch.Generator().manual_seed(0))
    model.generators = nn.ModuleDict({"a_to_b": Shuffle(order), "b_to_a": Shuffle(order.argsort())})
    _, logs = generator_loss(model, batch)
    assert logs["cycle"].item() == 0.0 and logs["identity"].item() > 0.5
    model.generators["b_to_a"] = Shuffle(order)  # the same there and back is no inverse
    assert generator_loss(model, batch)[1]["cycle"].item() > 0.5


def test_domain_that_is_translated_by_leaving_it_alone_has_no_identity_loss():
    model, batch = build(), pictures()
    model.generators = nn.ModuleDict({"a_to_b": nn.Identity(), "b_to_a": nn.Identity()})
    _, logs = generator_loss(model, batch)
    assert logs["identity"].item() == logs["cycle"].item() == 0.0


def test_identity_term_of_weight_zero_is_left_out():
    model = build(replace(SMALL, identity=0.0))
    loss, logs = generator_loss(model, pictures())
    assert logs["identity"].item() == 0.0
    assert loss.item() == pytest.approx((logs["adversarial"] + 10 * logs["cycle"]).item())


def test_instance_norm_removes_contrast_and_brightness_but_not_the_sign():
    model, (x, _) = build(), pictures()
    generator = model.generators.a_to_b
    for module in generator.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.eps = 1e-18
    y = generator(x)
    torch.testing.assert_close(generator(0.25 * x + 0.4), y, rtol=1e-9, atol=1e-9)
    assert (generator(-x) - y).abs().mean() > 0.01


@pytest.mark.parametrize("d_layers, side", [(1, 16), (2, 34), (3, 70)])
def test_patch_of_a_discriminator_counted_by_gradient_is_as_published(d_layers, side):
    cfg = replace(PRESETS["published"], d_layers=d_layers, d_width=2)
    torch.manual_seed(0)
    judge = PatchDiscriminator(cfg).double()
    local = nn.Sequential(*(m for m in judge.body if not isinstance(m, nn.InstanceNorm2d)))
    x = torch.rand(1, 3, 160, 160, dtype=torch.float64)
    for p in local.parameters():
        nn.init.uniform_(p, 0.1, 1.0)  # all positive: no two paths cancel
    extents = []
    for network in (local, judge):
        leaf = x.clone().requires_grad_()
        scores = network(leaf)
        middle = scores.shape[-1] // 2
        scores[0, 0, middle, middle].backward()
        rows, columns = (leaf.grad[0].abs().amax((0, axis)).nonzero().flatten() for axis in (2, 1))
        extents.append([len(rows), len(columns), int(rows[-1] - rows[0]) + 1])
    assert extents[0] == [side] * 3 and patch_side(d_layers) == side
    assert min(extents[1]) > side  # with its norms a score depends on the rest, too


def test_published_preset_has_the_sizes_of_the_paper():
    with torch.device("meta"):
        model = CycleGAN(PRESETS["published"])
    sizes = {k: sum(p.numel() for p in m.parameters()) for k, m in model.named_children()}
    c7, ends = 3 * 64 * 49, 3  # the first and the last 7x7 convolutions and the last one's bias
    one = 2 * c7 + ends + 9 * 2 * 256 * 256 * 9 + 2 * 9 * (64 * 128 + 128 * 256)
    patch = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1
    assert sizes == {"generators": 2 * one, "discriminators": 2 * patch}
    assert patch_side(PRESETS["published"].d_layers) == 70


def test_gradient_of_each_loss_reaches_every_parameter_that_it_owns():
    model, batch = build(), pictures()
    generator_loss(model, batch)[0].backward()
    assert [n for n, p in model.generators.named_parameters() if not p.grad.abs().max() > 0] == []
    model.zero_grad()
    discriminator_loss(model, batch, model(*batch))[0].backward()
    assert [n for n, p in model.discriminators.named_parameters() if not p.grad.abs().max() > 0] == []
    assert [n for n, p in model.generators.named_parameters() if p.grad is not None] == []


def test_step_moves_each_network_by_the_gradient_of_its_own_loss_only():
    model, plain, batch = build(), build(), pictures()
    step = cyclegan_step(model, sgd(model.generators), sgd(model.discriminators))
    fakes = plain(*batch)  # by the generators before their update
    loss_g, _ = generator_loss(plain, batch, fakes)
    own_g, own_d = list(plain.generators.parameters()), list(plain.discriminators.parameters())
    gradients = torch.autograd.grad(loss_g, own_g)
    with torch.no_grad():
        for p, gradient in zip(own_g, gradients):
            p -= gradient
    loss_d, _ = discriminator_loss(plain, batch, fakes)
    with torch.no_grad():
        for p, gradient in zip(own_d, torch.autograd.grad(loss_d, own_d)):
            p -= gradient
    logs = step(batch)
    assert (logs["loss"].item(), logs["loss_d"].item()) == pytest.approx((loss_g.item(), loss_d.item()))
    for (name, p), q in zip(model.named_parameters(), plain.parameters()):
        torch.testing.assert_close(p, q, msg=name)


@pytest.mark.parametrize("still", ["generators", "discriminators"])
def test_step_of_one_side_leaves_the_other_alone(still):
    model, batch = build(), pictures()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    rates = {"generators": 0.1, "discriminators": 0.1} | {still: 0.0}
    step = cyclegan_step(model, *(sgd(getattr(model, k), lr) for k, lr in rates.items()))
    logs = step(batch)
    moved = {k.split(".")[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == set(rates) - {still}
    assert all(p.grad is None for p in model.parameters()) and not any(v.requires_grad for v in logs.values())


def test_two_translators_learn_one_batch():
    seed_all(0)
    model, batch = CycleGAN(replace(SMALL, width=8)), pictures(dtype=torch.float32)
    step = cyclegan_step(model, *(adamw(m, 5e-3, betas=(0.5, 0.999)) for m in (model.generators, model.discriminators)))
    logs = [step(batch) for _ in range(25)]
    assert logs[-1]["cycle"] < 0.5 * logs[0]["cycle"], (logs[0], logs[-1])
    assert logs[-1]["real"] > logs[-1]["fake"] + 0.1


# The pool


def numbered(first, n):
    """n pictures that are filled with their own numbers."""
    return torch.arange(first, first + n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 1, 2, 2)


def test_pool_hands_back_what_went_in_until_it_is_full():
    pool = ImagePool(5)
    for first in (0, 2):
        assert torch.equal(pool(numbered(first, 2)), numbered(first, 2))
    assert pool.filled == 4 and torch.equal(pool.images[:4], numbered(0, 4))


def test_pool_never_shows_a_picture_that_was_not_made_nor_one_twice_after_it_left():
    pool, g = ImagePool(6, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    made = 0
    for _ in range(200):
        n = int(torch.randint(1, 5, (1,), generator=g))
        before = set(pool.images[: pool.filled, 0, 0, 0].tolist()) if made else set()
        batch = numbered(made, n)
        shown, kept = pool(batch)[:, 0, 0, 0].tolist(), set(pool.images[: pool.filled, 0, 0, 0].tolist())
        fresh = set(range(made, made + n))
        assert set(shown) <= before | fresh and len(set(shown)) == n
        assert kept | set(shown) == before | fresh  # nothing is lost
        assert not (set(shown) - fresh) & kept  # what is shown from the pool leaves it
        made += n
    assert made > 400 and pool.filled == 6


def test_full_pool_swaps_half_of_the_pictures_and_draws_its_own_uniformly():
    pool = ImagePool(4, torch.Generator().manual_seed(0))
    pool(numbered(0, 4))
    n, swaps, from_place = 1_500, 0, torch.zeros(4)
    for k in range(n):
        held = pool.images[:, 0, 0, 0].tolist()
        shown = pool(numbered(4 + k, 1)).flatten()[0].item()
        if shown != 4 + k:
            swaps += 1
            from_place[held.index(shown)] += 1
            assert pool.images[held.index(shown), 0, 0, 0] == 4 + k  # the new one takes its place
        else:
            assert pool.images[:, 0, 0, 0].tolist() == held
    assert abs(swaps / n - 0.5) < 4 * (0.25 / n) ** 0.5
    assert (from_place / swaps - 0.25).abs().max() < 4 * (0.25 * 0.75 / swaps) ** 0.5


def test_pool_of_a_batch_swaps_each_picture_with_probability_one_half():
    pool = ImagePool(8, torch.Generator().manual_seed(0))
    pool(numbered(0, 8))
    swapped = torch.zeros(5)
    for k in range(1_000):
        batch = numbered(8 + 5 * k, 5)
        swapped += (pool(batch) != batch)[:, 0, 0, 0]
    assert (swapped / 1_000 - 0.5).abs().max() < 4 * (0.25 / 1_000) ** 0.5


def test_pool_of_size_zero_and_pool_resumed_from_its_state():
    batch = numbered(0, 3)
    assert ImagePool(0)(batch) is batch
    pool, resumed = (ImagePool(4, torch.Generator().manual_seed(5)) for _ in range(2))
    for first in (0, 3, 6):
        pool(numbered(first, 3))
    resumed.load_state_dict({k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in pool.state_dict().items()})
    resumed.generator.set_state(pool.generator.get_state())
    for first in (9, 12, 15, 18):
        assert torch.equal(pool(numbered(first, 3)), resumed(numbered(first, 3)))


def test_step_shows_the_discriminators_pictures_from_the_pools():
    """With a pool, a discriminator's loss after many steps is not that of the latest fakes alone."""
    losses = []
    for size in (0, 2):
        model = build(replace(SMALL, pool=size))
        g = torch.Generator().manual_seed(0)
        step = cyclegan_step(model, sgd(model.generators, 0.01), sgd(model.discriminators, 0.0), generator=g)
        losses.append([step(pictures(seed=k))["loss_d"].item() for k in range(6)])
    assert losses[0][0] == losses[1][0] and losses[0][1:] != losses[1][1:]
    assert step.parts["pool_a"].filled == step.parts["pool_b"].filled == 2 and step.parts["generator"] is g


# Training


def noise_set(n=7):
    g = torch.Generator().manual_seed(1)
    a, b = (torch.randint(256, (n + k, 1, 16, 16), dtype=torch.uint8, generator=g) for k in (0, 2))
    zeros = torch.zeros(n + 2, dtype=torch.int64)
    return UnpairedSet("noise", a, b, zeros[:n], zeros, ("noise",))


def train(steps, checkpoint, total=8, own=False):
    """Train up to `steps` of a run of `total`, with pools that swap; return all tensors of its state."""
    seed_all(0)
    model = CycleGAN(replace(SMALL, pool=3))
    opt_g, opt_d = (adamw(m, 1e-3, betas=(0.5, 0.999)) for m in (model.generators, model.discriminators))
    schedules = tuple(linear_decay(opt, total, constant=3) for opt in (opt_g, opt_d))
    g, ema = torch.Generator().manual_seed(3) if own else None, EMA(model, 0.9)
    step = cyclegan_step(model, opt_g, opt_d, schedules=schedules, ema=ema, generator=g)
    fit(step, noise_set().batches(2, seed=0), steps=steps, every=2, checkpoint=checkpoint, progress=False)
    pools = {k: step.parts[k].images for k in ("pool_a", "pool_b")}
    return {**model.state_dict(), **{f"ema.{k}": v for k, v in ema.model.state_dict().items()}, **pools}


@pytest.mark.parametrize("own", [False, True], ids=["torch's generator", "a generator of its own"])
def test_resumed_training_ends_with_the_same_bits_pools_and_averages_included(own, tmp_path):
    whole = train(8, None, own=own)
    half = {k: v.clone() for k, v in train(4, tmp_path / "run.pt", own=own).items()}
    resumed = train(8, tmp_path / "run.pt", own=own)
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert not any(torch.equal(whole[k], half[k]) for k in whole)


def test_run_with_another_pool_or_schedule_is_not_resumed(tmp_path):
    train(2, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="schedule_0.steps is 8 in the checkpoint, 9 now"):
        train(4, tmp_path / "run.pt", total=9)


def test_learning_rate_is_constant_then_falls_linearly_to_zero():
    opt = sgd(nn.Linear(1, 1), lr=2e-4)
    schedule, rates = linear_decay(opt, 10, constant=6), []
    for _ in range(12):
        rates.append(opt.param_groups[0]["lr"] / 2e-4)
        opt.step()
        schedule.step()
    assert rates == pytest.approx([1] * 7 + [0.75, 0.5, 0.25, 0, 0])


@pytest.mark.parametrize("amp", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_keeps_losses_in_float32_and_weights_finite(amp):
    exact, model = build(dtype=torch.float32), build(dtype=torch.float32)
    batch = pictures(dtype=torch.float32)
    logs, wanted = (
        cyclegan_step(m, sgd(m.generators, 1e-3), sgd(m.discriminators, 1e-3), amp=kind)(batch)
        for m, kind in ((model, amp), (exact, torch.float32))
    )
    assert {v.dtype for v in logs.values()} == {torch.float32}
    assert logs["loss"].item() == pytest.approx(wanted["loss"].item(), rel=0.05) and logs["loss"] != wanted["loss"]
    for p, q in zip(model.parameters(), exact.parameters()):
        assert p.dtype == torch.float32
        torch.testing.assert_close(p, q, rtol=0.1, atol=0.02)


def test_walk_from_domain_to_domain_alternates_and_starts_with_the_picture_given():
    model, (x, _) = build(), pictures()
    walk = list(cycle_steps(model, x, steps=3))
    there, back = model.generators.a_to_b, model.generators.b_to_a
    assert [domain for domain, _ in walk] == ["a", "b", "a", "b"] and walk[0][1] is x
    for (_, y), wanted in zip(walk[1:], (there(x), back(there(x)), there(back(there(x))))):
        torch.testing.assert_close(y, wanted)
        assert not y.requires_grad
    (_, first), (domain, y) = itertools.islice(cycle_steps(model, x, start="b"), 2)
    torch.testing.assert_close(y, back(x))
    assert domain == "a" and first is x


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_build_and_survive_json(cfg):
    assert from_json(CycleGANConfig, to_json(cfg)) == cfg
    with torch.device("meta"):
        assert CycleGAN(cfg).Config is ResNetGenerator.Config is CycleGANConfig


@pytest.mark.parametrize("wrong, message", [
    ({"side": 30}, "side must be a multiple of 4, at least 12 for d_layers=2, got 30"),
    ({"side": 20, "d_layers": 3}, "at least 24 for d_layers=3, got 20"),
    ({"channels": 0, "blocks": 0}, "sizes must be at least 1, got {'channels': 0, 'blocks': 0}"),
    ({"cycle": -1.0}, "at least 0, got {'cycle': -1.0}"), ({"pool": -1}, "{'pool': -1}"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CycleGAN(replace(SMALL, **wrong))


def test_smallest_side_that_the_config_allows_can_be_trained_on():
    for d_layers, side in ((1, 8), (2, 12), (3, 24)):
        cfg = replace(SMALL, side=side, d_layers=d_layers)
        model = build(cfg, torch.float32)
        logs = cyclegan_step(model, sgd(model.generators, 1e-3), sgd(model.discriminators, 1e-3))(
            pictures(cfg, 1, torch.float32)
        )
        assert all(v.isfinite() for v in logs.values())


def test_impossible_input_is_refused():
    model, (x_a, x_b) = build(), pictures()
    step = cyclegan_step(model, sgd(model.generators), sgd(model.discriminators))
    for wrong in (x_a[..., :14], x_a.expand(2, 3, 16, 16), x_a[..., :4], x_a[0]):
        for call in (model.generators.a_to_b, lambda x: step((x, x_b)), lambda x: generator_loss(model, (x_b, x))):
            with pytest.raises(
                ValueError, match=r"pictures must be \(B, 1, H, W\), sides multiples of 4 .* pad or crop"
            ):
                call(wrong)
    with pytest.raises(ValueError, match="domain B has no picture"):
        step((x_a, x_b[:0]))
    with pytest.raises(ValueError, match="domain A has no picture"):
        discriminator_loss(model, (x_a[:0], x_b), (x_a, x_b))
    with pytest.raises(ValueError, match="start must be 'a' or 'b', got 'c'"):
        next(cycle_steps(model, x_a, start="c"))
    with pytest.raises(ValueError, match="0 <= constant < steps, got constant=5, steps=5"):
        linear_decay(sgd(model), 5, constant=5)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        ImagePool(-1)
    with pytest.raises(ValueError, match="a pool of 2 takes batches of at most 2, got 3: enlarge it"):
        ImagePool(2)(numbered(0, 3))

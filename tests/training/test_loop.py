import copy
import itertools
import signal
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from genai_utils.training import (
    EMA,
    TrainingDiverged,
    adamw,
    fit,
    load_checkpoint,
    load_parts,
    make_step,
    warmup_cosine,
)


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    width: int = 16


class Net(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.layers = nn.Sequential(nn.Linear(4, cfg.width), nn.SiLU(), nn.Linear(cfg.width, 4))

    def forward(self, x):
        return self.layers(x)


class Batches:
    """Endless and resumable: batch number i is drawn from a seed of its own."""

    def __init__(self, bad=()):
        self.i, self.bad = 0, bad

    def __iter__(self):
        return self

    def __next__(self):
        self.i += 1
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(self.i))
        return x * float("nan") if self.i in self.bad else x

    def state_dict(self):
        return {"i": self.i}

    def load_state_dict(self, state):
        self.i = state["i"]


def flip_loss(model, x):
    loss = (model(x).float() - x.flip(1)).square().mean()
    return loss, {"mse": loss}


def build(steps=40, lr=1e-2, width=16, loss_fn=flip_loss, compiled=None, **kw):
    """Return (model, ema, step)."""
    torch.manual_seed(0)
    model = Net(NetConfig(width=width))
    ema, opt = EMA(model, 0.9), adamw(model, lr)
    network = compiled(model) if compiled else model
    schedule = warmup_cosine(opt, steps, warmup=5)
    return model, ema, make_step(network, loss_fn, opt, schedule=schedule, ema=ema, **kw)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def quiet_fit(step, batches=None, **kw):
    return fit(step, batches or Batches(), **{"steps": 40, "every": 10, "progress": False} | kw)


@pytest.mark.parametrize("amp", [torch.float32, torch.bfloat16])
def test_step_equals_the_loop_by_hand_bit_for_bit(amp):
    torch.manual_seed(0)
    model = Net(NetConfig())
    ema, opt = EMA(model, 0.9), adamw(model, 1e-2)
    schedule = warmup_cosine(opt, 40, warmup=5)
    losses = []
    for x in itertools.islice(Batches(), 40):
        with torch.autocast("cpu", torch.bfloat16, enabled=amp == torch.bfloat16):
            loss, _ = flip_loss(model, x)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        schedule.step()
        opt.zero_grad()
        ema.update(model)
        losses.append(loss.item())
    fitted, average, step = build(amp=amp)
    rows = quiet_fit(step)
    assert same(model, fitted) and same(ema.model, average.model)
    assert [row["step"] for row in rows] == [10, 20, 30, 40]
    for i, row in enumerate(rows):
        torch.testing.assert_close(row["loss"], sum(losses[10 * i : 10 * i + 10]) / 10)


@pytest.mark.parametrize("amp", [None, torch.bfloat16, torch.float16])
def test_fit_learns_in_every_precision(amp):
    _, _, step = build(steps=300, amp=amp)
    rows = quiet_fit(step, steps=300, every=50)
    assert rows[-1]["loss"] < 0.2 * rows[0]["loss"]


def test_fp16_gradients_are_unscaled_before_they_are_clipped():
    norms = {}
    for amp in (torch.float32, torch.float16):
        _, _, step = build(amp=amp, clip=1e-3)
        norms[amp] = step(next(Batches()))["grad_norm"]
    torch.testing.assert_close(norms[torch.float16], norms[torch.float32], rtol=0.01, atol=0.0)


def test_fp16_step_that_overflows_changes_no_weight_and_halves_the_scale():
    model, _, step = build(amp=torch.float16, loss_fn=lambda model, x: (1e3 * flip_loss(model, x)[0], {}))
    before, scaler = copy.deepcopy(model), step.parts["scaler"]
    logs = step(next(Batches()))
    assert same(before, model) and scaler.get_scale() == 2**15 and logs["grad_norm"] == 0
    for x in itertools.islice(Batches(), 12):
        step(x)
    assert not same(before, model)


def test_fp16_whose_gradients_never_hold_stops():
    class Spoiled(torch.autograd.Function):
        forward = staticmethod(lambda ctx, x: x.clone())
        backward = staticmethod(lambda ctx, grad: grad * float("nan"))

    _, _, step = build(amp=torch.float16, loss_fn=lambda model, x: (Spoiled.apply(flip_loss(model, x)[0]), {}))
    with pytest.raises(TrainingDiverged, match="from step 31 on"):
        quiet_fit(step)


def test_amp_refuses_other_dtypes():
    with pytest.raises(ValueError, match=r"amp must be .* got torch.float64"):
        build(amp=torch.float64)


def test_clip_bounds_the_update_and_none_leaves_it():
    for clip, expected in ((0.01, 0.01), (None, None)):
        torch.manual_seed(0)
        model = Net(NetConfig())
        before = nn.utils.parameters_to_vector(model.parameters()).clone()
        step = make_step(model, flip_loss, torch.optim.SGD(model.parameters(), lr=1.0), clip=clip)
        norm = step(next(Batches()))["grad_norm"]
        moved = (nn.utils.parameters_to_vector(model.parameters()) - before).detach().norm()
        torch.testing.assert_close(moved, norm if expected is None else torch.tensor(expected), rtol=1e-3, atol=0.0)


class CountWaits(TorchDispatchMode):
    """Count the operations that make the host wait for the device: `.item()`, `float()`, `if tensor`, `.cpu()`."""

    waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.waits += func.name() in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::equal")
        return func(*args, **(kwargs or {}))


def waits(steps, amp, loss_fn=flip_loss):
    """Count them over a run of `steps` updates with one log line."""
    _, _, step = build(amp=amp, loss_fn=loss_fn)
    with CountWaits() as counted:
        quiet_fit(step, steps=steps, every=steps)
    return counted.waits


@pytest.mark.parametrize("amp", [torch.float32, torch.bfloat16, torch.float16])
def test_only_the_log_line_waits_for_the_device(amp):
    assert waits(4, amp) == waits(12, amp)
    nosy = lambda model, x: (flip_loss(model, x)[0], {"x": x.mean() * x.mean().item()})
    assert waits(12, amp, nosy) == waits(12, amp) + 12  # the count sees what it should


@pytest.mark.gpu
@pytest.mark.parametrize("amp", [torch.bfloat16, torch.float16])
def test_no_step_waits_for_a_real_gpu(amp):
    model = Net(NetConfig()).cuda()
    step = make_step(model, flip_loss, adamw(model), ema=EMA(model), amp=amp)
    x = torch.randn(8, 4, device="cuda")
    step(x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            step(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "compiled",
    [lambda m: torch.compile(m, backend="eager"), lambda m: m.compile(backend="eager") or m],
    ids=["torch.compile", "model.compile"],
)
def test_compiled_network_trains_the_same_weights_under_the_same_names(compiled, tmp_path):
    plain, average, step = build()
    quiet_fit(step, steps=6)
    model, ema, step = build(compiled=compiled)
    quiet_fit(step, steps=6, checkpoint=tmp_path / "run.pt")
    names = load_checkpoint(tmp_path / "run.pt")["parts"]["model"].keys()
    assert list(names) == list(plain.state_dict())
    torch.testing.assert_close(dict(model.state_dict()), dict(plain.state_dict()))
    torch.testing.assert_close(dict(ema.model.state_dict()), dict(average.model.state_dict()))


def test_ema_of_a_compiled_model_has_plain_names():
    model = Net(NetConfig())
    ema = EMA(compiled := torch.compile(model, backend="eager"), 0.5)
    ema.update(compiled)
    assert ema.model.state_dict().keys() == model.state_dict().keys()


def test_ema_moves_a_weight_of_two_names_once():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    ema, start = EMA(model, 0.5), model[0].weight.detach().clone()
    nn.init.zeros_(model[0].weight)
    ema.update(model)
    torch.testing.assert_close(ema.model[0].weight, 0.1 * start)  # the decay of the first update
    assert ema.model[1].weight is ema.model[0].weight


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_ema_refuses_weights_of_half_precision_unless_they_are_frozen(dtype):
    with pytest.raises(ValueError, match=f"weights must be float32 or better, got {dtype}: .* model.float"):
        EMA(nn.Linear(2, 2).to(dtype))
    EMA(nn.Sequential(nn.Linear(2, 2).to(dtype).requires_grad_(False), nn.Linear(2, 2)))


def test_divergence_names_the_first_bad_step_and_keeps_the_last_good_checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    _, _, step = build()
    quiet_fit(step, steps=20, checkpoint=path)
    good = path.read_bytes()
    model, _, step = build()
    batches = Batches(bad=(27, 29))
    with pytest.raises(TrainingDiverged, match=r"from step 27 on \(4 of the last 10\).*run.pt, of step 20") as caught:
        quiet_fit(step, batches, checkpoint=path)
    assert batches.i == 30  # raised at the log line, and at the first one
    assert (caught.value.step, caught.value.checkpoint, len(caught.value.rows)) == (27, path, 2)
    assert path.read_bytes() == good
    load_parts(path, model=model)
    assert all(p.isfinite().all() for p in model.parameters())


def test_divergence_without_a_checkpoint_says_so():
    _, _, step = build()
    with pytest.raises(TrainingDiverged, match="No checkpoint was written") as caught:
        quiet_fit(step, Batches(bad=(1,)))
    assert caught.value.step == 1 and caught.value.checkpoint is None


def test_weights_that_are_not_finite_are_never_checkpointed(tmp_path):
    model = Net(NetConfig())
    steep_loss = lambda model, x: (100 * flip_loss(model, x)[0], {})
    step = make_step(model, steep_loss, torch.optim.SGD(model.parameters(), lr=3e38), clip=None)
    with pytest.raises(TrainingDiverged, match="after step 1 a weight is not finite"):
        quiet_fit(step, steps=1, checkpoint=tmp_path / "run.pt")
    assert not (tmp_path / "run.pt").exists()


@pytest.mark.parametrize("at", [13, 20])
def test_interruption_finishes_the_step_saves_and_resumes_exactly(tmp_path, capsys, at):
    whole, average, step = build()
    rows = quiet_fit(step)

    def interrupted_loss(model, x):
        if batches.i == at:
            signal.raise_signal(signal.SIGINT)
        return flip_loss(model, x)

    batches = Batches()
    _, _, step = build(loss_fn=interrupted_loss)
    handler = signal.getsignal(signal.SIGINT)
    so_far = quiet_fit(step, batches, checkpoint=tmp_path / "run.pt")
    assert f"Stopped after step {at} of 40" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is handler
    assert so_far == rows[: at // 10] and load_checkpoint(tmp_path / "run.pt")["step"] == at
    saved = (tmp_path / "run.pt").read_bytes()
    for every in (10, 3):  # other log lines make other rows, but the same weights
        (tmp_path / "run.pt").write_bytes(saved)
        model, ema, step = build()
        resumed = quiet_fit(step, checkpoint=tmp_path / "run.pt", every=every)
        assert same(model, whole) and same(ema.model, average.model)
        assert (resumed == rows) == (every == 10)


def test_second_interruption_stops_at_once_and_keeps_the_last_checkpoint(tmp_path, capsys):
    def interrupted_loss(model, x):
        if batches.i == 13:
            flip_loss(model, x)[0].backward()
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return flip_loss(model, x)

    batches = Batches()
    model, _, step = build(loss_fn=interrupted_loss)
    rows = quiet_fit(step, batches, checkpoint=tmp_path / "run.pt")
    assert "Stopped within step 13 of 40. The last good checkpoint is" in capsys.readouterr().out
    assert len(rows) == 1 and load_checkpoint(tmp_path / "run.pt")["step"] == 10
    assert all(p.isfinite().all() and p.grad is None for p in model.parameters())


def test_finished_run_is_loaded_and_not_repeated(tmp_path):
    whole, _, step = build()
    rows = quiet_fit(step, checkpoint=tmp_path / "run.pt")
    model, _, step = build()
    batches = Batches()
    assert quiet_fit(step, batches, checkpoint=tmp_path / "run.pt") == rows
    assert same(model, whole) and batches.i == 40


def test_checkpoint_of_another_config_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    quiet_fit(build()[2], steps=10, checkpoint=path, config={"data": "mnist"})
    for kw, message in (
        ({"width": 8}, "model.width is 16 in the checkpoint, 8 now"),
        ({"lr": 1e-3}, "opt.lr is 0.01 in the checkpoint, 0.001 now"),
        ({"steps": 50}, "schedule.steps is 40 in the checkpoint, 50 now"),
    ):
        model, _, step = build(**kw)
        before = copy.deepcopy(model)
        with pytest.raises(ValueError, match=message):
            quiet_fit(step, checkpoint=path, config={"data": "mnist"})
        assert same(model, before)
    with pytest.raises(ValueError, match="config.data is mnist in the checkpoint, glyphs now"):
        quiet_fit(build()[2], checkpoint=path, config={"data": "glyphs"})
    with pytest.raises(ValueError, match="has 10 updates already, more than steps=5"):
        quiet_fit(build()[2], steps=5, checkpoint=path, config={"data": "mnist"})


def test_run_moves_between_precisions(tmp_path):
    for amp, steps in ((torch.float16, 10), (torch.bfloat16, 20), (torch.float16, 30)):  # a Colab GPU today, another
        rows = quiet_fit(build(amp=amp)[2], steps=steps, checkpoint=tmp_path / "run.pt")
    assert [row["step"] for row in rows] == [10, 20, 30]


def gan():
    """A step with two optimisers, such as a GAN brings."""
    torch.manual_seed(0)
    g, d = nn.Linear(4, 4), nn.Linear(4, 1)
    opts = [adamw(net, 1e-2) for net in (g, d)]

    def step(x):
        for opt, loss in ((opts[1], lambda: (d(g(x)) - d(x)).mean()), (opts[0], lambda: -d(g(x)).mean())):
            value = loss()
            opt.zero_grad()
            value.backward()
            opt.step()
        return {"loss": value}

    step.parts = {"generator": g, "critic": d, "opt_g": opts[0], "opt_d": opts[1]}
    return g, step


def test_step_of_ones_own_trains_and_resumes(tmp_path):
    whole, step = gan()
    rows = quiet_fit(step)
    quiet_fit(gan()[1], steps=20, checkpoint=tmp_path / "run.pt")
    g, step = gan()
    assert quiet_fit(step, checkpoint=tmp_path / "run.pt") == rows and same(g, whole)


def test_what_cannot_be_resumed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs step.parts"):
        quiet_fit(lambda x: {"loss": x.mean()}, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="list has none, so its place in the data would be lost"):
        quiet_fit(build()[2], [torch.zeros(8, 4)], checkpoint=tmp_path / "run.pt")


def test_fit_refuses_bad_input():
    with pytest.raises(ValueError, match="batches ran out after 3 of 40 steps"):
        quiet_fit(build()[2], [torch.zeros(8, 4)] * 3)
    with pytest.raises(ValueError, match="steps=0"):
        quiet_fit(build()[2], steps=0)
    with pytest.raises(ValueError, match=r"must log scalar tensors; 'loss' is torch.Size\(\[2\]\)"):
        quiet_fit(lambda x: {"loss": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"must log scalar tensors; 'loss' is 1.0"):
        quiet_fit(lambda x: {"loss": 1.0})
    names = iter("ab")
    with pytest.raises(ValueError, match="same names every time: \\['a'\\] before, \\['b'\\] now"):
        quiet_fit(lambda x: {next(names): torch.zeros(())})


def test_on_log_gets_every_row():
    seen = []
    rows = quiet_fit(build()[2], steps=25, on_log=seen.append)
    assert seen == rows and [row["step"] for row in rows] == [10, 20, 25]

"""Our written-out cells against torch.nn.RNN, GRU and LSTM: every weight random, 1 to 3 layers, float64, backward."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.autoregressive import rnn
from genai_utils.autoregressive.rnn import CELLS, Cell, Recurrent

THEIRS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
FLOAT32, FLOAT64 = 1e-5, 1e-10  # times max(1, |out|)
D_IN, H = 5, 7


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


def pair(cell, n_layers, dtype=torch.float64):
    """Return (theirs, ours, x, state): theirs with random weights, ours with the state dict of theirs."""
    g = torch.Generator().manual_seed(0)
    theirs = THEIRS[cell](D_IN, H, n_layers, batch_first=True)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(0.6 * torch.randn(p.shape, generator=g))
    ours = Recurrent(cell, D_IN, H, n_layers)
    ours.kernel.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 8, D_IN, generator=g)
    state = tuple(torch.randn(n_layers, 3, H, generator=g, dtype=torch.float64).tanh().to(dtype) for _ in range(2))
    return theirs.to(dtype), ours.to(dtype), x.to(dtype), state if cell == "lstm" else state[0]


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def leaves(x, state):
    """Return copies that collect gradients: (x, state, list of them all)."""
    x = x.clone().requires_grad_()
    held = tuple(part.clone().requires_grad_() for part in parts(state))
    return x, held if isinstance(state, tuple) else held[0], [x, *held]


def read_both(theirs, ours, x, state, trace=True):
    """Return name -> (ours, theirs): outputs, states, and the gradients of inputs, states and parameters."""
    weight = torch.randn(len(x), x.shape[1], H, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    found = []
    for model, read in ((ours, ours.trace if trace else ours), (theirs, theirs)):
        x_in, state_in, collect = leaves(x, state)
        outputs, end, *_ = read(x_in, state_in)
        loss = (weight * outputs).sum() + sum((k + 1) * part.square().sum() for k, part in enumerate(parts(end)))
        gradients = torch.autograd.grad(loss, [*collect, *model.parameters()])
        assert all(g.abs().max() > 0 for g in gradients)
        names = ["x", *(f"state {k}" for k in range(len(collect) - 1)), *(n for n, _ in theirs.named_parameters())]
        found.append({"outputs": outputs, **{f"end {k}": part for k, part in enumerate(parts(end))},
                      **{f"gradient of {name}": g for name, g in zip(names, gradients, strict=True)}})  # fmt: skip
    return {name: (found[0][name], found[1][name]) for name in found[1]}


def every_case():
    def both(test):
        return pytest.mark.parametrize("cell", CELLS)(pytest.mark.parametrize("n_layers", [1, 2, 3])(test))

    return both


@every_case()
@pytest.mark.parametrize("trace", [True, False], ids=["trace", "forward"])
def test_cells_and_their_gradients_equal_torch_in_float64(cell, n_layers, trace, record_property):
    errors = {name: error(*two) for name, two in read_both(*pair(cell, n_layers), trace).items()}
    record_property("float64 error", max(errors.values()))
    assert max(errors.values()) <= FLOAT64, errors


@every_case()
def test_cells_equal_torch_in_float32(cell, n_layers, record_property):
    theirs, ours, x, state = pair(cell, n_layers, torch.float32)
    with torch.no_grad():
        found = error(ours.trace(x, state).outputs, theirs(x, state)[0])
    record_property("float32 error", found)
    assert found <= FLOAT32


@pytest.mark.parametrize("cell", CELLS)
def test_reading_from_nothing_equals_torch(cell):
    theirs, ours, x, _ = pair(cell, 2)
    assert error(ours.trace(x).outputs, theirs(x)[0]) <= FLOAT64


@pytest.mark.parametrize("kind, cell", [(nn.RNNCell, "rnn"), (nn.GRUCell, "gru"), (nn.LSTMCell, "lstm")])
def test_one_step_equals_torchs_cell(kind, cell):
    _, ours, x, state = pair(cell, 1)
    theirs = kind(D_IN, H).double()
    theirs.load_state_dict({name.removesuffix("_l0"): p for name, p in ours.kernel.state_dict().items()})
    state = (state[0][0], state[1][0]) if cell == "lstm" else state[0]
    for mine, reference in zip(
        parts(CELLS[cell].step(x[:, 0], state, ours.weights()[0])[0]), parts(theirs(x[:, 0], state))
    ):
        assert error(mine, reference) <= FLOAT64


# Errors planted on purpose: each must show


def _rows(order, n):
    """A step whose weights have their gates in another order."""

    def plant(step):
        def planted(x_t, state, w):
            return step(x_t, state, type(w)(*(torch.cat([part.chunk(n)[k] for k in order]) for part in w)))

        return planted

    return plant


def _without(**changed):
    def plant(step):
        return lambda x_t, state, w: step(
            x_t, state, w._replace(**{k: change(getattr(w, k)) for k, change in changed.items()})
        )

    return plant


def _reset_before(step):
    """The reset gate as in the paper: on the hidden state, before the product."""

    def planted(x_t, hidden, w):
        _, gates = step(x_t, hidden, w)
        r, z = gates["reset"], gates["update"]
        weight, bias = w.weight_hh[2 * H :], w.bias_hh[2 * H :]
        n = torch.tanh(F.linear(x_t, w.weight_ih, w.bias_ih)[:, 2 * H :] + F.linear(r * hidden, weight, bias))
        return (1 - z) * n + z * hidden, gates

    return planted


def _old_and_new_swapped(step):
    def planted(x_t, hidden, w):
        _, gates = step(x_t, hidden, w)
        return gates["update"] * gates["candidate"] + (1 - gates["update"]) * hidden, gates

    return planted


def _no_tanh_on_the_cell(step):
    def planted(x_t, state, w):
        (_, cell), gates = step(x_t, state, w)
        return (gates["output"] * cell, cell), gates

    return planted


def _forget_on_the_new_cell(step):
    def planted(x_t, state, w):
        _, gates = step(x_t, state, w)
        cell = gates["forget"] * (state[1] + gates["input"] * gates["candidate"])
        return (gates["output"] * cell.tanh(), cell), gates

    return planted


def _peephole_to_the_old_cell(step):
    def planted(x_t, state, w):
        (_, cell), gates = step(x_t, state, w)
        return (gates["output"] * state[1].tanh(), cell), gates

    return planted


PLANTED = {
    "LSTM gates in the order of others (i, f, o, g)": ("lstm", _rows((0, 1, 3, 2), 4)),
    "LSTM forget and input mixed": ("lstm", _rows((1, 0, 2, 3), 4)),
    "LSTM output without tanh": ("lstm", _no_tanh_on_the_cell),
    "LSTM forgets what it just wrote": ("lstm", _forget_on_the_new_cell),
    "LSTM shows the cell of one step ago": ("lstm", _peephole_to_the_old_cell),
    "GRU gates in the order of others (z, r, n)": ("gru", _rows((1, 0, 2), 3)),
    "GRU resets before the product": ("gru", _reset_before),
    "GRU keeps what it should replace": ("gru", _old_and_new_swapped),
    **{f"{cell} without bias_hh": (cell, _without(bias_hh=torch.zeros_like)) for cell in CELLS},
    **{f"{cell} with bias_ih twice": (cell, _without(bias_ih=lambda b: 2 * b)) for cell in CELLS},
    "rnn with its recurrent weights transposed": ("rnn", _without(weight_hh=lambda w: w.T)),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_recurrent_parity_notices_a_planted_error(plant, monkeypatch, record_property):
    cell, wrong = PLANTED[plant]
    theirs, ours, x, state = pair(cell, 2)
    with torch.no_grad():
        reference, _ = theirs(x, state)
        assert error(ours.trace(x, state).outputs, reference) <= FLOAT64
        monkeypatch.setitem(rnn.CELLS, cell, Cell(wrong(CELLS[cell].step), CELLS[cell].kernel))
        shifted = error(ours.trace(x, state).outputs, reference)
    record_property("planted", shifted)
    assert shifted > 1e-3

"""Recurrent networks: written-out cells against the kernel, causality, state, and the gradient against distance."""

import math

import pytest
import torch
from torch import nn

from genai_utils.autoregressive import rnn
from genai_utils.autoregressive.rnn import CELLS, Recurrent, Weights, detach, gradient_norms, lstm_step

GATES = {"rnn": set(), "gru": {"reset", "update", "candidate"}, "lstm": {"input", "forget", "candidate", "output"}}


def build(cell, n_layers=2, d_in=3, d_hidden=5, seed=0, scale=0.8):
    """A float64 network with weights far from zero."""
    torch.manual_seed(seed)
    model = Recurrent(cell, d_in, d_hidden, n_layers).double()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=scale)
    return model


def sequences(n=2, T=6, d_in=3, seed=1):
    return torch.randn(n, T, d_in, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def random_state(model, n=2, seed=2):
    g = torch.Generator().manual_seed(seed)
    shape = (model.n_layers, n, model.d_hidden)
    state = tuple(torch.randn(shape, dtype=torch.float64, generator=g).tanh() for _ in parts(model.start(n)))
    return state if model.cell == "lstm" else state[0]


def every_cell():
    return pytest.mark.parametrize("cell", CELLS)


@every_cell()
def test_outputs_have_their_shape_and_gradient_reaches_every_parameter(cell):
    model, x = build(cell), sequences()
    outputs, state = model(x)
    assert outputs.shape == (2, 6, 5) and all(part.shape == (2, 2, 5) for part in parts(state))
    assert torch.equal(parts(state)[0][-1], outputs[:, -1])
    outputs.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


@every_cell()
def test_outputs_see_every_earlier_input_and_none_after_their_place(cell):
    model, x = build(cell), sequences(n=1)
    outputs, _ = model(x)
    for j in range(6):
        changed = x.clone()
        changed[0, j] += 1
        difference = (model(changed)[0] - outputs)[0].abs().amax(1)
        assert torch.equal(difference[:j], torch.zeros(j, dtype=torch.float64)), f"input {j} leaks"
        assert (difference[j:] > 1e-9).all(), f"input {j} is not seen"


@every_cell()
def test_sequences_of_a_batch_do_not_meet(cell):
    model, x = build(cell), sequences(n=3)
    for outputs in (model(x)[0], model.trace(x).outputs):
        torch.testing.assert_close(outputs[1:2], model(x[1:2])[0], rtol=1e-12, atol=1e-12)


@every_cell()
def test_reading_in_pieces_with_the_state_equals_reading_at_once(cell):
    model, x = build(cell), sequences(T=9)
    whole, end = model(x)
    for read in (model, lambda piece, state: model.trace(piece, state)[:2]):
        state, pieces = None, []
        for piece in x.split([1, 3, 5], dim=1):
            outputs, state = read(piece, state)
            pieces.append(outputs)
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-12, atol=1e-12)
        for mine, theirs in zip(parts(state), parts(end)):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@every_cell()
def test_trace_holds_all_gates_of_all_layers_within_their_range(cell):
    model, x = build(cell), sequences()
    trace = model.trace(x, random_state(model))
    held = {"hidden", "cell"} if cell == "lstm" else {"hidden"}
    assert trace.gates.keys() == GATES[cell] | held
    for name, values in trace.gates.items():
        assert values.shape == (2, 6, 2, 5)
        if name in GATES[cell] - {"candidate"}:
            assert ((0 < values) & (values < 1)).all()
        elif name != "cell":
            assert (values.abs() < 1).all() and (values < 0).any()
    assert torch.equal(trace.gates["hidden"][:, :, 1], trace.outputs)
    for part, name in zip(parts(trace.state), ("hidden", "cell")):
        assert torch.equal(trace.gates[name][:, -1].transpose(0, 1), part)


def test_gates_of_a_trace_make_the_states_that_it_holds():
    """The recurrences of GRU and LSTM, from the gates alone: each gate has the meaning that its name says."""
    x = sequences()
    gates = build("lstm").trace(x).gates
    before = nn.functional.pad(gates["cell"][:, :-1], (0, 0, 0, 0, 1, 0))
    torch.testing.assert_close(gates["cell"], gates["forget"] * before + gates["input"] * gates["candidate"])
    torch.testing.assert_close(gates["hidden"], gates["output"] * gates["cell"].tanh())
    gates = build("gru").trace(x).gates
    before = nn.functional.pad(gates["hidden"][:, :-1], (0, 0, 0, 0, 1, 0))
    torch.testing.assert_close(gates["hidden"], torch.lerp(gates["candidate"], before, gates["update"]))


def test_lstm_keeps_its_cell_when_the_forget_gate_is_open_and_the_input_gate_shut():
    H = 4
    bias = torch.cat([torch.full((H,), b, dtype=torch.float64) for b in (-50.0, 50.0, 0.0, 0.0)])
    zeros = torch.zeros(4 * H, H, dtype=torch.float64)
    cell = torch.randn(1, H, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x_t = torch.ones(1, H, dtype=torch.float64)
    (hidden, kept), gates = lstm_step(x_t, (x_t, cell), Weights(zeros, zeros, bias, 0 * bias))
    torch.testing.assert_close(kept, cell)
    torch.testing.assert_close(hidden, 0.5 * cell.tanh())
    assert (gates["forget"] > 0.999).all() and (gates["input"] < 0.001).all()


@pytest.mark.parametrize("bias", [0.0, 1.0, 5.0])
def test_forget_bias_is_what_an_lstm_that_reads_nothing_adds(bias):
    model = Recurrent("lstm", 3, 5, n_layers=2, forget_bias=bias)
    for w in model.weights():
        forget = (w.bias_ih + w.bias_hh)[5:10]
        assert torch.equal(forget, torch.full((5,), bias))
        assert ((w.bias_ih + w.bias_hh)[:5] != bias).all() and ((w.bias_ih + w.bias_hh)[10:] != bias).all()
    torch.manual_seed(0)
    untouched = Recurrent("lstm", 3, 5)
    torch.manual_seed(0)
    assert all(torch.equal(a, b) for a, b in zip(untouched.parameters(), nn.LSTM(3, 5).parameters()))


def test_detached_state_has_the_same_values_and_no_past():
    for cell in CELLS:
        _, state = build(cell)(sequences())
        cut = detach(state)
        assert type(cut) is type(state)
        for before, after in zip(parts(state), parts(cut)):
            assert torch.equal(before, after) and before.requires_grad and not after.requires_grad
    assert detach(None) is None


# The gradient against distance


def one_step(model, x_t):
    """The state after one step as a function of the state before, both flat: by torch's kernel, not by our steps."""
    n = 2 if model.cell == "lstm" else 1
    shape = (n, model.n_layers, 1, model.d_hidden)

    def step(flat):
        state = tuple(flat.view(shape))
        _, state = model(x_t, state if n == 2 else state[0])
        return torch.stack(parts(state)).flatten()

    return step


@every_cell()
@pytest.mark.parametrize("n_layers", [1, 2])
def test_gradient_norms_are_those_of_the_product_of_the_jacobians_of_all_steps(cell, n_layers):
    """Reverse mode in one go against the chain rule, factor by factor."""
    model, x = build(cell, n_layers, d_hidden=4), sequences(T=5)
    start = random_state(model)
    found = gradient_norms(model, x, start)
    assert found.shape == (2, 6) and found.dtype == torch.float64 and not found.requires_grad
    for b in range(2):
        flat = torch.stack([part[:, b : b + 1] for part in parts(start)]).flatten()
        jacobians = []
        for x_t in x[b : b + 1].split(1, dim=1):
            jacobians.append(torch.autograd.functional.jacobian(one_step(model, x_t), flat))
            flat = one_step(model, x_t)(flat).detach()
        H, rows = 4, slice((n_layers - 1) * 4, n_layers * 4)  # the hidden state of the last layer
        product = torch.eye(len(flat), dtype=torch.float64)[rows]
        for k in range(6):
            expected = torch.linalg.svdvals(product)[0]
            torch.testing.assert_close(found[b, k], expected, rtol=1e-9, atol=1e-12)
            product = product @ jacobians[4 - k] if k < 5 else product
        assert H == model.d_hidden


def test_gradient_of_a_linear_recurrence_is_the_power_of_its_weights():
    """Near zero tanh is the identity: the norm at distance k is that of W^k, which grows or dies by its radius."""
    for radius in (0.5, 1.2):
        model = Recurrent("rnn", 1, 3).double()
        with torch.no_grad():
            for p in model.parameters():
                p.zero_()
            turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
            model.kernel.weight_hh_l0.copy_(radius * turn)
        norms = gradient_norms(model, torch.zeros(1, 20, 1))[0]
        torch.testing.assert_close(norms, radius ** torch.arange(21, dtype=torch.float64))


def test_open_forget_gate_carries_the_gradient_where_a_shut_one_lets_it_die():
    torch.manual_seed(0)
    far = {}
    for bias in (-5.0, 0.0, 5.0):
        model = Recurrent("lstm", 2, 8, forget_bias=bias)
        far[bias] = gradient_norms(model, sequences(n=4, T=60, d_in=2))[:, 40].median().item()
    assert far[-5.0] < 1e-12 and far[0.0] < 1e-6 and far[5.0] > 1e-2


def test_gradient_norms_leave_the_model_as_it_was_even_in_a_no_grad_block():
    model = build("gru").float().train()
    before = [p.clone() for p in model.parameters()]
    with torch.no_grad():
        norms = gradient_norms(model, sequences().float())
    assert norms.dtype == torch.float64 and (norms[:, 0] == 1).all() and model.training
    assert all(p.grad is None and p.requires_grad and torch.equal(p, b) for p, b in zip(model.parameters(), before))
    dropping = Recurrent("gru", 3, 5, n_layers=2, dropout=0.5)
    dropping.load_state_dict(model.state_dict())
    assert torch.equal(gradient_norms(dropping, sequences().float()), norms)


# Learning, and refusals


@every_cell()
def test_network_learns_to_recall_the_first_input(cell):
    torch.manual_seed(0)
    model, head = Recurrent(cell, 4, 16), nn.Linear(16, 4)
    labels = torch.arange(16) % 4
    x = torch.zeros(16, 6, 4)
    x[torch.arange(16), 0, labels] = 1
    opt = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=3e-2)
    for _ in range(90):
        loss = nn.functional.cross_entropy(head(model(x)[0][:, -1]), labels)
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss < 0.1 < math.log(4)


def test_dropout_acts_between_layers_in_training_only():
    torch.manual_seed(0)
    model, x = Recurrent("gru", 3, 5, n_layers=2, dropout=0.5).double(), sequences()
    assert not torch.equal(model(x)[0], model(x)[0])
    with pytest.raises(ValueError, match=r"drops 0.5; call .eval\(\) first"):
        model.trace(x)
    model.eval()
    torch.testing.assert_close(model.trace(x).outputs, model(x)[0], rtol=1e-12, atol=1e-12)
    assert torch.equal(Recurrent("gru", 3, 5, dropout=0.5).train()(x.float())[0].isfinite().all(), torch.tensor(True))


@pytest.mark.parametrize("wrong, message", [
    ({"cell": "tanh"}, "cell must be one of rnn, gru, lstm, got 'tanh'"), ({"d_in": 0}, "{'d_in': 0}"),
    ({"d_hidden": 0, "n_layers": 0}, "{'d_hidden': 0, 'n_layers': 0}"), ({"dropout": 1.0}, "got 1.0"),
    ({"forget_bias": 1.0, "cell": "gru"}, "give 'gru' no forget_bias, got 1.0"), ({"dropout": -0.1}, "got -0.1"),
])  # fmt: skip
def test_network_that_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Recurrent(**({"cell": "lstm", "d_in": 3, "d_hidden": 5} | wrong))


@pytest.mark.parametrize("read", [
    lambda m, x, s: m(x, s), lambda m, x, s: m.trace(x, s), lambda m, x, s: rnn.gradient_norms(m, x, s),
], ids=["forward", "trace", "gradient_norms"])  # fmt: skip
def test_input_or_state_that_does_not_fit_is_refused(read):
    lstm, gru, x = build("lstm"), build("gru"), sequences()
    h = torch.zeros(2, 2, 5, dtype=torch.float64)
    for model, wrong, state, message in [
        (lstm, x[0], None, r"x must be \(B, T, 3\) with T at least 1, got \(6, 3\)"),
        (gru, x[..., :2], None, r"got \(2, 6, 2\)"), (gru, x[:, :0], None, r"got \(2, 0, 3\)"),
        (lstm, x, h, r"a pair \(hidden, cell\), got Tensor"), (gru, x, (h, h), "one tensor, got tuple"),
        (lstm, x, (h, h[:1]), r"\(n_layers, B, H\) = \(2, 2, 5\), got \(1, 2, 5\)"),
        (gru, x[:1], h, r"= \(2, 1, 5\), got \(2, 2, 5\)"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            read(model, wrong, state)

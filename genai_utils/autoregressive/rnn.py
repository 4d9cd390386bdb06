"""Recurrent networks: the plain RNN, the GRU and the LSTM, each written out gate by gate and run on torch's kernel.

Sources: [RNN] Elman 1990, Finding structure in time, Cognitive Science 14(2), 179-211.
         [LSTM] Hochreiter & Schmidhuber 1997, Long short-term memory, Neural Computation 9(8), 1735-1780.
         [FORGET] Gers, Schmidhuber & Cummins 2000, Learning to forget, Neural Computation 12(10) (the forget gate).
         [GRU] Cho et al. 2014, arXiv:1406.1078, Sec. 2.3. [BIAS] Jozefowicz, Zaremba & Sutskever 2015, ICML (a forget
         bias of 1). [DROP] Zaremba, Sutskever & Vinyals 2014, arXiv:1409.2329 (dropout between layers only).
Shapes:  B batch, T steps of time, H width of the hidden state.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = Tensor | tuple[Tensor, Tensor]  # hidden, or (hidden, cell) of an LSTM


class Weights(NamedTuple):
    """The weights of one layer, named and laid out as in torch: the rows of all gates one below another."""

    weight_ih: Tensor  # (gates * H, width of the input)
    weight_hh: Tensor  # (gates * H, H)
    bias_ih: Tensor  # (gates * H,)
    bias_hh: Tensor  # (gates * H,)


def rnn_step(x_t: Tensor, hidden: Tensor, w: Weights) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the next hidden state (B, H) of a plain RNN, tanh(W x + U h + b), and a dict of no gates; [RNN].

    Args:
        x_t: (B, d_in), the input at one time.
        hidden: (B, H), in [-1, 1].
        w: of H rows.
    """
    return torch.tanh(F.linear(x_t, w.weight_ih, w.bias_ih) + F.linear(hidden, w.weight_hh, w.bias_hh)), {}


def gru_step(x_t: Tensor, hidden: Tensor, w: Weights) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the next hidden state (B, H) of a GRU and its gates.

    It is torch's GRU, which differs from [GRU] twice. The paper resets before the recurrent product, tanh(W x +
    U (r * h)); here r multiplies the product, so that one product serves all three rows, and `bias_hh` is reset too.
    And our update gate is the share of the *old* state that is kept, as in [GRU]; some other texts swap the two shares.

    Args:
        x_t: (B, d_in), the input at one time.
        hidden: (B, H), in [-1, 1].
        w: of 3H rows: reset, update, candidate.
    Returns:
        hidden, and {"reset", "update"} in (0, 1), {"candidate"} in (-1, 1), each (B, H).
    """
    x_r, x_z, x_n = F.linear(x_t, w.weight_ih, w.bias_ih).chunk(3, dim=1)
    h_r, h_z, h_n = F.linear(hidden, w.weight_hh, w.bias_hh).chunk(3, dim=1)
    r = torch.sigmoid(x_r + h_r)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return (1 - z) * n + z * hidden, {"reset": r, "update": z, "candidate": n}


def lstm_step(x_t: Tensor, state: tuple[Tensor, Tensor], w: Weights) -> tuple[tuple, dict[str, Tensor]]:
    """Return the next (hidden, cell) of an LSTM, each (B, H), and its gates; [LSTM] with the gate of [FORGET].

    Args:
        x_t: (B, d_in), the input at one time.
        state: (hidden, cell), each (B, H): hidden in [-1, 1], cell any number.
        w: of 4H rows: input, forget, candidate, output.
    Returns:
        (hidden, cell), and {"input", "forget", "output"} in (0, 1), {"candidate"} in (-1, 1), each (B, H).
    """
    hidden, cell = state
    rows = F.linear(x_t, w.weight_ih, w.bias_ih) + F.linear(hidden, w.weight_hh, w.bias_hh)
    i, f, g, o = rows.chunk(4, dim=1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    cell = f * cell + i * g  # d cell / d (cell before) = f, along this path: what the gate lets through
    return (o * torch.tanh(cell), cell), {"input": i, "forget": f, "candidate": g, "output": o}


class Cell(NamedTuple):
    """What a kind of cell is: its step and torch's kernel for it."""

    step: Callable
    kernel: type[nn.RNNBase]


CELLS = {"rnn": Cell(rnn_step, nn.RNN), "gru": Cell(gru_step, nn.GRU), "lstm": Cell(lstm_step, nn.LSTM)}


class Trace(NamedTuple):
    """All that a network held while it read."""

    outputs: Tensor  # (B, T, H), of the last layer
    state: State  # after the last step
    gates: dict[str, Tensor]  # by name, (B, T, n_layers, H): the gates of the cell, "hidden", and an LSTM's "cell"


class Recurrent(nn.Module):
    """outputs, state = recurrent(x, state): layers of one kind of cell, each reading what the one below holds.

    Args:
        cell: "rnn", "gru" or "lstm".
        d_in: width of an input, at least 1.
        d_hidden: H, at least 1.
        n_layers: at least 1.
        forget_bias: what an LSTM's forget gates add to their sum at the start; 1 is the advice of [BIAS]. None keeps
            torch's own start, uniform within 1 / sqrt(H) of 0.
        dropout: share of the numbers between two layers that is dropped in training, in [0, 1); [DROP].
    Raises:
        ValueError: an unknown cell, a size below 1, a dropout out of range, a forget bias for a cell without that gate.
    """

    def __init__(
        self,
        cell: str,
        d_in: int,
        d_hidden: int,
        n_layers: int = 1,
        forget_bias: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {cell!r}")
        if bad := {k: v for k, v in (("d_in", d_in), ("d_hidden", d_hidden), ("n_layers", n_layers)) if v < 1}:
            raise ValueError(f"sizes must be at least 1, got {bad}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        if forget_bias is not None and cell != "lstm":
            raise ValueError(f"only an LSTM has a forget gate; give {cell!r} no forget_bias, got {forget_bias}")
        self.cell, self.d_in, self.d_hidden, self.n_layers = cell, d_in, d_hidden, n_layers
        between = dropout if n_layers > 1 else 0.0
        self.kernel = CELLS[cell].kernel(d_in, d_hidden, n_layers, batch_first=True, dropout=between)
        if forget_bias is not None:
            with torch.no_grad():
                for w in self.weights():
                    w.bias_ih[d_hidden : 2 * d_hidden] = forget_bias
                    w.bias_hh[d_hidden : 2 * d_hidden] = 0.0

    def weights(self) -> list[Weights]:
        """Return each layer's weights, the parameters themselves."""
        names = Weights._fields
        return [Weights(*(getattr(self.kernel, f"{name}_l{k}") for name in names)) for k in range(self.n_layers)]

    def start(self, n: int) -> State:
        """Return the state of n sequences before anything was read: zeros (n_layers, n, H), a pair for an LSTM."""
        zeros = self.kernel.weight_hh_l0.new_zeros(self.n_layers, n, self.d_hidden)
        return (zeros, zeros.clone()) if self.cell == "lstm" else zeros

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read x (B, T, d_in) from `state` on; return outputs (B, T, H) of the last layer, and the state at the end.

        Args:
            x: (B, T, d_in), T at least 1.
            state: (n_layers, B, H), for an LSTM a pair of them (hidden, cell); None starts from zeros.
        Raises:
            ValueError: x or the state have another shape.
        """
        self._check(x, state)
        return self.kernel(x, state)

    def trace(self, x: Tensor, state: State | None = None) -> Trace:
        """Read x as `forward` does, by the steps written out above, and keep all gates; equal, but slower.

        Raises:
            ValueError: as in `forward`; a network in training mode that drops values at random.
        """
        self._check(x, state)
        if self.training and self.kernel.dropout:
            raise ValueError(f"a trace has no dropout, this network drops {self.kernel.dropout}; call .eval() first")
        step, names = CELLS[self.cell].step, ("hidden", "cell")
        states, layers = self._split(self.start(len(x)) if state is None else state), []
        for w, below in zip(self.weights(), states):
            held, outputs = [], []
            for x_t in x.unbind(1):
                below, gates = step(x_t, below, w)
                now = below if isinstance(below, tuple) else (below,)
                held.append(gates | dict(zip(names, now)))
                outputs.append(now[0])
            x = torch.stack(outputs, dim=1)  # (B, T, H): what the layer above reads
            layers.append((below, {name: torch.stack([at[name] for at in held], dim=1) for name in held[0]}))
        gates = {name: torch.stack([kept[name] for _, kept in layers], dim=2) for name in layers[0][1]}
        return Trace(x, self._join([last for last, _ in layers]), gates)

    def _split(self, state: State) -> list[State]:
        """Turn the state of all layers into a list of each layer's."""
        return list(zip(*state)) if self.cell == "lstm" else list(state)

    def _join(self, states: list[State]) -> State:
        if self.cell == "lstm":
            return tuple(torch.stack(part) for part in zip(*states))
        return torch.stack(states)

    def _check(self, x: Tensor, state: State | None) -> None:
        if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != self.d_in:
            raise ValueError(f"x must be (B, T, {self.d_in}) with T at least 1, got {tuple(x.shape)}")
        if state is None:
            return
        pair = isinstance(state, tuple)
        if pair != (self.cell == "lstm"):
            wanted = "a pair (hidden, cell)" if self.cell == "lstm" else "one tensor"
            raise ValueError(f"the state of {self.cell!r} is {wanted}, got {type(state).__name__}")
        wanted = (self.n_layers, len(x), self.d_hidden)
        for part in state if pair else (state,):
            if part.shape != wanted:
                raise ValueError(f"the state must be (n_layers, B, H) = {wanted}, got {tuple(part.shape)}")


def detach(state: State | None) -> State | None:
    """Return the state cut off from how it came about: no gradient goes back beyond it."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return None if state is None else state.detach()


def gradient_norms(model: Recurrent, x: Tensor, state: State | None = None) -> Tensor:
    """Return how strongly the last output depends on the state k steps earlier: (B, T + 1) float64, k = 0 ... T.

    Entry k is the largest singular value of d h_T / d s_{T-k}: h is the hidden state of the last layer, s the whole
    state of all layers (hidden, and an LSTM's cell), its parts varied one by one. It bounds by how much a change of
    size 1 there is felt here; 1 at k = 0. Exact: autograd through the steps written out, in float64.

    Args:
        model: any cell; its weights are copied, and get no gradient.
        x: (B, T, d_in).
        state: that the reading starts from; None: zeros. The last entry, k = T, is for this state.
    Raises:
        ValueError: as `Recurrent.forward`.
    """
    model._check(x, state)
    model = copy.deepcopy(model).double().eval().requires_grad_(False)
    parts = model.start(len(x)) if state is None else state
    parts = [part.detach().double() for part in (parts if isinstance(parts, tuple) else (parts,))]
    states = []  # before every step; each part (n_layers, B, H)
    with torch.enable_grad():
        for x_t in x.detach().double().split(1, dim=1):
            parts = [part.requires_grad_() for part in parts]  # one place of the graph: what follows reads only these
            states += parts
            now = model.trace(x_t, tuple(parts) if len(parts) > 1 else parts[0]).state
            parts = now if isinstance(now, tuple) else (now,)
        last = parts[0][-1]  # (B, H); sequences of a batch do not meet, so one row of gradients serves them all
        rows = torch.eye(model.d_hidden, dtype=last.dtype, device=last.device)[:, None].expand(-1, len(x), -1)
        found = torch.autograd.grad(last, states, rows, is_grads_batched=True)  # each (H, n_layers, B, H)
    n, norms = len(parts), [last.new_ones(len(x))]  # h_T depends on itself alone: k = 0
    for k in range(len(found) - n, -1, -n):
        jacobian = torch.cat(found[k : k + n], dim=1).permute(2, 0, 1, 3).flatten(2)  # (B, H, all of the state)
        norms.append(torch.linalg.matrix_norm(jacobian, ord=2))
    return torch.stack(norms, dim=1)

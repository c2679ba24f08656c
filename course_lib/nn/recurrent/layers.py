"""A cell, run over whole sequences. Two versions: `unroll` is the loop as one would say it; `LSTM` is the same for the LSTM, arranged to be fast.

What makes it fast is what a loop cannot see from inside. Going forward, the inputs' products do not depend on the state, so all steps are one
matrix multiplication. Going back, the gradients of the weights are sums over steps, so they are one multiplication each, after the loop. What stays
inside are one product with the state for each step each way, and elementwise arithmetic: backpropagation through time, as in `scratch.recurrent`,
with gates. (Gradients of gradients are not provided.)

Dimensions: N sequences, T steps, D inputs, H units. Parameters have nn.LSTM's names, shapes and order of gates, so either can load the other's.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

State = tuple[Tensor, Tensor]


def unroll(cell: Callable[..., Any], x: Tensor, state: Any, *params: Tensor) -> tuple[Tensor, Any]:
    """Run cell(x_t, state, *params) over x (N, T, D) → (states (N, T, H), the last state). Of an LSTM's pair, h is the one that is stacked."""
    states = []
    for t in range(x.size(1)):
        state = cell(x[:, t], state, *params)
        states.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(states, dim=1), state


class LSTM(nn.Module):
    """One layer, equal to nn.LSTM(inputs, hidden, batch_first=True) in parameters, values and gradients."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias_ih_l0 = nn.Parameter(torch.empty(4 * hidden))
        self.bias_hh_l0 = nn.Parameter(torch.empty(4 * hidden))
        for param in self.parameters():
            nn.init.uniform_(param, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """x (N, T, D), state (h, c), each (1, N, H), or None for zeros → (states (N, T, H), the last (h, c))."""
        if x.ndim != 3 or x.size(2) != self.inputs or x.size(1) == 0:
            raise ValueError(f"x must be (N, T, {self.inputs}) with at least one step, was given {tuple(x.shape)}")
        zeros = x.new_zeros(x.size(0), self.hidden)
        h, c = (zeros, zeros) if state is None else (state[0][0], state[1][0])
        from_x = F.linear(x.transpose(0, 1), self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)  # (T, N, 4H)
        hs, c = _Steps.apply(from_x, h, c, self.weight_hh_l0)  # type: ignore[misc]
        return hs.transpose(0, 1), (hs[-1:], c[None])


class _Steps(torch.autograd.Function):
    """from_x (T, N, 4H), h and c (N, H), weight_hh (4H, H) → hs (T, N, H), the last c (N, H)."""

    @staticmethod
    def forward(ctx: Any, from_x: Tensor, h: Tensor, c: Tensor, weight_hh: Tensor) -> State:
        steps, rows, width = from_x.size(0), h.size(0), h.size(1)
        gates = torch.empty_like(from_x)  # i, f, g, o of every step, after their squashing
        hs, cs = h.new_empty(steps + 1, rows, width), c.new_empty(steps + 1, rows, width)  # entry 0 is the first state
        squashed = h.new_empty(steps, rows, width)  # tanh(c)
        hs[0], cs[0] = h, c
        to_gates = weight_hh.t()
        for t in range(steps):
            torch.addmm(from_x[t], hs[t], to_gates, out=gates[t])
            gates[t, :, : 2 * width].sigmoid_()
            gates[t, :, 2 * width : 3 * width].tanh_()
            gates[t, :, 3 * width :].sigmoid_()
            i, f, g, o = gates[t].chunk(4, dim=1)
            torch.mul(f, cs[t], out=cs[t + 1]).addcmul_(i, g)
            torch.tanh(cs[t + 1], out=squashed[t])
            torch.mul(o, squashed[t], out=hs[t + 1])
        ctx.save_for_backward(gates, hs, cs, squashed, weight_hh)
        return hs[1:].clone(), cs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_hs: Tensor, grad_c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # type: ignore[override]
        gates, hs, cs, squashed, weight_hh = ctx.saved_tensors
        steps, rows, width = squashed.shape
        grad_gates = torch.empty_like(gates)  # of the gates before their squashing
        grad_c, later = grad_c.clone(), torch.zeros_like(grad_c)
        for t in reversed(range(steps)):
            i, f, g, o = gates[t].chunk(4, dim=1)
            grad_h = grad_hs[t] + later  # asked for here, and by later steps
            grad_c.addcmul_(grad_h * o, 1 - squashed[t].square())
            grad_i, grad_f, grad_g, grad_o = grad_gates[t].chunk(4, dim=1)
            torch.mul(grad_c * g, i * (1 - i), out=grad_i)
            torch.mul(grad_c * cs[t], f * (1 - f), out=grad_f)
            torch.mul(grad_c * i, 1 - g.square(), out=grad_g)
            torch.mul(grad_h * squashed[t], o * (1 - o), out=grad_o)
            later = grad_gates[t] @ weight_hh
            grad_c *= f  # no matrix on this line: what is kept, keeps its gradient
        grad_weight = grad_gates.reshape(steps * rows, -1).t() @ hs[:-1].reshape(steps * rows, width)
        return grad_gates, later, grad_c, grad_weight

"""One step of three recurrent networks, as torch computes it.

rnn_cell   Elman (1990), "Finding structure in time"
lstm_cell  Hochreiter and Schmidhuber (1997), "Long short-term memory", with the forget gate of Gers, Schmidhuber and Cummins (2000)
gru_cell   Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder", in the form of cuDNN and torch

Parameters are torch's, so that the same state dict serves both: weight_ih (G·H, D), weight_hh (G·H, H), bias_ih and bias_hh (G·H,), where G is 1, 4
or 3 and the parts stand below one another in the order of the docstrings.

Dimensions: N sequences, D inputs, H units, G gates.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def rnn_cell(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    """x (N, D), h (N, H) → the next h (N, H)."""
    return torch.tanh(F.linear(x, weight_ih, bias_ih) + F.linear(h, weight_hh, bias_hh))


def lstm_cell(
    x: Tensor, state: tuple[Tensor, Tensor], weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, Tensor]:
    """x (N, D), state (h, c), both (N, H) → the next (h, c). Order of the parts: input gate, forget gate, candidate, output gate.

    c' = f · c + i · g and h' = o · tanh(c'): the cell is changed by adding, and what it keeps is multiplied by f alone, by no matrix.
    """
    h, c = state
    i, f, g, o = (F.linear(x, weight_ih, bias_ih) + F.linear(h, weight_hh, bias_hh)).chunk(4, dim=1)  # four (N, H)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_cell(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    """x (N, D), h (N, H) → the next h (N, H). Order of the parts: reset gate, update gate, candidate.

    The reset gate multiplies the product of the state, bias included, and not the state itself as in the paper: n = tanh(W x + r · (U h + b)). Then
    the product for all three parts is one matrix multiplication. h' = (1 - z) · n + z · h: here z near 1 keeps, as in the paper; others have it the
    other way round.
    """
    from_x, from_h = F.linear(x, weight_ih, bias_ih), F.linear(h, weight_hh, bias_hh)  # (N, 3H)
    (xr, xz, xn), (hr, hz, hn) = from_x.chunk(3, dim=1), from_h.chunk(3, dim=1)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    n = torch.tanh(xn + r * hn)
    return n + z * (h - n)  # (1 - z) · n + z · h, with one multiplication less

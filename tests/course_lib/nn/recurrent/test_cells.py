"""Cells and layers against torch's, in values and gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from course_lib.nn.recurrent.cells import gru_cell, lstm_cell, rnn_cell
from course_lib.nn.recurrent.layers import LSTM, unroll

CELLS = [(rnn_cell, nn.RNN), (gru_cell, nn.GRU), (lstm_cell, nn.LSTM)]


@pytest.mark.parametrize(("cell", "layer"), CELLS, ids=lambda item: item.__name__)
@given(rows=st.integers(1, 4), steps=st.integers(1, 8), inputs=st.integers(1, 4), hidden=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_cell_in_a_loop_is_torchs_layer_in_values_and_gradients(cell, layer, rows, steps, inputs, hidden, seed):
    torch.manual_seed(seed)
    theirs = layer(inputs, hidden, batch_first=True).double()
    params = [param.detach().clone().requires_grad_() for param in theirs.parameters()]
    x = torch.randn(rows, steps, inputs, dtype=torch.float64)
    first = [torch.randn(rows, hidden, dtype=torch.float64).requires_grad_() for _ in range(2 if layer is nn.LSTM else 1)]
    wanted_states, last = theirs(x, tuple(part[None] for part in first) if layer is nn.LSTM else first[0][None])
    states, state = unroll(cell, x, tuple(first) if layer is nn.LSTM else first[0], *params)
    torch.testing.assert_close(states, wanted_states, rtol=1e-10, atol=1e-10)
    for found, wanted in zip(state if layer is nn.LSTM else [state], last if layer is nn.LSTM else [last], strict=True):
        torch.testing.assert_close(found, wanted[0], rtol=1e-10, atol=1e-10)
    grad = torch.randn_like(states)
    ours = torch.autograd.grad(states, [*params, *first], grad)
    wanted = torch.autograd.grad(wanted_states, [*theirs.parameters(), *first], grad)
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)


@given(rows=st.integers(1, 4), steps=st.integers(1, 8), inputs=st.integers(1, 4), hidden=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_fast_lstm_is_torchs_in_values_and_gradients_whatever_the_loss_looks_at(rows, steps, inputs, hidden, seed):
    torch.manual_seed(seed)
    theirs, ours = nn.LSTM(inputs, hidden, batch_first=True).double(), LSTM(inputs, hidden).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(rows, steps, inputs, dtype=torch.float64).requires_grad_()
    first = tuple(torch.randn(1, rows, hidden, dtype=torch.float64).requires_grad_() for _ in range(2))
    weights = [torch.randn(rows, steps, hidden, dtype=torch.float64), *(torch.randn(1, rows, hidden, dtype=torch.float64) for _ in range(2))]
    grads = []
    for layer in (ours, theirs):
        states, last = layer(x, first)
        loss = sum((part * weight).sum() for part, weight in zip((states, *last), weights, strict=True))
        grads.append((states, *last, *torch.autograd.grad(loss, [*layer.parameters(), x, *first])))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-9, atol=1e-9)


def test_without_a_state_the_fast_lstm_begins_at_zero():
    theirs, ours = nn.LSTM(3, 4, batch_first=True), LSTM(3, 4)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_fast_lstm_is_that_of_central_differences():
    torch.manual_seed(0)
    layer = LSTM(2, 3).double()
    x = torch.randn(2, 4, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


def test_papers_gru_is_another_network_than_torchs():
    torch.manual_seed(0)
    params = [torch.randn(9, 2), torch.randn(9, 3), torch.randn(9), torch.randn(9)]
    x, h = torch.randn(4, 2), torch.randn(4, 3)
    r, z = torch.sigmoid(x @ params[0][:6].T + params[2][:6] + h @ params[1][:6].T + params[3][:6]).chunk(2, dim=1)
    n = torch.tanh(x @ params[0][6:].T + params[2][6:] + (r * h) @ params[1][6:].T + params[3][6:])
    assert ((1 - z) * n + z * h - gru_cell(x, h, *params)).abs().max() > 0.01


def test_a_wrong_shape_is_refused_in_words():
    with pytest.raises(ValueError, match=r"x must be \(N, T, 3\) with at least one step, was given \(2, 3\)"):
        LSTM(3, 4)(torch.zeros(2, 3))


@pytest.mark.gpu
def test_on_a_gpu_the_fast_lstm_gives_what_it_gives_on_the_processor():
    torch.manual_seed(0)
    layer, x = LSTM(3, 4).double(), torch.randn(2, 6, 3, dtype=torch.float64)
    wanted = layer(x)[0].detach()
    torch.testing.assert_close(layer.cuda()(x.cuda())[0].cpu(), wanted, rtol=1e-9, atol=1e-9)

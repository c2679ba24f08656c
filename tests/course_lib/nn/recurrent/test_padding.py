"""A padded batch against a packed one and against each row alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from course_lib.nn.recurrent.cells import gru_cell
from course_lib.nn.recurrent.padding import last_real, pad, real_steps, run_padded


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 99))
def test_a_masked_loop_is_torchs_packed_batch_in_values_and_gradients(counts, seed):
    torch.manual_seed(seed)
    layer = nn.GRU(3, 4, batch_first=True).double()
    params = [param.detach().clone().requires_grad_() for param in layer.parameters()]
    x, lengths = pad([torch.randn(count, 3, dtype=torch.float64) for count in counts])
    states, last = run_padded(lambda x_t, h: gru_cell(x_t, h, *params), x, lengths, x.new_zeros(len(counts), 4))
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    out, wanted_last = layer(packed)
    wanted = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)[0]
    torch.testing.assert_close(states, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(last, wanted_last[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(last_real(states, lengths), last, rtol=1e-10, atol=1e-10)
    weight = torch.randn_like(last)
    ours, theirs = torch.autograd.grad((last * weight).sum(), params), torch.autograd.grad((wanted_last[0] * weight).sum(), list(layer.parameters()))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_real_steps_counts_as_many_as_the_length_says():
    assert real_steps(torch.tensor([1, 3, 2]), 4).sum(dim=1).tolist() == [1, 3, 2]


@pytest.mark.parametrize("lengths", [[0, 2], [3, 1], [1]])
def test_lengths_that_do_not_fit_are_refused(lengths):
    with pytest.raises(ValueError, match="wanted 2 lengths from 1 to 2"):
        last_real(torch.zeros(2, 2, 5), torch.tensor(lengths))


def test_an_empty_sequence_is_refused():
    with pytest.raises(ValueError, match="not empty"):
        pad([torch.zeros(0, 3)])

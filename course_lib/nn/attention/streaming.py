"""Attention over keys that come in blocks, in memory that does not grow with their number.

The softmax of a row needs the row's maximum and sum, which are known only at the end. But both can be kept up to date while blocks come in, and what
was mixed so far can be shrunk when a larger maximum turns up (Milakov and Gimelshein, 2018; Rabe and Staats, 2021; it is what FlashAttention, Dao et
al., 2022, does in the fast memory of a GPU).

Dimensions: Tq queries, Tk keys, D width, Dv width of a value; "..." any leading axes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.nn.attention.scores import dot_scores


class Mixed(NamedTuple):
    """What is known of each query after some of the keys.

    maximum (..., Tq): the largest score so far
    total (..., Tq): sum of exp(score - maximum) so far
    mixed (..., Tq, Dv): sum of exp(score - maximum) · value so far
    """

    maximum: Tensor
    total: Tensor
    mixed: Tensor


def nothing_yet(query: Tensor, value_dim: int) -> Mixed:
    """The state before the first key."""
    rows = query.shape[:-1]
    return Mixed(query.new_full(rows, float("-inf")), query.new_zeros(rows), query.new_zeros(*rows, value_dim))


def absorb(state: Mixed, query: Tensor, key: Tensor, value: Tensor) -> Mixed:
    """The state after another block: query (..., Tq, D), key (..., Tk, D), value (..., Tk, Dv), Tk at least 1."""
    scores = dot_scores(query, key)  # (..., Tq, Tk), of this block alone
    maximum = torch.maximum(state.maximum, scores.amax(-1))
    shrink = torch.exp(state.maximum - maximum)  # 1 where the maximum stands, 0 for the first block
    weights = torch.exp(scores - maximum.unsqueeze(-1))
    total = shrink * state.total + weights.sum(-1)
    return Mixed(maximum, total, shrink.unsqueeze(-1) * state.mixed + weights @ value)


def streamed_attention(query: Tensor, key: Tensor, value: Tensor, block_size: int = 256) -> Tensor:
    """attention(query, key, value), holding at most (..., Tq, block_size) scores at a time."""
    if block_size < 1:
        raise ValueError(f"wanted a block_size of at least 1, was given {block_size}")
    state = nothing_yet(query, value.size(-1))
    for keys, values in zip(key.split(block_size, -2), value.split(block_size, -2), strict=True):
        state = absorb(state, query, keys, values)
    return state.mixed / state.total.unsqueeze(-1)

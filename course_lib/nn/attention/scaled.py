"""Scaled dot-product attention (Vaswani et al., 2017, section 3.2.1), twice.

`attention` spells the formula out; `fused_attention` hands it to torch's kernel, which never builds the table of weights. They agree to 1e-6.
In both, True in a mask means "may attend", and a query with nothing to attend to gets zeros, and finite gradients.

Dimensions: B batch, H heads, Tq queries, Tk keys, D width of a head, Dv width of a value.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.nn.attention.masks import causal_mask
from course_lib.nn.attention.scores import dot_scores


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax over the last axis, among the places where mask is True; all others get 0. A row without any True is all zeros.

    scores (..., Tq, Tk); mask bool, broadcasts to it → weights (..., Tq, Tk)
    The lowest finite number stands in for -inf, since a row of -inf alone is 0/0, in the softmax and in its gradient; what such a row gets
    instead, equal weights, is set to 0 together with all that is masked.
    """
    if mask is None:
        return scores.softmax(-1)
    check_mask(mask)
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~mask, 0.0)


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
    """How much each query takes of each key's value: (B, H, Tq, Tk), every row adds up to 1, or to 0 where nothing may be attended to."""
    return masked_softmax(dot_scores(query, key), mask)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mix values by how well each query matches each key.

    query (B, H, Tq, D), key (B, H, Tk, D), value (B, H, Tk, Dv) → (B, H, Tq, Dv); any leading axes will do.
    mask broadcasts to (B, H, Tq, Tk); True means "may attend".
    """
    return attention_weights(query, key, mask) @ value


def fused_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
    """The same through torch's kernel, with memory linear in Tk where the kernel can.

    causal: each query also sees no later position than its own, the queries being the last Tq of the Tk positions. torch's own `is_causal` takes
    them for the first Tq, so it is used only where that is the same.
    """
    if mask is not None:
        check_mask(mask)
    num_queries, num_keys = query.size(-2), key.size(-2)
    if causal and num_queries == num_keys and mask is None:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    if causal and num_queries != 1:  # a single query is the last token, which sees everything
        earlier = causal_mask(num_queries, num_keys, device=query.device)
        mask = earlier if mask is None else mask & earlier
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def check_mask(mask: Tensor) -> None:
    """ValueError for a mask of numbers: whether 0 or 1 or -inf hides is what nobody can see from outside."""
    if mask.dtype != torch.bool:
        raise ValueError(f"wanted a mask of True (may attend) and False, was given {mask.dtype}")

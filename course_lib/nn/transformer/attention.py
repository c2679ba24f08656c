"""Multi-head attention (Vaswani et al., 2017, section 3.2.2) with torch's kernel and with torch's parameter names.

The names are those of `nn.MultiheadAttention`, so weights travel between the two by `load_state_dict`, and where queries, keys and values read one
sequence their three maps are one product: that is what sets this class apart from the plainer one of `course_lib.nn.attention`. A mask says who may
attend.

Dimensions: B batch, Tq queries, Tk keys, W width, H heads, D = W / H width of a head.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.nn.attention.multihead import merge_heads, split_heads
from course_lib.nn.attention.scaled import attention_weights


class MultiHeadAttention(nn.Module):
    """Every query looks into `memory` with H heads at once. Parameters: in_proj_weight (3W, W), in_proj_bias (3W,), out_proj."""

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")
        self.num_heads, self.dropout = num_heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # query, key, value, one below the other
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, queries: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """queries (B, Tq, W), memory (B, Tk, W) → (B, Tq, W).

        mask: booleans that broadcast to (B, Tq, Tk); True means "may attend". Every query needs a key that it may attend to.
        """
        query, key, value = self._project(queries, memory)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, None if mask is None else _for_heads(mask), dropout)  # (B, H, Tq, D)
        return self.out_proj(merge_heads(mixed))  # (B, Tq, W)

    def weights(self, queries: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """How much each query takes from each key: (B, H, Tq, Tk), every row adds up to 1. Arguments as for `forward`; without dropout."""
        query, key, _ = self._project(queries, memory)
        return attention_weights(query, key, None if mask is None else _for_heads(mask))

    def _project(self, queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """→ query (B, H, Tq, D), key and value (B, H, Tk, D)."""
        width = queries.size(-1)
        if queries is memory:
            parts = F.linear(queries, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        else:
            query = F.linear(queries, self.in_proj_weight[:width], self.in_proj_bias[:width])
            parts = (query, *F.linear(memory, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, -1))
        query, key, value = (split_heads(part, self.num_heads) for part in parts)
        return query, key, value


def _for_heads(mask: Tensor) -> Tensor:
    """A mask that broadcasts to (B, Tq, Tk), as one that broadcasts to (B, H, Tq, Tk)."""
    return mask.unsqueeze(-3) if mask.ndim == 3 else mask


@contextmanager
def recorded(modules: Iterable[MultiHeadAttention]) -> Iterator[list[Tensor]]:
    """Collect the weights of every call of these modules while the block runs, in the order of the calls: each (B, H, Tq, Tk)."""
    found: list[Tensor] = []

    def keep(module: Any, arguments: tuple, named: dict, _output: Tensor) -> None:
        with torch.no_grad():
            found.append(module.weights(*arguments, **named))

    hooks = [module.register_forward_hook(keep, with_kwargs=True) for module in modules]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()

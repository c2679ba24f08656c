"""How well does a query match a key? Two answers.

Additive (Bahdanau, Cho and Bengio, 2015, appendix A.1.2): a small network looks at the pair. Dot product (Luong et al., 2015; Vaswani et al., 2017,
section 3.2.1): one matrix product for all pairs, divided by √D so that the spread of the scores does not grow with the width D.

Dimensions: Tq queries, Tk keys, D width, U hidden units of the additive network; "..." any leading axes that broadcast (batch, heads).
"""

import math

import torch
from torch import Tensor, nn


def dot_scores(query: Tensor, key: Tensor, *, scaled: bool = True) -> Tensor:
    """query (..., Tq, D), key (..., Tk, D) → (..., Tq, Tk), divided by √D unless scaled is False."""
    if query.size(-1) != key.size(-1):
        raise ValueError(f"queries have width {query.size(-1)} and keys {key.size(-1)}; a dot product wants the same")
    if scaled:
        query = query / math.sqrt(query.size(-1))  # before the product: Tq·D divisions and not Tq·Tk, and half precision overflows later
    return query @ key.transpose(-2, -1)


def additive_scores(query: Tensor, key: Tensor, w_query: Tensor, w_key: Tensor, v: Tensor) -> Tensor:
    """score(q, k) = v · tanh(q w_query + k w_key), for every pair.

    query (..., Tq, Dq), key (..., Tk, Dk), w_query (Dq, U), w_key (Dk, U), v (U,) → (..., Tq, Tk).
    The widths of queries and keys may differ. All Tq·Tk·U numbers under the tanh exist at once.
    """
    asked = (query @ w_query).unsqueeze(-2)  # (..., Tq, 1, U)
    offered = (key @ w_key).unsqueeze(-3)  # (..., 1, Tk, U)
    return torch.tanh(asked + offered) @ v  # (..., Tq, Tk)


class AdditiveScores(nn.Module):
    """additive_scores with parameters of its own, drawn as nn.Linear draws them."""

    def __init__(self, query_dim: int, key_dim: int, hidden_dim: int):
        super().__init__()
        self.query = nn.Linear(query_dim, hidden_dim, bias=False)
        self.key = nn.Linear(key_dim, hidden_dim, bias=False)
        self.out = nn.Linear(hidden_dim, 1, bias=False)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """query (..., Tq, Dq), key (..., Tk, Dk) → (..., Tq, Tk)."""
        return additive_scores(query, key, self.query.weight.T, self.key.weight.T, self.out.weight[0])

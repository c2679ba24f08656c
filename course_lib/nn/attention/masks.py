"""Who may look at whom. True means "may attend", everywhere in this course and in torch's scaled_dot_product_attention.

torch's nn.MultiheadAttention and nn.Transformer mean the opposite: there, True hides. `hidden(mask)` is for them.

Dimensions: B batch, Tq queries, Tk keys.
"""

import torch
from torch import Tensor


def causal_mask(num_queries: int, num_keys: int | None = None, *, device: torch.device | str | None = None) -> Tensor:
    """A token looks at itself and at what came before: (Tq, Tk), True where it may.

    The queries are the **last** Tq of the Tk positions, as when new tokens are read after cached ones: query i stands at position i + Tk - Tq.
    (`is_causal=True` of scaled_dot_product_attention takes them for the first.) With Tq > Tk the first Tq - Tk rows have nothing to look at.
    """
    num_keys = num_queries if num_keys is None else num_keys
    if num_queries < 0 or num_keys < 0:
        raise ValueError(f"wanted counts of at least 0, was given {num_queries} queries and {num_keys} keys")
    return torch.ones(num_queries, num_keys, dtype=torch.bool, device=device).tril(num_keys - num_queries)


def padding_mask(lengths: Tensor, num_keys: int) -> Tensor:
    """lengths (B,) → (B, 1, 1, Tk), True on the first `lengths[b]` keys of row b: broadcasts over heads and queries."""
    if lengths.ndim != 1 or (len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= num_keys):
        raise ValueError(f"wanted lengths (B,) between 0 and {num_keys}, was given {lengths.tolist()}")
    places = torch.arange(num_keys, device=lengths.device)
    return (places < lengths[:, None])[:, None, None, :]


def hidden(mask: Tensor) -> Tensor:
    """The same mask for nn.MultiheadAttention and nn.Transformer, where True means "may not attend"."""
    if mask.dtype != torch.bool:
        raise ValueError(f"wanted a mask of True and False, was given {mask.dtype}")
    return ~mask

"""Where a token stands, as numbers that are added to what it is: fixed waves (Vaswani et al., 2017, section 3.5) or a learnt table.

Attention alone treats a sequence as a set. With these numbers added, equal tokens at different places are different.

Dimensions: B batch, T time (tokens), W width.
"""

import torch
from torch import Tensor, nn


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """→ (T, W) float32; row t holds sin and cos of t · 10000^(-2i/W) at places 2i and 2i + 1, for any t from 0 on. W must be even.

    From place to place the waves turn: the row of t + k is the row of t, turned by angles that depend on k alone.
    """
    if length < 0 or width < 2 or width % 2:
        raise ValueError(f"wanted a length of at least 0 and an even width of at least 2, was given {length} and {width}")
    places = torch.arange(length, dtype=torch.float64)[:, None]  # (T, 1)
    rates = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)  # (W / 2,) radians a place
    angles = places * rates  # (T, W / 2)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).float()  # (T, W)


class LearnedPositions(nn.Module):
    """A row of parameters for each place up to max_len; parameters: weight (max_len, W)."""

    def __init__(self, max_len: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(max_len, width))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, W) → (B, T, W), T at most max_len: a place that was never trained has no row."""
        if x.size(1) > len(self.weight):
            raise ValueError(f"{x.size(1)} tokens are more than the {len(self.weight)} places that have been learnt")
        return x + self.weight[: x.size(1)]

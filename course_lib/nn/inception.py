"""A block of several branches (Szegedy et al., 2015, "Going deeper with convolutions", figure 2b): small and large kernels side by side.

The cheap 1 × 1 convolutions before the large kernels narrow the picture's channels first, so that 5 × 5 does not cost 25 times as much.

Dimensions: N pictures, C channels, H × W pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class InceptionConfig:
    """Channels of every convolution: one (1 × 1), reduce3 → three (3 × 3), reduce5 → five (5 × 5), pool (1 × 1 after pooling)."""

    in_channels: int
    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: int

    @property
    def out_channels(self) -> int:
        """Of all branches together."""
        return self.one + self.three + self.five + self.pool


class Inception(nn.Module):
    """x (N, in_channels, H, W) → (N, out_channels, H, W): the four branches' channels, one after the other."""

    def __init__(self, config: InceptionConfig):
        super().__init__()
        self.one = nn.Conv2d(config.in_channels, config.one, 1)
        self.reduce3 = nn.Conv2d(config.in_channels, config.reduce3, 1)
        self.three = nn.Conv2d(config.reduce3, config.three, 3, padding=1)
        self.reduce5 = nn.Conv2d(config.in_channels, config.reduce5, 1)
        self.five = nn.Conv2d(config.reduce5, config.five, 5, padding=2)
        self.pool = nn.Conv2d(config.in_channels, config.pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = (
            self.one(x),
            self.three(F.relu(self.reduce3(x))),
            self.five(F.relu(self.reduce5(x))),
            self.pool(F.max_pool2d(x, 3, stride=1, padding=1)),
        )
        return F.relu(torch.cat(branches, dim=1))

"""How much of the picture one number of a feature map can see: by counting, and measured with gradients.

Counting goes through the layers in order and keeps two numbers: `field`, how many pixels wide the view is, and `jump`, how many pixels lie between
the views of two neighbours. A layer whose kernel covers c = dilation (kernel - 1) + 1 of its inputs widens the field by (c - 1) jump and multiplies
the jump by its stride. (Araujo, Norris and Sim, 2019, "Computing receptive fields of convolutional neural networks".)
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Window:
    """How a layer looks at its input along one axis: a convolution or a pooling."""

    kernel: int
    stride: int = 1
    dilation: int = 1


def receptive_field(layers: Iterable[Window]) -> tuple[int, int]:
    """Along one axis, in pixels of the picture: (field of one number of the last layer, distance between neighbours' fields)."""
    field, jump = 1, 1
    for layer in layers:
        field += layer.dilation * (layer.kernel - 1) * jump
        jump *= layer.stride
    return field, jump


def seen_pixels(net: nn.Module, size: int, channels: int = 1, row: int | None = None, column: int | None = None) -> Tensor:
    """Which pixels of a size × size picture reach one number of the last map, by the gradient: (size, size), 0 where none does.

    The picture is of random numbers, and the gradient's size is summed over its channels and over 8 draws, so that a closed ReLU or a pooling that
    chose otherwise does not hide a pixel. row, column: which number of the map, the middle one by default.
    """
    generator = torch.Generator().manual_seed(0)
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    total = torch.zeros(size, size, device=device)
    for _ in range(8):
        x = torch.randn(64, channels, size, size, generator=generator).to(device).requires_grad_()
        maps = net(x)  # (64, C, P, Q)
        middle_row = maps.shape[2] // 2 if row is None else row
        middle_column = maps.shape[3] // 2 if column is None else column
        (slopes,) = torch.autograd.grad(maps[:, :, middle_row, middle_column].sum(), x)
        total += slopes.abs().sum(dim=(0, 1))
    return total


def extent(seen: Tensor) -> tuple[int, int]:
    """Height and width of the smallest rectangle around all entries of seen (H, W) that are not 0."""
    rows, columns = (seen.sum(dim=axis).nonzero().flatten() for axis in (1, 0))
    if len(rows) == 0:
        return 0, 0
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1

"""Small convolutional networks, and the fully connected ones of equal size that they are compared with.

`LeNet` follows LeCun, Bottou, Bengio and Haffner (1998), "Gradient-based learning applied to document recognition", in its layers and widths, with
what has become usual since: ReLU for tanh, max pooling for a scaled mean, every map of the second convolution looks at all of the first, logits at
the end.

Dimensions: N pictures, C channels, H × W pixels, K classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class LeNetConfig:
    """size: height and width of the pictures in pixels, 16 or more; channels: of the pictures; widths: of the two convolutions and the two layers."""

    size: int = 28
    channels: int = 1
    classes: int = 10
    widths: tuple[int, int, int, int] = (6, 16, 120, 84)

    def __post_init__(self) -> None:
        if self.size < 16 or min(self.channels, self.classes, *self.widths) < 1:
            raise ValueError(f"wanted pictures of at least 16 × 16 pixels and counts of at least 1, was given {self}")

    @property
    def features(self) -> int:
        """How many numbers are left of a picture after the second pooling."""
        side = (self.size // 2 - 4) // 2
        return self.widths[1] * side * side


class LeNet(nn.Module):
    """x (N, C, H, W) → logits (N, K): two convolutions with pooling, then three affine layers. 61,706 parameters as it stands."""

    def __init__(self, config: LeNetConfig | None = None):
        super().__init__()
        config = config or LeNetConfig()
        first, second, third, fourth = config.widths
        self.conv1 = nn.Conv2d(config.channels, first, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(first, second, kernel_size=5)
        self.fc1 = nn.Linear(config.features, third)
        self.fc2 = nn.Linear(third, fourth)
        self.fc3 = nn.Linear(fourth, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)  # (N, 6, 14, 14) of 28 × 28 pixels
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # (N, 16, 5, 5)
        x = F.relu(self.fc1(x.flatten(1)))  # the pictures stay apart: only what follows the first axis is flattened
        return self.fc3(F.relu(self.fc2(x)))


class SmallCNN(nn.Module):
    """For pictures of 8 × 8 pixels, too small for LeNet: x (N, C, 8, 8) → logits (N, K).

    Three 3 × 3 convolutions with batch normalisation, a pooling after the second, the mean of every map at the end, one affine layer.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 24):
        super().__init__()
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(((channels, width), (width, width), (width, 2 * width))):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            if number == 1:
                layers.append(nn.MaxPool2d(2))
        self.maps = nn.Sequential(*layers)
        self.classify = nn.Linear(2 * width * 2 * 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(F.avg_pool2d(self.maps(x), 2).flatten(1))


def equal_mlp(net: nn.Module, pixels: int, classes: int) -> nn.Sequential:
    """A fully connected network pixels → W → W → classes with ReLU, of the width W whose number of parameters is nearest to that of `net`.

    x (N, C, H, W) with C·H·W = pixels → logits (N, classes)
    """
    wanted = sum(p.numel() for p in net.parameters())

    def count(width: int) -> int:
        return (pixels + 1) * width + (width + 1) * width + (width + 1) * classes

    width = 1
    while count(width + 1) <= wanted:
        width += 1
    if abs(count(width + 1) - wanted) < abs(count(width) - wanted):
        width += 1
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))


def shifted(x: Tensor, right: int = 0, down: int = 0) -> Tensor:
    """Pictures x (N, C, H, W) moved by whole pixels; zeros come in at the edge, what leaves at the other is lost."""
    if abs(right) > x.shape[-1] or abs(down) > x.shape[-2]:
        raise ValueError(f"a shift by ({right}, {down}) leaves nothing of {x.shape[-1]} × {x.shape[-2]} pixels")
    moved = torch.zeros_like(x)
    height, width = x.shape[-2:]
    to_rows, from_rows = slice(max(down, 0), height + min(down, 0)), slice(max(-down, 0), height + min(-down, 0))
    to_columns, from_columns = slice(max(right, 0), width + min(right, 0)), slice(max(-right, 0), width + min(-right, 0))
    moved[..., to_rows, to_columns] = x[..., from_rows, from_columns]
    return moved


def randomly_shifted(x: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Every picture of x (N, C, H, W) moved on its own, by up to `most` pixels along either axis."""
    steps = torch.randint(-most, most + 1, (len(x), 2), generator=generator)
    return torch.stack([shifted(picture, int(right), int(down)) for picture, (right, down) in zip(x, steps, strict=True)])

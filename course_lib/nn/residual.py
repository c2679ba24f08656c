"""The residual block and a small residual network (He, Zhang, Ren and Sun, 2016, "Deep residual learning for image recognition").

A block computes relu(x + F(x)): the layers F learn what to change, and where there is nothing to change, weights of zero will do. The gradient has
a way back on which nothing multiplies it. Where F halves the picture or changes the number of channels, the shortcut does so too, by a 1 × 1
convolution (option B of the paper).

Dimensions: N pictures, C channels, H × W pixels, K classes.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """x (N, C, H, W) → (N, O, H / stride, W / stride), rounded up. With residual=False the same layers without the shortcut, to compare with."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, residual: bool = True):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module | None = None
        if residual:
            self.shortcut = nn.Identity()
            if stride != 1 or in_channels != out_channels:
                self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        change = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(change if self.shortcut is None else self.shortcut(x) + change)


class ResNet(nn.Module):
    """x (N, channels, H, W) → logits (N, K): a convolution, three stages of blocks, the mean of every map, one affine layer.

    Each stage after the first doubles the channels and halves the picture, as in the paper's networks for CIFAR-10. With `blocks` blocks a stage
    there are 6 blocks + 2 layers with weights, shortcuts not counted.
    """

    def __init__(self, blocks: int = 1, width: int = 16, channels: int = 1, classes: int = 10, residual: bool = True):
        super().__init__()
        if min(blocks, width) < 1:
            raise ValueError(f"wanted blocks and width of at least 1, was given {blocks} and {width}")
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        stages: list[nn.Module] = []
        inputs = width
        for stage in range(3):
            outputs = width * 2**stage
            for block in range(blocks):
                stages.append(ResidualBlock(inputs, outputs, stride=2 if stage and block == 0 else 1, residual=residual))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.classify = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.stages(self.stem(x)).mean(dim=(2, 3)))

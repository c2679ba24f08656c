"""What can be asked of a module that stays where it is: a function that can be imported by name, handed to `module.apply`.

A gradient does not travel with a tensor that is copied from one process to another. So the module is differentiated where it lives, and the result is
left on it as plain numbers.
"""

import torch
from torch import Tensor, nn


def input_slopes(module: nn.Module, rows: int = 5) -> Tensor:
    """Send fixed rows through a module of W features and differentiate a fixed weighted sum of its answers by them.

    W is the length of the module's weight. The slopes (N, W) are returned and left in `module.slopes`.
    """
    features = len(module.state_dict()["weight"])
    generator = torch.Generator().manual_seed(0)
    x, weighing = (torch.randn(rows, features, generator=generator) for _ in range(2))  # (N, W), (N, W)
    (slopes,) = torch.autograd.grad((module(x.requires_grad_()) * weighing).sum(), x)
    module.slopes = slopes
    return slopes

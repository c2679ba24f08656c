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


def masked_slopes(module: nn.Module) -> None:
    """Differentiate an attention, called as module(x, mask=mask) with True for "may attend", where one row of the mask is empty.

    Meant for `apply`, which comes by every part of a module: parts without a `query.weight` (D, W) of their own are left alone. On the others the
    slopes of a fixed weighted sum of the answers are left in `module.slopes`, by name: those of x under "x", those of each parameter under its own.
    """
    weight = module.state_dict().get("query.weight")
    if weight is None:
        return
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, weight.shape[1], generator=generator)
    weighing = torch.randn(x.shape, generator=generator)
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    mask[0] = False
    inputs = {"x": x.requires_grad_(), **dict(module.named_parameters())}
    answers = module(x, mask=mask)
    found = torch.autograd.grad((answers * weighing).sum(), list(inputs.values()), allow_unused=True, materialize_grads=True)
    vars(module)["slopes"] = dict(zip(inputs, found, strict=True))

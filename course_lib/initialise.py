"""How large random weights must be for a signal to pass through many layers: Glorot and Bengio (2010), He et al. (2015).

A unit adds up fan_in products, so the variance of its sum is fan_in · Var(w) · E[x²]. With Var(w) = gain / fan_in the size of the numbers
stays as it is from layer to layer; gain is 1 for tanh (about x near 0) and 2 for ReLU, which lets only half of E[x²] through.

Whether the numbers are drawn uniformly or from a normal distribution hardly matters; their variance does.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

GAIN = {"linear": 1.0, "tanh": 1.0, "relu": 2.0}


def weight_std(fan_in: int, activation: str = "relu") -> float:
    """The standard deviation that a layer's weights should have: √(gain / fan_in)."""
    if fan_in < 1:
        raise ValueError(f"fan_in must be at least 1, got {fan_in}")
    if activation not in GAIN:
        raise ValueError(f"activation must be one of {', '.join(GAIN)}, got {activation!r}")
    return math.sqrt(GAIN[activation] / fan_in)


def initial_weights(widths: Sequence[int], activation: str = "relu", seed: int = 0) -> list[Tensor]:
    """Normal weights of the right size for a chain of layers, from a generator of their own.

    widths: D, W1, …, K → one float32 tensor a layer, (fan_out, fan_in) as `nn.Linear` keeps them.
    """
    if len(widths) < 2:
        raise ValueError(f"widths must name at least an input and an output, got {list(widths)}")
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(fan_out, fan_in, generator=generator) * weight_std(fan_in, activation) for fan_in, fan_out in pairwise(widths)]


@torch.no_grad()
def initialise(net: nn.Module, activation: str = "relu") -> None:
    """Redraw every `nn.Linear` of a network in place: normal weights of the right size, biases 0. Uses torch's global generator."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0.0, weight_std(module.in_features, activation))
            if module.bias is not None:
                module.bias.zero_()

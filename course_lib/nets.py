"""The small feed-forward networks that chapter 05 trains, each a function without required arguments that builds one.

A function that builds, rather than a network that was built: a trained network is a program and a dict of numbers (its `state_dict`), and with the
program at hand the numbers alone can be stored, compared, sent and loaded. Weights are drawn from torch's global generator: seed it, then build.

Dimensions: N rows, D columns, K classes, W units in a hidden layer.
"""

from typing import Literal

from torch import nn

Norm = Literal["none", "batch", "layer"]


def tumour_net() -> nn.Sequential:
    """30 → 64 → 32 → 1, ReLU between: one of the source articles' networks, for 30 measurements. x (N, 30) → logits (N, 1).

    The article ends it in a sigmoid. Here the loss takes the logit, which says the same and does not round: see the chapter.
    """
    return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


def digit_net() -> nn.Sequential:
    """64 → 64 → 64 → 10, ReLU between: another article's network, given 64 pixels where the article has 10 inputs. x (N, 64) → logits (N, 10)."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def dropout_net(p: float = 0.5) -> nn.Sequential:
    """64 → 128 → 10 with dropout on the hidden layer: in training mode each of its numbers is set to 0 with probability p."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(p), nn.Linear(128, 10))


def norm_net() -> nn.Sequential:
    """64 → 64 → 10 with batch normalisation before the ReLU: in training mode the rows of a batch see each other."""
    return nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))


def deep_net(norm: Norm = "none", depth: int = 50, width: int = 64) -> nn.Sequential:
    """64 → W → … → W → 10 with `depth` hidden layers, each followed by the chosen normalisation and a ReLU."""
    if depth < 1 or width < 1:
        raise ValueError(f"wanted a depth and a width of at least 1, was given {depth} and {width}")
    layers: list[nn.Module] = []
    for number in range(depth):
        layers.append(nn.Linear(64 if number == 0 else width, width))
        if norm == "batch":
            layers.append(nn.BatchNorm1d(width))
        elif norm == "layer":
            layers.append(nn.LayerNorm(width))
        elif norm != "none":
            raise ValueError(f"norm must be 'none', 'batch' or 'layer', got {norm!r}")
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(width, 10))

"""The learning-rate range test: how large may the rate be? Smith (2017), "Cyclical learning rates for training neural networks", section 3.3."""

import math
from collections.abc import Callable, Iterable
from typing import SupportsFloat

import numpy as np

from course_lib.scratch.functional import Array


def lr_range_test(
    loss_and_gradient: Callable[[Array], tuple[SupportsFloat, Array]], start: Array, rates: Iterable[float], stop: float = 4.0
) -> Array:
    """One step of gradient descent with each rate in turn → the losses met just before the steps, (number of steps taken,).

    rates: as a rule from small to large. Losses are taken to be above 0. start is left as it was.
    The run ends before the step whose loss is not finite or above `stop` times the smallest so far; that loss is not kept.
    """
    x, losses = np.array(start, dtype=np.float64), []
    for rate in rates:
        height, grad = loss_and_gradient(x)
        loss = float(height)
        if not math.isfinite(loss) or (losses and loss > stop * min(losses)):
            break
        losses.append(loss)
        x = x - rate * grad
    return np.array(losses)

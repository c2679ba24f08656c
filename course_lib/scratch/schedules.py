"""Learning rates that change while training goes on. Each function gives the rate for one step.

Steps are counted from 0, and `total` is how many there will be. Before a step: `optimizer.lr = warmup_cosine(step, ...)`.
"""

import math

import numpy as np

from course_lib.scratch.functional import Array


def warmup_cosine(step: int, *, total: int, warmup: int, peak: float, floor: float = 0.0) -> float:
    """Up a straight line for `warmup` steps, then down half a cosine wave, and from step `total` on `floor`.

    Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", without restarts; warm-up as in
    Goyal et al. (2017), "Accurate, large minibatch SGD". The rate of step 0 is peak / (warmup + 1), not 0, which would waste the step;
    step `warmup` has `peak`.
    """
    if not 0 <= warmup < total:
        raise ValueError(f"wanted 0 <= warmup < total, was given warmup {warmup} and total {total}")
    _check_step(step)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / (total - warmup))  # 0 at the peak, 1 at the end
    return floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2


def warmup_inverse_sqrt(step: int, *, warmup: int, peak: float) -> float:
    """Up a straight line for `warmup` steps, then down like 1/√step, without an end: Vaswani et al. (2017), section 5.3.

    Theirs is this with peak = (width · warmup)^-½. Step warmup - 1 has `peak`.
    """
    if warmup < 1:
        raise ValueError(f"warmup must be at least 1, was given {warmup}")
    _check_step(step)
    return peak * min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))


def step_decay(step: int, *, every: int, factor: float, peak: float) -> float:
    """`peak`, multiplied by `factor` after each `every` steps."""
    if every < 1:
        raise ValueError(f"every must be at least 1, was given {every}")
    _check_step(step)
    return peak * factor ** (step // every)


def geometric_rates(lowest: float, highest: float, count: int) -> Array:
    """`count` rates from lowest to highest, each the same multiple of the one before: what a learning-rate range test goes through."""
    if not (0 < lowest < highest and count >= 2):
        raise ValueError(f"wanted 0 < lowest < highest and a count of at least 2, was given {lowest}, {highest} and {count}")
    return np.geomspace(lowest, highest, count)


def _check_step(step: int) -> None:
    if step < 0:
        raise ValueError(f"step must be at least 0, was given {step}")

"""Points in the plane with known classes, for figures of decision boundaries. Nothing to cite: drawn here, from a seed.

Dimensions: N points, K classes.
"""

import math

import numpy as np

from course_lib.data.split import generator


def moons(count: int = 200, noise: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two half circles, each reaching into the other: no straight line parts them, a gentle curve does.

    → x (N, 2) float64, y (N,) int64, 0 or 1, in random order; N = count, the classes equal to within one point.
    Class 0 is the upper half of the unit circle around (0, 0), class 1 the lower half of the one around (1, 0.5).
    Angles are uniform. noise is the standard deviation of the normal jitter added to both coordinates; without it
    the points lie in [-1, 2] × [-0.5, 1].
    """
    rng, y = _labels(count, 2, noise, seed)
    angle = rng.uniform(0, math.pi, size=count)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (N, 2)
    x = np.where(y[:, None] == 0, upper, np.array([1.0, 0.5]) - upper)
    return x + rng.normal(0, noise, size=x.shape), y


def spirals(count: int = 300, classes: int = 3, noise: float = 0.03, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """K arms that wind once around the origin: every class surrounds every other.

    → x (N, 2) float64, y (N,) int64, 0 to K-1, in random order; N = count, the classes equal to within one point.
    At radius r, uniform in [0, 1], arm k stands at angle 2π (r + k/K). noise is the standard deviation of the normal
    jitter added to both coordinates; without it the points lie in the unit disc. Neighbouring arms are about 1/K apart.
    """
    rng, y = _labels(count, classes, noise, seed)
    radius = rng.uniform(0, 1, size=count)
    angle = 2 * math.pi * (radius + y / classes)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (N, 2)
    return x + rng.normal(0, noise, size=x.shape), y


def _labels(count: int, classes: int, noise: float, seed: int) -> tuple[np.random.Generator, np.ndarray]:
    """Check the arguments; deal `count` labels out evenly, in random order."""
    if classes < 2:
        raise ValueError(f"classes must be 2 or more, got {classes}")
    if count < classes:
        raise ValueError(f"count must be at least one point per class, {classes}, got {count}")
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise must be 0 or more and finite, got {noise}")
    rng = generator(seed)
    return rng, rng.permutation(np.arange(count) % classes)

"""Hills of two coordinates to walk down, each with its slope: what an optimiser does can be seen here, where thousands of parameters cannot.

Every function takes points x (..., 2) and gives (height (...), gradient (..., 2)). `ravine` takes any number of coordinates,
at least 2, and `restless` any.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
STEEPEST = 25.0  # curvature of the ravine across; along it, 1
RESTLESS = (2.0, 3.0, 4.0, 5.0, 6.0)
_turns = itertools.cycle(RESTLESS)


@dataclass(frozen=True)
class Landscape:
    """A hill, where to start on it, where its lowest points are, and what part of it a map shows."""

    name: str
    function: Callable[[ArrayLike], tuple[Array, Array]]
    start: tuple[float, float]
    lowest: tuple[tuple[float, float], ...]
    window: tuple[float, float, float, float]  # left, right, low, high


def ravine(x: ArrayLike) -> tuple[Array, Array]:
    """½ Σ λᵢ xᵢ², x (..., D), λ from 1 to 25 in equal ratios: lowest at 0, 25 times as steep across as along."""
    x = np.asarray(x, dtype=np.float64)
    curvatures = np.geomspace(1.0, STEEPEST, x.shape[-1])
    return 0.5 * np.sum(curvatures * x**2, axis=-1), curvatures * x


def rosenbrock(x: ArrayLike) -> tuple[Array, Array]:
    """(1 - x)² + 100 (y - x²)²: a bent valley whose floor is nearly level; lowest at (1, 1). Rosenbrock (1960)."""
    x, y = _coordinates(x)
    off = y - x**2
    return (1 - x) ** 2 + 100 * off**2, np.stack([-2 * (1 - x) - 400 * x * off, 200 * off], axis=-1)


def beale(x: ArrayLike) -> tuple[Array, Array]:
    """Σ (cₖ - x + x yᵏ)², k = 1, 2, 3, c = 1.5, 2.25, 2.625: cliffs at the corners of a plain; lowest at (3, 0.5). Beale (1958)."""
    x, y = _coordinates(x)
    height, slope_x, slope_y = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for power, constant in ((1, 1.5), (2, 2.25), (3, 2.625)):
        off = constant - x + x * y**power
        height += off**2
        slope_x += 2 * off * (y**power - 1)
        slope_y += 2 * off * x * power * y ** (power - 1)
    return height, np.stack([slope_x, slope_y], axis=-1)


def saddle(x: ArrayLike) -> tuple[Array, Array]:
    """½x² - ½y² + ¼y⁴: level at (0, 0), which is lowest along x and highest along y; lowest at (0, 1) and (0, -1), where it is -¼."""
    x, y = _coordinates(x)
    return 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4, np.stack([x, y**3 - y], axis=-1)


def restless(x: ArrayLike) -> tuple[Array, Array]:
    """Height and every slope are the next of RESTLESS, wherever x is and whoever asks: a batch drawn anew for each call, made predictable."""
    x, answer = np.asarray(x), next(_turns)
    return np.full(x.shape[:-1], answer), np.full(x.shape, answer)


LANDSCAPES = (
    Landscape("ravine", ravine, (-4.0, 1.2), ((0.0, 0.0),), (-5.0, 5.0, -2.0, 2.0)),
    Landscape("Rosenbrock", rosenbrock, (-1.2, 1.0), ((1.0, 1.0),), (-1.8, 1.8, -0.8, 2.2)),
    Landscape("Beale", beale, (0.6, 1.6), ((3.0, 0.5),), (-0.5, 4.5, -1.0, 2.0)),
    Landscape("saddle", saddle, (1.5, 0.001), ((0.0, 1.0), (0.0, -1.0)), (-2.0, 2.0, -1.6, 1.6)),
)


def _coordinates(x: ArrayLike) -> tuple[Array, Array]:
    x = np.asarray(x, dtype=np.float64)
    if x.shape[-1:] != (2,):
        raise ValueError(f"wanted points of two coordinates, shape (..., 2); was given shape {x.shape}")
    return x[..., 0], x[..., 1]

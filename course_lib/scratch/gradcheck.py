"""Is this gradient right? Compare it with one that was measured.

The central difference (f(x + h) - f(x - h)) / 2h errs by about f''' h² / 6, since the even terms of the two Taylor series cancel;
the one-sided (f(x + h) - f(x)) / h errs by f'' h / 2, which is far worse for the same h. Halving h helps only until rounding takes
over: f is known to about ε |f|, so the quotient is known to about ε |f| / h. The sum of both errors is least near h = ε^(1/3),
which for float64 (ε = 2.2e-16) is 6e-6: hence the step 1e-5, an error near 1e-10, and float64. With float32 (ε = 1.2e-7) the best
step leaves an error of 1e-5 or more, too coarse to tell a right gradient from a slightly wrong one.

At a kink (ReLU within one step of 0) the difference mixes two slopes and agrees with neither; move the point and check again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course_lib.scratch.functional import Array


def numerical_gradient(function: Callable[[NDArray[np.float64]], float], x: ArrayLike, step: float = 1e-5) -> NDArray[np.float64]:
    """The gradient of a scalar function by central differences, at the price of two calls an element.

    x of any shape, () included, and of any real dtype → float64 of the same shape. The function must use the array that it is handed:
    a fresh float64 copy of x each time, with one element moved. x itself is never written to.
    """
    if not step > 0:
        raise ValueError(f"step must be positive, was given {step}")
    x = np.asarray(x, dtype=np.float64)
    grad = np.empty_like(x)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += step
        below[index] -= step
        width = above[index] - below[index]  # 2 step, but for the rounding of x ± step
        if width == 0:
            raise ValueError(f"a step of {step} is lost in the rounding of {x[index]}; give a larger step")
        grad[index] = (_scalar(function(above)) - _scalar(function(below))) / width
    return grad


def relative_error(a: ArrayLike, b: ArrayLike) -> float:
    """max |a - b| / max(|a|, |b|): the worst difference, in units of the largest element of either array. 0 if both are all zero.

    One scale serves the whole array. A quotient element by element would call 1e-12 against an exact 0 a total failure; the price is
    that an error in an element much smaller than the largest one weighs little.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    scale = np.max([np.max(np.abs(a), initial=0.0), np.max(np.abs(b), initial=0.0), np.finfo(np.float64).tiny])
    return float(np.max(np.abs(a - b), initial=0.0) / scale)


@dataclass(frozen=True)
class ParameterCheck:
    """How one parameter's gradient compares. `index` is where it is farthest off, `given` and `measured` are the values there."""

    name: str
    error: float
    index: tuple[int, ...]
    given: float
    measured: float
    ok: bool


def check_gradients(
    loss: Callable[[dict[str, Array]], float], params: Mapping[str, Array], grads: Mapping[str, Array], tolerance: float = 1e-6
) -> dict[str, ParameterCheck]:
    """Compare grads with central differences of loss(params), one report a parameter.

    The loss must read the parameters that it is handed (float64 copies), for instance
    `lambda params: cross_entropy(model.with_params(params).logits(x), labels)`.
    ok: the relative error is at most the tolerance, or the absolute one at most ten times the rounding error of the difference
    quotient: a gradient that should be 0 is measured as 1e-11, and that is no mistake. A nan is never ok.
    """
    if params.keys() != grads.keys():
        raise ValueError(f"params {sorted(params)} and grads {sorted(grads)} have different names")
    for name, param in params.items():
        if np.shape(grads[name]) != np.shape(param):
            raise ValueError(f"the gradient of {name!r} has shape {np.shape(grads[name])}, its parameter {np.shape(param)}")
    point: dict[str, Array] = {name: np.array(param, dtype=np.float64) for name, param in params.items()}
    step = 1e-5
    rounding = np.finfo(np.float64).eps * abs(_scalar(loss(point))) / step
    report = {}
    for name, param in point.items():
        measured = numerical_gradient(lambda moved, name=name: loss({**point, name: moved}), param, step)
        given = np.asarray(grads[name], dtype=np.float64)
        difference = np.abs(given - measured)
        index = tuple(int(i) for i in np.unravel_index(np.argmax(difference), difference.shape))
        error = relative_error(given, measured)
        ok = bool(error <= tolerance or difference[index] <= 10 * rounding)
        report[name] = ParameterCheck(name, error, index, float(given[index]), float(measured[index]), ok)
    return report


def _scalar(value: ArrayLike) -> float:
    """The value as a float; an array of several losses has no single gradient."""
    if np.ndim(value) != 0:
        raise ValueError(f"the function must return a single number, not an array of shape {np.shape(value)}")
    return float(value)  # pyright: ignore[reportArgumentType]

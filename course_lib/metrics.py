"""How good is a model, and how sure are we? Accuracy, the confusion matrix, and intervals for both kinds of luck.

The luck of the seed: train several times and take `mean_and_interval` of the scores. The luck of the test set: count
the right answers and take `wilson_interval`. Neither interval covers the other's luck.

Dimensions: N examples, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


@dataclass(frozen=True)
class Interval:
    """A mean with the interval that it may be off by.

    mean, low and high in the unit of the values; std is the standard deviation of one value; count, of how many values.
    """

    mean: float
    low: float
    high: float
    std: float
    count: int

    def __str__(self) -> str:
        """As is, for losses and seconds: "2.345 ± 0.012"."""
        return self._text(1, ".4g", ".2g", "")

    def percent(self, digits: int = 1) -> str:
        """For shares between 0 and 1: "97.6% ± 0.4", in percentage points; "99.0% (94.6 to 99.8)" when lopsided."""
        return self._text(100, f".{digits}f", f".{digits}f", "%")

    def _text(self, factor: int, value_format: str, width_format: str, unit: str) -> str:
        below, above = (format(factor * width, width_format) for width in (self.mean - self.low, self.high - self.mean))
        mean, low, high = (format(factor * value, value_format) for value in (self.mean, self.low, self.high))
        if below == above:
            return f"{mean}{unit} ± {above}"
        return f"{mean}{unit} ({low} to {high})"


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """The share of predictions that are right. labels (N,), predictions (N,) classes, not scores → between 0 and 1."""
    labels, predictions = _paired(labels, predictions)
    return float(np.mean(labels == predictions))


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: Sequence | np.ndarray | None = None) -> np.ndarray:
    """Who is taken for whom: entry (i, j) counts the examples of class i that were called class j.

    labels (N,), predictions (N,) → (K, K) int64; rows are the truth, columns the predictions, the sum is N.
    classes names the rows in order, such as range(10); None takes every class that occurs, sorted, so that a class
    which nobody has and nobody predicts has no row. Classes outside the list, or listed twice, raise ValueError.
    """
    labels, predictions = _paired(labels, predictions)
    values = np.union1d(labels, predictions) if classes is None else np.asarray(classes)
    if values.ndim != 1:
        raise ValueError(f"classes must list the class values, such as range(10), got {classes!r}")
    order = np.argsort(values)
    ranked = values[order]
    if (ranked[1:] == ranked[:-1]).any():
        raise ValueError(f"classes must differ from each other, got {values.tolist()}")
    unknown = np.setdiff1d(np.union1d(labels, predictions), values)
    if unknown.size:
        raise ValueError(f"labels or predictions hold {unknown.tolist()}, which classes {values.tolist()} does not list")
    rows, columns = (order[np.searchsorted(ranked, column)] for column in (labels, predictions))  # (N,), (N,)
    matrix = np.zeros((len(values), len(values)), dtype=np.int64)
    np.add.at(matrix, (rows, columns), 1)  # unlike matrix[rows, columns] += 1, counts a pair as often as it occurs
    return matrix


def mean_and_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean of a few runs, and Student's t interval for the mean of all the runs there could be.

    values (N,), N at least 2, one number a seed → mean ± t · std / √N, with N - 1 degrees of freedom and the sample
    standard deviation (divisor N - 1). Exact when the values are independent and normal, good when they are nearly so.
    The interval knows nothing of bounds: near 1.0, an accuracy's may pass it.

    Source: Student, The probable error of a mean, Biometrika 6 (1908).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must be at least 2 numbers, shape (N,), got shape {values.shape}; one run has no spread")
    if not np.isfinite(values).all():
        raise ValueError(f"values must be finite, got {values.tolist()}")
    _check_confidence(confidence)
    count = len(values)
    mean, std = float(values.mean()), float(values.std(ddof=1))
    half = float(special.stdtrit(count - 1, (1 + confidence) / 2)) * std / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, std, count)


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """How far the share of right answers on a test set may lie from the share on all the data there could be.

    successes out of trials, the answers independent → Interval around successes / trials, always within [0, 1], and
    of some width even when every answer was right. Its middle lies nearer to one half than the share itself.
    std is √(p (1 - p)), the deviation of a single answer.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes must lie between 0 and trials, and trials be 1 or more; got {successes} of {trials}")
    _check_confidence(confidence)
    share = successes / trials
    z = float(special.ndtri((1 + confidence) / 2))
    shrink = 1 + z**2 / trials
    middle = (share + z**2 / (2 * trials)) / shrink
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / shrink
    low = 0.0 if successes == 0 else middle - half  # exactly, where rounding would leave 1e-17
    high = 1.0 if successes == trials else middle + half
    return Interval(share, low, high, math.sqrt(share * (1 - share)), trials)


def _paired(labels: ArrayLike, predictions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(f"labels and predictions must both have shape (N,), got {labels.shape} and {predictions.shape}")
    if len(labels) == 0:
        raise ValueError("there are no predictions to judge")
    if (labels.dtype.kind in "US") != (predictions.dtype.kind in "US"):
        raise ValueError(f"labels and predictions must be classes of one kind, got {labels.dtype} and {predictions.dtype}")
    return labels, predictions


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, both excluded (0.95, not 95), got {confidence}")

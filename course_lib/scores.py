"""How good are a classifier's answers? Precision, recall and F1; the area under the ROC curve; calibration; bootstrap intervals.

Each is written out from its definition and equals scikit-learn's to 1e-12, where scikit-learn has it. Accuracy, the confusion matrix and the
intervals that need no resampling are in `course_lib.metrics`.

Dimensions: N rows, K classes, B bins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from course_lib.metrics import confusion_matrix


@dataclass(frozen=True, eq=False)
class ClassScores:
    """precision, recall and f1 (K,), one for each class; macro_f1, their plain mean; micro_f1, from the counts of all classes together."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    macro_f1: float
    micro_f1: float


def precision_recall_f1(labels: ArrayLike, predictions: ArrayLike, classes: Sequence) -> ClassScores:
    """Of those called k, how many are k (precision)? Of those that are k, how many were found (recall)? Both at once (F1)?

    labels (N,), predictions (N,), classes: the K class values in the order wanted, all that occur among them. A fraction 0/0 is 0.
    With every class listed and one answer for each row, micro F1 is the accuracy.
    """
    matrix = confusion_matrix(labels, predictions, classes)  # (K, K), rows are the truth
    right, called, there = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    f1 = _ratio(2 * right, called + there)
    micro = _ratio(2 * right.sum(), called.sum() + there.sum())
    return ClassScores(_ratio(right, called), _ratio(right, there), f1, float(f1.mean()), float(micro))


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The probability that a random positive row scores higher than a random negative one, a tie counting half.

    labels (N,) of 0 and 1, scores (N,) → between 0 and 1; N log N steps. ValueError when one of the classes is missing.

    Source: J. Hanley and B. McNeil, The meaning and use of the area under a ROC curve, Radiology 143 (1982).
    """
    labels, scores = _binary(labels, scores)
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        raise ValueError(f"ROC AUC compares two classes, got {positives} positive and {negatives} negative rows")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # of each different score: equal scores share the mean of their ranks, from 1
    wins = ranks[place][labels == 1].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every threshold worth trying: (false positive rate, true positive rate, threshold), from "call nobody" (inf) to "call everybody".

    A row is called positive when its score is at least the threshold. One entry for each different score, and one before them.
    """
    labels, scores = _binary(labels, scores)
    thresholds, place = np.unique(scores, return_inverse=True)
    positive = np.bincount(place, weights=labels, minlength=len(thresholds))[::-1].cumsum()
    negative = np.bincount(place, weights=1 - labels, minlength=len(thresholds))[::-1].cumsum()
    start = np.zeros(1)
    rates = [np.concatenate([start, counts / max(counts[-1], 1)]) for counts in (negative, positive)]
    return rates[0], rates[1], np.concatenate([[np.inf], thresholds[::-1]])


def calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """By how much announced probabilities miss the frequencies, on average over the rows: the expected calibration error.

    labels (N,) of 0 and 1, probabilities (N,) of a 1. Bin b holds b/B ≤ p < (b+1)/B, the last one p = 1 too. Of each bin: the distance
    between the mean probability and the share of ones; their mean, each bin counting by its rows.

    Source: M. Pakdaman Naeini, G. Cooper and M. Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI (2015).
    """
    labels, probabilities = _binary(labels, probabilities)
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must lie between 0 and 1")
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    missed = np.bincount(place, weights=labels - probabilities, minlength=bins)  # n · (share of ones - mean probability)
    return float(np.abs(missed).sum() / len(labels))


def bootstrap_interval(
    statistic: Callable[..., float], *columns: np.ndarray, draws: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """How far could `statistic` have come out differently on another sample of this size? The percentile bootstrap.

    columns: arrays (N, ...), resampled together: N rows with replacement, `draws` times. statistic(*columns) → one number.
    → (low, high), the middle `confidence` of what came out.

    Source: B. Efron, Bootstrap methods: another look at the jackknife, Annals of Statistics 7 (1979).
    """
    rng = np.random.default_rng(seed)
    count = len(columns[0])
    found = np.empty(draws)
    for draw in range(draws):
        rows = rng.integers(count, size=count)
        found[draw] = statistic(*(column[rows] for column in columns))
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, and 0 where both are 0."""
    return np.divide(top, np.maximum(bottom, 1), dtype=np.float64)


def _binary(labels: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    labels, values = np.asarray(labels), np.asarray(values, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != values.shape:
        raise ValueError(f"labels and scores must both have shape (N,), got {labels.shape} and {values.shape}")
    if len(labels) == 0:
        raise ValueError("there are no rows to judge")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {np.unique(labels).tolist()}")
    if np.isnan(values).any():
        raise ValueError("scores hold NaN, which is neither high nor low")
    return labels.astype(np.int64), values

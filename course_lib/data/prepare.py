"""From a cleaned table to the numbers that a model takes, without a leak.

Whatever is learnt from data (medians, means, deviations) is learnt from the training rows. What is the same for any data (a logarithm) may
be done before or after the split.

Dimensions: N rows, D columns, K parts of a split.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from course_lib.data.split import generator


def prepare(x: np.ndarray, labels: np.ndarray, amounts: Sequence[int], is_test: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logarithm of the amounts, gaps filled, columns standardised; the labels as they are.

    x (N, D) float64, NaN where a value is missing; labels (N,); amounts: columns that cannot be negative, replaced by log(1 + x);
    is_test (N,) bool → (x_train, labels_train, x_test, labels_test), rows in their order.
    Median, mean and standard deviation (divisor N) are those of the training rows; a column that is constant there becomes 0.
    """
    x = np.array(x, dtype=np.float64)
    x[:, amounts] = np.log1p(x[:, amounts])
    train = ~np.asarray(is_test)
    median = np.nanmedian(x[train], axis=0)  # (D,)
    x = np.where(np.isnan(x), median, x)
    mean, deviation = x[train].mean(axis=0), x[train].std(axis=0)
    x = (x - mean) / np.where(np.ptp(x[train], axis=0) == 0, 1.0, deviation)
    return x[train], labels[train], x[~train], labels[~train]


def split_rows(labels: ArrayLike, shares: Sequence[float], seed: int = 0) -> list[np.ndarray]:
    """Row numbers dealt out in parts, each class in its share in each part.

    labels (N,); shares: K positive numbers that add up to 1, such as (0.6, 0.2, 0.2) for training, validation and test
    → K int64 arrays in random order; every row stands in just one. Of a class of n rows, a part of share s gets s·n but for rounding.
    """
    labels = np.asarray(labels)
    if min(shares) <= 0 or not np.isclose(sum(shares), 1):
        raise ValueError(f"shares must be positive and add up to 1, got {list(shares)}")
    rng = generator(seed)
    parts: list[list[np.ndarray]] = [[] for _ in shares]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for part, piece in zip(parts, np.split(rows, cuts), strict=True):
            part.append(piece)
    return [rng.permutation(np.concatenate(part)) for part in parts]

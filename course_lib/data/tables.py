"""Tables: rows are cases, columns are measurements with a name.

Dimensions: N rows, D columns, K classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.data.split import Split, stratified_split


@dataclass(frozen=True, eq=False, repr=False)
class Table(Split):
    """A Split of a table: x (N, D), with the D columns' names and the K classes' names, target_names[y] for label y."""

    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]


def standardised(x_train: np.ndarray, x_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale each column so that the training rows have mean 0 and standard deviation 1.

    x_train (N_train, D), x_test (N_test, D) → two new arrays of the same shapes.

    Mean and deviation come from the training rows alone. The test rows stand for cases that nobody has seen yet:
    had they a say in the scaling, the model would be fed a little of what it is examined on, and its score would be
    that of no model one could deploy. So the test columns have mean near 0, not 0.
    A column that is constant in training carries no scale; it is shifted and otherwise left alone.
    """
    mean, deviation = x_train.mean(axis=0), x_train.std(axis=0)  # (D,), (D,)
    constant = np.ptp(x_train, axis=0) == 0  # by range: the deviation of equal numbers may come out as 1e-17
    scale = np.where(constant, 1.0, deviation)
    return (x_train - mean) / scale, (x_test - mean) / scale


def breast_cancer(seed: int = 0, test_fraction: float = 0.2, standardise: bool = True) -> Table:
    """569 breast tumours, 30 measurements of cell nuclei each: malignant or benign?

    x (N, 30): float64. With standardise=True in training standard deviations (training columns: mean 0, deviation 1;
    all values within about ±17); with standardise=False as measured, 0 to 4,254, in units that differ by column.
    y (N,): int64, 0 malignant (212 rows), 1 benign (357). By default 456 training and 113 test rows.
    Always answering "benign" is right in 63% of the rows: compare with that, not with one half.

    The scale is learnt from the training rows only; `standardised` says why.

    Source: W. Wolberg, O. Mangasarian, N. Street and W. Street, Breast Cancer Wisconsin (Diagnostic), UCI Machine
    Learning Repository, 1993, https://doi.org/10.24432/C5DW2B; bundled with scikit-learn. Licence: CC BY 4.0.
    """
    from sklearn.datasets import load_breast_cancer  # here, so that importing course_lib.data stays cheap

    bunch: Any = load_breast_cancer()
    split = stratified_split(bunch.data, bunch.target.astype(np.int64), test_fraction=test_fraction, seed=seed)
    x_train, x_test = split.x_train, split.x_test
    if standardise:
        x_train, x_test = standardised(x_train, x_test)
    return Table(x_train, split.y_train, x_test, split.y_test, tuple(map(str, bunch.feature_names)), tuple(map(str, bunch.target_names)))

"""Training rows and test rows: held apart, with every class in its share on both sides.

Dimensions: N rows, N_train + N_test = N; whatever follows the first axis of x is one row and stays together.
"""

from dataclasses import dataclass
from operator import index

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Split:
    """What a model learns from, and what it is judged on.

    x_train (N_train, ...), y_train (N_train,), x_test (N_test, ...), y_test (N_test,)

    >>> digits()
    Split(x_train (1438, 64) float64, y_train (1438,) int64, x_test (359, 64) float64, y_test (359,) int64, 10 classes)
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def __repr__(self) -> str:
        arrays = (f"{name} {getattr(self, name).shape} {getattr(self, name).dtype}" for name in ("x_train", "y_train", "x_test", "y_test"))
        return f"{type(self).__name__}({', '.join(arrays)}, {len(np.union1d(self.y_train, self.y_test))} classes)"


def generator(seed: int) -> np.random.Generator:
    """NumPy's generator for a seed. None is refused: it would draw differently on every run."""
    try:
        number = index(seed)
    except TypeError:
        raise TypeError(f"seed must be a whole number, got {seed!r}") from None
    if number < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    return np.random.default_rng(number)


def check_fraction(test_fraction: float) -> None:
    """Both sides of a split need something."""
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1, both excluded, got {test_fraction}")


def stratified_split(x: ArrayLike, y: ArrayLike, *, test_fraction: float = 0.2, seed: int = 0) -> Split:
    """Deal each class out separately, so that no split is unlucky with a rare one.

    x (N, ...), y (N,) whole numbers, booleans or strings → Split, each side in random order, copies of the rows.
    A class of n rows gives the whole number nearest to test_fraction · n to the test side (a tie goes to the even
    number), but at least one row to either side. The same arguments give the same split.

    Raises ValueError for lengths that differ, a class of one row, labels that are measurements rather than classes,
    or a test_fraction outside (0, 1).
    """
    x, y = np.asarray(x), np.asarray(y)
    check_fraction(test_fraction)
    if y.ndim != 1:
        raise ValueError(f"y must hold one label per row, shape (N,); got shape {y.shape}")
    if x.ndim == 0 or len(x) != len(y):
        raise ValueError(f"x must hold one row per label, shape ({len(y)}, ...); got shape {x.shape}")
    if len(y) == 0:
        raise ValueError("there are no rows to split")
    if y.dtype.kind not in "iubUS":
        raise ValueError(f"y must hold classes (whole numbers, booleans or strings), got dtype {y.dtype}")
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < 2:
        raise ValueError(f"class {classes[counts.argmin()]} has 1 row; a class needs 2, one for each side")

    rng = generator(seed)
    train, test = [], []
    for label, count in zip(classes, counts, strict=True):
        rows = rng.permutation(np.flatnonzero(y == label))
        num_test = min(max(round(test_fraction * int(count)), 1), int(count) - 1)
        test.append(rows[:num_test])
        train.append(rows[num_test:])
    train_rows, test_rows = rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))
    return Split(x[train_rows], y[train_rows], x[test_rows], y[test_rows])

"""Handwritten digits, 8 × 8 pixels: the course's smallest real images, bundled with scikit-learn."""

import functools
import importlib.util
from pathlib import Path

import numpy as np

from course_lib.data.split import Split, stratified_split


def digits(seed: int = 0, test_fraction: float = 0.2, dtype: str = "float64", flat: bool = True) -> Split:
    """1,797 grey images of the digits 0 to 9, by 13 writers, split with every digit in its share.

    x (N, 64), or (N, 8, 8) with flat=False: dtype (a floating type), ink from 0.0 (paper) to 1.0, in steps of 1/16.
    y (N,): int64, 0 to 9; 174 to 183 images of each. By default 1,438 training and 359 test images.

    Each pixel counts the inked dots in a 4 × 4 block of a 32 × 32 scan, here divided by 16. scikit-learn bundles
    only the test part of the original set, whose 13 writers wrote nothing of its training part. The split made here is
    random, so the same hands stand on both sides: expect less on a stranger's hand than this test set promises.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    1998, https://doi.org/10.24432/C50P49. Licence: CC BY 4.0.
    """
    if np.dtype(dtype).kind != "f":
        raise ValueError(f"dtype must be a floating type such as 'float64' or 'float32', got {dtype!r}; pixels lie between 0 and 1")
    pixels, labels = _bundled()
    x = np.asarray(pixels, dtype=dtype) / np.dtype(dtype).type(16)  # (N, 64); sixteenths are exact in every floating type
    return stratified_split(x if flat else x.reshape(-1, 8, 8), np.asarray(labels, dtype=np.int64), test_fraction=test_fraction, seed=seed)


@functools.cache
def _bundled() -> tuple[np.ndarray, np.ndarray]:
    """pixels (N, 64), labels (N,), read once: they are text in a compressed file. Not to be written to, and never given out."""
    package = importlib.util.find_spec("sklearn")
    file = Path(package.origin if package and package.origin else "").parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():  # without a second's wait for the rest of scikit-learn
        table = np.loadtxt(file, delimiter=",")
        pixels, labels = table[:, :-1].copy(), table[:, -1].astype(np.int64)
    else:
        from sklearn.datasets import load_digits

        pixels, labels = (np.asarray(column) for column in load_digits(return_X_y=True))
    pixels.setflags(write=False)
    labels.setflags(write=False)
    return pixels, labels

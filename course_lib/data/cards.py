"""A task of which the right alignment is known: numbered cards lie in a row, shuffled; read their letters in the order of the numbers.

As in translation, the answer to step t stands at some other place of the input, and which place differs from row to row.

Dimensions: N rows, T cards in each.
"""

from dataclasses import dataclass

import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Cards:
    """All (N, T), int64.

    numbers: what is written on the card at each place, a permutation of 0 … T-1
    letters: the letter on the same card, 0 … 25
    answers: the letter on the card with number 0, 1, …, T-1
    places: where that card lies; nobody is told while learning
    """

    numbers: np.ndarray
    letters: np.ndarray
    answers: np.ndarray
    places: np.ndarray


def cards(rows: int, length: int, seed: int = 0) -> Cards:
    """Rows of shuffled cards. With 26 letters, guessing is right in 1 of 26 cases.

    Source: drawn from NumPy's default generator; the same seed, rows and length give the same cards. Licence: none needed.
    """
    if rows < 1 or length < 1:
        raise ValueError(f"wanted at least 1 row and 1 card, was given {rows} and {length}")
    rng = np.random.default_rng(seed)
    numbers = np.argsort(rng.random((rows, length)), axis=1)
    letters = rng.integers(len(LETTERS), size=(rows, length))
    places = np.argsort(numbers, axis=1)
    return Cards(numbers, letters, np.take_along_axis(letters, places, axis=1), places)

"""Sentence pairs for translation, and the vocabulary that turns a sentence into numbers and back.

Dimensions: N sentences, T tokens of the longest.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

PAD, BOS, EOS = 0, 1, 2  # "nothing", "here it begins", "here it ends"
SPECIAL = ("·", "<", ">")  # how the three are shown
_TOKEN = re.compile(r"[a-z]+|\S")


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str


@dataclass(frozen=True)
class PairSplit:
    """What a translator learns from, and what it is judged on."""

    train: list[Pair]
    test: list[Pair]

    def __repr__(self) -> str:
        return f"PairSplit(train {len(self.train):,} pairs, test {len(self.test):,} pairs)"


def tokens_of(text: str) -> list[str]:
    """Latin words whole and in small letters, every other sign on its own, spaces and hyphens between words dropped."""
    return _TOKEN.findall(re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text.lower()))


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by number. The first three are padding, begin and end."""

    tokens: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Vocabulary":
        """Every token of the texts, in alphabetical order."""
        return cls((*SPECIAL, *sorted({token for text in texts for token in tokens_of(text)})))

    def __len__(self) -> int:
        return len(self.tokens)

    def numbers(self, text: str) -> list[int]:
        """A text's token numbers. ValueError, with its name, for a token that is not there."""
        known = {token: number for number, token in enumerate(self.tokens)}
        try:
            return [known[token] for token in tokens_of(text)]
        except KeyError as error:
            raise ValueError(f"{error.args[0]!r} in {text!r} is not in the vocabulary") from None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """→ (N, T) int64: a row for each text, filled up with padding."""
        return padded([self.numbers(text) for text in texts])

    def text(self, numbers: Iterable[int]) -> str:
        """Tokens in a row without spaces, as Chinese numerals and ISO dates are written; special ones left out."""
        return "".join(self.tokens[number] for number in numbers if number > EOS)


def padded(rows: Sequence[Sequence[int]], length: int | None = None) -> np.ndarray:
    """Rows of different lengths → (N, T) int64, filled up with PAD; T is the longest, or `length`."""
    width = max(map(len, rows), default=0) if length is None else length
    table = np.full((len(rows), width), PAD, dtype=np.int64)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table


def teacher_pairs(vocabulary: Vocabulary, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What a decoder reads and what it should say: (N, T) twice, "begin" + tokens, and the same moved one place: tokens + "end"."""
    rows = [vocabulary.numbers(text) for text in texts]
    return padded([[BOS, *row] for row in rows]), padded([[*row, EOS] for row in rows])

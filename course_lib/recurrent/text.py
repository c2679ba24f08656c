"""Text as numbers, for a model that reads letter by letter: the alphabet, the batches, and the state that goes from one batch to the next.

Dimensions: V characters, N streams that are read side by side, T characters a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Alphabet:
    """The characters that occur, in order; the last is UNKNOWN, which stands for all others."""

    characters: str

    @classmethod
    def of(cls, text: str) -> "Alphabet":
        """Every character that occurs in `text`, by code point."""
        if not text:
            raise ValueError("the text is empty: it has no characters")
        return cls("".join(sorted(set(text) - {UNKNOWN})) + UNKNOWN)

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """text → (len(text),) int64, each the place of its character."""
        places = {character: place for place, character in enumerate(self.characters)}
        return np.array([places.get(character, len(self) - 1) for character in text], dtype=np.int64)

    def decode(self, ids: Any) -> str:
        """Numbers from 0 to V - 1, of an array, tensor or list → text."""
        return "".join(self.characters[int(number)] for number in ids)


def streams(ids: np.ndarray | Tensor, num_streams: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a long text into `num_streams` equal pieces and read all of them side by side, `length` characters at a time.

    ids (L,) → pairs (inputs (N, T), targets (N, T)), targets being one character ahead. Row n of a batch goes on where row n of the batch before
    ended, so that the state may be carried over. Left out: at most N + T·N characters of the end.
    """
    ids = torch.as_tensor(ids)
    if num_streams < 1 or length < 1:
        raise ValueError(f"wanted at least one stream and one character, was given {num_streams} and {length}")
    each = (len(ids) - 1) // num_streams
    if each < length:
        raise ValueError(f"{len(ids)} characters are too few for {num_streams} streams of {length}")
    inputs, targets = (part[: each * num_streams].reshape(num_streams, each) for part in (ids[:-1], ids[1:]))
    for start in range(0, each - length + 1, length):
        yield inputs[:, start : start + length], targets[:, start : start + length]


def detached(state: Any) -> Any:
    """The same numbers without their history: a tensor, a tuple of tensors, or None."""
    if state is None:
        return None
    return state.detach() if isinstance(state, Tensor) else tuple(part.detach() for part in state)

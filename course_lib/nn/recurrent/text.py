"""Text as numbers, for a model that reads letter by letter: the alphabet, the batches, and the state that goes from one batch to the next.

Dimensions: V characters, N streams that are read side by side, T characters a batch.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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


@torch.no_grad()
def held_out_loss(model: nn.Module, ids: np.ndarray | Tensor) -> float:
    """Mean surprise, in nats, of a model (ids, targets, state) → (logits, loss, state) at the characters of ids (L,) from the second on.

    The text is read as one stream from start to end, on the model's device.
    """
    ids = torch.as_tensor(ids).to(next(model.parameters()).device)
    if len(ids) < 2:
        raise ValueError(f"wanted at least two characters, one to begin with and one to guess; was given {len(ids)}")
    total, state = 0.0, None
    for start in range(0, len(ids) - 1, 4096):
        part = ids[start : start + 4097]
        _, loss, state = model(part[None, :-1], part[None, 1:], state)
        total += float(loss) * (len(part) - 1)
    return total / (len(ids) - 1)


@torch.no_grad()
def sample(model: nn.Module, alphabet: Alphabet, start: str, count: int, *, temperature: float = 1.0, seed: int = 0) -> str:
    """Let a model write: `start` and `count` more characters, each drawn from softmax(logits / temperature). Never draws UNKNOWN."""
    if not start or temperature <= 0:
        raise ValueError(f"wanted a text to start from and a temperature above 0, was given {start!r} and {temperature}")
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    written, state = [], None
    ids = torch.from_numpy(alphabet.encode(start)).to(device)[None]
    for _ in range(count):
        logits, _, state = model(ids, None, state)
        scores = logits[0, -1].cpu() / temperature
        scores[-1] = -torch.inf
        ids = torch.multinomial(scores.softmax(0), 1, generator=generator).to(device)[None]
        written.append(int(ids))
    return start + alphabet.decode(written)


def stored_losses() -> dict[tuple[str, int, float], list[float]]:
    """What `benchmarks/char_models.py` last wrote to ladder.json beside this file: (kind, units, rate) → held-out losses in nats, one a seed."""
    content = json.loads(resources.files("course_lib.nn.recurrent").joinpath("ladder.json").read_text(encoding="utf-8"))
    losses: dict[tuple[str, int, float], list[float]] = {}
    for run in content["runs"]:
        losses.setdefault((run["kind"], run["hidden"], run["lr"]), []).append(run["held_out_loss"])
    return losses

"""Sequences of unequal length in one batch: padded to the longest, with a count of the real steps of each.

A padded step must change nothing: not the state that is carried on, not the output, not the gradient. torch does this by packing
(`torch.nn.utils.rnn.pack_padded_sequence`), which sorts by length and lets the batch shrink as sequences end; `run_padded` does it by a mask, which
is simpler to see and computes steps whose results it throws away.

Dimensions: N sequences, T steps of the longest, D inputs, H units. lengths (N,): whole numbers from 1 to T.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def pad(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sequences of shapes (T_n, D) → one batch (N, T, D) with zeros after each end, and the lengths (N,)."""
    if not sequences or any(sequence.ndim != 2 or len(sequence) == 0 for sequence in sequences):
        raise ValueError("wanted at least one sequence, each of shape (steps, inputs) and not empty")
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True), lengths


def real_steps(lengths: Tensor, steps: int) -> Tensor:
    """lengths (N,) → (N, T) booleans, True where a step is real."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def last_real(states: Tensor, lengths: Tensor) -> Tensor:
    """states (N, T, H) → (N, H): each row's state at its last real step, which `states[:, -1]` is for the longest rows only."""
    check_lengths(lengths, states)
    return states[torch.arange(len(states), device=states.device), lengths.to(states.device) - 1]


def run_padded(cell: Callable[[Tensor, Tensor], Tensor], x: Tensor, lengths: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Run a cell over a padded batch; a row's state stays as it is once the row has ended.

    cell: (x_t (N, D), h (N, H)) → h (N, H); x (N, T, D); h (N, H) the first state → (states (N, T, H), zero where a step is not real; last (N, H))
    """
    check_lengths(lengths, x)
    real = real_steps(lengths.to(x.device), x.size(1))[..., None]  # (N, T, 1)
    states = []
    for t in range(x.size(1)):
        h = torch.where(real[:, t], cell(x[:, t], h), h)
        states.append(h)
    return torch.where(real, torch.stack(states, dim=1), 0.0), h


def check_lengths(lengths: Tensor, batch: Tensor) -> None:
    """ValueError unless there is one length for each row of batch (N, T, …), from 1 to T."""
    if lengths.shape != batch.shape[:1] or lengths.min() < 1 or lengths.max() > batch.size(1):
        raise ValueError(f"wanted {len(batch)} lengths from 1 to {batch.size(1)}, was given {lengths.tolist()}")

"""From a model of the next token to a sequence: greedy choice, and beam search with a length penalty (Wu et al., 2016, section 7).

A model is a function `step(memory, tokens)` → logits (N, V) of the next token, with memory (N, ...) and tokens so far (N, T), the first of them bos.

Dimensions: N sequences, T tokens so far, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], Tensor]


def greedy(step: Step, memory: Tensor, *, bos: int, eos: int, max_len: int) -> list[list[int]]:
    """The likeliest next token, again and again, for N sequences at once. → one list of tokens for each, without bos and eos.

    A sequence ends before its first eos, or after max_len tokens. The search ends when every sequence has.
    """
    tokens = torch.full((len(memory), 1), bos, device=memory.device)  # (N, 1)
    ended = torch.zeros(len(memory), dtype=torch.bool, device=memory.device)
    for _ in range(max_len):
        best = step(memory, tokens).argmax(-1)  # (N,)
        tokens = torch.cat([tokens, best[:, None]], 1)
        ended |= best == eos
        if ended.all():
            break
    return [until(row, eos) for row in tokens[:, 1:].tolist()]


def until(tokens: list[int], eos: int) -> list[int]:
    """The tokens before the first eos; all of them where there is none."""
    return tokens[: tokens.index(eos)] if eos in tokens else tokens


def beam_search(step: Step, memory: Tensor, *, width: int, bos: int, eos: int, max_len: int, alpha: float = 0.0) -> tuple[list[int], float]:
    """The best sequence that `width` parallel trials find, for one source: memory (1, ...). → (tokens without bos and eos, its score).

    In each round every unfinished trial is continued by every token; the `width` best of all continuations, by the sum of log-probabilities, stay.
    Those that end in eos are finished, the others go on, for max_len rounds at most; what is unfinished then counts as it stands. The winner has
    the highest sum / n^alpha, n being its number of tokens, eos included: alpha 0 prefers short sequences, 1 compares means per token.
    """
    if len(memory) != 1 or width < 1:
        raise ValueError(f"wanted the memory of 1 source and a width of at least 1, was given {len(memory)} and {width}")
    live, sums = torch.full((1, 1), bos, device=memory.device), torch.zeros(1, device=memory.device)  # (L, T), (L,)
    done: list[tuple[float, list[int]]] = []
    for length in range(1, max_len + 1):
        log_probs = step(memory.expand(len(live), *memory.shape[1:]), live).log_softmax(-1)  # (L, V)
        totals = sums[:, None] + log_probs  # (L, V)
        sums, places = totals.flatten().topk(min(width, totals.numel()))
        rows, tokens = places // totals.size(1), places % totals.size(1)
        live = torch.cat([live[rows], tokens[:, None]], 1)
        over = (tokens == eos) | (length == max_len)
        done += [(total / length**alpha, trial[1:]) for total, trial in zip(sums[over].tolist(), live[over].tolist(), strict=True)]
        live, sums = live[~over], sums[~over]
        if not len(live):
            break
    score, best = max(done)
    return until(best, eos), score

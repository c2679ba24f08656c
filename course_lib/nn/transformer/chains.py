"""Two models small enough to be known by heart, for trying out a decoder on: what comes next is read from a table.

Both have the shape that decoding asks for: `step(memory, tokens)`, with memory (N, ...) and the tokens so far (N, T), T at least 1, gives logits
(N, V) of the next token.

Dimensions: N sequences, T tokens so far, L most tokens, V vocabulary.
"""

from torch import Tensor


def chain_step(memory: Tensor, tokens: Tensor) -> Tensor:
    """memory (N, V, V): row v holds the logits of what follows token v. Only the last token counts."""
    rows = tokens[:, -1, None, None].expand(-1, 1, memory.size(-1))  # (N, 1, V)
    return memory.gather(1, rows).squeeze(1)


def history_step(memory: Tensor, tokens: Tensor) -> Tensor:
    """memory (N, L, V, V): every token so far has a say, by what it is and where it stands; the logits are the sum of what they say."""
    length = tokens.size(1)
    if length > memory.size(1):
        raise ValueError(f"{length} tokens are more than the {memory.size(1)} that the table knows")
    rows = tokens[:, :, None, None].expand(-1, -1, 1, memory.size(-1))  # (N, T, 1, V)
    return memory[:, :length].gather(2, rows).squeeze(2).sum(1)  # (N, V)

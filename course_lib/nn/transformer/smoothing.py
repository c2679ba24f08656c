"""Cross-entropy with label smoothing (Szegedy et al., 2016; Vaswani et al., 2017, section 5.4), as `F.cross_entropy(label_smoothing=...)`.

Dimensions: B batch, T time (tokens), V vocabulary.
"""

from torch import Tensor


def smoothed_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.1, pad: int = 0) -> Tensor:
    """The mean over all labels that are not padding, in nats. logits (B, T, V), labels (B, T) → a tensor with one number.

    The wanted distribution gives 1 - smoothing to the label and spreads `smoothing` evenly over all V, the label among them. A loss of 0 is then out
    of reach: the least possible is the entropy of that distribution.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must lie between 0 and 1, got {smoothing}")
    log_probs = logits.log_softmax(-1)  # (B, T, V)
    right = log_probs.gather(-1, labels[..., None]).squeeze(-1)  # (B, T)
    losses = -(1 - smoothing) * right - smoothing * log_probs.mean(-1)  # (B, T)
    return losses[labels != pad].mean()

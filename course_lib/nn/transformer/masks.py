"""Who may attend to whom. Everywhere in the course, True means "may attend"; torch's `key_padding_mask` says True for "leave out".

Dimensions: B batch, Ts source tokens, Tt target tokens.
"""

from torch import Tensor

from course_lib.nn.attention.masks import causal_mask


def padding_mask(tokens: Tensor, pad: int) -> Tensor:
    """tokens (B, T) → (B, 1, T): every query may attend to every token that is not padding."""
    return (tokens != pad)[:, None, :]


def make_masks(source: Tensor, target: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """source (B, Ts), target (B, Tt) → source_mask (B, 1, Ts), target_mask (B, Tt, Tt): no padding, and in the target nothing later."""
    return padding_mask(source, pad), padding_mask(target, pad) & causal_mask(target.size(1), device=target.device)

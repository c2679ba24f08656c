"""Multi-head attention (Vaswani et al., 2017, section 3.2.2): several look-ups side by side, each in a narrow space of its own.

Equal to torch's nn.MultiheadAttention with copied weights (`from_torch`), but for the mask: here True means "may attend".

Dimensions: B batch, Tq and Tk tokens, W width of the model, H heads, D = W / H width of a head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.nn.attention.scaled import attention_weights, fused_attention


@dataclass(frozen=True)
class AttentionConfig:
    """width W is divided among num_heads; bias adds a learnt vector after each of the four maps."""

    width: int
    num_heads: int
    bias: bool = True

    def __post_init__(self) -> None:
        if self.width < 1 or self.num_heads < 1:
            raise ValueError(f"wanted width and num_heads of at least 1, was given {self.width} and {self.num_heads}")
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not a multiple of num_heads {self.num_heads}")

    @property
    def head_dim(self) -> int:
        return self.width // self.num_heads


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, T, W) → (B, H, T, D): head h gets the numbers h·D to (h+1)·D of every token.

    First cut the last axis, then exchange two. A view straight to (B, H, T, D) has the right shape and deals the tokens out wrongly.
    """
    return x.unflatten(-1, (num_heads, -1)).transpose(-3, -2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, D) → (B, T, W), the way back."""
    return x.transpose(-3, -2).flatten(-2)


class MultiHeadAttention(nn.Module):
    """Four linear maps around an attention: to queries, keys and values, and from the heads' results to the output."""

    def __init__(self, config: AttentionConfig):
        super().__init__()
        self.config = config
        self.query = nn.Linear(config.width, config.width, bias=config.bias)
        self.key = nn.Linear(config.width, config.width, bias=config.bias)
        self.value = nn.Linear(config.width, config.width, bias=config.bias)
        self.output = nn.Linear(config.width, config.width, bias=config.bias)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """x (B, Tq, W) asks, context (B, Tk, W) answers → (B, Tq, W). Without a context, x answers itself: self-attention.

        mask (Tq, Tk) or anything that broadcasts to (B, H, Tq, Tk), such as (B, 1, 1, Tk); True means "may attend".
        """
        query, key, value = self._heads(x, context)
        return self.output(merge_heads(fused_attention(query, key, value, mask, causal=causal)))

    def weights(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The table that the fused kernel never builds, for looking at: (B, H, Tq, Tk)."""
        query, key, _ = self._heads(x, context)
        return attention_weights(query, key, mask)

    def _heads(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        source = x if context is None else context
        maps = ((self.query, x), (self.key, source), (self.value, source))
        query, key, value = (split_heads(layer(tokens), self.config.num_heads) for layer, tokens in maps)
        return query, key, value


def from_torch(other: nn.MultiheadAttention) -> MultiHeadAttention:
    """The same function with the same weights. torch stacks the weights of query, key and value in one (3W, W) matrix."""
    if other.in_proj_weight is None or other.bias_k is not None or other.add_zero_attn or other.dropout:
        raise ValueError("wanted an nn.MultiheadAttention with one width, without dropout, bias_k and add_zero_attn")
    ours = MultiHeadAttention(AttentionConfig(other.embed_dim, other.num_heads, bias=other.in_proj_bias is not None))
    with torch.no_grad():
        for layer, weight in zip((ours.query, ours.key, ours.value), other.in_proj_weight.chunk(3), strict=True):
            layer.weight.copy_(weight)
        ours.output.weight.copy_(other.out_proj.weight)
        if other.in_proj_bias is not None:
            for layer, bias in zip((ours.query, ours.key, ours.value), other.in_proj_bias.chunk(3), strict=True):
                layer.bias.copy_(bias)
            ours.output.bias.copy_(other.out_proj.bias)
    return ours

"""The encoder: layers in which all tokens of the source look at each other (Vaswani et al., 2017, section 3.1).

Parameter names and, with the same weights, values and gradients are those of `nn.TransformerEncoder(..., batch_first=True)`.

A layer adds to its input twice: what attention brings in from other tokens, then what a small network makes of each token alone. Post-norm, as in
the paper, normalises after each addition; pre-norm (Xiong et al., 2020) before each part, so that the way along the additions stays clear.

Dimensions: B batch, T time (tokens), W width, H hidden width of the feed-forward network.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from course_lib.nn.transformer.attention import MultiHeadAttention

Norm = Literal["pre", "post"]


@dataclass(frozen=True)
class LayerConfig:
    """One layer, of the encoder or of the decoder. dropout: share of numbers set to 0 in training, wherever torch's layers do so."""

    width: int = 64
    num_heads: int = 4
    hidden: int = 128
    dropout: float = 0.0
    norm: Norm = "pre"

    def __post_init__(self) -> None:
        if self.norm not in ("pre", "post"):
            raise ValueError(f"norm must be 'pre' or 'post', got {self.norm!r}")
        if self.width < 1 or self.hidden < 1 or self.num_heads < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"wanted sizes of at least 1 and a dropout from 0 to less than 1, was given {self}")


class EncoderLayer(nn.Module):
    """x + attention, x + feed-forward, each with its normalisation."""

    def __init__(self, config: LayerConfig):
        super().__init__()
        self.pre = config.norm == "pre"
        self.self_attn = MultiHeadAttention(config.width, config.num_heads, config.dropout)
        self.linear1 = nn.Linear(config.width, config.hidden)
        self.linear2 = nn.Linear(config.hidden, config.width)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, W), mask (B, T, T) or what broadcasts to it, True = may attend → (B, T, W)."""
        if self.pre:
            x = x + self._attend(self.norm1(x), mask)
            return x + self._feed_forward(self.norm2(x))
        x = self.norm1(x + self._attend(x, mask))
        return self.norm2(x + self._feed_forward(x))

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.drop(self.self_attn(x, x, mask))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.drop(self.linear2(self.drop(torch.relu(self.linear1(x)))))  # (B, T, W) → (B, T, H) → (B, T, W)


class Encoder(nn.Module):
    """A stack of layers, and one normalisation at the end: pre-norm leaves the sum itself unnormalised; nn.Transformer has it in any case."""

    def __init__(self, config: LayerConfig, num_layers: int):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(num_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, W), mask as in a layer → one vector for each token, (B, T, W)."""
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)

"""The decoder: layers in which each target token looks at those before it, and then at the source (Vaswani et al., 2017, section 3.1).

Parameter names and, with the same weights, values and gradients are those of `nn.TransformerDecoder(..., batch_first=True)`, where
`multihead_attn` is the attention to the source.

Dimensions: B batch, Tt target tokens, Ts source tokens, W width.
"""

import torch
from torch import Tensor, nn

from course_lib.nn.transformer.attention import MultiHeadAttention
from course_lib.nn.transformer.encoder import LayerConfig


class DecoderLayer(nn.Module):
    """y + attention among the target, y + attention to the source, y + feed-forward, each with its normalisation."""

    def __init__(self, config: LayerConfig):
        super().__init__()
        self.pre = config.norm == "pre"
        self.self_attn = MultiHeadAttention(config.width, config.num_heads, config.dropout)
        self.multihead_attn = MultiHeadAttention(config.width, config.num_heads, config.dropout)
        self.linear1 = nn.Linear(config.width, config.hidden)
        self.linear2 = nn.Linear(config.hidden, config.width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(config.width) for _ in range(3))
        self.drop = nn.Dropout(config.dropout)

    def forward(self, y: Tensor, memory: Tensor, target_mask: Tensor | None = None, source_mask: Tensor | None = None) -> Tensor:
        """y (B, Tt, W), memory (B, Ts, W), target_mask → (B, Tt, Tt), source_mask → (B, Tt, Ts), True = may attend; → (B, Tt, W).

        The memory is used as it comes: the encoder has normalised it.
        """
        if self.pre:
            y = y + self._attend(self.norm1(y), target_mask)
            y = y + self._look(self.norm2(y), memory, source_mask)
            return y + self._feed_forward(self.norm3(y))
        y = self.norm1(y + self._attend(y, target_mask))
        y = self.norm2(y + self._look(y, memory, source_mask))
        return self.norm3(y + self._feed_forward(y))

    def _attend(self, y: Tensor, mask: Tensor | None) -> Tensor:
        return self.drop(self.self_attn(y, y, mask))

    def _look(self, y: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        return self.drop(self.multihead_attn(y, memory, mask))

    def _feed_forward(self, y: Tensor) -> Tensor:
        return self.drop(self.linear2(self.drop(torch.relu(self.linear1(y)))))


class Decoder(nn.Module):
    """A stack of layers, and one normalisation at the end."""

    def __init__(self, config: LayerConfig, num_layers: int):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(num_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, y: Tensor, memory: Tensor, target_mask: Tensor | None = None, source_mask: Tensor | None = None) -> Tensor:
        """As a layer: y (B, Tt, W), memory (B, Ts, W) → (B, Tt, W)."""
        for layer in self.layers:
            y = layer(y, memory, target_mask, source_mask)
        return self.norm(y)

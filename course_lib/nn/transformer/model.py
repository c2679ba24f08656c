"""The whole: embeddings, positions, encoder, decoder, output layer (Vaswani et al., 2017).

Dimensions: B batch, Ts source tokens, Tt target tokens, W width, V target vocabulary.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from course_lib.nn.transformer.decoder import Decoder
from course_lib.nn.transformer.encoder import Encoder, LayerConfig
from course_lib.nn.transformer.masks import make_masks, padding_mask
from course_lib.nn.transformer.positions import sinusoidal_positions
from course_lib.nn.transformer.smoothing import smoothed_loss


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a translator. The numbers of layers, words and places have nothing to do with one another."""

    source_vocab: int
    target_vocab: int
    layer: LayerConfig = field(default_factory=LayerConfig)
    num_layers: int = 2  # of the encoder, and of the decoder
    max_len: int = 64  # places of the table; the waves themselves go on
    pad: int = 0

    def __post_init__(self) -> None:
        if min(self.source_vocab, self.target_vocab, self.num_layers, self.max_len) < 1:
            raise ValueError(f"wanted sizes of at least 1, was given {self}")


class Transformer(nn.Module):
    """Source tokens in, logits of the next target token out, at every place of the target at once."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        width = config.layer.width
        self.config = config
        self.source_embedding, self.target_embedding = nn.Embedding(config.source_vocab, width), nn.Embedding(config.target_vocab, width)
        self.encoder, self.decoder = Encoder(config.layer, config.num_layers), Decoder(config.layer, config.num_layers)
        self.output = nn.Linear(width, config.target_vocab)
        self.drop = nn.Dropout(config.layer.dropout)
        self.positions: Tensor
        self.register_buffer("positions", sinusoidal_positions(config.max_len, width), persistent=False)
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.normal_(embedding.weight, std=width**-0.5)

    def encode(self, source: Tensor) -> Tensor:
        """source (B, Ts) token ids → memory (B, Ts, W): a vector for every token, however many there are."""
        return self.encoder(self._embed(self.source_embedding, source), padding_mask(source, self.config.pad))

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """target (B, Tt) tokens so far, bos first; memory of `source` → logits (B, Tt, V): place t says what should follow tokens 0 to t."""
        source_mask, target_mask = make_masks(source, target, self.config.pad)
        y = self.decoder(self._embed(self.target_embedding, target), memory, target_mask, source_mask)  # (B, Tt, W)
        return self.output(y)

    def forward(self, source: Tensor, target: Tensor, labels: Tensor | None = None, smoothing: float = 0.0) -> tuple[Tensor, Tensor | None]:
        """→ (logits (B, Tt, V), loss). target starts with bos, labels end with eos: labels[t] is what should follow target[t]."""
        logits = self.decode(target, self.encode(source), source)
        return logits, None if labels is None else smoothed_loss(logits, labels, smoothing, self.config.pad)

    def next_logits(self, source: Tensor, tokens: Tensor) -> Tensor:
        """The model as `decoding` wants it, with the source tokens for its memory: (N, Ts), (N, T) → (N, V). Encodes anew at every step."""
        return self.decode(tokens, self.encode(source), source)[:, -1]

    def _embed(self, embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        """tokens (B, T) → (B, T, W), of variance 1 before the positions are added."""
        if tokens.size(1) > len(self.positions):
            raise ValueError(f"{tokens.size(1)} tokens are more than max_len {len(self.positions)}")
        x = embedding(tokens) * self.positions.size(1) ** 0.5
        return self.drop(x + self.positions[: tokens.size(1)])

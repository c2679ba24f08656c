"""The shapes of well-known models, from their papers and published configurations. Nothing is counted here; `counting` does that.

Sources: Devlin et al. (2018) for BERT, Radford et al. (2019) for GPT-2, Brown et al. (2020, table 2.1) for GPT-3, Touvron et al. (2023a)
for the first Llama, Jiang et al. (2023) for Mistral.
"""

from dataclasses import dataclass
from typing import Literal

Family = Literal["bert", "gpt2", "llama"]


@dataclass(frozen=True)
class TransformerShape:
    """A Transformer of one of three families, which differ in the small print:

    bert   learned positions, segments, a norm after the embeddings, a pooler at the top; no output head is counted
    gpt2   learned positions, a final norm; the output head is the token table itself, turned round ("tied")
    llama  rotary positions (no parameters), no biases, a third feed-forward matrix, norms with a scale only, a head of its own

    vocabulary: number of different tokens; positions: longest context; width: numbers that stand for one token (d);
    hidden: inner width of the feed-forward part; kv_heads: heads of keys and values, as many as `heads` unless given.
    """

    name: str
    family: Family
    vocabulary: int
    positions: int
    width: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int | None = None
    segments: int = 2  # of BERT: first text, second text

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.kv_heads is not None and self.family != "llama":
            raise ValueError(f"only the llama family shares heads of keys and values; was given kv_heads {self.kv_heads} for {self.family}")
        if self.family not in ("bert", "gpt2", "llama"):
            raise ValueError(f"family must be 'bert', 'gpt2' or 'llama', got {self.family!r}")

    @property
    def kv_width(self) -> int:
        """Numbers in one token's key, and in its value."""
        return self.width // self.heads * (self.kv_heads or self.heads)


def _bert(name: str, width: int, layers: int, heads: int) -> TransformerShape:
    return TransformerShape(name, "bert", 30_522, 512, width, 4 * width, layers, heads)


def _gpt(name: str, width: int, layers: int, heads: int, positions: int = 1024) -> TransformerShape:
    return TransformerShape(name, "gpt2", 50_257, positions, width, 4 * width, layers, heads)


BERT_BASE = _bert("BERT-base", 768, 12, 12)
BERT_LARGE = _bert("BERT-large", 1024, 24, 16)
GPT2 = _gpt("GPT-2", 768, 12, 12)
GPT2_MEDIUM = _gpt("GPT-2 medium", 1024, 24, 16)
GPT2_LARGE = _gpt("GPT-2 large", 1280, 36, 20)
GPT2_XL = _gpt("GPT-2 XL", 1600, 48, 25)
GPT3 = _gpt("GPT-3", 12_288, 96, 96, positions=2048)
LLAMA_7B = TransformerShape("Llama 7B", "llama", 32_000, 2048, 4096, 11_008, 32, 32)
MISTRAL_7B = TransformerShape("Mistral 7B", "llama", 32_000, 32_768, 4096, 14_336, 32, 32, kv_heads=8)

SHAPES = (BERT_BASE, BERT_LARGE, GPT2, GPT2_MEDIUM, GPT2_LARGE, GPT2_XL, LLAMA_7B, MISTRAL_7B, GPT3)

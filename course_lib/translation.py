"""Training a Transformer to translate, and judging it: the loop around `course_lib.nn.transformer`.

A translation is right when every sign of it is; the share of such translations on held-out pairs is the figure that counts.

Dimensions: B batch, Ts source tokens, Tt target tokens.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.data.pairs import BOS, EOS, PAD, Pair, PairSplit, Vocabulary, teacher_pairs
from course_lib.device import seed_everything
from course_lib.nn.transformer.decoding import greedy
from course_lib.nn.transformer.encoder import LayerConfig
from course_lib.nn.transformer.model import Transformer, TransformerConfig
from course_lib.nn.transformer.schedule import transformer_rate
from course_lib.train import epoch_order, evaluation_mode

MOST_TOKENS = 20  # of an answer


@dataclass(frozen=True)
class TranslationConfig:
    """How to train. The rate of a step is factor times the paper's; smoothing is that of the labels."""

    steps: int = 600
    batch_size: int = 64
    warmup: int = 150
    factor: float = 0.5
    ramp: bool = True  # False: the rate starts at its highest
    smoothing: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError(f"wanted steps and batch_size of at least 1, was given {self}")


@dataclass(frozen=True)
class Translator:
    """A trained network and the vocabularies that it was trained with."""

    model: Transformer
    source: Vocabulary
    target: Vocabulary

    def __call__(self, sentences: list[str]) -> list[str]:
        """Greedy translations, all sentences in one batch."""
        device = next(self.model.parameters()).device
        tokens = torch.from_numpy(self.source.encode(sentences)).to(device)
        with evaluation_mode(self.model):
            answers = greedy(self.model.next_logits, tokens, bos=BOS, eos=EOS, max_len=MOST_TOKENS)
        return [self.target.text(answer) for answer in answers]


def exact_share(translate: Callable[[list[str]], list[str]], pairs: Iterable[Pair], batch_size: int = 500) -> float:
    """The share of pairs whose translation is right in every sign."""
    pairs = list(pairs)
    parts = [pairs[place : place + batch_size] for place in range(0, len(pairs), batch_size)]
    right = sum(answer == pair.target for part in parts for answer, pair in zip(translate([pair.source for pair in part]), part, strict=True))
    return right / len(pairs)


def train_translator(
    pairs: PairSplit,
    config: TranslationConfig | None = None,
    layer: LayerConfig | None = None,
    *,
    make: Callable[[TransformerConfig], Transformer] = Transformer,
    device: torch.device | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> tuple[Translator, list[float]]:
    """Train on pairs.train alone. → (translator, the loss of every step)

    make builds the network from its config; on_step is called after every step with its number and loss.
    """
    config = config or TranslationConfig()
    source, target = (Vocabulary.of(texts) for texts in zip(*pairs.train, strict=True))
    seed_everything(config.seed)
    model = make(TransformerConfig(len(source), len(target), layer or LayerConfig(), pad=PAD)).to(device)
    data = tuple(
        torch.from_numpy(table).to(device)
        for table in (source.encode([pair.source for pair in pairs.train]), *teacher_pairs(target, [pair.target for pair in pairs.train]))
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, betas=(0.9, 0.98), eps=1e-9)  # the paper's section 5.3
    losses = []
    model.train()
    for step in range(config.steps):
        batch = _batch(data, step, config)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config, model.config.layer.width)
        optimizer.zero_grad()
        _, loss = model(*batch, smoothing=config.smoothing)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, losses[-1])
    return Translator(model, source, target), losses


def learning_rate(step: int, config: TranslationConfig, width: int) -> float:
    """The rate of a step, counted from 0."""
    return config.factor * transformer_rate(step if config.ramp else max(step, config.warmup - 1), width, config.warmup)


def _batch(data: tuple[Tensor, ...], step: int, config: TranslationConfig) -> list[Tensor]:
    """Rows of one step: every epoch in an order of its own, the last short batch of an epoch left out; columns of nothing but padding cut off."""
    rows = len(data[0])
    size = min(config.batch_size, rows)
    epoch, place = divmod(step, rows // size)
    chosen = epoch_order(rows, config.seed, epoch)[place * size : (place + 1) * size]
    picked = [table[chosen.to(table.device)] for table in data]
    return [table[:, : int((table != PAD).sum(1).max())] for table in picked]

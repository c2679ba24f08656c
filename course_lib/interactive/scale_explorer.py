"""Where do the parameters of a GPT sit, and what fills the memory while it learns? Bars that follow four choices.

Everything is counted from the shape, nothing is built: `course_lib.scale` does the arithmetic.
"""

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.interactive.show import Choice, InteractiveFigure
from course_lib.interactive.style import BLUE, FAINT, INK, ORANGE, new_figure

HEAD_WIDTH = 64
PARTS = ("token table", "positions", "attention", "feed-forward", "norms")
KINDS = ("weights", "gradients", "optimizer", "activations")
TOKENS_PER_PARAMETER = 20  # about what Hoffmann et al. (2022) found to be the best use of a given amount of arithmetic
CARDS, UTILISATION = 1024, 0.4


@dataclass(frozen=True)
class Size:
    """A model in numbers: parameters by part, and bytes by kind for training on one text."""

    params: dict[str, int]
    bytes: dict[str, int]
    card_memory: float
    days: float  # on CARDS cards, comparisons of tokens included

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(self.params.values())

    @property
    def memory(self) -> int:
        """All bytes."""
        return sum(self.bytes.values())


def measure(layers: int, width: int, vocabulary: int, context: int) -> Size:
    """The size of a GPT of this shape; mixed-precision Adam, one text of full length, nothing recomputed."""
    from course_lib.scale import counting, flops, hardware, memory  # here, because these modules hold answers to exercises
    from course_lib.scale.models import TransformerShape

    shape = TransformerShape("yours", "gpt2", vocabulary, context, width, 4 * width, layers, width // HEAD_WIDTH)
    parts = counting.transformer_parts(shape)
    params = sum(parts.values())
    plan = flops.Plan(hardware.A100, CARDS, UTILISATION, price=0)
    tokens = TOKENS_PER_PARAMETER * params
    by_rule = flops.training_cost(params, tokens, plan)
    days = by_rule.days * (1 + flops.attention_flops(shape, tokens) / by_rule.flops)
    return Size({part: parts[part] for part in PARTS}, memory.training_bytes(shape, params, batch=1), hardware.A100.memory, days)


def short(count: float) -> str:
    """Three digits and a word: 1.56 billion, 124 million, 38.6 thousand, 85."""
    for size, word in ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if count >= size:
            return f"{count / size:.3g}{word}" if count / size < 999.5 else f"{count / size:.0f}{word}"
    return f"{count:.3g}"


def gigabytes(count: float) -> str:
    """Bytes in GB, with digits as they matter: 0.0021 GB, 13.5 GB, 2,790 GB."""
    size = count / 1e9
    return f"{size:,.0f} GB" if size >= 100 else f"{size:.3g} GB"


def share(part: float) -> str:
    """Per cent with one digit; what is not nothing is not called 0.0%."""
    return "less than 0.1%" if 0 < part < 0.0005 else f"{part:.1%}"


def cards_filled(cards: float) -> str:
    """3.1% of a card of 80 GB; 1.8 times a card of 80 GB; from ten on whole cards, as many as are needed."""
    if cards >= 10:
        return f"{math.ceil(cards):,} cards of 80 GB"
    return f"{cards:.2g} times a card of 80 GB" if cards > 1 else f"{share(cards)} of a card of 80 GB"


def duration(days: float) -> str:
    """331 days, 4.2 hours, 15 seconds."""
    for size, word in ((1, "days"), (1 / 24, "hours"), (1 / 1440, "minutes")):
        if days >= 2 * size:
            return f"{days / size:,.3g} {word}" if days / size < 1000 else f"{days / size:,.0f} {word}"
    return f"{86_400 * days:.2g} seconds"


def draw_size(size: Size) -> Figure:
    """Left the parameters by part, right the bytes by kind."""
    figure = new_figure(9.4, 3.3)
    left, right = figure.add_axes((0.115, 0.16, 0.36, 0.68)), figure.add_axes((0.6, 0.16, 0.36, 0.68))
    counts = [size.params[part] for part in PARTS]
    _bars(left, PARTS, counts, [share(count / size.total) for count in counts], BLUE, max(counts))
    left.set_title(f"{short(size.total)} parameters", fontsize=11, color=INK)
    left.set_xlabel("share of all parameters")
    left.set_xticks([])

    loads = [size.bytes[kind] for kind in KINDS]
    _bars(right, KINDS, loads, [gigabytes(load) for load in loads], ORANGE, max(loads))
    right.set_title(f"{gigabytes(size.memory)} to train on one text at a time", fontsize=11, color=INK)
    right.set_xlabel(f"together {cards_filled(size.memory / size.card_memory)}")
    right.set_xticks([])
    return figure


def _bars(axes: Axes, names: tuple[str, ...], values: list[int], labels: list[str], colour: str, widest: float) -> None:
    axes.barh(range(len(names)), values, color=colour, edgecolor=INK, linewidth=0.6)
    for row, (value, label) in enumerate(zip(values, labels, strict=True)):
        axes.text(value + 0.015 * widest, row, label, va="center", fontsize=9.5, color=INK)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, 1.28 * widest)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def scale_explorer(
    layers: tuple[int, ...] = (2, 6, 12, 24, 48, 96),
    widths: tuple[int, ...] = (128, 768, 1600, 4096, 12_288),
    vocabularies: tuple[int, ...] = (256, 50_257, 250_000),
    contexts: tuple[int, ...] = (128, 1024, 8192),
) -> InteractiveFigure:
    """Four choices for a GPT; it starts as GPT-2. Widths must be multiples of 64, the width of a head."""
    if any(width % HEAD_WIDTH for width in widths):
        raise ValueError(f"widths must be multiples of {HEAD_WIDTH}, got {widths}")

    def caption(layers: int, width: int, vocabulary: int, context: int) -> str:
        size = measure(layers, width, vocabulary, context)
        largest = max(size.params, key=lambda part: size.params[part])
        fits = "fits" if size.memory <= size.card_memory else "does not fit"
        return (
            f"{layers} layers of width {width:,}, {vocabulary:,} different tokens, texts of {context:,}: {size.total:,} parameters; the largest part "
            f"({size.params[largest] / size.total:.0%} of them) is called {largest}. Training on one text at a time takes "
            f"{gigabytes(size.memory)} and {fits} into one card of 80 GB. Reading "
            f"{TOKENS_PER_PARAMETER} tokens for each parameter would take {CARDS:,} A100 cards, busy to {UTILISATION:.0%}, {duration(size.days)}."
        )

    def middle(options: tuple[int, ...], wanted: int) -> int:
        return wanted if wanted in options else options[len(options) // 2]

    return InteractiveFigure(
        controls={
            "layers": Choice("layers", layers, start=middle(layers, 12)),
            "width": Choice("width", widths, start=middle(widths, 768)),
            "vocabulary": Choice("vocabulary", vocabularies, start=middle(vocabularies, 50_257)),
            "context": Choice("context", contexts, start=middle(contexts, 1024)),
        },
        draw=lambda **values: draw_size(measure(**values)),
        caption=caption,
        alt="Two groups of bars. Left: the parameters of a GPT by part (token table, positions, attention, feed-forward, norms). Right: the bytes "
        "that training takes, by kind (weights, gradients, optimizer, activations), with their sum beside the 80 GB of one card.",
    )

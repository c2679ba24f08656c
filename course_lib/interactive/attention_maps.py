"""Attention maps of a sentence that the reader types: which word looks at which, by heads whose queries and keys are set by hand.

Nothing is learnt here. Each head says what its queries ask for and what its keys offer, as vectors; the rest (dot product, √D, mask, softmax) is the
same for all. So the figure shows what a head can express, and what a mask and the size of the scores do to it. Trained heads find such patterns,
and less tidy ones, by themselves.

Dimensions: T words, D width of queries and keys.
"""

import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from course_lib.interactive.show import Choice, InteractiveFigure, Text
from course_lib.interactive.style import FAINT, INK, PAPER, VERMILION, new_figure

MAX_WORDS = 18  # of a sentence that are shown
NUMBERS_UP_TO = 10  # words, for the weights to be written into the cells
WIDTH = 64  # of the random head
START = "The dogs chased a dog because they were bored ."
EXAMPLES = ("A rose is a rose is a rose .", "Time flies like an arrow ; fruit flies like a banana .")
MASKS = ("all words", "only earlier words (causal)", "the last three words are padding")
SIZES = (0.0, 0.25, 1.0, 8.0)

Vectors = tuple[np.ndarray, np.ndarray]  # queries (T, D), keys (T, D)


def words_of(sentence: str) -> list[str]:
    """Words and single marks, at most MAX_WORDS of them; at least one, so that there is something to draw."""
    return re.findall(r"\w+|[^\w\s]", sentence)[:MAX_WORDS] or ["…"]


def same_word(words: Sequence[str]) -> Vectors:
    """Query and key: which word it is, one place for each different word."""
    known = {word.lower(): place for place, word in enumerate(words)}
    vectors = np.zeros((len(words), len(words)))
    for row, word in enumerate(words):
        vectors[row, known[word.lower()]] = 1.0
    return 4.0 * len(words) ** 0.5 * vectors, vectors  # √D, which the division takes away again


def similar_spelling(words: Sequence[str]) -> Vectors:
    """Query and key: which pairs of neighbouring letters it has, ends of the word included."""
    pairs = [[f"<{word.lower()}>"[i : i + 2] for i in range(len(word) + 1)] for word in words]
    names = {name: place for place, name in enumerate(sorted({name for each in pairs for name in each}))}
    vectors = np.zeros((len(words), len(names)))
    for row, each in enumerate(pairs):
        for name in each:
            vectors[row, names[name]] += 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return 4.0 * len(names) ** 0.5 * vectors, vectors


def word_before(words: Sequence[str]) -> Vectors:
    """Query (i - 1, 1), key (j, -j²/2): their product is -(i - 1 - j)²/2 but for a term that is the same for the whole row."""
    place = np.arange(len(words), dtype=float)
    query = np.stack([place - 1, np.ones_like(place)], axis=1)
    key = np.stack([place, -(place**2) / 2], axis=1)
    return 3.0 * 2**0.5 * query, key


def long_words(words: Sequence[str]) -> Vectors:
    """Every query asks for the same: letters. So every row of the map is the same, and each word has one weight for all."""
    length = np.array([[float(len(word))] for word in words])
    return 0.5 * np.ones_like(length), length


def random_weights(words: Sequence[str]) -> Vectors:
    """A random vector for each word, and random maps to queries and keys: a head before any training."""
    vectors = np.stack([np.random.default_rng(zlib.crc32(word.lower().encode())).normal(size=WIDTH) for word in words])
    to_query, to_key = np.random.default_rng(0).normal(size=(2, WIDTH, WIDTH)) / WIDTH**0.5
    return vectors @ to_query, vectors @ to_key


HEADS: dict[str, Callable[[Sequence[str]], Vectors]] = {
    "the same word": same_word,
    "words spelt alike": similar_spelling,
    "the word before": word_before,
    "long words": long_words,
    "random weights": random_weights,
}


def allowed(mask: str, count: int) -> np.ndarray:
    """(T, T), True where a word may look: a row for each word that looks, a column for each that is looked at."""
    table = np.ones((count, count), dtype=bool)
    if mask == MASKS[1]:
        return np.tril(table)
    if mask == MASKS[2]:
        table[:, max(count - 3, 1) :] = False
    return table


def weights_of(words: Sequence[str], head: str, mask: str, size: float) -> np.ndarray:
    """The map (T, T): softmax of size · q·k/√D over what is allowed. No row is empty: each word sees itself, or the first word."""
    query, key = HEADS[head](words)
    scores = size * (query @ key.T) / query.shape[1] ** 0.5
    scores = np.where(allowed(mask, len(words)), scores, -np.inf)
    exp = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def draw_map(
    weights: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    may: np.ndarray | None = None,
    title: str = "",
    row_label: str = "this word looks",
    column_label: str = "at this word",
    marked: Sequence[int] | None = None,
) -> Figure:
    """Weights (R, C) as grey squares, black for 1; what a mask hides is crossed out.

    may (R, C): True where a row may look; marked: for each row, a column to be framed.
    """
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (len(rows), len(columns)):
        raise ValueError(f"weights have shape {weights.shape}; there are {len(rows)} rows and {len(columns)} columns of labels")
    side = 0.42
    left, top = 0.45 + 0.095 * max(map(len, rows)), 0.5 + 0.065 * max(map(len, columns))
    figure = new_figure(left + side * len(columns) + 0.2, top + side * len(rows) + 0.15)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 0.15 / height, side * len(columns) / width, side * len(rows) / height))
    axes.imshow(weights, cmap="gray_r", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), list(columns), rotation=55, ha="left", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for edge in range(len(columns) + 1):
        axes.axvline(edge - 0.5, color=FAINT, linewidth=0.4)
    for edge in range(len(rows) + 1):
        axes.axhline(edge - 0.5, color=FAINT, linewidth=0.4)
    if may is not None:
        for row, column in np.argwhere(~may):
            axes.plot([column - 0.3, column + 0.3], [row + 0.3, row - 0.3], color=FAINT, linewidth=0.8)
    if marked is not None:
        axes.plot(marked, range(len(rows)), linestyle="none", marker="s", markersize=17, fillstyle="none", color=VERMILION, markeredgewidth=1.6)
    if max(len(rows), len(columns)) <= NUMBERS_UP_TO:
        for (row, column), weight in np.ndenumerate(weights):
            if weight >= 0.005 and (may is None or may[row, column]):
                axes.text(
                    column,
                    row,
                    f"{weight:.2f}"[1:] if weight < 0.995 else "1",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=INK if weight < 0.5 else PAPER,
                )
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_ylabel(row_label, fontsize=9, color=INK)
    figure.text(left / width, 1 - 0.2 / height, f"{title}  ({column_label} →)" if title else f"{column_label} →", fontsize=9, color=INK, va="center")
    return figure


def attention_maps() -> InteractiveFigure:
    """Type a sentence; choose a head, a mask and the size of the scores."""

    def draw(sentence: str, head: str, mask: str, size: float) -> Figure:
        words = words_of(sentence)
        may = allowed(mask, len(words))
        return draw_map(weights_of(words, head, mask, size), words, words, may=may, title=f"{head}; {mask}; scores × {size:g}")

    def caption(sentence: str, head: str, mask: str, size: float) -> str:
        words = words_of(sentence)
        weights = weights_of(words, head, mask, size)
        row, column = np.unravel_index(int(weights.argmax()), weights.shape)
        spread = np.exp(-(weights * np.log(np.maximum(weights, 1e-30))).sum(axis=1)).mean()
        return (
            f"Head “{head}”, {mask}, scores times {size:g}: the largest weight is {weights.max():.2f}, of word {row + 1} “{words[row]}” on word "
            f"{column + 1} “{words[column]}”. On average a row is as spread out as {spread:.1f} equal weights."
        )

    return InteractiveFigure(
        controls={
            "sentence": Text("sentence", START, EXAMPLES),
            "head": Choice("head", tuple(HEADS), start="words spelt alike"),
            "mask": Choice("may look at", MASKS, start=MASKS[0]),
            "size": Choice("scores times", SIZES, start=1.0),
        },
        draw=draw,
        caption=caption,
        alt="A square table of a sentence: a row for each word that looks, a column for each word that is looked at, darker for a larger weight. "
        "What the mask hides is crossed out.",
    )

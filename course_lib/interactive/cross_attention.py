"""Where a translator looks while it writes: the weights of the cross-attention, sign by sign.

Dimensions: L layers, H heads, Tt written signs, Ts source words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_lib.interactive.show import Choice, InteractiveFigure, Steps
from course_lib.interactive.style import FAINT, INK, VERMILION, new_figure

CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Source Han Sans SC",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
    "Heiti TC",
)
# Where no font has the signs: what they stand for.
UNITS = {"十": "× 10", "百": "× 100", "千": "× 1,000", "万": "× 10,000"}
IN_LETTERS = dict(zip("零一二三四五六七八九", "0123456789", strict=True)) | UNITS | {">": "end"}
MEAN = "mean of all heads"


@dataclass(frozen=True)
class Reading:
    """source: the words that were read; target: the signs that were written, the end included; weights (L, H, Tt, Ts), rows add up to 1."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: np.ndarray

    def __post_init__(self) -> None:
        wanted = (len(self.target), len(self.source))
        if self.weights.ndim != 4 or self.weights.shape[2:] != wanted:
            raise ValueError(f"wanted weights of shape (layers, heads, {wanted[0]}, {wanted[1]}), got {self.weights.shape}")

    def head(self, name: str) -> np.ndarray:
        """(Tt, Ts), by the name of the choice."""
        if name == MEAN:
            return self.weights.mean((0, 1))
        _, layer, _, head = name.replace(",", "").split()
        return self.weights[int(layer) - 1, int(head) - 1]


def cross_attention_maps(readings: Sequence[Reading]) -> InteractiveFigure:
    """Choose a sentence and a head, and step through the signs as they are written. All readings come from one network."""
    if not readings or len({reading.weights.shape[:2] for reading in readings}) != 1:
        raise ValueError("wanted one reading or more, all with the same number of layers and heads")
    by_name = {" ".join(reading.source): reading for reading in readings}
    layers, heads = readings[0].weights.shape[:2]
    names = (MEAN, *(f"layer {layer + 1}, head {head + 1}" for layer in range(layers) for head in range(heads)))
    longest = max(readings, key=lambda reading: len(reading.target))

    def caption(sentence: str, head: str, sign: int) -> str:
        reading = by_name[sentence]
        row = min(sign, len(reading.target) - 1)
        weights = reading.head(head)[row]
        order = np.argsort(-weights, kind="stable")[:2]
        looks = " and ".join(f"“{reading.source[place]}” (word {place + 1}, {weights[place]:.0%})" for place in order)
        written = "".join(reading.target[:row]) or "nothing"
        return f"{head[0].upper()}{head[1:]}. Written so far: {written}; next comes {_name(reading.target[row])}, and it looks most at {looks}."

    return InteractiveFigure(
        controls={
            "sentence": Choice("sentence", tuple(by_name), start=" ".join(longest.source)),
            "head": Choice("head", names, start=MEAN),
            "sign": Steps("sign", last=len(longest.target) - 1, milliseconds=900),
        },
        draw=lambda sentence, head, sign: draw(by_name[sentence], head, sign),
        caption=caption,
        alt="A table of grey cells: a row for each written sign, a column for each source word. The darker a cell, the more of its weight the head "
        "gives to that word; a frame marks the row that is being written.",
        static={"sign": len(longest.target) - 1},
    )


def draw(reading: Reading, head: str, sign: int) -> Figure:
    """One map; rows below the sign that is being written are not there yet."""
    row = min(sign, len(reading.target) - 1)
    weights = reading.head(head)
    figure = new_figure(8.2, 0.9 + 0.36 * (len(reading.target) + 2))
    axes = figure.add_axes((0.14, 0.03, 0.83, 0.76))
    shown = np.where(np.arange(len(weights))[:, None] <= row, weights, 0.0)
    axes.imshow(shown, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for place, share in enumerate(weights[row]):
        axes.text(place, row, f"{share:.0%}", ha="center", va="center", fontsize=9, color="white" if share > 0.5 else INK)
    axes.add_patch(Rectangle((-0.5, row - 0.5), len(reading.source), 1, fill=False, edgecolor=VERMILION, linewidth=2.2, clip_on=False))
    _label(axes, reading, row)
    figure.text(0.02, 0.975, f"{head}: read (above) and written (left)", fontsize=10, color=INK, va="top")
    return figure


def _label(axes: Axes, reading: Reading, row: int) -> None:
    axes.set_xticks(range(len(reading.source)), reading.source, rotation=35, ha="left", rotation_mode="anchor", fontsize=10)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(reading.target)), [_shown(sign) for sign in reading.target], fontsize=11)
    for place, label in enumerate(axes.get_yticklabels()):
        label.set_color(INK if place <= row else FAINT)
        if font := _chinese_font():
            label.set_fontfamily([font, "DejaVu Sans"])
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(reading.source) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(reading.target) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#DDDDDD", linewidth=0.6)
    axes.tick_params(which="minor", length=0)


def _name(sign: str) -> str:
    return "the end" if sign == ">" else sign


def _shown(sign: str) -> str:
    """A sign as this machine can draw it."""
    if sign == ">" or not _chinese_font():
        return IN_LETTERS.get(sign, sign)
    return sign


def _chinese_font() -> str:
    """A font of this machine that has Chinese signs; empty where there is none."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in CHINESE_FONTS if name in installed), "")

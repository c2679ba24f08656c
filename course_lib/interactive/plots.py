"""Small pictures without controls. Each returns a matplotlib figure; `show_static(figure, alt=...)` puts it on the page."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from course_lib.interactive.style import BLUE, INK, new_figure, number


def digit_grid(images: np.ndarray, titles: Sequence[str] | None = None, columns: int = 10) -> Figure:
    """Grey pictures in rows of `columns`, dark ink on white, each under its title.

    images (N, H, W), or (N, P) with P a square number; the largest value of all pictures is black, zero and less is white.
    """
    images = np.asarray(images, dtype=float)
    if images.ndim == 2:
        side = math.isqrt(images.shape[1])
        if side * side != images.shape[1]:
            raise ValueError(f"rows of {images.shape[1]} pixels are not square pictures; give images of shape (N, H, W)")
        images = images.reshape(-1, side, side)
    if images.ndim != 3 or len(images) == 0:
        raise ValueError(f"images have shape {images.shape}; wanted (N, H, W) or (N, P) with N at least 1")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"{len(titles)} titles for {len(images)} images")
    if columns < 1:
        raise ValueError(f"columns is {columns}; wanted at least 1")

    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = new_figure(0.9 * columns + 0.1, (0.9 if titles is None else 1.2) * rows + 0.1)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for i, (axis, image) in enumerate(zip(axes, images, strict=False)):
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=max(images.max(), 1e-12))
        if titles is not None:
            axis.set_title(titles[i], fontsize=10, color=INK, pad=3)
    top = 0.99 if titles is None else 1 - 0.3 / figure.get_figheight()
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=top, wspace=0.1, hspace=0.1 if titles is None else 0.4)
    return figure


def bars(values: Sequence[float], labels: Sequence[str], ylabel: str) -> Figure:
    """One bar for each value, its number written above (below, when it is negative)."""
    if len(values) != len(labels):
        raise ValueError(f"{len(values)} values for {len(labels)} labels")
    figure = new_figure(max(3.0, 0.8 * len(values) + 1), 2.8)
    axis = figure.subplots()
    drawn = axis.bar(range(len(values)), values, color=BLUE)
    axis.bar_label(drawn, [number(value) for value in values], padding=2, fontsize=10)
    axis.set_xticks(range(len(values)), labels)
    axis.set_ylabel(ylabel)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.margins(y=0.15)
    axis.spines[["top", "right"]].set_visible(False)
    figure.set_layout_engine("tight")
    return figure

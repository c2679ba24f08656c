"""The still pictures of the chapter on large models: lines that fence points in, sizes on a logarithmic axis, methods compared over splits.

Dimensions: N points, H hidden units, S splits.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from course_lib.interactive.style import BLUE, FAINT, INK, ORANGE, PALE_ORANGE, VERMILION, new_figure

PALE_GREY = "#E0E0E0"
MARKS = (("o", BLUE), ("s", FAINT), ("D", INK), ("^", "#CC79A7"), ("v", VERMILION))


def fence(
    points: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    scores: np.ndarray,
    names: tuple[str, str],
    score: Callable[[np.ndarray], np.ndarray],
) -> Figure:
    """Left the plane with the line where each hidden unit begins to speak, right every point at its score.

    points (N, 2), labels (N,) of 0 and 1, weight (2, H), bias (H,), scores (N,); names: of label 0 and label 1;
    score: (M, 2) → (M,), the score of any places; where it is 0, the fence is drawn, dashed.
    """
    figure = new_figure(9, 3.8)
    plane, line = figure.subplots(1, 2)
    reach = 1.25 * np.abs(points).max()
    for column, shift in zip(weight.T, bias, strict=True):
        unit = column / np.linalg.norm(column)
        foot = -shift / np.linalg.norm(column) * unit  # the point of the line that is nearest to the centre
        ends = foot + np.array([[-4], [4]]) * reach * np.array([-unit[1], unit[0]])
        plane.plot(*ends.T, color=INK, linewidth=1.5)
    ticks = np.linspace(-reach, reach, 121)
    places = np.stack(np.meshgrid(ticks, ticks), axis=-1)  # (121, 121, 2)
    plane.contour(ticks, ticks, score(places.reshape(-1, 2)).reshape(places.shape[:2]), [0], colors=[INK], linestyles="--")
    for label, (marker, colour) in enumerate((("o", BLUE), ("^", ORANGE))):
        chosen = labels == label
        plane.plot(*points[chosen].T, marker, color=colour, markersize=4, label=names[label])
        height = label + np.random.default_rng(label).uniform(-0.35, 0.35, size=chosen.sum())
        line.plot(scores[chosen], height, marker, color=colour, markersize=4)
    plane.set(
        xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="x₁", ylabel="x₂", title="the input, a line for each unit, and the fence"
    )
    plane.legend(loc="upper right", fontsize=9, framealpha=0.95)
    line.axvline(0, color=INK, linestyle="--")
    line.set(xlabel="score of the last layer", title="what the last layer says")
    line.set_yticks([0, 1], list(names))
    figure.set_layout_engine("constrained")
    return figure


def sizes(counts: Mapping[str, int], bands: Mapping[str, tuple[float, float]]) -> Figure:
    """A bar for each count on a logarithmic axis, before grey and orange bands: words → (from, to)."""
    figure = new_figure(8, 0.42 * len(counts) + 1.2)
    axes = figure.subplots()
    axes.barh(list(counts), list(counts.values()), color=BLUE, edgecolor=INK, linewidth=0.6)
    for (words, (low, high)), colour in zip(bands.items(), (PALE_GREY, PALE_ORANGE), strict=False):
        axes.axvspan(low, high, color=colour, zorder=0)
        axes.text((low * high) ** 0.5, -1.05, words, ha="center", va="center", fontsize=8.5)
    most = int(np.ceil(np.log10(max(counts.values()))))
    axes.set(xscale="log", xlim=(1e3, 10.0**most), xticks=10.0 ** np.arange(3, most + 1))
    axes.set_xlabel("parameters; each step of the axis is ten times as many")
    axes.set_ylim(len(counts) - 0.4, -1.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.set_layout_engine("constrained")
    return figure


def methods_over_splits(scores: Mapping[tuple[int, str], np.ndarray], ylabel: str = "held-out accuracy") -> Figure:
    """Means with 95% intervals, and every single split as a dot. scores: (number of training rows, method) → (S,); five methods at most."""
    from course_lib.metrics import mean_and_interval  # here, because importing a figure must not need what answers exercises of chapter 02

    rows: Sequence[int] = list(dict.fromkeys(key[0] for key in scores))
    methods = list(dict.fromkeys(key[1] for key in scores))
    if len(methods) > len(MARKS):
        raise ValueError(f"{len(methods)} methods cannot be told apart; at most {len(MARKS)}")
    figure = new_figure(8.6, 3.8)
    axes = figure.subplots()
    for place, (method, (marker, colour)) in enumerate(zip(methods, MARKS, strict=False)):
        for column, size in enumerate(rows):
            at, values = column + 0.14 * (place - (len(methods) - 1) / 2), scores[size, method]
            interval = mean_and_interval(values)
            axes.plot(np.full(len(values), at + 0.035), values, ".", color=FAINT, markersize=4)
            axes.errorbar(at, interval.mean, [[interval.mean - interval.low], [interval.high - interval.mean]], color=colour, capsize=3)
            axes.plot(at, interval.mean, marker, color=colour, markersize=7, label=None if column else method)
    axes.set_xticks(range(len(rows)), [f"{size:,} pictures" for size in rows])
    axes.set(xlabel="trained on", ylabel=ylabel)
    axes.legend(loc="lower right", fontsize=9, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.set_layout_engine("constrained")
    return figure

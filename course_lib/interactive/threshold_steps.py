"""A threshold that moves over a model's scores: who is called, what that does to the counts, and where it stands on the curve.

A model gives each row a score; calling it positive from some score on is a choice, and every choice misses some rows or alarms others. The
figure shows one choice at a time. It can also thin out the positive rows, to show what a rarer illness does to each measure; the curve of all
rows then stays behind in grey.

Dimensions: N rows, T thresholds.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from course_lib.interactive.show import Choice, InteractiveFigure, Steps
from course_lib.interactive.style import BLUE, FAINT, INK, ORANGE, PALE_BLUE, PALE_ORANGE, PAPER, VERMILION, new_figure

ROC, PRECISION_RECALL = "ROC", "precision and recall"
CURVES = (ROC, PRECISION_RECALL)
SHARES = (1.0, 0.25)  # of the positive rows that are kept
BINS = 20


@dataclass(frozen=True)
class Counts:
    """What a threshold does to the rows: right alarms, false alarms, missed, rightly left alone."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def recall(self) -> float:
        return self.true_positive / max(self.true_positive + self.false_negative, 1)

    @property
    def precision(self) -> float:
        """Where nobody is called, 1 by agreement: the curve starts at the top."""
        called = self.true_positive + self.false_positive
        return self.true_positive / called if called else 1.0

    @property
    def false_positive_rate(self) -> float:
        return self.false_positive / max(self.false_positive + self.true_negative, 1)

    @property
    def accuracy(self) -> float:
        right = self.true_positive + self.true_negative
        return right / (right + self.false_positive + self.false_negative)


def counts_at(labels: np.ndarray, scores: np.ndarray, threshold: float) -> Counts:
    """labels (N,) of 0 and 1, scores (N,); a row is called positive when its score is at least the threshold."""
    called = scores >= threshold
    table = [int(np.sum((labels == truth) & (called == said))) for truth, said in ((1, True), (0, True), (1, False), (0, False))]
    return Counts(*table)


def thinned(labels: np.ndarray, share: float) -> np.ndarray:
    """Row numbers: every negative row, and an evenly spread `share` of the positive ones in order of their place (at least one)."""
    positive = np.flatnonzero(labels == 1)
    kept = positive[np.unique(np.linspace(0, len(positive) - 1, max(round(share * len(positive)), 1)).astype(int))]
    return np.sort(np.concatenate([np.flatnonzero(labels == 0), kept]))


def threshold_steps(
    labels: np.ndarray, scores: np.ndarray, *, names: tuple[str, str] = ("negative", "positive"), last: int = 40
) -> InteractiveFigure:
    """A slider over the threshold 0, 1/last, …, 1, the curve to look at, and how many of the positive rows are there.

    labels (N,) of 0 and 1, both present; scores (N,) between 0 and 1; names of class 0 and class 1 for the legend
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f"wanted labels (N,) and scores (N,), was given {labels.shape} and {scores.shape}")
    if set(np.unique(labels)) != {0, 1}:
        raise ValueError(f"labels must be 0 and 1, both present; was given {np.unique(labels)}")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("scores must lie between 0 and 1")
    rows = {share: thinned(labels, share) for share in SHARES}

    along = {share: [counts_at(labels[kept], scores[kept], t) for t in (*np.unique(scores[kept]), 2.0)] for share, kept in rows.items()}

    def at(step: int, kept: float) -> Counts:
        return counts_at(labels[rows[kept]], scores[rows[kept]], step / last)

    def draw(step: int, curve: str, kept: float) -> Figure:
        figure = new_figure(9.6, 3.9)
        left, middle, right = (figure.add_axes(box) for box in ((0.06, 0.15, 0.36, 0.74), (0.495, 0.15, 0.24, 0.74), (0.785, 0.15, 0.21, 0.74)))
        shown_labels, shown_scores = labels[rows[kept]], scores[rows[kept]]
        _draw_scores(left, shown_labels, shown_scores, step / last, names, limits=_tallest(labels, scores))
        _draw_curve(middle, along[kept], None if kept == 1 else along[1.0], at(step, kept), curve)
        _draw_table(right, at(step, kept), names)
        return figure

    def caption(step: int, curve: str, kept: float) -> str:
        found = at(step, kept)
        called = found.true_positive + found.false_positive
        precision = f"precision {found.precision:.0%}" if called else "no precision, since nobody is called"
        positives = f"all {names[1]} rows" if kept == 1 else f"{kept:.0%} of the {names[1]} rows"
        return (
            f"Threshold {step / last:.3f}, with {positives}, on the {curve} curve: {called} of {len(rows[kept])} are called; {precision}, "
            f"recall {found.recall:.0%}, false positive rate {found.false_positive_rate:.0%}, accuracy {found.accuracy:.0%}."
        )

    return InteractiveFigure(
        controls={
            "step": Steps("threshold", last=last, start=last // 2, milliseconds=500),
            "curve": Choice("curve", CURVES, start=ROC),
            "kept": Choice(f"share of the {names[1]} rows that are kept", SHARES, start=SHARES[0]),
        },
        draw=draw,
        caption=caption,
        alt=f"Left: how many rows have which score, {names[1]} ones upwards and {names[0]} ones downwards, each on a scale of their own, and a "
        "vertical line, the threshold. Middle: the ROC curve or the precision-recall curve with a dot where the threshold stands, and in grey the "
        "curve of all rows when some are left out. Right: the four counts of the confusion matrix.",
    )


def _tallest(labels: np.ndarray, scores: np.ndarray) -> tuple[int, int]:
    """The most rows in one bin, of class 0 and of class 1."""
    slow, fast = (int(np.histogram(scores[labels == k], bins=BINS, range=(0, 1))[0].max()) for k in (0, 1))
    return slow, fast


def _draw_scores(axes: Axes, labels: np.ndarray, scores: np.ndarray, threshold: float, names: tuple[str, str], limits: tuple[int, int]) -> None:
    """Class 1 upwards, class 0 downwards, so that neither hides the other; each on its own scale, so that a rare class can be seen."""
    ticks: dict[float, str] = {}
    for k, (colour, sign) in enumerate(((BLUE, -1), (ORANGE, 1))):
        heights, edges = np.histogram(scores[labels == k], bins=BINS, range=(0, 1))
        axes.bar(edges[:-1], sign * heights / limits[k], width=1 / BINS, align="edge", color=colour, edgecolor=INK, linewidth=0.5)
        axes.text(0.98, 0.97 if k else 0.03, names[k], transform=axes.transAxes, ha="right", va="top" if k else "bottom", fontsize=10, color=INK)
        ticks |= {sign * rows / limits[k]: f"{rows:.0f}" for rows in MaxNLocator(3, integer=True).tick_values(0, limits[k]) if rows <= limits[k]}
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.axvline(threshold, color=VERMILION, linewidth=2.5)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set(xlim=(-0.02, 1.02), ylim=(-1.2, 1.2), xlabel="score", ylabel="rows, each class on its scale")
    axes.set_title("called positive: right of the line", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curve(axes: Axes, along: list[Counts], before: list[Counts] | None, here: Counts, curve: str) -> None:
    """The curve through `along`, with a dot at `here`; behind it in grey, the one through `before`."""

    def place(counts: Counts) -> tuple[float, float]:
        return (counts.false_positive_rate, counts.recall) if curve == ROC else (counts.recall, counts.precision)

    for counted, colour, width in ((before, FAINT, 3.5), (along, INK, 1.8)):
        if counted is not None:
            line = np.array([place(counts) for counts in counted if curve == ROC or counts.true_positive + counts.false_positive])
            axes.plot(*line.T, color=colour, linewidth=width)
    if curve == ROC:
        axes.plot([0, 1], [0, 1], ":", color=FAINT, linewidth=1.5)
        axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    else:
        share = (here.true_positive + here.false_negative) / sum(vars(here).values())
        axes.axhline(share, linestyle=":", color=FAINT, linewidth=1.5)
        axes.set(xlabel="recall", ylabel="precision")
    axes.plot(*place(here), marker="o", markersize=10, color=VERMILION, markeredgecolor=INK)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    axes.set_title("dotted: by chance" if before is None else "grey: all rows; dotted: by chance", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_table(axes: Axes, counts: Counts, names: tuple[str, str]) -> None:
    cells = (
        (counts.true_positive, "right alarm"),
        (counts.false_negative, "missed"),
        (counts.false_positive, "false alarm"),
        (counts.true_negative, "left alone"),
    )
    for i, (number, word) in enumerate(cells):
        column, row = i % 2, 1 - i // 2
        axes.add_patch(Rectangle((column, row), 1, 1, facecolor=PALE_ORANGE if row else PALE_BLUE, edgecolor=PAPER, linewidth=3))
        axes.text(column + 0.5, row + 0.58, str(number), ha="center", va="center", fontsize=20, color=INK)
        axes.text(column + 0.5, row + 0.22, word, ha="center", va="center", fontsize=9, color=INK)
    axes.set(xlim=(0, 2), ylim=(0, 2), xticks=(0.5, 1.5), yticks=(0.5, 1.5))
    axes.set_xticklabels(["called", "not called"])
    axes.set_yticklabels([f"{names[0]}", f"{names[1]}"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("how many rows", fontsize=10, color=INK)

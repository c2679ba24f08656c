"""The plots of a class's page. Read in grey as well: bars differ in lightness and hatching, and numbers stand beside them."""

import base64
import io
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

DARK, LIGHT, INK = "#0072b2", "#a6cee8", "#222222"  # blue and a tint of it, safe for all kinds of colour vision
WIDTH = 9.0  # inches


def histogram(scores: Sequence[float], max_score: float) -> str:
    """How many submissions have how many points: ten classes from 0 to max_score. An image as a data URI."""
    figure, axes = _figure(2.6)
    top = max(max_score, 1e-9)
    counts, _edges, bars = axes.hist([min(max(score, 0.0), top) for score in scores], bins=10, range=(0, top), color=DARK, edgecolor="white")
    axes.bar_label(bars, labels=[f"{count:.0f}" if count else "" for count in counts], color=INK, padding=2)  # type: ignore[arg-type]
    axes.set_xlabel(f"points, of {max_score:g}")
    axes.set_ylabel("submissions")
    axes.set_yticks([])
    axes.margins(y=0.15)
    return _uri(figure)


def success(names: Sequence[str], full: Sequence[int], partly: Sequence[int], total: int) -> str:
    """For each exercise, how many submissions have full marks and how many some. An image as a data URI."""
    figure, axes = _figure(0.8 + 0.32 * len(names))
    places = range(len(names))
    axes.barh(places, full, color=DARK, label="full marks")
    axes.barh(places, partly, left=full, color=LIGHT, hatch="///", edgecolor="white", label="some points")
    for place, (solved, some) in enumerate(zip(full, partly, strict=True)):
        axes.text(solved + some + total * 0.01, place, f"{solved} + {some}", va="center", color=INK, fontsize=8)
    axes.set_yticks(places, [_clip(name, 32) for name in names], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, total * 1.12)
    axes.set_xlabel(f"submissions, of {total}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)
    return _uri(figure)


def failures(labels: Sequence[str], counts: Sequence[int]) -> str:
    """The cases that failed most often. An image as a data URI."""
    figure, axes = _figure(0.7 + 0.32 * len(labels))
    bars = axes.barh(range(len(labels)), counts, color=DARK)
    axes.bar_label(bars, padding=3, color=INK, fontsize=8)
    axes.set_yticks(range(len(labels)), [_clip(label, 90) for label in labels], parse_math=False, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("submissions")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _uri(figure)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _uri(figure: Figure) -> str:
    """SVG without a date, so that the same class gives the same page."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "class report", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

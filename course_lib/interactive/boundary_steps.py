"""A decision boundary that moves while a small network learns.

Every setting (hidden units, learning rate) is trained once, when it is first looked at; what the figure needs is kept at about forty steps, close
together at the start, where most happens. Gradient descent goes over all points in every step, so a step is an epoch.

Dimensions: N points, G × G grid, T kept steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from course_lib.interactive.show import Choice, InteractiveFigure, Steps
from course_lib.interactive.style import BLUE, FAINT, INK, ORANGE, PALE_BLUE, PALE_ORANGE, PAPER, VERMILION, new_figure

GRID = 80  # points along each side of the background
LOSS_TICKS = tuple(factor * 10.0**power for power in range(-5, 3) for factor in (1, 2, 5))
MARGIN = 0.4  # of the background around the outermost points
BACKGROUND = LinearSegmentedColormap.from_list("class 0 to class 1", [PALE_BLUE, PALE_ORANGE])
MARKERS = ({"marker": "o", "facecolor": BLUE, "edgecolor": PAPER}, {"marker": "^", "facecolor": ORANGE, "edgecolor": INK})


@dataclass(frozen=True)
class Run:
    """One training run, as far as the figure shows it."""

    losses: np.ndarray  # (last step + 1,): mean cross-entropy in nats after 0, 1, … steps
    probabilities: np.ndarray  # (T, G, G): of class 1, over the grid, at the kept steps
    accuracies: np.ndarray  # (T,): share of the points on the right side


def kept_steps(last: int, count: int) -> tuple[int, ...]:
    """0, then at most `count` - 1 whole numbers up to `last`, evenly spaced on a logarithmic scale (small ones merge)."""
    if last < 1 or count < 3:
        raise ValueError(f"wanted a last step of at least 1 and a count of at least 3, was given {last} and {count}")
    return (0, *sorted({round(step) for step in np.geomspace(1, last, count - 1)}))


def grid_axes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (N, 2) → the horizontal (G,) and vertical (G,) coordinates of a grid with a margin around all points."""
    low, high = x.min(axis=0) - MARGIN, x.max(axis=0) + MARGIN
    return np.linspace(low[0], high[0], GRID), np.linspace(low[1], high[1], GRID)


def train_run(x: np.ndarray, labels: np.ndarray, hidden: int, lr: float, kept: Sequence[int], seed: int) -> Run:
    """Train 2 → hidden (tanh) → 2 on x (N, 2), labels (N,) with full-batch gradient descent for kept[-1] steps."""
    from course_lib.scratch import functional  # here, because these modules hold answers to exercises; importing a figure must not need them
    from course_lib.scratch.mlp import MLP, MLPConfig, train

    horizontal, vertical = grid_axes(x)
    grid = np.stack(np.meshgrid(horizontal, vertical), axis=-1).reshape(-1, 2)  # (G·G, 2)
    model = MLP(MLPConfig(sizes=(2, hidden, 2), activation="tanh"), seed=seed)
    probabilities, accuracies = [], []

    def keep(step: int, _: float = 0.0) -> None:
        if step in wanted:
            probabilities.append(functional.softmax(model.logits(grid))[:, 1].reshape(GRID, GRID).astype(np.float32))
            accuracies.append(float((model.predict(x) == labels).mean()))

    wanted = set(kept)
    keep(0)
    losses = train(model, x, labels, epochs=kept[-1], batch_size=len(x), lr=lr, seed=seed, on_epoch=keep)  # each before its step
    last_loss, _ = model.loss_and_gradients(x, labels)
    return Run(np.array([*losses, last_loss]), np.stack(probabilities), np.array(accuracies))


def draw_run(run: Run, x: np.ndarray, labels: np.ndarray, kept: Sequence[int], step: int) -> Figure:
    """Left the plane and its points, right the loss so far. `step` counts in `kept`."""
    figure = new_figure(9.4, 4.2)
    plane, curve = figure.add_axes((0.075, 0.13, 0.465, 0.78)), figure.add_axes((0.63, 0.13, 0.355, 0.78))
    _draw_plane(plane, run.probabilities[step], x, labels)
    _draw_loss(curve, run.losses, kept[step])
    for axes in (plane, curve):  # fixed places (titles have y=1.0): finding free ones would double the drawing time
        axes.xaxis.set_label_coords(0.5, -0.09)
        axes.yaxis.set_label_coords(-0.12 if axes is plane else -0.15, 0.5)
    return figure


def boundary_steps(
    x: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    *,
    hidden: tuple[int, ...] = (2, 4, 16),
    lrs: tuple[float, ...] = (0.03, 0.3, 3.0),
    last_step: int = 2000,
    seed: int = 0,
) -> InteractiveFigure:
    """A slider over training, with the number of hidden units and the learning rate to choose.

    x (N, 2) and labels (N,) of 0 and 1; without them 200 points of the two moons.
    """
    if (x is None) != (labels is None):
        raise ValueError("x and labels belong together; give both or neither")
    if x is None or labels is None:
        from course_lib.data import moons

        x, labels = moons(200, noise=0.2, seed=seed)
    points, classes = np.asarray(x, dtype=float), np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or classes.shape != points.shape[:1]:
        raise ValueError(f"wanted x (N, 2) and labels (N,), was given {points.shape} and {classes.shape}")
    if not set(np.unique(classes)) <= {0, 1}:
        raise ValueError(f"labels must be 0 or 1, was given {np.unique(classes)}")

    kept = kept_steps(last_step, 40)

    @cache
    def run(units: int, lr: float) -> Run:
        return train_run(points, classes, units, lr, kept, seed)

    def caption(step: int, units: int, lr: float) -> str:
        shown, at = run(units, lr), kept[step]
        right = round(shown.accuracies[step] * len(points))
        return (
            f"After {at} {'step' if at == 1 else 'steps'} with {units} hidden units and learning rate {lr:g}: loss {shown.losses[at]:.3f}, "
            f"accuracy {shown.accuracies[step]:.1%} on the training points ({right} of {len(points)} on the right side)."
        )

    return InteractiveFigure(
        controls={
            "step": Steps("moment", last=len(kept) - 1, milliseconds=400),
            "units": Choice("hidden units", hidden, start=hidden[-1]),
            "lr": Choice("learning rate", lrs, start=lrs[len(lrs) // 2]),
        },
        draw=lambda step, units, lr: draw_run(run(units, lr), points, classes, kept, step),
        caption=caption,
        alt="Left: points of two classes in the plane, circles and triangles, and the line where a small network finds both equally likely. "
        "Right: the training loss against the step. A slider moves through training; the line bends as the loss falls.",
        static={"step": len(kept) - 1},
    )


def _draw_plane(axes: Axes, probability: np.ndarray, x: np.ndarray, labels: np.ndarray) -> None:
    horizontal, vertical = grid_axes(x)
    extent = (horizontal[0], horizontal[-1], vertical[0], vertical[-1])
    axes.imshow(probability, extent=extent, origin="lower", cmap=BACKGROUND, vmin=0, vmax=1, aspect="auto", interpolation="bilinear")
    if probability.min() < 0.5 < probability.max():
        axes.contour(horizontal, vertical, probability, levels=[0.5], colors=[INK], linewidths=2)
    for k, marker in enumerate(MARKERS):
        axes.scatter(*x[labels == k].T, s=34, linewidth=0.8, label=f"class {k}", **marker)
    axes.set(xlabel="x₁", ylabel="x₂", xlim=extent[:2], ylim=extent[2:])
    axes.legend(loc="lower left", framealpha=0.95, fontsize=9)
    axes.set_title("background: probability of class 1; line: one half", fontsize=10, color=INK, y=1.0)


def _draw_loss(axes: Axes, losses: np.ndarray, at: int) -> None:
    steps = np.arange(len(losses))
    axes.plot(steps, losses, color=FAINT, linewidth=1.2, linestyle=":")
    axes.plot(steps[: at + 1], losses[: at + 1], color=INK, linewidth=1.8)
    axes.plot([at], [losses[at]], marker="o", markersize=9, color=VERMILION, markeredgecolor=INK)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("log")
    powers = [10**i for i in range(len(str(len(losses))))]  # 1, 10, … up to the last step
    low, high = min(0.01, losses.min()), max(2.0, losses.max())  # nearly always the same scale, so that settings compare
    levels = [level for level in LOSS_TICKS if low <= level <= high]
    axes.set_xticks([0, *powers], ["0", *map(str, powers)])
    axes.set_yticks(levels, [f"{level:g}" for level in levels])
    axes.minorticks_off()
    axes.set(xlabel="step (logarithmic)", ylabel="loss in nats (logarithmic)", xlim=(-0.1, len(losses) * 1.3), ylim=(low, high))
    axes.grid(color=FAINT, alpha=0.3)
    axes.set_title("training loss so far", fontsize=10, color=INK, y=1.0)
    axes.spines[["top", "right"]].set_visible(False)

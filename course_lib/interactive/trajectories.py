"""Optimisers walking down four hills: the map with the path so far, and the height above the lowest point.

A walk is made once for every setting and kept. It ends where it leaves the neighbourhood of the map, which is what a rate that is too large does.
Gradient descent with the same rate is drawn beside every other optimiser, dashed and without marks.

Dimensions: S steps, G × G grid.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.interactive.show import Choice, InteractiveFigure, Steps
from course_lib.interactive.style import FAINT, INK, PAPER, VERMILION, new_figure
from course_lib.scratch.landscapes import LANDSCAPES, Landscape

GRID = 90  # points along each side of the map
MOMENTS = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 130, 200, 300, 500, 1000)  # steps that the slider shows
OPTIMIZERS = ("gradient descent", "momentum", "Nesterov", "normalised momentum", "AdaGrad", "RMSProp", "Adam")
WITHOUT_BETA = ("gradient descent", "AdaGrad")
FAR = 5.0  # a walk that is so many map widths away has left
TINY = 1e-12  # heights below are drawn at this


@dataclass(frozen=True)
class Walk:
    """points (S + 1, 2) and their heights above the lowest point (S + 1,); shorter than asked for where the walk left the map for good."""

    points: np.ndarray
    heights: np.ndarray


def walk(landscape: Landscape, optimizer: str, lr: float, beta: float, steps: int) -> Walk:
    """Take `steps` steps from the landscape's start. beta: the momentum, or the memory of squares in RMSProp, or Adam's β₁."""
    from course_lib.scratch import optim  # here, because the module holds answers to exercises; importing a figure must not need it

    x = np.array(landscape.start)
    params = {"x": x}
    chosen = {
        "gradient descent": lambda: optim.SGD(params, lr),
        "momentum": lambda: optim.SGD(params, lr, momentum=beta),
        "Nesterov": lambda: optim.SGD(params, lr, momentum=beta, nesterov=beta > 0),
        "normalised momentum": lambda: optim.NormalizedMomentum(params, lr, momentum=beta),
        "AdaGrad": lambda: optim.AdaGrad(params, lr),
        "RMSProp": lambda: optim.RMSProp(params, lr, alpha=beta),
        "Adam": lambda: optim.Adam(params, lr, betas=(beta, 0.999)),
    }[optimizer]()
    left, right, low, high = landscape.window
    middle, reach = np.array([(left + right) / 2, (low + high) / 2]), FAR * np.array([right - left, high - low])
    points = [x.copy()]
    for _ in range(steps):
        chosen.step({"x": landscape.function(x)[1]})
        if not (np.abs(x - middle) < reach).all():
            break
        points.append(x.copy())
    path = np.stack(points)
    floor = min(float(landscape.function(point)[0]) for point in landscape.lowest)
    return Walk(path, landscape.function(path)[0] - floor)


def draw_walk(landscape: Landscape, shown: Walk, plain: Walk, optimizer: str, at: int) -> Figure:
    """Left the map, right the heights. `at` counts steps."""
    figure = new_figure(9.4, 4.2)
    plane, curve = figure.add_axes((0.075, 0.13, 0.465, 0.77)), figure.add_axes((0.63, 0.13, 0.355, 0.77))
    _draw_map(plane, landscape)
    gone = f" (left at step {len(plain.points)})" if at >= len(plain.points) else ""
    for axes in (plane, curve):
        _draw_path(axes, plain, at, plane is axes, color=INK, linewidth=1.6, linestyle="--", label=f"gradient descent{gone}")
        if optimizer != "gradient descent":
            _draw_path(axes, shown, at, plane is axes, color=VERMILION, linewidth=1.8, marker=".", markersize=5, label=optimizer)
    last = min(at, len(shown.points) - 1)
    places = ((plane, shown.points[last]), (curve, (last, max(shown.heights[last], TINY))))
    for axes, (x, y) in places:
        axes.plot([x], [y], marker="o", markersize=9, color=VERMILION, markeredgecolor=INK, zorder=5)
    plane.legend(loc="lower left", fontsize=9, framealpha=0.95)
    curve.set_xscale("symlog", linthresh=1)
    curve.set_yscale("log")
    curve.set(xlim=(-0.1, MOMENTS[-1] * 1.3), ylim=(TINY / 2, max(10.0, 3 * float(shown.heights[0]))), xlabel="step (logarithmic)")
    curve.set_xticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    curve.minorticks_off()
    curve.grid(color=FAINT, alpha=0.3)
    curve.set_title("height above the lowest point (logarithmic)", fontsize=10, color=INK, y=1.0)
    curve.spines[["top", "right"]].set_visible(False)
    return figure


def trajectories(
    lrs: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.07, 0.09, 0.3), betas: tuple[float, ...] = (0.0, 0.5, 0.9, 0.99)
) -> InteractiveFigure:
    """A slider over steps; landscape, optimiser, rate and memory to choose."""
    hills = {landscape.name: landscape for landscape in LANDSCAPES}

    @cache
    def walked(name: str, optimizer: str, lr: float, beta: float) -> Walk:
        return walk(hills[name], optimizer, lr, 0.0 if optimizer in WITHOUT_BETA else beta, MOMENTS[-1])

    def draw(step: int, landscape: str, optimizer: str, lr: float, beta: float) -> Figure:
        plain = walked(landscape, "gradient descent", lr, 0.0)
        return draw_walk(hills[landscape], walked(landscape, optimizer, lr, beta), plain, optimizer, MOMENTS[step])

    def caption(step: int, landscape: str, optimizer: str, lr: float, beta: float) -> str:
        shown, at = walked(landscape, optimizer, lr, beta), MOMENTS[step]
        memory = f" (β = {beta:g} is not used)" if optimizer in WITHOUT_BETA else f" and β = {beta:g}"
        setting = f"{landscape}, {optimizer} with learning rate {lr:g}{memory}"
        if at >= len(shown.points):
            return f"{setting}: after {at} steps it is far off the map, which it left for good at step {len(shown.points)}."
        x, y = shown.points[at]
        place = f"({x:.3f}, {y:.3f})".replace("-", "−")
        return f"{setting}: after {at} {'step' if at == 1 else 'steps'} at {place}, {shown.heights[at]:.2g} above the lowest point."

    return InteractiveFigure(
        controls={
            "step": Steps("moment", last=len(MOMENTS) - 1, start=9, milliseconds=500),
            "landscape": Choice("landscape", tuple(hills), start="ravine"),
            "optimizer": Choice("optimiser", OPTIMIZERS, start="momentum"),
            "lr": Choice("learning rate", lrs, start=0.01 if 0.01 in lrs else lrs[0]),
            "beta": Choice("β", betas, start=0.9 if 0.9 in betas else betas[0]),
        },
        draw=draw,
        caption=caption,
        alt="Left: a map of a hill, darker where it is lower, with the path of an optimiser (marked line) and of plain gradient descent (dashed) "
        "from the same start; stars mark the lowest points. Right: how high each is above the lowest point, against the step.",
        static={"step": 9},
    )


def _draw_map(axes: Axes, landscape: Landscape) -> None:
    left, right, low, high = landscape.window
    x, y = np.meshgrid(np.linspace(left, right, GRID), np.linspace(low, high, GRID))
    heights = landscape.function(np.stack([x, y], axis=-1))[0]
    floor = min(float(landscape.function(point)[0]) for point in landscape.lowest)
    relief = np.log(heights - floor + 0.02)
    axes.contourf(x, y, relief, levels=14, cmap="Greys_r", alpha=0.35)
    axes.contour(x, y, relief, levels=14, colors=[FAINT], linewidths=0.5, linestyles="solid")
    for place in landscape.lowest:
        axes.plot(*place, marker="*", markersize=15, color=PAPER, markeredgecolor=INK)
    axes.set(xlim=(left, right), ylim=(low, high), xlabel="x", ylabel="y")
    axes.yaxis.set_label_coords(-0.12, 0.5)
    axes.set_title(landscape.name, fontsize=10, color=INK, y=1.0)


def _draw_path(axes: Axes, shown: Walk, at: int, on_map: bool, **look: object) -> None:
    end = at + 1
    if on_map:
        axes.plot(*shown.points[:end].T, **look)  # pyright: ignore[reportArgumentType]
    else:
        axes.plot(np.arange(len(shown.heights[:end])), np.maximum(shown.heights[:end], TINY), **look)  # pyright: ignore[reportArgumentType]

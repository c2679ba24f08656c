"""What is left of a gradient on its way back through the steps of a recurrent network, and what the eigenvalues of its matrix say about it.

One random matrix, scaled to the chosen spectral radius; a batch of sequences of normal numbers goes through 50 steps, a random gradient arrives at
the last state and goes back. Nothing is trained.

Dimensions: T steps, N sequences, H units.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib.figure import Figure

from course_lib.interactive.show import Choice, InteractiveFigure
from course_lib.interactive.style import BLUE, DARK_BLUE, DARK_VERMILION, FAINT, INK, new_figure

STEPS, ROWS, HIDDEN = 50, 16, 64
RADII = (0.5, 0.8, 0.9, 1.0, 1.1, 1.5)
MATRICES = ("a rotation", "random")
UNITS = ("no squashing", "tanh, small inputs", "tanh, large inputs")
INPUT_SIZE = {"no squashing": 1.0, "tanh, small inputs": 0.01, "tanh, large inputs": 2.0}
FLOOR, CEILING = 1e-20, 1e20  # of the picture; what lies beyond is drawn on its edge


@dataclass(frozen=True)
class Memory:
    """left (T,): the gradient's length at distance 0, 1, …, as a share of what arrived; eigenvalues (H,), complex."""

    left: np.ndarray
    eigenvalues: np.ndarray


def measure(radius: float, matrix: str, unit: str, *, steps: int = STEPS, rows: int = ROWS, hidden: int = HIDDEN, seed: int = 0) -> Memory:
    """Run the network forward and a gradient back, in float64."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(hidden, hidden))
    if matrix == "a rotation":
        weight = np.linalg.qr(weight)[0]
    eigenvalues = np.linalg.eigvals(weight)
    scale = radius / np.abs(eigenvalues).max()
    weight, eigenvalues = weight * scale, eigenvalues * scale
    inputs = rng.normal(size=(steps, rows, hidden)) * INPUT_SIZE[unit]
    slopes, h = [], np.zeros((rows, hidden))
    for x in inputs:
        z = x + h @ weight
        h = z if unit == "no squashing" else np.tanh(z)
        slopes.append(np.ones_like(h) if unit == "no squashing" else 1 - h**2)
    grad = rng.normal(size=(rows, hidden))
    lengths = []
    for slope in reversed(slopes):
        lengths.append(np.linalg.norm(grad))
        grad = (grad * slope) @ weight.T
    return Memory(np.array(lengths) / lengths[0], eigenvalues)


def memory_profile() -> InteractiveFigure:
    """Choose the spectral radius, the kind of matrix and the squashing, and see the gradient through 50 steps."""
    memory = cache(measure)

    def caption(radius: float, matrix: str, unit: str) -> str:
        found, theory = memory(radius, matrix, unit).left[-1], radius ** (STEPS - 1)
        return (
            f"Spectral radius {radius:g}, {'a rotation and a scaling' if matrix == 'a rotation' else 'a random matrix'}, {unit}: "
            f"after {STEPS - 1} steps {power(found)} of the gradient is left; the radius to the power of {STEPS - 1} is {power(theory)}."
        )

    return InteractiveFigure(
        controls={
            "radius": Choice("spectral radius", RADII, start=0.9),
            "matrix": Choice("matrix", MATRICES, start="a rotation"),
            "unit": Choice("units", UNITS, start="no squashing"),
        },
        draw=lambda radius, matrix, unit: draw(memory(radius, matrix, unit), radius, f"spectral radius {radius:g}, {matrix}, {unit}"),
        caption=caption,
        alt="Left: the eigenvalues of the recurrent matrix as dots in the complex plane, with the circle of radius 1. Right: the share of a "
        "gradient that is left at each distance from the last step, on a logarithmic axis, beside the dashed line of the radius to that power. Below "
        "radius 1 it vanishes, above 1 it explodes, unless the units squash hard; then it vanishes whatever the radius.",
        static={"unit": "tanh, large inputs", "radius": 1.5},
    )


def power(share: float) -> str:
    """ "0.0057", "3.2", "10^-24"."""
    if 1e-3 <= share < 1e4:
        return f"{share:.2g}" if share < 100 else f"{share:.0f}"
    return f"10^{round(math.log10(share))}" if share > 0 else "0"


def draw(memory: Memory, radius: float, title: str) -> Figure:
    """Eigenvalues on the left, the gradient against distance on the right."""
    figure = new_figure(9.4, 3.9)
    plane, curve = figure.add_axes((0.07, 0.15, 0.31, 0.72)), figure.add_axes((0.5, 0.15, 0.485, 0.72))
    angle = np.linspace(0, 2 * np.pi, 200)
    plane.plot(np.cos(angle), np.sin(angle), color=FAINT, linewidth=1.2)
    plane.plot(np.real(memory.eigenvalues), np.imag(memory.eigenvalues), "o", color=BLUE, markersize=4)
    plane.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), aspect="equal", xlabel="real part", ylabel="imaginary part")
    plane.set_title("eigenvalues, and the circle of radius 1", fontsize=9, color=INK)

    distance = np.arange(len(memory.left))
    curve.plot(distance, inside(memory.left), color=DARK_VERMILION, marker="s", markevery=10, markersize=5, linewidth=2, label="gradient left")
    curve.plot(distance, inside(radius**distance), color=DARK_BLUE, linewidth=1.5, linestyle="--", label="radius to the power of the distance")
    curve.axhline(1, color=FAINT, linewidth=1, linestyle=":")
    powers = range(-20, 21, 10)
    curve.set_yscale("log")
    curve.set_yticks([10.0**one for one in powers], [f"$10^{{{one}}}$" for one in powers])
    curve.minorticks_off()
    curve.set(xlabel="steps back from the last one", ylabel="share of the gradient", ylim=(FLOOR / 3, CEILING * 3))
    curve.legend(frameon=False, fontsize=9, loc="upper left")
    for axes in (plane, curve):
        axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.07, 0.95, title, fontsize=10, color=INK)
    return figure


def inside(values: np.ndarray) -> np.ndarray:
    """Within the picture's edges."""
    return np.clip(np.nan_to_num(values, nan=FLOOR, posinf=CEILING), FLOOR, CEILING)

"""What becomes of a signal on its way through many layers, and of the gradient on its way back.

A stack of equally wide layers without biases is drawn once for each setting; a batch of normal numbers goes through, and a random gradient of the
same size comes back. Nothing is trained.

Dimensions: N rows, W units a layer, L layers.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.interactive.show import Choice, InteractiveFigure
from course_lib.interactive.style import DARK_BLUE, DARK_VERMILION, FAINT, INK, new_figure

LAYERS, WIDTH, ROWS = 50, 96, 128
RELATIVE = {
    "half the right size": 0.5,
    "0.9 of the right size": 0.9,
    "the right size": 1.0,
    "1.1 of the right size": 1.1,
    "twice the right size": 2.0,
}
DEFAULT = "PyTorch's default"
NORMS = ("none", "batch", "layer")
FLOOR, CEILING = 1e-20, 1e20  # of the picture; what lies beyond is drawn on its edge


@dataclass(frozen=True)
class Profile:
    """signal (L + 1,): root mean square of the numbers after 0, 1, … layers; gradient (L + 1,): of the loss with respect to them."""

    signal: np.ndarray
    gradient: np.ndarray


def weight_size(weights: str, activation: str, fan_in: int) -> float:
    """The standard deviation of one weight, by the name of the choice."""
    if weights == DEFAULT:
        return 1 / math.sqrt(3 * fan_in)  # what nn.Linear draws: uniform between ±1/√fan_in
    return RELATIVE[weights] * math.sqrt((2 if activation == "relu" else 1) / fan_in)


def measure(weights: str, activation: str, norm: str, *, layers: int = LAYERS, width: int = WIDTH, rows: int = ROWS, seed: int = 0) -> Profile:
    """Send a batch forward and a gradient back through a fresh stack, in float64."""
    import torch  # here, so that importing the figures stays cheap

    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator, dtype=torch.float64).requires_grad_()
    kept = [x]
    for _ in range(layers):
        weight = torch.randn(width, width, generator=generator, dtype=torch.float64) * weight_size(weights, activation, width)
        z = kept[-1] @ weight.T
        if norm != "none":
            axis = 0 if norm == "batch" else 1
            z = (z - z.mean(axis, keepdim=True)) / torch.sqrt(z.var(axis, keepdim=True, correction=0) + 1e-5)
        kept.append(torch.relu(z) if activation == "relu" else torch.tanh(z))
    back = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((kept[-1] * back).sum(), kept)
    return Profile(*(np.array([math.sqrt(part.square().mean().item()) for part in parts]) for parts in (kept, gradients)))


def depth_profile() -> InteractiveFigure:
    """Choose the size of the weights, the activation and the normalisation, and see both signals through 50 layers."""
    profile = cache(measure)

    def caption(weights: str, activation: str, norm: str) -> str:
        found = profile(weights, activation, norm)
        forward, backward = found.signal[-1] / found.signal[0], found.gradient[0] / found.gradient[-1]
        what = f"{weights}, {activation}, " + ("no normalisation" if norm == "none" else f"{norm} normalisation")
        return (
            f"{what[0].upper()}{what[1:]}: after {LAYERS} layers the numbers are {times(forward)} their first size, "
            f"and the gradient, come back to the input, is {times(backward)} its own."
        )

    return InteractiveFigure(
        controls={
            "weights": Choice("weights", (DEFAULT, *RELATIVE), start="the right size"),
            "activation": Choice("activation", ("relu", "tanh"), start="relu"),
            "norm": Choice("normalisation", NORMS, start="none"),
        },
        draw=lambda weights, activation, norm: draw(profile(weights, activation, norm), f"{weights}, {activation}, normalisation: {norm}"),
        caption=caption,
        alt=f"Left: the size of the numbers after each of {LAYERS} layers, on a logarithmic axis. Right: the size of the gradient, which travels "
        "from the last layer to the first. Weights of the right size keep both nearly level; smaller ones let them vanish, larger ones explode.",
        static={"weights": DEFAULT},
    )


def times(factor: float) -> str:
    """ "1.3 times", "10^-24 times"."""
    if 0.01 <= factor < 100:
        return f"{factor:.2g} times"
    return f"10^{round(math.log10(factor))} times" if factor > 0 else "0 times"


def draw(profile: Profile, title: str) -> Figure:
    """Two panels that share their axes: forward to the right, back to the left."""
    figure = new_figure(9.4, 3.9)
    forward, back = figure.add_axes((0.1, 0.15, 0.385, 0.72)), figure.add_axes((0.6, 0.15, 0.385, 0.72))
    _draw_line(forward, profile.signal / profile.signal[0], DARK_BLUE, "o", "signal, forward →")
    _draw_line(back, profile.gradient / profile.gradient[-1], DARK_VERMILION, "s", "← gradient, back")
    figure.text(0.1, 0.95, title, fontsize=10, color=INK)
    return figure


def _draw_line(axes: Axes, values: np.ndarray, colour: str, marker: str, name: str) -> None:
    inside = np.clip(np.nan_to_num(values, nan=FLOOR), FLOOR, CEILING)
    axes.axhline(1, color=FAINT, linewidth=1, linestyle=":")
    axes.plot(np.arange(len(values)), inside, color=colour, marker=marker, markevery=10, markersize=5, linewidth=2)
    powers = range(-20, 21, 10)
    axes.set_yscale("log")
    axes.set_yticks([10.0**power for power in powers], [f"$10^{{{power}}}$" for power in powers])
    axes.minorticks_off()
    axes.set(xlabel="layer", ylabel="size, first = 1" if name.startswith("signal") else "size, last = 1", ylim=(FLOOR / 3, CEILING * 3))
    axes.text(0.03, 0.93, name, transform=axes.transAxes, fontsize=10, color=colour)
    axes.spines[["top", "right"]].set_visible(False)

"""What a convolutional network makes of a picture: the filters of a layer, and the map that each of them draws.

The figure works with any network of `nn.Conv2d` layers whose input is grey pictures. Every convolution is shown with its ReLU, as the next layer gets
it. A filter of a later layer looks at several maps; what is drawn of it is the mean over them.

Dimensions: H × W pixels, C channels of a map, P × Q places.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.interactive.show import Choice, InteractiveFigure, Steps
from course_lib.interactive.style import INK, VERMILION, new_figure

MOST_SHOWN = 16  # maps of a layer
MOST_SHIFT = 8  # pixels


def feature_maps(net: Any, pictures: Mapping[str, np.ndarray], most_shift: int = MOST_SHIFT) -> InteractiveFigure:
    """Choose a picture, a layer and a filter, move the picture to the right, and see what the filter answers.

    net: an nn.Module; pictures: name → (H, W) from 0 (paper) to 1 (ink), all of one size
    """
    if not pictures:
        raise ValueError("there is no picture to choose; give at least one, as name → (H, W)")
    names, layers = tuple(pictures), tuple(convolutions(net))
    if not layers:
        raise ValueError(f"{type(net).__name__} has no nn.Conv2d layer to look into")

    @cache
    def answers(picture: str, shift: int) -> dict[str, np.ndarray]:
        return maps_of(net, moved(np.asarray(pictures[picture], dtype=np.float32), shift))

    filters = min(MOST_SHOWN, *(len(maps) for maps in answers(names[0], 0).values()))

    def draw(picture: str, layer: str, filter: int, shift: int) -> Figure:
        ink = moved(np.asarray(pictures[picture], dtype=np.float32), shift)
        return draw_maps(ink, weights_of(net, layer)[filter - 1], answers(picture, shift)[layer], filter - 1, layer)

    def caption(picture: str, layer: str, filter: int, shift: int) -> str:
        now = answers(picture, shift)[layer]
        row, column = np.unravel_index(int(now[filter - 1].argmax()), now.shape[1:])
        lively = int((now.max(axis=(1, 2)) > 0).sum())
        top = now[filter - 1].max()
        where = f"answers most, {top:.2f}, in row {row}, column {column} of its map" if top > 0 else "finds nothing of its kind anywhere"
        return f"“{picture}”, {shift} pixels to the right. In {layer}, filter {filter} {where}; {lively} of {len(now)} filters find something."

    return InteractiveFigure(
        controls={
            "picture": Choice("picture", names, start=names[0]),
            "layer": Choice("layer", layers, start=layers[0]),
            "filter": Choice("filter", tuple(range(1, filters + 1)), start=1),
            "shift": Steps("pixels to the right", last=most_shift, start=0, milliseconds=500),
        },
        draw=draw,
        caption=caption,
        alt="A picture, one filter of the chosen layer as a small grid of weights, the map that this filter draws of the picture, and the maps of "
        "the layer's other filters below. When the picture moves, the maps of the first layer move with it.",
    )


def convolutions(net: Any) -> list[str]:
    """Names of the network's convolutions, in the order in which it holds them."""
    from torch import nn  # here, so that importing the figures stays cheap

    return [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]


def weights_of(net: Any, layer: str) -> np.ndarray:
    """The filters of a convolution: (O, K, L), the mean over the channels that they look at."""
    return net.get_submodule(layer).weight.detach().cpu().numpy().mean(axis=1)


def maps_of(net: Any, picture: np.ndarray) -> dict[str, np.ndarray]:
    """picture (H, W) → for each convolution's name, its maps after the ReLU: (O, P, Q). The network is used, not trained, and left as it was."""
    import torch

    found: dict[str, np.ndarray] = {}
    hooks = [
        net.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, out, name=name: found.update({name: out[0].clamp(min=0).cpu().numpy()})
        )
        for name in convolutions(net)
    ]
    training = {module: module.training for module in net.modules()}
    device = next(net.parameters()).device
    try:
        net.eval()
        with torch.no_grad():
            net(torch.from_numpy(picture)[None, None].to(device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    return found


def moved(picture: np.ndarray, right: int) -> np.ndarray:
    """picture (H, W) moved to the right by whole pixels; paper comes in on the left."""
    if not 0 <= right <= picture.shape[1]:
        raise ValueError(f"a picture of {picture.shape[1]} columns cannot be moved by {right}")
    out = np.zeros_like(picture)
    out[:, right:] = picture[:, : picture.shape[1] - right]
    return out


def draw_maps(picture: np.ndarray, weights: np.ndarray, maps: np.ndarray, chosen: int, layer: str) -> Figure:
    """picture (H, W), weights of the chosen filter (K, L), maps of all filters (O, P, Q); `chosen` counts from 0."""
    figure = new_figure(9.0, 5.2)
    top = max(float(maps.max()), 1e-12)
    _picture(figure.add_axes((0.02, 0.36, 0.28, 0.56)), picture, "the picture", vmax=1)
    axes = figure.add_axes((0.36, 0.44, 0.2, 0.4))
    largest = max(float(np.abs(weights).max()), 1e-12)
    axes.imshow(weights, cmap="gray_r", vmin=-largest, vmax=largest)
    for (row, column), value in np.ndenumerate(weights):
        if value < 0:
            axes.text(column, row, "−", ha="center", va="center", color=INK, fontsize=9)
    _bare(axes, f"filter {chosen + 1} of {layer}, its channels' mean\n(dark: positive, marked −: negative)")
    _picture(figure.add_axes((0.64, 0.36, 0.28, 0.56)), maps[chosen], "its map, after the ReLU", vmax=top)
    shown = min(len(maps), MOST_SHOWN)
    width = 0.96 / shown
    for number in range(shown):
        axes = figure.add_axes((0.02 + number * width, 0.06, width * 0.9, 0.2))
        _picture(axes, maps[number], str(number + 1), vmax=top)
        if number == chosen:
            for spine in axes.spines.values():
                spine.set(color=VERMILION, linewidth=2.5)
    return figure


def _picture(axes: Axes, values: np.ndarray, title: str, vmax: float) -> None:
    axes.imshow(values, cmap="gray_r", vmin=0, vmax=vmax)
    _bare(axes, title)


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, color=INK, pad=4)
    axes.set_xticks([])
    axes.set_yticks([])

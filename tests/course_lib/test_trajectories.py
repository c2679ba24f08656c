"""The figure of chapter 04: every control does something, the numbers shown are right, and it says so in words."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.interactive import style
from course_lib.interactive.show import live
from course_lib.interactive.trajectories import MOMENTS, OPTIMIZERS, trajectories, walk
from course_lib.scratch.landscapes import LANDSCAPES, ravine

FIGURE = trajectories()


def pixels(**values) -> np.ndarray:
    figure = FIGURE.draw(**values)
    figure.set_dpi(60)
    return np.asarray(Image.open(io.BytesIO(style.png(figure))).convert("RGB"), dtype=int)


@pytest.mark.parametrize("name", FIGURE.controls)
def test_every_value_of_every_control_gives_another_picture_and_other_words(name):
    shown = [FIGURE.start() | dict(FIGURE.static) | {name: value} for value in FIGURE.controls[name].values()]
    for before, after in itertools.pairwise([pixels(**values) for values in shown]):
        assert (np.abs(before - after).max(axis=2) > 60).sum() > 5
    assert len({FIGURE.caption(**values) for values in shown}) == len(shown)


def test_every_hill_and_optimiser_can_be_told_at_the_gentlest_and_drawn_at_the_wildest_setting():
    for landscape, optimizer in itertools.product(FIGURE.controls["landscape"].values(), OPTIMIZERS):
        values = {"step": len(MOMENTS) - 1, "landscape": landscape, "optimizer": optimizer, "lr": 0.3, "beta": 0.99}
        assert np.ptp(pixels(**values)) > 200
        assert all("nan" not in FIGURE.caption(**values | {"lr": lr}) for lr in (0.001, 0.3))


def test_the_paths_are_those_of_torch():
    hill = LANDSCAPES[0]
    makers = {
        "gradient descent": lambda leaf: torch.optim.SGD([leaf], lr=0.03),
        "momentum": lambda leaf: torch.optim.SGD([leaf], lr=0.03, momentum=0.5),
        "Nesterov": lambda leaf: torch.optim.SGD([leaf], lr=0.03, momentum=0.5, nesterov=True),
        "AdaGrad": lambda leaf: torch.optim.Adagrad([leaf], lr=0.03),
        "RMSProp": lambda leaf: torch.optim.RMSprop([leaf], lr=0.03, alpha=0.5),
        "Adam": lambda leaf: torch.optim.Adam([leaf], lr=0.03, betas=(0.5, 0.999)),
    }
    assert {*makers, "normalised momentum"} == set(OPTIMIZERS)
    for name, make in makers.items():
        leaf = torch.tensor(hill.start, dtype=torch.float64, requires_grad=True)
        optimizer = make(leaf)
        for _ in range(40):
            leaf.grad = torch.from_numpy(ravine(leaf.detach().numpy())[1])
            optimizer.step()
        np.testing.assert_allclose(walk(hill, name, 0.03, 0.5, 40).points[-1], leaf.detach(), rtol=1e-9, err_msg=name)


def test_a_walk_that_leaves_the_map_ends_there_and_the_caption_says_when():
    gone = walk(LANDSCAPES[0], "gradient descent", 0.3, 0.0, 1000)
    assert len(gone.points) < 20
    caption = FIGURE.caption(step=len(MOMENTS) - 1, landscape="ravine", optimizer="gradient descent", lr=0.3, beta=0.9)
    assert caption.endswith(f"which it left for good at step {len(gone.points)}.")


def test_what_the_text_asks_the_reader_to_try_is_there_to_be_seen():
    hills = {landscape.name: landscape for landscape in LANDSCAPES}
    assert walk(hills["ravine"], "gradient descent", 0.07, 0.0, 1000).heights[-1] < 1e-9
    assert len(walk(hills["ravine"], "gradient descent", 0.09, 0.0, 1000).heights) < 1000
    assert walk(hills["ravine"], "momentum", 0.09, 0.9, 1000).heights[-1] < 1e-9
    hopping = walk(hills["ravine"], "normalised momentum", 0.09, 0.9, 1000)
    assert hopping.heights[-100:].max() > 0.05
    away = {
        name: int(np.argmax(np.abs(walk(hills["saddle"], name, 0.03, 0.9, 1000).points[:, 1]) > 0.5))
        for name in ("gradient descent", "Adam", "momentum")
    }
    assert away["gradient descent"] > 2 * max(away["Adam"], away["momentum"]) > 0
    assert len(walk(hills["Rosenbrock"], "gradient descent", 0.01, 0.0, 1000).heights) < 1000
    assert len(walk(hills["Rosenbrock"], "Adam", 0.3, 0.9, 1000).heights) == 1001


def test_moving_a_live_control_changes_picture_and_words():
    box, holders = live(FIGURE)
    picture = box.children[1]
    seen = {picture.value}
    for name, value in (("landscape", "saddle"), ("optimizer", "Adam"), ("lr", 0.3), ("beta", 0.5), ("step", 3)):
        holders[name].value = value
        seen.add(picture.value)
    assert len(seen) == 6


def test_a_setting_walks_once_and_the_same_setting_gives_the_same_bytes():
    values = FIGURE.start()
    assert style.png(FIGURE.draw(**values)) == style.png(trajectories().draw(**values))

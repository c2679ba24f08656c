"""course_lib.interactive.feature_maps: every control does something, and what is shown is what the network computes."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from course_lib.data.glyphs import render
from course_lib.interactive import feature_maps
from course_lib.interactive.feature_maps import maps_of, moved
from course_lib.interactive.show import live
from course_lib.interactive.style import png
from course_lib.nn.cnn import LeNet

torch.manual_seed(1)
NET = LeNet()
PICTURES = dict(zip(("a 3", "a 7"), render("37", ["cmr10", "DejaVuSans"], np.random.default_rng(0)), strict=True))
FIGURE = feature_maps(NET, PICTURES, most_shift=4)


def pixels(figure) -> bytes:
    figure.set_dpi(50)
    return np.asarray(Image.open(io.BytesIO(png(figure))).convert("L"), dtype=int).tobytes()


@pytest.mark.parametrize("name", FIGURE.controls)
def test_every_value_of_every_control_gives_another_picture_and_other_words(name):
    values = [FIGURE.start() | {name: value} for value in FIGURE.controls[name].values()]
    assert len({pixels(FIGURE.draw(**value)) for value in values}) == len(values) > 1
    assert len({FIGURE.caption(**value) for value in values}) == len(values)


def test_moving_every_live_control_over_its_range_redraws_the_picture():
    widget, holders = live(FIGURE)
    picture = widget.children[1]
    for name, holder in holders.items():
        seen = set()
        for value in FIGURE.controls[name].values():
            holder.value = value
            seen.add(picture.value)
        holder.value = FIGURE.controls[name].start
        assert len(seen) == len(FIGURE.controls[name].values())


def test_the_maps_are_those_of_the_network_after_the_relu():
    x = torch.from_numpy(PICTURES["a 3"])[None, None]
    first = F.relu(NET.conv1(x))
    second = F.relu(NET.conv2(F.max_pool2d(first, 2)))
    found = maps_of(NET, PICTURES["a 3"])
    assert list(found) == ["conv1", "conv2"]
    np.testing.assert_allclose(found["conv1"], first[0].detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["conv2"], second[0].detach().numpy(), rtol=1e-5, atol=1e-6)


def test_when_the_picture_moves_the_maps_of_the_first_layer_move_with_it():
    still, shifted = (maps_of(NET, moved(PICTURES["a 3"], right))["conv1"] for right in (0, 3))
    np.testing.assert_allclose(shifted[:, :, 6:24], still[:, :, 3:21], rtol=1e-4, atol=1e-6)


def test_looking_leaves_the_network_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    maps_of(net, PICTURES["a 7"])
    assert all(module.training for module in net.modules()) and not net[0]._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_chosen_filter_is_marked_by_more_than_colour():
    figure = FIGURE.draw(**FIGURE.start() | {"filter": 4})
    widths = {axes.get_title(): axes.spines["left"].get_linewidth() for axes in figure.axes}
    assert widths["4"] > 2 * widths["3"] and "filter 4 of conv1" in " ".join(widths)


@pytest.mark.parametrize(
    ("net", "given", "message"),
    [(NET, {}, "no picture"), (nn.Linear(2, 2), PICTURES, "no nn.Conv2d"), (NET, {"a": np.zeros((28, 28))}, None)],
)
def test_what_cannot_be_shown_is_refused_and_an_empty_picture_is_shown(net, given, message):
    if message:
        with pytest.raises(ValueError, match=message):
            feature_maps(net, given)
    else:
        assert feature_maps(net, given).draw(picture="a", layer="conv2", filter=1, shift=0)


def test_a_picture_cannot_be_moved_out_of_itself():
    with pytest.raises(ValueError, match="cannot be moved by 29"):
        moved(np.zeros((28, 28)), 29)

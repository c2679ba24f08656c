"""course_lib.interactive.depth_profile and progress: every control does something, and what is shown is true."""

import io

import numpy as np
import pytest
from IPython.display import DisplayHandle
from PIL import Image

from course_lib.interactive import depth_profile, progress
from course_lib.interactive.depth_profile import DEFAULT, LAYERS, RELATIVE, draw, measure, times
from course_lib.interactive.show import live
from course_lib.interactive.style import DARK_BLUE, DARK_VERMILION, png

FIGURE = depth_profile()


def pixels(figure) -> np.ndarray:
    figure.set_dpi(50)
    return np.asarray(Image.open(io.BytesIO(png(figure))).convert("L"), dtype=int)


@pytest.mark.parametrize("name", FIGURE.controls)
def test_every_value_of_every_control_gives_another_picture_and_other_words(name):
    values = [FIGURE.start() | {name: value} for value in FIGURE.controls[name].values()]
    assert len({pixels(FIGURE.draw(**value)).tobytes() for value in values}) == len(values)
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


@pytest.mark.parametrize("weights", [name for name, factor in RELATIVE.items() if factor != 1])
def test_a_wrong_size_is_paid_for_once_a_layer(weights):
    found, right = (measure(name, "relu", "none") for name in (weights, "the right size"))
    assert found.signal[-1] / right.signal[-1] == pytest.approx(RELATIVE[weights] ** LAYERS, rel=1e-6)
    assert found.gradient[0] / right.gradient[0] == pytest.approx(RELATIVE[weights] ** LAYERS, rel=1e-6)


def test_the_right_size_keeps_both_signals_and_pytorchs_default_lets_both_vanish():
    right, default = (measure(name, "relu", "none") for name in ("the right size", DEFAULT))
    assert 0.05 < right.signal[-1] < 20 and 0.05 < right.gradient[0] < 20
    assert default.signal[-1] < 1e-15 and default.gradient[0] < 1e-15


def test_batch_normalisation_keeps_the_signal_and_lets_the_gradient_grow_by_four_orders_of_magnitude():
    profiles = [measure("the right size", "relu", "batch", seed=seed) for seed in range(3)]
    growth = np.mean([np.log10(found.gradient[0] / found.gradient[-1]) for found in profiles])
    assert all(0.5 < found.signal[-1] < 1 for found in profiles)
    assert 3.5 < growth < 4.7


def test_the_two_curves_differ_in_grey_by_marker_and_panel_and_the_frame_holds_no_nan():
    figure = draw(measure("twice the right size", "relu", "none"), "title")
    forward, back = figure.axes
    lines = [axes.lines[-1] for axes in (forward, back)]
    assert [line.get_color() for line in lines] == [DARK_BLUE, DARK_VERMILION]
    assert lines[0].get_marker() != lines[1].get_marker()
    assert all(np.isfinite(line.get_ydata()).all() for line in lines)


@pytest.mark.parametrize(
    ("factor", "words"), [(0.47, "0.47 times"), (81.2, "81 times"), (3e-20, "10^-20 times"), (2e15, "10^15 times"), (0.0, "0 times")]
)
def test_a_factor_is_said_in_few_figures(factor, words):
    assert times(factor) == words


def test_progress_hands_on_every_item_and_ends_at_the_full_count(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(DisplayHandle, "display", lambda self, line, **_: shown.append(repr(line)))
    monkeypatch.setattr(DisplayHandle, "update", lambda self, line, **_: shown.append(repr(line)))
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert "0 of 3" in shown[0] and "░" in shown[0]
    assert "3 of 3" in shown[-1] and "░" not in shown[-1]
    assert list(progress((n for n in range(2)), "numbers", count=2)) == [0, 1]
    assert capsys.readouterr().err == ""


def test_progress_over_something_of_unknown_length_asks_for_it():
    with pytest.raises(ValueError, match="give count"):
        next(progress((n for n in range(3)), "numbers"))

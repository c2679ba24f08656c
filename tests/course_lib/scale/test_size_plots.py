"""The still pictures of chapter 01 show the numbers that they are given."""

import numpy as np
import pytest

from course_lib.interactive import fence, methods_over_splits, sizes
from course_lib.metrics import mean_and_interval


def test_a_fence_draws_each_line_where_its_unit_begins_to_speak():
    weight, bias = np.array([[3.0, 0.0], [4.0, -2.0]]), np.array([5.0, 1.0])  # 3x + 4y + 5 = 0 and -2y + 1 = 0
    points, labels = np.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 1.0]]), np.array([0, 1, 1])
    figure = fence(points, labels, weight, bias, np.array([-1.0, 2.0, 3.0]), ("in", "out"), score=lambda places: places[:, 0] - 0.5)
    plane, scores = figure.axes
    for line, column, shift in zip(plane.lines[:2], weight.T, bias, strict=True):
        x, y = line.get_data()
        assert np.allclose(column[0] * np.asarray(x) + column[1] * np.asarray(y) + shift, 0)
        assert np.hypot(np.diff(x), np.diff(y)) > 2 * np.diff(plane.get_xlim())  # long enough to cross the picture
    (dashed,) = plane.collections
    assert np.allclose(np.concatenate([path.vertices for path in dashed.get_paths()])[:, 0], 0.5)
    shown = np.concatenate([line.get_xdata() for line in scores.lines[:2]])
    assert np.array_equal(shown, [-1.0, 2.0, 3.0])


def test_sizes_are_bars_on_a_logarithmic_axis_with_room_for_the_largest():
    figure = sizes({"small": 4810, "large": 174_604_259_328}, bands={"middle": (1e6, 1e9)})
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert [bar.get_width() for bar in axes.patches[:2]] == [4810, 174_604_259_328]
    assert axes.get_xlim() == (1e3, 1e12)
    assert [text.get_text() for text in axes.texts] == ["middle"]


def test_methods_stand_at_their_means_with_every_split_beside_them():
    rng = np.random.default_rng(0)
    scores = {(rows, method): rng.uniform(0.8, 1, size=6) for rows in (100, 400) for method in ("one", "two")}
    (axes,) = methods_over_splits(scores).axes
    shown = {tuple(np.round(np.asarray(line.get_ydata(), dtype=float), 9)) for line in axes.lines}
    for values in scores.values():
        assert tuple(np.round(values, 9)) in shown
        assert (round(float(mean_and_interval(values).mean), 9),) in shown
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]


def test_more_methods_than_marks_are_refused():
    with pytest.raises(ValueError, match="6 methods cannot be told apart; at most 5"):
        methods_over_splits({(1, str(method)): np.ones(3) for method in range(6)})

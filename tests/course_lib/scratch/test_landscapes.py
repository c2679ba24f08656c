import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import rosen, rosen_der

from course_lib.scratch.gradcheck import numerical_gradient
from course_lib.scratch.landscapes import LANDSCAPES, RESTLESS, STEEPEST, beale, ravine, restless, rosenbrock, saddle

EVERY = pytest.mark.parametrize("landscape", LANDSCAPES, ids=lambda landscape: landscape.name)


@EVERY
@given(seed=st.integers(0, 2**32 - 1))
def test_the_slope_is_that_of_the_height(landscape, seed):
    left, right, low, high = landscape.window
    point = np.random.default_rng(seed).uniform((left, low), (right, high))
    measured = numerical_gradient(lambda x: float(landscape.function(x)[0]), point)
    np.testing.assert_allclose(landscape.function(point)[1], measured, rtol=1e-5, atol=1e-5)


@EVERY
def test_the_lowest_points_are_level_and_nothing_on_the_map_is_lower(landscape):
    left, right, low, high = landscape.window
    grid = np.stack(np.meshgrid(np.linspace(left, right, 301), np.linspace(low, high, 301)), axis=-1)
    for place in landscape.lowest:
        height, slope = landscape.function(place)
        np.testing.assert_allclose(slope, 0, atol=1e-12)
        assert landscape.function(grid)[0].min() >= height - 1e-12
        assert left < place[0] < right and low < place[1] < high
    assert left < landscape.start[0] < right and low < landscape.start[1] < high


@EVERY
def test_many_points_at_once_give_what_each_gives_alone(landscape):
    points = np.random.default_rng(0).normal(size=(3, 4, 2))
    heights, slopes = landscape.function(points)
    assert heights.shape == (3, 4) and slopes.shape == (3, 4, 2)
    for index in np.ndindex(3, 4):
        height, slope = landscape.function(points[index])
        assert heights[index] == pytest.approx(height)
        np.testing.assert_allclose(slopes[index], slope)


def test_rosenbrock_is_scipys():
    for point in np.random.default_rng(0).normal(size=(20, 2)):
        height, slope = rosenbrock(point)
        assert height == pytest.approx(rosen(point))
        np.testing.assert_allclose(slope, rosen_der(point))


def test_beale_has_the_height_of_its_definition():
    x, y = 0.7, -1.3
    assert beale([x, y])[0] == pytest.approx((1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2)


def test_the_ravine_has_curvatures_from_1_to_25_in_equal_ratios_in_any_number_of_dimensions():
    for dims in (2, 3, 7):
        curvatures = ravine(np.ones(dims))[1]
        assert (curvatures[0], curvatures[-1]) == pytest.approx((1, STEEPEST))
        np.testing.assert_allclose(curvatures[1:] / curvatures[:-1], STEEPEST ** (1 / (dims - 1)))


def test_the_saddle_is_level_at_zero_which_is_lowest_along_x_and_highest_along_y():
    assert saddle([0, 0])[0] == 0 and not saddle([0, 0])[1].any()
    assert saddle([0.1, 0])[0] > 0 > saddle([0, 0.1])[0]
    assert saddle([0, 1])[0] == -0.25


@pytest.mark.parametrize("function", [rosenbrock, beale, saddle])
def test_points_of_three_coordinates_are_refused(function):
    with pytest.raises(ValueError, match=r"two coordinates.*was given shape \(3,\)"):
        function(np.zeros(3))


def test_the_restless_hill_answers_each_call_with_the_next_number_in_the_shapes_of_a_hill():
    heights = []
    for x in (np.zeros(2), [1.0, 2.0], np.ones((3, 4)), np.zeros(1), np.ones(2), np.ones(2)):
        height, slope = restless(x)
        assert np.shape(height) == np.shape(x)[:-1] and slope.shape == np.shape(x)
        assert (slope == np.max(height)).all()
        heights.append(np.max(height))
    assert set(heights) == set(RESTLESS)
    np.testing.assert_array_equal(np.diff(heights) % len(RESTLESS), 1)

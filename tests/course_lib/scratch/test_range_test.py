import math

import numpy as np

from course_lib.scratch.landscapes import ravine
from course_lib.scratch.range_test import lr_range_test


def test_each_loss_is_met_before_the_step_with_its_rate_and_the_walk_goes_on():
    start, rates = np.array([1.0, 1.0]), [0.01, 0.02, 0.03]
    x, wanted = start, []
    for rate in rates:
        height, slope = ravine(x)
        wanted.append(height)
        x = x - rate * slope
    np.testing.assert_allclose(lr_range_test(ravine, start, rates), wanted)
    assert start.tolist() == [1, 1]


def test_it_ends_at_a_loss_above_stop_times_the_smallest_so_far_and_does_not_keep_it():
    heights = iter([8.0, 2.0, 7.9, 8.1, 1.0])
    found = lr_range_test(lambda x: (next(heights), np.zeros_like(x)), np.zeros(1), [1.0] * 5)
    assert found.tolist() == [8.0, 2.0, 7.9]


def test_infinity_and_nan_end_it_whatever_stop_is():
    for bad in (math.inf, math.nan):
        heights = iter([3.0, bad, 1.0])
        assert lr_range_test(lambda x, heights=heights: (next(heights), np.zeros_like(x)), np.zeros(1), [1.0] * 3, stop=math.inf).tolist() == [3.0]

"""The figure of the gradient's memory: every control does something, and what it shows is the theory where there is one."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from course_lib.interactive import memory_profile, style
from course_lib.interactive.memory_profile import FLOOR, RADII, STEPS, measure, power
from course_lib.interactive.show import live


def pixels(figure) -> np.ndarray:
    """(height, width, 3) in 0 to 255, coarse, because it is asked for often."""
    figure.set_dpi(60)
    return np.asarray(Image.open(io.BytesIO(style.png(figure))).convert("RGB"), dtype=int)


def test_every_value_of_every_control_gives_another_picture():
    figure = memory_profile()
    for name, control in figure.controls.items():
        pictures = [pixels(figure.draw(**figure.start() | {name: value})) for value in control.values()]
        for before, after in itertools.pairwise(pictures):
            assert (np.abs(before - after).max(axis=2) > 60).sum() > 5, name


def test_every_setting_can_be_drawn_and_its_words_name_it():
    figure = memory_profile()
    for values in figure.settings():
        caption = figure.caption(**values)
        assert f"Spectral radius {values['radius']:g}" in caption and values["unit"] in caption
        assert np.isfinite(measure(**values).left).all()


def test_the_live_figure_follows_each_control_over_its_range():
    figure = memory_profile()
    box, holders = live(figure)
    for name, holder in holders.items():
        seen = set()
        for value in figure.controls[name].values():
            holder.value = value
            seen.add(box.children[1].value)
        assert len(seen) == len(figure.controls[name].values()), name


@pytest.mark.parametrize("radius", RADII)
def test_a_rotation_without_squashing_leaves_the_radius_to_the_power_of_the_distance(radius):
    found = measure(radius, "a rotation", "no squashing")
    np.testing.assert_allclose(found.left, radius ** np.arange(STEPS), rtol=1e-9)
    np.testing.assert_allclose(np.abs(found.eigenvalues), radius, rtol=1e-9)


def test_a_random_matrix_has_eigenvalues_within_its_radius_and_leaves_less_than_a_rotation():
    found = measure(0.9, "random", "no squashing")
    assert np.abs(found.eigenvalues).max() == pytest.approx(0.9)
    assert found.left[-1] < 0.9 ** (STEPS - 1)


def test_squashing_turns_an_explosion_into_vanishing():
    assert measure(1.5, "a rotation", "no squashing").left[-1] > 1e8
    assert measure(1.5, "a rotation", "tanh, large inputs").left[-1] < 1e-3


def test_shares_are_written_so_that_they_can_be_read():
    assert [power(share) for share in (0.0, 1e-24, 0.0057, 1.0, 117.4, 3.2e10)] == ["0", "10^-24", "0.0057", "1", "117", "10^11"]
    assert FLOOR > 0

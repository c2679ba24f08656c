"""course_lib.interactive.cross_attention: every control does something, and what is shown is true."""

import io

import numpy as np
import pytest
from PIL import Image

from course_lib.interactive.cross_attention import MEAN, Reading, cross_attention_maps, draw
from course_lib.interactive.show import live
from course_lib.interactive.style import png


def some_reading(source: str, target: str, seed: int) -> Reading:
    words, signs = tuple(source.split()), (*target, ">")
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(words)), size=(2, 2, len(signs)))
    return Reading(words, signs, weights)


READINGS = [some_reading("one hundred five", "一百零五", 0), some_reading("twenty", "二十", 1)]
FIGURE = cross_attention_maps(READINGS)


def pixels(figure) -> np.ndarray:
    figure.set_dpi(50)
    return np.asarray(Image.open(io.BytesIO(png(figure))).convert("L"), dtype=int)


@pytest.mark.parametrize("name", FIGURE.controls)
def test_every_value_of_every_control_gives_another_picture_and_other_words(name):
    values = [FIGURE.start() | {name: value} for value in FIGURE.controls[name].values()]
    assert len(values) >= 2
    assert len({pixels(FIGURE.draw(**value)).tobytes() for value in values}) == len(values)
    assert len({FIGURE.caption(**value) for value in values}) == len(values)


def test_every_combination_can_be_drawn():
    for setting in FIGURE.settings():
        FIGURE.draw(**setting)
        assert FIGURE.caption(**setting)


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


def test_the_caption_names_the_word_with_the_largest_weight_and_what_was_written_so_far():
    reading = READINGS[0]
    words = FIGURE.caption(sentence="one hundred five", head="layer 2, head 1", sign=2)
    best = int(reading.weights[1, 0, 2].argmax())
    assert f"most at “{reading.source[best]}” (word {best + 1}, {reading.weights[1, 0, 2, best]:.0%})" in words
    assert "Written so far: 一百; next comes 零" in words
    assert reading.head(MEAN) == pytest.approx(reading.weights.mean((0, 1)))


def test_rows_that_are_not_written_yet_are_empty_and_the_current_one_is_framed():
    figure = draw(READINGS[0], MEAN, 1)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.all(shown[2:] == 0) and np.allclose(shown[:2].sum(1), 1)
    assert figure.axes[0].patches[0].get_xy() == (-0.5, 0.5)
    assert len(figure.axes[0].texts) == len(READINGS[0].source)


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="wanted weights of shape"):
        Reading(("one",), ("一", ">"), np.zeros((1, 1, 3, 1)))
    with pytest.raises(ValueError, match="one reading or more"):
        cross_attention_maps([])

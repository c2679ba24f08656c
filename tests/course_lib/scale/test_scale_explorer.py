"""The explorer of scale: every control does something, and the words and numbers are those of the counters."""

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from course_lib.interactive import scale_explorer, style
from course_lib.interactive.scale_explorer import cards_filled, duration, gigabytes, measure, share, short
from course_lib.interactive.show import live
from course_lib.scale import counting
from course_lib.scale.models import GPT2


def pixels(figure) -> np.ndarray:
    """(height, width, 3) in 0 to 255, coarse, because it is asked for often."""
    figure.set_dpi(60)
    return np.asarray(Image.open(io.BytesIO(style.png(figure))).convert("RGB"), dtype=int)


def test_every_value_of_every_control_gives_another_picture():
    figure = scale_explorer()
    for name, control in figure.controls.items():
        pictures = [pixels(figure.draw(**figure.start() | {name: value})) for value in control.values()]
        for before, after in itertools.pairwise(pictures):
            assert (np.abs(before - after).max(axis=2) > 60).sum() > 5, name


def test_every_setting_has_words_of_its_own():
    figure = scale_explorer()
    captions = [figure.caption(**values) for values in figure.settings()]
    assert len(set(captions)) == len(captions) == 6 * 5 * 3 * 3


def test_the_live_figure_follows_each_control_over_its_range():
    figure = scale_explorer(layers=(2, 12), widths=(128, 768), vocabularies=(256, 50_257), contexts=(128, 1024))
    box, holders = live(figure)
    for name, holder in holders.items():
        seen = set()
        for value in figure.controls[name].values():
            holder.value = value
            seen.add(box.children[1].value)
        assert len(seen) == 2, name


def test_it_starts_as_gpt2():
    size = measure(**scale_explorer().start())
    assert size.total == counting.transformer_params(GPT2)
    assert f"{counting.transformer_params(GPT2):,} parameters" in scale_explorer().caption(**scale_explorer().start())


def test_a_caption_names_the_largest_part_and_says_whether_it_fits():
    figure = scale_explorer()
    small = figure.caption(layers=2, width=128, vocabulary=50_257, context=128)
    large = figure.caption(layers=96, width=12_288, vocabulary=256, context=8192)
    assert "is called token table" in small
    assert "fits into one card" in small
    assert "is called feed-forward" in large
    assert "does not fit into one card" in large


def test_the_days_count_the_comparisons_of_tokens_as_well_as_6nd():
    short_texts, long_texts = (measure(12, 768, 256, context) for context in (128, 8192))
    for size, context in ((short_texts, 128), (long_texts, 8192)):
        work = (6 * size.total + 12 * 12 * 768 * context) * 20 * size.total
        assert size.days == pytest.approx(work / (312e12 * 0.4 * 1024) / 86_400)


def test_the_same_settings_give_the_same_bytes():
    values = scale_explorer().start()
    assert style.png(scale_explorer().draw(**values)) == style.png(scale_explorer().draw(**values))


def test_the_colours_of_the_two_groups_differ_in_grey_as_well():
    assert any({style.BLUE, style.ORANGE} == {one, other} for _, one, other in style.PAIRS)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (short(124_439_808), "124 million"),
        (short(1_557_611_200), "1.56 billion"),
        (short(999_900), "1000 thousand"),
        (short(85), "85"),
        (gigabytes(13.5e9), "13.5 GB"),
        (gigabytes(2.79e12), "2,790 GB"),
        (gigabytes(2.1e6), "0.0021 GB"),
        (share(0.455), "45.5%"),
        (share(0.0002), "less than 0.1%"),
        (share(0.0), "0.0%"),
        (cards_filled(0.038), "3.8% of a card of 80 GB"),
        (cards_filled(1.81), "1.8 times a card of 80 GB"),
        (cards_filled(37.2), "38 cards of 80 GB"),
        (duration(331), "331 days"),
        (duration(1.5), "36 hours"),
        (duration(0.01), "14.4 minutes"),
        (duration(0.00017), "15 seconds"),
        (duration(4321.5), "4,322 days"),
    ],
)
def test_numbers_are_written_as_people_say_them(found, text):
    assert found == text


def test_widths_that_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 64, got \(100,\)"):
        scale_explorer(widths=(100,))


def test_importing_the_figures_does_not_import_what_answers_the_exercises():
    closed = "('course_lib.scale', 'course_lib.metrics', 'course_lib.scratch.functional')"
    program = f"import sys, course_lib.interactive; print([name for name in sys.modules if name.startswith({closed})])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"

"""course_lib.interactive.attention_maps: every control does something, also a sentence typed in, and what is shown is true."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from course_lib.interactive import Text, attention_maps, draw_map
from course_lib.interactive.attention_maps import HEADS, MASKS, MAX_WORDS, SIZES, START, allowed, weights_of, words_of
from course_lib.interactive.show import live
from course_lib.interactive.style import png

FIGURE = attention_maps()


def pixels(figure) -> np.ndarray:
    figure.set_dpi(40)
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


def test_a_sentence_that_is_typed_in_is_drawn_when_it_is_finished():
    widget, holders = live(FIGURE)
    before = widget.children[1].value
    holders["sentence"].value = "Nobody expected this one!"
    assert widget.children[1].value != before and any(f"“{word}”" in widget.children[1].value for word in ("Nobody", "expected", "one"))
    assert holders["sentence"].continuous_update is False


@given(sentence=st.text(max_size=80), head=st.sampled_from(list(HEADS)), mask=st.sampled_from(MASKS), size=st.sampled_from(SIZES))
@settings(max_examples=150)
def test_whatever_is_typed_every_row_adds_up_to_1_and_hides_what_the_mask_hides(sentence, head, mask, size):
    words = words_of(sentence)
    assert 1 <= len(words) <= MAX_WORDS
    weights = weights_of(words, head, mask, size)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert not weights[~allowed(mask, len(words))].any()
    assert FIGURE.caption(sentence, head, mask, size)


@pytest.mark.parametrize("sentence", ["", "   ", "a", "¿?", "$x_1$ % \\frac", "<b>&amp;</b>", "狗 咬 人", "word " * 40, "x" * 60])
def test_odd_sentences_can_be_drawn(sentence):
    picture = pixels(FIGURE.draw(sentence, "words spelt alike", MASKS[0], 1.0))
    assert len(np.unique(picture)) > 2


def test_each_head_looks_where_its_name_says():
    words = words_of(START)
    dogs, dog = words.index("dogs"), words.index("dog")
    maps = {head: weights_of(words, head, MASKS[0], 4.0) for head in HEADS}
    assert maps["the word before"][1:].argmax(axis=1).tolist() == list(range(len(words) - 1))
    assert maps["the same word"].argmax(axis=1).tolist() == list(range(len(words)))
    alike = weights_of(words, "words spelt alike", MASKS[0], 1.0)
    alike[dogs, dogs] = 0
    assert alike[dogs].argmax() == dog
    assert np.ptp(maps["long words"], axis=0).max() < 1e-12 and words[maps["long words"][0].argmax()] == "because"


def test_a_repeated_word_shares_the_weight_of_the_same_word_head():
    words = words_of("a rose is a rose")
    weights = weights_of(words, "the same word", MASKS[0], 4.0)
    assert weights[0, 0] == pytest.approx(weights[0, 3]) and weights[0, 0] > 0.49


def test_scores_times_0_are_the_mean_of_what_may_be_seen():
    words = words_of(START)
    weights = weights_of(words, "random weights", MASKS[1], 0.0)
    np.testing.assert_allclose(weights, np.tril(np.ones_like(weights)) / np.arange(1, len(words) + 1)[:, None])


def test_a_larger_weight_is_darker_and_what_is_hidden_is_crossed_out():
    weights = np.array([[0.0, 1.0], [1.0, 0.0]])
    figure = draw_map(weights, ["a", "b"], ["c", "d"], may=np.array([[False, True], [True, True]]), marked=[1, 0])
    (axes,) = figure.axes
    shown = axes.images[0]
    assert shown.norm(1.0) > shown.norm(0.0) and shown.get_cmap()(1.0)[0] < shown.get_cmap()(0.0)[0]
    crosses = [line for line in axes.lines if list(line.get_xdata()) == [-0.3, 0.3] and list(line.get_ydata()) == [0.3, -0.3]]
    assert len(crosses) == 1
    assert [text.get_text() for text in axes.texts] == ["1", "1"]


def test_labels_that_do_not_fit_the_weights_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2\); there are 3 rows"):
        draw_map(np.eye(2), ["a", "b", "c"], ["d", "e"])


def test_a_text_starts_with_its_start_and_names_its_examples():
    text = Text("words", "one", ("two",))
    assert text.values() == ("one", "two") and text.widget()[0].value == "one"

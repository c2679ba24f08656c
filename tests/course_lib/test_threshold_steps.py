"""course_lib.interactive.threshold_steps: every control does something, and the numbers are scikit-learn's."""

import io
import itertools
import re

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from course_lib.interactive import style, threshold_steps
from course_lib.interactive.show import live
from course_lib.interactive.threshold_steps import CURVES, SHARES, counts_at, thinned

rng = np.random.default_rng(0)
LABELS = (rng.random(150) < 0.3).astype(int)
SCORES = 1 / (1 + np.exp(-rng.normal(size=150) - 1.5 * LABELS))
FIGURE = threshold_steps(LABELS, SCORES, names=("slow", "fast"), last=16)


def pixels(figure) -> np.ndarray:
    figure.set_dpi(60)
    return np.asarray(Image.open(io.BytesIO(style.png(figure))).convert("RGB"), dtype=int)


@pytest.mark.parametrize("name", FIGURE.controls)
def test_every_value_of_every_control_gives_another_picture_and_other_words(name):
    shown = [FIGURE.start() | {name: value} for value in FIGURE.controls[name].values()]
    pictures = [pixels(FIGURE.draw(**values)) for values in shown]
    for before, after in itertools.pairwise(pictures):
        assert (np.abs(before - after).max(axis=2) > 60).sum() > 5
    assert len({FIGURE.caption(**values) for values in shown}) == len(shown)


def test_every_setting_is_drawn_without_a_warning(recwarn):
    for step, curve, kept in itertools.product((0, 8, 16), CURVES, SHARES):
        FIGURE.draw(step=step, curve=curve, kept=kept)
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9])
def test_the_counts_are_those_of_scikit_learns_confusion_matrix(threshold):
    counts = counts_at(LABELS, SCORES, threshold)
    called = (threshold <= SCORES).astype(int)
    assert [[counts.true_negative, counts.false_positive], [counts.false_negative, counts.true_positive]] == metrics.confusion_matrix(
        LABELS, called
    ).tolist()
    assert counts.recall == pytest.approx(metrics.recall_score(LABELS, called))
    assert counts.precision == pytest.approx(metrics.precision_score(LABELS, called))
    assert counts.accuracy == pytest.approx(metrics.accuracy_score(LABELS, called))


def test_the_caption_says_what_the_counts_say():
    words = FIGURE.caption(step=8, curve="ROC", kept=1.0)
    counts = counts_at(LABELS, SCORES, 0.5)
    assert f"{counts.true_positive + counts.false_positive} of 150 are called" in words
    assert f"precision {counts.precision:.0%}, recall {counts.recall:.0%}" in words
    assert "no precision, since nobody is called" in threshold_steps(LABELS, SCORES / 2).caption(step=40, curve="ROC", kept=1.0)


def test_thinning_keeps_every_negative_row_and_a_quarter_of_the_positive_ones():
    rows = thinned(LABELS, 0.25)
    assert (LABELS[rows] == 0).sum() == (LABELS == 0).sum()
    assert (LABELS[rows] == 1).sum() == pytest.approx(LABELS.sum() / 4, abs=1)


def test_with_fewer_positive_rows_the_curve_of_all_rows_stays_behind_it():
    def lines(kept: float, curve: str) -> list[np.ndarray]:
        axes = FIGURE.draw(step=8, curve=curve, kept=kept).axes[1]
        return [np.asarray(line.get_xydata()) for line in axes.lines if len(np.asarray(line.get_xydata())) > 2]

    for curve in CURVES:
        [everything], [before, now] = lines(1.0, curve), lines(0.25, curve)
        assert np.array_equal(everything, before)
        assert not np.array_equal(before, now)


def test_the_tallest_bar_of_either_class_fills_its_half_and_its_ticks_count_rows():
    axes = FIGURE.draw(**FIGURE.start()).axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    assert (min(heights), max(heights)) == (-1.0, 1.0)
    for k, sign in ((0, -1), (1, 1)):
        tallest = np.histogram(SCORES[k == LABELS], bins=20, range=(0, 1))[0].max()
        ticks = [(y, int(label.get_text())) for y, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True) if sign * y > 0]
        assert ticks and all(sign * y * tallest == pytest.approx(rows) for y, rows in ticks)


def test_the_words_call_the_classes_by_the_names_that_were_given():
    assert "all fast rows" in FIGURE.caption(**FIGURE.start())
    assert FIGURE.controls["kept"].label == "share of the fast rows that are kept"
    assert not FIGURE.static  # the picture without Python is the one that the widget starts with


def test_the_widget_redraws_when_a_control_moves():
    widget, holders = live(FIGURE)
    before = widget.children[1].value
    holders["step"].value = 5
    middle = widget.children[1].value
    holders["curve"].value = CURVES[1]
    after = widget.children[1].value
    assert len({before, middle, after}) == 3
    assert re.search('alt="[^"]{80,}', after)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.5], r"was given \(2,\) and \(1,\)"),
        ([1, 1], [0.5, 0.5], "both present"),
        ([0, 1], [0.5, 1.5], "between 0 and 1"),
    ],
)
def test_a_mistake_is_named(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        threshold_steps(labels, scores)

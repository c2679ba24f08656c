"""course_lib.scores: equal to scikit-learn's to 1e-12, and bootstrap intervals that hold what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

from course_lib.scores import bootstrap_interval, calibration_error, precision_recall_f1, roc_auc, roc_curve

answers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60).map(lambda rows: np.array(rows).T)
judged = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=60).map(lambda rows: np.array(rows).T)
both_classes = judged.filter(lambda pair: set(pair[0]) == {0, 1})


@settings(deadline=None)
@given(answers)
def test_precision_recall_and_f1_equal_scikit_learns_with_zero_for_0_by_0(pair):
    labels, predictions = pair
    ours = precision_recall_f1(labels, predictions, range(5))
    theirs = metrics.precision_recall_fscore_support(labels, predictions, labels=range(5), zero_division=0)
    for found, wanted in zip((ours.precision, ours.recall, ours.f1), theirs, strict=False):
        np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert ours.macro_f1 == pytest.approx(metrics.f1_score(labels, predictions, labels=range(5), average="macro", zero_division=0), abs=1e-12)
    assert ours.micro_f1 == pytest.approx(metrics.f1_score(labels, predictions, average="micro"), abs=1e-12)
    assert ours.micro_f1 == pytest.approx(metrics.accuracy_score(labels, predictions), abs=1e-12)


@settings(deadline=None)
@given(both_classes)
def test_roc_auc_equals_scikit_learns_and_the_share_of_pairs_that_are_won(pair):
    labels, scores = pair
    assert roc_auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    wins = [(p > n) + 0.5 * (p == n) for p in scores[labels == 1] for n in scores[labels == 0]]
    assert roc_auc(labels, scores) == pytest.approx(np.mean(wins), abs=1e-12)
    assert roc_auc(labels, -scores) == pytest.approx(1 - roc_auc(labels, scores), abs=1e-12)


@settings(deadline=None)
@given(both_classes)
def test_the_roc_curve_equals_scikit_learns_and_encloses_the_auc(pair):
    ours = roc_curve(*pair)
    for found, wanted in zip(ours, metrics.roc_curve(*pair, drop_intermediate=False), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert metrics.auc(ours[0], ours[1]) == pytest.approx(roc_auc(*pair), abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 25))
def test_the_calibration_error_equals_the_one_from_scikit_learns_calibration_curve(seed, bins):
    rng = np.random.default_rng(seed)
    probabilities = rng.random(200)
    labels = (rng.random(200) < probabilities**2).astype(int)
    happened, announced = calibration_curve(labels, probabilities, n_bins=bins)
    counts = np.histogram(probabilities, bins=bins, range=(0, 1))[0]
    assert calibration_error(labels, probabilities, bins) == pytest.approx(np.sum(counts[counts > 0] / 200 * np.abs(happened - announced)), abs=1e-12)


def test_a_probability_of_1_is_in_the_last_bin():
    assert calibration_error([0, 1], [1.0, 0.95], 10) == pytest.approx(0.475)


def test_bootstrap_intervals_of_a_mean_agree_with_scipys():
    values = np.random.default_rng(0).exponential(size=60)
    ours = bootstrap_interval(np.mean, values, draws=4000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.06 * values.std())


def test_about_95_of_100_bootstrap_intervals_hold_the_planted_mean():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(np.mean, rng.normal(3, 2, size=80), draws=200, seed=seed) for seed in range(500)]
    assert np.mean([low <= 3 <= high for low, high in intervals]) == pytest.approx(0.94, abs=0.03)


def test_rows_are_drawn_together():
    values = np.random.default_rng(0).choice([-1.0, 1.0], size=50)
    assert bootstrap_interval(np.vdot, values, values, draws=50) == (50.0, 50.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: roc_auc([1, 1], [0.1, 0.2]), "2 positive and 0 negative"),
        (lambda: roc_auc([0, 2], [0.1, 0.2]), r"labels must be 0 or 1, got \[0, 2\]"),
        (lambda: roc_auc([0, 1], [0.1, np.nan]), "scores hold NaN"),
        (lambda: roc_auc([0, 1], [0.1]), r"got \(2,\) and \(1,\)"),
        (lambda: calibration_error([0, 1], [0.1, 1.2]), "between 0 and 1"),
        (lambda: calibration_error([], []), "no rows"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""course_lib.metrics: equal to scikit-learn and scipy, and intervals that hold what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from course_lib.metrics import Interval, accuracy, confusion_matrix, mean_and_interval, wilson_interval

pairs = st.lists(st.tuples(st.integers(-3, 6), st.integers(-3, 6)), min_size=1, max_size=80).map(lambda rows: np.array(rows).T)
confidences = st.floats(0.01, 0.999)


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None)
@given(pairs)
def test_accuracy_and_confusion_matrix_equal_scikit_learns(pair):
    labels, predictions = pair
    assert accuracy(labels, predictions) == pytest.approx(sklearn_metrics.accuracy_score(labels, predictions), abs=1e-15)
    matrix = confusion_matrix(labels, predictions)
    assert np.array_equal(matrix, sklearn_metrics.confusion_matrix(labels, predictions))
    assert matrix.dtype == np.int64


@settings(deadline=None)
@given(pairs, st.permutations(range(-3, 7)))
def test_named_classes_give_the_rows_in_their_order_and_rows_for_the_absent(pair, classes):
    ours = confusion_matrix(*pair, classes=classes)
    assert np.array_equal(ours, sklearn_metrics.confusion_matrix(*pair, labels=classes))


def test_rows_are_the_truth_and_columns_the_predictions():
    assert confusion_matrix(["cat", "cat", "dog"], ["cat", "dog", "dog"]).tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("metric", [accuracy, confusion_matrix])
@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 1], [[0], [1]], r"shape \(N,\), got \(2,\) and \(2, 1\)"),
        ([0, 1], [0], r"got \(2,\) and \(1,\)"),
        ([[0, 1]], [[0, 1]], r"got \(1, 2\) and \(1, 2\)"),
        ([], [], "no predictions"),
        ([0, 1], ["0", "1"], "classes of one kind, got int64 and <U1"),
    ],
)
def test_labels_and_predictions_that_do_not_belong_together_are_refused(metric, labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, predictions)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 1], r"hold \[2\], which classes \[0, 1\] does not list"),
        ([], r"hold \[0, 2\], which classes \[\] does not list"),
        ([0, 1, 1, 2], r"must differ from each other, got \[0, 1, 1, 2\]"),
        (3, r"such as range\(10\), got 3"),
    ],
)
def test_a_list_of_classes_that_cannot_name_the_rows_is_refused(classes, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix([0, 2], [0, 0], classes=classes)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), confidences)
def test_the_interval_of_a_mean_equals_scipys(values, confidence):
    ours = mean_and_interval(values, confidence)
    low, high = ours.mean, ours.mean
    if ours.std > 0:
        low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (ours.mean, ours.std, ours.count) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)), len(values))
    assert (ours.low, ours.high) == (pytest.approx(low, rel=1e-8, abs=1e-9), pytest.approx(high, rel=1e-8, abs=1e-9))


@given(st.integers(1, 2000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))), confidences)
def test_the_wilson_interval_equals_scipys_and_stays_within_zero_and_one(counts, confidence):
    successes, trials = counts
    ours = wilson_interval(successes, trials, confidence)
    theirs = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=1e-9), pytest.approx(theirs.high, abs=1e-9))
    assert 0 <= ours.low <= ours.mean <= ours.high <= 1
    assert ours.high - ours.low > 0
    assert (ours.mean, ours.count) == (successes / trials, trials)
    assert ours.std == pytest.approx(math.sqrt(ours.mean * (1 - ours.mean)))


def test_95_of_100_intervals_of_a_mean_hold_the_planted_mean():
    rng = np.random.default_rng(0)
    intervals = [mean_and_interval(rng.normal(7, 2, size=5)) for _ in range(4000)]
    assert np.mean([i.low <= 7 <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.015)  # 0.88 with a normal quantile for t's


def test_95_of_100_wilson_intervals_hold_the_planted_share_on_average():
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.02, 0.98, size=4000)
    intervals = [wilson_interval(int(rng.binomial(60, share)), 60) for share in shares]
    assert np.mean([i.low <= share <= i.high for i, share in zip(intervals, shares, strict=True)]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.9], r"at least 2 numbers, shape \(N,\), got shape \(1,\)"),
        ([[0.9, 0.8]], r"got shape \(1, 2\)"),
        ([0.9, float("nan")], "finite, got"),
    ],
)
def test_values_without_a_spread_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        mean_and_interval(values)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5), (float("nan"), 5)])
def test_counts_that_cannot_be_are_refused(successes, trials):
    with pytest.raises(ValueError, match=f"got {successes} of {trials}"):
        wilson_interval(successes, trials)


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_a_confidence_in_percent_is_refused(confidence):
    for call in (lambda: mean_and_interval([1, 2], confidence), lambda: wilson_interval(1, 2, confidence)):
        with pytest.raises(ValueError, match=r"0\.95, not 95"):
            call()


def test_an_interval_reads_as_one_would_write_it():
    assert Interval(0.976, 0.972, 0.980, 0.003, 5).percent() == "97.6% ± 0.4"
    assert Interval(0.976, 0.972, 0.980, 0.003, 5).percent(digits=2) == "97.60% ± 0.40"
    assert str(Interval(2.3451, 2.3331, 2.3571, 0.01, 5)) == "2.345 ± 0.012"
    assert str(mean_and_interval([3, 3, 3])) == "3 ± 0"


def test_a_lopsided_interval_shows_both_of_its_ends():
    assert wilson_interval(99, 100).percent() == "99.0% (94.6 to 99.8)"
    assert str(wilson_interval(99, 100)) == "0.99 (0.9455 to 0.9982)"

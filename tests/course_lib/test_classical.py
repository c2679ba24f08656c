"""course_lib.classical: equal effort, no peeking, and stored outcomes that a new run repeats."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from course_lib import classical
from course_lib.data import digits

NEAREST = classical.METHODS[0]


@pytest.mark.parametrize("method", classical.METHODS, ids=lambda method: method.name)
def test_every_method_may_try_as_many_settings_as_any_other(method):
    settings = method.settings()
    assert len(settings) == classical.BUDGET
    assert len({tuple(sorted(setting.items())) for setting in settings}) == classical.BUDGET
    for setting in settings:
        method.make(**classical.FIXED.get(method.name, {}), **setting)


def test_the_stored_run_is_complete():
    outcomes = classical.stored()
    keys = {(outcome.method, outcome.rows, outcome.seed) for outcome in outcomes}
    assert keys == {(method.name, rows, seed) for method in classical.METHODS for rows in (100, 400, 1438) for seed in range(6)}
    assert len(outcomes) == len(keys)
    for outcome in outcomes:
        method = next(method for method in classical.METHODS if method.name == outcome.method)
        assert outcome.chosen in method.settings()
        assert 0 < outcome.right <= outcome.held_out == 359
    assert "python benchmarks/classical_and_networks.py" in classical.stored_about()


def test_nearest_neighbours_repeat_their_stored_outcomes():
    stored = {(outcome.rows, outcome.seed): outcome for outcome in classical.stored() if outcome.method == NEAREST.name}
    for rows, seed in ((100, 0), (100, 3), (400, 1)):
        (outcome,) = classical.compare_one(rows, seed, [NEAREST])
        assert (outcome.right, outcome.chosen) == (stored[rows, seed].right, stored[rows, seed].chosen)


def test_the_held_out_pictures_have_no_say_in_the_choice(monkeypatch):
    (honest,) = classical.compare_one(100, 0, [NEAREST])
    split = digits(seed=0)

    def spoilt(seed):
        assert seed == 0
        return type(split)(split.x_train, split.y_train, split.x_test, (split.y_test + 1) % 10)

    monkeypatch.setattr(classical, "digits", spoilt)
    (other,) = classical.compare_one(100, 0, [NEAREST])
    assert (other.chosen, other.cross_validated) == (honest.chosen, honest.cross_validated)
    assert other.right < honest.right


def test_the_chosen_setting_is_trained_on_all_rows_and_examined_on_the_held_out_ones():
    (outcome,) = classical.compare_one(1438, 2, [NEAREST])
    split = digits(seed=2)
    model = KNeighborsClassifier(**outcome.chosen).fit(split.x_train, split.y_train)
    assert outcome.right == int(np.sum(model.predict(split.x_test) == split.y_test))
    assert outcome.accuracy == outcome.right / 359


@pytest.mark.parametrize("rows", [49, 1439])
def test_too_few_and_too_many_rows_are_refused(rows):
    with pytest.raises(ValueError, match=f"between 50 and 1438, got {rows}"):
        classical.compare_one(rows, 0)

"""course_lib.data.cards and course_lib.measure."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data.cards import LETTERS, cards
from course_lib.measure import median_seconds, power_law, saved_bytes


@given(rows=st.integers(1, 20), length=st.integers(1, 20), seed=st.integers(0, 1000))
def test_step_t_is_answered_by_the_letter_on_the_card_with_number_t(rows, length, seed):
    drawn = cards(rows, length, seed)
    for n in range(rows):
        written = dict(zip(drawn.numbers[n].tolist(), drawn.letters[n].tolist(), strict=True))
        assert sorted(written) == list(range(length))
        assert [written[t] for t in range(length)] == drawn.answers[n].tolist()
        assert drawn.numbers[n][drawn.places[n]].tolist() == list(range(length))


def test_the_same_seed_gives_the_same_cards_and_every_place_and_letter_is_about_as_frequent():
    one, same, other = cards(4000, 4, seed=1), cards(4000, 4, seed=1), cards(4000, 4, seed=2)
    assert np.array_equal(one.letters, same.letters) and not np.array_equal(one.letters, other.letters)
    for place in range(4):
        assert np.bincount(one.places[:, 0], minlength=4)[place] == pytest.approx(1000, abs=150)
    assert len(np.unique(one.letters)) == len(LETTERS)


def test_no_cards_are_refused():
    with pytest.raises(ValueError, match="at least 1 row and 1 card"):
        cards(0, 3)


@given(exponent=st.floats(-3, 3), factor=st.floats(0.01, 100))
def test_the_exponent_of_an_exact_power_law_is_found(exponent, factor):
    sizes = [1, 3, 10, 50]
    law = power_law(sizes, [factor * size**exponent for size in sizes])
    assert law.exponent == pytest.approx(exponent, abs=1e-6) and law.factor == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize(("sizes", "costs"), [([1], [1]), ([2, 2], [1, 3]), ([1, 2], [0, 1]), ([1, 2], [1])])
def test_a_power_law_needs_two_sizes_and_costs_above_zero(sizes, costs):
    with pytest.raises(ValueError, match="wanted two or more"):
        power_law(sizes, costs)


def test_what_a_product_keeps_is_both_factors_once():
    a, b = torch.randn(10, 20, requires_grad=True), torch.randn(20, 30, requires_grad=True)
    assert saved_bytes(lambda: a @ b) == 4 * (10 * 20 + 20 * 30)
    assert saved_bytes(lambda: a @ a.T) == 4 * 10 * 20  # one memory, two views
    assert saved_bytes(lambda: a + 1) == 0


def test_works_take_turns_and_warm_up_is_not_counted():
    turns = []
    found = median_seconds({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, rounds=3, warm_up=2)
    assert turns == ["a", "b"] * 5
    assert set(found) == {"a", "b"} and min(found.values()) >= 0
    with pytest.raises(ValueError, match="at least 1 round"):
        median_seconds({}, rounds=0)

"""The planted class: its truth comes from the registry, and no misconception is left out."""

import pytest

from autograder.gradebook import planted
from autograder.release.chapters import find_chapter

pytestmark = pytest.mark.xdist_group("gradebook")


@pytest.fixture
def full():
    return planted.read_chapter(find_chapter("97"))


def test_points_are_lost_by_the_case():
    full = planted.read_chapter(find_chapter("97"))
    double, largest = full.exercises
    assert planted.points_after(double, []) == 2
    assert planted.points_after(double, ["zero"]) == 1.33
    assert planted.points_after(largest, ["the last is the largest"]) == 1.5
    assert planted.points_after(largest, ["all below zero"]) == 0, "nothing was mended"
    with pytest.raises(ValueError, match="no case 'infinity'"):
        planted.points_after(double, ["infinity"])


def test_every_known_wrong_solution_is_handed_in_by_someone(full, everyone):
    everything = "\n".join(item.text for item in everyone.values()).replace("\\n", "\n")
    for item in full.exercises:
        for variant in item.wrongs:
            body = variant.program(item.name).strip().splitlines()[-1].strip()
            assert body in everything, f"{item.id}: {variant.name}"


def test_the_truth_is_worked_out_by_hand_for_the_tiny_chapter(full, everyone):
    assert full.max_score == 8 and full.full == 6
    scores = {name: item.score for name, item in everyone.items()}
    assert scores["ada"] == scores["ben"] == 6
    assert scores["wrong-1"] == 0.67 + 0  # squared: 1 of 3 cases; nothing for what is as it was found
    assert scores["wrong-2"] == 1.33 + 0
    assert scores["wrong-3"] == 2 + 0  # double has no third wrong solution
    assert scores["empty"] == 0
    assert scores["endless"] == 2 and scores["deaf"] == 2
    assert scores["killed"] == 2, "what was reached before it ended counts"
    assert scores["forging"] == 3, "a check of one's own is not asked"
    assert scores["tampering"] == 0, "nothing counts"


def test_the_truth_for_stock_nbgrader_differs_where_the_engine_knows_better(everyone, by_stock):
    differing = {name: (item.status, item.score) for name, item in by_stock.items() if item.score != everyone[name].score}
    assert differing == {"killed": ("crashed", 0), "deaf": ("timeout", 0), "forging": ("tampered", 0), "tampering": ("graded", 5)}


def test_an_honest_class_has_as_many_as_wanted_each_with_a_name_and_a_truth(full):
    people = planted.honest_class(full, 20)
    assert len({item.student for item in people}) == 20
    assert all(item.status == "graded" and item.stock is None for item in people)

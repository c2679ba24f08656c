"""A slip is a right solution with a piece of its text changed, and says so when the piece is not there."""

import pytest

from autograder.checking.cases import CheckError
from autograder.checking.exercise import find


def test_a_slip_differs_from_its_right_solution_in_the_changed_piece_alone():
    item = find("backprop.train")
    base = next(variant for variant in item.rights if variant.name == "plain loops")
    slip = next(variant for variant in item.wrongs if variant.name == "the seed ignored")
    assert slip.source == base.source.replace("default_rng(seed)", "default_rng()")
    assert slip.value is not base.value


@pytest.mark.parametrize(("changes", "of", "message"), [
    ((("no such text", ""),), "plain loops", "stands 0 times"),
    ((("np.", ""),), "plain loops", "once is wanted"),
    ((("lr", "rate"),), "nobody", "no right solution called 'nobody'"),
])  # fmt: skip
def test_a_slip_that_cannot_be_made_is_refused(changes, of, message):
    item = find("backprop.train")
    before = list(item.wrongs)
    with pytest.raises(CheckError, match=message):
        item.slip("a slip", *changes, of=of, fails="anything")
    assert item.wrongs == before

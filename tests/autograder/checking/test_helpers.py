"""Who calls an answer of theirs that is wrong is told so."""

import pytest

from autograder.checking import helpers
from autograder.checking.check import check
from course_lib.scratch import functional

PLAIN = "def outer(x):\n    return [softmax(row) for row in x]"


def test_functions_methods_and_what_is_inside_them_are_looked_through():
    class Model:
        def forward(self, x):
            return (lambda row: softmax(row))(x)

    def outer(x):
        return [relu(row) for row in x]  # noqa: F821

    assert helpers.called([Model, outer, 3.0], ["softmax", "relu", "sigmoid"]) == ["softmax", "relu"]


def test_a_method_of_the_same_name_is_another_thing():
    assert helpers.called([lambda scores: scores.softmax(-1).relu], ["softmax", "relu"]) == []
    assert helpers.named(["def f(scores): return scores.softmax(-1)"], ["softmax"]) == []


def test_a_program_is_read_and_its_comments_are_not():
    assert helpers.named([PLAIN, "y = relu  # sigmoid"], ["relu", "sigmoid", "softmax"]) == ["relu", "softmax"]
    assert helpers.named(["def broken(:\n softmax"], ["softmax"]) == []


def test_advice_is_a_sentence_or_nothing():
    assert helpers.advice([]) == ""
    assert helpers.advice(["softmax"]) == "This calls `softmax`, which is not right yet by its own check: begin there."
    assert "`relu`, `softmax`, which are not right yet by their own checks" in helpers.advice(["relu", "softmax"])


@pytest.fixture
def softmax_is_wrong():
    check("backprop.softmax", lambda scores: scores)
    yield
    check("backprop.softmax", functional.softmax)


def softmax(scores):
    return scores


def cross_entropy_backward(logits, labels):
    return softmax(logits)


def test_a_failed_check_names_the_helper_until_the_helper_is_right(softmax_is_wrong):
    shown = check("backprop.cross_entropy_backward", cross_entropy_backward)._repr_mimebundle_()["text/html"]
    assert "This calls `softmax`, which is not right yet" in shown
    check("backprop.softmax", functional.softmax)
    assert "This calls" not in check("backprop.cross_entropy_backward", cross_entropy_backward)._repr_mimebundle_()["text/html"]

"""What a grader is told about a submission that was graded to its end, and a student about an answer that could not be had."""

import json
from collections.abc import Iterator

import pytest
from attacks import HONEST, small_notebook

from autograder.engine.sandbox import Limits
from autograder.engine.unit import UnitResult, run_unit
from autograder.engine.worker import discard_zygotes

pytestmark = pytest.mark.sandbox
BREAKS_OFF = "def affine_backward(grad_out, x, weight)\n    return 1\n"
NEVER_ENDS = "def affine_backward(grad_out, x, weight):\n    while True: pass\n"


@pytest.fixture(scope="module", autouse=True)
def zygotes_end_with_the_module() -> Iterator[None]:
    yield
    discard_zygotes()


def shown(result: UnitResult, cell: str) -> str:
    return json.dumps(next(item["outputs"] for item in json.loads(result.executed)["cells"] if item["id"] == cell))


def test_there_is_nothing_to_say_of_an_honest_one(unit_of):
    assert run_unit(unit_of(small_notebook(**HONEST))).reason == ""


def test_another_chapters_notebook_is_told_from_an_empty_one(unit_of):
    notebook = small_notebook(**HONEST)
    for cell in notebook["cells"]:
        if cell["metadata"]:
            cell["metadata"]["nbgrader"]["grade_id"] += "-of-chapter-4"
    result = run_unit(unit_of(notebook))
    assert (result.status, result.reason) == ("graded", "none of the graded cells of this assignment is in it; is it another chapter's notebook?")
    assert result.score == 8, "what it defines still counts"
    assert run_unit(unit_of(small_notebook())).reason == ""


def test_a_check_that_was_rewritten_and_one_that_was_deleted_are_named(unit_of):
    notebook = small_notebook(**HONEST)
    notebook["cells"][3]["source"] = "'full marks'"
    result = run_unit(unit_of(notebook))
    assert (result.score, result.reason) == (8, "graded cells put back: check-affine_backward")
    notebook["cells"][3]["source"] = 'check("backprop.affine_backward", affine_backward)\n'
    assert run_unit(unit_of(notebook)).reason == "", "a line break more is no change"
    del notebook["cells"][3]
    assert run_unit(unit_of(notebook)).reason == "graded cells put back: check-affine_backward"


def test_a_check_that_had_to_be_stopped_is_named(unit_of):
    result = run_unit(unit_of(small_notebook(**HONEST | {"affine_backward": NEVER_ENDS}), Limits(submission=60)))
    assert (result.score, result.reason) == (5, "ran out of time: the check of affine_backward")


def test_an_answer_whose_cell_breaks_off_is_not_called_unwritten(unit_of):
    result = run_unit(unit_of(small_notebook(**HONEST | {"affine_backward": BREAKS_OFF})))
    assert "`affine_backward` is not there: its cell stopped with SyntaxError." in shown(result, "check-affine_backward")
    assert "stopped with" not in shown(run_unit(unit_of(small_notebook(**HONEST | {"affine_backward": "# nothing"}))), "check-affine_backward")


def test_an_answer_that_calls_a_wrong_one_says_so_in_its_feedback(unit_of):
    wrong = "def affine_backward(grad_out, x, weight):\n    return grad_out, grad_out, grad_out\n"
    caller = HONEST["Value"].replace("float(data)", "float(data) + 0 * len(affine_backward.__name__) + 1")
    result = run_unit(unit_of(small_notebook(affine_backward=wrong, Value=caller)))
    assert "This calls `affine_backward`, which is not right yet" in shown(result, "check-Value")
    assert "This calls" not in shown(run_unit(unit_of(small_notebook(**HONEST | {"Value": caller}))), "check-Value")

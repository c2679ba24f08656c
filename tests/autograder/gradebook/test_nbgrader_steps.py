"""A graded cell counts only when a check or a prediction left its verdict there."""

import copy

import pytest
from nbformat import v4
from nbgrader.utils import determine_grade

from autograder.checking.check import MIMETYPE as CHECK
from autograder.checking.predict import MIMETYPE as PREDICTION
from autograder.gradebook.nbgrader_steps import NO_VERDICT, OnlyVerdicts

VERDICT = {"text/plain": "1.5", CHECK: {"exercise": "tiny.double", "score": 1.5, "cases": []}}


def graded_cell(*outputs, grade_id="check-double", points=2):
    nbgrader = {"grade_id": grade_id, "grade": True, "solution": False, "locked": True, "task": False, "points": points, "schema_version": 3}
    return v4.new_code_cell("check('tiny.double', double)", metadata={"nbgrader": nbgrader}, outputs=list(outputs))


def result(data):
    return v4.new_output("execute_result", data=copy.deepcopy(data), execution_count=1)


def grade(cell):
    cell, _ = OnlyVerdicts().preprocess_cell(cell, {}, 0)
    return determine_grade(cell)[0]


def changed(**record):
    return {**VERDICT, CHECK: {**VERDICT[CHECK], **record}}


def test_a_verdict_counts():
    assert grade(graded_cell(result(VERDICT))) == 1.5


def test_a_prediction_counts():
    data = {"text/plain": "1.0", PREDICTION: {"prediction": "tiny.guess", "score": 1.0}}
    assert grade(graded_cell(result(data), grade_id="reveal-guess", points=1)) == 1


def test_words_on_stderr_beside_a_verdict_cost_nothing():
    cell = graded_cell(v4.new_output("stream", name="stderr", text="a warning from compiled code"), result(VERDICT))
    assert determine_grade(cell)[0] == 0, "stock nbgrader alone gives nothing here"
    assert grade(cell) == 1.5


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [v4.new_output("stream", name="stdout", text="2.0")],
        [result({"text/plain": "2.0"})],
        [result({"text/plain": "None"})],
        [result({**VERDICT, "text/plain": "2.0"})],
        [result(changed(exercise="tiny.largest"))],
        [result(changed(score=True) | {"text/plain": "1.0"})],
        [result(changed(score=9.0) | {"text/plain": "9.0"})],
        [result(changed(score=-1.0) | {"text/plain": "-1.0"})],
        [result(changed(score=float("nan")) | {"text/plain": "nan"})],
        [result({**VERDICT, CHECK: "1.5"})],
        [result(VERDICT), result(VERDICT)],
    ],
)
def test_without_a_verdict_of_its_own_a_cell_has_no_points(outputs):
    cell = graded_cell(*outputs)
    assert grade(cell) == 0
    assert cell.outputs[0].ename == NO_VERDICT


def test_an_error_after_a_shown_score_counts_first():
    assert grade(graded_cell(result(VERDICT), v4.new_output("error", ename="E", evalue="", traceback=[]))) == 0

"""What stock nbgrader reads from cells that a real kernel ran."""

import json
import os
import sqlite3
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode, v4
from nbgrader.utils import determine_grade

from autograder.checking.check import MIMETYPE
from autograder.checking.predict import MIMETYPE as PREDICTION

EXERCISES = '''
"""Exercises of a tiny chapter."""
import numpy as np
from autograder.checking import case, close, exercise, same

@exercise("tiny.double", points=3, seconds=1)
def double(student, rng):
    """Twice the number."""
    for number in (1, 2, 3, 4):
        with case(f"doubles {number}"):
            same(student.double(number), 2 * number)

@exercise("tiny.pair", points=1, needs=("first", "second"))
def pair(student, rng):
    """Two things."""
    with case("agree"):
        same(student.first(1), student.second)

@exercise("tiny.noisy", points=2, seconds=1)
def noisy(student, rng):
    """The check itself overflows."""
    with case("large numbers"):
        close(student.noisy(np.float64([1e308, 2])), np.exp(np.array([1000.0, 2.0])))
    with case("any answer"):
        student.noisy(1)
'''

CELLS = {
    "setup": """
        import sys, warnings, logging, numpy as np
        import autograder.exercises
        autograder.exercises.__path__.append({folder!r})
        from autograder import check, predict, progress_board
    """,
    "board": "progress_board('tiny')",
    "unwritten": """
        def double(x):
            raise NotImplementedError
        check("tiny.double", double)
    """,
    "full": "check('tiny.double', lambda x: 2 * x)",
    "named": "check('tiny.double', double=lambda x: 2 * x)",
    "partial": "check('tiny.double', lambda x: 2 * x if x < 4 else -1)",
    "zero": "check('tiny.double', lambda x: -x)",
    "raises": "check('tiny.double', lambda x: 1 / 0)",
    "never ends": """
        def double(x):
            while True:
                try:
                    x += 1
                except:
                    pass
        check("tiny.double", double)
    """,
    "loud": """
        def double(x):
            print("to stderr", file=sys.stderr)
            print("to stdout")
            warnings.warn("a warning")
            np.log(np.zeros(1))
            logging.warning("logged")
            return 2 * x
        check("tiny.double", double)
    """,
    "overflow": "check('tiny.noisy', lambda x: x * 10)",
    "attack": """
        def double(x):
            print("<script>printed()</script>")
            raise ValueError("<script>raised()</script>")
        double.__name__ = "<script>named()</script>"
        check("tiny.double", double)
    """,
    "dict keys": "check('tiny.double', lambda x: {'<script>key()</script>': 1})",
    "as text": "print(check('tiny.double', lambda x: 2 * x if x < 4 else -1))",
    "unknown exercise": "check('tiny.doubel', 1)",
    "unknown chapter": "check('tny.double', 1)",
    "too many": "check('tiny.double', 1, 2)",
    "too few": "check('tiny.pair', 1)",
    "wrong name": "check('tiny.pair', 1, third=2)",
    "pair": "check('tiny.pair', lambda x: x + 1, 2)",
    "made": "predict.reveal('tiny.guess', guess=3, truth=4)",
    "not made": "predict.reveal('tiny.guess', guess=..., truth=4)",
    "undisturbed": "print(type(sys.stdout).__name__, sys.gettrace(), np.geterr()['over'])",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "exercises").mkdir()
    (folder / "exercises" / "tiny.py").write_text(EXERCISES)
    return folder


@pytest.fixture(scope="module")
def ran(folder) -> dict[str, NotebookNode]:
    """All cells, run one after the other in one kernel, by name."""
    cells = []
    for name, source in CELLS.items():
        grading = {"grade": True, "solution": False, "locked": True, "grade_id": name, "points": 3, "schema_version": 3, "task": False}
        text = textwrap.dedent(source).strip().replace("{folder!r}", repr(str(folder / "exercises")))
        cells.append(v4.new_code_cell(text, metadata={"nbgrader": grading}))
    notebook = v4.new_notebook(cells=cells)
    before = os.environ.get("COURSE_PROGRESS")
    os.environ["COURSE_PROGRESS"] = str(folder / "progress.sqlite")
    try:
        NotebookClient(notebook, timeout=60, allow_errors=True, kernel_name="python3").execute()
    finally:
        os.environ.pop("COURSE_PROGRESS") if before is None else os.environ.update(COURSE_PROGRESS=before)
    nbformat.validate(notebook)
    return dict(zip(CELLS, notebook.cells, strict=True))


@pytest.mark.parametrize(
    ("name", "grade"),
    [
        ("full", 3.0), ("named", 3.0), ("partial", 2.25), ("zero", 0.0), ("raises", 0.0), ("unwritten", 0.0), ("never ends", 0.0),
        ("loud", 3.0), ("overflow", 1.0), ("attack", 0.0), ("dict keys", 0.0), ("made", 1.0), ("not made", 0.0), ("pair", 1.0),
        ("unknown exercise", 0.0), ("too many", 0.0),
    ],
)  # fmt: skip
def test_stock_nbgrader_reads_the_score(ran, name, grade):
    assert determine_grade(ran[name]) == (grade, 3.0)


def test_nothing_that_a_check_runs_writes_to_stderr_or_beside_the_result(ran):
    for name, cell in ran.items():
        kinds = [output.output_type for output in cell.outputs]
        assert not any(output.get("name") == "stderr" for output in cell.outputs), name
        if name in ("full", "partial", "loud", "overflow", "attack", "never ends", "unwritten"):
            assert kinds == ["execute_result"], name


def test_a_printed_check_is_the_table_in_plain_text(ran):
    (output,) = ran["as text"].outputs
    assert output.name == "stdout"
    assert output.text.splitlines()[0] == "tiny.double: 2.25 of 3 points. 3 of 4 cases are right."
    assert "✓ doubles 3" in output.text and "✗ doubles 4" in output.text and "The result is -1, which is not right." in output.text


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("unknown exercise", "KeyError", "did you mean 'tiny.double'"), ("unknown chapter", "KeyError", "did you mean 'tiny'"),
        ("too many", "TypeError", "tiny.double checks double; got 2 objects"), ("too few", "TypeError", "tiny.pair checks first, second; got 1"),
        ("wrong name", "TypeError", "tiny.pair checks first, second; got 2"),
    ],
)  # fmt: skip
def test_a_mistaken_call_is_answered_with_a_helpful_error(ran, name, kind, words):
    (output,) = ran[name].outputs
    assert (output.ename, words in output.evalue) == (kind, True), output.evalue


def test_what_the_student_wrote_is_escaped_in_html_and_plain_in_the_record(ran):
    for name in ("attack", "dict keys"):
        data = ran[name].outputs[0].data
        assert "<script" not in data["text/html"]
    assert "&lt;script&gt;raised()" in ran["attack"].outputs[0].data["text/html"]
    record = ran["attack"].outputs[0].data[MIMETYPE]
    assert json.loads(json.dumps(record))["cases"][0]["message"].startswith(
        "Your code raised ValueError: <script>raised()</script>, in `double`, line 3"
    )


def test_the_record_beside_the_table_holds_every_case(ran):
    record = ran["partial"].outputs[0].data[MIMETYPE]
    assert (record["exercise"], record["points"], record["score"], record["solved"]) == ("tiny.double", 3, 2.25, False)
    assert [case["outcome"] for case in record["cases"]] == ["passed"] * 3 + ["failed"]
    assert ran["made"].outputs[0].data[PREDICTION]["made"] is True
    loud = ran["loud"].outputs[0].data[MIMETYPE]["cases"][0]["notes"]
    assert any("to stderr" in note for note in loud) and any("a warning" in note for note in loud)


def test_an_unwritten_exercise_says_what_to_do(ran):
    record = ran["unwritten"].outputs[0].data[MIMETYPE]
    assert {case["message"] for case in record["cases"]} == {"`double` is not written yet: replace its `raise NotImplementedError`."}


def test_the_kernel_is_as_it_was_after_the_checks(ran):
    assert ran["undisturbed"].outputs[0].text == "OutStream None warn\n"


def test_the_board_follows_every_check(ran):
    (output,) = ran["board"].outputs
    assert "Your progress: 5 of 6 points" in output.data["text/html"]
    assert output.data["text/plain"].startswith("✓ double  ✓ pair  ◐ noisy")


def test_results_of_the_kernel_are_kept(folder, ran):
    with sqlite3.connect(folder / "progress.sqlite") as database:
        rows = dict(database.execute("select id, score from exercises"))
    assert rows == {"tiny.double": 3.0, "tiny.pair": 1.0, "tiny.noisy": 1.0}

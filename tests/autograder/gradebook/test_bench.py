"""The comparison with stock nbgrader tells time and truth."""

import json

import pytest
from typer.testing import CliRunner

from autograder.cli import autograder
from autograder.gradebook import bench, marks

pytestmark = [pytest.mark.xdist_group("gradebook"), pytest.mark.sandbox, pytest.mark.slow]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench, "CHAPTER", "97")
    monkeypatch.setattr(bench, "PART", 3)


def test_both_grade_the_same_class_to_the_same_scores():
    answer = CliRunner().invoke(autograder, ["bench", "--students=4", "--json"])
    found = json.loads(answer.stdout)
    assert answer.exit_code == 0 and found["same_scores"] is True and found["submissions"] == 4
    assert {"submissions", "seconds", "nbgrader_seconds", "ratio", "same_scores"} < set(found)
    assert 0 < found["start_seconds"] < found["seconds"] and found["start_cpu"] > 0
    assert 2**20 < found["private_bytes"] < found["peak_bytes"]
    assert found["ratio"] == pytest.approx(found["nbgrader_seconds"] / found["seconds"], abs=0.1)
    assert found["nbgrader_seconds"] > 2 and found["peak_bytes"] > 10 * 2**20 and abs(found["cpu_overhead"]) < 2


def test_one_point_of_difference_is_told(monkeypatch):
    real = bench._nbgrader

    def generous(room, assignment, people):
        seconds = real(room, assignment, people)
        with marks.gradebook(room, writing=True) as book:
            for entry in book.assignment_submissions(assignment)[:1]:
                entry.notebooks[0].grades[0].manual_score = 0.5
            book.db.commit()
        return seconds

    monkeypatch.setattr(bench, "_nbgrader", generous)
    answer = CliRunner().invoke(autograder, ["bench", "--students=1"])
    assert answer.exit_code == 1 and "NOT THE SAME" in answer.stdout

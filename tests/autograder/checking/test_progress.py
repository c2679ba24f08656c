"""The student's progress: kept, never lost to another notebook, and never in the way of a score."""

import sqlite3
import subprocess
import sys

import pytest

from autograder.checking import progress
from autograder.checking.results import CaseResult, ExerciseResult


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    path = tmp_path / "data" / "progress.sqlite"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    return path


def result(passed: int, of: int = 4, points: float = 2, id: str = "a.b") -> ExerciseResult:
    return ExerciseResult(id, "t", points, tuple(CaseResult(str(n), "passed" if n < passed else "failed") for n in range(of)))


def test_the_best_score_is_kept_and_every_try_counted():
    assert progress.records() == {}
    for passed in (1, 4, 2):
        assert progress.record(result(passed)) == ""
    record = progress.records()["a.b"]
    assert (record.score, record.points, record.tries, record.solved) == (2.0, 2.0, 3, True)
    assert record.first_solved


def test_the_moment_of_the_first_solution_stays():
    progress.record(result(1))
    assert progress.records()["a.b"].first_solved is None
    progress.record(result(4))
    first = progress.records()["a.b"].first_solved
    progress.record(result(4))
    assert progress.records()["a.b"].first_solved == first is not None


def test_when_an_exercise_changes_its_points_the_newest_score_counts():
    progress.record(result(4, points=2))
    progress.record(result(2, points=10))
    record = progress.records()["a.b"]
    assert (record.score, record.points, record.solved) == (5.0, 10.0, False)


def test_the_first_prediction_made_is_kept():
    progress.record_prediction("a.p", "3", "5")
    progress.record_prediction("a.p", "5", "5")
    assert progress.predictions()["a.p"].guess == "3"


def test_two_processes_that_write_at_once_lose_nothing(store):
    program = """
import sys
from autograder.checking import progress
from autograder.checking.results import CaseResult, ExerciseResult
for number in range(50):
    for id in ("a.shared", f"a.{sys.argv[1]}_{number}"):
        reason = progress.record(ExerciseResult(id, "t", 1, (CaseResult("c", "passed"),)))
        assert not reason, reason
    progress.records()
"""
    processes = [subprocess.Popen([sys.executable, "-c", program, name], stderr=subprocess.PIPE, text=True) for name in ("one", "two")]
    assert [process.communicate(timeout=120)[1] for process in processes] == ["", ""]
    records = progress.records()
    assert len(records) == 101 and records["a.shared"].tries == 100


@pytest.mark.parametrize("make", ["no folder", "a folder", "no database"])
def test_a_place_that_cannot_be_written_costs_no_score_and_is_told(tmp_path, monkeypatch, make):
    path = tmp_path / "place"
    if make == "no folder":
        path.write_text("in the way")
        path = path / "progress.sqlite"
    elif make == "a folder":
        path.mkdir()
    else:
        path.write_text("this is no database, " * 100)
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    reason = progress.record(result(4))
    assert reason.startswith("Your progress could not be saved (") and "\n" not in reason
    assert progress.record_prediction("a.p", "1", "2").startswith("Your progress could not be saved (")


@pytest.mark.parametrize(("variable", "value"), [("COURSE_PROGRESS", "off"), ("NBGRADER_EXECUTION", "autograde")])
def test_nothing_is_recorded_when_switched_off_or_while_grading(store, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert progress.location() is None
    assert progress.record(result(4)) == "" and progress.record_prediction("a.p", "1", "2") == ""
    assert progress.records() == {} == progress.predictions()
    assert not store.exists()


def test_by_default_the_file_lies_in_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert progress.location() == tmp_path / "large-models-from-scratch" / "progress.sqlite"


def test_a_file_without_tables_yet_reads_as_empty(store):
    store.parent.mkdir()
    sqlite3.connect(store).close()
    store.touch()
    assert progress.records() == {} == progress.predictions()


def test_listeners_hear_of_every_result_and_a_failing_one_harms_nobody(monkeypatch):
    monkeypatch.setattr(progress, "_listeners", [])
    heard = []
    progress.on_change(lambda: 1 / 0)
    progress.on_change(lambda: heard.append(True))
    assert progress.record(result(4)) == ""
    assert heard == [True]

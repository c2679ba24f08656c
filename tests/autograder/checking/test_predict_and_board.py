"""Predictions score for being made; the board shows how far one is, in a kernel or without."""

import numpy as np
import pytest

from autograder.checking import load_chapter, predict, progress
from autograder.checking.board import Board, progress_board
from autograder.checking.results import CaseResult, ExerciseResult


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    path = tmp_path / "progress.sqlite"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    monkeypatch.setattr(progress, "_listeners", [])
    return path


@pytest.mark.parametrize("guess", [0, 0.0, False, "yes", [1], (0,), {"a": 0}, np.zeros(2), np.float64(0), float("nan")], ids=repr)
def test_any_answer_is_a_prediction_made(guess):
    shown = predict.reveal("a.p", guess=guess, truth=3)
    assert (repr(shown), shown.made) == ("1.0", True)
    assert str(shown).startswith("You predicted ") and "nothing" not in str(shown)
    assert "a.p" in progress.predictions()


@pytest.mark.parametrize("guess", [..., None, "", "  ", "...", "…", (..., 3), [], (), {"a": ...}, [[1, None]]], ids=repr)
def test_no_answer_is_none_made_and_nothing_is_kept(guess):
    shown = predict.reveal("a.p", guess=guess, truth=3)
    assert (repr(shown), shown.made) == ("0.0", False)
    assert str(shown) == "You predicted nothing; it is 3."
    assert progress.predictions() == {}
    assert "none made" in shown._repr_mimebundle_()["text/html"]


def test_a_prediction_is_worth_its_points_and_shows_its_reason():
    shown = predict.reveal("a.p", guess=2, truth=0.123456, because="The sum is small.", points=3)
    assert repr(shown) == "3.0" == shown._repr_mimebundle_()["text/plain"]
    assert str(shown) == "You predicted 2; it is 0.1235. The sum is small."
    record = shown._repr_mimebundle_()[predict.MIMETYPE]
    assert record == {"prediction": "a.p", "made": True, "guess": "2", "truth": "0.1235", "score": 3.0}


def test_whatever_is_predicted_is_escaped_and_kept_short():
    attack = "<script>alert(1)</script>"
    page = predict.reveal("a.p", guess=attack, truth=[attack], because=attack)._repr_mimebundle_()["text/html"]
    assert "<script" not in page and page.count("&lt;script&gt;") == 3
    assert len(predict.reveal("a.q", guess="x" * 10_000, truth=np.zeros(10_000))._repr_mimebundle_()["text/html"]) < 1_500


def solve(number: int, share: str = "all") -> None:
    item = load_chapter("backprop")[number]
    cases = [CaseResult(name, "passed" if share == "all" or (share == "some" and not n) else "failed") for n, name in enumerate(item.case_names)]
    progress.record(ExerciseResult(item.id, item.title, item.points, tuple(cases)))


def test_the_board_marks_what_is_solved_partly_solved_open_and_not_tried():
    exercises = load_chapter("backprop")
    solve(0)
    solve(1, "some")
    solve(2, "none")
    text, page = repr(Board("backprop")), Board("backprop").html()
    assert [part[0] for part in text.split("  ")] == ["✓", "◐", "✗"] + ["○"] * (len(exercises) - 3)
    earned = sum(record.score for record in progress.records().values())
    assert f"Your progress: {earned:g} of {sum(item.points for item in exercises):g} points" in page
    assert all(item.name in text and item.name in page for item in exercises)


def test_the_board_outside_a_notebook_is_text(capsys):
    progress_board("backprop")
    printed = capsys.readouterr().out
    assert printed.count("○") == len(load_chapter("backprop")) and "<" not in printed
    solve(0)


def test_a_board_stands_even_where_the_records_cannot_be_read(store):
    store.write_text("this is no database, " * 100)
    assert repr(Board("backprop")).count("○") == len(load_chapter("backprop"))


def test_a_board_for_no_chapter_names_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'backprop'"):
        progress_board("bakprop")

"""`course progress`: what was solved and predicted, as the store has it."""

import json
from dataclasses import asdict

import pytest

from autograder.checking import find, overview, predict
from autograder.checking.check import check
from autograder.errors import CourseError


def rows_of(house) -> dict[str, overview.Row]:
    return {row.id: row for row in overview.overview("98", house.root)}


def test_before_anything_is_tried_every_exercise_and_prediction_is_listed(house):
    rows = overview.overview(None, house.root)
    assert [(row.kind, row.id, row.state) for row in rows] == [
        ("exercise", "small.double", "not tried"),
        ("exercise", "small.half", "not tried"),
        ("prediction", "small.four", "not made"),
    ]
    assert [(row.score, row.points, row.tries) for row in rows[:2]] == [(0, 2, 0), (0, 3, 0)]


def test_the_best_score_the_tries_and_the_first_solution_are_kept(house):
    check("small.double", abs)
    assert (rows_of(house)["small.double"].state, rows_of(house)["small.double"].first_solved) == ("open", None)
    check("small.double", lambda x: 6 if x > 0 else 0)
    row = rows_of(house)["small.double"]
    assert (row.state, row.score, row.points, row.tries) == ("partly", 1, 2, 2)
    check("small.double", lambda x: x + x)
    solved = rows_of(house)["small.double"]
    check("small.double", abs)
    row = rows_of(house)["small.double"]
    assert (row.state, row.score, row.tries, row.first_solved) == ("solved", 2, 4, solved.first_solved) and solved.first_solved


def test_a_prediction_is_shown_beside_its_outcome(house):
    predict.reveal("small.four", guess=..., truth=4)
    assert rows_of(house)["small.four"].state == "not made"
    predict.reveal("small.four", guess="[bold]five", truth=4)
    row = rows_of(house)["small.four"]
    assert (row.state, row.guess, row.truth) == ("made", "[bold]five", "4")


def test_rows_survive_json(house):
    check("small.half", lambda x: x / 2)
    rows = [asdict(row) for row in overview.overview(None, house.root)]
    assert json.loads(json.dumps(rows)) == rows


def test_points_that_were_taken_back_since_are_not_counted(house, monkeypatch):
    check("small.half", lambda x: x / 2)
    monkeypatch.setattr(find("small.half"), "points", 1)
    assert (rows_of(house)["small.half"].score, rows_of(house)["small.half"].points) == (1, 1)


def test_the_table_holds_every_row_and_says_where_it_is_kept(house, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    check("small.double", lambda x: 2 * x)
    predict.reveal("small.four", guess="[bold]five", truth=4)
    overview.show(overview.overview(None, house.root))
    told = capsys.readouterr().out
    for words in (
        "98_small: 2 of 5 points",
        "small.double",
        "solved",
        "2 of 2",
        "not tried",
        "1 of 1 predictions made",
        "[bold]five",
        "progress.sqlite",
    ):
        assert words in told


def test_an_unknown_chapter_is_named_with_those_that_there_are(house):
    with pytest.raises(CourseError, match="no chapter 'smalll'; did you mean 'small'"):
        overview.overview("smalll", house.root)


def test_a_damaged_store_is_told_with_its_place(house, tmp_path):
    (tmp_path / "progress.sqlite").write_bytes(b"not a database, and long enough to be looked at" * 50)
    with pytest.raises(CourseError, match=r"cannot be read from .*progress\.sqlite"):
        overview.overview(None, house.root)


def test_with_recording_off_nothing_is_read_and_the_table_says_so(house, monkeypatch, capsys):
    check("small.double", lambda x: 2 * x)
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert rows_of(house)["small.double"].state == "not tried"
    overview.show(overview.overview(None, house.root))
    assert "Nothing is being recorded" in capsys.readouterr().out

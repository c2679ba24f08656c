"""The demo cannot pass vacuously, and removes nothing but an earlier demo."""

import json
import shutil
from dataclasses import replace

import pytest

from autograder.errors import CourseError
from autograder.gradebook import demo, planted

pytestmark = pytest.mark.xdist_group("gradebook")
PEOPLE = ("ada", "empty", "unreadable")


@pytest.fixture
def small(monkeypatch, everyone):
    """A demo of three submissions of the tiny chapter; gives the list to be falsified."""
    people = [everyone[name] for name in PEOPLE]
    monkeypatch.setattr(demo, "CHAPTER", "97")
    monkeypatch.setattr(planted, "plant_class", lambda _full: people)
    return people


def test_a_folder_that_is_no_demo_is_never_removed(tmp_path, small):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CourseError, match="is no demo class"):
        demo.demo(tmp_path)
    (tmp_path / demo.MARKER).write_text("a file of that name, by chance")
    with pytest.raises(CourseError, match="is no demo class"):
        demo.demo(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.slow
@pytest.mark.sandbox
def test_the_demo_passes_as_planted_and_fails_for_each_falsified_truth(tmp_path, small, capsys):
    folder = tmp_path / "demo"
    assert demo.demo(folder) is True
    shown = capsys.readouterr().out
    assert "3 of 3 submissions came out as planted" in shown and "✗" not in shown
    assert (folder / "report.html").is_file() and (folder / "feedback/ada/97_tiny/97_tiny.html").is_file()

    honest = list(small)
    small[:] = [replace(honest[0], score=honest[0].score - 0.5), honest[1], replace(honest[2], status="crashed")]
    assert demo.demo(folder, as_json=True) is False
    rows = json.loads(capsys.readouterr().out)
    assert [row["right"] for row in rows] == [False, True, False]


@pytest.mark.slow
def test_without_a_sandbox_the_demo_says_so_and_goes_on_with_stock_nbgrader(tmp_path, small, everyone, monkeypatch, capsys):
    small[:] = [everyone["forging"], everyone["unreadable"], everyone["ada"]]

    def no_bubblewrap(name, *arguments, **options):
        return None if name == "bwrap" else find(name, *arguments, **options)

    find = shutil.which
    monkeypatch.setattr(shutil, "which", no_bubblewrap)
    monkeypatch.setenv("COURSE_WALLS", "bubblewrap")
    assert demo.demo(tmp_path / "demo", as_json=True) is True
    shown = capsys.readouterr()
    assert "bubblewrap is not installed" in shown.err and {row["status"] for row in json.loads(shown.out)} == {"tampered", "unreadable", "graded"}


def row(**changes):
    item = demo.Comparison("ada", "graded", "graded", 6, 6, 8, 8, 6, "", 1)
    return replace(item, **changes)


@pytest.mark.parametrize(
    "changes", [{"status": "crashed"}, {"score": 5.9}, {"score": 6.01}, {"max_score": 9}, {"exported_score": 5}, {"exported_score": None}]
)
def test_one_wrong_number_makes_a_submission_wrong(changes):
    assert row().right and not row(**changes).right


def test_a_submission_without_a_result_is_wrong(everyone):
    assert not demo._compare(everyone["unreadable"], None, 0.0, 8).right


@pytest.mark.slow
def test_a_demo_that_graded_nobody_fails(tmp_path, small, monkeypatch):
    monkeypatch.setattr(demo.grading, "grade", lambda *_arguments, **_options: [])
    monkeypatch.setattr(demo, "_export", lambda *_arguments: {})
    assert demo.demo(tmp_path / "demo", as_json=True) is False

"""`course solution`: the worked solution, after one question."""

import io
import os
import sys

import pytest

from autograder.checking import registered
from autograder.errors import CourseError
from autograder.release import solve
from autograder.release.chapters import ROOT, chapters


@pytest.fixture
def keyboard(monkeypatch):
    """A terminal at standard input; what is written to the descriptor is typed there."""
    master, terminal = os.openpty()
    with os.fdopen(terminal, encoding="utf-8") as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        yield master
    os.close(master)


@pytest.mark.parametrize("name", ["double", "small.double"])
def test_the_solution_comes_with_its_reasons_its_demands_and_known_mistakes(house, capsys, name):
    solve.show_solution("98", name, confirmed=True, root=house.root)
    told = capsys.readouterr().out
    assert 'def double(x):\n    """Twice x: number → number."""\n    return 2 * x  # works for arrays too\n' in told
    assert "  • a whole number\n      Add it to itself.\n  • a negative number\n" in told
    assert told.endswith("What others got wrong\n  • the square\n")
    assert "SOLUTION" not in told and "\x1b" not in told


def test_the_solution_that_is_shown_solves_the_exercise(house):
    solution = solve.solution_of("small", "half", house.root)
    names: dict = {}
    exec(solution.code, names)
    assert solution.exercise.run({"half": names["half"]}).solved


def test_an_unknown_exercise_is_named_with_the_nearest(house):
    with pytest.raises(CourseError, match="98_small has no exercise 'duoble'; did you mean 'double'"):
        solve.solution_of("98", "duoble", house.root)
    with pytest.raises(CourseError, match="no exercise 'zzz'; there are: double, half"):
        solve.solution_of("98", "zzz", house.root)
    with pytest.raises(CourseError, match=r"no exercise 'other\.double'; did you mean 'double'"):
        solve.solution_of("98", "other.double", house.root)
    with pytest.raises(CourseError, match="no chapter '97'"):
        solve.solution_of("97", "double", house.root)


def test_where_nobody_can_answer_the_question_nothing_is_shown(house, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(CourseError, match="add --yes"):
        solve.show_solution("98", "double", root=house.root)
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal to type on")
@pytest.mark.parametrize(("answer", "shown"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_the_question_is_asked_once_and_only_yes_shows_the_solution(house, keyboard, capsys, answer, shown):
    os.write(keyboard, answer.encode())
    solve.show_solution("98", "double", root=house.root)
    told = capsys.readouterr().out
    assert (told.count("Have you tried? [y/N]"), "return 2 * x" in told) == (1, shown)


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal to type on")
def test_leaving_the_question_unanswered_stops_the_command(house, keyboard, capsys):
    os.write(keyboard, b"\x04")  # Ctrl-D
    with pytest.raises(KeyboardInterrupt):
        solve.show_solution("98", "double", root=house.root)
    assert "return" not in capsys.readouterr().out


@pytest.mark.skipif(not chapters(), reason="no chapter is written yet")
@pytest.mark.parametrize("item", registered(), ids=lambda item: item.id)
def test_every_exercise_of_the_course_has_a_solution_whose_demands_are_its_cases(item):
    solution = solve.solution_of(item.chapter, item.id, ROOT)
    assert tuple(name for name, _hint in solution.demands) == item.case_names
    compile(solution.code, item.id, "exec")

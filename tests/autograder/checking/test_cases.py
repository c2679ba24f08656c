"""A case is judged alone, whatever happens in it or before it."""

import json
import random
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.checking import case, close, exercise, holds, same
from autograder.checking.cases import CheckError
from autograder.checking.exercise import find, load_chapter
from autograder.checking.render import as_html, as_text
from autograder.checking.results import CaseResult, ExerciseResult, result_from_dict

OUTCOMES = ("passed", "failed", "raised", "timeout", "missing", "broken")


def outcomes(result: ExerciseResult) -> list[str]:
    return [case.outcome for case in result.cases]


def test_a_failing_case_never_hides_the_next_and_each_is_worth_its_share(run):
    def check(student, rng):
        for number in range(6):
            with case(f"number {number}"):
                same(student.f(number), number)

    def f(number):
        return [0, 9, number, number / 0 if number == 3 else number, number, number][number]

    result = run(check, f=f, points=3)
    assert outcomes(result) == ["passed", "failed", "passed", "raised", "passed", "passed"]
    assert result.score == 2.0


def test_what_an_answer_of_nothing_does_too_earns_only_beside_something_that_is_right(run):
    def check(student, rng):
        with case("is the double"):
            same(student.f(3), 6)
        with case("is the double of zero too"):
            same(student.f(0), 0)
        with case("does not raise", side=True):
            student.f(1)

    nothing, constant, right = run(check, f=lambda _: None), run(check, f=lambda _: 0), run(check, f=lambda number: 2 * number)
    assert [item.passed for item in (nothing, constant, right)] == [1, 2, 3]
    assert [item.score for item in (nothing, constant, right)] == [0, pytest.approx(2 / 3 * constant.points, abs=0.01), right.points]
    assert "Nothing earned yet" in as_text(nothing)
    assert result_from_dict(nothing.as_dict()).score == 0


def test_cases_after_a_timeout_still_run_with_one_second_each(run):
    def check(student, rng):
        for name in ("never", "slow", "quick"):
            with case(name):
                same(student.f(name), name)

    def f(name):
        time.sleep({"never": 60, "slow": 2, "quick": 0}[name])
        return name

    started = time.monotonic()
    result = run(check, f=f, seconds=1.5)
    assert outcomes(result) == ["timeout", "timeout", "passed"]
    assert "1.5 s" in result.cases[0].message and "1 s" in result.cases[1].message
    assert time.monotonic() - started < 4


def test_the_limit_is_for_the_case_not_for_each_call(run):
    def check(student, rng):
        with case("a hundred calls"):
            for _ in range(100):
                student.f()

    started = time.monotonic()
    assert outcomes(run(check, f=lambda: time.sleep(0.05), seconds=0.3)) == ["timeout"]
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("touch", [lambda student: student.f(1), lambda student: student.f], ids=["call", "read"])
def test_student_code_outside_a_case_is_the_checks_fault_and_so_it_is_when_cases_are_listed(run, make, touch):
    def check(student, rng):
        touch(student)
        with case("reached"):
            pass

    (only,) = run(check, f=abs).cases
    assert only.outcome == "broken" and "outside a case" in only.message
    assert make(check).case_names == (only.name,)


def test_nested_and_repeated_cases_and_names_never_asked_for_are_the_checks_fault(run):
    def nested(student, rng):
        with case("outer"), case("inner"):
            pass

    def twice(student, rng):
        for _ in range(2):
            with case("one"):
                pass

    def unknown(student, rng):
        with case("one"):
            _ = student.g

    for check, words in ((nested, "inside another"), (twice, "two cases"), (unknown, "never asked for 'g'")):
        result = run(check, f=abs)
        assert "broken" in outcomes(result) and not result.solved
        assert any(words in case.message for case in result.cases), words


def test_a_case_outside_an_exercise_is_refused():
    with pytest.raises(CheckError, match="outside an exercise"), case("alone"):
        pass


def test_a_broken_check_keeps_the_verdicts_reached_and_gives_no_points_for_the_others(run):
    def check(student, rng):
        with case("first"):
            same(student.f(), 1)
        with case("second"):
            if student.f() == 1:
                raise CheckError("the author's mistake")
        with case("third"):
            same(student.f(), 1)

    result = run(check, f=lambda: 1, points=4)
    by_name = {case.name: case.outcome for case in result.cases}
    assert by_name["first"] == "passed" and by_name["second"] == by_name["third"] == "broken"
    assert 0 < result.score < 4 and not result.solved
    assert "not your fault" in as_text(result)


@pytest.mark.parametrize("odd", [None, "text", [1, "a"], {"a": 1}, object(), lambda: 3, 1 + 2j, (), np.zeros((0, 3)), set(), iter([1])])
def test_a_value_the_check_cannot_use_fails_the_case_and_breaks_nothing(verdict, odd):
    def body(student):
        for number in student.f():
            holds(bool(number + 1 > 0.5 and number.shape == (3, 4)), "the numbers are wrong")

    result = verdict(body, f=lambda: odd)
    assert result.outcome in ("failed", "passed"), result.message
    if result.outcome == "failed":
        assert "`f` gave " in result.message and "could not use it" in result.message


def test_a_case_that_goes_on_from_a_failed_one_says_so(run):
    def check(student, rng):
        with case("gives a number"):
            number = student.f()
        with case("the number is small"):
            holds(number < 3, "too large")

    result = run(check, f=lambda: 1 / 0)
    assert outcomes(result) == ["raised", "failed"]
    assert result.cases[1].message == "This case goes on from an earlier one, which did not get that far."


def test_a_hint_is_shown_for_wrong_values_and_errors_but_not_for_the_wrong_kind_of_thing_nor_when_right(verdict):
    def body(student):
        close(student.f(), np.ones(3))

    assert verdict(body, hint="HINT", f=lambda: np.zeros(3)).hint == "HINT"
    assert verdict(body, hint="HINT", f=lambda: np.zeros(4)).hint == "HINT"
    assert verdict(body, hint="HINT", f=lambda: 1 / 0).hint == "HINT"
    assert verdict(body, hint="HINT", f=lambda: None).hint == ""
    assert verdict(body, hint="HINT", f=lambda: object()).hint == ""
    assert verdict(body, hint="HINT", f=lambda: np.ones(3)).hint == ""


def test_case_names_lists_every_case_with_nobody_behind_student_and_disturbs_nothing(make):
    def check(student, rng):
        np.random.seed(1)  # noqa: NPY002
        for size in (1, 2, 3):
            with case(f"size {size}"):
                layer = student.Layer(size)
                close(layer.forward(np.zeros(size)), np.zeros(size))
        with case("last"):
            same(student.Layer.name, "x")

    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert make(check, needs=("Layer",)).case_names == ("size 1", "size 2", "size 3", "last")
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_keyboard_interrupt_stops_the_check_and_leaves_stdout_and_the_next_check_alone(run, capsys):
    def check(student, rng):
        with case("one"):
            student.f()

    def interrupted():
        raise KeyboardInterrupt

    out, err = sys.stdout, sys.stderr
    with pytest.raises(KeyboardInterrupt):
        run(check, f=interrupted)
    assert (sys.stdout, sys.stderr) == (out, err)
    assert run(check, f=lambda: 1).solved


def test_random_numbers_repeat_in_a_check_and_go_on_undisturbed_outside(make):
    import torch

    drawn = []

    def f():
        drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))  # noqa: NPY002
        return 0

    def check(student, rng):
        with case("one"):
            same(student.f(), 0)

    def next_draws():
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    wanted = next_draws()
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    item = make(check)
    item.run({"f": f})
    item.run({"f": f})
    assert next_draws() == wanted
    assert drawn[0] == drawn[1]


def test_a_notebook_that_makes_numpy_raise_does_not_disturb_the_check(run):
    def check(student, rng):
        with case("one"):
            student.f()
            close(student.f(), np.exp(np.array([1000.0])))

    def f():
        np.seterr(all="raise")
        with np.errstate(over="ignore"):
            return np.exp(np.array([1000.0]))

    before = np.geterr()
    with np.errstate(all="raise"):
        assert run(check, f=f).solved
    assert np.geterr() == before


def test_two_exercises_of_one_name_and_an_exercise_in_another_chapters_file_are_refused():
    exercise("test.twin", points=1)(_twin)
    with pytest.raises(CheckError, match="two exercises"):
        exercise("test.twin", points=1)(_other_twin)

    def stray(student, rng):
        pass

    stray.__module__ = "autograder.exercises.backprop"
    with pytest.raises(CheckError, match=r"stands in backprop.py; its chapter's file is other.py"):
        exercise("other.stray", points=1)(stray)


def _twin(student, rng):
    pass


def _other_twin(student, rng):
    pass


@pytest.mark.parametrize(("id", "points", "words"), [("softmax", 1, "chapter.name"), ("a.b c", 1, "chapter.name"), ("a.b", 0, "positive")])
def test_an_exercise_with_a_bad_id_or_no_points_is_refused(id, points, words):
    with pytest.raises(CheckError, match=words):
        exercise(id, points=points)(_twin)


def test_unknown_chapters_and_exercises_are_answered_with_a_suggestion():
    with pytest.raises(KeyError, match=r"did you mean 'backprop'"):
        load_chapter("backprob")
    with pytest.raises(KeyError, match=r"did you mean 'backprop.softmax'"):
        find("backprop.sofmax")


@exercise("test.sourced", points=1)
def sourced(student, rng):
    pass


@sourced.wrong("named like its own keyword", fails="x")
def f(x):
    return f(x - 1) if x else np.float64(0)


@sourced.wrong("without a name", fails=["x"])
class _:
    def __init__(self, _x=1):
        self.x = _x


def test_a_variants_program_defines_it_under_the_asked_name_with_its_imports():
    first, second = sourced.wrongs
    for variant, use in ((first, "answer(2)"), (second, "answer().x")):
        scope: dict = {}
        exec(variant.program("answer"), scope)
        assert eval(use, scope) == (0 if use == "answer(2)" else 1)
        assert "autograder" not in variant.source
    assert first.fails == second.fails == ("x",)


cases = st.builds(
    CaseResult, st.text(max_size=8), st.sampled_from(OUTCOMES), st.text(max_size=8), st.text(max_size=8), st.lists(st.text(max_size=5)).map(tuple)
)
results = st.builds(ExerciseResult, st.text(max_size=5), st.text(max_size=5), st.floats(0.001, 100), st.lists(cases, max_size=9).map(tuple))


@given(results)
def test_a_result_survives_the_trip_through_json(result):
    assert result_from_dict(json.loads(json.dumps(result.as_dict()))) == result


@given(st.floats(0.001, 1000) | st.integers(1, 100), st.integers(1, 400), st.data())
def test_a_score_is_full_exactly_when_all_cases_pass_and_never_more(points, count, data):
    passed = data.draw(st.integers(0, count))
    result = ExerciseResult("a.b", "t", points, tuple(CaseResult(str(i), "passed" if i < passed else "failed") for i in range(count)))
    assert 0 <= result.score <= points
    assert (result.score == points) == result.solved == (passed == count)
    assert abs(result.score - points * passed / count) <= 0.01
    assert float(str(result.score)) == result.score


@pytest.mark.parametrize(("points", "count", "score"), [(1, 300, 0.99), (0.004, 2, 0.0), (10, 10_000, 9.99), (3, 3, 2.0)])
def test_one_failing_case_among_many_never_rounds_to_full_marks(points, count, score):
    cases = tuple(CaseResult(str(number), "passed" if number else "failed") for number in range(count))
    assert ExerciseResult("a.b", "t", points, cases).score == score


def test_an_exercise_without_cases_earns_nothing_and_is_not_called_unwritten():
    empty = ExerciseResult("a.b", "t", 3, ())
    assert (empty.score, empty.solved, empty.status) == (0.0, False, "open")


@pytest.mark.parametrize("field", ["name", "message", "hint", "notes", "exercise"])
def test_whatever_a_student_writes_is_escaped_in_html(field):
    attack = "<script>alert(1)</script><img src=x onerror='x'>\"'&"
    values = {"name": "n", "message": "m", "hint": "h", "notes": ("n",), "exercise": "a.b"}
    values[field] = (attack,) if field == "notes" else attack
    name = values.pop("exercise")
    page = as_html(ExerciseResult(name, "t", 1, (CaseResult(outcome="failed", **values),)), attack)
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
    assert attack not in page

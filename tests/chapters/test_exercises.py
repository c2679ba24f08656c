"""Every exercise of every chapter: the stub earns nothing, the reference everything, and each known-wrong solution fails where it says."""

import ast
import os
import sys

import pytest
from reference import all_exercises, found, objects

from autograder.checking.render import as_text

EXERCISES = all_exercises()
SLOW = {item.id for item in EXERCISES if item.seconds >= 10}  # they train for a second or more in each run
MARKED = [pytest.param(item, id=item.id, marks=pytest.mark.slow if item.id in SLOW else ()) for item in EXERCISES]
VARIANTS = [
    pytest.param(item, variant, id=f"{item.id}: {variant.name}", marks=pytest.mark.slow if item.id in SLOW else ())
    for item in EXERCISES
    for variant in (*item.wrongs, *item.rights)
]
SEEDS = int(os.environ.get("COURSE_TEST_SEEDS", "60"))  # `make quick` takes few of the draws


@pytest.mark.parametrize("item", MARKED)
def test_the_reference_earns_full_marks_over_20_seeds(item):
    for seed in range(min(20, SEEDS)):
        result = item.run(objects(item, solved=True), seed)
        assert result.solved, f"seed {seed}\n{as_text(result)}"
        assert result.score == item.points


@pytest.mark.parametrize("item", MARKED)
def test_what_students_find_earns_nothing(item):
    result = item.run(objects(item, solved=False))
    assert tuple(case.name for case in result.cases) == item.case_names
    assert result.score == 0
    if item.mends:  # a bug hunt starts from a program that runs, and is wrong
        result = item.run(found(item))
        assert {case.name for case in result.cases if case.outcome == "failed"} == set(item.mends), as_text(result)
        assert result.score == 0
    else:
        assert {case.outcome for case in result.cases} == {"missing"}, as_text(result)


class Nothing:
    """Takes whatever it is given, and has whatever is asked of it, to no effect."""

    def __init__(self, *_arguments, **_named): ...

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_arguments, **_named: None


@pytest.mark.parametrize("item", EXERCISES, ids=lambda item: item.id)
@pytest.mark.parametrize("answer", [None, 0.0, 1, "", []], ids=repr)
def test_an_answer_of_nothing_earns_nothing(item, answer):
    result = item.run(dict.fromkeys(item.needs, lambda *_arguments, **_named: answer))
    assert result.score == 0, as_text(result)


@pytest.mark.parametrize("item", EXERCISES, ids=lambda item: item.id)
def test_an_object_that_does_nothing_earns_nothing(item):
    result = item.run(dict.fromkeys(item.needs, Nothing))
    assert result.score == 0, as_text(result)


@pytest.mark.parametrize(("item", "variant"), VARIANTS)
def test_a_known_solution_fails_exactly_where_it_says(item, variant):
    for seed in range(
        min(SEEDS, 1 if item.id in SLOW else 3 if item.seconds < 5 else 60)
    ):  # classes draw by secret seeds, so no draw may be a lucky one
        result = item.run({item.needs[0]: variant.value}, seed)
        failed = {case.name for case in result.cases if not case.passed}
        assert failed == set(variant.fails), f"seed {seed}\n{as_text(result)}"
        assert not any(case.outcome == "broken" for case in result.cases), as_text(result)


@pytest.mark.parametrize(("item", "variant"), VARIANTS)
def test_a_known_solution_stands_on_its_own(item, variant):
    program = variant.program("answer")
    tree = ast.parse(program)
    imported = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names | {"numpy", "scipy", "sklearn", "torch"}
    names: dict = {}
    exec(program, names)
    assert callable(names["answer"])


@pytest.mark.parametrize("item", EXERCISES, ids=lambda item: item.id)
def test_an_exercise_has_three_wrong_solutions_and_one_right(item):
    assert len(item.wrongs) >= 3
    assert len(item.rights) >= 1
    assert all(variant.fails for variant in item.wrongs)
    assert {name for variant in item.wrongs for name in variant.fails} <= set(item.case_names)


@pytest.mark.parametrize("item", EXERCISES, ids=lambda item: item.id)
def test_an_exercise_has_cases_enough_for_partial_credit(item):
    assert len(item.case_names) >= 3
    assert len(set(item.case_names)) == len(item.case_names)

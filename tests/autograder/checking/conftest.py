"""Runs a check against objects as a notebook does, without a chapter around it."""

import itertools
from collections.abc import Callable

import pytest

from autograder.checking import Exercise, exercise
from autograder.checking.results import CaseResult, ExerciseResult

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _nothing_recorded(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")


@pytest.fixture
def make() -> Callable[..., Exercise]:
    """make(check, points, seconds, needs): an exercise of its own name."""

    def make(check: Callable, points: float = 3, seconds: float = 2, needs: tuple[str, ...] = ("f",)) -> Exercise:
        return exercise(f"test.number_{next(NUMBERS)}", points=points, seconds=seconds, needs=needs)(check)

    return make


@pytest.fixture
def run(make) -> Callable[..., ExerciseResult]:
    """run(check, points=3, seconds=2, **objects): the result of `check(student, rng)` on objects handed in under their names."""

    def run(check: Callable, points: float = 3, seconds: float = 2, **objects: object) -> ExerciseResult:
        return make(check, points, seconds, tuple(objects)).run(objects)

    return run


@pytest.fixture
def verdict(run) -> Callable[..., CaseResult]:
    """verdict(body, **objects): the one case of a check whose only case does `body(student)`."""
    from autograder.checking import case

    def verdict(body: Callable, seconds: float = 2, hint: str = "", **objects: object) -> CaseResult:
        def check(student, rng):
            with case("it is right", hint=hint):
                body(student)

        return run(check, seconds=seconds, **objects).cases[0]

    return verdict

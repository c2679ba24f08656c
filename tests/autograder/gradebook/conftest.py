"""A tiny chapter in place of the course's, so that a submission is graded in seconds; a class made from it, and one that has been graded."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import autograder.exercises
from autograder.gradebook import classroom, grading, planted
from autograder.gradebook.classroom import Classroom
from autograder.gradebook.ledger import Graded
from autograder.gradebook.planted import Planted
from autograder.release import chapters

TINY = Path(__file__).parent / "tiny"
ASSIGNMENT = "97_tiny"


@contextmanager
def tiny() -> Iterator[None]:
    """Inside, chapter 97 is the course's only chapter with a source, here and in the processes started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chapters, "ROOT", TINY)
        patch.setattr(autograder.exercises, "__path__", [*autograder.exercises.__path__, str(TINY / "exercises")])
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TINY / "path"), *filter(None, [os.environ.get("PYTHONPATH")])]))
        yield


@pytest.fixture(autouse=True)
def tiny_chapter() -> Iterator[None]:
    with tiny():
        yield


@pytest.fixture(scope="session")
def in_tiny() -> Callable[[], AbstractContextManager[None]]:
    """For fixtures that live longer than one test: `with in_tiny():`."""
    return tiny


@pytest.fixture(scope="session")
def everyone() -> dict[str, Planted]:
    """The planted class of the tiny chapter, by student."""
    with tiny():
        return {item.student: item for item in planted.plant_class(planted.read_chapter(chapters.find_chapter("97")))}


@pytest.fixture(scope="session")
def by_stock(everyone) -> dict[str, Planted]:
    """The same with the truth for stock nbgrader."""
    return {name: item.by_stock() for name, item in everyone.items()}


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A class as `autograder new` makes it. Tests that change it take `room`, a copy."""
    folder = tmp_path_factory.mktemp("classes") / "autumn"
    with tiny():
        classroom.create(folder, ["97"], answer_seconds=5, quiet=True)
    return folder


@pytest.fixture
def room(made, tmp_path) -> Classroom:
    return classroom.open_class(Path(shutil.copytree(made, tmp_path / "autumn")))


@dataclass(frozen=True)
class GradedClass:
    room: Classroom
    results: dict[str, Graded]


@pytest.fixture(scope="session")
def graded(made, everyone, tmp_path_factory) -> GradedClass:
    """Six submissions, two of them beyond grading, graded by stock nbgrader. Tests must not change it."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("graded") / "autumn"))
    planted.write_class([everyone[name] for name in ("ada", "wrong-1", "empty", "unreadable", "forging", "deleted-both")], folder, ASSIGNMENT)
    with tiny():
        results = {result.student: result for result in grading.grade(folder, quiet=True, stock=True)}
    return GradedClass(classroom.open_class(folder), results)

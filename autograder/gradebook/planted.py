"""A class of planted submissions whose scores are known beforehand: from the exercises' own registry, not from any run.

Every known misconception is handed in by someone; others hand in the ways in which submissions go wrong.
"""

import copy
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from nbformat import NotebookNode

from autograder.checking.exercise import Exercise, Variant
from autograder.release.build import load, notebook, to_text, write_whole
from autograder.release.chapters import Chapter

LOOP = "while True:\n    pass\n"
DEAF_LOOP = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass\n"
TAMPERING = """import os

if "COURSE_GRADING" in os.environ:  # in the engine: write to whatever is open
    for descriptor in range(3, 256):
        try:
            os.write(descriptor, b"full marks, please")
        except OSError:
            pass
"""
FORGED = "\n\ndef check(*_anything):\n    return 2.0\n"
NOISE = "import sys, warnings\nprint('so far so good', file=sys.stderr)\nwarnings.warn('this is only a warning')\n"
STUB = "raise NotImplementedError"
LATE = "2031-05-02 09:00 UTC"
DUE = "2031-05-01 09:00 UTC"


@dataclass(frozen=True)
class Planted:
    """One submission and what must come of it.

    text   the file's content
    score  points that it must get, in status `status`
    late   handed in after the date due
    stock  the status and the points that it must get from stock nbgrader, where they differ
    """

    student: str
    text: str
    score: float
    status: str = "graded"
    late: bool = False
    stock: tuple[str, float] | None = None

    def by_stock(self) -> "Planted":
        """The same submission with the truth for stock nbgrader."""
        status, score = self.stock or (self.status, self.score)
        return replace(self, status=status, score=score)


@dataclass(frozen=True)
class Chapterful:
    """A chapter with everything that planting needs."""

    chapter: Chapter
    lang: str
    exercises: tuple[Exercise, ...]
    predictions: tuple[float, ...]  # points of each
    essays: tuple[float, ...]

    @property
    def exercise_points(self) -> float:
        return sum(item.points for item in self.exercises)

    @property
    def full(self) -> float:
        """Points that a grader can give without a person: exercises and predictions."""
        return self.exercise_points + sum(self.predictions)

    @property
    def max_score(self) -> float:
        return self.full + sum(self.essays)

    def solved(self) -> NotebookNode:
        return notebook(self.chapter, "solution", self.lang)

    def released(self) -> NotebookNode:
        return notebook(self.chapter, "student", self.lang)


def read_chapter(chapter: Chapter, lang: str = "en") -> Chapterful:
    """Raises `SourceError` when its source is wrong."""
    source, exercises = load(chapter)
    written = {cell.keys["exercise"] for cell in source.cells if "exercise" in cell.keys}
    return Chapterful(
        chapter,
        lang,
        tuple(item for item in exercises if item.name in written),
        tuple(float(cell.keys.get("points", 1)) for cell in source.cells if "predict" in cell.keys),
        tuple(float(cell.keys["points"]) for cell in source.cells if "essay" in cell.keys),
    )


def plant_class(full: Chapterful) -> list[Planted]:
    """All submissions, the slow ones first, so that they run beside the others."""
    return [*_slow(full), *_working(full), *_wrong(full), *_broken(full)]


def honest_class(full: Chapterful, size: int) -> list[Planted]:
    """As many submissions as wanted in which nothing goes wrong but the answers, for measurements: the same ones over and over."""
    kinds = [item for item in [*_working(full), *_wrong(full)] if not item.late]
    return [replace(kinds[number % len(kinds)], student=f"{kinds[number % len(kinds)].student}-{number:04}") for number in range(size)]


def write_class(planted: Iterable[Planted], folder: Path, assignment: str) -> None:
    """Put the submissions where a class expects them."""
    for item in planted:
        place = folder / "submitted" / item.student / assignment
        place.mkdir(parents=True)
        write_whole(place / f"{assignment}.ipynb", item.text)
        if item.late:
            write_whole(place / "timestamp.txt", LATE + "\n")


def points_after(item: Exercise, failed: Iterable[str]) -> float:
    """What an exercise is worth when just these cases fail: a share for every other case.

    Nothing while all that was to be mended fails, or while only side cases do not.
    """
    wrong = set(failed)
    if unknown := wrong - set(item.case_names):
        raise ValueError(f"{item.id} has no case {min(unknown)!r}")
    if (item.mends and wrong >= set(item.mends)) or set(item.case_names) - wrong <= item.side_names:
        return 0.0
    return round(item.points * (len(item.case_names) - len(wrong)) / len(item.case_names), 2)


# The students


def _rights(full: Chapterful) -> NotebookNode:
    """Every exercise solved by a program that needs no other, so that what happens to one leaves the rest alone."""
    return _with_programs(full.solved(), _rights_of(full))


def _rights_of(full: Chapterful) -> dict[str, str]:
    return {item.name: _program(item, item.rights[0]) for item in full.exercises}


def _bare(node: NotebookNode) -> NotebookNode:
    """The notebook of someone who deleted all but the imports, the answers and the checks. It runs in a third of the time."""
    changed = copy.deepcopy(node)
    imports = next(cell for cell in changed.cells if cell.cell_type == "code")
    changed.cells = [cell for cell in changed.cells if cell is imports or _grade_id(cell)]
    return changed


def _working(full: Chapterful) -> list[Planted]:
    stubs = {name: text for name, text in list(_released_answers(full).items())[1::2] if STUB in text}
    half = sum(item.points for item in full.exercises if item.name not in stubs)
    return [
        Planted("ada", to_text(_predicted(full.solved())), full.full),
        Planted("ben", to_text(_predicted(_rights(full))), full.full),
        Planted("cheerful", to_text(_each_answer(_bare(_rights(full)), lambda text: NOISE + text)), full.exercise_points),
        Planted("late", to_text(_bare(_rights(full))), full.exercise_points, late=True),
        Planted("partly", to_text(_bare(_with_programs(_rights(full), stubs))), half),
        Planted("empty", to_text(full.released()), 0.0),
    ]


def _wrong(full: Chapterful) -> list[Planted]:
    """Student k has each exercise's k-th wrong solution, and a right one where there are fewer."""
    students = []
    for number in range(max(len(item.wrongs) for item in full.exercises)):
        programs, score = {}, 0.0
        for item in full.exercises:
            variant = item.wrongs[number] if number < len(item.wrongs) else item.rights[0]
            programs[item.name] = _program(item, variant)
            score += points_after(item, variant.fails)
        node = full.solved() if number == 0 else _bare(full.solved())
        students.append(Planted(f"wrong-{number + 1}", to_text(_with_programs(node, programs)), round(score, 2)))
    return students


def _broken(full: Chapterful) -> list[Planted]:
    """The ways in which submissions go wrong, by accident and on purpose."""
    first, rights = full.exercises[0], _bare(_rights(full))
    check = f"check-{first.name}"
    answers = list(_released_answers(full))
    fatal = answers[len(answers) // 2]
    killed = _with_programs(rights, {fatal: "import os\n\nos._exit(3)\n"})
    tampering = _with_programs(rights, {fatal: TAMPERING + _rights_of(full)[fatal]})
    skipping = copy.deepcopy(full.released())
    for cell in skipping.cells:
        cell.metadata["tags"] = ["train", "skip-execution"]
    rest = full.exercise_points - first.points
    return [
        Planted("crashing", to_text(_with_programs(rights, {first.name: "raise RuntimeError('not today')\n"})), rest),
        Planted("killed", to_text(killed), _points_before(full, killed, fatal), "crashed", stock=("crashed", 0.0)),
        Planted("deleted-check", to_text(_without(rights, check)), full.exercise_points),
        Planted("deleted-both", to_text(_without(rights, check, first.name)), rest),
        Planted("skipping", to_text(skipping), 0.0),
        Planted("forging", to_text(_with_programs(rights, {first.name: FORGED})), rest, stock=("tampered", 0.0)),
        Planted("tampering", to_text(tampering), 0.0, "tampered", stock=("graded", full.exercise_points)),
        Planted("unreadable", to_text(rights)[: len(to_text(rights)) // 2], 0.0, "unreadable"),
        Planted("not-a-notebook", json.dumps({"cells": "none"}), 0.0, "unreadable"),
    ]


def _points_before(full: Chapterful, node: NotebookNode, name: str) -> float:
    """The points of the exercises whose checks stand before the answer to `name`."""
    places = {_grade_id(cell): place for place, cell in enumerate(node.cells)}
    return sum(item.points for item in full.exercises if places[f"check-{item.name}"] < places[name])


def _slow(full: Chapterful) -> list[Planted]:
    """Loops that never end: inside a function, in a cell, and in a cell that will not be interrupted."""
    rights = _bare(_rights(full))
    item = min(full.exercises, key=lambda item: item.seconds + len(item.case_names))
    name, rest = item.name, full.exercise_points - item.points
    looping = f"def {name}(*_arguments, **_named):\n    while True:\n        pass\n"
    return [
        Planted("deaf", to_text(_with_programs(rights, {name: DEAF_LOOP})), rest, stock=("timeout", 0.0)),
        Planted("endless", to_text(_with_programs(rights, {name: looping})), rest),
        Planted("endless-cell", to_text(_with_programs(rights, {name: LOOP})), rest),
    ]


# Changing notebooks


def _released_answers(full: Chapterful) -> dict[str, str]:
    """What students find in each exercise's cell, by the exercise's name, in the chapter's order."""
    names = {item.name for item in full.exercises}
    return {_grade_id(cell): cell.source for cell in full.released().cells if _grade_id(cell) in names}


def _grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _program(item: Exercise, variant: Variant) -> str:
    return variant.program(item.name)


def _with_programs(node: NotebookNode, programs: dict[str, str]) -> NotebookNode:
    """The notebook with the answers to some exercises replaced."""
    return _each_answer(node, lambda text: text, programs)


def _without(node: NotebookNode, *grade_ids: str) -> NotebookNode:
    """The notebook with some cells deleted."""
    changed = copy.deepcopy(node)
    changed.cells = [cell for cell in changed.cells if _grade_id(cell) not in grade_ids]
    return changed


def _each_answer(node: NotebookNode, change: Callable[[str], str], programs: dict[str, str] | None = None) -> NotebookNode:
    changed = copy.deepcopy(node)
    for cell in changed.cells:
        if "course" in cell.metadata:  # exercise cells carry it
            cell.source = (programs or {}).get(_grade_id(cell), change(cell.source))
    return changed


def _predicted(node: NotebookNode) -> NotebookNode:
    """The notebook with an answer to every prediction."""
    changed = copy.deepcopy(node)
    for cell in changed.cells:
        if _grade_id(cell).startswith("predict-"):
            cell.source, count = re.subn(r"= \.\.\.", "= 1", cell.source)
            if not count:
                raise ValueError(f"the cell {_grade_id(cell)} has no `= ...` to answer")
    return changed

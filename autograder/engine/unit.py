"""One submission, from its bytes to its scores. Trusted side.

A unit of work is plain data: everything that is needed is in it, the same unit gives the same scores, and it may be done on any machine that has
the course. The student's notebook says which code runs; which exercises there are, what they are worth and what their checks call is read from the
release alone, so deleting, copying, unlocking or rewriting a graded cell changes nothing.
"""

import ast
import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from autograder.checking.cases import Run, StudentError
from autograder.checking.check import Score
from autograder.checking.exercise import Exercise, load_chapter
from autograder.checking.limits import TimeUp
from autograder.checking.results import ExerciseResult
from autograder.engine.sandbox import Limits
from autograder.engine.submission import RemoteStudent, Submission
from autograder.engine.worker import ZygoteError, discard_zygotes, zygote_for
from autograder.release.source import CHECK

Status = Literal["graded", "crashed", "timeout", "memory", "tampered", "unreadable"]
MAX_NOTEBOOK = 20 * 2**20  # bytes
MAX_CELLS = 2_000
SKIPPED_TAGS = {"train", "figure"}


@dataclass(frozen=True)
class Unit:
    """The work on one submission. Plain data, so that it can be sent anywhere.

    notebook    the bytes that were handed in
    release     the cells of the release, as `release_cells` gives them
    seed        what the draws of the checks come from; secret until it is shown on appeal
    """

    student: str
    assignment: str
    chapter: str
    notebook: bytes
    release: tuple[dict, ...]
    seed: int
    limits: Limits = field(default_factory=Limits)
    walled: bool = True


@dataclass(frozen=True)
class CellGrade:
    """What one graded cell of the release earned. score None: a person decides."""

    grade_id: str
    score: float | None
    points: float


@dataclass(frozen=True)
class UnitResult:
    """How a submission ended, what it earned, and its notebook with fresh outputs ("" when it could not be read)."""

    student: str
    assignment: str
    status: Status
    reason: str
    score: float
    max_score: float
    cells: tuple[CellGrade, ...]
    results: tuple[ExerciseResult, ...]
    executed: str
    seconds: float
    usage: dict = field(default_factory=dict)


def release_cells(notebook: dict) -> tuple[dict, ...]:
    """What the engine needs of a release: id, kind, source, tags and nbgrader's metadata of every cell."""
    return tuple(
        {
            "id": cell.get("id", ""),
            "cell_type": cell["cell_type"],
            "source": _text(cell["source"]),
            "tags": list(cell["metadata"].get("tags", [])),
            "nbgrader": dict(cell["metadata"].get("nbgrader", {})),
        }
        for cell in notebook["cells"]
    )


def run_unit(unit: Unit) -> UnitResult:
    """Do the work. Never raises for anything that a submission does; `ZygoteError` when the sandbox itself cannot be started."""
    started = time.monotonic()
    graded = [cell for cell in unit.release if cell["nbgrader"].get("grade")]
    maximum = float(sum(cell["nbgrader"]["points"] for cell in graded))
    try:
        notebook = read_notebook(unit.notebook)
    except ValueError as error:
        nothing = tuple(CellGrade(cell["nbgrader"]["grade_id"], 0.0, float(cell["nbgrader"]["points"])) for cell in graded)
        return UnitResult(
            unit.student, unit.assignment, "unreadable", str(error), 0.0, maximum, nothing, (), "", round(time.monotonic() - started, 3)
        )
    exercises = {item.name: item for item in load_chapter(unit.chapter)}
    zygote = zygote_for((module for item in exercises.values() for module in item.reference), unit.walled)
    grading = _Grading(unit, exercises, notebook)
    try:
        with zygote.start(unit.limits) as stream:
            submission = Submission(stream, unit.limits.submission)
            grading.run(submission)
        ended = zygote.end()
    except (OSError, ZygoteError):
        discard_zygotes()
        raise
    status, reason = _status(submission, ended)
    return grading.result(status, reason, maximum, time.monotonic() - started, ended)


def _status(submission: Submission, ended: dict) -> tuple[Status, str]:
    if submission.tampered:
        return "tampered", f"{submission.tampered}; nothing that it earned counts"
    if ended["how"] == "memory":
        return "memory", f"used {ended['detail']}; what was reached before counts"
    if submission.gone == "timeout":
        return "timeout", "it did not answer within its limits; what was reached before counts"
    if submission.gone or ended["how"] == "crashed":
        return "crashed", f"its process ended ({ended['detail'] or 'no reason given'}); what was reached before counts"
    return "graded", ""


class _Grading:
    """The walk through one notebook."""

    def __init__(self, unit: Unit, exercises: dict[str, Exercise], notebook: dict):
        self._unit, self._exercises, self._notebook = unit, exercises, notebook
        self._released = {cell["nbgrader"]["grade_id"]: cell for cell in unit.release if cell["nbgrader"].get("grade")}
        self._skipped = {cell["id"] for cell in unit.release if SKIPPED_TAGS & set(cell["tags"])}
        self._scores: dict[str, float | None] = {}
        self._results: dict[str, ExerciseResult] = {}

    def run(self, submission: Submission) -> None:
        """Cells in the student's order; every graded cell of the release once, those that were deleted at the end."""
        for cell in self._notebook["cells"]:
            grade_id = _grade_id(cell)
            if grade_id in self._released:
                self._grade(submission, grade_id, cell)
            elif cell["cell_type"] == "code":
                self._run_code(submission, cell)
        for grade_id in self._released:
            if grade_id not in self._scores:
                cell = {"cell_type": "code", "metadata": {}, "source": "# This graded cell was missing; it was graded all the same.", "outputs": []}
                self._notebook["cells"].append(cell)
                self._grade(submission, grade_id, cell)

    def _run_code(self, submission: Submission, cell: dict) -> None:
        cell["outputs"] = []
        source = cell["source"]
        if cell.get("id") in self._skipped or not source.strip() or submission.gone:
            return
        outcome, cell["outputs"] = submission.cell(source, self._unit.limits.cell, self._unit.limits.output)
        if outcome == "timeout":
            cell["outputs"].append(_said(f"Stopped after {self._unit.limits.cell:g} s."))

    def _grade(self, submission: Submission, grade_id: str, cell: dict) -> None:
        released = self._released[grade_id]
        points = float(released["nbgrader"]["points"])
        if released["cell_type"] == "markdown":
            self._scores.setdefault(grade_id, None)  # an essay, which a person reads
            return
        cell |= {"cell_type": "code", "source": released["source"], "outputs": []}
        if grade_id in self._scores:
            cell["outputs"] = [_said("A copy of a graded cell; it counts once, where it stands first.")]
            return
        called = CHECK.findall(released["source"])
        if called:
            name = called[0].partition(".")[2]
            result = self._check(submission, self._exercises[name], released["source"])
            self._results[name], self._scores[grade_id] = result, min(result.score, points)
            cell["outputs"] = [_shown(result)]
        else:
            self._scores[grade_id] = points if self._predicted(submission, released["source"]) else 0.0
            if not submission.gone:
                _outcome, cell["outputs"] = submission.cell(released["source"], self._unit.limits.cell, self._unit.limits.output)

    def _check(self, submission: Submission, item: Exercise, source: str) -> ExerciseResult:
        call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check")
        given = [argument.id for argument in call.args[1:] if isinstance(argument, ast.Name)]
        needs = dict(zip(item.needs, given, strict=True))
        run = Run(item.seconds)
        return item.run_with(RemoteStudent(submission, needs, run), run, self._unit.seed)

    def _predicted(self, submission: Submission, source: str) -> bool:
        """Is there something under the name that the release reveals as the guess?"""
        call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "reveal")
        guess = next((keyword.value for keyword in call.keywords if keyword.arg == "guess"), None)
        if not isinstance(guess, ast.Name):
            return False
        try:
            answer = submission.ask("predicted", guess.id, 2.0, seconds=2.0)
        except (StudentError, TimeUp):
            return False
        return answer[:2] == ("value", True)

    def result(self, status: Status, reason: str, maximum: float, seconds: float, ended: dict) -> UnitResult:
        unit = self._unit
        if status == "tampered":
            self._scores = dict.fromkeys(self._released, 0.0)
        cells = tuple(
            CellGrade(grade_id, self._scores.get(grade_id, 0.0), float(cell["nbgrader"]["points"])) for grade_id, cell in self._released.items()
        )
        score = round(sum(cell.score or 0.0 for cell in cells), 2)
        executed = json.dumps(self._notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        usage = {"cpu_seconds": ended["cpu_seconds"], "peak_bytes": ended["peak_bytes"]}
        return UnitResult(
            unit.student, unit.assignment, status, reason, score, maximum, cells, tuple(self._results.values()), executed, round(seconds, 3), usage
        )


def read_notebook(data: bytes) -> dict:
    """A notebook that is safe to walk through: cells with the fields that they need and no others. ValueError says why it is none."""
    if len(data) > MAX_NOTEBOOK:
        raise ValueError(f"{len(data):,} bytes; a notebook may have {MAX_NOTEBOOK:,}")
    try:
        raw = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON: cut off, or never a notebook") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("cells"), list):
        raise ValueError("it has no list of cells")
    if len(raw["cells"]) > MAX_CELLS:
        raise ValueError(f"{len(raw['cells']):,} cells; a notebook may have {MAX_CELLS:,}")
    cells = []
    for number, cell in enumerate(raw["cells"], 1):
        if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
            raise ValueError(f"cell {number} is no cell")
        metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
        plain: dict[str, Any] = {"cell_type": cell["cell_type"], "metadata": metadata, "source": _text(cell.get("source", ""))}
        identity = cell.get("id")
        plain["id"] = identity if isinstance(identity, str) and 0 < len(identity) <= 64 else f"cell-{number}"
        if plain["cell_type"] == "code":
            plain |= {"outputs": [], "execution_count": None}
        cells.append(plain)
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def _text(source: Any) -> str:
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    if isinstance(source, str):
        return source
    raise ValueError("a cell's source is no text")


def _grade_id(cell: dict) -> str:
    grading = cell["metadata"].get("nbgrader")
    identity = grading.get("grade_id") if isinstance(grading, dict) else None
    return identity if isinstance(identity, str) else ""


def _said(text: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": text + "\n"}


def _shown(result: ExerciseResult) -> dict:
    """A check's result as the student's own notebook shows it."""
    bundle = Score(result)._repr_mimebundle_()
    return {"output_type": "execute_result", "execution_count": None, "data": bundle, "metadata": {}}

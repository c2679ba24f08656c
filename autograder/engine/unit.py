"""One submission, from its bytes to its scores. Trusted side.

A unit of work is plain data: everything that is needed is in it, the same unit gives the same scores, and it may be done on any machine that has
the course. The student's notebook says which code runs; which exercises there are, what they are worth and what their checks call is read from the
release alone, so deleting, copying, unlocking or rewriting a graded cell changes nothing.
"""

import ast
import copy
import functools
import json
import re
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from autograder.checking import helpers
from autograder.checking.cases import Run, StudentError
from autograder.checking.check import Score
from autograder.checking.exercise import Exercise, load_chapter
from autograder.checking.limits import TimeUp, within
from autograder.checking.results import ExerciseResult
from autograder.engine.keeper import mapped_bytes
from autograder.engine.needed import MOST, Code, Kind, needed
from autograder.engine.sandbox import Limits
from autograder.engine.submission import RemoteStudent, Submission
from autograder.engine.warming import imported, libraries
from autograder.engine.worker import Zygote, ZygoteError, discard_zygotes, zygote_for
from autograder.release.chapters import CHECK

Status = Literal["graded", "crashed", "timeout", "memory", "tampered", "unreadable"]
MAX_NOTEBOOK = 20 * 2**20  # bytes
MAX_PARTS = 400_000  # lists and dicts in its JSON
MAX_CELLS = 2_000
CHECK_SECONDS = 10  # that the check itself may take, beyond the limits of its cases
CHECK_MEMORY = 2**30  # bytes that it may take: numbers that should be objects, or lists that should be numbers, can grow in its own hands
ATTEMPTS = 2  # at a submission with which the sandbox itself was lost, as may happen to an honest one when a machine runs out of memory
KEPT_OUTPUTS = 50  # of the largest size are kept of one notebook
CELL_ID = re.compile(r"(?!put-)[a-zA-Z0-9_-]{1,64}")  # the engine's own begin with put-
TAG = re.compile("<(?=[a-zA-Z/!?])")  # of HTML in a student's prose, which a grader's browser would act on: with a space after it, it is text
SKIPPED_TAGS = {"train", "figure"}
_proven: set[tuple[str, bool]] = set()  # chapters whose walls have been seen to stand in this process


@dataclass(frozen=True)
class Unit:
    """The work on one submission. Plain data, so that it can be sent anywhere.

    notebook    the bytes that were handed in
    release     the cells of the release, as `release_cells` gives them
    seed        what the draws of the checks come from; secret until it is shown on appeal
    fault       why there are no bytes; "" when there are
    all_cells   also run the cells of the release on which no verdict depends, for their outputs
    """

    student: str
    assignment: str
    chapter: str
    notebook: bytes
    release: tuple[dict, ...]
    seed: int
    limits: Limits = field(default_factory=Limits)
    walled: bool = True
    fault: str = ""
    all_cells: bool = False


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


def nothing_earned(unit: Unit, status: Status, reason: str, seconds: float = 0.0) -> UnitResult:
    """The result of a submission that was not run at all."""
    graded = [cell["nbgrader"] for cell in unit.release if cell["nbgrader"].get("grade")]
    cells = tuple(CellGrade(grading["grade_id"], 0.0, float(grading["points"])) for grading in graded)
    maximum = sum(cell.points for cell in cells)
    return UnitResult(unit.student, unit.assignment, status, reason, 0.0, maximum, cells, (), "", round(seconds, 3))


def cells_that_run(unit: Unit) -> set[str]:
    """Ids of the code cells of a submission that the engine runs, checks left out. ValueError when it is no notebook."""
    return _Grading(unit, {}, read_notebook(unit.notebook)).needed()


def run_unit(unit: Unit) -> UnitResult:
    """Do the work. Never raises for anything that a submission does; `ZygoteError` when the sandbox itself cannot be started."""
    started = time.monotonic()
    try:
        if unit.fault:
            raise ValueError(unit.fault)
        notebook = read_notebook(unit.notebook)
    except ValueError as error:
        return nothing_earned(unit, "unreadable", str(error), time.monotonic() - started)
    exercises = {item.name: item for item in load_chapter(unit.chapter)}
    for _attempt in range(ATTEMPTS):
        grading = _Grading(unit, exercises, copy.deepcopy(notebook))
        submission, ended = _run_behind_walls(unit, grading)
        if ended["how"] != "lost":
            break
    status, reason = _status(submission, ended, grading.said())
    return grading.result(status, reason, time.monotonic() - started, ended)


def _run_behind_walls(unit: Unit, grading: "_Grading") -> tuple[Submission | None, dict]:
    """→ the submission as it was in the end, None when it could not even begin, and how it ended: "lost" when its sandbox went with it."""
    zygote, submission = zygote_of(unit), None
    try:
        with zygote.start(unit.limits) as stream:
            submission = Submission(stream, unit.limits.submission)
            grading.run(submission)
            submission.settle()
            # While the stream is open: who is hung up on ends by itself, and that would look like a crash.
            return submission, zygote.end(hung_up=submission.gone == "crashed")
    except (OSError, ZygoteError) as error:
        discard_zygotes()
        return submission, {"how": "lost", "detail": str(error), "cpu_seconds": 0.0, "peak_bytes": 0}
    except BaseException:  # the zygote is in the middle of something, and of no use to the next submission
        discard_zygotes()
        raise


def prove_walls(unit: Unit) -> None:
    """Start what a unit runs in, with nobody's program, once a process and chapter. `ZygoteError` or `OSError` when code cannot be shut in."""
    if (unit.chapter, unit.walled) in _proven:
        return
    try:
        zygote_of(unit).probe()
    except (OSError, ZygoteError):
        discard_zygotes()
        raise
    _proven.add((unit.chapter, unit.walled))


def zygote_of(unit: Unit) -> Zygote:
    """This process's zygote for a unit: the modules closed that answer its chapter, those imported that its submissions will want."""
    exercises = load_chapter(unit.chapter)
    closed = (module for item in exercises for module in item.reference)
    return zygote_for(closed, unit.walled, _modules(unit.chapter, json.dumps(unit.release), unit.all_cells))


@functools.lru_cache(8)
def _modules(chapter: str, release: str, all_cells: bool) -> tuple[str, ...]:
    """What is imported by those cells of a release on which verdicts depend, and by its first, and what its checks are written with."""
    cells = json.loads(release)
    unit = Unit("", "", chapter, b"", tuple(cells), 0, all_cells=all_cells)
    run = _Grading(unit, {}, {"cells": [cell | {"metadata": {"nbgrader": cell["nbgrader"]}} for cell in cells]}).needed()
    programs = [cell for cell in cells if cell["cell_type"] == "code"]
    sources = [cell["source"] for place, cell in enumerate(programs) if place == 0 or cell["id"] in run]
    return tuple(sorted(imported(sources) | libraries(item.function for item in load_chapter(chapter))))


def _status(submission: Submission | None, ended: dict, said: str) -> tuple[Status, str]:
    if submission is None:
        return "crashed", f"its sandbox could not be used ({ended['detail']})"
    if submission.tampered:
        return "tampered", f"{submission.tampered}; nothing that it earned counts"
    if ended["how"] == "memory":
        return "memory", f"used {ended['detail']}; what was reached before counts"
    if ended["how"] == "lost":
        return "crashed", f"its sandbox ended with it, {ATTEMPTS} times over ({ended['detail']}); what was reached before counts"
    if ended["how"] == "cpu":
        return "timeout", f"used {ended['detail']}; what was reached before counts"
    if submission.gone == "timeout":
        return "timeout", "it did not answer within its limits; what was reached before counts"
    if submission.gone or ended["how"] == "crashed":
        return "crashed", f"its process ended ({ended['detail'] or 'no reason given'}); what was reached before counts"
    return "graded", said


class _Grading:
    """The walk through one notebook."""

    def __init__(self, unit: Unit, exercises: dict[str, Exercise], notebook: dict):
        self._unit, self._exercises, self._notebook = unit, exercises, notebook
        self._released = {cell["nbgrader"]["grade_id"]: cell for cell in unit.release if cell["nbgrader"]}
        self._graded = {grade_id: cell for grade_id, cell in self._released.items() if cell["nbgrader"].get("grade")}
        self._prose = {cell["source"] for cell in unit.release if cell["cell_type"] != "code"}
        self._programs = {cell["source"] for cell in unit.release if cell["cell_type"] == "code"}
        self._long = {cell["id"] for cell in unit.release if SKIPPED_TAGS & set(cell["tags"])}
        self._as_released: Kind = "own" if unit.all_cells else "released"
        self._run_these: set[str] = set()
        self._scores: dict[str, float | None] = {}
        self._results: dict[str, ExerciseResult] = {}
        self._output_left = KEPT_OUTPUTS * unit.limits.output
        self._slow: list[str] = []
        self._raised: list[str] = []
        self._restored: list[str] = []
        self._stopped: dict[str, str] = {}  # answers whose cell raised something: grade_id → what

    def run(self, submission: Submission) -> None:
        """Cells in the student's order; every graded cell of the release once, those that were deleted at the end."""
        seen: set[str] = set()
        self._run_these = self.needed()
        for number, cell in enumerate(self._notebook["cells"], 1):
            grade_id = _grade_id(cell)
            released = self._released.get(grade_id)
            first = released is not None and grade_id not in seen
            seen.add(grade_id)
            cell["metadata"] = {"nbgrader": released["nbgrader"]} if released and first else {}
            if released and not first and grade_id in self._graded:
                cell["source"] = "# A copy of a graded cell stood here; it counts once, where it stands first."
            elif released and grade_id in self._graded:
                if cell["cell_type"] == "code" and cell["source"].strip() != released["source"].strip():
                    self._restored.append(grade_id)
                self._grade(submission, grade_id, cell)
            else:
                if released and released["nbgrader"].get("locked"):
                    cell["source"] = released["source"]
                elif cell["cell_type"] != "code" and cell["source"] not in self._prose:
                    cell["source"] = TAG.sub("< ", cell["source"])
                if cell["cell_type"] == "code":
                    self._run_code(submission, cell, f"cell {grade_id}" if released else f"cell number {number}")
        for grade_id, released in self._graded.items():
            if grade_id not in seen:
                self._restored.append(grade_id)
                cell: dict[str, Any] = {"id": f"put-{len(self._notebook['cells'])}-back", "metadata": {"nbgrader": released["nbgrader"]}}
                cell["source"] = released["source"]
                self._notebook["cells"].append(cell)
                self._grade(submission, grade_id, cell)

    def needed(self) -> set[str]:
        """Ids of the code cells that are run; those that are put back because they were deleted need nothing but what checks need anyway."""
        named = {name for cell in self._graded.values() if cell["cell_type"] == "code" for name in _given(cell["source"])}
        codes = {cell["id"]: code for cell in self._notebook["cells"] if (code := self._code(cell)) is not None}
        places = needed(list(codes.values()), named)
        return {identity for place, identity in enumerate(codes) if place in places}

    def _code(self, cell: dict) -> Code | None:
        """What may run of a cell: a check is not run but performed, and locked text is the release's."""
        released = self._released.get(_grade_id(cell))
        grading = released["nbgrader"] if released else {}
        if released and (grading.get("grade") or grading.get("locked")):
            run = released["cell_type"] == "code" and not CHECK.search(released["source"])
            return Code(released["source"], self._as_released) if run else None
        if cell["cell_type"] != "code":
            return None
        if cell["id"] in self._long:
            return Code(cell["source"], "long")
        if grading.get("solution"):
            return Code(cell["source"], "answer")
        return Code(cell["source"], self._as_released if cell["source"] in self._programs else "own")

    def said(self) -> str:
        """What a grader may want to know of a submission that was graded to its end."""
        if self._graded and len(self._restored) == len(self._graded):
            return "none of the graded cells of this assignment is in it; is it another chapter's notebook?"
        parts = []
        waited = [name for name, result in self._results.items() if any(case.outcome == "timeout" for case in result.cases)]
        for text, places in (
            ("ran out of time:", [*self._slow, *(f"the check of {name}" for name in waited)]),
            ("raised:", self._raised),
            ("graded cells put back:", self._restored),
        ):
            if places:
                parts.append(f"{text} {', '.join(places[:3])}" + (f" and {len(places) - 3} more" if len(places) > 3 else ""))
        return "; ".join(parts)

    def _run_code(self, submission: Submission, cell: dict, name: str) -> None:
        source = cell["source"]
        if cell["id"] not in self._run_these or not source.strip() or submission.gone:
            return
        outcome, cell["outputs"] = self._ask(submission, source)
        if outcome == "timeout":
            self._slow.append(name)
            cell["outputs"].append(_said(f"Stopped after {self._unit.limits.cell:g} s."))
        elif outcome == "error" and cell["metadata"]:
            kind = next((output["ename"] for output in reversed(cell["outputs"]) if output["output_type"] == "error"), "error")
            if kind != "NotImplementedError":
                self._raised.append(f"{name} ({kind[:40]})")
                self._stopped[_grade_id(cell)] = kind[:40]

    def _ask(self, submission: Submission, source: str) -> tuple[str, list[dict]]:
        limits = self._unit.limits
        outcome, outputs = submission.cell(source, limits.cell, max(min(limits.output, self._output_left), 0))
        self._output_left -= sum(len(json.dumps(output)) for output in outputs)
        return outcome, outputs

    def _grade(self, submission: Submission, grade_id: str, cell: dict) -> None:
        released = self._graded[grade_id]
        points = float(released["nbgrader"]["points"])
        if released["cell_type"] == "markdown":
            _become(cell, "markdown")
            self._scores[grade_id] = 0.0 if cell["source"] == released["source"] else None  # an essay, which a person reads
            if self._scores[grade_id] is None:
                cell["source"] = TAG.sub("< ", cell["source"])
            return
        _become(cell, "code")
        cell["source"] = released["source"]
        called = CHECK.findall(released["source"])
        if called:
            name = called[0].partition(".")[2]
            result = self._check(submission, self._exercises[name], released["source"])
            self._results[name], self._scores[grade_id] = result, min(result.score, points)
            cell["outputs"] = [_shown(result, self._advice(name))]
        else:
            made = self._predicted(submission, released["source"])
            self._scores[grade_id] = points if made else 0.0
            if cell["id"] in self._run_these and not submission.gone:
                _outcome, cell["outputs"] = self._ask(submission, released["source"])
            else:
                cell["outputs"] = [_said("A prediction is written down." if made else "No prediction is written down.")]

    def _advice(self, name: str) -> str:
        """To whoever's answer calls another of theirs that is wrong."""
        if self._results[name].status in ("solved", "not written"):
            return ""
        wrong = [other for other, result in self._results.items() if other != name and not result.solved]
        sources = [cell["source"] for cell in self._notebook["cells"] if _grade_id(cell) == name and len(cell["source"]) <= MOST]
        return helpers.advice(helpers.named(sources, wrong))

    def _check(self, submission: Submission, item: Exercise, source: str) -> ExerciseResult:
        needs = dict(zip(item.needs, _given(source), strict=True))
        run = Run(item.seconds)
        student = RemoteStudent(submission, needs, run, self._stopped.get(item.name, ""))
        try:
            with _bounded_memory():
                return within(item.seconds * len(item.case_names) + CHECK_SECONDS, lambda: item.run_with(student, run, self._unit.seed))
        except TimeUp:  # between two cases; now nobody answers, and each case says so
            submission.gone = "timeout"
            return item.run_with(student, Run(item.seconds), self._unit.seed)

    def _predicted(self, submission: Submission, source: str) -> bool:
        """Is there something under the name that the release reveals as the guess?"""
        guess = _given(source)
        if not guess:
            return False
        try:
            answer = submission.ask("predicted", guess[0], 2.0, seconds=2.0)
        except (StudentError, TimeUp):
            return False
        return len(answer) == 2 and answer[0] == "value" and answer[1] is True

    def result(self, status: Status, reason: str, seconds: float, ended: dict) -> UnitResult:
        unit = self._unit
        if status == "tampered":
            self._scores = dict.fromkeys(self._graded, 0.0)
        cells = tuple(
            CellGrade(grade_id, self._scores.get(grade_id, 0.0), float(cell["nbgrader"]["points"])) for grade_id, cell in self._graded.items()
        )
        score, maximum = round(sum(cell.score or 0.0 for cell in cells), 2), sum(cell.points for cell in cells)
        executed = json.dumps(self._notebook, ensure_ascii=False)
        usage = {"cpu_seconds": ended["cpu_seconds"], "peak_bytes": ended["peak_bytes"]}
        return UnitResult(
            unit.student, unit.assignment, status, reason, score, maximum, cells, tuple(self._results.values()), executed, round(seconds, 3), usage
        )


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """More than CHECK_MEMORY bytes on top of what there is now is a MemoryError, which fails the case that wants them."""
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = mapped_bytes() + CHECK_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def read_notebook(data: bytes) -> dict:
    """A notebook that is safe to walk through: cells with the fields that they need and no others. ValueError says why it is none."""
    if len(data) > MAX_NOTEBOOK:
        raise ValueError(f"{len(data):,} bytes; a notebook may have {MAX_NOTEBOOK:,}")
    if data.count(b"{") + data.count(b"[") > MAX_PARTS:
        raise ValueError(f"its JSON has more than {MAX_PARTS:,} parts")
    try:
        raw = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON: cut off, or never a notebook") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("cells"), list):
        raise ValueError("it has no list of cells")
    if len(raw["cells"]) > MAX_CELLS:
        raise ValueError(f"{len(raw['cells']):,} cells; a notebook may have {MAX_CELLS:,}")
    cells, identities = [], set()
    for number, cell in enumerate(raw["cells"], 1):
        if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
            raise ValueError(f"cell {number} is no cell")
        metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
        identity = cell.get("id")
        if not isinstance(identity, str) or not CELL_ID.fullmatch(identity) or identity in identities:
            identity = f"put-{number}"
        identities.add(identity)
        plain: dict[str, Any] = {"id": identity, "metadata": metadata, "source": _text(cell.get("source", ""))}
        _become(plain, cell["cell_type"])
        cells.append(plain)
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def _text(source: Any) -> str:
    """A cell's source. Halves of surrogate pairs, which JSON can spell and UTF-8 cannot, are replaced."""
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise ValueError("a cell's source is no text")
    return source.encode("utf-8", "replace").decode("utf-8")


def _become(cell: dict, kind: str) -> None:
    """Make it a cell of that kind that has not been run, with exactly the fields that nbformat wants."""
    cell["cell_type"] = kind
    for name in ("outputs", "execution_count"):
        cell.pop(name, None)
    if kind == "code":
        cell |= {"outputs": [], "execution_count": None}


@functools.lru_cache(256)
def _given(source: str) -> tuple[str, ...]:
    """What a graded cell of the release hands over, by its names in the notebook: the objects of a check, or the guess of a prediction."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check":
            return tuple(argument.id for argument in node.args[1:] if isinstance(argument, ast.Name))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "reveal":
            return tuple(word.value.id for word in node.keywords if word.arg == "guess" and isinstance(word.value, ast.Name))
    return ()


def _grade_id(cell: dict) -> str:
    grading = cell["metadata"].get("nbgrader")
    identity = grading.get("grade_id") if isinstance(grading, dict) else None
    return identity if isinstance(identity, str) else ""


def _said(text: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": text + "\n"}


def _shown(result: ExerciseResult, advice: str) -> dict:
    """A check's result as the student's own notebook shows it."""
    bundle = Score(result, advice)._repr_mimebundle_()
    return {"output_type": "execute_result", "execution_count": None, "data": bundle, "metadata": {}}

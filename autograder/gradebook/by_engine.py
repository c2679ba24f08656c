"""Grades with the course's own engine: students' programs run behind walls, and nbgrader's gradebook and folders are written as it would."""

import hashlib
import importlib.metadata
import importlib.util
import json
import re
import shutil
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from nbformat import NotebookNode, from_dict
from nbgrader.utils import compute_checksum

import autograder.checking
import autograder.exercises
import course_lib
from autograder.engine import cluster, scheduler
from autograder.engine.sandbox import Limits
from autograder.engine.unit import Unit, UnitResult, release_cells
from autograder.errors import CourseError
from autograder.gradebook import ledger, marks, secret, submitted
from autograder.gradebook.classroom import Classroom
from autograder.gradebook.ledger import Graded
from autograder.release.build import write_whole
from autograder.release.chapters import CHECK

ENDED = {"crashed": "ended before its time", "timeout": "ran out of time", "memory": "ran out of memory", "tampered": "interfered with its grading"}


@dataclass(frozen=True)
class Release:
    """What students got: its cells, the chapter whose exercises check them, and a digest of both."""

    cells: tuple[dict, ...]
    chapter: str
    digest: str


def read_release(room: Classroom, assignment: str) -> Release:
    """Raises `CourseError` when an assignment has not been released, or is not one of the course's chapters."""
    path = room.folder / "release" / assignment / f"{assignment}.ipynb"
    try:
        content = path.read_bytes()
        cells = release_cells(json.loads(content))
    except FileNotFoundError:
        raise CourseError(f"no {path}; run `nbgrader generate_assignment {assignment} --force` in {room.folder}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CourseError(f"{path} is no notebook; run `nbgrader generate_assignment {assignment} --force` in {room.folder}") from None
    called = [name for cell in cells if cell["nbgrader"].get("grade") for name in CHECK.findall(cell["source"])]
    chapter = called[0].partition(".")[0] if called else ""
    checks = importlib.util.find_spec(f"{autograder.exercises.__name__}.{chapter}") if chapter.isidentifier() else None
    if checks is None or checks.origin is None:
        raise CourseError(f"{assignment} has no checks of the course, which the engine needs; grade it with `autograder grade CLASS --stock`")
    rooms = [Path(module.__file__ or "").parent for module in (autograder.checking, course_lib)]
    programs = [program for room in rooms for program in sorted(room.rglob("*.py"))]
    version = importlib.metadata.version("large-models-from-scratch")
    digest = hashlib.sha256(f"engine {version} {ledger.digest(path, Path(checks.origin), *programs)}".encode())
    return Release(cells, chapter, digest.hexdigest())


class Runner:
    """Runs the submissions of a class and writes down what comes of them."""

    def __init__(self, room: Classroom, sandbox: bool, limits: Limits, dask: str | None = None, all_cells: bool = False):
        self._room, self._walled, self._limits, self._dask, self._all_cells = room, sandbox, limits, dask, all_cells
        self._secret = secret.read(room.folder)
        self._releases: dict[str, Release] = {}
        self.cpu_seconds, self.peak_bytes = 0.0, 0  # of the submissions that have been run: all together, and the largest

    def digest(self, student: str, assignment: str) -> str:
        """Changes with the submission, the release, the checks and the version of the course."""
        work = ledger.digest(self._room.submitted(student, assignment))
        return hashlib.sha256(f"{self._release(assignment).digest}{work}".encode()).hexdigest()

    def run(
        self, todo: list[tuple[str, str]], begin: Callable[[str, str], None], keep: Callable[[Graded], None], jobs: int | None = None
    ) -> Generator[Graded]:
        """Results as they are ready. Whatever ends this early, Ctrl-C included, ends every process that it started.

        todo   (student, assignment) of each
        begin  called before a submission is run
        keep   called with each result, before it is given on
        """
        if not todo:
            return
        with marks.gradebook(self._room, writing=True) as book, closing(self.results(todo, begin, jobs)) as finished:
            for result in finished:
                self.cpu_seconds += result.usage.get("cpu_seconds", 0.0)
                self.peak_bytes = max(self.peak_bytes, result.usage.get("peak_bytes", 0))
                yield self.record(book, result, keep)

    def results(
        self, todo: list[tuple[str, str]], begin: Callable[[str, str], None] = lambda *_: None, jobs: int | None = None
    ) -> Generator[UnitResult]:
        """What the engine finds, as it is ready; nothing is written down. Else as `run`."""
        if not todo:
            return
        if self._walled and not self._dask and not shutil.which("bwrap"):
            raise scheduler.NoSandbox("bubblewrap is not installed")
        units, jobs = self.units(todo, begin), min(jobs or scheduler.default_jobs(), len(todo))
        yield from cluster.run(units, self._dask) if self._dask else scheduler.run(units, jobs)

    def record(self, book: Any, result: UnitResult, keep: Callable[[Graded], None]) -> Graded:
        """Write down in the open gradebook, in autograded/ and, by `keep`, in the ledger what came of one submission."""
        with _whole():
            graded = self._record(book, result)
            if not failed(result):
                keep(graded)
        return graded

    def units(self, todo: list[tuple[str, str]], begin: Callable[[str, str], None] = lambda *_: None) -> Iterator[Unit]:
        for student, assignment in todo:
            begin(student, assignment)
            notebook, fault = b"", ""
            try:
                notebook = submitted.notebook_bytes(self._room.submitted(student, assignment), assignment)
            except submitted.Unreadable as error:
                fault = str(error)
            except OSError as error:
                fault = f"{assignment}.ipynb cannot be read: {error.strerror}"
            release = self._release(assignment)
            seed = secret.seed_of(self._secret, assignment, student)
            yield Unit(student, assignment, release.chapter, notebook, release.cells, seed, self._limits, self._walled, fault, self._all_cells)

    def _release(self, assignment: str) -> Release:
        if assignment not in self._releases:
            self._releases[assignment] = read_release(self._room, assignment)
        return self._releases[assignment]

    def _record(self, book: Any, result: UnitResult) -> Graded:
        """First the notebook, then the gradebook; the ledger, which says that both are done, comes last."""
        student, assignment, reason = result.student, result.assignment, plain(result.reason)
        handed_in = submitted.time_of(self._room.submitted(student, assignment))
        folder = self._room.autograded(student, assignment)
        folder.mkdir(parents=True, exist_ok=True)
        if result.executed:
            notebook = json.loads(result.executed)
            untouched = _untouched(notebook)
            if result.status in ENDED:
                notebook["cells"].insert(0, _notice(f"This submission {ENDED[result.status]}", reason))
            text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        else:
            untouched, text = set(), marks.reason_notebook(reason)
        write_whole(folder / f"{assignment}.ipynb", text)
        scores = {cell.grade_id: cell.score for cell in result.cells}
        score, max_score = marks.record(self._room, book, student, assignment, scores, untouched, handed_in)
        return Graded(student, assignment, result.status, score, max_score, reason, round(result.seconds, 2))


def failed(result: UnitResult) -> bool:
    """Was it the engine itself that failed? Then the next run tries again."""
    return result.status == "crashed" and not result.executed


@contextmanager
def _whole() -> Iterator[None]:
    """Ctrl-C inside takes effect at the end, so that nothing is left half-written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _untouched(notebook: dict) -> set[str]:
    """The grade_ids of answers that are as they were released, which nbgrader remarks on."""
    found = set()
    for cell in notebook["cells"]:
        grading = cell["metadata"].get("nbgrader", {})
        if grading.get("solution") and grading.get("checksum") == compute_checksum(cast(NotebookNode, from_dict(cell))):
            found.add(grading["grade_id"])
    return found


def _notice(title: str, reason: str) -> dict:
    text = f"**{title}.**\n\n    {reason}"
    return {"cell_type": "markdown", "id": "put-first", "metadata": {}, "source": text}


def plain(reason: str) -> str:
    """One line without control characters: part of it is a stranger's text."""
    return re.sub(r"\s+", " ", "".join(letter if letter.isprintable() else " " for letter in reason[:500])).strip()

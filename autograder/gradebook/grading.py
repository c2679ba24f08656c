"""Grades what has been submitted, one submission at a time, so that a bad one never stops the others."""

import json
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import rich.progress
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autograder.errors import CourseError
from autograder.gradebook import ledger, marks
from autograder.gradebook.classroom import Classroom, open_class
from autograder.gradebook.ledger import Graded, Ledger

SUBMISSION_SECONDS = 1800  # longest time for one submission; a cell has its own limit in nbgrader_config.py
WORKERS = max(1, min(4, os.cpu_count() or 1))
STRANGERS = (
    "Note: this runs the students' programs with your own rights: they can read and change what you can, marks included. "
    "Grade in an account or a container in which nothing can be lost. (Said once for each class.)"
)

__all__ = ["Graded", "grade", "run_submission", "show"]


class Stopped(Exception):
    """The batch has been stopped; the submission counts as not graded."""


class Batch:
    """The processes that run at present, so that all can be ended at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[BaseProcess] = set()
        self.stopped = False

    @contextmanager
    def running(self, process: BaseProcess) -> Iterator[None]:
        """Starts the process, which does not outlive the block, nor do its kernels. Raises `Stopped` when the batch has been."""
        with self._lock:
            if self.stopped:
                raise Stopped
            process.start()
            self._running.add(process)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(process)
            _end(process)

    def stop(self) -> None:
        """End what runs, and start nothing more."""
        with self._lock:
            self.stopped = True
            running = list(self._running)
        for process in running:
            _end(process)


def grade(folder: Path, assignment: str | None = None, student: str | None = None, force: bool = False, quiet: bool = False) -> list[Graded]:
    """Grade every submission that is new or changed, and return all that were asked for, in order of assignment and student.

    assignment, student  only these; all by default
    force                also what is graded already and unchanged
    quiet                no progress bar

    Raises `CourseError` when there is no such class, assignment or student. Each result is kept as soon as it is there.
    """
    room = open_class(folder)
    if not os.access(room.folder, os.W_OK):
        raise CourseError(f"{room.folder} cannot be written to; grading keeps its results there")
    wanted = _submitted(room, assignment, student)
    book, console = Ledger(room.folder), Console(stderr=True)
    if book.is_new:
        console.print(STRANGERS, style="yellow", highlight=False)
    known = book.rows()
    digests = {key: _digest(room, *key) for key in wanted}
    results = {key: known[key][0] for key in wanted if not force and key in known and known[key][1] == digests[key] and _is_kept(room, *key)}
    todo = [key for key in wanted if key not in results]
    with _progress(console, len(todo), quiet) as advance, closing(_run_all(room, book, todo)) as finished:
        for result in finished:
            key = (result.student, result.assignment)
            book.keep(result, digests[key])
            results[key] = result
            advance(result)
    return [_with_present_score(room, results[key]) if key not in todo else results[key] for key in wanted]


def run_submission(room: Classroom, assignment: str, student: str, *, seconds: float = SUBMISSION_SECONDS, batch: Batch | None = None) -> Graded:
    """Run and score one submission, and record it in the gradebook. Never raises for what a submission does, only `Stopped` with its batch.

    The only place that knows how a submission is run: here stock nbgrader's Autograde in a process of its own.
    """
    started, batch = time.monotonic(), batch or Batch()
    log = room.logs / f"{student}-{assignment}.log"
    with tempfile.TemporaryDirectory(prefix="grade-", ignore_cleanup_errors=True) as scratch:
        answer = Path(scratch) / "answer.json"
        process = _context().Process(target=_worker, args=(str(room.folder), assignment, student, str(log), scratch, str(answer), dict(os.environ)))
        with batch.running(process):
            process.join(seconds)
            in_time = not process.is_alive()
        if batch.stopped:
            shutil.rmtree(room.autograded(student, assignment), ignore_errors=True)
            raise Stopped
        if not in_time:
            status, reason = "timeout", f"not finished after {seconds:.0f} s"
        else:
            status, reason = _answer(answer, process.exitcode)
    if status not in ("graded", "tampered"):
        if status == "crashed":
            reason += f"; see logs/{log.name}"
        marks.record_failure(room, student, assignment, reason)
    score, max_score = marks.score_of(room, student, assignment)
    return Graded(student, assignment, status, score, max_score, reason, round(time.monotonic() - started, 2))


def show(results: list[Graded]) -> None:
    """A table on the terminal."""
    table = Table(title=f"{len(results)} submissions, {sum(result.status == 'graded' for result in results)} graded")
    for heading in ("student", "assignment", "status", "score", "of", "seconds", "reason"):
        table.add_column(heading, justify="right" if heading in ("score", "of", "seconds") else "left", overflow="fold")
    for result in results:
        numbers = (f"{result.score:g}", f"{result.max_score:g}", f"{result.seconds:.1f}")
        table.add_row(escape(result.student), result.assignment, result.status, *numbers, escape(result.reason))
    Console().print(table)


def _submitted(room: Classroom, assignment: str | None, student: str | None) -> list[tuple[str, str]]:
    """(student, assignment) of every submission asked for."""
    if assignment is not None and assignment not in room.assignments:
        raise CourseError(f"no assignment {assignment!r} in {room.folder}; there are: {', '.join(room.assignments)}")
    folder = room.folder / "submitted"
    students = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")) if folder.is_dir() else []
    if not students:
        raise CourseError(f"nothing is submitted yet; put notebooks at {folder}/STUDENT/{room.assignments[0]}/{room.assignments[0]}.ipynb")
    if student is not None and student not in students:
        raise CourseError(f"no student {student!r} in {folder}; there are: {', '.join(students[:20])}")
    found = [
        (name, work)
        for work in ([assignment] if assignment else room.assignments)
        for name in ([student] if student else students)
        if room.submitted(name, work).is_dir()
    ]
    if not found:
        raise CourseError(f"nothing is submitted for {assignment or 'any assignment'}" + (f" by {student!r}" if student else "") + f" in {folder}")
    return found


def _digest(room: Classroom, student: str, assignment: str) -> str:
    """Changes with the submission, with the assignment, and with the settings."""
    release = room.folder / "source" / assignment
    return ledger.digest(room.submitted(student, assignment), release, room.folder / "nbgrader_config.py")


def _is_kept(room: Classroom, student: str, assignment: str) -> bool:
    return (room.autograded(student, assignment) / f"{assignment}.ipynb").exists()


def _with_present_score(room: Classroom, result: Graded) -> Graded:
    """A person may have marked the submission since it was graded."""
    score, max_score = marks.score_of(room, result.student, result.assignment)
    return Graded(result.student, result.assignment, result.status, score, max_score, result.reason, result.seconds)


def _run_all(room: Classroom, book: Ledger, todo: list[tuple[str, str]]) -> Generator[Graded]:
    """Results as they are ready. Whatever ends this early, Ctrl-C included, ends every process that it started."""
    if not todo:
        return
    room.logs.mkdir(exist_ok=True)

    def run(student: str, assignment: str) -> Graded:
        book.forget(student, assignment)
        return run_submission(room, assignment, student, batch=batch)

    batch = Batch()
    pool = ThreadPoolExecutor(WORKERS)
    futures: dict[Future[Graded], tuple[str, str]] = {pool.submit(run, *key): key for key in todo}
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        batch.stop()
        pool.shutdown(wait=True)


@contextmanager
def _progress(console: Console, total: int, quiet: bool):
    """Gives a function to call with each result."""
    columns = (
        "[progress.description]{task.description}",
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True, disable=quiet or not total) as bar:
        task = bar.add_task("grading", total=total)
        yield lambda result: bar.update(task, advance=1, description=f"graded {escape(result.student)}")


def _context() -> ForkServerContext | SpawnContext:
    """Processes forked from a server that has imported nbgrader; where there is no fork, fresh ones."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["autograder.gradebook.worker"])
    return context


def _worker(*arguments: Any) -> None:
    """Runs in the new process; nbgrader is imported there, not here."""
    from autograder.gradebook import worker

    worker.main(*arguments)


def _end(process: BaseProcess) -> None:
    """End a process and everything below it; kernels are in sessions of their own, so a group would not do."""
    if process.is_alive() and process.pid is not None:
        try:
            family = psutil.Process(process.pid)
            for member in [*family.children(recursive=True), family]:
                member.kill()
        except psutil.NoSuchProcess:
            pass
    process.join(10)


def _answer(path: Path, exitcode: int | None) -> tuple[str, str]:
    """What the worker found, or that it ended without a word."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return str(found["status"]), str(found["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return "crashed", f"the grading process ended early (exit code {exitcode})"

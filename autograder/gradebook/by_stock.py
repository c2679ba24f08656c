"""Grades with stock nbgrader: for comparison, and for assignments that are not the course's. Students' programs run with the grader's rights."""

import json
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from autograder.gradebook import ledger, marks
from autograder.gradebook.classroom import Classroom
from autograder.gradebook.ledger import Graded

SUBMISSION_SECONDS = 1800  # longest time for one submission; a cell has its own limit in nbgrader_config.py
WORKERS = max(1, min(4, os.cpu_count() or 1))


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


class Runner:
    """Runs the submissions of a class, each in a process of its own; nbgrader writes down what comes of them."""

    def __init__(self, room: Classroom):
        self._room = room

    def digest(self, student: str, assignment: str) -> str:
        """Changes with the submission, with the assignment, and with the settings."""
        folder = self._room.folder
        return ledger.digest(self._room.submitted(student, assignment), folder / "source" / assignment, folder / "nbgrader_config.py")

    def run(
        self, todo: list[tuple[str, str]], begin: Callable[[str, str], None], keep: Callable[[Graded], None], jobs: int | None = None
    ) -> Generator[Graded]:
        """Results as they are ready. Whatever ends this early, Ctrl-C included, ends every process that it started.

        todo   (student, assignment) of each
        begin  called before a submission is run, from any thread
        keep   called with each result, before it is given on
        """

        def run(student: str, assignment: str) -> Graded:
            begin(student, assignment)
            return run_submission(self._room, assignment, student, batch=batch)

        batch = Batch()
        pool = ThreadPoolExecutor(jobs or WORKERS)
        futures: list[Future[Graded]] = [pool.submit(run, *key) for key in todo]
        try:
            for future in as_completed(futures):
                keep(future.result())
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            batch.stop()
            pool.shutdown(wait=True)


def run_submission(room: Classroom, assignment: str, student: str, *, seconds: float = SUBMISSION_SECONDS, batch: Batch | None = None) -> Graded:
    """Run and score one submission, and record it in the gradebook. Never raises for what a submission does, only `Stopped` with its batch.

    Stock nbgrader's Autograde in a process of its own.
    """
    started, batch = time.monotonic(), batch or Batch()
    room.logs.mkdir(exist_ok=True)
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

"""Does many units of work on this machine, a few at a time. Trusted side.

Each lane is a process with a zygote of its own. The pool hands a lane its next unit when the lane is ready for it, so that no more notebooks are
in memory than there are lanes. A lane that dies is replaced; its unit is tried once more, and then given up as crashed.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

import psutil

from autograder.engine import probing
from autograder.engine.lane import NoWalls
from autograder.engine.scratch import empty
from autograder.engine.unit import Unit, UnitResult, nothing_earned
from autograder.errors import CourseError

TRIES = 2
START_SECONDS = 180  # for a lane to say that it is ready
SPARE_SECONDS = 150  # that a unit may take beyond its own limit: its zygote may have to be started first
END_SECONDS = 5
ONE_THREAD: dict[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class NoSandbox(CourseError):
    """Student code cannot be shut in on this machine."""

    def __init__(self, why: str):
        super().__init__(
            f"students' programs cannot be shut in here: {why}. Install bubblewrap and allow user namespaces, or give the programs your own rights: "
            "--no-sandbox"
        )


def default_jobs() -> int:
    """As many lanes as there are processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processors_of(jobs: int) -> list[int | None]:
    """A processor for each lane, where there are lanes for all; else None: some may be left to others, who knows which?"""
    free = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [free[lane % len(free)] if free and jobs >= len(free) else None for lane in range(jobs)]


def run(units: Iterable[Unit], jobs: int | None = None) -> Generator[UnitResult]:
    """Results as they finish. Units are begun in their order, and taken from `units` when their turn comes.

    Whatever ends this early, Ctrl-C included, ends every process that it started. Raises `NoSandbox`, and
    `CourseError` when no lane can be started.
    """
    with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as scratch:
        Path(scratch).chmod(0o711)  # for other users to pass through: where there is no bubblewrap, submissions run from here
        pool = _Pool(iter(units), jobs or default_jobs(), Path(scratch))
        try:
            yield from pool.results()
            pool.finish()
        finally:
            pool.kill()
            empty(Path(scratch))  # what is left of submissions that were ended with their lanes


class _Lane:
    """A process of the pool, as the pool sees it."""

    def __init__(self, scratch: Path, processor: int | None):
        self.unit: Unit | None = None
        self.ready = False  # has been so once
        self.deadline = time.monotonic() + START_SECONDS
        self._errors = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  (closed by `close`)
        ours, theirs = socket.socketpair()
        with theirs:
            self.stream = Connection(ours.detach())
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "autograder.engine.lane",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    *([] if processor is None else [str(processor)]),
                ],
                pass_fds=[theirs.fileno()],
                env=os.environ | ONE_THREAD | probing.proven() | {"TMPDIR": str(scratch)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is for the pool, which then ends its lanes
            )

    @property
    def idle(self) -> bool:
        return self.ready and self.unit is None

    def give(self, unit: Unit) -> None:
        self.unit, self.deadline = unit, time.monotonic() + unit.limits.submission + SPARE_SECONDS
        with suppress(OSError):  # it has died, as will be seen when its answer is waited for
            self.stream.send(unit)

    def dismiss(self) -> None:
        """There is no more work: it may end by itself."""
        self.stream.close()

    def finish(self) -> None:
        """Wait for its end, if that comes soon."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)

    def kill(self) -> str:
        """End it with everything below it. → what it complained with last"""
        with suppress(psutil.NoSuchProcess):
            if self._process.poll() is None:
                lane = psutil.Process(self._process.pid)
                family, zygotes = lane.children(recursive=True), lane.children()
                _kill([lane, *zygotes])
                # Without bubblewrap it is the keeper of a submission that ends it, when its zygote is gone: so it must not go first.
                _kill(psutil.wait_procs(family, END_SECONDS)[1])
        code = self._process.wait()
        self.stream.close()
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self._errors.close()
        return lines[-1] if lines else f"exit code {code}"


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


class _Pool:
    """Lanes, what they have answered, and what must be tried again."""

    def __init__(self, units: Iterator[Unit], jobs: int, scratch: Path):
        self._units, self._scratch = units, scratch
        self._all_begun = False
        self._processors = processors_of(jobs)
        self._lanes = [_Lane(scratch, processor) for processor in self._processors]
        self._again: deque[Unit] = deque()
        self._failures: Counter[tuple[str, str]] = Counter()
        self._done: deque[UnitResult] = deque()

    def results(self) -> Iterator[UnitResult]:
        while True:
            for lane in self._lanes:
                if lane.idle and (unit := self._next()) is not None:
                    lane.give(unit)
            while self._done:  # while whoever takes them writes them down, the lanes work
                yield self._done.popleft()
            if self._all_begun and not self._again and all(lane.unit is None for lane in self._lanes):
                return
            self._listen()

    def finish(self) -> None:
        for lane in self._lanes:
            lane.dismiss()
        for lane in self._lanes:
            lane.finish()

    def kill(self) -> None:
        for lane in self._lanes:
            lane.kill()

    def _next(self) -> Unit | None:
        if self._again:
            return self._again.popleft()
        unit = None if self._all_begun else next(self._units, None)
        self._all_begun = unit is None
        return unit

    def _listen(self) -> None:
        """Wait until some lane has something to say, is dead, or has had its time."""
        expected = [lane for lane in self._lanes if not lane.idle]
        patience = min(lane.deadline for lane in expected) - time.monotonic()
        heard = wait([lane.stream for lane in expected], max(patience, 0))
        for lane in expected:
            if lane.stream in heard:
                self._hear(lane)
            elif time.monotonic() > lane.deadline:
                self._replace(lane, "it gave no answer")

    def _hear(self, lane: _Lane) -> None:
        try:
            answer = lane.stream.recv()
        except (EOFError, OSError):
            self._replace(lane, "")
            return
        unit, lane.unit, lane.ready = lane.unit, None, True
        if isinstance(answer, NoWalls):
            raise NoSandbox(answer.why)
        if isinstance(answer, UnitResult):
            self._done.append(answer)
        elif unit is not None:
            self._retry(unit, answer.why)

    def _replace(self, lane: _Lane, why: str) -> None:
        complaint = lane.kill()
        place = self._lanes.index(lane)
        if not lane.ready:
            raise CourseError(f"a process for grading could not be started: {why or complaint}")
        self._lanes[place] = _Lane(self._scratch, self._processors[place])
        if lane.unit is not None:
            self._retry(lane.unit, why or complaint)

    def _retry(self, unit: Unit, why: str) -> None:
        key = (unit.student, unit.assignment)
        self._failures[key] += 1
        if self._failures[key] < TRIES:
            self._again.append(unit)
        else:
            self._done.append(nothing_earned(unit, "crashed", f"the process that graded it failed {TRIES} times ({why})"))

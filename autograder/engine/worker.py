"""The trusted side's hold on a zygote, and on the one submission that it runs at a time."""

import functools
import json
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autograder.engine import probing, sandbox, wire
from autograder.engine.confinement import Confinement
from autograder.engine.keeper import END, EXPLAIN
from autograder.engine.sandbox import Limits
from autograder.errors import CourseError

START_SECONDS = 120  # a cold disk may need that long to give torch out
END_SECONDS = 10


class ZygoteError(RuntimeError):
    """The zygote could not be started, or is gone."""


class Zygote:
    """A warmed interpreter behind walls. `start` gives a stream to a fresh submission, `end` says how it went."""

    def __init__(self, fenced: Iterable[str], walled: bool = True, kind: str = "", program: str = "zygote", arguments: Iterable[str] = ()):
        """walled False: with the rights of whoever runs this. kind: of walls, the best that stand here by default.

        program  of the engine, with its arguments: a zygote takes the modules that it is to import
        """
        self.fenced = tuple(sorted(set(fenced)))
        self.kind = kind or (_kind() if walled else "none")
        ours, theirs = socket.socketpair()
        self._control = ours
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        self._confinement: Confinement | None = None
        self._fresh = False
        self._process: subprocess.Popen | None = None
        self._course = tempfile.TemporaryDirectory(prefix="course-")
        try:
            with theirs:
                course = Path(self._course.name)
                sandbox.open_course(course, self.fenced)
                if self.kind == "bubblewrap":
                    command = sandbox.command(course, theirs.fileno(), program, arguments)
                    self._process = subprocess.Popen(
                        command, pass_fds=[theirs.fileno()], env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors
                    )
                else:
                    self._confinement = Confinement(self.kind, course)
                    self._process = self._confinement.launch(theirs, program, arguments, self._errors)
            if self._line(START_SECONDS) != b"ready":
                raise ZygoteError(self.failure())
        except BaseException:
            self.close()
            raise

    def start(self, limits: Limits) -> socket.socket:
        """Begin a submission. → the stream on which it is spoken to."""
        if self._confinement and not self._fresh:
            self._confinement.renew()
        self._fresh = False
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [json.dumps(asdict(limits)).encode()], [theirs.fileno()])
        return ours

    def end(self, hung_up: bool = False) -> dict:
        """End the submission and every process of it. → how it had ended by then (ended, crashed, memory or cpu), and what it used.

        hung_up  it closed its connection: wait a moment for its own end, which says why
        """
        self._control.sendall(EXPLAIN if hung_up else END)
        line = self._line(END_SECONDS)
        if not line:
            raise ZygoteError(self.failure())
        if self._confinement:
            self._confinement.renew()
            self._fresh = True
        return json.loads(line)

    def probe(self) -> None:
        """Start something and end it; ZygoteError or OSError when the inner walls do not stand."""
        with self.start(Limits()) as stream:
            try:
                wire.send(stream, (b"probe", "cell", "1 + 1", 5.0, 1000))
                answer = wire.receive(stream, time.monotonic() + 10)
            except (wire.Closed, wire.WireError, TimeoutError):
                answer = None
            ended = self.end(hung_up=answer is None)
        if answer is None or answer[1] != "done":
            raise ZygoteError(self.complaint() or ended["detail"] or f"no answer from inside ({ended['how']})")

    def failure(self) -> str:
        """Why the zygote, or what was to start it, has ended."""
        return self.complaint() or "it ended without a word"

    def complaint(self) -> str:
        """The last line that the zygote, or what was to start it, wrote to stderr."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._wait_for_the_keeper()
        self._control.close()
        self._errors.close()
        if self._confinement:
            self._confinement.close()
        self._course.cleanup()

    def _wait_for_the_keeper(self) -> None:
        """Until nobody holds the other end: the keeper, which is the last to let go, has ended everything then."""
        deadline = time.monotonic() + END_SECONDS
        with suppress(OSError, ValueError):  # closed already
            while select.select([self._control], [], [], max(deadline - time.monotonic(), 0))[0] and self._control.recv(65536):
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _line(self, seconds: float) -> bytes:
        deadline, line = time.monotonic() + seconds, bytearray()
        while not line.endswith(b"\n"):
            if not select.select([self._control], [], [], max(deadline - time.monotonic(), 0))[0]:
                return b""
            part = self._control.recv(65536)
            if not part:
                return b""
            line += part
        return bytes(line[:-1])


def _kind() -> str:
    try:
        return probing.kind()
    except CourseError as error:
        raise ZygoteError(str(error)) from None


@functools.cache
def _pool() -> dict[tuple, Any]:
    return {}


def zygote_for(fenced: Iterable[str], walled: bool = True, modules: tuple[str, ...] = ()) -> Zygote:
    """This process's zygote for a chapter, with `modules` imported; started when it is first wanted, or when the last one has died."""
    key = (tuple(sorted(set(fenced))), walled, modules)
    pool = _pool()
    if key not in pool:
        for old in pool.values():
            old.close()
        pool.clear()
        pool[key] = Zygote(key[0], walled, arguments=modules)
    return pool[key]


def discard_zygotes() -> None:
    """Close this process's zygotes; the next submission starts a new one."""
    for zygote in _pool().values():
        zygote.close()
    _pool().clear()

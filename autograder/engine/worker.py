"""The trusted side's hold on a zygote, and on the one submission that it runs at a time."""

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autograder.engine import sandbox, wire
from autograder.engine.sandbox import Limits
from autograder.engine.zygote import END, EXPLAIN

START_SECONDS = 120  # a cold disk may need that long to give torch out
END_SECONDS = 10


class ZygoteError(RuntimeError):
    """The zygote could not be started, or is gone."""


class Zygote:
    """A warmed interpreter behind walls. `start` gives a stream to a fresh submission, `end` says how it went."""

    def __init__(self, fenced: Iterable[str], walled: bool = True):
        self.fenced = tuple(sorted(set(fenced)))
        ours, theirs = socket.socketpair()
        self._control = ours
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        with theirs:
            self._course = tempfile.TemporaryDirectory(prefix="course-")
            sandbox.open_course(Path(self._course.name), self.fenced)
            if walled:
                arguments, environment = sandbox.command(Path(self._course.name), theirs.fileno()), {}
            else:
                arguments = [sys.executable, "-I", "-c", sandbox.START, self._course.name, str(theirs.fileno())]
                scratch = Path(self._course.name, "scratch")
                scratch.mkdir()
                environment = {**sandbox.environment(str(scratch)), "PATH": os.environ.get("PATH", "")}
            self._process = subprocess.Popen(
                arguments, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors
            )
        if self._line(START_SECONDS) != b"ready":
            reason = self.failure()
            self.close()
            raise ZygoteError(reason)

    def start(self, limits: Limits) -> socket.socket:
        """Begin a submission. → the stream on which it is spoken to."""
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
            raise ZygoteError(ended["detail"] or f"no answer from inside ({ended['how']})")

    def failure(self) -> str:
        """The last line that the zygote, or what was to start it, complained with."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a word"

    def close(self) -> None:
        self._control.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._errors.close()
        self._course.cleanup()

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


@functools.cache
def _pool() -> dict[tuple, Any]:
    return {}


def zygote_for(fenced: Iterable[str], walled: bool = True) -> Zygote:
    """This process's zygote for a chapter; started when it is first wanted, or when the last one has died."""
    key = (tuple(sorted(set(fenced))), walled)
    pool = _pool()
    if key not in pool:
        for old in pool.values():
            old.close()
        pool.clear()
        pool[key] = Zygote(key[0], walled)
    return pool[key]


def discard_zygotes() -> None:
    """Close this process's zygotes; the next submission starts a new one."""
    for zygote in _pool().values():
        zygote.close()
    _pool().clear()

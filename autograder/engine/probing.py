"""Which walls stand on this machine. Tried for real: a program behind them must not get out. Trusted side."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from autograder.engine.sandbox import Limits
from autograder.errors import CourseError

FORCED = "COURSE_WALLS"  # in the environment of the trusted side: the only kind to be tried
PROVEN = "COURSE_WALLS_PROVEN"  # the same, for a process of the local pool: known to stand
KINDS = ("bubblewrap", "landlock")
SECONDS = 20
WEAKER = (
    "weaker in: paths that are there can be told from those that are not, the machine's name and its processes' numbers show, scratch is watched and "
    "not fenced off, and sockets do not work at all (docs/sandbox.md)"
)


@dataclass(frozen=True)
class Walls:
    """How student code is shut in on this machine. kind: bubblewrap, landlock or none; why: why it is not a better one, for people."""

    kind: str
    why: str = ""

    def notice(self) -> str:
        """What whoever grades is told once; "" when there is nothing to tell."""
        return f"Students' programs are shut in by Landlock: {self.why}; {WEAKER}." if self.kind == "landlock" else ""


def probe() -> Walls:
    """The best walls that stand here; tried once a process, and again when bubblewrap came or went."""
    return _probe(os.environ.get(FORCED, ""), shutil.which("bwrap"))


def kind() -> str:
    """The kind of walls to be used in this process. `CourseError` says why there are none."""
    if (proven := os.environ.get(PROVEN)) in KINDS:
        return proven
    walls = probe()
    if walls.kind == "none":
        raise CourseError(walls.why)
    return walls.kind


def proven() -> dict[str, str]:
    """For the environment of processes that are started from here: what was found, so that each need not find it again."""
    walls = _found.get((os.environ.get(FORCED, ""), shutil.which("bwrap")))
    return {PROVEN: walls.kind} if walls and walls.kind in KINDS else {}


_found: dict[tuple[str, str | None], Walls] = {}


def _probe(forced: str, bubblewrap: str | None) -> Walls:
    if (forced, bubblewrap) not in _found:
        _found[forced, bubblewrap] = _try_all(forced)
    return _found[forced, bubblewrap]


def _try_all(forced: str) -> Walls:
    if forced and forced not in KINDS:
        raise CourseError(f"{FORCED}={forced}: there are {' and '.join(KINDS)}")
    faults = []
    for kind in (forced,) if forced else KINDS:
        fault = fault_of(kind)
        if not fault:
            return Walls(kind, "; ".join(faults) or (f"{FORCED}={forced} asks for it" if forced else ""))
        faults.append(fault)
    return Walls("none", "; ".join(faults))


def fault_of(kind: str) -> str:
    """Why walls of a kind do not stand here; "" when they do."""
    from autograder.engine.worker import Zygote, ZygoteError

    if kind == "bubblewrap" and not shutil.which("bwrap"):
        return "bubblewrap is not installed"
    name = {"bubblewrap": "bubblewrap", "landlock": "Landlock"}[kind]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outside-")))
        folder.chmod(0o777)  # the walls, and not these bits, are to keep it closed
        file = folder / "file"
        file.write_text("nobody may read this")
        file.chmod(0o666)
        port, abstract = (stack.enter_context(socket.socket(family)) for family in (socket.AF_INET, socket.AF_UNIX))
        port.bind(("127.0.0.1", 0))
        abstract_name = f"course-{secrets.token_hex(8)}"
        abstract.bind("\0" + abstract_name)
        for line in (port, abstract):
            line.listen()
        asked = {"file": str(file), "port": port.getsockname()[1], "name": abstract_name, "process": os.getpid()}
        try:
            found = _ask(stack.enter_context(Zygote((), kind=kind, program="ways_out")), asked)
        except (OSError, ZygoteError, subprocess.SubprocessError, ValueError) as error:
            return f"{name} does not work here: {error}"
    return f"{name} does not hold here: {', '.join(found)}" if found else ""


def _ask(zygote, asked: dict) -> list[str]:
    from autograder.engine.worker import ZygoteError

    with zygote.start(Limits()) as stream:
        stream.settimeout(SECONDS)
        began, answer = time.monotonic(), b""
        try:
            stream.sendall(json.dumps(asked).encode())
            answer = stream.recv(65536)
        except OSError:
            pass
        ended = zygote.end(hung_up=not answer and time.monotonic() - began < SECONDS)
    if not answer:
        raise ZygoteError(zygote.complaint() or ended["detail"] or f"no answer from inside ({ended['how']})")
    return json.loads(answer)

"""One lane of the pool: a process that does one unit of work after another, with a zygote of its own. Trusted side.

    python -P -m autograder.engine.lane DESCRIPTOR POOL

Says None when it is ready, then answers each unit with its result, with a `Fault` when the machinery failed, or with `NoWalls` when student code
cannot be shut in here. Ends when the pool does.
"""

import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Fault:
    """The engine failed at a unit, which may be tried again."""

    why: str


@dataclass(frozen=True)
class NoWalls:
    """No submission has been run, and none can be."""

    why: str


def main(descriptor: int, pool: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever ends the pool ends its lanes, and their zygotes after them
    if os.getppid() != pool:
        return
    from autograder.engine.worker import discard_zygotes

    try:
        _serve(Connection(descriptor))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    finally:
        discard_zygotes()


def _serve(stream: Connection) -> None:
    from autograder.engine.unit import prove_walls, run_unit
    from autograder.engine.worker import ZygoteError

    stream.send(None)
    proved = False
    while True:
        unit = stream.recv()
        try:
            if not proved:
                prove_walls(unit)
            proved = True
            answer = run_unit(unit)
        except Exception as error:
            shut_out = not proved and isinstance(error, OSError | ZygoteError)
            answer = NoWalls(str(error)) if shut_out else Fault(f"{type(error).__name__}: {error}")
        stream.send(answer)


if __name__ == "__main__":
    from autograder.engine import lane  # by its own name, so that its answers are understood elsewhere

    lane.main(int(sys.argv[1]), int(sys.argv[2]))

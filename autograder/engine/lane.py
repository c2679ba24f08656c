"""Work in a process that holds a zygote: a lane of the local pool, or a worker of a cluster. Trusted side.

    python -P -m autograder.engine.lane DESCRIPTOR POOL [PROCESSOR]

A lane says None when it is ready, then answers each unit. It ends when the pool does. On a processor of its own, with the submission that it
speaks to, neither waits for the other to be woken elsewhere.
"""

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autograder.engine.unit import Unit, UnitResult

PR_SET_PDEATHSIG = 1
_turn = threading.Lock()  # a zygote runs one submission at a time; a worker of a cluster may have several threads


@dataclass(frozen=True)
class Fault:
    """The engine failed at a unit, which may be tried again."""

    why: str


@dataclass(frozen=True)
class NoWalls:
    """No submission has been run, and none can be: student code cannot be shut in here."""

    why: str


def work(unit: "Unit") -> "UnitResult | Fault | NoWalls":
    """Do one unit in this process, when those before it are done."""
    from autograder.engine.unit import prove_walls, run_unit
    from autograder.engine.worker import ZygoteError

    with _turn:
        try:
            prove_walls(unit)
        except (OSError, ZygoteError) as error:
            return NoWalls(str(error))
        except Exception as error:
            return Fault(f"{type(error).__name__}: {error}")
        try:
            return run_unit(unit)
        except Exception as error:
            return Fault(f"{type(error).__name__}: {error}")


def main(descriptor: int, pool: int, processor: int | None = None) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever ends the pool ends its lanes, and their zygotes after them
    if os.getppid() != pool:
        return
    if processor is not None:
        with suppress(OSError):  # it is not ours any more
            os.sched_setaffinity(0, {processor})
    from autograder.engine.worker import discard_zygotes

    stream = Connection(descriptor)
    try:
        stream.send(None)
        while True:
            stream.send(work(stream.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    finally:
        discard_zygotes()
        os._exit(0)  # nothing is left to be done but to give back memory, which takes longer


if __name__ == "__main__":
    from autograder.engine import lane  # by its own name, so that its answers are understood elsewhere

    lane.main(*map(int, sys.argv[1:]))

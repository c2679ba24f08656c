"""Does units of work on a Dask cluster: the same units as the local pool, nothing else changed. Trusted side.

Every worker needs the course installed as it is here, and walls that stand. A unit whose worker dies is done again by another.
"""

import itertools
from collections.abc import Generator, Iterable
from typing import Any

from autograder.engine import lane
from autograder.engine.scheduler import NoSandbox
from autograder.engine.unit import Unit, UnitResult, nothing_earned
from autograder.errors import CourseError

ANSWER_SECONDS = 30  # for the cluster to answer at all
RETRIES = 2


def run(units: Iterable[Unit], address: str) -> Generator[UnitResult]:
    """Results as they finish; no more units are with the cluster than keep it busy. Raises `CourseError` when there is no cluster, `NoSandbox`."""
    try:
        from distributed import Client, as_completed  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise CourseError("--dask needs the package distributed: pip install 'large-models-from-scratch[cluster]'") from None
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, ValueError, TypeError, AssertionError) as error:  # the last for an address of no known protocol
        raise CourseError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        waiting, begun, finished = iter(units), {}, as_completed()

        def keep_busy() -> None:
            """Workers come and go while a class is graded."""
            threads: Any = client.nthreads()
            for unit in itertools.islice(waiting, max(2 * sum(threads.values()) - len(begun), 2 - len(begun), 0)):
                future = client.submit(lane.work, unit, pure=True, retries=RETRIES)
                begun[future.key] = unit
                finished.add(future)

        keep_busy()
        for future in finished:
            unit = begun.pop(future.key)
            answer = future.exception() or future.result()
            future.release()
            keep_busy()
            if isinstance(answer, lane.NoWalls):
                raise NoSandbox(answer.why)
            yield answer if isinstance(answer, UnitResult) else nothing_earned(unit, "crashed", f"the cluster failed at it: {_why(answer)}")


def _why(answer: object) -> str:
    return answer.why if isinstance(answer, lane.Fault) else f"{type(answer).__name__}: {answer}"

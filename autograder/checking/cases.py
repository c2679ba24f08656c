"""One case of an exercise: its own verdict, whatever happens inside it. Trusted side."""

import contextlib
import contextvars
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from autograder.checking.limits import TimeUp
from autograder.checking.results import CaseResult
from autograder.errors import CourseError

AFTER_TIMEOUT = 1.0  # seconds that each later case gets once one has run out of time


class Mismatch(Exception):
    """A comparison failed; the message is for the student. `kind` is True when not even the kind of thing was right."""

    def __init__(self, message: str, kind: bool = False):
        super().__init__(message)
        self.kind = kind


class CheckError(CourseError):
    """The check, not the student, did something wrong."""


class StudentError(Exception):
    """The student's code raised. Carries text only: type name, message and where."""

    def __init__(self, kind: str, message: str, where: str = ""):
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind, self.message, self.where = kind, message, where


class NotWritten(Exception):
    """The stub was still in place."""


@dataclass
class Run:
    """What one run of a check collects."""

    seconds: float
    cases: list[CaseResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    deadline: float | None = None  # of the present case; None between cases
    timed_out: bool = False
    last_return: str = ""  # what the last call gave back, in words

    def remaining(self) -> float:
        if self.deadline is None:
            raise CheckError("student code was called outside a case")
        return self.deadline - time.monotonic()

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


current_run: contextvars.ContextVar[Run] = contextvars.ContextVar("current_run")


@contextlib.contextmanager
def case(name: str, hint: str = "", *, side: bool = False, seconds: float = math.inf) -> Iterator[None]:
    """One thing that a right solution does, worth its share of the points.

    name     a sentence that is true of a right solution
    hint     what to tell a student whose solution fails here
    side     also true of answers that are worth nothing, such as None ("leaves its inputs as they were"): earns only beside a case that is not
    seconds  that it may take, where that is less than the exercise allows
    """
    run = current_run.get(None)
    if run is None:
        raise CheckError(f"case {name!r} stands outside an exercise")
    if run.deadline is not None:
        raise CheckError(f"case {name!r} stands inside another case")
    if any(name == earlier.name for earlier in run.cases):
        raise CheckError(f"two cases are called {name!r}")
    started = time.monotonic()
    run.notes, run.last_return = [], ""
    run.deadline = started + min(run.seconds, seconds, AFTER_TIMEOUT if run.timed_out else math.inf)
    outcome, message, shown_hint = "passed", "", ""
    try:
        yield
    except Mismatch as mismatch:
        outcome, message, shown_hint = "failed", str(mismatch), "" if mismatch.kind else hint
    except NotWritten as missing:
        outcome, message = "missing", str(missing)
    except StudentError as error:
        outcome, message, shown_hint = "raised", f"Your code raised {error}{error.where}", hint
    except TimeUp:
        run.timed_out = True
        outcome, message = "timeout", f"No answer within {run.deadline - started:g} s. Is there a loop that never ends?"
    except CheckError:
        raise
    except NameError:  # of the check's own: student code raises StudentError
        outcome, message = "failed", "This case goes on from an earlier one, which did not get that far."
    except Exception as error:  # the reference passes, so what came back is what the check stumbled over
        outcome, message = "failed", f"{run.last_return} The check could not use it ({type(error).__name__}: {error}).".lstrip()
    finally:
        run.deadline = None
    run.cases.append(CaseResult(name, outcome, message, shown_hint, tuple(run.notes), time.monotonic() - started, side))

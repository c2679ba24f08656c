"""A time limit for code that may never return, within one process.

On the main thread of a Unix system a timer signal interrupts any Python code, sleeping included. Elsewhere an exception is
planted in the running thread, which takes effect at its next bytecode. Neither can interrupt a single call into compiled code;
the grading engine kills whole processes for that.

Code that swallows the interruption (`except:` in an endless loop) meets it again at its very next line, by way of a trace function.
Only code in another thread that also keeps every exception it caught escapes that.
"""

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

REPEAT = 0.25  # seconds until code that goes on is interrupted once more

Result = TypeVar("Result")
_present = threading.local()  # .limit: the innermost limit that is in force in this thread


class TimeUp(BaseException):
    """Raised inside code that ran over its limit. Not an Exception, so that `except Exception` lets it through."""

    def __del__(self) -> None:  # while the limit is in force, this means that the code swallowed it
        limit = getattr(_present, "limit", None)
        if limit is not None and time.monotonic() >= limit.deadline:
            limit.insist()


def within(seconds: float, action: Callable[[], Result]) -> Result:
    """What `action` gives; `TimeUp` once `seconds` have passed. Limits may be nested; the outer one, and any other user of the timer, go on."""
    limit = _Limit(seconds, sys._getframe())
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _with_signal(limit, action)
    return _with_thread(limit, action)


class _Limit:
    """A limit in force: from its making until `lift`."""

    def __init__(self, seconds: float, base: FrameType):
        self.seconds, self.deadline, self.in_force = seconds, time.monotonic() + seconds, True
        self._base, self._outer, self._traced_before = base, getattr(_present, "limit", None), sys.gettrace()
        _present.limit = self

    def insist(self) -> None:
        """Interrupt the code at its next line."""
        if not self.in_force:
            return
        sys.settrace(self._trace)
        frame = sys._getframe(1)
        while frame is not None and frame is not self._base:
            frame.f_trace = self._trace
            frame = frame.f_back

    def lift(self) -> None:
        self.in_force = False
        if sys.gettrace() is not self._traced_before:
            sys.settrace(self._traced_before)
        _present.limit = self._outer

    def _trace(self, frame: FrameType, event: str, _argument: Any) -> None:
        if self.in_force and event != "exception" and not _is_ours(frame):  # an exception is still inside the `try` that may swallow it
            raise TimeUp


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename == __file__


def _with_signal(limit: _Limit, action: Callable[[], Result]) -> Result:
    def interrupt(_signum: int, frame: FrameType | None) -> None:
        if limit.in_force and frame is not None and not _is_ours(frame):  # within this file nothing may be left half done
            if time.monotonic() > limit.deadline + REPEAT / 2:
                limit.insist()
            raise TimeUp

    started = time.monotonic()
    handler_before = signal.signal(signal.SIGALRM, interrupt)
    delay_before, repeat_before = signal.setitimer(signal.ITIMER_REAL, max(limit.seconds, 0.001), REPEAT)
    try:
        return action()
    finally:
        limit.lift()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler_before)
        if delay_before:
            remaining = max(delay_before - (time.monotonic() - started), 0.001)
            signal.setitimer(signal.ITIMER_REAL, remaining, repeat_before)


def _with_thread(limit: _Limit, action: Callable[[], Result]) -> Result:
    thread = ctypes.c_ulong(threading.get_ident())
    finished = threading.Event()
    lock = threading.Lock()

    def watch() -> None:
        wait = limit.seconds
        while not finished.wait(wait):
            with lock:
                if not finished.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TimeUp))
            wait = REPEAT

    threading.Thread(target=watch, daemon=True).start()
    stopped = False
    try:
        return action()
    finally:
        while not stopped:
            try:
                limit.lift()
                with lock:
                    finished.set()
                stopped = True
            except TimeUp:  # planted a moment ago, and delivered here: too late to matter
                pass

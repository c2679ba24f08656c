"""A time limit for code that may never return, within one process.

On the main thread of a Unix system a timer signal interrupts any Python code, sleeping included. Elsewhere an exception is
planted in the running thread, which takes effect at its next bytecode. Neither can interrupt a single call into compiled code;
the grading engine kills whole processes for that.
"""

import contextlib
import ctypes
import signal
import threading
import time
from collections.abc import Iterator

REPEAT = 0.25  # seconds: an `except:` in the student's loop may swallow the first interruption, so it is sent again


class TimeUp(BaseException):
    """Raised inside code that ran over its limit. Not an Exception, so that `except Exception` lets it through."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in the body once `seconds` have passed. Limits may be nested; the inner one is restored to the outer."""
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        limit = _signal_limit(seconds)
    else:
        limit = _thread_limit(seconds)
    with limit:
        yield


@contextlib.contextmanager
def _signal_limit(seconds: float) -> Iterator[None]:
    armed = True

    def interrupt(_signum: int, _frame: object) -> None:
        if armed:
            raise TimeUp

    started = time.monotonic()
    handler_before = signal.signal(signal.SIGALRM, interrupt)
    delay_before, repeat_before = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), REPEAT)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler_before)
        if delay_before:
            remaining = max(delay_before - (time.monotonic() - started), 0.001)
            signal.setitimer(signal.ITIMER_REAL, remaining, repeat_before)


@contextlib.contextmanager
def _thread_limit(seconds: float) -> Iterator[None]:
    thread = ctypes.c_ulong(threading.get_ident())
    finished = threading.Event()
    lock = threading.Lock()

    def watch() -> None:
        wait = seconds
        while not finished.wait(wait):
            with lock:
                if not finished.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TimeUp))
            wait = REPEAT

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            finished.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)  # one that has not been delivered yet is withdrawn

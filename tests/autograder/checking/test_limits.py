# ruff: noqa: B012, E722, SIM105  (swallowing everything is what these functions are for)
"""No Python code outlives its limit, and nothing is left behind by the limit."""

import contextlib
import signal
import sys
import threading
import time

import pytest

from autograder.checking.limits import TimeUp, within


def spins():
    while True:
        pass


def sleeps():
    time.sleep(60)


def bare_except():
    while True:
        try:
            time.sleep(60)
        except:
            pass


def busy_bare_except():
    while True:
        try:
            sum(range(100))
        except:
            pass


def base_exception():
    while True:
        try:
            sum(range(100))
        except BaseException:
            continue


def nested_excepts():
    while True:
        try:
            while True:
                try:
                    time.sleep(0.01)
                except BaseException:
                    pass
        except BaseException:
            pass


def suppresses():
    while True:
        with contextlib.suppress(BaseException):
            sum(range(100))


def keeps_the_exception():
    kept = []
    while True:
        try:
            time.sleep(0.01)
        except BaseException as error:
            kept.append(error)


def finally_continues():
    while True:
        try:
            sum(range(100))
        finally:
            continue


def swallows_through_calls():
    def inner():
        try:
            sum(range(100))
        except BaseException:
            pass

    while True:
        try:
            inner()
        except BaseException:
            pass


def retries_by_recursion(depth=0):
    try:
        time.sleep(60)
    except BaseException:
        retries_by_recursion(depth + 1)


STUBBORN = [
    spins, bare_except, busy_bare_except, base_exception, nested_excepts, suppresses, finally_continues, swallows_through_calls,
]  # fmt: skip


def ended(action) -> float:
    """Seconds that it took to end `action` with a limit of 0.2 s."""
    started = time.monotonic()
    with pytest.raises(TimeUp):
        within(0.2, action)
    return time.monotonic() - started


@pytest.mark.parametrize("action", [*STUBBORN, sleeps, keeps_the_exception, retries_by_recursion], ids=lambda action: action.__name__)
def test_code_ends_within_a_second_of_its_limit(action):
    before = signal.getsignal(signal.SIGALRM), sys.gettrace()
    assert 0.19 < ended(action) < 1.2
    assert (signal.getsignal(signal.SIGALRM), sys.gettrace()) == before


@pytest.mark.parametrize("action", [action for action in STUBBORN if action is not bare_except], ids=lambda action: action.__name__)
def test_code_in_another_thread_ends_within_a_second_of_its_limit(action):
    took = []
    thread = threading.Thread(target=lambda: took.append(ended(action)), daemon=True)
    thread.start()
    thread.join(10)
    assert took and took[0] < 1.5


def test_what_the_action_gives_comes_back_and_nothing_is_raised_later():
    assert within(0.1, lambda: 42) == 42
    seen = []
    thread = threading.Thread(target=lambda: seen.extend([within(0.1, lambda: 42), time.sleep(0.5)]))
    thread.start()
    time.sleep(0.5)
    thread.join()
    assert seen == [42, None]


def test_an_inner_limit_gives_the_outer_one_back():
    started = time.monotonic()

    def outer():
        with pytest.raises(TimeUp):
            within(0.1, sleeps)
        for _ in range(50):
            within(5, lambda: None)
        time.sleep(0.1)  # not interrupted by what is left of the inner limit
        assert time.monotonic() - started > 0.19
        sleeps()

    with pytest.raises(TimeUp):
        within(0.5, outer)
    assert 0.49 < time.monotonic() - started < 1.5


def test_an_outer_limit_that_is_shorter_ends_the_inner_code_too():
    started = time.monotonic()
    with pytest.raises(TimeUp):
        within(0.2, lambda: within(0.4, sleeps) or sleeps())
    assert time.monotonic() - started < 1.5


def test_another_user_of_the_timer_gets_its_signal_after_the_limit():
    arrived = []
    delay_before, repeat_before = signal.getitimer(signal.ITIMER_REAL)  # pytest-timeout's
    handler_before = signal.signal(signal.SIGALRM, lambda *_: arrived.append(time.monotonic()))
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(TimeUp):
            within(0.1, sleeps)
        while not arrived and time.monotonic() - started < 2:
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGALRM, handler_before)
        signal.setitimer(signal.ITIMER_REAL, delay_before, repeat_before)
    assert arrived and 0.29 < arrived[0] - started < 1


def test_a_trace_function_such_as_coverages_comes_back():
    def trace(_frame, _event, _argument):
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(TimeUp):
            within(0.1, nested_excepts)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


def test_cleaning_up_in_time_is_left_to_finish():
    cleaned = []

    def careful():
        try:
            spins()
        finally:
            time.sleep(0.05)
            cleaned.append(True)

    ended(careful)
    assert cleaned == [True]

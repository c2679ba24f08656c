"""The pool: every unit ends once, whatever happens to the processes that do it, and nothing outlives it."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from processes import is_alive, words

from autograder.engine import scheduler

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("engine")]


def named(unit, *students):
    return [replace(unit, student=student) for student in students]


def slow(unit, seconds):
    """The same submission with a first cell that takes its time."""
    notebook = json.loads(unit.notebook)
    notebook["cells"].insert(0, {"cell_type": "code", "metadata": {}, "source": f"import time\ntime.sleep({seconds})"})
    return replace(unit, notebook=json.dumps(notebook).encode(), limits=replace(unit.limits, cell=max(2 * seconds, 2), submission=120))


def lanes():
    """The lanes of this process, and whether each has a submission in hand."""
    found = [process for process in psutil.Process().children() if "autograder.engine.lane" in words(process)]
    return {process: len(process.children(recursive=True)) > 3 for process in found}


def gone(processes, seconds=10):
    _gone, alive = psutil.wait_procs(processes, seconds)
    return [process for process in alive if is_alive(process)] == []


def test_every_unit_ends_once_and_is_taken_when_its_turn_comes(honest_unit):
    taken, finished, ahead = [], [], []

    def units():
        for unit in named(honest_unit, "ada", "ben", "eva", "ida", "leo"):
            taken.append(unit.student)
            ahead.append(len(taken) - len(finished))
            yield unit

    for result in scheduler.run(units(), jobs=1):
        finished.append((result.student, result.status, result.score))
    assert finished == [(name, "graded", 8.0) for name in ("ada", "ben", "eva", "ida", "leo")]
    assert max(ahead) <= 2, "one that runs, and one whose result is being written down"
    assert lanes() == {}


def test_a_lane_that_is_killed_is_replaced_and_its_unit_tried_again(honest_unit):
    killed = []

    def kill_one():
        while not killed:
            for process in [process for process, busy in lanes().items() if busy][:1]:
                process.kill()
                killed.append(process.pid)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    units = named(slow(honest_unit, 1.5), "ada", "ben")
    outcomes = sorted((result.student, result.status, result.score) for result in scheduler.run(units, jobs=2))
    killer.join()
    assert len(killed) == 1
    assert outcomes == [("ada", "graded", 8.0), ("ben", "graded", 8.0)]


def test_a_unit_at_which_the_engine_fails_twice_is_given_up_and_the_others_go_on(honest_unit):
    units = [*named(honest_unit, "ada"), replace(honest_unit, student="odd", chapter="no_such_chapter"), *named(honest_unit, "ben")]
    results = {result.student: result for result in scheduler.run(units, jobs=1)}
    assert (results["odd"].status, results["odd"].score, results["odd"].max_score) == ("crashed", 0, 8)
    assert "failed 2 times" in results["odd"].reason and "no_such_chapter" in results["odd"].reason
    assert [results[name].score for name in ("ada", "ben")] == [8, 8]


def test_whoever_stops_listening_ends_every_process(honest_unit):
    units = named(slow(honest_unit, 60), "ada", "ben")
    results = scheduler.run([replace(units[0], notebook=b"none", student="quick"), *units], jobs=2)
    assert next(results).status == "unreadable"
    deadline = time.monotonic() + 60
    while not all(lanes().values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    family = [member for lane in lanes() for member in (lane, *lane.children(recursive=True))]
    assert sum(process.name() == "bwrap" for process in family) >= 2
    results.close()
    assert gone(family)


PROGRAM = """
import pickle, sys
from autograder.engine import scheduler
for result in scheduler.run([pickle.load(open(sys.argv[1], "rb"))], jobs=1):
    print(result.status)
"""


def test_a_pool_that_is_killed_takes_its_lanes_and_their_submissions_with_it(honest_unit, tmp_path):
    (tmp_path / "unit").write_bytes(pickle.dumps(slow(honest_unit, 60)))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "unit")])
    whole = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while sum("autograder.engine.zygote" in words(member) for member in whole.children(recursive=True)) < 4:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    family = whole.children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert gone(family)


def test_a_bubblewrap_that_does_not_work_is_told_and_nothing_is_run(honest_unit, tmp_path, monkeypatch):
    fake: Path = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("COURSE_WALLS", "bubblewrap")
    with pytest.raises(scheduler.NoSandbox, match="uid map: Permission denied"):
        list(scheduler.run([honest_unit], jobs=1))
    assert lanes() == {}

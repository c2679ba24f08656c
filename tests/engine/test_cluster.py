"""The same units on a Dask cluster, whose workers may die."""

import json
import sys
import time
from dataclasses import replace

import psutil
import pytest

from autograder.engine import cluster, lane
from autograder.engine.scheduler import NoSandbox
from autograder.engine.unit import nothing_earned
from autograder.errors import CourseError

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("engine")]


@pytest.fixture
def threads():
    """A cluster within this process, of one worker at first."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as local:
        yield local


def named(unit, count):
    return [replace(unit, student=f"s{number}") for number in range(count)]


def slow(unit, seconds):
    """The same submission with a first cell that takes its time."""
    notebook = json.loads(unit.notebook)
    notebook["cells"].insert(0, {"cell_type": "code", "metadata": {}, "source": f"import time\ntime.sleep({seconds})"})
    return replace(unit, notebook=json.dumps(notebook).encode(), limits=replace(unit.limits, cell=10, submission=120))


def test_a_missing_package_is_told(honest_unit, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CourseError, match=r"\[cluster\]"):
        list(cluster.run([honest_unit], "tcp://127.0.0.1:1"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tls://127.0.0.1:1", "nowhere", "foo://x:1"])
def test_a_missing_cluster_is_told(honest_unit, monkeypatch, address):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    with pytest.raises(CourseError, match=f"no Dask scheduler answers at {address}"):
        list(cluster.run([honest_unit], address))


def test_no_more_units_are_taken_than_keep_the_workers_busy_and_workers_may_join(honest_unit, monkeypatch, threads):
    monkeypatch.setattr(lane, "work", lambda unit: nothing_earned(unit, "unreadable", "for a test"))
    taken, finished, ahead = [], [], []

    def units():
        for unit in named(honest_unit, 40):
            taken.append(unit.student)
            ahead.append(len(taken) - len(finished))
            yield unit

    for result in cluster.run(units(), threads.scheduler_address):
        finished.append(result.student)
        if len(finished) == 10:
            alone = max(ahead)
            threads.scale(4)
            threads.sync(threads._correct_state)
    assert sorted(finished) == sorted(taken) == sorted(f"s{number}" for number in range(40))
    assert alone <= 3 and 7 <= max(ahead) <= 9


def test_what_a_worker_cannot_do_ends_as_a_failure_of_the_engine_and_a_worker_without_walls_ends_all(honest_unit, monkeypatch, threads):
    def work(unit):
        if unit.student == "s1":
            raise OSError("no space left")
        return lane.Fault("odd") if unit.student == "s2" else nothing_earned(unit, "unreadable", "for a test")

    monkeypatch.setattr(lane, "work", work)
    results = {result.student: result for result in cluster.run(named(honest_unit, 4), threads.scheduler_address)}
    assert {name: (result.status, result.score) for name, result in results.items()} == {
        "s0": ("unreadable", 0),
        "s1": ("crashed", 0),
        "s2": ("crashed", 0),
        "s3": ("unreadable", 0),
    }
    assert "no space left" in results["s1"].reason and "odd" in results["s2"].reason and results["s1"].executed == ""
    monkeypatch.setattr(lane, "work", lambda _unit: lane.NoWalls("no user namespaces"))
    with pytest.raises(NoSandbox, match="no user namespaces"):
        list(cluster.run(named(honest_unit, 2), threads.scheduler_address))


def below(pid, name):
    with psutil.Process(pid).oneshot():
        return [process for process in psutil.Process(pid).children(recursive=True) if process.name() == name]


def interrupted(local):
    """How often a worker died with a unit in hand, of units that are still to be done."""
    return sum(task.suspicious for task in list(local.scheduler.tasks.values()))


@pytest.mark.slow
def test_a_class_is_graded_although_workers_are_killed_in_the_middle_of_a_submission(honest_unit):
    """Each of two workers once; as many units are interrupted, and each unit has one result, which is the right one."""
    distributed = pytest.importorskip("distributed")
    units = named(slow(honest_unit, 1.5), 8)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local:
        victims = [worker.pid for worker in local.workers.values()]
        results, walls, deaths = [], [], []
        for result in cluster.run(units, local.scheduler_address):
            results.append((result.student, result.status, result.score))
            if len(results) in (1, 4):
                victim = psutil.Process(victims.pop())
                deadline = time.monotonic() + 60
                while sum("autograder.engine.zygote" in " ".join(member.cmdline()) for member in victim.children(recursive=True)) < 4:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                walls += below(victim.pid, "bwrap")
                before = interrupted(local)
                victim.kill()
                assert psutil.wait_procs([victim], 20)[1] == []
                while interrupted(local) == before:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                deaths.append((victim.pid, len(results)))
    assert len(deaths) == 2 and deaths[-1][1] < len(units)
    assert sorted(results) == [(unit.student, "graded", 8.0) for unit in units]
    assert len(walls) >= 2 and psutil.wait_procs(walls, 20)[1] == [], "what ran below a worker died with it"

"""The same units on a Dask cluster, whose workers may die."""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
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


ALONE = """
import sys
from autograder.engine import cluster
cluster.ANSWER_SECONDS = 1
try:
    list(cluster.run([], sys.argv[1]))
except cluster.CourseError as error:
    print(error, flush=True)
"""


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tls://127.0.0.1:1", "nowhere"])
def test_a_missing_cluster_is_told(address):
    """In a process of its own: a client that never was a client haunts the next one."""
    answer = subprocess.run([sys.executable, "-c", ALONE, address], capture_output=True, text=True, timeout=120)
    assert answer.stdout.startswith(f"no Dask scheduler answers at {address}: ")


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


def interrupted(local):
    """How often workers died with a unit in hand, of the units that are still with the cluster."""
    return sum(task.suspicious for task in list(local.scheduler.tasks.values()))


def kill_amid_units(local, victim):
    """Kill a worker, and wait until the scheduler has seen that units were lost with it. Its nanny reaps it, and starts another."""
    before, deadline = interrupted(local), time.monotonic() + 60
    victim.kill()
    while interrupted(local) == before:
        assert time.monotonic() < deadline, "the worker had nothing to do"
        time.sleep(0.02)
    assert not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def local():
    """cluster(count) → so many workers in processes of their own, which are given time to start anew on a busy machine."""
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    with ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}))
        yield lambda count: stack.enter_context(distributed.LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None))


@pytest.mark.slow
def test_every_unit_has_one_result_although_each_worker_is_killed(honest_unit, monkeypatch, local):
    def work(unit):
        time.sleep(0.3)
        return nothing_earned(unit, "unreadable", "for a test")

    monkeypatch.setattr(lane, "work", work)
    units, results, deaths = named(honest_unit, 20), [], []
    workers = local(2)
    victims = [psutil.Process(worker.pid) for worker in workers.workers.values()]
    for result in cluster.run(units, workers.scheduler_address):
        results.append((result.student, result.status))
        if len(results) in (2, 8):
            kill_amid_units(workers, victims.pop())
            deaths.append(len(results))
    assert deaths == [2, 8]
    assert sorted(results) == sorted((unit.student, "unreadable") for unit in units)


@pytest.mark.slow
def test_a_class_is_graded_although_a_worker_is_killed_in_the_middle_of_a_submission(honest_unit, local):
    """Its walls fall with it, and each unit has one result, which is the right one."""
    units, results, walls = named(slow(honest_unit, 1.5), 5), [], []
    workers = local(2)
    victims = [psutil.Process(worker.pid) for worker in workers.workers.values()]
    for result in cluster.run(units, workers.scheduler_address):
        results.append((result.student, result.status, result.score))
        deadline = time.monotonic() + 120
        while not walls:
            assert time.monotonic() < deadline
            for victim in victims:
                family = victim.children(recursive=True)
                if sum("autograder.engine.zygote" in " ".join(command(member)) for member in family) >= 4:  # a submission runs
                    walls = family
                    kill_amid_units(workers, victim)
                    break
            time.sleep(0.02)
    assert sorted(results) == [(unit.student, "graded", 8.0) for unit in units]
    assert psutil.wait_procs(walls, 20)[1] == []


def command(process):
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []

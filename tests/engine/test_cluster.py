"""The same units on a Dask cluster, whose workers may die."""

import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest

from autograder.engine import cluster
from autograder.errors import CourseError

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("engine")]


def test_a_missing_package_and_a_missing_cluster_are_told(honest_unit, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CourseError, match=r"\[cluster\]"):
        list(cluster.run([honest_unit], "tcp://127.0.0.1:1"))


@pytest.mark.slow
def test_a_class_is_graded_although_a_worker_is_killed(honest_unit):
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    units = [replace(honest_unit, student=f"s{number}") for number in range(8)]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as local:
        workers = [worker.pid for worker in local.workers.values()]
        results, killed = [], []

        def kill_one():
            while not killed:
                for process in psutil.Process().children(recursive=True):
                    if process.name() == "bwrap" and (owner := process.parent()) is not None and owner.pid in workers:
                        owner.kill()
                        killed.append(owner.pid)
                        return
                time.sleep(0.1)

        killer = threading.Thread(target=kill_one, daemon=True)
        killer.start()
        for result in cluster.run(units, local.scheduler_address):
            results.append((result.student, result.status, result.score))
    assert len(killed) == 1
    assert sorted(results) == [(unit.student, "graded", 8.0) for unit in units]

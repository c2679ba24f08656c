"""For all tests: what a machine lacks skips the tests that need it, and the summary says so by name. The reader's own progress is never touched."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import settings


def _no_browser() -> str:
    from autograder.doctor import find_browser

    return "" if find_browser() else "chromium is not installed"


def _no_sandbox() -> str:
    from autograder.doctor import bubblewrap_fault

    return bubblewrap_fault()


def _no_landlock() -> str:
    from autograder.engine import landlock
    from autograder.engine.keeper import libc

    try:
        return "" if landlock.abi(libc) else "Landlock is not there"
    except OSError as error:
        return str(error)


def _no_gpu() -> str:
    import torch

    return "" if torch.cuda.is_available() else "there is no CUDA device"


@dataclass(frozen=True)
class Need:
    """fault: why tests of this mark can't run here, empty when they can; mend: what to install."""

    fault: Callable[[], str]
    mend: str


NEEDS = {
    "browser": Need(_no_browser, "apt-get install chromium"),
    "sandbox": Need(_no_sandbox, "apt-get install bubblewrap, and allow user namespaces"),
    "landlock": Need(_no_landlock, "a kernel with Landlock switched on, from 5.13"),
    "gpu": Need(_no_gpu, "a GPU, and a CUDA build of torch"),
}

# Two test processes share two processors with whatever else runs: how long one example took says nothing.
settings.register_profile("course", settings.default, deadline=None)
settings.load_profile("course")


def pytest_configure(config: pytest.Config) -> None:
    elsewhere = tempfile.TemporaryDirectory(prefix="course-tests-")
    config.add_cleanup(elsewhere.cleanup)
    os.environ["XDG_DATA_HOME"] = elsewhere.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for mark, need in NEEDS.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        fault = need.fault() if marked else ""
        for item in marked if fault else []:
            item.add_marker(pytest.mark.skip(reason=f"{mark}: {fault}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        if reason.partition(":")[0] in NEEDS:
            left_out[reason].append(report.nodeid)
    if left_out:
        terminalreporter.section("left out, for want of a tool")
    for reason, names in sorted(left_out.items()):
        mark, _, fault = reason.partition(": ")
        terminalreporter.write_line(f"{fault}: {len(names)} left out. Wanted: {NEEDS[mark].mend}")
        for name in sorted(names):
            terminalreporter.write_line(f"    {name}")

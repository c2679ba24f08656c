"""A tool that is missing skips exactly the tests that need it, and the summary names the tool, what to install, and each test."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

@pytest.mark.browser
def test_with_a_page(): pass

@pytest.mark.sandbox
def test_locked_in(): pass

@pytest.mark.skip(reason="for a reason of its own")
def test_skipped_by_hand(): pass

def test_plain(): pass
"""


def run(folder: Path, path: str, *options: str) -> str:
    """Run TESTS in `folder` under the project's conftest.py, with `path` as the places where programs are found."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_it.py").write_text(TESTS)
    marks = ["-o", "markers=browser\nsandbox\ngpu"]
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(folder), *marks, *options, str(folder)]
    return subprocess.run(command, cwd=folder, env={"PATH": path, "HOME": str(folder)}, capture_output=True, text=True, timeout=120).stdout


def test_without_tools_their_tests_are_left_out_by_name_and_the_rest_run_also_in_two_processes(tmp_path):
    said = run(tmp_path, str(tmp_path), "-n", "2")
    assert "chromium is not installed: 1 left out. Wanted: apt-get install chromium" in said
    assert "bubblewrap is not installed: 1 left out. Wanted: apt-get install bubblewrap" in said
    listed = {line.strip().rpartition("::")[2] for line in said.splitlines() if line.startswith("    ")}
    assert listed == {"test_with_a_page", "test_locked_in"}
    assert said.splitlines()[-1].startswith("1 passed, 3 skipped")


def test_with_its_tools_nothing_is_left_out_and_nothing_is_said(tmp_path):
    for name in ("chromium", "bwrap"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    said = run(tmp_path, f"{tmp_path}:/usr/bin:/bin")
    assert "left out" not in said
    assert said.splitlines()[-1].startswith("3 passed, 1 skipped")

"""Calls nbgrader's own commands, in a process of their own, with nothing on the terminal."""

import os
import re
import subprocess
import sys
from pathlib import Path

from autograder.errors import CourseError


def quiet_environment(scratch: Path) -> dict[str, str]:
    """What a grading process adds to its environment: one thread, no progress kept, none of the person's Jupyter settings."""
    folders = {name: str(scratch / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])  # nbgrader calls `alembic` by name
    return folders | {"PATH": path, "COURSE_PROGRESS": "off", "COURSE_SIZE": "small", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}


def nbgrader(folder: Path, *arguments: str, log: Path, scratch: Path) -> None:
    """Run `nbgrader ARGUMENTS` in a class folder. Raises `CourseError` that names the log when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | quiet_environment(scratch)
    with log.open("ab") as file:
        finished = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if finished.returncode:
        raise CourseError(f"`nbgrader {' '.join(arguments)}` failed in {folder}: {_reason(log.read_text(encoding='utf-8', errors='replace'))}")


def _reason(said: str) -> str:
    """The line of a log that tells most: the last exception, else the last line."""
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception)\b", line)), lines[-1])[:300]

"""Grades one submission with stock nbgrader's Autograde, in a process of its own. The student's code runs one process further down, in the kernel.

The process is forked from a server that has imported nbgrader already, which saves a few seconds each. It answers with a small JSON file.
"""

import json
import os
import traceback
from pathlib import Path
from typing import Any

import nbformat
from jsonschema import ValidationError
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbgrader.apps.autogradeapp import AutogradeApp
from nbgrader.converters import Autograde
from nbgrader.nbgraderformat import SchemaTooNewError, SchemaTooOldError

from autograder.gradebook import stock
from autograder.gradebook.nbgrader_steps import NO_VERDICT
from autograder.gradebook.submitted import Unreadable, notebook_bytes

TIMEOUT = "CellTimeoutError"  # as nbgrader writes it into a cell that ran too long


class OneSubmission(Autograde):
    """Autograde that tells why it failed, where nbgrader only logs it."""

    failure: BaseException | None = None

    def convert_single_notebook(self, notebook_filename: str) -> None:
        try:
            super().convert_single_notebook(notebook_filename)
        except BaseException as error:
            self.failure = error
            raise


def main(folder: str, assignment: str, student: str, log: str, scratch: str, answer: str, environment: dict[str, str]) -> None:
    """Grade submitted/STUDENT/ASSIGNMENT of the class in `folder` and write {"status", "reason"} into the file `answer`.

    log          what nbgrader has to say goes there
    scratch      a folder that is removed afterwards
    environment  added to the variables that this process has
    """
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, descriptor), (2, descriptor)):
        os.dup2(source, target)
    os.environ.update(environment | stock.quiet_environment(Path(scratch)))
    for name in ("jupyter_config_dir", "jupyter_data_dir", "jupyter_runtime_dir", "ipythondir"):
        (Path(scratch) / name).mkdir(mode=0o700, exist_ok=True)
    os.chdir(folder)
    try:
        status, reason = _grade(Path(folder), assignment, student, scratch)
    except Unreadable as error:
        status, reason = "unreadable", str(error)
    except BaseException as error:
        traceback.print_exc()
        status, reason = "crashed", f"{type(error).__name__}: {error}"
    plain = "".join(letter if letter.isprintable() else " " for letter in reason[:500])  # part of it is a stranger's text
    Path(answer).write_text(json.dumps({"status": status, "reason": plain}), encoding="utf-8")


def _grade(folder: Path, assignment: str, student: str, scratch: str) -> tuple[str, str]:
    readable(folder / "submitted" / student / assignment, assignment)
    app: Any = AutogradeApp.instance()
    database = f"sqlite:///{folder / 'gradebook.db'}?timeout=60"  # another submission may be writing
    app.initialize([f"--assignment={assignment}", f"--student={student}", "--force", f"--CourseDirectory.db_url={database}"])
    place = ["the first cell"]

    def remember(cell: Any, cell_index: int) -> None:
        place[0] = name_of(cell, cell_index)

    config = app.config
    config.Execute.on_cell_start = remember
    config.Execute.shutdown_kernel = "immediate"  # nothing in it is wanted afterwards
    if os.name == "posix":  # files in place of ports, so that two kernels started at once never want the same one
        config.KernelManager.transport, config.KernelManager.ip = "ipc", f"{scratch}/kernel"
    converter = OneSubmission(coursedir=app.coursedir, parent=app, config=config)
    try:
        converter.start()
    except BaseException as error:
        return _failure(converter.failure or error, place[0])
    return graded_reason(folder / "autograded" / student / assignment / f"{assignment}.ipynb")


def readable(folder: Path, assignment: str) -> None:
    """Raises `Unreadable` unless the folder holds a notebook of that name that nbgrader can open."""
    content, name = notebook_bytes(folder, assignment), f"{assignment}.ipynb"
    try:
        notebook = nbformat.reads(content.decode("utf-8"), as_version=4)
        nbformat.validate(notebook)
    except UnicodeDecodeError as error:
        raise Unreadable(f"{name} cannot be read: {error}") from None
    except Exception as error:  # whatever a stranger's JSON makes nbformat stumble over
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Unreadable(f"{name} is no notebook: {lines[0][:200]}") from None


def _failure(error: BaseException, place: str) -> tuple[str, str]:
    kind = type(error).__name__
    if isinstance(error, DeadKernelError):
        return "crashed", f"the kernel died in {place}"
    if isinstance(error, CellTimeoutError):
        return "timeout", f"{place} ran out of time and could not be interrupted"
    if isinstance(error, ValidationError | SchemaTooOldError | SchemaTooNewError):
        return "unreadable", f"nbgrader cannot use the notebook's metadata ({kind})"
    lines = str(error).strip().splitlines() or [""]
    return "crashed", f"nbgrader stopped at {place} ({kind}: {lines[0][:200]})"


def graded_reason(path: Path) -> tuple[str, str]:
    """The status of a submission that was graded to its end, and what there is to say about it, from its graded notebook."""
    slow, silent, raised = [], [], []
    for place, cell in enumerate(nbformat.read(path, as_version=4).cells):
        place_name = name_of(cell, place)
        names = {output.ename for output in cell.get("outputs", []) if output.output_type == "error"}
        for name, places in ((TIMEOUT, slow), (NO_VERDICT, silent)):
            if name in names:
                places.append(place_name)
        names -= {TIMEOUT, NO_VERDICT, "NotImplementedError"}
        if names and place_name not in slow and cell.metadata.get("nbgrader", {}).get("solution"):
            raised.append(f"{place_name} ({min(names)[:40]})")
    said = []
    for text, places in (("no verdict was reached in", silent), ("ran out of time:", slow), ("raised:", raised)):
        if places:
            said.append(f"{text} {', '.join(places[:3])}" + (f" and {len(places) - 3} more" if len(places) > 3 else ""))
    return ("tampered" if silent else "graded"), "; ".join(said)


def name_of(cell: Any, place: int) -> str:
    """What a reason calls a cell: its grade_id where it has one, else its number, from 1."""
    name = cell.metadata.get("nbgrader", {}).get("grade_id")
    return f"cell {name}" if name else f"cell number {place + 1}"

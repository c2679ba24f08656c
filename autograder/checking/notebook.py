"""Runs a chapter's notebook in a kernel of its own and collects what its checks found. The notebook on disk is only read.

For learners: the results come from the process that ran the notebook, so nobody but its owner should rely on them. Grading goes through the engine.
"""

import asyncio
import json
import subprocess
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from rich.console import Console
from rich.text import Text

from autograder.checking import predict, render
from autograder.checking.check import MIMETYPE
from autograder.checking.exercise import Exercise, load_chapter
from autograder.checking.results import ExerciseResult, result_from_dict
from autograder.errors import CourseError
from autograder.release.chapters import CHECK, REVEAL

GRACE = 10  # seconds that an interrupted cell has to stop; a kernel that takes longer is given up
SHOWN_FAULTS = 10  # cells listed on a terminal; --json lists all


@dataclass(frozen=True)
class Fault:
    """A cell that did not run to its end. `cell` counts the code cells from 1, `begins` is its first line."""

    cell: int
    begins: str
    what: str

    def __str__(self) -> str:
        return f"code cell {self.cell} ({self.begins}) {self.what}"


@dataclass(frozen=True)
class NotReached:
    """An exercise whose check gave no result, and why."""

    exercise: str
    points: float
    reason: str


@dataclass(frozen=True)
class Predicted:
    """A prediction beside its outcome; both are empty when the cell that reveals it gave none."""

    prediction: str
    state: Literal["made", "not made", "not reached"]
    guess: str = ""
    truth: str = ""


@dataclass(frozen=True)
class NotebookReport:
    """What one run of a notebook found. Exercises stand in the order of the notebook."""

    notebook: str
    chapter: str
    results: tuple[ExerciseResult, ...]
    not_reached: tuple[NotReached, ...]
    predictions: tuple[Predicted, ...]
    faults: tuple[Fault, ...]
    seconds: float

    @property
    def score(self) -> float:
        return round(sum(result.score for result in self.results), 2)

    @property
    def points(self) -> float:
        """Points of all exercises, reached or not."""
        return sum(item.points for item in (*self.results, *self.not_reached))

    @property
    def solved(self) -> bool:
        """Every exercise of the chapter is solved. Predictions do not count."""
        return not self.not_reached and all(result.solved for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        return {
            "notebook": self.notebook,
            "chapter": self.chapter,
            "score": self.score,
            "points": self.points,
            "solved": self.solved,
            "exercises": [result.as_dict() for result in self.results],
            "not_reached": [asdict(item) for item in self.not_reached],
            "predictions": [asdict(item) for item in self.predictions],
            "faults": [asdict(fault) for fault in self.faults],
            "seconds": round(self.seconds, 1),
        }


def check_notebook(path: Path, *, seconds: int = 120, train: bool = False) -> NotebookReport:
    """Run every cell of a chapter's notebook and collect the results of its checks.

    seconds  longest time for one cell
    train    also run the cells that train for more than a few seconds, and the interactive figures

    Nothing in the notebook raises: what went wrong there is in the report. `CourseError` when the file is no chapter or no kernel starts.
    """
    if seconds < 1:
        raise CourseError(f"--seconds {seconds}: a cell needs 1 second or more")
    node = _read(path)
    chapter = _chapter_of(path, node)
    try:
        exercises = load_chapter(chapter.partition("_")[2])
    except KeyError as error:
        raise CourseError(f"{path} says that it is chapter {chapter!r}, but there is {error.args[0]}") from None
    started = time.monotonic()
    with Console(stderr=True).status("Starting a kernel …") as status:
        run = _Run(node, seconds, train, status.update)
        asyncio.run(run.to_its_end(path.resolve().parent))
    return run.report(str(path), chapter, exercises, time.monotonic() - started)


def show(report: NotebookReport) -> None:
    """Every exercise's table on the terminal, one line where nothing is written yet; what was not reached; the totals."""
    console = Console(highlight=False, soft_wrap=True)
    for result in report.results:
        head, *cases = render.as_text(result).splitlines()
        if result.status == "not written":  # every case says the same
            cases = [f"  {message}" for message in dict.fromkeys(case.message for case in result.cases)]
        console.print(Text.assemble((head, "bold"), *(f"\n{line}" for line in cases)))
    for item in report.not_reached:
        console.print(Text.assemble((f"{item.exercise}: not reached, 0 of {item.points:g} points.", "bold"), f"\n  {item.reason}"))
    if report.faults:
        console.print(Text("Cells that did not run to their end:", "bold"))
        for fault in report.faults[:SHOWN_FAULTS]:
            console.print(Text(f"  {fault}"))
        if len(report.faults) > SHOWN_FAULTS:
            console.print(f"  and {len(report.faults) - SHOWN_FAULTS} more (--json lists all)")
    solved, exercises = sum(result.solved for result in report.results), len(report.results) + len(report.not_reached)
    total = f"{report.chapter}: {solved} of {exercises} exercises solved, {report.score:g} of {report.points:g} points"
    if report.predictions:
        total += f", {sum(item.state == 'made' for item in report.predictions)} of {len(report.predictions)} predictions made"
    console.print(Text(f"{total}, in {report.seconds:.0f} s.", "bold"))


class _Client(NotebookClient):
    """Keeps what checks and predictions show and nothing else: a cell that prints without end must not fill the memory."""

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int) -> NotebookNode | None:
        shown = msg["content"].get("data") or {}
        if MIMETYPE in shown or predict.MIMETYPE in shown:
            return super().output(outs, msg, display_id, cell_index)
        return None


class _Run:
    """One run of a notebook held in memory: what each cell left behind, and which cells did not end well."""

    def __init__(self, node: NotebookNode, seconds: int, train: bool, tell: Callable[[str], None]):
        self._code = [cell for cell in node.cells if cell.cell_type == "code"]
        for cell in self._code:
            cell.outputs = []
            if not train and "figure" in cell.metadata.get("tags", []):  # it may show what training has made
                cell.metadata["tags"] = [*cell.metadata["tags"], "train"]
        self._numbers = {id(cell): number for number, cell in enumerate(self._code, 1)}
        self._node, self._train, self._tell = node, train, tell
        self.faults: dict[int, Fault] = {}  # by number of the code cell
        self._ended_by: Fault | None = None  # after this one nothing ran
        late = {"ename": "", "evalue": f"took longer than {seconds} s", "traceback": []}
        self._client_options = {
            "timeout": seconds,
            "interrupt_on_timeout": True,
            "error_on_timeout": late,
            "iopub_timeout": GRACE,
            "raise_on_iopub_timeout": True,
            "allow_errors": True,
            "skip_cells_with_tag": "skip-execution" if train else "train",
            "on_cell_error": self._note_error,
        }

    async def to_its_end(self, folder: Path) -> None:
        """Run the cells in `folder`, in a kernel of this interpreter whatever other kernels are installed, and end the kernel."""
        manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        client = _Client(self._node, km=manager, **self._client_options)
        client.log.setLevel("CRITICAL")  # what it would log is in the report
        try:
            try:
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # the cells' own output comes as messages
                await manager.start_kernel(extra_arguments=["--HistoryManager.hist_file=:memory:"], cwd=str(folder), **quiet)
                await client.async_start_new_kernel_client()
            except (RuntimeError, OSError) as error:
                raise CourseError(f"no Python kernel could be started ({error}); `course doctor` says why") from None
            for index, cell in enumerate(self._node.cells):
                if cell.cell_type == "code" and not await self._one(client, cell, index):
                    break
        finally:
            if client.kc is not None:
                client.kc.stop_channels()
            if manager.has_kernel:
                await manager.shutdown_kernel(now=True)

    async def _one(self, client: NotebookClient, cell: NotebookNode, index: int) -> bool:
        """Run one cell. False when the kernel is of no more use."""
        self._tell(f"code cell {self._numbers[id(cell)]} of {len(self._code)}: {_begins(cell)}")
        try:
            await client.async_execute_cell(cell, index)
        except DeadKernelError:
            task = asyncio.current_task()
            if task and task.cancelling():  # Ctrl-C: the client takes any cancellation for a dead kernel
                raise asyncio.CancelledError from None
            self._ended_by = self._note(cell, "ended the kernel (out of memory is the usual reason)")
        except CellTimeoutError:
            self._ended_by = self._note(cell, "took too long and could not be interrupted")
        return self._ended_by is None

    def _note(self, cell: NotebookNode, what: str) -> Fault:
        number = self._numbers[id(cell)]
        self.faults[number] = Fault(number, _begins(cell), what)
        return self.faults[number]

    def _note_error(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
        if "raises-exception" in cell.metadata.get("tags", []):
            return
        content = execute_reply["content"]
        message = _clip(content["evalue"].strip().partition("\n")[0], 120)
        if not content["ename"]:  # the time limit's
            self._note(cell, message)
        elif content["ename"] == "NotImplementedError" and not message:
            self._note(cell, "needs something that is not written yet")
        else:
            self._note(cell, f"raised {content['ename']}: {message}" if message else f"raised {content['ename']}")

    def report(self, notebook: str, chapter: str, exercises: list[Exercise], seconds: float) -> NotebookReport:
        by_id = {item.id: item for item in exercises}
        check_cells = self._cells_with(CHECK)
        order = [name for name in check_cells if name in by_id] + [name for name in by_id if name not in check_cells]
        found = self._results(by_id)
        return NotebookReport(
            notebook,
            chapter,
            tuple(found[name] for name in order if name in found),
            tuple(NotReached(name, by_id[name].points, self._why_not(check_cells.get(name))) for name in order if name not in found),
            self._predictions(),
            tuple(self.faults.values()),
            seconds,
        )

    def _cells_with(self, call: Any) -> dict[str, NotebookNode]:
        """The cell that makes a call with a literal id, by id: the graded one where several do, else the first."""
        cells: dict[str, NotebookNode] = {}
        for cell in sorted(self._code, key=lambda cell: not _is_graded(cell)):
            for name in call.findall(cell.source):
                cells.setdefault(name, cell)
        return dict(sorted(cells.items(), key=lambda item: self._numbers[id(item[1])]))

    def _results(self, wanted: dict[str, Exercise]) -> dict[str, ExerciseResult]:
        """The last result of each exercise, from a graded cell where there is one."""
        found: dict[str, ExerciseResult] = {}
        for cell in sorted(self._code, key=_is_graded):
            for record in _records(cell, MIMETYPE):
                try:
                    result = result_from_dict(record)
                except (KeyError, TypeError):
                    continue
                if result.exercise in wanted:
                    found[result.exercise] = result
        return found

    def _predictions(self) -> tuple[Predicted, ...]:
        revealed = {str(record.get("prediction")): record for cell in self._code for record in _records(cell, predict.MIMETYPE)}
        rows = []
        for name in dict.fromkeys([*self._cells_with(REVEAL), *revealed]):
            record = revealed.get(name)
            if record is None:
                rows.append(Predicted(name, "not reached"))
            elif record.get("made"):
                rows.append(Predicted(name, "made", str(record.get("guess")), str(record.get("truth"))))
            else:
                rows.append(Predicted(name, "not made", "", str(record.get("truth"))))
        return tuple(rows)

    def _why_not(self, cell: NotebookNode | None) -> str:
        """Why the cell that checks an exercise gave no result, and which earlier cell may be to blame."""
        if cell is None:
            return "The notebook has no cell that checks it; take a fresh copy with `course lab` and paste your answer there."
        number = self._numbers[id(cell)]
        ended = self._ended_by
        if ended and ended.cell < number:
            return f"{_capital(str(ended))}; nothing after it was run."
        if number in self.faults:
            own = f"Its check {self.faults[number].what}."
            earlier = [fault for fault in self.faults.values() if fault.cell < number]
            return f"{own} Before it, {max(earlier, key=lambda fault: fault.cell)}." if earlier else own
        if not self._train and "train" in cell.metadata.get("tags", []):
            return "Its check stands in a cell that trains; add --train."
        return "Its cell ran but showed no result; check(…) must be the last expression of the cell."


def _read(path: Path) -> NotebookNode:
    """The notebook, or `CourseError`."""
    try:
        record = json.loads(path.read_bytes())
        if isinstance(record, dict) and record.get("nbformat", 4) != 4:
            raise CourseError(f"{path} is a notebook of format {record['nbformat']}; the chapters are of format 4")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a cell without an id is no fault here
            nbformat.validate(record)
        return nbformat.v4.to_notebook_json(record)
    except OSError as error:
        raise CourseError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, nbformat.ValidationError) as error:
        why = str(error).partition("\n")[0]
        raise CourseError(f"{path} is not a Jupyter notebook ({_clip(why, 100)}); a chapter's .ipynb file is wanted") from None


def _chapter_of(path: Path, node: NotebookNode) -> str:
    course = node.metadata.get("course")
    chapter = course.get("chapter") if isinstance(course, dict) else None
    if not isinstance(chapter, str):
        raise CourseError(f"{path} is a notebook, but none of the course's chapters; `course lab` gives you copies of those")
    return chapter


def _is_graded(cell: NotebookNode) -> bool:
    grading = cell.metadata.get("nbgrader")
    return isinstance(grading, dict) and bool(grading.get("grade"))


def _records(cell: NotebookNode, mimetype: str) -> list[dict[str, Any]]:
    """What a cell showed under a MIME type."""
    return [record for output in cell.outputs if isinstance(record := (output.get("data") or {}).get(mimetype), dict)]


def _begins(cell: NotebookNode) -> str:
    """The first line that says something: no comment, unless there is nothing else."""
    lines = [line.strip() for line in cell.source.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("#")]
    return f"`{_clip((said or lines or ['empty'])[0], 50)}`"


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

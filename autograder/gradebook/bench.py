"""The same class graded by stock nbgrader and by the engine in one run, so that both meet the machine in the same state.

Nothing in the class goes wrong but the answers, and the cells that train, which the engine does not run, are taken out of all notebooks unless
they are asked for: the ratio speaks of the engines. nbgrader grades half of a part, then the engine the whole of it, then nbgrader the other half.
Both pay for their start.
"""

import contextlib
import io
import json
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import typer
from nbformat import reads
from rich.console import Console

from autograder.checking.exercise import load_chapter
from autograder.engine import scheduler
from autograder.engine.sandbox import Limits
from autograder.engine.unit import Unit, cells_that_run, run_unit
from autograder.engine.worker import discard_zygotes
from autograder.gradebook import by_engine, classroom, marks, planted, stock
from autograder.gradebook.classroom import Classroom, open_class
from autograder.gradebook.ledger import Ledger
from autograder.gradebook.planted import Planted
from autograder.release.build import to_text
from autograder.release.chapters import CHECK, find_chapter

CHAPTER = "03"
PART = 40  # submissions between two changes of engine
DIFFERENT = 12  # of the class; the others are the same again


@dataclass(frozen=True)
class Measured:
    """Times in seconds, memory in bytes.

    seconds, nbgrader_seconds  wall time for the class, start included; ratio: the second over the first
    start_seconds              of the engine's: until its first submission could run
    cpu_overhead               processor time a submission beyond what the cells and checks that ran take in a plain interpreter, start not included
    start_cpu                  processor time of the start
    peak_bytes                 of the largest submission, with what it shares with all others
    private_bytes              of the largest submission, what it shares with none
    """

    submissions: int
    seconds: float
    nbgrader_seconds: float
    ratio: float
    same_scores: bool
    start_seconds: float
    cpu_overhead: float
    start_cpu: float
    peak_bytes: int
    private_bytes: int


def bench(students: int = 40, jobs: int | None = None, all_cells: bool = False, train: bool = False, quiet: bool = False) -> Measured:
    """Raises `CourseError` when student code cannot be shut in here.

    all_cells  the engine, too, runs what no score depends on
    train      the notebooks keep the cells that train, which nbgrader runs
    """
    console = Console(stderr=True, quiet=quiet)
    chapter = find_chapter(CHAPTER)
    people = planted.honest_class(planted.read_chapter(chapter), students)
    if not train:
        people = [replace(item, text=_without_training(item.text)) for item in people]
    seconds = nbgrader_seconds = cpu = 0.0
    peak = 0
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        here, there, nowhere = (_class(Path(scratch) / name) for name in ("engine", "nbgrader", "start"))
        jobs = min(jobs or scheduler.default_jobs(), students)
        start_seconds, start_cpu, _ = _engine(nowhere, chapter.slug, [replace(people[0], student=f"s{lane}", text="") for lane in range(jobs)], jobs)
        parts = -(-students // PART)
        for start in range(0, students, PART):
            part = people[start : start + PART]
            first, second = part[: len(part) // 2], part[len(part) // 2 :]
            nbgrader_seconds += _nbgrader(there, chapter.slug, first)
            took, used, largest = _engine(here, chapter.slug, part, jobs, all_cells)
            seconds, cpu, peak = seconds + took, cpu + used, max(peak, largest)
            nbgrader_seconds += _nbgrader(there, chapter.slug, second)
            console.print(f"{start + len(part)} of {students}: {seconds:.1f} s, nbgrader {nbgrader_seconds:.1f} s", highlight=False)
        same = marks.scores(here) == marks.scores(there)
        units = list(by_engine.Runner(here, True, Limits(), None, all_cells).units([(item.student, chapter.slug) for item in people]))
    overhead = (cpu - parts * start_cpu - _plain_seconds(chapter.name, [_what_ran(unit) for unit in units])) / students
    return Measured(
        submissions=students,
        seconds=round(seconds, 2),
        nbgrader_seconds=round(nbgrader_seconds, 2),
        ratio=round(nbgrader_seconds / seconds, 1),
        same_scores=same,
        start_seconds=round(start_seconds, 2),
        cpu_overhead=round(overhead, 3),
        start_cpu=round(start_cpu, 2),
        peak_bytes=peak,
        private_bytes=_private_bytes(units[:DIFFERENT]),
    )


def show(measured: Measured, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(measured), indent=2))
        return
    same = "the same" if measured.same_scores else "NOT THE SAME"
    typer.echo(f"{measured.submissions} submissions: {measured.seconds:.1f} s; stock nbgrader {measured.nbgrader_seconds:.1f} s")
    typer.echo(f"nbgrader takes {measured.ratio:g} times as long. The scores are {same}.")
    start = f"{measured.start_seconds:.1f} s ({measured.start_cpu:.1f} s of processors)"
    typer.echo(f"The engine's start takes {start} of that, whatever the size of the class.")
    typer.echo(f"It takes {measured.cpu_overhead:.2f} s of processor time a submission beyond the cells and checks that ran.")
    private, peak = measured.private_bytes / 2**20, measured.peak_bytes / 2**20
    typer.echo(f"The largest submission had {private:.0f} MiB of its own, and {peak:.0f} MiB with what all share.")


def _class(folder: Path) -> Classroom:
    classroom.create(folder, [CHAPTER], quiet=True)
    return open_class(folder)


def _nbgrader(room: Classroom, assignment: str, people: list[Planted]) -> float:
    """Seconds that `nbgrader autograde` takes; it grades what it has not graded yet."""
    if not people:
        return 0.0
    planted.write_class(people, room.folder, assignment)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        stock.nbgrader(room.folder, "autograde", assignment, log=room.logs / "autograde.log", scratch=Path(scratch))
    return time.monotonic() - started


def _engine(room: Classroom, assignment: str, people: list[Planted], jobs: int, all_cells: bool = False) -> tuple[float, float, int]:
    """→ seconds of wall time, seconds of processor time, bytes of the largest submission"""
    planted.write_class(people, room.folder, assignment)
    book, runner = Ledger(room.folder), by_engine.Runner(room, True, Limits(), None, all_cells)
    started, used = time.monotonic(), _cpu_seconds()
    todo = [(item.student, assignment) for item in people]
    for result in runner.run(todo, book.forget, lambda result: book.keep(result, ""), jobs):
        del result
    return time.monotonic() - started, _cpu_seconds() - used + runner.cpu_seconds, runner.peak_bytes


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _without_training(text: str) -> str:
    node = reads(text, as_version=4)
    node.cells = [cell for cell in node.cells if "train" not in cell.metadata.get("tags", [])]
    return to_text(node)


def _what_ran(unit: Unit) -> list[tuple[str, str]]:
    """(exercise, "") of each check and ("", program) of each other cell that the engine runs, in order."""
    run, found = cells_that_run(unit), []
    for cell in reads(unit.notebook.decode(), as_version=4).cells:
        called = CHECK.findall(cell.source) if cell.metadata.get("nbgrader", {}).get("grade") else []
        if called:
            found.append((called[0], ""))
        elif cell.id in run:
            found.append(("", cell.source))
    return found


def _plain_seconds(chapter: str, programs: list[list[tuple[str, str]]]) -> float:
    """Processor time of all cells and checks in one plain interpreter that has imported everything before."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = dict(os.environ)
    os.environ.update(scheduler.ONE_THREAD)  # read when numpy is imported, in the new process
    try:
        process = context.Process(target=_plainly, args=(theirs, chapter, programs))
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def _plainly(answer: Connection, chapter: str, programs: list[list[tuple[str, str]]]) -> None:
    os.environ.update({"MPLBACKEND": "agg", "COURSE_PROGRESS": "off"})
    exercises = {item.id: item for item in load_chapter(chapter)}
    _run_plainly(programs[0], exercises)
    started = time.process_time()
    for program in programs:
        _run_plainly(program, exercises)
    answer.send(time.process_time() - started)


def _run_plainly(program: list[tuple[str, str]], exercises: dict) -> None:
    names: dict = {"__name__": "__main__"}
    for called, source in program:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
            if called:
                item = exercises[called]
                item.run({name: names[name] for name in item.needs if name in names})
            else:
                exec(compile(source, "cell", "exec"), names)


def _private_bytes(units: list[Unit]) -> int:
    """Of these submissions, run one after the other in this process, the most memory that one shared with no other process, by looks 20 ms apart."""
    most, done = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not done.wait(0.02):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error, OSError):
                    if _is_submission(process):
                        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
                        own = (int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Private_Clean:")))
                        most = max(most, 1024 * sum(own))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for unit in units:
            run_unit(unit)
    finally:
        done.set()
        watcher.join()
        discard_zygotes()
    return most


def _is_submission(process: psutil.Process) -> bool:
    """A zygote forks a keeper and that a submission, all three under one name."""
    keeper = process.parent()
    zygote = keeper.parent() if keeper else None
    return keeper is not None and zygote is not None and zygote.cmdline() == keeper.cmdline() == process.cmdline() != psutil.Process().cmdline()

"""The same class graded by stock nbgrader and by the engine in one run, so that both meet the machine in the same state.

Nothing in the class goes wrong but the answers, and the cells that the engine does not run (training, figures) are taken out of all notebooks: the
ratio speaks of the engines. nbgrader grades half of a part, then the engine the whole of it, then nbgrader the other half. Both pay for their start.
"""

import contextlib
import io
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import typer
from nbformat import reads
from rich.console import Console

from autograder.checking.exercise import load_chapter
from autograder.engine import scheduler
from autograder.engine.sandbox import Limits
from autograder.engine.unit import SKIPPED_TAGS
from autograder.gradebook import by_engine, classroom, marks, planted, stock
from autograder.gradebook.classroom import Classroom, open_class
from autograder.gradebook.ledger import Ledger
from autograder.gradebook.planted import Planted
from autograder.release.build import to_text
from autograder.release.chapters import CHECK, find_chapter

CHAPTER = "03"
PART = 40  # submissions between two changes of engine


@dataclass(frozen=True)
class Measured:
    """seconds and nbgrader_seconds of wall time; ratio of the two; peak_bytes of the largest submission in the engine; cpu_overhead in seconds a
    submission: processor time of the engine, start included, beyond what cells and checks take in a plain interpreter."""

    submissions: int
    seconds: float
    nbgrader_seconds: float
    ratio: float
    same_scores: bool
    peak_bytes: int
    cpu_overhead: float


def bench(students: int = 40, jobs: int | None = None, quiet: bool = False) -> Measured:
    """Raises `CourseError` when student code cannot be shut in here."""
    console = Console(stderr=True, quiet=quiet)
    chapter = find_chapter(CHAPTER)
    people = [replace(item, text=_without_skipped(item.text)) for item in planted.honest_class(planted.read_chapter(chapter), students)]
    seconds = nbgrader_seconds = cpu = 0.0
    peak = 0
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        here, there = (_class(Path(scratch) / name) for name in ("engine", "nbgrader"))
        for start in range(0, students, PART):
            part = people[start : start + PART]
            first, second = part[: len(part) // 2], part[len(part) // 2 :]
            nbgrader_seconds += _nbgrader(there, chapter.slug, first)
            took, used, largest = _engine(here, chapter.slug, part, jobs)
            seconds, cpu, peak = seconds + took, cpu + used, max(peak, largest)
            nbgrader_seconds += _nbgrader(there, chapter.slug, second)
            console.print(f"{start + len(part)} of {students}: {seconds:.1f} s, nbgrader {nbgrader_seconds:.1f} s", highlight=False)
        same = marks.scores(here) == marks.scores(there)
    overhead = (cpu - _plain_seconds(chapter.name, [item.text for item in people])) / students
    ratio = round(nbgrader_seconds / seconds, 1)
    return Measured(students, round(seconds, 2), round(nbgrader_seconds, 2), ratio, same, peak, round(overhead, 3))


def show(measured: Measured, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(measured), indent=2))
        return
    same = "the same" if measured.same_scores else "NOT THE SAME"
    typer.echo(f"{measured.submissions} submissions: {measured.seconds:.1f} s; stock nbgrader {measured.nbgrader_seconds:.1f} s")
    typer.echo(f"nbgrader takes {measured.ratio:g} times as long. The scores are {same}.")
    typer.echo(f"The largest submission had {measured.peak_bytes / 2**20:.0f} MiB in the engine.")
    typer.echo(f"The engine takes {measured.cpu_overhead:.2f} s of processor time a submission beyond its own cells and checks, start included.")


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


def _engine(room: Classroom, assignment: str, people: list[Planted], jobs: int | None) -> tuple[float, float, int]:
    """→ seconds of wall time, seconds of processor time, bytes of the largest submission"""
    planted.write_class(people, room.folder, assignment)
    book, runner = Ledger(room.folder), by_engine.Runner(room, True, Limits())
    started, used = time.monotonic(), _cpu_seconds()
    todo = [(item.student, assignment) for item in people]
    for result in runner.run(todo, book.forget, lambda result: book.keep(result, ""), jobs or scheduler.default_jobs()):
        del result
    return time.monotonic() - started, _cpu_seconds() - used + runner.cpu_seconds, runner.peak_bytes


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _without_skipped(text: str) -> str:
    node = reads(text, as_version=4)
    node.cells = [cell for cell in node.cells if not SKIPPED_TAGS & set(cell.metadata.get("tags", []))]
    return to_text(node)


def _plain_seconds(chapter: str, texts: Iterable[str]) -> float:
    """Processor time of all cells and checks in one plain interpreter that has imported everything before."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = dict(os.environ)
    os.environ.update(scheduler.ONE_THREAD)  # read when numpy is imported, in the new process
    try:
        process = context.Process(target=_plainly, args=(theirs, chapter, list(texts)))
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def _plainly(answer: Connection, chapter: str, texts: list[str]) -> None:
    os.environ.update({"MPLBACKEND": "agg", "COURSE_PROGRESS": "off"})
    exercises = {item.id: item for item in load_chapter(chapter)}
    _run_plainly(texts[0], exercises)
    started = time.process_time()
    for text in texts:
        _run_plainly(text, exercises)
    answer.send(time.process_time() - started)


def _run_plainly(text: str, exercises: dict) -> None:
    names: dict = {"__name__": "__main__"}
    for cell in reads(text, as_version=4).cells:
        called = CHECK.findall(cell.source) if cell.metadata.get("nbgrader", {}).get("grade") else []
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
            if called:
                item = exercises[called[0]]
                item.run({name: names[name] for name in item.needs if name in names})
            elif cell.cell_type == "code":
                exec(compile(cell.source, "cell", "exec"), names)

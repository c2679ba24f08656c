"""Grades what has been submitted, one submission at a time, so that a bad one never stops the others."""

import os
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich.progress
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autograder.engine import probing
from autograder.engine.sandbox import Limits
from autograder.errors import CourseError
from autograder.gradebook import by_engine, by_stock, marks, secret
from autograder.gradebook.classroom import Classroom, open_class
from autograder.gradebook.ledger import Graded, Ledger

MOST_MOVED = 10  # scores that have changed of which each is told
STRANGERS = (
    "Note: this runs the students' programs with your own rights: they can read and change what you can, marks included. "
    "Grade in an account or a container in which nothing can be lost."
)


def grade(
    folder: Path,
    assignment: str | None = None,
    student: str | None = None,
    force: bool = False,
    quiet: bool = False,
    *,
    jobs: int | None = None,
    stock: bool = False,
    sandbox: bool = True,
    limits: Limits | None = None,
    dask: str | None = None,
    all_cells: bool = False,
) -> list[Graded]:
    """Grade every submission that is new or changed, and return all that were asked for, in order of assignment and student.

    assignment, student  only these; all by default
    force                also what is graded already and unchanged
    quiet                no progress bar
    jobs                 how many at a time; as many as there are processors by default
    stock                by stock nbgrader, with your own rights, instead of the engine
    sandbox              False lets the engine run students' programs with your own rights
    limits               what one submission may use in the engine
    dask                 the address of a Dask scheduler, whose workers then do the work
    all_cells            the engine also runs the chapter's demonstrations, on which no score depends

    Raises `CourseError` when there is no such class, assignment or student, and when there is no sandbox here although one is wanted. Each result
    is kept as soon as it is there.
    """
    room = open_class(folder)
    if stock and (dask or not sandbox):
        raise CourseError("--stock grades here and without a sandbox; --dask and --no-sandbox are for the engine")
    writable(room)
    wanted = submissions(room, assignment, student)
    runner = by_stock.Runner(room) if stock else by_engine.Runner(room, sandbox, limits or Limits(), dask, all_cells)
    book = Ledger(room.folder)
    known = book.rows()
    digests = {key: runner.digest(*key) for key in wanted}
    results = {key: known[key][0] for key in wanted if not force and key in known and known[key][1] == digests[key] and is_kept(room, *key)}
    todo = [key for key in wanted if key not in results]
    begun = set(todo)
    if todo:
        warn(sandbox and not stock, dask)

    def keep(result: Graded) -> None:
        book.keep(result, digests[result.student, result.assignment])

    with closing(runner.run(todo, book.forget, keep, jobs)) as finished, progress(len(todo), quiet) as advance:
        for result in finished:
            results[result.student, result.assignment] = result
            advance(result)
    if not quiet:
        tell_moved([(known[key][0], results[key]) for key in todo if key in known and key in results])
    return as_marked(room, [results[key] for key in wanted], begun)


def tell_moved(pairs: list[tuple[Graded, Graded]]) -> None:
    """Say whose score is another than before: the notebook, or the course, has changed. pairs: (before, now)"""
    moved = [(before, now) for before, now in pairs if before.score != now.score]
    console = Console(stderr=True)
    for before, now in moved[:MOST_MOVED]:
        console.print(f"graded again: {escape(now.student)} {now.assignment} had {before.score:g} of {before.max_score:g} points, now {now.score:g}")
    if len(moved) > MOST_MOVED:
        console.print(f"graded again: {len(moved) - MOST_MOVED} more scores have changed")


def as_marked(room: Classroom, results: list[Graded], fresh: set[tuple[str, str]]) -> list[Graded]:
    """With the scores that are in the gradebook: a person may have marked what was not graded just now, as `fresh` was."""
    present = marks.scores(room) if len(fresh) < len(results) else {}
    return [
        replace(result, score=present[key]) if (key := (result.student, result.assignment)) in present and key not in fresh else result
        for result in results
    ]


def seeds_of(folder: Path, student: str, assignment: str | None = None) -> dict[str, int]:
    """What a student's draws come from, by assignment, for an appeal. Raises `CourseError` when nothing was submitted."""
    room = open_class(folder)
    key = secret.read(room.folder)
    return {work: secret.seed_of(key, work, name) for name, work in submissions(room, assignment, student)}


def show(results: list[Graded]) -> None:
    """A table on the terminal."""
    table = Table(title=f"{len(results)} submission{'' if len(results) == 1 else 's'}, {sum(result.status == 'graded' for result in results)} graded")
    for heading in ("student", "assignment", "status", "score", "of", "seconds", "reason"):
        table.add_column(heading, justify="right" if heading in ("score", "of", "seconds") else "left", overflow="fold")
    for result in results:
        numbers = (f"{result.score:g}", f"{result.max_score:g}", f"{result.seconds:.1f}")
        table.add_row(escape(result.student), result.assignment, result.status, *numbers, escape(result.reason))
    Console().print(table)


def submissions(room: Classroom, assignment: str | None, student: str | None) -> list[tuple[str, str]]:
    """(student, assignment) of every submission asked for. assignment: its name, or the number with which one begins, such as 3"""
    if assignment is not None and assignment.isdigit():
        assignment = next((name for name in room.assignments if name.startswith(f"{int(assignment):02}_")), assignment)
    if assignment is not None and assignment not in room.assignments:
        raise CourseError(f"no assignment {assignment!r} in {room.folder}; there are: {', '.join(room.assignments)}")
    folder = room.folder / "submitted"
    students = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")) if folder.is_dir() else []
    if not students:
        raise CourseError(f"nothing is submitted yet; put notebooks at {folder}/STUDENT/{room.assignments[0]}/{room.assignments[0]}.ipynb")
    if student is not None and student not in students:
        raise CourseError(f"no student {student!r} in {folder}; there are: {', '.join(students[:20])}")
    found = [
        (name, work)
        for work in ([assignment] if assignment else room.assignments)
        for name in ([student] if student else students)
        if room.submitted(name, work).is_dir()
    ]
    if not found:
        raise CourseError(f"nothing is submitted for {assignment or 'any assignment'}" + (f" by {student!r}" if student else "") + f" in {folder}")
    return found


def is_kept(room: Classroom, student: str, assignment: str) -> bool:
    return (room.autograded(student, assignment) / f"{assignment}.ipynb").exists()


def writable(room: Classroom) -> None:
    """Raises `CourseError` where results cannot be kept."""
    if not os.access(room.folder, os.W_OK):
        raise CourseError(f"{room.folder} cannot be written to; grading keeps its results there")


def warn(walled: bool, dask: str | None) -> None:
    """Tell whoever grades what the walls do not stop, when they are none, or none of the best. A cluster's workers choose their own."""
    note = STRANGERS if not walled else "" if dask else probing.probe().notice()
    if note:
        Console(stderr=True).print(note, style="yellow", highlight=False, markup=False)


@contextmanager
def progress(total: int, quiet: bool):
    """A bar on the terminal. Gives a function to call with each result."""
    console = Console(stderr=True)
    columns = (
        "[progress.description]{task.description}",
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[rate]}"),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("left:"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True, disable=quiet or not total or not console.is_terminal) as bar:
        task = bar.add_task("grading", total=total, rate="")

        def advance(result: Any) -> None:
            so_far = bar.tasks[task]
            rate = 60 * (so_far.completed + 1) / max(so_far.elapsed or 0.0, 1e-9)
            bar.update(task, advance=1, description=f"graded {escape(result.student)}", rate=f"{rate:.0f} a minute")

        yield advance

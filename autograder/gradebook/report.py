"""A class at a glance: a table on the terminal, and a page with plots."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autograder.checking.check import MIMETYPE
from autograder.checking.exercise import chapter_names, load_chapter
from autograder.errors import CourseError
from autograder.gradebook import marks, page
from autograder.gradebook.classroom import Classroom, open_class
from autograder.gradebook.ledger import Ledger
from autograder.gradebook.marks import Submission
from autograder.release.build import write_whole

MAX_BYTES = 64 * 2**20  # of a graded notebook that is read for its failed cases


@dataclass(frozen=True)
class Column:
    """One exercise, or all predictions or essays together: `cells` are the grade_ids that count into it."""

    name: str
    points: float
    cells: tuple[str, ...]

    def score(self, submission: Submission) -> float:
        return round(sum(mark.score for mark in submission.marks if mark.cell in self.cells), 2)


@dataclass(frozen=True)
class Row:
    """One submission: `scores` in the order of the columns."""

    student: str
    status: str
    reason: str
    score: float
    max_score: float
    scores: tuple[float, ...]
    needs_person: bool


@dataclass(frozen=True)
class Failed:
    """A case, and how many submissions it failed in."""

    exercise: str
    case: str
    count: int


@dataclass(frozen=True)
class Overview:
    """One assignment of a class."""

    assignment: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    failed: tuple[Failed, ...]


def report(folder: Path, html: Path | None = None) -> None:
    """Print a table of every assignment that was graded, and write a page with plots (CLASS/report.html by default).

    Reads the gradebook and changes nothing in it. Raises `CourseError` when nothing has been graded or the page cannot be written.
    """
    room = open_class(folder)
    target = (html or room.folder / "report.html").absolute()
    if target.is_dir() or not target.parent.is_dir():
        raise CourseError(f"the page cannot be written to {target}; --html takes a file in a folder that exists")
    overviews = overview(room)
    for item in overviews:
        show(item)
    try:
        write_whole(target, page.render(room.folder.name, overviews))
    except OSError as error:
        raise CourseError(f"the page cannot be written to {target}: {error.strerror or error}") from None
    typer.echo(f"wrote {target}")


def overview(room: Classroom) -> list[Overview]:
    """What is known of each assignment. Raises `CourseError` when nothing has been graded."""
    found = marks.submissions(room)
    if not found:
        raise CourseError(f"nothing has been graded in {room.folder}; run `autograder grade {room.folder}` first")
    ledger = Ledger(room.folder).rows()
    overviews = []
    for assignment in sorted({entry.assignment for entry in found}):
        entries = [entry for entry in found if entry.assignment == assignment]
        columns = _columns(assignment, entries[0])
        rows = []
        for entry in entries:
            known = ledger.get((entry.student, assignment))
            status, reason = (known[0].status, known[0].reason) if known else ("graded", "")
            scores = tuple(column.score(entry) for column in columns)
            rows.append(Row(entry.student, status, reason, entry.score, entry.max_score, scores, entry.needs_person))
        overviews.append(Overview(assignment, columns, tuple(rows), _failed(room, assignment, [row.student for row in rows])))
    return overviews


def show(item: Overview) -> None:
    """A table on the terminal, with a legend of its columns."""
    table = Table(title=f"{item.assignment}: {len(item.rows)} submissions", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("student", overflow="fold")
    table.add_column("status", no_wrap=True)
    for heading in ("score", "of", *map(str, range(1, len(item.columns) + 1))):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in item.rows:
        cells = [_mark(score, column.points) for score, column in zip(row.scores, item.columns, strict=True)]
        status = row.status + (" *" if row.needs_person else "")
        table.add_row(escape(row.student), status, f"{row.score:g}", f"{row.max_score:g}", *cells)
    console = Console()
    console.print(table)
    names = ", ".join(f"{number} {column.name} ({column.points:g})" for number, column in enumerate(item.columns, 1))
    waiting = "  * waits for a person's marks" if any(row.needs_person for row in item.rows) else ""
    console.print(f"✓ full marks  ◐ some  – none{waiting}\n{names}", highlight=False, markup=False)


def _mark(score: float, points: float) -> str:
    shown = page.mark(score, points)
    return shown if shown in "✓–" else "◐"


def _columns(assignment: str, entry: Submission) -> tuple[Column, ...]:
    """One column for each exercise, in the chapter's order, then one for the predictions and one for the essays."""
    points = {mark.cell: mark.max_score for mark in entry.marks}
    order = [f"check-{item.name}" for item in _exercises(assignment)]
    checks = sorted(
        (cell for cell in points if cell.startswith("check-")), key=lambda cell: (order.index(cell) if cell in order else len(order), cell)
    )
    columns = [Column(cell.removeprefix("check-"), points[cell], (cell,)) for cell in checks]
    for name, kind in (("predictions", "reveal-"), ("essays", "essay-")):
        cells = tuple(cell for cell in points if cell.startswith(kind))
        if cells:
            columns.append(Column(name, sum(points[cell] for cell in cells), cells))
    return tuple(columns)


def _exercises(assignment: str) -> list:
    chapter = assignment.partition("_")[2]
    return load_chapter(chapter) if chapter in chapter_names() else []


def _failed(room: Classroom, assignment: str, students: list[str]) -> tuple[Failed, ...]:
    """The cases that failed, most frequent first. Only cases that the chapter has are counted, each once for each student."""
    known = {(item.id, case) for item in _exercises(assignment) for case in item.case_names}
    counts: Counter[tuple[str, str]] = Counter()
    for student in students:
        counts.update(known & _failed_by(room.autograded(student, assignment) / f"{assignment}.ipynb"))
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(Failed(exercise.partition(".")[2], case, count) for (exercise, case), count in ordered)


def _failed_by(path: Path) -> set[tuple[str, str]]:
    """(exercise, case) of what failed in one graded notebook; what was never written is not counted. Untrusted text."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return set()
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return {
            (str(record.get("exercise")), str(case.get("name")))
            for cell in cells
            for output in cell.get("outputs", [])
            for record in [_record(output)]
            for case in record.get("cases", [])
            if isinstance(case, dict) and case.get("outcome") in ("failed", "raised", "timeout")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # what a stranger's notebook may lead to
        return set()


def _record(output: dict) -> dict[str, Any]:
    """A check's record in a cell's output, {} when there is none."""
    found = output.get("data", {}).get(MIMETYPE)
    return found if isinstance(found, dict) and isinstance(found.get("cases"), list) else {}

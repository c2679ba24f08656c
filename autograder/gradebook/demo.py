"""A whole class in about a minute, held to its planted truth."""

import csv
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autograder.engine.sandbox import Limits
from autograder.engine.scheduler import NoSandbox
from autograder.errors import CourseError
from autograder.gradebook import classroom, grading, marks, planted, report, secret, stock
from autograder.gradebook.classroom import Classroom, open_class
from autograder.gradebook.ledger import Graded
from autograder.gradebook.planted import Planted
from autograder.release.chapters import find_chapter
from autograder.release.source import SourceError

CHAPTER = "03"
ANSWER_SECONDS = 8  # for one cell: planted submissions run into it
SECRET = "nothing is secret in a demo, whose scores are known beforehand\n"
MARKER = "DEMO.txt"
WHAT = "A class of planted submissions, made by `autograder demo`, which replaces this folder when it runs again.\n"


@dataclass(frozen=True)
class Comparison:
    """One planted submission: what had to come of it and what came."""

    student: str
    planted_status: str
    status: str
    planted_score: float
    score: float
    planted_max: float
    max_score: float
    exported_score: float | None
    reason: str
    seconds: float

    @property
    def right(self) -> bool:
        scores = (self.score, self.exported_score)
        return (
            self.status == self.planted_status
            and _equal(self.max_score, self.planted_max)
            and all(score is not None and _equal(score, self.planted_score) for score in scores)
        )


def demo(folder: Path, as_json: bool = False) -> bool:
    """Release, plant, grade, give feedback, export and report a class; True when every status and score equals the planted truth.

    folder   replaced when an earlier demo made it. Raises `CourseError` when it is anything else.
    as_json  print a list of comparisons and no tables
    """
    folder = folder.absolute()
    _clear(folder)
    chapter = find_chapter(CHAPTER)
    try:
        full = planted.read_chapter(chapter)
        submissions = planted.plant_class(full)
    except SourceError as error:
        raise CourseError(f"{error.problems[0]} (run `course build --check` for all)") from None
    classroom.create(folder, [CHAPTER], answer_seconds=ANSWER_SECONDS, quiet=True)
    (folder / MARKER).write_text(WHAT, encoding="utf-8")
    (folder / secret.FILE).write_text(SECRET)  # so that every demo draws the same
    room = open_class(folder)
    planted.write_class(submissions, folder, chapter.slug)
    with marks.gradebook(room, writing=True) as book:
        book.update_or_create_assignment(chapter.slug, duedate=planted.DUE)
    try:
        graded = grading.grade(folder, quiet=as_json, limits=Limits(cell=ANSWER_SECONDS))
    except NoSandbox as error:
        typer.echo(f"{error}\nThe demo's programs are harmless; it goes on with stock nbgrader.", err=True)
        graded, submissions = grading.grade(folder, quiet=as_json, stock=True), [item.by_stock() for item in submissions]
    results = {result.student: result for result in graded}
    exported = _export(room, chapter.slug)
    rows = [_compare(item, results.get(item.student), exported.get(item.student), full.max_score) for item in submissions]
    if as_json:
        typer.echo(json.dumps([asdict(row) | {"right": row.right} for row in rows], indent=2, ensure_ascii=False))
    else:
        report.report(folder)
        show(rows)
    return bool(rows) and len(results) == len(rows) and all(row.right for row in rows)


def show(rows: list[Comparison]) -> None:
    """A table of planted against graded."""
    right = sum(row.right for row in rows)
    table = Table(title=f"{right} of {len(rows)} submissions came out as planted")
    for heading in ("", "student", "planted", "graded"):
        table.add_column(heading)
    for heading in ("planted score", "score", "of", "seconds"):
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = (f"{row.planted_score:g}", f"{row.score:g}", f"{row.max_score:g}", f"{row.seconds:.1f}")
        table.add_row("✓" if row.right else "✗", escape(row.student), row.planted_status, row.status, *numbers)
    Console().print(table)
    for row in rows:
        if not row.right:
            exported = "not exported" if row.exported_score is None else f"exported {row.exported_score:g}"
            typer.echo(f"✗ {row.student}: {exported}; {row.reason or 'no reason given'}")


def _clear(folder: Path) -> None:
    """Remove an earlier demo, and nothing else."""
    if not folder.exists():
        return
    if not folder.is_dir() or ((marker := folder / MARKER).exists() and marker.read_text(encoding="utf-8", errors="replace") != WHAT):
        raise CourseError(f"{folder} is no demo class; choose another folder with --folder")
    if not (folder / MARKER).exists() and any(folder.iterdir()):
        raise CourseError(f"{folder} is there already and is no demo class; choose another folder with --folder")
    shutil.rmtree(folder)


def _export(room: Classroom, assignment: str) -> dict[str, float]:
    """The scores that stock `nbgrader export` writes, by student, after stock feedback for one student."""
    with tempfile.TemporaryDirectory() as scratch:
        log = room.logs / "feedback-and-export.log"
        stock.nbgrader(room.folder, "generate_feedback", assignment, "--student=ada", "--force", log=log, scratch=Path(scratch))
        stock.nbgrader(room.folder, "export", "--to=grades.csv", log=log, scratch=Path(scratch))
    if not (room.folder / "feedback" / "ada" / assignment / f"{assignment}.html").is_file():
        raise CourseError(f"nbgrader wrote no feedback for ada; see {log}")
    with (room.folder / "grades.csv").open(newline="", encoding="utf-8") as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file) if row["assignment"] == assignment and row["score"]}


def _compare(item: Planted, result: Graded | None, exported: float | None, max_score: float) -> Comparison:
    """A submission that was not graded at all counts as wrong."""
    found = result or Graded(item.student, "", "missing", 0.0, 0.0, "it was not graded", 0.0)
    return Comparison(
        item.student, item.status, found.status, item.score, found.score, max_score, found.max_score, exported, found.reason, found.seconds
    )


def _equal(one: float, other: float) -> bool:
    return abs(one - other) < 0.005

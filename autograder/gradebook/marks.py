"""Reads nbgrader's gradebook, and records in it what submissions earned."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import v4
from nbgrader.api import BaseCell, Gradebook, MissingEntry
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config.loader import PyFileConfigLoader

from autograder.errors import CourseError
from autograder.gradebook.classroom import Classroom
from autograder.release.build import to_text, write_whole


@dataclass(frozen=True)
class Mark:
    """One graded cell of one submission: `cell` is its grade_id, such as check-softmax."""

    cell: str
    score: float
    max_score: float
    by_hand: bool


@dataclass(frozen=True)
class Submission:
    """What the gradebook holds of one submission."""

    student: str
    assignment: str
    score: float
    max_score: float
    needs_person: bool
    marks: tuple[Mark, ...]


@contextmanager
def gradebook(room: Classroom, *, writing: bool = False) -> Iterator[Any]:
    """nbgrader's gradebook (a `Gradebook`, whose annotations speak of columns where values are), opened so that processes wait for each other.

    Raises `CourseError` when it is damaged.
    """
    mode = "rw" if writing else "ro"
    try:
        with Gradebook(f"sqlite:///{room.gradebook.as_uri()}?mode={mode}&uri=true&timeout=60", room.course_id) as book:
            yield book
    except SQLAlchemyError as error:
        raise CourseError(f"{room.gradebook} cannot be used: {str(error).splitlines()[0]}") from None


def submissions(room: Classroom) -> list[Submission]:
    """Every submission in the gradebook, in order of assignment and student."""
    with gradebook(room) as book:
        found = [_submission(entry) for assignment in book.assignments for entry in assignment.submissions]
    return sorted(found, key=lambda entry: (entry.assignment, entry.student))


def scores(room: Classroom) -> dict[tuple[str, str], float]:
    """The points of every submission in the gradebook, by student and assignment."""
    with gradebook(room) as book:
        return {(entry.student_id, work.name): _points(entry.score) for work in book.assignments for entry in work.submissions}


def score_of(room: Classroom, student: str, assignment: str) -> tuple[float, float]:
    """Points and the most that can be had; 0 points for a submission that the gradebook does not know."""
    with gradebook(room) as book:
        try:
            entry = book.find_submission(assignment, student)
        except MissingEntry:
            return 0.0, _points(book.find_assignment(assignment).max_score)
        return _points(entry.score), _points(entry.max_score)


def record(
    room: Classroom,
    book: Any,
    student: str,
    assignment: str,
    scores: Mapping[str, float | None],
    untouched: Collection[str] = (),
    handed_in: datetime | None = None,
) -> tuple[float, float]:
    """Write into the open gradebook what a submission earned, as `nbgrader autograde` does. → its points, and the most that can be had

    scores     by grade_id; None where a person decides, 0 for every cell that is not named
    untouched  grade_ids of answers that are as they were released
    handed_in  in UTC

    Marks given by a person stay, flagged for another look.
    """
    try:
        book.update_or_create_student(student)
        with book.db.no_autoflush:  # nbgrader adds a submission in steps; flushed between two of them it warns
            entry = book.update_or_create_submission(assignment, student, **({"timestamp": handed_in} if handed_in else {}))
        for notebook in entry.notebooks:
            cells = book.db.query(BaseCell).filter(BaseCell.notebook_id == notebook.notebook_id).all()  # held, or each would be fetched alone
            for grade in notebook.grades:
                grade.auto_score = scores.get(grade.name, 0.0)
                grade.needs_manual_grade = grade.manual_score is not None or grade.auto_score is None
            for comment in notebook.comments:
                comment.auto_comment = "No response." if comment.name in untouched else None
            notebook.late_submission_penalty = None
            del cells
        book.db.commit()
        late, points = entry.total_seconds_late > 0, (_points(entry.score), _points(entry.max_score))
        book.db.expunge_all()  # or a class would be in memory before it is graded
    except SQLAlchemyError as error:
        raise CourseError(f"{room.gradebook} cannot be used: {str(error).splitlines()[0]}") from None
    if late:
        _penalise(room, student, assignment)
    return points


def record_failure(room: Classroom, student: str, assignment: str, reason: str) -> None:
    """Give 0 to every graded cell, and put a notebook with the reason where formgrader and feedback look for the graded one."""
    with gradebook(room, writing=True) as book:
        record(room, book, student, assignment, {})
    folder = room.autograded(student, assignment)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{assignment}.ipynb", reason_notebook(reason))


def reason_notebook(reason: str) -> str:
    """What stands in for the graded notebook of a submission that was not run."""
    text = f"# This submission could not be graded\n\n    {reason}\n\nIt has 0 points until a notebook that can be graded is handed in."
    return to_text(v4.new_notebook(cells=[v4.new_markdown_cell(text, id="reason")]))


def _penalise(room: Classroom, student: str, assignment: str) -> None:
    """What nbgrader_config.py says of late submissions: nbgrader's own step, which by default takes nothing off."""
    config = PyFileConfigLoader("nbgrader_config.py", str(room.folder)).load_config()
    place = {"notebook": assignment, "assignment": assignment, "student": student, "db_url": f"sqlite:///{room.gradebook}?timeout=60"}
    resources = ResourcesDict()
    resources["nbgrader"] = place
    AssignLatePenalties(config=config).preprocess(v4.new_notebook(), resources)


def _points(number: Any) -> float:
    return round(float(number), 6)


def _submission(entry: Any) -> Submission:
    grades = [grade for notebook in entry.notebooks for grade in notebook.grades]
    marks = tuple(Mark(grade.name, float(grade.score or 0), float(grade.max_score), grade.manual_score is not None) for grade in grades)
    return Submission(
        student=entry.student_id,
        assignment=entry.name,
        score=_points(entry.score),
        max_score=_points(entry.max_score),
        needs_person=any(grade.needs_manual_grade for grade in grades),
        marks=tuple(sorted(marks, key=lambda mark: mark.cell)),
    )

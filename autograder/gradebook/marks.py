"""Reads nbgrader's gradebook, and records in it the submissions that could not be graded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nbformat import v4
from nbgrader.api import Gradebook, MissingEntry
from sqlalchemy.exc import SQLAlchemyError

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


def score_of(room: Classroom, student: str, assignment: str) -> tuple[float, float]:
    """Points and the most that can be had; 0 points for a submission that the gradebook does not know."""
    with gradebook(room) as book:
        try:
            entry = book.find_submission(assignment, student)
        except MissingEntry:
            released = book.find_assignment(assignment)
            return 0.0, round(float(released.max_score), 6)
        return round(float(entry.score), 6), round(float(entry.max_score), 6)


def record_failure(room: Classroom, student: str, assignment: str, reason: str) -> None:
    """Give 0 to every graded cell, and put a notebook with the reason where formgrader and feedback look for the graded one.

    Marks given by a person stay, flagged for another look, as nbgrader does when it grades again.
    """
    with gradebook(room, writing=True) as book:
        book.update_or_create_student(student)
        with book.db.no_autoflush:  # nbgrader adds a submission in steps; flushed between two of them it warns
            entry = book.update_or_create_submission(assignment, student)
        for notebook in entry.notebooks:
            for grade in notebook.grades:
                grade.auto_score = 0
                grade.needs_manual_grade = grade.manual_score is not None
        book.db.commit()
    folder = room.autograded(student, assignment)
    folder.mkdir(parents=True, exist_ok=True)
    text = f"# This submission could not be graded\n\n    {reason}\n\nIt has 0 points until a notebook that can be graded is handed in."
    write_whole(folder / f"{assignment}.ipynb", to_text(v4.new_notebook(cells=[v4.new_markdown_cell(text, id="reason")])))


def _submission(entry: Any) -> Submission:
    grades = [grade for notebook in entry.notebooks for grade in notebook.grades]
    marks = tuple(Mark(grade.name, float(grade.score or 0), float(grade.max_score), grade.manual_score is not None) for grade in grades)
    return Submission(
        student=entry.student_id,
        assignment=entry.name,
        score=round(float(entry.score), 6),
        max_score=round(float(entry.max_score), 6),
        needs_person=any(grade.needs_manual_grade for grade in grades),
        marks=tuple(sorted(marks, key=lambda mark: mark.cell)),
    )

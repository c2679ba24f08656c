"""What you have solved and predicted so far, chapter by chapter."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder.checking import board, progress
from autograder.checking.exercise import chapter_names, load_chapter
from autograder.errors import CourseError
from autograder.release.chapters import ROOT, Chapter, chapters, find_chapter
from autograder.release.source import read

COLOURS = {"solved": "blue", "made": "blue", "partly": "yellow", "open": "yellow"}


@dataclass(frozen=True)
class Row:
    """One exercise or one prediction.

    state         an exercise is solved, partly, open (tried, no points) or not tried; a prediction is made or not made
    score         the best so far; None for a prediction, as are points and tries
    first_solved  when the exercise was first solved or the prediction made, ISO 8601 in UTC
    guess, truth  a prediction beside its outcome
    """

    chapter: str
    kind: Literal["exercise", "prediction"]
    id: str
    state: str
    score: float | None = None
    points: float | None = None
    tries: int | None = None
    first_solved: str | None = None
    guess: str | None = None
    truth: str | None = None


def overview(chapter: str | None = None, root: Path = ROOT) -> list[Row]:
    """Every exercise and prediction of one chapter, or of all. `UnknownChapter`, or `CourseError` when the records cannot be read."""
    sources = root / "solutions"
    wanted = [find_chapter(chapter, sources)] if chapter else chapters(sources)
    try:
        records, predictions = progress.records(), progress.predictions()
    except sqlite3.Error as error:
        raise CourseError(f"your progress cannot be read from {progress.location()} ({error}); move that file away to start afresh") from None
    return [row for item in wanted for row in (*_exercises(item, records), *_predictions(item, predictions))]


def show(rows: list[Row]) -> None:
    """A table for each chapter on the terminal, and where the records are kept."""
    console = Console(highlight=False)
    for chapter in dict.fromkeys(row.chapter for row in rows):
        _show_chapter(console, chapter, [row for row in rows if row.chapter == chapter])
    place = progress.location()
    console.print(Text(f"Kept in {place}." if place else "Nothing is being recorded (COURSE_PROGRESS=off)."), soft_wrap=True)


def _exercises(chapter: Chapter, records: dict[str, progress.Record]) -> list[Row]:
    rows = []
    for item in load_chapter(chapter.name) if chapter.name in chapter_names() else ():
        record = records.get(item.id)
        score = min(record.score, item.points) if record else 0.0
        tries, solved = (record.tries, record.first_solved) if record else (0, None)
        rows.append(Row(chapter.slug, "exercise", item.id, board.state(item, records), score, item.points, tries, solved))
    return rows


def _predictions(chapter: Chapter, made: dict[str, progress.PredictionRecord]) -> list[Row]:
    rows = []
    for name in [cell.keys["predict"] for cell in read(chapter.source).cells if "predict" in cell.keys]:
        id = f"{chapter.name}.{name}"
        record = made.get(id)
        if record:
            rows.append(Row(chapter.slug, "prediction", id, "made", first_solved=record.made, guess=record.guess, truth=record.truth))
        else:
            rows.append(Row(chapter.slug, "prediction", id, "not made"))
    return rows


def _show_chapter(console: Console, chapter: str, rows: list[Row]) -> None:
    exercises = [row for row in rows if row.kind == "exercise"]
    predictions = [row for row in rows if row.kind == "prediction"]
    if exercises:
        earned, points = (sum(getattr(row, key) or 0 for row in exercises) for key in ("score", "points"))
        table = Table(title=f"{chapter}: {earned:g} of {points:g} points", title_justify="left")
        for heading in ("exercise", "state", "best", "tries", "first solved"):
            table.add_column(heading, justify="right" if heading in ("best", "tries") else "left")
        for row in exercises:
            table.add_row(row.id, _state(row), f"{row.score:g} of {row.points:g}", str(row.tries), _day(row))
        console.print(table)
    if predictions:
        made = sum(row.state == "made" for row in predictions)
        table = Table(title=f"{chapter}: {made} of {len(predictions)} predictions made", title_justify="left")
        for heading in ("prediction", "state", "yours", "it was", "on"):
            table.add_column(heading)
        for row in predictions:
            table.add_row(row.id, _state(row), Text(row.guess or ""), Text(row.truth or ""), _day(row))
        console.print(table)


def _state(row: Row) -> Text:
    return Text(row.state, COLOURS.get(row.state, ""))


def _day(row: Row) -> str:
    return row.first_solved[:10] if row.first_solved else ""

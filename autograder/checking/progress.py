"""What a student has solved and predicted so far, kept on their own machine.

One small SQLite file in the user's data folder, so that two notebooks open at once cannot lose each other's results. The environment variable
COURSE_PROGRESS names another file, or `off` for none; grading never records anything.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from autograder.checking.results import ExerciseResult

SCHEMA = """
create table if not exists exercises (id text primary key, score real, points real, tries integer, first_solved text, last_tried text);
create table if not exists predictions (id text primary key, guess text, truth text, made text);
"""


@dataclass(frozen=True)
class Record:
    """The best result of one exercise so far."""

    id: str
    score: float
    points: float
    tries: int
    first_solved: str | None

    @property
    def solved(self) -> bool:
        return self.score >= self.points


@dataclass(frozen=True)
class PredictionRecord:
    """A prediction and its outcome, as text."""

    id: str
    guess: str
    truth: str
    made: str


_listeners: list[Callable[[], None]] = []


def location() -> Path | None:
    """The file; None when nothing is recorded."""
    chosen = os.environ.get("COURSE_PROGRESS", "")
    if chosen == "off" or "NBGRADER_EXECUTION" in os.environ:
        return None
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("large-models-from-scratch", appauthor=False)) / "progress.sqlite"


def on_change(listener: Callable[[], None]) -> None:
    """Call `listener` after every result that is recorded in this process."""
    _listeners.append(listener)


def record(result: ExerciseResult) -> str:
    """Remember a result. Returns "" or, when it could not be kept, the reason."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    solved = now if result.solved else None
    reason = _write(
        """insert into exercises values (?, ?, ?, 1, ?, ?) on conflict (id) do update set
           score = case when points = excluded.points then max(score, excluded.score) else excluded.score end,
           points = excluded.points, tries = tries + 1,
           first_solved = coalesce(first_solved, excluded.first_solved), last_tried = excluded.last_tried""",
        (result.exercise, result.score, result.points, solved, now),
    )
    for listener in list(_listeners):
        with contextlib.suppress(Exception):  # a figure that cannot be redrawn must not cost a score
            listener()
    return reason


def record_prediction(id: str, guess: str, truth: str) -> str:
    """Remember a prediction; the first one made is kept. Returns "" or the reason why it could not be."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return _write("insert into predictions values (?, ?, ?, ?) on conflict (id) do nothing", (id, guess, truth, now))


def records() -> dict[str, Record]:
    """The best result of every exercise tried, by id. sqlite3.Error when the file cannot be read."""
    return {row[0]: Record(*row) for row in _read("exercises", "id, score, points, tries, first_solved")}


def predictions() -> dict[str, PredictionRecord]:
    """Every prediction made, by id. sqlite3.Error when the file cannot be read."""
    return {row[0]: PredictionRecord(*row) for row in _read("predictions", "id, guess, truth, made")}


def _read(table: str, columns: str) -> list[tuple]:
    with _open(reading=True) as database:
        # another notebook may have made the file a moment ago, and not yet its tables
        if database is None or not database.execute("select 1 from sqlite_master where name = ?", (table,)).fetchone():
            return []
        return database.execute(f"select {columns} from {table}").fetchall()


def _write(statement: str, values: tuple) -> str:
    try:
        with _open() as database:
            if database:
                database.execute(statement, values)
    except (sqlite3.Error, OSError) as error:
        return f"Your progress could not be saved ({error})."
    return ""


@contextlib.contextmanager
def _open(reading: bool = False) -> Iterator[sqlite3.Connection | None]:
    path = location()
    if path is None or (reading and not path.exists()):
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=5)
    try:
        with database:
            database.executescript(SCHEMA) if not reading else None
            yield database
    finally:
        database.close()

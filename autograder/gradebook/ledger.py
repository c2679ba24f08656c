"""What has been graded already: one row a submission, written when it is finished, so that a killed run goes on where it stopped."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from autograder.errors import CourseError

SCHEMA = """create table if not exists graded (student text, assignment text, status text, score real, max_score real, reason text, seconds real,
digest text, primary key (student, assignment))"""


@dataclass(frozen=True)
class Graded:
    """How grading one submission ended.

    status   graded · crashed (the kernel died, or nbgrader gave up) · timeout · memory · tampered (a graded cell shows points that no check
             gave) · unreadable (no notebook that can be opened)
    score    points in the gradebook, a person's marks included; 0 from the grader unless a verdict was reached
    reason   why it is not graded, or what was noticed; "" when there is nothing to say
    seconds  that it took
    """

    student: str
    assignment: str
    status: str
    score: float
    max_score: float
    reason: str
    seconds: float


class Ledger:
    """The file grading.db of a class."""

    def __init__(self, folder: Path):
        self._path = folder / "grading.db"

    @property
    def is_new(self) -> bool:
        return not self._path.exists()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=60)) as database, database:
                database.execute(SCHEMA)
                yield database
        except sqlite3.Error as error:
            raise CourseError(f"{self._path} cannot be used: {error}; remove it, and everything is graded again") from None

    def rows(self) -> dict[tuple[str, str], tuple[Graded, str]]:
        """Each finished submission and its digest, by student and assignment."""
        if self.is_new:
            return {}
        with self._open() as database:
            found = database.execute("select student, assignment, status, score, max_score, reason, seconds, digest from graded").fetchall()
        return {(row[0], row[1]): (Graded(*row[:7]), row[7]) for row in found}

    def forget(self, student: str, assignment: str) -> None:
        """Before a submission is graded again: should that be cut short, it counts as not graded."""
        with self._open() as database:
            database.execute("delete from graded where student = ? and assignment = ?", (student, assignment))

    def keep(self, result: Graded, digest: str) -> None:
        with self._open() as database:
            database.execute("insert or replace into graded values (?, ?, ?, ?, ?, ?, ?, ?)", (*asdict(result).values(), digest))


def digest(*places: Path) -> str:
    """A hash of files, and of folders with all regular files in them, names included. What is missing counts as empty."""
    total = hashlib.sha256()
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as file:
                total.update(
                    f"{path.name if path == place else path.relative_to(place)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode()
                )
    return total.hexdigest()

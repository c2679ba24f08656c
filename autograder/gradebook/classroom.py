"""The folder of a class, in which stock nbgrader works too."""

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from autograder.errors import CourseError
from autograder.gradebook import secret, stock
from autograder.release.build import notebook, to_text, write_whole
from autograder.release.chapters import Chapter, find_chapter
from autograder.release.source import LANGUAGES, SourceError

CELL_SECONDS = 120  # longest time for one cell
ANSWER_SECONDS = 60  # longest time for a cell in which a student answers

CONFIG = '''"""nbgrader's settings for this class. Change the time limits here; the rest keeps the course's checks and nbgrader in step."""

from pathlib import Path

from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.preprocessors import ClearSolutions, Execute, OverwriteCells
from nbgrader.utils import is_solution

from autograder.gradebook.nbgrader_steps import OnlyVerdicts, RestoreCells
from autograder.release.nbgrader_release import ReleaseSolutions

ANSWER_SECONDS = {answer_seconds}  # longest time for a cell in which a student answers
CELL_SECONDS = {cell_seconds}  # and for every other cell, checks included

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = {course_id!r}
c.CourseDirectory.root = str(Path(__file__).resolve().parent)

c.GenerateAssignment.preprocessors = [
    ReleaseSolutions if step is ClearSolutions else step for step in GenerateAssignment().preprocessors
]
c.Autograde.sanitize_preprocessors = [
    RestoreCells if step is OverwriteCells else step for step in Autograde().sanitize_preprocessors
]
c.Autograde.autograde_preprocessors = [
    kept for step in Autograde().autograde_preprocessors for kept in ([step, OnlyVerdicts] if step is Execute else [step])
]
c.OverwriteCells.add_missing_cells = True  # a deleted check is put back
c.Execute.timeout_func = lambda cell: ANSWER_SECONDS if is_solution(cell) else CELL_SECONDS
c.Execute.skip_cells_with_tag = "train"  # cells that train for long; no check needs them
'''

README = """# {name}

Every command is typed in this folder, in the environment of the course.

1. **Release.** Done: `release/` holds what students get ({assignments}).
   After you change `source/`: `nbgrader generate_assignment ASSIGNMENT --force`.
2. **Collect.** Put each notebook at `submitted/STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb`, for example `{example}`.
   Students should hand in the file under its own name. Who hands in again replaces it: the latest counts, the former score is not kept.
   Optional: `timestamp.txt` beside it with the time of submission, such as `2026-03-01 18:00 UTC`, and a due date,
   `nbgrader db assignment add ASSIGNMENT --duedate="2026-03-01 18:00 UTC"`; being late costs nothing unless you set a penalty as nbgrader's
   manual says.
3. **Grade.** `autograder grade .` grades what is new or changed; run it as often as you like. A change of the course (its checks, its library)
   counts too and has everything graded again: keep to one version for a term. Students' code runs shut in by bubblewrap, or by Landlock where that
   does not work; where neither does, the command says so and stops (`course doctor` tells which).
4. **Look.** `autograder report .` prints a table and writes `report.html`.
   Marks and comments by hand: `jupyter lab`, then *Nbgrader → Formgrader*. They survive grading again, flagged there for another look.
5. **Return.** `nbgrader generate_feedback ASSIGNMENT --force` writes `feedback/STUDENT/ASSIGNMENT/ASSIGNMENT.html`;
   again, with `--force`, after every grading and every mark by hand.
6. **Export.** `nbgrader export --to grades.csv`.
7. **Appeal.** The feedback has every case with its message. Run the student's notebook, mark by hand where you agree, then steps 5 and 6.

How points come about: the cases of an exercise are worth the same share each. In a bug hunt nothing counts before the bug is mended; elsewhere, what
an empty answer would pass too counts only beside something that is right. An exercise that calls an earlier one of the student's own suffers from its
mistakes. A prediction earns its point for being written down, whatever it says.

Stock `nbgrader autograde ASSIGNMENT` gives honest work the same scores, more slowly, and with your own rights.
A submission that ended early (crashed, timeout, memory) keeps what it had earned until then; one that tampered (wrote to the grader's own channel),
or that cannot be read, has 0 points. The reason is in the table of step 3 and in `report.html`. Checks that were edited or deleted are put back and
run as released.

Each student's hidden inputs are drawn from `.secret`, which only you may read: keep it. `autograder grade . --seed-of STUDENT` prints the seed of
one student: the same seed gives the same draws.
"""


@dataclass(frozen=True)
class Classroom:
    """A class on disk. Raises nothing by itself; `open_class` looks whether it is one."""

    folder: Path

    @property
    def gradebook(self) -> Path:
        return self.folder / "gradebook.db"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def assignments(self) -> list[str]:
        """What has been released, by name."""
        return sorted(path.parent.name for path in self.folder.glob("source/*/*.ipynb") if path.stem == path.parent.name)

    @property
    def course_id(self) -> str:
        with sqlite3.connect(f"{self.gradebook.as_uri()}?mode=ro", uri=True) as database:
            row = database.execute("select course_id from assignment limit 1").fetchone()
        return row[0]

    def submitted(self, student: str, assignment: str) -> Path:
        return self.folder / "submitted" / student / assignment

    def autograded(self, student: str, assignment: str) -> Path:
        return self.folder / "autograded" / student / assignment


def find_class(folder: Path) -> Classroom:
    """The class in a folder, its gradebook left alone. Raises `CourseError` when there is none."""
    folder = folder.absolute()
    if not folder.is_dir():
        raise CourseError(f"no folder {folder}; make a class with `autograder new {folder.name} --chapters 03`")
    room = Classroom(folder)
    missing = [name for name in ("nbgrader_config.py", "gradebook.db", "source") if not (folder / name).exists()]
    if missing:
        raise CourseError(f"{folder} is no class: it has no {missing[0]}; make one with `autograder new`")
    if not room.assignments:
        raise CourseError(f"{folder} holds no assignment; make a new class with `autograder new`")
    return room


def open_class(folder: Path) -> Classroom:
    """The class in a folder. Raises `CourseError` when there is none, or when its gradebook cannot be read."""
    room = find_class(folder)
    try:
        _ = room.course_id
    except (sqlite3.Error, TypeError) as error:
        reason = "it knows no assignment" if isinstance(error, TypeError) else str(error)
        raise CourseError(
            f"{room.gradebook} cannot be used: {reason}; restore it from a copy, or run `nbgrader generate_assignment --force`"
        ) from None
    return room


def create(folder: Path, chapters: list[str], lang: str = "en", *, answer_seconds: int = ANSWER_SECONDS, quiet: bool = False) -> None:
    """Make the folder of a class and release its chapters. Raises `CourseError`; then nothing has been made.

    chapters  as `find_chapter` knows them
    lang      en or zh
    answer_seconds  longest time in grading for a cell in which a student answers
    """
    if lang not in LANGUAGES:
        raise CourseError(f"unknown language {lang!r}; there are {', '.join(LANGUAGES)}")
    if not chapters:
        raise CourseError("a class needs at least one chapter, such as --chapters 03")
    wanted = list(dict.fromkeys(find_chapter(name) for name in chapters))
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(f"{folder} exists already and is not an empty folder; choose another name")
    sources = _sources(wanted, lang)
    with _built_aside(folder) as aside:
        try:
            _fill(aside, folder.name, sources, answer_seconds)
        except CourseError:
            raise
        except OSError as error:
            raise CourseError(f"cannot write {folder}: {error.strerror or error}") from None
    if not quiet:
        typer.echo(f"Made {folder} with {', '.join(sources)}. Its README.md says how to go on.")


def _sources(wanted: list[Chapter], lang: str) -> dict[str, str]:
    """Each chapter's notebook with solutions and markers, by assignment."""
    try:
        return {chapter.slug: to_text(notebook(chapter, "instructor", lang)) for chapter in wanted}
    except SourceError as error:
        raise CourseError(f"{error.problems[0]} (run `course build --check` for all)") from None


@contextmanager
def _built_aside(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its name at the end and is removed when anything fails."""
    try:
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise CourseError(f"cannot make {folder}: {error.strerror or error}") from None
    try:
        yield aside
        aside.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _fill(folder: Path, name: str, sources: dict[str, str], answer_seconds: int) -> None:
    course_id = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "course"
    write_whole(folder / "nbgrader_config.py", CONFIG.format(course_id=course_id, answer_seconds=answer_seconds, cell_seconds=CELL_SECONDS))
    example = f"submitted/ada/{next(iter(sources))}/{next(iter(sources))}.ipynb"
    write_whole(folder / "README.md", README.format(name=name, assignments=", ".join(sources), example=example))
    for room in ("submitted", "logs"):
        (folder / room).mkdir()
    for assignment, text in sources.items():
        (folder / "source" / assignment).mkdir(parents=True)
        write_whole(folder / "source" / assignment / f"{assignment}.ipynb", text)
    with tempfile.TemporaryDirectory() as scratch:
        for assignment in sources:
            stock.nbgrader(folder, "generate_assignment", assignment, log=folder / "logs" / f"release-{assignment}.log", scratch=Path(scratch))
    os.chmod(folder / "gradebook.db", 0o600)  # it holds people's marks
    secret.read(folder)  # makes it

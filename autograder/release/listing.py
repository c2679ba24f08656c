"""Lists exercises for authors and instructors."""

from rich.console import Console
from rich.table import Table

from autograder.errors import CourseError
from autograder.release.build import ExerciseInfo, exercise_infos
from autograder.release.chapters import chapters, find_chapter
from autograder.release.source import SourceError


def infos(chapter: str | None = None) -> list[ExerciseInfo]:
    """The exercises of one chapter, or of all. Raises `CourseError` when a source is wrong."""
    wanted = [find_chapter(chapter)] if chapter else chapters()
    try:
        return [info for item in wanted for info in exercise_infos(item)]
    except SourceError as error:
        raise CourseError(f"{error.problems[0]} (run `course build --check` for all)") from None


def show(found: list[ExerciseInfo]) -> None:
    """A table on the terminal."""
    table = Table(title=f"{len(found)} exercises, {sum(info.points for info in found):g} points, {sum(info.minutes for info in found)} minutes")
    for heading in ("exercise", "level", "minutes", "points", "cases", "wrong", "right"):
        table.add_column(heading, justify="left" if heading == "exercise" else "right")
    for info in found:
        counts = (len(info.cases), len(info.wrong), len(info.right))
        table.add_row(info.id, str(info.level), str(info.minutes), f"{info.points:g}", *map(str, counts))
    Console().print(table)

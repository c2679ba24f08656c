"""The worked solution of one exercise, with what its check demands and what others got wrong."""

import difflib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from autograder.checking.cases import Mismatch, Run
from autograder.checking.exercise import Exercise, chapter_names, load_chapter
from autograder.errors import CourseError
from autograder.release.chapters import ROOT, find_chapter
from autograder.release.source import read, with_solution


@dataclass(frozen=True)
class Solution:
    """code is the exercise's cell solved; demands are the check's cases, each with its hint ("" for none); wrongs are named mistakes."""

    exercise: Exercise
    code: str
    demands: tuple[tuple[str, str], ...]
    wrongs: tuple[str, ...]


def solution_of(chapter: str, exercise: str, root: Path = ROOT) -> Solution:
    """The solution of "softmax" or "backprop.softmax" in chapter "03". `CourseError` with a suggestion when there is none."""
    found = find_chapter(chapter, root / "solutions")
    items = {item.name: item for item in load_chapter(found.name)} if found.name in chapter_names() else {}
    name = exercise.removeprefix(f"{found.name}.")
    if name not in items:
        near = difflib.get_close_matches(name, items, 1)
        instead = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(items) or 'none yet'}"
        raise CourseError(f"chapter {found.slug} has no exercise {exercise!r}; {instead}")
    cells = [cell for cell in read(found.source).cells if cell.keys.get("exercise") == name]
    if not cells:
        raise CourseError(f"{found.source.name} has no cell for exercise {name!r}; `course build --check` says more")
    item = items[name]
    return Solution(item, with_solution(cells[0].text), _demands(item), tuple(variant.name for variant in item.wrongs))


def show_solution(chapter: str, exercise: str, confirmed: bool = False, root: Path = ROOT) -> None:
    """Show a solution on the terminal, after asking whether you have tried unless `confirmed`."""
    solution = solution_of(chapter, exercise, root)
    if not confirmed and not _have_tried():
        typer.echo("Then try first: run its check, read the hints, come back when you are stuck.")
        return
    console = Console(highlight=False)
    console.print(Text(f"{solution.exercise.id}: {solution.exercise.title}", "bold"), soft_wrap=True)
    console.print()
    if console.is_terminal:
        console.print(Syntax(solution.code, "python", theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        console.print(Text(solution.code), soft_wrap=True)
    console.print(Text("\nWhat the check demands", "bold"))
    for case, hint in solution.demands:
        console.print(Text(f"  • {case}"), soft_wrap=True)
        if hint:
            console.print(Text(f"      {hint}"), soft_wrap=True)
    if solution.wrongs:
        console.print(Text("\nWhat others got wrong", "bold"))
        for wrong in solution.wrongs:
            console.print(Text(f"  • {wrong}"), soft_wrap=True)


class _WrongStudent:
    """Whatever a check asks of it is wrong, so that every case gives its hint away."""

    last_arguments: tuple = ()
    last_changed: tuple[int, ...] = ()

    def __getattr__(self, name: str) -> Any:
        raise Mismatch(f"{name} is wrong on purpose")


def _demands(item: Exercise) -> tuple[tuple[str, str], ...]:
    result = item.run_with(_WrongStudent(), Run(item.seconds))
    return tuple((case.name, case.hint) for case in result.cases if case.outcome != "broken")


def _have_tried() -> bool:
    if not sys.stdin.isatty():
        raise CourseError("nobody is there to say whether you have tried; add --yes to see the solution")
    try:
        return typer.confirm("Have you tried?", default=False)
    except typer.Abort:  # Ctrl-C, or the terminal went away
        raise KeyboardInterrupt from None

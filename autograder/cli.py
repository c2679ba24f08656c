"""The commands: `course` for learners and authors, `autograder` for instructors.

Everything heavy is imported by the command that needs it, so that `--help` answers at once.
"""

import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from autograder.errors import CourseError

# Typer's own kind of usage error; it carries click inside since 0.16, and names no public class for it.
UsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Program(typer.Typer):
    """A Typer program that answers a wrong command line with one line, as it answers every other mistake."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().__call__(*arguments, standalone_mode=False, **options)
        except UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(error.format_message())  # pyright: ignore[reportAttributeAccessIssue]  (the help)
                raise SystemExit(2) from None
            message = error.format_message().rstrip(".")  # pyright: ignore[reportAttributeAccessIssue]
            _fail(f"{message} (see {Path(sys.argv[0]).name} --help)", code=2)
        except typer.Exit as ended:
            raise SystemExit(ended.exit_code) from None
        except (typer.Abort, KeyboardInterrupt):
            _stopped()


course = Program(help="Large Models from Scratch: for learners and authors.", no_args_is_help=True, pretty_exceptions_enable=False)
autograder = Program(help="Large Models from Scratch: for instructors.", no_args_is_help=True, pretty_exceptions_enable=False)

ClassFolder = Annotated[Path, typer.Argument(metavar="CLASS", help="The folder of a class, as `autograder new` makes it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command that answers a person's mistakes with one line and exit code 1, and Ctrl-C with exit code 130."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def guarded(*arguments: Any, **options: Any) -> Any:
            try:
                return function(*arguments, **options)
            except CourseError as error:
                _fail(str(error))
            except BrokenPipeError:  # `course ... | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise SystemExit(141) from None
            except OSError as error:
                _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
            except KeyboardInterrupt:
                _stopped()

        return app.command(name)(guarded)

    return register


def _fail(message: str, code: int = 1) -> None:
    typer.echo(" ".join(message.split()), err=True)
    raise SystemExit(code)


def _stopped() -> None:
    typer.echo("\nStopped.", err=True)
    raise SystemExit(130)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


# For learners and authors


@command(course)
def lab(
    chapters: Annotated[list[str] | None, typer.Argument(help="Chapters such as 03; all of them by default.")] = None,
    folder: Annotated[Path, typer.Option(help="Where your own copies are kept.")] = Path("my_course"),
    port: Annotated[int, typer.Option(help="Port of JupyterLab.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    only_copy: Annotated[bool, typer.Option("--only-copy", help="Copy the chapters and stop.")] = False,
) -> None:
    """Copy the chapters into your own folder, never over your work, and open JupyterLab there."""
    from autograder.release import lab as room

    room.report(room.prepare(folder, chapters or None))
    if not only_copy:
        room.launch(folder, port=port, browser=browser)


@command(course)
def check(
    notebook: Annotated[Path, typer.Argument(help="A chapter's notebook with your answers.")],
    seconds: Annotated[int, typer.Option(help="Longest time for one cell.")] = 120,
    train: Annotated[bool, typer.Option(help="Also run the figures, and the cells that train for more than a few seconds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run every check of a notebook without a browser. Exit code 0 when all are solved, 2 when some are not."""
    from autograder.checking import notebook as room

    report = room.check_notebook(notebook, seconds=seconds, train=train)
    _print_json(report.as_dict()) if as_json else room.show(report)
    raise SystemExit(0 if report.solved else 2)


@command(course)
def progress(chapter: Annotated[str | None, typer.Argument(help="One chapter; all by default.")] = None, as_json: AsJson = False) -> None:
    """Show what you have solved and predicted so far."""
    from autograder.checking import overview as room

    rows = room.overview(chapter)
    _print_json([asdict(row) for row in rows]) if as_json else room.show(rows)


@command(course)
def solution(
    chapter: Annotated[str, typer.Argument(help="A chapter such as 03.")],
    exercise: Annotated[str, typer.Argument(help="An exercise such as softmax.")],
    yes: Annotated[bool, typer.Option("--yes", help="You have tried; do not ask.")] = False,
) -> None:
    """Show the worked solution of one exercise, with its reasons."""
    from autograder.release import solve as room

    room.show_solution(chapter, exercise, confirmed=yes)


@command(course)
def doctor() -> None:
    """Examine this machine: Python, packages, CPU and GPU, disk, Jupyter. Say how to mend what is amiss."""
    from autograder import doctor as room

    findings = room.examine()
    typer.echo(room.render(findings))
    raise SystemExit(0 if room.healthy(findings) else 1)


@command(course)
def build(
    chapters: Annotated[list[str] | None, typer.Argument(help="Chapters such as 03; all by default.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a source is wrong or a notebook is stale.")] = False,
    lang: Annotated[list[str] | None, typer.Option(help="Editions to build: en, zh.")] = None,
    solutions: Annotated[Path | None, typer.Option(help="Write solution notebooks into this folder instead.")] = None,
) -> None:
    """Build the student notebooks from the chapters' sources."""
    from autograder.release import build as room
    from autograder.release.chapters import ROOT, find_chapter
    from autograder.release.source import LANGUAGES, SourceError

    langs = tuple(lang or ("en",))
    if unknown := [name for name in langs if name not in LANGUAGES]:
        raise CourseError(f"unknown language {unknown[0]!r}; there are {', '.join(LANGUAGES)}")
    wanted = [find_chapter(name) for name in chapters] if chapters else None
    try:
        if solutions is not None:
            files = room.build_solutions(solutions, langs, only=wanted)
        else:
            files = room.build(langs, only=wanted)
    except SourceError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise SystemExit(1) from None
    if check:
        lines = room.stale(files, complete=wanted is None)
        for line in lines:
            typer.echo(line, err=True)
        if not lines:
            typer.echo(f"{_notebooks(files)} up to date.")
        raise SystemExit(1 if lines else 0)
    written = room.write(files)
    for path in written:
        typer.echo(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
    typer.echo(f"{_notebooks(files)} up to date, {len(written)} written.")


def _notebooks(files: dict) -> str:
    return "1 notebook is" if len(files) == 1 else f"{len(files)} notebooks are"


# For instructors


@command(autograder)
def new(
    folder: ClassFolder,
    chapters: Annotated[str, typer.Option(help="Chapters to release, such as 03 or 03,04.")],
    lang: Annotated[str, typer.Option(help="Edition: en or zh.")] = "en",
) -> None:
    """Make the folder of a class, in which stock nbgrader works too."""
    from autograder.gradebook import classroom as room

    room.create(folder, [name.strip() for name in chapters.split(",") if name.strip()], lang=lang)


@command(autograder)
def grade(
    folder: ClassFolder,
    assignment: Annotated[str | None, typer.Option(help="One assignment, such as 03_backprop.")] = None,
    student: Annotated[str | None, typer.Option(help="One student.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Grade again what is graded already.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many at a time; as many as there are processors by default.")] = None,
    stock: Annotated[bool, typer.Option("--stock", help="Let stock nbgrader grade, with your own rights.")] = False,
    no_sandbox: Annotated[bool, typer.Option("--no-sandbox", help="Run students' programs with your own rights.")] = False,
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Grade on a Dask cluster, such as tcp://node1:8786.")] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Grade one of N shares into CLASS/shards, for `autograder merge`; nothing else is written.")
    ] = None,
    cell_seconds: Annotated[float, typer.Option(min=0.1, help="Longest time for one cell.")] = 30,
    submission_seconds: Annotated[float, typer.Option(min=1, help="Longest time for one submission.")] = 300,
    memory: Annotated[int, typer.Option(min=64, help="Most memory of one submission, in MB.")] = 1536,
    all_cells: Annotated[bool, typer.Option("--all-cells", help="Also run the chapter's demonstrations, on which no score depends.")] = False,
    seed_of: Annotated[str | None, typer.Option(metavar="STUDENT", help="Grade nothing; print what a student's draws come from.")] = None,
    as_json: AsJson = False,
) -> None:
    """Grade what has been submitted, each notebook behind walls of its own. One bad submission never stops the others."""
    from autograder.engine.sandbox import Limits
    from autograder.gradebook import grading as room

    if seed_of is not None:
        seeds = room.seeds_of(folder, seed_of, assignment)
        _print_json(seeds) if as_json else typer.echo("\n".join(f"{name} {seed}" for name, seed in seeds.items()))
        return
    options: dict[str, Any] = {"quiet": as_json, "jobs": jobs, "sandbox": not no_sandbox, "dask": dask, "all_cells": all_cells}
    options["limits"] = Limits(cell=cell_seconds, submission=submission_seconds, memory=memory * 2**20)
    if shard is None:
        results = room.grade(folder, assignment, student, force, stock=stock, **options)
    elif stock:
        raise CourseError("--stock lets nbgrader write the gradebook by itself; --shard is for the engine")
    else:
        from autograder.gradebook import shards

        results = shards.grade(folder, shard, assignment, student, force, **options)
    _print_json([asdict(result) for result in results]) if as_json else room.show(results)


@command(autograder)
def merge(
    folder: ClassFolder,
    assignment: Annotated[str | None, typer.Option(help="One assignment, such as 03_backprop.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record what `grade --shard` has found. Exit code 0 when all that is submitted is graded, 2 when something is missing."""
    from autograder.gradebook import shards as room

    merged = room.merge(folder, assignment, quiet=as_json)
    _print_json(asdict(merged)) if as_json else room.show(merged)
    raise SystemExit(2 if merged.missing else 0)


@command(autograder)
def report(
    folder: ClassFolder,
    html: Annotated[Path | None, typer.Option(help="Where to write the page; CLASS/report.html by default.")] = None,
) -> None:
    """Show a class: a table here, and a page with plots."""
    from autograder.gradebook import report as room

    room.report(folder, html)


@command(autograder)
def exercises(chapter: Annotated[str | None, typer.Argument(help="One chapter; all by default.")] = None, as_json: AsJson = False) -> None:
    """List the exercises: points, cases, known-wrong and also-right solutions, minutes, level."""
    from autograder.release import listing as room

    infos = room.infos(chapter)
    _print_json([asdict(info) for info in infos]) if as_json else room.show(infos)


@command(autograder)
def demo(
    folder: Annotated[Path, typer.Option(help="Where to make the demo class; replaced when it is there already.")] = Path("demo_class"),
    as_json: AsJson = False,
) -> None:
    """Release, plant a class, grade and report it. Fails unless every score equals the planted truth."""
    from autograder.gradebook import demo as room

    raise SystemExit(0 if room.demo(folder, as_json=as_json) else 1)


@command(autograder)
def bench(
    students: Annotated[int, typer.Option(min=1, help="Size of the class.")] = 40,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many at a time in the engine.")] = None,
    all_cells: Annotated[bool, typer.Option("--all-cells", help="The engine, too, runs the chapter's demonstrations.")] = False,
    train: Annotated[bool, typer.Option("--train", help="Leave the cells that train in the notebooks; nbgrader runs them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Grade the same class by stock nbgrader and by the engine, and compare time and scores."""
    from autograder.gradebook import bench as room

    measured = room.bench(students, jobs, all_cells, train, quiet=as_json)
    room.show(measured, as_json)
    raise SystemExit(0 if measured.same_scores else 1)

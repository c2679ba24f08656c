"""Reads a chapter's source (jupytext percent format with short header keys) and finds every mistake in it."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext

from autograder.checking.exercise import Exercise

LANGUAGES = ("en", "zh")
# key → type of its value; `train` is a word without a value
KEYS: dict[str, type] = {
    "lang": str, "exercise": str, "minutes": int, "level": int, "check": str, "predict": str,
    "essay": str, "points": int, "figure": str, "alt": str, "train": bool,
}  # fmt: skip
JUPYTEXT_KEYS = {"lines_to_next_cell", "lines_to_end_of_cell_marker"}
BEGIN, ELSE, END = "### BEGIN SOLUTION", "### ELSE BROKEN", "### END SOLUTION"
CELL_START = re.compile(r"^# ?%%(\s|$|%)")
REVEAL = re.compile(r"""predict\.reveal\(\s*["']([^"']+)["']""")
CHECK = re.compile(r"""\bcheck\(\s*["']([^"']+)["']""")


@dataclass(frozen=True)
class Problem:
    """One mistake in a source: file and line, and what to do about it."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}:{self.line}: {self.message}"


class SourceError(Exception):
    """A chapter cannot be built. Holds every problem found, not only the first."""

    def __init__(self, problems: list[Problem]):
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True)
class Cell:
    """One cell of a source. `reveals` names the prediction that a code cell shows against its outcome."""

    kind: str
    text: str
    keys: dict[str, Any]
    line: int

    @property
    def reveals(self) -> str | None:
        match = REVEAL.search(self.text) if self.kind == "code" else None
        return match[1] if match else None


@dataclass(frozen=True)
class Source:
    """A chapter's source, read and found without mistakes in form."""

    path: Path
    cells: tuple[Cell, ...]
    problems: tuple[Problem, ...] = field(default=())


def read(path: Path) -> Source:
    """Parse a source file. Mistakes in the headers are collected in `problems`. OSError when it cannot be read."""
    text = path.read_text(encoding="utf-8")
    starts = [number for number, line in enumerate(text.splitlines(), 1) if CELL_START.match(line)]
    raw = jupytext.reads(text, "py:percent").cells
    if len(raw) == len(starts) + 1:  # what stands before the first cell is the author's note
        raw = raw[1:]
    if len(raw) != len(starts):
        return Source(path, (), (Problem(path, 1, f"{len(starts)} lines start with '# %%', but {len(raw)} cells were read"),))
    problems: list[Problem] = []
    cells = []
    for cell, line in zip(raw, starts, strict=True):
        keys = {key: value for key, value in cell.metadata.items() if key not in JUPYTEXT_KEYS}
        if (word := keys.pop("title", None)) is not None:
            keys[word] = True
        for key, value in keys.items():
            if key not in KEYS:
                problems.append(Problem(path, line, f"unknown header key {key!r}; known are {', '.join(sorted(KEYS))}"))
            elif not isinstance(value, KEYS[key]):
                problems.append(Problem(path, line, f"header key {key!r} takes a {KEYS[key].__name__}, got {value!r}"))
        cells.append(Cell(cell.cell_type, cell.source, {key: value for key, value in keys.items() if key in KEYS}, line))
    return Source(path, tuple(cells), tuple(problems))


def check_source(source: Source, chapter: str, exercises: list[Exercise]) -> list[Problem]:
    """Everything that is wrong with a chapter, against the exercises that its exercises file defines."""
    problems = list(source.problems)

    def complain(line: int, message: str) -> None:
        problems.append(Problem(source.path, line, message))

    defined = {item.name: item for item in exercises}
    written: dict[str, Cell] = {}
    checked: dict[str, Cell] = {}
    predicted: dict[str, Cell] = {}
    revealed: dict[str, Cell] = {}
    essays: dict[str, Cell] = {}
    for cell in source.cells:
        _check_form(cell, complain)
        for key, seen in (("exercise", written), ("check", checked), ("predict", predicted), ("essay", essays)):
            name = cell.keys.get(key)
            if name in seen:
                complain(cell.line, f"duplicate id: {key}={name!r} stands already at line {seen[name].line}")
            elif name is not None:
                seen[name] = cell
        if "check" in cell.keys:
            _check_check(cell, chapter, written, complain)
        if cell.reveals:
            name = cell.reveals.removeprefix(f"{chapter}.")
            if name == cell.reveals:
                complain(cell.line, f'predict.reveal("{name}") should name the chapter: "{chapter}.{name}"')
            if name in revealed:
                complain(cell.line, f"prediction {name!r} is revealed twice; first at line {revealed[name].line}")
            if name not in predicted:
                complain(cell.line, f"nothing is predicted under {name!r} before this cell reveals it")
            if "train" in cell.keys:
                complain(cell.line, "a `train` cell is skipped in grading, so it cannot reveal a prediction; reveal it in the next cell")
            revealed[name] = cell
    for name, cell in written.items():
        if name not in checked:
            complain(cell.line, f'exercise {name!r} has no check; add a cell # %% check="{name}"')
        if name not in defined:
            complain(cell.line, f"exercise {name!r} is not defined in autograder/exercises/{chapter}.py")
    for name, cell in predicted.items():
        if name not in revealed:
            complain(cell.line, f'prediction {name!r} is never revealed; call predict.reveal("{chapter}.{name}", guess=..., truth=...)')
    for name in defined:
        if name not in written:
            complain(1, f'autograder/exercises/{chapter}.py defines {name!r}, but no cell has exercise="{name}"')
    return sorted(problems, key=lambda problem: problem.line)


def _check_form(cell: Cell, complain: Callable[[int, str], None]) -> None:
    """What one cell must have by itself."""
    keys = cell.keys
    if keys.get("lang", "en") not in LANGUAGES:
        complain(cell.line, f"unknown language {keys['lang']!r}; known are {', '.join(LANGUAGES)}")
    if "lang" in keys and cell.kind != "markdown":
        complain(cell.line, "only markdown cells have a language; code is shared by all editions")
    roles = [key for key in ("exercise", "check", "predict", "essay", "figure", "train") if key in keys]
    if len(roles) > 1:
        complain(cell.line, f"a cell has one role; this one has {' and '.join(roles)}")
    wanted_kind = "markdown" if "essay" in keys else "code" if roles else cell.kind
    if cell.kind != wanted_kind:
        complain(cell.line, f"a cell with {roles[0]!r} must be a {wanted_kind} cell")
    if "exercise" in keys:
        if keys.get("level") not in (1, 2, 3):
            complain(cell.line, f"exercise {keys['exercise']!r} needs level=1, 2 or 3")
        if not keys.get("minutes", 0) > 0:
            complain(cell.line, f"exercise {keys['exercise']!r} needs minutes=…")
        if BEGIN not in cell.text:
            complain(cell.line, f"exercise {keys['exercise']!r} has no solution between {BEGIN!r} and {END!r}")
    elif stray := [mark for mark in (BEGIN, ELSE, END) if mark in cell.text]:
        complain(cell.line, f"{stray[0]!r} stands in a cell that is no exercise")
    if "essay" in keys and not keys.get("points", 0) > 0:
        complain(cell.line, f"essay {keys['essay']!r} needs points=…")
    if "figure" in keys and not keys.get("alt", "").strip():
        complain(cell.line, f"figure {keys['figure']!r} needs alt=…, its text equivalent")
    for key, owners in (("level", ("exercise",)), ("minutes", ("exercise",)), ("alt", ("figure",)), ("points", ("essay", "predict"))):
        if key in keys and not any(owner in keys for owner in owners):
            complain(cell.line, f"{key!r} belongs to a cell with {' or '.join(owners)}")
    for line, message in _marker_problems(cell):
        complain(line, message)
    if "exercise" in keys and not list(_marker_problems(cell)):
        for edition, text in (("with its solution", with_solution(cell.text)), ("as students get it", without_solution(cell.text))):
            try:
                ast.parse(text)
            except SyntaxError as error:
                complain(cell.line + (error.lineno or 1), f"exercise {keys['exercise']!r} {edition} is not Python: {error.msg}")


def _check_check(cell: Cell, chapter: str, written: dict[str, Cell], complain: Callable[[int, str], None]) -> None:
    name = cell.keys["check"]
    called = CHECK.findall(cell.text)
    if name not in written:
        complain(cell.line, f'check {name!r} has no exercise before it; add a cell # %% exercise="{name}"')
    if called != [f"{chapter}.{name}"]:
        complain(cell.line, f'the cell must call check("{chapter}.{name}", …) once; it calls {called or "nothing"}')
    try:
        last = ast.parse(cell.text).body[-1]
    except (SyntaxError, IndexError):
        last = None
    if not (isinstance(last, ast.Expr) and isinstance(last.value, ast.Call)):
        complain(cell.line, "check(…) must be the last expression of its cell, or its score is not seen")


def _marker_problems(cell: Cell) -> Iterator[tuple[int, str]]:
    """Solution markers without their partners."""
    opened: int | None = None
    broken = False
    for number, line in enumerate(cell.text.splitlines(), cell.line + 1):
        mark = line.strip()
        if mark == BEGIN:
            if opened is not None:
                yield number, f"{BEGIN!r} inside the one that began at line {opened}"
            opened, broken = number, False
        elif mark == ELSE:
            if opened is None or broken:
                yield number, f"{ELSE!r} without a {BEGIN!r} of its own"
            broken = True
        elif mark == END:
            if opened is None:
                yield number, f"{END!r} without {BEGIN!r}"
            opened = None
        elif any(word in line for word in (BEGIN, ELSE, END)):
            yield number, f"a solution marker must stand alone on its line, got {mark!r}"
        elif broken and opened is not None and mark and not mark.startswith("#"):
            yield number, f"what follows {ELSE!r} must be commented out"
    if opened is not None:
        yield opened, f"{BEGIN!r} without {END!r}"


def with_solution(text: str) -> str:
    """The cell as in the solution notebook: markers and broken parts gone."""
    return _select(text, lambda solution, _broken, _indent: solution)


def without_solution(text: str) -> str:
    """The cell as students get it: the broken part of a bug hunt uncommented, else a stub."""

    def choose(_solution: list[str], broken: list[str] | None, indent: str) -> list[str]:
        if broken is None:
            return [f"{indent}raise NotImplementedError"]
        return [_uncomment(line) for line in broken]

    return _select(text, choose)


def _select(text: str, choose: Callable[[list[str], list[str] | None, str], list[str]]) -> str:
    lines: list[str] = []
    solution: list[str] = []
    broken: list[str] | None = None
    indent: str | None = None  # of the region being read; None outside one
    for line in text.splitlines():
        mark = line.strip()
        if mark == BEGIN:
            indent, solution, broken = line[: len(line) - len(line.lstrip())], [], None
        elif mark == END and indent is not None:
            lines.extend(choose(solution, broken, indent))
            indent = None
        elif mark == ELSE and indent is not None:
            broken = []
        elif indent is None:
            lines.append(line)
        elif broken is not None:
            broken.append(line)
        else:
            solution.append(line)
    return "\n".join(lines)


def _uncomment(line: str) -> str:
    return re.sub(r"^(\s*)# ?", r"\1", line, count=1)

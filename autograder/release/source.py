"""Reads a chapter's source (jupytext percent format with short header keys) and finds every mistake in it."""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext

from autograder.checking.exercise import Exercise
from autograder.release.chapters import CHECK, REVEAL

LANGUAGES = ("en", "zh")
# key → type of its value; `train` is a word without a value
KEYS: dict[str, type] = {
    "lang": str, "exercise": str, "minutes": int, "level": int, "check": str, "predict": str,
    "essay": str, "points": int, "figure": str, "alt": str, "train": bool,
}  # fmt: skip
TYPES = {str: "text in quotes", int: "a whole number", bool: "no value"}
JUPYTEXT_KEYS = {"lines_to_next_cell", "lines_to_end_of_cell_marker"}
BEGIN, ELSE, END = "### BEGIN SOLUTION", "### ELSE BROKEN", "### END SOLUTION"
CELL_START = re.compile(r"^# ?%%(\s|$|%)")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}")  # becomes part of a cell's id


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
    """Parse a source file. Mistakes in its form are collected in `problems`. OSError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        return Source(path, (), (Problem(path, line, "the file is not UTF-8; save it as UTF-8"),))
    starts = [number for number, line in enumerate(text.splitlines(), 1) if CELL_START.match(line)]
    if not starts:
        return Source(path, (), (Problem(path, 1, "there is no cell: no line starts with '# %%'"),))
    raw = jupytext.reads(text, "py:percent").cells
    if len(raw) == len(starts) + 1:  # what stands before the first cell is the author's note
        raw = raw[1:]
    if len(raw) != len(starts):
        return Source(path, (), (Problem(path, 1, f"{len(starts)} lines start with '# %%', but {len(raw)} cells were read"),))
    problems: list[Problem] = []
    cells = []
    for cell, line in zip(raw, starts, strict=True):
        keys, complaints = _header(cell.metadata)
        problems.extend(Problem(path, line, complaint) for complaint in complaints)
        cells.append(Cell(cell.cell_type, cell.source, keys, line))
    return Source(path, tuple(cells), tuple(problems))


def _header(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The keys of a cell's header that are as they should be, and complaints about the others."""
    given = {key: value for key, value in metadata.items() if key not in JUPYTEXT_KEYS}
    if "incorrectly_encoded_metadata" in given:
        return {}, [f"the header {given['incorrectly_encoded_metadata']!r} cannot be read; write key=value, with quotes around text"]
    if (word := given.pop("title", None)) is not None:
        given[word] = None
    keys: dict[str, Any] = {}
    complaints = []
    for key, value in given.items():
        if key not in KEYS:
            complaints.append(f"unknown header key {key!r}; known are {', '.join(sorted(KEYS))}")
        elif KEYS[key] is bool and value is None:
            keys[key] = True
        elif KEYS[key] is not bool and type(value) is KEYS[key]:
            keys[key] = value
        else:
            complaints.append(f"header key {key!r} takes {TYPES[KEYS[key]]}" + ("" if value is None else f", got {value!r}"))
    return keys, complaints


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
            if name is None:
                continue
            if not NAME.fullmatch(name):
                complain(cell.line, f"{key}={name!r} is no name: it takes up to 48 letters, digits, _ and -, beginning with a letter")
            if twin := next((other for other in seen if other.replace("-", "_") == name.replace("-", "_")), None):
                complain(cell.line, f"duplicate id: {key}={twin!r} stands already at line {seen[twin].line}")
            else:
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
            _check_reveal(cell, predicted.get(name), complain)
            if "train" in cell.keys:
                complain(cell.line, "a `train` cell is skipped in grading, so it cannot reveal a prediction; reveal it in the next cell")
            revealed[name] = cell
    for name, cell in written.items():
        if name not in checked:
            complain(cell.line, f'exercise {name!r} has no check; add a cell # %% check="{name}"')
        if name.startswith(("check_", "predict_", "reveal_", "essay_")):
            complain(cell.line, f"exercise {name!r} cannot be told from a cell of that role; call it something else")
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
    if cell.kind not in ("markdown", "code"):
        complain(cell.line, f"a cell is markdown or code, not {cell.kind}")
    if keys.get("lang", "en") not in LANGUAGES:
        complain(cell.line, f"unknown language {keys['lang']!r}; known are {', '.join(LANGUAGES)}")
    if "lang" in keys and cell.kind != "markdown":
        complain(cell.line, "only markdown cells have a language; code is shared by all editions")
    roles = [key for key in ("exercise", "check", "predict", "essay", "figure", "train") if key in keys]
    if cell.reveals and roles not in ([], ["train"]):
        complain(cell.line, f"a prediction is revealed in a cell of its own, not in one with {roles[0]}")
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
    if "predict" in keys and not keys.get("points", 1) > 0:
        complain(cell.line, f"prediction {keys['predict']!r} is worth {keys['points']} points; a positive number is wanted")
    if "figure" in keys and not keys.get("alt", "").strip():
        complain(cell.line, f"figure {keys['figure']!r} needs alt=…, its text equivalent")
    for key, owners in (("level", ("exercise",)), ("minutes", ("exercise",)), ("alt", ("figure",)), ("points", ("essay", "predict"))):
        if key in keys and not any(owner in keys for owner in owners):
            complain(cell.line, f"{key!r} belongs to a cell with {' or '.join(owners)}")
    for line, message in _marker_problems(cell):
        complain(line, message)
    if "exercise" in keys and not list(_marker_problems(cell)):
        for edition, selected in (("with its solution", _select(cell.text, False)), ("as students get it", _select(cell.text, True))):
            try:
                ast.parse("\n".join(line for _, line in selected))
            except SyntaxError as error:
                number = selected[min(error.lineno or 1, len(selected)) - 1][0] if selected else 0
                complain(cell.line + 1 + number, f"exercise {keys['exercise']!r} {edition} is not Python: {error.msg}")


def _check_check(cell: Cell, chapter: str, written: dict[str, Cell], complain: Callable[[int, str], None]) -> None:
    name = cell.keys["check"]
    called = CHECK.findall(cell.text)
    if name not in written:
        complain(cell.line, f'check {name!r} has no exercise before it; add a cell # %% exercise="{name}"')
    if called != [f"{chapter}.{name}"]:
        complain(cell.line, f'the cell must call check("{chapter}.{name}", …) once; it calls {called or "nothing"}')
    if _shown_call(cell.text, "check") is None:
        complain(cell.line, "check(…) must be the last expression of its cell, with no semicolon, or its score is not seen")


def _check_reveal(cell: Cell, prediction: Cell | None, complain: Callable[[int, str], None]) -> None:
    call = _shown_call(cell.text, "predict.reveal")
    if call is None:
        complain(cell.line, "predict.reveal(…) must be the last expression of its cell, with no semicolon, or its score is not seen")
    elif prediction is not None:
        worth = prediction.keys.get("points", 1)
        given = next((ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "points"), "1")
        if given != str(worth):
            complain(cell.line, f"the prediction is worth {worth} points (line {prediction.line}), so predict.reveal must say points={worth}")


def _shown_call(text: str, function: str) -> ast.Call | None:
    """The call of `function` whose value the cell shows; None where it shows another, or none."""
    if re.search(r";\s*(#.*)?$", text):
        return None
    try:
        last = ast.parse(text).body[-1]
    except (SyntaxError, IndexError):
        return None
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) and ast.unparse(last.value.func) == function:
        return last.value
    return None


def _marker_problems(cell: Cell) -> Iterator[tuple[int, str]]:
    """Solution markers without their partners."""
    opened: int | None = None
    broken = False
    for number, line in enumerate(cell.text.split("\n"), cell.line + 1):
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
    return "\n".join(line for _, line in _select(text, for_students=False))


def without_solution(text: str) -> str:
    """The cell as students get it: the broken part of a bug hunt uncommented, else a stub."""
    return "\n".join(line for _, line in _select(text, for_students=True))


def _select(text: str, for_students: bool) -> list[tuple[int, str]]:
    """The lines that one edition shows, each with the number of the line that it comes from."""
    lines: list[tuple[int, str]] = []
    region: tuple[int, str] | None = None  # where the present one began, and its indent
    solution: list[tuple[int, str]] = []
    broken: list[tuple[int, str]] | None = None
    for number, line in enumerate(text.split("\n")):
        mark = line.strip()
        if mark == BEGIN:
            region, solution, broken = (number, line[: len(line) - len(line.lstrip())]), [], None
        elif region is None:
            lines.append((number, line))
        elif mark == END:
            stub = [(region[0], f"{region[1]}raise NotImplementedError")]
            lines.extend(solution if not for_students else stub if broken is None else broken)
            region = None
        elif mark == ELSE:
            broken = []
        elif broken is None:
            solution.append((number, line))
        else:
            broken.append((number, re.sub(r"^(\s*)# ?", r"\1", line, count=1)))
    return lines

"""Grading in shares, each on a machine of its own, and merging what they found into the books of the class.

A shard writes nothing that another machine may be writing too: every result is a file of its own, shards/STUDENT/ASSIGNMENT.json, complete at once.
It is sealed with the secret of the class, so that one that was cut off, changed or made by hand is told from a result. Only `merge` writes the books.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import jsonschema
import typer

from autograder.engine.sandbox import Limits
from autograder.engine.unit import CellGrade, Status, UnitResult
from autograder.errors import CourseError
from autograder.gradebook import by_engine, grading, marks, secret, submitted
from autograder.gradebook.classroom import Classroom, find_class, open_class
from autograder.gradebook.ledger import Graded, Ledger
from autograder.release.build import write_whole

FOLDER = "shards"
MAX_BYTES = 128 * 2**20  # of a result: the largest notebook with all the output that is kept of it, spelled in JSON
SHARE = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
SEALED = re.compile(rb'\{"seal": "([0-9a-f]{64})",\n"result": (.+)\}\n', re.DOTALL)
NOT_YET = "no shard has graded it"
STALE = "its result is of another submission, release or version of the course; run its shard again"

_NUMBER, _TEXT = {"type": "number"}, {"type": "string"}
_CELL = {"type": "array", "prefixItems": [_TEXT, {"type": ["number", "null"]}, _NUMBER], "minItems": 3, "maxItems": 3}
_FIELDS = {
    **dict.fromkeys(("student", "assignment", "digest", "reason", "executed"), _TEXT),
    **dict.fromkeys(("score", "max_score", "seconds"), _NUMBER),
    "status": {"enum": list(get_args(Status))},
    "forced": {"type": "boolean"},
    "cells": {"type": "array", "items": _CELL},
}
_RESULT = jsonschema.Draft202012Validator({"type": "object", "properties": _FIELDS, "required": list(_FIELDS), "additionalProperties": False})
_NOTEBOOK_CELL = {
    "type": "object",
    "properties": {"cell_type": _TEXT, "source": _TEXT, "metadata": {"type": "object", "properties": {"nbgrader": {"type": "object"}}}},
    "required": ["cell_type", "source", "metadata"],
}
_NOTEBOOK = jsonschema.Draft202012Validator(
    {"type": "object", "properties": {"cells": {"type": "array", "items": _NOTEBOOK_CELL}}, "required": ["cells"]}
)


@dataclass(frozen=True)
class Share:
    """One of `count` shares of a class, counted from 1. A hash of its name says whose a submission is; who else is there makes no difference."""

    number: int
    count: int

    def holds(self, student: str, assignment: str) -> bool:
        name = f"{assignment}\0{student}".encode("utf-8", "surrogateescape")
        return int.from_bytes(hashlib.sha256(name).digest(), "big") % self.count == self.number - 1


def share_of(text: str) -> Share:
    """Reads I/N. Raises `CourseError`."""
    match = SHARE.fullmatch(text)
    share = Share(*map(int, match.groups())) if match else Share(0, 0)
    if not 1 <= share.number <= share.count:
        raise CourseError(f"--shard {text!r}: give I/N with I from 1 to N, such as 1/3, 2/3 and 3/3")
    return share


@dataclass(frozen=True)
class Found:
    """What a shard found, and of what: `digest` as `by_engine.Runner` gives it. forced: to be recorded although it is graded already."""

    result: UnitResult
    digest: str
    forced: bool


class NoResult(Exception):
    """There is a file where a result should be, but it is none; the message says why."""


class Shelf:
    """The results that the shards of a class have written."""

    def __init__(self, room: Classroom):
        self._room, self._secret = room, secret.read(room.folder)

    def write(self, found: Found) -> None:
        result = found.result
        record = {
            "student": result.student,
            "assignment": result.assignment,
            "digest": found.digest,
            "forced": found.forced,
            "status": result.status,
            "reason": result.reason,
            "score": result.score,
            "max_score": result.max_score,
            "seconds": result.seconds,
            "cells": [[cell.grade_id, cell.score, cell.points] for cell in result.cells],
            "executed": result.executed,
        }
        body = json.dumps(record, sort_keys=True)
        path = self._path(result.student, result.assignment)
        (self._room.folder / FOLDER).mkdir(mode=0o700, exist_ok=True)
        path.parent.mkdir(exist_ok=True)
        write_whole(path, f'{{"seal": "{secret.seal(self._secret, body.encode())}",\n"result": {body}}}\n')

    def read(self, student: str, assignment: str) -> Found | None:
        """What there is of a submission. Raises `NoResult`."""
        path = self._path(student, assignment)
        try:
            return self._found(submitted.file_bytes(path, MAX_BYTES), student, assignment)
        except FileNotFoundError:
            return None
        except (submitted.Unreadable, ValueError, jsonschema.ValidationError) as error:
            why = error.message if isinstance(error, jsonschema.ValidationError) else str(error)
            raise NoResult(self._told(path, why)) from None

    def strays(self) -> Iterator[str]:
        """A line for everything that is no result of any submission. What a killed shard left half-written has a hidden name, and is passed over."""
        folder = self._room.folder / FOLDER
        for place in _visible(folder):
            if not place.is_dir():
                yield self._told(place, "it is no folder of results")
                continue
            for path in _visible(place):
                assignment = path.name.removesuffix(".json")
                known = path.name.endswith(".json") and assignment in self._room.assignments
                if not known or not self._room.submitted(place.name, assignment).is_dir():
                    yield self._told(path, "it belongs to no submission")

    def _path(self, student: str, assignment: str) -> Path:
        return self._room.folder / FOLDER / student / f"{assignment}.json"

    def _told(self, path: Path, why: str) -> str:
        return by_engine.plain(f"{path.relative_to(self._room.folder)} is no result: {why}")

    def _found(self, content: bytes, student: str, assignment: str) -> Found:
        match = SEALED.fullmatch(content)
        if match is None:
            raise ValueError("no shard wrote it, or not to its end")
        if not hmac.compare_digest(match[1].decode(), secret.seal(self._secret, match[2])):
            raise ValueError("it was changed, or made with another secret than that of this class")
        record = json.loads(match[2], parse_constant=_no_constant)
        _RESULT.validate(record)
        if (record["student"], record["assignment"]) != (student, assignment):
            raise ValueError("it belongs to another submission")
        if record["executed"]:
            _NOTEBOOK.validate(json.loads(record["executed"]))
        cells = tuple(CellGrade(*cell) for cell in record["cells"])
        fields: dict[str, Any] = {name: record[name] for name in ("status", "reason", "score", "max_score", "executed", "seconds")}
        return Found(UnitResult(student, assignment, cells=cells, results=(), **fields), record["digest"], record["forced"])


def grade(
    folder: Path,
    shard: str,
    assignment: str | None = None,
    student: str | None = None,
    force: bool = False,
    quiet: bool = False,
    *,
    jobs: int | None = None,
    sandbox: bool = True,
    limits: Limits | None = None,
    dask: str | None = None,
    all_cells: bool = False,
) -> list[Graded]:
    """Grade one share, such as 2/3, of what has been submitted. Results are kept below CLASS/shards; nothing else in the class is touched.

    Else as `grading.grade`, but that a result is "already there" when a shard has written it. Scores are the engine's alone: a person's marks and
    what lateness costs come with `merge`.
    """
    share, room = share_of(shard), find_class(folder)
    grading.writable(room)
    wanted = [key for key in grading.submissions(room, assignment, student) if share.holds(*key)]
    runner, shelf = by_engine.Runner(room, sandbox, limits or Limits(), dask, all_cells), Shelf(room)
    digests = {key: runner.digest(*key) for key in wanted}
    results = {} if force else {key: found.result for key in wanted if (found := _current(shelf, key, digests[key]))}
    todo = [key for key in wanted if key not in results]
    if todo and not sandbox:
        grading.warn()
    with closing(runner.results(todo, jobs=jobs)) as finished, grading.progress(len(todo), quiet) as advance:
        for result in finished:
            key = result.student, result.assignment
            results[key] = result
            if not by_engine.failed(result):
                shelf.write(Found(result, digests[key], force))
            advance(result)
    return [_graded(results[key]) for key in wanted]


@dataclass(frozen=True)
class Missing:
    """A submission that is not graded as it is now, and why."""

    student: str
    assignment: str
    reason: str


@dataclass(frozen=True)
class Merged:
    """The class after merging. problems: a line for each file that could not be used and that nothing is missing for."""

    graded: list[Graded]
    missing: list[Missing]
    problems: list[str]


def merge(folder: Path, assignment: str | None = None, quiet: bool = False) -> Merged:
    """Record what shards have found as `grading.grade` would: in nbgrader's gradebook, in autograded/ and in the ledger, one submission at a time.

    What is recorded already and unchanged is left alone; so is a result of something else than what is submitted and released now.
    """
    room = open_class(folder)
    grading.writable(room)
    wanted = grading.submissions(room, assignment, None)
    runner, shelf, ledger = by_engine.Runner(room, True, Limits(), None), Shelf(room), Ledger(room.folder)
    known, fresh = ledger.rows(), set()
    graded, missing, problems = [], [], []
    with marks.gradebook(room, writing=True) as book, grading.progress(len(wanted), quiet) as advance:
        for key in wanted:
            digest, why = runner.digest(*key), NOT_YET
            kept = key in known and known[key][1] == digest and grading.is_kept(room, *key)
            try:
                found = shelf.read(*key)
            except NoResult as error:
                found, why = None, str(error)
                problems += [why] if kept else []
            if found is not None and found.digest != digest:
                found, why = None, STALE
            if found is not None and (found.forced or not kept):
                ledger.forget(*key)
                graded.append(runner.record(book, found.result, partial(ledger.keep, digest=digest)))
                fresh.add(key)
                if found.forced:
                    shelf.write(replace(found, forced=False))
            elif kept:
                graded.append(known[key][0])
            else:
                missing.append(Missing(*key, why))
                continue
            advance(graded[-1])
    return Merged(grading.as_marked(room, graded, fresh), missing, [*problems, *shelf.strays()])


def show(merged: Merged) -> None:
    """A table on the terminal, and what is amiss on stderr."""
    grading.show(merged.graded)
    for line in merged.problems:
        typer.echo(line, err=True)
    for item in merged.missing:
        typer.echo(by_engine.plain(f"missing: {item.student} {item.assignment}: {item.reason}"), err=True)
    if merged.missing:
        typer.echo(f"{len(merged.missing)} of {len(merged.missing) + len(merged.graded)} submissions are missing.", err=True)


def _current(shelf: Shelf, key: tuple[str, str], digest: str) -> Found | None:
    """The result that there is, if it is of the submission as it is now."""
    try:
        found = shelf.read(*key)
    except NoResult:
        return None
    return found if found is not None and found.digest == digest else None


def _graded(result: UnitResult) -> Graded:
    numbers = (result.score, result.max_score)
    return Graded(result.student, result.assignment, result.status, *numbers, by_engine.plain(result.reason), round(result.seconds, 2))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of points")

"""Builds notebooks from sources, the same to the byte every time."""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import nbformat
from nbformat import NotebookNode, v4

from autograder.checking.exercise import Exercise, chapter_names, load_chapter
from autograder.release.chapters import ROOT, Chapter, chapters, notebook_path
from autograder.release.source import Cell, Problem, Source, SourceError, check_source, read, with_solution, without_solution

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
EDITIONS = ("student", "solution", "instructor")


@dataclass(frozen=True)
class ExerciseInfo:
    """What is known of an exercise from both of its places, its checks and its chapter."""

    id: str
    chapter: str
    points: float
    cases: tuple[str, ...]
    wrong: tuple[str, ...]
    right: tuple[str, ...]
    minutes: int
    level: int


def load(chapter: Chapter) -> tuple[Source, list[Exercise]]:
    """A chapter's source and exercises, checked against each other. Raises `SourceError` with every mistake."""
    source = read(chapter.source)
    exercises = load_chapter(chapter.name) if chapter.name in chapter_names() else []
    problems = check_source(source, chapter.name, exercises)
    if problems:
        raise SourceError(problems)
    return source, exercises


def exercise_infos(chapter: Chapter) -> list[ExerciseInfo]:
    """The exercises of a chapter in the order in which students meet them."""
    source, exercises = load(chapter)
    by_name = {item.name: item for item in exercises}
    return [
        ExerciseInfo(
            id=item.id,
            chapter=chapter.slug,
            points=item.points,
            cases=item.case_names,
            wrong=tuple(variant.name for variant in item.wrongs),
            right=tuple(variant.name for variant in item.rights),
            minutes=cell.keys["minutes"],
            level=cell.keys["level"],
        )
        for cell in source.cells
        if "exercise" in cell.keys
        for item in [by_name[cell.keys["exercise"]]]
    ]


def notebook(chapter: Chapter, edition: str = "student", lang: str = "en") -> NotebookNode:
    """One chapter as a notebook.

    edition  student (stubs), solution (solved, without markers) or instructor (solved, with markers, for nbgrader's source folder)
    Raises `SourceError` when the source has mistakes, ValueError for an unknown edition.
    """
    if edition not in EDITIONS:
        raise ValueError(f"unknown edition {edition!r}; there are {', '.join(EDITIONS)}")
    source, exercises = load(chapter)
    points = {item.name: item.points for item in exercises}
    cells, seen = [], Counter()
    for cell in source.cells:
        if cell.keys.get("lang", lang) == lang:
            cells.append(_notebook_cell(cell, chapter, points, edition, seen, source))
    digest = hashlib.sha256("\0".join(cell.source for cell in cells).encode()).hexdigest()[:12]
    course = {"chapter": chapter.slug, "edition": edition, "lang": lang, "release": digest}
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}, "course": course}
    node = v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.validate(node)
    return node


def to_text(node: NotebookNode) -> str:
    """The file's content: sorted keys, one space of indent, a final newline."""
    return json.dumps(node, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def build(langs: Iterable[str] = ("en",), root: Path = ROOT, only: Iterable[Chapter] | None = None) -> dict[Path, str]:
    """The content of every student notebook by path; nothing is written. Raises `SourceError` with the mistakes of all chapters."""
    wanted = chapters(root / "solutions") if only is None else only
    return _texts([(notebook_path(chapter, lang, root), chapter, "student", lang) for chapter in wanted for lang in langs])


def build_solutions(folder: Path, langs: Iterable[str] = ("en",), root: Path = ROOT, only: Iterable[Chapter] | None = None) -> dict[Path, str]:
    """The content of solution notebooks below `folder`, one subfolder a language; nothing is written. Raises `SourceError`."""
    wanted = chapters(root / "solutions") if only is None else only
    return _texts([(folder / lang / f"{chapter.slug}.ipynb", chapter, "solution", lang) for chapter in wanted for lang in langs])


def _texts(wanted: list[tuple[Path, Chapter, str, str]]) -> dict[Path, str]:
    files: dict[Path, str] = {}
    problems: dict[Problem, None] = {}  # each is met once for every language
    for path, chapter, edition, lang in wanted:
        try:
            files[path] = to_text(notebook(chapter, edition, lang))
        except SourceError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise SourceError(list(problems))
    return files


def stale(files: dict[Path, str], root: Path = ROOT, complete: bool = True) -> list[str]:
    """One line for each built notebook that is missing, differs from its source, or, where `files` is complete, has none."""
    lines = []
    for path, text in files.items():
        name = path.relative_to(root)
        if not path.exists():
            lines.append(f"{name}: missing; run `course build`")
        elif (found := path.read_bytes()) != text.encode():
            lines.append(f"{name}:{_first_difference(found, text.encode())}: stale; run `course build` (never edit a built notebook)")
    for folder in {path.parent for path in files} if complete else ():
        lines.extend(f"{path.relative_to(root)}: has no source; remove it" for path in sorted(folder.glob("*.ipynb")) if path not in files)
    return lines


def write(files: dict[Path, str]) -> list[Path]:
    """Write what changed, each file whole or not at all. Returns the paths written."""
    written = []
    for path, text in files.items():
        if path.exists() and path.read_bytes() == text.encode():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
        written.append(path)
    return written


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is never seen half-written: into a neighbour first, then moved into place."""
    descriptor, neighbour = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(neighbour, 0o644)
        os.replace(neighbour, path)
    except BaseException:
        os.unlink(neighbour)
        raise


def _notebook_cell(cell: Cell, chapter: Chapter, points: dict[str, float], edition: str, seen: Counter, source: Source) -> NotebookNode:
    text, keys = cell.text, cell.keys
    if "exercise" in keys and edition != "instructor":
        text = without_solution(text) if edition == "student" else with_solution(text)
    grading = _grading(cell, chapter, points, source)
    metadata: dict = {"nbgrader": grading} if grading else {}
    if grading:
        metadata["deletable"] = False
        if grading["locked"]:
            metadata["editable"] = False
    tags = [key for key in ("train", "figure") if key in keys]
    if tags:
        metadata["tags"] = tags
    if "figure" in keys:
        metadata["alt"] = keys["alt"]
    if "exercise" in keys:
        metadata["course"] = {"exercise": f"{chapter.name}.{keys['exercise']}", "level": keys["level"], "minutes": keys["minutes"]}
    make = v4.new_markdown_cell if cell.kind == "markdown" else v4.new_code_cell
    return make(text, id=_cell_id(cell, grading, seen), metadata=metadata)


def _grading(cell: Cell, chapter: Chapter, points: dict[str, float], source: Source) -> dict:
    """nbgrader's metadata (schema 3), {} for a cell that it should leave alone."""
    keys = cell.keys

    def metadata(grade_id: str, *, grade: bool, solution: bool, worth: float | None = None) -> dict:
        locked = grade and not solution
        entry = {"grade_id": grade_id, "grade": grade, "solution": solution, "locked": locked, "task": False, "schema_version": 3}
        return entry | ({} if worth is None else {"points": worth})

    if "exercise" in keys:
        return metadata(keys["exercise"], grade=False, solution=True)
    if "check" in keys:
        return metadata(f"check-{keys['check']}", grade=True, solution=False, worth=points[keys["check"]])
    if "predict" in keys:
        return metadata(f"predict-{keys['predict']}", grade=False, solution=True)
    if "essay" in keys:
        return metadata(f"essay-{keys['essay']}", grade=True, solution=True, worth=keys["points"])
    if cell.reveals:
        name = cell.reveals.removeprefix(f"{chapter.name}.")
        worth = next(other.keys.get("points", 1) for other in source.cells if other.keys.get("predict") == name)
        return metadata(f"reveal-{name}", grade=True, solution=False, worth=worth)
    return {}


def _cell_id(cell: Cell, grading: dict, seen: Counter) -> str:
    """Graded cells are called by what they are; the others by a hash of their text, so that an edit elsewhere leaves ids alone."""
    if grading:
        return grading["grade_id"].replace("_", "-")[:64]
    base = hashlib.sha256(f"{cell.kind}\0{cell.text}".encode()).hexdigest()[:12]
    seen[base] += 1
    return base if seen[base] == 1 else f"{base}-{seen[base]}"


def _first_difference(found: bytes, wanted: bytes) -> int:
    pairs = zip_longest(found.split(b"\n"), wanted.split(b"\n"))
    return next(number for number, (one, other) in enumerate(pairs, 1) if one != other)

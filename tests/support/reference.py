"""What the tests of every chapter need: its exercises, its reference solutions, its stubs."""

import ast
import functools

from autograder.checking.exercise import Exercise, load_chapter
from autograder.release.chapters import chapters, find_chapter
from autograder.release.source import read, with_solution, without_solution


def all_exercises() -> list[Exercise]:
    return [item for chapter in chapters() for item in load_chapter(chapter.name)]


def prose(chapter: str) -> str:
    """All that a chapter says in words, in one line."""
    return " ".join(" ".join(cell.text.split()) for cell in read(find_chapter(chapter).source).cells if cell.kind == "markdown")


@functools.cache
def namespace(chapter: str, solved: bool) -> dict:
    """The names that a chapter defines: its imports, its functions, and its exercises as solved by the author or as released."""
    names: dict = {}
    edition = with_solution if solved else without_solution
    for cell in read(find_chapter(chapter).source).cells:
        if cell.kind != "code" or any(key in cell.keys for key in ("check", "predict", "figure", "train")):
            continue
        tree = ast.parse(edition(cell.text))
        kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
        tree.body = [node for node in tree.body if isinstance(node, kept)]
        exec(compile(tree, f"<{chapter}, line {cell.line}>", "exec"), names)
    return names


def objects(item: Exercise, solved: bool) -> dict:
    """What the chapter's check cell would hand to the check."""
    names = namespace(item.chapter, solved)
    return {name: names[name] for name in item.needs}


def found(item: Exercise) -> dict:
    """The program of a bug hunt as students find it, in a notebook where everything else is solved."""
    names = dict(namespace(item.chapter, solved=True))
    for cell in read(find_chapter(item.chapter).source).cells:
        if cell.keys.get("exercise") == item.name:
            exec(without_solution(cell.text), names)
    return {name: names[name] for name in item.needs}

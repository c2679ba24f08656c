"""Who may import whom: libraries below, course_lib on them, autograder on both, solutions on top. Read from the syntax tree; nothing is run."""

import ast
import graphlib
import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = ("course_lib", "autograder", "solutions", "benchmarks", "tests")
MAY_IMPORT = {"course_lib": set(), "autograder": {"course_lib"}, "solutions": {"course_lib", "autograder"}}

# course_lib's rooms, lowest first: a room imports itself and the rooms of lower rank. The files beside the rooms stand between nn and explain.
RANK = {"scratch": 0, "text": 0, "data": 0, "nn": 1, "explain": 3, "care": 3, "scale": 3, "interactive": 4}
FILES_RANK = 2
ROOM_LIBRARIES = {
    "scratch": {"numpy"},
    "text": {"regex"},
    "data": {"numpy", "sklearn", "matplotlib", "pooch", "platformdirs"},
    "nn": {"torch", "numpy"},
}


def imports_of(source: str, package: str = "") -> set[str]:
    """Dotted names of all modules that `source` imports, anywhere in it. `package`: where the source lives, for relative imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])]) if node.level else node.module or ""
            names |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__"):
            names |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant) and isinstance(argument.value, str)}
    return names


def imports_in(folder: str) -> dict[Path, set[str]]:
    """For each Python file under ROOT/folder, what it imports."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return {path: imports_of(path.read_text(), ".".join(path.relative_to(ROOT).parent.parts)) for path in files}


def top(name: str) -> str:
    return name.partition(".")[0]


def room_of(path: Path) -> str:
    """The room of a file of course_lib; empty for the files beside the rooms."""
    parts = path.relative_to(ROOT / "course_lib").parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize(
    ("source", "package", "found"),
    [
        ("import a.b as c", "", {"a.b"}),
        ("def f():\n    from a.b import c", "", {"a.b.c"}),
        ("from . import x", "a.b", {"a.b.x"}),
        ("from ..c import x", "a.b", {"a.c.x"}),
        ("import importlib\nimportlib.import_module('a.b')", "", {"importlib", "a.b"}),
    ],
)
def test_an_import_is_seen_wherever_it_stands(source, package, found):
    assert imports_of(source, package) == found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package):
    wrong = {
        (str(path.relative_to(ROOT)), name)
        for path, names in imports_in(package).items()
        for name in names
        if top(name) in OURS and top(name) not in MAY_IMPORT[package] | {package}
    }
    assert wrong == set()


def test_the_packages_form_no_circle():
    graph = {package: {top(name) for names in imports_in(package).values() for name in names if top(name) in OURS} - {package} for package in OURS}
    assert {"course_lib", "autograder"} <= graph["tests"], "nothing was read"
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("room", ROOM_LIBRARIES)
def test_a_low_room_of_course_lib_uses_only_its_own_libraries(room):
    allowed = ROOM_LIBRARIES[room] | set(sys.stdlib_module_names) | {"course_lib"}
    imported = imports_in(f"course_lib/{room}")
    assert {(path.name, name) for path, names in imported.items() for name in names if top(name) not in allowed} == set()


def test_rooms_of_course_lib_import_lower_rooms_only():
    wrong = set()
    for path, names in imports_in("course_lib").items():
        room = room_of(path)
        rank = RANK[room] if room else FILES_RANK
        for name in names:
            if top(name) != "course_lib" or name.count(".") == 0:
                continue
            other = name.split(".")[1]
            if other != room and RANK.get(other, FILES_RANK) >= rank + (not room):
                wrong.add((str(path.relative_to(ROOT)), name))
    assert wrong == set()


def test_every_room_of_course_lib_has_its_rank():
    assert {room_of(path) for path in imports_in("course_lib")} - {""} <= set(RANK)


def test_widgets_stay_in_their_room():
    users = {room_of(path) for path, names in imports_in("course_lib").items() if any(top(name) == "ipywidgets" for name in names)}
    assert users <= {"interactive"}


def test_every_library_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = project["dependencies"] + [text for texts in project["optional-dependencies"].values() for text in texts]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    homes = importlib.metadata.packages_distributions()
    undeclared = {
        (str(path.relative_to(ROOT)), name)
        for folder in ("course_lib", "autograder", "solutions")
        for path, names in imports_in(folder).items()
        for name in names
        if top(name) not in {*sys.stdlib_module_names, *OURS}
        and not {canonicalize_name(home) for home in homes.get(top(name), [top(name)])} & declared
    }
    assert undeclared == set()

"""Exercises: what a student's object must do, and the wrong and right solutions that prove the check. Trusted side."""

import ast
import difflib
import functools
import importlib
import inspect
import pkgutil
import random
import re
import sys
import textwrap
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autograder.checking.cases import CheckError, Run, current_run
from autograder.checking.results import CaseResult, ExerciseResult
from autograder.checking.student import AbsentStudent, LocalStudent

CHAPTERS = "autograder.exercises"


@dataclass(frozen=True)
class Variant:
    """A known solution, wrong or right. `fails` names the cases that a wrong one must fail, and no others."""

    name: str
    value: Any
    fails: tuple[str, ...] = ()
    source: str = ""  # self-contained but for the imports that stand above it in its file

    def program(self, name: str) -> str:
        """The source as a student would hand it in under `name`, imports included."""
        return self.source.replace("\0", name)


@dataclass
class Exercise:
    """One exercise of a chapter. See `exercise`."""

    id: str
    points: float
    seconds: float
    needs: tuple[str, ...]
    reference: tuple[str, ...]
    mends: tuple[str, ...]
    title: str
    function: Callable[[Any, np.random.Generator], None]
    wrongs: list[Variant] = field(default_factory=list)
    rights: list[Variant] = field(default_factory=list)

    @property
    def chapter(self) -> str:
        return self.id.partition(".")[0]

    @property
    def name(self) -> str:
        return self.id.partition(".")[2]

    def wrong(self, name: str, *, fails: str | Iterable[str]) -> Callable[[Any], Any]:
        """Register a solution that students really hand in, and the case or cases that catch it."""
        names = (fails,) if isinstance(fails, str) else tuple(fails)

        def register(value: Any) -> Any:
            self.wrongs.append(Variant(name, value, names, _source_of(self.function.__name__, "wrong", name, value)))
            return value

        return register

    def right(self, name: str) -> Callable[[Any], Any]:
        """Register a right solution written another way."""

        def register(value: Any) -> Any:
            self.rights.append(Variant(name, value, (), _source_of(self.function.__name__, "right", name, value)))
            return value

        return register

    def slip(self, name: str, *changes: tuple[str, str], of: str, fails: str | Iterable[str]) -> None:
        """Register a known-wrong solution as the right one called `of` with a few pieces of its text changed: (right, wrong), each found once."""
        base = next((variant for variant in self.rights if variant.name == of), None)
        if base is None:
            raise CheckError(f"{self.id} has no right solution called {of!r} before the slip {name!r}")
        source = base.source
        for right, wrong in changes:
            if source.count(right) != 1:
                raise CheckError(f"{right!r} stands {source.count(right)} times in {of!r} of {self.id}; once is wanted for the slip {name!r}")
            source = source.replace(right, wrong)
        names: dict[str, Any] = {"__name__": self.function.__module__}
        exec(compile(source.replace("\0", self.name), f"<{self.id}: {name}>", "exec"), names)
        self.wrongs.append(Variant(name, names[self.name], (fails,) if isinstance(fails, str) else tuple(fails), source))

    @functools.cached_property
    def _listed(self) -> tuple[CaseResult, ...]:
        """All cases, in order: found by running the check with nobody behind `student`."""
        run = Run(self.seconds)
        return tuple(self._cases(AbsentStudent(run), run, seed=0))

    @functools.cached_property
    def case_names(self) -> tuple[str, ...]:
        """All cases, in order."""
        return tuple(case.name for case in self._listed)

    @functools.cached_property
    def side_names(self) -> frozenset[str]:
        """Those that earn only beside another."""
        return frozenset(case.name for case in self._listed if case.side)

    def run(self, objects: Mapping[str, object], seed: int = 0) -> ExerciseResult:
        """The verdict on one student's objects, run in this process. Never raises but on KeyboardInterrupt."""
        run = Run(self.seconds)
        return self.run_with(LocalStudent(objects, run), run, seed)

    def run_with(self, student: Any, run: Run, seed: int = 0) -> ExerciseResult:
        """The verdict on whatever answers as `student`; `run` is shared with it."""
        started = time.monotonic()
        found = {case.name: case for case in self._cases(student, run, seed)}
        for name in self.case_names:
            found.setdefault(name, CaseResult(name, "broken", "The check ended before it came to this case, which is not your fault."))
        return ExerciseResult(self.id, self.title, self.points, tuple(found.values()), time.monotonic() - started, self.mends)

    def _cases(self, student: Any, run: Run, seed: int) -> list[CaseResult]:
        token = current_run.set(run)
        try:
            with _own_state(_seed(self.id, seed)):
                self.function(student, np.random.default_rng(_seed(self.id, seed)))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            run.cases.append(CaseResult("the check runs to its end", "broken", f"{type(error).__name__}: {error}. Please report this."))
        finally:
            current_run.reset(token)
        return run.cases


_registry: dict[str, Exercise] = {}


def exercise(
    id: str,
    *,
    points: float,
    seconds: float = 5,
    needs: str | Iterable[str] = (),
    reference: str | Iterable[str] = (),
    mends: str | Iterable[str] = (),
) -> Callable[[Callable], Exercise]:
    """Make an exercise of a function `(student, rng)` whose body is a list of cases.

    id         "chapter.name"
    points     for the whole; every case is worth the same share
    seconds    limit for each case
    needs      names of the objects that the check is given, in order; by default the one that the exercise is named after
    reference  modules of course_lib that answer the exercise, closed to student code while it is graded
    mends      of a bug hunt, the cases that the program fails as it is found: nothing is earned before one of them passes
    """
    chapter, dot, name = id.partition(".")
    if not (dot and chapter.isidentifier() and name.isidentifier()):
        raise CheckError(f"exercise id {id!r} is not of the form chapter.name")
    if points <= 0:
        raise CheckError(f"exercise {id!r} is worth {points} points; a positive number is wanted")

    def register(function: Callable) -> Exercise:
        home = function.__module__.removeprefix(f"{CHAPTERS}.")
        if home != function.__module__ and home != chapter:
            raise CheckError(f"exercise {id!r} stands in {home}.py; its chapter's file is {chapter}.py")
        if id in _registry and _place(_registry[id].function) != _place(function):
            raise CheckError(f"two exercises are called {id!r}")
        _registry[id] = Exercise(
            id=id,
            points=points,
            seconds=seconds,
            needs=(needs,) if isinstance(needs, str) else tuple(needs) or (name,),
            reference=(reference,) if isinstance(reference, str) else tuple(reference),
            mends=(mends,) if isinstance(mends, str) else tuple(mends),
            title=(inspect.getdoc(function) or name).splitlines()[0],
            function=function,
        )
        return _registry[id]

    return register


def load_chapter(chapter: str) -> list[Exercise]:
    """The exercises of a chapter, in the order of its file. KeyError with a suggestion when there is no such chapter."""
    names = chapter_names()
    if chapter not in names:
        near = difflib.get_close_matches(chapter, names, 1)
        raise KeyError(f"no chapter {chapter!r}; " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"))
    importlib.import_module(f"{CHAPTERS}.{chapter}")
    return [item for item in _registry.values() if item.chapter == chapter]


def chapter_names() -> list[str]:
    """Chapters that have exercises."""
    package = importlib.import_module(CHAPTERS)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def registered() -> list[Exercise]:
    """Every exercise of every chapter."""
    return [item for chapter in chapter_names() for item in load_chapter(chapter)]


def find(id: str) -> Exercise:
    """The exercise called "chapter.name". KeyError with a suggestion when there is none."""
    chapter, _, _name = id.partition(".")
    exercises = {item.id: item for item in load_chapter(chapter)}
    if id not in exercises:
        near = difflib.get_close_matches(id, exercises, 1)
        raise KeyError(f"no exercise {id!r}" + (f"; did you mean {near[0]!r}?" if near else f" in chapter {chapter!r}"))
    return exercises[id]


def _seed(id: str, seed: int) -> int:
    return zlib.crc32(id.encode()) + seed


def _place(function: Callable) -> tuple[str, str]:
    return function.__code__.co_filename, function.__name__


@contextmanager
def _own_state(seed: int):
    """A check draws, warns and rounds the same in every notebook, and leaves the notebook's own state undisturbed.

    Global generators are seeded for the student code that uses them, and restored. What the check's own arithmetic warns of would go to stderr,
    which stock nbgrader takes for a failure; the student's warnings are caught nearer to the student.
    """
    torch = sys.modules.get("torch")
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    torch_state = torch.get_rng_state() if torch else None
    cuda_states = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else []
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    if torch:
        torch.manual_seed(seed)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        if torch:
            torch.set_rng_state(torch_state)
        if torch and cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)


def _source_of(exercise_name: str, kind: str, name: str, value: Any) -> str:
    """The text of a variant with its name replaced by a mark, and the imports of its file above it."""
    file = sys.modules[value.__module__].__file__
    if file is None:
        raise CheckError(f"the source of {name!r} cannot be found")
    definitions, imports, lines = _parsed(file)
    for node in definitions:
        call = node.decorator_list[0]
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and isinstance(call.func.value, ast.Name)
            and (call.func.value.id, call.func.attr) == (exercise_name, kind)
            and call.args
            and isinstance(call.args[0], ast.Constant)
            and call.args[0].value == name
        ):
            body = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
            marked = re.sub(rf"(?<![.\w]){node.name}\b", "\0", body, count=1 if node.name == "_" else 0)
            return "\n".join([*imports, "", "", marked]) + "\n"
    raise CheckError(f"the source of {kind} solution {name!r} of {exercise_name} was not found in {file}")


@functools.lru_cache(maxsize=8)
def _parsed(file: str) -> tuple[list[ast.FunctionDef | ast.ClassDef], list[str], list[str]]:
    """What an exercises file decorates, what it imports from elsewhere than the course, and its lines."""
    text = Path(file).read_text(encoding="utf-8")
    body = ast.parse(text).body
    decorated = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.decorator_list]
    imports = [ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom) and not _own(node)]
    return decorated, imports, text.splitlines()


def _own(node: ast.Import | ast.ImportFrom) -> bool:
    modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return any(module.partition(".")[0] in ("autograder", "course_lib") for module in modules)

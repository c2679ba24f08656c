"""A chapter of two exercises and one prediction, in a house of its own, known to this process and to every one it starts."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from autograder.checking.exercise import _registry
from autograder.release import build
from autograder.release.chapters import Chapter, notebook_path

SOURCE = '''\
# %% [markdown] lang="en"
# # A small chapter

# %%
from autograder import check, predict

# %% predict="four"
guess = ...

# %% exercise="double" minutes=1 level=1
def double(x):
    """Twice x: number → number."""
    ### BEGIN SOLUTION
    return 2 * x  # works for arrays too
    ### END SOLUTION

# %% check="double"
check("small.double", double)

# %% train
trained = True

# %%
predict.reveal("small.four", guess=guess, truth=4)

# %% exercise="half" minutes=1 level=1
def half(x):
    """Half of x: number → number."""
    ### BEGIN SOLUTION
    return x / 2
    ### END SOLUTION

# %% check="half"
check("small.half", half)
'''

EXERCISES = '''\
"""What the small chapter demands."""

from autograder.checking import case, close, exercise


@exercise("small.double", points=2)
def double(student, rng):
    """Twice as much."""
    with case("a whole number", hint="Add it to itself."):
        close(student.double(3), 6)
    with case("a negative number"):
        close(student.double(-1), -2)


@double.wrong("the square", fails=("a whole number", "a negative number"))
def _(x):
    return x * x


@exercise("small.half", points=3)
def half(student, rng):
    """Half as much."""
    with case("an odd number", hint="// throws the rest away."):
        close(student.half(3), 1.5)


@half.wrong("whole numbers only", fails="an odd number")
def _(x):
    return x // 2
'''

# Every Python started with this on its path knows the small chapter too, kernels included.
STARTUP = "import autograder.exercises\nautograder.exercises.__path__.append({folder!r})\n"


@dataclass(frozen=True)
class House:
    """root: where solutions/ and notebooks/ are; exercises: the folder of the chapter's checks."""

    root: Path
    exercises: Path

    @property
    def chapter(self) -> Chapter:
        return Chapter("98", "small", self.root / "solutions" / "98_small.py")

    def notebook(self, edition: str = "student") -> nbformat.NotebookNode:
        return build.notebook(self.chapter, edition)

    def release(self, changed: str = "") -> str:
        """Release the student notebook, with a word changed in its title. Returns its text."""
        node = self.notebook()
        node.cells[0].source += changed
        node.metadata.course["release"] += changed
        path = notebook_path(self.chapter, root=self.root)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(build.to_text(node), encoding="utf-8")
        return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def startup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small chapter's checks, with a start-up file beside them."""
    folder = tmp_path_factory.mktemp("exercises")
    (folder / "small.py").write_text(EXERCISES, encoding="utf-8")
    (folder / "start").mkdir()
    (folder / "start" / "sitecustomize.py").write_text(STARTUP.format(folder=str(folder)), encoding="utf-8")
    return folder


@pytest.fixture
def house(startup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    package = importlib.import_module("autograder.exercises")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(startup)])
    monkeypatch.setenv("PYTHONPATH", str(startup / "start"))
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.sqlite"))
    root = tmp_path / "house"
    (root / "solutions").mkdir(parents=True)
    (root / "solutions" / "98_small.py").write_text(SOURCE, encoding="utf-8")
    importlib.invalidate_caches()
    yield House(root, startup)
    sys.modules.pop("autograder.exercises.small", None)
    for id in [id for id in _registry if id.startswith("small.")]:
        del _registry[id]

"""A toy chapter, whose source a test may spoil, and exercises to go with it."""

from collections.abc import Callable

import pytest

from autograder.checking.exercise import Exercise, exercise
from autograder.release import build
from autograder.release.chapters import Chapter

SOURCE = '''\
# The author's note, which no notebook shows.
# %% [markdown] lang="en"
# # A toy chapter
#
# Read this.

# %% [markdown] lang="zh"
# # 很短的一章

# %%
import numpy as np

from autograder import check, predict

# %% predict="sign"
# Will it be positive?
guess = ...

# %% exercise="double" minutes=5 level=1
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    secret_sum = x + x
    return secret_sum
    ### END SOLUTION


# %% check="double"
check("toy.double", double)

# %% exercise="mend" minutes=10 level=2
def mend(x):
    """Half of x, for a positive x."""
    ### BEGIN SOLUTION
    if x > 0:
        return x / 2
    ### ELSE BROKEN
    # if x > 0:
    #     return x // 2
    ### END SOLUTION
    return None


# %% check="mend"
check("toy.mend", mend)

# %% figure="curve" alt="A line that rises."
print("figure")

# %% train
trained = 1

# %%
predict.reveal("toy.sign", guess=guess, truth=trained)

# %% [markdown] essay="card" points=6
# Write a model card.
'''


def _exercise(name: str) -> Exercise:
    def check(student, rng):
        """Never run here."""

    return exercise(f"toy.{name}", points=3)(check)


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Chapter:
    """The chapter 42_toy below tmp_path/solutions, with the exercises `double` and `mend`."""
    (tmp_path / "solutions").mkdir()
    chapter = Chapter("42", "toy", tmp_path / "solutions" / "42_toy.py")
    chapter.source.write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(build, "chapter_names", lambda: ["toy"])
    monkeypatch.setattr(build, "load_chapter", lambda _name: [_exercise("double"), _exercise("mend")])
    return chapter


@pytest.fixture
def spoil(toy) -> Callable[[str, str, str], int]:
    """spoil(old, new, at): change the source once, and give the number of the line that holds `at` ("^at": of the line above it)."""

    def spoil(old: str, new: str, at: str) -> int:
        text = toy.source.read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        text = text.replace(old, new)
        toy.source.write_text(text, encoding="utf-8")
        line = next(number for number, row in enumerate(text.splitlines(), 1) if at.removeprefix("^") in row)
        return line - at.startswith("^")

    return spoil

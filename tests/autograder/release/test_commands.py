"""`course build` on a copy of the course, and how both commands answer at once and in one line."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import autograder
from autograder import cli

EXERCISES = '''
"""Exercises of a tiny chapter."""
from autograder.checking import case, exercise, same


@exercise("tiny.double", points=3)
def double(student, rng):
    """Twice the number."""
    with case("doubles"):
        same(student.double(2), 4)
'''
SOURCE = """\
# %% [markdown]
# Read this.

# %%
from autograder import check

# %% exercise="double" minutes=5 level=1
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


# %% check="double"
check("tiny.double", double)
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A course of one chapter, with the commands as they are."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(Path(autograder.__file__).parent, root / "autograder", ignore=shutil.ignore_patterns("__pycache__", "backprop.py"))
    (root / "solutions").mkdir()
    (root / "autograder" / "exercises" / "tiny.py").write_text(EXERCISES)
    return root


def call(root: Path, *arguments: str, program: str = "course") -> tuple[int, str, str]:
    command = [sys.executable, "-c", f"from autograder.cli import {program}; {program}()", *arguments]
    done = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_course_build_writes_checks_and_names_what_is_stale_missing_or_extra(house):
    source, notebook = house / "solutions" / "42_tiny.py", house / "notebooks" / "en" / "42_tiny.ipynb"
    source.write_text(SOURCE)
    assert call(house, "build") == (0, "wrote notebooks/en/42_tiny.ipynb\n1 notebook is up to date, 1 written.\n", "")
    assert call(house, "build", "--check") == (0, "1 notebook is up to date.\n", "")

    source.write_text(SOURCE.replace("Read this.", "Read that."))
    notebook.with_name("41_gone.ipynb").write_text("{}")
    (house / "solutions" / "43_good.py").write_text("# %%\n1\n")
    line = next(number for number, row in enumerate(notebook.read_text().splitlines(), 1) if '"id"' in row)  # a hash of the text comes first
    code, out, err = call(house, "build", "--check")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        f"notebooks/en/42_tiny.ipynb:{line}: stale; run `course build` (never edit a built notebook)",
        "notebooks/en/43_good.ipynb: missing; run `course build`",
        "notebooks/en/41_gone.ipynb: has no source; remove it",
    ]

    before = notebook.read_bytes()
    source.write_text(SOURCE.replace(" level=1", "") + "\n# %% figure='f'\n1\n")
    code, out, err = call(house, "build", "--lang", "en", "--lang", "zh")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "solutions/42_tiny.py:7: exercise 'double' needs level=1, 2 or 3",
        "solutions/42_tiny.py:17: figure 'f' needs alt=…, its text equivalent",
    ]
    assert notebook.read_bytes() == before and not list(house.glob("notebooks/*/43*")) and not (house / "notebooks" / "zh").exists()


def test_two_processes_with_other_hash_seeds_build_the_same_bytes(house):
    (house / "solutions" / "42_tiny.py").write_text(SOURCE)
    program = "from autograder.release import build; [print(text) for text in build.build(('en', 'zh')).values()]"
    environments = [os.environ | {"PYTHONPATH": str(house), "PYTHONHASHSEED": seed} for seed in ("1", "2")]
    processes = [subprocess.Popen([sys.executable, "-c", program], cwd=house, env=given, stdout=subprocess.PIPE) for given in environments]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert outputs[0] == outputs[1] and b"NotImplementedError" in outputs[0]


@pytest.mark.parametrize(
    ("app", "arguments", "words"),
    [
        (cli.course, ["build", "bakprop"], "no chapter 'bakprop'; did you mean 'backprop'?"),
        (cli.course, ["build", "--lang", "fr"], "unknown language 'fr'; there are en, zh"),
        (cli.autograder, ["exercises", "²"], "no chapter '²'; there are: "),
    ],
)
def test_mistakes_of_a_person_are_answered_with_one_line(app, arguments, words):
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(words) and result.stderr.count("\n") == 1


def test_a_mistake_in_an_exercises_file_is_answered_with_one_line(house):
    exercises = house / "autograder" / "exercises" / "tiny.py"
    exercises.write_text(EXERCISES.replace("points=3", "points=0"))
    assert call(house, "build") == (1, "", "exercise 'tiny.double' is worth 0 points; a positive number is wanted\n")
    exercises.write_text(EXERCISES)


@pytest.mark.parametrize("program", ["course", "autograder"])
def test_help_answers_at_once_without_torch_or_scipy(program):
    text = f"""
import sys
sys.argv = [{program!r}, "--help"]
try:
    from autograder.cli import {program}
    {program}()
except SystemExit as end:
    assert not end.code
heavy = {{"torch", "scipy", "IPython", "matplotlib", "pandas", "jupytext", "nbformat"}} & set(sys.modules)
assert not heavy, heavy
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "") and "Usage" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0

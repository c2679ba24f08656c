"""The house stands as its plan says, and no file of it depends on the machine where it was written."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Put together from pieces, so that this file is no finding of its own.
FOREIGN = re.compile("|".join((re.escape("../" + "shared"), r"(?<![\w.~])/(?:" + "work|root)/")))
BINARY = {".png", ".npz", ".woff2", ".ico", ".pdf"}


def committed() -> list[Path]:
    """Every file that git knows and that is there."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", ["README.md", "Makefile", "pyproject.toml", "constraints.txt", "environment.yml", ".ci/run"])
def test_a_file_of_the_plan_is_there(name):
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("name", ["notebooks/en", "solutions", "course_lib", "autograder", "tests", "benchmarks"])
def test_a_room_of_the_plan_is_there_and_not_empty(name):
    assert any(path.is_file() for path in (ROOT / name).rglob("*"))


def test_every_room_says_what_belongs_in_it():
    rooms = {path.parent for package in ("course_lib", "autograder") for path in (ROOT / package).rglob("*.py")}
    silent = [
        str(room.relative_to(ROOT)) for room in rooms if not (room / "__init__.py").is_file() or '"""' not in (room / "__init__.py").read_text()[:3]
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("text", "foreign"),
    [("see ../" + "shared/x", True), ("open('/" + "work/main/x')", True), ("in /" + "root/.cache", True), ("network/work/x and ~/work/", False)],
)
def test_a_path_of_the_machine_is_told_from_other_words(text, foreign):
    assert bool(FOREIGN.search(text)) is foreign


def test_no_file_names_a_place_on_the_machine_where_it_was_written():
    texts = {path: path.read_text(encoding="utf-8") for path in committed() if path.suffix not in BINARY}
    assert {str(path.relative_to(ROOT)): match[0] for path, text in texts.items() if (match := FOREIGN.search(text))} == {}


def test_nothing_that_is_built_or_worn_is_committed():
    worn = {"__pycache__", ".venv", ".ipynb_checkpoints", "my_course", "demo_class", "build"}
    assert [str(path.relative_to(ROOT)) for path in committed() if worn & set(path.relative_to(ROOT).parts[:-1])] == []


def test_ci_runs_every_test_last_so_that_its_count_closes_the_output():
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("exec make test")

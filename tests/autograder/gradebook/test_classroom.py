"""A class as `autograder new` makes it."""

import json
import os

import pytest
from typer.testing import CliRunner

from autograder.cli import autograder
from autograder.errors import CourseError
from autograder.gradebook import classroom, stock
from autograder.release.build import notebook
from autograder.release.chapters import find_chapter

pytestmark = pytest.mark.xdist_group("gradebook")


def cells(path):
    return [(cell["cell_type"], cell["id"], "".join(cell["source"])) for cell in json.loads(path.read_text())["cells"]]


def test_students_get_from_nbgrader_exactly_what_the_build_gives(made):
    built = notebook(find_chapter("97"), "student")
    assert cells(made / "release/97_tiny/97_tiny.ipynb") == [(cell.cell_type, cell.id, cell.source) for cell in built.cells]


def test_no_solution_is_released(made):
    released = (made / "release/97_tiny/97_tiny.ipynb").read_text()
    assert "BEGIN SOLUTION" in (made / "source/97_tiny/97_tiny.ipynb").read_text()
    assert "SOLUTION" not in released and "return 2 * x" not in released and "max(0, *numbers)" in released


def test_the_chinese_edition_is_released_on_demand(tmp_path):
    classroom.create(tmp_path / "qiu", ["tiny"], lang="zh", quiet=True)
    released = (tmp_path / "qiu/release/97_tiny/97_tiny.ipynb").read_text()
    assert "两件小事" in released and "Two small things" not in released


def test_only_the_class_is_left_in_its_parent_folder(made):
    assert [path.name for path in made.parent.iterdir()] == ["autumn"]


def test_the_readme_names_every_command_that_a_term_needs(made):
    text = (made / "README.md").read_text()
    for words in ("submitted/STUDENT/ASSIGNMENT/", "autograder grade", "autograder report", "Formgrader", "generate_feedback", "nbgrader export"):
        assert words in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--chapters", "12"], "no chapter '12'"),
        (["--chapters", ","], "at least one chapter"),
        (["--chapters", "97", "--lang", "fr"], "unknown language 'fr'"),
    ],
)
def test_a_wrong_wish_is_answered_in_one_line_and_nothing_is_made(tmp_path, options, words):
    answer = CliRunner().invoke(autograder, ["new", str(tmp_path / "autumn"), *options])
    assert answer.exit_code == 1 and words in answer.stderr and answer.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CourseError, match="not an empty folder"):
        classroom.create(tmp_path, ["97"])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("parent", ["absent", "file"])
def test_a_parent_that_cannot_hold_it_is_named(tmp_path, parent):
    (tmp_path / "file").touch()
    with pytest.raises(CourseError, match=r"cannot make .*autumn"):
        classroom.create(tmp_path / parent / "autumn", ["97"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_without_permission_nothing_is_made(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CourseError, match="Permission denied"):
        classroom.create(tmp_path / "autumn", ["97"])


@pytest.mark.parametrize("ending", [KeyboardInterrupt, CourseError("nbgrader failed"), OSError(28, "No space left on device")])
def test_a_creation_cut_short_leaves_nothing(tmp_path, monkeypatch, ending):
    def cut_short(*_arguments, **_options):
        raise ending

    monkeypatch.setattr(stock, "nbgrader", cut_short)
    with pytest.raises(KeyboardInterrupt if ending is KeyboardInterrupt else CourseError):
        classroom.create(tmp_path / "autumn", ["97"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["grade", "report"])
def test_a_folder_that_is_no_class_is_told_from_one_that_is(tmp_path, command):
    for folder, words in ((tmp_path / "absent", "no folder"), (tmp_path, "is no class")):
        answer = CliRunner().invoke(autograder, [command, str(folder)])
        assert answer.exit_code == 1 and words in answer.stderr and answer.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_gradebook_is_named(room):
    room.gradebook.write_bytes(b"not a database, " * 500)
    with pytest.raises(CourseError, match=r"gradebook\.db cannot be used"):
        classroom.open_class(room.folder)

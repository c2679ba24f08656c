"""Notebooks come out of their source the same to the byte, hold no solution, and are never half written."""

import json
from pathlib import Path

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.preprocessors import CheckCellMetadata

from autograder.release import build
from autograder.release.chapters import ROOT, chapters, notebook_path
from autograder.release.source import BEGIN, ELSE, END, SourceError, without_solution

REAL = [(chapter, lang) for chapter in chapters() for lang in ("en", "zh")]


def sources(node) -> str:
    return "\n\n".join(cell.source for cell in node.cells)


def by_role(node) -> dict:
    return {cell.metadata.nbgrader.grade_id: cell for cell in node.cells if "nbgrader" in cell.metadata}


def test_students_find_a_stub_and_the_broken_program_to_the_letter(toy):
    cells = by_role(build.notebook(toy))
    assert cells["double"].source == 'def double(x):\n    """Twice x."""\n    raise NotImplementedError'
    assert cells["mend"].source == (
        'def mend(x):\n    """Half of x, for a positive x."""\n    if x > 0:\n        return x // 2\n    return None'
    )  # fmt: skip


def test_the_solution_notebook_is_solved_and_without_markers(toy):
    node = build.notebook(toy, "solution")
    assert by_role(node)["double"].source == 'def double(x):\n    """Twice x."""\n    secret_sum = x + x\n    return secret_sum'
    assert by_role(node)["mend"].source.endswith("    if x > 0:\n        return x / 2\n    return None")
    assert "###" not in sources(node)


def test_the_instructors_notebook_keeps_the_markers_and_gives_the_students_one(toy):
    instructor, student = by_role(build.notebook(toy, "instructor")), by_role(build.notebook(toy))
    for name in ("double", "mend"):
        assert "### BEGIN SOLUTION" in instructor[name].source
        assert without_solution(instructor[name].source) == student[name].source


@pytest.mark.parametrize(("chapter", "lang"), REAL, ids=lambda value: getattr(value, "slug", value))
def test_no_line_of_a_solution_and_no_marker_reaches_the_students_of_a_real_chapter(chapter, lang):
    inside, outside, part = set(), set(), ""
    for line in chapter.source.read_text(encoding="utf-8").splitlines():
        words = line.strip().removeprefix("# ").strip()
        if words.startswith("### "):
            part = words
        elif part == "### BEGIN SOLUTION":
            inside.add(words)
        else:
            outside.add(words)
    student = [line.strip() for cell in build.notebook(chapter, "student", lang).cells for line in cell.source.splitlines()]
    assert len(inside - outside) > 20
    assert set(student) & (inside - outside) == set()
    assert not [line for line in student if any(mark in line for mark in (BEGIN, ELSE, END))]


def test_no_solution_line_or_marker_of_the_toy_chapter_leaks(toy):
    text = build.to_text(build.notebook(toy))
    for secret in ("secret_sum", "x / 2", "BEGIN SOLUTION", "ELSE BROKEN", "END SOLUTION", "author's note"):
        assert secret not in text


@pytest.mark.parametrize("edition", build.EDITIONS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_edition_is_a_valid_notebook_for_jupyter_and_nbgrader(toy, edition, lang):
    node = nbformat.reads(build.to_text(build.notebook(toy, edition, lang)), as_version=4)
    nbformat.validate(node)
    for cell in node.cells:
        if "nbgrader" in cell.metadata:
            MetadataValidator().validate_cell(cell)
    CheckCellMetadata().preprocess(node, {})
    ids = [cell.id for cell in node.cells]
    assert len(set(ids)) == len(ids)


def test_each_role_is_expanded_to_what_nbgrader_needs(toy):
    cells = by_role(build.notebook(toy))
    grading = {
        name: (cell.metadata.nbgrader.grade, cell.metadata.nbgrader.solution, cell.metadata.nbgrader.locked, cell.metadata.nbgrader.get("points"))
        for name, cell in cells.items()
    }
    assert grading == {
        "predict-sign": (False, True, False, None), "double": (False, True, False, None), "check-double": (True, False, True, 3),
        "mend": (False, True, False, None), "check-mend": (True, False, True, 3), "reveal-sign": (True, False, True, 1),
        "essay-card": (True, True, False, 6),
    }  # fmt: skip
    assert all(cell.metadata.deletable is False for cell in cells.values())
    assert cells["check-double"].metadata.editable is False and "editable" not in cells["double"].metadata
    assert cells["double"].metadata.course == {"exercise": "toy.double", "level": 1, "minutes": 5}


def test_figures_keep_their_alt_text_and_training_its_tag(toy):
    cells = build.notebook(toy).cells
    (figure,) = [cell for cell in cells if "figure" in cell.metadata.get("tags", [])]
    (train,) = [cell for cell in cells if "train" in cell.metadata.get("tags", [])]
    assert figure.metadata.alt == "A line that rises." and train.source == "trained = 1"


def test_an_edition_holds_its_own_language_and_what_belongs_to_both(toy):
    english, chinese = (build.notebook(toy, lang=lang) for lang in ("en", "zh"))
    assert "A toy chapter" in sources(english) and "很短的一章" not in sources(english)
    assert "很短的一章" in sources(chinese) and "A toy chapter" not in sources(chinese)
    assert "def double" in sources(english) and "def double" in sources(chinese)
    assert "很短的一章" in build.to_text(chinese)


def test_ids_stay_when_an_unrelated_cell_is_inserted(toy, spoil):
    before = [cell.id for cell in build.notebook(toy).cells]
    spoil("# %% train\n", "# %%\nprint('new')\n\n# %%\nprint('new')\n\n# %% train\n", "trained")
    after = [cell.id for cell in build.notebook(toy).cells]
    assert [id for id in after if id in before] == before and len(set(after)) == len(before) + 2


def test_the_release_changes_with_the_content_and_only_with_it(toy, spoil):
    def release():
        return build.notebook(toy).metadata.course.release

    first = release()
    spoil("# The author's note", "# Another note", "Another")
    spoil("secret_sum = x + x", "secret_sum = 2 * x", "secret")
    assert release() == first
    spoil("Read this.", "Read that.", "that")
    assert release() != first


def test_an_unknown_edition_is_refused(toy):
    with pytest.raises(ValueError, match="unknown edition 'teacher'; there are student, solution, instructor"):
        build.notebook(toy, "teacher")


# Files


@pytest.fixture
def root(toy) -> Path:
    return toy.source.parent.parent


def test_a_clean_build_is_not_stale_and_writes_nothing_again(root):
    files = build.build(("en", "zh"), root)
    written = build.write(files)
    assert written == list(files) == [root / "notebooks" / lang / "42_toy.ipynb" for lang in ("en", "zh")]
    assert build.stale(files, root) == [] and build.write(files) == []
    assert not list(root.rglob(".*"))


def test_stale_missing_and_extra_notebooks_are_named(root):
    files = build.build(("en", "zh"), root)
    build.write(files)
    english, chinese = files
    english.write_text(english.read_text(encoding="utf-8").replace("Read this.", "Read that."), encoding="utf-8")
    line = next(number for number, row in enumerate(english.read_text(encoding="utf-8").splitlines(), 1) if "Read that." in row)
    chinese.unlink()
    extra = english.parent / "41_gone.ipynb"
    extra.write_text("{}")
    assert build.stale(files, root) == [
        f"notebooks/en/42_toy.ipynb:{line}: stale; run `course build` (never edit a built notebook)",
        "notebooks/zh/42_toy.ipynb: missing; run `course build`",
        "notebooks/en/41_gone.ipynb: has no source; remove it",
    ]
    assert build.stale(files, root, complete=False)[-1].endswith("missing; run `course build`")


@pytest.mark.parametrize(
    "spoilt", [lambda data: data.replace(b"\n", b"\r\n"), lambda data: data + b"\n", lambda data: data[:-1], lambda data: b"\xff\xfe"]
)
def test_any_other_bytes_are_stale_and_mended_by_a_build(root, spoilt):
    files = build.build(("en",), root)
    build.write(files)
    (path,) = files
    path.write_bytes(spoilt(path.read_bytes()))
    assert len(build.stale(files, root)) == 1
    assert build.write(files) == [path] and path.read_bytes() == files[path].encode()


def test_nothing_is_built_when_any_chapter_has_a_mistake_and_each_is_told_once(root, toy, monkeypatch):
    other = toy.source.with_name("43_broken.py")
    other.write_text("# %% nonsense\n1\n\n# %% figure='a'\n1\n", encoding="utf-8")
    with pytest.raises(SourceError) as caught:
        build.build(("en", "zh"), root)
    assert [(problem.path.name, problem.line) for problem in caught.value.problems] == [("43_broken.py", 1), ("43_broken.py", 4)]
    with pytest.raises(SourceError):
        build.build_solutions(root / "out", ("en",), root)
    assert not (root / "notebooks").exists() and not (root / "out").exists()


def test_solution_notebooks_go_into_a_folder_for_each_language(root):
    files = build.build_solutions(root / "out", ("en", "zh"), root)
    assert [path.relative_to(root).as_posix() for path in files] == ["out/en/42_toy.ipynb", "out/zh/42_toy.ipynb"]
    assert all("secret_sum" in text for text in files.values())


@pytest.mark.parametrize("step", ["replace", "chmod"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "a.ipynb"
    path.write_text("old")

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(build.os, step, fail)
    with pytest.raises(OSError, match="no space"):
        build.write_whole(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.ipynb"] and path.read_text() == "old"


def test_text_that_cannot_be_encoded_leaves_nothing_behind(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        build.write_whole(tmp_path / "a.ipynb", "\ud800")
    assert list(tmp_path.iterdir()) == []


def test_the_committed_notebooks_are_those_of_their_sources():
    files = build.build(("en",))
    assert build.stale(files) == []
    for chapter in chapters():
        assert json.loads(notebook_path(chapter).read_bytes())["metadata"]["course"]["chapter"] == chapter.slug
    assert ROOT in next(iter(files)).parents

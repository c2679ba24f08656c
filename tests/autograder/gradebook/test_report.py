"""The report of a class: a table, and a page that trusts nothing from a submission."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder.cli import autograder
from autograder.errors import CourseError
from autograder.gradebook import page, plots, report
from autograder.gradebook.classroom import open_class
from autograder.gradebook.report import Column, Failed, Overview, Row

pytestmark = pytest.mark.xdist_group("gradebook")
WORK = "97_tiny"


class Images(HTMLParser):
    """Collects images and everything that would load or run something."""

    def __init__(self):
        super().__init__()
        self.images, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))


def test_the_table_holds_every_submission_and_the_page_is_written(graded, tmp_path):
    answer = CliRunner().invoke(autograder, ["report", str(graded.room.folder), "--html", str(tmp_path / "page.html")])
    assert answer.exit_code == 0, answer.stderr
    for word in ("ada", "unreadable", "forging", "tampered", "1 double (2)", "2 largest (3)", "3 predictions (1)", "4 essays (2)"):
        assert word in answer.stdout
    written = (tmp_path / "page.html").read_text()
    assert written.count('<th scope="row">') >= 6 and "0.67" in written


def test_a_report_changes_nothing_in_the_class(graded, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in graded.room.folder.rglob("*") if path.is_file()}
    report.report(graded.room.folder, tmp_path / "page.html")
    assert {path: path.stat().st_mtime_ns for path in graded.room.folder.rglob("*") if path.is_file()} == before


def test_each_exercise_has_its_points_and_each_failed_case_its_count(graded):
    (item,) = report.overview(graded.room)
    rows = {row.student: row for row in item.rows}
    assert [column.name for column in item.columns] == ["double", "largest", "predictions", "essays"]
    assert rows["ada"].scores == (2, 3, 1, 0) and rows["wrong-1"].scores == (0.67, 0, 0, 0)
    counts = {(entry.exercise, entry.case): entry.count for entry in item.failed}
    assert counts[("largest", "all below zero")] == 2  # wrong-1 and empty
    assert counts[("double", "a positive number")] == counts[("double", "a negative number")] == 1
    assert ("double", "zero") not in counts


def test_records_that_no_check_made_are_not_counted(graded, tmp_path):
    room = open_class(Path(shutil.copytree(graded.room.folder, tmp_path / "autumn")))
    path = room.autograded("ada", WORK) / f"{WORK}.ipynb"
    record = {"exercise": "tiny.double", "cases": [{"name": "<b>made up</b>", "outcome": "failed"}, "x", {"name": ["zero"], "outcome": "failed"}]}
    output = {"output_type": "display_data", "metadata": {}, "data": {"application/vnd.large-models-check+json": record}}
    path.chmod(0o644)
    path.write_text(json.dumps({"cells": [{"outputs": [output, {"data": {"application/vnd.large-models-check+json": 3}}]}]}))
    (item,) = report.overview(room)
    (untouched,) = report.overview(graded.room)
    assert item.failed == untouched.failed


@pytest.mark.parametrize(
    "broken", ["[" * 100_000, "3", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"outputs": 3}]}', '{"cells": [{"outputs": [3]}]}']
)
def test_a_graded_notebook_that_was_spoilt_does_not_stop_the_report(tmp_path, broken):
    (tmp_path / "notebook.ipynb").write_text(broken)
    assert report._failed_by(tmp_path / "notebook.ipynb") == set()


def strange_class():
    evil = '<script>alert("1")</script>&'
    columns = (Column("double", 2, ("check-double",)), Column("essays", 2, ("essay-why",)))
    rows = (
        Row(evil, "graded", evil * 200, 4, 4, (2, 2), True),
        Row("bob", evil, "", 0, 4, (0, 0), False),
        Row("cy", "graded", "", 1, 4, (1, 0), False),
    )
    return Overview(evil, columns, rows, (Failed("double", "$x^$ costs $1 and <i>", 2),))


def test_text_from_submissions_is_escaped_and_bounded():
    html = page.render("<b>class</b>", [strange_class()])
    seen = Images()
    seen.feed(html)
    assert seen.tags.isdisjoint({"script", "b", "i", "link", "iframe"})
    assert len(re.sub(r'src="data:[^"]*"', "", html)) < 12_000


def test_the_page_carries_everything_in_itself_and_each_plot_in_words():
    html = page.render("autumn", [strange_class()])
    seen = Images()
    seen.feed(html)
    assert len(seen.images) == 3
    assert all(image["src"].startswith("data:image/svg+xml;base64,") and len(image["alt"]) > 30 for image in seen.images)
    assert "double 1 full and 1 some" in seen.images[1]["alt"]
    assert not re.search(r'(?:src|href)="(?!data:)', html) and "http" not in re.sub(r'"data:[^"]*"', "", html)


def test_the_same_class_gives_the_same_page():
    assert page.render("autumn", [strange_class()]) == page.render("autumn", [strange_class()])


def test_a_class_with_no_points_to_be_had_can_be_plotted():
    assert plots.histogram([0.0], 0.0).startswith("data:image/svg+xml")


def test_full_marks_none_and_some_are_told_apart():
    assert [page.mark(score, 3) for score in (3, 0, 2.25)] == ["✓", "–", "2.25"]


def test_before_anything_is_graded_the_report_says_what_to_do(room):
    with pytest.raises(CourseError, match="run `autograder grade"):
        report.report(room.folder)
    assert not (room.folder / "report.html").exists()


@pytest.mark.parametrize("place", [".", "absent/page.html"])
def test_a_page_that_cannot_be_written_is_named(graded, tmp_path, place):
    with pytest.raises(CourseError, match="cannot be written"):
        report.report(graded.room.folder, tmp_path / place)

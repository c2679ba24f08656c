"""Grading by stock nbgrader what has been submitted: nothing that a submission does stops the others."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from processes import words
from typer.testing import CliRunner

from autograder.cli import autograder
from autograder.errors import CourseError
from autograder.gradebook import by_stock as by_stock_nbgrader
from autograder.gradebook import grading, marks, planted
from autograder.gradebook.classroom import open_class
from autograder.gradebook.ledger import Graded
from autograder.gradebook.submitted import Unreadable
from autograder.gradebook.worker import readable

pytestmark = pytest.mark.xdist_group("gradebook")
WORK = "97_tiny"


def grade(folder, **options):
    return grading.grade(folder, stock=True, **options)


def outcome(result):
    return result.status, result.score


def test_each_submission_ends_as_planted_and_the_bad_ones_stop_nobody(graded, by_stock):
    assert set(graded.results) == {"ada", "wrong-1", "empty", "unreadable", "forging", "deleted-both"}
    for name, result in graded.results.items():
        assert outcome(result) == (by_stock[name].status, by_stock[name].score), name
        assert result.max_score == 8


def test_what_could_not_be_graded_has_a_reason_and_zeros_in_the_gradebook(graded):
    assert "does not appear to be JSON" in graded.results["unreadable"].reason
    entry = next(entry for entry in marks.submissions(graded.room) if entry.student == "unreadable")
    assert entry.score == 0 and entry.max_score == 8 and not entry.needs_person
    shown = (graded.room.autograded("unreadable", WORK) / f"{WORK}.ipynb").read_text()
    assert "could not be graded" in shown and "does not appear to be JSON" in shown


def test_a_shadowed_check_is_told_and_gives_nothing(graded):
    result = graded.results["forging"]
    assert outcome(result) == ("tampered", 0) and "check-largest" in result.reason


def test_an_assignment_may_be_named_by_its_number(graded):
    assert grading.submissions(graded.room, "97", "ada") == [("ada", WORK)]
    with pytest.raises(CourseError, match="no assignment '98'"):
        grading.submissions(graded.room, "98", None)


def test_a_score_that_moved_is_told_and_one_that_stayed_is_not(capsys):
    before = [Graded(f"s{number}", WORK, "graded", 5.0, 8.0, "", 1.0) for number in range(14)]
    grading.tell_moved([(one, replace(one, score=one.score + (index > 0))) for index, one in enumerate(before)])
    told = capsys.readouterr().err.splitlines()
    assert told[0] == f"graded again: s1 {WORK} had 5 of 8 points, now 6"
    assert len(told) == 11 and told[-1] == "graded again: 3 more scores have changed"


def test_what_is_graded_and_unchanged_is_not_run_again(graded, monkeypatch):
    monkeypatch.setattr(by_stock_nbgrader, "run_submission", lambda *_arguments, **_options: pytest.fail("was run again"))
    again = {result.student: result for result in grade(graded.room.folder, quiet=True)}
    assert again == graded.results


def test_marks_given_by_a_person_show_without_grading_again(graded, tmp_path, monkeypatch):
    room = open_class(Path(shutil.copytree(graded.room.folder, tmp_path / "autumn")))
    with marks.gradebook(room, writing=True) as book:
        book.find_grade("essay-why", WORK, WORK, "ada").manual_score = 1.5
        book.db.commit()
    monkeypatch.setattr(by_stock_nbgrader, "run_submission", lambda *_arguments, **_options: pytest.fail("was run again"))
    (result,) = grade(room.folder, student="ada", quiet=True)
    assert result.score == graded.results["ada"].score + 1.5


def test_only_what_changed_or_was_cut_short_is_run_again(graded, tmp_path, monkeypatch, everyone):
    room = open_class(Path(shutil.copytree(graded.room.folder, tmp_path / "autumn")))
    (room.submitted("empty", WORK) / f"{WORK}.ipynb").write_text(everyone["wrong-1"].text)
    ledger = grading.Ledger(room.folder)
    ledger.forget("ada", WORK)
    shutil.rmtree(room.autograded("wrong-1", WORK))
    ran = []

    def run(_room, assignment, student, **_options):
        ran.append(student)
        return grading.Graded(student, assignment, "graded", 1, 8, "", 0)

    monkeypatch.setattr(by_stock_nbgrader, "run_submission", run)
    grade(room.folder, quiet=True)
    assert sorted(ran) == ["ada", "empty", "wrong-1"]
    ran.clear()
    grade(room.folder, student="forging", force=True, quiet=True)
    assert ran == ["forging"]


def test_json_gives_one_object_a_submission(graded):
    answer = CliRunner().invoke(autograder, ["grade", str(graded.room.folder), "--stock", "--json"])
    rows = json.loads(answer.stdout)
    assert answer.exit_code == 0 and len(rows) == 6
    assert set(rows[0]) == {"student", "assignment", "status", "score", "max_score", "reason", "seconds"}


def test_that_strangers_programs_run_with_your_rights_is_said_whenever_any_are_run(room, capfd, everyone):
    planted.write_class([everyone["unreadable"]], room.folder, WORK)
    grade(room.folder, quiet=True)
    assert "with your own rights" in " ".join(capfd.readouterr().err.split())
    grade(room.folder, quiet=True)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--assignment", "04_else"], "no assignment '04_else'"),
        (["--student", "nobody"], "no student 'nobody'"),
    ],
)
def test_a_wrong_name_is_answered_in_one_line(graded, options, words):
    answer = CliRunner().invoke(autograder, ["grade", str(graded.room.folder), "--stock", *options])
    assert answer.exit_code == 1 and words in answer.stderr and answer.stderr.count("\n") == 1


def test_an_empty_class_says_where_submissions_go(room):
    with pytest.raises(CourseError, match="submitted/STUDENT/97_tiny"):
        grade(room.folder)
    (room.folder / "submitted" / "ada").mkdir()
    with pytest.raises(CourseError, match="nothing is submitted for any assignment"):
        grade(room.folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "the folder holds answers.docx"),
        (b"", "no notebook"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"[]", "no notebook"),
        (b"[" * 100_000, "no notebook"),
        (b'{"cells": [{}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "no notebook"),
        (b'{"cells": [], "metadata": {}, "nbformat": 99, "nbformat_minor": 0}', "no notebook"),
    ],
)
def test_what_is_no_notebook_is_called_unreadable(tmp_path, content, words):
    folder = tmp_path / "ada" / WORK
    folder.mkdir(parents=True)
    (folder / "answers.docx").touch()
    if content is not None:
        (folder / f"{WORK}.ipynb").write_bytes(content)
    with pytest.raises(Unreadable, match=words):
        readable(folder, WORK)


def test_a_notebook_that_is_no_regular_file_is_not_opened(tmp_path):
    folder = tmp_path / "ada" / WORK
    folder.mkdir(parents=True)
    os.mkfifo(folder / f"{WORK}.ipynb")
    with pytest.raises(Unreadable, match="no regular file"):
        readable(folder, WORK)


def test_a_folder_name_that_nbgrader_takes_for_a_pattern_is_refused(tmp_path):
    (tmp_path / "a*" / WORK).mkdir(parents=True)
    with pytest.raises(Unreadable, match="folder name"):
        readable(tmp_path / "a*" / WORK, WORK)


def test_cell_ids_that_occur_twice_do_no_harm(room, everyone):
    node = json.loads(everyone["late"].text)
    for cell in node["cells"]:
        cell["id"] = "same"
    place = room.submitted("twin", WORK)
    place.mkdir(parents=True)
    (place / f"{WORK}.ipynb").write_text(json.dumps(node))
    (result,) = grade(room.folder, quiet=True)
    assert outcome(result) == ("graded", everyone["late"].score)


def test_a_submission_past_its_time_is_ended_with_all_its_processes(room, everyone, monkeypatch):
    planted.write_class([everyone["endless-cell"]], room.folder, WORK)
    room.logs.mkdir(exist_ok=True)
    result = by_stock_nbgrader.run_submission(room, WORK, "endless-cell", seconds=2)
    assert outcome(result) == ("timeout", 0) and result.seconds < 30
    below = [process for process in psutil.Process().children(recursive=True) if "ipykernel_launcher" in words(process)]
    assert below == []


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_the_next_run_goes_on(room, everyone, by_stock):
    planted.write_class([everyone["unreadable"], everyone["endless-cell"], everyone["deaf"]], room.folder, WORK)
    program = "import sys; from autograder.cli import autograder; autograder(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "grade", str(room.folder), "--stock"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 90
    while not list(room.folder.glob("autograded/*/*/*.ipynb")) and time.monotonic() < deadline:
        time.sleep(0.2)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.strip().endswith("Stopped.") and "Traceback" not in err
    assert time.monotonic() - started < 20
    kept = set(grading.Ledger(room.folder).rows())
    assert len(kept) < 3
    left = {path.parent.name for path in room.folder.glob("autograded/*/*") if path.is_dir()}
    assert left == {student for student, _assignment in kept}, "nothing half-graded is left"
    again = {result.student: outcome(result) for result in grade(room.folder, quiet=True)}
    assert again == {name: (by_stock[name].status, by_stock[name].score) for name in again} and len(again) == 3


@pytest.mark.slow
def test_every_planted_submission_is_graded_to_its_truth_two_at_a_time(room, by_stock):
    planted.write_class(by_stock.values(), room.folder, WORK)
    results = grade(room.folder, quiet=True)
    found = {result.student: outcome(result) for result in results}
    assert found == {name: (item.status, item.score) for name, item in by_stock.items()}
    reasons = {result.student: result.reason for result in results}
    assert "the kernel died in cell largest" in reasons["killed"]
    assert "ran out of time" in reasons["endless-cell"] and "could not be interrupted" in reasons["deaf"]
    assert reasons["crashing"] == "raised: cell double (RuntimeError)" and reasons["ben"] == ""


def test_a_class_that_cannot_be_written_to_is_not_graded(graded, monkeypatch):
    monkeypatch.setattr(grading.os, "access", lambda _path, mode: mode != os.W_OK)
    with pytest.raises(CourseError, match="cannot be written to"):
        grade(graded.room.folder)

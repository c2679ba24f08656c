"""Grading in shares and merging them: the same books as grading in one go, whatever is killed, changed or made up in between."""

import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder.cli import autograder
from autograder.engine import scheduler
from autograder.engine.unit import nothing_earned
from autograder.gradebook import by_engine, grading, marks, planted, secret, shards
from autograder.gradebook.classroom import open_class

pytestmark = [pytest.mark.xdist_group("gradebook"), pytest.mark.sandbox]
WORK = "97_tiny"
ENDLESS = ("deaf", "endless", "endless-cell")
PROGRAM = "import sys; from autograder.cli import autograder; autograder(sys.argv[1:])"


def start(*arguments):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run(*arguments):
    """The command in this process. → exit code, what it printed as JSON (if it did), the lines on stderr"""
    answer = CliRunner().invoke(autograder, [str(argument) for argument in arguments])
    return answer.exit_code, json.loads(answer.stdout) if answer.stdout.startswith(("{", "[")) else None, answer.stderr.splitlines()


def content(folder):
    """Every file of a class but the results of shards, to the byte."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and shards.FOLDER not in path.relative_to(folder).parts}


def books(folder):
    """All that nbgrader keeps of submissions, scores and comments, and all that the ledger keeps but the seconds."""
    cell = """select s.student_id, c.name, {} from {} x join submitted_notebook n on x.notebook_id = n.id
        join submitted_assignment s on n.assignment_id = s.id join base_cell c on x.cell_id = c.id order by 1, 2"""
    kept = []
    for database, query in (
        ("gradebook.db", cell.format("x.auto_score, x.manual_score, x.extra_credit, x.needs_manual_grade", "grade")),
        ("gradebook.db", cell.format("x.auto_comment, x.manual_comment", "comment")),
        ("gradebook.db", "select student_id, timestamp from submitted_assignment order by 1"),
        ("gradebook.db", "select id from student order by 1"),
        ("grading.db", "select student, assignment, status, score, max_score, reason, digest from graded order by 1, 2"),
    ):
        with closing(sqlite3.connect(folder / database)) as open_database:
            kept.append(open_database.execute(query).fetchall())
    return kept


def autograded(folder):
    """The graded notebooks, but for the seconds that checks took."""
    return {
        path.relative_to(folder): re.sub(r'"seconds": [-0-9.e]+', "", path.read_text())
        for path in (folder / "autograded").rglob("*")
        if path.is_file()
    }


def result_file(folder, student):
    return folder / shards.FOLDER / student / f"{WORK}.json"


def hand_in(folder, student, text):
    place = folder / "submitted" / student / WORK
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{WORK}.ipynb").write_text(text)


@pytest.fixture(scope="module")
def collected(made, everyone, tmp_path_factory):
    """Everyone but those who loop for ever, handed in and not graded. Tests must not change it, nor what is made from it below."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("collected") / "autumn"))
    planted.write_class([item for name, item in everyone.items() if name not in ENDLESS], folder, WORK)
    with marks.gradebook(open_class(folder), writing=True) as book:
        book.update_or_create_assignment(WORK, duedate=planted.DUE)
    return folder


@pytest.fixture(scope="module")
def whole(collected, in_tiny, tmp_path_factory):
    """Graded in one go."""
    folder = Path(shutil.copytree(collected, tmp_path_factory.mktemp("whole") / "autumn"))
    with in_tiny():
        return folder, grading.grade(folder, quiet=True)


@pytest.fixture(scope="module")
def sharded(collected, in_tiny, tmp_path_factory):
    """Graded by three processes at once, and not merged. → its folder, and what each printed"""
    folder = Path(shutil.copytree(collected, tmp_path_factory.mktemp("sharded") / "autumn"))
    with in_tiny():
        processes = [start("grade", folder, "--shard", f"{number}/3", "--jobs=1", "--json") for number in (1, 2, 3)]
        answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    return folder, [json.loads(out) for out, _err in answers]


@pytest.fixture
def copy(sharded, tmp_path):
    return Path(shutil.copytree(sharded[0], tmp_path / "autumn"))


@pytest.fixture
def ran(monkeypatch):
    """The units that are run from here on; each is answered at once."""
    units = []

    def run(todo, jobs=None):
        for unit in todo:
            units.append(unit.student)
            yield nothing_earned(unit, "unreadable", "for a test")

    monkeypatch.setattr(scheduler, "run", run)
    return units


@pytest.fixture
def recorded(monkeypatch):
    """Whose results are written into the gradebook from here on."""
    students, real = [], marks.record

    def record(room, book, student, *arguments):
        students.append(student)
        return real(room, book, student, *arguments)

    monkeypatch.setattr(marks, "record", record)
    return students


# Shares


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), unique=True), st.integers(1, 40))
def test_every_submission_is_in_exactly_one_share(names, count):
    shares = [shards.share_of(f"{number}/{count}") for number in range(1, count + 1)]
    assert all(sum(share.holds(*name) for share in shares) == 1 for name in names)


def test_shares_are_the_same_everywhere_and_for_ever():
    """On every machine, whoever else is in the class: else a rerun would grade some twice and some not at all."""
    share = [next(n for n in range(1, 8) if shards.share_of(f"{n}/7").holds(name, WORK)) for name in ("ada", "ben", "eva", "李雷", "\udcff")]
    assert share == [2, 3, 1, 3, 1]


def test_shares_are_about_equally_large():
    names = [(f"student{number}", work) for number in range(300) for work in ("03_backprop", "04_optimisers")]
    sizes = [sum(shards.Share(number, 6).holds(*name) for name in names) for number in range(1, 7)]
    assert sum(sizes) == 600 and min(sizes) >= 70 and max(sizes) <= 130


def test_students_who_come_later_move_nobody(copy, everyone, ran):
    before = {number: {row["student"] for row in run("grade", copy, "--shard", f"{number}/3", "--json")[1]} for number in (1, 2, 3)}
    for name in ("aaron", "zoe", "m"):
        hand_in(copy, name, everyone["late"].text)
    after = {number: {row["student"] for row in run("grade", copy, "--shard", f"{number}/3", "--json")[1]} for number in (1, 2, 3)}
    assert {number: names - {"aaron", "zoe", "m"} for number, names in after.items()} == before
    assert sorted(ran) == ["aaron", "m", "zoe"], "and only they are run"


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "-1/3", "a/b", "3", "", "1/3/5", "1/3 ", "１/３", "1/" + "9" * 5000])
def test_a_share_that_is_none_is_answered_in_one_line(room, everyone, text):
    hand_in(room.folder, "ada", everyone["ada"].text)
    before = content(room.folder)
    code, _json, lines = run("grade", room.folder, f"--shard={text}")
    assert code == 1 and len(lines) == 1 and "I from 1 to N" in lines[0]
    assert content(room.folder) == before and not (room.folder / shards.FOLDER).exists()


def test_stock_nbgrader_cannot_grade_a_share(room):
    code, _json, lines = run("grade", room.folder, "--shard=1/2", "--stock")
    assert code == 1 and len(lines) == 1 and "--stock" in lines[0]


# A class in three shares


def test_three_shares_merged_are_the_class_graded_in_one_go(copy, whole):
    folder, results = whole
    code, merged, lines = run("merge", copy, "--json")
    assert (code, merged["missing"], merged["problems"], lines) == (0, [], [], [])
    without = [{name: value for name, value in row.items() if name != "seconds"} for row in merged["graded"]]
    assert without == [{name: value for name, value in vars(result).items() if name != "seconds"} for result in results]
    assert books(copy) == books(folder)
    assert autograded(copy) == autograded(folder)


def test_each_share_says_what_it_graded(sharded, whole):
    shown = {row["student"]: (row["status"], row["score"], row["max_score"], row["reason"]) for rows in sharded[1] for row in rows}
    assert shown == {result.student: (result.status, result.score, result.max_score, result.reason) for result in whole[1]}
    assert all(0 < len(rows) < len(shown) for rows in sharded[1])
    assert {"graded", "crashed", "tampered", "unreadable"} == {end[0] for end in shown.values()}


def test_shares_leave_the_books_alone(sharded, collected):
    """To the byte; and what they write is for the grader's eyes, and reveals no draws."""
    folder = sharded[0]
    assert {path.relative_to(folder): data for path, data in content(folder).items()} == {
        path.relative_to(collected): data for path, data in content(collected).items()
    }
    assert stat.S_IMODE((folder / shards.FOLDER).stat().st_mode) == 0o700
    texts = [path.read_text() for path in (folder / shards.FOLDER).rglob("*") if path.is_file()]
    seed = str(grading.seeds_of(folder, "ada")[WORK])
    assert len(texts) == len(list((folder / "submitted").iterdir())) and not any(seed in text for text in texts)
    assert all(json.loads(text)["result"]["assignment"] == WORK for text in texts)


def test_a_share_needs_no_gradebook_that_can_be_read(copy, ran):
    """Another machine may be writing it."""
    (copy / "gradebook.db").write_bytes(b"in the middle of something")
    assert run("grade", copy, "--shard=1/1", "--json")[0] == 0 and ran == []


def test_what_is_merged_is_not_merged_again(copy, recorded):
    first = run("merge", copy, "--json")
    assert len(recorded) == len(first[1]["graded"])
    before = content(copy)
    recorded.clear()
    assert run("merge", copy, "--json") == first and recorded == []
    assert content(copy) == before


def test_after_merging_nothing_is_left_for_grade(copy, ran):
    merged = shards.merge(copy, quiet=True)
    assert grading.grade(copy, quiet=True) == merged.graded and ran == []


def test_what_was_graded_in_one_go_needs_no_share(whole, tmp_path, recorded):
    folder = Path(shutil.copytree(whole[0], tmp_path / "autumn"))
    merged = shards.merge(folder, quiet=True)
    assert merged == shards.Merged(whole[1], [], []) and recorded == []


# Killed


@pytest.mark.slow
def test_a_share_that_is_killed_goes_on_where_it_stopped(room, everyone, monkeypatch):
    node = json.loads(everyone["late"].text)
    node["cells"][0] |= {"source": "import time\ntime.sleep(1)\nfrom autograder import check, predict"}
    for number in range(6):
        hand_in(room.folder, f"s{number}", json.dumps(node))
    process, deadline = start("grade", room.folder, "--shard=1/1", "--jobs=2"), time.monotonic() + 90
    while len(list(room.folder.glob("shards/*/*.json"))) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    kept = {path.parent.name: path.read_bytes() for path in room.folder.glob("shards/*/*.json")}
    assert 2 <= len(kept) < 6
    units, real = [], scheduler.run
    monkeypatch.setattr(scheduler, "run", lambda todo, jobs=None: real((units.append(unit.student) or unit for unit in todo), jobs))
    results = shards.grade(room.folder, "1/1", quiet=True)
    assert sorted([*units, *kept]) == [f"s{number}" for number in range(6)]
    assert {name: result_file(room.folder, name).read_bytes() for name in kept} == kept
    merged = shards.merge(room.folder, quiet=True)
    assert (
        [(row.status, row.score) for row in merged.graded] == [(row.status, row.score) for row in results] == [("graded", everyone["late"].score)] * 6
    )


@pytest.mark.parametrize("stop", ["forget", "keep"])
def test_a_merge_that_is_killed_goes_on_where_it_stopped(copy, whole, recorded, monkeypatch, stop):
    """At the two worst moments: before anything is written of the third, and when all is written but that it is."""
    calls, real = [], getattr(grading.Ledger, stop)

    def halt(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(grading.Ledger, stop, halt)
        assert run("merge", copy)[0] == 130
    done = set(recorded[:2])
    recorded.clear()
    assert not shards.merge(copy, quiet=True).missing
    assert not done & set(recorded) and len(recorded) == len(whole[1]) - 2
    assert books(copy) == books(whole[0]) and autograded(copy) == autograded(whole[0])


def test_a_failure_of_the_engine_itself_is_no_result(room, everyone, monkeypatch):
    hand_in(room.folder, "ada", everyone["ada"].text)
    monkeypatch.setattr(scheduler, "run", lambda todo, jobs=None: (nothing_earned(unit, "crashed", "the process failed") for unit in todo))
    code, rows, _lines = run("grade", room.folder, "--shard=1/1", "--json")
    assert code == 0 and [row["status"] for row in rows] == ["crashed"]
    code, merged, _lines = run("merge", room.folder, "--json")
    assert code == 2 and merged["graded"] == [] and merged["missing"] == [{"student": "ada", "assignment": WORK, "reason": shards.NOT_YET}]


# Changed, cut off, made up


def test_what_no_share_has_graded_is_listed(copy):
    shutil.rmtree(copy / shards.FOLDER / "ada")
    code, merged, _lines = run("merge", copy, "--json")
    assert code == 2 and merged["missing"] == [{"student": "ada", "assignment": WORK, "reason": shards.NOT_YET}]
    assert "ada" not in {row["student"] for row in merged["graded"]} and not (copy / "autograded" / "ada").exists()
    code, _json, lines = run("merge", copy)
    assert code == 2 and lines == [f"missing: ada {WORK}: {shards.NOT_YET}", f"1 of {len(merged['graded']) + 1} submissions are missing."]


@pytest.mark.parametrize("merged_before", [False, True])
def test_a_resubmission_makes_a_result_stale_and_only_it_is_graded_again(copy, everyone, recorded, ran, merged_before):
    if merged_before:
        shards.merge(copy, quiet=True)
    hand_in(copy, "empty", everyone["ben"].text)
    merged = shards.merge(copy, quiet=True)
    assert merged.missing == [shards.Missing("empty", WORK, shards.STALE)] and merged.problems == []
    shards.grade(copy, "1/1", quiet=True)
    assert ran == ["empty"]
    recorded.clear()
    merged = shards.merge(copy, quiet=True)
    assert merged.missing == [] and recorded == ["empty"]
    assert {row.student: row.reason for row in merged.graded}["empty"] == "for a test"


def test_a_release_or_a_course_that_changed_makes_all_results_stale(copy, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "99.0")
    merged = shards.merge(copy, quiet=True)
    assert merged.graded == [] and {item.reason for item in merged.missing} == {shards.STALE}
    assert not (copy / "autograded").exists() and not (copy / "grading.db").exists()


def resealed(folder, student, **changes):
    """A result that is sealed as it should be and says something else."""
    record = json.loads(result_file(folder, student).read_text())["result"] | changes
    body = json.dumps(record, sort_keys=True)
    return f'{{"seal": "{secret.seal(secret.read(folder), body.encode())}",\n"result": {body}}}\n'


def replaced(make):
    def spoil(folder):
        path = result_file(folder, "empty")
        text = make(folder, path.read_text())
        path.write_text(text)

    return spoil


def in_place(make):
    def spoil(folder):
        path = result_file(folder, "empty")
        path.unlink()
        make(path)

    return spoil


SPOILT = {
    "nothing": (replaced(lambda _folder, _text: ""), "not to its end"),
    "cut off": (replaced(lambda _folder, text: text[:-100]), "not to its end"),
    "not text": (in_place(lambda path: path.write_bytes(b"\xff\x00")), "no shard wrote it"),
    "points added": (replaced(lambda _folder, text: text.replace('"score": 0', '"score": 8')), "was changed"),
    "made by hand": (replaced(lambda _folder, _text: json.dumps({"student": "empty", "score": 8})), "no shard wrote it"),
    "deep": (replaced(lambda _folder, _text: "[" * 100_000), "no shard wrote it"),
    "another's": (replaced(lambda folder, _text: result_file(folder, "ada").read_text()), "belongs to another submission"),
    "a folder": (in_place(lambda path: path.mkdir()), "no regular file"),
    "a pipe": (in_place(os.mkfifo), "no regular file"),
    "a link": (in_place(lambda path: path.symlink_to(path.parents[1] / "ada" / path.name)), "no regular file"),
    "no score": (replaced(lambda folder, _text: resealed(folder, "empty", score="8")), "is not of type 'number'"),
    "no number": (replaced(lambda folder, _text: resealed(folder, "empty", score=float("nan"))), "NaN"),
    "no status": (replaced(lambda folder, _text: resealed(folder, "empty", status="fine")), "'fine' is not one of"),
    "no cells": (replaced(lambda folder, _text: resealed(folder, "empty", cells=[["check-double"]])), "too short"),
    "no notebook": (replaced(lambda folder, _text: resealed(folder, "empty", executed='{"cells": [{"source": ""}]}')), "cell_type"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_file_that_is_no_result_is_told_in_one_line_and_stops_nobody(copy, whole, name):
    spoil, words = SPOILT[name]
    spoil(copy)
    code, _json, lines = run("merge", copy)
    assert code == 2 and len(lines) == 2 and lines[0].startswith("missing: empty") and words in lines[0]
    assert not (copy / "autograded" / "empty").exists()
    assert len(grading.Ledger(copy).rows()) == len(whole[1]) - 1
    assert "empty" not in {entry.student for entry in marks.submissions(open_class(copy))}


def test_what_a_share_finds_spoilt_it_does_again(copy, ran):
    for spoil in ("cut off", "points added"):
        SPOILT[spoil][0](copy)
        ran.clear()
        shards.grade(copy, "1/1", quiet=True)
        assert ran == ["empty"]


def test_results_of_another_class_count_for_nothing(copy):
    (copy / secret.FILE).unlink()
    merged = shards.merge(copy, quiet=True)
    assert merged.graded == [] and all("another secret" in item.reason for item in merged.missing)


def test_files_that_belong_to_nobody_are_told_and_left(copy):
    folder = copy / shards.FOLDER
    (folder / "notes.txt").write_text("mine")
    (folder / "ada" / "98_other.json").write_text("{}")
    (folder / "gone\n\x1b[31m").mkdir()
    (folder / "gone\n\x1b[31m" / f"{WORK}.json").write_text("{}")
    (folder / "ada" / f".{WORK}.json.x7").write_text("a shard was killed here")
    code, merged, _lines = run("merge", copy, "--json")
    assert code == 0 and len(merged["problems"]) == 3
    assert all(line.isprintable() and line.startswith("shards/") for line in merged["problems"])
    assert (folder / "notes.txt").exists()


def test_a_spoilt_file_of_what_is_graded_already_is_told_and_nothing_is_missing(copy):
    shards.merge(copy, quiet=True)
    SPOILT["cut off"][0](copy)
    merged = shards.merge(copy, quiet=True)
    assert merged.missing == [] and len(merged.problems) == 1 and "shards/empty" in merged.problems[0]


# A person's marks, and --force


def mark(folder, student, points):
    with marks.gradebook(open_class(folder), writing=True) as book:
        grade = book.find_grade("essay-why", WORK, WORK, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        book.db.commit()


def needs_person(folder, student):
    return next(entry.needs_person for entry in marks.submissions(open_class(folder)) if entry.student == student)


def test_a_persons_marks_are_treated_as_by_grade(copy, whole, tmp_path, ran):
    one_go = Path(shutil.copytree(whole[0], tmp_path / "whole"))
    shards.merge(copy, quiet=True)
    for folder in (copy, one_go):
        mark(folder, "ada", 1.5)
    scores = [{row.student: row.score for row in rows} for rows in (shards.merge(copy, quiet=True).graded, grading.grade(one_go, quiet=True))]
    assert scores[0] == scores[1] and books(copy) == books(one_go) and not needs_person(copy, "ada")
    shards.grade(copy, "1/1", student="ada", force=True, quiet=True)
    grading.grade(one_go, student="ada", force=True, quiet=True)
    scores = [{row.student: row.score for row in rows} for rows in (shards.merge(copy, quiet=True).graded, grading.grade(one_go, quiet=True))]
    assert scores[0] == scores[1] and books(copy) == books(one_go) and needs_person(copy, "ada") and ran == ["ada", "ada"]


def test_what_was_graded_again_by_force_is_merged_once_more_and_once(copy, ran, recorded):
    shards.merge(copy, quiet=True)
    recorded.clear()
    shards.grade(copy, "1/1", student="ada", force=True, quiet=True)
    shards.grade(copy, "1/1", quiet=True)
    assert ran == ["ada"]
    merged = shards.merge(copy, quiet=True)
    assert recorded == ["ada"] and {row.student: row.status for row in merged.graded}["ada"] == "unreadable"
    again = shards.merge(copy, quiet=True)
    assert recorded == ["ada"] and again == merged


def test_a_notebook_that_was_removed_is_written_again(copy, whole, recorded):
    shards.merge(copy, quiet=True)
    recorded.clear()
    shutil.rmtree(copy / "autograded" / "ada")
    shards.merge(copy, quiet=True)
    assert recorded == ["ada"] and autograded(copy) == autograded(whole[0])


def test_one_assignment_may_be_merged_by_itself(copy):
    code, merged, _lines = run("merge", copy, "--assignment", WORK, "--json")
    assert code == 0 and merged["graded"]
    code, _json, lines = run("merge", copy, "--assignment=98_other")
    assert code == 1 and len(lines) == 1 and "98_other" in lines[0]


def test_the_result_that_is_read_is_the_one_that_was_written(copy, everyone):
    shelf, room = shards.Shelf(open_class(copy)), open_class(copy)
    found = shelf.read("ada", WORK)
    assert found is not None and found.digest == by_engine.Runner(room, True, grading.Limits(), None).digest("ada", WORK) and not found.forced
    assert json.loads(found.result.executed)["nbformat"] == 4 and found.result.score == everyone["ada"].score
    before = result_file(copy, "ada").read_bytes()
    shelf.write(found)
    assert result_file(copy, "ada").read_bytes() == before

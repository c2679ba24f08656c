"""Grading by the engine: the planted scores, nbgrader's books as nbgrader would write them, nothing lost and nothing done twice."""

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import is_alive
from typer.testing import CliRunner

from autograder.cli import autograder
from autograder.engine import scheduler
from autograder.engine.sandbox import Limits
from autograder.engine.unit import nothing_earned
from autograder.errors import CourseError
from autograder.gradebook import grading, marks, planted, report, secret, stock
from autograder.gradebook.classroom import open_class

pytestmark = [pytest.mark.xdist_group("gradebook"), pytest.mark.sandbox]
WORK = "97_tiny"
SHORT = Limits(cell=3)
ENDLESS = ("deaf", "endless", "endless-cell")


def outcome(result):
    return result.status, result.score


def truth(people):
    return {name: (item.status, item.score) for name, item in people.items()}


@pytest.fixture(scope="module")
def done(made, everyone, in_tiny, tmp_path_factory):
    """Everyone but those who loop for ever, graded. Tests must not change it."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("by_engine") / "autumn"))
    planted.write_class([item for name, item in everyone.items() if name not in ENDLESS], folder, WORK)
    with marks.gradebook(open_class(folder), writing=True) as book:
        book.update_or_create_assignment(WORK, duedate=planted.DUE)
    with in_tiny():
        return folder, {result.student: result for result in grading.grade(folder, quiet=True)}


@pytest.fixture
def copy(done, tmp_path):
    return Path(shutil.copytree(done[0], tmp_path / "autumn"))


@pytest.fixture
def ran(monkeypatch):
    """The units that are really run from here on."""
    units = []

    def note(unit):
        units.append(unit)
        return unit

    real = scheduler.run
    monkeypatch.setattr(scheduler, "run", lambda given, jobs=None: (yield from real(map(note, given), jobs)))
    return units


@pytest.fixture
def given(monkeypatch):
    """The units that would be run from here on; each is answered at once."""
    units = []

    def run(todo, jobs=None):
        for unit in todo:
            units.append(unit)
            yield nothing_earned(unit, "unreadable", "for a test")

    monkeypatch.setattr(scheduler, "run", run)
    return units


def answered(everyone):
    """An essay that somebody wrote."""
    node = json.loads(everyone["late"].text)
    for cell in node["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "essay-why":
            cell["source"] = "Because there is none."
    return json.dumps(node)


def hand_in(folder, student, text):
    place = folder / "submitted" / student / WORK
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{WORK}.ipynb").write_bytes(text if isinstance(text, bytes) else text.encode())


def rows(folder):
    """All that nbgrader keeps of scores and comments, by student and cell."""
    joined = """select s.student_id, c.name, {} from {} x join submitted_notebook n on x.notebook_id = n.id
        join submitted_assignment s on n.assignment_id = s.id join base_cell c on x.cell_id = c.id"""
    with sqlite3.connect(folder / "gradebook.db") as database:
        scores = database.execute(joined.format("x.auto_score, x.needs_manual_grade, x.manual_score", "grade"))
        remarks = database.execute(joined.format("x.auto_comment", "comment"))
        return {row[:2]: row[2:] for row in scores}, {row[:2]: row[2] for row in remarks}


def test_everybody_gets_the_planted_status_and_score(done, everyone):
    _folder, results = done
    assert {name: outcome(result) for name, result in results.items()} == {name: end for name, end in truth(everyone).items() if name in results}
    assert {result.max_score for result in results.values()} == {8}
    assert len(results) == len(everyone) - len(ENDLESS)


def test_reasons_say_what_happened(done):
    _folder, results = done
    assert results["crashing"].reason == "raised: cell double (RuntimeError)" and results["ben"].reason == ""
    assert "what was reached before counts" in results["killed"].reason and "nothing that it earned counts" in results["tampering"].reason
    assert "it is not JSON" in results["unreadable"].reason


def test_honest_submissions_get_from_stock_nbgrader_what_they_get_here(done, graded):
    """To the row of nbgrader's own tables."""
    honest = ("ada", "wrong-1", "empty", "deleted-both", "unreadable")
    here, there = rows(done[0]), rows(graded.room.folder)
    for ours, theirs in zip(here, there, strict=True):
        assert {key: value for key, value in ours.items() if key[0] in honest} == {key: value for key, value in theirs.items() if key[0] in honest}


def test_an_essay_waits_for_a_person_and_an_empty_one_does_not(copy, everyone):
    hand_in(copy, "eva", answered(everyone))
    (result,) = grading.grade(copy, student="eva", quiet=True)
    found = {entry.student: entry for entry in marks.submissions(open_class(copy))}
    assert found["eva"].needs_person and not found["late"].needs_person
    with marks.gradebook(open_class(copy), writing=True) as book:
        book.find_grade("essay-why", WORK, WORK, "eva").manual_score = 1.5
        book.db.commit()
    (again,) = grading.grade(copy, student="eva", quiet=True, force=True)
    assert again.score == result.score + 1.5, "a person's marks stay"


def test_times_of_submission_are_kept_and_lateness_costs_what_the_class_says(copy):
    room = open_class(copy)
    with marks.gradebook(room) as book:
        assert book.find_submission(WORK, "late").total_seconds_late == 86400
        assert book.find_submission_notebook(WORK, WORK, "late").late_submission_penalty is None
    with (copy / "nbgrader_config.py").open("a") as file:
        file.write("\nfrom nbgrader.plugins import LateSubmissionPlugin\nc.LateSubmissionPlugin.penalty_method = 'zero'\n")
    grading.grade(copy, student="late", quiet=True, force=True)
    with marks.gradebook(room) as book:
        notebook = book.find_submission_notebook(WORK, WORK, "late")
        assert notebook.late_submission_penalty == notebook.score > 0


def test_graded_notebooks_are_as_nbgrader_leaves_them(done):
    folder, _results = done
    release = json.loads((folder / "release" / WORK / f"{WORK}.ipynb").read_text())
    want = {cell["metadata"]["nbgrader"]["grade_id"]: cell["metadata"]["nbgrader"] for cell in release["cells"] if "nbgrader" in cell["metadata"]}
    for student in ("ada", "deleted-both", "tampering"):
        cells = json.loads((folder / "autograded" / student / WORK / f"{WORK}.ipynb").read_text())["cells"]
        found = {cell["metadata"]["nbgrader"]["grade_id"]: cell["metadata"]["nbgrader"] for cell in cells if "nbgrader" in cell["metadata"]}
        assert all(want[name] == found[name] for name in found)
        assert {name for name in want if want[name]["grade"]} <= set(found)
    first = cells[0]["source"]
    assert "interfered with its grading" in first and "nothing that it earned counts" in first


def test_what_is_graded_and_unchanged_is_not_run_again(done, ran):
    folder, results = done
    assert {result.student: result for result in grading.grade(folder, quiet=True)} == results
    assert ran == []


def test_a_change_of_submission_release_or_checks_is_graded_again(copy, given, everyone, monkeypatch):
    hand_in(copy, "empty", everyone["wrong-1"].text)
    grading.grade(copy, quiet=True)
    assert [unit.student for unit in given] == ["empty"]
    given.clear()
    grading.grade(copy, student="ada", quiet=True, force=True)
    assert [unit.student for unit in given] == ["ada"]
    given.clear()
    release = copy / "release" / WORK / f"{WORK}.ipynb"
    release.write_text(release.read_text() + "\n")
    grading.grade(copy, student="ben", quiet=True)
    assert [unit.student for unit in given] == ["ben"]
    given.clear()
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "99.0")
    grading.grade(copy, student="ben", quiet=True)
    assert [unit.student for unit in given] == ["ben"]


def test_a_failure_of_the_engine_itself_is_tried_again_by_the_next_run(room, everyone, monkeypatch):
    planted.write_class([everyone["ada"]], room.folder, WORK)
    runs = []

    def run(todo, jobs=None):
        for unit in todo:
            runs.append(unit.student)
            yield nothing_earned(unit, "crashed", "the process that graded it failed 2 times (killed)")

    monkeypatch.setattr(scheduler, "run", run)
    for _run in range(2):
        assert [outcome(result) for result in grading.grade(room.folder, quiet=True)] == [("crashed", 0)]
    assert runs == ["ada", "ada"] and grading.Ledger(room.folder).rows() == {}


def test_each_student_has_draws_of_their_own_that_come_again(copy, given):
    grading.grade(copy, student="ada", quiet=True, force=True)
    grading.grade(copy, student="ben", quiet=True, force=True)
    grading.grade(copy, student="ada", quiet=True, force=True)
    ada, ben, again = (unit.seed for unit in given)
    assert ada == again != ben
    shown = CliRunner().invoke(autograder, ["grade", str(copy), "--seed-of", "ada"])
    assert shown.stdout == f"{WORK} {ada}\n" and grading.seeds_of(copy, "ben") == {WORK: ben}
    (copy / secret.FILE).unlink()
    assert grading.seeds_of(copy, "ada") != {WORK: ada}, "another secret, other draws"


def test_the_secret_is_for_the_grader_alone(copy):
    assert stat.S_IMODE((copy / secret.FILE).stat().st_mode) == 0o600
    (copy / secret.FILE).chmod(0o644)
    with pytest.raises(CourseError, match="others can read"):
        grading.grade(copy, quiet=True)
    (copy / secret.FILE).write_text("short")
    (copy / secret.FILE).chmod(0o600)
    with pytest.raises(CourseError, match="holds no secret"):
        grading.grade(copy, quiet=True)


def test_without_bubblewrap_nothing_is_run_unless_it_is_asked_for(copy, everyone, monkeypatch, capfd):
    hand_in(copy, "eva", everyone["late"].text)
    monkeypatch.setattr(shutil, "which", lambda name, *_arguments, **_options: None)
    monkeypatch.setenv("COURSE_WALLS", "bubblewrap")
    answer = CliRunner().invoke(autograder, ["grade", str(copy)])
    assert answer.exit_code == 1 and "bubblewrap is not installed" in answer.stderr and "--no-sandbox" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not (copy / "autograded" / "eva").exists()
    capfd.readouterr()
    (result,) = grading.grade(copy, student="eva", sandbox=False, quiet=True)
    assert outcome(result) == ("graded", everyone["late"].score)
    assert "with your own rights" in " ".join(capfd.readouterr().err.split())


def test_odd_submissions_are_graded_or_reported(room, everyone):
    node = json.loads(everyone["late"].text)
    for cell in node["cells"]:
        cell["id"] = "same"
        cell["metadata"]["course"] = {"deep": [1] * 3}
    node["cells"].insert(
        0, {"cell_type": "code", "id": "é" * 90, "metadata": {"nbgrader": {"grade_id": 7}}, "source": ["x = '\\ud800'"], "outputs": 5}
    )
    node["cells"].append(next(cell for cell in node["cells"] if cell["source"] and "check(" in "".join(cell["source"])))
    hand_in(room.folder, "same-ids", json.dumps(node))
    hand_in(room.folder, "surrogates", json.dumps(node).replace("Twice x", "\\ud83d"))
    hand_in(room.folder, "marked", b"\xef\xbb\xbf" + everyone["late"].text.encode())
    hand_in(room.folder, "latin", everyone["late"].text.replace("x", "ü", 1).encode("latin-1"))
    hand_in(room.folder, "deep", b"[" * 100_000)
    hand_in(room.folder, "misnamed", everyone["late"].text)
    place = room.submitted("misnamed", WORK)
    (place / f"{WORK}.ipynb").rename(place / "mine.ipynb")
    os.mkfifo(room.submitted("piped", WORK).mkdir(parents=True) or room.submitted("piped", WORK) / f"{WORK}.ipynb")
    os.symlink("/etc/passwd", room.submitted("linked", WORK).mkdir(parents=True) or room.submitted("linked", WORK) / f"{WORK}.ipynb")
    results = {result.student: result for result in grading.grade(room.folder, quiet=True)}
    for name in ("same-ids", "surrogates", "marked"):
        assert outcome(results[name]) == ("graded", everyone["late"].score), name
    for name, words in {"latin": "UTF-8", "deep": "JSON", "misnamed": "mine.ipynb", "piped": "no regular file", "linked": "no regular file"}.items():
        assert outcome(results[name]) == ("unreadable", 0) and words in results[name].reason, name
    assert "root:" not in "".join(path.read_text() for path in room.folder.glob("autograded/linked/**/*.ipynb"))


def test_an_assignment_that_is_not_the_courses_is_refused_in_words(copy):
    release = copy / "release" / WORK / f"{WORK}.ipynb"
    release.write_text(release.read_text().replace("check(", "print("))
    with pytest.raises(CourseError, match="--stock"):
        grading.grade(copy, quiet=True)
    release.unlink()
    with pytest.raises(CourseError, match="nbgrader generate_assignment"):
        grading.grade(copy, quiet=True)


def test_the_report_counts_failed_cases_from_graded_notebooks(copy):
    report.report(copy)
    assert "all below zero" in (copy / "report.html").read_text()


@pytest.mark.slow
def test_feedback_and_export_go_on_as_usual(copy, tmp_path, everyone):
    log = tmp_path / "log"
    stock.nbgrader(copy, "generate_feedback", WORK, log=log, scratch=tmp_path)
    stock.nbgrader(copy, "export", "--to=grades.csv", log=log, scratch=tmp_path)
    lines = (copy / "grades.csv").read_text().splitlines()
    names = lines[0].split(",")
    scores = {row[names.index("student_id")]: float(row[names.index("score")]) for row in (line.split(",") for line in lines[1:])}
    assert scores == {name: item.score for name, item in everyone.items() if name not in ENDLESS}
    feedback = (copy / "feedback" / "wrong-1" / WORK / f"{WORK}.html").read_text()
    assert "all below zero" in feedback
    assert "what was reached before counts" in (copy / "feedback" / "killed" / WORK / f"{WORK}.html").read_text()


@pytest.mark.slow
def test_those_who_loop_for_ever_lose_only_where_they_loop(room, everyone):
    people = {name: everyone[name] for name in (*ENDLESS, "ada")}
    planted.write_class(people.values(), room.folder, WORK)
    results = {result.student: result for result in grading.grade(room.folder, quiet=True, limits=SHORT)}
    assert {name: outcome(result) for name, result in results.items()} == truth(people)
    assert "ran out of time: cell largest" in results["endless-cell"].reason


PROGRAM = "import sys; from autograder.cli import autograder; autograder(sys.argv[1:])"


def begun(folder, everyone, count):
    """A class of slow submissions, being graded, with some of them finished."""
    node = json.loads(everyone["late"].text)
    node["cells"][0] |= {"source": "import time\ntime.sleep(1)\nfrom autograder import check, predict"}
    for number in range(8):
        hand_in(folder, f"s{number}", json.dumps(node))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, "grade", str(folder), "--jobs=2"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while len(grading.Ledger(folder).rows()) < count:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    return process, psutil.Process(process.pid).children(recursive=True)


def gone(processes):
    _gone, alive = psutil.wait_procs(processes, 10)
    return [process for process in alive if is_alive(process)] == []


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_what_was_finished_is_kept_and_only_the_rest_is_run_after_a_sudden_end(room, everyone, ran, way):
    process, family = begun(room.folder, everyone, 3)
    process.send_signal(way)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == (130 if way == signal.SIGINT else -way)
    assert gone(family)
    kept = {student for student, _assignment in grading.Ledger(room.folder).rows()}
    assert 3 <= len(kept) < 8
    if way == signal.SIGINT:
        assert err.strip().endswith("Stopped.") and "Traceback" not in err
        assert {path.name for path in (room.folder / "autograded").iterdir()} == kept, "nothing half-graded is left"
    results = grading.grade(room.folder, quiet=True)
    assert {unit.student for unit in ran} == {f"s{number}" for number in range(8)} - kept
    assert [outcome(result) for result in results] == [("graded", everyone["late"].score)] * 8
    assert not list(room.folder.glob("**/.*.ipynb.*")) or way == signal.SIGKILL


@pytest.mark.slow
def test_a_lane_that_dies_costs_nobody_a_point(room, everyone):
    process, _family = begun(room.folder, everyone, 1)
    lanes = [child for child in psutil.Process(process.pid).children() if "autograder.engine.lane" in child.cmdline()]
    lanes[0].kill()
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert {outcome(graded) for graded, _digest in grading.Ledger(room.folder).rows().values()} == {("graded", everyone["late"].score)}

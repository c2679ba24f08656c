"""`course check`: a whole notebook run without a browser, and a reason for every check that gave no result."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from autograder.checking import notebook as room
from autograder.errors import CourseError
from autograder.release import build
from autograder.release.chapters import chapters

CHECK = """
import signal, sys
from autograder.cli import course
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it, and hands that down
course(["check", *sys.argv[1:]])
"""


def write(path: Path, node: nbformat.NotebookNode, **sources: str) -> Path:
    """The notebook with other sources for some of its cells, by cell id (`check_double` is check-double)."""
    wanted = {name.replace("_", "-"): source for name, source in sources.items()}
    for cell in node.cells:
        cell.source = wanted.pop(cell.id, cell.source)
    assert not wanted, f"no such cells: {list(wanted)}"
    nbformat.write(node, path)
    return path


def start_check(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHECK, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_running(pid: int) -> bool:
    """A process that has ended but was not yet waited for counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not is_running(pid):
            return True
        time.sleep(0.1)
    return False


def test_a_solved_notebook_is_solved_and_stays_the_same_to_the_byte(house, tmp_path, capsys):
    path = write(tmp_path / "mine.ipynb", house.notebook("solution"), predict_four="guess = 5")
    before = path.read_bytes(), path.stat().st_mtime_ns
    report = room.check_notebook(path)
    assert report.solved and (report.score, report.points) == (5, 5)
    assert [result.exercise for result in report.results] == ["small.double", "small.half"]
    assert report.predictions == (room.Predicted("small.four", "made", "5", "4"),)
    assert (report.not_reached, report.faults) == ((), ())
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    room.show(report)
    told = capsys.readouterr().out
    assert "small.double: 2 of 2 points. Solved." in told and "✓ a negative number" in told
    assert "98_small: 2 of 2 exercises solved, 5 of 5 points, 1 of 1 predictions made" in told


def test_a_fresh_notebook_is_reached_everywhere_and_worth_nothing(house, tmp_path, capsys):
    node = house.notebook()
    node.cells.append(nbformat.v4.new_code_cell("double(2)"))
    report = room.check_notebook(write(tmp_path / "mine.ipynb", node))
    assert [result.status for result in report.results] == ["not written", "not written"]
    assert not report.solved and report.score == 0 and report.not_reached == ()
    assert report.predictions == (room.Predicted("small.four", "not made", "", "4"),)
    assert str(report.faults[-1]) == "code cell 9 (`double(2)`) needs something that is not written yet"
    room.show(report)
    told = capsys.readouterr().out
    assert "small.double: 0 of 2 points. Nothing here yet.\n  `double` is not written yet" in told and "a whole number" not in told


def test_the_report_is_plain_json_whose_exit_code_tells_unsolved_from_solved(house, tmp_path):
    half = "def half(x):\n    return x // 2"
    path = write(tmp_path / "mine.ipynb", house.notebook("solution"), half=half)
    process = start_check(str(path), "--json")
    out, err = process.communicate(timeout=120)
    report = json.loads(out)
    assert (process.returncode, err) == (2, "")
    assert (report["chapter"], report["score"], report["points"], report["solved"]) == ("98_small", 2, 5, False)
    (case,) = report["exercises"][1]["cases"]
    assert case["outcome"] == "failed" and case["hint"] == "// throws the rest away."


def test_a_check_that_gave_no_result_is_told_with_its_error_and_the_cell_to_blame(house, tmp_path, capsys):
    node = house.notebook("solution")
    node.cells.append(nbformat.v4.new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]}))
    path = write(tmp_path / "mine.ipynb", node, double="# my try\ndef double(x)\n    return 2 * x", check_half='_ = check("small.half", half)')
    report = room.check_notebook(path)
    assert [(item.exercise, item.points) for item in report.not_reached] == [("small.double", 2), ("small.half", 3)]
    assert report.not_reached[0].reason == (
        "Its check raised NameError: name 'double' is not defined. "
        f"Before it, code cell 3 (`def double(x)`) raised SyntaxError: {report.faults[0].what.partition(': ')[2]}."
    )
    assert report.not_reached[1].reason == "Its cell ran but showed no result; check(…) must be the last expression of the cell."
    assert [fault.cell for fault in report.faults] == [3, 4]  # the error that the notebook announces is none
    room.show(report)
    told = capsys.readouterr().out
    assert "small.double: not reached, 0 of 2 points." in told and 'code cell 4 (`check("small.double", double)`) raised NameError' in told


def test_a_check_that_was_deleted_is_told(house, tmp_path):
    node = house.notebook("solution")
    node.cells = [cell for cell in node.cells if cell.id != "check-half"]
    report = room.check_notebook(write(tmp_path / "mine.ipynb", node))
    (missing,) = report.not_reached
    assert missing.exercise == "small.half" and "no cell that checks it" in missing.reason and report.score == 2


@pytest.mark.parametrize("endless", ["import time\ntime.sleep(60)", "import time\nwhile True: print('x' * 10_000)"])
def test_a_slow_cell_is_stopped_and_the_rest_goes_on(house, tmp_path, endless):
    path = write(tmp_path / "mine.ipynb", house.notebook("solution"), predict_four=endless)
    report = room.check_notebook(path, seconds=2)
    assert report.solved and report.seconds < 30
    assert str(report.faults[0]) == "code cell 2 (`import time`) took longer than 2 s"
    assert report.predictions == (room.Predicted("small.four", "not reached"),)


def test_a_cell_that_cannot_be_stopped_ends_the_run_and_is_named(house, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "GRACE", 1)
    stubborn = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    path = write(tmp_path / "mine.ipynb", house.notebook("solution"), half=stubborn)
    report = room.check_notebook(path, seconds=2)
    assert [result.exercise for result in report.results] == ["small.double"]
    reason = "Code cell 7 (`import signal`) took too long and could not be interrupted; nothing after it was run."
    assert report.not_reached == (room.NotReached("small.half", 3, reason),)


def test_a_kernel_that_dies_costs_only_what_comes_after(house, tmp_path):
    path = write(tmp_path / "mine.ipynb", house.notebook("solution"), half="import os\nos._exit(9)")
    report = room.check_notebook(path)
    assert [result.solved for result in report.results] == [True]
    assert report.not_reached[0].reason.startswith("Code cell 7 (`import os`) ended the kernel")


def test_cells_that_train_are_run_only_when_asked_for(house, tmp_path):
    node = house.notebook("solution")
    (training,) = (cell for cell in node.cells if "train" in cell.metadata.get("tags", []))
    training.source = "def double(x): raise RuntimeError('trained')"
    node.cells.insert(node.cells.index(training) + 1, nbformat.v4.new_code_cell("double(1)"))
    path = write(tmp_path / "mine.ipynb", node)
    assert room.check_notebook(path).faults == ()
    assert [fault.what for fault in room.check_notebook(path, train=True).faults] == ["raised RuntimeError: trained"]


def test_old_outputs_in_the_file_count_for_nothing(house, tmp_path):
    solved = room.check_notebook(write(tmp_path / "solved.ipynb", house.notebook("solution"))).results[0].as_dict()
    node = house.notebook()
    cell = next(cell for cell in node.cells if cell.id == "check-double")
    cell.metadata["tags"] = ["skip-execution", "train"]
    cell.outputs = [nbformat.v4.new_output("display_data", {room.MIMETYPE: solved})]
    report = room.check_notebook(write(tmp_path / "mine.ipynb", node))
    assert report.score == 0
    assert report.not_reached == (room.NotReached("small.double", 2, "Its check stands in a cell that trains; add --train."),)


def test_the_check_that_came_with_the_chapter_goes_before_a_check_of_ones_own(house, tmp_path):
    node = house.notebook("solution")
    node.cells.append(nbformat.v4.new_code_cell('check("small.double", lambda x: 0)'))
    node.cells.append(nbformat.v4.new_code_cell("from IPython.display import display\n"
        f"display({{{room.MIMETYPE!r}: {{'exercise': 'small.half'}}}}, raw=True)"))  # fmt: skip
    assert room.check_notebook(write(tmp_path / "mine.ipynb", node)).solved


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a Jupyter notebook"),
        (b"\xff\xfe\x00", "is not a Jupyter notebook"),
        (b'{"cells": [', "is not a Jupyter notebook"),
        (b"[1, 2]", "is not a Jupyter notebook"),
        (b'{"nbformat": 4}', "is not a Jupyter notebook"),
        (b"[" * 100_000, "is not a Jupyter notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}', "none of the course's chapters"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"course": {"chapter": 3}}, "cells": []}', "none of the course's chapters"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"course": {"chapter": "98_smalll"}}, "cells": []}', "did you mean 'small'"),
        (b'{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": []}', "format 3"),
    ],
)
def test_what_is_no_chapter_is_told_in_one_line(house, tmp_path, content, told):
    path = tmp_path / "mine.ipynb"
    path.write_bytes(content)
    with pytest.raises(CourseError, match=told) as caught:
        room.check_notebook(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 400


def test_a_file_that_is_missing_or_a_folder_is_told(house, tmp_path):
    with pytest.raises(CourseError, match="No such file"):
        room.check_notebook(tmp_path / "none.ipynb")
    with pytest.raises(CourseError, match="Is a directory"):
        room.check_notebook(tmp_path)


def test_a_time_limit_below_a_second_is_refused(house, tmp_path):
    with pytest.raises(CourseError, match="--seconds 0"):
        room.check_notebook(write(tmp_path / "mine.ipynb", house.notebook()), seconds=0)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the kernel in /proc")
def test_ctrl_c_ends_the_run_with_one_line_and_no_kernel_left(house, tmp_path):
    sleep = f"import os, pathlib, time\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(300)"
    process = start_check(str(write(tmp_path / "mine.ipynb", house.notebook("solution"), double=sleep)))
    try:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert process.poll() is None
            time.sleep(0.05)
        kernel = int((tmp_path / "pid").read_text())
        assert is_running(kernel)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out, err.strip()) == (130, "", "Stopped.")
    assert ends_within(kernel, 5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the kernel in /proc")
def test_a_check_killed_outright_leaves_no_kernel_either(house, tmp_path):
    sleep = f"import os, pathlib, time\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(300)"
    process = start_check(str(write(tmp_path / "mine.ipynb", house.notebook("solution"), double=sleep)))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=30)
    assert ends_within(int((tmp_path / "pid").read_text()), 10)


@pytest.mark.slow
@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.slug)
def test_the_solution_notebook_of_every_chapter_is_solved_without_a_fault(chapter, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    report = room.check_notebook(write(tmp_path / "mine.ipynb", build.notebook(chapter, "solution")))
    assert report.faults == () and report.not_reached == ()
    assert report.solved and len(report.predictions) > 0

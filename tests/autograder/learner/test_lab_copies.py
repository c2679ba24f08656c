"""`course lab`: copies of the chapters, and never a word of a student's work lost."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograder.errors import CourseError
from autograder.release import lab
from autograder.release.chapters import ROOT

NAME = "98_small.ipynb"


def files(folder: Path) -> dict[str, str]:
    """What the student sees in the folder."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def work_on(path: Path, words: str = "my answer") -> str:
    node = json.loads(path.read_text(encoding="utf-8"))
    node["cells"][2]["source"] = [words]
    path.write_text(json.dumps(node), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def test_the_first_copy_is_the_release_to_the_byte(house, tmp_path):
    text = house.release()
    (copy,) = lab.prepare(tmp_path / "mine", root=house.root)
    assert (copy.state, files(tmp_path / "mine")) == ("copied", {NAME: text})


def test_an_untouched_copy_gives_way_to_a_newer_release(house, tmp_path):
    house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    newer = house.release(" again")
    (copy,) = lab.prepare(tmp_path / "mine", root=house.root)
    assert (copy.state, files(tmp_path / "mine")) == ("updated", {NAME: newer})


def test_work_stays_and_the_newer_release_lies_beside_it_once(house, tmp_path):
    house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    work = work_on(tmp_path / "mine" / NAME)
    newer = house.release(" again")
    for _ in range(3):
        (copy,) = lab.prepare(tmp_path / "mine", root=house.root)
        assert copy.state == "beside" and copy.beside == tmp_path / "mine" / "98_small.new.ipynb"
        assert files(tmp_path / "mine") == {NAME: work, "98_small.new.ipynb": newer}


def test_work_on_the_present_release_is_left_alone(house, tmp_path):
    house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    work = work_on(tmp_path / "mine" / NAME)
    (copy,) = lab.prepare(tmp_path / "mine", root=house.root)
    assert (copy.state, files(tmp_path / "mine")) == ("yours", {NAME: work})


def test_an_untouched_offer_gives_way_to_the_next_release(house, tmp_path):
    house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    work = work_on(tmp_path / "mine" / NAME)
    house.release(" again")
    lab.prepare(tmp_path / "mine", root=house.root)
    newest = house.release(" and again")
    lab.prepare(tmp_path / "mine", root=house.root)
    assert files(tmp_path / "mine") == {NAME: work, "98_small.new.ipynb": newest}


def test_an_offer_that_was_worked_on_is_work_too(house, tmp_path):
    house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    work = work_on(tmp_path / "mine" / NAME)
    house.release(" again")
    lab.prepare(tmp_path / "mine", root=house.root)
    more_work = work_on(tmp_path / "mine" / "98_small.new.ipynb", "second answer")
    newest = house.release(" and again")
    lab.prepare(tmp_path / "mine", root=house.root)
    assert files(tmp_path / "mine") == {NAME: work, "98_small.new.ipynb": more_work, "98_small.new2.ipynb": newest}


def test_an_offer_that_was_removed_is_not_made_again(house, tmp_path):
    house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    work_on(tmp_path / "mine" / NAME)
    house.release(" again")
    lab.prepare(tmp_path / "mine", root=house.root)
    (tmp_path / "mine" / "98_small.new.ipynb").unlink()
    (copy,) = lab.prepare(tmp_path / "mine", root=house.root)
    assert (copy.state, list(files(tmp_path / "mine"))) == ("yours", [NAME])


def test_an_offer_moved_over_the_old_copy_makes_no_new_offer(house, tmp_path):
    house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    work_on(tmp_path / "mine" / NAME)
    house.release(" again")
    lab.prepare(tmp_path / "mine", root=house.root)
    os.replace(tmp_path / "mine" / "98_small.new.ipynb", tmp_path / "mine" / NAME)
    work_on(tmp_path / "mine" / NAME)
    (copy,) = lab.prepare(tmp_path / "mine", root=house.root)
    assert (copy.state, list(files(tmp_path / "mine"))) == ("yours", [NAME])


@pytest.mark.parametrize("memory", ["", "{", "[1]", '{"98_small.ipynb": 5}', "\udcff"])
def test_with_its_memory_lost_the_command_takes_every_older_file_for_work(house, tmp_path, memory):
    older = house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    (tmp_path / "mine" / ".course" / "released.json").write_text(memory, encoding="utf-8", errors="surrogateescape")
    newer = house.release(" again")
    lab.prepare(tmp_path / "mine", root=house.root)
    assert files(tmp_path / "mine") == {NAME: older, "98_small.new.ipynb": newer}


def test_a_copy_that_is_no_notebook_any_more_is_work_too(house, tmp_path):
    newer = house.release()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / NAME).write_text("half a notebo", encoding="utf-8")
    lab.prepare(tmp_path / "mine", root=house.root)
    assert files(tmp_path / "mine") == {NAME: "half a notebo", "98_small.new.ipynb": newer}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["release", "lab", "edit", "edit offer", "remove offer", "forget"]), max_size=12))
def test_whatever_happens_no_work_is_lost_and_a_second_run_changes_nothing(house, tmp_path_factory, steps):
    mine, releases = tmp_path_factory.mktemp("mine"), 0
    house.release("0")
    work: dict[str, str] = {}
    for number, step in enumerate(steps):
        offers = list(mine.glob("98_small.new*.ipynb"))
        if step == "release":
            releases += 1
            house.release(str(releases))
        elif step == "lab":
            lab.prepare(mine, root=house.root)
        elif step == "edit" and (mine / NAME).exists():
            work[NAME] = work_on(mine / NAME, f"answer {number}")
        elif step == "edit offer" and offers:
            work[offers[0].name] = work_on(offers[0], f"answer {number}")
        elif step == "remove offer" and offers:
            offers[0].unlink()
            work.pop(offers[0].name, None)
        elif step == "forget":
            (mine / ".course" / "released.json").unlink(missing_ok=True)
        assert work.items() <= files(mine).items()
    lab.prepare(mine, root=house.root)
    once = files(mine)
    lab.prepare(mine, root=house.root)
    assert work.items() <= once.items() and files(mine) == once


def test_only_the_chapters_asked_for_are_copied_and_an_unknown_one_is_named(house, tmp_path):
    house.release()
    for wanted in ("98", "small", "98_small"):
        assert [copy.path.name for copy in lab.prepare(tmp_path / "mine", [wanted, wanted], root=house.root)] == [NAME]
    with pytest.raises(CourseError, match="no chapter '7'; there are: 98_small"):
        lab.prepare(tmp_path / "mine", ["7"], root=house.root)


def test_a_chapter_that_was_not_built_is_named_when_asked_for(house, tmp_path):
    with pytest.raises(CourseError, match="98_small has no notebook yet"):
        lab.prepare(tmp_path / "mine", ["98"], root=house.root)
    assert not (tmp_path / "mine").exists()


def test_a_file_in_the_folders_place_is_named(house, tmp_path):
    house.release()
    (tmp_path / "mine").write_text("a letter", encoding="utf-8")
    with pytest.raises(CourseError, match="mine is a file; a folder is wanted"):
        lab.prepare(tmp_path / "mine", root=house.root)
    with pytest.raises(CourseError, match="Not a directory"):
        lab.prepare(tmp_path / "mine" / "below", root=house.root)
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "a letter"


def test_the_released_notebooks_own_folder_is_refused(house):
    text = house.release()
    with pytest.raises(CourseError, match="choose another"):
        lab.prepare(house.root / "notebooks" / "en", root=house.root)
    assert files(house.root / "notebooks" / "en") == {NAME: text}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="gives up root's rights, so it needs them")
def test_a_folder_without_the_right_to_write_is_one_line(house):
    house.release()
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to other users
        os.chmod(place, 0o755)
        shutil.copytree(house.root, f"{place}/house")
        folder = Path(place, "mine")
        folder.mkdir(mode=0o555)
        child = os.fork()
        if child == 0:  # in the child: an ordinary user
            status = 1
            try:
                os.seteuid(65534)
                lab.prepare(folder, root=Path(place, "house"))
            except CourseError as error:
                status = 0 if "Permission denied" in str(error) and "\n" not in str(error) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_nothing_half_written_and_no_work_touched(house, tmp_path):
    house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    before = files(tmp_path / "mine")
    house.release(" again" * 2000)
    program = "import sys, pathlib\nfrom autograder.release import lab\nlab.prepare(pathlib.Path(sys.argv[1]), root=pathlib.Path(sys.argv[2]))"
    limit = len(before[NAME]) + 1000  # no file may grow longer than this, so the older release fits and the newer one does not
    run = subprocess.run(
        [sys.executable, "-B", "-c", program, str(tmp_path / "mine"), str(house.root)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    assert "CourseError: the chapters cannot be copied into" in run.stderr and "File too large" in run.stderr
    assert files(tmp_path / "mine") == before
    assert [path.name for path in (tmp_path / "mine").iterdir() if path.name not in (NAME, ".course")] == []


def test_a_move_that_fails_leaves_the_older_copy_whole(house, tmp_path, monkeypatch):
    older = house.release()
    lab.prepare(tmp_path / "mine", root=house.root)
    house.release(" again")

    def fail(*_paths):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken, pytest.raises(CourseError, match="No space left on device; nothing of yours was changed"):
        broken.setattr(os, "replace", fail)
        lab.prepare(tmp_path / "mine", root=house.root)
    assert files(tmp_path / "mine") == {NAME: older}
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == [".course", NAME, "released.json"]


def test_each_copy_is_reported_in_one_line(house, tmp_path, capsys):
    house.release()
    lab.report(lab.prepare(tmp_path / "mine", root=house.root))
    assert capsys.readouterr().out.splitlines()[0].endswith(f"{NAME}: copied")
    work_on(tmp_path / "mine" / NAME)
    house.release(" again")
    lab.report(lab.prepare(tmp_path / "mine", root=house.root))
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2 and "98_small.new.ipynb" in told[0] and "your work stays" in told[0]


@pytest.mark.skipif(not list((ROOT / "notebooks" / "en").glob("*.ipynb")), reason="no chapter is released yet")
def test_the_courses_own_chapters_are_copied_to_the_byte(tmp_path):
    copies = lab.prepare(tmp_path)
    released = files(ROOT / "notebooks" / "en")
    assert files(tmp_path) == released and [copy.path.name for copy in copies] == list(released)

"""`course doctor`: each illness is planted and must be found, with advice; a sound machine must be called sound."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from autograder import doctor
from autograder.doctor import Finding


def test_this_environment_is_called_healthy(tmp_path):
    findings = doctor.examine(tmp_path)
    assert [finding for finding in findings if finding.ok is False] == []
    assert doctor.healthy(findings)


def test_everything_that_a_learner_needs_is_looked_at(tmp_path):
    wanted = ["Python", "packages", "tested versions", "processors", "memory", "GPU", "free disk", "Jupyter kernel", "this folder", "progress folder"]
    assert [finding.name for finding in doctor.examine(tmp_path)] == [*wanted, "sandbox", "chromium"]


def test_importing_the_doctor_does_not_import_torch():
    code = "import sys, autograder.doctor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(("ok", "healthy"), [(True, True), (None, True), (False, False)])
def test_only_what_must_be_mended_makes_a_machine_ill(ok, healthy):
    assert doctor.healthy([Finding("a", True, "x"), Finding("b", ok, "y", "z")]) is healthy


def test_a_row_shows_the_mark_as_a_word_and_brackets_as_they_are():
    findings = [Finding("a", True, "[x]"), Finding("b", None, "y", "do [this]"), Finding("c", False, "z", "do that")]
    text = doctor.render(findings, width=100)
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["fine", "a", "[x]"],
        ["note", "b", "y", "do", "[this]"],
        ["mend", "c", "z", "do", "that"],
    ]


@pytest.mark.parametrize(("version", "ok"), [("3.10.14", False), ("3.11.0", True), ("3.13.1", True), ("3.14.0rc2", True)])
def test_python_is_judged_by_the_range_of_the_course(version, ok):
    finding = doctor.python(version, ">=3.11")
    assert finding.ok is ok
    assert ("make setup PYTHON=" in finding.advice) is not ok


@pytest.mark.parametrize(
    ("version", "found"), [(None, "not installed; wanted >=2.1"), ("1.26.4", "1.26.4; wanted >=2.1"), ("odd", "odd; wanted >=2.1")]
)
def test_a_package_that_is_absent_or_out_of_range_gets_its_own_line(version, found):
    versions = {"numpy": version, "torch": "2.13.0+cpu"}
    count, bad = doctor.packages([Requirement("numpy>=2.1"), Requirement("torch>=2.5")], versions.get)
    assert (count.ok, count.found) == (False, "1 of 2 present and in range")
    assert (bad.name, bad.ok, bad.found) == ("numpy", False, found)
    assert "make" in bad.advice


def test_packages_in_range_take_one_line_together():
    (count,) = doctor.packages([Requirement("numpy>=2.1"), Requirement("torch>=2.5")], {"numpy": "2.4.6", "torch": "2.13.0+cpu"}.get)
    assert count == Finding("packages", True, "2 of 2 present and in range")


def test_a_version_other_than_the_tested_one_is_a_note_and_a_local_suffix_is_not(tmp_path):
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("# tested\nJupyter_Client==8.10.0\ntorch==2.13.0\nnumpy==2.4.6\n")
    names, installed = ["jupyter-client", "torch", "numpy"], {"jupyter-client": "8.10.0", "torch": "2.13.0+cpu", "numpy": "2.4.6"}
    assert doctor.tested(names, installed.get, constraints).ok is True
    finding = doctor.tested(names, {**installed, "numpy": "2.4.5"}.get, constraints)
    assert (finding.ok, finding.found) == (None, "numpy 2.4.5 (tested: 2.4.6)")
    assert doctor.tested(names, installed.get, tmp_path / "none.txt").ok is None


def test_a_course_that_is_not_installed_is_one_finding_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(doctor, "DISTRIBUTION", "no-such-course")
    (finding,) = doctor.distribution_findings()
    assert finding.ok is False and "make setup" in finding.advice


@pytest.mark.parametrize(
    ("finding", "ok"),
    [
        (doctor.processors(1), None),
        (doctor.processors(2), True),
        (doctor.memory(2 * 10**9), None),
        (doctor.memory(8 * 10**9), True),
        (doctor.memory(None), None),
        (doctor.disk(Path("x"), 10**9), None),
        (doctor.disk(Path("x"), 3 * 10**9), True),
    ],
)
def test_a_small_machine_gets_a_note_and_advice_but_is_not_turned_away(finding, ok):
    assert finding.ok is ok
    assert bool(finding.advice) is (ok is None)


def test_no_gpu_is_said_plainly_and_is_no_fault(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert doctor.gpu() == Finding("GPU", True, "none; chapters run on CPU")


@pytest.mark.gpu
def test_a_gpu_is_named_with_its_memory():
    import torch

    assert torch.cuda.get_device_name(0) in doctor.gpu().found


def test_a_torch_that_cannot_be_imported_must_be_mended(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    finding = doctor.gpu()
    assert finding.ok is False and "torch can't be imported" in finding.found


def test_a_kernel_of_another_environment_is_found(tmp_path, monkeypatch):
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({"argv": ["/opt/another/bin/python", "-m", "x"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    finding = doctor.kernel()
    assert finding.ok is False and "/opt/another/bin/python" in finding.found and finding.advice


def test_a_kernel_file_that_is_not_json_is_found(tmp_path, monkeypatch):
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text("{")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert doctor.kernel().ok is False


def test_a_kernel_of_this_interpreter_by_path_or_by_bare_name_is_fine():
    assert doctor.kernel_program("python").ok is True
    assert doctor.kernel_program(sys.executable).ok is True


def test_a_folder_still_to_be_made_is_judged_by_its_parent_and_not_made(tmp_path):
    folder = tmp_path / "a" / "b"
    assert doctor.writable("progress folder", folder) == Finding("progress folder", True, str(folder))
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_must_be_mended():
    finding = doctor.writable("this folder", Path("/proc/self"))
    assert finding.ok is False and "/proc/self" in finding.advice


def test_a_missing_sandbox_is_a_note_to_instructors(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("COURSE_WALLS", "bubblewrap")
    finding = doctor.sandbox()
    assert finding.ok is None and "only instructors" in finding.found and "apt-get install bubblewrap" in finding.advice


@pytest.mark.landlock
def test_landlock_in_the_place_of_bubblewrap_is_a_note_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = doctor.sandbox()
    assert finding.ok is None and finding.found.startswith("Landlock works") and "bubblewrap is not installed" in finding.found


def test_a_sandbox_that_is_installed_but_forbidden_says_why(monkeypatch, tmp_path):
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho no permissions to create a new namespace >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert doctor.bubblewrap_fault() == "bubblewrap does not work here: no permissions to create a new namespace"


def test_a_missing_browser_is_mentioned_and_is_no_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.browser() == Finding("chromium", True, "none; only the course's own tests use it")

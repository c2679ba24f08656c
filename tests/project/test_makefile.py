"""The targets of the Makefile, and .ci/environment.py, which decides when `.venv` is installed again. pip itself is not run here."""

import ast
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ["setup", "lab", "test", "quick", "demo", "lint", "clean", "help"]
PROGRAMS = ["course", "autograder", "ruff", "pyright", "pytest"]

_spec = importlib.util.spec_from_file_location("environment", ROOT / ".ci" / "environment.py")
assert _spec and _spec.loader
environment = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(environment)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout, in a folder with spaces in its name, whose `.venv` is fresh and whose programs only say their name and arguments."""
    root = tmp_path / "my  large models"
    programs = root / ".venv" / "bin"
    programs.mkdir(parents=True)
    (root / ".ci").mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/environment.py"):
        shutil.copy(ROOT / name, root / name)
    for name in PROGRAMS:
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (programs / name).chmod(stat.S_IRWXU)
    (programs / "python").symlink_to(sys.executable)
    (root / ".venv" / "stamp").write_text(environment.fingerprint(root))
    return root


def make(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell: without the variables of a make that may be running these tests."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS")) and name != "PYTHON"}
    return subprocess.run(["make", *arguments], cwd=cwd, env={**env, **variables}, capture_output=True, text=True, timeout=60)


def with_python(checkout: Path) -> str:
    return f"PYTHON={sys.executable}"


# The targets


def test_make_alone_lists_every_target(checkout):
    said = make(cwd=checkout)
    assert said.returncode == 0
    assert sorted(line.split()[1] for line in said.stdout.splitlines() if line.startswith("  make ")) == sorted(TARGETS)


@pytest.mark.parametrize(("target", "runs"), [("lab", "course lab"), ("demo", "autograder demo")])
def test_a_target_runs_its_command_from_any_folder_and_with_spaces_in_the_path(checkout, tmp_path, target, runs):
    said = make("-C", str(checkout), target, with_python(checkout), cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert runs in said.stdout.splitlines()


def test_make_test_checks_format_lint_types_and_notebooks_before_all_tests(checkout):
    said = make("test", with_python(checkout), cwd=checkout)
    ran = [line for line in said.stdout.splitlines() if line.split()[0] in PROGRAMS]
    assert [line.split()[:2] for line in ran[:2]] == [["ruff", "format"], ["ruff", "check"]]
    assert ran[2].split() == ["pyright"]
    assert ran[3] == "course build --check"
    assert ran[4] == "pytest -n 2 --dist loadfile"
    assert said.stdout.splitlines()[-1] == ran[4]


def test_make_quick_leaves_out_slow_and_browser_tests(checkout):
    said = make("quick", with_python(checkout), cwd=checkout)
    assert said.stdout.splitlines()[-1] == "pytest -n 2 --dist loadfile -m not slow and not browser"


@pytest.mark.parametrize("program", ["ruff", "pyright"])
def test_a_finding_of_ruff_or_pyright_stops_make_before_the_tests(checkout, program):
    (checkout / ".venv" / "bin" / program).write_text('#!/bin/sh\n[ "$1" = --version ]\n')
    said = make("test", with_python(checkout), cwd=checkout)
    assert said.returncode != 0
    assert "pytest" not in said.stdout


def test_a_pyright_that_cannot_start_is_named_and_the_tests_still_run(checkout):
    (checkout / ".venv" / "bin" / "pyright").write_text("#!/bin/sh\necho no node here >&2\nexit 3\n")
    said = make("test", with_python(checkout), cwd=checkout)
    assert said.returncode == 0
    assert "TYPES NOT CHECKED, pyright can't start: no node here." in said.stdout
    assert said.stdout.splitlines()[-1].startswith("pytest")


def test_clean_spares_the_students_own_work(checkout):
    (checkout / "my_course").mkdir()
    (checkout / "my_course" / "03_backprop.ipynb").write_text("work")
    (checkout / "demo_class").mkdir()
    assert make("clean", cwd=checkout).returncode == 0
    assert (checkout / "my_course" / "03_backprop.ipynb").read_text() == "work"
    assert not (checkout / ".venv").exists() and not (checkout / "demo_class").exists()


def test_a_python_that_is_not_there_is_named(checkout):
    said = make("lab", "PYTHON=python-of-nowhere", cwd=checkout)
    assert said.returncode != 0
    assert "no program 'python-of-nowhere' here; Python 3.11 or newer is wanted" in said.stderr
    assert "course lab" not in said.stdout


# The interpreter


def test_an_old_python_is_refused_with_what_was_given_and_what_is_wanted():
    with pytest.raises(environment.Refused, match=r"Python 3\.11 or newer is wanted, .* is 3\.9\.2\. .*PYTHON="):
        environment.require_python((3, 9, 2, "final", 0))


def test_an_old_python_can_read_the_sentence_that_refuses_it():
    ast.parse((ROOT / ".ci" / "environment.py").read_text(), feature_version=(3, 6))


def test_the_oldest_python_that_is_let_in_is_the_one_that_pyproject_names():
    assert 'requires-python = ">={}.{}"'.format(*environment.OLDEST) in (ROOT / "pyproject.toml").read_text()
    environment.require_python((*environment.OLDEST, 0, "final", 0))


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_refused_with_the_package_to_install(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(environment.Refused, match=f"has no {module}.*python3-venv"):
        environment.require_python()


# When .venv is stale


def test_a_finished_environment_is_left_alone(checkout):
    assert environment.stale(checkout) is None


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_file_makes_the_environment_stale_even_when_it_looks_old(checkout, name):
    with (checkout / name).open("a") as file:
        file.write("# one more line\n")
    os.utime(checkout / name, (0, 0))
    assert environment.stale(checkout) == environment.Stale(f"{name} has changed", start_over=False)


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_touched_file_makes_the_environment_stale(checkout, name):
    later = (checkout / ".venv" / "stamp").stat().st_mtime + 1
    os.utime(checkout / name, (later, later))
    assert environment.stale(checkout) == environment.Stale(f"{name} is newer", start_over=False)


def test_another_interpreter_starts_the_environment_over(checkout, monkeypatch):
    monkeypatch.setattr(sys, "base_prefix", "/opt/another")
    assert environment.stale(checkout).start_over


def test_a_moved_checkout_starts_the_environment_over(checkout):
    moved = checkout.rename(checkout.with_name("moved"))
    assert environment.stale(moved).start_over


def test_a_missing_environment_starts_over(checkout):
    shutil.rmtree(checkout / ".venv")
    assert environment.stale(checkout) == environment.Stale("it is missing", start_over=True)


def test_an_environment_made_by_hand_is_installed_into_and_not_deleted(checkout, monkeypatch):
    (checkout / ".venv" / "stamp").unlink()
    (checkout / ".venv" / "mine").write_text("keep")
    monkeypatch.setattr(environment.subprocess, "run", lambda command, **options: None)
    environment.install(checkout, environment.stale(checkout))
    assert (checkout / ".venv" / "mine").read_text() == "keep"
    assert environment.stale(checkout) is None


@pytest.mark.parametrize("step", ["venv", "pip"])
def test_an_installation_that_is_cut_short_is_not_taken_for_finished(checkout, monkeypatch, step):
    """Also when it was a mere refresh of a good environment: what pip left half-way can't be told from what it finished."""

    def cut_short(command, **options):
        if step in command:
            raise KeyboardInterrupt
        (checkout / ".venv" / "bin").mkdir()
        (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(environment.subprocess, "run", cut_short)
    with pytest.raises(KeyboardInterrupt):
        environment.install(checkout, environment.Stale("for a test", start_over=True))
    reason = environment.stale(checkout)
    assert reason is not None and reason.start_over


def test_the_stamp_tells_of_the_files_that_were_installed_not_of_a_change_made_meanwhile(checkout, monkeypatch):
    def edit(command, **options):
        (checkout / "constraints.txt").write_text("numpy==1.0\n")

    monkeypatch.setattr(environment.subprocess, "run", edit)
    environment.install(checkout, environment.Stale("for a test", start_over=False))
    assert environment.stale(checkout) == environment.Stale("constraints.txt has changed", start_over=False)


def test_two_makes_at_once_install_once(checkout):
    """The second waits for the first and then finds nothing left to do. pip is a program that takes half a second and counts its calls."""
    (checkout / ".venv" / "stamp").unlink()
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text(f'#!/bin/sh\nsleep 0.5\necho "$*" >> "{checkout}/calls"\n')
    python.chmod(stat.S_IRWXU)
    both = [subprocess.Popen([sys.executable, ".ci/environment.py"], cwd=checkout, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.wait(timeout=30) for process in both] == [0, 0]
    for process in both:
        assert process.stdout is not None
        process.stdout.close()
    assert len((checkout / "calls").read_text().splitlines()) == 1


def test_a_failing_pip_is_reported_in_a_sentence_and_leaves_no_good_stamp(checkout):
    (checkout / ".venv" / "stamp").unlink()
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text("#!/bin/sh\nexit 7\n")
    python.chmod(stat.S_IRWXU)
    said = make("lab", with_python(checkout), cwd=checkout)
    assert said.returncode != 0
    assert "setup: this command failed" in said.stderr and "Traceback" not in said.stderr
    assert "course lab" not in said.stdout
    assert environment.stale(checkout).start_over

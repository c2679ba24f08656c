"""pyproject.toml gives ranges, constraints.txt the tested versions, environment.yml the same for conda. Here the three are held together."""

import importlib.metadata
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = [Requirement(text) for texts in PROJECT["optional-dependencies"].values() for text in texts]
CONSTRAINTS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def exact(requirement: Requirement) -> str:
    """The version of a requirement that admits exactly one: name==version."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "==" and "*" not in specifier.version, f"{requirement} is no exact pin"
    return specifier.version


PINS = {canonicalize_name(requirement.name): exact(requirement) for requirement in CONSTRAINTS}
CONDA_PIP = next(entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
CONDA_PINS = [Requirement(line) for line in CONDA_PIP if not line.startswith("-")]


def closure(requirements: list[Requirement]) -> set[str]:
    """Names of everything that `requirements` bring in here, as the installed packages' own metadata say. What is not installed leads no further."""
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(requirement.name), extra) for requirement in requirements for extra in ("", *requirement.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            texts = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, texts):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), wanted) for wanted in ("", *requirement.extras)]
    return {name for name, _ in seen}


def installed() -> dict[str, str]:
    """Versions of what lies in this environment's own folders, without local suffixes. Copies that setuptools puts on sys.path do not count."""
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    found = importlib.metadata.distributions(path=folders)
    return {canonicalize_name(distribution.name): Version(distribution.version).public for distribution in found}


def test_no_package_is_pinned_twice():
    assert len(PINS) == len(CONSTRAINTS)


@pytest.mark.parametrize("requirement", DIRECT + EXTRAS, ids=str)
def test_every_dependency_is_pinned_inside_its_range(requirement):
    assert PINS[canonicalize_name(requirement.name)] in requirement.specifier


def test_every_package_that_the_dependencies_bring_in_is_pinned():
    assert closure(DIRECT + EXTRAS) - set(PINS) == set()


def test_the_packages_brought_in_reach_past_the_direct_ones():
    assert {"tornado", "traitlets", "sympy"} <= closure(DIRECT)


def test_conda_gets_the_same_version_of_every_direct_dependency():
    conda = {canonicalize_name(requirement.name): exact(requirement) for requirement in CONDA_PINS}
    assert conda == {canonicalize_name(requirement.name): PINS[canonicalize_name(requirement.name)] for requirement in DIRECT}


def test_conda_installs_the_checkout_itself_within_the_constraints():
    assert CONDA["name"] == "large-models"
    assert [line for line in CONDA_PIP if line.startswith("-")] == ["-c constraints.txt", "-e ."]


def test_conda_gets_a_python_that_the_project_allows():
    (python,) = [entry.removeprefix("python=") for entry in CONDA["dependencies"] if isinstance(entry, str) and entry.startswith("python=")]
    assert Version(python) in Requirement(f"python{PROJECT['requires-python']}").specifier


@pytest.mark.parametrize("name", ["jupyterlab", "numpy", "matplotlib", "torch", "nbgrader", "ipywidgets"])
def test_what_the_course_promises_is_a_direct_dependency(name):
    assert name in {requirement.name for requirement in DIRECT}


def test_what_is_installed_here_is_what_is_pinned():
    here = installed()
    assert {name: here[name] for name in PINS if name in here} == {name: pin for name, pin in PINS.items() if name in here}


def test_all_that_make_setup_installs_is_installed_here():
    dev = [Requirement(text) for text in PROJECT["optional-dependencies"]["dev"]]
    assert {canonicalize_name(requirement.name) for requirement in DIRECT + dev} - set(installed()) == set()

"""Is this machine fit for the course? `course doctor` shows what `examine` finds.

Nothing here raises for what it looks at: whatever is missing or broken becomes a `Finding` that says how to mend it. torch, the one slow import
(about two seconds), is imported for the GPU's line alone.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from rich.console import Console
from rich.markup import escape
from rich.table import Table

DISTRIBUTION = "large-models-from-scratch"
CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
GB = 10**9
LEAST_MEMORY = 4 * GB  # a chapter takes up to 2 GB, the browser and JupyterLab about as much
LEAST_DISK = 2 * GB
KERNEL_ADVICE = "Remove the old one (`jupyter kernelspec remove python3`), then run `make clean setup` in the course's folder."


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    ok: True is fine, None works but is worth knowing, False must be mended before the course runs
    found: what is there; advice: how to mend it, empty when there is nothing to mend
    """

    name: str
    ok: bool | None
    found: str
    advice: str = ""


def examine(folder: Path | None = None) -> list[Finding]:
    """Look at the interpreter, the packages, the machine and `folder`, where the work will be kept (default: the current one)."""
    from platformdirs import user_data_path

    folder = folder or Path.cwd()
    return [
        *distribution_findings(),
        processors(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
        memory(memory_bytes()),
        gpu(),
        disk(folder, shutil.disk_usage(folder).free),
        kernel(),
        writable("this folder", folder),
        writable("progress folder", user_data_path(DISTRIBUTION)),
        sandbox(),
        browser(),
    ]


def healthy(findings: Iterable[Finding]) -> bool:
    """True when nothing must be mended; a warning is no illness."""
    return all(finding.ok is not False for finding in findings)


def render(findings: Iterable[Finding], width: int | None = None) -> str:
    """One row a finding: mark, name, what is there and, where something is to be done, what. `width` in characters; default: the terminal's."""
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("", "looked at", "found", "how to mend it"):
        table.add_column(column, overflow="fold")
    marks = {True: "fine", None: "note", False: "mend"}
    for finding in findings:
        table.add_row(marks[finding.ok], *map(escape, (finding.name, finding.found, finding.advice)))
    console = Console(width=width or shutil.get_terminal_size().columns, color_system=None)
    with console.capture() as text:
        console.print(table)
    return "\n".join(line.rstrip() for line in text.get().splitlines())


# The interpreter and the packages


def distribution_findings() -> list[Finding]:
    """Compare what runs here with what the course's own metadata asks for and with the versions it was tested with."""
    try:
        about = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return [Finding("course", False, f"{DISTRIBUTION} is not installed in {sys.prefix}", "Run `make setup` in the course's folder.")]
    requires = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or []]
    needed = [requirement for requirement in requires if requirement.marker is None or requirement.marker.evaluate({"extra": ""})]
    return [
        python(platform.python_version(), about["Requires-Python"] or ""),
        *packages(needed, installed_version),
        tested([requirement.name for requirement in needed], installed_version, CONSTRAINTS),
    ]


def installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def python(version: str, wanted: str) -> Finding:
    fits = SpecifierSet(wanted).contains(version, prereleases=True)
    advice = "" if fits else f"Install Python {wanted} and run `make setup PYTHON=` with its path."
    return Finding("Python", fits, f"{version} at {sys.executable}" + ("" if fits else f"; wanted {wanted}"), advice)


def packages(needed: Iterable[Requirement], version_of: Callable[[str], str | None]) -> list[Finding]:
    """One finding that counts the packages present and in range, and one for each that isn't."""
    bad, good = [], 0
    for requirement in needed:
        version = version_of(requirement.name)
        if version is not None and fits(version, requirement.specifier):
            good += 1
        else:
            found = f"{version or 'not installed'}; wanted {requirement.specifier}"
            bad.append(Finding(requirement.name, False, found, "Run `make clean setup` in the course's folder."))
    return [Finding("packages", not bad, f"{good} of {good + len(bad)} present and in range", "See below." if bad else ""), *bad]


def fits(version: str, specifier: SpecifierSet) -> bool:
    try:
        return specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False


def tested(names: Iterable[str], version_of: Callable[[str], str | None], constraints: Path) -> Finding:
    """Warn of versions other than those in `constraints`; a local suffix (2.13.0+cpu) makes no difference. Absent packages are `packages`' matter."""
    if not constraints.exists():
        return Finding("tested versions", None, f"{constraints} is not there, so nothing to compare with", "Run the course from its own folder.")
    lines = (line.strip().partition("==") for line in constraints.read_text().splitlines())
    pinned = {canonicalize_name(name): version for name, _, version in lines}
    other = []
    for name in names:
        version, pin = version_of(name), pinned.get(canonicalize_name(name))
        if version is not None and (pin is None or Version(version).public != pin):
            other.append(f"{name} {version} (tested: {pin or 'none'})")
    if other:
        return Finding("tested versions", None, ", ".join(other), "Figures may differ a little. `make setup` brings the tested versions back.")
    return Finding("tested versions", True, "exactly the tested ones")


def kernel() -> Finding:
    """Notebooks ask for the kernel `python3`; it must be this interpreter, or they will not find the course."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        spec = KernelSpecManager().get_kernel_spec("python3")
    except Exception as error:  # no such kernel, a kernel.json that isn't JSON, or no jupyter_client
        return Finding("Jupyter kernel", False, f"{type(error).__name__}: {error}", KERNEL_ADVICE)
    return kernel_program(spec.argv[0])


def kernel_program(program: str) -> Finding:
    """program: the first word of the kernel's command. Jupyter puts its own interpreter in the place of a bare `python`."""
    if os.sep not in program or Path(program).parent.resolve() == Path(sys.executable).parent.resolve():
        return Finding("Jupyter kernel", True, "python3 is this interpreter")
    return Finding("Jupyter kernel", False, f"python3 runs {program}, this is {sys.executable}", KERNEL_ADVICE)


# The machine


def processors(count: int) -> Finding:
    if count >= 2:
        return Finding("processors", True, str(count))
    return Finding("processors", None, str(count), "Chapters are timed on two; here they take about twice as long.")


def memory_bytes() -> int | None:
    """Physical memory in bytes; None where the system doesn't say (Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def memory(size: int | None) -> Finding:
    if size is None:
        return Finding("memory", None, "the system does not say", f"Chapters want {LEAST_MEMORY / GB:.0f} GB in all.")
    if size >= LEAST_MEMORY:
        return Finding("memory", True, f"{size / GB:.1f} GB")
    found = f"{size / GB:.1f} GB; {LEAST_MEMORY / GB:.0f} are wanted"
    return Finding("memory", None, found, "Close other programs, and shut down a chapter's kernel before the next.")


def gpu() -> Finding:
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways: missing libraries, wrong architecture, half a file
        return Finding("GPU", False, f"torch can't be imported: {type(error).__name__}: {error}", "Run `make clean setup` in the course's folder.")
    if not torch.cuda.is_available():
        return Finding("GPU", True, "none; chapters run on CPU")
    about = torch.cuda.get_device_properties(0)
    return Finding("GPU", True, f"{about.name}, {about.total_memory / GB:.0f} GB")


def disk(folder: Path, free: int) -> Finding:
    if free >= LEAST_DISK:
        return Finding("free disk", True, f"{free / GB:.0f} GB at {folder}")
    found = f"{free / GB:.1f} GB at {folder}; {LEAST_DISK / GB:.0f} are wanted"
    return Finding("free disk", None, found, "Make room, or work in a folder on another disk.")


def writable(name: str, folder: Path) -> Finding:
    """Prove by writing: permission bits say nothing of read-only and full disks. A folder still to be made is judged by its nearest parent."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"?")
    except OSError as error:
        return Finding(name, False, f"{place}: {error.strerror}", f"Make {place} a folder that you may write to.")
    return Finding(name, True, str(folder))


# What instructors and developers need


def bubblewrap_fault() -> str:
    """Why students' code can't be locked in with bubblewrap here; empty when it can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    try:
        tried = subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not work here: {error}"
    last = (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1]
    return f"bubblewrap does not work here: {last}" if tried.returncode else ""


def sandbox() -> Finding:
    """How `autograder grade` would shut students' programs in here, tried for real."""
    from autograder.engine import probing

    try:
        walls = probing.probe()
    except Exception as error:  # packages that the engine needs are missing, or the disk is full
        return Finding("sandbox", None, f"it can't be tried: {type(error).__name__}: {error}")
    if walls.kind == "bubblewrap":
        return Finding("sandbox", True, "bubblewrap works")
    advice = "Install it (Debian, Ubuntu: `apt-get install bubblewrap`), and allow user namespaces."
    if walls.kind == "landlock":
        return Finding("sandbox", None, f"Landlock works, which is weaker (docs/sandbox.md); {walls.why}", advice)
    return Finding("sandbox", None, f"{walls.why}; only instructors who grade need it", advice)


def find_browser() -> str | None:
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def browser() -> Finding:
    return Finding("chromium", True, find_browser() or "none; only the course's own tests use it")

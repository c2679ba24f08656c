"""Your own copies of the chapters, and JupyterLab on them. What you have worked on is never written to.

Your folder remembers in `.course/released.json` what each file was when it was put there. A file that still is what it was may be replaced
by a newer release; any other byte in it makes it yours.
"""

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typer

from autograder.errors import CourseError
from autograder.release.build import write_whole
from autograder.release.chapters import ROOT, Chapter, chapters, find_chapter, notebook_path

HIDDEN = ".course"
# Defaults, not settings: whatever you chose in JupyterLab's own settings editor goes before these.
LAB_DEFAULTS = {
    # Cells outside the window are drawn when the browser is idle and then stay, so that a figure keeps its state while you scroll.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "defer"},
    # The course needs no network, so neither does its JupyterLab.
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}


@dataclass(frozen=True)
class Copy:
    """What became of one chapter.

    state   copied · updated (an untouched copy gave way to a newer release) · current (nothing to do) · yours (you have worked on it, and
            there is nothing newer or you have removed what was newer) · beside (you have worked on it, and the newer release is `beside` it)
    """

    path: Path
    state: Literal["copied", "updated", "current", "yours", "beside"]
    beside: Path | None = None


def prepare(folder: Path, wanted: list[str] | None = None, root: Path = ROOT) -> list[Copy]:
    """Bring the copies in `folder` up to date: the chapters `wanted`, such as "03", or all. `CourseError` when that cannot be."""
    found = [find_chapter(name, root / "solutions") for name in wanted] if wanted else chapters(root / "solutions")
    released = [chapter for chapter in dict.fromkeys(found) if notebook_path(chapter, root=root).exists()]
    if missing := [chapter.slug for chapter in found if wanted and chapter not in released]:
        raise CourseError(f"chapter {missing[0]} has no notebook yet; `course build` makes it")
    if not released:
        raise CourseError(f"there are no notebooks in {root / 'notebooks' / 'en'}; `course build` makes them")
    if folder.resolve().is_relative_to((root / "notebooks").resolve()):
        raise CourseError(f"{folder} is where the released notebooks are kept; choose another --folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / HIDDEN).mkdir(exist_ok=True)
        remembered = _Remembered(folder / HIDDEN / "released.json")
        return [_bring(folder, chapter, notebook_path(chapter, root=root).read_bytes(), remembered) for chapter in released]
    except FileExistsError as error:
        raise CourseError(f"{error.filename} is a file; a folder is wanted, for instance --folder my_course") from None
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise CourseError(f"the chapters cannot be copied into {folder}: {error.strerror or error}{where}; nothing of yours was changed") from None


def report(copies: list[Copy]) -> None:
    """One line for each chapter where something happened, and one in all."""
    for copy in copies:
        if copy.state == "copied":
            typer.echo(f"{copy.path}: copied")
        elif copy.state == "updated":
            typer.echo(f"{copy.path}: replaced by a newer release (you had not worked on it)")
        elif copy.beside:
            typer.echo(f"{copy.path}: your work stays as it is; a newer release is beside it: {copy.beside.name}")
    same = sum(copy.state in ("current", "yours") for copy in copies)
    number = "1 chapter" if len(copies) == 1 else f"{len(copies)} chapters"
    typer.echo(f"{number} in {copies[0].path.parent}" + (f", {same} as you left them." if same else "."))


def launch(folder: Path, port: int = 8888, browser: bool = True) -> None:
    """Become JupyterLab on `folder`: this process does not return. Where the port is taken, JupyterLab takes the next free one and says so."""
    if not 1 <= port <= 65535:
        raise CourseError(f"--port {port}: a port is a number from 1 to 65535")
    try:
        environment = _environment(folder.resolve())
    except OSError as error:
        raise CourseError(f"{folder} cannot be written to: {error.strerror}") from None
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.resolve()}", f"--ServerApp.port={port}"]
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        typer.echo("You are root, so JupyterLab is started with --allow-root.")
        command.append("--allow-root")
    typer.echo("Starting JupyterLab. To stop it: Ctrl-C here, twice.")
    sys.stdout.flush()
    os.execve(command[0], command, environment)


class _Remembered:
    """What was put into a folder, by file name: the hash of its bytes and its release. What cannot be read is taken for forgotten."""

    def __init__(self, path: Path):
        self._path = path
        try:
            entries = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            entries = {}
        self._entries = {name: entry for name, entry in entries.items() if isinstance(entry, dict)} if isinstance(entries, dict) else {}

    def sha256(self, path: Path) -> str | None:
        return self._entries.get(path.name, {}).get("sha256")

    def release(self, path: Path) -> str | None:
        return self._entries.get(path.name, {}).get("release")

    def put(self, path: Path, content: bytes) -> None:
        """Write the file, then remember it. Cut short in between, the next run finds the content and remembers it then."""
        write_whole(path, content.decode("utf-8"))
        self.keep(path, content)

    def keep(self, path: Path, content: bytes) -> None:
        entry = {"sha256": _sha256(content), "release": _release(content)}
        if self._entries.get(path.name) != entry:
            self._entries[path.name] = entry
            write_whole(self._path, json.dumps(self._entries, indent=1, sort_keys=True) + "\n")


def _bring(folder: Path, chapter: Chapter, content: bytes, remembered: _Remembered) -> Copy:
    """Put a release into the first place where it disturbs nobody's work, unless it is there or was declined."""
    release = _release(content)
    own = folder / f"{chapter.slug}.ipynb"
    for path in _places(folder, chapter):
        found = path.read_bytes() if path.exists() else None
        if found is None:
            if path != own and remembered.release(path) == release:
                return Copy(own, "yours")  # it was offered here before, and you removed it
            remembered.put(path, content)
            return Copy(own, "copied") if path == own else Copy(own, "beside", path)
        if found == content:
            remembered.keep(path, content)
            return Copy(own, "current") if path == own else Copy(own, "beside", path)
        if remembered.sha256(path) == _sha256(found):
            remembered.put(path, content)
            return Copy(own, "updated") if path == own else Copy(own, "beside", path)
        if release is not None and _release(found) == release:
            return Copy(own, "yours")
    raise AssertionError("there is always another place")


def _places(folder: Path, chapter: Chapter) -> Iterator[Path]:
    """03_backprop.ipynb, 03_backprop.new.ipynb, 03_backprop.new2.ipynb, …"""
    yield folder / f"{chapter.slug}.ipynb"
    yield folder / f"{chapter.slug}.new.ipynb"
    for number in itertools.count(2):
        yield folder / f"{chapter.slug}.new{number}.ipynb"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _release(content: bytes) -> str | None:
    """The release that a notebook says it comes from."""
    try:
        release = json.loads(content)["metadata"]["course"]["release"]
    except (ValueError, KeyError, TypeError):
        return None
    return release if isinstance(release, str) else None


def _environment(folder: Path) -> dict[str, str]:
    """The environment of a JupyterLab whose kernel `python3` is this interpreter and whose defaults are the course's.

    Both are files in the folder's hidden part, put before the user's own on Jupyter's search paths; the user's own stay as they are.
    """
    hidden = folder / HIDDEN / "jupyter"
    kernel = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "metadata": {"debugger": True},
    }
    _write_json(hidden / "kernels" / "python3" / "kernel.json", kernel)
    _write_json(hidden / "labconfig" / "default_setting_overrides.json", LAB_DEFAULTS)
    environment = dict(os.environ)
    programs = Path(sys.executable).parent  # so that its terminals find `course`
    for name, first in (("JUPYTER_PATH", hidden), ("JUPYTER_CONFIG_PATH", hidden), ("PATH", programs)):
        environment[name] = os.pathsep.join([str(first), *filter(None, [environment.get(name)])])
    return environment


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(value, indent=1) + "\n")

"""What has been handed in, read with care: file names and contents are strangers' work."""

import os
import stat
from datetime import datetime
from pathlib import Path

from nbgrader.utils import parse_utc

MAX_BYTES = 20 * 2**20  # of a notebook


class Unreadable(Exception):
    """There is no notebook that can be opened; the message says what was found."""


def notebook_bytes(folder: Path, assignment: str) -> bytes:
    """The notebook in a folder submitted/STUDENT/ASSIGNMENT, whatever it holds. Raises `Unreadable`."""
    path, student = folder / f"{assignment}.ipynb", folder.parent.name
    if set(student) & set("*?[]") or student != student.strip():
        raise Unreadable(f"nbgrader cannot use the folder name {student!r}; rename it, without spaces at its ends and *?[]")
    try:
        return file_bytes(path, MAX_BYTES)
    except FileNotFoundError:
        others = ", ".join(sorted(other.name for other in folder.iterdir())[:5]) or "nothing"
        raise Unreadable(f"no {path.name}; the folder holds {others}") from None


def file_bytes(path: Path, most: int) -> bytes:
    """What is in a regular file; no link is followed, no pipe waited for. Raises FileNotFoundError, and `Unreadable` for all else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise
    except OSError as error:
        why = "it is no regular file" if path.is_symlink() else error.strerror
        raise Unreadable(f"{path.name}: {why}") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise Unreadable(f"{path.name} is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        if found.st_size > most:
            raise Unreadable(f"{path.name} has {found.st_size / 2**20:.0f} MB; at most {most / 2**20:.0f} are read")
        return file.read(most)


def time_of(folder: Path) -> datetime | None:
    """When it was handed in, from timestamp.txt as nbgrader reads it; None where that says nothing that can be understood."""
    path = folder / "timestamp.txt"
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1000:
            return None
        text = path.read_text(encoding="utf-8").strip()
        return parse_utc(text) if text else None
    except (OSError, ValueError, OverflowError):
        return None

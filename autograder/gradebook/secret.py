"""Where the draws of a class come from: a secret that only the grader can read, and from it a seed for each submission and a seal for results."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from autograder.errors import CourseError

FILE = ".secret"


def read(folder: Path) -> bytes:
    """The secret of a class, made when there is none yet. Raises `CourseError` when others can read it or it is no secret."""
    path = folder / FILE
    if not path.exists():
        _make(path)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise CourseError(f"others can read {path}, from which the draws of the checks come; take that away: chmod 600 {path}")
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if len(text) < 32:
        raise CourseError(f"{path} holds no secret; remove it, and a new one is made (and draws change)")
    return text.encode()


def seed_of(secret: bytes, assignment: str, student: str) -> int:
    """The seed of one submission: always the same for them, and nothing that can be guessed from another's."""
    digest = hmac.new(secret, f"{assignment}\0{student}".encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    return int.from_bytes(digest[:6], "big")


def seal(secret: bytes, content: bytes) -> str:
    """What only somebody with the secret of the class can write below a content."""
    return hmac.new(hmac.digest(secret, b"seal", "sha256"), content, hashlib.sha256).hexdigest()


def _make(path: Path) -> None:
    """Complete at once, and never in place of one that somebody else has just made."""
    neighbour = path.with_name(f"{FILE}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(neighbour, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        os.link(neighbour, path)
    except FileExistsError:
        return
    finally:
        neighbour.unlink(missing_ok=True)

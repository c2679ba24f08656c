"""Make `.venv` what pyproject.toml and constraints.txt ask for. Every make target runs this first; it does nothing when there is nothing to do.

`.venv/stamp` tells: a fingerprint when the last installation finished, `unfinished` while one is under way or was killed. A `.venv` made by hand
has no stamp; it is installed into and never deleted. Kept to what Python 3.6 can read, so that an old interpreter gets a sentence, not a traceback.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

OLDEST = (3, 11)
SOURCES = ("pyproject.toml", "constraints.txt")
UNFINISHED = "unfinished\n"


class Refused(Exception):
    """This machine can't hold the environment; the text says what to change."""


def require_python(version: tuple = tuple(sys.version_info)) -> None:
    """Refused when the running interpreter is older than OLDEST or can't make virtual environments."""
    if version[:2] < OLDEST:
        given, wanted = ".".join(map(str, version[:3])), ".".join(map(str, OLDEST))
        raise Refused(f"Python {wanted} or newer is wanted, {sys.executable} is {given}. Name another one: make setup PYTHON=python{wanted}")
    try:
        import ensurepip  # noqa: F401 (Debian ships venv without it until python3-venv is installed)
        import venv  # noqa: F401
    except ImportError as missing:
        raise Refused(f"{sys.executable} has no {missing.name}. Debian and Ubuntu: apt-get install python3-venv") from missing


def fingerprint(root: Path) -> str:
    """What an installation depends on, one line each: the interpreter, the checkout's place (scripts name it), the two files."""
    lines = [f"python {sys.version.split()[0]} in {sys.base_prefix}", f"checkout {root}"]
    lines += [f"{name} {hashlib.sha256((root / name).read_bytes()).hexdigest()}" for name in SOURCES]
    return "\n".join(lines) + "\n"


class Stale(NamedTuple):
    """why `.venv` must be installed again; start_over: what lies there can't be installed over: nothing, half of it, or made for elsewhere."""

    why: str
    start_over: bool


def stale(root: Path) -> "Stale | None":
    """None when `.venv` is what pyproject.toml and constraints.txt ask for."""
    stamp = root / ".venv" / "stamp"
    if not (root / ".venv" / "bin" / "python").exists():
        return Stale("it is missing", start_over=True)
    if not stamp.exists():
        return Stale("it was not made by make", start_over=False)
    if stamp.read_text() == UNFINISHED:
        return Stale("its installation was cut short", start_over=True)
    for was, now in zip(stamp.read_text().splitlines(), fingerprint(root).splitlines()):  # noqa: B905 (`strict` came with 3.10)
        if was != now and now.startswith(("python", "checkout")):
            return Stale(f"it was made for {was}, this is {now}", start_over=True)
        if was != now:
            return Stale(f"{now.split()[0]} has changed", start_over=False)
    for name in SOURCES:
        if (root / name).stat().st_mtime_ns > stamp.stat().st_mtime_ns:
            return Stale(f"{name} is newer", start_over=False)
    return None


def install(root: Path, reason: Stale) -> None:
    """Create `.venv` if need be and pip install the project with its tested versions. The stamp is good only after the last step."""
    venv, stamp = root / ".venv", root / ".venv" / "stamp"
    print(f"setup: .venv must be installed: {reason.why}." + (" It takes some minutes and about 2 GB." if reason.start_over else ""), flush=True)
    if reason.start_over and venv.exists():
        shutil.rmtree(str(venv))
    finished_before = stamp.exists()
    wanted = fingerprint(root)
    venv.mkdir(exist_ok=True)
    stamp.write_text(UNFINISHED)
    if reason.start_over:
        subprocess.run([getattr(sys, "_base_executable", sys.executable), "-m", "venv", str(venv)], check=True)
    # After a finished installation the build tool is in .venv already: a small change then needs no network, and few words.
    options = ["--quiet", "--no-build-isolation"] if finished_before else []
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", *options]
    subprocess.run([*pip, "-c", "constraints.txt", "-e", ".[dev,hf,cluster]"], cwd=str(root), check=True)
    stamp.write_text(wanted)
    print("setup: .venv is ready.", flush=True)


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    try:
        require_python()
        if stale(root):
            with open(str(root / "constraints.txt"), "r+") as lock:  # released when this process ends, however it ends
                fcntl.flock(lock, fcntl.LOCK_EX)
                reason = stale(root)  # another make may have finished the work meanwhile
                if reason:
                    install(root, reason)
    except Refused as refused:
        sys.exit(f"setup: {refused}")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"setup: this command failed, its own words stand above: {' '.join(failed.cmd)}\nsetup: mend that and run make again.")
    except KeyboardInterrupt:
        sys.exit("setup: cut short; the next make starts it over.")


if __name__ == "__main__":
    main()

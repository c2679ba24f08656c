"""The walls where bubblewrap does not work, as the trusted side prepares them: Landlock's list of what is open, scratch, and a user for it all.

Started by root, each zygote runs as a user of its own that nobody else is, where the machine has so many; then the kernel's count of its processes
is the submission's own. Started by anybody else it runs as that user, and Landlock and the filter alone keep it from what that user may do.

Trusted side.
"""

import itertools
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from autograder.engine import landlock, sandbox, scratch

FIRST_USER, USERS_EACH = 1_500_000_000, 64  # far from all that are given out; one for each zygote that a process may have at a time
DEVICES = {"/dev/null": landlock.READ_FILE | landlock.WRITE_FILE, "/dev/zero": landlock.READ_FILE, "/dev/random": landlock.READ_FILE,
           "/dev/urandom": landlock.READ_FILE}  # fmt: skip
# Libraries that count processors read these where they are there, and take it badly when they may not.
COUNTS = ("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_numbers = itertools.count()


class Confinement:
    """Of one zygote: its scratch folder, which is new for every submission.

    kind  landlock, or none: with the rights of whoever runs this
    """

    def __init__(self, kind: str, course: Path):
        self._course, self._kind = course, kind
        self._home = tempfile.TemporaryDirectory(prefix="scratch-")
        home = Path(self._home.name).resolve()
        home.chmod(0o711)
        self._scratch = home / "scratch"
        self._user = user_of_its_own() if kind == "landlock" and os.geteuid() == 0 else None
        self.renew()

    def renew(self) -> None:
        """An empty scratch folder, which belongs to the submission's user."""
        self._clear()
        self._scratch.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self._scratch, self._user, self._user)

    def launch(self, control: socket.socket, program: str, arguments: Iterable[str], errors: IO[bytes]) -> subprocess.Popen:
        environment = sandbox.environment(str(self._scratch))
        if self._kind == "none":
            environment["PATH"] = os.environ.get("PATH", environment["PATH"])
        else:
            environment["JOBLIB_MULTIPROCESSING"] = "0"  # it would need semaphores, which lie where all of a machine's programs can reach them
        command = sandbox.start(program, str(self._course), control.fileno(), self.about(), arguments)
        return subprocess.Popen(
            command, pass_fds=[control.fileno()], env=environment, cwd=self._home.name, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip

    def about(self) -> dict:
        """All that `confined.Confined` has to know. search: somewhere above what is open, folders are closed to the submission's user."""
        about: dict = {"kind": self._kind, "scratch": str(self._scratch), "user": self._user}
        if self._kind == "landlock":
            shown = [*sandbox.SYSTEM, *sandbox.shown_prefixes()]
            opened, listed = around(shown, sandbox.closed_within(shown))
            allowed = [(path, landlock.RUN) for path in (*opened, str(self._course))] + [(path, landlock.LIST) for path in listed]
            allowed += [(path, landlock.READ_FILE | landlock.READ_DIR) for path in (*sandbox.SETTINGS, *COUNTS)]
            allowed += [*DEVICES.items(), (str(self._scratch), landlock.ALL_BUT_DEVICES)]
            search = not all(open_to_others(Path(path)) for path in (*sandbox.shown_prefixes(), str(self._course), self._home.name))
            about |= {"allowed": allowed, "search": search, "abi": landlock.LATEST}
        return about

    def close(self) -> None:
        """Remove scratch. No process of it may be left."""
        self._clear()
        self._home.cleanup()

    def _clear(self) -> None:
        if self._scratch.is_dir():
            self._scratch.chmod(0o700)
            scratch.empty(self._scratch)
            self._scratch.rmdir()


def user_of_its_own() -> int:
    """A user that nobody is, for the next zygote of this process; nobody, where there are not so many."""
    wanted = FIRST_USER + USERS_EACH * os.getpid() + next(_numbers) % USERS_EACH
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return wanted if any(first <= wanted < first + count for first, _outside, count in ranges) else sandbox.NOBODY


def around(shown: Iterable[str], closed: Iterable[str]) -> tuple[list[str], list[str]]:
    """What to open so that all of `shown` is but what is `closed`. → paths to open with all below them, folders of which to show the names alone"""
    hidden = [Path(path) for path in closed]
    opened, listed, waiting = [], [], [Path(path) for path in shown]
    while waiting:
        path = waiting.pop()
        if path.is_symlink() and path.parent != Path("/"):  # what it leads to is opened where it lies, or not at all
            continue
        if path.resolve() in hidden:
            continue
        if any(place.is_relative_to(path.resolve()) for place in hidden):
            listed.append(str(path))
            waiting += path.iterdir()
        else:
            opened.append(str(path))
    return opened, listed


def open_to_others(path: Path) -> bool:
    """May any user pass through all folders above, and look into this one?"""
    folders = [path, *path.parents]
    return all(folder.stat().st_mode & 0o001 for folder in folders) and bool(path.stat().st_mode & 0o004)

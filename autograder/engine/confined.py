"""UNTRUSTED SIDE. A submission shut in without namespaces: by Landlock and a filter of system calls, or, when nothing else was asked for, by nothing.

All that the submission starts stays in one process group, which the filter lets nobody leave, so one signal ends all of it. Without the filter the
keeper ends descendant after descendant. Either way they become the keeper's children when their parents die, so that none is left when the keeper
has no child any more.
"""

import contextlib
import os
import resource
import signal
import stat
import time
from collections.abc import Collection, Iterator

from autograder.engine import landlock, seccomp
from autograder.engine.keeper import call, close_bounding_set, drop_capabilities, libc, lower_limit, read

PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 4, 8, 36, 47, 2, 4
CAP_DAC_READ_SEARCH = 2  # to read whatever the owner of a file has forbidden
LOOK_EVERY = 0.25  # seconds between two looks at scratch, which take longer than those at memory
MOST_FILES, DEEPEST = 10_000, 60  # in scratch; folders within folders
END_SECONDS = 8.0


class Confined:
    """See `keeper.Walls`.

    about  what `confinement.about` says: kind landlock or none, scratch, user, search, allowed, abi
    """

    def __init__(self, about: dict):
        self._about, self._landlock = about, about["kind"] == "landlock"
        self._kept_capabilities = 0
        self._next_look = 0.0

    def begin(self) -> None:
        """Become nobody, when started by root; see to it that whatever loses its parent is found."""
        call(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")
        if not self._landlock:
            return
        if not seccomp.known():
            raise OSError(f"the numbers of system calls are not known for {os.uname().machine}")
        self._version = min(landlock.abi(libc), self._about["abi"])
        if self._about["search"] and _has(CAP_DAC_READ_SEARCH):
            self._kept_capabilities = 1 << CAP_DAC_READ_SEARCH
        if (user := self._about["user"]) is not None:
            call(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
            close_bounding_set(self._kept_capabilities)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        drop_capabilities(self._kept_capabilities)
        if self._kept_capabilities:  # programs that a notebook starts need it too
            call(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0), "ambient capability")
        call(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")  # the keeper, of the same user, is to see what a submission uses
        os.umask(0o077)

    def before(self, limits: dict) -> None:
        call(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")
        self._processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
            raise OSError("this kernel does not tell what a process has started, without which its memory cannot be watched")
        lower_limit(resource.RLIMIT_NPROC, self._tasks_of_this_user() + limits["processes"])

    def shut(self, limits: dict) -> None:
        os.chdir(self._about["scratch"])
        if self._landlock:
            landlock.restrict(libc, self._version, self._about["allowed"])

    def give_up_privileges(self) -> None:
        if self._landlock:
            drop_capabilities(self._kept_capabilities)
            seccomp.close_calls(libc, self._version)

    def members(self) -> tuple[int, Collection[str]]:
        return self._processes, list(_descendants(self._processes, str(os.getpid())))

    def excess(self, limits: dict) -> tuple[str, str] | None:
        """Of scratch, and of processes: other processes of the same user count in the kernel's own limit of these."""
        began, theirs = time.monotonic(), self.members()[1]
        if began < self._next_look and len(theirs) <= limits["processes"]:
            return None
        tasks = sum(_tasks(self._processes, process) for process in theirs)
        if tasks > limits["processes"]:
            return "crashed", f"{tasks} processes and threads, at most {limits['processes']} are allowed"
        try:
            size, files = _size(self._about["scratch"])
        except OSError as error:
            return "crashed", f"its scratch folder cannot be looked at: {error.strerror}"
        unlinked: dict[tuple[int, int], int] = {}
        for process in theirs:
            unlinked |= _unlinked(self._processes, process, self._about["scratch"], limits["file"])
        size += sum(unlinked.values())
        if size > limits["scratch"] or files > MOST_FILES:
            most = f"{limits['scratch'] / 2**20:.0f} MiB in {MOST_FILES:,}"
            return "memory", f"{size / 2**20:.0f} MiB of its scratch folder in {files:,} files, at most {most} are allowed"
        self._next_look = time.monotonic() + max(LOOK_EVERY, min(5 * (time.monotonic() - began), 1.0))
        return None

    def strike(self, child: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # all at once, also those that are just being made
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    def end(self, child: int) -> None:
        self.strike(child)
        self.end_orphans()

    def end_orphans(self) -> None:
        """End all descendants of this process, which are its children when their parents are dead, until it has none."""
        deadline = time.monotonic() + END_SECONDS
        processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        while time.monotonic() < deadline:
            for process in _descendants(processes, str(os.getpid())):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(process), signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.001)
        raise RuntimeError(f"processes of a submission could not be ended within {END_SECONDS:g} s")

    def _tasks_of_this_user(self) -> int:
        count = 0
        for process in filter(str.isdigit, os.listdir(self._processes)):
            with contextlib.suppress(OSError):
                if os.stat(process, dir_fd=self._processes).st_uid == os.getuid():
                    count += _tasks(self._processes, process)
        return count


def _has(capability: int) -> bool:
    with open("/proc/self/status") as file:
        permitted = next(line.split()[1] for line in file if line.startswith("CapPrm:"))
    return bool(int(permitted, 16) >> capability & 1)


def _descendants(processes: int, ancestor: str) -> Iterator[str]:
    """The names in /proc of what a process has started, and what these have."""
    waiting, seen = [ancestor], {ancestor}
    while waiting:
        process = waiting.pop()
        for child in _children(processes, process):
            if child not in seen:
                seen.add(child)
                waiting.append(child)
                yield child


def _children(processes: int, process: str) -> list[str]:
    try:
        folder = os.open(f"{process}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=processes)
    except OSError:
        return []
    try:
        found = []
        for task in os.listdir(folder):
            with contextlib.suppress(OSError):
                found += read(folder, f"{task}/children").split()
        return found
    except OSError:
        return []
    finally:
        os.close(folder)


def _tasks(processes: int, process: str) -> int:
    """How many threads a process has."""
    with contextlib.suppress(OSError):
        return os.stat(f"{process}/task", dir_fd=processes).st_nlink - 2
    return 0


def _size(folder: str) -> tuple[int, int]:
    """The bytes on disk, and the files, of all that is below a folder. OSError when something there cannot be looked at."""
    size, files, waiting = 0, 0, [(folder, 0)]
    while waiting and files <= MOST_FILES:
        place, depth = waiting.pop()
        if depth > DEEPEST:
            raise OSError(0, f"more than {DEEPEST} folders within folders")
        for entry in _entries(place):
            files += 1
            with contextlib.suppress(FileNotFoundError):
                about = entry.stat(follow_symlinks=False)
                size += about.st_blocks * 512
                if stat.S_ISDIR(about.st_mode):
                    waiting.append((entry.path, depth + 1))
    return size, files


def _entries(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:  # it has just been removed
        return []


def _unlinked(processes: int, process: str, scratch: str, largest: int) -> dict[tuple[int, int], int]:
    """(device, number) → bytes of the files without a name that a process holds open, or has mapped, when nothing tells their size but `largest`."""
    found: dict[tuple[int, int], int] = {}
    with contextlib.suppress(OSError), open(os.open(f"{process}/maps", os.O_RDONLY, dir_fd=processes), errors="replace") as maps:
        for line in maps:
            if line.endswith(" (deleted)\n") and f" {scratch}/" in line:
                major, minor = line.split()[3].split(":")
                found[os.makedev(int(major, 16), int(minor, 16)), int(line.split()[4])] = largest
    with contextlib.suppress(OSError):
        folder = os.open(f"{process}/fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=processes)
        try:
            for descriptor in os.listdir(folder):
                with contextlib.suppress(FileNotFoundError):
                    about = os.stat(descriptor, dir_fd=folder)
                    if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
                        found[about.st_dev, about.st_ino] = about.st_blocks * 512
        finally:
            os.close(folder)
    return found

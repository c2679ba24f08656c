"""UNTRUSTED SIDE. A submission shut in by namespaces of its own, within bubblewrap's.

It is process 1 of a process namespace: when it dies, the kernel ends every process there, whatever it started.
"""

import os
import resource
import signal
from collections.abc import Collection
from pathlib import Path

from autograder.engine import seccomp
from autograder.engine.keeper import PR_SET_PDEATHSIG, call, drop_capabilities, libc, lower_limit

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 16384, 1 << 18


class Namespaces:
    """See `keeper.Walls`."""

    def begin(self) -> None: ...

    def before(self, limits: dict) -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        self._processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)  # by name it will soon be covered, for the keeper too
        user, group = os.getuid(), os.getgid()
        call(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        # After the namespace, so that what counts are the processes in it, and not all of this user's on the machine.
        lower_limit(resource.RLIMIT_NPROC, limits["processes"])

    def shut(self, limits: dict) -> None:
        """Private scratch, which alone can be written to, and no /proc."""
        call(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount private")
        scratch = os.environ["TMPDIR"].encode()
        for place in (scratch, b"/dev/shm", b"/proc"):
            size = limits["scratch"] if place == scratch else 4096
            call(libc.mount(b"tmpfs", place, b"tmpfs", MS_NOSUID | MS_NODEV, b"size=%d,nr_inodes=10000,mode=777" % size), "mount tmpfs")
        os.chdir(scratch)

    def give_up_privileges(self) -> None:
        drop_capabilities()
        if seccomp.known():
            seccomp.close_calls(libc)

    def members(self) -> tuple[int, Collection[str]]:
        own = {"1", str(os.getpid()), str(os.getppid())}  # the outer namespace's first process, this keeper, the zygote
        return self._processes, [entry for entry in os.listdir(self._processes) if entry.isdigit() and entry not in own]

    def excess(self, limits: dict) -> None:
        """The kernel alone sees to everything else."""

    def strike(self, child: int) -> None:
        os.kill(child, signal.SIGKILL)

    def end(self, child: int) -> None:
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            return

    def end_orphans(self) -> None:
        """There are none: the namespace ended with the keeper."""

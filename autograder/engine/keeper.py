"""UNTRUSTED SIDE. Forks a fresh child for each submission, watches what it uses, and ends it with everything that it started.

For each submission the zygote forks a keeper, and the keeper forks the child, which shuts itself in before the student's code begins. What shuts it
in is one of two kinds: `Namespaces`, within bubblewrap, and `Confined`, without. The keeper stays outside, watches memory, and ends the child when it
is told to, when a limit is reached, or when the zygote is gone.

Should the keeper die without a report, the zygote ends what the keeper kept, and itself.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn, Protocol

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 1, 38, 24
NO_WALLS = 71  # exit code of a submission that could not be shut in, and so was not run
WATCH_EVERY = 0.05  # seconds between two looks at a submission's memory
END, EXPLAIN = b"end", b"explain"  # what the trusted side says when it is done; EXPLAIN when it was hung up on
EXPLAIN_SECONDS = 1.0

libc = ctypes.CDLL(None, use_errno=True)


class Walls(Protocol):
    """What shuts a submission in."""

    def begin(self) -> None:
        """In the zygote, before anything else."""
        ...

    def before(self, limits: dict) -> None:
        """In the keeper, before it forks the child."""
        ...

    def shut(self, limits: dict) -> None:
        """In the child: nothing but scratch can be changed, and nothing but the interpreter and the open course can be seen."""
        ...

    def give_up_privileges(self) -> None:
        """In the child, last of all."""
        ...

    def members(self) -> tuple[int, Collection[str]]:
        """→ /proc as a descriptor, and the names there of all processes of the submission."""
        ...

    def excess(self, limits: dict) -> tuple[str, str] | None:
        """Something but memory that it has used too much of: how it ends, and why."""
        ...

    def strike(self, child: int) -> None:
        """In the keeper, which has not buried the child yet: end all that can be ended at once."""
        ...

    def end(self, child: int) -> None:
        """In the keeper: when it returns, no process of the submission is left. RuntimeError when that cannot be reached."""
        ...

    def end_orphans(self) -> None:
        """In the zygote, whose keeper has died."""
        ...


def run(control: socket.socket, walls: Walls, serve: Callable[[socket.socket], None]) -> None:
    """Say that all is ready, and run one submission after the other until the trusted side hangs up."""
    control.sendall(b"ready\n")
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(control, 65536, 1)
        if not message:
            return
        report = _run_one(control, socket.socket(fileno=descriptors[0]), json.loads(message), walls, serve)
        control.sendall(json.dumps(report).encode() + b"\n")


def _run_one(control: socket.socket, stream: socket.socket, limits: dict, walls: Walls, serve: Callable[[socket.socket], None]) -> dict:
    """One submission, from fork to the last of its processes. → how it ended and what it used."""
    orders, keeper_end = socket.socketpair()
    keeper = os.fork()
    if keeper == 0:
        orders.close()  # but not `control`: the trusted side takes all for ended when nobody holds that any more
        _keep(keeper_end, stream, limits, walls, serve)
    keeper_end.close()
    stream.close()
    # The trusted side says END or EXPLAIN when it is done; whatever happens first, the keeper then ends everything and reports.
    report = b""
    watched: list[socket.socket] = [control, orders]
    while orders in watched:
        ready, _, _ = select.select(watched, [], [])
        if orders in ready:
            try:
                part = orders.recv(65536)
            except ConnectionResetError:
                continue  # the keeper ended before it had read the order; its report comes next
            report += part
            if not part:
                watched.remove(orders)
        elif control in ready:
            order = control.recv(1024)
            if not order:
                os._exit(0)  # the trusted side is gone; the keeper, and what it keeps, end with this process
            watched.remove(control)
            with contextlib.suppress(BrokenPipeError):  # it has just ended by itself, and its report is under way
                orders.sendall(order)
    orders.close()
    _, _status, usage = os.wait4(keeper, 0)
    if not report:
        walls.end_orphans()
        raise RuntimeError("the keeper of a submission died")
    if control in watched:  # it ended by itself; the trusted side will still say so
        control.recv(1024)
    return json.loads(report) | {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}


def _keep(orders: socket.socket, stream: socket.socket, limits: dict, walls: Walls, serve: Callable[[socket.socket], None]) -> NoReturn:
    """The keeper: outside the submission's walls, and trusted by the zygote alone."""
    how, detail, child = "crashed", "", 0
    try:
        limits["mapped"] = mapped_bytes()
        walls.before(limits)
        child = os.fork()
        if child == 0:
            orders.close()
            _become_the_submission(stream, limits, walls, serve)
        stream.close()
        how, detail = _watch(child, orders, walls, limits)
    except OSError as error:
        detail = f"{type(error).__name__}: {error}"
    finally:
        try:
            if child:
                walls.end(child)
            orders.sendall(json.dumps({"how": how, "detail": detail}).encode())
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(0)


def _watch(child: int, orders: socket.socket, walls: Walls, limits: dict) -> tuple[str, str]:
    """Wait for the end of the child, an order, or too much of something. → (ended | crashed | memory | cpu, detail)"""
    handle = os.pidfd_open(child)
    while True:
        ready, _, _ = select.select([handle, orders], [], [], WATCH_EVERY)
        if orders in ready and orders.recv(16) != EXPLAIN:
            return "ended", ""
        if orders in ready:  # it hung up, so that it is about to end by itself
            ready, _, _ = select.select([handle], [], [], EXPLAIN_SECONDS)
            if not ready:
                return "crashed", "it closed its connection"
        if handle in ready:
            walls.strike(child)
            _, status, usage = os.wait4(child, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status)
            if code == -signal.SIGKILL and usage.ru_utime + usage.ru_stime > limits["cpu_seconds"] - 1:
                return "cpu", f"{limits['cpu_seconds']} s of processor time"
            return "crashed", f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        used = _used_bytes(*walls.members(), limits["memory"])
        if used > limits["memory"]:
            return "memory", f"{used / 2**20:.0f} MiB, at most {limits['memory'] / 2**20:.0f} are allowed"
        if excess := walls.excess(limits):
            return excess


def _used_bytes(processes: int, theirs: Collection[str], limit: int) -> int:
    """Memory of all processes of the submission: what is theirs alone, and what they share among themselves.

    Memory that is mapped as shared and only one process uses counts twice. All that a process has in memory, which is quickly told, is more than what
    counts; only where that is over half the limit is it worth a closer look.
    """
    if sum(_resident_bytes(processes, entry) for entry in theirs) <= limit / 2:
        return 0
    return sum(_own_bytes(processes, entry) for entry in theirs)


def _resident_bytes(processes: int, process: str) -> int:
    try:
        return int(read(processes, f"{process}/statm").split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _own_bytes(processes: int, process: str) -> int:
    try:
        lines = read(processes, f"{process}/smaps_rollup").splitlines()
    except PermissionError:  # a process can forbid the look; all that it has then counts as its own
        return _resident_bytes(processes, process)
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Private_Clean:", "Swap:", "Pss_Shmem:")))


def read(folder: int, name: str) -> str:
    """The start of a file of /proc."""
    file = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(file, 65536).decode()
    finally:
        os.close(file)


def _become_the_submission(stream: socket.socket, limits: dict, walls: Walls, serve: Callable[[socket.socket], None]) -> NoReturn:
    """Walls, limits, no privileges; then the student's notebook."""
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()  # a process group reaches out of a namespace: without its own, kill(0) would end the zygote
        with contextlib.suppress(PermissionError):
            Path("/proc/self/oom_score_adj").write_text("1000")  # where the machine runs out of memory, this goes first
        walls.shut(limits)
        _set_limits(limits)
        walls.give_up_privileges()
        number = os.dup(stream.detach())  # above 2, whatever the stream's number was
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        os.closerange(3, number)
        os.closerange(number + 1, 65536)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(NO_WALLS)
    try:
        serve(socket.socket(fileno=number))
    finally:
        os._exit(70)


def close_bounding_set(kept: int) -> None:
    """No program that is started brings a capability but those whose bits are in `kept`. Only who has some can do that."""
    for capability in range(64):
        if not kept >> capability & 1:
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def drop_capabilities(kept: int = 0) -> None:
    """Give up every capability but those whose bits are in `kept`, for good: also those that a new program or a new name could bring."""

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    class Data(ctypes.Structure):
        _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]

    close_bounding_set(kept)
    data = (Data * 2)(Data(kept, kept, kept), Data())
    call(libc.capset(ctypes.byref(Header(0x20080522, 0)), data), "capset")
    call(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


def _set_limits(limits: dict) -> None:
    for what, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_DATA, limits["mapped"] + limits["memory"]),
        (resource.RLIMIT_FSIZE, limits["file"]),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        lower_limit(what, value)


def lower_limit(what: int, value: int) -> None:
    """For this process and all that it starts; a limit that is lower already stays."""
    most = resource.getrlimit(what)[1]
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(what, (value, value))


def mapped_bytes() -> int:
    """What this process has mapped for data already, shared with the zygote: limits count from there."""
    status = Path("/proc/self/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))


def call(result: int, what: str) -> None:
    """OSError when a call of the C library says that it failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")

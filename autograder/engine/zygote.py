"""UNTRUSTED SIDE. A warmed interpreter inside the sandbox that forks a fresh, isolated child for each submission.

It holds what every submission needs and nothing that any may not see. For each submission it forks a keeper, which makes new user, mount,
process and IPC namespaces and forks the child in them as process 1. When process 1 dies, the kernel ends every process of its namespace,
whatever it started; the keeper stays outside, watches memory, and ends process 1 when it is told to or when the limit is reached.

Should the keeper die without a report, the zygote ends itself, and all that is behind the outer walls with it.

    python -m autograder.engine.zygote CONTROL_FD
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from autograder.engine import inside, seccomp

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 16384, 1 << 18
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_SET_PDEATHSIG = 38, 24, 1
NO_WALLS = 71  # exit code of a submission that could not be shut in, and so was not run
WATCH_EVERY = 0.05  # seconds between two looks at a submission's memory
END, EXPLAIN = b"end", b"explain"  # what the trusted side says when it is done; EXPLAIN when it was hung up on
EXPLAIN_SECONDS = 1.0

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    shell = warm()
    control.sendall(b"ready\n")
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(control, 65536, 1)
        if not message:
            return
        request = json.loads(message)
        report = run_one(control, socket.socket(fileno=descriptors[0]), request, shell)
        control.sendall(json.dumps(report).encode() + b"\n")


def warm() -> object:
    """Import once what every submission would import, and nothing that answers an exercise."""
    import gc

    import matplotlib
    import numpy as np

    matplotlib.use("agg")
    import matplotlib.pyplot
    import torch

    import course_lib.data
    import course_lib.interactive

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.mm(torch.zeros(2, 2), torch.zeros(2, 2))
    np.linalg.norm(np.zeros(3))
    pixels = course_lib.data.digits().x_train[:2]
    shell = inside.make_shell()
    for figure in (_figure(), course_lib.interactive.digit_grid(pixels)):
        course_lib.interactive.show_static(figure, alt="two of the many things that a figure needs once")
    matplotlib.pyplot.close("all")
    gc.collect()
    gc.freeze()  # what is there now is never looked at again by the collector, so its pages stay shared
    return shell


def _figure() -> Any:
    """A figure with formulas on logarithmic axes, a legend and a layout to be found: what takes longest when it is drawn first."""
    import matplotlib.pyplot

    figure, axis = matplotlib.pyplot.subplots(layout="constrained")
    axis.loglog([1e-9, 1.0], [1e-9, 1.0], "o--", label="$x^2$")
    axis.set(title="title", xlabel="x", ylabel="y")
    axis.annotate("here", (1e-3, 1e-3), (1e-2, 1e-5), arrowprops={"arrowstyle": "->"})
    axis.legend()
    return figure


def run_one(control: socket.socket, stream: socket.socket, limits: dict, shell: object) -> dict:
    """One submission, from fork to the last of its processes. → how it ended and what it used."""
    orders, keeper_end = socket.socketpair()
    keeper = os.fork()
    if keeper == 0:
        control.close()
        orders.close()
        _keep(keeper_end, stream, limits, shell)
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
        raise RuntimeError("the keeper of a submission died")
    if control in watched:  # it ended by itself; the trusted side will still say so
        control.recv(1024)
    return json.loads(report) | {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}


def _keep(orders: socket.socket, stream: socket.socket, limits: dict, shell: object) -> NoReturn:
    """The keeper: outside the submission's namespaces, and trusted by the zygote alone."""
    how, detail, child = "crashed", "", 0
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        limits["mapped"] = mapped_bytes()
        processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)  # by name it will soon be covered, for the keeper too
        _new_namespaces()
        # After the namespace, so that what counts are the processes in it, and not all of this user's on the machine.
        resource.setrlimit(resource.RLIMIT_NPROC, (limits["processes"], limits["processes"]))
        child = os.fork()
        if child == 0:
            orders.close()
            _become_the_submission(stream, limits, shell)
        stream.close()
        how, detail = _watch(child, orders, processes, limits)
    except OSError as error:
        detail = f"{type(error).__name__}: {error}"
    finally:
        if child:
            _end(child)
        orders.sendall(json.dumps({"how": how, "detail": detail}).encode())
        os._exit(0)


def _watch(child: int, orders: socket.socket, processes: int, limits: dict) -> tuple[str, str]:
    """Wait for the end of process 1, an order, or too much memory. → (ended | crashed | memory | cpu, detail)"""
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
            _, status, usage = os.wait4(child, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status)
            if code == -signal.SIGKILL and usage.ru_utime + usage.ru_stime > limits["cpu_seconds"] - 1:
                return "cpu", f"{limits['cpu_seconds']} s of processor time"
            return "crashed", f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        used = _used_bytes(processes, limits["memory"])
        if used > limits["memory"]:
            return "memory", f"{used / 2**20:.0f} MiB, at most {limits['memory'] / 2**20:.0f} are allowed"


def _used_bytes(processes: int, limit: int) -> int:
    """Memory of all processes of the submission: what is theirs alone, and what they share among themselves.

    processes is /proc of the outer namespace, as a descriptor. Memory that is mapped as shared and only one process uses counts twice. All that a
    process has in memory, which is quickly told, is more than what counts; only where that is over half the limit is it worth a closer look.
    """
    own = {"1", str(os.getpid()), str(os.getppid())}  # the namespace's first process, this keeper, the zygote
    theirs = [entry for entry in os.listdir(processes) if entry.isdigit() and entry not in own]
    if sum(_resident_bytes(processes, entry) for entry in theirs) <= limit / 2:
        return 0
    return sum(_own_bytes(processes, entry) for entry in theirs)


def _resident_bytes(processes: int, process: str) -> int:
    try:
        return int(_read(processes, f"{process}/statm").split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _own_bytes(processes: int, process: str) -> int:
    try:
        lines = _read(processes, f"{process}/smaps_rollup").splitlines()
    except PermissionError:  # a process can forbid the look; all that it has then counts as its own
        return _resident_bytes(processes, process)
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Private_Clean:", "Swap:", "Pss_Shmem:")))


def _read(folder: int, name: str) -> str:
    file = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(file, 65536).decode()
    finally:
        os.close(file)


def _end(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def _new_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    _call(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _become_the_submission(stream: socket.socket, limits: dict, shell: object) -> NoReturn:
    """Process 1 of the new namespaces: private scratch, no /proc, no privileges, limits; then the student's notebook."""
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()  # a process group reaches out of a namespace: without its own, kill(0) would end the zygote
        Path("/proc/self/oom_score_adj").write_text("1000")  # where the machine runs out of memory, this goes first
        _call(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount private")
        scratch = os.environ["TMPDIR"].encode()
        for place in (scratch, b"/dev/shm", b"/proc"):
            size = limits["scratch"] if place == scratch else 4096
            _call(libc.mount(b"tmpfs", place, b"tmpfs", MS_NOSUID | MS_NODEV, b"size=%d,nr_inodes=10000,mode=777" % size), "mount tmpfs")
        os.chdir(scratch)
        _set_limits(limits)
        _drop_privileges()
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
        inside.Inside(socket.socket(fileno=number), shell).serve()
    finally:
        os._exit(70)


def _drop_privileges() -> None:
    """Give up every capability, for good: also those that a new program or a new name could bring."""

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    class Data(ctypes.Structure):
        _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]

    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    _call(libc.capset(ctypes.byref(Header(0x20080522, 0)), (Data * 2)()), "capset")
    _call(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    if seccomp.known():
        seccomp.close_calls(libc)


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
        resource.setrlimit(what, (value, value))


def mapped_bytes() -> int:
    """What this process has mapped for data already, shared with the zygote: limits count from there."""
    status = Path("/proc/self/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))


def _call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()

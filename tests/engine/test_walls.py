"""Walls without bubblewrap, tried from within by real submissions: as root, as an ordinary user, and as older kernels would make them."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from attacks import HONEST, all_attacks, attacked, small_notebook
from processes import below, is_alive
from typer.testing import CliRunner

from autograder.cli import autograder
from autograder.engine import confinement, landlock, probing, sandbox, scheduler, scratch, wire
from autograder.engine.keeper import libc
from autograder.engine.sandbox import Limits
from autograder.engine.unit import run_unit
from autograder.engine.worker import Zygote, discard_zygotes
from autograder.errors import CourseError

pytestmark = [pytest.mark.landlock, pytest.mark.xdist_group("engine")]
ROOT = Path(__file__).parents[2]
LIMITS = Limits(cell=4, memory=400 * 2**20, processes=16, file=4 * 2**20, scratch=8 * 2**20, cpu_seconds=6)
VERSIONS = (landlock.LATEST, 1)  # of Landlock: this kernel's, if it is as new as that, and the first


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Iterator[Path]:
    """Where the trusted side makes its folders, so that what it leaves can be counted."""
    folder = tmp_path_factory.mktemp("places")
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    yield folder
    tempfile.tempdir = before
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"ABI {version}")
def zygote(request, places) -> Iterator[Zygote]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confinement.landlock, "LATEST", request.param)
        with Zygote(("course_lib.scratch.functional",), kind="landlock") as one:
            yield one


@pytest.fixture
def forced(monkeypatch, places) -> Iterator[None]:
    """Units are run behind Landlock."""
    monkeypatch.setenv(probing.FORCED, "landlock")
    discard_zygotes()
    yield
    discard_zygotes()


@contextmanager
def running(zygote: Zygote, limits: Limits = LIMITS) -> Iterator[socket.socket]:
    with zygote.start(limits) as stream:
        try:
            yield stream
        finally:
            zygote.end()


def cell(stream: socket.socket, source: str, seconds: float = 8) -> tuple[str, str]:
    """Run a cell. → how it ended, and what it printed or raised"""
    wire.send(stream, (b"t", "cell", source, seconds, 20_000))
    _token, outcome, outputs, _seconds = wire.receive(stream, time.monotonic() + seconds + 5)
    return outcome, "".join(one.get("text", "") + one.get("ename", "") for one in outputs)


def said(zygote: Zygote, source: str) -> str:
    with running(zygote) as stream:
        return cell(stream, source)[1].strip()


def processes_of(user: int) -> int:
    found = 0
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            found += process.uids().real == user and is_alive(process)
    return found


# What it sees


def test_it_sees_nothing_but_the_interpreter_the_open_course_and_its_scratch(zygote):
    closed = [
        ROOT / "solutions",
        ROOT / "autograder",
        ROOT / "tests",
        Path.home(),
        "/",
        "/etc",
        "/proc",
        "/sys",
        "/dev",
        "/dev/shm",
        "/tmp",
        "/run",
        "/var",
    ]
    source = (
        f"import os\nfor place in {[str(place) for place in closed]}:\n    try: print('LEAK', place, os.listdir(place))\n    except OSError: pass\n"
    )
    assert said(zygote, source) == ""
    for file in ("/etc/passwd", "/proc/self/environ", f"/proc/{os.getpid()}/cmdline", "/proc/cpuinfo", ROOT / "pyproject.toml", __file__, "/dev/tty"):
        assert said(zygote, f"open({str(file)!r})").endswith("Error")
    assert (
        said(zygote, "import os, autograder.exercises as e; print(os.listdir('.'), os.listdir(os.path.dirname(e.__file__)))") == "[] ['__init__.py']"
    )
    assert said(zygote, "import course_lib.scratch.functional") == "ImportError"
    assert said(zygote, "import course_lib.scratch.autograd, sklearn.svm; print(1)") == "1"


def test_its_environment_is_what_the_sandbox_says_and_its_home_is_scratch(zygote):
    wanted = sorted([*sandbox.environment(), "JOBLIB_MULTIPROCESSING"])
    assert said(zygote, "import os; print(sorted(set(os.environ) - {'PWD', 'LC_CTYPE', 'KMP_DUPLICATE_LIB_OK', 'KMP_INIT_AT_FORK'}))") == str(wanted)
    assert (
        said(zygote, "import os, tempfile; print({os.getcwd(), os.path.expanduser('~'), tempfile.gettempdir()} == {os.environ['TMPDIR']})") == "True"
    )


def test_it_is_a_user_of_its_own_when_started_by_root_and_has_no_more_rights_than_it_needs(zygote):
    user, group, groups, permitted = said(
        zygote,
        "import os, ctypes; data = (ctypes.c_uint32 * 6)(); ctypes.CDLL(None).capget(ctypes.byref((ctypes.c_uint32 * 2)(0x20080522, 0)), data)\n"
        "print(os.getuid(), os.getgid(), len(os.getgroups()), data[1] | data[4] << 32)",
    ).split()
    if os.geteuid() == 0:
        assert user == group and int(user) >= sandbox.NOBODY and groups == "0"
    assert int(permitted) in (0, 1 << 2), "none, or to look into folders that are closed to others"
    assert said(zygote, "import ctypes; print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))") == "1"


# What it reaches


@pytest.fixture
def outside(places) -> Iterator[dict]:
    """A folder that anybody may change, but for the walls, with sockets on which somebody listens."""
    folder = Path(tempfile.mkdtemp(prefix="outside-", dir=places))
    abstract = f"\0course-tests-{secrets.token_hex(8)}"
    folder.chmod(0o777)
    file = folder / "file"
    file.write_text("LEAK")
    file.chmod(0o666)
    (folder / "empty").mkdir(mode=0o777)
    heard: list[str] = []
    stream, datagram = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    port, name = socket.socket(socket.AF_INET), socket.socket(socket.AF_UNIX)
    stream.bind(str(folder / "stream"))
    datagram.bind(str(folder / "datagram"))
    port.bind(("127.0.0.1", 0))
    name.bind(abstract)
    for path in ("stream", "datagram"):
        (folder / path).chmod(0o777)

    def count(listening: socket.socket) -> None:
        while True:
            try:
                heard.append(str(listening.accept() if listening is not datagram else listening.recv(10)))
            except OSError:
                return

    listeners = (stream, datagram, port, name)
    for one in listeners:
        if one is not datagram:
            one.listen()
        threading.Thread(target=count, args=(one,), daemon=True).start()
    yield {"folder": str(folder), "file": str(file), "port": port.getsockname()[1], "name": abstract, "heard": heard}
    for one in listeners:
        one.shutdown(socket.SHUT_RDWR) if one is not datagram else None
        one.close()
    shutil.rmtree(folder)


def state_of(folder: Path) -> list[tuple]:
    paths = sorted([folder, *folder.rglob("*")])
    return [(path.name, (about := path.lstat()).st_mode, about.st_mtime_ns, about.st_uid, about.st_size, os.listxattr(path)) for path in paths]


PRELUDE = """
import ctypes, os, signal, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
folder, file, port, name, grader = {folder!r}, {file!r}, {port!r}, {name!r}, {grader!r}
def attempt(what, *arguments):
    try: got = what(*arguments)
    except (OSError, ValueError, OverflowError, subprocess.SubprocessError) as error: return None
    return got
def succeeds(what, *arguments):
    try: what(*arguments)
    except (OSError, subprocess.SubprocessError): return
    print('LEAK', getattr(what, '__name__', what), arguments)
"""
REACHES = {
    "reading": """
        succeeds(open, file); succeeds(os.open, file, os.O_RDONLY); succeeds(os.listdir, folder); os.chdir(folder)
        succeeds(open, 'file'); succeeds(os.listdir, '.')
        print(attempt(subprocess.check_output, ['cat', file]), attempt(subprocess.check_output, ['ls', '-l', folder]))
        libc.open_by_handle_at(-100, 0, 0) == -1 or print('LEAK')
        for way in ('/proc/self/root', f'/proc/{grader}/root', f'/proc/{os.getppid()}/root', '/proc/self/cwd/../../../../../..'):
            succeeds(open, way + file)
    """,
    "links": """
        succeeds(os.link, file, 'x'); os.symlink(file, 'y'); succeeds(open, 'y'); succeeds(open, 'y', 'a')
        open('z', 'w').close(); succeeds(os.link, 'z', folder + '/z'); succeeds(os.rename, 'z', folder + '/z'); succeeds(os.rename, file, 'f')
        succeeds(os.rename, file, file + '2')
    """,
    "writing": """
        for flags in (1, 2, 3, 0o1000, 0o1001, 0o1003, 0o2001): succeeds(os.open, file, flags) if flags != 3 else None
        succeeds(os.truncate, file, 0); succeeds(os.unlink, file); succeeds(os.rmdir, folder + '/empty')
        for make in (os.mkdir, os.mkfifo, os.mknod): succeeds(make, folder + '/new')
        succeeds(open, folder + '/new', 'w'); succeeds(os.symlink, 'a', folder + '/new')
    """,
    "what Landlock does not guard": """
        attempt(os.chmod, file, 0o600); attempt(os.utime, file, (1, 1)); attempt(os.utime, file); attempt(os.chown, file, os.getuid(), os.getgid())
        attempt(os.setxattr, file, 'user.x', b'x'); attempt(os.chmod, folder, 0o700); libc.syscall(452, -100, file.encode(), 0o600, 0)
        libc.syscall(260, -100, file.encode(), os.getuid(), os.getgid(), 0)
    """,
    "sockets": """
        for family, address in ((2, ('127.0.0.1', port)), (1, name), (1, folder + '/stream'), (1, folder + '/datagram'), (10, ('::1', port))):
            for kind in (1, 2, 3, 5):
                succeeds(lambda: socket.socket(family, kind).connect(address))
                succeeds(lambda: socket.socket(family, kind).sendto(b'x', address))
        for family in (16, 17, 40, 38): succeeds(socket.socket, family, 2)
        for kind in (2, 3): succeeds(socket.socketpair, 1, kind)
        a, b = socket.socketpair(); a.send(b'1'); b.recv(1) == b'1' or print('broken')
        for address in (folder + '/datagram', folder + '/stream', name): 
            succeeds(a.sendto, b'x', address); succeeds(a.connect, address); succeeds(a.sendmsg, [b'x'], [], 0, address)
        succeeds(a.bind, 'mine'); succeeds(socket.send_fds, a, [b'x'], [0])
    """,
    "processes": """
        for pid in (grader, os.getppid(), -1):
            for number in (0, 10): succeeds(os.kill, pid, number) if pid > 0 else None
            if pid < 0: continue
            libc.syscall(234, pid, pid, 0) == -1 or print('LEAK tgkill'); libc.syscall(200, pid, 0) == -1 or print('LEAK tkill')
            info = (ctypes.c_int * 32)(10, 0, -1); libc.syscall(129, pid, 10, info) == -1 or print('LEAK sigqueue')
            handle = attempt(os.pidfd_open, pid)
            if handle: succeeds(signal.pidfd_send_signal, handle, 0); libc.syscall(438, handle, 0, 0) == -1 or print('LEAK pidfd_getfd')
            import resource, fcntl
            succeeds(lambda: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)))
            succeeds(os.setpriority, 0, pid, 5); succeeds(os.sched_setaffinity, pid, [0])
            succeeds(os.sched_setscheduler, pid, 3, os.sched_param(0)); libc.syscall(251, 1, pid, 0x6000) == -1 or print('LEAK ioprio')
            a, b = socket.socketpair(); succeeds(fcntl.fcntl, a, 8, pid)
            libc.ioctl(a.fileno(), 0x8901, ctypes.byref(ctypes.c_int(pid))) == -1 or print('LEAK FIOSETOWN')
            libc.ptrace(16, pid, 0, 0) == -1 or print('LEAK ptrace')
            for part in ('environ', 'mem', 'maps', 'fd/0', 'task'): succeeds(open, f'/proc/{pid}/{part}')
            for part in ('cwd', 'root', 'exe', 'fd/0'): succeeds(os.readlink, f'/proc/{pid}/{part}')
        succeeds(os.setpriority, 2, os.getuid(), 5)
    """,
    "what outlives it": """
        libc.sem_open.restype = ctypes.c_void_p
        calls = ((240, b'x', 0o102, 0o600, 0), (68, 7, 0o1600), (64, 7, 1, 0o1600), (29, 7, 4096, 0o1600), (248, b'user', b'k', b'v', 1, -3))
        for call in calls: libc.syscall(*call) == -1 or print('LEAK', call)
        for place in ('/dev/shm', '/tmp', '/var/tmp', '/run', '/dev', os.path.dirname(os.getcwd()), os.path.dirname(os.__file__)):
            succeeds(open, place + '/left-behind', 'w')
        libc.sem_open(b'/left-behind', 0o100, 0o600, 1) and print('LEAK sem_open')
    """,
    "more rights": """
        for number in (272, 165, 166, 161, 321, 425, 319, 323, 101): libc.syscall(number, 0, 0, 0, 0, 0, 0) == -1 or print('LEAK', number)
        libc.syscall(56, 0x10000011, 0, 0, 0, 0) == -1 or print('LEAK clone'); libc.syscall(435, 0, 0) == -1 or print('LEAK clone3')
        libc.prctl(1, 0, 0, 0, 0) == -1 or print('LEAK death signal'); libc.prctl(4, 0, 0, 0, 0) == -1 or print('LEAK dumpable')
        for number in (0, 1): attempt(os.setuid, number); os.getuid() == number and print('LEAK uid')
        print(attempt(subprocess.check_output, ['su', '-c', 'id']))
    """,
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of calls are those of x86-64")
@pytest.mark.parametrize("what", REACHES)
def test_it_reaches_nothing_outside_by(what, zygote, outside):
    before, priority, affinity = state_of(Path(outside["folder"])), os.getpriority(0, 0), os.sched_getaffinity(0)
    source = (
        PRELUDE.format(**outside, grader=os.getpid())
        + "".join(line.removeprefix(" " * 8) + "\n" for line in REACHES[what].splitlines())
        + "print('end')"
    )
    found = said(zygote, source)
    assert found.split()[-1] == "end" and "LEAK" not in found
    assert set(found.split()) <= {"None", "end"}, found
    assert state_of(Path(outside["folder"])) == before
    assert outside["heard"] == []
    assert (os.getpriority(0, 0), os.sched_getaffinity(0)) == (priority, affinity)
    assert not [place for place in ("/dev/shm", "/tmp", "/var/tmp") if os.path.exists(f"{place}/left-behind")]


def test_what_honest_notebooks_do_works(zygote):
    source = """
import asyncio, multiprocessing, os, shutil, subprocess, sys, tempfile, threading
import matplotlib.pyplot as plt, numpy as np, torch
from joblib import Parallel, delayed
print(subprocess.run([sys.executable, '-c', 'import numpy; print(1)'], capture_output=True, text=True, start_new_session=True).stdout.strip())
!echo 2
thread = threading.Thread(target=print, args=(3,)); thread.start(); thread.join()
process = multiprocessing.get_context('fork').Process(target=int); process.start(); process.join(); print(process.exitcode)
print(await asyncio.sleep(0, 4), Parallel(n_jobs=2)(delayed(abs)(n) for n in (-5, 6)))
with tempfile.TemporaryDirectory() as folder:
    with open(f'{folder}/a', 'w') as file: file.write('x')
    shutil.copy2(f'{folder}/a', 'b'); os.chmod('b', 0o600); os.utime('b'); print(os.listdir('.').count('b'))
np.memmap('m', mode='w+', shape=(9,)).flush(); torch.save(torch.ones(2), 't'); print(torch.load('t').sum().item())
plt.plot([1, 2]); plt.savefig('p.png'); print(os.path.getsize('p.png') > 99, os.nice(1) >= 1)
"""
    assert said(zygote, source).split("\n") == ["1", "2", "3", "0", "4 [5, 6]", "1", "2.0", "True True"]


# What is left of it

STAYING = {
    "double forks": """
for _ in '123':
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: time.sleep(600)
        os._exit(0)""",
    "deaf to signals": "import subprocess\nsubprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" 1 2 15; while :; do sleep 1; done'])",
    "stopped": "if os.fork() == 0: os.kill(os.getpid(), 19)",
    "of one name after the other": """
if os.fork() == 0:
    while True:
        try:
            if os.fork(): os._exit(0)
        except OSError: pass""",
    "so many": """
if os.fork() == 0:
    while True:
        try: os.fork()
        except OSError: pass""",
    "that are its parent's siblings": "import ctypes\nctypes.CDLL(None).syscall(56, 0x8000 | 17, 0, 0, 0, 0) == 0 and time.sleep(600)",
}
CONFINED = STAYING | {
    "signals to all": """
for number in 15, 19, 2, 9:
    for pid in (os.getppid(), 1, 2, 3, -1):
        try: os.kill(pid, number)
        except OSError: pass""",
}


@pytest.mark.parametrize("what", CONFINED)
def test_every_process_is_dead_when_the_submission_has_ended(what, zygote):
    before = below()
    user = int(said(zygote, "import os; print(os.getuid())"))
    its_own = processes_of(user)
    with zygote.start(LIMITS) as stream:
        wire.send(stream, (b"t", "cell", "import os, time\n" + CONFINED[what], 3.0, 1000))
        time.sleep(0.8)
        began = time.monotonic()
        zygote.end()
    assert time.monotonic() - began < 4
    assert below() == before
    assert processes_of(user) == its_own or os.geteuid() != 0
    assert said(zygote, "print('next')") == "next"


def how_it_ends(zygote: Zygote, source: str) -> dict:
    with zygote.start(LIMITS) as stream:
        hung_up = False
        try:
            cell(stream, source, seconds=30)
        except wire.Closed:
            hung_up = True
        finally:
            ended = zygote.end(hung_up)
    return ended


HOG = "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        {}x = bytearray(b'x' * (90 * 2**20)); time.sleep(60)\ntime.sleep(60)"
MEMORY = {
    "of one process": "x = []\nwhile True: x.append(bytearray(b'x' * 2**20))",
    "of several": HOG.format(""),
    "of several in sessions of their own": HOG.format("os.setsid(); "),
    "that is shared": "import mmap, os, time\nx = mmap.mmap(-1, 700 * 2**20)\nos.fork()\nfor i in range(0, len(x), 4096): x[i] = 1\ntime.sleep(60)",
}


@pytest.mark.parametrize("what", MEMORY)
def test_memory_has_a_limit(what, zygote):
    outcome = how_it_ends(zygote, f"try:\n    exec({MEMORY[what]!r})\nexcept MemoryError:\n    import os; os._exit(9)")
    assert outcome["how"] == "memory" or (what == "of one process" and outcome["detail"] == "exit code 9"), outcome


SCRATCH = {
    "bytes": "for n in range(99): open(str(n), 'wb').write(bytes(2**20))",
    "files": "for n in range(99999): open(str(n), 'w').close()",
    "files in closed folders": "os.mkdir('d', 0o300)\nfor n in range(9): open(f'd/{n}', 'wb').write(bytes(2**20))",
    "folders within folders": "for _ in range(5000): os.mkdir('d'); os.chdir('d')",
    "files without a name": """
kept = []
for n in range(40):
    kept.append(open('x', 'wb')); os.unlink('x')
    kept[-1].write(bytes(2**20)); kept[-1].flush()""",
    "files that are mapped": """
import mmap
kept = []
for n in range(40):
    with open('x', 'wb+') as file:
        file.write(bytes(2**20)); file.flush()
        kept.append(mmap.mmap(file.fileno(), 4096)); os.unlink('x')""",
}


@pytest.mark.parametrize("what", SCRATCH)
def test_scratch_has_a_limit_of(what, zygote):
    ended = how_it_ends(zygote, f"import os, time\n{SCRATCH[what]}\ntime.sleep(20)")
    assert ended["how"] in ("memory", "crashed") and "scratch" in ended["detail"], ended
    assert said(zygote, "import os; print(os.listdir('.'))") == "[]"


def test_one_file_has_a_limit(zygote):
    assert said(zygote, "f = open('x', 'wb')\nfor n in range(9): f.write(bytes(2**20)); f.flush()\nprint('LEAK')") == "OSError"


def test_processes_have_a_limit_that_others_of_the_same_kind_do_not_use_up(zygote):
    full = (
        "import os, time\nn = 0\ntry:\n    while n < 99:\n        if os.fork() == 0: time.sleep(60)\n        n += 1\nexcept OSError: pass\nprint(n)"
    )
    with Zygote((), kind="landlock") as other, other.start(LIMITS) as bombed:
        assert int(cell(bombed, full)[1]) <= 16
        if os.geteuid() == 0:
            assert said(zygote, "import os, time\nfor n in range(8):\n    if os.fork() == 0: time.sleep(60)\nprint('fine')") == "fine"
        other.end()


def test_a_zygote_that_is_killed_is_noticed_and_takes_everything_with_it(places):
    before = below()
    with Zygote((), kind="landlock") as one, one.start(LIMITS) as stream:
        cell(stream, "import os, time\nif os.fork() == 0: time.sleep(600)")
        psutil.Process(one._process.pid).kill()
        with pytest.raises((RuntimeError, OSError)):
            one.end()
    assert below() == before


def test_a_keeper_that_is_killed_takes_everything_with_it(places):
    before = below()
    with Zygote((), kind="landlock") as one, one.start(LIMITS) as stream:
        cell(stream, "import os, time\nfor _ in '123':\n    if os.fork() == 0: time.sleep(600)")
        psutil.Process(one._process.pid).children()[0].kill()
        with pytest.raises((RuntimeError, OSError)):
            one.end(hung_up=True)
        assert below() - before <= {one._process.pid}
    assert below() == before


def test_a_trusted_side_that_dies_leaves_no_process(places):
    before = below()
    one = Zygote((), kind="landlock")
    stream = one.start(LIMITS)
    cell(stream, "import os, time\nif os.fork() == 0: time.sleep(600)")
    one._control.close()  # as the kernel does when the process that holds it ends
    deadline = time.monotonic() + 5
    while below() - before and time.monotonic() < deadline:
        one._process.poll()
        time.sleep(0.05)
    assert below() == before
    stream.close()
    one.close()


def test_whatever_lies_in_scratch_is_removed(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "elsewhere").symlink_to(tmp_path)
    (tmp_path / "kept").write_text("x")
    (folder / os.fsdecode(b"\xff\n")).write_text("x")
    os.mkfifo(folder / "pipe")
    here = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.fchmod(here, 0)
    os.close(here)
    (folder / "d").chmod(0)
    scratch.empty(folder)
    assert list(folder.iterdir()) == [] and (tmp_path / "kept").exists()


# Whole units


def test_an_honest_unit_gets_the_scores_that_it_gets_behind_bubblewrap(honest_unit, unit_of, monkeypatch, forced):
    notebooks = [
        small_notebook(**HONEST),
        small_notebook(affine_backward=HONEST["affine_backward"]),
        small_notebook(Value=HONEST["Value"]),
        small_notebook(),
    ]
    units = [unit_of(notebook) for notebook in notebooks]

    def outcomes() -> list:
        results = [run_unit(unit) for unit in units]
        discard_zygotes()
        cases = [[(case.outcome, case.message) for item in result.results for case in item.cases] for result in results]
        return [(result.status, result.reason, [cell.score for cell in result.cells], case) for result, case in zip(results, cases, strict=True)]

    alone = outcomes()
    assert [sum(scores) for _status, _reason, scores, _cases in alone] == [8, 3, 5, 0]
    if os.geteuid() == 0 and not probing.fault_of("bubblewrap"):
        monkeypatch.setenv(probing.FORCED, "bubblewrap")
        assert outcomes() == alone


TRIED = (
    "forks", "threads", "memory", "memory of many processes", "memory that is shared", "disk", "every descriptor is written to", "an early byte",
    "the last answer twice", "the stream is closed", "the real token is taken from the frames", "os._exit", "a segmentation fault",
    "signals to all and to the parents", "signals to the process group", "daemons", "a daemon that ignores signals",
    "a copy of the process answers too", "every way out", "a name is looked up", "the reference", "the reference's file", "the exercises",
    "anything in the file system", "a new mount", "a note for the next submission", "a note in the kernel's keyring", "/proc",
    "ptrace of the parent", "the environment", "blocked signals",
)  # fmt: skip


def test_attacks_earn_nothing_and_leave_nothing(unit_of, forced, places):
    look = "import os\nprint('left behind:', os.listdir('.'))"
    attacks = [attack for attack in all_attacks() if attack.name in TRIED]
    assert len(attacks) == len(TRIED)
    assert run_unit(unit_of(small_notebook(look, **HONEST))).score == 8
    running, folders = below(), sorted(places.rglob("*"))
    for attack in attacks:
        result = run_unit(unit_of(attacked(attack)))
        shown = [output for cell in json.loads(result.executed)["cells"] if not cell["id"].startswith("check-") for output in cell.get("outputs", [])]
        assert (result.score, result.status in attack.status, "LEAK" in json.dumps(shown)) == (0, True, False), (
            attack.name,
            result.status,
            result.reason,
        )
        assert below() == running and sorted(places.rglob("*")) == folders, attack.name
    result = run_unit(unit_of(small_notebook(look, **HONEST)))
    assert result.score == 8 and "left behind: []" in result.executed


def test_the_local_pool_takes_the_walls_that_were_found_and_leaves_nothing(honest_unit, unit_of, forced, places):
    bomb = next(attack for attack in all_attacks() if attack.name == "forks")
    before = below()
    probing.probe()
    assert probing.proven() == {probing.PROVEN: "landlock"}
    results = scheduler.run([honest_unit, unit_of(attacked(bomb)), honest_unit], jobs=2)
    assert sorted(result.score for result in results) == [0, 8, 8]
    assert below() == before


def test_a_pool_that_is_stopped_ends_what_a_submission_has_started(unit_of, forced, places):
    source = "import os, time\nfor _ in range(9):\n    if os.fork() == 0: os.setsid(); time.sleep(600)\nopen('d', 'w').close(); time.sleep(600)"
    before = below()
    results = scheduler.run([unit_of({"cells": 3}), unit_of(small_notebook(source), Limits(cell=60))], jobs=1)
    next(results)
    deadline = time.monotonic() + 60
    while len(below() - before) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    results.close()
    assert below() == before


def test_without_walls_it_is_run_with_the_limits_that_there_are_and_ended_whole(honest_unit, unit_of, places):
    before = below()
    with Zygote((), walled=False) as one:
        assert one.kind == "none"
        assert said(one, "import os; print(os.getuid())") == str(os.getuid())
        # Nothing but the keeper's look bounds how many processes root may start, so root's are not let loose on the machine that tests run on.
        for source in [source for what, source in STAYING.items() if what != "so many" or os.geteuid() != 0]:
            with one.start(LIMITS) as stream:
                wire.send(stream, (b"t", "cell", "import os, time\n" + source, 3.0, 1000))
                time.sleep(0.5)
                one.end()
            assert len(below() - before) == 1, source
        assert how_it_ends(one, MEMORY["of several in sessions of their own"])["how"] == "memory"
        assert "scratch" in how_it_ends(one, "import os, time\n" + SCRATCH["bytes"] + "\ntime.sleep(20)")["detail"]
    assert below() == before


# Which walls


def without_bubblewrap(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_the_probe_prefers_bubblewrap_and_says_why_it_is_another(monkeypatch, tmp_path):
    monkeypatch.delenv(probing.FORCED, raising=False)
    monkeypatch.setattr(probing, "fault_of", lambda kind: {"bubblewrap": ""}[kind])
    assert probing._try_all("") == probing.Walls("bubblewrap") and probing.Walls("bubblewrap").notice() == ""
    monkeypatch.setattr(probing, "fault_of", lambda kind: {"bubblewrap": "no B", "landlock": ""}[kind])
    walls = probing._try_all("")
    assert walls == probing.Walls("landlock", "no B") and "by Landlock: no B; weaker in: " in walls.notice()
    monkeypatch.setattr(probing, "fault_of", lambda kind: {"bubblewrap": "no B", "landlock": "no L"}[kind])
    assert probing._try_all("") == probing.Walls("none", "no B; no L")
    assert probing._try_all("bubblewrap") == probing.Walls("none", "no B")
    with pytest.raises(CourseError, match="COURSE_WALLS=paper: there are bubblewrap and landlock"):
        probing._try_all("paper")


def test_landlock_stands_here_and_is_taken_where_bubblewrap_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.delenv(probing.FORCED, raising=False)
    without_bubblewrap(monkeypatch, tmp_path)
    assert probing.probe() == probing.Walls("landlock", "bubblewrap is not installed")
    assert probing.kind() == "landlock"


def test_a_bubblewrap_that_is_forbidden_is_told_with_its_own_words(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert probing.fault_of("bubblewrap") == "bubblewrap does not work here: bwrap: setting up uid map: Permission denied"


def test_walls_with_a_hole_do_not_stand(monkeypatch):
    allowed = confinement.Confinement.about

    def with_a_hole(self) -> dict:
        about = allowed(self)
        return about | {"allowed": [*about["allowed"], (tempfile.gettempdir(), landlock.RUN)]}

    monkeypatch.setattr(confinement.Confinement, "about", with_a_hole)
    fault = probing.fault_of("landlock")
    assert fault == "Landlock does not hold here: a file of this machine can be read, a folder of this machine can be listed"


def test_a_kernel_without_landlock_is_told(monkeypatch):
    class Refusing:
        @staticmethod
        def syscall(*_arguments: object) -> int:
            import ctypes

            ctypes.set_errno(95)
            return -1

    with pytest.raises(OSError, match="Landlock: Operation not supported"):
        landlock.abi(Refusing())  # type: ignore[arg-type]
    assert landlock.abi(libc) >= 1


def test_nothing_is_run_when_neither_stands_and_both_reasons_are_told(honest_unit, monkeypatch, tmp_path):
    monkeypatch.delenv(probing.FORCED, raising=False)
    without_bubblewrap(monkeypatch, tmp_path)
    monkeypatch.setattr(probing, "_found", {("", None): probing.Walls("none", "bubblewrap is not installed; Landlock: Function not implemented")})
    discard_zygotes()
    before = below()
    with pytest.raises(RuntimeError, match="bubblewrap is not installed; Landlock: Function not implemented"):
        run_unit(honest_unit)
    assert below() == before


def test_a_course_within_the_interpreter_is_left_out_of_what_is_open(tmp_path):
    for name in ("site-packages/autograder", "site-packages/numpy", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "site-packages" / "six.py").write_text("")
    (tmp_path / "alias").symlink_to(tmp_path / "site-packages")
    opened, listed = confinement.around([str(tmp_path)], [str(tmp_path / "site-packages" / "autograder")])
    assert sorted(Path(path).name for path in opened) == ["bin", "numpy", "six.py"]
    assert [Path(path).name for path in listed] == [tmp_path.name, "site-packages"]


@pytest.mark.slow
def test_whoever_grades_is_told_once_when_it_is_landlock(tmp_path, monkeypatch):
    from autograder.gradebook import classroom

    monkeypatch.setenv(probing.FORCED, "landlock")
    classroom.create(tmp_path / "class", ["03"], quiet=True)
    for student in ("ada", "ben"):
        place = tmp_path / "class" / "submitted" / student / "03_backprop"
        place.mkdir(parents=True)
        (place / "03_backprop.ipynb").write_text("none")
    answer = CliRunner().invoke(autograder, ["grade", str(tmp_path / "class"), "--jobs", "1"])
    assert answer.exit_code == 0 and " ".join(answer.stderr.split()).count("shut in by Landlock") == 1
    again = CliRunner().invoke(autograder, ["grade", str(tmp_path / "class"), "--jobs", "1"])
    assert "Landlock" not in again.stderr, "nothing was to be done"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="this is an ordinary user")
def test_all_of_this_holds_for_an_ordinary_user_as_well():
    """Who owns, unlike the users that root makes, the files and processes outside. (The capability is for interpreters in root's own home.)"""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    who = ["--reuid=4242", "--regid=4242", "--clear-groups", "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # not below pytest's own folder, through which none but root may pass
        os.chown(place, 4242, 4242)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--basetemp={place}/tests", __file__]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment = kept | {"HOME": place, "TMPDIR": place, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(["setpriv", *who, "--", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-3000:]

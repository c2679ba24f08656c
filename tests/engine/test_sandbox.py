"""The walls around student code, tried from within by a real submission, and what is left of it afterwards."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from processes import below

from autograder.engine import sandbox, wire
from autograder.engine.sandbox import Limits
from autograder.engine.worker import Zygote, ZygoteError

pytestmark = pytest.mark.sandbox
FENCED = ("course_lib.scratch.functional",)
LIMITS = Limits(memory=400 * 2**20, processes=16, file=4 * 2**20, scratch=8 * 2**20, cpu_seconds=3)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote(FENCED) as one:
        yield one


def cell(stream: socket.socket, source: str, seconds: float = 5, output: int = 20_000) -> tuple[str, str]:
    """Run a cell. → how it ended, and what it printed or raised"""
    wire.send(stream, (b"t", "cell", source, seconds, output))
    token, outcome, outputs, _seconds = wire.receive(stream, time.monotonic() + seconds + 5)
    assert token == b"t"
    return outcome, "".join(one.get("text", "") + one.get("ename", "") for one in outputs)


@contextmanager
def running(zygote: Zygote, limits: Limits = LIMITS) -> Iterator[socket.socket]:
    """A submission that is ended whatever happens."""
    with zygote.start(limits) as stream:
        try:
            yield stream
        finally:
            zygote.end()


def said(zygote: Zygote, source: str) -> str:
    """What one cell prints in a submission of its own."""
    with running(zygote) as stream:
        return cell(stream, source)[1].strip()


SEEN = {
    "it is process 1 of its own": ("import os; print(os.getpid(), os.getppid())", "1 0"),
    "it leads a group and a session of its own": ("import os; print(os.getpgrp(), os.getsid(0))", "1 1"),
    "it is nobody": ("import os; print(os.getuid(), os.geteuid(), os.getgid(), os.getgroups())", "65534 65534 65534 []"),
    "it has no capabilities": (
        "import ctypes; data = (ctypes.c_uint32 * 6)()\n"
        "ctypes.CDLL(None).capget(ctypes.byref((ctypes.c_uint32 * 2)(0x20080522, 0)), data); print(*data)",
        "0 0 0 0 0 0",
    ),
    "it can gain none": ("import ctypes; print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))", "1"),
    "there is no /proc": ("import os; print(os.listdir('/proc'))", "[]"),
    "scratch is empty": ("import os; print(os.listdir('/scratch'), os.getcwd(), os.path.expanduser('~'))", "[] /scratch /scratch"),
    "the environment is what the sandbox says": (
        "import os; print(sorted(set(os.environ) - {'PWD', 'KMP_DUPLICATE_LIB_OK', 'KMP_INIT_AT_FORK'}))",
        str(sorted(sandbox.environment())),
    ),
    "no descriptor is open but the stream and nothing": (
        "import os, stat\nfor f in range(256):\n    try: print(f > 2, stat.S_ISSOCK(os.fstat(f).st_mode), end=' ')\n    except OSError: pass",
        "False False False False False False True True",
    ),
    "there is no interface but the loopback": (
        "import socket; print([socket.if_indextoname(1)], end=' '); socket.if_indextoname(2)",
        "['lo'] OSError",
    ),
    "no socket but of the common kinds": (
        "import socket\nfor family in (1, 2, 10, 16, 17, 40):\n    try: print(family, bool(socket.socket(family)), end=' ')\n"
        "    except OSError: print(family, 'closed', end=' ')",
        "1 True 2 True 10 True 16 closed 17 closed 40 closed",
    ),
}


@pytest.mark.parametrize("what", SEEN)
def test_from_within_the_sandbox(what, zygote):
    source, expected = SEEN[what]
    assert said(zygote, source) == expected


@pytest.mark.parametrize("place", ["/", "/course", "/course/course_lib", "/usr", "/dev", "/etc", os.path.dirname(os.path.realpath(os.__file__))])
def test_nothing_can_be_written_but_scratch(place, zygote):
    assert said(zygote, f"open({place!r} + '/x', 'w')").endswith("Error")
    assert said(zygote, "open('/scratch/x', 'w').write('x'); print(open('/scratch/x').read())") == "x"


def test_nothing_of_this_machine_is_seen_but_the_interpreter_and_the_open_course(zygote):
    root = Path(__file__).parents[2]
    seen = said(
        zygote, f"import os; print([os.path.exists(p) for p in ({str(root / 'solutions')!r}, {str(root / 'autograder')!r}, '/etc/passwd', '/home')])"
    )
    assert seen == "[False, False, False, False]"
    assert said(zygote, "import os; print(sorted(os.listdir('/course')), os.listdir('/course/autograder/exercises'))") == (
        "['autograder', 'course_lib'] ['__init__.py']"
    )


def test_a_module_that_answers_is_closed_with_a_clear_message_and_others_are_open(zygote):
    with running(zygote) as stream:
        assert cell(stream, "import course_lib.scratch.functional") == ("error", "ImportError")
        assert cell(stream, "try: import course_lib.scratch.functional\nexcept ImportError as e: print(e)")[1].count("closed here") == 1
        assert cell(stream, "import course_lib.data, course_lib.scratch.autograd; print(1)") == ("done", "1\n")


def test_two_submissions_share_nothing(zygote):
    marks = "builtins.mark = numpy.mark = secret = 1\nos.environ['MARK'] = '1'\nopen('/scratch/mark', 'w').write('x')\nprint(os.listdir('/scratch'))"
    look = "print(os.listdir('/scratch'), hasattr(builtins, 'mark'), hasattr(numpy, 'mark'), 'MARK' in os.environ, 'secret' in globals())"
    imports = "import os, builtins, numpy\n"
    assert said(zygote, imports + marks) == "['mark']"
    assert said(zygote, imports + look) == "[] False False False False"


CLOSED = {
    "a new user namespace": "libc.unshare(0x10000000)",
    "a new mount namespace": "libc.unshare(0x20000)",
    "a new namespace by clone": "libc.syscall(56, 0x10000011, 0, 0, 0, 0)",
    "a mount": "libc.mount(b'x', b'/scratch', b'tmpfs', 0, None)",
    "taking a mount away": "libc.umount2(b'/proc', 2)",
    "another root": "libc.chroot(b'/scratch')",
    "tracing": "libc.ptrace(0, 0, 0, 0)",
    "memory without a file": "libc.memfd_create(b'x', 0)",
    "memory that outlives a process": "libc.shmget(7, 4096, 0o1600)",
    "the keyring": "libc.syscall(248, b'user', b'k', b'v', 1, -3)",
    "a program for the kernel": "libc.syscall(321, 0, 0, 0)",
    "the second table of calls": "libc.syscall(0x40000000 + 39)",
    "asynchronous input and output": "libc.syscall(425, 4, 0)",
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of calls are those of x86-64")
@pytest.mark.parametrize("what", CLOSED)
def test_a_call_that_no_notebook_needs_is_closed(what, zygote):
    source = f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.mount.argtypes = None\nprint({CLOSED[what]}, ctypes.get_errno())"
    assert said(zygote, source) == "-1 1"


def test_programs_and_threads_run_all_the_same(zygote):
    source = (
        "import subprocess, threading, multiprocessing\nprint(subprocess.run(['echo', 'a'], capture_output=True, text=True).stdout)\n"
        "t = threading.Thread(target=print, args=('b',)); t.start(); t.join()\n"
        "p = multiprocessing.get_context('fork').Process(target=int); p.start(); p.join(); print(p.exitcode)"
    )
    assert said(zygote, source).split() == ["a", "b", "0"]


def how_it_ends(zygote: Zygote, source: str) -> dict:
    with zygote.start(LIMITS) as stream:
        hung_up = False
        try:
            cell(stream, source, seconds=40)
        except wire.Closed:
            hung_up = True
        finally:
            ended = zygote.end(hung_up)
    return ended


HOG = "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        {}x = bytearray(b'x' * (90 * 2**20)); time.sleep(60)\ntime.sleep(60)"
MEMORY = {
    "of one process": "x = []\nwhile True: x.append(bytearray(b'x' * 2**20))",
    "of several": HOG.format(""),
    "of several that forbid the look": HOG.format("import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); "),
    "that is shared": "import mmap, os, time\nx = mmap.mmap(-1, 700 * 2**20)\nos.fork()\nfor i in range(0, len(x), 4096): x[i] = 1\ntime.sleep(60)",
}


@pytest.mark.parametrize("what", MEMORY)
def test_memory_has_a_limit(what, zygote):
    outcome = how_it_ends(zygote, f"try:\n    exec({MEMORY[what]!r})\nexcept MemoryError:\n    import os; os._exit(9)")
    assert outcome["how"] == "memory" or (what == "of one process" and outcome["detail"] == "exit code 9"), outcome


def test_processor_time_has_a_limit_which_no_handler_escapes(zygote):
    deaf = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
    ended = how_it_ends(zygote, deaf + "while True:\n    try:\n        while True: pass\n    except BaseException: pass")
    assert ended["how"] == "cpu" and "3 s" in ended["detail"]


LIMITED = {  # what is done again and again, and how often it may succeed
    "processes": ("if os.fork() == 0: time.sleep(60)", 15),
    "threads": ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", 15),
    "the size of a file": ("with open('/scratch/x', 'ab') as file: file.write(bytes(2**20))", 4),
    "scratch": ("Path(f'/scratch/{n}').write_bytes(bytes(2**20))", 8),
    "files": ("Path(f'/scratch/{n}').touch()", 10_000),
    "shared memory": ("Path(f'/dev/shm/{n}').write_bytes(bytes(2**10))", 4),
    "descriptors": ("kept.append(os.open('/dev/null', 0))", 256),
}


@pytest.mark.parametrize("what", LIMITED)
def test_there_is_a_limit_of(what, zygote):
    action, most = LIMITED[what]
    source = "import os, time, threading\nfrom pathlib import Path\nn, kept = 0, []\ntry:\n    while True:\n        {}\n        n += 1\n"
    source += "except (OSError, RuntimeError): pass\nprint(n)"
    assert 1 <= int(said(zygote, source.replace("{}", action))) <= most


def test_processes_are_counted_for_each_submission_and_not_for_the_machine(zygote):
    with Zygote(FENCED) as other, running(other) as bombed:
        full = "import os, time\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(60)\nexcept OSError: print('full')"
        assert cell(bombed, full)[1] == "full\n"
        assert said(zygote, "import os, time\nfor n in range(8):\n    if os.fork() == 0: time.sleep(60)\nprint('fine')") == "fine"


def test_output_is_cut_inside_already_and_costs_no_memory(zygote):
    with zygote.start(LIMITS) as stream:
        outcome, text = cell(stream, "for _ in range(40_000): print('x' * 10_000)", seconds=8, output=5000)
        peak = zygote.end()["peak_bytes"]
    assert (outcome, len(text) < 5100) == ("done", True)
    assert peak < 400 * 2**20


STAYING = {
    "double forks": "for _ in '123':\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0: time.sleep(600)\n        os._exit(0)",
    "deaf to signals": "import subprocess\nsubprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" 1 2 15; while :; do sleep 1; done'])",
    "stopped": "if os.fork() == 0: os.kill(os.getpid(), 19)",
    "signals to all": "for number in 9, 15, 19:\n    for pid in (0, -1, 1, 2, 3):\n        try: os.kill(pid, number)\n        except OSError: pass",
    "not to die with a parent": "import ctypes\nif os.fork() == 0:\n    ctypes.CDLL(None).prctl(1, 0), time.sleep(600)",
}


@pytest.mark.parametrize("what", STAYING)
def test_every_process_is_dead_when_the_submission_has_ended(what, zygote):
    before = below()
    with running(zygote) as stream:
        assert cell(stream, "import os, time\n" + STAYING[what])[0] == "done"
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert below() == before
    assert said(zygote, "print('next')") == "next"


def test_a_zygote_lives_through_fifty_submissions_on_the_same_memory(zygote):
    inner = next(child for child in psutil.Process(zygote._process.pid).children(recursive=True) if "python" in child.name())
    said(zygote, "print(1)")
    before, descriptors = inner.memory_info().rss, inner.num_fds()
    for number in range(50):
        assert said(zygote, f"x = [0] * 10**6; print({number})") == str(number)
    assert inner.memory_info().rss - before < 2 * 2**20
    assert inner.num_fds() == descriptors


def test_a_submission_that_ends_by_itself_says_how(zygote):
    assert how_it_ends(zygote, "import os; os._exit(5)")["detail"] == "exit code 5"
    assert how_it_ends(zygote, "import ctypes; ctypes.string_at(0)")["detail"] == "signal SIGSEGV"
    assert how_it_ends(zygote, "print(1)")["how"] == "ended"


def test_a_zygote_that_is_killed_is_noticed_and_takes_everything_with_it():
    before = below()
    with Zygote(FENCED) as one:
        with one.start(LIMITS) as stream:
            cell(stream, "import os, time\nif os.fork() == 0: time.sleep(600)")
            next(child for child in psutil.Process(one._process.pid).children(recursive=True) if "python" in child.name()).kill()
            with pytest.raises((ZygoteError, OSError)):
                one.end()
        deadline = time.monotonic() + 5
        while below() - before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert below() == before


def test_a_trusted_side_that_dies_leaves_no_process():
    before = below()
    one = Zygote(FENCED)
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


def test_a_course_within_the_interpreter_is_hidden(tmp_path, monkeypatch):
    for name in ("autograder", "course_lib"):
        (tmp_path / "site-packages" / name).mkdir(parents=True)
    monkeypatch.setattr(sandbox, "ROOT", tmp_path / "site-packages")
    assert sandbox.closed_within([str(tmp_path)]) == [str(tmp_path / "site-packages" / name) for name in ("autograder", "course_lib")]
    assert sandbox.closed_within([str(tmp_path / "elsewhere")]) == []

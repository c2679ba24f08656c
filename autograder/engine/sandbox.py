"""The walls around student code: what it may see and use. Trusted side.

bubblewrap makes the outer walls once for each zygote: no network, no view of anything but the interpreter, its packages and the course's open
parts, nothing writable but scratch, no environment. The zygote makes the inner ones anew for each submission. Started by root, the zygote
runs as nobody. What stands where bubblewrap does not work is in `confinement`; which of the two stands here, in `probing`.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autograder.release.chapters import ROOT

NOBODY = 65534
COURSE = "/course"
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin")
SETTINGS = ("/etc/ld.so.cache", "/etc/fonts", "/etc/alternatives")
SCRATCH = "/scratch"  # not /tmp: the interpreter may lie below that, and private scratch would hide it
FENCE = """raise ImportError(
    f"{__name__} answers exercises of the chapter that is being graded, so it is closed here. Use what you wrote in the notebook."
)
"""
# What is open of the grader.
INSIDE = ("begin", "confined", "inside", "keeper", "landlock", "namespaces", "seccomp", "ways_out", "wire", "zygote")
OPEN = ("__init__.py", "errors.py", "checking", "engine/__init__.py", *(f"engine/{name}.py" for name in INSIDE))


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    cell, call      seconds of wall time for one cell, and for one call by a check beyond what the exercise allows
    submission      seconds of wall time for the whole notebook
    cpu_seconds     seconds of processor time of its first process, and of each that it starts
    memory          bytes of memory of all its processes that they do not share with the zygote
    processes       processes and threads
    file, scratch   bytes of the largest file, and of all files in the scratch folder together
    output          bytes of output that are kept of one cell
    """

    cell: float = 30
    call: float = 2
    submission: float = 300
    cpu_seconds: int = 240
    memory: int = 1536 * 2**20
    processes: int = 64
    file: int = 64 * 2**20
    scratch: int = 128 * 2**20
    output: int = 200_000


def open_course(folder: Path, fenced: Iterable[str]) -> None:
    """Copy into `folder` what student code may see: course_lib without the modules that answer the chapter, and the machinery of checks.

    A copy, because a bind of the real folders would also show what appears in them later, such as the compiled form of a closed module.
    """
    no_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "course_lib", folder / "course_lib", ignore=no_bytecode)
    for name in OPEN:
        source, target = ROOT / "autograder" / name, folder / "autograder" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, ignore=no_bytecode) if source.is_dir() else shutil.copy(source, target)
    (folder / "autograder" / "exercises").mkdir()
    (folder / "autograder" / "exercises" / "__init__.py").write_text('"""Closed while a class is graded."""\n')
    for module in fenced:
        path = folder / Path(*module.split(".")).with_suffix(".py")
        if not path.is_file():
            raise ValueError(f"{module} is to be closed, but there is no such module")
        path.write_text(FENCE)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def command(course: Path, control: int, program: str = "zygote", arguments: Iterable[str] = ()) -> list[str]:
    """The command that starts a zygote, or another of the engine's programs, behind bubblewrap; `course` is what `open_course` made."""
    prefixes = shown_prefixes()
    root = os.geteuid() == 0
    parts = [shutil.which("bwrap") or "bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if not root:
        parts += ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    parts += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"]
    for name, value in environment().items():
        parts += ["--setenv", name, value]
    parts += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", SCRATCH]
    for system in SYSTEM:
        path = Path(system)
        if path.is_symlink():
            parts += ["--symlink", os.readlink(path), system]
        elif path.is_dir():
            parts += ["--ro-bind", system, system]
    parts += ["--perms", "0755", "--dir", "/etc"]
    for system in SETTINGS:
        parts += ["--ro-bind-try", system, system]
    for prefix in prefixes:
        if not prefix.startswith("/usr/"):
            parts += [*_open_parents(prefix), "--ro-bind", prefix, prefix]
    for hidden in closed_within(["/usr", *prefixes]):
        parts += ["--tmpfs", hidden, "--remount-ro", hidden]
    parts += ["--ro-bind", str(course), COURSE]
    parts += ["--remount-ro", "/dev", "--remount-ro", "/tmp", "--remount-ro", "/", "--chdir", SCRATCH]
    if root:
        parts += ["--", shutil.which("setpriv") or "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", "--"]
    else:
        parts += ["--"]
    return [*parts, *start(program, COURSE, control, {"kind": "bubblewrap"}, arguments)]


def start(program: str, course: str, control: int, walls: dict, arguments: Iterable[str] = ()) -> list[str]:
    """The command that starts a program of the engine from the open course. walls: what `begin` is to make"""
    python = str(Path(sys.prefix) / "bin" / "python") if sys.prefix != sys.base_prefix else sys.executable
    return [python, "-I", "-c", START, course, f"autograder.engine.{program}", str(control), json.dumps(walls), *arguments]


def shown_prefixes() -> list[str]:
    """The folders of the interpreter and its packages."""
    return list(dict.fromkeys(str(Path(prefix).resolve()) for prefix in (sys.base_prefix, sys.prefix)))


def closed_within(shown: Iterable[str]) -> list[str]:
    """Folders with answers or with others' work that lie within folders that are shown: the course, when installed there; nbgrader's exchange."""
    closed = [*(ROOT / name for name in ("autograder", "course_lib", "solutions", "tests")), Path("/usr/local/share/nbgrader")]
    return [str(path) for path in closed if path.is_dir() and any(path.is_relative_to(folder) for folder in shown)]


def _open_parents(path: str) -> list[str]:
    """The folders above a bind, for everybody to pass through; bubblewrap would make them for root alone."""
    above = reversed(Path(path).parents[:-1])
    return [part for folder in above for part in ("--perms", "0755", "--dir", str(folder))]


START = """import importlib, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
program = sys.argv[2]
del sys.argv[1:3]
importlib.import_module(program).main()
"""


def environment(scratch: str = SCRATCH) -> dict[str, str]:
    """All that student code sees of an environment."""
    return {
        "PATH": "/usr/bin:/bin", "HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8", "USER": "nobody",
        "MPLBACKEND": "agg", "MPLCONFIGDIR": f"{scratch}/mpl", "IPYTHONDIR": f"{scratch}/ipython", "JUPYTER_PLATFORM_DIRS": "1",
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
        "COURSE_PROGRESS": "off", "COURSE_GRADING": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
    }  # fmt: skip

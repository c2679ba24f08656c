"""UNTRUSTED SIDE. Landlock: a process gives up, for itself and all that it starts, every file that is not on a list.

The kernel's interface has no name in the C library, so it is called by number; the numbers are the same on every machine. What the kernel can
guard has grown with the version of that interface (its ABI); here everything is asked for that it knows.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
TELL_VERSION, PATH_BENEATH = 1, 1
LATEST = 7  # with it came nothing to guard, but ways to keep a log

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # what can be allowed for a file; the rest is for folders
RUN, LIST = EXECUTE | READ_FILE | READ_DIR, READ_DIR
# ABI → everything that it guards of files: renaming between folders came with 2, truncating with 3, control of devices with 5.
FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
TCP, TCP_SINCE = 0b11, 4  # binding and connecting
SCOPES, SCOPES_SINCE = 0b11, 6  # abstract names of sockets, and signals, stay among the processes that are shut in together


def abi(libc: ctypes.CDLL) -> int:
    """The version of Landlock in this kernel, at most the latest that is known here. OSError says why there is none."""
    return min(_call(libc, "Landlock", CREATE_RULESET, None, 0, TELL_VERSION), LATEST)


def restrict(libc: ctypes.CDLL, version: int, allowed: Iterable[tuple[str, int]]) -> None:
    """Nothing but `allowed`, (path, rights) each, can be reached from here on. OSError when the kernel refuses. Wants no_new_privs.

    Paths that are not there are left out. version  what `abi` said, or less
    """
    guarded = FILES[min(version, max(FILES))]
    attributes = struct.pack("QQQ", guarded, TCP if version >= TCP_SINCE else 0, SCOPES if version >= SCOPES_SINCE else 0)
    size = 8 if version < TCP_SINCE else 16 if version < SCOPES_SINCE else 24
    rules = _call(libc, "landlock_create_ruleset", CREATE_RULESET, attributes, size, 0)
    try:
        for path, rights in allowed:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                possible = guarded if stat.S_ISDIR(os.fstat(place).st_mode) else guarded & OF_FILES
                _call(libc, f"landlock_add_rule for {path}", ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights & possible, place), 0)
            finally:
                os.close(place)
        _call(libc, "landlock_restrict_self", RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


ALL_BUT_DEVICES = FILES[5] & ~(MAKE_CHAR | MAKE_BLOCK)


def _call(libc: ctypes.CDLL, what: str, number: int, *arguments: int | bytes | None) -> int:
    result = libc.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result

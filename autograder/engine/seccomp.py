"""UNTRUSTED SIDE. System calls that no notebook needs, closed for good by a filter in the kernel.

Namespaces and dropped capabilities already take away what these calls could reach. The filter takes away what is left: sockets that no network
namespace confines (vsock), memory that no limit counts (memfd, System V), keyrings that outlive a process, new namespaces with new privileges,
and the parts of the kernel in which most ways out of a sandbox have been found.
"""

import ctypes
import errno
import os
import platform
import struct

PR_SET_SECCOMP, MODE_FILTER = 22, 2
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16  # where they stand in what the kernel shows the filter
X32 = 0x40000000  # a second table of calls on x86-64
NEW_NAMESPACES = 0x7E020000  # every flag of clone that makes one
FAMILIES = (1, 2, 10)  # of sockets: Unix, IPv4, IPv6

# name → its number on x86-64 and on arm64, as the kernel's tables have them.
CLOSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "personality": (135, 92),
}
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the tables above, the kernel's number of the machine


def known() -> bool:
    """Are the numbers of this machine's calls known here?"""
    return platform.machine() in MACHINES


def close_calls(libc: ctypes.CDLL) -> None:
    """Install the filter, for this process and all that it starts. OSError when the kernel refuses. Wants no_new_privs."""
    program = b"".join(_program(*MACHINES[platform.machine()]))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, header, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _program(column: int, machine: int) -> list[bytes]:
    """The filter in the kernel's packet-filter language: one test after the other, each with its own way out."""
    refuse, pretend_absent = _return(ERRNO | errno.EPERM), _return(ERRNO | errno.ENOSYS)
    program = [_step(LOAD, MACHINE), _step(EQUAL, machine, 1, 0), _return(KILL), _step(LOAD, NUMBER)]
    if column == 0:
        program += [_step(AT_LEAST, X32, 0, 1), refuse]
    for numbers in CLOSED.values():
        program += [_step(EQUAL, numbers[column], 0, 1), refuse]
    # The C library takes clone when there is no clone3; clone3 keeps its flags in memory, where no filter sees them.
    program += [_step(EQUAL, CLONE3[column], 0, 1), pretend_absent]
    program += [_step(EQUAL, CLONE[column], 0, 4), _step(LOAD, FIRST_ARGUMENT), _step(ANY_BIT, NEW_NAMESPACES, 0, 1), refuse, _return(ALLOW)]
    program += [_step(EQUAL, SOCKET[column], 0, 2 + len(FAMILIES)), _step(LOAD, FIRST_ARGUMENT)]
    program += [_step(EQUAL, family, len(FAMILIES) - place, 0) for place, family in enumerate(FAMILIES)]
    return [*program, refuse, _return(ALLOW)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _return(value: int) -> bytes:
    return _step(RETURN, value)

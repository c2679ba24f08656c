"""UNTRUSTED SIDE. System calls that no notebook needs, closed for good by a filter in the kernel.

Namespaces and dropped capabilities already take away what these calls could reach. The filter takes away what is left: sockets that no network
namespace confines (vsock), memory that no limit counts (memfd, System V), keyrings that outlive a process, new namespaces with new privileges,
and the parts of the kernel in which most ways out of a sandbox have been found. Where there are no namespaces, it has to take away
more in their place: see `CLOSED_ALONE` and what follows it.
"""

import ctypes
import errno
import os
import platform
import struct

PR_SET_SECCOMP, MODE_FILTER = 22, 2
LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
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
# Closed too where no namespace confines them: what reaches other processes, leaves the process group or outlives the submission. A socket could name
# any other's, so there are only pairs of them; a message could carry descriptors to where nobody counts them.
CLOSED_ALONE = {
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "name_to_handle_at": (303, 264),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "syslog": (103, 116),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    # Whoever may write to a file, or owns it, may change these of it wherever it lies: Landlock does not guard them.
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
# Closed for the same reasons, but done in appearance: programs ask for these as a matter of course, and get on without.
IDLE_ALONE = {
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
# Closed when all of some (word, mask, "is" or "is not", value) hold; word 2n is the lower half of argument n.
CLOSED_IF = (
    ((44, 206), [(8, 0xFFFFFFFF, "is not", 0)]),  # sendto an address, which stands in either half of a word
    ((44, 206), [(9, 0xFFFFFFFF, "is not", 0)]),
    ((53, 199), [(2, 0xF, "is not", 1), (2, 0xF, "is not", 5)]),  # socketpair of a kind that can be sent elsewhere
    ((157, 167), [(0, 0xFFFFFFFF, "is", 1)]),  # prctl: to outlive its parent
    ((157, 167), [(0, 0xFFFFFFFF, "is", 4)]),  # prctl: to forbid the keeper the look
    ((302, 261), [(0, 0xFFFFFFFF, "is not", 0)]),  # prlimit64 of another process
    ((141, 140), [(0, 0xFFFFFFFF, "is not", 0)]),  # setpriority of a group or a user
    ((141, 140), [(2, 0xFFFFFFFF, "is not", 0)]),  # setpriority of another process
    ((203, 122), [(0, 0xFFFFFFFF, "is not", 0)]),  # sched_setaffinity of another process, and so on
    ((144, 119), [(0, 0xFFFFFFFF, "is not", 0)]),
    ((142, 118), [(0, 0xFFFFFFFF, "is not", 0)]),
    ((314, 274), [(0, 0xFFFFFFFF, "is not", 0)]),
    ((72, 25), [(2, 0xFFFFFFFF, "is", 8)]),  # fcntl: whom to signal
    ((72, 25), [(2, 0xFFFFFFFF, "is", 15)]),
    ((16, 29), [(2, 0xFFFFFFFF, "is", 0x8901)]),  # ioctl: whom to signal
    ((16, 29), [(2, 0xFFFFFFFF, "is", 0x8902)]),
    ((16, 29), [(2, 0xFFFFFFFF, "is", 0x40086602)]),  # ioctl: attributes of files
    ((16, 29), [(2, 0xFFFFFFFF, "is", 0x401C5820)]),
)
SIGNALS_TO_OTHERS = {"tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424)}
KILLING, THREAD_KILLING = (62, 129), (234, 131)
SHORTENING = {"truncate": (76, 45), "openat2": (437, 437)}
OPEN, OPENAT, HOW, TO_READ, FOR_NOTHING = (2, None), (257, 56), 0o1003, 0o1000, 0o1003  # flags: truncate, and what it is opened for
SCOPED_SINCE, TRUNCATE_SINCE = 6, 3  # versions of Landlock
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the tables above, the kernel's number of the machine


def known() -> bool:
    """Are the numbers of this machine's calls known here?"""
    return platform.machine() in MACHINES


def close_calls(libc: ctypes.CDLL, landlock: int | None = None) -> None:
    """Install the filter, for this process and all that it starts. OSError when the kernel refuses. Wants no_new_privs.

    landlock  its version, where that is all there is beside the filter
    """
    program = b"".join(_program(*MACHINES[platform.machine()], landlock))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, header, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _program(column: int, machine: int, landlock: int | None) -> list[bytes]:
    """The filter in the kernel's packet-filter language: one test after the other, each with its own way out."""
    refuse, pretend_absent = _return(ERRNO | errno.EPERM), _return(ERRNO | errno.ENOSYS)
    program = [_step(LOAD, MACHINE), _step(EQUAL, machine, 1, 0), _return(KILL), _step(LOAD, NUMBER)]
    if column == 0:
        program += [_step(AT_LEAST, X32, 0, 1), refuse]
    for numbers in CLOSED.values():
        program += [_step(EQUAL, numbers[column], 0, 1), refuse]
    if landlock:
        program += _in_place_of_namespaces(column, landlock)
        program += [_step(LOAD, NUMBER)]
    # The C library takes clone when there is no clone3; clone3 keeps its flags in memory, where no filter sees them.
    program += [_step(EQUAL, CLONE3[column], 0, 1), pretend_absent]
    program += [_step(EQUAL, CLONE[column], 0, 4), _step(LOAD, FIRST_ARGUMENT), _step(ANY_BIT, NEW_NAMESPACES, 0, 1), refuse, _return(ALLOW)]
    program += [_step(EQUAL, SOCKET[column], 0, 2 + len(FAMILIES)), _step(LOAD, FIRST_ARGUMENT)]
    program += [_step(EQUAL, family, len(FAMILIES) - place, 0) for place, family in enumerate(FAMILIES)]
    return [*program, refuse, _return(ALLOW)]


def _in_place_of_namespaces(column: int, landlock: int) -> list[bytes]:
    refuse, idle = _return(ERRNO | errno.EPERM), _return(ERRNO | 0)
    closed, conditional = dict(CLOSED_ALONE), list(CLOSED_IF)
    if landlock < SCOPED_SINCE:  # nothing but the filter stands between its signals and others
        closed |= SIGNALS_TO_OTHERS
        itself = (0, 0xFFFFFFFF, "is not", os.getpid())
        conditional += [(KILLING, [itself, (0, 0xFFFFFFFF, "is not", 0)]), (THREAD_KILLING, [itself])]
    if landlock < TRUNCATE_SINCE:
        closed |= SHORTENING
        conditional += [(call, [(word, HOW, "is", what)]) for call, word in ((OPEN, 2), (OPENAT, 4)) for what in (TO_READ, FOR_NOTHING)]
    program = []
    for numbers, answer in [*((numbers, refuse) for numbers in closed.values()), *((numbers, idle) for numbers in IDLE_ALONE.values())]:
        if (number := numbers[column]) is not None:
            program += [_step(EQUAL, number, 0, 1), answer]
    for numbers, conditions in conditional:
        if (number := numbers[column]) is None:
            continue
        rest = []
        for word, mask, relation, value in reversed(conditions):
            past = len(rest) + 1  # over the other conditions and the refusal
            jumps = (0, past) if relation == "is" else (past, 0)
            rest = [_step(LOAD, FIRST_ARGUMENT + 4 * word), _step(AND, mask), _step(EQUAL, value, *jumps), *rest]
        program += [_step(LOAD, NUMBER), _step(EQUAL, number, 0, len(rest) + 1), *rest, refuse]
    return program


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _return(value: int) -> bytes:
    return _step(RETURN, value)

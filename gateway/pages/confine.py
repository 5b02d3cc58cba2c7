"""Takes from a process what a converter does not need: the network, other programs, memory and time without end.

`no_network` is called once in the fence's server, and every job inherits it; `limit` is called in each job. Linux only
where it says so; elsewhere the limits alone hold, and the words returned say that.
Sources: unshare(2), prctl(2), seccomp(2), setrlimit(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.pages import landlock

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_DUMPABLE = 1, 38, 22, 4
_SECCOMP_MODE_FILTER = 2
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | 13  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EACCES
_UNKNOWN = 0x00050000 | 38  # with ENOSYS: the C library then takes the older call
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # audit numbers
#: Refused to the server and its jobs: socket, connect, execve, execveat, ptrace, process_vm_readv, process_vm_writev,
#: io_uring_setup (it opens sockets by another way), bpf, unshare, setns, mount.
_OUTSIDE = {
    "x86_64": (41, 42, 59, 322, 101, 310, 311, 425, 321, 272, 308, 165),
    "aarch64": (198, 203, 221, 281, 117, 270, 271, 425, 280, 97, 268, 40),
}
#: Refused to a job: kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_open, pidfd_send_signal, prlimit64 (all
#: of them reach other processes of our user, the gateway too), fork, vfork. Calls of clone are looked at one by one.
_OTHERS = {
    "x86_64": (62, 200, 234, 129, 297, 434, 424, 302, 57, 58),
    "aarch64": (129, 130, 131, 138, 240, 434, 424, 261),
}
_CLONE, _CLONE3 = {"x86_64": 56, "aarch64": 220}, 435
_THREAD = 0x10000  # CLONE_THREAD: Pango looks typefaces up in threads of its own
#: Refused to a program we start, which has children and makes local sockets: connect, ptrace, process_vm_readv,
#: process_vm_writev, io_uring_setup, bpf, unshare, setns, mount. Sockets are looked at one by one.
_FOREIGN = {
    "x86_64": (42, 101, 310, 311, 425, 321, 272, 308, 165),
    "aarch64": (203, 117, 270, 271, 425, 280, 97, 268, 40),
}
_SOCKET = {"x86_64": 41, "aarch64": 198}
#: Instructions of a filter (linux/filter.h): load a word, jump if equal, at least, with a bit; answer.
_LOAD, _EQUAL, _AT_LEAST, _HAS_BIT, _ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06
_X32 = 0x40000000  # bit of the second set of system calls on x86_64: refused as a whole
_LARGEST_FILE = 512 * 1024 * 1024
_OPEN_FILES = 64
WITHIN_REACH = "within reach"  #: what the words say of a wall that is missing
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # options of mallopt
_KEPT = 1 << 28  # bytes


def no_network() -> str:
    """Give up the network for this process and its children, for good. Returns which protection holds, in words."""
    kept = []
    if sys.platform == "linux":
        if _new_namespaces():
            kept.append("no network by user namespace")
        _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # a job cannot open the memory of the server or of another job
        if _refuse_system_calls(_OUTSIDE):
            kept.append("no network and no programs by seccomp")
    return ", ".join([*kept, "limits"]) if kept else f"limits only: the network stays {WITHIN_REACH} of converters"


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def give_back_memory() -> None:
    """Return what the C library keeps for later to the system; where it has no such call, nothing happens."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_memory() -> None:
    """Let the C library keep what is freed: pages are drawn one after another in pieces of megabytes, and to get each from the
    system again costs a twentieth of the work. Where it has no such call, nothing happens."""
    option = getattr(_libc(), "mallopt", None)
    if option is not None:
        for threshold in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            option(threshold, _KEPT)


def limit(memory: int, seconds: float) -> None:
    """Bound this process: `memory` more bytes than it has now, processor time, file size, open files; no children, and no
    signals to other processes. It cannot be undone."""
    room = _size() + memory
    whole = max(1, int(seconds) + 1)
    _set_limits(
        (
            (resource.RLIMIT_AS, room, room),
            (resource.RLIMIT_CPU, whole, whole + 2),
            (resource.RLIMIT_FSIZE, _LARGEST_FILE, _LARGEST_FILE),
            (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
            (resource.RLIMIT_CORE, 0, 0),
        )
    )
    if sys.platform != "linux" or not _refuse_system_calls(_OTHERS, only_threads=True):
        _set_limits(((resource.RLIMIT_NPROC, 0, 0),))  # no threads either: some layouts will fail


def limit_program(memory: int, seconds: float) -> None:
    """Bound a program that this process becomes, with its children: address space, processor time of each, file size."""
    whole = max(1, int(seconds) + 1)
    _set_limits(
        (
            (resource.RLIMIT_AS, memory, memory),
            (resource.RLIMIT_CPU, whole, whole + 2),
            (resource.RLIMIT_FSIZE, _LARGEST_FILE, _LARGEST_FILE),
            (resource.RLIMIT_CORE, 0, 0),
        )
    )


def walls(writes: Sequence[Path], sockets: Sequence[Path]) -> str:
    """Give up the network and every file but the system's and `writes`, and yet be able to start programs and to make local
    sockets in `sockets`. Returns which protection holds, in words."""
    kept = []
    if sys.platform == "linux":
        if _new_namespaces():
            kept.append("no network by user namespace")
        if landlock.only(landlock.system(), writes, sockets):
            kept.append("own files only by Landlock")
        if _refuse_system_calls(_FOREIGN, local_sockets=True):
            kept.append("no network by seccomp")
    return ", ".join([*kept, "limits"]) if kept else f"limits only: network and files stay {WITHIN_REACH} of it"


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _set_limits(limits: Sequence[tuple[int, int, int]]) -> None:
    for what, soft, hard in limits:
        ceiling = resource.getrlimit(what)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(what, (soft, hard))


def _size() -> int:
    """Address space of this process, in bytes."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _new_namespaces() -> bool:
    """An empty network of our own; the user namespace makes it possible without privileges, and takes those we had."""
    return bool(_libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


def _refuse_system_calls(
    by_machine: Mapping[str, tuple[int, ...]], *, local_sockets: bool = False, only_threads: bool = False
) -> bool:
    """Refuse these calls for good, beside those refused before; with `local_sockets` also every socket that is not local, with
    `only_threads` also every new process that is not a thread of this one."""
    refused = by_machine.get(platform.machine(), ())
    if not refused:
        return False
    looked_at = _looked_at(local_sockets, only_threads)
    # Each jump counts the instructions it leaves out; every refusal lands on the last one.
    last = 4 + len(refused) + len(looked_at) + 1
    code = [
        (_LOAD, 0, 0, 4),  # the machine
        (_EQUAL, 0, last - 2, _MACHINES[platform.machine()]),
        (_LOAD, 0, 0, 0),  # the system call
        (_AT_LEAST, last - 4, 0, _X32),
        *((_EQUAL, last - (5 + n), 0, number) for n, number in enumerate(refused)),
        *looked_at,
        (_ANSWER, 0, 0, _ALLOW),
        (_ANSWER, 0, 0, _DENY),
    ]
    program = b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    libc = _libc()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(head), 0, 0) == 0)


def _looked_at(local_sockets: bool, only_threads: bool) -> list[tuple[int, int, int, int]]:
    """Instructions for calls that are refused by their first argument."""
    found = []
    if local_sockets:
        found += [
            (_EQUAL, 0, 3, _SOCKET[platform.machine()]),
            (_LOAD, 0, 0, 16),  # its first argument: the family
            (_EQUAL, 1, 0, socket.AF_UNIX),
            (_ANSWER, 0, 0, _DENY),
        ]
    if only_threads:
        found += [
            (_EQUAL, 0, 1, _CLONE3),
            (_ANSWER, 0, 0, _UNKNOWN),
            (_EQUAL, 0, 3, _CLONE[platform.machine()]),
            (_LOAD, 0, 0, 16),  # its first argument: the flags
            (_HAS_BIT, 1, 0, _THREAD),
            (_ANSWER, 0, 0, _DENY),
        ]
    return found

"""Which files a process may open, settled by the kernel's Landlock; it cannot be undone, and children inherit it.

A converter needs the system's programs and typefaces, its document, and a folder to write into; everything else our user
can read (the spool, the configuration with its secrets) stays closed. Sources: landlock(7), linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import gateway

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, the same on every machine
_ASK_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_SOCKET = 1, 2, 4, 8, 1 << 5, 1 << 9
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_FIRST = (1 << 13) - 1  # every right of the first version
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_TCP, _SCOPES = 3, 3  # bind and connect; abstract sockets and signals to processes outside
_NO_NEW_PRIVS = 38

_SYSTEM = (
    "/usr",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt/libreoffice",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/libreoffice",
    "/etc/localtime",
    "/var/lib/libreoffice",
    "/var/spool/libreoffice",
    "/var/cache/fontconfig",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
)


def version() -> int:
    """The kernel's version of Landlock; 0 where it has none or keeps it switched off."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)))


def system() -> tuple[Path, ...]:
    """What every converter may read: programs, libraries, typefaces, Python and this package."""
    from gateway import pages, templates

    ours = (*gateway.__path__, *pages.__path__, str(templates.built_in()))
    libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return tuple(Path(path) for path in (*_SYSTEM, sys.prefix, sys.base_prefix, *libraries, *ours))


def only(reads: Iterable[Path], writes: Iterable[Path], sockets: Iterable[Path] = ()) -> bool:
    """Open nothing from now on but these files and folders; local sockets may also be made, and files removed,
    in the folders `sockets`. False where the kernel cannot promise that."""
    held = version()
    if held < 1:
        return False
    libc = _libc()
    handled = _handled(held)
    # Later kernels take a longer structure; the first field alone is what every one of them knows.
    rules = struct.pack("=QQQ", handled, _TCP if held >= 4 else 0, _SCOPES if held >= 6 else 0)
    rules = rules[: 24 if held >= 6 else 16 if held >= 4 else 8]
    ruleset = libc.syscall(_CREATE, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0:
        return False
    try:
        for path in reads:
            _allow(libc, ruleset, path, _READ & handled)
        for path in writes:
            _allow(libc, ruleset, path, handled & ~_EXECUTE)
        for path in sockets:
            _allow(libc, ruleset, path, _MAKE_SOCKET | _REMOVE_FILE)
        _allow(libc, ruleset, Path(os.devnull), (_READ_FILE | _WRITE_FILE) & handled)
        libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _handled(held: int) -> int:
    later = ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL))
    return _FIRST | sum(right for since, right in later if held >= since)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """Allow one file, or a folder and what is in it. What does not exist needs no rule."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_A_FILE
        rule = struct.pack("=Qi", rights, place)
        if libc.syscall(_ADD, ruleset, _PATH_BENEATH, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), "a file cannot be opened to the converter")
    finally:
        os.close(place)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)

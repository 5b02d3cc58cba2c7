"""The fence's inner side: a small server that has the libraries loaded and forks one process for each job.

Started by `fence.Fence` as a program of its own. It reads requests from the control socket, each with the socket of
one job; the job's arguments come, and its progress and result go, over that one. The server knows nothing of a job but
its process, its deadline and whether the other end still listens: it ends the process when one of the two is over.

Frames on a job's socket: kind (1 byte), length (8 bytes, big-endian), content. To the job: `J` the pickled function name,
arguments and limits. From it: `P` the part it is at, `R` the pickled result, `B` a pickled BadDocument taken apart,
`M` out of memory, `D` out of room on the disk, `U` not possible now, `E` an error of ours as text; and `O`, the one question a
job may ask: an office document to be made a PDF. Its answer is `A` with the PDF, `B` or `U`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import logging
import os
import pickle
import select
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from gateway.errors import BadDocument, ConverterUnavailable
from gateway.pages import confine, landlock

FRAME = struct.Struct(">cQ")
REQUEST = struct.Struct(">dQ")  # seconds, bytes of memory
BUBBLEWRAP = "FAXGATE_IN_BUBBLEWRAP"  #: set in the environment of a server that was started in it
_WARM = "gateway.pages.warm:up"
_EQUIPMENT = "gateway.pages.equipment:describe"

_job: socket.socket | None = None  # the socket of the job this process does; None everywhere but in a job


def note(part: str) -> None:
    """Tell the other side which part is worked on now: it names the part if this process dies. Nothing outside a job."""
    if _job is not None:
        send(_job, b"P", part.encode("utf-8", "replace"))


def office(kind: str, content: bytes, most_pages: int) -> bytes:
    """An office document as PDF, by the gateway, since no program can be started from here; see `office.convert`."""
    if _job is None:
        import asyncio

        from gateway.pages import office as press

        limits = {"folder": Path(tempfile.gettempdir()), "memory": 1_000_000_000, "seconds": 60.0}
        return asyncio.run(press.convert(kind, content, most_pages=most_pages, **limits))  # type: ignore[arg-type]
    send(_job, b"O", f"{kind}\n{most_pages}\n".encode() + content)
    answer, length = FRAME.unpack(_exactly(_job, FRAME.size))
    made = _exactly(_job, length)
    if answer == b"B":
        text, reply = pickle.loads(made)  # noqa: S301 - from the gateway
        raise BadDocument(text, reply=reply)
    if answer != b"A":
        raise ConverterUnavailable(made.decode("utf-8", "replace"))
    return made


def send(to: socket.socket, kind: bytes, content: bytes) -> None:
    """Write one frame."""
    to.sendall(FRAME.pack(kind, len(content)) + content)


def serve(descriptor: int) -> None:
    """Serve until the other side closes the control socket, which is open on `descriptor`."""
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    protection = _protection()
    _call(_WARM, ())
    logging.disable(logging.CRITICAL)  # libraries tell about documents what no log should contain
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    gc.collect()
    confine.give_back_memory()
    gc.freeze()  # the forked processes then share these pages
    control.send(protection.encode())
    _Server(control).run()


def _call(name: str, arguments: tuple[object, ...]) -> object:
    """Call the function "module:name", from this package only."""
    module, _, function = name.partition(":")
    if not module.startswith("gateway.pages."):
        raise ValueError(f"{name} is no function of the pages")
    return getattr(importlib.import_module(module), function)(*arguments)


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.jobs: dict[int, tuple[socket.socket, float]] = {}  #: by process: its socket, and when it must be done
        self.wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(self.wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        while True:
            poll = select.poll()
            poll.register(self.control, select.POLLIN)
            poll.register(self.wake_read, select.POLLIN)
            watched = {}
            for pid, (link, _) in self.jobs.items():
                poll.register(link, 0)  # a hang-up is always told
                watched[link.fileno()] = pid
            next_end = min((end for _, end in self.jobs.values()), default=None)
            ready = dict(poll.poll(None if next_end is None else max(0.0, next_end - time.monotonic()) * 1000 + 1))
            for fd in ready.keys() & watched.keys():
                self.kill(watched[fd])
            for pid, (_, end) in list(self.jobs.items()):
                if time.monotonic() >= end:
                    self.kill(pid)
            if self.wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake_read, 4096)
            self.reap()
            if ready.get(self.control.fileno()) and not self.request():
                break
        for pid in list(self.jobs):
            self.kill(pid)

    def request(self) -> bool:
        """Start one job. False when the other side has gone."""
        content, descriptors, _, _ = socket.recv_fds(self.control, REQUEST.size, 1)
        if not content:
            return False
        if len(content) != REQUEST.size or len(descriptors) != 1:
            return True
        seconds, memory = REQUEST.unpack(content)
        link = socket.socket(fileno=descriptors[0])
        try:
            pid = os.fork()
        except OSError:  # no memory or no process left: the other side sees its job end at once
            link.close()
            return True
        if pid == 0:
            for other, _ in self.jobs.values():
                other.close()
            self.control.close()
            _do(link, seconds, memory)
        self.jobs[pid] = link, time.monotonic() + seconds
        return True

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)  # it is our child and not yet reaped: the number is still its own

    def reap(self) -> None:
        while self.jobs:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in self.jobs:
                self.jobs.pop(pid)[0].close()


def _do(link: socket.socket, seconds: float, memory: int) -> NoReturn:
    """One job, in its own process, to its end."""
    global _job
    with _LastWords(link):
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        confine.die_with_parent()
        function, arguments = pickle.loads(_receive(link))  # noqa: S301 - from the gateway, not from the document
        confine.limit(memory, seconds)
        confine.keep_memory()
        _own_files_only(arguments)
        _job = link
        send(link, b"R", pickle.dumps(_call(function, arguments), protocol=5))
    os._exit(0)


def _own_files_only(arguments: tuple[object, ...]) -> None:
    """Leave a job the files it was given: an existing file is read, a folder is written into, a name that is not there yet
    is written. What it describes in `reads` and `writes` (`assemble.Job`) counts as given."""
    reads, writes = list(landlock.system()), []
    for argument in arguments:
        if isinstance(argument, Path):
            if not argument.exists():
                argument.touch()
                writes.append(argument)
            (writes if argument.is_dir() else reads).append(argument)
        else:
            reads += getattr(argument, "reads", ())
            writes += getattr(argument, "writes", ())
    folders = [path for path in writes if path.is_dir()]
    tempfile.tempdir = str(folders[0]) if folders else None  # scraps of one fax are not seen by another's job
    landlock.only(reads, writes)


class _LastWords:
    """Tells the other side why a job ended early, and ends the process whatever happened."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        try:
            if _is_disk_full(error):  # whatever a library or we made of it: no document is to blame
                send(self.link, b"D", b"")
            elif isinstance(error, BadDocument):
                send(self.link, b"B", pickle.dumps((error.text, error.part, error.reply)))
            elif isinstance(error, MemoryError):
                send(self.link, b"M", b"")
            elif isinstance(error, ConverterUnavailable):
                send(self.link, b"U", error.text.encode("utf-8", "replace"))
            elif error is not None:
                send(self.link, b"E", "".join(traceback.format_exception(error))[-8000:].encode("utf-8", "replace"))
        finally:
            if error is not None:
                os._exit(1)


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _receive(link: socket.socket) -> bytes:
    kind, length = FRAME.unpack(_exactly(link, FRAME.size))
    if kind != b"J":
        raise ValueError("not a job")
    return _exactly(link, length)


def _exactly(link: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        piece = link.recv(min(1 << 20, length - len(content)))
        if not piece:
            raise EOFError("the other side has gone")
        content += piece
    return bytes(content)


def _protection() -> str:
    """Give up the network, and say in words what holds."""
    network = confine.no_network()
    if landlock.version():
        return f"{network}, own files only by Landlock"
    if os.environ.get(BUBBLEWRAP):
        return f"{network}, documents only by bubblewrap"
    return f"{network}, every file of this user {confine.WITHIN_REACH}"


def main() -> None:
    """Entry point of the server's process: the number of the control socket; `describe` to say what protects here, or
    `equipment` to say, as JSON, what there is to convert with."""
    if sys.argv[1] == "describe":
        os.write(1, _protection().encode())
    elif sys.argv[1] == "equipment":
        confine.no_network()
        os.write(1, json.dumps(_call(_EQUIPMENT, ())).encode())
    else:
        serve(int(sys.argv[1]))

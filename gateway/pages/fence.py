"""The fence: runs a converter where it can do no harm, without network, within memory and time.

    fence = Fence(memory=1_000_000_000, time_limit=60, folder=spool / "tmp")
    made = await fence.run("gateway.pages.assemble:make", job)

Each job is a process of its own, forked from a small server that has the libraries loaded (`child`), so a warm start
takes a few milliseconds and this process never loads them. What keeps a job in is settled by the kernel: Landlock and a
filter of system calls; without Landlock the server runs in bubblewrap where that works; else the filter holds alone, which
denies sockets; else the limits do, and a warning says so. The server starts with the first job, is started again if it
dies, and ends with this process. Results are read with a list of allowed types: the child has seen hostile content.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import pickle
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gateway.errors import BadDocument, ConverterUnavailable, SpoolUnavailable
from gateway.pages import child, landlock, office, sniff
from gateway.pages.child import note

__all__ = ["Fence", "describe", "equipment", "note"]

_log = logging.getLogger(__name__)

_START_LIMIT = 60.0  # seconds for the server to load its libraries on a busy machine
_GRACE = 2.0  # seconds the server has to end a job itself
_PROGRAM = "from gateway.pages.child import main; main()"
_LARGEST_RESULT = 256 * 1024 * 1024
_MOST_QUESTIONS = 50  # office documents in one mail
_QUESTION = re.compile(rb"([a-z]{1,8})\n([0-9]{1,5})\n")
_ALLOWED = frozenset(
    {
        ("gateway.pages.assemble", "Made"),
        ("gateway.pages.manifest", "ManifestEntry"),
        ("pathlib", "PosixPath"),
        ("pathlib._local", "PosixPath"),
    }
)


class Fence:
    """Runs functions of `gateway.pages` in fenced processes; any number at once. Belongs to one event loop."""

    def __init__(
        self, memory: int, time_limit: float, folder: Path, reads: Sequence[Path] = (), writes: Sequence[Path] = ()
    ) -> None:
        """`memory` in bytes and `time_limit` in seconds are for each job; `folder` holds the converters' own scraps, `reads`
        and `writes` are the files and folders that any job may be given beside it."""
        self._memory, self._time_limit, self._folder = memory, time_limit, folder
        self._reads, self._writes = tuple(reads), tuple(writes)
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._protection = ""

    async def run(self, function: str, *args: object) -> object:
        """Call `function` ("module:name") there and return its result.

        Raises BadDocument when the job says so, ConverterUnavailable, with the part it was at, when the job died, took too
        long or too much memory, or could not be started, and SpoolUnavailable when the disk is full.
        """
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                await self._request(theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            part = _Part()
            try:
                async with asyncio.timeout(self._time_limit + _GRACE):
                    return await self._conversation(reader, writer, function, args, part)
            except TimeoutError:
                raise ConverterUnavailable("the conversion took too long", part=part.title) from None
            finally:
                writer.close()  # the server ends a job whose other end is closed
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def describe(self) -> str:
        """Which protections hold: as the running server said, else as a probe says."""
        return self._protection or describe(_wrapped(self._folder, self._reads, self._writes))

    async def close(self) -> None:
        """End the server and every job. The fence may be used again; it then starts a new server."""
        async with self._starting:
            await self._stop()

    async def _conversation(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, function: str, args: tuple[object, ...], part: _Part
    ) -> object:
        """Hand over the job and listen until it has a result."""
        order = pickle.dumps((function, args), protocol=5)
        questions = 0
        try:
            writer.write(child.FRAME.pack(b"J", len(order)))
            writer.write(order)
            await writer.drain()
            while True:
                kind, length = child.FRAME.unpack(await reader.readexactly(child.FRAME.size))
                if length > _LARGEST_RESULT:
                    raise ConverterUnavailable(part=part.title)
                content = await reader.readexactly(length)
                if kind == b"P":
                    part.title = content.decode("utf-8", "replace")
                elif kind == b"O" and questions < _MOST_QUESTIONS:
                    questions += 1
                    answer, made = await self._office(content)
                    writer.write(child.FRAME.pack(answer, len(made)))
                    writer.write(made)
                    await writer.drain()
                else:
                    return _result(kind, content, part.title)
        except (asyncio.IncompleteReadError, ConnectionError) as died:
            raise ConverterUnavailable("the converter died", part=part.title) from died

    async def _office(self, question: bytes) -> tuple[bytes, bytes]:
        """The answer to a job that asks for an office document as PDF; the job may be hostile by now."""
        found = _QUESTION.match(question)
        kind = found.group(1).decode() if found else ""
        if found is None or kind not in sniff.OFFICE:
            return b"U", b"the converter failed"
        limits = {"folder": self._folder, "memory": self._memory, "seconds": self._time_limit}
        try:
            made = await office.convert(kind, question[found.end() :], most_pages=int(found.group(2)), **limits)  # type: ignore[arg-type]
        except BadDocument as refused:
            return b"B", pickle.dumps((refused.text, refused.reply))
        except ConverterUnavailable as unavailable:
            return b"U", unavailable.text.encode()
        return b"A", made

    async def _request(self, link: socket.socket) -> None:
        """Ask the server for a job that speaks on `link`; start the server if it is not there."""
        request = child.REQUEST.pack(self._time_limit, self._memory)
        for _ in range(2):
            control = await self._started()
            try:
                while True:
                    try:
                        socket.send_fds(control, [request], [link.fileno()])
                        return
                    except BlockingIOError:
                        await asyncio.sleep(0.01)
            except OSError:  # the server has died since the last job
                async with self._starting:
                    if self._control is control:
                        await self._stop()
        raise ConverterUnavailable

    async def _started(self) -> socket.socket:
        async with self._starting:
            if self._server is not None and self._server.poll() is not None:
                await self._stop()
            if self._control is None:
                await self._start()
            assert self._control is not None
            return self._control

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            wrapped = await asyncio.to_thread(_wrapped, self._folder, self._reads, self._writes)
            self._server, self._control = _spawn(wrapped, theirs.fileno(), self._folder), ours
        try:
            async with asyncio.timeout(_START_LIMIT):
                said = await asyncio.get_running_loop().sock_recv(ours, 4096)
        except (OSError, TimeoutError):
            said = b""
        except asyncio.CancelledError:
            await self._stop()
            raise
        if not said:
            await self._stop()
            raise ConverterUnavailable
        self._protection = said.decode()

    async def _stop(self) -> None:
        server, self._server = self._server, None
        control, self._control = self._control, None
        if control is not None:
            control.close()
        if server is not None:
            try:
                await asyncio.to_thread(server.wait, _GRACE)
            except subprocess.TimeoutExpired:
                server.kill()
                await asyncio.to_thread(server.wait)


class _Part:
    """The part a job is at, as it told last."""

    title = ""


def describe(wrapped: Sequence[str] | None = None) -> str:
    """Which protections hold on this machine, in words; found out by a short-lived process."""
    with tempfile.TemporaryDirectory() as folder:
        command = _wrapped(Path(folder), (), ()) if wrapped is None else wrapped
        return _said("describe", command) or "the converter cannot be started"


def equipment() -> dict[str, str]:
    """What there is to convert with on this machine, in words, by what it is for."""
    said = _said("equipment")
    found = {str(what): str(words) for what, words in json.loads(said).items()} if said else {}
    return {"office documents": office.describe(), **found}


def _said(what: str, wrapped: Sequence[str] = ()) -> str:
    """What the converter's program says about itself; "" where it does not answer: nothing else has to wait for that."""
    command = [*wrapped, *_command(what)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and program
            command, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode()


def _wrapped(folder: Path, reads: Sequence[Path], writes: Sequence[Path]) -> list[str]:
    """What the server is started with: bubblewrap, where Landlock cannot say which files a job may open and bubblewrap can
    say it of all jobs; else nothing."""
    bubblewrap = "" if landlock.version() else office.bubblewrap()
    if not bubblewrap:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    command = [*office.walled(bubblewrap), "--tmpfs", "/tmp"]  # noqa: S108 - an empty one, seen by the converters only
    for path in (*landlock.system(), *reads):
        if not path.is_relative_to("/dev") and not path.resolve().is_relative_to("/usr"):
            command += ["--ro-bind-try", str(path.resolve()), str(path.absolute())]
    for path in (folder, *writes):
        command += ["--bind-try", str(path.resolve()), str(path.absolute())]
    for name, value in (_environment() | {"TMPDIR": str(folder.resolve()), child.BUBBLEWRAP: "1"}).items():
        command += ["--setenv", name, value]
    return [*command, "--"]


def _spawn(wrapped: list[str], control: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start the server with the control socket and nothing else of ours but stderr."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.dup(control)
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [*wrapped, *_command(str(descriptor))],
            env=_environment() | {"TMPDIR": str(folder.resolve())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[descriptor],
        )
    finally:
        os.close(descriptor)


def _command(argument: str) -> list[str]:
    return [sys.executable, "-P", "-c", _PROGRAM, argument]


def _environment() -> dict[str, str]:
    """As little as possible: our own environment may hold secrets."""
    here = str(Path(__file__).resolve().parents[2])  # this package, wherever it was started from
    return {
        "PYTHONPATH": os.pathsep.join([here, *(path for path in sys.path if os.path.isabs(path) and path != here)]),
        "LANG": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _result(kind: bytes, content: bytes, part: str) -> object:
    if kind == b"R":
        return _read(content, part)
    if kind == b"B":
        match _read(content, part):
            case (str(text), str(title), str(reply)):
                raise BadDocument(text, part=title, reply=reply)
    if kind == b"U":
        raise ConverterUnavailable(content.decode("utf-8", "replace"), part=part)
    if kind == b"D":
        raise SpoolUnavailable("The disk has no room for the conversion.")
    if kind == b"M":
        raise ConverterUnavailable("the conversion took too much memory", part=part)
    if kind == b"E":
        _log.error(
            "the converter failed at %r: %s", part, content.decode("utf-8", "replace"), extra={"action": "conversion_failed"}
        )
    raise ConverterUnavailable("the converter failed", part=part)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no result")


def _read(content: bytes, part: str) -> object:
    """A value from a job, made of plain values and the types in `_ALLOWED` only."""
    try:
        return _Reader(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, EOFError) as wrong:
        raise ConverterUnavailable("the converter failed", part=part) from wrong

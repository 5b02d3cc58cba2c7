"""The far end of the adapter hylafax: a real hfaxd and its scheduler in a spool folder of their own, and a wire cutter.

There is no modem. The scheduler is told that there are some, and runs a program of ours where it would run faxsend: that
waits until the test says how the call ended, and writes it down as faxsend does (sendq(5)).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from gateway import carriers
from gateway.carriers import http
from gateway.carriers.base import Event, Order, Receipt
from gateway.carriers.hylafax import STATUSES, HylaFax, event
from gateway.carriers.hylafax_calls import Call
from gateway.carriers.hylafax_job import Name, Told
from gateway.errors import Outcome
from gateway.pages import wire
from tests.carriers.conformance import FarEnd
from tests.carriers.tools import LINE, Clock, order, tools_for
from tests.ports import free_port

LOGIN, PASSWORD, ADMIN = "gate", "Secret.4559", "Admin.4559"
_BIN = Path("/usr/lib/hylafax/bin")
_MODEMS = 3
_number = itertools.count(5_551_000)
#: exit codes of faxsend
FAILED, DONE, AGAIN = 1, 2, 0
_CALL = """\
#!/bin/sh
trap 'exit 1' TERM
for job; do :; done
while [ ! -e "verdict/${job##*/}" ]; do sleep 0.05; done
read -r status pages code text <"verdict/${job##*/}"
sed -e "s/^npages:.*/npages:$pages/" -e "s/^statuscode:.*/statuscode:$code/" -e "s/^status:.*/status:$text/" \\
    -e "s/^totdials:.*/totdials:1/" -e "s/^commid:.*/commid:00000001/" "$job" >"tmp/${job##*/}"
cat "tmp/${job##*/}" >"$job"
exit "$status"
"""


def pages(count: int = 2) -> bytes:
    """Fax pages, each with a bar of its own."""
    rows = [bytes(216 * 300 * n) + b"\xff" * 216 * 20 + bytes(216 * (2156 - 300 * n - 20)) for n in range(count)]
    return wire.profile_f([wire.Bitmap(1728, 2156, 196, row) for row in rows])


def missing() -> str:
    """Why there can be no server here; "" where there can."""
    programs = [Path("/usr/sbin/hfaxd"), Path("/usr/sbin/faxq"), _BIN / "faxmodem"]
    if without := [path.name for path in programs if not path.exists()]:
        return f"needs HylaFAX (no {', '.join(without)})"
    return "" if os.geteuid() == 0 else "needs root: HylaFAX becomes a user of its own"


class Hfaxd:
    """The server. Root only: its programs become the user uucp."""

    def __init__(self, folder: Path) -> None:
        self.spool, self.port = folder / "hylafax", free_port()
        self._programs: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        source = Path("/var/spool/hylafax")
        shutil.copytree(source, self.spool, symlinks=True, ignore=shutil.ignore_patterns("FIFO*", "etc"))
        shutil.copytree("/etc/hylafax", self.spool / "etc", symlinks=True)
        (self.spool / "verdict").mkdir()
        hashed = [
            subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=word, capture_output=True, text=True, check=True).stdout
            for word in (PASSWORD, ADMIN)
        ]
        users = self.spool / "etc" / "hosts.hfaxd"
        users.write_text(f"^{LOGIN}@:21:{hashed[0].strip()}:{hashed[1].strip()}\n")
        (self.spool / "etc" / "config").write_text(
            'SendFaxCmd: bin/call\nCountryCode: 1\nAreaCode: 415\nDialStringRules: "etc/dialrules"\nMaxBatchJobs: 1\n'
        )
        call = self.spool / "bin" / "call"
        call.write_text(_CALL)
        os.mkfifo(self.spool / "FIFO")
        for path in (self.spool, *self.spool.rglob("*")):
            if not path.is_symlink():
                shutil.chown(path, "uucp", "uucp")
        call.chmod(0o755)
        users.chmod(0o600)
        self._run("/usr/sbin/faxq", "-q", str(self.spool), "-D")
        self._run("/usr/sbin/hfaxd", "-q", str(self.spool), "-d", "-l", "127.0.0.1", "-i", str(self.port))
        self._until(lambda: _accepts(self.port))
        for n in range(_MODEMS):
            self._until(partial(self._hooked, f"ttyT{n}"))

    def _hooked(self, modem: str) -> bool:
        return subprocess.run([_BIN / "faxmodem", "-q", self.spool, modem], capture_output=True, check=False).returncode == 0

    def _run(self, *command: str) -> None:
        out = (self.spool / "said").open("ab")
        self._programs.append(subprocess.Popen(command, stdout=out, stderr=out, cwd=self.spool, start_new_session=True))
        out.close()

    def stop(self) -> None:
        for program in self._programs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait(10)
        self._programs = []

    def states(self) -> dict[str, str]:
        """Job -> number of its state, in whatever queue."""
        found = {}
        for path in [*(self.spool / "sendq").glob("q*"), *(self.spool / "doneq").glob("q*")]:
            with contextlib.suppress(FileNotFoundError):
                values = dict(line.partition(":")[::2] for line in path.read_text("utf-8", "replace").splitlines())
                if "jobtag" in values:
                    found[path.name.removeprefix("q")] = values.get("state", "")
        return found

    def job(self, number: str) -> dict[str, str]:
        """The values of one job's file."""
        path = next(
            path for path in (self.spool / "sendq" / f"q{number}", self.spool / "doneq" / f"q{number}") if path.exists()
        )
        return dict(line.partition(":")[::2] for line in path.read_text("utf-8", "replace").splitlines())

    def submitted(self) -> int:
        """Jobs that are, or were, in the scheduler's hands."""
        return sum(state != "1" for state in self.states().values())

    def ends(self, job: str, status: int, pages: int, code: int = 0, text: str = "") -> None:
        """How the call of a job ends."""
        made = self.spool / "verdict" / f".q{job}"
        made.write_text(f"{status} {pages} {code} {text}\n")
        made.rename(self.spool / "verdict" / f"q{job}")

    async def ended(self, job: str) -> None:
        for n in range(600):
            if self.states().get(job) in ("7", "8"):
                return
            if n % 20 == 19:  # faxgetty would say so now and then; without that the scheduler may sleep over a job
                self._hooked(f"ttyT{n // 20 % _MODEMS}")
            await asyncio.sleep(0.05)
        raise AssertionError(f"job {job} goes on: {self.states()}")

    async def clear(self) -> None:
        """No job is left."""
        for job, state in self.states().items():
            if state not in ("1", "7", "8"):
                self.ends(job, FAILED, 0, 1, "Busy signal detected")
                await self.ended(job)
        for path in (self.spool / "doneq").glob("q*"):
            path.unlink()

    def receive(self, document: bytes, name: str, *, mode: int = 0o644) -> Path:
        """A file in recvq, as faxgetty leaves it."""
        path = self.spool / "recvq" / name
        path.write_bytes(document)
        path.chmod(mode)
        shutil.chown(path, "uucp", "uucp")
        return path

    def _until(self, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not ready():
            assert time.monotonic() < until, (self.spool / "said").read_text("utf-8", "replace")
            time.sleep(0.02)


def _accepts(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Cutter:
    """A wire between adapter and server that breaks at a word."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.port = 0
        self.word = b""
        self.after = False
        """The server gets the word, and its answer is lost."""
        self.greeting = b""
        """Said instead of the server's own, at the next connection."""
        self.commands: list[str] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()
            self._server, self._tasks = None, set()
            await asyncio.sleep(0.05)  # for what is being closed

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.greeting:
            writer.write(self.greeting)
            self.greeting = b""
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await self._carry(reader, writer)
        self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, server = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._back(theirs, writer))
        try:
            while line := await reader.readline():
                self.commands.append(line.decode("utf-8", "replace").strip())
                hit = self.word and line.startswith(self.word)
                if hit and self.after:
                    back.cancel()
                    await asyncio.wait({back})
                    server.write(line)
                    await theirs.read(10)  # the answer was given, and goes nowhere
                if hit:
                    self.word = b""
                    break
                server.write(line)
        finally:
            back.cancel()
            server.close()
            writer.close()

    async def _back(self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await theirs.read(4096):
            writer.write(piece)
        writer.close()


class HylaFaxFarEnd(FarEnd):
    """The adapter, the wire, the server."""

    statuses = STATUSES
    documented = frozenset(
        {"SUSPENDED", "PENDING", "SLEEPING", "BLOCKED", "READY", "ACTIVE", "DONE"}
        | {f"E{code:03}" for code in (*range(14), 50, 51, 52, *range(100, 156), *range(200, 267), *range(280, 289))}
        | {f"E{code}" for code in (*range(301, 346), 347, *range(400, 420), *range(500, 510))}
    )
    secrets = (PASSWORD, ADMIN)
    received = pages(1)

    adapter: HylaFax

    def __init__(self, adapter: HylaFax, server: Hfaxd, cutter: Cutter, folder: Path, clock: Clock) -> None:
        self.adapter, self.server, self.cutter, self.folder, self.clock = adapter, server, cutter, folder, clock
        self._before = server.submitted()
        self._numbers: dict[str, str] = {}
        self._arrived = 0

    def order(self, reference: str = "at_1") -> Order:
        number = self._numbers.setdefault(reference, f"+1415{next(_number)}")  # one number is called by one job at a time
        return replace(order(self.folder, number, reference, content=pages()), content_type="image/tiff")

    def taken(self) -> int:
        return self.server.submitted() - self._before

    async def finish(self, receipt: Receipt) -> None:
        job = receipt.carrier_ref.partition(".")[0]
        self.server.ends(job, DONE, 2)
        await self.server.ended(job)

    def refuse(self) -> tuple[Order, Outcome]:
        return replace(self.order(), document=self._written(b"GIF89a")), Outcome.DOCUMENT_REFUSED

    def _written(self, content: bytes) -> Path:
        path = self.folder / "other"
        path.write_bytes(content)
        return path

    def cut_off(self) -> None:
        object.__setattr__(self.adapter.config, "port", free_port())

    async def overload(self, seconds: float) -> None:
        self.cutter.greeting = b"421 Too many connections.\r\n"

    def lose_answer(self) -> Order:
        self.cutter.word, self.cutter.after = b"JSUBM", True
        return self.order("at_1")

    def events(self, word: str) -> list[Event]:
        failed = word.startswith("E")
        told = Told(
            job="1", tag="at_1 1", state="FAILED" if failed else word, code=word, status="", pages=0, total=2, dials=1,
            raw=word.encode(),
        )  # fmt: skip
        return [event(Name(1, 1, "at_1"), told, Call(), self.clock())]

    async def arrive(self, document: bytes) -> tuple[str, str]:
        self._arrived += 1
        path = self.server.receive(document, f"fax{time.time_ns()}.tif")
        return f"{path.name}.{int(path.stat().st_mtime)}", LINE


@contextlib.contextmanager
def running() -> Iterator[Hfaxd]:
    """A server, in a folder where the user uucp may look."""
    folder = Path(tempfile.mkdtemp(prefix="hfaxd-"))
    folder.chmod(0o755)
    server = Hfaxd(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def hylafax(
    server: Hfaxd, folder: Path, clock: Clock | None = None, lines: tuple[str, ...] = (LINE,), **section: object
) -> AsyncIterator[HylaFaxFarEnd]:
    cutter, clock = Cutter(server.port), clock or Clock()
    await cutter.start()
    keys = {"kind": "hylafax", "port": cutter.port, "username": LOGIN, "password": PASSWORD, "admin_password": ADMIN}
    keys |= {"busy_wait": "7s", "time_limit": "10s"} | section
    async with http.client() as client:
        adapter = carriers.build("main", keys, "gateway.toml", tools_for(folder, http=client, now=clock, lines=lines))
        assert isinstance(adapter, HylaFax)
        await adapter.start()
        try:
            yield HylaFaxFarEnd(adapter, server, cutter, folder, clock)
        finally:
            await adapter.stop()
            await cutter.stop()
            for path in (server.spool / "recvq").glob("fax*"):
                path.unlink()

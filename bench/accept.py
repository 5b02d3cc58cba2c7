"""Mails taken a second, next to a private Postfix: `python -m bench.accept [--mails N] [--nodes 1|2]`.

Both servers run in the same run on the same disk with fsync on, and get the same mails of 20 kB from the same client, in turn:
over 1, 10 and 50 connections that stay open, with PIPELINING, one mail after the other's answer on each. Postfix throws them
away (`discard:`). A mail counts when its 250 has come: it is durable then.

    taken     the faxes are to be sent tomorrow (`/AT=`), so that nothing else is done meanwhile
    at work   they are converted and sent meanwhile, as usual

    --nodes 2    two processes on PostgreSQL, over half of the connections each

Everything runs on loopback, is bounded by --mails, and stops by itself. Needs root and the package postfix.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from tests.flows.house import DOMAIN, SENDER, as_bytes, letter, pdf

CONNECTIONS = (1, 10, 50)
GOALS = {10: 0.6, 50: 0.9}
SIZE = 20_000
_counted = itertools.count()


@dataclass(slots=True)
class Run:
    """What one run showed."""

    seconds: float
    answers: list[float] = field(repr=False)
    """Seconds from the last octet of each mail to its 250."""
    cpu: float
    """Seconds of the server."""

    @property
    def rate(self) -> float:
        return len(self.answers) / self.seconds

    @property
    def p99(self) -> float:
        return sorted(self.answers)[int(len(self.answers) * 0.99)]


class Client(asyncio.Protocol):
    """One connection: hands mails in as long as there are some."""

    def __init__(self, mails: Iterator[tuple[bytes, bytes]], run: Run, done: asyncio.Future[None]) -> None:
        self._mails, self._run, self._done = mails, run, done
        self._expected = [b"220"]
        self._content, self._asked, self._ahead = b"", 0.0, b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._ahead = (self._ahead + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b" ":
                self._answer(line)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("closed in the middle"))

    def _answer(self, line: bytes) -> None:
        assert self._transport is not None
        wanted = self._expected.pop(0)
        if not line.startswith(wanted):
            self._done.set_exception(AssertionError(f"wanted {wanted!r}, got {line!r}"))
            self._transport.abort()
        elif wanted == b"220":
            self._expected = [b"250 "]
            self._transport.write(b"EHLO bench.example.com\r\n")
        elif wanted == b"354":
            self._expected = [b"250  "[:4]]
            self._transport.write(self._content)
            self._asked, self._content = time.perf_counter(), b""
        elif not self._expected:
            if self._asked:
                self._run.answers.append(time.perf_counter() - self._asked)
            self._next()

    def _next(self) -> None:
        assert self._transport is not None
        if (mail := next(self._mails, None)) is None:
            self._done.set_result(None)
            self._transport.close()
            return
        envelope, self._content = mail
        self._expected = [b"250", b"250", b"354"]
        self._transport.write(envelope)


def mails(n: int, *, work: bool) -> list[tuple[bytes, bytes]]:
    """So many, each to a number of its own; `work`: they are to be sent at once."""
    mail = letter("One page", None, message_id=False, files=[("one.pdf", "application/pdf", _page())])
    body = as_bytes(mail) + b".\r\n"
    made = []
    for _ in range(n):
        k = next(_counted)
        number = f"1415{555 + k // 10000 % 400}{k % 10000:04d}"
        envelope = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{number}{'' if work else '/AT=23:59'}@{DOMAIN}>\r\nDATA\r\n"
        made.append((envelope.encode(), b"Message-ID: <%d@bench.example.com>\r\n" % k + body))
    return made


def _page() -> bytes:
    """A PDF that makes a mail of the right size."""
    page = pdf("One page.")
    return page + b"%" + b"x" * (SIZE * 3 // 4 - 500 - len(page))


async def hand_in(ports: Sequence[int], connections: int, wanted: list[tuple[bytes, bytes]]) -> Run:
    """Everything over so many connections."""
    loop, waiting = asyncio.get_running_loop(), iter(wanted)
    run = Run(0, [], 0)
    finished = [loop.create_future() for _ in range(connections)]
    began = time.perf_counter()
    for n, done in enumerate(finished):
        await loop.create_connection(lambda d=done: Client(waiting, run, d), "127.0.0.1", ports[n % len(ports)])
    await asyncio.gather(*finished)
    run.seconds = time.perf_counter() - began
    return run


def measured(pids: Sequence[int], ports: Sequence[int], connections: int, wanted: list[tuple[bytes, bytes]]) -> Run:
    before = _cpu(pids)
    run = asyncio.run(hand_in(ports, connections, wanted))
    run.cpu = _cpu(pids) - before
    return run


def _cpu(pids: Sequence[int]) -> float:
    """Seconds of some processes and what they have started; what has ended meanwhile is not counted."""
    used = 0.0
    for pid in pids:
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                used += sum(process.cpu_times()[:2])
    return used

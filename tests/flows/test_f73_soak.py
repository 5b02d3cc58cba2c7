"""Two minutes of 200 connections of which half misbehave: nothing leaks, and honest clients notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter

import psutil

from tests.flows.house import DOMAIN, SENDER, House, as_bytes, letter

SECONDS = 120.0
HALF = 100  # connections of each kind
_REST = 3.0  # seconds, a few times between two mails of one honest client: endurance is looked at, not speed


class Soak:
    """The clients, and what they saw."""

    def __init__(self, house: House, until: float, first: int = 0) -> None:
        self.house, self.until = house, until
        self.taken: list[str] = []
        self.slowest = 0.0
        self.misdeeds: Counter[str] = Counter()
        self._numbers = itertools.count(first)
        self._dice = random.Random(7)

    @property
    def over(self) -> bool:
        return time.monotonic() > self.until

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.house.smtp_port)

    async def honest(self) -> None:
        """One mail after the other on one connection, for later, so that only the taking of mail is at work."""
        reader, writer = await self.connect()
        await _greeted(reader, writer, "honest.example.com")
        while not self.over:
            number = f"+1212555{next(self._numbers):04d}"
            mail = as_bytes(letter("[at=23:59] Later", "Please sign.\n"))
            began = time.monotonic()
            await _said(reader, writer, f"MAIL FROM:<{SENDER}>", "250")
            await _said(reader, writer, f"RCPT TO:<{number}@{DOMAIN}>", "250")
            await _said(reader, writer, "DATA", "354")
            writer.write(mail + b".\r\n")
            await _answer(reader, "250")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.taken.append(number)
            for _ in range(self._dice.randrange(3, 7)):
                await asyncio.sleep(_REST)
                await _said(reader, writer, "NOOP", "250")
        await _said(reader, writer, "QUIT", "221")
        writer.close()
        await writer.wait_closed()

    async def misbehaving(self) -> None:
        """One misdeed after the other, each on a connection of its own."""
        while not self.over:
            kind = self._dice.choice(_MISDEEDS)
            reader, writer = await self.connect()
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.wait_for(kind(self, reader, writer), 12)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self.misdeeds[kind.__name__] += 1
            await asyncio.sleep(self._dice.uniform(0.5, 3))

    async def silent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)  # until it is cut off

    async def dropping(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"EHLO bad.example.com\r\nMAIL FROM:<ann@example.com>\r\n")
        writer.transport.abort()

    async def slow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for octet in b"EHLO slow.example.com and so on":
            writer.write(bytes([octet]))
            await asyncio.sleep(0.3)

    async def endless_line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(20):
            writer.write(b"x" * 10_000)
            await writer.drain()
        await reader.read(4096)

    async def garbage(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._dice.randbytes(3000) + b"\r\n")
        await reader.read(4096)

    async def half_a_mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _greeted(reader, writer, "half.example.com")
        writer.write(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<12125559999@{DOMAIN}>\r\nDATA\r\n".encode())
        writer.write(b"Subject: never finished\r\n\r\n" + b"half a line of text\r\n" * 2000)
        await writer.drain()
        await asyncio.sleep(self._dice.uniform(0, 3))

    async def smuggling(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _greeted(reader, writer, "smuggler.example.com")
        hidden = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<12125559998@{DOMAIN}>\r\nDATA\r\nsecond\r\n.\r\n"
        writer.write(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<12125559999@{DOMAIN}>\r\nDATA\r\n".encode())
        writer.write(f"From: {SENDER}\r\n\r\nfirst\r\n.\n{hidden}".encode())
        await reader.read(4096)

    async def many_errors(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"BOGUS\r\n" * 30)
        await reader.read(-1)


_MISDEEDS = (
    Soak.silent,
    Soak.dropping,
    Soak.slow,
    Soak.endless_line,
    Soak.garbage,
    Soak.half_a_mail,
    Soak.smuggling,
    Soak.many_errors,
)


async def _greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
    await _answer(reader, "220")
    await _said(reader, writer, f"EHLO {name}", "250")


async def _answer(reader: asyncio.StreamReader, code: str) -> None:
    while True:
        line = (await reader.readuntil(b"\r\n")).decode()
        assert line.startswith(code), line
        if line[3] == " ":
            return


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str, code: str) -> None:
    writer.write(line.encode() + b"\r\n")
    await _answer(reader, code)


async def _soaked(soak: Soak) -> None:
    await asyncio.gather(*(soak.honest() for _ in range(HALF)), *(soak.misbehaving() for _ in range(HALF)))


def test_two_minutes_of_good_and_bad_clients_leak_nothing(house: House) -> None:
    house.settings["smtp"] |= {"timeout": "5s", "max_connections": 400, "client_connections": 400, "client_rate": 100_000}
    house.settings["smtp"]["hold_quota"] = 100_000
    house.settings["account"][0]["options"] = ["at"]
    house.settings["log_level"] = "error"
    house.start()
    assert house.process is not None
    process = psutil.Process(house.process.pid)
    asyncio.run(_soaked(Soak(house, time.monotonic() + 10)))  # everything is loaded, and its tables are grown
    house.wait(lambda: _connections(process) == 0, 30, "all connections to be closed")
    files, memory = process.num_fds(), process.memory_info().rss
    soak = Soak(house, time.monotonic() + SECONDS, first=5000)
    asyncio.run(_soaked(soak))
    house.wait(lambda: _connections(process) == 0, 30, "all connections to be closed")
    assert process.num_fds() <= files + 20, "the database's readers come and go; one left by each misdeed would be hundreds"
    assert sum(soak.misdeeds.values()) > 200
    assert process.memory_info().rss < memory + 30_000_000
    assert len(soak.taken) >= 5 * HALF
    assert set(soak.misdeeds) == {kind.__name__ for kind in _MISDEEDS}
    assert soak.slowest < 20, "honest clients were served at once, on a busy machine, too"
    known = {fax["number"] for fax in house.faxes()}
    assert set(soak.taken) <= known
    assert not known & {"+12125559999", "+12125559998"}, "half a mail is none, and nothing was smuggled in"
    assert house.log.read_text() == ""


def _connections(process: psutil.Process) -> int:
    """Of clients."""
    ours = {one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
    return sum(one.status != psutil.CONN_LISTEN and one.laddr.port in ours for one in process.net_connections("tcp"))

"""A mail server on loopback that does what a test says at each step, and breaks where it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from tests.ports import free_port

#: Instead of an answer: the connection is cut.
CUT = "cut"


@dataclass(slots=True)
class MailServer:
    """`answers` is asked for each step ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot" …): an answer, CUT, or "" = as usual.

    What was accepted at the dot is kept in `mails` before the answer, so that an answer can be lost.
    """

    answers: Callable[[str], str] = field(default=lambda step: "")
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    extensions: tuple[str, ...] = ("SIZE 10000000", "8BITMIME", "DSN")
    mails: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self.port = self.port or free_port()
        context = self.tls if self.implicit else None
        self._server = await asyncio.start_server(self._client, "127.0.0.1", self.port, ssl=context, limit=2**26)

    async def stop(self) -> None:
        """Nobody listens any more, and every connection is cut."""
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._talk(reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()
            writer.transport.abort()
            self._tasks.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = self.implicit
        if not _written(writer, self.answers("greeting") or "220 mx.example.com"):
            return
        while line := await reader.readline():
            command = line.decode().rstrip("\r\n")
            self.commands.append(command)
            verb = command.split(" ")[0].upper()
            usual = {"DATA": "354 go on", "QUIT": "221 bye", "STARTTLS": "220 go on", "AUTH": "235 welcome"}.get(verb, "250 OK")
            if verb == "EHLO":
                more = [*self.extensions, *(["STARTTLS"] if self.tls and not secure else [])]
                usual = "\r\n".join(["250-mx.example.com", *(f"250-{one}" for one in more), "250 HELP"])
            answer = self.answers(verb) or usual
            if not _written(writer, answer):
                return
            if verb == "STARTTLS":
                assert self.tls is not None
                before = writer.transport
                try:
                    await writer.start_tls(self.tls)
                finally:  # a client that leaves in the middle of it leaves nothing here, in Python 3.11
                    writer._transport = writer.transport or before  # type: ignore[attr-defined]
                secure = True
            elif (answer.startswith("354") and not await self._mail(reader, writer)) or verb == "QUIT":
                return

    async def _mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        content = await reader.readuntil(b"\r\n.\r\n")
        answer = self.answers("dot")
        if not answer or answer.startswith("2") or answer == CUT:
            self.mails.append(re.sub(rb"(?m)^\.\.", b".", content[:-3]))
        return _written(writer, answer or "250 2.0.0 kept")


def _written(writer: asyncio.StreamWriter, answer: str) -> bool:
    if answer == CUT:
        return False
    writer.write(answer.encode() + b"\r\n")
    return not answer.startswith("421")


def scripted(steps: Iterable[tuple[str, str]]) -> Callable[[str], str]:
    """Answers in turn: the next one is given when its step comes."""
    left = list(steps)

    def answer(step: str) -> str:
        return left.pop(0)[1] if left and left[0][0] == step else ""

    return answer


@contextlib.asynccontextmanager
async def running(**how: object) -> AsyncIterator[MailServer]:
    server = MailServer(**how)  # type: ignore[arg-type]  # the fields of MailServer by name
    await server.start()
    try:
        yield server
    finally:
        await server.stop()

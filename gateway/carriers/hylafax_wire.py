"""The protocol of hfaxd: commands and answers on one connection, documents and lists on another. Nothing about faxes.

A line is a command, an answer three digits and a text; a longer answer begins with the digits and a hyphen and ends with
the same digits and a blank, whatever stands between. A value may itself have line breaks (hfaxd 6.0.7 puts the status of
a job into quotes and says nothing of further lines): such an answer ends with its closing quote. Whatever else comes, or
nothing for `limit` seconds, or more than any server has to say, ends the connection: `Broken`.

Source: the manual page hfaxd(8c), RFC 959, and hfaxd 6.0.7 as it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import TypeVar

R = TypeVar("R")
_MOST_LINES = 2000  # of one answer
_LONGEST = 16_384  # bytes of a line
_MOST_AHEAD = 500  # lines before the greeting
_MARK = re.compile(rb"([1-5][0-9]{2})([ -])")
_PORT = re.compile(r"\((\d{1,3}(?:,\d{1,3}){3}),(\d{1,3}),(\d{1,3})\)")
_EXTENDED = re.compile(r"\(\|\|\|(\d{1,5})\|\)")


class Broken(Exception):
    """The connection cannot be used any more: it ended, it hung, or what came makes no sense."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    code: int
    text: str
    """Of the last line, or of the only one."""
    lines: tuple[str, ...] = ()
    """What stood before the last line, without the digits."""

    @property
    def good(self) -> bool:
        return 200 <= self.code < 300


def text_of(data: bytes) -> str:
    """UTF-8, or else Latin-1: nobody says which."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def quoted(value: str) -> str:
    """A value within a command: this is a command channel, so no line ends, and no quotes."""
    return '"' + "".join(char for char in value if char.isprintable() and char not in '"\\') + '"'


class Wire:
    """One session. Commands go one after the other; whoever uses it sees to that."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: float) -> None:
        self._reader, self._writer, self._limit = reader, writer, limit

    @classmethod
    async def opened(cls, host: str, port: int, limit: float) -> Wire:
        """Connected. Raises OSError, TimeoutError: nobody is there."""
        async with asyncio.timeout(limit):
            reader, writer = await asyncio.open_connection(host, port, limit=_LONGEST)
        return cls(reader, writer, limit)

    def close(self) -> None:
        """Cut. The server forgets a job that was not submitted, and files that no job has."""
        self._writer.close()

    async def ended(self) -> None:
        """The same, and nothing of it is left."""
        await _ended(self._writer)

    @property
    def closed(self) -> bool:
        return self._writer.is_closing() or self._reader.at_eof()

    async def greeting(self) -> Reply:
        """The first answer; a notice of any text may stand before it. Raises Broken."""
        for _ in range(_MOST_AHEAD):
            line = await self._in_time(self._line())
            if found := _MARK.match(line):
                return await self._in_time(self._rest(found, line))
        raise Broken("no greeting came")

    async def ask(self, command: str) -> Reply:
        """One command and its answer. Raises Broken: then nobody knows whether it was carried out."""
        await self._in_time(self._send(command))
        return await self.answer()

    async def patiently(self, command: str, limit: float) -> Reply:
        """A command whose answer may take long. Raises Broken."""
        await self._in_time(self._send(command))
        return await self.answer(limit)

    async def answer(self, limit: float | None = None) -> Reply:
        """The next answer. Raises Broken."""
        return await self._in_time(self._answer(), limit)

    async def upload(self, command: str, content: bytes) -> tuple[Reply, Reply]:
        """Send a document on a connection of its own: the answers before and after it. Raises Broken."""
        async with self._data() as (_, writer):
            before = await self.ask(command)
            if before.code not in (125, 150):
                return before, before
            writer.write(content)
            await self._in_time(writer.drain())
            writer.write_eof()
            return before, await self.answer()

    async def download(self, command: str, most: int) -> tuple[Reply, bytes]:
        """The last answer, and what came on a connection of its own; b"" where the server refused. Raises Broken, also
        where more than `most` bytes come."""
        async with self._data() as (reader, _):
            before = await self.ask(command)
            if before.code not in (125, 150):
                return before, b""
            content = bytearray()
            while piece := await self._in_time(reader.read(65_536)):
                content += piece
                if len(content) > most:
                    raise Broken("a list or document has no end")
            return await self.answer(), bytes(content)

    @contextlib.asynccontextmanager
    async def events(self, command: str) -> AsyncIterator[asyncio.StreamReader]:
        """What the server says on a connection that it opens to us, for as long as it is kept. Raises Broken."""
        host = self._writer.get_extra_info("sockname")[0]
        came: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.get_running_loop().create_future()

        def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            theirs = self._writer.get_extra_info("peername")[0]
            if came.done() or writer.get_extra_info("peername")[0] != theirs:
                writer.close()
            else:
                came.set_result((reader, writer))

        server = await asyncio.start_server(taken, host, 0, limit=_LONGEST)
        try:
            port = server.sockets[0].getsockname()[1]
            if not (await self.ask(f"EPRT |{2 if ':' in host else 1}|{host}|{port}|")).good:
                raise Broken("the server opens no connection to us")
            reply = await self.ask(command)
            if reply.code not in (125, 150):
                raise Broken(f"no events: {reply.code}")
            reader, writer = await self._in_time(came)
            try:
                yield reader
            finally:
                await _ended(writer)
        finally:
            server.close()

    @contextlib.asynccontextmanager
    async def _data(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A second connection to the host of the first, whatever address the answer names (RFC 2577)."""
        host = self._writer.get_extra_info("peername")[0]
        family = self._writer.get_extra_info("socket").family
        reply = await self.ask("EPSV" if family == socket.AF_INET6 else "PASV")
        if found := _PORT.search(reply.text):
            port = int(found[2]) * 256 + int(found[3])
        elif extended := _EXTENDED.search(reply.text):
            port = int(extended[1])
        else:
            raise Broken(f"no data connection: {reply.code}")
        try:
            reader, writer = await self._in_time(asyncio.open_connection(host, port))
        except (OSError, OverflowError) as error:
            raise Broken("the data connection cannot be opened") from error
        try:
            yield reader, writer
        except OSError as error:
            raise Broken("the data connection was lost") from error
        finally:
            await _ended(writer)

    async def _send(self, command: str) -> None:
        self._writer.write(command.encode("utf-8", "replace") + b"\r\n")
        await self._writer.drain()

    async def _in_time(self, step: Awaitable[R], limit: float | None = None) -> R:
        """Raises Broken, and the connection has ended then: what comes late must not be taken for the next answer."""
        try:
            async with asyncio.timeout(limit or self._limit):
                return await step
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            self.close()
            raise Broken(str(error) or type(error).__name__) from error
        except BaseException:
            self.close()  # in the middle of an answer
            raise

    async def _line(self) -> bytes:
        """Without its end. Raises EOFError where the connection ended within it, ValueError where it has none."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the server has hung up")
        return line.rstrip(b"\r\n")

    async def _answer(self) -> Reply:
        line = await self._line()
        if (found := _MARK.match(line)) is None:
            raise ValueError("that is no answer")
        return await self._rest(found, line)

    async def _rest(self, found: re.Match[bytes], line: bytes) -> Reply:
        """The whole of an answer that began with this line."""
        end, first, more = found[1] + b" ", line[4:], list[bytes]()
        if found[2] == b" ":
            if first.startswith(b'"') and line.endswith(b"\\"):
                while not line.endswith(b'"'):
                    line = await self._line()
                    more.append(line)
                    if len(more) > _MOST_LINES:
                        raise ValueError("an answer has no end")
            return Reply(int(found[1]), text_of(b"\n".join([first, *more])))
        more.append(first)
        while not (line := await self._line()).startswith(end):
            more.append(line.removeprefix(found[1] + b"-"))
            if len(more) > _MOST_LINES:
                raise ValueError("an answer has no end")
        return Reply(int(found[1]), text_of(line[4:]), tuple(text_of(one) for one in more))


async def _ended(writer: asyncio.StreamWriter) -> None:
    """Nothing that was not sent yet matters any more."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()

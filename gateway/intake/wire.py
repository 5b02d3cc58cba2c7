"""What the other side of a connection says: command lines, and pieces of a mail.

A line ends in CRLF. A bare LF ends one too, but such a line is refused, so that a client with the wrong line ends gets
an answer and nobody can hide one command in another (SMT-01).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.errors import Refused

PIECE = 64 * 1024  # octets read at once


class Wire:
    """The reading side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, before_waiting: Callable[[], Awaitable[None]]) -> None:
        """`before_waiting` says what was not said yet: the client may wait for it."""
        self._reader, self._before_waiting = reader, before_waiting
        self._ahead = bytearray()

    async def line(self, limit: int, *, reply: str = "500 5.5.2") -> bytes:
        """The next line without its end. Raises EOFError; Refused (with `reply`) when it is over `limit` octets."""
        searched = 0
        too_long = False
        while (end := self._ahead.find(b"\n", searched)) < 0:
            if len(self._ahead) > limit:
                too_long = True
                self._ahead.clear()
            searched = len(self._ahead)
            self._ahead += await self._more()
        line = bytes(self._ahead[:end])
        del self._ahead[: end + 1]
        if too_long or len(line) > limit:
            raise Refused("This line is too long.", reply=reply)
        if not line.endswith(b"\r"):
            raise Refused("Lines end in CR and LF together.", reply="500 5.5.2")
        return line[:-1]

    async def piece(self) -> bytes:
        """Whatever comes next. Raises EOFError."""
        if not self._ahead:
            return await self._more()
        piece = bytes(self._ahead)
        self._ahead.clear()
        return piece

    def unread(self, data: bytes) -> None:
        """Give back what belongs to the next command."""
        self._ahead[:0] = data

    def drop(self) -> None:
        """Forget what was read ahead (RFC 3207 §4.2)."""
        self._ahead.clear()

    async def _more(self) -> bytes:
        await self._before_waiting()
        data = await self._reader.read(PIECE)
        if not data:
            raise EOFError
        return data

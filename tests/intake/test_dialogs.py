"""Dialogues from tests/dialogs, said to a running door.

A `.smtp` file has one line a step: `C: text` is said, with CRLF, `\\xNN` for an octet; `C*5000: x` says it 5000 times on
one line; `S: pattern` is a regular expression that the next reply line must match whole (`S: 250-…` matches every
continued line in a row); `#` is a remark. At the end the server must have closed, or be silent.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.intake.recorder import Start

DIALOGS = sorted((Path(__file__).parent.parent / "dialogs").glob("*.smtp"))
ENHANCED = re.compile(r"([245])[0-9]{2}[ -]([245])\.[0-9]+\.[0-9]+ ")


class Talk:
    """One connection and the steps of one file."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._next: str | None = None
        self._hello = True  # greeting and EHLO replies have no enhanced code

    async def say(self, step: str) -> None:
        match = re.fullmatch(r"C(?:\*([0-9]+))?: ?(.*)", step)
        assert match, step
        text = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), match[2].encode())
        self._hello = text.upper().startswith((b"EHLO", b"HELO"))
        self._writer.write(text * int(match[1] or 1) + b"\r\n")
        await self._writer.drain()

    async def expect(self, pattern: str) -> None:
        line = await self._line()
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"
        while pattern == "250-.*" and (self._next or "").startswith("250-"):
            await self._line()

    async def _line(self) -> str:
        line = self._next if self._next is not None else await self._read()
        assert line, "closed"
        assert line.isascii()
        assert line.isprintable()
        enhanced = ENHANCED.match(line)
        assert self._hello or line.startswith("354 ") or (enhanced and enhanced[1] == enhanced[2]), line
        self._next = await self._read() if line.startswith("250-") else None
        return line

    async def _read(self) -> str:
        async with asyncio.timeout(5):
            return (await self._reader.readline()).decode("latin-1").removesuffix("\r\n")


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path, start: Start) -> None:
    gateway = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    talk = Talk(reader, writer)
    for n, step in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if step.startswith("S: "):
            try:
                await talk.expect(step[3:])
            except AssertionError as error:
                raise AssertionError(f"{path.name}:{n}: {error}") from error
        elif step and not step.startswith("#"):
            await talk.say(step)
    async with asyncio.timeout(5):
        assert await reader.read() == b"", "something more was said"
    writer.close()


def test_there_are_dialogs() -> None:
    assert len(DIALOGS) >= 8

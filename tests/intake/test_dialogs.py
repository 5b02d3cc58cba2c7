r"""Dialogues from tests/dialogs, said to a running door.

A `.smtp` file has one line a step:

    C: text        is said, with CRLF; `\xNN` is an octet. `C*5000: x` says it 5000 times on one line
    R: text        is said without CRLF
    S: pattern     a regular expression that the next reply line must match whole; `S: 250-…` matches all continued lines
    TLS            the handshake, here
    # text         a remark
    #! tls         the door has a certificate
    #! at PURPOSE  which listener is spoken to: smtp, submission, submissions, lmtp or proxied; without it: smtp
    #! set KEY VALUE   a key of [smtp]
    #! stored N    so many mails were stored at the end; without it nothing is said about that

At the end the server must have closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from gateway.listeners import Purpose
from tests.intake.recorder import Gateway, Start

DIALOGS = sorted((Path(__file__).parent.parent / "dialogs").glob("*.smtp"))
ENHANCED = re.compile(r"([245])[0-9]{2}[ -]([245])\.[0-9]+\.[0-9]+ ")
ANY = "127.0.0.1:0"


class Talk:
    """One connection and the steps of one file."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._next: str | None = None
        self._hello = True  # greeting and EHLO replies have no enhanced code

    async def say(self, step: str) -> None:
        match = re.fullmatch(r"([CR])(?:\*([0-9]+))?: ?(.*)", step)
        assert match, step
        text = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), match[3].encode())
        self._hello = text.upper().startswith((b"EHLO", b"HELO", b"LHLO", b"PROXY", b"\r\n\r\n\0"))
        self._writer.write(text * int(match[2] or 1) + (b"\r\n" if match[1] == "C" else b""))
        await self._writer.drain()

    async def secure(self, context: ssl.SSLContext) -> None:
        await self._writer.start_tls(context, server_hostname="localhost")

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
        assert self._hello or line.startswith(("354 ", "334 ")) or (enhanced and enhanced[1] == enhanced[2]), line
        self._next = await self._read() if line.startswith("250-") else None
        return line

    async def _read(self) -> str:
        async with asyncio.timeout(20):
            return (await self._reader.readline()).decode("latin-1").removesuffix("\r\n")


async def opened(
    path: Path, start: Start, trusting: ssl.SSLContext
) -> tuple[Gateway, asyncio.StreamReader, asyncio.StreamWriter, int | None]:
    """The door a file wants, a connection to it, and how many mails it shall store."""
    settings: dict[str, Any] = {}
    at, stored = "smtp", None
    for line in path.read_text(encoding="utf-8").splitlines():
        match line.removeprefix("#! ").split() if line.startswith("#! ") else []:
            case ["tls"]:
                settings["tls"] = True
            case ["at", purpose]:
                at = purpose
            case ["set", key, value]:
                settings[key] = json.loads(value)
            case ["stored", n]:
                stored = int(n)
            case []:
                pass
            case other:
                raise AssertionError(f"{path.name}: {other}")
    if at == "proxied":
        settings |= {"proxied": [ANY], "proxies": ["127.0.0.0/8"]}
    elif at == "lmtp":
        settings["lmtp"] = (ANY,)
    elif at != "smtp":
        settings |= {at: [ANY], "tls": True}
    gateway = await start(**settings)
    purpose = Purpose.RELAY if at == "proxied" else Purpose(at)
    _, port = gateway.door.addresses(purpose)[0]
    secured: dict[str, Any] = {"ssl": trusting, "server_hostname": "localhost"} if at == "submissions" else {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **secured)
    return gateway, reader, writer, stored


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
@pytest.mark.usefixtures("proven_at_lmtp")
async def test_dialog(path: Path, start: Start, trusting: ssl.SSLContext) -> None:
    gateway, reader, writer, stored = await opened(path, start, trusting)
    talk = Talk(reader, writer)
    for n, step in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            if step.startswith("S: "):
                await talk.expect(step[3:])
            elif step == "TLS":
                await talk.secure(trusting)
            elif step and not step.startswith("#"):
                await talk.say(step)
        except (AssertionError, OSError) as error:
            raise AssertionError(f"{path.name}:{n}: {error}") from error
    with contextlib.suppress(ConnectionResetError):  # closed with something unread
        async with asyncio.timeout(20):
            assert await reader.read() == b"", "something more was said"
    writer.close()
    if stored is not None:
        assert len(gateway.desk.taken) == stored


@pytest.fixture
def proven_at_lmtp(request: pytest.FixtureRequest) -> None:
    if "#! at lmtp" in request.getfixturevalue("path").read_text(encoding="utf-8"):
        request.getfixturevalue("proven")


def test_there_are_dialogs() -> None:
    assert len(DIALOGS) >= 25

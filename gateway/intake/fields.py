"""The header block of a mail as it stands: its fields in their order, octet by octet.

For what must see exactly what was signed or written by a server before us; `message.headers` reads for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.message import Octets

_NAME = re.compile(rb"([\x21-\x39\x3b-\x7e]+):")
LIMIT = 256 * 1024
"""Octets of a header block that are read, as by `message.headers`."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `name` is lower case and "" for a line that is none."""

    name: str
    raw: bytes
    """With its name and its CRLFs."""

    @property
    def value(self) -> str:
        """Unfolded, without the name."""
        return " ".join(self.raw.partition(b":")[2].decode("utf-8", "replace").split())


def fields(mail: Octets) -> list[Field]:
    """Every field above the first empty line, at most 256 KiB of them."""
    return [Field(name, block) for name, block in _blocks(mail)]


def without(mail: Octets, unwanted: frozenset[Field]) -> bytes:
    """The mail without some of its fields."""
    block = b"".join(raw for name, raw in _blocks(mail) if Field(name, raw) not in unwanted)
    return block + mail[_end(mail) :]


def _end(mail: Octets) -> int:
    """Where the fields end."""
    if mail[:2] == b"\r\n":
        return 0
    end = mail.find(b"\r\n\r\n", 0, LIMIT)
    return end + 2 if end >= 0 else min(len(mail), mail.rfind(b"\r\n", 0, LIMIT) + 2)


def _blocks(mail: Octets) -> Iterator[tuple[str, bytes]]:
    block: list[bytes] = []
    for line in mail[: _end(mail)].splitlines(keepends=True):
        if block and line[:1] not in b" \t":
            yield _named(b"".join(block))
            block.clear()
        block.append(line)
    if block:
        yield _named(b"".join(block))


def _named(raw: bytes) -> tuple[str, bytes]:
    match = _NAME.match(raw)
    return (match[1].decode("ascii").lower() if match else ""), raw

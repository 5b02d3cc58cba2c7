"""Outlook's winmail.dat (TNEF): the message and the files wrapped in it.

Sources: MS-OXTNEF (stream of attributes), MS-OXCDATA (property types), MS-OXRTFCP (compressed RTF).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.errors import BadDocument
from gateway.pages.manifest import BROKEN

_ATTACH_TITLE, _ATTACH_DATA, _ATTACH_PROPERTIES, _ATTACH_BEGINS = 0x8010, 0x800F, 0x9005, 0x9002
_MAIL_PROPERTIES, _CODE_PAGE = 0x9003, 0x9007
_BODY, _RTF, _HTML, _DATA, _SHORT_NAME, _LONG_NAME, _TYPE = 0x1000, 0x1009, 0x1013, 0x3701, 0x3704, 0x3707, 0x370E
_FIXED = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 10: 4, 11: 4, 20: 8, 64: 8, 72: 16}  # bytes that a value takes, by its type
_TEXT8, _TEXT16, _BINARY, _OBJECT = 0x1E, 0x1F, 0x102, 0x0D
_MOST_VALUES = 10_000
_LARGEST_RTF = 20_000_000
_RTF_START = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor "
    rb"MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    + b"\r\n"
    + rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)


@dataclass(slots=True)
class File:
    """One file in it."""

    name: str = ""
    content_type: str = ""
    content: bytes = b""


@dataclass(slots=True)
class Letter:
    """What was wrapped: the words in one to three forms, and the files."""

    text: str = ""
    html: bytes = b""
    rtf: bytes = b""
    files: list[File] = field(default_factory=list)


def read(content: bytes, title: str) -> Letter:
    """Take a winmail.dat apart. Raises BadDocument."""
    letter, codec = Letter(), "cp1252"
    try:
        for number, value in _attributes(content):
            if number == _CODE_PAGE and len(value) >= 4:
                codec = _codec(struct.unpack("<I", value[:4])[0])
            elif number == _MAIL_PROPERTIES:
                _read_mail(letter, value, codec)
            elif number == _ATTACH_BEGINS:
                letter.files.append(File())
            elif letter.files:
                _read_file(letter.files[-1], number, value, codec)
    except (struct.error, LookupError, ValueError, EOFError) as broken:
        raise BadDocument(f"{title} is broken", part=title, reply=BROKEN) from broken
    return letter


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 6  # behind the signature and the key
    while at + 9 <= len(content):
        number, _, length = struct.unpack_from("<HHI", content, at + 1)
        value = content[at + 9 : at + 9 + length]
        if len(value) < length:
            raise EOFError
        if content[at + 9 + length : at + 11 + length] not in (_checksum(value), b"", b"\0\0"):
            raise ValueError("an attribute is damaged")  # its length may be wrong, and what follows would be lost
        yield number, value
        at += 9 + length + 2  # and the checksum


def _checksum(value: bytes) -> bytes:
    return struct.pack("<H", sum(value) & 0xFFFF)


def _read_mail(letter: Letter, value: bytes, codec: str) -> None:
    for number, kind, found in _properties(value):
        if number == _BODY:
            letter.text = _text(kind, found, codec)
        elif number == _HTML:
            letter.html = found
        elif number == _RTF:
            letter.rtf = plain_rtf(found)


def _read_file(file: File, number: int, value: bytes, codec: str) -> None:
    if number == _ATTACH_TITLE:
        file.name = file.name or value.rstrip(b"\0").decode(codec, "replace")
    elif number == _ATTACH_DATA:
        file.content = value
    elif number == _ATTACH_PROPERTIES:
        for name, kind, found in _properties(value):
            if name == _LONG_NAME or (name == _SHORT_NAME and not file.name):
                file.name = _text(kind, found, codec)
            elif name == _TYPE:
                file.content_type = _text(kind, found, codec).lower()
            elif name == _DATA and not file.content:
                file.content = found[16:] if kind == _OBJECT else found  # an object begins with what interface it has


def _properties(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, type and value of each MAPI property."""
    (count,) = struct.unpack_from("<I", data)
    at = 4
    for _ in range(min(count, _MOST_VALUES)):
        kind, number = struct.unpack_from("<HH", data, at)
        at += 4
        if number >= 0x8000:  # named: a GUID and a number or a name
            (how,) = struct.unpack_from("<I", data, at + 16)
            (size,) = struct.unpack_from("<I", data, at + 20)
            at += 24 + (_padded(size) if how == 1 else 0)
        many, kind = bool(kind & 0x1000), kind & ~0x1000
        varying = kind in (_TEXT8, _TEXT16, _BINARY, _OBJECT)
        values = 1
        if many or varying:
            (values,) = struct.unpack_from("<I", data, at)
            at += 4
        for n in range(min(values, _MOST_VALUES)):
            if varying:
                (size,) = struct.unpack_from("<I", data, at)
                at += 4
            else:
                size = _FIXED[kind]
            if at + size > len(data):
                raise EOFError
            if n == 0:
                yield number, kind, data[at : at + size]
            at += _padded(size)


def _padded(size: int) -> int:
    return size + -size % 4


def _text(kind: int, value: bytes, codec: str) -> str:
    return value.decode("utf-16-le" if kind == _TEXT16 else codec, "replace").rstrip("\0")


def _codec(page: int) -> str:
    name = {65001: "utf-8", 20127: "cp1252", 1200: "utf-16-le"}.get(page, f"cp{page}")
    try:
        "".encode(name)
    except LookupError:
        return "cp1252"
    return name


def plain_rtf(packed: bytes) -> bytes:
    """RTF out of its compressed form (MS-OXRTFCP 3.1.1.1): copies from a ring of 4,096 bytes. Raises ValueError."""
    size, raw, magic = struct.unpack_from("<III", packed)
    if magic == 0x414C454D:  # "MELA": not compressed
        return packed[16 : 16 + raw]
    if magic != 0x75465A4C:  # "LZFu"
        raise ValueError("no compressed RTF")
    ring = bytearray(_RTF_START.ljust(4096, b" "))
    write, at, end = len(_RTF_START), 16, min(len(packed), size + 4)
    made = bytearray()
    while at < end and len(made) < _LARGEST_RTF:
        flags, at = packed[at], at + 1
        for bit in range(8):
            if at >= end:
                break
            if flags >> bit & 1:
                if at + 1 >= end:
                    break
                offset, length = packed[at] << 4 | packed[at + 1] >> 4, (packed[at + 1] & 15) + 2
                at += 2
                if offset == write:
                    return bytes(made[:raw])
                piece = bytearray()
                for n in range(length):
                    piece.append(ring[(offset + n) % 4096])
                    ring[(write + n) % 4096] = piece[-1]
                write = (write + length) % 4096
                made += piece
            else:
                ring[write] = packed[at]
                made.append(packed[at])
                write, at = (write + 1) % 4096, at + 1
    return bytes(made[:raw])

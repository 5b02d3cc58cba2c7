"""Files inside a file: zip archives of documents. Nothing is written to disk; sizes are counted while unpacking."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from gateway.errors import BadDocument
from gateway.pages.manifest import BROKEN, TOO_MUCH

MOST_FILES = 100
LARGEST = 200_000_000  #: bytes, of all files of an archive together

_PIECE = 1 << 20
_CLUTTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers add by themselves
_FAULTS = (zipfile.BadZipFile, NotImplementedError, EOFError, LookupError, OSError, ValueError, struct.error, zlib.error)


def files(content: bytes, title: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a zip archive, in its order. Raises BadDocument: broken, locked, too much."""
    room = LARGEST
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [one for one in archive.infolist() if not one.is_dir() and not _is_clutter(one.filename)]
            if len(members) > MOST_FILES:
                raise BadDocument(f"{title} holds more than {MOST_FILES} files", part=title, reply=TOO_MUCH)
            for member in members:
                if member.flag_bits & 1:
                    raise BadDocument(f"{title} is protected by a password", part=title, reply=BROKEN)
                unpacked = _unpacked(archive, member, room)
                if unpacked is None:
                    raise BadDocument(f"{title} unpacks to more than {LARGEST // 1_000_000} MB", part=title, reply=TOO_MUCH)
                room -= len(unpacked)
                yield member.filename, unpacked
    except _FAULTS as broken:
        raise BadDocument(f"{title} is broken", part=title, reply=BROKEN) from broken


def _is_clutter(name: str) -> bool:
    return any(name.startswith(one) or name.rpartition("/")[2] == one for one in _CLUTTER)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, room: int) -> bytes | None:
    """The file's bytes; None when they are more than `room`, whatever its header claims."""
    pieces = bytearray()
    with archive.open(member) as file:
        while piece := file.read(_PIECE):
            pieces += piece
            if len(pieces) > room:
                return None
    return bytes(pieces)

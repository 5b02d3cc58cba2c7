"""A mail on its way from a mailbox, on disk from its first octet: whatever its size, one piece of it is in memory.

Promises that a mail whose lines do not all end in CR and LF together is refused, as at the other doors: two readers of it could
see two different mails. Sources: RFC 5321 §2.3.8, RFC 9051 §2.2.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from gateway.errors import Refused, SpoolUnavailable


class Fetched:
    """A file that is written piece by piece."""

    def __init__(self, path: Path, limit: int) -> None:
        """`limit`: octets of the largest mail. Raises SpoolUnavailable."""
        self._limit, self._size, self._last = limit, 0, b""
        self._clean = True
        try:
            self._file = path.open("w+b", buffering=0)
        except OSError as error:
            raise SpoolUnavailable(f"The spool cannot be written ({error.strerror}).") from error

    def expect(self, size: int) -> None:
        """What the server says of its size. Raises Refused."""
        if size > self._limit:
            raise Refused(f"This mail is larger than {self._limit} octets.", reply="552 5.3.4")

    def add(self, piece: bytes) -> None:
        """The next octets. Raises Refused, SpoolUnavailable."""
        self._size += len(piece)
        self.expect(self._size)
        window = self._last + piece
        self._last = b"\r" if piece.endswith(b"\r") else b""
        whole = window.removesuffix(b"\r") if self._last else window
        ends = whole.count(b"\r\n")
        self._clean = self._clean and whole.count(b"\r") == ends == whole.count(b"\n")
        try:
            self._file.write(piece)
        except OSError as error:
            raise SpoolUnavailable(f"The spool cannot be written ({error.strerror}).") from error

    def content(self) -> mmap.mmap:
        """The whole mail, as the file has it. Raises Refused."""
        if not self._size:
            raise Refused("This mail is empty.", reply="550 5.6.0")
        if not self._clean or self._last:
            raise Refused("This mail has a line that does not end in CR and LF together.", reply="550 5.6.0")
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """What `content` gave goes on being there."""
        self._file.close()

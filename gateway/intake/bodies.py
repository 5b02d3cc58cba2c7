"""The text of a mail as DKIM hashes it.

In pieces, so that a mail of any size holds nobody else up: while one is hashed, the event loop goes on. Each octet is
looked at once, whatever a stranger wrote. Sources: RFC 6376 §3.4.3, §3.4.4.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from gateway.message import Octets

_PIECE = 256 * 1024
_BLANKS = re.compile(rb"[\t ]+")


def sha256(mail: Octets, *, is_relaxed: bool) -> bytes:
    """The hash of the text behind the header, canonical in the simple or the relaxed way.

    mail  lines end in CRLF
    """
    start = mail.find(b"\r\n\r\n")
    digest, empty, is_empty = hashlib.sha256(), 0, True  # empty lines are held back: at the end they do not count
    for piece in _pieces(mail, start + 4 if start >= 0 else len(mail)):
        text = _relaxed(piece) if is_relaxed else piece
        core = text.rstrip(b"\r\n")
        if core:
            digest.update(b"\r\n" * empty)
            digest.update(core)
            empty, is_empty = 0, False
        empty += (len(text) - len(core)) // 2
    if not is_empty or not is_relaxed:
        digest.update(b"\r\n")
    return digest.digest()


def _pieces(mail: Octets, at: int) -> Iterator[bytes]:
    """Whole lines, so many at a time."""
    while at < len(mail):
        end = mail.find(b"\r\n", at + _PIECE)
        end = end + 2 if end >= 0 else len(mail)
        yield mail[at:end]
        at = end


def _relaxed(lines: bytes) -> bytes:
    """Blanks at the end of lines are gone, others are one each."""
    return b"\r\n".join(_BLANKS.sub(b" ", line).rstrip(b" ") for line in lines.split(b"\r\n"))

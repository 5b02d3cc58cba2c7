"""Mails written down: header fields, parts, and the bytes on the wire.

Promises 7-bit bytes with CRLF line ends and no line longer than 998, the same for the same input, and refuses to write
a header field that could be read as two. Knows nothing of faxes.

The library's generators fold again what they are given, and differ in how from version to version; the machine part of
a report has to come out as it was written. Hence this small writer; the tests read everything back with the library.
Sources: RFC 5322 section 2.2, RFC 2045, 2046, 2047, 2183; reference/internet-fax-standards.md row AUR-10.
"""

from __future__ import annotations

import base64
import quopri
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.header import Header

LONGEST = 998
"""Characters of a line without its end, RFC 5322 section 2.1.1."""
_FIELD = re.compile(r"[!-9;-~]+: [ -~]*(\r\n [ -~]+)*\Z")
_SHORT = 60
"""Characters of a line that fit behind any field name of ours without folding."""
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>\Z")
_JOINERS = "\u200c\u200d"  # many scripts need them; they move nothing
_ADDRESS = re.compile(r"[!-;=?-~]{1,320}\Z")

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Part:
    """One body with the fields that describe it."""

    fields: tuple[tuple[str, str], ...]
    body: bytes


def plain(text: str, limit: int = 300) -> str:
    """Text from outside on one line: no controls, no direction marks, no lone surrogates, at most `limit` characters."""
    text = text[: limit * 8].encode("utf-8", "replace").decode("utf-8")
    text = " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def unstructured(name: str, text: str) -> str:
    """The value of a field for people (`name` says which): as it is, or in encoded words that are whole characters."""
    text = plain(text, 400)
    lines = textwrap.wrap(text, _SHORT, break_long_words=False, break_on_hyphens=False)
    if text.isascii() and "=?" not in text and max(map(len, lines), default=0) <= _SHORT:
        return "\r\n ".join(lines)
    return Header(text, "utf-8", header_name=name, maxlinelen=76).encode(linesep="\r\n")


def mailbox(name: str, address: str) -> str:
    """`"name" <address>`; the address must be one of ours."""
    name = plain(name, 60)
    if name.isascii():
        shown = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        shown = Header(name, "utf-8", header_name="From", maxlinelen=76).encode(linesep="\r\n")
    return f"{shown}\r\n <{address}>" if len(shown) + len(address) > _SHORT else f"{shown} <{address}>"


def address(text: str) -> str:
    """A foreign address as it may stand in a header; one that cannot stand there is not shown."""
    return text if _ADDRESS.match(text) else "undisclosed-recipients:;"


def message_ids(ids: Iterable[str], limit: int = 20) -> str:
    """Message-IDs for threading, one a line; of a long chain the first and the last, as RFC 5322 section 3.6.4 advises."""
    good = list(dict.fromkeys(one for one in ids if _MESSAGE_ID.match(one)))
    return "\r\n ".join(good if len(good) <= limit else good[:1] + good[1 - limit :])


def text(subtype: str, content: str) -> Part:
    """Readable text; quoted-printable, so that any length of line is safe."""
    data = "\r\n".join(content.splitlines()) + "\r\n"
    encoded = quopri.encodestring(data.encode("utf-8", "replace"))
    fields = (("Content-Type", f"text/{subtype}; charset=utf-8"), ("Content-Transfer-Encoding", "quoted-printable"))
    return Part(fields, _crlf(encoded))


def verbatim(content_type: str, data: bytes, *more: tuple[str, str]) -> Part:
    """Bytes of a text-like type, CRLF ends, as they are where they are clean, else quoted-printable."""
    clean = is_clean(data)
    encoding = "7bit" if clean else "quoted-printable"
    fields = (("Content-Type", content_type), ("Content-Transfer-Encoding", encoding), *more)
    return Part(fields, data if clean else _crlf(quopri.encodestring(data)))


def binary(content_type: str, data: bytes, *more: tuple[str, str]) -> Part:
    """Any bytes, in base64."""
    fields = (("Content-Type", content_type), ("Content-Transfer-Encoding", "base64"), *more)
    return Part(fields, _crlf(base64.encodebytes(data)))


def multipart(kind: str, boundary: str, parts: Iterable[Part]) -> Part:
    """Parts in one; `kind` is the subtype with its parameters, `boundary` occurs in none of them."""
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode("ascii"), _written(part.fields, part.body)) for part in parts)
    fields = (("Content-Type", f'multipart/{kind};\r\n boundary="{boundary}"'),)
    return Part(fields, body + b"--%b--\r\n" % boundary.encode("ascii"))


def mail(fields: Fields, root: Part) -> bytes:
    """The whole mail."""
    return _written([*fields, ("MIME-Version", "1.0"), *root.fields], root.body)


def block(fields: Fields) -> bytes:
    """Header fields; those without a value are left out. Raises ValueError for one that is not exactly one field."""
    lines = [f"{name}: {value}" for name, value in fields if value]
    for line in lines:
        if not _FIELD.match(line) or max(map(len, line.split("\r\n"))) > LONGEST:
            raise ValueError(f"not one header field: {line[:60]!r}")
    return "".join(line + "\r\n" for line in lines).encode("ascii")


def is_clean(data: bytes) -> bool:
    """Whether bytes may go over the wire as they are: ASCII without controls, CRLF ends, no long line."""
    lines = data.split(b"\r\n")
    return (
        data.isascii()
        and not any(forbidden in line for line in lines for forbidden in (b"\r", b"\n", b"\0"))
        and max(map(len, lines)) <= LONGEST
    )


def _written(fields: Fields, body: bytes) -> bytes:
    return block(fields) + b"\r\n" + body


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

"""Signed mail whose text is inside its signature (S/MIME "opaque" signing): the text taken out.

Reads no more of ASN.1 than that needs, in DER and in BER with open lengths, as Outlook and OpenSSL write it. The signature is
not looked at: it proves no sender here. Sources: RFC 5652 §3, §5.1, §5.2; X.690 §8.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

SIGNED = bytes.fromhex("06092a864886f70d010702")
"""The object identifier of signed data, as it stands at the beginning."""

_SEQUENCE, _EXPLICIT, _OCTETS, _OCTETS_IN_PIECES = 0x30, 0xA0, 0x04, 0x24
_CONSTRUCTED, _OPEN, _END = 0x20, 0x80, b"\0\0"
_DEEPEST = 12  # elements in one another; the text lies in the sixth, its pieces in the seventh


class _Element(NamedTuple):
    tag: int
    start: int
    end: int
    following: int


def signed_content(data: bytes) -> bytes | None:
    """The MIME entity in signed data; None where it is something else, broken, or a signature alone."""
    try:
        info = _inside(data, _element(data, 0, 0), _SEQUENCE)
        kind, wrapped = next(info), next(info)
        if data[kind.start - 2 : kind.end] != SIGNED:
            return None
        signed = next(_inside(data, wrapped, _EXPLICIT))
        _version, _digests, encapsulated = (one for one, _ in zip(_inside(data, signed, _SEQUENCE), range(3), strict=False))
        _kind, content = _inside(data, encapsulated, _SEQUENCE)
        return b"".join(_pieces(data, next(_inside(data, content, _EXPLICIT))))
    except (IndexError, ValueError, StopIteration):
        return None


def _pieces(data: bytes, element: _Element) -> Iterator[bytes]:
    """The octets of a string, which may be written in pieces."""
    if element.tag == _OCTETS:
        yield data[element.start : element.end]
        return
    for piece in _inside(data, element, _OCTETS_IN_PIECES):
        if piece.tag != _OCTETS:
            raise ValueError("a piece is no octet string")
        yield data[piece.start : piece.end]


def _inside(data: bytes, element: _Element, tag: int) -> Iterator[_Element]:
    """The elements in an element of this tag. Raises ValueError for another."""
    if element.tag != tag:
        raise ValueError("another element was expected")
    at = element.start
    while at < element.end:
        child = _element(data, at, 0)
        yield child
        at = child.following


def _element(data: bytes, at: int, depth: int) -> _Element:
    """The element that begins here. Raises IndexError, ValueError."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length == _OPEN:
        if not tag & _CONSTRUCTED or depth > _DEEPEST:
            raise ValueError("an open length where none may be")
        end = start
        while data[end : end + 2] != _END:
            end = _element(data, end, depth + 1).following
        return _Element(tag, start, end, end + 2)
    if length > _OPEN:
        start += length - _OPEN
        length = int.from_bytes(data[at + 2 : start])
    if start + length > len(data):
        raise ValueError("it ends too early")
    return _Element(tag, start, start + length, start + length)

"""A posted form, taken apart: what a carrier's callback holds where it is not plain JSON.

`multipart/form-data` (RFC 7578) by python-multipart, and `application/x-www-form-urlencoded`. Whatever is wrong with it,
and more parts or headers than any carrier sends, is `CallbackRejected`. A part's file name is data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.errors import CallbackRejected

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST = 100  # parts
_Headers: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One field of a form."""

    name: str
    filename: str | None
    """None: it is no file."""
    content: bytes


def parts(headers: _Headers, body: bytes) -> Sequence[Part]:
    """The fields of a form in their order; `headers` are those of the request, names in lower case.

    Raises CallbackRejected.
    """
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        return _multipart(options.get(b"boundary", b""), body)
    if kind == b"application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST)
        except ValueError as error:
            raise CallbackRejected("The form makes no sense.") from error
        return [Part(name=name, filename=None, content=value.encode("utf-8", "replace")) for name, value in pairs]
    raise CallbackRejected("The callback is not a form.")


def document(fields: Sequence[Part]) -> bytes | None:
    """The first file, whatever its field is called; else the first field that is a PDF or TIFF; None = there is none."""
    named = [part.content for part in fields if part.filename is not None and part.content]
    plain = [part.content for part in fields if part.content.startswith((b"%PDF-", b"II*\0", b"MM\0*"))]
    return next(iter(named + plain), None)


class _Reader:
    """What the parser finds."""

    def __init__(self) -> None:
        self.found: list[Part] = []
        self.whole = False
        self._field = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._content = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
            "on_part_end": self._part,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.found) >= _MOST:
            raise FormParserError("too many parts")
        self._disposition, self._content = b"", bytearray()

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _part(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        filename = options.get(b"filename")
        self.found.append(
            Part(
                name=options.get(b"name", b"").decode("utf-8", "replace"),
                filename=None if filename is None else filename.decode("utf-8", "replace"),
                content=bytes(self._content),
            )
        )

    def _end(self) -> None:
        self.whole = True


def _multipart(boundary: bytes, body: bytes) -> Sequence[Part]:
    reader = _Reader()
    try:
        if not boundary:
            raise FormParserError("no boundary")
        MultipartParser(boundary, reader.callbacks()).write(body)
    except FormParserError as error:
        raise CallbackRejected("The form makes no sense.") from error
    if not reader.whole:
        raise CallbackRejected("The form is broken off.")
    return reader.found

"""The parameters of an API call, from wherever the program put them: query, urlencoded form, multipart, JSON; merged.

    To        one value; given again it must be the same
    To[]      a list, in the order of appearance
    To[2]     a list, in the order of the numbers

Names are matched without case, and one that nobody has documented is a fault, not silence: a mistyped `CoverPageTo` would
else send a fax without its cover. A multipart body without its closing boundary was cut off: its last file may be missing.

Limits: a body is at most `max_body` octets and comes within `body_time`; 1,000 fields, 100 files; a field that is no
file has at most `max_field` octets in multipart. Multipart files beyond 1 MB wait on disk (the system's folder for temporary
files).
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncGenerator, Collection, Sequence
from typing import cast
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

_FIELDS, _FILES = 1000, 100
_MAX_JSON = 65536  # octets
_INDEXED = re.compile(r"(?P<name>[A-Za-z]+)(?P<index>\[[0-9]{0,4}\])?")
Value = str | UploadFile
Items = Sequence[tuple[str, Value]]


class Fault(Exception):
    """The call is answered with this status and text."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or {}


class Parameters:
    """What a call says. `scalars` and `lists` are the names it may say, as they are documented."""

    def __init__(self, items: Items, *, scalars: Collection[str] = (), lists: Collection[str] = ()) -> None:
        self._names = {name.lower(): name for name in (*scalars, *lists)}
        self._lists = frozenset(lists)
        self._plain: dict[str, Value] = {}
        self._numbered: dict[str, dict[int, Value]] = {}
        for name, value in items:
            self._add(name, value)
        for name in self._numbered.keys() & self._plain.keys():
            if list(self._numbered[name].values()) != [self._plain[name]]:
                raise Fault(400, f"{name} is given as one value and as a list.")

    def one(self, name: str) -> str:
        """The text of a scalar without blanks around it; "" where it is not given."""
        return _text(name, self._plain.get(name, "")).strip()

    def given(self, name: str) -> bool:
        return name in self._plain

    def many(self, name: str) -> list[Value]:
        """The values of a list, in order."""
        if name in self._plain:
            return [self._plain[name]]
        return [value for _, value in sorted(self._numbered.get(name, {}).items())]

    def texts(self, name: str) -> list[str]:
        """The values of a list of texts, in order, as they came."""
        return [_text(name, value) for value in self.many(name)]

    def _add(self, written: str, value: Value) -> None:
        found = _INDEXED.fullmatch(written)
        name = self._names.get(found["name"].lower()) if found else None
        if found is None or name is None or (found["index"] and name not in self._lists):
            raise Fault(
                400, f"There is no parameter “{_shown(written)}” here; there are {', '.join(self._names.values()) or 'none'}."
            )
        if found["index"] is None:
            if self._plain.setdefault(name, value) != value:
                hint = f"; write {name}[] for several" if name in self._lists else ""
                raise Fault(400, f"{name} is given more than once, with different values{hint}.")
            return
        values = self._numbered.setdefault(name, {})
        place = int(found["index"][1:-1] or max(values, default=-1) + 1)
        if values.setdefault(place, value) != value:
            raise Fault(400, f"{name}[{place}] is given more than once, with different values.")


async def read(request: Request, *, max_body: int, body_time: float, max_field: int = 1_048_576, bare: str = "") -> Items:
    """Every parameter of a call, in the order query, body. Raises Fault. Uploads are to be closed by the caller.

    bare  a body that is no form is the upload of this name; "" = it is a fault
    """
    items = list[tuple[str, Value]](_urlencoded(request.scope["query_string"], "query"))
    try:
        async with asyncio.timeout(body_time):
            items += await _body(request, _bounded(request, max_body), max_field, bare)
    except TimeoutError as error:
        raise Fault(408, f"The request did not arrive within {body_time:.0f} seconds.") from error
    except ClientDisconnect as error:
        raise Fault(400, "The request broke off.") from error
    return items


def close(items: Items) -> None:
    """Let go of uploaded files."""
    for _, value in items:
        if isinstance(value, UploadFile):
            value.file.close()


async def drain(request: Request, most: int, seconds: float = 5.0) -> None:
    """Read on without keeping it, so that a client that is still writing sees the answer. Not one that waits to be told
    to go on."""
    if "expect" in request.headers:
        return
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                most -= len(chunk)
                if most < 0:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return  # nobody writes any more (RuntimeError: read to its end before); the answer is given all the same


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body; a Fault where it is too large, once the client has written it."""
    too_large = Fault(413, f"A request may have {most // 1_000_000} MB.")
    declared = int(request.headers.get("content-length", "0"))  # h11 has checked that it is a number
    if declared > most and "expect" in request.headers:
        raise too_large
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most:
            yield chunk
    if size > most:
        raise too_large


async def _body(request: Request, stream: AsyncGenerator[bytes, None], max_field: int, bare: str) -> Items:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _multipart(request.headers, stream, max_field)
    content = b"".join([chunk async for chunk in stream])
    if not content:
        return []
    if kind == "application/json":
        return _json(content)
    if kind in ("application/x-www-form-urlencoded", ""):
        return await asyncio.to_thread(_urlencoded, content, "form")
    if bare:
        return [(bare, UploadFile(io.BytesIO(content), size=len(content), filename="", headers=request.headers))]
    raise Fault(415, "Send multipart/form-data, application/x-www-form-urlencoded or application/json.")


class _Multipart(MultiPartParser):
    """Knows whether the end was seen."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _multipart(headers: Headers, stream: AsyncGenerator[bytes, None], max_field: int) -> Items:
    async def to_the_end() -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk
        if not parser.ended:  # said in here, where the parser still closes its files
            raise Fault(400, "The multipart body has no end: it was cut off, or its boundary is another one.")

    parser = _Multipart(headers, to_the_end(), max_files=_FILES, max_fields=_FIELDS, max_part_size=max_field)
    try:
        return (await parser.parse()).multi_items()
    except MultiPartException as error:
        raise Fault(400, f"The multipart body cannot be read: {error.message}") from error


def _urlencoded(content: bytes, where: str) -> list[tuple[str, Value]]:
    """Octets that are no UTF-8 are kept (`surrogateescape`): some programs post a whole document as a value."""
    try:
        pairs = parse_qsl(
            content.decode("ascii", "surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=_FIELDS,
        )
    except ValueError as error:
        raise Fault(400, f"The {where} has too many fields.") from error
    return [(name, value) for name, value in pairs]


class _Object(list[tuple[str, object]]):
    """A JSON object, its repetitions kept."""


def _json(content: bytes) -> Items:
    """A flat object; a value may be a list of texts."""
    if len(content) > _MAX_JSON:
        raise Fault(413, f"A JSON body may have {_MAX_JSON} bytes; send files as multipart/form-data.")
    try:
        body = json.loads(content, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise Fault(400, "The body is not JSON.") from error
    if not isinstance(body, _Object):
        raise Fault(400, "The JSON body must be an object.")
    items = list[tuple[str, Value]]()
    for name, value in body:
        if isinstance(value, list) and not isinstance(value, _Object):
            items += [(f"{name}[]", _json_text(name, one)) for one in cast(list[object], value)]
        elif value is not None:
            items.append((name, _json_text(name, value)))
    return items


def _json_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise Fault(400, f"The JSON value of “{_shown(name)}” must be a text, a number or a boolean.")


def _text(name: str, value: Value) -> str:
    if isinstance(value, UploadFile):
        raise Fault(400, f"{name} is a text, not a file.")
    if not value.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        raise Fault(400, f"{name} has characters that are no text.")
    return value


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:80]

"""The received faxes of HylaFAX: its list, their files, and who is told of which.

One session is kept for the list: within it hfaxd looks into a file once, so that thousands of old faxes cost one file
status each. A fax that is still coming in ends it, because hfaxd looks again only at a file that has changed since. A fax
is known by its file's name and the second in which it was complete: a spool that is set up anew begins with the same names.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.carriers.hylafax_server import Server
from gateway.carriers.hylafax_wire import Broken, Wire, text_of
from gateway.errors import CarrierRefused, CarrierUnavailable
from gateway.log import printable

_log = logging.getLogger(__name__)
#: name, still coming (*), when complete, bytes, pages, lines an inch, seconds, caller's number; its station may hold bars.
_FORMAT = "%f|%z|%Z|%n|%p|%r|%h|%j|%s"
_ENTRY = re.compile(
    r"(fax[0-9A-Za-z._-]{1,60})\|([* ]?)\|([0-9]{1,12})\|([0-9]{1,12})\|([0-9]{1,6})\|([0-9]{1,5})\|([0-9:]{0,12})\|([^|]{0,100})\|(.*)"
)
_REF = re.compile(r"(fax[0-9A-Za-z._-]{1,60})\.([0-9]{1,12})")
_LONGEST_LIST = 50_000_000  # bytes
_LARGEST = 100_000_000  # bytes of a fax


@dataclass(frozen=True, slots=True)
class Received:
    """One fax in recvq."""

    file: str
    comes: bool
    """It is still being received."""
    complete: int
    """Seconds since 1970."""
    size: int
    pages: int
    lines_per_inch: int
    seconds: float | None
    caller: str
    station: str
    raw: bytes

    @property
    def carrier_ref(self) -> str:
        return f"{self.file}.{self.complete}"

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.complete, UTC)


def received(content: bytes) -> Iterator[Received]:
    """The entries of a list; what is none is passed over."""
    for line in content.split(b"\n"):
        raw = line.rstrip(b"\r")
        if found := _ENTRY.fullmatch(text_of(raw)):
            yield Received(
                file=found[1],
                comes=found[2] == "*",
                complete=int(found[3]),
                size=int(found[4]),
                pages=int(found[5]),
                lines_per_inch=int(found[6]),
                seconds=_seconds(found[7]),
                caller=found[8].strip(),
                station=found[9].strip(),
                raw=raw,
            )
        elif raw.strip():
            _log.debug("an entry of recvq that is no fax: %s", printable(text_of(raw), 80))


def _seconds(written: str) -> float | None:
    """`0:20` or `1:02:03`."""
    parts = written.split(":")
    if not all(part.isdigit() for part in parts):
        return None
    return float(sum(int(part) * 60**n for n, part in enumerate(reversed(parts))))


def call_id(document: bytes, which: int) -> str:
    """One value of the call id that HylaFAX wrote into a received TIFF (ImageDescription: the station, then these), counted
    from 1; "" where there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(document[:4])
    with contextlib.suppress(struct.error):
        if order is not None:
            (at,) = struct.unpack_from(order + "I", document, 4)
            (count,) = struct.unpack_from(order + "H", document, at)
            for n in range(count):
                tag, kind, size, value = struct.unpack_from(order + "HHII", document, at + 2 + 12 * n)
                if tag == 270 and kind == 2 and 4 < size < 4096:
                    lines = text_of(document[value : value + size].split(b"\0")[0]).split("\n")
                    return lines[which].strip() if which < len(lines) else ""
    return ""


class Recvq:
    """The queue, over one session for lists and short ones for files."""

    def __init__(self, server: Server, *, delete: bool) -> None:
        self._server, self._delete = server, delete
        self._lock = asyncio.Lock()
        self._wire: Wire | None = None

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def list(self) -> list[Received]:
        """What is complete. Raises CarrierUnavailable."""
        async with self._lock:
            try:
                wire = await self._session()
                content = await _listed(self._server, wire, "recvq")
                found = await asyncio.to_thread(lambda: list(received(content)))
            except BaseException as error:
                self.close()
                if isinstance(error, Broken):
                    raise self._server.gone(error) from error
                raise
            if any(one.comes for one in found):
                self.close()
            return [one for one in found if not one.comes]

    async def _session(self) -> Wire:
        if self._wire is None or self._wire.closed:
            self._wire = await self._server.signed_in()
            await _prepare(self._server, self._wire)
        return self._wire

    async def fetch(self, carrier_ref: str) -> bytes:
        """One file, whole. Raises CarrierRefused where it is not there any more, CarrierUnavailable."""
        async with self._server.session(admin=self._delete) as wire:
            one = await self._one(wire, carrier_ref)
            self._server.check(await wire.ask("TYPE I"))
            reply, content = await wire.download(f"RETR recvq/{one.file}", _LARGEST)
            if reply.code == 550:
                raise _gone()
            self._server.check(reply)
            if len(content) != one.size:
                raise CarrierUnavailable("The received fax did not come whole.")
            return content

    async def forget(self, carrier_ref: str) -> None:
        """Remove it there, where that is wished and it is there. Raises CarrierUnavailable, CarrierRefused."""
        if not self._delete:
            return
        async with self._server.session(admin=True) as wire:
            with contextlib.suppress(CarrierRefused):
                one = await self._one(wire, carrier_ref)
                self._server.check(await wire.ask(f"DELE recvq/{one.file}"))

    async def _one(self, wire: Wire, carrier_ref: str) -> Received:
        """That very fax, complete. Raises CarrierRefused."""
        if not (ref := _REF.fullmatch(carrier_ref)):
            raise _gone()
        await _prepare(self._server, wire)
        content = await _listed(self._server, wire, f"recvq/{ref[1]}")
        for one in received(content):
            if one.carrier_ref == carrier_ref and not one.comes:
                return one
        raise _gone()


def _gone() -> CarrierRefused:
    return CarrierRefused("The fax server has no such received fax.", carrier_code="not in recvq")


async def _prepare(server: Server, wire: Wire) -> None:
    server.check(await wire.ask(f'RCVFMT "{_FORMAT}"'))
    server.check(await wire.ask("TYPE A"))


async def _listed(server: Server, wire: Wire, what: str) -> bytes:
    """A list; an entry that does not exist is an empty one."""
    reply, content = await wire.download(f"LIST {what}", _LONGEST_LIST)
    if reply.code in (450, 550):  # "No such file"; "not a plain file"
        return b""
    server.check(reply)
    return content

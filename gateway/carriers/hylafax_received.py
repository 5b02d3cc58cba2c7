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

from gateway.carriers.hylafax_calls import duration
from gateway.carriers.hylafax_server import Server
from gateway.carriers.hylafax_wire import Broken, Wire, text_of
from gateway.errors import CarrierRefused, CarrierUnavailable
from gateway.log import printable

_log = logging.getLogger(__name__)
#: name, still coming (*), when complete, bytes, pages, lines an inch, seconds, caller's number; its station may hold bars.
_FORMAT = "%f|%z|%Z|%n|%p|%r|%h|%j|%s"
_ENTRY = re.compile(
    r"(fax[0-9A-Za-z._-]{1,60})\|([* ]?)\|([0-9]{1,12})\|([0-9]{1,12})\|([0-9]{1,6})"
    r"\|([0-9]{1,5})\|([0-9:]{0,12})\|([^|]{0,100})\|(.*)"
)
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
                seconds=duration(found[7]),
                caller=found[8].strip(),
                station=found[9].strip(),
                raw=raw,
            )
        elif raw.strip():
            _log.debug("an entry of recvq that is no fax: %s", printable(text_of(raw), 80))


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
        self._last: dict[str, Received] = {}

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def stop(self) -> None:
        if self._wire is not None:
            await self._wire.ended()
            self._wire = None

    async def list(self) -> list[Received]:
        """What is complete. Raises CarrierUnavailable."""
        async with self._lock:
            try:
                wire = await self._session()
                reply, content = await wire.download("LIST recvq", _LONGEST_LIST)
                self._server.check(reply)
                found = await asyncio.to_thread(lambda: list(received(content)))
            except BaseException as error:
                self.close()
                if isinstance(error, Broken):
                    raise self._server.gone(error) from error
                raise
            if any(one.comes for one in found):
                self.close()
            self._last = {one.carrier_ref: one for one in found if not one.comes}
            return list(self._last.values())

    async def _session(self) -> Wire:
        if self._wire is None or self._wire.closed:
            self._wire = await self._server.signed_in()
            self._server.check(await self._wire.ask(f'RCVFMT "{_FORMAT}"'))
            self._server.check(await self._wire.ask("TYPE A"))
        return self._wire

    async def fetch(self, carrier_ref: str) -> bytes:
        """One file, whole. Raises CarrierRefused where it is not there any more, CarrierUnavailable."""
        one = await self._known(carrier_ref)
        async with self._server.session(admin=self._delete) as wire:
            await self._same(wire, one)
            self._server.check(await wire.ask("TYPE I"))
            reply, content = await wire.download(f"RETR recvq/{one.file}", _LARGEST)
            self._server.check(reply)
            if len(content) != one.size:
                raise CarrierUnavailable("The received fax did not come whole.")
            return content

    async def forget(self, carrier_ref: str) -> None:
        """Remove it there, where that is wished and it is there. Raises CarrierUnavailable, CarrierRefused."""
        if not self._delete:
            return
        with contextlib.suppress(CarrierRefused):
            one = await self._known(carrier_ref)
            async with self._server.session(admin=True) as wire:
                await self._same(wire, one)
                self._server.check(await wire.ask(f"DELE recvq/{one.file}"))

    async def _known(self, carrier_ref: str) -> Received:
        """Raises CarrierRefused where no complete fax is called that."""
        if carrier_ref not in self._last:
            await self.list()
        if carrier_ref not in self._last:
            raise _gone()
        return self._last[carrier_ref]

    async def _same(self, wire: Wire, one: Received) -> None:
        """That the file is still that fax. Raises CarrierRefused."""
        reply = await wire.ask(f"MDTM recvq/{one.file}")
        if reply.code == 550 or (reply.good and reply.text.strip() != f"{one.at:%Y%m%d%H%M%S}"):
            raise _gone()
        self._server.check(reply)


def _gone() -> CarrierRefused:
    return CarrierRefused("The fax server has no such received fax.", carrier_code="not in recvq")

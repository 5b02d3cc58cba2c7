"""What carriers say, by callback or when asked, made durable: events of outgoing faxes, announcements of received ones."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

from gateway import log
from gateway.carriers.base import Announcement, Event
from gateway.spool import events, inbounds, outbox
from gateway.spool.commit import Transaction
from gateway.spool.documents import Documents
from gateway.spool.events import Kept, Statement
from gateway.spool.inbounds import News
from gateway.spool.store import Store

_log = logging.getLogger(__name__)
_RAW_LIMIT = 64 * 1024  # bytes kept of a statement's raw form
_TEXT_LIMIT = 500
# What the tables hold; whatever is longer is not ours, or not a number.
_NUMBER_LIMIT, _SUB_ADDRESS_LIMIT, _REFERENCE_LIMIT, _STATION_LIMIT = 16, 20, 32, 40
_RESOLUTION_LIMIT = 12


class Statements:
    """Keeps carriers' statements."""

    def __init__(self, store: Store, documents: Documents) -> None:
        self._store, self._documents = store, documents

    async def keep(self, carrier: str, statements: Sequence[Event | Announcement]) -> int:
        """Store each statement once; how many were new. Durable when it returns. Raises SpoolUnavailable."""
        new = 0
        for statement in statements:
            if isinstance(statement, Event):
                new += await self._keep(carrier, statement)
            else:
                new += await self._announce(carrier, statement)
        return new

    async def _keep(self, carrier: str, said: Event) -> bool:
        def record(t: Transaction) -> Kept:
            kept = events.store(t, carrier, _statement(said))
            if kept is Kept.NEW:
                _alarm(t, carrier, said)
            return kept

        if said.believed and said.attention:
            kept = await self._store.write(record)
        else:  # the usual case: with the other statements of its moment
            kept = await self._store.write(events.store, carrier, _statement(said))
        if kept is Kept.LATE:
            what = f"{said.carrier_ref or said.reference} as {said.state}, but that attempt has ended otherwise"
            _log.warning("%s speaks of %s", carrier, log.printable(what), extra={"action": "event_late"})
        return kept is not Kept.KNOWN

    async def _announce(self, carrier: str, said: Announcement) -> bool:
        document = (await self._documents.put(said.document)).sha256 if said.document is not None else None
        news = News(
            carrier_ref=said.carrier_ref,
            line=log.printable(said.line, _NUMBER_LIMIT),
            caller=log.printable(said.caller, _STATION_LIMIT),
            station_id=log.printable(said.station_id, _STATION_LIMIT),
            sub_address=log.printable(said.sub_address, _SUB_ADDRESS_LIMIT),
            pages=said.pages,
            complete=said.complete,
            seconds=said.seconds,
            received_at=said.received_at,
            document=document,
        )
        fresh = await self._store.write(inbounds.announced, carrier, news)
        if fresh:
            _log.info("a fax for %s at %s", log.shown(said.line), carrier, extra={"action": "inbound_announced"})
        return fresh


def _alarm(t: Transaction, carrier: str, said: Event) -> None:
    """A person must put something right at the carrier: told once for each attempt, however often it says so."""
    name = hashlib.sha256(f"{carrier}\0{said.carrier_ref or said.reference}".encode()).hexdigest()
    whose = events.fax_of(t, carrier, said.carrier_ref, said.reference) or "a fax"
    text = f"{carrier} says {log.printable(said.carrier_code, 80)} of {whose}. {said.attention}"
    outbox.alarm(t, about=f"waits#{name[:32]}", what="a fax waits at its carrier", text=text)


def _statement(said: Event) -> Statement:
    return Statement(
        key=said.key,
        carrier_ref=said.carrier_ref,
        reference=log.printable(said.reference, _REFERENCE_LIMIT),
        state=said.state,
        outcome=said.outcome,
        carrier_code=log.printable(said.carrier_code, 80),
        text=log.printable(said.text, _TEXT_LIMIT),
        pages_sent=said.pages_sent,
        station_id=log.printable(said.station_id, _STATION_LIMIT),
        seconds=said.seconds,
        speed=said.speed,
        resolution=log.printable(said.resolution, _RESOLUTION_LIMIT),
        at=said.at,
        believed=said.believed,
        raw=said.raw[:_RAW_LIMIT],
    )

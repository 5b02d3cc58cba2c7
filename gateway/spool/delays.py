"""Faxes that take longer than their senders expect: which of them nobody has been told of yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, exists, select, tuple_

from gateway.fax import TransmissionId, TransmissionState
from gateway.spool import outbox, schema
from gateway.spool.commit import Transaction
from gateway.spool.schema import outbox as mail
from gateway.spool.schema import transmission

_ON_ITS_WAY = [
    state.value
    for state in (TransmissionState.ACCEPTED, TransmissionState.READY, TransmissionState.SENDING, TransmissionState.DEFERRED)
]


def untold(
    db: Connection, before: datetime, after: tuple[datetime, str] | None, limit: int
) -> Sequence[tuple[datetime, TransmissionId]]:
    """Faxes accepted before a time that have not ended and do not wait for a person, and of which no delay was told: when
    they were accepted, and their ids, oldest first, from `after` on."""
    of = transmission.c
    said = exists().where(mail.c.kind == outbox.DELAYED, mail.c.about == of.id)
    found = select(of.accepted_at, of.id).where(of.state.in_(_ON_ITS_WAY), of.accepted_at < before, ~said)
    if after is not None:
        found = found.where(tuple_(of.accepted_at, of.id) > tuple_(schema.moment(after[0]), after[1]))
    rows = db.execute(found.order_by(of.accepted_at, of.id).limit(limit)).all()
    return [(row.accepted_at, TransmissionId(row.id)) for row in rows]


def owe(t: Transaction, late: Iterable[TransmissionId]) -> None:
    """Owe the senders of these the report that they are delayed; once for each fax."""
    for fax in late:
        outbox.owe(t, kind=outbox.DELAYED, about=fax)

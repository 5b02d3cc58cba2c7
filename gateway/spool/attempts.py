"""Reading attempts as a carrier's list is compared with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, or_, select

from gateway.errors import Outcome
from gateway.fax import Attempt, AttemptId, AttemptState, TransmissionId
from gateway.lifecycle import OPEN_ATTEMPT
from gateway.spool import rows, schema

_AT_ONCE = 500  # references in one statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproven:
    """An attempt that the carrier perhaps took, and whose name there we do not know."""

    id: AttemptId
    number: str
    caller: str
    """Our line, E.164, or ""."""
    pages: int
    opened_at: datetime


def by_reference(db: Connection, carrier: str, references: Collection[str]) -> dict[str, Attempt]:
    """A carrier's attempts by our reference; those that there are."""
    table, found = schema.attempt, dict[str, Attempt]()
    for some in _some(references):
        query = select(table).where(table.c.carrier == carrier, table.c.reference.in_(some))
        found |= {row.reference: rows.attempt(row) for row in db.execute(query)}
    return found


def known_refs(db: Connection, carrier: str, carrier_refs: Collection[str]) -> set[str]:
    """Those of a carrier's references that an attempt of ours has."""
    table, found = schema.attempt, set[str]()
    for some in _some(carrier_refs):
        found |= set(db.scalars(select(table.c.carrier_ref).where(table.c.carrier == carrier, table.c.carrier_ref.in_(some))))
    return found


def submitted(db: Connection, carrier: str, since: datetime, until: datetime) -> list[Attempt]:
    """A carrier's attempts that it took in this time, oldest first."""
    table = schema.attempt
    found = db.execute(
        select(table)
        .where(table.c.carrier == carrier, table.c.submitted_at >= since, table.c.submitted_at < until)
        .order_by(table.c.submitted_at)
    )
    return [rows.attempt(row) for row in found]


def at_carrier(db: Connection, carrier: str) -> dict[str, TransmissionId]:
    """The faxes that a carrier has and may be calling, by its references."""
    of = schema.attempt.c
    found = select(of.carrier_ref, of.transmission_id).where(
        of.carrier == carrier, of.slot.is_not(None), of.state == AttemptState.SUBMITTED.value, of.carrier_ref.is_not(None)
    )
    return {row.carrier_ref: TransmissionId(row.transmission_id) for row in db.execute(found)}


def unproven(db: Connection, carrier: str, number: str) -> list[Unproven]:
    """A carrier's attempts to call a number that it perhaps took: open ones, and those a person has decided upon."""
    attempt, transmission = schema.attempt, schema.transmission
    open_ones = attempt.c.state.in_([state.value for state in OPEN_ATTEMPT])
    decided = attempt.c.outcome.in_([Outcome.UNKNOWN.value, Outcome.DELIVERED.value])
    found = db.execute(
        select(attempt.c.id, attempt.c.opened_at, transmission.c.number, transmission.c.caller, transmission.c.pages)
        .join(transmission, transmission.c.id == attempt.c.transmission_id)
        .where(attempt.c.carrier == carrier, attempt.c.carrier_ref.is_(None), or_(open_ones, decided))
        .where(transmission.c.number == number)
        .order_by(attempt.c.id)
    )
    return [
        Unproven(id=AttemptId(row.id), number=row.number, caller=row.caller, pages=row.pages, opened_at=row.opened_at)
        for row in found
    ]


def _some(wanted: Collection[str]) -> Iterator[Sequence[str]]:
    every = sorted(wanted)
    for n in range(0, len(every), _AT_ONCE):
        yield every[n : n + _AT_ONCE]

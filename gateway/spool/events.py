"""Verbs of carriers' statements about outgoing faxes: stored once by (carrier, key), applied by the lease holder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from gateway.errors import Outcome
from gateway.fax import AttemptId, AttemptState, TransmissionId, new_id
from gateway.lifecycle import OPEN_ATTEMPT
from gateway.spool import outbox, schema, steering, steps
from gateway.spool.commit import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement of a carrier in our words. The shape of `carriers.base.Event`, which this room does not know."""

    key: str
    carrier_ref: str
    reference: str
    state: AttemptState
    outcome: Outcome | None
    carrier_code: str
    text: str
    pages_sent: int
    station_id: str
    seconds: float | None
    at: datetime
    believed: bool
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A statement as it lies in the spool."""

    id: str
    statement: Statement


class Kept(StrEnum):
    """What became of a statement."""

    KNOWN = "known"  #: it was stored before
    NEW = "new"  #: stored; whoever holds the lease will apply it
    LATE = "late"  #: stored and flagged: its attempt has ended otherwise, and nothing moves


def store(t: Transaction, carrier: str, statement: Statement) -> Kept:
    """Keep a statement and have the fax it is about looked at. One about an attempt that has ended moves nothing."""
    values = {
        "id": new_id("ev"),
        "carrier": carrier,
        "event_key": statement.key,
        "carrier_ref": statement.carrier_ref,
        "reference": statement.reference,
        "state": statement.state.value,
        "outcome": statement.outcome.value if statement.outcome else None,
        "carrier_code": statement.carrier_code,
        "text": statement.text,
        "pages_sent": statement.pages_sent,
        "station_id": statement.station_id,
        "seconds": statement.seconds,
        "at": statement.at,
        "believed": statement.believed,
        "raw": statement.raw,
        "received_at": t.now,
        "late": False,
    }
    if not t.insert_new(schema.event, values) and not _proven(t, values):
        return Kept.KNOWN
    about = _about(t, carrier, statement.carrier_ref, statement.reference)
    if about is None:
        return Kept.NEW
    attempt, transmission = about
    steps.nudge(t, transmission)  # locks the step: from here on the attempt does not end under our hands
    ended_as = AttemptState(t.at_once.execute(_STATE, {"attempt": attempt}).scalar_one())
    if ended_as in OPEN_ATTEMPT:
        return Kept.NEW
    late = statement.state is not ended_as and statement.state not in OPEN_ATTEMPT
    table = schema.event
    t.db.execute(update(table).where(table.c.id == values["id"]).values(applied_at=t.now, late=late))
    if late:
        t.note(transmission, "late event", f"{statement.state} {statement.outcome or ''} {statement.carrier_code}".strip())
    if late and statement.state is AttemptState.DELIVERED:
        _delivered_after_all(t, transmission)
    return Kept.LATE if late else Kept.NEW


def _proven(t: Transaction, values: dict[str, Any]) -> bool:
    """The same was said before without proof: what is believed takes its place, whatever else the other one claimed."""
    if not values["believed"]:
        return False
    table = schema.event
    same = (table.c.carrier == values["carrier"], table.c.event_key == values["event_key"], table.c.believed.is_(False))
    found = t.at_once.execute(select(table.c.id).where(*same)).first()
    if found is None:
        return False
    values["id"] = found.id
    t.at_once.execute(update(table).where(table.c.id == found.id).values(**values))
    return True


def _delivered_after_all(t: Transaction, transmission: TransmissionId) -> None:
    """An attempt that had failed was delivered, the carrier says now: no further call, and a person must know."""
    steering.ask(t, transmission, "hold", "", "the carrier's late word that it was delivered")
    text = f"{transmission}: its attempt was reported as failed before. Its sender may have been told so."
    outbox.alarm(t, about=f"{transmission}#late", what="a carrier says late that a fax was delivered", text=text)


def waiting(db: Connection, carrier: str, carrier_ref: str, reference: str) -> list[Stored]:
    """Statements about one attempt that were not applied yet, in the order of their times."""
    about = {"of": carrier, "ref": carrier_ref, "ours": reference}
    found = db.execute(_WAITING if carrier_ref else _WAITING_OURS, about)
    names = Statement.__dataclass_fields__
    return [
        Stored(
            id=row.id,
            statement=Statement(
                **{
                    **{name: getattr(row, name) for name in names if name not in ("key", "state", "outcome")},
                    "key": row.event_key,
                    "state": AttemptState(row.state),
                    "outcome": Outcome(row.outcome) if row.outcome else None,
                }
            ),
        )
        for row in found
    ]


def waiting_about(db: Connection, attempts: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], list[Stored]]:
    """The same about many attempts, each given as carrier, the carrier's reference and ours."""
    return {about: waiting(db, *about) for about in attempts}


_event = schema.event
_NOT_APPLIED = (
    select(_event).where(_event.c.carrier == bindparam("of"), _event.c.applied_at.is_(None)).order_by(_event.c.at, _event.c.id)
)
_OURS = _event.c.reference == bindparam("ours")
_WAITING_OURS = _NOT_APPLIED.where(_OURS)
_WAITING = _NOT_APPLIED.where(or_(_OURS, and_(_event.c.carrier_ref == bindparam("ref"), _event.c.carrier_ref != "")))


def mark_applied(t: Transaction, ids: Iterable[str]) -> None:
    """These statements have had their effect."""
    for event in ids:
        t.change(schema.event, {"id": event}, {"applied_at": t.now})


_attempt = schema.attempt
_STATE = select(_attempt.c.state).where(_attempt.c.id == bindparam("attempt"))
_BY_REF = and_(_attempt.c.carrier_ref == bindparam("ref"), _attempt.c.carrier_ref != "")
_OF_CARRIER = select(_attempt.c.id, _attempt.c.transmission_id).where(_attempt.c.carrier == bindparam("of"))
_ABOUT_REF = _OF_CARRIER.where(_BY_REF)
_ABOUT = _OF_CARRIER.where(or_(_BY_REF, _attempt.c.reference == bindparam("ours")))


def fax_of(t: Transaction, carrier: str, carrier_ref: str, reference: str) -> TransmissionId | None:
    """The fax that a carrier speaks of by its reference or by ours."""
    about = _about(t, carrier, carrier_ref, reference)
    return about[1] if about else None


def _about(t: Transaction, carrier: str, carrier_ref: str, reference: str) -> tuple[AttemptId, TransmissionId] | None:
    """The attempt a statement is about, and its fax."""
    names = {"of": carrier, "ref": carrier_ref, "ours": reference}
    row = t.at_once.execute(_ABOUT if reference else _ABOUT_REF, names).first()
    return (AttemptId(row.id), TransmissionId(row.transmission_id)) if row else None

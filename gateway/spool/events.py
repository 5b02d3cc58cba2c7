"""Verbs of carriers' statements about outgoing faxes: stored once by (carrier, key), applied by the lease holder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from gateway.errors import Outcome
from gateway.fax import AttemptId, AttemptState, TransmissionId, new_id
from gateway.lifecycle import OPEN_ATTEMPT
from gateway.spool import outbox, schema, steering, steps
from gateway.spool.commit import Transaction, together

About = tuple[str, str, str]
"""An attempt: its carrier, the carrier's reference and ours."""


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
    speed: int | None = None
    """Bits a second; None = not said."""
    resolution: str = ""


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


@together
def store(t: Transaction, said: Sequence[tuple[str, Statement]]) -> list[Kept]:
    """Keep statements and have the faxes they are about looked at. One about an attempt that has ended moves nothing."""
    rows = [_values(t, carrier, statement) for carrier, statement in said]
    # In the order of their keys: two nodes that hear the same do not wait for each other in a circle.
    new = t.insert_new(schema.event, sorted(rows, key=lambda row: (row["carrier"], row["event_key"])))
    new |= {row["id"] for row in rows if row["id"] not in new and _proven(t, row)}
    about = _about(t, [row for row in rows if row["id"] in new])
    # Locks the steps: from here on the attempts do not end under our hands.
    steps.nudge_all(t, {transmission for _, transmission in about.values()})
    wanted = {"wanted": [attempt for attempt, _ in about.values()]}
    states = {row.id: AttemptState(row.state) for row in t.db.execute(_STATES, wanted).all()} if about else {}
    kept = list[Kept]()
    for row, (_, statement) in zip(rows, said, strict=True):
        if row["id"] not in about:
            kept.append(Kept.NEW if row["id"] in new else Kept.KNOWN)
            continue
        attempt, transmission = about[row["id"]]
        kept.append(_judged(t, row["id"], statement, states[attempt], transmission))
    return kept


def _judged(t: Transaction, event: str, statement: Statement, ended_as: AttemptState, transmission: TransmissionId) -> Kept:
    """What a statement is worth that finds its attempt in this state."""
    if ended_as in OPEN_ATTEMPT:
        return Kept.NEW
    late = statement.state is not ended_as and statement.state not in OPEN_ATTEMPT
    table = schema.event
    t.db.execute(update(table).where(table.c.id == event).values(applied_at=t.now, late=late))
    if late:
        t.note(transmission, "late event", f"{statement.state} {statement.outcome or ''} {statement.carrier_code}".strip())
    else:  # nothing moves; evidence is gathered where the history says that there is something
        t.note(transmission, "said again", statement.state)
    if late and statement.state is AttemptState.DELIVERED:
        _delivered_after_all(t, transmission)
    return Kept.LATE if late else Kept.NEW


def _values(t: Transaction, carrier: str, statement: Statement) -> dict[str, Any]:
    return {
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
        "speed": statement.speed,
        "resolution": statement.resolution,
        "at": statement.at,
        "believed": statement.believed,
        "raw": statement.raw,
        "received_at": t.now,
        "late": False,
    }


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
    about = (carrier, carrier_ref, reference)
    return waiting_about(db, [about]).get(about, [])


def waiting_about(db: Connection, attempts: Sequence[About]) -> dict[About, list[Stored]]:
    """The same about those of many attempts of which there are any."""
    by_reference = db.execute(_BY_REFERENCE, {"wanted": [reference for _, _, reference in attempts]}).all()
    by_ref = list[Row[Any]]()
    for carrier in {carrier for carrier, _, _ in attempts}:
        refs = [ref for of, ref, _ in attempts if of == carrier and ref]
        by_ref += db.execute(_BY_CARRIER_REF, {"of": carrier, "wanted": refs}).all() if refs else ()
    found = defaultdict[tuple[str, str, str], dict[str, Row[Any]]](dict)
    for row in by_reference:
        found["ours", row.carrier, row.reference][row.id] = row
    for row in by_ref:
        found["theirs", row.carrier, row.carrier_ref][row.id] = row
    if not found:
        return {}
    said = dict[About, list[Stored]]()
    for about in attempts:
        carrier, ref, reference = about
        rows = {**found.get(("ours", carrier, reference), {}), **found.get(("theirs", carrier, ref), {})}
        if rows:
            said[about] = [_stored(row) for row in sorted(rows.values(), key=lambda row: (row.at, row.id))]
    return said


_event = schema.event
_NOT_APPLIED = select(_event).where(_event.c.applied_at.is_(None))
_BY_REFERENCE = _NOT_APPLIED.where(schema.among(_event.c.reference, "wanted"))
_BY_CARRIER_REF = _NOT_APPLIED.where(_event.c.carrier == bindparam("of"), schema.among(_event.c.carrier_ref, "wanted"))


def _stored(row: Row[Any]) -> Stored:
    return Stored(
        id=row.id,
        statement=Statement(
            key=row.event_key,
            carrier_ref=row.carrier_ref,
            reference=row.reference,
            state=AttemptState(row.state),
            outcome=Outcome(row.outcome) if row.outcome else None,
            carrier_code=row.carrier_code,
            text=row.text,
            pages_sent=row.pages_sent,
            station_id=row.station_id,
            seconds=row.seconds,
            speed=row.speed,
            resolution=row.resolution,
            at=row.at,
            believed=row.believed,
            raw=row.raw,
        ),
    )


def raw(db: Connection, ids: Sequence[str]) -> dict[str, bytes]:
    """What carriers said, as they said it; of those statements that there are."""
    return {row.id: row.raw for row in db.execute(_RAW, {"wanted": ids})}


_RAW = select(_event.c.id, _event.c.raw).where(schema.among(_event.c.id, "wanted"))


def mark_applied(t: Transaction, ids: Iterable[str]) -> None:
    """These statements have had their effect."""
    for event in ids:
        t.change(schema.event, {"id": event}, {"applied_at": t.now})


_attempt = schema.attempt
_STATES = select(_attempt.c.id, _attempt.c.state).where(schema.among(_attempt.c.id, "wanted"))
_OF = select(_attempt.c.id, _attempt.c.transmission_id, _attempt.c.carrier, _attempt.c.carrier_ref, _attempt.c.reference)
_OURS = _OF.where(schema.among(_attempt.c.reference, "wanted"))
_THEIRS = _OF.where(_attempt.c.carrier == bindparam("of"), schema.among(_attempt.c.carrier_ref, "wanted"))


def fax_of(t: Transaction, carrier: str, carrier_ref: str, reference: str) -> TransmissionId | None:
    """The fax that a carrier speaks of by its reference or by ours."""
    about = _about(t, [{"id": "", "carrier": carrier, "carrier_ref": carrier_ref, "reference": reference}])
    return about[""][1] if about else None


def _about(t: Transaction, rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[AttemptId, TransmissionId]]:
    """The attempt each statement is about, and its fax, by the statement's id; where we know of one."""
    found = dict[tuple[str, str, str], tuple[AttemptId, TransmissionId]]()
    if wanted := [row["reference"] for row in rows if row["reference"]]:
        for one in t.db.execute(_OURS, {"wanted": wanted}).all():
            found[one.carrier, "ours", one.reference] = (AttemptId(one.id), TransmissionId(one.transmission_id))
    for carrier in sorted({row["carrier"] for row in rows}):
        wanted = [row["carrier_ref"] for row in rows if row["carrier"] == carrier and row["carrier_ref"]]
        for one in t.db.execute(_THEIRS, {"of": carrier, "wanted": wanted}).all() if wanted else ():
            found[carrier, "theirs", one.carrier_ref] = (AttemptId(one.id), TransmissionId(one.transmission_id))
    about = dict[str, tuple[AttemptId, TransmissionId]]()
    for row in rows:
        ours, theirs = (row["carrier"], "ours", row["reference"]), (row["carrier"], "theirs", row["carrier_ref"])
        if attempt := found.get(ours) or found.get(theirs):
            about[row["id"]] = attempt
    return about

"""Reading: what one fax is, and pages of many. No query here changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, tuple_

from gateway.fax import Attempt, InboundFax, Recipient, Submission, Transmission, TransmissionId, TransmissionState
from gateway.lifecycle import FINAL, OPEN_ATTEMPT
from gateway.spool import rows, schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything about one transmission."""

    transmission: Transmission
    submission: Submission
    recipients: tuple[Recipient, ...]
    attempts: tuple[Attempt, ...]

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that is opening, submitted or uncertain."""
        return next((attempt for attempt in self.attempts if attempt.state in OPEN_ATTEMPT), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a fax's history."""

    at: datetime
    node: str
    what: str
    detail: str


def case(db: Connection, transmission: TransmissionId) -> Case | None:
    """One transmission with its submission, recipients and attempts."""
    table = schema.transmission
    row = db.execute(select(table).where(table.c.id == transmission)).first()
    if row is None:
        return None
    of = schema.submission
    submission = db.execute(select(of).where(of.c.id == row.submission_id)).one()
    to = schema.recipient
    recipients = db.execute(select(to).where(to.c.transmission_id == transmission).order_by(to.c.n))
    tries = schema.attempt
    attempts = db.execute(select(tries).where(tries.c.transmission_id == transmission).order_by(tries.c.n))
    return Case(
        transmission=rows.transmission(row),
        submission=rows.submission(submission),
        recipients=tuple(rows.recipient(r) for r in recipients),
        attempts=tuple(rows.attempt(a) for a in attempts),
    )


def history(db: Connection, subject: str) -> list[Entry]:
    """What happened to one fax, oldest first."""
    table = schema.history
    found = db.execute(select(table).where(table.c.subject == subject).order_by(table.c.id))
    return [Entry(at=row.at, node=row.node, what=row.what, detail=row.detail) for row in found]


def page(
    db: Connection,
    *,
    states: Sequence[TransmissionState] = (),
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[Transmission]:
    """Newest first; the next page begins `before` the last one's (accepted_at, id)."""
    table = schema.transmission
    query = select(table).order_by(table.c.accepted_at.desc(), table.c.id.desc()).limit(limit)
    if states:
        query = query.where(table.c.state.in_([state.value for state in states]))
    if before is not None:
        query = query.where(tuple_(table.c.accepted_at, table.c.id) < tuple_(schema.moment(before[0]), before[1]))
    return [rows.transmission(row) for row in db.execute(query)]


def unfinished(db: Connection) -> dict[TransmissionState, tuple[int, datetime]]:
    """How many transmissions are in each state that is not final, and when the oldest was accepted."""
    table = schema.transmission
    states = [state.value for state in TransmissionState if state not in FINAL]
    found = db.execute(
        select(table.c.state, func.count(), func.min(table.c.accepted_at))
        .where(table.c.state.in_(states))
        .group_by(table.c.state)
    )
    return {TransmissionState(state): (count, oldest) for state, count, oldest in found}


def received(db: Connection, limit: int = 50) -> list[InboundFax]:
    """Received faxes, newest first."""
    table = schema.inbound
    found = db.execute(select(table).order_by(table.c.announced_at.desc(), table.c.id.desc()).limit(limit))
    return [rows.inbound(row) for row in found]


def find(db: Connection, beginning: str) -> list[str]:
    """Ids of transmissions that begin like this: people shorten them. At most ten."""
    table = schema.transmission
    found = db.scalars(
        select(table.c.id).where(table.c.id.startswith(beginning, autoescape=True)).order_by(table.c.id).limit(10)
    )
    return list(found)

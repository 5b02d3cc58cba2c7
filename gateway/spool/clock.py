"""The machine's clock was set: what is unfinished on an embedded spool keeps its distance from now.

A mail server's clock is put right while it works: by an operator, or by a time service after a start without one. Between
two looks the spool counts on a clock that nobody sets (`Store.now`); where the wall clock then differs by more than
`NOTICED`, leases, due times and the ages that are measured from are moved along with it in one transaction, so that
no lease ends early, no fax is redialled or given up before its time, and none waits for a day that has been already.
On PostgreSQL the time is the database's, and a node's own clock does not matter.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, String, Table, func, select, type_coerce, update

from gateway.fax import TransmissionState
from gateway.lifecycle import FINAL
from gateway.spool import outbox
from gateway.spool.schema import PARKED, attempt, history, step, transmission
from gateway.spool.schema import outbox as mail

NOTICED = timedelta(seconds=5)

_UNFINISHED = select(transmission.c.id).where(transmission.c.state.not_in([state.value for state in FINAL]))
_WAITING = (TransmissionState.DEFERRED, TransmissionState.HELD)
#: Columns, and the rows in which they are about something unfinished.
_MOVED: tuple[tuple[Table, tuple[Column[Any], ...], ColumnElement[bool]], ...] = (
    (step, (step.c.due_at,), step.c.due_at != PARKED),
    (step, (step.c.age,), step.c.age != PARKED),
    (transmission, (transmission.c.due_at,), transmission.c.state.in_([state.value for state in _WAITING])),
    (attempt, (attempt.c.opened_at, attempt.c.submitted_at), attempt.c.transmission_id.in_(_UNFINISHED)),
    (mail, (mail.c.created_at,), mail.c.state == outbox.WAITING),
)


def move(connection: Connection, by: timedelta) -> None:
    """Move the times of everything unfinished, to the millisecond. SQLite only."""
    seconds = f"{by.total_seconds():+.3f} seconds"
    for table, columns, about in _MOVED:
        moved = {c.name: func.strftime("%Y-%m-%dT%H:%M:%f", type_coerce(c, String), seconds) + "000Z" for c in columns}
        connection.execute(update(table).where(about).values(moved))


def latest(connection: Connection) -> datetime | None:
    """When something was last written into a fax's history; None: never."""
    return connection.execute(select(history.c.at).order_by(history.c.id.desc()).limit(1)).scalar_one_or_none()

"""Verbs of what a person asked for: stored by whoever hears it, applied only by the lease holder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, update

from gateway.fax import TransmissionId, new_id
from gateway.spool import schema, steps
from gateway.spool.commit import Transaction

TOO_LATE = "too late: the fax has ended meanwhile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One thing a person asked for."""

    id: str
    verb: str
    """cancel, hold, release, retry, approve, reject."""
    choice: str
    """Of a release: delivered, retry, fail or ""."""
    asked_by: str


def ask(t: Transaction, transmission: TransmissionId, verb: str, choice: str, asked_by: str) -> str:
    """Store a wish and have the fax looked at. Returns the wish's id."""
    wish = new_id("ask")
    t.db.execute(
        insert(schema.steering),
        {
            "id": wish,
            "transmission_id": transmission,
            "verb": verb,
            "choice": choice,
            "asked_by": asked_by,
            "asked_at": t.now,
            "answer": "",
        },
    )
    t.note(transmission, f"asked to {verb}", f"{choice} by {asked_by}".strip())
    if not steps.nudge(t, transmission):
        answer(t, wish, TOO_LATE)  # it has ended while this was on its way
    return wish


def pending(db: Connection, transmission: TransmissionId) -> list[Wish]:
    """Wishes not answered yet, oldest first."""
    return pending_of(db, [transmission]).get(transmission, [])


def pending_of(db: Connection, transmissions: Sequence[str]) -> dict[str, list[Wish]]:
    """The same of those of many transmissions that have any."""
    found = defaultdict[str, list[Wish]](list)
    for row in db.execute(_PENDING, {"wanted": transmissions}).all():
        found[row.transmission_id].append(Wish(id=row.id, verb=row.verb, choice=row.choice, asked_by=row.asked_by))
    return found


_PENDING = (
    select(schema.steering)
    .where(schema.among(schema.steering.c.transmission_id, "wanted"), schema.steering.c.applied_at.is_(None))
    .order_by(schema.steering.c.id)
)


def answer(t: Transaction, wish: str, text: str) -> None:
    """What came of a wish, in words."""
    t.db.execute(update(schema.steering).where(schema.steering.c.id == wish).values(applied_at=t.now, answer=text))


_UNANSWERED = update(schema.steering).where(
    schema.steering.c.transmission_id == bindparam("of"), schema.steering.c.applied_at.is_(None)
)


def too_late(t: Transaction, transmission: TransmissionId) -> None:
    """The fax has ended: nothing that was asked for before can be done any more."""
    t.put_off(_UNANSWERED, {"of": transmission, "applied_at": t.now, "answer": TOO_LATE}, sure=False)


def forget(t: Transaction, transmission: str, text: str) -> None:
    """Answer what was asked for before, without doing it."""
    t.db.execute(_UNANSWERED, {"of": transmission, "applied_at": t.now, "answer": text})


def answered(db: Connection, wish: str) -> str | None:
    """The answer; None while nobody has looked."""
    row = db.execute(select(schema.steering.c.applied_at, schema.steering.c.answer).where(schema.steering.c.id == wish)).first()
    return str(row.answer) if row and row.applied_at else None

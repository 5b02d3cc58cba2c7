"""Steps: the next thing to do for one fax, and the time-limited claim (lease) a node has on it.

One row for each unfinished subject. `due_at` is both the schedule and the end of a lease: a claim moves it into the
future and writes a token, so the work of a node that died becomes due again by itself. Every later write names the
token; no row means that somebody else was faster, which is normal. A callback or a person who wants a subject looked
at sets `nudged`: a step in hand is then due again as soon as it is put back.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, case, delete, insert, select, update

from gateway.spool.commit import Transaction
from gateway.spool.schema import moment, step

CONVERT, MAIL, RECEIVE = "convert", "mail", "receive"


def carrier_lane(carrier: str) -> str:
    """The lane of hand-overs to one carrier."""
    return f"carrier:{carrier}"


def uptime() -> float:
    """Seconds on a clock that also runs while the machine sleeps, where there is one."""
    with suppress(AttributeError):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One node's claim on one step."""

    subject: str
    kind: str
    lane: str
    token: str
    tries: int
    """1 for the first claim of this step."""
    age: datetime
    """When the fax was accepted; follow-up steps inherit it."""
    began: float
    """`uptime` from before the claim was written: the lease began then or later."""
    seconds: float
    """Length of the lease."""

    def outlives(self, seconds: float) -> bool:
        """Whether the lease certainly holds for so much longer. Asked right before a carrier is called: a process
        that was stopped and woken must not act on a claim that another node has taken over."""
        return uptime() - self.began + seconds < self.seconds


def add(
    t: Transaction, subject: str, kind: str, lane: str, *, due_at: datetime | None = None, age: datetime | None = None
) -> None:
    """A new step, due now unless a time is given."""
    due = due_at or t.now
    t.db.execute(
        insert(step),
        {
            "subject": subject,
            "kind": kind,
            "lane": lane,
            "due_at": due,
            "age": age or t.now,
            "tries": 0,
            "token": None,
            "nudged": False,
        },
    )
    t.woken.add(lane)


def claim(t: Transaction, lane: str, limit: int, lease: float, began: float) -> list[Claim]:
    """Take up to `limit` due steps of a lane for `lease` seconds, oldest due first."""
    due = (
        select(step.c.subject)
        .where(step.c.lane == lane, step.c.due_at <= t.now)
        .order_by(step.c.due_at, step.c.subject)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    subjects = list(t.db.scalars(due))
    if not subjects:
        return []
    token = secrets.token_hex(8)
    taken = t.db.execute(
        update(step)
        .where(step.c.subject.in_(subjects))
        .values(token=token, due_at=t.now + timedelta(seconds=lease), tries=step.c.tries + 1, nudged=False)
        .returning(step.c.subject, step.c.kind, step.c.tries, step.c.age)
    )
    rows = sorted(taken, key=lambda row: subjects.index(row.subject))
    return [
        Claim(subject=r.subject, kind=r.kind, lane=lane, token=token, tries=r.tries, age=r.age, began=began, seconds=lease)
        for r in rows
    ]


def holds(t: Transaction, claim: Claim) -> bool:
    """Whether the claim is still ours; locks the row for the rest of the transaction."""
    mine = select(step.c.subject).where(step.c.subject == claim.subject, step.c.token == claim.token).with_for_update()
    return t.db.execute(mine).first() is not None


def done(t: Transaction, claim: Claim) -> bool:
    """The subject needs no further step. False: the claim is lost, nothing was changed."""
    gone = t.db.execute(delete(step).where(step.c.subject == claim.subject, step.c.token == claim.token))
    return gone.rowcount == 1


def put_back(
    t: Transaction, claim: Claim, *, kind: str | None = None, lane: str | None = None, due_at: datetime | None = None
) -> bool:
    """The step, or the next one, is due at `due_at` (default: the fax's age, that is now, before younger work).

    False: the claim is lost, nothing was changed.
    """
    following = kind is not None and kind != claim.kind
    due = due_at or claim.age
    changed = t.db.execute(
        update(step)
        .where(step.c.subject == claim.subject, step.c.token == claim.token)
        .values(
            kind=kind or claim.kind,
            lane=lane or claim.lane,
            due_at=case((step.c.nudged, moment(claim.age)), else_=moment(due)),
            token=None,
            nudged=False,
            tries=0 if following else step.c.tries,
        )
    )
    t.woken.add(lane or claim.lane)
    return changed.rowcount == 1


def nudge(t: Transaction, subject: str) -> bool:
    """Something happened to the subject: look at it soon, or as soon as it is put back. False: it has no step any more."""
    nudged = t.db.execute(
        update(step)
        .where(step.c.subject == subject)
        .values(
            nudged=True, due_at=case((and_(step.c.token.is_(None), step.c.due_at > t.now), moment(t.now)), else_=step.c.due_at)
        )
        .returning(step.c.lane)
    )
    lanes = list(nudged.scalars())
    t.woken.update(lanes)
    return bool(lanes)


def renew(t: Transaction, claim: Claim) -> bool:
    """Extend a claim by its length (heartbeat of a long conversion). False: lost."""
    longer = t.now + timedelta(seconds=claim.seconds)
    changed = t.db.execute(
        update(step).where(step.c.subject == claim.subject, step.c.token == claim.token).values(due_at=longer)
    )
    return changed.rowcount == 1


def free_all(t: Transaction) -> int:
    """Make every claimed step due now. Only where this process is the only one (SQLite, at start)."""
    freed = t.db.execute(
        update(step).where(step.c.token.is_not(None)).values(token=None, due_at=step.c.age, nudged=False).returning(step.c.lane)
    )
    lanes = list(freed.scalars())
    t.woken.update(lanes)
    return len(lanes)


def lanes(db: Connection) -> list[str]:
    """Every lane that has a step, parked or not."""
    return list(db.scalars(select(step.c.lane).distinct().order_by(step.c.lane)))

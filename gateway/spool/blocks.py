"""Verbs of the do-not-fax list: numbers that nobody, or one account, may fax; and of the callers whose faxes nobody gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from gateway.fax import AccountId
from gateway.lifecycle import OPEN_ATTEMPT
from gateway.spool import schema, steps
from gateway.spool.commit import Transaction

EVERYBODY = AccountId("")
_table = schema.blocked
_callers = schema.blocked_caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One number that may not be faxed."""

    number: str
    """E.164."""
    account: AccountId
    """Who may not fax it; `EVERYBODY` = nobody may."""
    reason: str
    asked_by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedCaller:
    """Callers whose faxes nobody gets."""

    pattern: str
    """E.164, its beginning and `*`, or "unknown"."""
    reason: str
    asked_by: str
    at: datetime


def add_caller(t: Transaction, pattern: str, reason: str, asked_by: str) -> None:
    """Let nobody get faxes of a caller, or say anew why."""
    remove_caller(t, pattern)
    t.add(_callers, {"pattern": pattern, "reason": reason, "asked_by": asked_by, "at": t.now})


def remove_caller(t: Transaction, pattern: str) -> bool:
    """Let them be delivered again. False: they were not blocked."""
    return t.db.execute(delete(_callers).where(_callers.c.pattern == pattern)).rowcount == 1


def callers(db: Connection) -> list[BlockedCaller]:
    """Those callers."""
    found = db.execute(select(_callers).order_by(_callers.c.pattern))
    return [BlockedCaller(pattern=row.pattern, reason=row.reason, asked_by=row.asked_by, at=row.at) for row in found]


def add(t: Transaction, number: str, account: AccountId, reason: str, asked_by: str) -> None:
    """Block a number, or say anew why. Faxes to it that wait at a carrier for their time are looked at."""
    remove(t, number, account)
    values = {"number": number, "account_id": account, "reason": reason, "asked_by": asked_by, "at": t.now}
    t.add(_table, values)
    fax, tried = schema.transmission.c, schema.attempt.c
    is_open = tried.state.in_([state.value for state in OPEN_ATTEMPT])
    there = select(tried.transmission_id).join(schema.transmission, fax.id == tried.transmission_id)
    there = there.where(is_open, tried.planned_at > t.now, fax.number == number)
    if account != EVERYBODY:
        there = there.where(fax.account_id == account)
    steps.nudge_all(t, set(t.db.scalars(there)))


def remove(t: Transaction, number: str, account: AccountId) -> bool:
    """Allow a number again. False: it was not blocked."""
    of = _table.c
    return t.db.execute(delete(_table).where(of.number == number, of.account_id == account)).rowcount == 1


def every(db: Connection) -> list[Block]:
    """The list, by number."""
    found = db.execute(select(_table).order_by(_table.c.number, _table.c.account_id))
    return [
        Block(number=row.number, account=AccountId(row.account_id), reason=row.reason, asked_by=row.asked_by, at=row.at)
        for row in found
    ]


def concerns(db: Connection, number: str, account: AccountId) -> bool:
    """Whether an account may not fax a number."""
    return bool(db.execute(_AMONG.where(_table.c.account_id.in_((EVERYBODY, account))), {"wanted": [number]}).first())


def version(db: Connection) -> tuple[int, datetime | None]:
    """Something that differs once the list has changed."""
    row = db.execute(select(func.count(), func.max(_table.c.at))).one()
    return row[0], row[1]


def among(t: Transaction, numbers: Sequence[str]) -> set[tuple[str, str]]:
    """Of some numbers those that are blocked, each with its account or `EVERYBODY`."""
    return {(row.number, row.account_id) for row in t.at_once.execute(_AMONG, {"wanted": list(numbers)})}


_AMONG = select(_table.c.number, _table.c.account_id).where(schema.among(_table.c.number, "wanted"))

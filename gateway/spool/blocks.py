"""Verbs of the do-not-fax list: numbers that nobody, or one account, may fax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from gateway.fax import AccountId
from gateway.spool import schema
from gateway.spool.commit import Transaction

EVERYBODY = AccountId("")
_table = schema.blocked


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


def add(t: Transaction, number: str, account: AccountId, reason: str, asked_by: str) -> None:
    """Block a number, or say anew why."""
    remove(t, number, account)
    values = {"number": number, "account_id": account, "reason": reason, "asked_by": asked_by, "at": t.now}
    t.add(_table, values)


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


def version(db: Connection) -> tuple[int, datetime | None]:
    """Something that differs once the list has changed."""
    row = db.execute(select(func.count(), func.max(_table.c.at))).one()
    return row[0], row[1]


def among(t: Transaction, numbers: Sequence[str]) -> set[tuple[str, str]]:
    """Of some numbers those that are blocked, each with its account or `EVERYBODY`."""
    return {(row.number, row.account_id) for row in t.at_once.execute(_AMONG, {"wanted": list(numbers)})}


_AMONG = select(_table.c.number, _table.c.account_id).where(schema.among(_table.c.number, "wanted"))

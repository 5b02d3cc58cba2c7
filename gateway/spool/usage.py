"""Verbs of what accounts have used of their limits. Each runs in the transaction of what it counts.

One row for each account, unit (faxes, pages, micro-EUR) and window (an hour, a day, a month). It is added to by one UPDATE
that itself asks whether so much is left: of two nodes that want the last fax of an hour, one gets it, and what is undone
is not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select, update

from gateway.spool import schema
from gateway.spool.commit import Transaction

_table = schema.usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What an account may use in one window."""

    key: str
    """Account, unit and window: the row it is counted in."""
    most: int
    ends_at: datetime
    text: str
    """What is said to somebody who wants more."""
    for_good: bool = False
    """Nobody should try again before it ends: that is too far away."""


Count = tuple[Allowance, int]
"""Of what, and how much of it."""

_amount = bindparam("amount", type_=_table.c.used.type)
_ADD = update(_table).where(_table.c.key == bindparam("of")).values(used=_table.c.used + _amount)
_ADD_WITHIN = _ADD.where(_table.c.used + _amount <= bindparam("most", type_=_table.c.used.type))
_USED = select(_table.c.key, _table.c.used).where(schema.among(_table.c.key, "wanted"))


def reserve(t: Transaction, counts: Sequence[Count]) -> Allowance | None:
    """Count all of these. Where there is not enough left of one it is returned, and nothing is counted."""
    done = dict[str, int]()
    for allowance, amount in _in_order(t, counts):
        if not t.at_once.execute(_ADD_WITHIN, {"of": allowance.key, "amount": amount, "most": allowance.most}).rowcount:
            give_back(t, done)
            return allowance
        done[allowance.key] = amount
    return None


def count(t: Transaction, counts: Sequence[Count]) -> None:
    """Count all of these, whether there is so much left or not."""
    for allowance, amount in _in_order(t, counts):
        t.at_once.execute(_ADD, {"of": allowance.key, "amount": amount})


def give_back(t: Transaction, counted: Mapping[str, int]) -> None:
    """What was counted, by its key, counts no longer."""
    for key in sorted(counted):
        t.at_once.execute(_ADD, {"of": key, "amount": -counted[key]})


def used(db: Connection, keys: Collection[str]) -> dict[str, int]:
    """How much is counted, by key; what nothing was counted in is missing."""
    return {row.key: row.used for row in db.execute(_USED, {"wanted": list(keys)})}


def forget(t: Transaction, before: datetime) -> int:
    """Drop the windows that ended before a time."""
    return t.db.execute(delete(_table).where(_table.c.ends_at < before)).rowcount


def _in_order(t: Transaction, counts: Sequence[Count]) -> list[Count]:
    """By key, so that two nodes do not wait for each other in a circle; every row is there."""
    ordered = sorted(counts, key=lambda one: one[0].key)
    t.insert_new(_table, [{"key": one.key, "used": 0, "ends_at": one.ends_at} for one, _ in ordered], own="key")
    return ordered

"""Calls at a time: so many for each carrier, one for each called number.

An attempt that may be calling has one of its carrier's slots, and the number it dials; both are unique in the database,
so that two nodes never take the same one, and neither waits for the other over a different one. They are given back when
the attempt ends, or its fax is held.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update

from gateway.errors import SpoolUnavailable
from gateway.fax import TransmissionId
from gateway.spool import steps
from gateway.spool.commit import Transaction
from gateway.spool.schema import among, attempt
from gateway.spool.steps import Claim

_TRIES = 20  # for a slot that another node has taken meanwhile
_USED = select(attempt.c.slot).where(attempt.c.carrier == bindparam("of"), attempt.c.slot.is_not(None))
_CALLED = select(attempt.c.dialling).where(among(attempt.c.dialling, "wanted"), attempt.c.slot.is_not(None))


@dataclass(frozen=True, slots=True)
class Wanted:
    """An attempt that is to call."""

    claim: Claim
    number: str
    values: dict[str, Any]
    """Of its row, without slot and number."""
    calls: int
    """Of its carrier at a time."""


def take(t: Transaction, wanted: Sequence[Wanted]) -> set[str]:
    """Insert attempts, each with a slot and its number; the ids of those that have them. There is none for the others,
    and their steps are put back until there is.

    Raises SpoolUnavailable where other nodes are faster again and again.
    """
    left, taken = list(wanted), set[str]()
    for _ in range(_TRIES):
        placed = _placed(t, left)
        # In the order of the slots: two nodes do not wait for each other in a circle.
        new = t.insert_new(attempt, sorted(placed, key=lambda row: (row["carrier"], row["slot"])))
        taken |= new
        faster = {row["id"] for row in placed} - new
        if not faster:
            return taken
        left = [one for one in left if one.values["id"] in faster]
        for one in left:
            t.slots.pop(one.values["carrier"], None)
    raise SpoolUnavailable("Other nodes took every call first.")


def _placed(t: Transaction, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    """Rows of those for which there are a slot and the number at this moment; the others wait."""
    called, rows = set(t.db.scalars(_CALLED, {"wanted": [one.number for one in wanted]})), list[dict[str, Any]]()
    for one in wanted:
        if one.number in called:
            steps.wait(t, one.claim, one.number)
            continue
        slot = _slot(t, one.values["carrier"], one.calls)
        if slot is None:
            steps.wait(t, one.claim)
            continue
        called.add(one.number)
        rows.append({**one.values, "slot": slot, "dialling": one.number})
    return rows


def _slot(t: Transaction, carrier: str, calls: int) -> int | None:
    """The next free slot after a random one: what one transaction takes lies together, so that two nodes seldom meet."""
    if carrier not in t.slots:
        used = set(t.db.scalars(_USED, {"of": carrier}))
        first = secrets.randbelow(calls) if calls > 0 else 0
        t.slots[carrier] = (used, iter([*range(first + 1, calls + 1), *range(1, first + 1)]))
    used, left = t.slots[carrier]
    if len(used) >= calls:
        return None
    slot = next((slot for slot in left if slot not in used), None)
    if slot is not None:
        used.add(slot)
    return slot


def free(t: Transaction, transmission: TransmissionId) -> None:
    """The attempt of a fax is not calling any more: somebody else may."""
    mine = update(attempt).where(attempt.c.transmission_id == transmission, attempt.c.slot.is_not(None))
    number = select(attempt.c.dialling).where(attempt.c.transmission_id == transmission, attempt.c.slot.is_not(None))
    for dialled in list(t.db.scalars(number)):
        freed = t.at_once.scalars(mine.values(slot=None, dialling=None).returning(attempt.c.carrier))
        t.woken.update(steps.carrier_lane(carrier) for carrier in freed)
        steps.free(t, [dialled])

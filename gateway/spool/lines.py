"""Calls at a time: so many for each carrier, one for each called number.

An attempt that may be calling has one of its carrier's slots, and the number it dials; both are unique in the database,
so that two nodes never take the same one, and neither waits for the other over a different one. They are given back when
the attempt ends, or its fax is held. Attempts are never put off in a transaction, so all of this is done at once.
"""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import bindparam, select, update

from gateway.errors import SpoolUnavailable
from gateway.fax import TransmissionId
from gateway.spool import steps
from gateway.spool.commit import Transaction
from gateway.spool.schema import attempt
from gateway.spool.steps import Claim

_TRIES = 20  # for a slot that another node has taken meanwhile
_USED = select(attempt.c.slot).where(attempt.c.carrier == bindparam("of"), attempt.c.slot.is_not(None))
_CALLED = select(attempt.c.id).where(attempt.c.dialling == bindparam("number"), attempt.c.slot.is_not(None))


def take(t: Transaction, claim: Claim, number: str, values: dict[str, Any], calls: int) -> bool:
    """Insert an attempt with a slot and the number; False: there is none, and the step is put back until there is.

    Raises SpoolUnavailable where other nodes are faster again and again.
    """
    for _ in range(_TRIES):
        if _called(t, number):
            steps.wait(t, claim, number)
            return False
        carrier = values["carrier"]
        if carrier not in t.slots:
            t.slots[carrier] = set(t.at_once.scalars(_USED, {"of": carrier}))
        used = t.slots[carrier]
        left = [slot for slot in range(1, calls + 1) if slot not in used]
        if len(used) >= calls:
            steps.wait(t, claim)
            return False
        slot = secrets.choice(left)
        if t.insert_new(attempt, {**values, "slot": slot, "dialling": number}):
            used.add(slot)
            return True
        del t.slots[carrier]  # another node was faster
    raise SpoolUnavailable("Other nodes took every call first.")


def free(t: Transaction, transmission: TransmissionId) -> None:
    """The attempt of a fax is not calling any more: somebody else may."""
    mine = update(attempt).where(attempt.c.transmission_id == transmission, attempt.c.slot.is_not(None))
    number = select(attempt.c.dialling).where(attempt.c.transmission_id == transmission, attempt.c.slot.is_not(None))
    for dialled in list(t.at_once.scalars(number)):
        freed = t.at_once.scalars(mine.values(slot=None, dialling=None).returning(attempt.c.carrier))
        t.woken.update(steps.carrier_lane(carrier) for carrier in freed)
        steps.free(t, dialled)


def _called(t: Transaction, number: str) -> bool:
    """Whether a fax to this number is being sent."""
    return t.at_once.execute(_CALLED, {"number": number}).first() is not None

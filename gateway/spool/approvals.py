"""Verbs of approvals: faxes that somebody must agree to before they are sent. One for each fax, decided once.

It is decided when the fax leaves *held*, whatever moved it on; until when that must be is the fax's `due_at`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, select, update

from gateway.fax import TransmissionId, TransmissionState
from gateway.lifecycle import APPROVAL, PROOF
from gateway.spool import schema
from gateway.spool.commit import Transaction
from gateway.spool.usage import Count

_table = schema.approval
_TO_BE_SENT = frozenset({TransmissionState.ACCEPTED, TransmissionState.READY})
APPROVED = "approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toll:
    """What stands between the pages of a fax and its way to the carrier."""

    counts: tuple[Count, ...] = ()
    """What the pages are counted in."""
    reasons: tuple[str, ...] = ()
    """Why it must be approved, e.g. "25 pages, more than 20"; empty: it need not."""
    refused: str = ""
    """Why it cannot go out unless it is approved, as a sentence; "" = it can."""
    unknown: str = ""
    """Why nobody can say what it may do, as a sentence: a person decides; "" = it is known."""
    approver: str = ""
    """The mail address of who may approve it; "" = nobody."""
    wait: timedelta = timedelta(0)
    """How long it waits for that."""


FREE = Toll()


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """The pages of a fax are to be shown to its sender before it is sent."""

    to: str
    """The sender's mail address."""
    why: str
    wait: timedelta
    """How long the fax waits for the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Somebody is, or was, to agree to a fax."""

    transmission: TransmissionId
    approver: str
    reason: str
    asked_at: datetime
    decided_at: datetime | None
    """None while it waits."""
    verdict: str
    """approved, rejected, cancelled or void; "" while it waits."""
    words: str
    """How it was decided, as a sentence."""
    send_at: datetime | None = None
    """It is not sent before, whenever it is approved; None: at once."""
    proof: bool = False
    """Its own sender agrees to the pages; what its account's limits ask for comes after that."""

    @property
    def shown(self) -> bool:
        """Whether its sender has agreed to the pages as they are."""
        return self.proof and self.verdict == APPROVED


def ask(
    t: Transaction,
    transmission: TransmissionId,
    approver: str,
    reason: str,
    send_at: datetime | None = None,
    *,
    proof: bool = False,
) -> None:
    """The fax is held until somebody agrees. Its proof was decided before that, if there was one."""
    t.db.execute(delete(_table).where(_table.c.transmission_id == transmission, _table.c.decided_at.is_not(None)))
    values = {"transmission_id": transmission, "approver": approver, "reason": reason, "asked_at": t.now}
    t.add(_table, {**values, "verdict": "", "words": "", "send_at": send_at, "proof": proof})
    t.note(transmission, PROOF if proof else APPROVAL, f"asked of {approver}: {reason}")


def of(db: Connection, transmission: TransmissionId) -> Approval | None:
    """That of a fax; None: it needed none."""
    row = db.execute(select(_table).where(_table.c.transmission_id == transmission)).first()
    if row is None:
        return None
    return Approval(
        transmission=TransmissionId(row.transmission_id),
        approver=row.approver,
        reason=row.reason,
        asked_at=row.asked_at,
        decided_at=row.decided_at,
        verdict=row.verdict,
        words=row.words,
        send_at=row.send_at,
        proof=row.proof,
    )


def close(t: Transaction, transmission: TransmissionId, to: TransmissionState, words: str) -> None:
    """The fax is held no longer: if it waited to be approved, this has decided it."""
    verdict = APPROVED if to in _TO_BE_SENT else "cancelled" if to is TransmissionState.CANCELLED else "rejected"
    values = {"of": transmission, "decided_at": t.now, "verdict": verdict, "words": words}
    t.put_off(_CLOSE, values, sure=False)


def void(t: Transaction, words: str) -> dict[str, datetime | None]:
    """Nobody's agreement counts any more for what waits for it; the faxes, and before when they are not to be sent."""
    ended = update(_table).where(_table.c.decided_at.is_(None)).values(decided_at=t.now, verdict="void", words=words)
    return {
        row.transmission_id: row.send_at for row in t.db.execute(ended.returning(_table.c.transmission_id, _table.c.send_at))
    }


_CLOSE = update(_table).where(_table.c.transmission_id == bindparam("of"), _table.c.decided_at.is_(None))

"""Verbs of transmission reports: what carriers write about an ended attempt, fetched afterwards and kept with it.

`attempt.report` is "" from the end of the attempt until the report is here, then the name of the document. It goes with the
pages of its fax: a fax that has given those up gets no report any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from gateway.fax import AttemptId, Sha256, TransmissionId
from gateway.spool.commit import Transaction
from gateway.spool.schema import attempt, transmission

_OWED = attempt.c.report == ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A report that is to be fetched."""

    attempt: AttemptId
    transmission: TransmissionId
    carrier_ref: str
    ended_at: datetime


def owed(db: Connection, carrier: str, limit: int) -> list[Owed]:
    """Reports that a carrier has not given yet, of the attempts that ended first."""
    of = attempt.c
    found = (
        select(of.id, of.transmission_id, of.carrier_ref, of.finished_at)
        .where(_OWED, of.carrier == carrier)
        .order_by(of.finished_at, of.id)
        .limit(limit)
    )
    return [
        Owed(
            attempt=AttemptId(row.id),
            transmission=TransmissionId(row.transmission_id),
            carrier_ref=row.carrier_ref,
            ended_at=row.finished_at,
        )
        for row in db.execute(found)
    ]


def keep(t: Transaction, owed: Owed, document: Sha256) -> bool:
    """The report is this document. False, and nothing is changed: another node was faster, or nobody wants it any more."""
    # Locked first, as whoever gives up the documents of the fax locks it.
    whole = select(transmission.c.shredded_at).where(transmission.c.id == owed.transmission).with_for_update()
    row = t.db.execute(whole).first()
    if row is None or row.shredded_at is not None:
        return False
    named = update(attempt).where(attempt.c.id == owed.attempt, _OWED).values(report=document)
    if not t.db.execute(named).rowcount:
        return False
    t.note(owed.transmission, "report kept", f"of {owed.attempt}: {document}")
    return True


def give_up(t: Transaction, owed: Owed, why: str) -> bool:
    """There is no report. False: there is one after all, or another node was faster."""
    if not t.db.execute(update(attempt).where(attempt.c.id == owed.attempt, _OWED).values(report=None)).rowcount:
        return False
    t.note(owed.transmission, "no report", f"of {owed.attempt}: {why}")
    return True


def let_go(t: Transaction, transmissions: Iterable[str]) -> set[Sha256]:
    """The attempts of some faxes name no report any more, nor get one; the documents that they named."""
    mine = attempt.c.transmission_id.in_(list(transmissions)) & attempt.c.report.is_not(None)
    named = {Sha256(name) for name in t.db.scalars(select(attempt.c.report).where(mine)) if name}
    t.db.execute(update(attempt).where(mine).values(report=None))
    return named

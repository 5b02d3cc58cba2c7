"""fsck: do documents and rows belong together, and does everything unfinished have its next step?

Nothing is changed unless it is asked for. Then steps are added, orphans removed; a fax whose document is missing or
damaged is asked to be held: it is a person's business, and never fails in silence. Every finding is looked at again in
the transaction that repairs it, so that all this may run beside a service at work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Connection, Row, Select, delete, exists, literal, select, update

from gateway.fax import AttemptState, InboundState, Sha256, TransmissionId, TransmissionState
from gateway.lifecycle import FINAL, OPEN_ATTEMPT
from gateway.spool import ledger, lines, outbox, retention, schema, seals, steering, steps
from gateway.spool.commit import Transaction
from gateway.spool.documents import Documents
from gateway.spool.schema import attempt, inbound, step, submission, transmission
from gateway.spool.schema import outbox as mail
from gateway.spool.store import Store

BY = "fsck"
_PAGE = 500
_FRESH = timedelta(days=1)
_FINAL = [state.value for state in FINAL]
_OPEN = [state.value for state in OPEN_ATTEMPT]
_NEXT = {
    TransmissionState.ACCEPTED: "prepare",
    TransmissionState.READY: "send",
    TransmissionState.DEFERRED: "send",
    TransmissionState.SENDING: "track",
    TransmissionState.HELD: "held",
}


class Fault(StrEnum):
    """What can be wrong."""

    MISSING = "document missing"
    DAMAGED = "document damaged"
    ORPHANED = "document without a fax"
    NO_STEP = "fax without a step"
    NOT_FETCHED = "received fax without a step"
    UNSENT = "mail without a step"
    NO_SUBJECT = "step without a subject"
    OPEN_ATTEMPT = "open attempt of a finished fax"
    MONEY = "money that does not add up"
    CHANGED = "changed after it was sealed"
    UNSOUND = "seals that do not hold together"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    fault: Fault
    subject: str
    """Id of a fax, mail or attempt, or name of a document."""
    detail: str = ""
    repaired: str = ""
    """What was done; "" = nothing."""


def _without_step(of: Column[Any]) -> Any:
    """Any: a condition, as SQLAlchemy types it."""
    return ~exists().where(step.c.subject == of)


#: Rows that are wrong, each with the column that names it.
_STUCK: Mapping[Fault, tuple[Select[Any], Column[Any]]] = {
    Fault.NO_STEP: (
        select(transmission.c.id, transmission.c.state, transmission.c.carrier, transmission.c.account_id).where(
            transmission.c.state.in_([state.value for state in _NEXT]), _without_step(transmission.c.id)
        ),
        transmission.c.id,
    ),
    Fault.NOT_FETCHED: (
        select(inbound.c.id).where(inbound.c.state == InboundState.ANNOUNCED.value, _without_step(inbound.c.id)),
        inbound.c.id,
    ),
    Fault.UNSENT: (select(mail.c.id, mail.c.kind).where(mail.c.state == outbox.WAITING, _without_step(mail.c.id)), mail.c.id),
    Fault.NO_SUBJECT: (
        select(step.c.subject.label("id")).where(
            *(~exists().where(table.c.id == step.c.subject) for table in (transmission, inbound, mail))
        ),
        step.c.subject,
    ),
    Fault.OPEN_ATTEMPT: (
        select(attempt.c.id, attempt.c.transmission_id, transmission.c.state)
        .join(transmission, transmission.c.id == attempt.c.transmission_id)
        .where(attempt.c.state.in_(_OPEN), transmission.c.state.in_(_FINAL)),
        attempt.c.id,
    ),
}


async def inspect(store: Store, documents: Documents, *, repair: bool) -> AsyncIterator[Finding]:
    """Everything that is wrong, and is put right where that is wanted. Raises SpoolUnavailable."""
    for finding in await store.read(stuck):
        repaired = await store.write(mend, finding.fault, finding.subject) if repair else ""
        yield Finding(fault=finding.fault, subject=finding.subject, detail=finding.detail, repaired=repaired)
    for account, detail in await store.read(ledger.imbalances):  # money is never put right by a program
        yield Finding(fault=Fault.MONEY, subject=account, detail=detail)
    if wrong := await store.read(seals.unsound):  # nor is evidence
        yield Finding(fault=Fault.UNSOUND, subject=wrong[0], detail=wrong[1])
    last = ""
    while faxes := await store.read(seals.sealed, last):
        for subject, detail in await store.read(seals.changed, faxes):
            yield Finding(fault=Fault.CHANGED, subject=subject, detail=detail)
        last = faxes[-1]
    told = set[Finding]()  # a document may be named twice by one fax
    for column in schema.DOCUMENTS:
        last = ""
        while names := await store.read(_named, column, last):
            for sha256 in names:
                for finding in await _unusable(store, documents, sha256, repair=repair):
                    if finding not in told:
                        yield finding
                    told.add(finding)
            last = names[-1]
    async for page in documents.pages():
        fresh = store.now() - _FRESH
        old = {kept.sha256: kept.size for kept in page if kept.put_at < fresh}
        for sha256 in sorted(old.keys() - await store.read(retention.needed, old.keys())):
            gone = repair and await documents.remove(sha256, fresh)
            yield Finding(
                fault=Fault.ORPHANED, subject=sha256, detail=f"{old[sha256]} bytes", repaired="removed" if gone else ""
            )


def stuck(db: Connection) -> list[Finding]:
    """Rows that nothing will move on any more."""
    return [
        Finding(fault=fault, subject=row.id, detail=" ".join(str(value) for value in row[1:3]))
        for fault, (query, _) in _STUCK.items()
        for row in db.execute(query)
    ]


def mend(t: Transaction, fault: Fault, subject: str) -> str:
    """Put one stuck row right; what was done, "" if it is in order meanwhile."""
    query, named = _STUCK[fault]
    row = t.db.execute(query.where(named == subject)).first()
    if row is None:
        return ""
    done = _mended(t, fault, row)
    if fault is not Fault.NO_SUBJECT:
        t.note(row.transmission_id if fault is Fault.OPEN_ATTEMPT else subject, "repaired", f"{fault}: {done}")
    return done


def _mended(t: Transaction, fault: Fault, row: Row[Any]) -> str:
    if fault is Fault.NO_SUBJECT:
        t.db.execute(delete(step).where(step.c.subject == row.id))
        return "removed"
    if fault is Fault.OPEN_ATTEMPT:
        ended = update(attempt).where(attempt.c.id == row.id, attempt.c.state.in_(_OPEN))
        t.db.execute(ended.values(state=AttemptState(row.state).value, finished_at=t.now))
        lines.free(t, TransmissionId(row.transmission_id))
        return f"ended as {row.state}"
    if fault is Fault.NOT_FETCHED:
        steps.add(t, row.id, "receive", steps.RECEIVE)
    elif fault is Fault.UNSENT:
        steps.add(t, row.id, *outbox.way(row.kind))
    else:
        state = TransmissionState(row.state)
        lane = steps.CONVERT if state is TransmissionState.ACCEPTED else steps.carrier_lane(row.carrier)
        steps.add(t, row.id, _NEXT[state], lane, account=row.account_id)
        steps.nudge(t, row.id)
    return "step added"


def _named(db: Connection, column: Column[Any], after: str) -> list[Sha256]:
    """Some documents that rows name, in order."""
    names = select(column).where(column > after).distinct().order_by(column).limit(_PAGE)
    return [Sha256(name) for name in db.scalars(names)]


async def _unusable(store: Store, documents: Documents, sha256: Sha256, *, repair: bool) -> list[Finding]:
    """A finding for everybody who needs a document that is missing or damaged."""
    intact = await documents.intact(sha256)
    if intact:
        return []
    found, fault = [], Fault.MISSING if intact is None else Fault.DAMAGED
    for owner, state in await store.read(_owners, sha256):  # asked after the look: it may have been given up meanwhile
        held = await store.write(_hold, owner, fault) if repair and owner.startswith("tx_") else ""
        found.append(Finding(fault=fault, subject=owner, detail=f"{state} {sha256}", repaired=held))
    return found


def _owners(db: Connection, sha256: Sha256) -> list[tuple[str, str]]:
    """Who names a document: faxes, mails, received faxes, with their states."""
    of_mail = select(transmission.c.id, transmission.c.state).join(submission, submission.c.id == transmission.c.submission_id)
    queries = (
        of_mail.where(submission.c.document == sha256),
        select(transmission.c.id, transmission.c.state).where(transmission.c.document == sha256),
        select(attempt.c.id, attempt.c.state).where(attempt.c.report == sha256),
        select(inbound.c.id, inbound.c.state).where((inbound.c.document == sha256) | (inbound.c.original == sha256)),
        select(mail.c.id, mail.c.state).where(mail.c.document == sha256),
    )
    return list({(row.id, row.state): None for query in queries for row in db.execute(query)})


def _hold(t: Transaction, owner: str, fault: Fault) -> str:
    """Ask for a fax that still has to be sent to be held; what was done."""
    waiting = [TransmissionState.ACCEPTED.value, TransmissionState.READY.value, TransmissionState.DEFERRED.value]
    if t.db.execute(select(literal(1)).where(transmission.c.id == owner, transmission.c.state.in_(waiting))).first() is None:
        return ""
    if not any(wish.verb == "hold" for wish in steering.pending(t.db, TransmissionId(owner))):
        steering.ask(t, TransmissionId(owner), "hold", "", f"{BY}: {fault}")
    return "held"

"""Verbs of what is over: its documents are given up first, then its records. What is not finished is never touched.

Each verb does one batch and says how much it did; whoever tidies asks again until nothing is left. A document is named
by rows; only when no row names it any more may it leave the shelf.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, or_, select, update

from gateway.fax import InboundState, Sha256, TransmissionId
from gateway.spool import links, outbox, reports, seals
from gateway.spool.commit import Transaction
from gateway.spool.schema import (
    ABOUT,
    DOCUMENTS,
    again,
    approval,
    attempt,
    command,
    discarded,
    event,
    history,
    inbound,
    recipient,
    steering,
    step,
    submission,
    transmission,
)
from gateway.spool.schema import outbox as mail

BATCH = 200
_INBOUND_OVER = tuple(state.value for state in (InboundState.MAILED, InboundState.REFUSED, InboundState.FAILED))


def needed(db: Connection, documents: Collection[Sha256]) -> set[Sha256]:
    """Those of some documents that a row still names."""
    wanted = list(documents)
    return {Sha256(sha) for column in DOCUMENTS for sha in db.scalars(select(column).where(column.in_(wanted)).distinct())}


def give_up_sent(t: Transaction, before: datetime) -> tuple[int, set[Sha256]]:
    """Faxes that ended before a time let go of their pages, and of their mail when all faxes of the mail have.

    How many faxes, and the documents that may be needed no more.
    """
    over = (
        select(transmission.c.id, transmission.c.submission_id, transmission.c.document)
        .where(transmission.c.shredded_at.is_(None), transmission.c.finished_at < before, ~_owed(transmission.c.id))
        .where(~exists().where(step.c.subject == transmission.c.id))
        .order_by(transmission.c.finished_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    rows = t.db.execute(over).all()
    return len(rows), _let_go(t, rows)


def _let_go(t: Transaction, rows: Sequence[Any]) -> set[Sha256]:
    """Take the documents from some faxes, and from their mails that no other fax needs; which ones. Any: rows of a query."""
    gone = {Sha256(row.document) for row in rows if row.document}
    ids = [row.id for row in rows]
    t.db.execute(update(transmission).where(transmission.c.id.in_(ids)).values(document=None, shredded_at=t.now))
    gone |= reports.let_go(t, ids)
    taken = delete(again).where(again.c.transmission_id.in_(ids)).returning(again.c.document)
    gone |= {Sha256(sha256) for sha256 in t.db.scalars(taken)}
    mails = {row.submission_id for row in rows}
    # Locked before it is looked at: whoever sends one of these again locks it first, too.
    of = select(submission.c.id, submission.c.document).where(submission.c.id.in_(mails)).order_by(submission.c.id)
    named = {row.id: Sha256(row.document) for row in t.db.execute(of.with_for_update()) if row.document}
    needing = select(transmission.c.submission_id).where(
        transmission.c.submission_id.in_(mails), transmission.c.shredded_at.is_(None)
    )
    free = named.keys() - set(t.db.scalars(needing))
    t.db.execute(update(submission).where(submission.c.id.in_(free)).values(document=""))
    _note_removed(t, rows, {one: named[one] for one in free})
    return gone | {named[one] for one in free}


def _note_removed(t: Transaction, rows: Sequence[Any], mails: Mapping[str, Sha256]) -> None:
    """The names of what is removed stay with each fax: of its pages, and of its mail, for which others may have waited."""
    pages = {row.id: row.document for row in rows}
    of = select(transmission.c.id, transmission.c.submission_id).where(transmission.c.submission_id.in_(mails))
    mail_of = {row.id: mails[row.submission_id] for row in t.db.execute(of)} if mails else {}
    for fax in sorted(pages.keys() | mail_of.keys()):
        if pages.get(fax) or fax in mail_of:
            links.note_removed(t, fax, {"mail": mail_of.get(fax), "pages": pages.get(fax)})


def discard(t: Transaction, sent: TransmissionId) -> None:
    """A fax that has ended lets go of its documents now, and of its mail with the last fax of it. Nothing more is asked."""
    over = select(transmission.c.id, transmission.c.submission_id, transmission.c.document).where(
        transmission.c.id == sent, transmission.c.shredded_at.is_(None), transmission.c.finished_at.is_not(None)
    )
    for sha256 in _let_go(t, t.db.execute(over).all()):
        t.insert_new(discarded, [{"sha256": sha256, "at": t.now}], own="sha256")


def discards(t: Transaction, before: datetime) -> tuple[int, set[Sha256]]:
    """Documents that faxes let go of before a time. As `give_up_sent`."""
    old = select(discarded.c.sha256).where(discarded.c.at < before).order_by(discarded.c.at).limit(BATCH)
    found = {Sha256(sha256) for sha256 in t.db.scalars(old.with_for_update(skip_locked=True))}
    t.db.execute(delete(discarded).where(discarded.c.sha256.in_(found)))
    return len(found), found


def give_up_received(t: Transaction, before: datetime) -> tuple[int, set[Sha256]]:
    """Received faxes that are with their mailboxes, refused or lost let go of their files. As `give_up_sent`."""
    table = inbound
    over = (
        select(table.c.id, table.c.document, table.c.original)
        .where(table.c.original.is_not(None), table.c.announced_at < before, table.c.state.in_(_INBOUND_OVER))
        .where(~_owed(table.c.id), ~_mailed_since(before))
        .order_by(table.c.announced_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    rows = t.db.execute(over).all()
    t.db.execute(update(table).where(table.c.id.in_([row.id for row in rows])).values(document=None, original=None))
    for row in rows:
        links.note_removed(t, row.id, {"fax": row.document, "original": row.original})
    return len(rows), {Sha256(sha) for row in rows for sha in (row.document, row.original) if sha}


def give_up_forwarded(t: Transaction, before: datetime) -> tuple[int, set[Sha256]]:
    """Mail that was handed on to the operator. As `give_up_sent`."""
    over = (
        select(mail.c.id, mail.c.document)
        .where(mail.c.document.is_not(None), mail.c.created_at < before, mail.c.state != outbox.WAITING)
        .order_by(mail.c.created_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    rows = t.db.execute(over).all()
    t.db.execute(update(mail).where(mail.c.id.in_([row.id for row in rows])).values(document=None))
    return len(rows), {Sha256(row.document) for row in rows}


def forget_sent(t: Transaction, before: datetime) -> int:
    """Everything about faxes that ended before a time and have given up their documents. How many faxes."""
    over = (
        select(transmission.c.id, transmission.c.submission_id)
        .where(transmission.c.shredded_at.is_not(None), transmission.c.finished_at < before, ~_owed(transmission.c.id))
        .order_by(transmission.c.finished_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    rows = t.db.execute(over).all()
    ids = [row.id for row in rows]
    _forget_attempts(t, ids)
    _forget_about(t, ids)
    t.db.execute(delete(steering).where(steering.c.transmission_id.in_(ids)))
    t.db.execute(delete(approval).where(approval.c.transmission_id.in_(ids)))
    t.db.execute(delete(command).where(command.c.transmission_id.in_(ids)))
    t.db.execute(delete(recipient).where(recipient.c.transmission_id.in_(ids)))
    t.db.execute(delete(transmission).where(transmission.c.id.in_(ids)))
    mails = {row.submission_id for row in rows}
    t.db.execute(select(submission.c.id).where(submission.c.id.in_(mails)).order_by(submission.c.id).with_for_update())
    left = set(t.db.scalars(select(transmission.c.submission_id).where(transmission.c.submission_id.in_(mails))))
    t.db.execute(delete(submission).where(submission.c.id.in_(mails - left)))
    return len(rows)


def forget_received(t: Transaction, before: datetime) -> int:
    """Everything about received faxes that are over and have given up their files. How many."""
    over = (
        select(inbound.c.id)
        .where(inbound.c.original.is_(None), inbound.c.announced_at < before, inbound.c.state.in_(_INBOUND_OVER))
        .where(~_owed(inbound.c.id), ~_mailed_since(before), ~exists().where(step.c.subject == inbound.c.id))
        .order_by(inbound.c.announced_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    ids = list(t.db.scalars(over))
    _forget_about(t, ids)
    t.db.execute(delete(inbound).where(inbound.c.id.in_(ids)))
    return len(ids)


def forget_mails(t: Transaction, before: datetime) -> int:
    """Mails to the operator about nothing that is still known. How many."""
    known = or_(exists().where(transmission.c.id == ABOUT), exists().where(inbound.c.id == ABOUT))
    over = select(mail.c.id).where(
        mail.c.created_at < before, mail.c.state != outbox.WAITING, mail.c.document.is_(None), ~known
    )
    ids = list(t.db.scalars(over.order_by(mail.c.created_at).limit(BATCH).with_for_update(skip_locked=True)))
    t.db.execute(delete(mail).where(mail.c.id.in_(ids)))
    return len(ids)


def forget_events(t: Transaction, before: datetime) -> int:
    """Statements of carriers about no attempt that is still known. How many."""
    by_reference = exists().where(attempt.c.reference == event.c.reference)
    by_ref = exists().where(attempt.c.carrier == event.c.carrier, attempt.c.carrier_ref == event.c.carrier_ref)
    over = select(event.c.id).where(event.c.received_at < before, ~by_reference, ~by_ref).order_by(event.c.received_at)
    ids = list(t.db.scalars(over.limit(BATCH).with_for_update(skip_locked=True)))
    t.db.execute(delete(event).where(event.c.id.in_(ids)))
    return len(ids)


def _forget_attempts(t: Transaction, transmissions: Iterable[str]) -> None:
    """Attempts and what carriers said about them."""
    of = select(attempt.c.carrier, attempt.c.reference, attempt.c.carrier_ref).where(
        attempt.c.transmission_id.in_(transmissions)
    )
    tried = t.db.execute(of).all()
    t.db.execute(delete(event).where(event.c.reference.in_([row.reference for row in tried])))
    for carrier in {row.carrier for row in tried}:
        refs = [row.carrier_ref for row in tried if row.carrier == carrier and row.carrier_ref]
        t.db.execute(delete(event).where(event.c.carrier == carrier, event.c.carrier_ref.in_(refs)))
    t.db.execute(delete(attempt).where(attempt.c.transmission_id.in_(transmissions)))


def _forget_about(t: Transaction, subjects: list[str]) -> None:
    """History, and the mails about it."""
    t.db.execute(delete(history).where(history.c.subject.in_(subjects)))
    t.db.execute(delete(mail).where(ABOUT.in_(subjects)))
    seals.forget(t, subjects)


def _owed(subject: ColumnElement[Any]) -> ColumnElement[bool]:
    """A mail about the subject is still waiting."""
    return exists().where(subject == ABOUT, mail.c.state.in_([outbox.WAITING, outbox.GATHERED]))


def _mailed_since(moment: datetime) -> ColumnElement[bool]:
    told = (outbox.RECEIVED, outbox.CALLBACK, outbox.ARCHIVE)
    return exists().where(mail.c.kind.in_(told), mail.c.about == inbound.c.id, mail.c.sent_at >= moment)

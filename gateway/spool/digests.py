"""Verbs of digests: one mail about the faxes of a submission that went to several numbers.

A result that is due joins the digest of its submission while that is open (the row's `text` is "") and is then *gathered*; once
the digest is closed its members are fixed, so that a mail repeated after a crash says the same. What ends later is told alone.
Every result is thus in one report, and in no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, func, select, update

from gateway.fax import SubmissionId, TransmissionId
from gateway.spool import outbox, steps
from gateway.spool.commit import Transaction
from gateway.spool.schema import outbox as mail
from gateway.spool.schema import transmission
from gateway.spool.steps import Claim

_CLOSED = "closed"
_SOON = timedelta(seconds=5)
"""Until a result that is told alone, or not at all, has been settled."""


def join(t: Transaction, claim: Claim, submission: SubmissionId) -> bool:
    """waiting -> gathered: the result of the claim is told in the digest of its submission. False, and nothing is changed:
    there is none any more, or the submission is one fax, so that it is told alone."""
    if not steps.holds(t, claim):
        return True  # somebody else has it in hand, or is done with it
    of = select(func.count()).select_from(transmission).where(transmission.c.submission_id == submission)
    if t.db.execute(of).scalar_one() < 2:
        return False
    outbox.owe(t, kind=outbox.DIGEST, about=submission, of=claim)
    row = t.db.execute(_digest(submission)).first()
    if row is not None:
        steps.nudge(t, row.id)  # before the row is locked, in the order in which `close` locks
    row = t.db.execute(_digest(submission).with_for_update()).first()
    if row is None or row.state != outbox.WAITING or row.text == _CLOSED:
        return False
    return outbox.settled(t, claim, outbox.GATHERED, f"in {row.id}")


def look(t: Transaction, submission: SubmissionId) -> None:
    """A result is not told in it: perhaps it is the last one that the digest waits for."""
    row = t.db.execute(_digest(submission)).first()
    if row is not None and row.state == outbox.WAITING:
        steps.nudge(t, row.id)


def close(t: Transaction, claim: Claim, submission: SubmissionId, until: datetime) -> bool:
    """The digest of the claim is told now, with what it has gathered. False: it waits for the rest, not longer than `until`;
    or the claim is lost."""
    if not steps.holds(t, claim):
        return False
    row = t.db.execute(_digest(submission).with_for_update()).first()
    if row is None:
        return False
    if row.text != _CLOSED and t.now < until and (wait := _missing(t.db, submission, until - t.now)):
        steps.put_back(t, claim, due_at=t.now + wait)
        return False
    t.db.execute(update(mail).where(mail.c.id == row.id).values(text=_CLOSED))
    return True


def members(db: Connection, submission: SubmissionId) -> set[TransmissionId]:
    """The faxes whose results a digest has gathered."""
    found = select(mail.c.about).where(_results(submission), mail.c.state == outbox.GATHERED)
    return {TransmissionId(about) for about in db.scalars(found)}


def faxes(db: Connection, submission: SubmissionId) -> Sequence[TransmissionId]:
    """Every fax of a submission, as it was written."""
    of = transmission.c
    found = db.scalars(select(of.id).where(of.submission_id == submission).order_by(of.id))
    return [TransmissionId(one) for one in found]


def told(t: Transaction, submission: SubmissionId, state: str, answer: str, *, message_id: str = "", sha256: str = "") -> None:
    """gathered -> what became of the digest, with its Message-ID and the SHA-256 of its octets; said in each fax's history."""
    values = {"state": state, "answer": answer, "sent_at": t.now if state == outbox.SENT else None}
    gathered = update(mail).where(_results(submission), mail.c.state == outbox.GATHERED)
    for fax in sorted(t.db.scalars(gathered.values(**values, message_id=message_id, mail=sha256).returning(mail.c.about))):
        t.note(fax, "told", f"{outbox.DIGEST}: {state}; {answer}")


def gather_again(t: Transaction, submission: SubmissionId) -> None:
    """given up -> gathered: the digest that could not be mailed is owed anew, and tells what nobody was told."""
    given_up = update(mail).where(_results(submission), mail.c.state == outbox.GIVEN_UP)
    for row in t.db.execute(given_up.values(state=outbox.GATHERED).returning(mail.c.id, mail.c.about)).all():
        t.note(row.about, outbox.AGAIN, row.id)


def _digest(submission: SubmissionId) -> Select[tuple[str, str, str]]:
    return select(mail.c.id, mail.c.state, mail.c.text).where(mail.c.kind == outbox.DIGEST, mail.c.about == submission)


def _results(submission: SubmissionId) -> ColumnElement[bool]:
    mine = select(transmission.c.id).where(transmission.c.submission_id == submission)
    return (mail.c.kind == outbox.RESULT) & mail.c.about.in_(mine)


def _missing(db: Connection, submission: SubmissionId, most: timedelta) -> timedelta:
    """How long to wait for a fax that has not ended, or a result that has not been looked at; none: all are there. In this
    order: a fax ends with its result owed."""
    of = transmission.c
    running = select(func.count()).where(of.submission_id == submission, of.finished_at.is_(None))
    if db.execute(running).scalar_one():
        return most
    waiting = select(func.count()).where(_results(submission), mail.c.state == outbox.WAITING)
    return min(_SOON, most) if db.execute(waiting).scalar_one() else timedelta(0)

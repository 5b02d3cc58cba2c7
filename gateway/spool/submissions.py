"""Verbs of submissions: accept, and copy for a retry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, select

from gateway.errors import NotAdmitted, TooMany
from gateway.fax import Recipient, Submission, SubmissionId, TransmissionId, TransmissionState, new_id
from gateway.spool import rows, schema, steps
from gateway.spool.commit import Transaction

#: How long a repeated submission is known as such (QUE-07).
MEMORY = timedelta(hours=48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One called number of a submission: every spelling of it, and how it is to be sent."""

    recipients: tuple[Recipient, ...]
    """At least one; all with the same number and sub-address."""
    carrier: str
    caller: str
    key: str
    """What makes a repetition recognisable (SHA-256, hex); "" = nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What `accept` did."""

    submission: SubmissionId
    """The new one, or the earlier one if everything was a repetition."""
    transmissions: tuple[TransmissionId, ...]
    """New ones."""
    repeated: tuple[TransmissionId, ...]
    """Earlier ones that were submitted again."""
    calls: tuple[TransmissionId, ...]
    """New or earlier, of each call in its order."""


def accept(t: Transaction, submission: Submission, calls: Sequence[Call], *, most: int | None = None) -> Accepted:
    """Store a submission and one transmission for each call. A call that was accepted within 48 h is not repeated.

    most  faxes that the account may have on their way; more are TooMany, and nothing is stored. None: any number
    """
    fresh, ids, earlier = list[Call](), list[TransmissionId](), list[_Earlier]()
    every = list[TransmissionId]()
    for call in calls:
        tx = TransmissionId(new_id("tx"))
        if before := _seen(t, call.key, tx, submission.id):
            earlier.append(before)
        else:
            fresh.append(call)
            ids.append(tx)
        every.append(before.transmission_id if before else tx)
    repeated = tuple(before.transmission_id for before in earlier)
    if not fresh:
        return Accepted(submission=earlier[0].submission_id, transmissions=(), repeated=repeated, calls=tuple(every))
    if most is not None and steps.unfinished(t.db, submission.account, most) + len(fresh) > most:
        raise TooMany(
            f"Please wait. You already have at least {most} transmissions that are currently pending or transmitting."
        )
    t.add(schema.submission, rows.submission_values(submission))
    _insert_calls(t, submission, fresh, ids, first=1)
    return Accepted(submission=submission.id, transmissions=tuple(ids), repeated=repeated, calls=tuple(every))


def too_many(most: int) -> str:
    """In the words that programs know from the HelloFax API."""
    return f"Please wait. You already have at least {most} transmissions that are currently pending or transmitting."


def again(t: Transaction, submission: Submission, call: Call) -> TransmissionId:
    """A new transmission of an old submission: what retrying a failed fax means. Refused once its mail is removed."""
    of = schema.submission
    if not t.db.scalar(select(of.c.document).where(of.c.id == submission.id).with_for_update()):
        raise NotAdmitted("Its documents have been removed: the mail has to be sent anew.")
    last = t.db.scalar(select(func.max(schema.recipient.c.n)).where(schema.recipient.c.submission_id == submission.id))
    tx = TransmissionId(new_id("tx"))
    _insert_calls(t, submission, [call], [tx], first=(last or 0) + 1)
    return tx


def forget(t: Transaction) -> int:
    """Drop what is too old to make a repetition."""
    return t.db.execute(delete(schema.seen).where(schema.seen.c.seen_at < t.now - MEMORY)).rowcount


class _Earlier(NamedTuple):
    """What a repeated call was the first time."""

    transmission_id: TransmissionId
    submission_id: SubmissionId


def _seen(t: Transaction, key: str, transmission: TransmissionId, submission: SubmissionId) -> _Earlier | None:
    """Remember a call by its key. If it was accepted within 48 h: what it was then, and that stays remembered."""
    if not key:
        return None
    values = {"key": key, "transmission_id": transmission, "submission_id": submission, "seen_at": t.now}
    while not t.insert_new(schema.seen, values):
        table = schema.seen
        row = t.at_once.execute(select(table).where(table.c.key == key, table.c.seen_at >= t.now - MEMORY)).first()
        if row is not None:
            return _Earlier(row.transmission_id, row.submission_id)
        # Only what has expired: what another node wrote a moment ago counts.
        t.at_once.execute(delete(table).where(table.c.key == key, table.c.seen_at < t.now - MEMORY))
    return None


def _insert_calls(
    t: Transaction, submission: Submission, calls: Sequence[Call], ids: Sequence[TransmissionId], first: int
) -> None:
    recipients, n = [], first
    for tx, call in zip(ids, calls, strict=True):
        for recipient in call.recipients:
            values = rows.recipient_values(recipient)
            recipients.append({"submission_id": submission.id, "n": n, "transmission_id": tx, **values})
            n += 1
    transmissions = [
        {
            "id": tx,
            "submission_id": submission.id,
            "account_id": submission.account,
            "number": call.recipients[0].number,
            "sub_address": call.recipients[0].sub_address,
            "carrier": call.carrier,
            "caller": call.caller,
            "state": TransmissionState.ACCEPTED.value,
            "reason": "",
            "pages": 0,
            "pages_sent": 0,
            "attempts": 0,
            "manifest": "",
            "accepted_at": t.now,
            "updated_at": t.now,
        }
        for tx, call in zip(ids, calls, strict=True)
    ]
    for row in transmissions:
        t.add(schema.transmission, row)
    for row in recipients:
        t.add(schema.recipient, row)
    before = steps.waiting(t, submission.account)
    for n, tx in enumerate(ids, before):
        steps.add(t, tx, "prepare", steps.CONVERT, account=submission.account, band=steps.band(n))
        t.note(tx, "accepted", submission.envelope.door)

"""Verbs of submissions: accept, and copy for a retry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, insert, select

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


def accept(t: Transaction, submission: Submission, calls: Sequence[Call]) -> Accepted:
    """Store a submission and one transmission for each call. A call that was accepted within 48 h is not repeated."""
    earlier = _earlier(t, [call.key for call in calls if call.key])
    fresh = [call for call in calls if call.key not in earlier]
    repeated = tuple(earlier[call.key][0] for call in calls if call.key in earlier)
    if not fresh:
        return Accepted(submission=earlier[calls[0].key][1], transmissions=(), repeated=repeated)
    t.db.execute(insert(schema.submission), rows.submission_values(submission))
    ids = _insert_calls(t, submission, fresh, first=1)
    keyed = [(call.key, tx) for call, tx in zip(fresh, ids, strict=True) if call.key]
    if keyed:
        # Only what has expired: a row that another node wrote a moment ago must collide with ours.
        expired = schema.seen.c.seen_at < t.now - MEMORY
        t.db.execute(delete(schema.seen).where(schema.seen.c.key.in_([key for key, _ in keyed]), expired))
        values = [{"key": key, "transmission_id": tx, "submission_id": submission.id, "seen_at": t.now} for key, tx in keyed]
        t.db.execute(insert(schema.seen), values)
    return Accepted(submission=submission.id, transmissions=tuple(ids), repeated=repeated)


def again(t: Transaction, submission: Submission, call: Call) -> TransmissionId:
    """A new transmission of an old submission: what retrying a failed fax means."""
    last = t.db.scalar(select(func.max(schema.recipient.c.n)).where(schema.recipient.c.submission_id == submission.id))
    return _insert_calls(t, submission, [call], first=(last or 0) + 1)[0]


def forget(t: Transaction) -> int:
    """Drop what is too old to make a repetition."""
    return t.db.execute(delete(schema.seen).where(schema.seen.c.seen_at < t.now - MEMORY)).rowcount


def _earlier(t: Transaction, keys: Sequence[str]) -> dict[str, tuple[TransmissionId, SubmissionId]]:
    if not keys:
        return {}
    found = t.db.execute(select(schema.seen).where(schema.seen.c.key.in_(keys), schema.seen.c.seen_at >= t.now - MEMORY))
    return {row.key: (row.transmission_id, row.submission_id) for row in found}


def _insert_calls(t: Transaction, submission: Submission, calls: Sequence[Call], first: int) -> list[TransmissionId]:
    ids, recipients, n = [TransmissionId(new_id("tx")) for _ in calls], [], first
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
    t.db.execute(insert(schema.transmission), transmissions)
    t.db.execute(insert(schema.recipient), recipients)
    before = steps.waiting(t, submission.account)
    for n, tx in enumerate(ids, before):
        steps.add(t, tx, "prepare", steps.CONVERT, account=submission.account, band=steps.band(n))
        t.note(tx, "accepted", submission.envelope.door)
    return ids

"""Verbs of submissions: accept, and copy for a retry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, func, select

from gateway.errors import NoCredit, NotAdmitted, OverLimit
from gateway.fax import Recipient, Submission, SubmissionId, TransmissionId, TransmissionState, new_id
from gateway.spool import ledger, rows, schema, steps, usage
from gateway.spool.commit import Transaction, together
from gateway.spool.usage import Allowance

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
    id: TransmissionId | None = None
    """Chosen before, so that it could be told; a repetition has the same. None: a new one."""
    not_before: datetime | None = None
    """Nothing is done with it before this time."""
    early: bool = False
    """It may be handed over before: its carrier can keep that time."""
    price: int | None = None
    """Of a page, micro-EUR, for an account that pays in advance; None: nobody pays."""
    memory: timedelta = MEMORY
    """How long a repetition of it is known as such."""
    pages: int | None = None
    """How many it certainly has: what they cost is set aside with the acceptance. None: not known before they are made."""
    counted: tuple[Allowance, ...] = ()
    """What it is counted in, as one fax."""


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


@together
def accept(t: Transaction, wanted: Sequence[tuple[Submission, Sequence[Call]]]) -> list[Accepted]:
    """Store a submission and one transmission for each call. A call that was accepted within its `memory` is not repeated.

    Raises NoCredit, OverLimit or NotAdmitted, and nothing is stored, where the account cannot pay for all pages that are known
    or may not send so many faxes.
    """
    made = [(submission, [(call.id or TransmissionId(new_id("tx")), call) for call in calls]) for submission, calls in wanted]
    keyed = [(call, tx, submission.id) for submission, calls in made for tx, call in calls if call.key and not call.id]
    earlier = _seen(t, keyed)
    before = [{**earlier, **_chosen(t, calls)} for _, calls in made]
    # Counted for all at once: two nodes then take the windows of all accounts in one order.
    _count(t, [call for (_, calls), known in zip(made, before, strict=True) for tx, call in calls if tx not in known])
    return [_accepted(t, submission, calls, known) for (submission, calls), known in zip(made, before, strict=True)]


def _chosen(t: Transaction, calls: Sequence[tuple[TransmissionId, Call]]) -> dict[TransmissionId, _Earlier]:
    """Those whose transmission was chosen before and is there already: they are repetitions, however long ago."""
    if not (ids := [tx for tx, call in calls if call.id]):
        return {}
    of = schema.transmission.c
    found = t.db.execute(select(of.id, of.submission_id).where(of.id.in_(ids)))
    return {row.id: _Earlier(row.id, row.submission_id) for row in found}


def _accepted(
    t: Transaction,
    submission: Submission,
    calls: Sequence[tuple[TransmissionId, Call]],
    earlier: Mapping[TransmissionId, _Earlier],
) -> Accepted:
    fresh = [(tx, call) for tx, call in calls if tx not in earlier]
    before = [earlier[tx] for tx, _ in calls if tx in earlier]
    repeated = tuple(one.transmission_id for one in before)
    every = tuple(earlier[tx].transmission_id if tx in earlier else tx for tx, _ in calls)
    if not fresh:
        return Accepted(submission=before[0].submission_id, transmissions=(), repeated=repeated, calls=every)
    _insert_calls(t, submission, fresh, first=1)
    t.add(schema.submission, rows.submission_values(submission))
    new = tuple(tx for tx, _ in fresh)
    return Accepted(submission=submission.id, transmissions=new, repeated=repeated, calls=every)


def accept_with(
    t: Transaction,
    before: Callable[[Transaction], None],
    submission: Submission,
    calls: Sequence[Call],
    most: int | None = None,
) -> Accepted | None:
    """The same, with something that is done in the same transaction: both or neither. What `before` raises stores nothing.

    most  None, or as `accept_within` takes it
    """
    if most is not None and (accepted := accept_within(t, submission, calls, most)) is None:
        return None
    before(t)
    return accept(t, submission, calls) if most is None else accepted


def accept_within(t: Transaction, submission: Submission, calls: Sequence[Call], most: int) -> Accepted | None:
    """The same, where the account may have so many faxes on their way. None, and nothing is stored: it has them already.

    A repeated call is answered all the same: it brings none.
    """
    if steps.unfinished(t.db, submission.account, most) + len(calls) > most:
        since = {call.key: t.now - call.memory for call in calls if call.key}
        known = {row.key for row in t.db.execute(_KNOWN, {"wanted": list(since)}) if row.seen_at >= since[row.key]}
        fresh = [call for call in calls if call.key not in known]
        if fresh and steps.unfinished(t.db, submission.account, most) + len(fresh) > most:
            return None
    return accept(t, submission, calls)


def again(t: Transaction, submission: Submission, call: Call) -> TransmissionId:
    """A new transmission of an old submission: what retrying a failed fax means. Refused once its mail is removed."""
    of = schema.submission
    if not t.db.scalar(select(of.c.document).where(of.c.id == submission.id).with_for_update()):
        raise NotAdmitted("Its documents have been removed: the mail has to be sent anew.")
    _count(t, [call])
    last = t.db.scalar(select(func.max(schema.recipient.c.n)).where(schema.recipient.c.submission_id == submission.id))
    tx = TransmissionId(new_id("tx"))
    _insert_calls(t, submission, [(tx, call)], first=(last or 0) + 1)
    return tx


def forget(t: Transaction, memory: timedelta = MEMORY) -> int:
    """Drop what is too old to make a repetition."""
    return t.db.execute(delete(schema.seen).where(schema.seen.c.seen_at < t.now - max(memory, MEMORY))).rowcount


class _Earlier(NamedTuple):
    """What a repeated call was the first time."""

    transmission_id: TransmissionId
    submission_id: SubmissionId


def _seen(t: Transaction, keyed: Sequence[tuple[Call, TransmissionId, SubmissionId]]) -> dict[TransmissionId, _Earlier]:
    """Remember calls by their keys. Of those that were accepted within their memory: what they were then, and that stays
    remembered."""
    since = {call.key: t.now - call.memory for call, _, _ in keyed}
    # In the order of their keys: two nodes that remember the same ones do not wait for each other in a circle.
    left: list[dict[str, Any]] = [
        {"key": call.key, "transmission_id": tx, "submission_id": submission, "seen_at": t.now}
        for call, tx, submission in sorted(keyed, key=lambda one: (one[0].key, one[1]))
    ]
    earlier = dict[TransmissionId, _Earlier]()
    while left:
        new = t.insert_new(schema.seen, left, own="transmission_id")
        left = [row for row in left if row["transmission_id"] not in new]
        rows = t.at_once.execute(_KNOWN, {"wanted": [row["key"] for row in left]})
        known = {row.key: _Earlier(row.transmission_id, row.submission_id) for row in rows if row.seen_at >= since[row.key]}
        earlier |= {row["transmission_id"]: known[row["key"]] for row in left if row["key"] in known}
        left = [row for row in left if row["key"] not in known]
        if left:  # Only what has expired: what another node wrote a moment ago counts.
            expired = max(since[row["key"]] for row in left)
            t.at_once.execute(_EXPIRED, {"wanted": [row["key"] for row in left], "since": expired})
    return earlier


_since = bindparam("since", type_=schema.Moment)
_AMONG = schema.among(schema.seen.c.key, "wanted")
_KNOWN = select(schema.seen).where(_AMONG)
_EXPIRED = delete(schema.seen).where(_AMONG, schema.seen.c.seen_at < _since)


def _insert_calls(t: Transaction, submission: Submission, calls: Sequence[tuple[TransmissionId, Call]], first: int) -> None:
    before = steps.waiting(t, submission.account)
    recipients, n = [], first
    for tx, call in calls:
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
            "due_at": call.not_before,
            "price": call.price,
            "held": _set_aside(t, submission, tx, call),
        }
        for tx, call in calls
    ]
    for row in transmissions:
        t.add(schema.transmission, row)
    for row in recipients:
        t.add(schema.recipient, row)
    for n, (tx, call) in enumerate(calls, before):
        band, wait = steps.band(n), None if call.early else call.not_before
        steps.add(t, tx, "prepare", steps.CONVERT, account=submission.account, band=band, not_before=wait)
        t.note(tx, "accepted", submission.envelope.door)


def _count(t: Transaction, calls: Sequence[Call]) -> None:
    """Count new calls in what they are counted in. Raises OverLimit; NotAdmitted where they are too many for any window."""
    counts = Counter(allowance for call in calls for allowance in call.counted)
    if (over := usage.reserve(t, list(counts.items()))) is None:
        return
    if over.for_good or counts[over] > over.most:
        raise NotAdmitted(over.text)
    raise OverLimit(over.text, retry_after=(over.ends_at - t.now).total_seconds())


def _set_aside(t: Transaction, submission: Submission, fax: TransmissionId, call: Call) -> int | None:
    """The money that is held for a call from now on; None: none yet. Raises NoCredit."""
    if call.price is None or call.pages is None:
        return None
    amount = call.price * call.pages
    if not ledger.hold(t, submission.account, fax, amount, 0, f"{call.pages} pages"):
        raise NoCredit
    return amount

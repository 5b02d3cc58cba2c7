"""Verbs of transmissions and attempts. Each is fenced by a claim and makes only legal moves.

Every verb that takes a claim returns False, with nothing changed, when the claim is lost or the fax has moved on.
A final state and the report that is owed for it are written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import insert, select, update

from gateway.errors import Outcome
from gateway.fax import Attempt, AttemptState, Sha256, Transmission, TransmissionId, TransmissionState
from gateway.lifecycle import ATTEMPT_MOVES, FINAL, MOVES, OPEN_ATTEMPT
from gateway.spool import events, lines, outbox, rows, schema, steering, steps
from gateway.spool.commit import Transaction
from gateway.spool.steps import Claim

PREPARE, SEND, TRACK, HELD = "prepare", "send", "track", "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What becomes of a transmission."""

    state: TransmissionState
    outcome: Outcome | None = None
    reason: str = ""
    status: str = ""
    """Enhanced status code of a refused document; "" = the usual one of the outcome."""
    due_at: datetime | None = None
    """When a deferred one is tried again."""
    pages_sent: int = 0
    alarm: str = ""
    """What the operator is told; "" = nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of an attempt."""

    state: AttemptState
    outcome: Outcome | None
    carrier_code: str = ""
    text: str = ""
    pages_sent: int = 0
    station_id: str = ""
    seconds: float | None = None


def prepared(t: Transaction, claim: Claim, *, document: Sha256, pages: int, manifest: str) -> bool:
    """accepted -> ready: the pages are made; the step becomes a hand-over."""
    transmission = _held_by(t, claim)
    if transmission is None or not _move(t, transmission, TransmissionState.READY):
        return False
    _set(t, transmission.id, document=document, pages=pages, manifest=manifest)
    t.note(transmission.id, "ready", f"{pages} pages")
    return steps.put_back(t, claim, kind=SEND, lane=steps.carrier_lane(transmission.carrier))


def open_attempt(t: Transaction, claim: Claim, attempt: Attempt, calls: int | None = None) -> bool:
    """ready, deferred -> sending, with the attempt written down: on disk before the carrier is called.

    Refused (False) while another attempt of this fax is opening, submitted or uncertain. With a limit, `calls` at a
    time for the carrier and one for the called number, it is also refused while there are so many; the step is then put
    back, which counts as no try.
    """
    transmission = _held_by(t, claim)
    if transmission is None or transmission.state not in (TransmissionState.READY, TransmissionState.DEFERRED):
        return False
    if _open(t, transmission.id) or TransmissionState.SENDING not in MOVES[transmission.state]:
        return False
    values = {name: getattr(attempt, name) for name in ("id", "n", "carrier", "reference", "text", "opened_at")}
    values |= {"transmission_id": transmission.id, "state": attempt.state.value}
    values |= {"carrier_code": "", "pages_sent": 0, "station_id": ""}
    if calls is None:
        t.db.execute(insert(schema.attempt), values)
    elif not lines.take(t, claim, transmission.number, values, calls):
        return False
    _move(t, transmission, TransmissionState.SENDING)
    _set(t, transmission.id, attempts=attempt.n, due_at=None)
    t.note(transmission.id, "attempt", f"{attempt.id} at {attempt.carrier}")
    return True


def opened_at_carrier(t: Transaction, claim: Claim, attempt: Attempt, carrier_ref: str) -> bool:
    """The carrier's id is known before anything can be sent: remember it first."""
    if not steps.holds(t, claim):
        return False
    t.db.execute(update(schema.attempt).where(schema.attempt.c.id == attempt.id).values(carrier_ref=carrier_ref))
    return True


def submitted(t: Transaction, claim: Claim, attempt: Attempt, carrier_ref: str, look_at: datetime) -> bool:
    """opening, uncertain -> submitted. The step is a look at `look_at`, or at once if the carrier has spoken already.

    A fax that was held because nobody knew is sending again.
    """
    transmission = _held_by(t, claim)
    if transmission is None or not _move_attempt(t, attempt, AttemptState.SUBMITTED):
        return False
    if transmission.state is TransmissionState.HELD:
        _move(t, transmission, TransmissionState.SENDING)
        _set(t, transmission.id, outcome=None, reason="")
    values = {"carrier_ref": carrier_ref or None, "submitted_at": t.now, "outcome": None, "text": ""}
    t.db.execute(update(schema.attempt).where(schema.attempt.c.id == attempt.id).values(**values))
    t.note(attempt.transmission, "submitted", carrier_ref)
    spoken = events.waiting(t.db, attempt.carrier, carrier_ref, attempt.reference)
    return steps.put_back(t, claim, kind=TRACK, due_at=None if spoken else look_at)


def uncertain(t: Transaction, claim: Claim, attempt: Attempt, text: str, look_at: datetime) -> bool:
    """opening -> uncertain: perhaps sent. The step is a look at the carrier at `look_at`; nothing is sent till then."""
    if not steps.holds(t, claim):
        return False
    if attempt.state is AttemptState.OPENING and not _move_attempt(t, attempt, AttemptState.UNCERTAIN):
        return False
    t.db.execute(update(schema.attempt).where(schema.attempt.c.id == attempt.id).values(text=text))
    t.note(attempt.transmission, "uncertain", text)
    return steps.put_back(t, claim, kind=TRACK, due_at=look_at)


def end_attempt(
    t: Transaction, claim: Claim, attempt: Attempt, ending: Ending, following: Next, applied: Iterable[str]
) -> bool:
    """The attempt is over, and the transmission goes where `following` says; `applied` events are marked as used."""
    transmission = _held_by(t, claim)
    if transmission is None:
        return False
    back = transmission.state is TransmissionState.HELD and following.state is TransmissionState.DEFERRED
    if not back and following.state not in MOVES[transmission.state]:
        return False
    if not _move_attempt(t, attempt, ending.state):
        return False
    if back:  # held because nobody knew; the carrier has said after all that it did not get through
        _move(t, transmission, TransmissionState.SENDING)
        transmission = replace(transmission, state=TransmissionState.SENDING)
    t.db.execute(
        update(schema.attempt)
        .where(schema.attempt.c.id == attempt.id)
        .values(
            outcome=ending.outcome.value if ending.outcome else None,
            carrier_code=ending.carrier_code,
            text=ending.text,
            pages_sent=ending.pages_sent,
            station_id=ending.station_id,
            seconds=ending.seconds,
            finished_at=t.now,
        )
    )
    lines.free(t, transmission.id)
    t.note(
        transmission.id, f"attempt {ending.state}", " ".join(filter(None, (ending.outcome, ending.carrier_code, ending.text)))
    )
    events.mark_applied(t, applied)
    return _settle(t, claim, transmission, following)


def settle(t: Transaction, claim: Claim, following: Next) -> bool:
    """The transmission goes where `following` says, without an attempt having ended.

    Refused (False) while an attempt is open, unless the fax is to be held.
    """
    transmission = _held_by(t, claim)
    if transmission is None or (following.state is not TransmissionState.HELD and _open(t, transmission.id)):
        return False
    return _settle(t, claim, transmission, following)


def dial_now(t: Transaction, claim: Claim) -> bool:
    """A deferred transmission is due at once."""
    transmission = _held_by(t, claim)
    if transmission is None or transmission.state is not TransmissionState.DEFERRED:
        return False
    _set(t, transmission.id, due_at=None)
    return steps.put_back(t, claim)


def _settle(t: Transaction, claim: Claim, transmission: Transmission, following: Next) -> bool:
    """Move, write the reason, and put the step where the new state needs it, with the mails that are owed."""
    state = following.state
    if not _move(t, transmission, state):
        return False
    final = state in FINAL
    outcome = following.outcome.value if following.outcome else None
    _set(
        t,
        transmission.id,
        outcome=outcome,
        reason=following.reason,
        status=following.status,
        due_at=following.due_at,
        pages_sent=following.pages_sent,
        finished_at=t.now if final else None,
    )
    t.note(transmission.id, state, following.reason or (outcome or ""))
    # A fax can be held more than once, and each time somebody has to know.
    this_time = f"{transmission.id}#{int(t.now.timestamp() * 1000) % 16**9:x}"
    if following.alarm:
        outbox.alarm(t, about=this_time, what=following.alarm, text=following.reason)
    if final:
        steering.too_late(t, transmission.id)
        outbox.owe(t, kind=outbox.RESULT, about=transmission.id, of=claim)
        return steps.done(t, claim)
    if state is TransmissionState.HELD:
        lines.free(t, transmission.id)  # whatever was called is long over; nobody else is to wait for a person
        outbox.owe(t, kind=outbox.HELD, about=this_time, of=claim)
        return steps.put_back(t, claim, kind=HELD, due_at=schema.PARKED)
    if state is TransmissionState.ACCEPTED:
        return steps.put_back(t, claim, kind=PREPARE, lane=steps.CONVERT)
    return steps.put_back(t, claim, kind=SEND, lane=steps.carrier_lane(transmission.carrier), due_at=following.due_at)


def _held_by(t: Transaction, claim: Claim) -> Transmission | None:
    """The transmission of a claim that is still ours."""
    if not steps.holds(t, claim):
        return None
    row = t.db.execute(select(schema.transmission).where(schema.transmission.c.id == claim.subject)).first()
    return rows.transmission(row) if row else None


def _open(t: Transaction, transmission: TransmissionId) -> bool:
    attempt = schema.attempt
    states = [state.value for state in OPEN_ATTEMPT]
    found = select(attempt.c.id).where(attempt.c.transmission_id == transmission, attempt.c.state.in_(states))
    return t.db.execute(found).first() is not None


def _move(t: Transaction, transmission: Transmission, to: TransmissionState) -> bool:
    if to not in MOVES[transmission.state]:
        return False
    table = schema.transmission
    changed = t.db.execute(
        update(table)
        .where(table.c.id == transmission.id, table.c.state == transmission.state.value)
        .values(state=to.value, updated_at=t.now)
    )
    return changed.rowcount == 1


def _move_attempt(t: Transaction, attempt: Attempt, to: AttemptState) -> bool:
    if to not in ATTEMPT_MOVES[attempt.state]:
        return False
    table = schema.attempt
    changed = t.db.execute(
        update(table).where(table.c.id == attempt.id, table.c.state == attempt.state.value).values(state=to.value)
    )
    return changed.rowcount == 1


def _set(t: Transaction, transmission: TransmissionId, **values: object) -> None:
    t.db.execute(update(schema.transmission).where(schema.transmission.c.id == transmission).values(**values))

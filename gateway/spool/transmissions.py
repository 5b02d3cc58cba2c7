"""Verbs of transmissions and attempts. Each is fenced by a claim and makes only legal moves.

Every verb that takes a claim returns False, with nothing changed, when the claim is lost or the fax has moved on.
A final state and the report that is owed for it are written in the same transaction.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from gateway.errors import Outcome
from gateway.fax import AccountId, Attempt, AttemptState, Sha256, TransmissionId, TransmissionState
from gateway.lifecycle import APPROVAL, ATTEMPT_MOVES, FINAL, MOVES, OPEN_ATTEMPT, PROOF
from gateway.spool import approvals, blocks, events, ledger, lines, outbox, resent, schema, steering, steps, usage
from gateway.spool.approvals import FREE, Showing, Toll
from gateway.spool.commit import Held, Transaction, together
from gateway.spool.steps import Claim
from gateway.spool.usage import Count
from gateway.units import eur

PREPARE, SEND, TRACK, HELD = "prepare", "send", "track", "held"
_OPENED = ("id", "n", "carrier", "reference", "text", "opened_at", "planned_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What becomes of a transmission."""

    state: TransmissionState
    outcome: Outcome | None = None
    reason: str = ""
    status: str = ""
    """Enhanced status code of a refused document; "" = the usual one of the outcome."""
    due_at: datetime | None = None
    """When a deferred one is tried again, a held one is decided by itself, or before which no other one is sent."""
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
    speed: int | None = None
    """Bits a second; None = not said."""
    resolution: str = ""
    reported: bool = False
    """The carrier has a transmission report, which is to be fetched."""


def prepared(
    t: Transaction,
    claim: Claim,
    *,
    document: Sha256,
    pages: int,
    manifest: str,
    toll: Toll = FREE,
    showing: Showing | None = None,
) -> TransmissionState | None:
    """accepted -> ready: the pages are made and counted; the step becomes a hand-over. What its account's limits do not let
    pass is held until it is approved, where somebody can do that, else it fails; where they are not known it is held for the
    operator. What is to be shown first waits for that, and comes back here. The state it has then; None: nothing was
    changed."""
    transmission = _held_by(t, claim)
    if transmission is None or transmission.state is not TransmissionState.ACCEPTED:
        return None
    if transmission.pages:  # they were known before they were made
        resent.made(t, transmission.id)
    if showing and not toll.unknown and (toll.approver or not toll.refused):
        t.change(schema.transmission, {"id": transmission.id}, {"document": document, "pages": pages, "manifest": manifest})
        t.note(transmission.id, "converted", f"{pages} pages")
        _show(t, claim, transmission, showing)
        return TransmissionState.HELD
    over = None if toll.refused else usage.reserve(t, toll.counts)
    refused = toll.refused or (over.text if over else "")
    counted = _counted(toll.counts) if toll.counts and not refused else None
    made = {"document": document, "pages": pages, "manifest": manifest, "counted": counted}
    if not refused and not toll.reasons and not toll.unknown:
        _move(t, transmission, TransmissionState.READY, **made)
        t.note(transmission.id, "ready", f"{pages} pages")
        steps.put_back(t, claim, kind=SEND, lane=steps.carrier_lane(transmission.carrier))
        return TransmissionState.READY
    t.change(schema.transmission, {"id": transmission.id}, made)
    t.note(transmission.id, "converted", f"{pages} pages")
    transmission = transmission._replace(counted=counted)
    if toll.unknown:
        alarm, later = "a fax is held: its account is gone", _due_at(t, transmission.id)
        _settle(t, claim, transmission, Next(state=TransmissionState.HELD, reason=toll.unknown, alarm=alarm, due_at=later))
        return TransmissionState.HELD
    if toll.approver:
        _ask_approval(t, claim, transmission, toll, "; ".join(filter(None, (*toll.reasons, refused))))
        return TransmissionState.HELD
    _settle(t, claim, transmission, Next(state=TransmissionState.FAILED, outcome=Outcome.NOT_AUTHORISED, reason=refused))
    return TransmissionState.FAILED


def _ask_approval(t: Transaction, claim: Claim, transmission: Held, toll: Toll, why: str) -> None:
    send_at = _due_at(t, transmission.id)
    held = Next(state=TransmissionState.HELD, reason=f"{APPROVAL}: {why}", status="4.7.1", due_at=t.now + toll.wait)
    _settle(t, claim, transmission, held)
    approvals.ask(t, transmission.id, toll.approver, why, send_at)
    outbox.owe(t, kind=outbox.APPROVAL, about=transmission.id, recipient=toll.approver, of=claim)


def _show(t: Transaction, claim: Claim, transmission: Held, showing: Showing) -> None:
    send_at = _due_at(t, transmission.id)
    held = Next(state=TransmissionState.HELD, reason=f"{PROOF}: {showing.why}", status="4.7.1", due_at=t.now + showing.wait)
    _settle(t, claim, transmission, held)
    approvals.ask(t, transmission.id, showing.to, showing.why, send_at, proof=True)
    outbox.owe(t, kind=outbox.PROOF, about=transmission.id, recipient=showing.to, of=claim)


def _due_at(t: Transaction, transmission: TransmissionId) -> datetime | None:
    """When it is to be sent: who moves that to another time may do so while the pages are made."""
    due: datetime | None = t.db.scalar(select(_table.c.due_at).where(_table.c.id == transmission).with_for_update())
    return due


def approved(t: Transaction, claim: Claim, following: Next, counts: Sequence[Count]) -> bool:
    """held -> ready: somebody agreed. Its pages count now if they did not before, whatever is left."""
    transmission = _held_by(t, claim)
    if transmission is None or transmission.state is not TransmissionState.HELD:
        return False
    if transmission.counted is None and counts:
        usage.count(t, counts)
        t.change(schema.transmission, {"id": transmission.id}, {"counted": _counted(counts)})
    return _settle(t, claim, transmission, following)


def _counted(counts: Sequence[Count]) -> str:
    return json.dumps({allowance.key: amount for allowance, amount in counts})


@together
def open_attempt(t: Transaction, wanted: Sequence[tuple[Claim, Attempt, int | None]]) -> list[bool]:
    """ready, deferred -> sending, with the attempt written down: on disk before the carrier is called.

    Refused (False) while another attempt of this fax is opening, submitted or uncertain. With a limit, so many calls at
    a time for the carrier and one for the called number, it is also refused while there are so many; the step is then
    put back, which counts as no try. What the fax costs is set aside here if it was not before: without credit it is held.
    A number that has been blocked since the fax was accepted is not called: the fax fails.
    """
    tried, calling, opened = dict[str, tuple[Held, Attempt]](), list[lines.Wanted](), set[str]()
    candidates = dict[str, tuple[Claim, Attempt, int | None, Held]]()
    for claim, attempt, calls in wanted:
        transmission = None if claim.subject in candidates else _held_by(t, claim)
        if transmission is None or transmission.state not in (TransmissionState.READY, TransmissionState.DEFERRED):
            continue
        if not _trying(t, transmission.id) and TransmissionState.SENDING in MOVES[transmission.state]:
            candidates[claim.subject] = (claim, attempt, calls, transmission)
    blocked = blocks.among(t, [one.number for *_, one in candidates.values()])
    for claim, attempt, calls, transmission in candidates.values():
        if blocked & {(transmission.number, blocks.EVERYBODY), (transmission.number, transmission.account)}:
            _settle(t, claim, transmission, BLOCKED)
            continue
        if not _paid(t, transmission, attempt.n):
            _settle(t, claim, transmission, _unpaid(transmission, attempt.planned_at))
            continue
        tried[claim.subject] = (transmission, attempt)
        values = {name: getattr(attempt, name) for name in _OPENED}
        values |= {"transmission_id": transmission.id, "state": attempt.state.value}
        values |= {"carrier_code": "", "pages_sent": 0, "station_id": ""}
        if calls is None:
            t.add(schema.attempt, values)
            opened.add(attempt.id)
        else:
            calling.append(lines.Wanted(claim, transmission.number, values, calls))
    opened |= lines.take(t, calling)
    for transmission, attempt in tried.values():
        if attempt.id in opened:
            _move(t, transmission, TransmissionState.SENDING, attempts=attempt.n, due_at=None)
            t.note(transmission.id, "attempt", f"{attempt.id} at {attempt.carrier}")
    return [attempt.id in opened for _, attempt, _ in wanted]


def opened_at_carrier(t: Transaction, claim: Claim, attempt: Attempt, carrier_ref: str) -> bool:
    """The carrier's id is known before anything can be sent: remember it first."""
    if not steps.holds(t, claim):
        return False
    t.change(schema.attempt, {"id": attempt.id}, {"carrier_ref": carrier_ref})
    return True


@together
def submitted(t: Transaction, taken: Sequence[tuple[Claim, Attempt, str, datetime]]) -> list[bool]:
    """opening, uncertain -> submitted. The step is a look at the given time, or at once if the carrier has spoken already.

    A fax that was held because nobody knew is sending again.
    """
    about = [(attempt.carrier, carrier_ref, attempt.reference) for _, attempt, carrier_ref, _ in taken]
    done = [_submitted(t, claim, attempt, carrier_ref) for claim, attempt, carrier_ref, _ in taken]
    spoken = events.waiting_about(t.at_once, about) if any(done) else {}
    for (claim, _, _, look_at), one, moved in zip(taken, about, done, strict=True):
        if moved:
            steps.put_back(t, claim, kind=TRACK, due_at=None if one in spoken else look_at)
    return done


def _submitted(t: Transaction, claim: Claim, attempt: Attempt, carrier_ref: str) -> bool:
    transmission = _held_by(t, claim)
    values = {"carrier_ref": carrier_ref or None, "submitted_at": t.now, "outcome": None, "text": ""}
    if transmission is None or not _move_attempt(t, attempt, AttemptState.SUBMITTED, values):
        return False
    if transmission.state is TransmissionState.HELD:
        _move(t, transmission, TransmissionState.SENDING, outcome=None, reason="")
    if attempt.planned_at is not None and attempt.planned_at > t.now:
        lines.free(t, transmission.id)  # it waits there: others may call that number meanwhile
    t.note(attempt.transmission, "submitted", carrier_ref)
    return True


def uncertain(t: Transaction, claim: Claim, attempt: Attempt, text: str, look_at: datetime) -> bool:
    """opening -> uncertain: perhaps sent. The step is a look at the carrier at `look_at`; nothing is sent till then."""
    if not steps.holds(t, claim):
        return False
    if attempt.state is not AttemptState.OPENING:
        t.db.execute(update(schema.attempt).where(schema.attempt.c.id == attempt.id).values(text=text))
    elif not _move_attempt(t, attempt, AttemptState.UNCERTAIN, {"text": text}):
        return False
    t.note(attempt.transmission, "uncertain", text)
    return steps.put_back(t, claim, kind=TRACK, due_at=look_at)


@together
def end_attempt(t: Transaction, ended: Sequence[tuple[Claim, Attempt, Ending, Next, Iterable[str]]]) -> list[bool]:
    """Each attempt is over, and its transmission goes where the `Next` says; the statements with these ids are marked
    as used."""
    numbers = [_ended(t, *one) for one in ended]
    steps.free(t, {number for number in numbers if number is not None})
    return [number is not None for number in numbers]


def _ended(
    t: Transaction, claim: Claim, attempt: Attempt, ending: Ending, following: Next, applied: Iterable[str]
) -> str | None:
    """The number that is free now; None: nothing was changed."""
    transmission = _held_by(t, claim)
    if transmission is None:
        return None
    back = transmission.state is TransmissionState.HELD and following.state is TransmissionState.DEFERRED
    if not back and following.state not in MOVES[transmission.state]:
        return None
    values = {
        "outcome": ending.outcome.value if ending.outcome else None,
        "carrier_code": ending.carrier_code,
        "text": ending.text,
        "pages_sent": ending.pages_sent,
        "station_id": ending.station_id,
        "seconds": ending.seconds,
        "speed": ending.speed,
        "resolution": ending.resolution,
        "finished_at": t.now,
        "slot": None,
        "dialling": None,
        "report": "" if ending.reported else None,
    }
    if not _move_attempt(t, attempt, ending.state, values):
        return None
    if back:  # held because nobody knew; the carrier has said after all that it did not get through
        _move(t, transmission, TransmissionState.SENDING)
        t.flush()
        transmission = transmission._replace(state=TransmissionState.SENDING)
    t.woken.add(steps.carrier_lane(attempt.carrier))  # which may call somebody else now, or the same number again
    t.note(
        transmission.id, f"attempt {ending.state}", " ".join(filter(None, (ending.outcome, ending.carrier_code, ending.text)))
    )
    events.mark_applied(t, applied)
    return transmission.number if _settle(t, claim, transmission, following) else None


def settle(t: Transaction, claim: Claim, following: Next) -> bool:
    """The transmission goes where `following` says, without an attempt having ended.

    Refused (False) while an attempt is open, unless the fax is to be held.
    """
    transmission = _held_by(t, claim)
    if transmission is None or (following.state is not TransmissionState.HELD and _trying(t, transmission.id)):
        return False
    return _settle(t, claim, transmission, following)


def dial_now(t: Transaction, claim: Claim) -> bool:
    """A deferred transmission is due at once."""
    transmission = _held_by(t, claim)
    if transmission is None or transmission.state is not TransmissionState.DEFERRED:
        return False
    t.change(schema.transmission, {"id": transmission.id}, {"due_at": None})
    return steps.put_back(t, claim)


def _settle(t: Transaction, claim: Claim, transmission: Held, following: Next) -> bool:
    """Move, write the reason, and put the step where the new state needs it, with the mails that are owed."""
    state = following.state
    if state not in MOVES[transmission.state]:
        return False
    final = state in FINAL
    outcome = following.outcome.value if following.outcome else None
    if final and transmission.held is not None:
        _close(t, transmission, transmission.held, following)
    if final and transmission.counted and state is not TransmissionState.DELIVERED:
        usage.give_back(t, json.loads(transmission.counted))
    if transmission.state is TransmissionState.HELD:
        approvals.close(t, transmission.id, state, following.reason)
    _move(
        t,
        transmission,
        state,
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
        outbox.owe_result(t, claim)
        return steps.done(t, claim)
    if state is TransmissionState.HELD:
        lines.free(t, transmission.id)  # whatever was called is long over; nobody else is to wait for a person
        outbox.owe(t, kind=outbox.HELD, about=this_time, of=claim)
        return steps.put_back(t, claim, kind=HELD, due_at=following.due_at or schema.PARKED)
    if state is TransmissionState.ACCEPTED:
        return steps.put_back(t, claim, kind=PREPARE, lane=steps.CONVERT)
    return steps.put_back(t, claim, kind=SEND, lane=steps.carrier_lane(transmission.carrier), due_at=following.due_at)


BLOCKED = Next(
    state=TransmissionState.FAILED,
    outcome=Outcome.RECIPIENT_BLOCKED,
    reason="The number is on the list of those not to be faxed.",
)


def _paid(t: Transaction, transmission: Held, n: int) -> bool:
    """Whether money is set aside for all its pages, or nobody pays. Called before anything can be sent."""
    if transmission.price is None:
        return True
    needed = transmission.price * transmission.pages
    missing = needed - (transmission.held or 0)
    if transmission.held is not None and missing <= 0:
        return True
    if not ledger.hold(t, transmission.account, transmission.id, missing, n, f"{transmission.pages} pages"):
        return False
    t.change(schema.transmission, {"id": transmission.id}, {"held": needed})
    return True


def _unpaid(transmission: Held, send_at: datetime | None) -> Next:
    needed = eur((transmission.price or 0) * transmission.pages)
    reason = f"The account's credit does not reach for this fax of {transmission.pages} pages, which costs {needed}."
    alarm = "a fax is held: its account has no credit"
    return Next(state=TransmissionState.HELD, outcome=Outcome.NO_CREDIT, reason=reason, alarm=alarm, due_at=send_at)


def _close(t: Transaction, transmission: Held, held: int, following: Next) -> None:
    """What was set aside is spent, or given back."""
    cost = 0
    if following.state is TransmissionState.DELIVERED:
        pages = following.pages_sent or transmission.pages
        cost = ledger.settle(t, transmission.account, transmission.id, held, transmission.price or 0, pages)
    else:
        ledger.refund(t, transmission.account, transmission.id, held)
    t.change(schema.transmission, {"id": transmission.id}, {"cost": cost})


_table = schema.transmission
_LOOKED_AT = ("id", "number", "carrier", "state", "account_id", "pages", "price", "held", "counted")
_ROWS = select(*(_table.c[name] for name in _LOOKED_AT)).where(schema.among(_table.c.id, "wanted"))


def _held_by(t: Transaction, claim: Claim) -> Held | None:
    """The transmission of a claim that is still ours, as everything before has left it: nothing about it is put off.

    The first who asks has the transmissions of all claims read; one that is asked for again has changed meanwhile.
    """
    if not steps.holds(t, claim):
        return None
    if t.rows is None:
        t.rows = _read(t, t.subjects)
    return t.rows.pop(claim.subject, None) or _read(t, {claim.subject}).get(claim.subject)


def _read(t: Transaction, wanted: Collection[str]) -> dict[str, Held]:
    rows = t.db.execute(_ROWS, {"wanted": list(wanted)}).all()
    return {row.id: _held(*row) for row in rows}


def _held(
    identity: str,
    number: str,
    carrier: str,
    state: str,
    account: str,
    pages: int,
    price: int | None,
    held: int | None,
    counted: str | None,
) -> Held:
    state_, account_ = TransmissionState(state), AccountId(account)
    return Held(TransmissionId(identity), number, carrier, state_, account_, pages, price, held, counted)


_attempt = schema.attempt
_TRYING = select(_attempt.c.transmission_id, _attempt.c.id, _attempt.c.state).where(
    schema.among(_attempt.c.transmission_id, "wanted"), _attempt.c.state.in_([state.value for state in OPEN_ATTEMPT])
)


def _trying(t: Transaction, transmission: TransmissionId) -> dict[str, str]:
    """The open attempts of a transmission whose claim is ours, and their states; as `_held_by` for those of all claims."""
    if t.trying is None:
        wanted = t.subjects | {transmission}
        t.trying = {subject: {} for subject in wanted}
    elif transmission in t.trying:
        return t.trying.pop(transmission)
    else:
        wanted = frozenset({transmission})
    found = defaultdict[str, dict[str, str]](dict)
    for row in t.db.execute(_TRYING, {"wanted": list(wanted)}).all():
        found[row.transmission_id][row.id] = row.state
    t.trying |= found
    return t.trying.pop(transmission, {})


def _move(t: Transaction, transmission: Held, to: TransmissionState, **values: object) -> None:
    """A legal move, and what changes with it; `transmission` is as `_held_by` gave it."""
    was = {"id": transmission.id, "state": transmission.state.value}
    t.change(schema.transmission, was, {**values, "state": to.value, "updated_at": t.now})


def _move_attempt(t: Transaction, attempt: Attempt, to: AttemptState, values: Mapping[str, object]) -> bool:
    """A legal move of an attempt whose claim is ours. False: it has moved on meanwhile."""
    was = attempt.state.value
    if to not in ATTEMPT_MOVES[attempt.state] or _trying(t, attempt.transmission).get(attempt.id) != was:
        return False
    t.change(schema.attempt, {"id": attempt.id, "state": was}, {**values, "state": to.value})
    return True

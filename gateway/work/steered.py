"""What people wished, applied by the lease holder: the move and the answer in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from gateway import metrics
from gateway.desk.approval import APPROVE, REJECT, VERBS
from gateway.errors import Outcome, Refused, Unavailable, Uncertain
from gateway.fax import Attempt, AttemptState
from gateway.fax import TransmissionState as T
from gateway.spool import blocks, outbox, schema, steering, steps, transmissions
from gateway.spool.commit import Transaction
from gateway.spool.queries import Case
from gateway.spool.steering import Wish
from gateway.spool.steps import Claim
from gateway.spool.transmissions import Ending, Next
from gateway.work import approval
from gateway.work.approval import Move
from gateway.work.workshop import Workshop

_AGAIN = timedelta(minutes=1)
_RELEASED = {"delivered": T.DELIVERED, "fail": T.FAILED}


async def apply(shop: Workshop, claim: Claim, case: Case, wishes: Sequence[Wish]) -> None:
    """Apply the oldest wish; the others follow at once."""
    wish = wishes[0]
    if wish.verb == "cancel":
        move, answer = await _cancel(shop, case, wish)
    elif wish.verb == "hold":
        move, answer = _hold(case, wish)
    elif verb := await _approval_verb(shop, case, wish):
        move, answer = await approval.decide(shop, case, verb, wish.asked_by)
    elif wish.verb == "release":
        move, answer = _release(case, wish)
    else:
        move, answer = _retry(case)

    def record(t: Transaction) -> bool:
        if not steps.holds(t, claim):
            return False
        if move is None:
            _unmoved(t, claim, case)
            steering.answer(t, wish.id, answer)
        elif move(t, claim):
            steering.answer(t, wish.id, answer)
        else:
            steering.answer(t, wish.id, "too late: the fax has moved on meanwhile")
            _unmoved(t, claim, case)
        if len(wishes) > 1:
            steps.nudge(t, claim.subject)
        return True

    await shop.store.write(record)


def _unmoved(t: Transaction, claim: Claim, case: Case) -> None:
    """The step goes back to what it was."""
    state, due = case.transmission.state, None
    if state is T.HELD:
        due = case.transmission.due_at or schema.PARKED
    elif state is T.DEFERRED:
        due = case.transmission.due_at
    steps.put_back(t, claim, due_at=due)


async def _approval_verb(shop: Workshop, case: Case, wish: Wish) -> str:
    """Whether the wish is that a fax be approved or rejected, "" = neither. To release one that waits for that approves it."""
    if wish.verb in VERBS:
        return wish.verb
    decides = {"": APPROVE, "retry": APPROVE, "fail": REJECT}.get(wish.choice, "") if wish.verb == "release" else ""
    return decides if decides and await approval.waits(shop, case) else ""


async def _cancel(shop: Workshop, case: Case, wish: Wish) -> tuple[Move | None, str]:
    attempt = case.open_attempt
    reason = f"Cancelled by {wish.asked_by}."
    cancelled = Next(state=T.CANCELLED, outcome=Outcome.CANCELLED, reason=reason)
    if attempt is None:
        return lambda t, claim: transmissions.settle(t, claim, cancelled), "cancelled; nothing was sent"
    if attempt.state is not AttemptState.SUBMITTED:
        return None, "not cancelled: nobody knows whether the carrier has it, which is looked up first; it may still arrive"
    confirmed, why = await _cancelled_at_carrier(shop, attempt)
    if not confirmed:
        return None, why
    ending = Ending(state=AttemptState.CANCELLED, outcome=None, text=reason)
    return lambda t, claim: transmissions.end_attempt(
        t, claim, attempt, ending, cancelled, ()
    ), "cancelled; the carrier confirms it"


async def taken_back(shop: Workshop, claim: Claim, case: Case) -> bool:
    """Whether a fax that its carrier keeps for its time was, or is to be, stopped there: its number is blocked now."""
    fax, attempt, now = case.transmission, case.open_attempt, shop.now()
    if attempt is None or attempt.state is not AttemptState.SUBMITTED or not attempt.planned_at or attempt.planned_at <= now:
        return False
    if not await shop.store.read(blocks.concerns, fax.number, fax.account):
        return False
    confirmed, why = await _cancelled_at_carrier(shop, attempt)
    if confirmed:
        ending = Ending(state=AttemptState.CANCELLED, outcome=None, text=transmissions.BLOCKED.reason)
        if await shop.store.write(transmissions.end_attempt, claim, attempt, ending, transmissions.BLOCKED, ()):
            metrics.RESULTS.labels(T.FAILED).inc()
        return True

    def record(t: Transaction) -> None:
        if steps.put_back(t, claim, due_at=now + _AGAIN):
            text = f"{fax.id} to {fax.number} is with its carrier until {attempt.planned_at:%Y-%m-%d %H:%M} UTC: {why}."
            outbox.alarm(t, about=attempt.id, what="a fax to a blocked number may be sent", text=text)

    await shop.store.write(record)
    return True


async def _cancelled_at_carrier(shop: Workshop, attempt: Attempt) -> tuple[bool, str]:
    carrier = shop.carriers.get(attempt.carrier)
    if carrier is None:
        return False, "not cancelled: its carrier is gone from the configuration; it may still arrive"
    try:
        confirmed = await asyncio.wait_for(carrier.cancel(attempt.carrier_ref), carrier.capabilities.submit_limit)
    except Refused as error:
        return False, f"not cancelled: {error.text} It may still arrive."
    except Unavailable:
        return False, "not cancelled: the carrier cannot be reached; it may still arrive"
    except (Uncertain, TimeoutError):
        return False, "not cancelled: the carrier's answer was lost; it may still arrive"
    return confirmed, "not cancelled: the carrier does not confirm it; it may still arrive"


def _hold(case: Case, wish: Wish) -> tuple[Move | None, str]:
    if case.transmission.state is T.HELD:
        return None, "it is held already"
    if case.open_attempt is not None:
        return None, "not held: it is being sent; cancel it instead"
    fax = case.transmission
    later = None if case.attempts else fax.due_at  # not sent before that time, should it be released before
    held = Next(state=T.HELD, outcome=fax.outcome, reason=f"Held by {wish.asked_by}.", due_at=later)
    return lambda t, claim: transmissions.settle(t, claim, held), "held"


def _release(case: Case, wish: Wish) -> tuple[Move | None, str]:
    transmission, attempt = case.transmission, case.open_attempt
    if transmission.state is not T.HELD:
        return None, f"it is not held but {transmission.state}"
    if attempt is not None and not wish.choice:
        return None, "nobody knows whether it was sent: say --delivered, --retry (it may arrive twice) or --fail"
    onward = T.READY if transmission.document else T.ACCEPTED
    state = _RELEASED.get(wish.choice, onward)
    outcome = {T.DELIVERED: Outcome.DELIVERED, T.FAILED: transmission.outcome or Outcome.UNKNOWN}.get(state)
    reason = f"Released by {wish.asked_by}."
    pages_sent = transmission.pages if state is T.DELIVERED else 0
    later = transmission.due_at if state is onward and not case.attempts else None
    following = Next(state=state, outcome=outcome, reason=reason, pages_sent=pages_sent, due_at=later)
    if attempt is None:
        return lambda t, claim: transmissions.settle(t, claim, following), f"released: {state}"
    delivered = state is T.DELIVERED
    ending = Ending(
        state=AttemptState.DELIVERED if delivered else AttemptState.FAILED,
        outcome=Outcome.DELIVERED if delivered else Outcome.UNKNOWN,
        text=reason,
        pages_sent=pages_sent,
    )
    return lambda t, claim: transmissions.end_attempt(t, claim, attempt, ending, following, ()), f"released: {state}"


def _retry(case: Case) -> tuple[Move | None, str]:
    state = case.transmission.state
    if state is T.DEFERRED:
        return transmissions.dial_now, "it is dialled now"
    if state is T.HELD:
        return None, "it is held: release it instead"
    return None, f"it is {state}: there is nothing to retry yet"

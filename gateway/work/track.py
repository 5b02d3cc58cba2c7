"""sending -> delivered, deferred, failed, held: what the carrier says about an open attempt.

Statements come by callback or are asked for here, because a callback can be lost. An attempt whose submit is uncertain
is looked up at the carrier; only where absence proves that nothing was sent may there be another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from gateway.carriers.base import Carrier, Receipt
from gateway.errors import CarrierRefused, CarrierUnavailable, Outcome, SpoolUnavailable, Unsupported
from gateway.fax import Attempt, AttemptState
from gateway.fax import TransmissionState as T
from gateway.spool import attempts, events, schema, steps, transmissions
from gateway.spool.events import Stored
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.spool.transmissions import Ending, Next
from gateway.work import conclude
from gateway.work.match import SKEW, match
from gateway.work.send import finish
from gateway.work.workshop import Workshop

R = TypeVar("R")
_log = logging.getLogger(__name__)
_FINAL = frozenset({AttemptState.DELIVERED, AttemptState.FAILED, AttemptState.CANCELLED})
_NOBODY_KNOWS = "The carrier's answer was lost, and nothing there is certainly this fax; it may have been sent."
_LONGEST_WAIT = timedelta(minutes=15)
_HEARD = timedelta(minutes=5)  # between looks at a fax that the carrier's listener would speak of
#: A fax without a result for so long waits for a person.
_NO_RESULT = timedelta(hours=24)


async def track(shop: Workshop, claim: Claim, case: Case, times_set: int) -> None:
    """Apply what was said; else ask; else look up; else come back later. `times_set`: the store's, when the case was read."""
    attempt = case.open_attempt
    carrier = shop.carriers.get(attempt.carrier) if attempt else None
    if attempt is None or carrier is None:
        await _undecided(shop, claim, case, "The attempt, or its carrier, is gone; nobody can say whether this fax was sent.")
        return
    said = _usable(carrier, await _waiting(shop, attempt))
    try:
        if attempt.state is AttemptState.SUBMITTED:
            await _result(shop, claim, case, carrier, attempt, said, times_set)
        else:
            await _look_up(shop, claim, case, carrier, attempt, said)
    except CarrierUnavailable:
        same_clock(shop, times_set)
        if not _overdue(shop, attempt):
            raise
        await _undecided(shop, claim, case, "The carrier cannot be reached; nobody can say what became of this fax.")


async def _result(
    shop: Workshop,
    claim: Claim,
    case: Case,
    carrier: Carrier,
    attempt: Attempt,
    said: Sequence[Stored],
    times_set: int,
) -> None:
    """The carrier has it: what became of it?"""
    final = _final(said)
    if final is None and not carrier.capabilities.final_results:
        await finish(shop, claim, case, carrier, attempt, conclude.HANDED_OVER, tuple(stored.id for stored in said))
        return
    if final is None:
        known = await _ask(shop, carrier, attempt)
        said = await _waiting(shop, attempt)
        if known or not carrier.capabilities.forgets:  # else what came to our secret address is all that is left
            said = _usable(carrier, said)
        final = _final(said)
    same_clock(shop, times_set)
    if final is not None:
        await conclude_with(shop, claim, case, carrier, attempt, final, said)
    elif case.transmission.state is T.HELD or _overdue(shop, attempt):
        await _undecided(shop, claim, case, "The carrier has not said for a day what became of this fax.")
    else:
        await shop.store.write(steps.put_back, claim, kind=transmissions.TRACK, due_at=_next_look(shop, carrier, attempt))


async def conclude_with(
    shop: Workshop, claim: Claim, case: Case, carrier: Carrier, attempt: Attempt, final: Stored, said: Sequence[Stored]
) -> None:
    """End the attempt as one final statement says."""
    statement = final.statement
    ending = Ending(
        state=statement.state,
        outcome=statement.outcome,
        carrier_code=statement.carrier_code,
        text=statement.text,
        pages_sent=statement.pages_sent,
        station_id=statement.station_id,
        seconds=statement.seconds,
        speed=statement.speed,
        resolution=statement.resolution,
        reported=carrier.capabilities.reports and statement.state is not AttemptState.CANCELLED,
    )
    applied = tuple(stored.id for stored in said)
    await finish(shop, claim, case, carrier, attempt, conclude.judged(ending, case.transmission.pages), applied)


async def _look_up(
    shop: Workshop, claim: Claim, case: Case, carrier: Carrier, attempt: Attempt, said: Sequence[Stored]
) -> None:
    """An attempt that was perhaps submitted: a statement about it proves it, else the carrier is asked."""
    if proof := next((stored.statement.carrier_ref for stored in said if stored.statement.carrier_ref), ""):
        await shop.store.write(transmissions.submitted, claim, attempt, proof, shop.now())
        return
    if carrier.opens and not attempt.carrier_ref:
        await _never_sent(shop, claim, case, carrier, attempt)
        return
    if attempt.state is AttemptState.OPENING:
        text = "The gateway stopped while it handed this fax to the carrier."
        await shop.store.write(transmissions.uncertain, claim, attempt, text, shop.now() + _settled(shop, carrier))
        return
    try:
        receipt = await _looked_up(shop, carrier, case, attempt)
    except (Unsupported, CarrierRefused):
        await _undecided(shop, claim, case, _NOBODY_KNOWS)
        return
    if receipt is not None:
        look_at = shop.now() + shop.config.work.poll
        await shop.store.write(transmissions.submitted, claim, attempt, receipt.carrier_ref, look_at)
    elif carrier.capabilities.absence_proves_unsent:
        await _never_sent(shop, claim, case, carrier, attempt)
    else:
        await _undecided(shop, claim, case, _NOBODY_KNOWS)


async def _never_sent(shop: Workshop, claim: Claim, case: Case, carrier: Carrier, attempt: Attempt) -> None:
    text = "The carrier never got it; nothing was sent."
    ending = Ending(state=AttemptState.FAILED, outcome=Outcome.CARRIER_TROUBLE, text=text)
    await finish(shop, claim, case, carrier, attempt, ending, ())


async def _looked_up(shop: Workshop, carrier: Carrier, case: Case, attempt: Attempt) -> Receipt | None:
    """By the id it got before it was sent, or by our reference; where there is neither, by number and time in the list."""
    if attempt.carrier_ref:
        sent = await _answered(carrier, carrier.went_out(attempt.carrier_ref))
        return Receipt(carrier_ref=attempt.carrier_ref) if sent else None
    if carrier.capabilities.finds or not carrier.capabilities.lists:
        return await _answered(carrier, carrier.find(attempt.reference))
    listed = await _answered(carrier, carrier.listing(attempt.opened_at - SKEW))
    known = await shop.store.read(attempts.known_refs, attempt.carrier, [one.carrier_ref for one in listed])
    others = await shop.store.read(attempts.unproven, attempt.carrier, case.transmission.number)
    left = [one for one in listed if one.carrier_ref not in known]
    ref = match(left, others, timedelta(seconds=carrier.capabilities.submit_limit)).get(attempt.id)
    return Receipt(carrier_ref=ref) if ref else None


def _settled(shop: Workshop, carrier: Carrier) -> timedelta:
    """How long until a call whose owner is gone has ended, and is listed if it got through.

    The owner began no call that its lease did not outlive. In an embedded spool the owner was this process or one that
    is dead. With other nodes the lease was judged by another clock: one more call's time covers that difference.
    """
    able = carrier.capabilities
    return timedelta(seconds=able.listing_lag + (0.0 if shop.store.embedded else able.submit_limit))


async def _undecided(shop: Workshop, claim: Claim, case: Case, reason: str) -> None:
    """A person must find out; one who was asked already is not asked again."""
    if case.transmission.state is T.HELD:
        await shop.store.write(steps.put_back, claim, kind=transmissions.HELD, due_at=schema.PARKED)
        return
    held = Next(state=T.HELD, outcome=Outcome.UNKNOWN, reason=reason, alarm="a fax is held: it may have been sent")
    await shop.store.write(transmissions.settle, claim, held)


async def _ask(shop: Workshop, carrier: Carrier, attempt: Attempt) -> bool:
    """Read the fax from the carrier. What it says is kept like a callback, once. False: it knows no such fax."""
    try:
        said = await _answered(carrier, carrier.poll(attempt.carrier_ref))
    except (Unsupported, CarrierRefused) as error:
        _log.info("%s cannot be asked about %s: %s", attempt.carrier, attempt.id, error.text)
        return False
    await shop.statements.keep(attempt.carrier, said)
    return True


async def _answered(carrier: Carrier, question: Awaitable[R]) -> R:
    """A carrier that does not answer a question in time cannot be reached. Raises CarrierUnavailable."""
    try:
        return await asyncio.wait_for(question, carrier.capabilities.submit_limit)
    except TimeoutError as error:
        raise CarrierUnavailable("The carrier did not answer.") from error


async def _waiting(shop: Workshop, attempt: Attempt) -> list[Stored]:
    about = (attempt.carrier, attempt.carrier_ref, attempt.reference)
    return await shop.store.read_one(events.waiting_about, about) or []


def _usable(carrier: Carrier, said: Sequence[Stored]) -> Sequence[Stored]:
    """What may be believed as it stands: signed, our own, or from a carrier that cannot be asked."""
    return [stored for stored in said if stored.statement.believed or not carrier.capabilities.polls]


def _final(said: Sequence[Stored]) -> Stored | None:
    """The first final statement."""
    return next((stored for stored in said if stored.statement.state in _FINAL), None)


def same_clock(shop: Workshop, times_set: int) -> None:
    """The times of a case that was read before the clock was set say nothing of what is late or due: look again.

    Raises SpoolUnavailable."""
    if shop.store.times_set != times_set:
        raise SpoolUnavailable("The clock was set meanwhile.")


def _overdue(shop: Workshop, attempt: Attempt) -> bool:
    return shop.now() - _began(attempt) > _NO_RESULT


def _next_look(shop: Workshop, carrier: Carrier, attempt: Attempt) -> datetime:
    """Doubling: after as long again as it has taken so far; while the carrier's listener works, after minutes."""
    now, began = shop.now(), _began(attempt)
    if began > now:
        return began + shop.config.work.poll
    least = _HEARD if carrier.hears and attempt.planned_at is None else shop.config.work.poll
    return now + min(max(now - began, least), _LONGEST_WAIT)


def _began(attempt: Attempt) -> datetime:
    """From when on a result can be expected."""
    handed_over = attempt.submitted_at or attempt.opened_at
    return max(handed_over, attempt.planned_at or handed_over)

"""sending -> delivered, deferred, failed, held: what the carrier says about an open attempt.

Statements come by callback or are asked for here, because a callback can be lost. An attempt whose submit is uncertain
is looked up at the carrier; only where absence proves that nothing was sent may there be another one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from gateway.carriers.base import Carrier
from gateway.errors import CarrierRefused, Outcome, Unsupported
from gateway.fax import Attempt, AttemptState
from gateway.fax import TransmissionState as T
from gateway.spool import events, schema, steps, transmissions
from gateway.spool.events import Stored
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.spool.transmissions import Ending, Next
from gateway.work import conclude
from gateway.work.send import finish
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_FINAL = frozenset({AttemptState.DELIVERED, AttemptState.FAILED, AttemptState.CANCELLED})
_LONGEST_WAIT = timedelta(minutes=15)
#: A fax without a result for so long waits for a person.
_NO_RESULT = timedelta(hours=24)


async def track(shop: Workshop, claim: Claim, case: Case) -> None:
    """Apply what was said; else ask; else look up; else come back later."""
    attempt = case.open_attempt
    carrier = shop.carriers.get(attempt.carrier) if attempt else None
    if attempt is None or carrier is None:
        await _hold(shop, claim, "The attempt, or its carrier, is gone; nobody can say whether this fax was sent.")
        return
    said = await _waiting(shop, attempt)
    if attempt.state in (AttemptState.OPENING, AttemptState.UNCERTAIN):
        await _look_up(shop, claim, case, carrier, attempt, said)
        return
    final = _final(carrier, said)
    if final is None:
        await _ask(shop, carrier, attempt)
        said = await _waiting(shop, attempt)
        final = _final(carrier, said) or _asked_final(said)
    if final is not None:
        await conclude_with(shop, claim, case, carrier, attempt, final, said)
    elif case.transmission.state is T.HELD:
        await shop.store.write(steps.put_back, claim, kind="held", due_at=schema.PARKED)
    elif shop.now() - (attempt.submitted_at or attempt.opened_at) > _NO_RESULT:
        await _hold(shop, claim, "The carrier has not said for a day what became of this fax.")
    else:
        await shop.store.write(steps.put_back, claim, kind=transmissions.TRACK, due_at=shop.now() + _wait(shop, attempt))


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
    )
    applied = tuple(stored.id for stored in said)
    await finish(shop, claim, case, carrier, attempt, conclude.judged(ending, case.transmission.pages), applied)


async def _look_up(
    shop: Workshop, claim: Claim, case: Case, carrier: Carrier, attempt: Attempt, said: Sequence[Stored]
) -> None:
    """An attempt that was perhaps submitted: a statement about it proves it, else the carrier is asked."""
    lag = timedelta(seconds=carrier.capabilities.listing_lag)
    if proof := next((stored.statement.carrier_ref for stored in said if stored.statement.carrier_ref), ""):
        await shop.store.write(transmissions.submitted, claim, attempt, proof, shop.now())
        return
    if attempt.state is AttemptState.OPENING:
        # Its owner is gone, and the lease that guarded the call has ended: the call is over, its answer lost.
        text = "The gateway stopped while it handed this fax to the carrier."
        await shop.store.write(transmissions.uncertain, claim, attempt, text, shop.now() + lag)
        return
    try:
        receipt = await carrier.find(attempt.reference)
    except (Unsupported, CarrierRefused):
        await _undecided(shop, claim, case)
        return
    if receipt is not None:
        look_at = shop.now() + shop.config.work.poll
        await shop.store.write(transmissions.submitted, claim, attempt, receipt.carrier_ref, look_at)
    elif carrier.capabilities.absence_proves_unsent:
        ending = Ending(state=AttemptState.CANCELLED, outcome=None, text="The carrier never got it; nothing was sent.")
        again = Next(state=T.DEFERRED, due_at=shop.now(), reason=ending.text)
        await shop.store.write(transmissions.end_attempt, claim, attempt, ending, again, ())
    else:
        await _undecided(shop, claim, case)


async def _undecided(shop: Workshop, claim: Claim, case: Case) -> None:
    if case.transmission.state is T.HELD:
        await shop.store.write(steps.put_back, claim, kind="held", due_at=schema.PARKED)
    else:
        await _hold(shop, claim, "The carrier's answer was lost, and it cannot be asked; this fax may have been sent.")


async def _hold(shop: Workshop, claim: Claim, reason: str) -> None:
    held = Next(state=T.HELD, outcome=Outcome.UNKNOWN, reason=reason, alarm="a fax is held: it may have been sent")
    await shop.store.write(transmissions.settle, claim, held)


async def _ask(shop: Workshop, carrier: Carrier, attempt: Attempt) -> None:
    """Read the fax from the carrier. What it says is kept like a callback, once."""
    try:
        said = await carrier.poll(attempt.carrier_ref)
    except (Unsupported, CarrierRefused) as error:
        _log.info("%s cannot be asked about %s: %s", attempt.carrier, attempt.id, error.text)
        return
    await shop.statements.keep(attempt.carrier, said)


async def _waiting(shop: Workshop, attempt: Attempt) -> list[Stored]:
    return await shop.store.read(events.waiting, attempt.carrier, attempt.carrier_ref, attempt.reference)


def _final(carrier: Carrier, said: Sequence[Stored]) -> Stored | None:
    """The first final statement that may be believed as it stands: signed, or from a carrier that cannot be asked."""
    believed = (s for s in said if s.statement.believed or not carrier.capabilities.polls)
    return next((stored for stored in believed if stored.statement.state in _FINAL), None)


def _asked_final(said: Sequence[Stored]) -> Stored | None:
    """After asking: the carrier's own answer is among the believed ones."""
    return next((s for s in said if s.statement.believed and s.statement.state in _FINAL), None)


def _wait(shop: Workshop, attempt: Attempt) -> timedelta:
    """Doubling: as long again as it has taken so far."""
    since = shop.now() - (attempt.submitted_at or attempt.opened_at)
    return min(max(since, shop.config.work.poll), _LONGEST_WAIT)

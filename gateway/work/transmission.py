"""One step of one transmission: first what people wished, then what its state asks for."""

from __future__ import annotations

from datetime import datetime

from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL
from gateway.spool import events, queries, steps
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.work import approval, steered
from gateway.work.prepare import prepare
from gateway.work.send import send
from gateway.work.track import same_clock, track
from gateway.work.workshop import Workshop


async def step(shop: Workshop, claim: Claim) -> None:
    """Move one transmission on."""
    times_set = shop.store.times_set
    case = await shop.store.read_one(queries.cases, claim.subject)
    same_clock(shop, times_set)
    if case is None or case.transmission.state in FINAL:
        await shop.store.write(steps.done, claim)
        return
    if case.wishes:
        await steered.apply(shop, claim, case, case.wishes)
        return
    state = case.transmission.state
    due = case.transmission.due_at
    if due and due > shop.now() and _waits_here(shop, case, due):
        await shop.store.write(steps.put_back, claim, due_at=due)  # a nudge is a reason to look, not to dial early
    elif state is T.ACCEPTED:
        await prepare(shop, claim, case)
    elif state in (T.READY, T.DEFERRED):
        await send(shop, claim, case)
    elif state is T.SENDING:
        if not await steered.taken_back(shop, claim, case):
            await track(shop, claim, case, times_set)
    elif await _spoken_of(shop, case):
        await track(shop, claim, case, times_set)  # held, and the carrier spoke after all
    else:
        await approval.wait_on(shop, claim, case)


def _waits_here(shop: Workshop, case: Case, due: datetime) -> bool:
    """Nothing is done with it before that time; a new fax may wait at a carrier that keeps the time itself."""
    fax = case.transmission
    carrier = shop.carriers.get(fax.carrier)
    early = fax.state in (T.ACCEPTED, T.READY) and not case.attempts and carrier is not None and carrier.delays(due)
    return fax.state in (T.ACCEPTED, T.READY, T.DEFERRED) and not early


async def _spoken_of(shop: Workshop, case: Case) -> bool:
    """Whether the carrier has said something about the open attempt that was not applied yet."""
    if (attempt := case.open_attempt) is None:
        return False
    return bool(await shop.store.read(events.waiting, attempt.carrier, attempt.carrier_ref, attempt.reference))

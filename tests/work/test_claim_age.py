"""A process that was stopped and woken does not call with a claim that is too old."""

from __future__ import annotations

import time

from gateway.carriers.base import Capabilities, Order
from gateway.errors import Outcome
from gateway.fax import AttemptState, TransmissionState
from gateway.spool import steps, transmissions
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import House

LIMIT, LEASE = 0.2, 1.0
QUICK = Capabilities(cancels=True, finds=True, absence_proves_unsent=True, polls=True, submit_limit=LIMIT)


async def test_a_process_that_is_stopped_right_before_the_call_does_not_call(house: House, clock: Clock) -> None:
    fax = await house.fax()
    house.carrier.capabilities = QUICK  # type: ignore[misc]  # one class, many carriers
    opened = []

    async def stopped(order: Order) -> str:
        time.sleep(LEASE)  # as SIGSTOP and SIGCONT do it: nothing else runs meanwhile
        opened.append(order.reference)
        return ""

    house.carrier.open = stopped  # type: ignore[method-assign]
    (claim,) = await house.store.write(steps.claim, values.LANE, 1, LEASE, steps.uptime())
    await house.loop._step(claim, None)
    tried = await values.open_attempt(house.store, fax)
    assert (tried.reference, tried.state) == (opened[0], AttemptState.OPENING)
    assert house.far.calls == []
    for _ in range(3):
        clock.forward(1)
        await house.work()
    case = await values.case(house.store, fax)
    assert case.transmission.state is TransmissionState.DEFERRED
    assert case.attempts[0].outcome is Outcome.CARRIER_TROUBLE, "it is proven that nothing was sent"


async def test_a_claim_that_has_grown_too_old_begins_no_attempt(house: House) -> None:
    fax = await house.fax()
    house.carrier.capabilities = QUICK  # type: ignore[misc]  # one class, many carriers
    began = steps.uptime() - LEASE
    (claim,) = await house.store.write(steps.claim, values.LANE, 1, LEASE, began)
    assert not claim.outlives(0)
    await house.loop._step(claim, None)
    assert (await values.case(house.store, fax)).attempts == ()
    assert await house.work() == 1, "it is due again at once"
    assert len(house.far.calls) == 1


async def test_an_older_fax_goes_on_before_younger_ones_begin(house: House, clock: Clock) -> None:
    """Whatever its step is: a fax put back is as old as its mail."""
    older = await house.fax("+14155550301")
    (claim,) = await house.store.write(steps.claim, values.LANE, 1, values.LEASE, steps.uptime())
    clock.forward(10)
    await house.fax("+14155550302")
    assert await house.store.write(steps.put_back, claim, kind=transmissions.SEND)
    (first, second) = await house.store.write(steps.claim, values.LANE, 2, values.LEASE, steps.uptime())
    assert first.subject == older
    assert first.age == claim.age < second.age

"""Calls at a time: so many for each carrier, one for each called number, over all accounts and nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.carriers.base import CarrierConfig, Order, Receipt
from gateway.fax import AttemptState, TransmissionId, TransmissionState
from gateway.spool import steering
from gateway.work.loop import Loop
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import FarEnd, House

T = TransmissionState


def limit(house: House, calls: int) -> None:
    house.carrier.config = CarrierConfig(kind="loopback", calls=calls)
    house.loop = Loop(house.shop)


async def sent(house: House, faxes: list[TransmissionId]) -> list[bool]:
    return [bool((await values.case(house.store, fax)).attempts) for fax in faxes]


async def finish(house: House, number: int) -> None:
    """One call at the far end is over, and the carrier says so."""
    house.far.calls[number].status = "delivered"
    await house.say(house.far.calls[number])
    await house.work()


async def test_no_more_calls_at_a_time_than_the_carrier_takes(house: House) -> None:
    limit(house, 2)
    faxes = [await house.fax(f"+1415555030{n}") for n in range(4)]
    await house.work()
    assert await sent(house, faxes) == [True, True, False, False]
    assert await house.work() == 0, "those that wait are not looked at"
    waiting = await values.case(house.store, faxes[2])
    assert (waiting.transmission.state, waiting.transmission.attempts) == (T.READY, 0)
    await finish(house, 0)
    await house.work()
    assert await sent(house, faxes) == [True, True, True, False], "oldest first"
    await finish(house, 1)
    await house.work()
    assert len(house.far.calls) == 4


async def test_a_number_is_called_by_one_fax_at_a_time(house: House, clock: Clock) -> None:
    faxes = [await house.fax() for _ in range(3)]
    await house.work()
    assert await sent(house, faxes) == [True, False, False]
    assert await house.work() == 0
    await finish(house, 0)
    await house.work()
    assert await sent(house, faxes) == [True, True, False], "the next one goes at once, one only"
    assert await house.work() == 0
    clock.forward(121)
    await house.work()
    assert await sent(house, faxes) == [True, True, False], "looked at by itself, and it still waits"
    await finish(house, 1)
    await house.work()
    assert len(house.far.calls) == 3


async def test_a_fax_that_waits_for_its_turn_is_cancelled_at_once(house: House) -> None:
    limit(house, 1)
    await house.fax("+14155550301")
    waiting = await house.fax("+14155550302")
    await house.work()
    await house.store.write(steering.ask, waiting, "cancel", "", "ann")
    await house.work()
    assert (await values.case(house.store, waiting)).transmission.state is T.CANCELLED


async def test_calls_that_a_crash_left_open_do_not_stop_the_carrier(house: House, clock: Clock) -> None:
    limit(house, 1)

    async def dies(order: Order) -> Receipt:
        raise asyncio.CancelledError

    house.carrier.behaviour = dies
    faxes = [await house.fax("+14155550301"), await house.fax("+14155550302")]
    with pytest.raises(asyncio.CancelledError):
        await house.work()
    house.carrier.behaviour = house.carrier.takes
    for _ in range(6):
        clock.forward(values.LEASE)
        await house.work()
        for call in house.far.calls:
            call.status = "delivered"
    for fax in faxes:
        assert (await values.case(house.store, fax)).transmission.state is T.DELIVERED
    assert len(house.far.calls) == 2


async def test_a_redialled_fax_gives_way_to_another_one_for_the_number(house: House, clock: Clock) -> None:
    first, second = await house.fax(), await house.fax()
    await house.work()
    house.far.calls[0].status = "busy"
    await house.say(house.far.calls[0])
    await house.work()
    assert (await values.case(house.store, first)).transmission.state is T.DEFERRED
    await house.work()
    assert await sent(house, [second]) == [True]
    clock.forward(120)
    await house.work()
    case = await values.case(house.store, first)
    assert (case.transmission.state, len(case.attempts)) == (T.DEFERRED, 1), "it waits, and this counts as no try"
    await finish(house, 1)
    await house.work()
    case = await values.case(house.store, first)
    assert (case.transmission.state, len(case.attempts)) == (T.SENDING, 2)


async def test_a_slow_carrier_does_not_hold_up_another(house: House) -> None:
    """Both lanes as they run; every hand of the slow carrier's lane is in a call that does not end."""
    never, slow = asyncio.Event(), "slow"

    async def hangs(order: Order) -> Receipt:
        await never.wait()
        return await house.carrier.takes(order)

    other = type(house.carrier)(replace(house.carrier.tools, name=slow), house.far)
    other.behaviour = hangs
    house.shop.carriers = {"main": house.carrier, slow: other}
    for n in range(2 * house.shop.config.work.calls):
        await house.fax(f"+141555503{n:02}", carrier=slow)
    fax = await house.fax()
    loop = Loop(house.shop)
    loop.start()
    try:
        async with asyncio.timeout(10):
            while not house.far.calls:
                await asyncio.sleep(0.01)
    finally:
        never.set()
        await loop.stop()
    assert house.far.calls[0].number == values.NUMBER
    assert (await values.open_attempt(house.store, fax)).state is AttemptState.SUBMITTED


@pytest.fixture
async def nodes(tmp_path: Path, clock: Clock, postgres_url: str) -> AsyncIterator[tuple[House, House]]:
    far = FarEnd()
    made = (
        House(tmp_path, clock, far, url=postgres_url, node="one"),
        House(tmp_path, clock, far, url=postgres_url, node="two"),
    )
    for node in made:
        await node.open()
    yield made
    for node in made:
        await node.close()


@pytest.mark.needs("postgres")
async def test_two_nodes_keep_the_limits_together(nodes: tuple[House, House]) -> None:
    one, two = nodes
    for node in nodes:
        limit(node, 3)
    faxes = [await one.fax(f"+141555504{n:02}") for n in range(12)]
    for _ in range(3):
        await asyncio.gather(one.work(), two.work())
        assert len(one.far.calls) == 3
    assert sum(await sent(one, faxes)) == 3


@pytest.mark.needs("postgres")
async def test_two_nodes_do_not_call_one_number_twice(nodes: tuple[House, House]) -> None:
    one, two = nodes
    faxes = [await one.fax() for _ in range(8)]
    for _ in range(3):
        await asyncio.gather(one.work(), two.work())
    assert len(one.far.calls) == 1
    assert sum(await sent(one, faxes)) == 1

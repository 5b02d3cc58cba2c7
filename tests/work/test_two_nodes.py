"""Two nodes on one PostgreSQL database: no fax is sent by both, whatever their clocks say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.carriers.base import Order, Receipt
from gateway.fax import AttemptState, TransmissionState
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.clock import DatabaseClock
from tests.work.shop import FarEnd, House

pytestmark = pytest.mark.needs("postgres")
AHEAD = 600.0  # seconds the second node's clock is ahead


@pytest.fixture
def clock(postgres_url: str) -> Clock:
    return DatabaseClock(postgres_url)


@pytest.fixture
async def nodes(tmp_path: Path, clock: Clock, postgres_url: str) -> AsyncIterator[tuple[House, House]]:
    far = FarEnd()

    def ahead() -> datetime:
        return clock() + timedelta(seconds=AHEAD)

    one = House(tmp_path, clock, far, url=postgres_url, node="one")
    two = House(tmp_path, ahead, far, url=postgres_url, node="two")
    for node in (one, two):
        await node.open()
    yield one, two
    for node in (one, two):
        await node.close()


async def test_que_02_a_node_whose_clock_is_ahead_takes_nothing_over(nodes: tuple[House, House], clock: Clock) -> None:
    one, two = nodes
    fax = await one.fax()

    async def while_the_lease_holds(order: Order) -> Receipt:
        clock.forward(values.LEASE - 60)
        assert await two.work() == 0
        assert abs(two.store.now() - one.store.now()) < timedelta(seconds=5)
        return await one.carrier.takes(order)

    one.carrier.behaviour = while_the_lease_holds
    await one.work()
    assert len(one.far.calls) == 1
    assert (await values.open_attempt(two.store, fax)).carrier_ref == "far-1"


async def test_que_02_a_node_that_is_late_and_one_that_takes_over_send_once(nodes: tuple[House, House], clock: Clock) -> None:
    one, two = nodes
    fax = await one.fax()

    async def at_the_end_of_its_lease(order: Order) -> Receipt:
        clock.forward(values.LEASE + 1)
        for _ in range(3):
            await two.work()
        assert (await values.open_attempt(two.store, fax)).state is AttemptState.UNCERTAIN
        return await one.carrier.takes(order)

    one.carrier.behaviour = at_the_end_of_its_lease
    await one.work()
    for _ in range(4):
        clock.forward(61)
        await two.work()
    assert len(one.far.calls) == 1
    assert (await values.open_attempt(two.store, fax)).carrier_ref == "far-1"


async def test_the_work_of_a_node_that_died_is_taken_over(nodes: tuple[House, House], clock: Clock) -> None:
    one, two = nodes
    fax = await one.fax()

    async def dies(order: Order) -> Receipt:
        one.far.take(order).status = "delivered"
        raise asyncio.CancelledError

    one.carrier.behaviour = dies
    with pytest.raises(asyncio.CancelledError):
        await one.work()
    assert await two.work() == 0, "its lease holds"
    for _ in range(5):
        clock.forward(values.LEASE)
        await two.work()
    assert (await values.case(two.store, fax)).transmission.state is TransmissionState.DELIVERED
    assert len(one.far.calls) == 1
    assert await two.owed("result", fax) == 1


async def test_both_nodes_at_once_send_every_fax_once(nodes: tuple[House, House]) -> None:
    one, two = nodes
    numbers = [f"+141555502{n:02}" for n in range(20)]
    for number in numbers:
        await one.fax(number)
    await asyncio.gather(one.work(), two.work())
    assert sorted(call.number for call in one.far.calls) == numbers

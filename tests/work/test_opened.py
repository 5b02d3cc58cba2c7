"""A carrier that names a fax before it is sent: what has no name was not sent, what has one is asked for by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.carriers.base import Capabilities, Order, Receipt
from gateway.errors import CarrierRefused, CarrierUnavailable, CarrierUncertain
from gateway.fax import AttemptState, TransmissionId, TransmissionState
from gateway.spool import schema
from gateway.work.sweep import attention
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import FarEnd, House, Scripted

A, T = AttemptState, TransmissionState


class Opening(Scripted):
    """Its `open` gives a name; `submit` does what `behaviour` says."""

    name = "far-1"
    out: bool | Exception = True
    needs = ""

    async def open(self, order: Order) -> str:
        if not self.name:
            raise CarrierUnavailable
        return self.name

    async def went_out(self, carrier_ref: str) -> bool:
        self.asked.append(carrier_ref)
        if isinstance(self.out, Exception):
            raise self.out
        return self.out

    async def attention(self) -> str:
        return self.needs


@pytest.fixture
async def house(tmp_path: Path, clock: Clock) -> AsyncIterator[House]:
    made = House(tmp_path, clock, FarEnd())
    able = Capabilities(lists=True, listing_lag=60.0, submit_limit=60.0)
    made.carrier = Opening(made._tools(), made.far, able)
    made.shop.carriers = {"main": made.carrier}
    await made.open()
    yield made
    await made.close()


def opening(house: House) -> Opening:
    assert isinstance(house.carrier, Opening)
    return house.carrier


async def fax_in(house: House, fax: TransmissionId) -> tuple[TransmissionState, list[tuple[AttemptState, str]]]:
    case = await values.case(house.store, fax)
    return case.transmission.state, [(one.state, one.carrier_ref) for one in case.attempts]


async def loses(house: House, *, taken: bool) -> TransmissionId:
    async def lost(order: Order) -> Receipt:
        if taken:
            house.far.take(order)
        raise CarrierUncertain

    house.carrier.behaviour = lost
    fax = await house.fax()
    await house.work()
    assert await fax_in(house, fax) == (T.SENDING, [(A.UNCERTAIN, "far-1")])
    return fax


async def test_a_lost_answer_is_asked_for_by_its_name(house: House, clock: Clock) -> None:
    fax = await loses(house, taken=True)
    clock.forward(61)
    await house.work()
    assert await fax_in(house, fax) == (T.SENDING, [(A.SUBMITTED, "far-1")])
    assert house.carrier.asked == ["far-1"]
    house.far.calls[0].status = "delivered"
    clock.forward(60)
    await house.work()
    assert (await fax_in(house, fax))[0] is T.DELIVERED


@pytest.mark.parametrize("out", [False, CarrierRefused("No such fax.")])
async def test_where_the_name_proves_nothing_the_fax_is_held(house: House, clock: Clock, out: bool | Exception) -> None:
    fax = await loses(house, taken=False)
    opening(house).out = out
    clock.forward(61)
    await house.work()
    assert (await fax_in(house, fax))[0] is T.HELD
    clock.forward(3600)
    await house.work()
    assert not house.far.calls, "and it is not sent again"


async def test_a_crash_before_the_name_is_on_disk_sent_nothing_and_the_fax_goes_on(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fax = await house.fax()

    async def dies(order: Order) -> str:
        raise MemoryError

    monkeypatch.setattr(house.carrier, "open", dies)
    await house.work()
    monkeypatch.undo()
    assert await fax_in(house, fax) == (T.SENDING, [(A.OPENING, "")])
    clock.forward(600)
    await house.work()
    assert await fax_in(house, fax) == (T.DEFERRED, [(A.FAILED, "")])
    clock.forward(600)
    await house.work()
    assert (await fax_in(house, fax))[1][-1] == (A.SUBMITTED, "far-1")
    assert len(house.far.calls) == 1


async def test_a_carrier_that_opens_nothing_now_is_tried_again(house: House) -> None:
    opening(house).name = ""
    fax = await house.fax()
    await house.work()
    assert await fax_in(house, fax) == (T.DEFERRED, [(A.FAILED, "")])


async def test_what_a_carriers_account_needs_is_told_once_a_day(house: House, clock: Clock) -> None:
    async def alarms() -> list[str]:
        query = select(schema.outbox.c.text).where(schema.outbox.c.kind == "alarm")
        return list(await house.store.read(lambda db: db.scalars(query).all()))

    await attention(house.shop, "main")
    assert await alarms() == []
    opening(house).needs = "The credit of the account there is 4.99 EUR."
    for _ in range(3):
        await attention(house.shop, "main")
    assert await alarms() == ["main: The credit of the account there is 4.99 EUR."]
    clock.forward(86_400)
    await attention(house.shop, "main")
    assert len(await alarms()) == 2

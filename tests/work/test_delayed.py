"""A fax for a time ahead: kept here, or handed over to a carrier that keeps the time; never dialled before it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from gateway.carriers.base import Capabilities, Order, Receipt
from gateway.desk.steer import steer
from gateway.errors import CarrierUnavailable, Outcome
from gateway.fax import AccountId, Sha256, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.spool import blocks, ledger, outbox, pamfax, schema, steps, submissions, transmissions
from gateway.spool.approvals import Toll
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import FarEnd, House, Scripted

DAY = timedelta(days=1)


class Keeping(Scripted):
    """Keeps the time of what is due within two weeks."""

    keeps = True

    def delays(self, until: datetime) -> bool:
        return self.keeps and timedelta() < until - self.tools.now() < 14 * DAY


@pytest.fixture
async def house(tmp_path: Path, clock: Clock) -> AsyncIterator[House]:
    made = House(tmp_path, clock, FarEnd())
    made.carrier = Keeping(made._tools(), made.far, Capabilities(cancels=True, polls=True, submit_limit=60.0, delays=True))
    made.shop.carriers = {"main": made.carrier}
    await made.open()
    yield made
    await made.close()


def keeping(house: House) -> Keeping:
    assert isinstance(house.carrier, Keeping)
    return house.carrier


async def delayed(house: House, at: datetime, *, early: bool = True) -> TransmissionId:
    """A fax for that time whose pages are made when its step is due."""
    call = replace(values.call(), not_before=at, early=early)
    accepted = await house.store.write(submissions.accept, values.submission(), [call])
    await convert(house)
    return accepted.transmissions[0]


async def convert(house: House) -> int:
    claims = await house.store.write(steps.claim, steps.CONVERT, 1, 60.0, steps.uptime())
    document = await house.documents.put(b"%PDF-1.7")
    for claim in claims:
        await house.store.write(transmissions.prepared, claim, document=Sha256(document.sha256), pages=2, manifest="[]")
    return len(claims)


async def state(house: House, fax: TransmissionId) -> T:
    return (await values.case(house.store, fax)).transmission.state


async def test_the_spool_keeps_the_time_of_a_fax(house: House, clock: Clock) -> None:
    fax = await delayed(house, clock() + DAY, early=False)
    assert (await state(house, fax), await house.work()) == (T.ACCEPTED, 0)
    clock.forward(86_401)
    assert await convert(house) == 1
    await house.work()
    assert len(house.far.calls) == 1
    assert (await values.open_attempt(house.store, fax)).planned_at is None


async def test_a_carrier_that_keeps_the_time_has_the_fax_at_once_and_no_call_is_taken_by_it(house: House, clock: Clock) -> None:
    orders: list[Order] = []

    async def takes(order: Order) -> Receipt:
        orders.append(order)
        return await keeping(house).takes(order)

    house.carrier.behaviour = takes
    at = clock() + DAY
    fax = await delayed(house, at)
    await house.work()
    assert [order.send_at for order in orders] == [at]
    attempt = await values.open_attempt(house.store, fax)
    assert attempt.planned_at == at
    table = schema.attempt
    query = select(table.c.slot, table.c.dialling).where(table.c.id == attempt.id)
    assert await house.store.read(lambda db: tuple(db.execute(query).one())) == (None, None)
    other = await house.fax()  # to the same number, now
    await house.work()
    assert (await state(house, other), len(house.far.calls)) == (T.SENDING, 2)
    clock.forward(86_000)
    await house.work()
    assert house.far.calls[0].ref not in house.carrier.asked, "before its time there is no result to ask for"
    house.far.calls[0].status = "delivered"
    clock.forward(600)
    await house.work()
    assert await state(house, fax) is T.DELIVERED


async def test_a_fax_that_waits_at_its_carrier_for_a_week_is_not_overdue(house: House, clock: Clock) -> None:
    fax = await delayed(house, clock() + 7 * DAY)
    await house.work()
    await house.say(house.far.calls[0], "sending")
    clock.forward(3 * 86_400)
    await house.work()
    assert await state(house, fax) is T.SENDING


async def test_a_hand_over_that_fails_does_not_bring_the_call_forward(house: House, clock: Clock) -> None:
    async def fails(order: Order) -> Receipt:
        raise CarrierUnavailable

    at = clock() + DAY
    house.carrier.behaviour = fails
    fax = await delayed(house, at)
    await house.work()
    case = await values.case(house.store, fax)
    assert case.transmission.state is T.DEFERRED
    assert case.transmission.due_at is not None
    assert case.transmission.due_at >= at
    house.carrier.behaviour = house.carrier.takes
    clock.forward(7200)
    await house.work()
    assert house.far.calls == [], "from here on the time is kept here"
    clock.forward(86_400)
    await house.work()
    assert len(house.far.calls) == 1
    await house.say(house.far.calls[0], "busy")
    await house.work()
    assert await state(house, fax) is T.DEFERRED, "it has been tried for a minute, not for a day"


async def test_a_carrier_that_keeps_no_time_any_more_is_not_called_early(house: House, clock: Clock) -> None:
    fax = await delayed(house, clock() + DAY)
    keeping(house).keeps = False  # the configuration was changed
    await house.work()
    assert (await state(house, fax), house.far.calls) == (T.READY, [])
    clock.forward(86_401)
    await house.work()
    assert len(house.far.calls) == 1


async def test_what_is_due_too_late_for_the_carrier_is_kept_here(house: House, clock: Clock) -> None:
    await delayed(house, clock() + 20 * DAY)
    for _ in range(3):
        await house.work()
    assert house.far.calls == []


async def test_a_delayed_fax_is_cancelled_at_its_carrier(house: House, clock: Clock) -> None:
    fax = await delayed(house, clock() + DAY)
    await house.work()
    await steer(house.store, fax, "cancel", by="ann", patience=0.0)
    await house.work()
    assert (await state(house, fax), house.far.calls[0].status) == (T.CANCELLED, "cancelled")


ASKS = Toll(reasons=("2 pages, more than 1",), approver="boss@example.com", wait=3 * DAY)


async def step(house: House) -> None:
    """Do the steps of the lane of conversions that are due."""
    for claim in await house.loop._claim(steps.CONVERT, 10):
        await house.loop._step(claim, None)


async def test_an_approved_fax_is_not_sent_before_its_time(house: House, clock: Clock) -> None:
    at = clock() + DAY
    call = replace(values.call(), not_before=at - DAY / 2, early=True)
    fax = (await house.store.write(submissions.accept, values.submission(), [call])).transmissions[0]
    claim = await values.claim(house.store, steps.CONVERT)
    assert await house.store.write(pamfax.delay, fax, at)  # while its pages are made
    sha256 = Sha256((await house.documents.put(b"%PDF-1.7")).sha256)
    await house.store.write(transmissions.prepared, claim, document=sha256, pages=2, manifest="[]", toll=ASKS)
    keeping(house).keeps = False  # so the time is kept here
    await steer(house.store, fax, "approve", by="boss", patience=0.0)
    await step(house)
    await house.work()
    assert (await state(house, fax), house.far.calls) == (T.READY, [])
    assert (await values.case(house.store, fax)).transmission.due_at == at
    clock.forward(86_401)
    await house.work()
    assert len(house.far.calls) == 1


@pytest.mark.parametrize("early", [False, True])
async def test_a_fax_that_was_held_and_released_is_not_sent_before_its_time(house: House, clock: Clock, early: bool) -> None:
    keeping(house).keeps = False
    at = clock() + DAY
    fax = await delayed(house, at, early=early)
    for verb in ("hold", "release"):
        await steer(house.store, fax, verb, by="ann", patience=0.0)
        await step(house)
        await house.work()
    await house.work()
    assert (await state(house, fax), house.far.calls) == (T.READY if early else T.ACCEPTED, [])
    clock.forward(86_401)
    await convert(house)
    await house.work()
    assert len(house.far.calls) == 1


async def test_a_fax_that_waited_for_credit_is_not_sent_before_its_time(house: House, clock: Clock) -> None:
    at, account = clock() + DAY, AccountId("acc_1")
    call = replace(values.call(), not_before=at, early=True, price=10)
    fax = (await house.store.write(submissions.accept, values.submission(), [call])).transmissions[0]
    await convert(house)
    await house.work()
    assert await state(house, fax) is T.HELD
    keeping(house).keeps = False
    await house.store.write(ledger.credit, account, 1000, "pay_1")
    for _ in range(3):
        await house.work()
    assert (await state(house, fax), house.far.calls) == (T.READY, [])
    clock.forward(86_401)
    await house.work()
    assert len(house.far.calls) == 1


@pytest.mark.parametrize("account", [blocks.EVERYBODY, AccountId("acc_1")])
async def test_a_number_that_is_blocked_while_its_carrier_keeps_the_fax_is_not_called(
    house: House, clock: Clock, account: AccountId
) -> None:
    fax, other = await delayed(house, clock() + DAY), await house.fax("+14155550199")
    await house.work()
    await house.store.write(blocks.add, values.NUMBER, account, "asked us", "ann")
    await house.work()
    done = (await values.case(house.store, fax)).transmission
    assert (done.state, done.outcome, house.far.calls[0].status) == (T.FAILED, Outcome.RECIPIENT_BLOCKED, "cancelled")
    assert await state(house, other) is T.SENDING


async def test_a_blocked_fax_that_the_carrier_does_not_give_back_is_asked_for_again_and_an_alarm(
    house: House, clock: Clock
) -> None:
    fax = await delayed(house, clock() + DAY)
    await house.work()
    house.far.calls[0].status = "kept"
    await house.store.write(blocks.add, values.NUMBER, AccountId("acc_2"), "", "ann")
    await house.work()
    assert await house.store.read(alarms) == [], "it is another account that may not fax it"
    await house.store.write(blocks.add, values.NUMBER, blocks.EVERYBODY, "", "ann")
    for _ in range(2):
        await house.work()
        clock.forward(61)
    assert await house.store.read(alarms) == ["a fax to a blocked number may be sent"]
    house.far.calls[0].status = "sending"
    await house.work()
    assert await state(house, fax) is T.FAILED


def alarms(db: Connection) -> list[str]:
    return list(db.scalars(select(schema.outbox.c.subject).where(schema.outbox.c.kind == outbox.ALARM)))

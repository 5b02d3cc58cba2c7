"""A carrier that keeps no reference of ours, and forgets: what was lost is matched in its list, or held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.carriers.base import Capabilities, Listed, Order, Receipt
from gateway.errors import CarrierRefused, CarrierUncertain, Outcome
from gateway.fax import AttemptState, Line, TransmissionId, TransmissionState
from gateway.spool import accounts, schema, steering
from gateway.work.sweep import sweep
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import FarEnd, House, said

A = AttemptState
T = TransmissionState
ABLE = Capabilities(lists=True, forgets=True, listing_lag=60.0, submit_limit=60.0)


@pytest.fixture
async def house(tmp_path: Path, clock: Clock) -> AsyncIterator[House]:
    made = House(tmp_path, clock, FarEnd(), capabilities=ABLE)
    await made.open()
    yield made
    await made.close()


def listed(house: House, ref: str, number: str = values.NUMBER) -> Listed:
    return Listed(carrier_ref=ref, reference="", number=number, pages=2, submitted_at=house.now())


def answers_are_lost(house: House) -> None:
    async def takes(order: Order) -> Receipt:
        call = house.far.take(order)
        house.far.listing.append(listed(house, call.ref, order.number))
        raise CarrierUncertain

    house.carrier.behaviour = takes


async def state(house: House, fax: TransmissionId) -> TransmissionState:
    return (await values.case(house.store, fax)).transmission.state


async def attempts(house: House, fax: TransmissionId) -> list[tuple[AttemptState, str]]:
    return [(one.state, one.carrier_ref) for one in (await values.case(house.store, fax)).attempts]


async def alarms(house: House) -> list[tuple[str, str]]:
    table = schema.outbox
    query = select(table.c.subject, table.c.text).where(table.c.kind == "alarm").order_by(table.c.id)
    return [(row.subject, row.text) for row in await house.store.read(lambda db: db.execute(query).all())]


async def test_a_lost_answer_is_found_by_number_and_time(house: House, clock: Clock) -> None:
    answers_are_lost(house)
    fax = await house.fax()
    await house.work()
    clock.forward(30)
    assert await house.work() == 0, "it may not be listed yet"
    clock.forward(31)
    await house.work()
    assert await attempts(house, fax) == [(A.SUBMITTED, "far-1")]
    house.far.calls[0].status = "delivered"
    clock.forward(60)
    await house.work()
    assert await state(house, fax) is T.DELIVERED
    assert len(house.far.calls) == 1


@pytest.mark.parametrize("others", [[], ["far-8", "far-9"]], ids=["not listed", "two fit"])
async def test_what_is_not_certain_is_held_and_not_sent_again(house: House, clock: Clock, others: list[str]) -> None:
    async def lost(order: Order) -> Receipt:
        house.far.listing += [listed(house, ref) for ref in others]
        raise CarrierUncertain

    house.carrier.behaviour = lost
    fax = await house.fax()
    await house.work()
    clock.forward(61)
    await house.work()
    assert await state(house, fax) is T.HELD
    assert await attempts(house, fax) == [(A.UNCERTAIN, "")]


async def test_a_listed_fax_that_another_attempt_has_is_not_taken(house: House, clock: Clock) -> None:
    first = await house.fax()
    await house.work()
    house.far.calls[0].status = "delivered"
    house.far.listing.append(listed(house, "far-1"))
    clock.forward(31)
    await house.work()
    assert await state(house, first) is T.DELIVERED

    async def lost(order: Order) -> Receipt:
        raise CarrierUncertain

    house.carrier.behaviour = lost
    fax = await house.fax()
    await house.work()
    clock.forward(61)
    await house.work()
    assert await state(house, fax) is T.HELD


async def test_an_attempt_that_a_person_gave_up_may_own_the_listed_fax(house: House, clock: Clock) -> None:
    """The list shows one fax, and two attempts that it may be: nobody can say whose it is."""

    async def lost(order: Order) -> Receipt:
        raise CarrierUncertain

    house.carrier.behaviour = lost
    fax = await house.fax()
    await house.work()
    clock.forward(61)
    await house.work()
    await house.store.write(steering.ask, fax, "release", "retry", "a person")
    answers_are_lost(house)
    await house.work()
    await house.work()
    clock.forward(61)
    await house.work()
    assert [state for state, _ in await attempts(house, fax)] == [A.FAILED, A.UNCERTAIN]
    assert await state(house, fax) is T.HELD


async def test_a_carrier_that_knows_the_fax_no_longer_is_believed_by_its_callback(house: House, clock: Clock) -> None:
    fax = await house.fax()
    await house.work()
    call = house.far.calls.pop()  # it has removed the record
    clock.forward(31)
    await house.work()
    assert await state(house, fax) is T.SENDING, "absence proves nothing"
    await house.statements.keep("main", [replace(said(call, house.now(), "delivered"), believed=False)])
    await house.work()
    assert await state(house, fax) is T.DELIVERED


async def test_a_callback_is_only_a_hint_while_the_carrier_knows_the_fax(house: House, clock: Clock) -> None:
    fax = await house.fax()
    await house.work()
    call = house.far.calls[0]
    await house.statements.keep("main", [replace(said(call, house.now(), "delivered"), believed=False)])
    clock.forward(1)
    await house.work()
    assert await state(house, fax) is T.SENDING, "the carrier itself says that it is sending"
    assert house.carrier.asked == [call.ref]
    call.status = "delivered"
    clock.forward(60)
    await house.work()
    assert await state(house, fax) is T.DELIVERED, "the same said with proof counts"


async def test_a_forged_result_is_replaced_by_what_the_carrier_says(house: House, clock: Clock) -> None:
    fax = await house.fax()
    await house.work()
    call = house.far.calls[0]
    call.status = "delivered"
    await house.statements.keep("main", [replace(said(call, house.now()), believed=False, pages_sent=1, station_id="forged")])
    await house.work()
    case = await values.case(house.store, fax)
    assert case.transmission.state is T.DELIVERED
    assert (case.attempts[0].pages_sent, case.attempts[0].station_id) == (2, "")


async def test_a_fax_of_which_nothing_is_ever_heard_is_held(house: House, clock: Clock) -> None:
    fax = await house.fax()
    await house.work()
    house.far.calls.clear()
    clock.forward(24 * 3600 + 60)
    await house.work()
    assert await state(house, fax) is T.HELD
    assert len(await attempts(house, fax)) == 1


async def test_a_carrier_that_does_not_forget_is_not_believed_without_proof(tmp_path: Path, clock: Clock) -> None:
    house = House(tmp_path, clock, FarEnd(), capabilities=replace(ABLE, forgets=False))
    await house.open()
    fax = await house.fax()
    await house.work()
    call = house.far.calls.pop()
    await house.statements.keep("main", [replace(said(call, house.now(), "delivered"), believed=False)])
    await house.work()
    assert await state(house, fax) is T.SENDING
    await house.close()


async def test_the_operator_is_told_once_of_a_fax_that_waits_at_its_carrier(house: House, clock: Clock) -> None:
    fax = await house.fax()
    await house.work()
    waits = replace(said(house.far.calls[0], house.now()), carrier_code="H", attention="Buy pages.")
    await house.statements.keep("main", [replace(waits, believed=False)])
    assert await alarms(house) == [], "it is only a hint"
    for key in ("one", "one", "two"):
        await house.statements.keep("main", [replace(waits, key=key)])
    ((what, text),) = await alarms(house)
    assert what == "a fax waits at its carrier"
    assert fax in text
    assert "Buy pages." in text
    assert await state(house, fax) is T.SENDING
    house.far.calls[0].status = "delivered"
    clock.forward(60)
    await house.work()
    assert await state(house, fax) is T.DELIVERED


async def test_the_sweep_tells_of_faxes_and_numbers_that_nobody_here_knows(house: House, clock: Clock) -> None:
    await house.fax()
    await house.work()
    house.far.listing += [listed(house, "far-1"), listed(house, "stranger")]
    await house.store.write(
        accounts.save_line, Line(number="+14155550100", account=values.submission().account, carrier="main")
    )
    house.identity.forget()
    house.carrier.held = ["+14155550100"]
    await sweep(house.shop, "main")
    assert await alarms(house) == [], "it is too young to judge"
    clock.forward(600)
    for _ in range(2):
        await sweep(house.shop, "main")
    ((what, text),) = await alarms(house)
    assert what == "a fax at a carrier belongs to no attempt"
    assert "stranger" in text
    house.carrier.held = ["+14155550177"]
    for _ in range(2):
        await sweep(house.shop, "main")
    assert sorted(what for what, _ in (await alarms(house))[1:]) == [  # written in one millisecond, perhaps
        "a line is not held at its carrier",
        "a number at a carrier is no line here",
    ]


async def test_a_carrier_that_refuses_the_list_leaves_the_fax_held(house: House, clock: Clock) -> None:
    async def refuses(since: object) -> list[Listed]:
        raise CarrierRefused("No list for you.", outcome=Outcome.NOT_AUTHORISED)

    answers_are_lost(house)
    house.carrier.listing = refuses  # type: ignore[method-assign]
    fax = await house.fax()
    await house.work()
    clock.forward(61)
    await house.work()
    assert await state(house, fax) is T.HELD

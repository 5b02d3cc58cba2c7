"""Sending and tracking, one story at a time: each is one way in which a fax could be sent twice, lost or forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.carriers.base import Event, Order, Receipt
from gateway.errors import CarrierRefused, CarrierUnavailable, CarrierUncertain, Outcome, SpoolUnavailable
from gateway.fax import AttemptState, TransmissionId, TransmissionState
from gateway.spool import queries, steering, steps
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import FarEnd, House, Scripted, lost, said

T = TransmissionState
A = AttemptState


async def state(house: House, fax: TransmissionId) -> TransmissionState:
    return (await values.case(house.store, fax)).transmission.state


async def outcomes(house: House, fax: TransmissionId) -> list[tuple[AttemptState, Outcome | None]]:
    return [(attempt.state, attempt.outcome) for attempt in (await values.case(house.store, fax)).attempts]


async def test_que_10_a_fax_is_sent_and_its_result_found_without_a_callback(house: House, clock: Clock) -> None:
    fax = await house.fax()
    await house.work()
    assert await state(house, fax) is T.SENDING
    house.far.calls[0].status = "delivered"
    assert await house.work() == 0, "the first look is later"
    clock.forward(31)
    await house.work()
    assert await state(house, fax) is T.DELIVERED
    assert await house.owed("result", fax) == 1


async def test_a_callback_before_submit_has_returned_counts(house: House) -> None:
    async def calls_back_first(order: Order) -> Receipt:
        call = house.far.take(order)
        call.status = "delivered"
        await house.statements.keep("main", [replace(said(call, house.now()), reference="")])
        return Receipt(carrier_ref=call.ref)

    house.carrier.behaviour = calls_back_first
    fax = await house.fax()
    await house.work()
    await house.work()
    assert await state(house, fax) is T.DELIVERED
    assert house.carrier.asked == [], "it had been said"


async def test_an_uncertain_fax_that_the_carrier_has_is_not_sent_again(house: House, clock: Clock) -> None:
    async def answer_lost(order: Order) -> Receipt:
        house.far.take(order)
        raise CarrierUncertain

    house.carrier.behaviour = answer_lost
    fax = await house.fax()
    await house.work()
    assert await outcomes(house, fax) == [(A.UNCERTAIN, None)]
    await house.work()
    assert await outcomes(house, fax) == [(A.SUBMITTED, None)]
    house.far.calls[0].status = "delivered"
    clock.forward(60)
    await house.work()
    assert await state(house, fax) is T.DELIVERED
    assert len(house.far.calls) == 1


@pytest.mark.parametrize("error", [RuntimeError("bug"), CarrierUncertain(), TimeoutError(), OSError("reset")])
async def test_whatever_else_an_adapter_raises_is_uncertain(house: House, error: Exception) -> None:
    async def fails(order: Order) -> Receipt:
        raise error

    house.carrier.behaviour = fails
    fax = await house.fax()
    await house.work()
    assert await outcomes(house, fax) == [(A.UNCERTAIN, None)]
    assert await state(house, fax) is T.SENDING


async def test_a_carrier_whose_answers_are_always_lost_is_not_called_without_end(house: House, clock: Clock) -> None:
    handed_over = 0

    async def never_arrives(order: Order) -> Receipt:
        nonlocal handed_over
        handed_over += 1
        return await lost(order)

    house.carrier.behaviour = never_arrives
    fax = await house.fax()
    for _ in range(100):
        await house.work()
        if await state(house, fax) is T.FAILED:
            break
        clock.forward(60)
    assert await state(house, fax) is T.FAILED
    assert handed_over == 5, "the schedule of carrier trouble"
    assert await house.owed("result", fax) == 1


@pytest.mark.parametrize("finds", [True, False])
async def test_where_absence_proves_nothing_a_person_decides(tmp_path: Path, clock: Clock, finds: bool) -> None:
    able = replace(Scripted.capabilities, finds=finds, absence_proves_unsent=False)
    house = House(tmp_path, clock, FarEnd(), capabilities=able)
    await house.open()
    house.carrier.behaviour = lost
    fax = await house.fax()
    await house.work()
    await house.work()
    assert await state(house, fax) is T.HELD
    assert await house.owed("alarm", fax) == 1
    clock.forward(100_000)
    assert await house.work() == 0
    await house.close()


async def test_a_held_fax_is_concluded_by_a_late_callback(tmp_path: Path, clock: Clock) -> None:
    able = replace(Scripted.capabilities, finds=False, absence_proves_unsent=False)
    house = House(tmp_path, clock, FarEnd(), capabilities=able)
    await house.open()

    async def answer_lost(order: Order) -> Receipt:
        house.far.take(order)
        raise CarrierUncertain

    house.carrier.behaviour = answer_lost
    fax = await house.fax()
    await house.work()
    await house.work()
    assert await state(house, fax) is T.HELD
    (call,) = house.far.calls
    await house.say(call)
    await house.work()
    assert await state(house, fax) is T.SENDING, "the carrier speaks of it: it has it"
    call.status = "busy"
    await house.say(call)
    await house.work()
    assert await state(house, fax) is T.DEFERRED
    await house.close()


async def test_a_spool_that_fails_in_the_middle_of_a_hand_over_does_not_send_twice(house: House, clock: Clock) -> None:
    await house.never_wait()
    fax = await house.fax()

    async def takes_while_the_spool_breaks(order: Order) -> Receipt:
        call = house.far.take(order)
        stack.enter_context(house.broken())
        return Receipt(carrier_ref=call.ref)

    with contextlib.ExitStack() as stack:
        house.carrier.behaviour = takes_while_the_spool_breaks
        await house.work()
        with pytest.raises(SpoolUnavailable):
            await house.fax("+14155550199")
    assert await outcomes(house, fax) == [(A.OPENING, None)]
    clock.forward(values.LEASE + 1)
    for _ in range(4):
        await house.work()
    assert await outcomes(house, fax) == [(A.SUBMITTED, None)]
    assert len(house.far.calls) == 1


async def test_a_process_that_dies_in_the_middle_of_a_hand_over_does_not_send_twice(
    house: House, tmp_path: Path, clock: Clock
) -> None:
    async def takes_and_is_cut_off(order: Order) -> Receipt:
        house.far.take(order)
        raise asyncio.CancelledError

    house.carrier.behaviour = takes_and_is_cut_off
    fax = await house.fax()
    with pytest.raises(asyncio.CancelledError):
        await house.work()
    await house.store.close()
    again = House(tmp_path, clock, house.far)
    await again.open()
    for _ in range(4):
        await again.work()
    assert await outcomes(again, fax) == [(A.SUBMITTED, None)]
    assert len(again.far.calls) == 1
    await again.close()


async def test_a_receipt_that_comes_after_the_claim_was_lost_is_not_lost(house: House, clock: Clock) -> None:
    able = replace(Scripted.capabilities, finds=False)
    house.carrier.capabilities = able  # type: ignore[misc]  # this one cannot be asked by reference

    async def slow(order: Order) -> Receipt:
        call = house.far.take(order)
        clock.forward(values.LEASE + 1)
        (_,) = await house.store.write(steps.claim, values.LANE, 1, values.LEASE, steps.uptime())
        return Receipt(carrier_ref=call.ref)

    house.carrier.behaviour = slow
    fax = await house.fax()
    await house.work()
    clock.forward(values.LEASE + 1)
    await house.work()
    case = await values.case(house.store, fax)
    assert case.open_attempt is not None
    assert (case.open_attempt.state, case.open_attempt.carrier_ref) == (A.SUBMITTED, "far-1")


async def test_one_process_never_works_on_a_fax_twice_at_once(house: House, clock: Clock) -> None:
    going_on, finish = asyncio.Event(), asyncio.Event()

    async def slow(order: Order) -> Receipt:
        going_on.set()
        await finish.wait()
        return await house.carrier.takes(order)

    house.carrier.behaviour = slow
    fax = await house.fax()
    house.loop.start()
    try:
        await asyncio.wait_for(going_on.wait(), 5)
        token = await house.store.read(lambda db: db.exec_driver_sql("SELECT token FROM step").scalar_one())
        clock.forward(3600)  # the machine's clock was put right
        house.store.woken(values.LANE).set()
        async with asyncio.timeout(5):
            while token == await house.store.read(lambda db: db.exec_driver_sql("SELECT token FROM step").scalar_one()):
                await asyncio.sleep(0.01)
        assert house.carrier.asked == [], "whoever claimed it waits for the step in hand"
        finish.set()
        async with asyncio.timeout(5):
            while await outcomes(house, fax) != [(A.SUBMITTED, None)]:
                await asyncio.sleep(0.01)
        assert len(house.far.calls) == 1
    finally:
        finish.set()
        await house.loop.stop()


async def test_a_refused_fax_fails_at_once_and_one_not_taken_is_tried_again(house: House, clock: Clock) -> None:
    errors = [CarrierUnavailable("later", retry_after=90.0), CarrierRefused("no", outcome=Outcome.RECIPIENT_BLOCKED)]

    async def fails(order: Order) -> Receipt:
        raise errors.pop(0)

    house.carrier.behaviour = fails
    fax = await house.fax()
    await house.work()
    assert await state(house, fax) is T.DEFERRED
    clock.forward(80)
    assert await house.work() == 0
    clock.forward(11)
    await house.work()
    assert await state(house, fax) is T.FAILED
    assert await outcomes(house, fax) == [(A.FAILED, Outcome.CARRIER_TROUBLE), (A.FAILED, Outcome.RECIPIENT_BLOCKED)]


async def test_a_deferred_fax_that_somebody_has_looked_at_is_not_dialled_before_its_time(house: House) -> None:
    fax = await house.fax()
    await house.work()
    (call,) = house.far.calls
    call.status = "busy"
    await house.say(call)
    await house.work()
    assert await state(house, fax) is T.DEFERRED
    await house.say(call, "sending")  # a late copy of an earlier statement
    await house.store.write(steps.nudge, fax)
    assert await house.work() == 1
    assert await house.work() == 0, "it is deferred as before"
    assert len(house.far.calls) == 1


async def test_a_wish_to_retry_dials_now(house: House) -> None:
    fax = await house.fax()
    await house.work()
    (call,) = house.far.calls
    call.status = "busy"
    await house.say(call)
    await house.work()
    wish = await house.store.write(steering.ask, fax, "retry", "", "ann")
    await house.work()
    await house.work()
    assert await house.store.read(steering.answered, wish) == "it is dialled now"
    assert len(house.far.calls) == 2


async def test_an_unsigned_statement_is_believed_only_after_asking(house: House) -> None:
    fax = await house.fax()
    await house.work()
    (call,) = house.far.calls
    forged = replace(said(call, house.now(), "delivered"), believed=False)
    await house.statements.keep("main", [forged])
    await house.work()
    assert house.carrier.asked == [call.ref]
    assert await state(house, fax) is T.SENDING


async def test_que_16_part_of_a_fax_is_no_success_and_not_sent_again(house: House) -> None:
    fax = await house.fax()
    await house.work()
    (call,) = house.far.calls
    await house.statements.keep("main", [replace(said(call, house.now(), "delivered"), pages_sent=1)])
    await house.work()
    assert await outcomes(house, fax) == [(A.FAILED, Outcome.PARTLY_SENT)]
    assert await state(house, fax) is T.FAILED


async def test_a_carrier_that_cannot_be_reached_for_a_day_leaves_the_fax_to_a_person(house: House, clock: Clock) -> None:
    fax = await house.fax()
    await house.work()

    async def unreachable(carrier_ref: str) -> Sequence[Event]:
        raise CarrierUnavailable

    house.carrier.poll = unreachable  # type: ignore[method-assign]  # the far end is gone
    clock.forward(60)
    await house.work()
    assert await state(house, fax) is T.SENDING
    clock.forward(25 * 3600)
    await house.work()
    assert await state(house, fax) is T.HELD
    assert await house.owed("alarm", fax) == 1


async def test_a_fax_whose_step_fails_again_and_again_is_held(house: House, clock: Clock) -> None:
    fax = await house.fax()
    await house.work()

    async def broken(carrier_ref: str) -> Sequence[Event]:
        raise ZeroDivisionError

    house.carrier.poll = broken  # type: ignore[method-assign]  # an adapter with a fault
    for _ in range(12):
        clock.forward(301)
        await house.work()
    assert await state(house, fax) is T.HELD
    assert await house.owed("alarm", fax) == 1


async def test_a_fax_whose_carrier_is_gone_from_the_configuration_is_held(house: House) -> None:
    fax = await house.fax()
    house.shop.carriers = {}
    await house.work()
    assert await state(house, fax) is T.HELD
    assert await house.owed("alarm", fax) == 1


async def test_lanes_of_carriers_that_are_gone_are_worked_in_too(house: House) -> None:
    fax = await house.fax()
    house.shop.carriers = {}
    loop = type(house.loop)(house.shop)
    loop.start()
    try:
        async with asyncio.timeout(5):
            while await state(house, fax) is not T.HELD:
                await asyncio.sleep(0.01)
    finally:
        await loop.stop()


async def test_a_lease_too_short_for_the_call_begins_none(house: House) -> None:
    fax = await house.fax()
    (claim,) = await house.store.write(steps.claim, values.LANE, 1, 119.0, steps.uptime())
    await house.loop._step(claim, None)
    assert await state(house, fax) is T.READY
    assert house.far.calls == []


async def test_a_late_contradiction_is_flagged_and_moves_nothing(house: House) -> None:
    fax = await house.fax()
    await house.work()
    (call,) = house.far.calls
    call.status = "delivered"
    await house.say(call)
    await house.work()
    await house.say(call, "busy")
    await house.work()
    assert await state(house, fax) is T.DELIVERED
    assert "late event" in [entry.what for entry in await house.store.read(queries.history, fax)]
    assert await house.owed("result", fax) == 1


async def test_a_fax_that_was_delivered_after_all_is_not_dialled_again(house: House, clock: Clock) -> None:
    fax = await house.fax()
    await house.work()
    (call,) = house.far.calls
    call.status = "busy"
    await house.say(call)
    await house.work()
    assert await state(house, fax) is T.DEFERRED
    call.status = "delivered"
    await house.say(call)
    await house.work()
    assert await state(house, fax) is T.HELD
    clock.forward(100_000)
    await house.work()
    assert len(house.far.calls) == 1
    assert await house.owed("alarm", fax) == 1


@pytest.mark.parametrize("answered", [True, False])
async def test_a_clock_that_is_set_while_the_carrier_is_asked_makes_no_fax_overdue(
    tmp_path: Path, clock: Clock, answered: bool
) -> None:
    passed = timedelta(0)
    here = House(tmp_path, clock, FarEnd(), elapsed=lambda: timedelta(seconds=steps.uptime()) + passed)
    await here.open()
    fax = await here.fax()
    await here.work()
    poll = here.carrier.poll

    async def slowly(carrier_ref: str) -> Sequence[Event]:
        clock.forward(2 * 86400)
        await here.store.write(steps.claim, "nowhere", 1, 60.0, steps.uptime())  # as every second
        if not answered:
            raise CarrierUnavailable("Not now.")
        return await poll(carrier_ref)

    here.carrier.poll = slowly  # type: ignore[method-assign]
    passed = timedelta(seconds=31)
    clock.forward(31)
    await here.work()
    assert clock.ahead > timedelta(days=2), "it was asked"
    assert await state(here, fax) is T.SENDING
    here.carrier.poll = poll  # type: ignore[method-assign]
    here.far.calls[0].status = "delivered"
    passed += timedelta(minutes=2)
    clock.forward(120)
    await here.work()
    assert await state(here, fax) is T.DELIVERED
    await here.close()


async def test_a_clock_that_is_set_back_while_a_fax_is_looked_at_puts_no_redial_off(tmp_path: Path, clock: Clock) -> None:
    passed = timedelta(0)
    here = House(tmp_path, clock, FarEnd(), elapsed=lambda: timedelta(seconds=steps.uptime()) + passed)
    await here.open()
    fax = await here.fax()
    await here.work()
    await here.say(here.far.calls[0], "busy")
    await here.work()
    assert await state(here, fax) is T.DEFERRED
    read = here.store.read_one

    async def slowly(query: Any, key: Any) -> Any:
        found = await read(query, key)
        if query is queries.cases:
            here.store.read_one = read  # type: ignore[method-assign]
            clock.forward(-86400)
            await here.store.write(steps.claim, "nowhere", 1, 60.0, steps.uptime())  # as every second
        return found

    here.store.read_one = slowly  # type: ignore[method-assign]
    passed = timedelta(hours=1)
    clock.forward(3600)
    await here.work()
    passed += timedelta(minutes=2)
    clock.forward(120)
    await here.work()
    assert len(here.far.calls) == 2
    await here.close()

"""A carrier that asks us to wait holds its lane: no fax is handed over, nothing counts as a try, looks go on."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from gateway.carriers.base import Order, Receipt
from gateway.errors import CarrierBusy, Outcome
from gateway.fax import AttemptState, TransmissionState
from gateway.work.pauses import Pauses
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.values import AT
from tests.work.shop import House

T = TransmissionState


def seconds(pauses: Pauses, after: float, retry_after: float | None = None) -> float:
    now = AT + timedelta(seconds=after)
    return (pauses.begin("main", now, retry_after) - now).total_seconds()


def test_pauses_double_up_to_a_quarter_of_an_hour() -> None:
    pauses, at, waits = Pauses(), 0.0, []
    for _ in range(6):
        waits.append(seconds(pauses, at))
        at += waits[-1] + 1
    assert waits == [60, 120, 240, 480, 900, 900]
    pauses.over("main")
    assert seconds(pauses, at) == 60


def test_a_carrier_that_names_its_time_gets_it() -> None:
    pauses = Pauses()
    assert seconds(pauses, 0, 7) == 7
    assert seconds(pauses, 8, 7) == 14, "but not for ever"
    assert seconds(pauses, 61, 3600) == 3600
    assert seconds(pauses, 3700) == 3600, "it was not too long then"
    assert pauses.until("other", AT) is None


def test_calls_under_way_do_not_make_a_pause_longer() -> None:
    pauses = Pauses()
    assert seconds(pauses, 0) == 60
    assert seconds(pauses, 20) == 40
    assert seconds(pauses, 61) == 120


async def test_a_busy_carrier_holds_the_lane_and_not_only_one_fax(
    house: House, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    asked: list[str] = []
    takes = house.carrier.behaviour

    async def busy(order: Order) -> Receipt:
        asked.append(order.number)
        raise CarrierBusy

    running = await house.fax("+14155550120")
    await house.work()
    house.carrier.behaviour = busy
    first, second = await house.fax(), await house.fax("+14155550124")
    await house.work()
    assert len(asked) == 1, "the second one, claimed already, is not even tried"
    later = await house.fax("+14155550125")
    clock.forward(40)
    house.far.calls[0].status = "delivered"
    assert await house.work() == 1, "looks go on"
    assert (await values.case(house.store, running)).transmission.state is T.DELIVERED
    for _ in range(3):
        clock.forward(1000)
        await house.work()
    assert len(asked) == 4
    assert caplog.text.count("is busy: no fax is handed over") == 4, "one line a pause"
    house.carrier.behaviour = takes
    clock.forward(1000)
    while await house.work():
        pass
    assert {call.number for call in house.far.calls} == {"+14155550120", values.NUMBER, "+14155550124", "+14155550125"}
    for fax in (first, second, later):
        case = await values.case(house.store, fax)
        assert case.transmission.state is T.SENDING
        assert {attempt.outcome for attempt in case.attempts} == {None}


async def test_a_busy_carrier_costs_no_try_of_the_retry_schedule(house: House, clock: Clock) -> None:
    replies: list[bool] = []
    takes = house.carrier.behaviour

    async def now_and_then(order: Order) -> Receipt:
        replies.append(len(replies) % 2 == 0)
        if replies[-1]:
            raise CarrierBusy
        return await takes(order)

    house.carrier.behaviour = now_and_then
    fax = await house.fax()
    for _ in range(10):
        await house.work()
        for call in house.far.calls:
            call.status = "busy"
        clock.forward(1000)
        await house.work()
    case = await values.case(house.store, fax)
    tried = [attempt.outcome for attempt in case.attempts if attempt.state is AttemptState.FAILED]
    assert tried.count(Outcome.BUSY) >= 3
    assert tried.count(None) >= 3
    assert case.transmission.state in (T.DEFERRED, T.SENDING)


async def test_a_carrier_that_stays_busy_is_given_up_and_the_sender_told(house: House, clock: Clock) -> None:
    async def busy(order: Order) -> Receipt:
        raise CarrierBusy

    house.carrier.behaviour = busy
    fax = await house.fax()
    for _ in range(20):
        await house.work()
        clock.forward(901)
    transmission = (await values.case(house.store, fax)).transmission
    assert (transmission.state, transmission.outcome) == (T.FAILED, Outcome.GAVE_UP)
    assert await house.owed("result", fax) == 1

"""The daily sweep: a fax that a carrier was given twice is told to the operator, once."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.carriers.base import Listed, Order
from gateway.carriers.loopback import Loopback, LoopbackConfig
from gateway.errors import CarrierUnavailable
from gateway.fax import TransmissionId
from gateway.spool import schema
from gateway.work.sweep import sweep
from tests.carriers import tools
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import House

_ATTEMPT = schema.attempt


@pytest.fixture
async def loopback(house: House, tmp_path: Path) -> AsyncIterator[Loopback]:
    """The carrier `main`, with a far end that lists what it was given."""
    config = LoopbackConfig(kind="loopback", callbacks=False)
    made = Loopback(tools.tools_for(tmp_path, http=house.client, now=house.now), config)
    await made.start()
    house.shop.carriers = {"main": made}
    yield made
    await made.stop()


async def alarms(house: House) -> list[tuple[str, str]]:
    table = schema.outbox
    query = select(table.c.subject, table.c.text).where(table.c.kind == "alarm").order_by(table.c.id)
    return [(row.subject, row.text) for row in await house.store.read(lambda db: db.execute(query).all())]


async def handed_over(house: House, folder: Path) -> tuple[TransmissionId, Order]:
    """A fax that the loopback network was given, and the order it got."""
    fax = await house.fax()
    await house.work()
    attempt = await values.open_attempt(house.store, fax)
    return fax, tools.order(folder, reference=attempt.reference)


async def test_a_fax_that_the_carrier_has_twice_is_told_once(house: House, loopback: Loopback, tmp_path: Path) -> None:
    fax, order = await handed_over(house, tmp_path)
    await sweep(house.shop, "main")
    assert await alarms(house) == []
    second = await loopback.submit(order)
    for _ in range(2):
        await sweep(house.shop, "main")
    ((what, text),) = await alarms(house)
    assert what == "a fax was sent more than once"
    assert fax in text
    assert second.carrier_ref in text
    assert values.NUMBER not in text, "numbers are masked"
    third = await loopback.submit(order)
    await sweep(house.shop, "main")
    assert third.carrier_ref in (await alarms(house))[1][1], "one more is news"


async def test_a_fax_that_belongs_to_no_attempt_is_told_once(house: House, loopback: Loopback, tmp_path: Path) -> None:
    await loopback.submit(tools.order(tmp_path, reference="at_01m80000000000000000000000"))
    await loopback.submit(tools.order(tmp_path, reference="somebody else's"))
    for _ in range(2):
        await sweep(house.shop, "main")
    ((what, text),) = await alarms(house)
    assert what == "a fax at a carrier belongs to no attempt"
    assert "at_01m80000000000000000000000" in text


async def test_a_fax_that_is_not_listed_is_only_logged(
    house: House, loopback: Loopback, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fax, _ = await handed_over(house, tmp_path)
    reference = (await values.open_attempt(house.store, fax)).id

    async def nothing(since: object) -> list[Listed]:
        return []

    loopback.listing = nothing  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "gateway.work.sweep"):
        await sweep(house.shop, "main")
        assert caplog.records == [], "too early to say"
        clock.forward(120)
        await sweep(house.shop, "main")
    assert reference in caplog.text
    assert await alarms(house) == []


async def test_what_was_sent_more_than_a_day_ago_is_not_looked_at(
    house: House, loopback: Loopback, tmp_path: Path, clock: Clock
) -> None:
    _, order = await handed_over(house, tmp_path)
    await loopback.submit(order)
    clock.forward(26 * 3600)
    await sweep(house.shop, "main")
    assert await alarms(house) == []


async def test_a_carrier_that_cannot_list_is_passed_over(house: House) -> None:
    await house.fax()
    await house.work()
    await sweep(house.shop, "main")
    assert await alarms(house) == []


async def test_a_carrier_that_cannot_be_reached_is_asked_later(house: House, loopback: Loopback) -> None:
    loopback.outage = True
    with pytest.raises(CarrierUnavailable):
        await sweep(house.shop, "main")


async def test_a_fax_that_was_taken_for_never_sent_and_is_there_after_all_is_told_once(
    house: House, loopback: Loopback, tmp_path: Path
) -> None:
    fax = await house.fax()
    loopback.outage = True
    await house.work()
    loopback.outage = False
    ((reference, state),) = await house.store.read(lambda db: db.execute(select(_ATTEMPT.c.reference, _ATTEMPT.c.state)).all())
    assert state == "failed"
    late = await loopback.submit(tools.order(tmp_path, reference=reference))
    for _ in range(2):
        await sweep(house.shop, "main")
    ((what, text),) = await alarms(house)
    assert what == "a fax was perhaps sent more than once"
    assert fax in text
    assert late.carrier_ref in text

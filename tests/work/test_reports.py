"""Transmission reports: fetched after the end, kept with the attempt, and never a part of the result."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.carriers.base import Capabilities
from gateway.errors import CarrierRefused, CarrierUnavailable
from gateway.fax import Attempt, Sha256, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.spool import queries, retention, steps
from gateway.spool import reports as verbs
from gateway.work import reports
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import FarEnd, House, Scripted

PDF = b"%PDF-1.4 what the carrier writes"


class Reporting(Scripted):
    """Gives what `paper` has."""

    paper: bytes | Exception = PDF
    asked_for: int = 0
    broken: str = ""

    async def report(self, carrier_ref: str) -> bytes:
        self.asked_for += 1
        if carrier_ref == self.broken:
            raise CarrierUnavailable("not this one")
        if isinstance(self.paper, Exception):
            raise self.paper
        return self.paper


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
async def house(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[House]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    made = House(tmp_path, clock, FarEnd(), url=url)
    made.carrier = Reporting(made._tools(), made.far, Capabilities(cancels=True, polls=True, reports=True, submit_limit=60.0))
    made.shop.carriers = {"main": made.carrier}
    await made.open()
    yield made
    await made.close()


def carrier(house: House) -> Reporting:
    assert isinstance(house.carrier, Reporting)
    return house.carrier


async def ended(house: House, status: str = "delivered") -> TransmissionId:
    fax = await house.fax()
    await house.work()
    await house.say(house.far.calls[-1], status)
    await house.work()
    return fax


async def attempt(house: House, fax: TransmissionId) -> Attempt:
    return (await values.case(house.store, fax)).attempts[-1]


@pytest.mark.parametrize("status", ["delivered", "disconnected"])
async def test_the_report_is_kept_by_its_content(house: House, status: str) -> None:
    fax = await ended(house, status)
    for _ in range(2):
        await reports.fetch(house.shop, "main")
    name = (await attempt(house, fax)).report
    assert name is not None
    assert await house.documents.get(name) == PDF
    assert carrier(house).asked_for == 1
    assert await house.store.read(retention.needed, {name}) == {name}
    assert "report kept" in [entry.what for entry in await house.store.read(queries.history, fax)]


async def test_a_carrier_that_cannot_be_asked_changes_nothing_and_is_asked_again(house: House) -> None:
    fax = await ended(house)
    carrier(house).paper = CarrierUnavailable("not now")
    await reports.fetch(house.shop, "main")
    case = await values.case(house.store, fax)
    assert (case.transmission.state, case.attempts[-1].report) == (T.DELIVERED, None)
    carrier(house).paper = PDF
    await reports.fetch(house.shop, "main")
    assert (await attempt(house, fax)).report


async def test_a_report_that_a_carrier_cannot_make_does_not_keep_the_others_back(house: House) -> None:
    broken, whole = [await ended(house) for _ in range(2)]
    ref = (await attempt(house, broken)).carrier_ref
    carrier(house).broken = ref
    await reports.fetch(house.shop, "main")
    assert (await attempt(house, whole)).report
    assert not (await attempt(house, broken)).report


@pytest.mark.parametrize(("fault", "seconds"), [(CarrierRefused("none"), 1000), (CarrierUnavailable("not now"), 90_000)])
async def test_what_never_comes_is_given_up(house: House, clock: Clock, fault: Exception, seconds: float) -> None:
    fax = await ended(house)
    carrier(house).paper = fault
    await reports.fetch(house.shop, "main")
    assert len(await house.store.read(verbs.owed, "main", 10)) == 1
    clock.forward(seconds)
    await reports.fetch(house.shop, "main")
    assert await house.store.read(verbs.owed, "main", 10) == []
    case = await values.case(house.store, fax)
    assert (case.transmission.state, case.attempts[-1].report) == (T.DELIVERED, None)
    assert "no report" in [entry.what for entry in await house.store.read(queries.history, fax)]


async def test_a_cancelled_fax_has_no_report(house: House) -> None:
    await ended(house, "cancelled")
    await reports.fetch(house.shop, "main")
    assert carrier(house).asked_for == 0


async def mailed(house: House) -> None:
    for claim in await house.store.write(steps.claim, steps.MAIL, 10, 60.0, steps.uptime()):
        await house.store.write(steps.done, claim)
    await house.store.write(lambda t: t.db.exec_driver_sql("UPDATE outbox SET state = 'sent'").close())


async def test_the_report_goes_with_the_pages_of_its_fax_and_none_comes_after_them(house: House) -> None:
    with_report = await ended(house)
    await reports.fetch(house.shop, "main")
    name = (await attempt(house, with_report)).report
    (without,) = [await ended(house)]
    await mailed(house)
    (owed,) = await house.store.read(verbs.owed, "main", 10)
    assert name is not None
    _, gone = await house.store.write(retention.give_up_sent, house.store.now() + timedelta(hours=1))
    assert name in gone
    assert await house.store.read(retention.needed, {name}) == set()
    assert (await attempt(house, with_report)).report is None
    await house.store.write(verbs.keep, owed, Sha256("b" * 64))
    assert (await attempt(house, without)).report is None

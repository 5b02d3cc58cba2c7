"""A carrier's listener: what it speaks of is looked at at once, and nothing is lost where it is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.carriers.base import Changes
from gateway.errors import CarrierUnavailable, SpoolUnavailable
from gateway.fax import TransmissionState as T
from gateway.spool import attempts
from gateway.work.listen import Listening
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import FarEnd, House, Scripted


class Telling(Scripted):
    """Its listener says what `heard` has."""

    heard: Changes | Exception = Changes()
    looks = 0
    works = False

    @property
    def hears(self) -> bool:
        return self.works

    async def changes(self) -> Changes:
        self.looks += 1
        if isinstance(self.heard, Exception):
            raise self.heard
        return self.heard


@pytest.fixture
async def house(tmp_path: Path, clock: Clock) -> AsyncIterator[House]:
    made = House(tmp_path, clock, FarEnd())
    made.carrier = Telling(made._tools(), made.far)
    made.shop.carriers = {"main": made.carrier}
    await made.open()
    yield made
    await made.close()


def telling(house: House) -> Telling:
    assert isinstance(house.carrier, Telling)
    return house.carrier


async def test_only_the_fax_that_is_spoken_of_is_looked_at_now(house: House) -> None:
    faxes = [await house.fax(number) for number in ("+14155550123", "+14155550124")]
    await house.work()
    for call in house.far.calls:
        call.status = "delivered"
    telling(house).heard = Changes(carrier_refs={house.far.calls[1].ref, "somebody-elses"})
    await Listening(house.shop, "main").look()
    assert await house.work() == 1
    assert house.carrier.asked == [house.far.calls[1].ref], "what is heard is a reason to ask, and no result"
    assert [(await values.case(house.store, fax)).transmission.state for fax in faxes] == [T.SENDING, T.DELIVERED]


async def test_what_may_have_been_missed_is_looked_at_whole(house: House) -> None:
    for n in range(3):
        await house.fax(f"+1415555012{n}")
    await house.work()
    telling(house).heard = Changes(whole=False)
    await Listening(house.shop, "main").look()
    assert await house.work() == 3


async def test_a_change_that_cannot_be_written_down_is_not_lost(house: House) -> None:
    fax = await house.fax()
    await house.work()
    house.far.calls[0].status = "delivered"
    telling(house).heard, listening = Changes(carrier_refs={house.far.calls[0].ref}), Listening(house.shop, "main")
    await house.never_wait()
    with house.broken(), pytest.raises(Exception, match="spool"):
        await listening.look()
    telling(house).heard = Changes()  # the carrier says it once
    await listening.look()
    await house.work()
    assert (await values.case(house.store, fax)).transmission.state is T.DELIVERED


async def test_a_change_is_not_lost_where_the_spool_goes_while_it_is_heard(house: House) -> None:
    fax = await house.fax()
    await house.work()
    house.far.calls[0].status = "delivered"
    telling(house).heard, listening = Changes(carrier_refs={house.far.calls[0].ref}), Listening(house.shop, "main")
    told = telling(house).changes

    def gone(*_: object) -> None:
        raise SpoolUnavailable

    with pytest.MonkeyPatch.context() as patch:

        async def breaking() -> Changes:
            patch.setattr(attempts, "at_carrier", gone)
            return await told()

        patch.setattr(telling(house), "changes", breaking)
        with pytest.raises(SpoolUnavailable):
            await listening.look()
    telling(house).heard = Changes()  # the carrier says it once
    await listening.look()
    await house.work()
    assert (await values.case(house.store, fax)).transmission.state is T.DELIVERED


async def test_nobody_listens_while_there_is_nothing_to_hear_of(house: House) -> None:
    await Listening(house.shop, "main").look()
    assert telling(house).looks == 0


async def test_a_listener_that_is_gone_is_not_asked_on_and_on_and_the_result_comes_all_the_same(
    house: House, clock: Clock
) -> None:
    fax = await house.fax()
    await house.work()
    telling(house).heard, listening = CarrierUnavailable(), Listening(house.shop, "main")
    for _ in range(5):
        await listening.look()
    assert telling(house).looks == 1
    house.far.calls[0].status = "delivered"
    clock.forward(31)
    await house.work()
    assert (await values.case(house.store, fax)).transmission.state is T.DELIVERED


@pytest.mark.parametrize(("works", "looks"), [(False, [1, 1, 1]), (True, [1, 0, 1])])
async def test_a_carrier_that_tells_by_itself_is_asked_less_often_and_still_asked(
    house: House, clock: Clock, works: bool, looks: list[int]
) -> None:
    telling(house).works = works
    await house.fax()
    await house.work()
    seen = []
    for seconds in (31, 70, 310):
        clock.forward(seconds)
        seen.append(await house.work())
        await house.work()  # the first word of the carrier is a reason to look once more
    assert seen == looks

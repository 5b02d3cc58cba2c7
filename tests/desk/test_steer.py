"""Cancel, hold, release, retry as every door asks for them."""

from __future__ import annotations

import asyncio

import pytest

from gateway.desk.steer import steer
from gateway.errors import NotAdmitted, Outcome
from gateway.fax import TransmissionId, TransmissionState
from gateway.spool import queries, steering, steps, transmissions
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from tests.spool import values

T = TransmissionState


async def failed(store: Store) -> TransmissionId:
    transmission = await values.ready(store)
    await store.write(
        transmissions.settle, await values.claim(store), Next(state=T.FAILED, outcome=Outcome.BUSY, reason="busy")
    )
    return transmission


@pytest.mark.parametrize(
    ("verb", "choice"), [("explode", ""), ("release", "explode"), ("cancel", "delivered"), ("hold", "retry"), ("", "")]
)
async def test_what_nobody_knows_is_refused(store: Store, verb: str, choice: str) -> None:
    transmission = await values.ready(store)
    with pytest.raises(NotAdmitted, match="Nobody knows how"):
        await steer(store, transmission, verb, choice=choice, by="ann")


async def test_a_fax_that_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(NotAdmitted, match="There is no fax"):
        await steer(store, "tx_nowhere", "cancel", by="ann")


@pytest.mark.parametrize("verb", ["cancel", "hold", "release"])
async def test_a_fax_that_has_ended_is_not_steered(store: Store, verb: str) -> None:
    with pytest.raises(NotAdmitted, match="is failed already"):
        await steer(store, await failed(store), verb, by="ann")


async def test_retrying_a_failed_fax_makes_a_new_one(store: Store) -> None:
    old = await failed(store)
    answer = await steer(store, old, "retry", by="ann")
    newest, *_ = await store.read(queries.page)
    assert answer == f"sent again as {newest.id}"
    assert newest.state is T.ACCEPTED
    assert (await values.case(store, newest.id)).recipients == (await values.case(store, old)).recipients


async def test_whoever_asks_hears_the_answer(store: Store) -> None:
    transmission = await values.ready(store)
    asking = asyncio.create_task(steer(store, transmission, "hold", by="ann"))
    async with asyncio.timeout(5):
        while not (wishes := await store.read(steering.pending, transmission)):
            await asyncio.sleep(0.01)
    await store.write(steering.answer, wishes[0].id, "held")
    assert await asking == "held"


async def test_whoever_asks_too_late_hears_so(store: Store) -> None:
    transmission = await values.ready(store)
    claim = await values.claim(store)
    asking = asyncio.create_task(steer(store, transmission, "hold", by="ann"))
    async with asyncio.timeout(5):
        while not await store.read(steering.pending, transmission):
            await asyncio.sleep(0.01)
    await store.write(transmissions.settle, claim, Next(state=T.FAILED, outcome=Outcome.BUSY))
    assert await asking == steering.TOO_LATE


async def test_without_patience_the_wish_is_noted(store: Store) -> None:
    transmission = await values.ready(store)
    await store.write(steps.put_back, await values.claim(store))
    answer = await steer(store, transmission, "cancel", by="ann", patience=0.0)
    assert answer.startswith("noted")
    assert [wish.verb for wish in await store.read(steering.pending, transmission)] == ["cancel"]

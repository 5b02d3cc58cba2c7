"""The clock is set while a spool is open, or while it is closed: what is unfinished keeps its distance from now."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.errors import SpoolUnavailable
from gateway.fax import TransmissionId
from gateway.spool import schema, steps, transmissions
from gateway.spool.approvals import Toll
from gateway.spool.commit import Transaction
from gateway.spool.store import Store
from tests.spool import values
from tests.spool.values import LANE, LEASE

DAY = timedelta(days=1)


class Machine:
    """Its wall clock can be set; its time since the start cannot."""

    def __init__(self) -> None:
        self.wrong = timedelta(0)

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.wrong

    def elapsed(self) -> timedelta:
        return timedelta(seconds=steps.uptime())

    def store(self, folder: Path, url: str = "") -> Store:
        made = Store(folder, url, now=self.wall, elapsed=self.elapsed, node="here")
        made.open()
        made.start()
        return made


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
async def store(machine: Machine, tmp_path: Path) -> AsyncIterator[Store]:
    made = machine.store(tmp_path)
    yield made
    await made.close()


async def due_in(store: Store, fax: TransmissionId) -> float:
    """Seconds."""
    found = await store.read(lambda db: db.scalar(select(schema.step.c.due_at).where(schema.step.c.subject == fax)))
    assert isinstance(found, datetime)
    return (found - store.now()).total_seconds()


async def look(store: Store) -> None:
    """What the work loop does every second."""
    await store.write(steps.claim, "nowhere", 1, LEASE, steps.uptime())


@pytest.mark.parametrize("by", [DAY, -DAY])
async def test_leases_and_due_times_move_with_the_clock(store: Store, machine: Machine, by: timedelta) -> None:
    held, deferred = await values.ready(store), await values.ready(store)
    claims = {claim.subject: claim for claim in await store.write(steps.claim, LANE, 2, LEASE, steps.uptime())}
    assert await store.write(steps.put_back, claims[deferred], due_at=store.now() + timedelta(hours=1))
    machine.wrong = by
    await look(store)
    assert abs(store.now() - machine.wall()) < timedelta(seconds=1)
    assert LEASE - 5 < await due_in(store, held) <= LEASE
    assert 3595 < await due_in(store, deferred) <= 3600
    assert await store.write(steps.claim, LANE, 2, LEASE, steps.uptime()) == []
    assert await store.write(steps.put_back, claims[held]), "its claim is still good"
    (again,) = await store.write(steps.claim, LANE, 2, LEASE, steps.uptime())
    assert again.subject == held, "due at once, though it was accepted at a time that is still to come"


@pytest.mark.parametrize("by", [DAY, -DAY])
async def test_what_waits_to_be_approved_keeps_its_time(store: Store, machine: Machine, by: timedelta) -> None:
    (fax,) = (await values.accept(store)).transmissions
    asks = Toll(reasons=("2 pages",), approver="boss@example.com", wait=timedelta(hours=1))
    claim = await values.claim(store, steps.CONVERT)
    await store.write(transmissions.prepared, claim, document=values.SHA, pages=2, manifest="[]", toll=asks)
    machine.wrong = by
    await look(store)
    assert 3595 < await due_in(store, fax) <= 3600
    until = (await values.case(store, fax)).transmission.due_at
    assert until is not None
    assert 3595 < (until - store.now()).total_seconds() <= 3600


async def test_parked_stays_parked_and_a_small_difference_is_left_alone(store: Store, machine: Machine) -> None:
    fax = await values.ready(store)
    assert await store.write(steps.put_back, await values.claim(store), due_at=schema.PARKED)
    machine.wrong = timedelta(seconds=3)
    await look(store)
    assert store.now() < machine.wall()
    machine.wrong = -DAY
    await look(store)
    found = await store.read(lambda db: db.scalar(select(schema.step.c.due_at).where(schema.step.c.subject == fax)))
    assert found == schema.PARKED


async def test_what_was_reckoned_before_the_clock_was_set_is_not_written_after(store: Store, machine: Machine) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_t: Transaction) -> None:
        begun.set()
        assert go_on.wait(10)
        machine.wrong = -DAY

    fax = await values.ready(store)
    claim = await values.claim(store)
    writing = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    reckoned = asyncio.create_task(store.write(steps.put_back, claim, due_at=store.now() + timedelta(minutes=1)))
    await asyncio.sleep(0)
    go_on.set()
    await writing
    with pytest.raises(SpoolUnavailable, match="clock"):
        await reckoned
    assert await store.write(steps.put_back, claim, due_at=store.now() + timedelta(minutes=1))
    assert await due_in(store, fax) < 61


async def test_the_clock_was_set_back_while_the_spool_was_closed(machine: Machine, tmp_path: Path) -> None:
    machine.wrong = DAY  # wrong when it starts
    store = machine.store(tmp_path)
    fax = await values.ready(store)
    assert await store.write(steps.put_back, await values.claim(store), due_at=store.now() + timedelta(hours=1))
    await store.close()
    machine.wrong = timedelta(0)
    store = machine.store(tmp_path)
    assert 3595 < await due_in(store, fax) <= 3605
    await store.close()


@pytest.mark.needs("postgres")
async def test_a_nodes_own_clock_does_not_matter_on_postgresql(machine: Machine, tmp_path: Path, postgres_url: str) -> None:
    store = machine.store(tmp_path, postgres_url)
    try:
        await look(store)
        for wrong in (DAY, -DAY):
            machine.wrong = wrong
            assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=10), "also before the next transaction"
            await look(store)
            assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=10)
    finally:
        await store.close()

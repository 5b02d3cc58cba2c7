"""Several nodes on one PostgreSQL database: one time for all, waking each other, not stopped by one that is frozen."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from gateway.errors import SpoolUnavailable
from gateway.spool import queries, steps
from gateway.spool.commit import Transaction
from gateway.spool.store import Store
from tests.spool import values

pytestmark = pytest.mark.needs("postgres")
WRONG = timedelta(days=400)


def right() -> datetime:
    return datetime.now(UTC)


def wrong() -> datetime:
    return right() + WRONG


@pytest.fixture
async def nodes(tmp_path: Path, postgres_url: str) -> AsyncIterator[tuple[Store, Store]]:
    """The second one's clock is wrong, and its sessions may not be idle in a transaction for long."""
    one = Store(tmp_path, postgres_url, now=right, node="one")
    two = Store(tmp_path, f"{postgres_url}?options=-c%20idle_in_transaction_session_timeout%3D300ms", now=wrong, node="two")
    for node in (one, two):
        node.open()
        node.start()
    yield one, two
    for node in (one, two):
        await node.close()


async def listening(postgres_url: str, count: int) -> list[int]:
    """The server's processes that nodes listen on, once there are so many."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            found = await connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN faxgate'"
            )
            pids = [int(pid) for (pid,) in await found.fetchall()]
        if len(pids) == count:
            return pids
        await asyncio.sleep(0.02)
    raise AssertionError(f"{len(pids)} nodes listen")


async def test_the_time_is_the_databases_not_the_nodes(nodes: tuple[Store, Store]) -> None:
    _, two = nodes
    accepted = await values.accept(two)
    case = await values.case(two, accepted.transmissions[0])
    assert abs(case.transmission.accepted_at - right()) < timedelta(seconds=10)
    assert abs(two.now() - right()) < timedelta(seconds=10)
    (entry,) = await two.read(queries.history, accepted.transmissions[0])
    assert entry.node == "two"


async def test_what_one_node_makes_due_wakes_the_other(nodes: tuple[Store, Store], postgres_url: str) -> None:
    one, two = nodes
    await listening(postgres_url, 2)
    woken, idle = two.woken(steps.CONVERT), two.woken(steps.MAIL)
    woken.clear()
    idle.clear()
    await values.accept(one)
    await asyncio.wait_for(woken.wait(), 5)
    assert not idle.is_set()


async def test_nobody_is_woken_by_what_was_undone(nodes: tuple[Store, Store], postgres_url: str) -> None:
    one, two = nodes
    await listening(postgres_url, 2)
    undone, done = two.woken("undone"), two.woken("done")
    undone.clear()

    def spoilt(t: Transaction) -> None:
        steps.add(t, "x", "tell", "undone")
        raise LookupError

    with pytest.raises(LookupError):
        await one.write(spoilt)
    await one.write(steps.add, "y", "tell", "done")
    await asyncio.wait_for(done.wait(), 5)
    assert not undone.is_set()


async def test_a_node_whose_listening_connection_is_lost_looks_and_listens_again(
    nodes: tuple[Store, Store], postgres_url: str
) -> None:
    one, two = nodes
    before = await listening(postgres_url, 2)
    woken = two.woken(steps.CONVERT)
    woken.clear()
    with psycopg.connect(postgres_url, autocommit=True) as operator:
        for pid in before:
            operator.execute("SELECT pg_terminate_backend(%s)", (pid,))
    await asyncio.wait_for(woken.wait(), 10)  # what it may have missed
    assert not set(await listening(postgres_url, 2)) & set(before)
    woken.clear()
    await values.accept(one)
    await asyncio.wait_for(woken.wait(), 5)


@pytest.mark.parametrize("payload", ["", "nonsense", "5", "[]", "{}", "[1, 2]", '["somebody", "no such lane"]'])
async def test_nonsense_from_others_does_no_harm(nodes: tuple[Store, Store], postgres_url: str, payload: str) -> None:
    one, two = nodes
    await listening(postgres_url, 2)
    with psycopg.connect(postgres_url, autocommit=True) as stranger:
        stranger.execute("SELECT pg_notify('faxgate', %s)", (payload,))
    woken = two.woken(steps.CONVERT)
    woken.clear()
    await values.accept(one)
    await asyncio.wait_for(woken.wait(), 5)


async def test_a_node_frozen_in_a_transaction_does_not_keep_its_rows(nodes: tuple[Store, Store]) -> None:
    one, two = nodes
    fax, thawed = await values.ready(one), threading.Event()

    def freeze(t: Transaction) -> None:
        steps.nudge(t, fax)
        thawed.wait(10)
        t.db.execute(text("SELECT 1"))

    frozen = asyncio.create_task(two.write(freeze))
    await asyncio.sleep(0.2)
    try:
        assert await asyncio.wait_for(one.write(steps.nudge, fax), 5)
    finally:
        thawed.set()
    with pytest.raises(SpoolUnavailable):
        await frozen
    assert await two.write(steps.nudge, fax)


async def test_a_batch_that_had_to_give_way_is_run_again_as_a_whole(nodes: tuple[Store, Store]) -> None:
    one, two = nodes
    first, second = await values.ready(one), await values.ready(one)
    together, runs = threading.Barrier(2), list[str]()

    def nudge(t: Transaction, fax: str, *, wait: bool) -> bool:
        runs.append(t.node)
        done = steps.nudge(t, fax)
        if wait and runs.count(t.node) == 1:
            together.wait(5)
        return done

    async def both(node: Store, *faxes: str) -> list[bool]:
        return list(await asyncio.gather(*(node.write(nudge, fax, wait=n == 0) for n, fax in enumerate(faxes))))

    answers = await asyncio.gather(both(one, first, second), both(two, second, first))
    assert list(answers) == [[True, True], [True, True]]
    assert sorted((runs.count("one"), runs.count("two"))) in ([2, 3], [2, 4])


async def test_a_batch_goes_through_claims_by_id(nodes: tuple[Store, Store]) -> None:
    one, _ = nodes
    for _ in range(3):
        await values.accept(one)
    claims = await one.write(steps.claim, steps.CONVERT, 3, 60.0, steps.uptime())
    order = list[str]()

    def note(t: Transaction, claim: steps.Claim) -> None:
        order.append(claim.subject)

    await asyncio.gather(*(one.write(note, claim) for claim in reversed(claims)))
    assert order == sorted(order)
    assert len(order) == 3

"""The spool on PostgreSQL: what every database promises, and what several nodes may rely on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DataError

from gateway.errors import SpoolUnavailable
from gateway.fax import TransmissionId
from gateway.spool import events, queries, schema, steps, transmissions
from gateway.spool.commit import Transaction
from gateway.spool.store import Store
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.clock import DatabaseClock
from tests.spool.conformance import Reopen, StoreConformance
from tests.spool.values import LANE

pytestmark = pytest.mark.needs("postgres")


def opened(folder: Path, url: str, clock: Clock, node: str) -> Store:
    store = Store(folder, url, now=clock, node=node)
    store.open()
    store.start()
    return store


@pytest.fixture
def clock(postgres_url: str) -> Clock:
    """The database's clock can be put forward; the node's own goes along."""
    return DatabaseClock(postgres_url)


@pytest.fixture
async def stores(tmp_path: Path, postgres_url: str, clock: Clock) -> AsyncIterator[list[Store]]:
    made = [opened(tmp_path, postgres_url, clock, "one")]
    yield made
    await made[-1].close()


@pytest.fixture
def store(stores: list[Store]) -> Store:
    return stores[-1]


@pytest.fixture
def reopen(stores: list[Store], tmp_path: Path, postgres_url: str, clock: Clock) -> Reopen:
    async def again() -> Store:
        await stores[-1].close()
        stores.append(Store(tmp_path, postgres_url, now=clock, node="one again"))
        stores[-1].open()
        stores[-1].start()
        return stores[-1]

    return again


@pytest.fixture
async def other(store: Store, tmp_path: Path, postgres_url: str, clock: Clock) -> AsyncIterator[Store]:
    """A second node."""
    made = opened(tmp_path, postgres_url, clock, "two")
    yield made
    await made.close()


class TestPostgres(StoreConformance):
    async def test_que_02_two_nodes_never_claim_the_same_step(self, store: Store, other: Store) -> None:
        for _ in range(40):
            await values.accept(store)
        taken = await asyncio.gather(
            *(node.write(steps.claim, steps.CONVERT, 3, 60.0, 0.0) for _ in range(10) for node in (store, other))
        )
        subjects = [claim.subject for claims in taken for claim in claims]
        assert len(subjects) == len(set(subjects)) == 40

    async def test_a_second_node_does_not_begin_a_second_attempt(self, store: Store, other: Store) -> None:
        mine, attempt = await values.opening(store)
        assert await other.write(steps.claim, LANE, 5, 60.0, 0.0) == []
        assert not await other.write(transmissions.open_attempt, mine, values.attempt(attempt.transmission, 2), None)

    async def test_two_nodes_that_open_attempts_at_once_share_neither_a_call_nor_a_number(
        self, store: Store, other: Store
    ) -> None:
        numbers, calls = [f"+1415555{n % 30:04}" for n in range(40)], 25
        await values.many_ready(store, numbers)
        claims = await store.write(steps.claim, LANE, 40, values.LEASE, steps.uptime())
        opened = await asyncio.gather(
            *(
                node.write(transmissions.open_attempt, claim, values.attempt(TransmissionId(claim.subject)), calls)
                for n, claim in enumerate(claims)
                for node in ((store, other)[n % 2],)
            )
        )
        table = schema.attempt
        found = await store.read(lambda db: db.execute(select(table).where(table.c.slot.is_not(None))).all())
        assert sorted(row.transmission_id for row in found) == sorted(
            claim.subject for claim, done in zip(claims, opened, strict=True) if done
        )
        assert len(found) == calls == len({row.slot for row in found}) == len({row.dialling for row in found})
        assert {row.slot for row in found} == set(range(1, calls + 1))
        steps_left = await store.read(lambda db: db.execute(select(schema.step)).all())
        assert sorted(row.subject for row in steps_left if row.token is None) == sorted(
            claim.subject for claim, done in zip(claims, opened, strict=True) if not done
        ), "whoever has no call waits for one"

    async def test_a_text_that_is_too_long_is_refused_and_not_cut(self, store: Store) -> None:
        with pytest.raises(DataError):
            await values.accept(store, values.call("+" + 20 * "1"))
        assert await store.read(queries.page) == []

    async def test_two_nodes_that_take_the_same_mail_make_one_fax(self, store: Store, other: Store) -> None:
        for n in range(10):
            call = values.call(key=f"k{n}")
            both = await asyncio.gather(values.accept(store, call), values.accept(other, call))
            assert sorted(len(accepted.transmissions) for accepted in both) == [0, 1]

    async def test_two_nodes_that_are_told_the_same_store_it_once(self, store: Store, other: Store) -> None:
        for n in range(10):
            said = values.statement(f"k{n}")
            kept = await asyncio.gather(*(node.write(events.store, "main", said) for node in (store, other)))
            assert sorted(kept) == ["known", "new"]

    async def test_nodes_that_lock_rows_crosswise_both_get_through(self, store: Store, other: Store) -> None:
        first, second = await values.ready(store), await values.ready(store)
        together = threading.Barrier(2, timeout=10)

        def nudge_both(t: Transaction, one: str, two: str) -> bool:
            done = steps.nudge(t, one)
            with contextlib.suppress(threading.BrokenBarrierError):  # a second run meets nobody
                together.wait(0.5)
            return done and steps.nudge(t, two)

        both = await asyncio.gather(
            store.write(nudge_both, first, second), other.write(nudge_both, second, first), return_exceptions=True
        )
        assert list(both) == [True, True]

    async def test_nodes_that_start_together_make_the_tables_once(
        self, postgres_url: str, tmp_path: Path, clock: Clock
    ) -> None:
        nodes = [Store(tmp_path, postgres_url, now=clock, node=str(n)) for n in range(3)]
        await asyncio.gather(*(asyncio.to_thread(node.open) for node in nodes))
        assert await nodes[0].read(queries.page) == []
        for node in nodes:
            await node.close()

    async def test_a_connection_that_is_lost_is_made_anew(self, store: Store, postgres_url: str) -> None:
        await values.accept(store)
        with psycopg.connect(postgres_url, autocommit=True) as operator:
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        both = await asyncio.gather(values.accept(store), values.accept(store))
        assert len({accepted.submission for accepted in both}) == 2

    async def test_a_lost_connection_in_the_middle_of_a_commit_is_not_run_again(self, store: Store, postgres_url: str) -> None:
        runs = 0

        def write_and_be_cut_off(t: Transaction) -> None:
            nonlocal runs
            runs += 1
            t.note("x", "once")
            pid = t.db.scalar(text("SELECT pg_backend_pid()"))
            with psycopg.connect(postgres_url, autocommit=True) as operator:
                operator.execute("SELECT pg_terminate_backend(%s)", (pid,))

        with pytest.raises(SpoolUnavailable):
            await store.write(write_and_be_cut_off)
        assert runs == 1
        assert await store.read(queries.history, "x") == []

    def test_a_server_that_is_not_there_is_unavailable(self, tmp_path: Path, clock: Clock, free_port: int) -> None:
        store = Store(tmp_path, f"postgresql://faxgate@127.0.0.1:{free_port}/x", now=clock)
        with pytest.raises(SpoolUnavailable):
            store.open()
        store.release()

    async def test_a_server_that_is_not_there_any_more_is_unavailable_to_every_caller(
        self, store: Store, postgres_url: str, postgres_server: str
    ) -> None:
        name = postgres_url.rsplit("/", 1)[-1]
        with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as operator:
            operator.execute(f"DROP DATABASE {name} WITH (FORCE)")
        results = await asyncio.gather(*(values.accept(store) for _ in range(20)), return_exceptions=True)
        assert {type(result) for result in results} == {SpoolUnavailable}
        with pytest.raises(SpoolUnavailable):
            await store.read(queries.page)

"""The spool on SQLite: what every database promises, and what is special here."""

from __future__ import annotations

import asyncio
import functools
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Delete, Select, Update, text
from sqlalchemy.dialects import sqlite

from gateway.errors import SpoolBusy, SpoolUnavailable
from gateway.spool import events, lines, outbox, queries, steering, steps, submissions, transmissions
from gateway.spool.store import Store
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.conformance import Reopen, StoreConformance


def opened(folder: Path, clock: Clock) -> Store:
    store = Store(folder, now=clock, node="here")
    store.open()
    store.start()
    return store


@pytest.fixture
async def stores(tmp_path: Path, clock: Clock) -> AsyncIterator[list[Store]]:
    """The open store, last of all that were."""
    made = [opened(tmp_path / "spool", clock)]
    yield made
    await made[-1].close()


@pytest.fixture
def store(stores: list[Store]) -> Store:
    return stores[-1]


@pytest.fixture
def reopen(stores: list[Store], tmp_path: Path, clock: Clock) -> Reopen:
    async def again() -> Store:
        await stores[-1].close()
        stores.append(Store(tmp_path / "spool", now=clock, node="here again"))
        stores[-1].open()
        stores[-1].start()
        return stores[-1]

    return again


class TestSqlite(StoreConformance):
    async def test_a_second_process_is_told_that_the_spool_is_taken(self, store: Store, tmp_path: Path, clock: Clock) -> None:
        other = Store(tmp_path / "spool", now=clock)
        with pytest.raises(SpoolBusy, match="Another process"):
            other.open()
        other.release()
        await values.accept(store)

    def test_nobody_else_may_read_the_spool(self, store: Store, tmp_path: Path) -> None:
        assert store.embedded
        assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
        for file in (tmp_path / "spool").glob("faxgate.db*"):
            assert file.stat().st_mode & 0o077 == 0, file

    def test_a_spool_that_cannot_be_made_is_unavailable(self, tmp_path: Path, clock: Clock) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(SpoolUnavailable, match="cannot be used"):
            Store(tmp_path / "file", now=clock).open()

    def test_a_file_that_is_no_database_is_unavailable(self, tmp_path: Path, clock: Clock) -> None:
        (tmp_path / "faxgate.db").write_bytes(b"not a database" * 100)
        store = Store(tmp_path, now=clock)
        with pytest.raises(SpoolUnavailable, match="cannot be opened"):
            store.open()
        store.release()

    async def test_a_database_that_somebody_locks_is_asked_once_for_all_callers(self, store: Store, tmp_path: Path) -> None:
        await store.write(lambda t: t.db.exec_driver_sql("PRAGMA busy_timeout=200").close())
        other = sqlite3.connect(tmp_path / "spool" / "faxgate.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(values.accept(store) for _ in range(50)), return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < 5, "not one wait for each"
        assert {type(result) for result in results} == {SpoolUnavailable}
        assert len(await store.read(queries.page)) == 0, "reading goes on"
        other.execute("ROLLBACK")
        other.close()
        await values.accept(store)

    async def test_a_full_disk_is_unavailable_and_nothing_is_half_written(self, store: Store) -> None:
        await values.accept(store)
        pages = await store.write(lambda t: t.db.exec_driver_sql("PRAGMA page_count").scalar_one())
        await store.write(lambda t: t.db.exec_driver_sql(f"PRAGMA max_page_count={pages}").close())
        results = await asyncio.gather(*(values.accept(store) for _ in range(100)), return_exceptions=True)
        refused = [result for result in results if isinstance(result, BaseException)]
        assert refused
        assert {type(error) for error in refused} == {SpoolUnavailable}
        await store.write(lambda t: t.db.exec_driver_sql("PRAGMA max_page_count=1000000").close())
        assert len(await store.read(queries.page, limit=1000)) == 1 + 100 - len(refused)
        await values.accept(store)

    async def test_the_shell_shows_times_a_person_can_read(self, store: Store) -> None:
        await values.accept(store)
        shown = await store.read(lambda db: db.exec_driver_sql("SELECT accepted_at FROM submission").scalar_one())
        assert shown == "2026-01-31T09:30:00.000000Z"


def _of_many() -> dict[str, Select[tuple[object, ...]] | Update | Delete]:
    """Statements that are given many ids at once."""
    modules = (events, lines, outbox, queries, steering, steps, submissions, transmissions)
    named = {f"{module.__name__}.{name}": value for module in modules for name, value in vars(module).items()}
    return {
        name: value
        for name, value in named.items()
        if isinstance(value, Select | Update | Delete) and "wanted" in value.compile(dialect=sqlite.dialect()).binds
    }


async def test_what_is_read_together_is_found_in_an_index(stores: list[Store]) -> None:
    statements = _of_many()
    assert len(statements) > 15

    def plans(db: Connection) -> dict[str, list[str]]:
        found = {}
        for name, statement in statements.items():
            compiled = re.sub(r"\(__\[POSTCOMPILE_\w+\]\)", "('opening')", str(statement.compile(db)))
            explained = text("EXPLAIN QUERY PLAN " + compiled.replace("?", "NULL"))
            found[name] = [row.detail for row in db.execute(explained)]
        return found

    for name, plan in (await stores[-1].read(plans)).items():
        assert plan[0].startswith("SEARCH"), (name, plan)
        assert [line for line in plan if line.startswith("SCAN")] == ["SCAN anon_1 VIRTUAL TABLE INDEX 1:"], (name, plan)


async def test_a_committer_that_died_leaves_nobody_waiting(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_batch: object) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(store._committer, "_commit", broken)
    for _ in range(2):  # the one in hand, and who comes later
        with pytest.raises(SpoolUnavailable):
            await asyncio.wait_for(store.write(lambda _t: 1), 20)
    assert store.failed, "the service is to stop"


async def test_a_verb_without_a_name_harms_nobody(store: Store) -> None:
    """The committer sorts verbs by name: one that has none must not stop it, and all that wait with it."""
    assert await asyncio.wait_for(store.write(functools.partial(lambda _t, n: n, n=7)), 20) == 7
    assert await asyncio.wait_for(store.write(lambda _t: 8), 20) == 8

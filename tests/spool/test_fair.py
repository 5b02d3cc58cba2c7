"""Fairness: a hundred thousand waiting faxes of one account do not delay another account's single one, and cost nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, select, text, update

from gateway.errors import Outcome
from gateway.fax import AttemptState, TransmissionId, TransmissionState
from gateway.spool import queries, schema, steps, submissions, transmissions
from gateway.spool.commit import Transaction
from gateway.spool.steps import Claim
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.values import LANE, LEASE

MANY = 100_000
T = TransmissionState
DELIVERED = Next(state=T.DELIVERED, outcome=Outcome.DELIVERED)
_RECURSIVE = "WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < :last) SELECT n FROM counted"
_COUNT = {
    "sqlite": _RECURSIVE,
    "postgresql": "SELECT n FROM generate_series(0, :last) AS counted(n)",
}
_FILL = """
INSERT INTO step (subject, kind, lane, due_at, age, tries, nudged, account_id, band, rank)
SELECT :lane || n, 'send', :lane, :at, :at, 0, :no, 'acc_big', band, band FROM (
    SELECT n, CASE WHEN n < 10 THEN 1 WHEN n < 100 THEN 2 WHEN n < 1000 THEN 3 ELSE 4 END AS band FROM ({}) AS numbers
) AS banded
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    made = Store(tmp_path / "spool", url, now=clock, node="here")
    made.open()
    made.start()
    yield made
    await made.close()


@pytest.fixture
async def embedded(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    made = Store(tmp_path / "embedded", now=clock, node="here")
    made.open()
    made.start()
    yield made
    await made.close()


def fill(t: Transaction, lane: str, many: int = MANY) -> None:
    """A large account's faxes wait in a lane, as if they had been accepted one by one an hour ago."""
    statement = text(_FILL.format(_COUNT[t.db.dialect.name])).bindparams(bindparam("at", type_=schema.Moment()))
    t.db.execute(statement, {"lane": lane, "last": many - 1, "at": t.now - timedelta(hours=1), "no": False})


async def band_of(store: Store, subject: str) -> tuple[str, int]:
    table = schema.step
    row = await store.read(lambda db: db.execute(select(table.c.lane, table.c.band).where(table.c.subject == subject)).one())
    return row.lane, row.band


async def turn_of(store: Store, lane: str, subject: str) -> Claim:
    """Claim eight steps at a time until this one's turn comes: the third time at the latest."""
    for _ in range(3):
        for claim in await store.write(steps.claim, lane, 8, LEASE, steps.uptime()):
            if claim.subject == subject:
                return claim
    raise AssertionError(f"{subject} waits behind the other account's faxes in {lane}")


async def visited(store: Store, work: Callable[[Transaction], Any]) -> int:
    """How many instructions of its machine SQLite runs for something: its cost, whatever else this computer does."""
    steps_of_ten = 0

    def one() -> int:
        nonlocal steps_of_ten
        steps_of_ten += 1
        return 0

    def counted(t: Transaction) -> None:
        connection: Any = t.db.connection.driver_connection
        connection.set_progress_handler(one, 10)
        try:
            work(t)
        finally:
            connection.set_progress_handler(None, 0)

    await store.write(counted)
    return steps_of_ten * 10


async def test_one_fax_of_another_account_does_not_wait_for_a_hundred_thousand(store: Store) -> None:
    many = MANY if store.embedded else 20_000
    for lane in (steps.CONVERT, LANE, steps.MAIL):
        await store.write(fill, lane, many)
    accepted = await store.write(submissions.accept, values.submission("acc_small"), [values.call()])
    fax = accepted.transmissions[0]
    claim = await turn_of(store, steps.CONVERT, fax)
    assert await store.write(transmissions.prepared, claim, document=values.SHA, pages=2, manifest="[]")
    claim = await turn_of(store, LANE, fax)
    assert await store.write(transmissions.open_attempt, claim, values.attempt(fax), 8)
    tried = await values.open_attempt(store, fax)
    assert await store.write(transmissions.submitted, claim, tried, "ref-1", store.now())
    (claim,) = await store.write(steps.claim, LANE, 1, LEASE, steps.uptime())
    assert (claim.subject, claim.kind) == (fax, "track"), "a result is looked at before anything else is sent"
    tried = await values.open_attempt(store, fax)
    assert await store.write(transmissions.end_attempt, claim, tried, values.ending(), DELIVERED, ())
    table = schema.outbox
    report = await store.read(lambda db: db.scalars(select(table.c.id).where(table.c.about == fax)).one())
    await turn_of(store, steps.MAIL, report)


async def test_a_fax_stands_in_the_band_of_its_accounts_backlog_and_so_do_its_following_steps(store: Store) -> None:
    accepted = await store.write(submissions.accept, values.submission("acc_a"), [values.call() for _ in range(12)])
    bands = [(await band_of(store, fax))[1] for fax in accepted.transmissions]
    assert bands == [1] * 10 + [2] * 2
    again = await store.write(submissions.accept, values.submission("acc_a"), [values.call()])
    assert (await band_of(store, again.transmissions[0]))[1] == 2
    stranger = await store.write(submissions.accept, values.submission("acc_b"), [values.call()])
    assert (await band_of(store, stranger.transmissions[0]))[1] == 1
    claims = await store.write(steps.claim, steps.CONVERT, 20, LEASE, steps.uptime())
    (claim,) = (claim for claim in claims if claim.subject == again.transmissions[0])
    assert await store.write(transmissions.prepared, claim, document=values.SHA, pages=2, manifest="[]")
    assert await band_of(store, claim.subject) == (LANE, 2)
    (follower,) = await store.write(steps.claim, LANE, 5, LEASE, steps.uptime())
    assert (follower.band, follower.age, follower.account) == (2, claim.age, "acc_a")
    failed = Next(state=T.FAILED, outcome=Outcome.DISCONNECTED)
    assert await store.write(transmissions.settle, follower, failed)
    (report,) = await store.write(steps.claim, steps.MAIL, 5, LEASE, steps.uptime())
    assert (report.band, report.age, report.account) == (2, claim.age, "acc_a")


@pytest.mark.parametrize(("before", "band"), [(0, 1), (9, 1), (10, 2), (99, 2), (100, 3), (999, 3), (1000, 4), (10**6, 4)])
def test_ten_a_hundred_and_a_thousand_faxes_make_the_bands(before: int, band: int) -> None:
    assert steps.band(before) == band


async def test_nobody_starves(store: Store) -> None:
    """The large account's oldest fax has its turn although small accounts always have one waiting."""
    await store.write(fill, steps.CONVERT, 2000)
    taken = set[int]()
    for n in range(200):
        await store.write(submissions.accept, values.submission(f"acc_{n}"), [values.call()])
        (claim,) = await store.write(steps.claim, steps.CONVERT, 1, LEASE, steps.uptime())
        taken.add(claim.band if claim.account == "acc_big" else 0)
    assert 0 in taken, "the small accounts go on"
    assert taken & {2, 3, 4}, "one claim in eight takes the oldest"


async def test_a_claim_and_an_accept_cost_the_same_however_many_wait(embedded: Store) -> None:
    def claim(t: Transaction) -> None:
        assert len(steps.claim(t, steps.CONVERT, 8, LEASE, 0.0)) == 8

    def accept(t: Transaction) -> None:
        submissions.accept(t, values.submission("acc_big"), [values.call()])

    await embedded.write(fill, steps.CONVERT, 1_000)
    few = [await visited(embedded, work) for work in (claim, accept)]
    await embedded.write(fill, "carrier:main", MANY)
    await embedded.write(lambda t: t.db.execute(update(schema.step).values(lane=steps.CONVERT)))
    many = [await visited(embedded, work) for work in (claim, accept)]
    for before, now in zip(few, many, strict=True):
        assert now < 1.5 * before + 200, (few, many)


async def test_the_index_gives_the_steps_in_their_turn(embedded: Store) -> None:
    def plan(db: Connection) -> list[str]:
        statement = steps._ANY.compile(db.engine)
        found = db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(1 for _ in statement.positiontup or ()))
        return [row[3] for row in found]

    lines = await embedded.read(plan)
    assert sum("ix_step_due (lane=? AND rank=? AND due_at<?)" in line for line in lines) == 5
    assert not any("SCAN step" in line or "TEMP B-TREE" in line for line in lines), lines


async def test_while_a_carrier_has_no_call_left_its_lane_is_only_looked_at(store: Store) -> None:
    claim, tried = await _opened(store, calls=1)
    waiting = await values.ready(store)
    await store.write(transmissions.submitted, claim, tried, "ref-1", store.now())
    claims = await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), 1)
    assert [(one.subject, one.kind) for one in claims] == [(tried.transmission, "track")]
    await store.write(steps.nudge, waiting)
    (asked,) = await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), 1)
    assert asked.subject == waiting, "a person's wish needs no call"
    await store.write(steps.put_back, asked)
    assert await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), 1) == []
    tried = await values.open_attempt(store, tried.transmission)
    store.woken(LANE).clear()
    assert await store.write(transmissions.end_attempt, claims[0], tried, values.ending(), DELIVERED, ())
    assert store.woken(LANE).is_set()
    (onward,) = await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), 1)
    assert onward.subject == waiting


async def test_a_number_is_called_by_one_fax_at_a_time_and_the_next_one_is_due_at_once(store: Store) -> None:
    claim, tried = await _opened(store, calls=8)
    second = await values.ready(store)
    (mine,) = await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), 8)
    assert not await store.write(transmissions.open_attempt, mine, values.attempt(second), 8)
    case = await values.case(store, second)
    assert (case.transmission.state, case.attempts) == (T.READY, ())
    assert await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), 8) == [], "nothing to be done till then"
    failed = values.ending(AttemptState.FAILED, Outcome.DISCONNECTED)
    following = Next(state=T.FAILED, outcome=Outcome.DISCONNECTED)
    assert await store.write(transmissions.end_attempt, claim, tried, failed, following, ())
    (mine,) = await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), 8)
    assert (mine.subject, mine.tries) == (second, 1)
    assert await store.write(transmissions.open_attempt, mine, values.attempt(second), 8)


async def test_a_held_fax_keeps_neither_its_number_nor_its_call(store: Store) -> None:
    claim, tried = await _opened(store, calls=1)
    await store.write(transmissions.uncertain, claim, tried, "lost", store.now())
    (claim,) = await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), 1)
    assert await store.write(transmissions.settle, claim, Next(state=T.HELD, outcome=Outcome.UNKNOWN, reason="who knows"))
    assert (await values.open_attempt(store, tried.transmission)).state is AttemptState.UNCERTAIN
    other = await values.ready(store)
    (mine,) = await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), 1)
    assert await store.write(transmissions.open_attempt, mine, values.attempt(other), 1)


async def _opened(store: Store, calls: int) -> tuple[Claim, Any]:
    """A fax that is being sent, with its claim, to the number that all of these are for."""
    fax = await values.ready(store)
    (claim,) = await store.write(steps.claim, LANE, 8, LEASE, steps.uptime(), calls)
    tried = values.attempt(fax)
    assert await store.write(transmissions.open_attempt, claim, tried, calls)
    return claim, tried


async def test_a_late_page_of_the_queue_costs_what_the_first_does(embedded: Store) -> None:
    def more(t: Transaction) -> None:
        t.db.execute(text(_FAXES), {"last": MANY - 1})

    await embedded.write(more)
    first = await embedded.read(queries.page, limit=50)
    middle = await embedded.read(queries.find, "tx_0050000")
    before = await embedded.read(queries.place, TransmissionId(middle[0]))
    unfinished = [T.ACCEPTED, T.READY, T.HELD]
    for states in ((), unfinished):
        costs = []
        for place in (None, before):

            def page(t: Transaction, place: Any = place, states: Any = states) -> None:
                assert len(queries.page(t.db, states=states, before=place, limit=50)) == 50

            costs.append(await visited(embedded, page))
        assert costs[1] < 1.5 * costs[0] + 200, costs
        assert costs[0] < 100_000, "and not every fax is read"
    late = await embedded.read(queries.page, before=before, limit=50)
    assert [fax.id for fax in late] == [f"tx_{n:07}" for n in range(49_999, 49_949, -1)]
    assert first[0].id == f"tx_{MANY - 1:07}"
    ready = await embedded.read(queries.page, states=unfinished, before=before, limit=3)
    assert [(fax.id, fax.state) for fax in ready] == [
        ("tx_0049999", T.ACCEPTED), ("tx_0049998", T.READY), ("tx_0049997", T.HELD),
    ]  # fmt: skip


_FAXES = f"""
INSERT INTO transmission (id, submission_id, account_id, number, sub_address, carrier, caller, state, reason, pages, pages_sent,
    attempts, manifest, accepted_at, updated_at)
SELECT printf('tx_%07d', n), 's', 'a', '+14155550123', '', 'main', '',
    CASE n % 5 WHEN 4 THEN 'accepted' WHEN 3 THEN 'ready' WHEN 2 THEN 'held' ELSE 'delivered' END, '', 1, 0, 0, '',
    strftime('%Y-%m-%dT%H:%M:%S.000000Z', '2026-01-01', (n / 4) || ' seconds'), '2026-01-01T00:00:00.000000Z'
FROM ({_RECURSIVE})
"""

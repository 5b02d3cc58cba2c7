"""Limits, the do-not-fax list and approvals in the spool, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import delete, func, select

from gateway.errors import GatewayError, NotAdmitted, Outcome, OverLimit
from gateway.fax import AccountId, AttemptState, TransmissionId, TransmissionState
from gateway.spool import approvals, blocks, schema, steps, submissions, transmissions, usage
from gateway.spool.approvals import FREE, Toll
from gateway.spool.commit import Transaction
from gateway.spool.steps import Claim
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from gateway.spool.usage import Allowance
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.clock import DatabaseClock
from tests.spool.values import AT, LANE, LEASE, NUMBER, SHA

T = TransmissionState
OFFICE = AccountId("acc_1")
FAXES = Allowance(key="acc_1 faxes hour 1", most=3, ends_at=AT + timedelta(hours=1), text="3 faxes in one hour.")
PAGES = Allowance(key="acc_1 pages day 1", most=10, ends_at=AT + timedelta(days=1), text="10 pages in one day.")
MONEY = Allowance(key="acc_1 money month 1", most=100, ends_at=AT + timedelta(days=31), text="Spent.", for_good=True)
ASKS = Toll(reasons=("2 pages, more than 1",), approver="boss@example.com", wait=timedelta(days=3))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def url(request: pytest.FixtureRequest) -> str:
    """ "" = SQLite."""
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else ""


@pytest.fixture
def clock(url: str) -> Clock:
    return DatabaseClock(url) if url else Clock()


@pytest.fixture
async def nodes(url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[list[Store]]:
    """Two on PostgreSQL, one on SQLite: each writes in a thread of its own."""
    made = [Store(tmp_path / f"spool{n}", url, now=clock, node=f"node {n}") for n in range(2 if url else 1)]
    for one in made:
        one.open()
        one.start()
    yield made
    for one in made:
        await one.close()


@pytest.fixture
def store(nodes: list[Store]) -> Store:
    return nodes[0]


async def accept(store: Store, n: int = 0, *counted: Allowance, calls: int = 1) -> list[TransmissionId]:
    called = [replace(values.call(f"+1415555{n:02}{one:02}"), counted=counted) for one in range(calls)]
    return list((await store.write(submissions.accept, values.submission(), called)).transmissions)


async def claimed(store: Store, lane: str = steps.CONVERT) -> Claim:
    return await values.claim(store, lane)


async def prepared(store: Store, toll: Toll = FREE, pages: int = 2) -> TransmissionState | None:
    """The one fax that is to be converted has so many pages."""
    claim = await claimed(store)
    return await store.write(transmissions.prepared, claim, document=SHA, pages=pages, manifest="[]", toll=toll)


async def used(store: Store, *allowances: Allowance) -> list[int]:
    found = await store.read(usage.used, [one.key for one in allowances])
    return [found.get(one.key, 0) for one in allowances]


def emptied(t: Transaction) -> None:
    for table in (schema.usage, schema.transmission, schema.submission, schema.recipient, schema.step, schema.history):
        t.db.execute(delete(table))


async def test_aut_11_what_is_over_a_limit_is_not_stored(store: Store) -> None:
    for n in range(3):
        await accept(store, n, FAXES)
    with pytest.raises(OverLimit, match="3 faxes") as caught:
        await accept(store, 3, FAXES)
    assert caught.value.reply == "450 4.7.0"
    assert await used(store, FAXES) == [3]
    assert await store.read(lambda db: db.scalar(select(func.count()).select_from(schema.transmission))) == 3


async def test_what_can_never_pass_is_refused_for_good(store: Store) -> None:
    with pytest.raises(NotAdmitted) as caught:
        await accept(store, 0, FAXES, calls=4)
    assert caught.value.reply == "550 5.7.1"
    spent = replace(MONEY, most=0)
    with pytest.raises(NotAdmitted, match="Spent"):
        await accept(store, 0, spent)
    assert await used(store, FAXES, spent) == [0, 0]


async def test_a_repeated_mail_is_not_counted_again(store: Store) -> None:
    call = replace(values.call(NUMBER, key="k" * 64), counted=(FAXES,))
    for _ in range(5):
        await store.write(submissions.accept, values.submission(), [call])
    assert await used(store, FAXES) == [1]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    most=some.integers(0, 12),
    mails=some.lists(some.integers(1, 3), min_size=1, max_size=14),
    pages=some.integers(0, 25),
)
async def test_mails_at_the_same_moment_never_pass_a_limit_together(
    nodes: list[Store], most: int, mails: list[int], pages: int
) -> None:
    """Accepted and converted on all nodes at once: what is counted is what was stored, and never more than the limit."""
    await nodes[0].write(emptied)
    faxes, sheets = replace(FAXES, most=most), replace(PAGES, most=pages)

    async def one(n: int, calls: int) -> int:
        try:
            return len(await accept(nodes[n % len(nodes)], n, faxes, calls=calls))
        except GatewayError:
            return 0

    stored = sum(await asyncio.gather(*(one(n, calls) for n, calls in enumerate(mails))))
    assert await used(nodes[0], faxes) == [stored]
    assert stored <= most
    assert stored > 0 or min(mails) > most, "what fits is taken"
    claims = await nodes[0].write(steps.claim, steps.CONVERT, 100, LEASE, steps.uptime())
    became = await asyncio.gather(
        *(
            nodes[n % len(nodes)].write(
                transmissions.prepared, claim, document=SHA, pages=2, manifest="[]", toll=Toll(counts=((sheets, 2),))
            )
            for n, claim in enumerate(claims)
        )
    )
    assert became.count(T.READY) == min(len(claims), pages // 2)
    assert became.count(T.FAILED) == len(claims) - became.count(T.READY)
    assert await used(nodes[0], sheets) == [2 * became.count(T.READY)]


async def test_of_several_limits_all_count_or_none(store: Store) -> None:
    await accept(store)
    assert await prepared(store, Toll(counts=((PAGES, 2), (replace(MONEY, most=1), 2)))) is T.FAILED
    assert await used(store, PAGES, MONEY) == [0, 0]
    await accept(store, 1)
    assert await prepared(store, Toll(counts=((PAGES, 2), (MONEY, 18)))) is T.READY
    assert await used(store, PAGES, MONEY) == [2, 18]


@pytest.mark.parametrize(
    ("following", "left"),
    [
        (Next(state=T.CANCELLED, outcome=Outcome.CANCELLED), [0, 0]),
        (Next(state=T.FAILED, outcome=Outcome.GAVE_UP), [0, 0]),
        (Next(state=T.HELD), [2, 18]),
    ],
)
async def test_what_is_not_delivered_gives_its_pages_and_money_back(store: Store, following: Next, left: list[int]) -> None:
    await accept(store)
    await prepared(store, Toll(counts=((PAGES, 2), (MONEY, 18))))
    assert await store.write(transmissions.settle, await claimed(store, LANE), following)
    assert await used(store, PAGES, MONEY) == left


async def test_a_delivered_fax_keeps_what_it_counted(store: Store) -> None:
    (fax,) = await accept(store)
    await prepared(store, Toll(counts=((PAGES, 2),)))
    claim, attempt = await claimed(store, LANE), values.attempt(fax)
    assert await store.write(transmissions.open_attempt, claim, attempt, None)
    assert await store.write(transmissions.submitted, claim, attempt, attempt.id, store.now())
    claim, attempt = await claimed(store, LANE), await values.open_attempt(store, fax)
    ending = values.ending(AttemptState.DELIVERED, Outcome.DELIVERED)
    done = Next(state=T.DELIVERED, outcome=Outcome.DELIVERED, pages_sent=2)
    assert await store.write(transmissions.end_attempt, claim, attempt, ending, done, ())
    assert await used(store, PAGES) == [2]


async def test_old_windows_are_forgotten(store: Store) -> None:
    await accept(store, 0, FAXES)
    assert await store.write(usage.forget, FAXES.ends_at) == 0
    assert await store.write(usage.forget, FAXES.ends_at + timedelta(seconds=1)) == 1
    assert await used(store, FAXES) == [0]


@pytest.mark.parametrize("whose", [blocks.EVERYBODY, OFFICE])
async def test_a_number_blocked_after_the_mail_was_accepted_is_not_dialled(store: Store, whose: AccountId) -> None:
    fax = await values.ready(store)
    await store.write(blocks.add, NUMBER, whose, "asked us not to", "ann")
    assert not await store.write(transmissions.open_attempt, await claimed(store, LANE), values.attempt(fax), None)
    case = await values.case(store, fax)
    assert (case.transmission.state, case.transmission.outcome) == (T.FAILED, Outcome.RECIPIENT_BLOCKED)
    assert case.attempts == ()


async def test_another_accounts_block_stops_nothing(store: Store) -> None:
    fax = await values.ready(store)
    await store.write(blocks.add, NUMBER, AccountId("acc_2"), "", "ann")
    await store.write(blocks.add, NUMBER, blocks.EVERYBODY, "", "ann")
    assert await store.write(blocks.remove, NUMBER, blocks.EVERYBODY)
    assert not await store.write(blocks.remove, NUMBER, blocks.EVERYBODY)
    assert [block.account for block in await store.read(blocks.every)] == ["acc_2"]
    assert await store.write(transmissions.open_attempt, await claimed(store, LANE), values.attempt(fax), None)


async def test_a_fax_that_must_be_approved_is_held_and_two_mails_are_owed(store: Store) -> None:
    (fax,) = await accept(store)
    assert await prepared(store, replace(ASKS, counts=((PAGES, 2),))) is T.HELD
    case = await values.case(store, fax)
    assert case.transmission.reason == "approval: 2 pages, more than 1"
    assert case.transmission.due_at is not None
    assert timedelta(days=2) < case.transmission.due_at - store.now() <= timedelta(days=3)
    approval = await store.read(approvals.of, fax)
    assert approval is not None
    assert (approval.approver, approval.decided_at, approval.verdict) == ("boss@example.com", None, "")
    owed = await store.read(lambda db: db.execute(select(schema.outbox.c.kind, schema.outbox.c.recipient)).all())
    assert sorted(map(tuple, owed)) == [("approval", "boss@example.com"), ("held", "")]
    assert await used(store, PAGES) == [2]
    assert await values.claim_or_none(store, LANE) is None, "nothing is dialled"


async def test_what_is_over_a_limit_and_approved_counts_all_the_same(store: Store) -> None:
    (fax,) = await accept(store)
    counts = ((replace(PAGES, most=1), 2),)
    assert await prepared(store, Toll(counts=counts, approver="boss@example.com", wait=timedelta(days=3))) is T.HELD
    assert await used(store, PAGES) == [0]
    await store.write(lambda t: steps.nudge(t, fax))
    following = Next(state=T.READY, reason="Approved by boss@example.com.")
    assert await store.write(transmissions.approved, await claimed(store), following, counts)
    assert await used(store, PAGES) == [2]
    approval = await store.read(approvals.of, fax)
    assert approval is not None
    assert (approval.verdict, approval.words) == ("approved", "Approved by boss@example.com.")
    assert (await values.claim(store, LANE)).subject == fax

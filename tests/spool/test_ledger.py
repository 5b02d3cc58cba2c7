"""Money in the spool, on both databases: nothing is sent unpaid, nothing is booked twice, and the book balances."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import Connection, select

from gateway.errors import NoCredit, Outcome
from gateway.fax import AccountId, Attempt, AttemptState, TransmissionId, TransmissionState
from gateway.spool import ledger, queries, schema, steering, steps, submissions, transmissions
from gateway.spool.ledger import Credit, Kind
from gateway.spool.steps import Claim
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.clock import DatabaseClock
from tests.spool.values import LANE, LEASE, SHA

T, A = TransmissionState, AttemptState
WHO = AccountId("acc_1")
PRICE = 90_000  # nine cents
DELIVERED = Next(state=T.DELIVERED, outcome=Outcome.DELIVERED, pages_sent=2)
FAILED = Next(state=T.FAILED, outcome=Outcome.BAD_NUMBER)
BUSY = Next(state=T.DEFERRED, outcome=Outcome.BUSY)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def url(request: pytest.FixtureRequest) -> str:
    """ "" = SQLite."""
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else ""


@pytest.fixture
def clock(url: str) -> Clock:
    return DatabaseClock(url) if url else Clock()


@pytest.fixture
async def store(url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    made = Store(tmp_path / "spool", url, now=clock, node="here")
    made.open()
    made.start()
    yield made
    assert await made.read(ledger.imbalances) == [], "whatever was done, the book balances"
    await made.close()


def number(n: int) -> str:
    return f"+1415555{n:04}"


async def accepted(store: Store, n: int = 0, *, price: int | None = PRICE, pages: int | None = None) -> TransmissionId:
    done = await store.write(
        submissions.accept, values.submission(), [replace(values.call(number(n)), price=price, pages=pages)]
    )
    return done.transmissions[0]


async def ready(store: Store, *numbers: int, price: int | None = PRICE) -> list[TransmissionId]:
    """Faxes of two pages that could be sent now."""
    faxes = [await accepted(store, n, price=price) for n in numbers or (0,)]
    for claim in await store.write(steps.claim, steps.CONVERT, 100, LEASE, steps.uptime()):
        assert await store.write(transmissions.prepared, claim, document=SHA, pages=2, manifest="[]")
    return faxes


async def called(store: Store, fax: TransmissionId, ending: AttemptState, following: Next) -> bool:
    """One attempt from its begin to its end; False: it was not made."""
    (claim,) = [one for one in await store.write(steps.claim, LANE, 100, LEASE, steps.uptime()) if one.subject == fax]
    attempt = values.attempt(fax, n=len((await values.case(store, fax)).attempts) + 1)
    if not await store.write(transmissions.open_attempt, claim, attempt, None):
        return False
    claim, attempt = await taken(store, claim, attempt)
    return await store.write(transmissions.end_attempt, claim, attempt, values.ending(ending, following.outcome), following, ())


async def taken(store: Store, claim: Claim, attempt: Attempt) -> tuple[Claim, Attempt]:
    """The carrier has it; a fresh claim."""
    assert await store.write(transmissions.submitted, claim, attempt, attempt.id, store.now())
    return await values.claim(store), await values.open_attempt(store, attempt.transmission)


def credit(store: Store, amount: int, about: str = "payment 1") -> Awaitable[bool]:
    return store.write(ledger.credit, WHO, amount, about)


async def purse(store: Store) -> tuple[int, int]:
    of = await store.read(ledger.of, WHO)
    return of.available, of.held


async def test_a_delivered_fax_costs_its_confirmed_pages(store: Store) -> None:
    await credit(store, 1_000_000)
    (fax,) = await ready(store)
    assert await called(store, fax, A.DELIVERED, DELIVERED)
    assert await purse(store) == (820_000, 0)
    done = (await values.case(store, fax)).transmission
    assert (done.price, done.held, done.cost) == (PRICE, 180_000, 180_000)
    booked = await store.read(ledger.entries, WHO)
    assert [(one.kind, one.amount, one.about) for one in reversed(booked)] == [
        (Kind.CREDIT, 1_000_000, "payment 1"),
        (Kind.HOLD, -180_000, fax),
        (Kind.SETTLE, 0, fax),
    ]


async def test_money_is_set_aside_before_the_call_and_given_back_after_a_failure(store: Store) -> None:
    await credit(store, 1_000_000)
    (fax,) = await ready(store)
    claim, attempt = await values.claim(store), values.attempt(fax)
    assert await store.write(transmissions.open_attempt, claim, attempt, None)
    assert await purse(store) == (820_000, 180_000)
    ending = values.ending(A.FAILED, Outcome.BAD_NUMBER)
    assert await store.write(transmissions.end_attempt, claim, attempt, ending, FAILED, ())
    assert await purse(store) == (1_000_000, 0)
    assert (await values.case(store, fax)).transmission.cost == 0


async def test_a_fax_that_is_dialled_again_is_paid_once(store: Store, clock: Clock) -> None:
    await credit(store, 180_000)
    (fax,) = await ready(store)
    assert await called(store, fax, A.FAILED, BUSY)
    assert await purse(store) == (0, 180_000), "what is dialled again keeps its money"
    assert await called(store, fax, A.DELIVERED, DELIVERED)
    assert await purse(store) == (0, 0)


async def test_without_credit_nothing_is_dialled_and_the_fax_waits(store: Store) -> None:
    await credit(store, 179_999)
    (fax,) = await ready(store)
    assert not await called(store, fax, A.DELIVERED, DELIVERED)
    case = await values.case(store, fax)
    assert (case.transmission.state, case.transmission.outcome, case.attempts) == (T.HELD, Outcome.NO_CREDIT, ())
    assert "0.18 EUR" in case.transmission.reason
    assert await store.read(ledger.unpaid, WHO) == [fax]
    assert await purse(store) == (179_999, 0)


async def test_an_account_that_nothing_was_ever_paid_into_sends_nothing(store: Store) -> None:
    (fax,) = await ready(store)
    assert not await called(store, fax, A.DELIVERED, DELIVERED)
    assert (await values.case(store, fax)).transmission.state is T.HELD


async def test_an_account_that_does_not_pay_in_advance_needs_none(store: Store) -> None:
    (fax,) = await ready(store, price=None)
    assert await called(store, fax, A.DELIVERED, DELIVERED)
    done = (await values.case(store, fax)).transmission
    assert (done.held, done.cost) == (None, None)
    assert await store.read(ledger.entries, WHO) == []


async def test_two_faxes_do_not_spend_the_same_money(store: Store) -> None:
    await credit(store, 200_000)
    faxes = await ready(store, 1, 2, 3)
    claims = await store.write(steps.claim, LANE, 10, LEASE, steps.uptime())
    opened = await asyncio.gather(
        *(
            store.write(transmissions.open_attempt, claim, values.attempt(TransmissionId(claim.subject)), None)
            for claim in claims
        )
    )
    assert sorted(opened) == [False, False, True]
    assert len(await store.read(ledger.unpaid, WHO)) == len(faxes) - 1
    assert await purse(store) == (20_000, 180_000)


async def test_a_payment_is_booked_once(store: Store) -> None:
    assert sorted(await asyncio.gather(credit(store, 500_000), credit(store, 500_000))) == [False, True]
    assert not await credit(store, 500_000)
    assert await credit(store, 500_000, "payment 2")
    assert await purse(store) == (1_000_000, 0)


async def test_a_debit_takes_no_more_than_there_is(store: Store) -> None:
    await credit(store, 300_000)
    assert not await store.write(ledger.credit, WHO, -300_001, "out 1", kind=Kind.DEBIT)
    assert await store.write(ledger.credit, WHO, -300_000, "out 2", kind=Kind.DEBIT)
    assert await store.read(ledger.of, WHO) == Credit(available=0, held=0)


async def test_credit_sends_what_waited_less_than_two_hours_and_can_be_paid(store: Store, clock: Clock) -> None:
    (old,) = await ready(store, 1)
    await called(store, old, A.DELIVERED, DELIVERED)
    clock.forward(3 * 3600)
    young = list[TransmissionId]()
    for n in (2, 3):
        young += await ready(store, n)
        await called(store, young[-1], A.DELIVERED, DELIVERED)
    assert await store.read(ledger.unpaid, WHO) == [old, *young]
    await credit(store, 200_000)
    wished = {fax: [wish.verb for wish in await store.read(steering.pending, fax)] for fax in (old, *young)}
    assert wished == {old: [], young[0]: ["release"], young[1]: []}, "the money does for one"
    assert await store.read(ledger.affordable, WHO, {old, young[1]}) == [old], "on demand, whatever its age"


async def test_known_pages_are_paid_with_the_acceptance_or_nothing_is_stored(store: Store) -> None:
    await credit(store, 200_000)
    fax = await accepted(store, 1, pages=2)
    assert await purse(store) == (20_000, 180_000)
    with pytest.raises(NoCredit):
        await accepted(store, 2, pages=1)
    assert await store.read(lambda db: list(db.scalars(select(schema.transmission.c.id)))) == [fax]


async def test_a_job_whose_last_recipient_cannot_be_paid_stores_none(store: Store) -> None:
    await credit(store, 200_000)
    calls = [replace(values.call(number(n)), price=PRICE, pages=1) for n in range(3)]
    with pytest.raises(NoCredit):
        await store.write(submissions.accept, values.submission(), calls)
    assert await purse(store) == (200_000, 0)


async def test_a_key_of_a_refused_job_is_not_remembered(store: Store) -> None:
    call = replace(values.call(number(1), "key"), price=PRICE, pages=1)
    with pytest.raises(NoCredit):
        await store.write(submissions.accept, values.submission(), [call])
    await credit(store, PRICE)
    done = await store.write(submissions.accept, values.submission(), [call])
    assert not done.repeated
    again = await store.write(submissions.accept, values.submission(), [call])
    assert again.repeated == done.transmissions
    assert await purse(store) == (0, PRICE), "a repetition pays nothing"


async def test_pages_that_came_to_it_are_paid_before_the_call(store: Store) -> None:
    await credit(store, 200_000)
    fax = await accepted(store, pages=1)
    (claim,) = await store.write(steps.claim, steps.CONVERT, 1, LEASE, steps.uptime())
    assert await store.write(transmissions.prepared, claim, document=SHA, pages=2, manifest="[]")
    assert await purse(store) == (110_000, 90_000)
    claim, attempt = await values.claim(store), values.attempt(fax)
    assert await store.write(transmissions.open_attempt, claim, attempt, None)
    assert await purse(store) == (20_000, 180_000)


async def test_a_fax_that_a_person_cancels_is_not_paid(store: Store) -> None:
    await credit(store, 200_000)
    await accepted(store, pages=2)
    (claim,) = await store.write(steps.claim, steps.CONVERT, 1, LEASE, steps.uptime())
    cancelled = Next(state=T.CANCELLED, outcome=Outcome.CANCELLED)
    assert await store.write(transmissions.settle, claim, cancelled)
    assert await purse(store) == (200_000, 0)


async def test_more_pages_than_were_paid_for_cost_no_more(store: Store) -> None:
    await credit(store, 180_000)
    (fax,) = await ready(store)
    assert await called(store, fax, A.DELIVERED, replace(DELIVERED, pages_sent=3))
    assert (await values.case(store, fax)).transmission.cost == 180_000


async def test_a_lost_claim_books_nothing(store: Store) -> None:
    await credit(store, 180_000)
    (fax,) = await ready(store)
    claim, attempt = await values.claim(store), values.attempt(fax)
    assert await store.write(transmissions.open_attempt, claim, attempt, None)
    claim, attempt = await taken(store, claim, attempt)
    gone = replace(claim, token="another's")
    ending = values.ending(A.DELIVERED)
    assert not await store.write(transmissions.end_attempt, gone, attempt, ending, DELIVERED, ())
    assert await purse(store) == (0, 180_000)
    assert await store.write(transmissions.end_attempt, claim, attempt, ending, DELIVERED, ())
    assert not await store.write(transmissions.end_attempt, claim, attempt, ending, DELIVERED, ())
    assert await purse(store) == (0, 0)


async def one_step(store: Store, dice: random.Random) -> None:
    """Whatever is due next in a lane, with any result."""
    lane = dice.choice([steps.CONVERT, LANE])
    for claim in await store.write(steps.claim, lane, dice.randint(1, 3), LEASE, steps.uptime()):
        fax = TransmissionId(claim.subject)
        case = await store.read(queries.case, fax)
        assert case is not None
        if lane == steps.CONVERT:
            await store.write(transmissions.prepared, claim, document=SHA, pages=dice.randint(1, 4), manifest="[]")
            continue
        if case.transmission.state is T.HELD:
            await store.write(transmissions.settle, claim, Next(state=dice.choice([T.READY, T.CANCELLED])))
            continue
        if (attempt := case.open_attempt) is None:
            attempt = values.attempt(fax, n=len(case.attempts) + 1)
            if await store.write(transmissions.open_attempt, claim, attempt, dice.choice([None, 4])):
                await store.write(transmissions.submitted, claim, attempt, attempt.id, store.now())
            continue
        state, following = dice.choice([(A.DELIVERED, DELIVERED), (A.FAILED, FAILED), (A.FAILED, BUSY)])
        following = replace(following, pages_sent=case.transmission.pages if state is A.DELIVERED else 0)
        ending = values.ending(state, following.outcome)
        await store.write(transmissions.end_attempt, claim, attempt, ending, following, ())


async def worker(store: Store, seed: int, rounds: int) -> None:
    dice = random.Random(seed)
    for n in range(rounds):
        try:
            match dice.randint(0, 4):
                case 0:
                    await store.write(ledger.credit, WHO, dice.randint(1, 6) * 50_000, f"paid {seed} {n}")
                case 1 | 2:
                    await accepted(store, dice.randint(0, 9999), pages=dice.choice([None, 1, 2]))
                case _:
                    await one_step(store, dice)
        except NoCredit:
            continue


async def unpaid_calls(store: Store) -> list[str]:
    """Faxes that were dialled without their money."""

    def found(db: Connection) -> list[str]:
        of = schema.transmission.c
        tried = select(of.id).join(schema.attempt, schema.attempt.c.transmission_id == of.id)
        return list(db.scalars(tried.where(of.held.is_(None) | (of.held < of.price * of.pages))))

    return await store.read(found)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds=some.lists(some.integers(0, 2**32), min_size=3, max_size=5, unique=True))
async def test_whatever_happens_at_once_the_book_balances_and_no_call_is_unpaid(store: Store, seeds: list[int]) -> None:
    await asyncio.gather(*(worker(store, seed, 8) for seed in seeds))
    assert await store.read(ledger.imbalances) == []
    assert await unpaid_calls(store) == []


@pytest.mark.needs("postgres")
async def test_two_nodes_that_want_the_last_money_do_not_both_get_it(postgres_url: str, tmp_path: Path) -> None:
    clock = DatabaseClock(postgres_url)
    nodes = [Store(tmp_path / name, postgres_url, now=clock, node=name) for name in ("one", "two")]
    for node in nodes:
        node.open()
        node.start()
    try:
        await credit(nodes[0], 10 * PRICE)

        async def take(node: Store, n: int) -> int:
            try:
                await accepted(node, n, pages=1)
            except NoCredit:
                return 0
            return 1

        taken = await asyncio.gather(*(take(nodes[n % 2], n) for n in range(30)))
        assert sum(taken) == 10
        await asyncio.gather(*(worker(nodes[n % 2], n, 15) for n in range(6)))
        assert await nodes[1].read(ledger.imbalances) == []
        assert await unpaid_calls(nodes[0]) == []
    finally:
        for node in nodes:
            await node.close()

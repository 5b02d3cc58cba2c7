"""Mails that were refused or came back, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.fax import InboundId, InboundState, OutboxId
from gateway.spool import inbounds, outbox, queries, steps
from gateway.spool.commit import Transaction
from gateway.spool.steps import Claim
from gateway.spool.store import Store
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.values import SHA

MAILBOXES = ("a@example.com", "b@example.com")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    url = str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else ""
    made = Store(tmp_path / "spool", url, now=Clock())
    made.open()
    made.start()
    yield made
    await made.close()


@pytest.fixture
async def fax(store: Store) -> InboundId:
    """A received fax that is owed to two mailboxes."""
    await store.write(inbounds.announced, "main", values.news())
    mine = await values.claim(store, steps.RECEIVE)
    made = inbounds.Fetched(document=SHA, original=SHA, pages=2)
    await store.write(inbounds.fetched, mine, made, mailboxes=MAILBOXES)
    return InboundId(mine.subject)


async def mails(store: Store) -> list[Claim]:
    """The mails that are due, the one to the first mailbox first."""
    found = await store.write(steps.claim, steps.MAIL, 9, 60.0, 0.0)
    rows = {claim.subject: await store.read(outbox.get, claim.subject) for claim in found}
    received = [(row.recipient, claim) for claim in found if (row := rows[claim.subject]) and row.kind == outbox.RECEIVED]
    return [claim for _, claim in sorted(received, key=lambda pair: pair[0])]


async def ends(store: Store, claim: Claim, fax: InboundId, state: str) -> bool:
    """As `work.tell` notes it."""

    def record(t: Transaction) -> bool:
        assert outbox.settled(t, claim, state, "said")
        if state == outbox.GIVEN_UP:
            inbounds.undeliverable(t, fax, "said")
            return False
        return inbounds.mailed(t, fax)

    return await store.write(record)


async def state(store: Store, fax: InboundId) -> tuple[InboundState, str]:
    found = await store.read(inbounds.get, fax)
    assert found is not None
    return found.state, found.reason


async def test_a_mail_that_comes_back_makes_the_fax_undelivered_and_alarms_once(store: Store, fax: InboundId) -> None:
    first, second = await mails(store)
    assert [await ends(store, one, fax, outbox.SENT) for one in (first, second)] == [False, True]
    for _ in range(2):
        await store.write(inbounds.returned, OutboxId(first.subject), "550 nobody")
    assert await state(store, fax) == (InboundState.UNDELIVERED, "a@example.com: 550 nobody")
    told = [one.about for one in await store.read(outbox.mails) if one.kind == outbox.ALARM]
    assert told == [f"{first.subject}#back"]
    await store.write(inbounds.returned, OutboxId(second.subject), "550 nobody either")
    assert len([one for one in await store.read(outbox.mails) if one.kind == outbox.ALARM]) == 2, "another mailbox is news"
    whats = [entry.what for entry in await store.read(queries.history, fax)]
    assert whats.count("undelivered") == 1
    assert whats.count("mail came back") == 2


async def test_one_that_came_back_before_the_last_was_sent_is_not_forgotten(store: Store, fax: InboundId) -> None:
    first, second = await mails(store)
    await ends(store, first, fax, outbox.SENT)
    assert await store.write(inbounds.returned, OutboxId(first.subject), "550 nobody")
    assert (await state(store, fax))[0] is InboundState.FETCHED
    assert await ends(store, second, fax, outbox.SENT), "the carrier's copy may go: ours is here"
    assert await state(store, fax) == (InboundState.UNDELIVERED, "550 nobody")


async def test_one_that_comes_back_before_its_own_answer_is_noted(store: Store, fax: InboundId) -> None:
    first, second = await mails(store)
    await ends(store, second, fax, outbox.SENT)
    await store.write(inbounds.returned, OutboxId(first.subject), "550 nobody")
    assert await ends(store, first, fax, outbox.SENT)
    assert (await state(store, fax))[0] is InboundState.UNDELIVERED


async def test_a_mail_that_came_back_is_mailed_again_and_the_fax_is_mailed_then(store: Store, fax: InboundId) -> None:
    first, second = await mails(store)
    for one in (first, second):
        await ends(store, one, fax, outbox.SENT)
    assert not await store.write(inbounds.mailed_again, OutboxId(first.subject), "ann"), "it has arrived"
    await store.write(inbounds.returned, OutboxId(first.subject), "550 nobody")
    assert await store.write(inbounds.mailed_again, OutboxId(first.subject), "ann")
    assert await state(store, fax) == (InboundState.FETCHED, "")
    (again,) = await mails(store)
    assert again.subject == first.subject
    assert await ends(store, again, fax, outbox.SENT)
    assert (await state(store, fax))[0] is InboundState.MAILED


async def test_of_two_that_were_given_up_both_must_arrive(store: Store, fax: InboundId) -> None:
    first, second = await mails(store)
    for one in (first, second):
        await ends(store, one, fax, outbox.GIVEN_UP)
    assert (await state(store, fax))[0] is InboundState.HELD
    assert await store.write(inbounds.mailed_again, OutboxId(first.subject), "ann")
    (again,) = await mails(store)
    assert not await ends(store, again, fax, outbox.SENT)
    assert (await state(store, fax))[0] is InboundState.HELD, "the other mailbox has nothing"
    assert await store.write(inbounds.mailed_again, OutboxId(second.subject), "ann")
    (again,) = await mails(store)
    assert await ends(store, again, fax, outbox.SENT)
    assert (await state(store, fax))[0] is InboundState.MAILED


async def test_what_waits_and_what_is_about_a_fax_is_listed(store: Store, fax: InboundId) -> None:
    assert (await store.read(outbox.waiting))[0] == 2
    first, second = await mails(store)
    await ends(store, first, fax, outbox.SENT)
    assert [one.id for one in await store.read(outbox.mails)] == [second.subject]
    assert {one.id for one in await store.read(outbox.about, fax)} == {first.subject, second.subject}
    assert await store.read(outbox.find, first.subject[:-1]) == [first.subject]
    assert await store.write(outbox.again, OutboxId(second.subject)), "now"
    assert not await store.write(outbox.again, OutboxId("out_none"))

"""Mailboxes that are read: their leases, how far their folders are dealt with, what became of each mail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from gateway.errors import LeaseLost, MailTaken
from gateway.spool import imap, outbox
from gateway.spool.commit import Transaction
from gateway.spool.imap import Known, Lease, Mail, Notice, Place
from gateway.spool.store import Store
from tests.carriers.tools import Clock
from tests.spool.values import AT

OURS, THEIRS = Lease("office", "a" * 32), Lease("office", "b" * 32)
MAIL = Mail(folder="INBOX", validity=7, uid=9, key="k" * 64)
PLACE = Place(validity=7, next_uid=9, found_uid=9, since=AT)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    url = str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else ""
    made = Store(tmp_path, url, now=clock, node="one")
    made.open()
    made.start()
    assert await made.write(imap.claim, OURS, 60.0)
    yield made
    await made.close()


async def test_imp_12_one_reads_a_mailbox_at_a_time(store: Store) -> None:
    assert not await store.write(imap.claim, THEIRS, 60.0)
    assert await store.write(imap.claim, OURS, 60.0)
    await store.write(imap.release, THEIRS)
    assert not await store.write(imap.claim, THEIRS, 60.0)
    await store.write(imap.release, OURS)
    assert await store.write(imap.claim, THEIRS, 60.0)
    assert not await store.write(imap.claim, OURS, 60.0)
    with pytest.raises(LeaseLost):
        await store.write(imap.take, OURS, MAIL)
    with pytest.raises(LeaseLost):
        await store.write(imap.put, OURS, "INBOX", PLACE)
    assert await store.read(imap.known, "office", "INBOX", PLACE) == {}


async def test_imp_12_a_lease_that_has_ended_is_taken_over(store: Store) -> None:
    await store.write(imap.claim, OURS, -1.0)
    with pytest.raises(LeaseLost):
        await store.write(imap.take, OURS, MAIL)
    assert await store.write(imap.claim, THEIRS, 60.0)


async def test_imp_01_a_mail_is_taken_once_by_number_and_by_content(store: Store) -> None:
    await store.write(imap.take, OURS, MAIL)
    with pytest.raises(MailTaken):
        await store.write(imap.take, OURS, replace(MAIL, key="other"))
    with pytest.raises(MailTaken):
        await store.write(imap.take, OURS, replace(MAIL, validity=8, uid=1))
    assert await store.read(imap.is_known, "office", MAIL.key)
    assert not await store.read(imap.is_known, "clinic", MAIL.key)
    assert await store.write(imap.settle, OURS, replace(MAIL, validity=8, uid=1, state=imap.AGAIN))
    assert await store.read(imap.known, "office", "INBOX", PLACE) == {9: Known(state=imap.TAKEN, marked=False)}
    await store.write(imap.mark, OURS, "INBOX", 7, [9])
    assert await store.read(imap.known, "office", "INBOX", PLACE) == {9: Known(state=imap.TAKEN, marked=True)}


async def test_a_mail_and_what_is_done_with_it_are_one_transaction(store: Store) -> None:
    def fails(t: Transaction) -> None:
        partial(imap.take, lease=OURS, mail=MAIL)(t)
        raise MailTaken("the rest cannot be done")

    with pytest.raises(MailTaken, match="the rest"):
        await store.write(fails)
    assert await store.read(imap.known, "office", "INBOX", PLACE) == {}


async def test_a_refused_mail_owes_one_notice(store: Store) -> None:
    notice = Notice(recipient="ann@example.com", subject="Contract", text="{}")
    refused = replace(MAIL, state=imap.REFUSED, reason="No number.")
    assert await store.write(imap.settle, OURS, refused, notice)
    assert not await store.write(imap.settle, OURS, refused, notice)
    assert await store.read(outbox.states, outbox.REFUSAL, imap.about("office", MAIL)) == [outbox.WAITING]
    await store.write(imap.take, OURS, replace(MAIL, uid=10))  # put back into the folder, when it may be faxed


async def test_the_state_says_since_when_it_goes_so(store: Store, clock: Clock) -> None:
    first = await store.write(imap.say, OURS, imap.FAILING, "no answer")
    assert await store.write(imap.say, OURS, imap.FAILING, "refused") == first
    await store.write(imap.put, OURS, "INBOX", PLACE)
    await store.write(imap.put, OURS, "INBOX", replace(PLACE, next_uid=12))
    await store.write(imap.take, OURS, MAIL)
    (one,) = await store.read(imap.overview)
    assert (one["state"], one["detail"], one["since"]) == (imap.FAILING, "refused", first)
    assert one["read_by"] == "one"
    assert (one["mails"], one["to_mark"]) == ({"taken": 1}, 1)
    assert one["folders"][0]["next_uid"] == 12
    assert (await store.read(imap.places, "office"))["INBOX"].next_uid == 12


async def test_what_is_old_and_marked_is_forgotten(store: Store) -> None:
    await store.write(imap.take, OURS, MAIL)
    await store.write(imap.take, OURS, replace(MAIL, uid=10, key=""))
    await store.write(imap.mark, OURS, "INBOX", 7, [9])
    later = store.now() + timedelta(days=1)
    assert await store.write(imap.forget, store.now() - timedelta(days=1)) == 0
    assert await store.write(imap.forget, later) == 1
    assert await store.read(imap.known, "office", "INBOX", PLACE) == {10: Known(state=imap.TAKEN, marked=False)}

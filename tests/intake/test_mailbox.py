"""A mailbox next to servers and mails that make trouble: what they say is a script."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import MailboxRefused
from gateway.intake.mailbox import Mailbox, Means, place_of
from gateway.intake.session import Folder, Session
from gateway.mailboxes import ImapSection
from gateway.spool import imap
from gateway.spool.documents import Documents
from gateway.spool.imap import Lease, Place
from gateway.spool.store import Store
from tests.intake.test_session import SELECTED, Server
from tests.spool.values import AT

LEASE = Lease("office", "a" * 32)
LISTED = '* 1 FETCH (UID 9 RFC822.SIZE 23 FLAGS () INTERNALDATE "31-Jan-2026 09:00:00 +0000")'
NEXT = LISTED.replace("UID 9", "UID 10")
PIECE = "* 1 FETCH (UID {} BODY[] {{23}}\nFrom: ann@example.com\n)"
MAIL = {"UID FETCH 9 (BODY": PIECE.format(9), "UID FETCH 10 (BODY": PIECE.format(10)}


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now


class Taker:
    """Takes every mail; or stumbles over one of them."""

    store: Store

    def __init__(self, stumbles_at: int = 0, *, notified: bool = False) -> None:
        self.stumbles_at, self.notified = stumbles_at, notified

    async def take(self, _content: object, _flags: object, _folder: object, lease: Lease, row: imap.Mail) -> bool:
        if row.uid == self.stumbles_at:
            raise ZeroDivisionError
        await self.store.write(imap.take, lease, replace(row, key=str(row.uid), notified=self.notified))
        return self.notified


def section(**more: Any) -> ImapSection:
    given = {"name": "office", "host": "imap.example.com", "username": "fax@example.com", "password": "x"}
    return ImapSection.model_validate({**given, "servers": ["mx.example.com"], "existing": "take", **more})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    made = Store(tmp_path / "spool", "", now=clock, node="one")
    (tmp_path / "spool").mkdir()
    made.open()
    made.start()
    assert await made.write(imap.claim, LEASE, 1e6)
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def reading(
    folder: Path, store: Store, taker: Taker, answers: dict[str, str], **more: Any
) -> AsyncIterator[tuple[Server, Session, Mailbox]]:
    """The server, its session and the mailbox. Any: a pickup that is none."""
    taker.store = store
    documents = Documents(folder)
    documents.open()
    server = Server(folder, {"SELECT": SELECTED.replace("$Faxed", "$Faxed $MDNSent").replace("10]", "11]"), **answers})
    pickup: Any = taker
    async with server.session() as client:
        await client._ask_able()
        means = Means(
            section=section(**more), store=store, documents=documents, pickup=pickup,
            context=server.context, password="x", tokens=None,
        )  # fmt: skip
        yield server, client, Mailbox(means, LEASE, lambda: None)


def said(server: Server, start: str) -> int:
    return sum(line.startswith(start) for line in server.heard)


async def test_a_mark_that_the_server_refuses_is_tried_after_longer_and_longer_waits(
    tmp_path: Path, store: Store, clock: Clock
) -> None:
    answers = {"UID SEARCH": "* SEARCH 9", "UID FETCH 9 (UID": LISTED, **MAIL, "UID COPY": "TAG NO [OVERQUOTA] full"}
    async with reading(tmp_path, store, Taker(), answers, done_folder="Faxed", alarm="1m") as (server, client, mailbox):
        for _ in range(3):
            await mailbox._look(client, "INBOX")
        assert said(server, "UID COPY") == 1
        for copies in (2, 3):
            clock.now += timedelta(seconds=11)
            for _ in range(3):
                await mailbox._look(client, "INBOX")
            assert said(server, "UID COPY") == copies
        clock.now += timedelta(minutes=5)
        await mailbox._look(client, "INBOX")
        assert await store.read(_alarms) == 1
        assert await _known(store) == {9: (imap.TAKEN, False)}
        server.answers["UID SEARCH"] = "* SEARCH"  # somebody has taken it away: nothing is waited for any more
        await mailbox._look(client, "INBOX")
        assert mailbox._stuck == {}


async def test_one_poisonous_mail_does_not_stop_those_behind_it(
    tmp_path: Path, store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {"UID SEARCH": "* SEARCH 9 10", "UID FETCH 9,10": f"{LISTED}\n{NEXT}", "UID FETCH 9 (UID": LISTED, **MAIL}
    async with reading(tmp_path, store, Taker(stumbles_at=9), answers, alarm="1m") as (_, client, mailbox):
        await mailbox._look(client, "INBOX")
        assert await _known(store) == {10: (imap.TAKEN, True)}
        assert "stumbled over mail 9" in caplog.text
        clock.now += timedelta(minutes=2)
        await mailbox._look(client, "INBOX")
        assert await store.read(_alarms) == 1


async def test_mdn_11_a_crash_between_commit_and_mark_does_not_forget_the_notification(tmp_path: Path, store: Store) -> None:
    answers = {"UID SEARCH": "* SEARCH 9", "UID FETCH 9 (UID": LISTED, **MAIL, "UID STORE": "TAG NO not now"}
    async with reading(tmp_path, store, Taker(notified=True), answers) as (_, client, mailbox):
        await mailbox._look(client, "INBOX")
    del answers["UID STORE"]
    async with reading(tmp_path, store, Taker(), answers) as (server, client, mailbox):
        await mailbox._look(client, "INBOX")
        assert "UID STORE 9 +FLAGS.SILENT ($Faxed $MDNSent)" in server.heard
        assert await _known(store) == {}


def test_a_folder_numbered_anew_by_a_server_that_hides_what_is_new_is_not_read() -> None:
    """Everything in it would be new, and its senders told that it is too old."""
    before = Place(validity=7, next_uid=9, found_uid=1, since=AT)
    with pytest.raises(MailboxRefused, match="UIDNEXT"):
        place_of(section(), before, Folder(8, 0, frozenset(), 3), AT)
    assert place_of(section(), before, Folder(7, 0, frozenset(), 3), AT) == before


def _alarms(db: Any) -> int:
    """Any: a connection of the store."""
    return int(db.exec_driver_sql("SELECT count(*) FROM outbox WHERE kind = 'alarm'").scalar())


async def _known(store: Store) -> dict[int, tuple[str, bool]]:
    """Behind what is dealt with wholly, the rest is of no interest."""
    place = (await store.read(imap.places, "office"))["INBOX"]
    return {uid: (one.state, one.marked) for uid, one in (await store.read(imap.known, "office", "INBOX", place)).items()}

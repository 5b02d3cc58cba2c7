"""The one way in: durable when it returns, one fax for each called number, no second fax for a repeated mail."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from gateway.desk.identity import Identity
from gateway.desk.submit import Desk
from gateway.errors import NotAdmitted, SpoolUnavailable, Unavailable, Unsupported
from gateway.fax import Account, Door, Envelope, Line, Recipient, TransmissionState
from gateway.spool import accounts, outbox, queries, steps
from gateway.spool.documents import Documents
from gateway.spool.queries import Case
from gateway.spool.store import Store
from tests.carriers.tools import Clock
from tests.desk.conftest import ACCOUNT, LINE, configured

ENVELOPE = Envelope(door=Door.SMTP, sender="ann@example.com", client="192.0.2.7", envelope_id="e+1")
TO = Recipient(written="+14155550123@fax.example.com", number="+14155550123", notify=("FAILURE",))
TRACE = b"Received: from here\r\n"


def mail(message_id: str = "<1@example.com>", body: str = "Please sign.", **fields: str) -> bytes:
    lines = ["From: =?utf-8?q?Ann_M=C3=BCller?= <ann@example.com>", "Subject: Offer", "References: <a@x> <b@x>"]
    lines += [f"Message-ID: {message_id}"] if message_id else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", body, ""]).encode()


@pytest.fixture
async def office(identity: Identity) -> Account:
    await identity.declare(configured(ACCOUNT, lines=(LINE,)))
    found = await identity.by_name("office")
    assert found is not None
    return found


async def faxes(store: Store) -> list[Case]:
    page = await store.read(queries.page, limit=100)
    cases = [await store.read(queries.case, transmission.id) for transmission in page]
    return [case for case in cases if case is not None]


async def test_que_01_what_was_taken_is_in_the_spool(desk: Desk, office: Account, store: Store, documents: Documents) -> None:
    content = mail()
    identity = await desk.submit(office, ENVELOPE, [TO], trace=TRACE, content=content)
    (case,) = await faxes(store)
    assert case.submission.id == identity
    assert case.submission.envelope == ENVELOPE
    assert case.recipients == (TO,)
    assert await documents.get(case.submission.document) == TRACE + content
    assert case.submission.document == hashlib.sha256(TRACE + content).hexdigest()
    assert (case.submission.subject, case.submission.from_header) == ("Offer", "Ann Müller <ann@example.com>")
    assert case.submission.references == "<a@x> <b@x> <1@example.com>"
    assert not case.submission.auto_submitted
    assert (case.transmission.state, case.transmission.carrier, case.transmission.caller) == (
        TransmissionState.ACCEPTED, "main", "+14155550100",
    )  # fmt: skip


async def test_adr_28_two_spellings_of_one_number_are_one_call(desk: Desk, office: Account, store: Store) -> None:
    spelled = replace(TO, written="FAX=+1.415.555.0123@fax.example.com")
    sub = replace(TO, sub_address="77")
    other = replace(TO, number="+14155550124")
    await desk.submit(office, ENVELOPE, [TO, spelled, sub, other], trace=TRACE, content=mail())
    assert sorted(len(case.recipients) for case in await faxes(store)) == [1, 1, 2]


CHANGES: dict[str, dict[str, Any]] = {
    "another sender": {"envelope": replace(ENVELOPE, sender="bob@example.com")},
    "another Message-ID": {"content": mail("<2@example.com>")},
    "a Resent-Message-ID": {"content": mail(Resent_Message_ID="<r@example.com>")},
    "another body": {"content": mail(body="Please sign today.")},
    "another number": {"recipients": [replace(TO, number="+14155550124")]},
    "another sub-address": {"recipients": [replace(TO, sub_address="1")]},
}
SAME: dict[str, dict[str, Any]] = {
    "another trace": {"trace": b"Received: from elsewhere\r\n"},
    "another client": {"envelope": replace(ENVELOPE, client="192.0.2.8", helo="x")},
    "another spelling": {"recipients": [replace(TO, written="14155550123@fax.example.com")]},
    "another trace field": {"content": b"X-Virus-Scanned: yes\r\n" + mail()},
}


async def submit(desk: Desk, account: Account, **change: Any) -> str:
    given = {"envelope": ENVELOPE, "recipients": [TO], "trace": TRACE, "content": mail(), **change}
    return await desk.submit(account, given["envelope"], given["recipients"], trace=given["trace"], content=given["content"])


@pytest.mark.parametrize("change", CHANGES)
async def test_que_08_what_differs_is_another_fax(desk: Desk, office: Account, store: Store, change: str) -> None:
    first, second = await submit(desk, office), await submit(desk, office, **CHANGES[change])
    assert first != second
    assert len(await faxes(store)) == 2


@pytest.mark.parametrize("change", SAME)
async def test_que_07_what_only_came_another_way_is_the_same_fax(
    desk: Desk, office: Account, store: Store, change: str
) -> None:
    first, second = await submit(desk, office), await submit(desk, office, **SAME[change])
    assert first == second
    assert len(await faxes(store)) == 1


async def test_que_07_after_48_hours_it_is_a_new_fax(desk: Desk, office: Account, store: Store, clock: Clock) -> None:
    first = await submit(desk, office)
    clock.forward(48 * 3600 + 1)
    assert await submit(desk, office) != first


async def test_que_09_without_a_message_id_nothing_is_a_repetition(desk: Desk, office: Account, store: Store) -> None:
    await submit(desk, office, content=mail(""))
    await submit(desk, office, content=mail(""))
    assert len(await faxes(store)) == 2


async def test_que_07_a_repetition_at_the_same_time_is_the_same_fax(desk: Desk, office: Account, store: Store) -> None:
    found = await asyncio.gather(*(submit(desk, office) for _ in range(8)))
    assert len(set(found)) == 1
    assert len(await faxes(store)) == 1


async def test_que_07_a_repetition_with_one_more_number_sends_only_that(desk: Desk, office: Account, store: Store) -> None:
    await submit(desk, office)
    await submit(desk, office, recipients=[TO, replace(TO, number="+14155550124")])
    assert sorted(case.transmission.number for case in await faxes(store)) == ["+14155550123", "+14155550124"]


@pytest.mark.parametrize(
    ("recipient", "error"),
    [
        (replace(TO, number="+442071838750"), NotAdmitted),
        (replace(TO, number="+19005550123"), NotAdmitted),
    ],
)
async def test_sub_08_what_may_not_be_faxed_is_refused_and_nothing_is_kept(
    desk: Desk, office: Account, store: Store, documents: Documents, recipient: Recipient, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await desk.admit(office, recipient)
    with pytest.raises(error):
        await submit(desk, office, recipients=[TO, recipient])
    assert await faxes(store) == []


async def test_the_line_decides_carrier_and_caller(desk: Desk, identity: Identity, store: Store) -> None:
    await identity.declare(configured(ACCOUNT, lines=({**LINE, "carrier": "other"},)))
    account = await identity.by_name("office")
    assert account is not None
    assert await desk.route(account.id) == ("other", "+14155550100")
    with pytest.raises(Unsupported):
        await desk.admit(account, replace(TO, sub_address="7"))
    await identity.declare(configured(ACCOUNT))
    assert await desk.route(account.id) == ("main", "")


async def test_a_line_whose_carrier_is_gone_is_a_reason_to_wait(desk: Desk, identity: Identity, store: Store) -> None:
    await identity.declare(configured(ACCOUNT))
    account = await identity.by_name("office")
    assert account is not None
    await store.write(accounts.save_line, Line(number="+14155550100", account=account.id, carrier="gone"))
    identity.forget()
    with pytest.raises(Unavailable, match="gone"):
        await desk.admit(account, TO)


HOSTILE = {
    "octets": b"Subject: \xff\xfe\x80 r\xe9sum\xe9\r\nFrom: \xff <ann@example.com>\r\nMessage-ID: <\xff@x>\r\n\r\nx\r\n",
    "nul": b"Subject: a\0b =?utf-8?q?=00=01?=\r\nFrom: a\0 <ann@example.com>\r\n"
    b"Message-ID: <a\0@x>\r\nReferences: <\0@x>\r\n\r\nx\r\n",
    "surrogates": b"Subject: =?utf-8?q?=ED=A0=80?= =?utf-16?b?2AA=?=\r\nMessage-ID: <1@x>\r\n\r\nx\r\n",
    "folded": b"Subject: a\r\n b\r\n\tc\r\nMessage-ID:\r\n <1@x>\r\n\r\nx\r\n",
    "empty": b"",
    "no header": b"\r\nbody only\r\n",
    "long": b"Subject: " + b"x" * 100_000 + b"\r\nReferences: " + b"<a@x> " * 10_000 + b"\r\n\r\nx\r\n",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_any_mail_can_be_stored_on_any_database(desk: Desk, office: Account, store: Store, name: str) -> None:
    """PostgreSQL takes neither NUL nor lone surrogates in its texts."""
    await submit(desk, office, content=HOSTILE[name])
    (case,) = await faxes(store)
    submission = case.submission
    for text in (submission.subject, submission.from_header, submission.message_id, submission.references):
        assert "\0" not in text
        assert text.encode("utf-8").decode() == text
        assert "\n" not in text


async def test_mail_to_postmaster_goes_to_the_operator(desk: Desk, store: Store, documents: Documents) -> None:
    content = mail()
    await desk.for_operator(ENVELOPE, ["postmaster@fax.example.com"], trace=TRACE, content=content)
    (claim,) = await store.write(steps.claim, steps.MAIL, 5, 60.0, 0.0)
    owed = await store.read(outbox.get, claim.subject)
    assert owed is not None
    assert owed.document is not None
    assert (owed.kind, owed.subject, owed.text) == (outbox.FORWARD, "postmaster@fax.example.com", "ann@example.com")
    assert await documents.get(owed.document) == TRACE + content


async def test_a_spool_that_is_gone_is_a_reason_to_wait_and_nothing_is_promised(
    desk: Desk, office: Account, store: Store, documents: Documents
) -> None:
    documents.root.rename(documents.root.with_name("gone"))
    with pytest.raises(SpoolUnavailable):
        await submit(desk, office)
    assert await faxes(store) == []

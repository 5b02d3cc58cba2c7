"""Callbacks we owe: when they are made, how often, what gives way to them, what they never lose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.carriers.base import Order, Receipt
from gateway.desk.steer import release_received
from gateway.errors import CarrierUnavailable, NotAdmitted, Outcome
from gateway.fax import Account, AccountId, Door, InboundId, InboundState, Line, Recipient, Settings, Sha256, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.spool import accounts, inbounds, outbox, queries, schema, steps, submissions, transmissions
from gateway.spool.commit import Transaction
from gateway.spool.outbox import Owed
from gateway.spool.steps import Claim
from gateway.work import callback, tell, tidy
from tests.carriers.tools import Clock
from tests.pages.fax_files import pdf
from tests.spool import values
from tests.work.shop import FarEnd, House, Program

MAILBOX = "office@example.com"
URL = "https://program.example/fax"
LINE = "+14155550100"
ACCOUNT = Account(id=AccountId("acc_1"), name="shop", login="shop@example.com", password_hash="x", countries=("US",))
OFFSETS = (0, 15, 45, 90, 165, 240, 495, 990)
"""Minutes after the first attempt: the reference, section 9.4."""


async def wish(house: House, *, account: Account = ACCOUNT, **settings: str | bool) -> None:
    """What an account wants."""
    await house.store.write(accounts.save_account, replace(account, settings=Settings(**settings)))  # type: ignore[arg-type]
    house.identity.forget()


async def ended(house: House, clock: Clock, *numbers: str, door: Door = Door.HELLOFAX, status: str = "delivered") -> list[str]:
    """Faxes of one call of a program, all of which have ended so at the carrier."""
    mail = await house.documents.put(b"what was posted for " + "".join(numbers).encode())
    submission = values.submission()
    envelope = replace(submission.envelope, door=door, sender=ACCOUNT.login)
    submission = replace(submission, document=mail.sha256, envelope=envelope, redial=False)
    calls = [replace(values.call(number), recipients=_plain(number)) for number in numbers or (values.NUMBER,)]
    accepted = await house.store.write(submissions.accept, submission, calls)
    for claim in await house.store.write(steps.claim, steps.CONVERT, 9, 60.0, steps.uptime()):
        document = await house.documents.put(b"%PDF " + claim.subject.encode())
        await house.store.write(transmissions.prepared, claim, document=Sha256(document.sha256), pages=2, manifest="[]")
    await house.work()
    for call in house.far.calls:
        call.status = status
    clock.forward(60)
    await house.work()
    return list(accepted.transmissions)


def _plain(number: str) -> tuple[Recipient, ...]:
    return (Recipient(written=number, number=number),)


async def arrived(house: House, ref: str = "far-in-1") -> InboundId:
    """A fax on the line, announced with its document."""
    document = await house.documents.put(pdf("page one", "page two"))
    news = replace(values.news(ref), line=LINE, document=document.sha256)
    assert await house.store.write(inbounds.announced, "main", news)
    await turn(house, steps.RECEIVE)
    (fax,) = await house.store.read(inbounds.page)
    return fax.id


async def turn(house: House, lane: str) -> int:
    """Do every step of a lane that is due now, once; how many there were."""
    claims = await house.loop._claim(lane, 100)
    for claim in claims:
        await house.loop._step(claim, None)
    return len(claims)


async def rows(house: House, kind: str) -> list[tuple[str, str, str]]:
    """What is or was owed of one kind: about, to whom, state."""
    table = schema.outbox
    wanted = select(table.c.about, table.c.recipient, table.c.state).where(table.c.kind == kind).order_by(table.c.about)
    return [(row.about, row.recipient, row.state) for row in await house.store.read(lambda db: db.execute(wanted).all())]


async def told(house: House, fax: str) -> list[str]:
    """What the fax's history says about callbacks."""
    return [entry.detail for entry in await house.store.read(queries.history, fax) if entry.what == "callback"]


async def due_at(house: House) -> datetime | None:
    table = schema.step
    found: datetime | None = await house.store.read(
        lambda db: db.scalar(select(table.c.due_at).where(table.c.lane == steps.CALLBACK))
    )
    return found


@pytest.fixture
async def program(house: House) -> AsyncIterator[Program]:
    """The program of the account, which has a line and wants callbacks about both directions."""
    await wish(house, outbound_callback=URL, inbound_callback=URL)
    await house.store.write(accounts.save_line, Line(number=LINE, account=ACCOUNT.id, carrier="main", mailbox=(MAILBOX,)))
    house.identity.forget()
    yield house.program
    await house.shop.fence.close()


async def test_a_program_is_called_when_its_fax_has_ended(house: House, clock: Clock, program: Program) -> None:
    (fax,) = await ended(house, clock)
    await turn(house, steps.MAIL)
    assert await turn(house, steps.CALLBACK) == 1
    assert program.calls == [(fax, b"")]
    assert await rows(house, outbox.CALLBACK) == [(fax, ACCOUNT.id, outbox.SENT)]
    assert await told(house, fax) == [f"POST {URL} answered 200"]
    assert await rows(house, outbox.CONFIRMATION) == []
    assert await turn(house, steps.CALLBACK) == 0


async def test_the_schedule_has_three_tries_a_round_and_eight_rounds(house: House, clock: Clock, program: Program) -> None:
    program.answers = [503] * 100
    (fax,) = await ended(house, clock)
    await turn(house, steps.MAIL)
    began, tried = house.now(), []
    while await turn(house, steps.CALLBACK):
        tried.append(house.now() - began)
        if again := await due_at(house):
            clock.forward((again - house.now()).total_seconds())
    rounds = tried[::3]
    assert len(tried) == 24
    assert [round(one.total_seconds() / 60) for one in rounds] == list(OFFSETS)
    for n in range(8):
        first, second, third = tried[3 * n : 3 * n + 3]
        assert timedelta(seconds=4) < second - first < timedelta(seconds=10)
        assert timedelta(seconds=4) < third - second < timedelta(seconds=10)
    lines = await told(house, fax)
    assert len(lines) == 24
    assert lines[0].startswith(f"POST {URL} answered 503; again at ")
    assert lines[-1] == f"POST {URL} answered 503; given up after 24 tries"
    ((_, _, state),) = await rows(house, outbox.CALLBACK)
    assert state == outbox.GIVEN_UP
    assert len(await rows(house, outbox.ALARM)) == 1


async def test_a_gateway_killed_between_rounds_goes_on_with_the_schedule(tmp_path: Path, clock: Clock) -> None:
    house = House(tmp_path, clock, FarEnd())
    await house.open()
    await wish(house, outbound_callback=URL)
    await ended(house, clock)
    await turn(house, steps.MAIL)
    began, tried = house.now(), []
    while again := await due_at(house):
        clock.forward(max(0.0, (again - house.now()).total_seconds()))
        await house.close()  # what a kill leaves behind is what is on disk: nothing is written at a close
        house = House(tmp_path, clock, FarEnd())
        await house.open()
        house.program.answers = [503] * 3
        tried.append(house.now() - began)
        for _ in range(3):
            assert await turn(house, steps.CALLBACK) == 1
            clock.forward(5.1)
        assert len(house.program.calls) == 3
    assert [round(one.total_seconds() / 60) for one in tried] == list(OFFSETS)
    await house.close()


async def test_a_try_that_a_kill_cut_off_is_made_again(house: House, clock: Clock, program: Program) -> None:
    (fax,) = await ended(house, clock)
    await turn(house, steps.MAIL)
    assert len(await house.loop._claim(steps.CALLBACK, 9)) == 1  # and then nothing is recorded
    assert await turn(house, steps.CALLBACK) == 0
    clock.forward(house.shop.config.work.lease.total_seconds() + 1)
    assert await turn(house, steps.CALLBACK) == 1
    assert program.calls == [(fax, b"")]


async def test_a_gateway_that_was_away_makes_the_rounds_it_missed(house: House, clock: Clock, program: Program) -> None:
    program.answers = [503] * 4
    await ended(house, clock)
    await turn(house, steps.MAIL)
    for _ in range(3):
        await turn(house, steps.CALLBACK)
        clock.forward(6)
    clock.forward(86400)
    assert await turn(house, steps.CALLBACK) == 1
    clock.forward(6)
    assert await turn(house, steps.CALLBACK) == 1
    assert [state for *_, state in await rows(house, outbox.CALLBACK)] == [outbox.SENT]


def test_a_round_is_never_right_behind_the_last_one() -> None:
    first = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    late = first + timedelta(days=2)
    assert callback.due(first, 3, first) == first + timedelta(minutes=15)
    assert callback.due(first, 6, late) == late + timedelta(minutes=10)
    assert callback.due(first, 24, late) is None


async def test_mail_is_told_as_before(house: House, clock: Clock, program: Program) -> None:
    (fax,) = await ended(house, clock, door=Door.SMTP)
    mail = await tell._compose(
        house.shop, await owed_of(house, outbox.RESULT), await values.case(house.store, TransmissionId(fax))
    )
    assert mail is not None
    assert mail.kind == "delivered"
    assert await rows(house, outbox.RESULT) == [(fax, "", outbox.WAITING)]
    assert await turn(house, steps.CALLBACK) == 0


@pytest.mark.parametrize("status", ["delivered", "busy"])
async def test_a_program_that_wants_nothing_is_not_told(house: House, clock: Clock, status: str) -> None:
    await wish(house)
    (fax,) = await ended(house, clock, status=status)
    assert await turn(house, steps.MAIL) == 1
    assert await rows(house, outbox.RESULT) == [(fax, "", outbox.SILENT)]
    assert await rows(house, outbox.CONFIRMATION) == await rows(house, outbox.CALLBACK) == await rows(house, outbox.ALARM) == []


async def test_a_confirmation_does_not_keep_the_callback_waiting(house: House, clock: Clock, program: Program) -> None:
    await wish(house, outbound_callback=URL, confirmations=True)
    (fax,) = await ended(house, clock)
    await turn(house, steps.MAIL)
    assert await rows(house, outbox.CONFIRMATION) == [(fax, "", outbox.WAITING)]
    await turn(house, steps.CALLBACK)
    assert program.calls == [(fax, b"")]
    mail = await tell._compose(
        house.shop, await owed_of(house, outbox.CONFIRMATION), await values.case(house.store, TransmissionId(fax))
    )
    assert mail is not None
    assert mail.to == (ACCOUNT.login,)
    assert mail.kind == "delivered"
    assert b"delivery-status" not in mail.content


async def test_the_documents_of_a_delivered_fax_go_and_its_record_stays(house: House, clock: Clock, program: Program) -> None:
    one, two = await ended(house, clock, "+14155550123", "+14155550124")
    documents = [await document_of(house, fax) for fax in (one, two)]
    mail = (await values.case(house.store, TransmissionId(one))).submission.document
    (first, *_), paths = await house.loop._claim(steps.MAIL, 1), [path_of(house, sha) for sha in (*documents, mail)]
    await house.loop._step(first, None)
    assert [await document_of(house, fax) is None for fax in (one, two)].count(True) == 1
    assert (await values.case(house.store, TransmissionId(one))).submission.document == mail, "the other fax may still need it"
    await turn(house, steps.MAIL)
    case = await values.case(house.store, TransmissionId(one))
    assert (case.transmission.document, case.submission.document) == (None, "")
    assert (case.transmission.state, case.transmission.pages) == (T.DELIVERED, 2)
    await tidy.discard(house.shop)
    assert all(path.exists() for path in paths), "twin pages of another fax may be named a moment from now"
    clock.forward(16 * 60)
    await tidy.discard(house.shop)
    assert not any(path.exists() for path in paths)


async def test_a_document_that_another_fax_has_stays(house: House, clock: Clock, program: Program) -> None:
    (fax,) = await ended(house, clock)
    document = await document_of(house, fax)
    other = await house.fax("+14155550199")
    same = {"document": document}
    table = schema.transmission
    await house.store.write(lambda t: t.db.execute(table.update().where(table.c.id == other).values(**same)).close())
    await turn(house, steps.MAIL)
    clock.forward(16 * 60)
    await tidy.discard(house.shop)
    assert await document_of(house, fax) is None
    assert path_of(house, document).exists()


@pytest.mark.parametrize(("status", "keeps"), [("busy", False), ("delivered", True)])
async def test_the_documents_of_other_faxes_stay(house: House, clock: Clock, status: str, keeps: bool) -> None:
    await wish(house, keep_documents=keeps)
    (fax,) = await ended(house, clock, status=status)
    await turn(house, steps.MAIL)
    assert await document_of(house, fax) is not None


async def test_a_program_that_wants_no_calls_any_more_gets_none(house: House, clock: Clock, program: Program) -> None:
    (fax,) = await ended(house, clock)
    await turn(house, steps.MAIL)
    await wish(house)
    await turn(house, steps.CALLBACK)
    assert program.calls == []
    assert await rows(house, outbox.CALLBACK) == [(fax, ACCOUNT.id, outbox.SILENT)]
    assert await rows(house, outbox.ALARM) == []


async def test_a_received_fax_goes_to_mailbox_and_program(house: House, program: Program) -> None:
    fax = await arrived(house)
    assert await rows(house, outbox.RECEIVED) == [(fax, MAILBOX, outbox.WAITING)]
    await turn(house, steps.CALLBACK)
    ((called, document),) = program.calls
    assert called == fax
    assert document.startswith(b"%PDF")
    assert await inbound_state(house) is InboundState.FETCHED, "the mail is still owed"


async def test_where_no_mail_is_owed_the_callback_is_what_counts(house: House, program: Program) -> None:
    await wish(house, inbound_callback=URL, received_mail=False)
    program.answers = [500]
    await arrived(house)
    assert await rows(house, outbox.RECEIVED) == []
    await turn(house, steps.CALLBACK)
    assert await inbound_state(house) is InboundState.FETCHED


async def test_a_received_fax_is_handed_over_when_the_callback_was_taken(house: House, program: Program) -> None:
    await wish(house, inbound_callback=URL, received_mail=False)
    await arrived(house)
    await turn(house, steps.CALLBACK)
    assert await inbound_state(house) is InboundState.MAILED


async def test_a_callback_that_is_given_up_does_not_lose_the_fax(house: House, clock: Clock, program: Program) -> None:
    await wish(house, inbound_callback=URL, received_mail=False)
    program.answers = [500] * 24
    fax = await arrived(house)
    while await turn(house, steps.CALLBACK):
        if again := await due_at(house):
            clock.forward((again - house.now()).total_seconds())
    assert await inbound_state(house) is InboundState.HELD
    (about, *_, state), *others = await rows(house, outbox.ALARM)
    assert (state, others) == (outbox.WAITING, [])
    assert about.startswith("out_")
    clock.forward(40 * 86400)
    await tidy.tidy(house.shop)
    (kept,) = await house.store.read(inbounds.page, account=ACCOUNT.id)
    assert kept.id == fax
    assert kept.document is not None
    assert (await house.documents.get(kept.document)).startswith(b"%PDF")


async def away(order: Order) -> Receipt:
    """No connection."""
    raise CarrierUnavailable


async def test_what_was_never_dialled_is_tried_again_and_a_busy_line_is_the_programs_affair(
    house: House, clock: Clock, program: Program
) -> None:
    house.carrier.behaviour = away
    (fax,) = await ended(house, clock)
    assert await ending(house, fax) == (T.DEFERRED, Outcome.CARRIER_TROUBLE)
    house.carrier.behaviour = house.carrier.takes
    clock.forward(3600)
    await house.work()
    (call,) = house.far.calls
    call.status = "busy"
    clock.forward(60)
    await house.work()
    assert await ending(house, fax) == (T.FAILED, Outcome.BUSY)


async def ending(house: House, fax: str) -> tuple[T, Outcome | None]:
    case = await house.store.read(queries.case, TransmissionId(fax))
    assert case is not None
    return case.transmission.state, case.transmission.outcome


async def test_a_held_fax_is_called_back_again_when_it_is_released(house: House, clock: Clock, program: Program) -> None:
    await wish(house, inbound_callback=URL, received_mail=False)
    program.answers = [500] * 24
    fax = await arrived(house)
    with pytest.raises(NotAdmitted, match="is fetched"):
        await release_received(house.store, fax, "ann")
    while await turn(house, steps.CALLBACK):
        if again := await due_at(house):
            clock.forward((again - house.now()).total_seconds())
    assert await inbound_state(house) is InboundState.HELD
    program.calls.clear()
    assert "again" in await release_received(house.store, fax, "ann")
    await turn(house, steps.RECEIVE)
    assert await rows(house, outbox.CALLBACK) == [(fax, ACCOUNT.id, outbox.WAITING)]
    await turn(house, steps.CALLBACK)
    ((called, document),) = program.calls
    assert called == fax
    assert document.startswith(b"%PDF")
    assert await inbound_state(house) is InboundState.MAILED
    assert "ann" in [entry.detail for entry in await house.store.read(queries.history, fax)]


async def test_only_the_mailbox_that_did_not_take_a_fax_is_mailed_again(house: House, program: Program) -> None:
    await wish(house)
    other = "fax@second.example"
    line = Line(number=LINE, account=ACCOUNT.id, carrier="main", mailbox=(MAILBOX, other))
    await house.store.write(accounts.save_line, line)
    house.identity.forget()
    fax = await arrived(house)
    await mailed_as(house, {MAILBOX: outbox.SENT, other: outbox.GIVEN_UP})
    assert await inbound_state(house) is InboundState.HELD
    await release_received(house.store, fax, "ann")
    await turn(house, steps.RECEIVE)
    owed = {to: state for _, to, state in await rows(house, outbox.RECEIVED)}
    assert owed == {MAILBOX: outbox.SENT, other: outbox.WAITING}


async def test_a_released_fax_whose_mailbox_is_gone_is_over(house: House, program: Program) -> None:
    await wish(house)
    other = "fax@second.example"
    line = Line(number=LINE, account=ACCOUNT.id, carrier="main", mailbox=(MAILBOX, other))
    await house.store.write(accounts.save_line, line)
    house.identity.forget()
    fax = await arrived(house)
    await mailed_as(house, {MAILBOX: outbox.SENT, other: outbox.GIVEN_UP})
    await house.store.write(accounts.save_line, replace(line, mailbox=(MAILBOX,)))
    house.identity.forget()
    await release_received(house.store, fax, "ann")
    await turn(house, steps.RECEIVE)
    assert await inbound_state(house) is InboundState.MAILED, "or it would be kept for ever"


async def mailed_as(house: House, answers: dict[str, str]) -> None:
    """The mails about the received fax, as the mail server answered them."""
    for claim in await house.store.write(steps.claim, steps.MAIL, 9, 60.0, steps.uptime()):
        owed = await house.store.read(outbox.get, claim.subject)
        assert owed is not None
        state = answers[owed.recipient]

        def record(t: Transaction, claim: Claim = claim, owed: Owed = owed, state: str = state) -> None:
            outbox.settled(t, claim, state, "so")
            if state == outbox.SENT:
                inbounds.mailed(t, InboundId(owed.about))
            else:
                inbounds.undeliverable(t, InboundId(owed.about), "refused")

        await house.store.write(record)


async def test_a_fax_that_was_taken_for_lost_is_taken_when_it_comes(house: House, program: Program) -> None:
    await wish(house, inbound_callback=URL, received_mail=False)
    lost = replace(values.news("late"), line=LINE, document=None)
    assert await house.store.write(inbounds.announced, "main", lost)
    await turn(house, steps.RECEIVE)
    assert await inbound_state(house) is InboundState.FAILED
    document = await house.documents.put(pdf("after all"))
    came = replace(lost, document=document.sha256)
    assert await house.store.write(inbounds.announced, "main", came)
    assert not await house.store.write(inbounds.announced, "main", came), "a repetition"
    await turn(house, steps.RECEIVE)
    await turn(house, steps.CALLBACK)
    assert len(program.calls) == 1
    assert await inbound_state(house) is InboundState.MAILED


async def test_a_document_that_comes_while_the_fax_is_given_up_is_kept(house: House, program: Program) -> None:
    lost = replace(values.news("late"), line=LINE, document=None)
    assert await house.store.write(inbounds.announced, "main", lost)
    (claim,) = await house.store.write(steps.claim, steps.RECEIVE, 9, 60.0, steps.uptime())
    document = await house.documents.put(pdf("just now"))
    assert await house.store.write(inbounds.announced, "main", replace(lost, document=document.sha256))
    assert not await house.store.write(inbounds.ended, claim, InboundState.FAILED, "gone", "lost")
    await turn(house, steps.RECEIVE)
    assert await inbound_state(house) is InboundState.FETCHED


async def test_without_a_callback_the_wish_for_no_mail_does_not_count(house: House, program: Program) -> None:
    await wish(house, received_mail=False)
    fax = await arrived(house)
    assert await rows(house, outbox.RECEIVED) == [(fax, MAILBOX, outbox.WAITING)]


@pytest.mark.parametrize(
    ("login", "mailbox"),
    [
        ("shop@example.com", "shop@example.com"),
        ("shop", "operator@example.com"),
        ("shop@fax.example.com", "operator@example.com"),  # it would come back to us
    ],
)
async def test_onr_02_a_line_without_mailbox_goes_to_the_account_else_to_the_operator(
    house: House, program: Program, login: str, mailbox: str
) -> None:
    await wish(house, account=replace(ACCOUNT, login=login))
    await house.store.write(accounts.save_line, Line(number=LINE, account=ACCOUNT.id, carrier="main"))
    house.identity.forget()
    fax = await arrived(house)
    assert await rows(house, outbox.RECEIVED) == [(fax, mailbox, outbox.WAITING)]


async def test_a_fax_of_the_former_owner_of_a_line_is_not_shown_to_the_new_one(house: House, program: Program) -> None:
    document = await house.documents.put(pdf("for the former owner"))
    news = replace(values.news("far-in-1"), line=LINE, document=document.sha256)
    await house.store.write(inbounds.announced, "main", news)
    stranger = Account(id=AccountId("acc_2"), name="stranger", countries=("US",), settings=Settings(inbound_callback=URL))
    await house.store.write(accounts.save_account, stranger)
    await house.store.write(
        accounts.save_line, Line(number=LINE, account=stranger.id, carrier="main", mailbox=("eve@example.org",))
    )
    house.identity.forget()
    await turn(house, steps.RECEIVE)
    (fax,) = await house.store.read(inbounds.page, account=ACCOUNT.id)
    assert await house.store.read(inbounds.page, account=stranger.id) == []
    assert await rows(house, outbox.RECEIVED) == [(fax.id, ACCOUNT.login, outbox.WAITING)]
    assert await rows(house, outbox.CALLBACK) == [(fax.id, ACCOUNT.id, outbox.WAITING)]


async def test_a_mail_without_the_fax_has_neither_document_nor_picture(house: House, program: Program) -> None:
    await wish(house, received_pdf=False)
    fax = await arrived(house)
    mail = await tell._compose(house.shop, await owed_of(house, outbox.RECEIVED), None)
    assert mail is not None
    assert fax.encode() in mail.content
    assert b"application/pdf" not in mail.content
    assert b"image/png" not in mail.content


async def inbound_state(house: House) -> InboundState:
    (fax,) = await house.store.read(inbounds.page)
    return fax.state


async def owed_of(house: House, kind: str) -> outbox.Owed:
    """The one row of a kind."""
    table = schema.outbox
    found = await house.store.read(lambda db: db.scalar(select(table.c.id).where(table.c.kind == kind)))
    owed = await house.store.read(outbox.get, str(found))
    assert owed is not None
    return owed


async def document_of(house: House, fax: str) -> Sha256 | None:
    return (await values.case(house.store, TransmissionId(fax))).transmission.document


def path_of(house: House, sha256: Sha256 | None) -> Path:
    assert sha256
    return house.documents.root / sha256[:2] / sha256

"""What is asked by mail, over a real spool: who may ask, what happens once, what is said."""

from __future__ import annotations

import email
from dataclasses import replace
from datetime import timedelta
from email import policy
from pathlib import Path

import pytest

from gateway.carriers.base import Capabilities
from gateway.desk.admission import Admission
from gateway.desk.bounces import Bounces
from gateway.desk.commands import Commands, Wanted
from gateway.desk.limits import Limits
from gateway.desk.prices import Prices
from gateway.desk.replies import Scope
from gateway.desk.submit import Desk
from gateway.errors import BadAddress, NotAdmitted, Outcome
from gateway.fax import Account, AccountId, Sha256, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.spool import accounts, approvals, outbox, queries, resent, retention, schema, steps, submissions, transmissions
from gateway.spool.approvals import Showing, Toll
from gateway.work import answers
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.values import SHA
from tests.work.shop import FarEnd, House, lost

ANN = "ann@example.com"
OFFICE = Account(id=AccountId("acc_1"), name="office", countries=("US",))
OTHER = replace(OFFICE, id=AccountId("acc_2"), name="other")
STOP = Wanted(verb="stop", words="STOP", mail="1")
RESEND = Wanted(verb="resend", words="RESEND", mail="2")


async def commands(house: House) -> Commands:
    config = house.shop.config
    await house.store.write(accounts.save_account, OFFICE)
    desk = Desk(
        store=house.store,
        documents=house.documents,
        identity=house.identity,
        admission=Admission({"main": Capabilities()}),
        prices=Prices(config),
        limits=Limits(config, Prices(config)),
        default_carrier="main",
        bounces=Bounces(lambda: bytes(32), "x.example"),
    )
    return Commands(house.store, desk, house.shop.replies)


async def ask(
    house: House, fax: TransmissionId, wanted: Wanted, *, scope: Scope = Scope.STEER, to: str = ANN, by: str = ANN,
    account: Account = OFFICE,
) -> None:  # fmt: skip
    made = await commands(house)
    local = house.shop.replies.address(scope, fax, to, house.now()).partition("@")[0]
    await made.do(made.read(local, house.now()), account, by, "", wanted)


async def said(house: House) -> list[str]:
    """The answers that are owed, as they would be mailed now."""
    ids = await house.store.read(
        lambda db: list(
            db.scalars(
                schema.outbox.select().with_only_columns(schema.outbox.c.id).where(schema.outbox.c.kind == outbox.ANSWER)
            )
        )
    )
    words = []
    for identity in ids:
        owed = await house.store.read(outbox.get, identity)
        assert owed is not None
        assert owed.recipient == ANN
        mail = await answers.mail(house.shop, owed)
        assert mail is not None
        text = email.message_from_bytes(mail.content, policy=policy.default).get_body(("plain",))
        assert text is not None
        words.append(" ".join(text.get_content().split()))
    return words


async def ended(house: House) -> TransmissionId:
    fax = await house.fax()
    failed = transmissions.Next(state=T.FAILED, outcome=Outcome.BUSY, reason="busy")
    await house.store.write(transmissions.settle, await values.claim(house.store), failed)
    return fax


async def test_only_who_got_the_mail_may_ask_and_nobody_else_is_answered(house: House) -> None:
    fax = await house.fax()
    with pytest.raises(BadAddress):
        await ask(house, fax, STOP, by="bob@example.com")
    with pytest.raises(NotAdmitted, match="another account's"):
        await ask(house, fax, STOP, account=OTHER)
    assert await said(house) == []
    assert (await values.case(house.store, fax)).wishes == ()


async def test_who_wrote_the_mail_may_ask_though_its_reports_go_elsewhere(house: House) -> None:
    verp = "ann+bounces@example.com"
    submission = replace(values.submission(), envelope=replace(values.submission().envelope, sender=verp))
    (fax,) = (await house.store.write(submissions.accept, submission, [values.call()])).transmissions
    await ask(house, fax, STOP, to=verp)
    assert len((await values.case(house.store, fax)).wishes) == 1
    with pytest.raises(BadAddress):
        await ask(house, fax, STOP, to=verp, by="bob@example.com")


async def test_a_carrier_that_confirms_no_cancel_is_told_of(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    fax = await house.fax()
    await house.work()
    assert (await values.case(house.store, fax)).transmission.state is T.SENDING

    async def unconfirmed(_ref: str) -> bool:
        return False

    monkeypatch.setattr(house.carrier, "cancel", unconfirmed)
    await ask(house, fax, STOP)
    assert "it is done as soon as the step in hand is over" in (await said(house))[0]
    await house.work()
    assert "it may still arrive" in (await said(house))[0]
    assert (await values.case(house.store, fax)).transmission.state is T.SENDING


async def test_a_fax_of_which_nobody_knows_whether_it_is_there_is_not_called_stopped(house: House) -> None:
    fax = await house.fax()
    house.far.listed = False

    house.carrier.behaviour = lost
    await house.work()
    await ask(house, fax, STOP)
    await house.work()
    answer = (await said(house))[0]
    assert "Not cancelled" in answer
    assert "may still arrive" in answer


async def test_the_same_mail_is_taken_once_and_the_same_words_too(house: House) -> None:
    fax = await ended(house)
    await ask(house, fax, RESEND)
    await ask(house, fax, RESEND)
    assert len(await said(house)) == 1
    await ask(house, fax, replace(RESEND, mail="3"))
    await ask(house, fax, replace(RESEND, mail="3"))
    assert len(await said(house)) == 2
    assert sum("Done already" in one for one in await said(house)) == 1
    newest, old = await house.store.read(queries.page)
    assert old.id == fax
    assert (newest.state, newest.pages, newest.document) == (T.ACCEPTED, 2, None)
    assert await house.store.read(resent.of, newest.id) == (old.document, 1, 2)


async def test_what_was_refused_can_be_asked_again(house: House) -> None:
    fax = await house.fax()
    await ask(house, fax, RESEND)
    assert "has not ended yet" in (await said(house))[0]
    failed = transmissions.Next(state=T.FAILED, outcome=Outcome.BUSY, reason="busy")
    await house.store.write(transmissions.settle, await values.claim(house.store), failed)
    await ask(house, fax, replace(RESEND, mail="3"))
    assert len(await house.store.read(queries.page)) == 2


async def test_pages_that_are_to_be_sent_again_stay_until_they_are_made(house: House, clock: Clock) -> None:
    fax = await ended(house)
    document = (await values.case(house.store, fax)).transmission.document
    assert document is not None
    await ask(house, fax, replace(RESEND, words="RESEND 2-2", pages=(2, 2)))
    (newest, _) = await house.store.read(queries.page)
    await house.store.write(retention.discard, fax)
    assert await house.store.read(retention.needed, [document]) == {document}
    claim = await values.claim(house.store, steps.CONVERT)
    made = Sha256("b" * 64)
    await house.store.write(transmissions.prepared, claim, document=made, pages=1, manifest="[]")
    assert await house.store.read(resent.of, newest.id) is None
    assert await house.store.read(retention.needed, [document]) == set()


async def shown(house: House, toll: Toll = approvals.FREE) -> TransmissionId:
    done = await house.store.write(submissions.accept, values.submission(), [values.call()])
    claim = await values.claim(house.store, steps.CONVERT)
    showing = Showing(to=ANN, why="she asked", wait=timedelta(hours=1))
    state = await house.store.write(
        transmissions.prepared, claim, document=SHA, pages=2, manifest="[]", toll=toll, showing=showing
    )
    assert state is T.HELD
    return done.transmissions[0]


async def looked(house: House) -> None:
    for claim in await house.loop._claim(steps.CONVERT, 10):
        await house.loop._step(claim, None)


async def test_a_proof_that_nobody_answers_is_cancelled(house: House, clock: Clock) -> None:
    fax = await shown(house)
    await looked(house)
    assert (await values.case(house.store, fax)).transmission.state is T.HELD
    clock.forward(3700)
    await looked(house)
    now = (await values.case(house.store, fax)).transmission
    assert (now.state, now.outcome) == (T.CANCELLED, Outcome.CANCELLED)
    assert "nobody answered in time" in now.reason
    assert await house.owed(outbox.RESULT, fax) == 1


async def test_after_the_proof_the_accounts_approver_is_asked(house: House) -> None:
    asks = Toll(reasons=("2 pages, more than 1",), approver="boss@example.com", wait=timedelta(days=3))
    fax = await shown(house, asks)
    assert await house.owed(outbox.APPROVAL, fax) == 0
    await ask(house, fax, Wanted(verb="approve", words="APPROVE", mail="4"))
    await looked(house)
    case = await values.case(house.store, fax)
    assert (case.transmission.state, case.transmission.document) == (T.ACCEPTED, SHA)
    claim = await values.claim(house.store, steps.CONVERT)
    await house.store.write(transmissions.prepared, claim, document=SHA, pages=2, manifest="[]", toll=asks)
    found = await house.store.read(approvals.of, fax)
    assert found is not None
    assert (found.approver, found.decided_at, found.proof) == ("boss@example.com", None, False)
    assert await house.owed(outbox.APPROVAL, fax) == 1
    await ask(house, fax, Wanted(verb="approve", words="APPROVE", mail="5"))
    refused = [one for one in await said(house) if "You are not asked" in one]
    assert len(refused) == 1, "who sent it does not approve it"


async def test_an_approver_answers_by_mail_and_with_nothing_else(house: House) -> None:
    asks = Toll(reasons=("2 pages, more than 1",), approver=ANN, wait=timedelta(days=3))
    done = await house.store.write(submissions.accept, values.submission(), [values.call()])
    claim = await values.claim(house.store, steps.CONVERT)
    await house.store.write(transmissions.prepared, claim, document=SHA, pages=2, manifest="[]", toll=asks)
    (fax,) = done.transmissions
    await ask(house, fax, RESEND, scope=Scope.DECIDE, account=OTHER)
    assert "APPROVE and REJECT can be answered" in (await said(house))[0]
    await ask(house, fax, Wanted(verb="reject", words="REJECT", mail="6"), scope=Scope.DECIDE, account=OTHER)
    await looked(house)
    now = (await values.case(house.store, fax)).transmission
    assert (now.state, now.outcome) == (T.FAILED, Outcome.NOT_AUTHORISED)


@pytest.mark.needs("postgres")
async def test_the_other_database_does_the_same(tmp_path: Path, clock: Clock, postgres_url: str) -> None:
    house = House(tmp_path, clock, FarEnd(), url=postgres_url)
    await house.open()
    try:
        await test_the_same_mail_is_taken_once_and_the_same_words_too(house)
        failed = transmissions.Next(state=T.FAILED, outcome=Outcome.BUSY, reason="busy")
        await house.store.write(transmissions.settle, await values.claim(house.store, steps.CONVERT), failed)
        await shown(house)
    finally:
        await house.close()

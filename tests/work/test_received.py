"""Received faxes on their way to mailboxes and archive: who gets them, what waits, and that nothing is forgotten too early."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.config import parse
from gateway.desk.steer import release_received
from gateway.errors import NotAdmitted
from gateway.fax import Account, AccountId, InboundFax, InboundId, InboundState, Line
from gateway.spool import accounts, blocks, inbounds, outbox, queries, schema, steps
from gateway.spool.cabinet import FolderCabinet
from gateway.spool.commit import Transaction
from tests.carriers.tools import Clock
from tests.pages.fax_files import pdf
from tests.spool import values
from tests.work.shop import SETTINGS, House

LINE, CALLER = "+14155550100", "+442079460123"
ACCOUNT = Account(id=AccountId("acc_1"), name="office", countries=("US",))
OFFICE, ANN = "office@example.com", "ann@example.com"


@pytest.fixture
async def shop(house: House) -> AsyncIterator[House]:
    """The account has a line with a mailbox."""
    await house.store.write(accounts.save_account, ACCOUNT)
    await house.store.write(accounts.save_line, Line(number=LINE, account=ACCOUNT.id, carrier="main", mailbox=(OFFICE,)))
    house.identity.forget()
    yield house
    await house.shop.fence.close()


def configure(house: House, *rules: dict[str, Any], **more: Any) -> None:
    """Any: TOML."""
    house.shop.config = parse({**SETTINGS, "spool": str(house.folder), "route": list(rules), **more}, "gateway.toml")
    if house.shop.config.archive is not None:
        house.shop.cabinet = FolderCabinet(house.shop.config.archive_folder)


async def arrive(house: House, ref: str = "far-in-1", **facts: Any) -> InboundFax:
    """A fax is announced with its document, and received. Any: what the carrier says."""
    document = await house.documents.put(pdf("page one", "page two"))
    news = replace(values.news(ref), **{"line": LINE, "caller": CALLER, "document": document.sha256, **facts})
    assert await house.store.write(inbounds.announced, "main", news)
    await turn(house, steps.RECEIVE)
    return await fax(house, ref)


async def fax(house: House, ref: str = "far-in-1") -> InboundFax:
    return next(one for one in await house.store.read(inbounds.page) if one.carrier_ref == ref)


async def turn(house: House, lane: str) -> int:
    """Do every step of a lane that is due now, once; how many there were."""
    claims = await house.loop._claim(lane, 100)
    for claim in claims:
        await house.loop._step(claim, None)
    return len(claims)


async def owed(house: House, kind: str) -> list[tuple[str, str]]:
    """To whom something of a kind is or was owed, and its state."""
    table = schema.outbox
    wanted = select(table.c.recipient, table.c.state).where(table.c.kind == kind).order_by(table.c.recipient)
    return [(row.recipient, row.state) for row in await house.store.read(lambda db: db.execute(wanted).all())]


async def alarms(house: House) -> list[str]:
    table = schema.outbox
    wanted = select(table.c.subject).where(table.c.kind == outbox.ALARM).order_by(table.c.id)
    return list(await house.store.read(lambda db: db.scalars(wanted).all()))


async def mail(house: House, inbound: InboundId, mailbox: str, *, taken: bool) -> None:
    """What the mail server says to one mailbox's mail, as `work.tell` records it."""
    claims = await house.loop._claim(steps.MAIL, 100)

    def record(t: Transaction, wanted: bool) -> None:
        for claim in claims:
            row = outbox.get(t.db, claim.subject)
            assert row is not None
            if row.kind != outbox.RECEIVED or row.recipient != mailbox:
                steps.put_back(t, claim)
            elif outbox.settled(t, claim, outbox.SENT if wanted else outbox.GIVEN_UP, "said"):
                if wanted:
                    inbounds.mailed(t, inbound)
                else:
                    inbounds.undeliverable(t, inbound, "refused")

    await house.store.write(record, taken)


async def story(house: House, inbound: str) -> list[tuple[str, str]]:
    return [(entry.what, entry.detail) for entry in await house.store.read(queries.history, inbound)]


async def test_onr_01_a_rule_sends_it_to_several_mailboxes(shop: House) -> None:
    configure(shop, {"sub_address": "77", "name": "clinic", "mailbox": [OFFICE, ANN]})
    arrived = await arrive(shop, sub_address="77")
    assert arrived.state is InboundState.FETCHED
    assert arrived.route == "rule 1 (clinic)"
    assert await owed(shop, outbox.RECEIVED) == [(ANN, "waiting"), (OFFICE, "waiting")]
    assert ("routed", f"rule 1 (clinic): to {OFFICE}, {ANN}") in await story(shop, arrived.id)


async def test_one_mailbox_that_refuses_it_does_not_repeat_the_others(shop: House) -> None:
    configure(shop, {"caller": "+44*", "mailbox": [OFFICE, ANN]})
    arrived = await arrive(shop)
    await mail(shop, arrived.id, ANN, taken=False)
    assert (await fax(shop)).state is InboundState.HELD
    await mail(shop, arrived.id, OFFICE, taken=True)
    assert (await fax(shop)).state is InboundState.HELD
    await release_received(shop.store, arrived.id, "operator")
    await turn(shop, steps.RECEIVE)
    assert await owed(shop, outbox.RECEIVED) == [(ANN, "waiting"), (OFFICE, "sent")]
    await mail(shop, arrived.id, ANN, taken=True)
    assert (await fax(shop)).state is InboundState.MAILED


async def test_onr_02_a_fax_for_no_line_of_ours_waits_and_the_operator_is_told(shop: House) -> None:
    configure(shop)
    arrived = await arrive(shop, line="+14155550999")
    assert (arrived.state, arrived.reason) == (InboundState.HELD, "In quarantine: +14155550999 is none of our lines.")
    assert await alarms(shop) == ["a received fax waits in quarantine"]
    assert await owed(shop, outbox.RECEIVED) == []
    assert arrived.document is not None, "it can be looked at meanwhile"
    await release_received(shop.store, arrived.id, "operator", [ANN])
    await turn(shop, steps.RECEIVE)
    assert await owed(shop, outbox.RECEIVED) == [(ANN, "waiting")]
    assert ("released", f"operator, to {ANN}") in await story(shop, arrived.id)


async def test_onr_15_a_blocked_caller_is_dropped_and_that_is_never_silent(
    shop: House, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    configure(shop, blocked_callers=["+4420*"])
    await shop.store.write(blocks.add_caller, "unknown", "", "operator")
    caplog.set_level("INFO")
    first, second = await arrive(shop), await arrive(shop, "far-in-2", caller="")
    assert {first.state, second.state} == {InboundState.REFUSED}
    assert first.reason == "Dropped: the caller is blocked (+4420*)."
    assert await owed(shop, outbox.RECEIVED) == []
    lines = [json.loads(record.message) for record in caplog.records if record.name == "faxgate.fax"]
    assert [(line["event"], line["id"]) for line in lines] == [("dropped", first.id), ("dropped", second.id)]
    assert CALLER not in str(lines)
    assert await alarms(shop) == ["received faxes are dropped"], "one a day"
    clock.forward(86400)
    await arrive(shop, "far-in-3")
    assert len(await alarms(shop)) == 2
    await release_received(shop.store, first.id, "operator")  # it was wanted after all
    await turn(shop, steps.RECEIVE)
    assert (await fax(shop)).state is InboundState.FETCHED
    assert await owed(shop, outbox.RECEIVED) == [(OFFICE, "waiting")]


async def test_what_a_rule_holds_is_seen_by_no_account_until_it_is_released(shop: House) -> None:
    configure(shop, {"caller": "+44*", "then": "hold", "mailbox": [ANN]})
    arrived = await arrive(shop)
    assert (arrived.state, arrived.account, arrived.withheld_from) == (InboundState.HELD, "", ACCOUNT.id)
    assert await shop.store.read(inbounds.page, account=ACCOUNT.id) == []
    await release_received(shop.store, arrived.id, "operator")
    assert [one.id for one in await shop.store.read(inbounds.page, account=ACCOUNT.id)] == [arrived.id]
    await turn(shop, steps.RECEIVE)
    assert await owed(shop, outbox.RECEIVED) == [(ANN, "waiting")]


async def test_a_fax_that_is_on_its_way_cannot_be_released(shop: House) -> None:
    configure(shop)
    arrived = await arrive(shop)
    with pytest.raises(NotAdmitted, match="there is nothing to release"):
        await release_received(shop.store, arrived.id, "operator")


async def test_what_a_rule_cannot_know_it_does_not_fit(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page cannot be looked at, however often that is tried: the fax goes to its line's mailbox."""
    configure(shop, {"code": "*", "mailbox": [ANN]})
    document = await shop.documents.put(b"%PDF-1.4 that nobody can read")
    news = replace(values.news("far-in-1"), line=LINE, document=document.sha256)
    assert await shop.store.write(inbounds.announced, "main", news)
    real = shop.shop.fence.run

    async def run(function: str, *args: object) -> object:
        if function == "gateway.pages.received:looked_at":
            return b"%PDF-1.4 that nobody can read", 1, "", 0
        return await real(function, *args)

    monkeypatch.setattr(shop.shop.fence, "run", run)
    await turn(shop, steps.RECEIVE)
    assert await owed(shop, outbox.RECEIVED) == [(OFFICE, "waiting")]


@pytest.mark.parametrize("order", [("archive", OFFICE, ANN), (OFFICE, "archive", ANN), (ANN, OFFICE, "archive")])
async def test_it_is_mailed_only_when_everybody_and_the_archive_have_it(
    shop: House, tmp_path: Path, order: tuple[str, ...]
) -> None:
    (tmp_path / "archive").mkdir()
    configure(shop, {"caller": "+44*", "mailbox": [OFFICE, ANN]}, archive={"folder": str(tmp_path / "archive")})
    arrived = await arrive(shop, station_id="../../ACME")
    for one in order:
        assert (await fax(shop)).state is InboundState.FETCHED
        if one == "archive":
            assert await turn(shop, steps.ARCHIVE) == 1
        else:
            await mail(shop, arrived.id, one, taken=True)
    assert (await fax(shop)).state is InboundState.MAILED
    assert arrived.document is not None
    about, document = sorted((tmp_path / "archive").rglob("*.*"))
    assert document.read_bytes() == await shop.documents.get(arrived.document)
    told = json.loads(about.read_text())
    assert (told["id"], told["caller"], told["station_id"]) == (arrived.id, CALLER, "../../ACME")
    assert (told["file"], told["sha256"], told["pages"], told["complete"]) == (document.name, arrived.document, 2, True)
    assert document.relative_to(tmp_path / "archive").parts[-2] == LINE


async def test_an_archive_that_is_away_is_tried_again_and_tells_the_operator_once(
    shop: House, tmp_path: Path, clock: Clock
) -> None:
    configure(
        shop, {"caller": "+44*", "mailbox": [], "archive": True}, archive={"folder": str(tmp_path / "away"), "every": False}
    )
    await arrive(shop)
    await arrive(shop, "far-in-2")
    for _ in range(6):
        assert await turn(shop, steps.ARCHIVE) == 2
        clock.forward(900)
    assert (await fax(shop)).state is InboundState.FETCHED
    assert await alarms(shop) == ["received faxes cannot be archived"]
    (tmp_path / "away").mkdir()
    assert await turn(shop, steps.ARCHIVE) == 2
    assert {(await fax(shop, ref)).state for ref in ("far-in-1", "far-in-2")} == {InboundState.MAILED}
    assert len(list((tmp_path / "away").rglob("*.pdf"))) == 2


async def test_a_crash_before_the_archive_is_recorded_leaves_one_copy(shop: House, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "archive").mkdir()
    configure(shop, archive={"folder": str(tmp_path / "archive")})
    arrived = await arrive(shop)
    await mail(shop, arrived.id, OFFICE, taken=True)
    claims = await shop.loop._claim(steps.ARCHIVE, 100)
    assert len(claims) == 1
    with pytest.MonkeyPatch.context() as patch:

        async def dies(*_args: object) -> object:
            raise KeyboardInterrupt

        patch.setattr(type(shop.store), "write", dies)
        with pytest.raises(KeyboardInterrupt):
            await shop.loop._step(claims[0], None)
    assert (await fax(shop)).state is InboundState.FETCHED
    before = {path: path.read_bytes() for path in (tmp_path / "archive").rglob("*.*")}
    clock.forward(3600)
    assert await turn(shop, steps.ARCHIVE) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "archive").rglob("*.*")} == before
    assert (await fax(shop)).state is InboundState.MAILED


async def test_an_archive_that_was_taken_out_of_the_configuration_holds_nothing_up(shop: House, tmp_path: Path) -> None:
    configure(shop, archive={"folder": str(tmp_path)})
    arrived = await arrive(shop)
    shop.shop.cabinet = None
    await turn(shop, steps.ARCHIVE)
    await mail(shop, arrived.id, OFFICE, taken=True)
    assert (await fax(shop)).state is InboundState.MAILED
    assert ("not archived", "There is no archive in the configuration any more.") in await story(shop, arrived.id)

"""What senders are told, over a real spool and a real mail server: late faxes, digests, private accounts, carriers that say
nothing; and, for every order and repetition of what a carrier says, exactly one final report."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from gateway.carriers.base import Capabilities
from gateway.fax import Account, AccountId, Sha256, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL
from gateway.seal import Json
from gateway.spool import accounts, inbounds, outbox, schema, seals, steering, steps, submissions, transmissions
from gateway.spool.approvals import Showing
from gateway.spool.store import Store
from gateway.work import delays
from tests.carriers.tools import Clock
from tests.flows.house import Letter, Sink
from tests.pages import fax_files
from tests.spool import values
from tests.work.shop import FarEnd, House

NUMBERS = ("+14155550123", "+14155550124", "+14155550125")


class Told:
    """A house and the mail server that its mails go to."""

    def __init__(
        self, folder: Path, clock: Clock, sink: Sink, *, able: Capabilities | None = None, url: str = "", **sections: Any
    ) -> None:
        mail = {"from": "fax@fax.example.com", "operator": "op@example.com", "smarthost": f"smtp://127.0.0.1:{sink.port}"}
        self.clock, self.sink = clock, sink
        self.arguments: dict[str, Any] = {"url": url, "capabilities": able, "settings": {"mail": mail, **sections}}
        self.folder, self.far = folder, FarEnd()
        self.house = House(folder, clock, self.far, **self.arguments)

    async def again(self) -> None:
        """The process dies and comes back."""
        await self.house.close()
        self.house = House(self.folder, self.clock, self.far, **self.arguments)
        await self.house.open()

    async def faxes(
        self, *numbers: str, notify: Sequence[str] = (), ret: str = "", at: datetime | None = None
    ) -> list[TransmissionId]:
        """One mail to these numbers whose pages are made, and which is with the carrier."""
        store = self.house.store
        base = values.submission()
        header = await self.house.documents.put(b"From: Ann <ann@example.com>\r\nSubject: Contract\r\n\r\nhello\r\n")
        mail = replace(base, accepted_at=self.clock(), document=header.sha256, envelope=replace(base.envelope, ret=ret))
        calls = [values.call(number) for number in numbers]
        calls = [
            replace(c, recipients=tuple(replace(r, notify=tuple(notify)) for r in c.recipients), not_before=at) for c in calls
        ]
        accepted = await store.write(submissions.accept, mail, calls)
        document = await self.house.documents.put(fax_files.pdf("words"))
        for claim in await store.write(steps.claim, steps.CONVERT, 10, 60.0, steps.uptime()):
            await store.write(transmissions.prepared, claim, document=Sha256(document.sha256), pages=2, manifest="[]")
        await self.house.work()
        return list(accepted.transmissions)

    async def ends(self, number: str, status: str = "delivered") -> None:
        """The carrier says how the last call to a number ended, and the fax moves on."""
        call = self.far.to(number)[-1]
        call.status = status
        await self.house.say(call)
        await self.house.work()

    async def told(self) -> list[Letter]:
        """Every mail so far."""
        while await self.house.mail():
            pass
        return self.sink.letters

    async def subjects(self) -> list[str]:
        return [letter.subject.split(" (")[0] for letter in await self.told()]

    async def rows(self, kind: str) -> list[str]:
        """The states of what is owed of a kind."""
        table = schema.outbox
        query = select(table.c.state).where(table.c.kind == kind).order_by(table.c.id)
        return await self.house.store.read(lambda db: list(db.scalars(query)))


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    made.start()
    yield made
    made.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgresql" else ""


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def house(folder: Path, clock: Clock, sink: Sink, **more: Any) -> Told:
    made = Told(folder, clock, sink, **more)
    await made.house.open()
    return made


async def test_a_late_fax_is_told_of_once_and_then_its_end(url: str, tmp_path: Path, clock: Clock, sink: Sink) -> None:
    here = await house(tmp_path, clock, sink, url=url)
    await here.faxes(NUMBERS[0])
    await delays.look(here.house.shop)
    assert await here.told() == []
    clock.forward(1801)
    for _ in range(3):
        await delays.look(here.house.shop)
        await here.told()
    await here.again()
    await delays.look(here.house.shop)
    assert await here.subjects() == ["Fax to +1 415-555-0123 is delayed"]
    assert "nothing needs to be resent" in sink.letters[0].flat
    await here.ends(NUMBERS[0])
    clock.forward(3600)
    await delays.look(here.house.shop)
    assert await here.subjects() == ["Fax to +1 415-555-0123 is delayed", "Fax to +1 415-555-0123 delivered"]
    await here.house.close()


@pytest.mark.parametrize(("notify", "told"), [(("FAILURE",), 0), (("NEVER",), 0), (("DELAY", "FAILURE"), 1)])
async def test_dsn_07_notify_says_whether_a_delay_is_told(
    tmp_path: Path, clock: Clock, sink: Sink, notify: tuple[str, ...], told: int
) -> None:
    here = await house(tmp_path, clock, sink)
    await here.faxes(NUMBERS[0], notify=notify)
    clock.forward(1801)
    await delays.look(here.house.shop)
    assert len(await here.told()) == told
    if told:
        assert b"\r\nAction: delayed\r\n" in sink.letters[0].content
        assert b"\r\nWill-Retry-Until: " in sink.letters[0].content
    await here.house.close()


async def test_a_fax_that_ended_before_its_delay_was_mailed_gets_no_delay_after_its_end(
    tmp_path: Path, clock: Clock, sink: Sink
) -> None:
    here = await house(tmp_path, clock, sink)
    await here.faxes(NUMBERS[0])
    clock.forward(1801)
    await delays.look(here.house.shop)
    await here.ends(NUMBERS[0])
    assert await here.subjects() == ["Fax to +1 415-555-0123 delivered"]
    assert await here.rows(outbox.DELAYED) == [outbox.SILENT]
    await here.house.close()


async def test_a_fax_for_a_later_time_is_late_only_after_it(tmp_path: Path, clock: Clock, sink: Sink) -> None:
    here = await house(tmp_path, clock, sink)
    await here.faxes(NUMBERS[0], at=clock() + timedelta(hours=2))
    clock.forward(7000)
    await delays.look(here.house.shop)
    assert await here.rows(outbox.DELAYED) == []
    clock.forward(2100)
    await delays.look(here.house.shop)
    assert await here.rows(outbox.DELAYED) == [outbox.WAITING]
    await here.house.close()


@pytest.mark.parametrize("delayed", ["never", "2h"])
async def test_the_time_of_a_delay_is_configured(tmp_path: Path, clock: Clock, sink: Sink, delayed: str) -> None:
    here = await house(tmp_path, clock, sink, reports={"delayed": delayed})
    await here.faxes(NUMBERS[0])
    clock.forward(7000)
    await delays.look(here.house.shop)
    assert await here.rows(outbox.DELAYED) == []
    clock.forward(300)
    await delays.look(here.house.shop)
    assert await here.rows(outbox.DELAYED) == ([] if delayed == "never" else [outbox.WAITING])
    await here.house.close()


async def test_que_13_the_faxes_of_a_mail_are_told_in_one_when_all_have_ended(
    url: str, tmp_path: Path, clock: Clock, sink: Sink
) -> None:
    here = await house(tmp_path, clock, sink, url=url, reports={"digest": "4h"})
    await here.faxes(*NUMBERS)
    for number, status in zip(NUMBERS, ("delivered", "disconnected", "delivered"), strict=True):
        assert await here.told() == []
        await here.ends(number, status)
    (mail,) = await here.told()
    assert mail.subject.startswith("2 of 3 faxes delivered")
    assert all(number[-4:] in mail.flat for number in NUMBERS)
    assert mail.content.count(b"\r\nAction: failed\r\n") == 1
    assert await here.rows(outbox.RESULT) == [outbox.SENT] * 3
    await here.house.close()


async def test_que_13_a_digest_waits_no_longer_than_its_time_and_the_rest_is_told_alone(
    tmp_path: Path, clock: Clock, sink: Sink
) -> None:
    here = await house(tmp_path, clock, sink, reports={"digest": "1h"})
    await here.faxes(*NUMBERS)
    await here.ends(NUMBERS[0])
    await here.ends(NUMBERS[1], "disconnected")
    assert await here.told() == []
    clock.forward(1900)
    await delays.look(here.house.shop)
    assert await here.told() == [], "the digest says what is late"
    clock.forward(1900)
    (mail,) = await here.told()
    assert mail.subject.startswith("1 of 3 faxes delivered")
    assert "Not ended yet (1)" in mail.flat
    await here.ends(NUMBERS[2])
    assert (await here.subjects())[1:] == ["Fax to +1 415-555-0125 delivered"]
    await here.house.close()


async def test_a_digest_that_is_mailed_again_after_a_crash_says_the_same(tmp_path: Path, clock: Clock, sink: Sink) -> None:
    here = await house(tmp_path, clock, sink, reports={"digest": "1h"})
    await here.faxes(*NUMBERS)
    await here.ends(NUMBERS[0])
    await here.ends(NUMBERS[1])
    await here.told()
    clock.forward(3601)
    write = here.house.store.write

    async def dies(verb: Any, *arguments: Any, **more: Any) -> Any:
        if getattr(verb, "__qualname__", "").startswith("_record_sent"):
            raise asyncio.CancelledError
        return await write(verb, *arguments, **more)

    here.house.store.write = dies  # type: ignore[method-assign]  # killed between the 250 and the record
    with pytest.raises(asyncio.CancelledError):
        await here.house.mail()
    await here.again()
    await here.ends(NUMBERS[2])
    await here.told()
    first, again, last = sorted(sink.letters, key=lambda letter: "faxes" not in letter.subject)
    assert first.mail["Message-ID"] == again.mail["Message-ID"]
    assert first.mail["Subject"].startswith("2 of 3")
    assert last.subject.startswith("Fax to +1 415-555-0125 delivered")
    assert await here.rows(outbox.RESULT) == [outbox.SENT] * 3
    await here.house.close()


async def test_one_fax_and_mails_that_want_nothing_need_no_digest(tmp_path: Path, clock: Clock, sink: Sink) -> None:
    here = await house(tmp_path, clock, sink, reports={"digest": "1h"})
    await here.faxes(NUMBERS[0])
    await here.ends(NUMBERS[0])
    assert await here.subjects() == ["Fax to +1 415-555-0123 delivered"]
    await here.faxes(*NUMBERS[1:], notify=["NEVER"])
    for number in NUMBERS[1:]:
        await here.ends(number)
    await here.told()
    assert await here.rows(outbox.DIGEST) == []
    assert len(sink.letters) == 1
    await here.house.close()


async def test_dsn_05_a_carrier_that_gives_no_results_is_relayed(tmp_path: Path, clock: Clock, sink: Sink) -> None:
    silent = Capabilities(final_results=False, polls=False, submit_limit=60.0)
    here = await house(tmp_path, clock, sink, able=silent)
    (fax,) = await here.faxes(NUMBERS[0], notify=["SUCCESS"])
    clock.forward(31)
    await here.house.work()
    case = await values.case(here.house.store, fax)
    assert (case.transmission.state, case.transmission.status) == (T.DELIVERED, "2.1.9")
    (mail,) = await here.told()
    assert b"\r\nAction: relayed\r\nStatus: 2.1.9\r\n" in mail.content
    assert "does not say whether it arrived" in mail.flat
    await here.house.close()


OFFICE = Account(id=AccountId("acc_1"), name="office", countries=("US",))


def an_office(**more: Any) -> dict[str, Any]:
    return {"account": [{"name": "office", "countries": ["US"], **more}], "http": {"public_url": "https://x.example"}}


@pytest.mark.parametrize(("ret", "shown"), [("", True), ("HDRS", False)])
async def test_an_account_that_wants_content_gets_the_first_page_and_the_fax(
    tmp_path: Path, clock: Clock, sink: Sink, ret: str, shown: bool
) -> None:
    here = await house(tmp_path, clock, sink, **an_office(reports={"content": True}))
    await here.house.store.write(accounts.save_account, OFFICE)
    await here.faxes(NUMBERS[0], ret=ret)
    await here.ends(NUMBERS[0])
    (mail,) = await here.told()
    kinds = [part.get_content_type() for part in mail.mail.walk()]
    assert ("application/pdf" in kinds, "image/png" in kinds) == (shown, shown)
    await here.house.shop.fence.close()
    await here.house.close()


@pytest.mark.parametrize("others", [{}, {"content": True}])
async def test_a_private_account_gets_a_link_that_ends_and_no_content(
    tmp_path: Path, clock: Clock, sink: Sink, others: dict[str, bool]
) -> None:
    here = await house(tmp_path, clock, sink, reports=others, **an_office(private=True))
    await here.house.store.write(accounts.save_account, OFFICE)
    (fax,) = await here.faxes(NUMBERS[0], ret="FULL")
    await here.ends(NUMBERS[0], "disconnected")
    (mail,) = await here.told()
    link = next(line for line in mail.text.splitlines() if line.startswith("https://x.example/view/"))
    seconds, mac = link.split("/")[-2:]
    until = here.house.shop.views.until(fax, seconds, mac)
    assert until is not None
    assert timedelta(days=6, hours=23) < until - clock() <= timedelta(days=7)
    kinds = {part.get_content_type() for part in mail.mail.walk()}
    assert not kinds & {"application/pdf", "image/png", "message/rfc822"}
    assert b"hello" not in mail.content
    await here.house.close()


@pytest.mark.parametrize("content", [False, True])
async def test_the_proof_of_a_private_account_has_a_link_unless_it_wants_pages(
    content: bool, tmp_path: Path, clock: Clock, sink: Sink
) -> None:
    here = await house(tmp_path, clock, sink, **an_office(private=True, reports={"content": content}))
    store = here.house.store
    await store.write(accounts.save_account, OFFICE)
    (fax,) = (await store.write(submissions.accept, values.submission(), [values.call(NUMBERS[0])])).transmissions
    document = await here.house.documents.put(fax_files.pdf("words"))
    claim = await values.claim(store, steps.CONVERT)
    showing = Showing(to="ann@example.com", why="you asked to see the pages first", wait=timedelta(days=2))
    await store.write(transmissions.prepared, claim, document=Sha256(document.sha256), pages=1, manifest="[]", showing=showing)
    (mail,) = await here.told()
    assert mail.subject.startswith("Send this fax to")
    links = [line for line in mail.text.splitlines() if line.startswith("https://x.example/view/")]
    kinds = {part.get_content_type() for part in mail.mail.walk()}
    if content:
        assert (links, kinds >= {"application/pdf", "image/png"}) == ([], True)
    else:
        assert not kinds & {"application/pdf", "image/png"}
        seconds, mac = links[0].split("/")[-2:]
        until = here.house.shop.views.until(fax, seconds, mac)
        assert until is not None
        assert timedelta(days=1, hours=23) < until - clock() <= timedelta(days=2)
    await here.house.shop.fence.close()
    await here.house.close()


async def test_good_news_is_not_told_to_an_account_that_wants_none(tmp_path: Path, clock: Clock, sink: Sink) -> None:
    here = await house(tmp_path, clock, sink, reports={"delivered": False})
    await here.faxes(*NUMBERS)
    await here.ends(NUMBERS[0])
    await here.ends(NUMBERS[1], "disconnected")
    assert await here.subjects() == ["Fax to +1 415-555-0124 failed: number out of service"]
    await here.faxes("+14155550126", notify=["SUCCESS"])
    await here.ends("+14155550126")
    assert (await here.subjects())[1:] == ["Fax to +1 415-555-0126 delivered"]
    await here.house.close()


#: What a carrier may say of a call, and what may happen meanwhile.
SAID = ("sending", "delivered", "busy", "disconnected", "cancelled")
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 2), st.sampled_from(SAID)),
        st.tuples(st.sampled_from(["work", "mail", "look", "again", "time"]), st.just(0), st.just("")),
    ),
    max_size=14,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves=MOVES, ends=st.lists(st.sampled_from(SAID[1:]), min_size=3, max_size=3), digest=st.booleans())
def test_dsn_18_and_que_11_every_order_and_repetition_of_events_makes_exactly_one_final_report(
    moves: list[tuple[str, int, str]], ends: list[str], digest: bool
) -> None:
    sink = Sink()
    sink.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(_any_order(Path(folder), sink, moves, ends, digest=digest))
    finally:
        sink.stop()


async def _any_order(folder: Path, sink: Sink, moves: list[tuple[str, int, str]], ends: list[str], *, digest: bool) -> None:
    clock = Clock()
    here = await house(folder, clock, sink, reports={"digest": "1h"} if digest else {})
    faxes = await here.faxes(*NUMBERS, notify=["SUCCESS", "FAILURE", "DELAY"])
    for move, which, status in moves:
        match move:
            case "say":
                call = here.far.to(NUMBERS[which])[-1]
                await here.house.say(call, status)
            case "work":
                await here.house.work()
            case "mail":
                await here.house.mail()
            case "look":
                await delays.look(here.house.shop)
            case "again":
                await here.again()
            case _:
                clock.forward(1900)
    for _ in range(40):  # now every call ends as it does
        for number, end in zip(NUMBERS, ends, strict=True):
            for call in here.far.to(number):
                call.status = end if call.status == "sending" else call.status
        clock.forward(2000)
        await here.house.work()
        states = [(await values.case(here.house.store, fax)).transmission.state for fax in faxes]
        if all(state in FINAL for state in states):
            break
        for fax, state in zip(faxes, states, strict=True):
            if state is T.HELD:  # what the carrier said contradicts itself: a person decides
                await here.house.store.write(steering.ask, fax, "release", "fail", "ann")
    assert all(state in FINAL for state in states), states
    clock.forward(3601)
    letters = await here.told()
    final = list(itertools.chain.from_iterable(_final(letter) for letter in letters))
    assert sorted(final) == sorted(NUMBERS), final
    await here.house.close()


def _final(letter: Letter) -> list[str]:
    """The numbers of which a mail is the final report."""
    groups = letter.content.replace(b"\r\n", b"\n").split(b"\n\n")
    final = [group for group in groups if b"\nAction: delivered\n" in group or b"\nAction: failed\n" in group]
    return [group.split(b"Final-Recipient: rfc822;")[1].split(b"\n")[0].decode() for group in final]


async def test_a_digest_that_could_not_be_mailed_is_mailed_again_whole_and_stands_in_the_evidence_of_each_fax(
    url: str, tmp_path: Path, clock: Clock, sink: Sink
) -> None:
    here = await house(tmp_path, clock, sink, url=url, reports={"digest": "4h"})
    store, notary = here.house.store, here.house.shop.notary
    faxes = await here.faxes(*NUMBERS)
    for number in NUMBERS[:2]:
        await here.ends(number)
        await here.told()
    await notary.seal()
    assert [link["state"] for fax in faxes for link in await told_of(store, fax)] == [], "nobody was told yet"
    await here.ends(NUMBERS[2], "disconnected")
    sink.answer = "550 5.1.1 No such user"
    await here.told()
    assert await here.rows(outbox.RESULT) == [outbox.GIVEN_UP] * 3
    await notary.seal()
    sink.answer = "250 kept"
    (digest,) = await store.read(
        lambda db: list(db.scalars(select(schema.outbox.c.id).where(schema.outbox.c.kind == "digest")))
    )
    assert await store.write(inbounds.mailed_again, digest, "an operator")
    assert await here.rows(outbox.RESULT) == [outbox.GATHERED] * 3
    (mail,) = [letter for letter in await here.told() if letter.subject.startswith("2 of 3 faxes delivered")]
    await notary.seal()
    assert await here.rows(outbox.RESULT) == [outbox.SENT] * 3
    for fax in faxes:
        first, second = await told_of(store, fax)
        assert (first["state"], second["state"]) == (outbox.GIVEN_UP, outbox.SENT)
        assert second["message_id"] == mail.mail["Message-ID"]
        assert second["mail"] == hashlib.sha256(mail.content).hexdigest()
    assert await store.read(seals.changed, faxes) == []
    await here.house.close()


async def told_of(store: Store, fax: TransmissionId) -> list[Json]:
    """What the evidence of a fax says of its result."""
    chain = [json.loads(link) for part in await store.read(seals.parts, fax) for link in part.new]
    return [link for link in chain if link["what"] == "told" and link["kind"] == outbox.RESULT]

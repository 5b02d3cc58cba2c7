"""Our HelloFax carrier against our HelloFax door, over real sockets: the whole suite of the carriers, and the rest.

Between the two stands a relay that passes on every request, and answers as a test says where answers are to be lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from gateway import carriers
from gateway.carriers import http
from gateway.carriers.base import Announcement, CallbackRequest, Event, Order, Receipt
from gateway.carriers.hellofax import STATUSES, HelloFax
from gateway.errors import CarrierBusy, CarrierRefused, Outcome
from gateway.fax import CoverPage, TransmissionState
from gateway.spool import inbounds, queries, schema
from gateway.web.guid import guid_of, id_of
from gateway.web.notify import Notifier
from tests.carriers.conformance import FarEnd, HttpCarrierConformance, HttpFarEnd, Signer
from tests.carriers.hellofax_far import callback, said
from tests.carriers.server import Behaviour, Seen, Server, answers, says_nothing
from tests.carriers.tools import Clock, order, tools_for
from tests.spool import values
from tests.web.conftest import LINE, LOGIN, PASSWORD, SECOND, Door, opened, settings

_PASSES_ON = answers(200)
_OVERLOADED = answers(429, Retry_After="7")


class Posted:
    """What the notifier of the far gateway posts."""

    def __init__(self) -> None:
        self.body, self.headers = b"", dict[str, str]()

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        self.body, self.headers = body, {name.lower(): value for name, value in headers.items()}
        return 200


class OtherGateway(HttpFarEnd):
    """Another gateway: its door behind a relay."""

    statuses = STATUSES
    documented = frozenset(STATUSES)
    secrets = (PASSWORD,)

    def __init__(self, adapter: HelloFax, server: Server, door: Door, folder: Path) -> None:
        self.adapter, self.server, self.door, self.folder = adapter, server, door, folder
        self.sends = 0
        self.next_submit: Behaviour = _PASSES_ON
        self.posted = Posted()
        server.behaviour = self._relay

    async def _relay(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        send = seen.method == "POST" and seen.path.endswith("/Transmissions")
        if send and self.next_submit is _OVERLOADED:
            await self.next_submit(seen, writer)
            return
        kept: dict[str, str] = {name: seen.headers[name] for name in ("authorization", "content-type") if name in seen.headers}
        async with httpx.AsyncClient(base_url=self.door.client.base_url, trust_env=False) as client:
            answer = await client.request(seen.method, seen.target, content=seen.body, headers=kept)
        if send:
            self.sends += answer.status_code == 200
        behave = answers(answer.status_code, answer.content)
        await (self.next_submit if send and self.next_submit is not _PASSES_ON else behave)(seen, writer)

    def order(self, reference: str = "at_1") -> Order:
        return order(self.folder, reference=reference)

    def taken(self) -> int:
        return self.sends

    async def finish(self, receipt: Receipt) -> None:
        await self.become(receipt, TransmissionState.DELIVERED)

    async def become(self, receipt: Receipt, state: TransmissionState, outcome: Outcome | None = None) -> None:
        table = schema.transmission
        end = update(table).where(table.c.id == id_of(receipt.carrier_ref))
        end = end.values(state=state.value, pages=2, outcome=outcome.value if outcome else None)
        await self.door.store.write(lambda t: t.db.execute(end).rowcount)

    def refuse(self) -> tuple[Order, Outcome]:
        return replace(self.order(), caller="+14155550199"), Outcome.CARRIER_TROUBLE

    def cut_off(self) -> None:
        self.server.stop_listening()

    async def overload(self, seconds: float) -> None:
        assert seconds == 7
        self.next_submit = _OVERLOADED

    def lose_answer(self) -> Order:
        self.next_submit = answers(502)
        return self.order()

    def garble(self) -> None:
        self.next_submit = answers(200, b"<html>")

    def stall(self) -> None:
        self.next_submit = says_nothing

    def callback(self, word: str, carrier_ref: str = "ref-1", *, signed_by: Signer = "current") -> CallbackRequest:
        status, _, error = word.partition("/")
        return callback(said(StatusCode=status, ErrorCode=error or None, Guid=carrier_ref))

    async def arrive(self, document: bytes) -> tuple[str, str]:
        await self.door.store.write(inbounds.announced, "main", values.news())
        found = await self.door.store.read(inbounds.page)
        office = replace(self.door.office, settings=replace(self.door.office.settings, inbound_callback="https://a.example/in"))
        await Notifier(self.posted, self.door.clock).received(office, found[0], document)  # type: ignore[arg-type]  # posts
        return guid_of(found[0].id), found[0].line

    def arrival(self) -> CallbackRequest:
        return self._as_request()

    def _as_request(self) -> CallbackRequest:
        posted = self.posted
        return CallbackRequest(
            method="POST", url="https://a.example/in", path="inbound", headers=posted.headers, body=posted.body
        )


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[OtherGateway]:
    async with opened(tmp_path / "b", settings(pending=3)) as door, Server() as server, http.client(read=5.0) as client:
        section = {"kind": "hellofax", "url": f"{server.url}/v1", "login": LOGIN, "password": PASSWORD, "time_limit": "3s"}
        tools = tools_for(tmp_path, http=client, now=Clock(), callback_url="https://a.example/callback/main/s")
        adapter = carriers.build("main", {**section, "guid": door.office.guid}, "gateway.toml", tools)
        assert isinstance(adapter, HelloFax)
        await adapter.start()
        yield OtherGateway(adapter, server, door, tmp_path)


class TestHelloFaxAtOurDoor(HttpCarrierConformance):
    @pytest.fixture
    async def far(self, far: OtherGateway) -> OtherGateway:
        return far

    async def test_a_received_fax_is_listed_fetched_and_forgotten(self, far: FarEnd) -> None:
        """Not here: it comes once, in a callback, and cannot be fetched."""
        with pytest.raises(CarrierRefused, match="documents screen"):
            await far.adapter.fetch_inbound("never-heard-of")


@pytest.mark.parametrize(
    ("state", "outcome", "word"),
    [
        (TransmissionState.READY, None, "P"),
        (TransmissionState.SENDING, None, "T"),
        (TransmissionState.HELD, Outcome.NO_CREDIT, "H"),
        (TransmissionState.DELIVERED, Outcome.DELIVERED, "S"),
        (TransmissionState.FAILED, Outcome.BUSY, "E/B"),
        (TransmissionState.FAILED, Outcome.NO_ANSWER, "E/N"),
        (TransmissionState.FAILED, Outcome.BAD_NUMBER, "E/A"),
        (TransmissionState.FAILED, Outcome.DISCONNECTED, "E/D"),
        (TransmissionState.FAILED, Outcome.RECIPIENT_BLOCKED, "E/L"),
        (TransmissionState.FAILED, Outcome.UNKNOWN, "E/U"),
        (TransmissionState.CANCELLED, Outcome.CANCELLED, "E/U"),
    ],
)
async def test_what_the_door_says_is_what_the_carrier_hears(
    far: OtherGateway, state: TransmissionState, outcome: Outcome | None, word: str
) -> None:
    receipt = await far.adapter.submit(far.order())
    await far.become(receipt, state, outcome)
    (event,) = await far.adapter.poll(receipt.carrier_ref)
    assert (event.carrier_code, (event.state, event.outcome)) == (word, STATUSES[word])
    assert bool(event.attention) == (word == "H")


async def test_the_result_is_called_back(far: OtherGateway) -> None:
    receipt = await far.adapter.submit(far.order())
    await far.finish(receipt)
    (fax,) = (await far.door.store.read(queries.transmissions, [id_of(receipt.carrier_ref) or ""])).values()
    await Notifier(far.posted, far.door.clock).sent(far.door.office, fax)  # type: ignore[arg-type]  # posts
    (heard,), _ = far.adapter.parse_callback(far._as_request())
    assert isinstance(heard, Event)
    assert (heard.carrier_ref, heard.outcome, heard.believed) == (receipt.carrier_ref, Outcome.DELIVERED, False)
    assert heard.key == (await far.adapter.poll(receipt.carrier_ref))[0].key


async def test_a_received_fax_comes_with_its_document(far: OtherGateway) -> None:
    await far.arrive(b"%PDF-1.4 received")
    (fax,), _ = far.adapter.parse_callback(far._as_request())
    assert isinstance(fax, Announcement)
    assert (fax.line, fax.document) == (LINE, b"%PDF-1.4 received")


async def test_too_many_pending_faxes_are_a_busy_carrier(far: OtherGateway) -> None:
    for n in range(3):
        await far.adapter.submit(replace(far.order(f"at_{n}"), number=f"+1415555012{n}"))
    with pytest.raises(CarrierBusy):
        await far.adapter.submit(far.order("at_4"))
    assert far.taken() == 3


async def test_the_list_is_read_through_all_its_pages(far: OtherGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.carriers.hellofax._PAGE_SIZE", 1)
    refs = {
        (await far.adapter.submit(replace(far.order(f"at_{n}"), number=f"+1415555012{n}", caller=SECOND))).carrier_ref
        for n in range(3)
    }
    listed = await far.adapter.listing(far.adapter.tools.now().replace(year=2020))
    assert {one.carrier_ref for one in listed} == refs
    assert {one.caller for one in listed} == {SECOND}


async def test_lines_are_bought_and_given_back(far: OtherGateway) -> None:
    assert "415" in await far.adapter.area_codes("CA")
    assert await far.adapter.own_lines() == [LINE, SECOND]
    bought = await far.adapter.buy_line("510")
    assert await far.adapter.own_lines() == sorted([LINE, SECOND, bought])
    await far.adapter.release_line(bought)
    assert await far.adapter.own_lines() == [LINE, SECOND]
    with pytest.raises(CarrierRefused):
        await far.adapter.release_line(bought)
    with pytest.raises(CarrierRefused):
        await far.adapter.buy_line("211")


async def test_a_cover_page_of_theirs_is_asked_for(far: OtherGateway) -> None:
    receipt = await far.adapter.submit(replace(far.order(), cover=CoverPage(to="Bob", message="Hello.")))
    cover = (await far.door.case(receipt.carrier_ref)).submission.cover
    assert (cover.wanted, cover.to, cover.message) == (True, "Bob", "Hello.")
    plain = await far.adapter.submit(replace(far.order("at_2"), number="+14155550124"))
    assert not (await far.door.case(plain.carrier_ref)).submission.cover.wanted


async def test_callback_urls_are_set(tmp_path: Path, far: OtherGateway) -> None:
    config: Any = far.adapter.config.model_copy(update={"set_callbacks": True})
    await HelloFax(far.adapter.tools, config).start()
    account = (await far.door.client.get(far.door.path())).json()["Account"]
    assert account["DefaultInboundFaxCallbackUrl"] == "https://a.example/callback/main/s/inbound"
    assert account["DefaultOutboundFaxCallbackUrl"] == "https://a.example/callback/main/s/outbound"

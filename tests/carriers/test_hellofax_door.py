"""The HelloFax adapter against the HelloFax door: our own carrier through our own gateway, over real sockets.

The door is the real program. Between the two stands a small server that passes everything on, so that a test can lose an
answer, or read the callback that the program posts.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway import carriers
from gateway.carriers import form, http
from gateway.carriers.base import Announcement, CallbackRequest, Event, Order, Receipt
from gateway.carriers.hellofax import HelloFax
from gateway.carriers.hellofax_account import HelloFaxAccount
from gateway.errors import CarrierBusy, CarrierRefused, Outcome
from gateway.fax import AttemptState, CoverPage
from tests.carriers.conformance import LONG_AGO, FarEnd, HttpCarrierConformance
from tests.carriers.hellofax_far import LOGIN, PASSWORD, HelloFaxFarEnd
from tests.carriers.server import Behaviour, Seen, Server, answers, says_nothing
from tests.carriers.tools import LINE, order, tools_for
from tests.flows.house import House, fresh, pdf

_counted = itertools.count(1)
_LOST, _GARBLED = answers(502), answers(200, b"<html>")


@pytest.fixture(scope="module")
def far_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("far"))
    house.settings["line"] = []
    house.settings["door"] = {"hellofax": {"pending": 3}}
    house.settings["http"]["callback_networks"] = ["127.0.0.0/8"]
    house.settings["carrier"]["main"]["call_time"] = "0.3s"
    try:
        house.start()
        yield house
    finally:
        house.close()


class DoorFarEnd(HelloFaxFarEnd):
    """An account of its own in the far house, and the server between."""

    def __init__(self, adapter: HelloFax, server: Server, folder: Path, house: House, login: str) -> None:
        super().__init__(adapter, server, folder)
        self.house, self.login = house, login
        self.fault: Behaviour | None = None
        self.called: list[Seen] = []
        self.secrets = (PASSWORD, f"{login}:{PASSWORD}", base64.b64encode(f"{login}:{PASSWORD}".encode()).decode())

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.path.startswith("/callback/"):
            self.called.append(seen)
            await answers(200)(seen, writer)
            return
        fault = self.fault if seen.method == "POST" else None
        if fault == self._overloaded:
            await fault(seen, writer)
            return
        behave = await self._passed_on(seen)
        await (fault or behave)(seen, writer)

    async def _passed_on(self, seen: Seen) -> Behaviour:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.house.http_port}", timeout=30) as client:
            headers = {name: value for name, value in seen.headers.items() if name not in ("host", "connection")}
            answer = await client.request(seen.method, seen.target, headers=headers, content=seen.body)
        more = {"Retry_After": answer.headers["retry-after"]} if "retry-after" in answer.headers else {}
        return answers(answer.status_code, answer.content, **more)

    def order(self, reference: str = "at_1") -> Order:
        return order(self.folder, number=fresh(), reference=reference, content=pdf("One.", "Two."))

    def taken(self) -> int:
        found = self.house.sql(
            f"select count(*) from transmission t join account a on a.id = t.account_id where a.login = '{self.login}'"
        )
        return int(found[0][0])

    async def finish(self, receipt: Receipt) -> None:
        async with asyncio.timeout(60):
            while (await self.adapter.poll(receipt.carrier_ref))[-1].state is AttemptState.SUBMITTED:
                await asyncio.sleep(0.1)

    def refuse(self) -> tuple[Order, Outcome]:
        return order(self.folder, number="+442079460123", content=pdf("One.")), Outcome.NOT_AUTHORISED

    async def overload(self, seconds: float) -> None:
        assert seconds == 7
        self.fault = self._overloaded

    def lose_answer(self) -> Order:
        self.fault = _LOST
        return self.order()

    def garble(self) -> None:
        self.fault = _GARBLED

    def stall(self) -> None:
        self.fault = says_nothing

    async def arrive(self, document: bytes) -> tuple[str, str]:
        """A fax to our own line: it comes back, and is called back."""
        await self.call_back("Inbound")
        await self.adapter.submit(order(self.folder, number=LINE, content=pdf("To ourselves.")))
        await self.heard()
        said = next(part for part in form.parts(self.called[0].headers, self.called[0].body) if part.name == "json")
        return str(json.loads(said.content)["Transaction"]["Guid"]), LINE

    async def call_back(self, way: str) -> None:
        """The account wants callbacks about one direction, here."""
        account = self.over_there()
        settings = {f"Default{way}FaxCallbackUrl": f"{self.server.url}/callback/x"}
        async with httpx.AsyncClient(auth=account.auth, timeout=30) as client:
            assert (await client.put(account.url, data=settings)).status_code == 200

    def over_there(self) -> HelloFaxAccount:
        assert isinstance(self.adapter, HelloFax)
        return self.adapter._account

    async def heard(self) -> None:
        """Until the program has called."""
        async with asyncio.timeout(60):
            while not self.called:
                await asyncio.sleep(0.05)

    def arrival(self) -> CallbackRequest:
        seen = self.called[0]
        return CallbackRequest(
            method=seen.method, url=self.server.url + seen.target, path="inbound", headers=seen.headers, body=seen.body
        )


@pytest.fixture
async def far(tmp_path: Path, far_house: House) -> AsyncIterator[DoorFarEnd]:
    n = next(_counted)
    login = f"{n}.{LOGIN}"
    account = {"name": f"office {n}", "login": login, "password": PASSWORD, "countries": ["US"], "new": True}
    await asyncio.to_thread(far_house.ask, "account-save", **account)
    if n > 1:
        await asyncio.to_thread(far_house.ask, "line-remove", number=LINE)
    await asyncio.to_thread(far_house.ask, "line-save", number=LINE, account=f"office {n}")
    ((guid,),) = far_house.sql(f"select guid from account where login = '{login}'")
    async with Server() as server, http.client(read=20.0) as client:
        keys = {"kind": "hellofax", "url": server.url + "/v1", "login": login, "password": PASSWORD, "guid": guid}
        tools = tools_for(tmp_path, http=client, callback_url="https://gateway.example/callback/main/0123456789secret")
        adapter = carriers.build("main", {**keys, "time_limit": "4s"}, "gateway.toml", tools)
        assert isinstance(adapter, HelloFax)
        await adapter.start()
        yield DoorFarEnd(adapter, server, tmp_path, far_house, login)
        await adapter.stop()


class TestOurDoor(HttpCarrierConformance):
    async def test_a_received_fax_is_listed_fetched_and_forgotten(self, far: FarEnd) -> None:
        """Not here: it comes once, in a callback, and cannot be fetched."""
        with pytest.raises(CarrierRefused, match="documents screen"):
            await far.adapter.fetch_inbound("never-heard-of")


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        ("11", Outcome.BUSY),
        ("12", Outcome.NO_ANSWER),
        ("13", Outcome.UNKNOWN),
        ("14", Outcome.DISCONNECTED),
        ("15", Outcome.BAD_NUMBER),
        ("21", Outcome.RECIPIENT_BLOCKED),
    ],
)
async def test_every_ending_arrives_on_the_near_side(far: DoorFarEnd, ending: str, outcome: Outcome) -> None:
    receipt = await far.adapter.submit(order(far.folder, number=fresh(ending), content=pdf("One.")))
    await far.finish(receipt)
    event = (await far.adapter.poll(receipt.carrier_ref))[-1]
    assert (event.state, event.outcome, event.pages_sent) == (AttemptState.FAILED, outcome, 0)


async def test_a_fax_on_hold_over_there_asks_for_a_person_here(far: DoorFarEnd) -> None:
    receipt = await far.adapter.submit(order(far.folder, number=fresh("22"), content=pdf("One.")))
    async with asyncio.timeout(30):
        while not (await far.adapter.poll(receipt.carrier_ref))[-1].attention:
            await asyncio.sleep(0.1)
    event = (await far.adapter.poll(receipt.carrier_ref))[-1]
    assert (event.state, event.carrier_code) == (AttemptState.SUBMITTED, "H")


async def test_the_limit_of_pending_faxes_is_a_busy_carrier(far: DoorFarEnd) -> None:
    slow = [order(far.folder, number=fresh("18"), content=pdf("One.")) for _ in range(3)]
    for one in slow:
        await far.adapter.submit(one)
    with pytest.raises(CarrierBusy) as caught:
        await far.adapter.submit(far.order())
    assert caught.value.retry_after == 30
    assert far.taken() == 3


async def test_lines_are_bought_listed_and_given_back_over_there(far: DoorFarEnd) -> None:
    adapter = far.adapter
    assert "212" in await adapter.area_codes("NY")
    number = await adapter.buy_line("212")
    assert set(await adapter.own_lines()) == {LINE, number}
    await adapter.release_line(number)
    assert list(await adapter.own_lines()) == [LINE]
    with pytest.raises(CarrierRefused):
        await adapter.release_line(number)
    with pytest.raises(CarrierRefused):
        await adapter.buy_line("211")


async def test_a_fax_that_was_cancelled_over_there_is_not_dialled_again_here(far: DoorFarEnd) -> None:
    number = fresh("22")
    receipt = await far.adapter.submit(order(far.folder, number=number, content=pdf("One.")))
    held = await asyncio.to_thread(far.house.fax, number, "held")
    await asyncio.to_thread(far.house.cli, "cancel", held["id"])
    await far.finish(receipt)
    event = (await far.adapter.poll(receipt.carrier_ref))[-1]
    assert (event.carrier_code, event.outcome) == ("E/U", Outcome.UNKNOWN)


async def test_the_result_is_called_back_and_only_a_hint(far: DoorFarEnd) -> None:
    await far.call_back("Outbound")
    receipt = await far.adapter.submit(far.order())
    await far.heard()
    (heard,), _ = far.adapter.parse_callback(far.arrival())
    assert isinstance(heard, Event)
    assert (heard.carrier_ref, heard.outcome, heard.believed) == (receipt.carrier_ref, Outcome.DELIVERED, False)
    assert heard.key == (await far.adapter.poll(receipt.carrier_ref))[-1].key


async def test_a_received_fax_comes_with_its_document(far: DoorFarEnd) -> None:
    await far.arrive(b"")
    (fax,), _ = far.adapter.parse_callback(far.arrival())
    assert isinstance(fax, Announcement)
    assert fax.document is not None
    assert fax.document.startswith(b"%PDF")


async def test_the_list_is_read_through_all_its_pages(far: DoorFarEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.carriers.hellofax._PAGE_SIZE", 1)
    refs = {(await far.adapter.submit(far.order())).carrier_ref for _ in range(3)}
    listed = await far.adapter.listing(LONG_AGO)
    assert {one.carrier_ref for one in listed} == refs
    assert {one.caller for one in listed} == {LINE}


async def test_a_cover_page_of_theirs_is_asked_for(far: DoorFarEnd) -> None:
    asked = [CoverPage(to="Bob", message="Hello."), None]
    numbers = [fresh() for _ in asked]
    for number, cover in zip(numbers, asked, strict=True):
        await far.adapter.submit(replace(order(far.folder, number=number, content=pdf("One.")), cover=cover))
    pages = [await asyncio.to_thread(far.house.fax, number) for number in numbers]
    assert [fax["pages"] for fax in pages] == [2, 1]


async def test_callback_urls_are_set(far: DoorFarEnd) -> None:
    account = far.over_there()
    assert await account.set_callbacks()
    async with httpx.AsyncClient(auth=account.auth, timeout=30) as client:
        settings = (await client.get(account.url)).json()["Account"]
    for way in ("inbound", "outbound"):
        assert settings[f"Default{way.title()}FaxCallbackUrl"] == f"{account._tools.callback_url}/{way}"

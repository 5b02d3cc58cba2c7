"""The PamFax adapter against the PamFax door: our own carrier through our own gateway, over real sockets, in both formats.

The door is the real program. Between the two stands a small server that passes everything on, so that a test can lose an
answer.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from gateway import carriers
from gateway.carriers import http
from gateway.carriers.base import Order, Receipt
from gateway.carriers.pamfax import PamFax
from gateway.errors import CarrierRefused, Outcome
from gateway.fax import AttemptState
from tests.carriers.conformance import FarEnd, HttpCarrierConformance
from tests.carriers.pamfax_far import KEY, PASSWORD, SECRET, PamFaxFarEnd
from tests.carriers.server import Behaviour, Seen, Server, answers
from tests.carriers.tools import LINE, order, tools_for
from tests.flows.house import House, fresh, pdf

_counted = itertools.count(1)


@pytest.fixture(scope="module")
def far_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("far"))
    secret = house.folder / "application.secret"
    secret.write_text(SECRET)
    house.settings["line"] = []
    house.settings["door"] = {"pamfax": {}}
    house.settings["door.pamfax.application"] = [{"key": KEY, "secret_file": str(secret), "zone": "Asia/Tokyo"}]
    house.settings["carrier"]["main"]["call_time"] = "0.3s"
    try:
        house.start()
        yield house
    finally:
        house.close()


class DoorFarEnd(PamFaxFarEnd):
    """An account of its own in the far house, and the server between."""

    def __init__(self, adapter: PamFax, server: Server, folder: Path, house: House, login: str) -> None:
        super().__init__(adapter, server, folder)
        self.house, self.login = house, login

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        assert SECRET.encode() not in seen.body
        sends = seen.path.endswith("/Send") and self.on_send is not None
        behave = await self._passed_on(seen) if self.takes or not sends else answers(500)
        if sends and self.on_send is not None:
            behave = self.on_send
        await behave(seen, writer)

    async def _passed_on(self, seen: Seen) -> Behaviour:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.house.http_port}", timeout=30) as client:
            headers = {name: value for name, value in seen.headers.items() if name not in ("host", "connection")}
            answer = await client.request(seen.method, seen.target, headers=headers, content=seen.body)
        return answers(answer.status_code, answer.content, Content_Type=answer.headers["content-type"])

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

    async def arrive(self, document: bytes) -> tuple[str, str]:
        """A fax to our own line: it comes back."""
        await self.adapter.submit(order(self.folder, number=LINE, content=pdf("To ourselves.")))
        async with asyncio.timeout(60):
            while not (found := await self.adapter.list_inbound()):
                await asyncio.sleep(0.1)
        return found[0].carrier_ref, LINE


async def near(house: House, folder: Path, format: str, credit: float = 100, **section: str) -> AsyncIterator[DoorFarEnd]:
    """An adapter for a new account with credit, which has the line."""
    n = next(_counted)
    name, login = f"office {n}", f"{n}.fax@office.example"
    account = {"name": name, "login": login, "password": PASSWORD, "countries": ["US"], "prepaid": True, "new": True}
    await asyncio.to_thread(house.ask, "account-save", **account)
    await asyncio.to_thread(house.ask, "account-credit", name=name, amount=int(credit * 1_000_000), about=name, note="a test")
    if n > 1:
        await asyncio.to_thread(house.ask, "line-remove", number=LINE)
    await asyncio.to_thread(house.ask, "line-save", number=LINE, account=name)
    async with Server() as server, http.client(read=20.0) as client:
        keys = {"kind": "pamfax", "api_key": KEY, "api_secret": SECRET, "username": login, "password": PASSWORD}
        keys |= {"url": f"{server.url}/pamfax", "format": format, "timezone": "Asia/Tokyo", "time_limit": "5s", **section}
        adapter = carriers.build("main", keys, "gateway.toml", tools_for(folder, http=client))
        assert isinstance(adapter, PamFax)
        await adapter.start()
        yield DoorFarEnd(adapter, server, folder, house, login)
        await adapter.stop()


@pytest.fixture(params=["json", "xml"])
async def far(tmp_path: Path, far_house: House, request: pytest.FixtureRequest) -> AsyncIterator[DoorFarEnd]:
    async for one in near(far_house, tmp_path, request.param):
        yield one


class TestOurDoor(HttpCarrierConformance):
    async def test_a_received_fax_is_listed_fetched_and_forgotten(self, far: FarEnd) -> None:
        """As everywhere, but the document is as a fax machine prints it."""
        ref, line = await far.arrive(b"")
        listed = await far.adapter.list_inbound()
        assert [(fax.carrier_ref, fax.line) for fax in listed] == [(ref, line)]
        assert abs((listed[0].received_at - far.adapter.tools.now()).total_seconds()) < 60
        first, second = [await far.adapter.fetch_inbound(ref) for _ in range(2)]
        assert first == second
        assert first.startswith(b"%PDF-")
        for _ in range(2):
            await far.adapter.forget_inbound(ref)
        assert await far.adapter.list_inbound() == []
        with pytest.raises(CarrierRefused):
            await far.adapter.fetch_inbound("never-heard-of")


@pytest.fixture
async def json_far(tmp_path: Path, far_house: House) -> AsyncIterator[DoorFarEnd]:
    async for one in near(far_house, tmp_path, "json", credit=1):
        yield one


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        ("11", Outcome.BUSY),
        ("12", Outcome.NO_ANSWER),
        ("13", Outcome.NOT_A_FAX),
        ("14", Outcome.DISCONNECTED),
        ("15", Outcome.BAD_NUMBER),
        ("21", Outcome.RECIPIENT_BLOCKED),
    ],
)
async def test_every_ending_arrives_on_the_near_side(json_far: DoorFarEnd, ending: str, outcome: Outcome) -> None:
    receipt = await json_far.adapter.submit(order(json_far.folder, number=fresh(ending), content=pdf("One.")))
    await json_far.finish(receipt)
    event = (await json_far.adapter.poll(receipt.carrier_ref))[-1]
    assert (event.state, event.outcome, event.pages_sent) == (AttemptState.FAILED, outcome, 0)


async def test_a_fax_that_the_credit_over_there_does_not_cover_is_not_sent(json_far: DoorFarEnd) -> None:
    pages = pdf(*(f"Page {n}." for n in range(40)))
    with pytest.raises(CarrierRefused) as caught:
        await json_far.adapter.submit(order(json_far.folder, number=fresh(), content=pages, pages=40))
    assert caught.value.outcome is Outcome.NO_CREDIT
    assert json_far.taken() == 0


async def test_the_price_is_told_and_the_lines_are_listed(json_far: DoorFarEnd) -> None:
    assert str(await json_far.adapter.price("+14155550123", 2)).endswith(" EUR")
    assert await json_far.adapter.own_lines() == [LINE]


async def test_the_doors_listener_tells_which_faxes_have_ended(json_far: DoorFarEnd) -> None:
    assert (await json_far.adapter.changes()).whole is False
    receipts = [await json_far.adapter.submit(order(json_far.folder, number=fresh(), content=pdf("One."))) for _ in range(2)]
    heard = set[str]()
    async with asyncio.timeout(60):
        while not heard >= {receipt.carrier_ref for receipt in receipts}:
            changes = await json_far.adapter.changes()
            assert changes.whole
            heard |= set(changes.carrier_refs)
            await asyncio.sleep(0.1)
    assert heard == {receipt.carrier_ref for receipt in receipts}
    assert json_far.adapter.hears


async def test_the_doors_report_is_a_pdf_after_the_end(json_far: DoorFarEnd) -> None:
    receipt = await json_far.adapter.submit(order(json_far.folder, number=fresh(), content=pdf("One.")))
    await json_far.finish(receipt)
    assert (await json_far.adapter.report(receipt.carrier_ref)).startswith(b"%PDF-")
    with pytest.raises(CarrierRefused):
        await json_far.adapter.report("never-heard-of")


@pytest.fixture(params=["json", "xml"])
async def delaying(tmp_path: Path, far_house: House, request: pytest.FixtureRequest) -> AsyncIterator[DoorFarEnd]:
    async for one in near(far_house, tmp_path, request.param, delayed="carrier"):
        yield one


async def test_the_door_keeps_the_time_of_a_delayed_fax_and_cancels_it(delaying: DoorFarEnd) -> None:
    at = (delaying.adapter.tools.now() + timedelta(days=2)).replace(microsecond=0)
    assert delaying.adapter.delays(at)
    whole = replace(order(delaying.folder, number=fresh(), content=pdf("One.")), send_at=at)
    receipt = await delaying.adapter.submit(whole)
    (event,) = await delaying.adapter.poll(receipt.carrier_ref)
    assert (event.state, event.carrier_code) == (AttemptState.SUBMITTED, "delayed")
    ((due,),) = delaying.house.sql(f"select due_at from transmission where id = 'tx_{receipt.carrier_ref}'")
    assert datetime.fromisoformat(str(due)) == at, "on the clock of the account, which is another one than ours"
    assert await delaying.adapter.went_out(receipt.carrier_ref)
    assert await delaying.adapter.cancel(receipt.carrier_ref) is True


@pytest.fixture
async def poor(tmp_path: Path, far_house: House) -> AsyncIterator[DoorFarEnd]:
    async for one in near(far_house, tmp_path, "json", credit=0.01, unpaid="queue"):
        yield one


async def test_a_fax_waits_at_the_door_for_credit_and_goes_out_when_it_comes(poor: DoorFarEnd) -> None:
    whole = order(poor.folder, number=fresh(), content=pdf("One."))
    carrier_ref = await poor.adapter.open(whole)
    receipt = await poor.adapter.submit(whole, carrier_ref)
    async with asyncio.timeout(60):
        while not await poor.adapter.went_out(carrier_ref):
            await asyncio.sleep(0.1)
    assert (await poor.adapter.poll(carrier_ref))[-1].state is AttemptState.SUBMITTED
    name = poor.house.sql(f"select name from account where login = '{poor.login}'")[0][0]
    await asyncio.to_thread(poor.house.ask, "account-credit", name=name, amount=5_000_000, about="more", note="a test")
    await poor.finish(receipt)
    assert (await poor.adapter.poll(carrier_ref))[-1].state is AttemptState.DELIVERED
    assert poor.taken() == 1


@pytest.fixture
async def rich(tmp_path: Path, far_house: House) -> AsyncIterator[DoorFarEnd]:
    async for one in near(far_house, tmp_path, "json"):
        yield one


async def test_twenty_faxes_at_once_each_with_its_own_pages(rich: DoorFarEnd) -> None:
    numbers = [fresh() for _ in range(20)]
    for number in numbers:
        (rich.folder / number).mkdir()
    orders = [order(rich.folder / number, number=number, pages=1, content=pdf(f"For {number}.")) for number in numbers]
    refs = [receipt.carrier_ref for receipt in await asyncio.gather(*(rich.adapter.submit(one) for one in orders))]
    for number, ref in zip(numbers, refs, strict=True):
        await rich.finish(Receipt(carrier_ref=ref))
        (fax,) = await asyncio.to_thread(rich.house.faxes, number)
        assert fax["id"] == f"tx_{ref}"
        assert f"For {number}" in "".join(await asyncio.to_thread(rich.house.pages, fax))

"""The PamFax door over a real spool on a real socket, and a program that calls it. Nothing works on the faxes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
from argon2 import PasswordHasher
from sqlalchemy import select, update

from gateway.carriers import pamfax_wire as wire
from gateway.carriers.base import Capabilities
from gateway.carriers.loopback import Loopback, LoopbackConfig
from gateway.config import Config, parse
from gateway.desk.admission import Admission
from gateway.desk.applications import Application, Applications
from gateway.desk.bounces import Bounces
from gateway.desk.identity import Identity
from gateway.desk.ledger import Ledger
from gateway.desk.limits import Limits
from gateway.desk.lines import Lines
from gateway.desk.prices import Prices
from gateway.desk.submit import Desk
from gateway.desk.throttle import Throttle
from gateway.fax import Account
from gateway.pages.fence import Fence
from gateway.sections import Http
from gateway.spool import ledger
from gateway.spool.commit import Transaction
from gateway.spool.documents import Documents
from gateway.spool.inbounds import News, announced
from gateway.spool.schema import inbound, pamfax_file, transmission
from gateway.spool.store import Store
from gateway.templates import Templates
from gateway.web.app import WebDoor
from gateway.web.outbound import Outbound
from gateway.web.pamfax.house import House
from gateway.web.pamfax.previews import Previews
from gateway.web.pamfax_api import PamFaxApi
from tests.carriers.tools import Clock, tools_for
from tests.flows.house import pdf

LOGIN, PASSWORD, OTHER = "office@example.com", "somepass", "other@example.net"
LINE = "+14155550100"
TO = "+14155550123"
LETTER = {"file": ("letter.pdf", pdf("A letter."), "application/pdf")}


def settings(**more: Any) -> Config:
    accounts = [
        {"name": name, "login": login, "password": PASSWORD, "countries": ["US", "GB", "DE"], "prepaid": True}
        for name, login in (("office", LOGIN), ("other", OTHER))
    ]
    return parse(
        {
            "domain": "fax.example.com",
            "region": "US",
            "spool": "spool",
            "mail": {"from": "fax@fax.example.com", "operator": "operator@example.com"},
            "account": accounts,
            "line": [{"number": LINE, "account": "office", "carrier": "main"}],
            "door": {"pamfax": {}},
            "currencies": {"USD": "0.75"},
            **more,
        },
        "gateway.toml",
    )


def maker(folder: Path) -> Config:
    """A configuration with an application, `maker`, that may make accounts."""
    (folder / "maker.secret").write_text("word")
    application = {"key": "maker", "secret_file": str(folder / "maker.secret"), "countries": ["US"], "zone": "Europe/Berlin"}
    return settings(door={"pamfax": {"application": [application]}}, http={"callback_networks": ["127.0.0.0/8"]})


@dataclass(slots=True)
class Door:
    """The door, what stands behind it, and the token of whoever signed in last."""

    client: httpx.AsyncClient
    house: House
    clock: Clock
    application: Application
    office: Account
    token: str = ""

    async def raw(self, path: str, *, upload: Any = None, get: bool = False, **arguments: Any) -> httpx.Response:
        """One call with a checksum."""
        said = {**arguments, "apikey": self.application.key}
        if self.token and "usertoken" not in said:
            said["usertoken"] = self.token
        said["apicheck"] = wire.apicheck(said, self.application.secret)
        pairs: Any = wire.pairs(said)
        if get:
            return await self.client.get(f"/pamfax/{path}", params=pairs)
        if upload is not None:
            return await self.client.post(f"/pamfax/{path}", params=pairs, files=upload)
        return await self.client.post(f"/pamfax/{path}", data=dict(pairs))

    async def call(self, path: str, **arguments: Any) -> dict[str, Any]:
        """A call in JSON that succeeds; what it answers beside `result`."""
        answer = await self.raw(path, apioutputformat=wire.JSON, **arguments)
        assert answer.headers["content-type"].startswith("application/json"), answer.text
        body: dict[str, Any] = answer.json()
        result = body.pop("result")
        assert result["code"] == "success", result
        assert result["count"] == len(body)
        return body

    async def code(self, path: str, **arguments: Any) -> str:
        """The code that a call is answered with."""
        answer = await self.raw(path, apioutputformat=wire.JSON, **arguments)
        assert answer.status_code == 200
        return str(answer.json()["result"]["code"])

    async def sign_in(self, login: str = LOGIN) -> dict[str, Any]:
        self.token = ""
        body = await self.call("Session/VerifyUser", username=login, password=PASSWORD)
        self.token = body["UserToken"]["token"]
        return body

    async def ready(self) -> dict[str, Any]:
        """The job's state, once it is ready to be sent."""
        for _ in range(100):
            body = await self.call("FaxJob/GetFaxState")
            if body["FaxContainer"]["state"] != "editing":
                return body
            await asyncio.sleep(0.1)
        raise AssertionError(body)

    async def credit(self, eur: int) -> None:
        await self.house.ledger.credit(self.office.id, eur * 1_000_000, "test")


async def arrived(door: Door, ref: str = "r1", caller: str = "+14155550177") -> str:
    """A received fax with its pages; its uuid."""
    store = door.house.store
    document = await door.house.documents.put(LETTER["file"][1])
    news = News(
        carrier_ref=ref,
        line=LINE,
        caller=caller,
        station_id="",
        sub_address="",
        pages=1,
        complete=True,
        seconds=10.0,
        received_at=store.now(),
        document=document.sha256,
    )
    await store.write(announced, "main", news)

    def fetched(t: Transaction) -> str:
        one = inbound.c.carrier_ref == ref
        t.db.execute(update(inbound).where(one).values(document=document.sha256, state="fetched"))
        return str(t.db.scalar(select(inbound.c.id).where(one)))

    return (await store.write(fetched)).removeprefix("in_")


async def ended(door: Door, uuid: str, state: str = "failed") -> None:
    """A fax has ended, as if a carrier had called; what was held for it is given back."""

    def record(t: Transaction) -> None:
        of = transmission.c
        fax = t.db.execute(select(transmission).where(of.id == f"tx_{uuid}")).one()
        document = t.db.scalar(select(pamfax_file.c.document))
        values = {"state": state, "finished_at": t.now, "cost": 0, "document": document, "pages": 1}
        t.db.execute(update(transmission).where(of.id == f"tx_{uuid}").values(**values))
        if fax.held:
            ledger.refund(t, fax.account_id, fax.id, fax.held)

    await door.house.store.write(record)


def entries(listing: dict[str, Any]) -> list[Any]:
    """The entries of a list in JSON."""
    assert listing["type"] == "list"
    return list(listing.get("content", []))


def element(answer: httpx.Response) -> ElementTree.Element:
    """The root of an answer in XML."""
    assert answer.headers["content-type"].startswith("text/xml"), answer.headers
    return ElementTree.fromstring(answer.content)  # our own


@contextlib.asynccontextmanager
async def opened(folder: Path, config: Config, *, sandbox: bool = True, own: str = "") -> AsyncIterator[Door]:
    """The door; the program is a new application, or the `own` one of the configuration."""
    clock = Clock()
    store, documents = Store(folder / "spool", now=clock), Documents(folder / "spool" / "documents")
    store.open()
    store.start()
    documents.open()
    identity, prices = Identity(store), Prices(config)
    identity._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # the costly one is measured elsewhere
    await identity.declare(config)
    admission = Admission({"main": Capabilities()})
    desk = Desk(
        store=store,
        documents=documents,
        identity=identity,
        admission=admission,
        prices=prices,
        limits=Limits(config, prices),
        default_carrier="main",
        bounces=Bounces(lambda: bytes(32), "fax.example.com"),
    )
    applications = Applications(store, bytes(32))
    await applications.declare(config)
    application = await applications.find(own) if own else await applications.add("test", "Europe/Berlin")
    assert application is not None
    fence = Fence(memory=1_000_000_000, time_limit=60, folder=folder / "spool" / "documents" / "work")
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient())
        carrier = Loopback(tools_for(folder / "loopback", http=http, now=clock), LoopbackConfig(kind="loopback"))
        await carrier.start()
        outbound = Outbound(config.http.callback_networks)
        previews = Previews(store=store, documents=documents, fence=fence)
        house = House(
            config=config,
            identity=identity,
            desk=desk,
            store=store,
            documents=documents,
            lines=Lines(identity, store, {"main": carrier}),
            throttle=Throttle(identity),
            prices=prices,
            ledger=Ledger(store),
            templates=Templates(None),
            previews=previews,
            outbound=outbound,
            sandbox=sandbox,
        )
        web = WebDoor(Http(listen="127.0.0.1:0"), PamFaxApi(house, applications).routes())
        await web.start()
        base = f"http://127.0.0.1:{web.address[1]}"
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=base, trust_env=False, timeout=30))
        office = next(account for account in await identity.all() if account.login == LOGIN)
        try:
            yield Door(client, house, clock, application, office)
        finally:
            await web.stop()
            await previews.stop()
            await outbound.close()
            await carrier.stop()
            await fence.close()
            identity.close()
            documents.close()
            await store.close()

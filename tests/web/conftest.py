"""The HelloFax door on a real socket over a real spool. Nothing works on the faxes: they stay as they were accepted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from gateway.carriers.base import Capabilities
from gateway.carriers.loopback import Loopback, LoopbackConfig
from gateway.config import Config, parse
from gateway.desk.admission import Admission
from gateway.desk.bounces import Bounces
from gateway.desk.identity import Identity
from gateway.desk.limits import Limits
from gateway.desk.lines import Lines
from gateway.desk.prices import Prices
from gateway.desk.submit import Desk
from gateway.desk.throttle import Throttle
from gateway.fax import Account
from gateway.sections import Http
from gateway.spool import queries
from gateway.spool.documents import Documents
from gateway.spool.queries import Case
from gateway.spool.store import Store
from gateway.web.app import WebDoor
from gateway.web.guid import id_of
from gateway.web.hellofax_api import HelloFaxApi
from tests.carriers.tools import Clock, tools_for

LOGIN, PASSWORD = "office@example.com", "correct horse: battery staple"
OTHER = "other@example.net"
LINE, SECOND = "+14155550100", "+14155550101"


def settings(pending: int = 200) -> Config:
    accounts = [
        {"name": name, "login": login, "password": PASSWORD, "countries": ["US", "CA", "GB"]}
        for name, login in (("office", LOGIN), ("other", OTHER))
    ]
    lines = [
        {"number": LINE, "account": "office", "carrier": "main"},
        {"number": SECOND, "account": "office", "carrier": "main"},
        {"number": "+14155550199", "account": "other", "carrier": "main"},
    ]
    return parse(
        {
            "domain": "fax.example.com",
            "region": "US",
            "spool": "spool",
            "mail": {"from": "fax@fax.example.com", "operator": "operator@example.com"},
            "account": accounts,
            "line": lines,
            "door": {"hellofax": {"pending": pending}},
        },
        "gateway.toml",
    )


@dataclass(slots=True)
class Door:
    """The door, and what stands behind it."""

    client: httpx.AsyncClient
    address: tuple[str, int]
    store: Store
    documents: Documents
    identity: Identity
    clock: Clock
    office: Account
    other: Account

    def path(self, rest: str = "", account: Account | None = None) -> str:
        return f"/v1/Accounts/{(account or self.office).guid}{rest}"

    async def send(self, *, url: str = "", **arguments: Any) -> httpx.Response:
        """POST to Transmissions."""
        return await self.client.post(url or self.path("/Transmissions"), **arguments)

    async def case(self, guid: object) -> Case:
        """The fax that an answer names."""
        found = await self.store.read(queries.case, id_of(str(guid)) or "")  # type: ignore[arg-type]  # an id is text
        assert found is not None
        return found

    async def mail(self, guid: object) -> bytes:
        """What the fax is made of."""
        case = await self.case(guid)
        async with self.documents.local(case.submission.document) as path:
            return path.read_bytes()

    async def sent(self) -> int:
        """How many faxes there are."""
        return sum(count for count, _ in (await self.store.read(queries.unfinished)).values())


@contextlib.asynccontextmanager
async def opened(folder: Path, config: Config) -> AsyncIterator[Door]:
    clock = Clock()
    store, documents = Store(folder / "spool", now=clock), Documents(folder / "spool" / "documents")
    store.open()
    store.start()
    documents.open()
    identity = Identity(store)
    identity._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # the costly one is measured elsewhere
    await identity.declare(config)
    desk = Desk(
        store=store,
        documents=documents,
        identity=identity,
        admission=Admission({"main": Capabilities()}),
        prices=Prices(config),
        limits=Limits(config, Prices(config)),
        default_carrier="main",
        bounces=Bounces(lambda: bytes(32), "fax.example.com"),
    )
    async with httpx.AsyncClient() as http:
        carrier = Loopback(tools_for(folder / "loopback", http=http, now=clock), LoopbackConfig(kind="loopback"))
        await carrier.start()
        lines = Lines(identity, store, {"main": carrier})
        web = WebDoor(
            Http(listen="127.0.0.1:0"),
            HelloFaxApi(config, identity, desk, store, lines, throttle=Throttle(identity)).routes(),
        )
        await web.start()
        base = f"http://127.0.0.1:{web.address[1]}"
        async with httpx.AsyncClient(base_url=base, auth=(LOGIN, PASSWORD), trust_env=False, timeout=30) as client:
            office, other = sorted(await identity.all(), key=lambda account: account.name)
            try:
                yield Door(client, web.address, store, documents, identity, clock, office, other)
            finally:
                await web.stop()
                await carrier.stop()
                identity.close()
                documents.close()
                await store.close()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, settings()) as made:
        yield made

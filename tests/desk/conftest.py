"""A desk over a real spool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.carriers.base import Capabilities
from gateway.config import Config, parse
from gateway.desk.admission import Admission
from gateway.desk.bounces import Bounces
from gateway.desk.identity import Identity
from gateway.desk.limits import Limits
from gateway.desk.prices import Prices
from gateway.desk.submit import Desk
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from tests.carriers.tools import Clock

PASSWORD = "correct horse battery staple"
ACCOUNT: Mapping[str, Any] = {
    "name": "office",
    "login": "office@example.com",
    "password": PASSWORD,
    "senders": ["*@example.com", "boss@example.net"],
    "networks": ["192.0.2.0/24", "2001:db8::/32"],
    "countries": ["US"],
}
LINE = {"number": "+14155550100", "account": "office", "carrier": "main", "mailbox": ["office@example.com"]}


def configured(*accounts: Mapping[str, Any], lines: tuple[Mapping[str, Any], ...] = ()) -> Config:
    return parse(
        {
            "domain": "fax.example.com",
            "region": "US",
            "spool": "spool",
            "mail": {"from": "fax@fax.example.com", "operator": "operator@example.com"},
            "account": [dict(account) for account in accounts],
            "line": [dict(line) for line in lines],
            "carrier": {"main": {"kind": "loopback"}, "other": {"kind": "loopback"}},
        },
        "gateway.toml",
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    made = Store(tmp_path / "spool", now=clock)
    made.open()
    made.start()
    yield made
    await made.close()


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[Documents]:
    made = Documents(tmp_path / "spool" / "documents")
    made.open()
    yield made
    made.close()


@pytest.fixture
async def identity(store: Store) -> AsyncIterator[Identity]:
    made = Identity(store)
    yield made
    made.close()


@pytest.fixture
def desk(store: Store, documents: Documents, identity: Identity) -> Desk:
    able = {"main": Capabilities(sub_addresses=True), "other": Capabilities()}
    return Desk(
        store=store,
        documents=documents,
        identity=identity,
        admission=Admission(able),
        prices=Prices(configured()),
        limits=Limits(configured(), Prices(configured())),
        default_carrier="main",
        bounces=Bounces(lambda: bytes(32), "fax.example.com"),
    )

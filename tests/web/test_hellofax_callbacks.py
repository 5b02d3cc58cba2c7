"""Recorded HelloFax callbacks into the real receiver: over a socket, by curl, into a real spool."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from gateway import carriers
from gateway.carriers import http
from gateway.carriers.base import Announcement, Event
from gateway.desk.statements import Statements
from gateway.fax import AttemptState, Sha256
from gateway.sections import Http
from gateway.spool import schema
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from gateway.web.app import WebDoor
from gateway.web.callbacks import Callbacks
from tests.carriers.hellofax_far import GUID, LOGIN, PASSWORD, body, callback, fax_guid, said
from tests.carriers.tools import LINE, Clock, tools_for

SECRET = "path-secret-0123456789"
PDF = b"%PDF-1.4\n" + bytes(range(256)) * 400 + b"\r\n--not a boundary\r\n%%EOF\n"


@dataclass(frozen=True, slots=True)
class Receiver:
    """The gateway's callback address, and what lies in its spool."""

    url: str
    store: Store
    documents: Documents
    client: httpx.AsyncClient

    async def post(self, text: str, files: dict[str, tuple[str, bytes]] | None = None, end: str = "outbound") -> int:
        request = callback(text, files)
        headers = {name: value for name, value in request.headers.items() if name != "expect"}
        answer = await self.client.post(f"{self.url}/{end}?type={end}", content=request.body, headers=headers)
        return answer.status_code

    async def events(self) -> list[tuple[str, str, bool]]:
        table = schema.event
        query = select(table).order_by(table.c.id)
        found = await self.store.read(lambda db: db.execute(query).all())
        return [(row.event_key, row.state, row.believed) for row in found]

    async def received(self) -> list[tuple[str, str, str]]:
        table = schema.inbound
        query = select(table).order_by(table.c.id)
        found = await self.store.read(lambda db: db.execute(query).all())
        return [(row.carrier_ref, row.line, row.original) for row in found]


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    store, documents = Store(tmp_path / "spool", now=Clock()), Documents(tmp_path / "spool" / "documents")
    store.open()
    store.start()
    documents.open()
    statements = Statements(store, documents)

    async def keep(name: str, said: object) -> None:
        assert isinstance(said, list)
        assert all(isinstance(one, Event | Announcement) for one in said)
        await statements.keep(name, said)

    async with http.client() as client:
        section = {"kind": "hellofax", "login": LOGIN, "password": PASSWORD, "guid": GUID}
        adapter = carriers.build("main", section, "gateway.toml", tools_for(tmp_path, http=client))
        callbacks = Callbacks({"main": adapter}, {"main": (SECRET,)}, keep, public_url="https://fax.example.com")
        web = WebDoor(Http(listen="127.0.0.1:0"), callbacks.routes())
        await web.start()
        host, port = web.address
        async with httpx.AsyncClient(trust_env=False) as outside:
            yield Receiver(f"http://{host}:{port}/callback/main/{SECRET}", store, documents, outside)
        await web.stop()
    documents.close()
    await store.close()


async def test_a_recorded_callback_is_kept_once_however_often_it_comes(receiver: Receiver) -> None:
    for _ in range(3):
        assert await receiver.post(said()) == 200
    assert await receiver.post(said(StatusCode="S", ErrorCode=None)) == 200
    guid = fax_guid(0x89AB)
    assert await receiver.events() == [
        (f"{guid}:E/B", AttemptState.FAILED, False),
        (f"{guid}:S", AttemptState.DELIVERED, False),
    ]


async def test_a_received_fax_is_on_disk_before_the_carrier_gets_its_200(receiver: Receiver) -> None:
    text = said(IsInbound=True, StatusCode="S", ErrorCode=None, To=LINE.removeprefix("+"), From="14155550123")
    for _ in range(2):
        assert await receiver.post(text, {"anything": ("fax.pdf", PDF)}, "inbound") == 200
    ((ref, line, original),) = await receiver.received()
    assert (ref, line) == (fax_guid(0x89AB), LINE)
    assert await receiver.documents.get(Sha256(original)) == PDF


async def test_a_received_fax_without_its_document_is_not_acknowledged(receiver: Receiver) -> None:
    text = said(IsInbound=True, StatusCode="S", ErrorCode=None)
    assert await receiver.post(text, None, "inbound") == 401
    assert await receiver.received() == []
    assert await receiver.post(text, {"file": ("x.pdf", PDF)}, "inbound") == 200
    assert len(await receiver.received()) == 1


async def test_foreign_events_are_answered_200_and_nonsense_is_not(receiver: Receiver) -> None:
    foreign = {
        "event": {"event_type": "transmission_disconnected", "event_hash": "x"},
        "account_guid": GUID,
        "transmission": {},
    }
    assert await receiver.post(json.dumps(foreign)) == 200
    for hostile in ("", "[" * 50_000, '{"Transaction": 1}', said(Guid="\0")):
        assert await receiver.post(hostile) == 401
    assert (await receiver.client.get(receiver.url)).status_code == 401
    assert (await receiver.client.post(receiver.url.replace(SECRET, "wrong"), content=body(said()))).status_code == 404
    assert await receiver.events() == []


async def test_ten_thousand_parts_are_no_callback(receiver: Receiver) -> None:
    assert await receiver.post(said(), {f"f{n}": ("x", b"x") for n in range(10_000)}) == 401
    assert await receiver.post(said()) == 200


@pytest.mark.needs("curl")
@pytest.mark.parametrize("inbound", [False, True], ids=["outbound", "inbound"])
async def test_curl_posts_it_with_expect(
    receiver: Receiver, tmp_path: Path, program: Callable[[str], str], inbound: bool
) -> None:
    (tmp_path / "x.pdf").write_bytes(PDF)
    text = said(IsInbound=inbound, StatusCode="S", ErrorCode=None, To=LINE.removeprefix("+"))
    (tmp_path / "json").write_text(text)
    words = [program("curl"), "-sS", "-v", "--max-time", "10", "-H", "Expect: 100-continue", "-F", f"json=<{tmp_path}/json"]
    words += ["-F", f"scan=@{tmp_path}/x.pdf"] if inbound else []
    words += ["-o", "/dev/null", "-w", "%{http_code}", f"{receiver.url}/x?type=inbound"]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=True)
    assert done.stdout == "200"
    assert "100 Continue" in done.stderr
    assert (len(await receiver.events()), len(await receiver.received())) == ((0, 1) if inbound else (1, 0))

"""Carrier callbacks over real sockets: a small real carrier behind the listener, httpx and bare sockets before it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from gateway.carriers.base import (
    Announcement,
    CallbackAnswer,
    CallbackRequest,
    Capabilities,
    Carrier,
    CarrierConfig,
    Event,
    Tools,
)
from gateway.errors import CallbackRejected, Outcome, SpoolUnavailable
from gateway.fax import AttemptState
from gateway.metrics import REGISTRY
from gateway.sections import Http
from gateway.web.app import WebDoor
from gateway.web.callbacks import Callbacks

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
SECRET, OLD_SECRET = "s3cret-now", "s3cret-before"
KEY = b"signing key"
PUBLIC = "https://fax.example.com/gw"


def signature(body: bytes) -> str:
    return hmac.new(KEY, body, hashlib.sha256).hexdigest()


class Signing(Carrier):
    """Signs the body; each line of it is the reference of a delivered fax."""

    capabilities: ClassVar = Capabilities(signs_callbacks=True)
    seen: list[CallbackRequest]

    def verify_callback(self, request: CallbackRequest) -> None:
        self.seen.append(request)
        if not hmac.compare_digest(request.headers.get("x-signature", "").encode(), signature(request.body).encode()):
            raise CallbackRejected("the signature is wrong")

    def parse_callback(self, request: CallbackRequest) -> tuple[Sequence[Event | Announcement], CallbackAnswer]:
        if request.body == b"bug":
            raise KeyError("status")
        references = request.body.decode().split()
        events = [
            Event(key=ref, reference=ref, state=AttemptState.DELIVERED, outcome=Outcome.DELIVERED, at=NOW) for ref in references
        ]
        return events, CallbackAnswer(body=b"Hello API Event Received", content_type="text/html")


class Desk:
    """The sink: what is in `stored` is on disk; what it waits for is in `gate`."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.down = False

    async def __call__(self, carrier: str, said: Sequence[Event | Announcement]) -> None:
        await self.gate.wait()
        if self.down:
            raise SpoolUnavailable
        self.stored += [(carrier, event.reference) for event in said if isinstance(event, Event)]


async def no_lines() -> Sequence[str]:
    return []


async def no_raster(document: bytes) -> bytes:
    return document


def tools(name: str, http: httpx.AsyncClient, folder: Path) -> Tools:
    return Tools(
        name=name, now=lambda: NOW, http=http, folder=folder, callback_url=f"{PUBLIC}/callback/{name}/{SECRET}",
        lines=no_lines, rasterise=no_raster,
    )  # fmt: skip


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


class Door:
    """The listener as its clients see it."""

    def __init__(self, web: WebDoor, desk: Desk, carrier: Signing, client: httpx.AsyncClient) -> None:
        self.web, self.desk, self.carrier, self.client = web, desk, carrier, client

    async def post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        signed = {"x-signature": signature(body), **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.client.post(path, content=body, headers=signed)

    async def dialogue(self, *sent: bytes) -> bytes:
        """Raw bytes, each sent after something came back; returns everything up to the end of the connection."""
        reader, writer = await asyncio.open_connection(*self.web.address)
        received = b""
        try:
            async with asyncio.timeout(8):
                for n, data in enumerate(sent):
                    writer.write(data)
                    if n < len(sent) - 1:
                        received += await reader.read(65536)
                return received + await reader.read()
        finally:
            await closed(writer)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    desk = Desk()
    async with httpx.AsyncClient(trust_env=False, verify=False) as outward:
        config = CarrierConfig(kind="signing")
        carrier = Signing(tools("main", outward, tmp_path), config=config)
        carrier.seen = []
        mute = Carrier(tools("mute", outward, tmp_path), config=config)
        callbacks = Callbacks(
            {"main": carrier, "mute": mute},
            {"main": (SECRET, OLD_SECRET), "mute": (SECRET,)},
            desk,
            public_url=PUBLIC + "/",
            max_body=1000,
            body_time=0.5,
        )
        web = WebDoor(Http(listen="127.0.0.1:0"), callbacks.routes())
        await web.start()
        host, port = web.address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False, verify=False) as client:
            yield Door(web, desk, carrier, client)
        await web.stop()


def counted(carrier: str, result: str) -> float:
    return REGISTRY.get_sample_value("faxgate_callbacks_total", {"carrier": carrier, "result": result}) or 0.0


async def test_a_signed_callback_is_stored_and_answered_in_the_carriers_words(door: Door) -> None:
    before = counted("main", "stored")
    answer = await door.post(f"/callback/main/{SECRET}", b"at_1 at_2")
    assert (answer.status_code, answer.content) == (200, b"Hello API Event Received")
    assert answer.headers["content-type"] == "text/html"
    assert "server" not in answer.headers
    assert door.desk.stored == [("main", "at_1"), ("main", "at_2")]
    assert counted("main", "stored") == before + 1


async def test_the_answer_waits_until_the_events_are_stored(door: Door) -> None:
    door.desk.gate.clear()
    asked = asyncio.create_task(door.post(f"/callback/main/{SECRET}", b"at_1"))
    while not door.carrier.seen:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    assert not asked.done()
    door.desk.gate.set()
    assert (await asked).status_code == 200
    assert door.desk.stored == [("main", "at_1")]


async def test_a_callback_whose_client_has_gone_is_still_stored(door: Door) -> None:
    door.desk.gate.clear()
    asked = asyncio.create_task(door.post(f"/callback/main/{SECRET}", b"at_1"))
    while not door.carrier.seen:
        await asyncio.sleep(0.005)
    asked.cancel()
    await asyncio.wait({asked})
    door.desk.gate.set()
    async with asyncio.timeout(5):
        while not door.desk.stored:
            await asyncio.sleep(0.005)


async def test_stop_answers_the_callback_in_hand_and_takes_no_new_one(door: Door) -> None:
    door.desk.gate.clear()
    asked = asyncio.create_task(door.post(f"/callback/main/{SECRET}", b"at_1"))
    while not door.carrier.seen:
        await asyncio.sleep(0.005)
    stopping = asyncio.create_task(door.web.stop())
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection(*door.web.address)
            except ConnectionRefusedError:
                break
            await closed(writer)
            await asyncio.sleep(0.01)
    door.desk.gate.set()
    assert (await asked).status_code == 200
    await stopping
    assert door.desk.stored == [("main", "at_1")]


async def test_the_adapter_sees_the_request_as_the_carrier_signed_it(door: Door) -> None:
    await door.post(f"/callback/main/{SECRET}/status/a%20b?x=1&y=%C3%A4", b"at_1", X_Twice="a")
    (request,) = door.carrier.seen
    assert request.url == f"{PUBLIC}/callback/main/{SECRET}/status/a%20b?x=1&y=%C3%A4"
    assert request.path == "status/a b"
    assert (request.method, request.body) == ("POST", b"at_1")
    assert request.headers["x-twice"] == "a"
    assert all(name == name.lower() for name in request.headers)


async def test_a_second_signature_header_spoils_the_first(door: Door) -> None:
    headers = [("x-signature", signature(b"at_1")), ("x-signature", "forged")]
    answer = await door.client.post(f"/callback/main/{SECRET}", content=b"at_1", headers=headers)
    assert answer.status_code == 401


async def test_get_callbacks_and_an_empty_rest_are_taken(door: Door) -> None:
    for path in (f"/callback/main/{SECRET}?id=7", f"/callback/main/{SECRET}/?id=7"):
        answer = await door.client.get(path, headers={"x-signature": signature(b"")})
        assert answer.status_code == 200
    assert [(request.method, request.path) for request in door.carrier.seen] == [("GET", ""), ("GET", "")]
    assert door.desk.stored == []


async def test_the_old_secret_is_valid_while_it_is_listed(door: Door) -> None:
    assert (await door.post(f"/callback/main/{OLD_SECRET}", b"at_1")).status_code == 200


WRONG = [
    f"/callback/nobody/{SECRET}",
    "/callback/main/wrong",
    f"/callback/main/{SECRET}x",
    f"/callback/main/{SECRET[:-1]}",
    f"/callback/main/%00{SECRET}",
    "/callback/main/s%C3%A9cret%FF",
    f"/callback/main//{SECRET}",
    "/callback/main",
    "/callback/",
    f"/CALLBACK/main/{SECRET}",
    f"/callback/main%2F{SECRET}x",
]


async def test_a_wrong_address_looks_like_no_address_at_all(door: Door) -> None:
    for method in ("POST", "GET"):
        nowhere = await door.client.request(method, "/no/such/path", content=b"x")
        for path in WRONG:
            answer = await door.client.request(method, path, content=b"x", headers={"x-signature": signature(b"x")})
            assert (answer.status_code, answer.content) == (404, nowhere.content), path
            assert {**answer.headers, "date": ""} == {**nowhere.headers, "date": ""}, path
            assert (await door.client.head(path)).status_code == 404, path
    assert door.carrier.seen == []


async def test_strangers_do_not_make_metric_labels(door: Door) -> None:
    before = counted("", "not_found")
    await door.client.post("/callback/stranger-1/x")
    await door.client.post("/callback/stranger-2/x")
    assert counted("", "not_found") == before + 2
    assert "stranger" not in (await door.client.get("/metrics")).text


async def test_a_probe_by_head_is_answered_and_changes_nothing(door: Door) -> None:
    answer = await door.client.head(f"/callback/main/{SECRET}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert door.carrier.seen == []


async def test_other_methods_are_refused_whatever_the_secret(door: Door) -> None:
    for secret in (SECRET, "wrong"):
        assert (await door.client.delete(f"/callback/main/{secret}")).status_code == 405


@pytest.mark.parametrize("given", ["", "forged", "ü"])
async def test_a_forged_callback_is_rejected_and_nothing_stored(
    door: Door, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    before = counted("main", "rejected")
    headers = [(b"x-signature", given.encode())]
    answer = await door.client.post(f"/callback/main/{SECRET}?token=t0ken", content=b"at_1", headers=headers)
    assert (answer.status_code, answer.content) == (401, b"")
    assert door.desk.stored == []
    assert counted("main", "rejected") == before + 1
    (record,) = [record for record in caplog.records if getattr(record, "action", "") == "callback_rejected"]
    assert "main" in record.getMessage()
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert not [line for line in ours if SECRET in line or "t0ken" in line]


async def test_while_the_spool_is_down_the_carrier_is_told_to_repeat(door: Door) -> None:
    door.desk.down = True
    answer = await door.post(f"/callback/main/{SECRET}", b"at_1")
    assert (answer.status_code, answer.content) == (503, b"")
    assert int(answer.headers["retry-after"]) > 0
    door.desk.down = False
    assert (await door.post(f"/callback/main/{SECRET}", b"at_1")).status_code == 200
    assert door.desk.stored == [("main", "at_1")]


async def test_a_carrier_without_callbacks_has_no_address(door: Door) -> None:
    answer = await door.post(f"/callback/mute/{SECRET}", b"x")
    assert (answer.status_code, answer.text) == (404, "Not Found")


async def test_a_fault_in_an_adapter_is_logged_and_says_nothing_outside(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    before = counted("main", "error")
    answer = await door.post(f"/callback/main/{SECRET}", b"bug")
    assert answer.status_code == 500
    assert answer.text == "Internal Server Error"
    assert counted("main", "error") == before + 1
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.name == "gateway.web.app"
    assert SECRET not in caplog.text
    assert (await door.post(f"/callback/main/{SECRET}", b"at_2")).status_code == 200


async def test_an_announced_body_that_is_too_large_is_refused_before_it_is_sent(door: Door) -> None:
    head = f"POST /callback/main/{SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n"
    answer = await door.dialogue(head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_is_too_large_is_refused_so_that_its_writer_hears_it(door: Door) -> None:
    before = counted("main", "too_large")

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    for content in (b"x" * 1001, b"x" * 4_000_000, stream()):
        answer = await door.client.post(f"/callback/main/{SECRET}", content=content)
        assert (answer.status_code, answer.content) == (413, b"")
    assert counted("main", "too_large") == before + 3
    assert door.carrier.seen == []
    assert (await door.post(f"/callback/main/{SECRET}", b"y" * 1000)).status_code == 200


async def test_a_body_that_does_not_come_is_given_up(door: Door) -> None:
    before = counted("main", "too_slow")
    head = f"POST /callback/main/{SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
    answer = await door.dialogue(head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert counted("main", "too_slow") == before + 1


async def test_a_body_that_breaks_off_is_not_stored(door: Door) -> None:
    before = counted("main", "broken_off")
    _, writer = await asyncio.open_connection(*door.web.address)
    writer.write(f"POST /callback/main/{SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nat_1".encode())
    await writer.drain()
    await closed(writer)
    async with asyncio.timeout(5):
        while counted("main", "broken_off") == before:
            await asyncio.sleep(0.005)
    assert door.carrier.seen == []


async def test_a_client_that_waits_for_100_continue_gets_it(door: Door) -> None:
    body = b"at_9"
    head = (
        f"POST /callback/main/{SECRET} HTTP/1.1\r\nHost: x\r\nX-Signature: {signature(body)}\r\n"
        "Content-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    answer = await door.dialogue(head.encode(), body)
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200 " in answer
    assert door.desk.stored == [("main", "at_9")]


async def test_a_stranger_is_not_asked_to_send_the_body(door: Door) -> None:
    head = "POST /callback/main/wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    answer = await door.dialogue(head.encode())
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_two_callbacks_travel_on_one_connection(door: Door) -> None:
    one = f"POST /callback/main/{SECRET} HTTP/1.1\r\nHost: x\r\nX-Signature: {signature(b'at_1')}\r\nContent-Length: 4\r\n"
    pipelined = (one + "\r\nat_1" + one + "Connection: close\r\n\r\nat_1").encode()
    answer = await door.dialogue(pipelined)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert len(door.desk.stored) == 2


@pytest.mark.needs("curl")
async def test_curl_delivers_a_large_callback_with_expect(door: Door, tmp_path: Path, program: Callable[[str], str]) -> None:
    document = tmp_path / "body"
    document.write_bytes(b"z" * 900)
    host, port = door.web.address
    command = [
        program("curl"), "-sS", "--max-time", "10", "-o", "-", "-H", "Expect: 100-continue",
        "-H", f"X-Signature: {signature(document.read_bytes())}", "--data-binary", f"@{document}",
        f"http://{host}:{port}/callback/main/{SECRET}",
    ]  # fmt: skip
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=20)
    assert (done.returncode, done.stdout) == (0, b"Hello API Event Received"), done.stderr


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        Callbacks({}, {"main": [""]}, Desk(), public_url=PUBLIC)

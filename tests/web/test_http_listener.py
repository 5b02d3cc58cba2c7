"""The HTTP listener: health, readiness, metrics, and what it does with garbage. Real sockets throughout."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route

from gateway.errors import SpoolUnavailable
from gateway.metrics import QUEUE
from gateway.sections import Http
from gateway.web import app as web_app
from gateway.web.app import Check, Refresh, WebDoor


async def fine() -> None:
    pass


async def down() -> None:
    raise SpoolUnavailable


@contextlib.asynccontextmanager
async def listening(
    listen: str = "127.0.0.1:0",
    *,
    routes: Sequence[BaseRoute] = (),
    checks: Mapping[str, Check] | None = None,
    refresh: Refresh | None = None,
) -> AsyncIterator[tuple[WebDoor, httpx.AsyncClient]]:
    web = WebDoor(Http(listen=listen), routes, checks=checks, refresh=refresh)
    await web.start()
    host, port = web.address
    base = "http://socket" if host.startswith("/") else f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    transport = httpx.AsyncHTTPTransport(verify=False, uds=host if host.startswith("/") else None)
    try:
        async with httpx.AsyncClient(base_url=base, transport=transport, trust_env=False) as client:
            yield web, client
    finally:
        await web.stop()


async def dialogue(address: tuple[str, int], data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(data)
        async with asyncio.timeout(8):
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_healthz_says_that_the_process_is_alive_even_when_nothing_works() -> None:
    async with listening(checks={"spool": down}) as (_, client):
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.text) == (200, "ok")


async def test_readyz_names_each_check_and_its_fault() -> None:
    async with listening(checks={"spool": fine, "smtp": fine}) as (_, client):
        answer = await client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {"ready": True, "checks": {"spool": "ok", "smtp": "ok"}}
    async with listening(checks={"spool": down, "smtp": fine}) as (_, client):
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "checks": {"spool": "The fax cannot be stored right now.", "smtp": "ok"}}


async def test_a_check_that_hangs_is_a_check_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_app, "_CHECK_LIMIT", 0.05)

    async def hangs() -> None:
        await asyncio.Event().wait()

    async with listening(checks={"spool": hangs}) as (_, client):
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "no answer" in answer.json()["checks"]["spool"]


async def test_metrics_are_refreshed_before_they_are_shown() -> None:
    counts = iter([3, 4])

    async def refresh() -> None:
        QUEUE.labels("held").set(next(counts))

    async with listening(refresh=refresh) as (_, client):
        for expected in (3.0, 4.0):
            answer = await client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=")
            families = {family.name: family for family in text_string_to_metric_families(answer.text)}
            assert [s.value for s in families["faxgate_queue"].samples if s.labels == {"state": "held"}] == [expected]
            assert "python_info" not in families


async def test_the_counters_are_shown_while_the_spool_is_down() -> None:
    async with listening(refresh=down) as (_, client):
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert "faxgate_accepted" in answer.text


async def test_a_fault_of_ours_is_a_bare_500_and_the_next_request_works(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise LookupError("internal detail")

    async with listening(refresh=broken) as (_, client):
        answer = await client.get("/metrics")
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
        assert "internal detail" in caplog.text
        assert (await client.get("/healthz")).status_code == 200


async def test_house_addresses_are_read_only() -> None:
    async with listening() as (_, client):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.post(path)).status_code == 405
            assert (await client.head(path)).status_code == 200


async def test_a_path_is_never_repeated_in_a_redirect() -> None:
    async with listening() as (_, client):
        answer = await client.get("/healthz/")
        assert answer.status_code == 404
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
        b"EHLO client.example.com\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: \xd9\xa3\r\n\r\n",  # a digit, but not ASCII
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked, x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 400_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 70_000,
        b"\r\n" * 40_000,
    ],
    ids=lambda data: repr(data[:24]),
)
async def test_garbage_is_answered_400_or_cut_off(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as (web, client):
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = await dialogue(web.address, garbage)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
        assert (await client.get("/healthz")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_answers_do_not_wait_for_delayed_acknowledgements() -> None:
    async with listening() as (_, client):
        took = []
        for _ in range(20):
            start = time.perf_counter()
            await client.get("/healthz")
            took.append(time.perf_counter() - start)
        assert statistics.median(took) < 0.03


async def test_a_post_nobody_reads_does_not_spoil_the_next_request() -> None:
    smuggled = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /no/such/path HTTP/1.1\r\nHost: x\r\nContent-Length: " + str(len(smuggled)).encode() + b"\r\n\r\n"
    async with listening() as (web, _):
        answer = await dialogue(web.address, head + smuggled)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in answer.lower()


async def test_nothing_tells_which_server_it_is() -> None:
    async with listening() as (_, client):
        assert "server" not in (await client.get("/healthz")).headers


async def test_signals_stay_with_the_daemon() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with listening() as (_, client):
        assert (await client.get("/healthz")).status_code == 200
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_start_fails_when_the_address_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        web = WebDoor(Http(listen=f"127.0.0.1:{other.getsockname()[1]}"))
        with pytest.raises(OSError, match="in use"):
            await web.start()
        await web.stop()


async def test_after_stop_nobody_listens_and_the_address_can_be_taken_again() -> None:
    async with listening() as (web, client):
        assert (await client.get("/healthz")).status_code == 200
        address = web.address
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    async with listening(f"127.0.0.1:{address[1]}") as (_, client):
        assert (await client.get("/healthz")).status_code == 200


async def test_wait_returns_when_the_listener_has_ended() -> None:
    async with listening() as (web, _):
        waiting = asyncio.create_task(web.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        await web.stop()
        await asyncio.wait_for(waiting, 1)


def test_the_address_is_not_known_before_start() -> None:
    with pytest.raises(RuntimeError):
        _ = WebDoor(Http(listen="127.0.0.1:0")).address


async def test_ipv6_and_ipv4_reach_the_unspecified_address() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.fail("this machine has no IPv6 loopback")
    async with listening("[::]:0") as (web, _):
        for host in ("127.0.0.1", "::1"):
            answer = await dialogue((host, web.address[1]), b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_unix_socket_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with listening(str(path)) as (web, client):
        assert web.address == (str(path), 0)
        assert (await client.get("/healthz")).text == "ok"
    assert not path.exists()


async def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("keep")
    with pytest.raises(OSError, match="in use"):
        await WebDoor(Http(listen=str(path))).start()
    assert path.read_text() == "keep"


async def _client_seen(http: Http, forwarded: str) -> str:
    """Whom a request with this X-Forwarded-For is from."""

    async def who(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.client.host if request.client else "")

    web = WebDoor(http, [Route("/who", who)])
    await web.start()
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{web.address[1]}/who"
            return (await client.get(url, headers={"x-forwarded-for": forwarded})).text
    finally:
        await web.stop()


async def test_a_listed_proxy_says_who_the_client_is_and_nobody_else_can() -> None:
    listen = "127.0.0.1:0"
    assert await _client_seen(Http(listen=listen), "203.0.113.9") == "127.0.0.1"
    assert await _client_seen(Http(listen=listen, proxies=("10.0.0.0/8",)), "203.0.113.9") == "127.0.0.1"
    proxied = Http(listen=listen, proxies=("127.0.0.0/8", "10.0.0.0/8"))
    assert await _client_seen(proxied, "203.0.113.9") == "203.0.113.9"
    assert await _client_seen(proxied, "1.1.1.1, 203.0.113.9, 10.0.0.1") == "203.0.113.9", (
        "what a client wrote itself is not believed"
    )

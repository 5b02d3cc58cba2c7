"""The error mapping of `carriers.http`, against a server that really misbehaves."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.carriers import http
from gateway.carriers.base import Tools
from gateway.errors import CarrierRefused, CarrierUnavailable, CarrierUncertain, GatewayError, Outcome
from tests.carriers.server import Behaviour, Server, answers, drips, pours, resets, says_nothing, sends
from tests.carriers.tools import tools_for

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Reply(BaseModel):
    id: str


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running


@pytest.fixture
async def tools(tmp_path: Path) -> AsyncIterator[Tools]:
    async with http.client(connect=0.5, read=0.3) as client:
        yield tools_for(tmp_path, http=client, now=lambda: NOW)


async def submit(tools: Tools, url: str, limit: float = 5.0) -> Reply:
    return await http.submit(tools, "POST", url, decode=http.json_of(Reply), limit=limit, data={"to": "+14155550123"})


async def ask(tools: Tools, url: str, limit: float = 5.0) -> Reply:
    return await http.ask(tools, "GET", url, decode=http.json_of(Reply), limit=limit)


async def test_a_good_answer_is_decoded(server: Server, tools: Tools) -> None:
    server.behaviour = answers(201, {"id": "f1"})
    assert (await submit(tools, server.url)).id == "f1"
    assert (await ask(tools, server.url)).id == "f1"
    assert server.seen[0].body == b"to=%2B14155550123"


@pytest.mark.parametrize("status", [400, 404, 405, 410, 422, 451, 499])
async def test_a_4xx_is_refused_on_submit_and_on_ask(server: Server, tools: Tools, status: int) -> None:
    server.behaviour = answers(status, {"error": "no"})
    for call in (submit, ask):
        with pytest.raises(CarrierRefused) as caught:
            await call(tools, server.url)
        assert caught.value.outcome is Outcome.CARRIER_TROUBLE
        assert caught.value.carrier_code == f"HTTP {status}"


@pytest.mark.parametrize(("status", "outcome"), [(413, Outcome.DOCUMENT_REFUSED), (415, Outcome.DOCUMENT_REFUSED)])
async def test_a_document_the_carrier_does_not_take_is_named(
    server: Server, tools: Tools, status: int, outcome: Outcome
) -> None:
    server.behaviour = answers(status)
    with pytest.raises(CarrierRefused) as caught:
        await submit(tools, server.url)
    assert caught.value.outcome is outcome


@pytest.mark.parametrize("status", [401, 402, 403, 407])
async def test_trouble_with_our_account_holds_a_submit_and_loses_no_fax_on_ask(
    server: Server, tools: Tools, status: int
) -> None:
    server.behaviour = answers(status)
    with pytest.raises(CarrierRefused) as caught:
        await submit(tools, server.url)
    assert caught.value.outcome is Outcome.NO_CREDIT
    with pytest.raises(CarrierUnavailable):
        await ask(tools, server.url)


@pytest.mark.parametrize("status", [300, 302, 303, 307, 408, 409, 425, 500, 501, 502, 503, 504, 599])
async def test_an_undecided_status_is_uncertain_on_submit_and_unavailable_on_ask(
    server: Server, tools: Tools, status: int
) -> None:
    server.behaviour = answers(status, {"id": "f1"}, Location=server.url + "/elsewhere", Retry_After="5")
    with pytest.raises(CarrierUncertain):
        await submit(tools, server.url)
    with pytest.raises(CarrierUnavailable) as caught:
        await ask(tools, server.url)
    assert caught.value.retry_after == 5
    assert len(server.seen) == 2, "redirects are not followed and nothing is repeated"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Mon, 02 Mar 2026 09:01:30 GMT", 90.0),
        ("Mon, 02 Mar 2026 08:00:00 GMT", 0.0),
        ("Mon, 02 Mar 2026 09:01:30 -0000", 90.0),
        ("999999999", 86400.0),
        ("99999999999999999999", None),
        ("-5", None),
        ("٧", None),
        ("soon", None),
        ("nan", None),
        ("", None),
        ("Mon, 99 Mar 99999999 09:01:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str, seconds: float | None) -> None:
    assert http.retry_after({"retry-after": value}, NOW) == seconds
    assert http.retry_after({}, NOW) is None


async def test_429_is_unavailable_with_the_wait_the_carrier_named(server: Server, tools: Tools) -> None:
    for value in ("7", "Mon, 02 Mar 2026 09:00:07 GMT"):
        server.behaviour = answers(429, Retry_After=value)
        for call in (submit, ask):
            with pytest.raises(CarrierUnavailable) as caught:
                await call(tools, server.url)
            assert caught.value.retry_after == 7


BROKEN: dict[str, Behaviour] = {
    "reset": resets,
    "closed without a word": sends(b""),
    "half a head": sends(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "half a body": sends(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id"'),
    "not HTTP": sends(b"220 mail.example.com ESMTP\r\n"),
    "silence": says_nothing,
    "broken chunks": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "not JSON": answers(200, b"<html>Welcome</html>"),
    "cut JSON": answers(200, b'{"id": "f'),
    "other JSON": answers(200, {"identity": 3}),
    "wrong type": answers(200, {"id": {"x": 1}}),
    "empty": answers(200),
    "without end": pours,
    "false gzip": answers(200, b"plain", Content_Encoding="gzip"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_uncertain_on_submit_and_unavailable_on_ask(server: Server, tools: Tools, name: str) -> None:
    server.behaviour = BROKEN[name]
    with pytest.raises(CarrierUncertain):
        await submit(tools, server.url)
    assert len(server.seen) == 1, "an uncertain request is not repeated"
    with pytest.raises(CarrierUnavailable):
        await ask(tools, server.url)


async def test_the_time_limit_holds_for_the_whole_answer(server: Server, tools: Tools) -> None:
    server.behaviour = drips
    with pytest.raises(CarrierUncertain):
        await submit(tools, server.url, limit=0.3)
    with pytest.raises(CarrierUnavailable):
        await ask(tools, server.url, limit=0.3)


async def test_a_closed_port_is_unavailable(tools: Tools, free_port: int) -> None:
    for call in (submit, ask):
        with pytest.raises(CarrierUnavailable):
            await call(tools, f"http://127.0.0.1:{free_port}")


async def test_a_failed_tls_handshake_is_unavailable(server: Server, tools: Tools) -> None:
    for call in (submit, ask):
        with pytest.raises(CarrierUnavailable):
            await call(tools, server.url.replace("http:", "https:"))
    assert not server.seen


async def test_a_connect_time_out_is_unavailable(tools: Tools) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:  # the queue of connections that nobody accepts is full
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        with pytest.raises(CarrierUnavailable):
            await submit(tools, f"http://127.0.0.1:{listener.getsockname()[1]}")
        for filler in fillers:
            filler.close()


async def test_no_free_connection_is_unavailable(server: Server, tmp_path: Path) -> None:
    server.behaviour = says_nothing
    async with http.client(connect=0.2, read=1.0, connections=1) as client:
        tools = tools_for(tmp_path, http=client)
        first = asyncio.create_task(submit(tools, server.url))
        while not server.seen:
            await asyncio.sleep(0.005)
        with pytest.raises(CarrierUnavailable):
            await submit(tools, server.url)
        assert len(server.seen) == 1
        with pytest.raises(CarrierUncertain):
            await first


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[::1", "nothing", "http://127.0.0.1:99999/"])
async def test_an_address_that_makes_no_sense_is_unavailable(tools: Tools, url: str) -> None:
    for call in (submit, ask):
        with pytest.raises(CarrierUnavailable):
            await call(tools, url)


async def test_an_adapter_that_knows_better_judges_first(server: Server, tools: Tools) -> None:
    def judge(answer: http.Answer) -> GatewayError | None:
        return CarrierRefused(outcome=Outcome.BUSY, carrier_code=answer.text) if answer.status == 503 else None

    server.behaviour = answers(503, b"all circuits busy")
    with pytest.raises(CarrierRefused) as caught:
        await http.submit(tools, "POST", server.url, decode=http.nothing, judge=judge)
    assert caught.value.carrier_code == "all circuits busy"
    server.behaviour = answers(500)
    with pytest.raises(CarrierUncertain):
        await http.submit(tools, "POST", server.url, decode=http.nothing, judge=judge)


async def test_an_error_inside_a_200_is_what_the_adapter_says_it_is(server: Server, tools: Tools) -> None:
    def decode(answer: http.Answer) -> str:
        raise CarrierRefused(carrier_code="bad_credentials")

    server.behaviour = answers(200, {"result": {"code": "bad_credentials"}})
    with pytest.raises(CarrierRefused):
        await http.submit(tools, "POST", server.url, decode=decode)


async def test_cancelling_a_submit_is_not_turned_into_an_outcome(server: Server, tools: Tools) -> None:
    server.behaviour = says_nothing
    task = asyncio.create_task(submit(tools, server.url))
    while not server.seen:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_download_comes_from_listed_hosts_only(server: Server, tools: Tools, free_port: int) -> None:
    server.behaviour = answers(200, b"%PDF-1.4 inbound")
    origins = [server.url]
    assert await http.download(tools, server.url + "/fax/1", origins=origins, size=1000) == b"%PDF-1.4 inbound"
    strangers = (
        f"http://127.0.0.1:{free_port}/fax/1",
        server.url.replace("127.0.0.1", "localhost"),
        server.url.replace("http://", f"http://127.0.0.1:{server.port}@"),
        server.url.replace("http:", "https:"),
        "file:///etc/passwd",
        "http://[",
    )
    for url in strangers:
        with pytest.raises(CarrierUnavailable):
            await http.download(tools, url, origins=origins, size=1000)
    assert len(server.seen) == 1


async def test_a_download_stops_at_its_size(server: Server, tools: Tools) -> None:
    server.behaviour = answers(200, b"x" * 1001)
    with pytest.raises(CarrierRefused) as caught:
        await http.download(tools, server.url, origins=[server.url], size=1000)
    assert caught.value.outcome is Outcome.DOCUMENT_REFUSED
    server.behaviour = pours
    with pytest.raises(CarrierRefused):
        await http.download(tools, server.url, origins=[server.url], size=1000)


async def test_a_download_that_is_gone_is_refused_and_a_failing_one_is_not(server: Server, tools: Tools) -> None:
    server.behaviour = answers(404)
    with pytest.raises(CarrierRefused):
        await http.download(tools, server.url, origins=[server.url], size=1000)
    for behaviour in (answers(500), answers(302, Location="http://127.0.0.1:1/"), resets, BROKEN["half a body"]):
        server.behaviour = behaviour
        with pytest.raises(CarrierUnavailable):
            await http.download(tools, server.url, origins=[server.url], size=1000)


async def test_no_secret_reaches_logs_or_texts(server: Server, tools: Tools, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"{server.url}/key-SECRET/send?apisecret=SECRET"
    texts = []
    for behaviour in (answers(200, {"id": "f"}), answers(404, b"SECRET"), answers(500, b"SECRET"), resets):
        server.behaviour = behaviour
        try:
            await http.submit(tools, "POST", url, decode=http.json_of(Reply), headers={"X-Key": "SECRET"}, auth=("u", "SECRET"))
        except GatewayError as error:
            texts += [error.text, repr(error)]
    texts.append(repr(http.Answer(status=200, headers={"set-cookie": "SECRET"}, body=b"SECRET")))
    assert len(texts) == 7
    assert "SECRET" not in " ".join(texts)
    assert "SECRET" not in caplog.text
    assert f"http://127.0.0.1:{server.port} " in caplog.text, "httpx still says whom it asked"


async def test_a_wait_that_a_date_names_is_counted_from_the_gateways_clock(server: Server, tmp_path: Path) -> None:
    async with http.client() as client:
        tools = tools_for(tmp_path, http=client, now=lambda: NOW + timedelta(seconds=60))
        server.behaviour = answers(429, Retry_After="Mon, 02 Mar 2026 09:02:00 GMT")
        with pytest.raises(CarrierUnavailable) as caught:
            await submit(tools, server.url)
        assert caught.value.retry_after == 60

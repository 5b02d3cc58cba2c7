"""The loopback network calls back over real HTTP, is told to misbehave, and goes on after a restart."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.carriers import announcer
from gateway.carriers.base import Announcement, CallbackRequest, Event
from gateway.carriers.loopback import Loopback
from gateway.errors import CallbackRejected, Outcome
from gateway.fax import AttemptState
from tests.carriers.tools import LINE, Clock, order, running

PATH = "/callback/main/path-secret"


class Receiver:
    """A web server that takes callbacks; `answers` are given in turn, then 200."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.requests: list[CallbackRequest] = []
        self._more = asyncio.Event()

    async def take(self, request: Request) -> Response:
        self.requests.append(
            CallbackRequest(
                method=request.method,
                url=str(request.url),
                path="",
                headers=dict(request.headers),
                body=await request.body(),
            )
        )
        self._more.set()
        return Response(status_code=self.answers.pop(0) if self.answers else 200)

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.requests) < count:
                self._more.clear()
                await self._more.wait()

    def said(self, adapter: Loopback) -> list[Event | Announcement]:
        """Every callback, verified and parsed by the adapter."""
        said: list[Event | Announcement] = []
        for request in self.requests:
            adapter.verify_callback(request)
            said += adapter.parse_callback(request)[0]
        return said


@pytest.fixture
async def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def url(receiver: Receiver) -> AsyncIterator[str]:
    app = Starlette(routes=[Route(PATH, receiver.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}"
        server.should_exit = True
        await task


async def quiet(adapter: Loopback) -> None:
    """Wait until nothing is left to be announced."""
    async with asyncio.timeout(10):
        while adapter._announcer._tasks:
            await asyncio.sleep(0.005)


async def test_the_result_is_called_back_when_the_call_ends(receiver: Receiver, url: str, tmp_path: Path) -> None:
    async with running(tmp_path, url=url, call_time="0.05s") as adapter:
        receipt = await adapter.submit(order(tmp_path))
        await adapter.submit(order(tmp_path, "+14155551211", "at_2"))
        await receiver.wait_for(2)
        await quiet(adapter)
        events = {one.reference: one for one in receiver.said(adapter) if isinstance(one, Event)}
        assert events["at_1"].carrier_ref == receipt.carrier_ref
        assert (events["at_1"].outcome, events["at_1"].pages_sent) == (Outcome.DELIVERED, 2)
        assert events["at_1"].believed
        assert events["at_2"].outcome is Outcome.BUSY
        assert events["at_1"].key == (await adapter.poll(receipt.carrier_ref))[0].key, "a poll says the same thing"
    assert len(receiver.requests) == 2


async def test_a_fax_to_our_own_line_is_announced(receiver: Receiver, url: str, tmp_path: Path) -> None:
    async with running(tmp_path, url=url, call_time="0.05s") as adapter:
        await adapter.submit(order(tmp_path, LINE))
        outside = await adapter.receive(LINE, "+442079460123", b"%PDF-1.4", "ACME")
        await receiver.wait_for(3)
        faxes = [one for one in receiver.said(adapter) if isinstance(one, Announcement)]
        assert {fax.carrier_ref for fax in faxes} == {fax.carrier_ref for fax in await adapter.list_inbound()}
        assert [fax.station_id for fax in faxes if fax.carrier_ref == outside] == ["ACME"]


async def test_a_callback_that_was_not_taken_is_tried_again_with_a_new_signature(
    receiver: Receiver, url: str, tmp_path: Path
) -> None:
    receiver.answers = [503, 401]
    clock = Clock()
    async with running(tmp_path, clock, url=url, call_time="0.01s") as adapter:
        await adapter.submit(order(tmp_path))
        await receiver.wait_for(1)
        clock.forward(2)
        await receiver.wait_for(3)
        assert len({request.body for request in receiver.requests}) == 1
        assert len({request.headers[announcer.HEADER] for request in receiver.requests}) > 1
        await quiet(adapter)
    assert len(receiver.requests) == 3


async def test_callbacks_can_be_repeated_and_shuffled(receiver: Receiver, url: str, tmp_path: Path) -> None:
    async with running(tmp_path, url=url, call_time="0.01s", repeat_callbacks=2, shuffle_callbacks=True) as adapter:
        await adapter.submit(order(tmp_path))
        await receiver.wait_for(6)
        await quiet(adapter)
        said = receiver.said(adapter)
    events = [one for one in said if isinstance(one, Event)]
    assert [event.state for event in events] == [AttemptState.DELIVERED] * 3 + [AttemptState.SUBMITTED] * 3
    assert len({event.key for event in events}) == 2


async def test_callbacks_can_be_lost_and_polls_still_know(receiver: Receiver, url: str, tmp_path: Path) -> None:
    async with running(tmp_path, url=url, call_time="0.01s", lose_callbacks=1.0) as adapter:
        receipt = await adapter.submit(order(tmp_path))
        await quiet(adapter)
        assert (await adapter.poll(receipt.carrier_ref))[0].outcome is Outcome.DELIVERED
    async with running(tmp_path, url=url, callbacks=False, call_time="0.01s") as adapter:
        await adapter.submit(order(tmp_path))
        await quiet(adapter)
    assert not receiver.requests


async def test_a_cancelled_call_is_called_back_once_as_cancelled(receiver: Receiver, url: str, tmp_path: Path) -> None:
    async with running(tmp_path, url=url, call_time="0.1s") as adapter:
        receipt = await adapter.submit(order(tmp_path))
        assert await adapter.cancel(receipt.carrier_ref)
        await quiet(adapter)
        [event] = receiver.said(adapter)
    assert isinstance(event, Event)
    assert (event.state, event.outcome) == (AttemptState.CANCELLED, Outcome.CANCELLED)


async def test_unfinished_calls_go_on_after_a_restart_and_finished_ones_are_not_repeated(
    receiver: Receiver, url: str, tmp_path: Path
) -> None:
    clock = Clock()
    async with running(tmp_path, clock, url=url, call_time="0.01s") as adapter:
        await adapter.submit(order(tmp_path, reference="at_done"))
        await receiver.wait_for(1)
        await quiet(adapter)
    async with running(tmp_path, clock, url=url, call_time="20s") as adapter:
        await adapter.submit(order(tmp_path, reference="at_open"))
        await adapter.submit(order(tmp_path, LINE, "at_home"))
    clock.forward(20)
    async with running(tmp_path, clock, url=url) as adapter:
        await receiver.wait_for(4)
        await quiet(adapter)
        said = receiver.said(adapter)
    assert sorted(one.reference for one in said if isinstance(one, Event)) == ["at_done", "at_home", "at_open"]
    assert [one.line for one in said if isinstance(one, Announcement)] == [LINE]


async def test_what_ended_days_ago_is_not_announced_any_more(receiver: Receiver, url: str, tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock, url=url) as adapter:
        await adapter.submit(order(tmp_path))
    clock.forward(2 * 86400)
    async with running(tmp_path, clock, url=url) as adapter:
        await quiet(adapter)
    assert not receiver.requests


async def test_the_secret_is_made_once_and_kept(receiver: Receiver, url: str, tmp_path: Path) -> None:
    async with running(tmp_path, url=url, call_time="0.01s") as adapter:
        await adapter.submit(order(tmp_path))
        await receiver.wait_for(1)
    secret = (tmp_path / "carrier" / "secret").read_bytes()
    assert len(secret) == 64
    async with running(tmp_path) as adapter, running(tmp_path) as second:
        adapter.verify_callback(receiver.requests[0])
        second.verify_callback(receiver.requests[0])
    async with running(tmp_path, secret="another-0123456789abcdef") as adapter:
        with pytest.raises(CallbackRejected):
            adapter.verify_callback(receiver.requests[0])


def test_a_signature_is_hmac_sha256_over_time_and_body() -> None:
    """The figure comes from: printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef"""
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    digest = "9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23"
    assert announcer.sign(b"0123456789abcdef", b'{"a":1}', at) == f"t=1700000000,v={digest}"


@pytest.mark.parametrize(("seconds", "good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_a_signature_is_taken_for_five_minutes_both_ways(seconds: int, good: bool) -> None:
    signed = datetime.fromtimestamp(1_700_000_000, UTC)
    headers = {announcer.HEADER: announcer.sign(b"key", b"body", signed)}
    now = datetime.fromtimestamp(1_700_000_000 + seconds, UTC)
    if good:
        announcer.verify([b"other", b"key"], headers, b"body", now)
    else:
        with pytest.raises(CallbackRejected):
            announcer.verify([b"other", b"key"], headers, b"body", now)


@pytest.mark.parametrize("header", ["", "t=1700000000", "v=00", "t=,v=", "t=1700000000,v=" + "0" * 64, "t=١,v=" + "0" * 64])
def test_a_signature_that_makes_no_sense_is_rejected(header: str) -> None:
    with pytest.raises(CallbackRejected):
        announcer.verify([b"key"], {announcer.HEADER: header}, b"body", datetime.fromtimestamp(1_700_000_000, UTC))

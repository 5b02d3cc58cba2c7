"""A whole adapter for an HTTP carrier that does not exist, and its tests: copy this to begin a new one.

The carrier takes `POST /faxes` with a form (`to`, `tag`, file `document`) and answers `{"id": …}`; `GET /faxes?tag=…` and
`GET /faxes/ID` say `{"id", "tag", "to", "status", "pages"}`; it posts the same without a signature when a fax ends. It
takes a key as the password of HTTP Basic. It cannot cancel, it receives nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import quote

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError

from gateway.carriers import http
from gateway.carriers.base import (
    Announcement,
    CallbackAnswer,
    CallbackRequest,
    Capabilities,
    Carrier,
    CarrierConfig,
    Event,
    Order,
    Receipt,
    Statuses,
    meaning,
)
from gateway.errors import CallbackRejected, CarrierRefused, GatewayError, Outcome
from gateway.fax import AttemptState
from gateway.log import printable
from tests.carriers.conformance import HttpCarrierConformance, HttpFarEnd, Signer
from tests.carriers.server import Seen, Server, answers, says_nothing
from tests.carriers.tools import order, tools_for

# The adapter: in the gateway this is gateway/carriers/example.py

#: Source: https://fax.example.com/docs/status, read 2026-03-02.
STATUSES: Statuses = {
    "queued": (AttemptState.SUBMITTED, None),
    "sent": (AttemptState.DELIVERED, Outcome.DELIVERED),
    "engaged": (AttemptState.FAILED, Outcome.BUSY),
    "bad file": (AttemptState.FAILED, Outcome.DOCUMENT_REFUSED),
}
#: Codes in a 4xx answer. Source: https://fax.example.com/docs/errors, read 2026-03-02.
REFUSALS = {"bad_number": Outcome.BAD_NUMBER, "bad_file": Outcome.DOCUMENT_REFUSED}


class ExampleConfig(CarrierConfig):
    """`[carrier.NAME]` with `kind = "example"`."""

    url: str
    """Like "https://api.fax.example.com"."""
    key: SecretStr
    """API key."""
    time_limit: Annotated[float, Field(gt=0)] = 50.0
    """Seconds for one hand-over."""


class Fax(BaseModel):
    """What the carrier says about a fax."""

    id: Annotated[str, Field(min_length=1)]
    tag: str = ""
    to: str = ""
    status: str = "queued"
    pages: Annotated[int, Field(ge=0)] = 0


class Example(Carrier):
    Config: ClassVar[type[CarrierConfig]] = ExampleConfig
    capabilities: ClassVar[Capabilities] = Capabilities(finds=True, listing_lag=5.0)
    config: ExampleConfig

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        document = await asyncio.to_thread(order.document.read_bytes)
        fax = await http.submit(
            self.tools,
            "POST",
            f"{self.config.url}/faxes",
            decode=http.json_of(Fax),
            judge=_refusal,
            limit=self.config.time_limit,
            in_time=order.in_time,
            auth=self._auth,
            data={"to": order.number, "tag": order.reference},
            files={"document": ("fax.pdf", document, "application/pdf")},
        )
        return Receipt(carrier_ref=fax.id)

    async def poll(self, carrier_ref: str) -> Sequence[Event]:
        url = f"{self.config.url}/faxes/{quote(carrier_ref, safe='')}"
        return [self._event(await http.ask(self.tools, "GET", url, decode=http.json_of(Fax), auth=self._auth))]

    async def find(self, reference: str) -> Receipt | None:
        url, decode = f"{self.config.url}/faxes", http.list_of(Fax)
        found = await http.ask(self.tools, "GET", url, decode=decode, auth=self._auth, params={"tag": reference})
        return Receipt(carrier_ref=found[0].id) if found else None

    def parse_callback(self, request: CallbackRequest) -> tuple[Sequence[Event | Announcement], CallbackAnswer]:
        try:
            fax = Fax.model_validate_json(request.body)
        except ValidationError as error:
            raise CallbackRejected("The callback makes no sense.") from error
        return [self._event(fax, believed=False)], CallbackAnswer()  # unsigned: a hint to poll

    @property
    def _auth(self) -> tuple[str, str]:
        return "key", self.config.key.get_secret_value()

    def _event(self, fax: Fax, *, believed: bool = True) -> Event:
        state, outcome = meaning(STATUSES, fax.status)
        return Event(
            key=f"{fax.id}:{fax.status}",
            carrier_ref=fax.id,
            reference=fax.tag,
            state=state,
            outcome=outcome,
            carrier_code=printable(fax.status, 80),
            pages_sent=fax.pages if state is AttemptState.DELIVERED else 0,
            at=self.tools.now(),
            raw=fax.model_dump_json().encode(),
            believed=believed,
        )


def _refusal(answer: http.Answer) -> GatewayError | None:
    try:
        code = str(json.loads(answer.body)["error"])
    except (ValueError, KeyError, TypeError):
        return None
    return CarrierRefused(outcome=REFUSALS[code], carrier_code=code) if code in REFUSALS else None


# Its tests: tests/carriers/test_example.py

KEY = "example-key-0123456789"
_TAKES = answers(201)
_REFUSES = answers(422, {"error": "bad_number"})
_OVERLOADED = answers(429, Retry_After="7")


class ExampleFarEnd(HttpFarEnd):
    statuses = STATUSES
    documented = frozenset({"queued", "sent", "engaged", "bad file"})
    secrets = (KEY, base64.b64encode(f"key:{KEY}".encode()).decode())

    def __init__(self, adapter: Example, server: Server, folder: Path) -> None:
        self.adapter, self.server, self.folder = adapter, server, folder
        self.faxes: list[dict[str, object]] = []
        self.next_submit = _TAKES
        server.behaviour = self._answer

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        """The carrier."""
        assert seen.headers["authorization"] == "Basic " + self.secrets[1]
        if seen.method == "POST":
            if self.next_submit is _REFUSES or self.next_submit is _OVERLOADED:
                await self.next_submit(seen, writer)
                return
            tag = seen.body.split(b'name="tag"\r\n\r\n')[1].split(b"\r\n")[0].decode()
            self.faxes.append({"id": f"f{len(self.faxes)}", "tag": tag, "to": "+14155550123", "status": "queued", "pages": 2})
            behave = answers(201, self.faxes[-1]) if self.next_submit is _TAKES else self.next_submit
        elif seen.path == "/faxes":
            behave = answers(200, [fax for fax in self.faxes if fax["tag"] == seen.query["tag"]])
        else:
            found = [fax for fax in self.faxes if seen.path == f"/faxes/{fax['id']}"]
            behave = answers(200, found[0]) if found else answers(404, {"error": "not found"})
        await behave(seen, writer)

    def order(self, reference: str = "at_1") -> Order:
        return order(self.folder, reference=reference)

    def taken(self) -> int:
        return len(self.faxes)

    async def finish(self, receipt: Receipt) -> None:
        next(fax for fax in self.faxes if fax["id"] == receipt.carrier_ref)["status"] = "sent"

    def refuse(self) -> tuple[Order, Outcome]:
        self.next_submit = _REFUSES
        return self.order(), Outcome.BAD_NUMBER

    def cut_off(self) -> None:
        self.server.stop_listening()

    async def overload(self, seconds: float) -> None:
        assert seconds == 7
        self.next_submit = _OVERLOADED

    def lose_answer(self) -> Order:
        self.next_submit = answers(502)
        return self.order()

    def garble(self) -> None:
        self.next_submit = answers(200, b"<html>")

    def stall(self) -> None:
        self.next_submit = says_nothing

    def callback(self, word: str, carrier_ref: str = "ref-1", *, signed_by: Signer = "current") -> CallbackRequest:
        body = json.dumps({"id": carrier_ref, "tag": "at_1", "to": "+14155550123", "status": word, "pages": 2}).encode()
        return CallbackRequest(method="POST", url="https://fax.example.com/callback/main/x", path="", headers={}, body=body)


class TestExample(HttpCarrierConformance):
    @pytest.fixture
    async def far(self, tmp_path: Path) -> AsyncIterator[ExampleFarEnd]:
        async with Server() as server, http.client(read=1.0) as client:
            section = {"kind": "example", "url": server.url, "key": KEY, "time_limit": 0.5}
            adapter = Example(tools_for(tmp_path, http=client), ExampleConfig.model_validate(section))
            await adapter.start()
            yield ExampleFarEnd(adapter, server, tmp_path)
            await adapter.stop()

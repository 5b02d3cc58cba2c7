"""The far end of the HelloFax adapter: a small real HTTP server that speaks the recorded wire format."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from gateway.carriers import form
from gateway.carriers.base import CallbackRequest, Order, Receipt
from gateway.carriers.hellofax import STATUSES, HelloFax
from gateway.errors import Outcome
from tests.carriers.conformance import HttpFarEnd, Signer
from tests.carriers.server import Behaviour, Seen, Server, answers, says_nothing
from tests.carriers.tools import LINE, order

GUID = "0123456789abcdef0123456789abcdef01234567"
LOGIN, PASSWORD = "fax@office.example", "s3cret-of-the-carrier"
BASIC = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
BOUNDARY = "----------------------------b1d2c3"
_TAKES = answers(200)


def fax_guid(n: int) -> str:
    return f"{n:040x}"


class HelloFaxFarEnd(HttpFarEnd):
    """The account, its lines and its faxes. `prefix` is where the API stands."""

    confirms_pages = False
    statuses = STATUSES
    documented = frozenset({"P", "T", "S", "H", "O", "E", *(f"E/{letter}" for letter in "BRNADLU")})
    secrets = (PASSWORD, BASIC, f"{LOGIN}:{PASSWORD}")

    def __init__(self, adapter: HelloFax, server: Server, folder: Path, prefix: str = "/v1") -> None:
        self.adapter, self.server, self.folder, self.prefix = adapter, server, folder, prefix
        self.faxes: list[dict[str, Any]] = []
        self.posted: list[dict[str, bytes]] = []
        self.lines = [LINE.removeprefix("+")]
        self.account: dict[str, Any] = {"Guid": GUID, "ShouldSendOutboundConfEmails": False}
        self.page_size = 20
        self.next_submit: Behaviour = _TAKES
        self.next_ask: Behaviour | None = None
        server.behaviour = self._answer

    @property
    def home(self) -> str:
        """Paths in answers begin at /v1, whatever the prefix."""
        return f"/v1/Accounts/{GUID}"

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        assert seen.headers["authorization"] == f"Basic {BASIC}"
        assert seen.path.startswith(self.prefix)
        await self._behaviour(seen)(seen, writer)

    def _behaviour(self, seen: Seen) -> Behaviour:
        path = seen.path.removeprefix(self.prefix)
        if self.next_ask is not None and not (seen.method == "POST" and path.endswith("/Transmissions")):
            return self.next_ask
        if path == "/AreaCodes":
            return answers(200, {"AreaCodes": ["213", "415"] if seen.query["StateCode"] == "CA" else []})
        account, _, rest = path.removeprefix("/Accounts/").partition("/")
        if account != GUID:
            return answers(404)
        kind, _, one = rest.partition("/")
        if kind == "FaxLines":
            return self._lines(seen, unquote(one))
        if kind == "Transmissions":
            return self._send(seen) if seen.method == "POST" else self._told(seen, unquote(one))
        if seen.method == "POST":
            self.account |= {name: values[0] for name, values in parse_qs(seen.body.decode()).items()}
        return answers(200, {"Account": self.account})

    def _lines(self, seen: Seen, number: str) -> Behaviour:
        if seen.method == "POST":
            self.lines.append(f"1{parse_qs(seen.body.decode())['AreaCode'][0]}5550177")
            return answers(200, {"FaxLine": self._line(self.lines[-1])})
        if seen.method == "DELETE":
            if number not in self.lines:
                return answers(404)
            self.lines.remove(number)
            return answers(200, b"")
        return answers(200, {"FaxLines": [self._line(number) for number in self.lines]})

    def _line(self, number: str) -> dict[str, str]:
        return {"Number": number, "Uri": f"{self.home}/FaxLines/{number}"}

    def _send(self, seen: Seen) -> Behaviour:
        fields = {part.name: part.content for part in form.parts(seen.headers, seen.body)}
        behave = self.next_submit
        if behave in (self._refuses, self._overloaded):
            return behave
        self.posted.append(fields)
        self.add(To=fields["To"].decode(), From=fields.get("From", b"").decode())
        return answers(200, {"Transmission": self.faxes[-1]}) if behave is _TAKES else behave

    _refuses = staticmethod(answers(413, {"Error": {"Code": 413, "Message": "too large"}}))
    _overloaded = staticmethod(answers(429, b"Please wait. You already have at least 200 transmissions", Retry_After="7"))

    def add(self, **members: Any) -> dict[str, Any]:
        """A fax as the carrier keeps it."""
        now = str(int(self.adapter.tools.now().timestamp()))
        guid = fax_guid(len(self.faxes) + 1)
        fax = {"Guid": guid, "To": "14155550123", "From": "14155550100", "IsInbound": False, "IsDraft": False}
        fax |= {"TypeCode": "F", "StatusCode": "P", "ErrorCode": None, "CreatedAt": now, "UpdatedAt": now}
        fax |= {"Uri": f"{self.home}/Transmissions/{guid}", "NumPagesBilled": 0, **members}
        self.faxes.append(fax)
        return fax

    def _told(self, seen: Seen, guid: str) -> Behaviour:
        if guid:
            found = [fax for fax in self.faxes if fax["Guid"] == guid]
            return answers(200, {"Transmission": found[0]}) if found else answers(404, b"no such transmission")
        page, last = int(seen.query.get("Page", "0")), max(0, (len(self.faxes) - 1) // self.page_size)
        newest = self.faxes[::-1][page * self.page_size : (page + 1) * self.page_size]
        uri = f"{self.home}/Transmissions?Page={{}}&PageSize={self.page_size}"
        around: dict[str, str | None] = {"FirstPageUri": uri.format(0), "LastPageUri": uri.format(last)}
        around["NextPageUri"] = uri.format(page + 1) if page < last else None
        around["PreviousPageUri"] = uri.format(page - 1) if page else None
        return answers(200, {"Transmissions": newest, **around})

    def order(self, reference: str = "at_1") -> Order:
        return order(self.folder, reference=reference)

    def taken(self) -> int:
        return len(self.faxes)

    async def finish(self, receipt: Receipt) -> None:
        fax = next(fax for fax in self.faxes if fax["Guid"] == receipt.carrier_ref)
        fax |= {"StatusCode": "S", "NumPagesBilled": 2}

    def refuse(self) -> tuple[Order, Outcome]:
        self.next_submit = self._refuses
        return self.order(), Outcome.DOCUMENT_REFUSED

    def cut_off(self) -> None:
        self.server.stop_listening()

    async def overload(self, seconds: float) -> None:
        assert seconds == 7
        self.next_submit = self._overloaded

    def lose_answer(self) -> Order:
        self.next_submit = answers(502)
        return self.order()

    def garble(self) -> None:
        self.next_submit = answers(200, b"<html>")

    def stall(self) -> None:
        self.next_submit = says_nothing

    def callback(self, word: str, carrier_ref: str = "ref-1", *, signed_by: Signer = "current") -> CallbackRequest:
        status, _, error = word.partition("/")
        return callback(said(StatusCode=status, ErrorCode=error or None, Guid=carrier_ref))

    async def arrive(self, document: bytes) -> tuple[str, str]:
        fax = self.add(To=LINE.removeprefix("+"), From="14155550123", IsInbound=True, StatusCode="S", NumPagesBilled=1)
        self.document = document
        return str(fax["Guid"]), LINE

    def arrival(self) -> CallbackRequest:
        return callback(json.dumps({"Transaction": self.faxes[-1]}), files={"whatever": ("fax.pdf", self.document)})


def said(**members: Any) -> str:
    """The `json` of a callback about a fax we sent, in the recorded shape: escaped slashes, times as text."""
    fax = {
        "Guid": fax_guid(0x89AB), "To": "14155550123", "From": "14155550100", "IsInbound": False, "IsDraft": False,
        "TypeCode": "F", "StatusCode": "E", "ErrorCode": "B", "CreatedAt": "1500000000", "UpdatedAt": "1500000040",
        "Uri": f"/v1/Accounts/{GUID}/Transmissions/{fax_guid(0x89AB)}", "NumPagesBilled": 0, **members,
    }  # fmt: skip
    return json.dumps({"Transaction": fax}).replace("/", "\\/")


def body(text: str, files: dict[str, tuple[str, bytes]] | None = None) -> bytes:
    """A callback's body as it was recorded: the part `json` has no content type."""
    out = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="json"\r\n\r\n{text}\r\n'.encode()
    for name, (filename, content) in (files or {}).items():
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        out += head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n"
    return out + f"--{BOUNDARY}--\r\n".encode()


def callback(text: str, files: dict[str, tuple[str, bytes]] | None = None) -> CallbackRequest:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", "accept": "*/*", "expect": "100-continue"}
    return CallbackRequest(
        method="POST", url="https://fax.example.com/callback/main/x", path="outbound", headers=headers, body=body(text, files)
    )

"""The far end of the PamFax adapter: a small real HTTP server that speaks the recorded wire format, in both formats."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from gateway.carriers import form
from gateway.carriers.base import Event, Order, Receipt
from gateway.carriers.pamfax import STATUSES, PamFax, event
from gateway.carriers.pamfax_wire import JSON, Answer, apicheck, arguments, dumps_json, dumps_xml
from gateway.errors import Outcome
from tests.carriers.conformance import HttpFarEnd
from tests.carriers.server import Behaviour, Seen, Server, answers, resets, says_nothing
from tests.carriers.tools import LINE, order

KEY, SECRET = "app-key", "s3cret-word-of-the-app"
USERNAME, PASSWORD = "office", "s3cret-of-the-office"
Members = dict[str, Any]


class Fault(Exception):
    """An error code."""


class PamFaxFarEnd(HttpFarEnd):
    """The application, the account, its jobs (one a session), its faxes and its inbox."""

    adapter: PamFax
    statuses = STATUSES
    documented = frozenset(
        {"unknown", "editing", "ready_to_send", "not_enough_credit", "success", "failure", "cancelled"}
        | {"queued", "sending", "retrying", "delayed", "held"}  # our own door's
    )
    secrets = (SECRET, PASSWORD)

    def __init__(self, adapter: PamFax, server: Server, folder: Path) -> None:
        self.adapter, self.server, self.folder = adapter, server, folder
        self.jobs: dict[str, Members] = {}
        """By token."""
        self.listeners: dict[str, int] = {}
        """By token: how many of the changes it was told."""
        self.changes: list[str] = []
        """Uuids of faxes that have moved on, oldest first."""
        self.reports: dict[str, bytes] = {}
        self.faxes: list[Members] = []
        self.inbox: list[Members] = []
        self.documents: dict[str, bytes] = {}
        self.calls: list[tuple[str, Members]] = []
        self.credit, self.price_per_page, self.looks = "12.50", "0.09", 1
        self.inside: dict[str, Callable[[Members], Members]] = {}
        """What a method says instead."""
        self.on_send: Behaviour | None = None
        self.takes = True
        server.behaviour = self._answer

    # The wire

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        assert seen.method == "POST"
        assert "?" not in seen.target
        assert SECRET.encode() not in seen.body
        fields = form.parts(seen.headers, seen.body) if "multipart" in seen.headers["content-type"] else None
        texts = [(part.name, part.content.decode()) for part in fields if part.filename is None] if fields else None
        pairs = texts or parse_qsl(seen.body.decode(), keep_blank_values=True, strict_parsing=True)
        call = arguments(pairs)
        assert call["apikey"] == KEY
        assert call["apicheck"] == apicheck(call, SECRET), "computed again from what was received"
        processor, _, method = seen.path.removeprefix("/pamfax/").partition("/")
        name = f"{processor}/{method}"
        assert (PASSWORD.encode() in seen.body) == (name == "Session/VerifyUser")
        files = [part.content for part in fields if part.filename is not None] if fields else []
        self.calls.append((name, call))
        await self._behaviour(processor, method, call, files)(seen, writer)

    def _behaviour(self, processor: str, method: str, call: Members, files: Sequence[bytes]) -> Behaviour:
        if method in ("Send", "SendLater") and self.on_send is not None:
            if self.takes:
                self.send(call)
            return self.on_send
        try:
            said = self.inside.get(method, getattr(self, f"do_{method}"))(call | {"": files})
        except Fault as fault:
            return self.says(processor, Answer(code=str(fault), message="<b>no</b>"), call)
        return answers(200, said) if isinstance(said, bytes) else self.says(processor, Answer(members=said), call)

    def says(self, processor: str, answer: Answer, call: Mapping[str, Any]) -> Behaviour:
        if call["apioutputformat"] == JSON:
            return answers(200, dumps_json(answer), Content_Type="application/json; charset=utf-8")
        return answers(200, dumps_xml(processor, answer), Content_Type="text/xml")

    def job(self, call: Members) -> Members:
        if call.get("usertoken") not in self.jobs:
            raise Fault("user_not_logged_in")
        job: Members = self.jobs[call["usertoken"]]
        return job

    def now(self) -> str:
        return self.adapter.tools.now().astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")

    # Methods, as recorded (section 8)

    def do_VerifyUser(self, call: Members) -> Members:
        if (call["username"], call["password"]) != (USERNAME, PASSWORD):
            raise Fault("user_not_found")
        token = hashlib.md5(f"token{len(self.jobs)}".encode()).hexdigest()
        self.jobs[token] = {}
        rights = [{"name": "see_credit", "allowed": "1"}]
        return {**self.user(), "UserToken": {"token": token}, "UserRights": rights}

    def user(self) -> Members:
        return {"User": {"uuid": "u9", "username": USERNAME, "credit": self.credit}, "Currency": {"code": "EUR"}}

    def do_ReloadUser(self, call: Members) -> Members:
        self.job(call)
        return self.user()

    def do_KeepAlive(self, call: Members) -> Members:
        self.job(call)
        return {}

    def do_Create(self, call: Members) -> Members:
        job = self.job(call)
        assert not job, "one session, one job"
        job |= {"recipients": [], "files": [], "looks": self.looks}
        return {"FaxContainer": {"uuid": "c1", "state": "editing", "pages": None, "price": 0, "currency": "EUR"}}

    def do_SetSenderDetails(self, call: Members) -> Members:
        self.job(call)["caller"] = call["number"]
        return {}

    def do_AddRecipient(self, call: Members) -> Members:
        recipient = {"uuid": f"r{len(self.calls)}Xy", "number": call["number"], "state": "unknown", "price": 0}
        self.job(call)["recipients"].append(recipient)
        return {"FaxRecipient": recipient}

    def do_ListRecipients(self, call: Members) -> Members:
        return {"Recipients": self.job(call)["recipients"]}

    def do_AddFile(self, call: Members) -> Members:
        (content,) = call[""]
        if call["file_contentmd5"] != hashlib.md5(content).hexdigest():
            raise Fault("file_wrong_checksum")
        if call["file_size"] != str(len(content)):
            raise Fault("file_wrong_size")
        self.job(call)["files"].append(content)
        return {"FaxContainerFile": {"file_uuid": "f1", "name": call["filename"], "ext": "pdf", "file_order": 0, "state": ""}}

    def do_ListFaxFiles(self, call: Members) -> Members:
        found = self.job(call)["files"]
        return {"Files": [{"uuid": "f1", "size": len(one), "contentmd5": hashlib.md5(one).hexdigest()} for one in found]}

    def do_GetFaxState(self, call: Members) -> Members:
        job = self.job(call)
        job["looks"] -= 1
        ready = job["looks"] < 0
        state = "ready_to_send" if ready else "editing"
        container = {"uuid": "c1", "state": state, "pages": 2 if ready else None, "price": "0.18", "currency": "EUR"}
        return {"FaxContainer": container, "Files": [{"file_order": 0, "state": "converted" if ready else "converting"}]}

    def do_GetPagePrice(self, call: Members) -> Members:
        return {"Price": {"number": call["faxnumber"], "priceperpage": self.price_per_page, "currency": "EUR"}}

    def do_Send(self, call: Members) -> Members:
        self.send(call)
        return {}

    def do_SendLater(self, call: Members) -> Members:
        if float(self.credit) >= 0.18:
            raise Fault("enough_credit")
        self.send(call)
        self.faxes[-1]["state"] = "not_enough_credit"
        return {}

    def send(self, call: Members) -> None:
        job = self.job(call)
        assert not job.get("sent"), "one job is sent once"
        job["sent"] = True
        (recipient,) = job["recipients"]
        now, caller = self.now(), job.get("caller")
        state = "delayed" if call.get("datetime") else "queued"
        self.faxes.append(
            {**recipient, "pages": "2", "state": state, "created": now, "sender_fax": caller, "at": call.get("datetime")}
        )

    def do_ListUnpaidFaxes(self, call: Members) -> Members:
        return {"UnpaidFaxes": self.page(call, [fax for fax in self.faxes if fax["state"] == "not_enough_credit"])}

    def do_RegisterListener(self, call: Members) -> Members:
        self.job(call)
        assert call["listener_types"] == {"0": "faxall"} or call["listener_types"] == ["faxall"], call["listener_types"]
        self.listeners[call["usertoken"]] = len(self.changes)
        return {}

    def do_ListChanges(self, call: Members) -> Members:
        self.job(call)
        told = self.listeners.get(call["usertoken"], len(self.changes))
        self.listeners[call["usertoken"]] = min(told + 2, len(self.changes))
        return {"Changes": [{"uuid": uuid, "type": "faxsucceeded"} for uuid in self.changes[told : told + 2]]}

    def do_GetTransmissionReport(self, call: Members) -> Members | bytes:
        self.job(call)
        if call["uuid"] not in self.reports:
            raise Fault("file_not_found")
        return self.reports[call["uuid"]]

    def fax(self, call: Members) -> Members:
        self.job(call)
        opened = [one for job in self.jobs.values() for one in job.get("recipients", ())]
        found: list[Members] = [fax for fax in [*self.faxes, *opened] if fax["uuid"] == call["uuid"]]
        if found:
            return found[0]
        raise Fault("fax_not_found")

    def do_GetFaxDetails(self, call: Members) -> Members:
        fax = self.fax(call)
        ended = fax["state"] in ("success", "failure", "cancelled")
        return {"FaxHistoryModel" if ended else "FaxRecipient": fax}

    def do_Cancel(self, call: Members) -> Members:
        fax = self.fax(call)
        if fax["state"] != "queued":
            raise Fault("fax_removed")
        fax["state"] = "cancelled"
        return {}

    def do_ListOutboxFaxes(self, call: Members) -> Members:
        return {"OutboxFaxes": self.page(call, [fax for fax in self.faxes if fax["state"] == "queued"])}

    def do_ListSentFaxes(self, call: Members) -> Members:
        return {"SentFaxes": self.page(call, [fax for fax in self.faxes if fax["state"] != "queued"])}

    def do_ListInboxFaxes(self, call: Members) -> Members:
        return {"InboxFaxes": self.page(call, self.inbox)}

    def page(self, call: Members, found: list[Members]) -> list[Members]:
        self.job(call)
        size, n = int(call["items_per_page"]), int(call["current_page"]) - 1
        return found[::-1][n * size : (n + 1) * size]

    def do_GetFile(self, call: Members) -> Members | bytes:
        self.job(call)
        if call["file_uuid"] not in self.documents:
            raise Fault("file_not_found")
        return self.documents[call["file_uuid"]]

    def do_SetFaxRead(self, call: Members) -> Members:
        self.job(call)
        next(fax for fax in self.inbox if fax["uuid"] == call["uuid"])["read"] = 1
        return {}

    def do_ListInboxes(self, call: Members) -> Members:
        self.job(call)
        return {"FaxInNumberList": [{"number": LINE, "name": "Office"}]}

    # What the conformance suite asks for

    def order(self, reference: str = "at_1") -> Order:
        return order(self.folder, reference=reference)

    def taken(self) -> int:
        return len(self.faxes)

    async def finish(self, receipt: Receipt) -> None:
        fax = next(fax for fax in self.faxes if fax["uuid"] == receipt.carrier_ref)
        fax |= {"state": "success", "status_message": "ok", "pages_sent": "2"}
        self.changes.append(fax["uuid"])

    def refuse(self) -> tuple[Order, Outcome]:
        def full(call: Members) -> Members:
            raise Fault("invalid_fax_number")

        self.inside["AddRecipient"] = full
        return self.order(), Outcome.BAD_NUMBER

    def cut_off(self) -> None:
        self.server.stop_listening()

    async def overload(self, seconds: float) -> None:
        assert seconds == 7
        self.on_send, self.takes = answers(429, b"", Retry_After="7"), False

    def lose_answer(self) -> Order:
        self.on_send = resets
        return self.order()

    def garble(self) -> None:
        self.on_send = answers(200, b"<html>")

    def stall(self) -> None:
        self.on_send = says_nothing

    def events(self, word: str) -> Sequence[Event]:
        name = "FaxHistoryModel" if word not in STATUSES or STATUSES[word][1] else "FaxRecipient"
        answer = Answer(members={name: {"uuid": "r1", "state": word}})
        return [event(answer, "r1", self.adapter.tools.now(), self.adapter.zone)]

    async def arrive(self, document: bytes) -> tuple[str, str]:
        n = len(self.inbox) + 1
        self.documents[f"d{n}"] = document
        self.inbox.append(
            {
                "uuid": f"i{n}",
                "file_uuid": f"d{n}",
                "received": self.now(),
                "number": LINE,
                "sender": "+14155550123",
                "pages": 1,
            }
        )
        return f"i{n}", LINE

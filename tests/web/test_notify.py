"""Callbacks on the wire: the form of the reference, and a signature that a receiver can check."""

from __future__ import annotations

import email
import email.policy
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from gateway.errors import CallbackNotTaken, Outcome
from gateway.fax import Account, AccountId, InboundId, InboundState, Settings, TransmissionId, TransmissionState
from gateway.web.guid import guid_of
from gateway.web.notify import SIGNATURE, Notifier, signature
from gateway.web.outbound import Outbound
from tests.report import report_values

OUT, IN = "https://program.example/out?type=outbound&key=1", "https://program.example/in"
AT = datetime(2017, 7, 14, 2, 40, tzinfo=UTC)
TX, INBOUND = TransmissionId("tx_01m81018gaf8vvfcn9jbph8j4t"), InboundId("in_01m81018gaf8vvfcn9jbph8j4v")
ACCOUNT = Account(
    id=AccountId("acc_1"),
    name="shop",
    guid="0123456789abcdef0123456789abcdef01234567",
    settings=Settings(outbound_callback=OUT, inbound_callback=IN),
)
SENT = replace(
    report_values.transmission(), id=TX, number="+14155550123", caller="+14155550100", accepted_at=AT, updated_at=AT,
    state=TransmissionState.FAILED, outcome=Outcome.BUSY,
)  # fmt: skip
RECEIVED = replace(
    report_values.inbound(), id=INBOUND, line="+14155550100", caller="+14155550123", received_at=AT,
    state=InboundState.FETCHED, pages=3,
)  # fmt: skip


class Recorder(Outbound):
    """Keeps what would be sent, and answers `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.sent: list[tuple[str, bytes, Mapping[str, str]]] = []

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.sent.append((url, body, headers))
        return self.status


def parts(recorder: Recorder) -> list[EmailMessage]:
    """The parts of the one body, read by a parser that is not ours."""
    ((_, body, headers),) = recorder.sent
    whole = b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body
    parsed = email.message_from_bytes(whole, policy=email.policy.HTTP)
    return [part for part in parsed.iter_parts() if isinstance(part, EmailMessage)]


async def test_a_sent_fax_is_told_in_the_recorded_form() -> None:
    recorder = Recorder()
    assert await Notifier(recorder, lambda: AT).sent(ACCOUNT, SENT) == "POST https://program.example/… answered 200"
    ((url, body, headers),) = recorder.sent
    assert url == OUT, "the query string is kept"
    assert SIGNATURE not in headers
    boundary = headers["Content-Type"].removeprefix("multipart/form-data; boundary=")
    guid, path = guid_of(TX), r"\/v1\/Accounts\/0123456789abcdef0123456789abcdef01234567\/Transmissions\/"
    assert body.decode() == (
        f'--{boundary}\r\nContent-Disposition: form-data; name="json"\r\n\r\n'
        f'{{"Transaction":{{"Guid":"{guid}","To":"14155550123","From":"14155550100","IsInbound":false,"IsDraft":false,'
        f'"TypeCode":"F","StatusCode":"E","ErrorCode":"B","CreatedAt":"1500000000","UpdatedAt":"1500000000",'
        f'"Uri":"{path}{guid}","NumPagesBilled":0}}}}'
        f"\r\n--{boundary}--\r\n"
    )


async def test_a_received_fax_comes_with_its_pages() -> None:
    recorder, pdf = Recorder(), b"%PDF-1.7\r\n--boundary\r\n\x00\xff%%EOF"
    await Notifier(recorder, lambda: AT).received(ACCOUNT, RECEIVED, pdf)
    assert recorder.sent[0][0] == IN
    told, file = parts(recorder)
    fax = json.loads(str(told.get_payload()))["Transaction"]
    assert (fax["IsInbound"], fax["To"], fax["From"], fax["StatusCode"]) == (True, "14155550100", "14155550123", "S")
    assert (file.get_content_type(), file.get_filename()) == ("application/pdf", f"{fax['Guid']}.pdf")
    assert fax["Guid"] == guid_of(INBOUND)
    assert b"\r\n\r\n" + pdf + b"\r\n--" in recorder.sent[0][1]


async def test_whoever_has_the_secret_can_check_who_called() -> None:
    recorder, secret = Recorder(), "a secret"
    account = replace(ACCOUNT, settings=replace(ACCOUNT.settings, callback_secret=secret))
    await Notifier(recorder, lambda: AT).sent(account, SENT)
    ((_, body, headers),) = recorder.sent
    told = dict(field.split("=", 1) for field in headers[SIGNATURE].split(","))
    assert told["t"] == "1500000000"
    assert told["v1"] == hmac.new(secret.encode(), told["t"].encode() + b"." + body, hashlib.sha256).hexdigest()


def test_the_signature_is_that_of_openssl() -> None:
    """printf 1500000000.body | openssl dgst -sha256 -hmac 'a secret'"""
    assert signature("a secret", 1500000000, b"body") == (
        "t=1500000000,v1=0ec95f039f21876db9db03ba63a5dabec0278f3319d08f5450bf2864ceb19455"
    )


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500, 503])
async def test_only_200_counts(status: int) -> None:
    with pytest.raises(CallbackNotTaken) as raised:
        await Notifier(Recorder(status), lambda: AT).sent(ACCOUNT, SENT)
    assert raised.value.text == f"POST https://program.example/… answered {status}", "without path and query"

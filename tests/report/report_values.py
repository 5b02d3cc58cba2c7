"""Values for the report tests: one submission, one fax, its attempts, and who we are."""

from __future__ import annotations

import dataclasses
import email
import email.policy
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, MIMEPart
from typing import Any

from gateway.errors import Outcome
from gateway.fax import (
    AccountId,
    Attempt,
    AttemptId,
    AttemptState,
    Door,
    Envelope,
    InboundFax,
    InboundId,
    InboundState,
    OutboxId,
    Recipient,
    Sha256,
    Submission,
    SubmissionId,
    Transmission,
    TransmissionId,
    TransmissionState,
)
from gateway.report.compose import Composer, Mail, Sender
from gateway.report.facts import NOTHING, Beside
from gateway.templates import Templates

START = datetime(2026, 3, 2, 9, 0, 4, tzinfo=UTC)
OUTBOX = OutboxId("ob_01jnaaaaaaaaaaaaaaaaaaaaaa")
SENDER = Sender(
    address="fax-operator@fax.example",
    operator="fax-admin@corp.example",
    host="gw.fax.example",
    domain="fax.example",
    zone="Europe/Rome",
)
TEMPLATES = Templates()
COMPOSER = Composer(TEMPLATES, SENDER)
ORIGINAL = (
    b"From: Ann <ann@corp.example>\r\nTo: FAX=+1-415-555-0123@fax.example\r\nSubject: Contract\r\n"
    b"Message-ID: <abc@corp.example>\r\n"
)
RECIPIENT = Recipient(written="FAX=+1-415-555-0123@fax.example", number="+14155550123")
ASKED = dataclasses.replace(
    RECIPIENT, notify=("SUCCESS", "FAILURE"), original_recipient="rfc822;FAX=+1-415-555-0123@fax.example"
)


def submission(**changes: Any) -> Submission:
    """Any here: the fields of Submission, and of its Envelope, are set by name."""
    envelope = Envelope(
        door=changes.pop("door", Door.SMTP),
        sender=changes.pop("sender", "ann@corp.example"),
        envelope_id=changes.pop("envelope_id", ""),
        ret=changes.pop("ret", ""),
    )
    base = Submission(
        id=SubmissionId("sub_1"),
        account=AccountId("acc_1"),
        envelope=envelope,
        message_id="<abc@corp.example>",
        resent_message_id="",
        content_hash="",
        subject="Contract",
        from_header="Ann <ann@corp.example>",
        references="<first@corp.example> <second@corp.example>",
        auto_submitted=False,
        document=Sha256("d" * 64),
        content_type="message/rfc822",
        accepted_at=START,
    )
    return dataclasses.replace(base, **changes)


def transmission(
    state: TransmissionState = TransmissionState.FAILED, outcome: Outcome | None = Outcome.BUSY, **changes: Any
) -> Transmission:
    base = Transmission(
        id=TransmissionId("tx_01jnbbbbbbbbbbbbbbbbbbbbbb"),
        submission=SubmissionId("sub_1"),
        account=AccountId("acc_1"),
        number="+14155550123",
        sub_address="",
        carrier="main",
        caller="",
        state=state,
        outcome=outcome,
        reason="",
        document=None,
        pages=4,
        pages_sent=0,
        attempts=3,
        manifest="",
        accepted_at=START,
        updated_at=START,
        finished_at=START + timedelta(minutes=100),
        due_at=None,
    )
    return dataclasses.replace(base, **changes)


def delivered(**changes: Any) -> Transmission:
    return transmission(TransmissionState.DELIVERED, Outcome.DELIVERED, **{"pages_sent": 4, "attempts": 1, **changes})


def attempt(n: int = 1, outcome: Outcome | None = Outcome.BUSY, **changes: Any) -> Attempt:
    base = Attempt(
        id=AttemptId(f"at_{n}"),
        transmission=TransmissionId("tx_1"),
        n=n,
        carrier="main",
        reference="r",
        carrier_ref="",
        state=AttemptState.DELIVERED if outcome is Outcome.DELIVERED else AttemptState.FAILED,
        outcome=outcome,
        carrier_code="user_busy" if outcome is Outcome.BUSY else "",
        text="",
        pages_sent=0,
        station_id="",
        seconds=None,
        opened_at=START + timedelta(minutes=10 * n),
        submitted_at=None,
        finished_at=START + timedelta(minutes=10 * n, seconds=30),
    )
    return dataclasses.replace(base, **changes)


BUSY_TO_THE_END = [attempt(1), attempt(2), attempt(3)]
ONE_CALL = [attempt(1, Outcome.DELIVERED, pages_sent=4, station_id="ACME LTD", seconds=131.2)]


def inbound(**changes: Any) -> InboundFax:
    base = InboundFax(
        id=InboundId("in_01jncccccccccccccccccccccc"),
        carrier="main",
        carrier_ref="c1",
        line="+14155550100",
        caller="+442079460123",
        station_id="ACME LTD",
        sub_address="",
        state=InboundState.FETCHED,
        document=Sha256("d" * 64),
        original=None,
        pages=2,
        complete=True,
        seconds=71.0,
        received_at=START,
        reason="",
    )
    return dataclasses.replace(base, **changes)


def result(
    fax: Transmission,
    recipients: Sequence[Recipient] = (RECIPIENT,),
    attempts: Sequence[Attempt] = (),
    *,
    of: Submission | None = None,
    original: bytes = ORIGINAL,
    beside: Beside = NOTHING,
    reply_to: str = "",
) -> Mail:
    return COMPOSER.result(
        outbox=OUTBOX,
        submission=of or submission(),
        transmission=fax,
        recipients=recipients,
        attempts=attempts,
        original=original,
        beside=beside,
        reply_to=reply_to,
        made_at=START + timedelta(minutes=101),
    )


def parsed(mail: Mail) -> EmailMessage:
    """Read by the library, after the promises of `Mail.content` are checked."""
    assert mail.content.isascii()
    assert b"\n" not in mail.content.replace(b"\r\n", b"")
    assert b"\r" not in mail.content.replace(b"\r\n", b"")
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert not part.defects, part.defects
    return message


def text_of(message: MIMEPart) -> str:
    return content_of(message, "plain")


def html_of(message: MIMEPart) -> str:
    return content_of(message, "html")


def content_of(message: MIMEPart, subtype: str) -> str:
    for part in message.walk():
        if part.get_content_type() == f"text/{subtype}":
            assert isinstance(part, MIMEPart)
            return str(part.get_content())
    raise AssertionError(f"no text/{subtype}")


def machine_part(mail: Mail) -> str:
    """The delivery-status part as it stands on the wire, lines ended by LF."""
    for part in parsed(mail).walk():
        if part.get_content_type() == "message/delivery-status":
            blocks = part.get_payload()
            assert isinstance(blocks, list)
            wire = mail.content.split(b"Content-Type: message/delivery-status\r\n")[1].split(b"\r\n\r\n", 1)[1]
            return wire.split(b"\r\n--=_")[0].replace(b"\r\n", b"\n").decode("ascii")
    raise AssertionError("no delivery-status part")

"""Delivery status notifications: the machine-readable part of a report.

Promises what RFC 3464 wants of a reporting mail system, built from values, for those recipients only that deserve it
(the caller says which). Does not decide who is told. Reporting-MTA is us, because we made the attempt through the
carrier; the carrier's own word stands in Diagnostic-Code. Original mail is never returned, only its header: documents are
private, whatever RET asked for.

Sources: RFC 3461 section 6, RFC 3464, RFC 6522, RFC 2530; reference/internet-fax-standards.md rows DSN-11 to DSN-30,
sections 17 to 19.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from gateway.errors import Outcome
from gateway.fax import Attempt, Recipient, Submission, Transmission
from gateway.lifecycle import TRAITS
from gateway.log import printable
from gateway.report import facts, mime
from gateway.report.words import english_words

_HEADER_LIMIT = 32 * 1024
"""Bytes of the original's header that go back."""
_TYPED = re.compile(r"[A-Za-z0-9-]+;.+")
#: The far end took part in these, so it may be named (DSN-22).
_ANSWERED = frozenset({Outcome.DELIVERED, Outcome.NOT_A_FAX, Outcome.PARTLY_SENT})
#: What we take, in the words of RFC 2913 and 2879 (section 18.5).
_WITH_LOSS = "2.6.4"  # RFC 3463 X.6.4: conversion with loss was done
_FEATURES = (
    '(| (& (type="image/tiff") (color=Binary)\r\n'
    "   (image-file-structure=TIFF-minimal) (image-coding=MH)\r\n"
    "   (dpi=204) (dpi-xyratio=[204/98,204/196]))\r\n"
    ' (& (type=["application/pdf","text/plain"]) (paper-size=[A4,letter])))'
)


class Action(StrEnum):
    """What became of a recipient, RFC 3464 section 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"


def report(boundary: str, people: mime.Part, status: mime.Part, original_headers: bytes) -> mime.Part:
    """The frame of RFC 6522: words for people, the machine part, the header of the original where there is one."""
    parts = [people, status]
    block = header_block(original_headers)
    if block:
        parts.append(mime.verbatim("text/rfc822-headers", block))
    return mime.multipart("report; report-type=delivery-status", boundary, parts)


def status_part(
    *,
    action: Action,
    host: str,
    zone: ZoneInfo,
    submission: Submission,
    transmission: Transmission,
    recipients: Sequence[Recipient],
    attempts: Sequence[Attempt],
) -> mime.Part:
    """`message/delivery-status` with one group for each spelling of the number."""
    body = mime.block(
        [
            ("Reporting-MTA", f"dns; {host}"),
            ("Original-Envelope-Id", printable(submission.envelope.envelope_id)),
            ("Arrival-Date", _date(transmission.accepted_at, zone)),
            ("Future-Release-Request", printable(submission.envelope.future_release)),
        ]
    )
    result = _result(action, zone, transmission, attempts)
    for recipient in recipients:
        body += b"\r\n" + mime.block([*_names(recipient), *result])
    return mime.verbatim("message/delivery-status", body)


def status_code(action: Action, outcome: Outcome) -> str:
    """Enhanced status code; class 4 while the fax may still go out."""
    status = TRAITS[outcome].status
    return status if action is not Action.DELAYED or status.startswith("4") else "4.0.0"


def _status(transmission: Transmission, action: Action, outcome: Outcome) -> str:
    if transmission.status:
        return transmission.status
    if action is Action.DELIVERED and facts.has_loss(transmission):
        return _WITH_LOSS
    return status_code(action, outcome)


def header_block(original: bytes) -> bytes:
    """The header fields of the original, whole fields only, CRLF ends, nothing of its body."""
    lines: list[bytes] = []
    for line in original[:_HEADER_LIMIT].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if not line:
            break
        lines.append(line.replace(b"\0", b"?"))
    else:
        if len(original) > _HEADER_LIMIT:  # the last field is cut: leave it out
            while lines and lines.pop()[:1] in (b" ", b"\t"):
                pass
    return b"".join(line + b"\r\n" for line in lines)


def _names(recipient: Recipient) -> list[tuple[str, str]]:
    original = printable(recipient.original_recipient, 500)
    return [
        ("Original-Recipient", original if _TYPED.match(original) else ""),
        ("Final-Recipient", f"rfc822;{printable(recipient.written, 500)}"),
    ]


def _result(action: Action, zone: ZoneInfo, transmission: Transmission, attempts: Sequence[Attempt]) -> list[tuple[str, str]]:
    """The fields that all spellings of one number share."""
    outcome = facts.outcome_of(transmission, attempts)
    last = attempts[-1] if attempts else None
    return [
        ("Action", action.value),
        ("Status", _status(transmission, action, outcome)),
        ("Remote-MTA", f"x-gstn; {transmission.number}" if _far_end_took_part(outcome, last) else ""),
        ("Diagnostic-Code", _diagnostic(transmission, outcome, last) if action is not Action.DELIVERED else ""),
        ("Last-Attempt-Date", _date(last.finished_at or last.submitted_at or last.opened_at, zone) if last else ""),
        ("Final-Log-ID", transmission.id),
        ("X-Faxgate-Outcome", _public(outcome)),
        ("X-Faxgate-Pages", f"{facts.confirmed_pages(transmission)}/{transmission.pages}" if transmission.pages else ""),
        ("X-Faxgate-Remote-Id", printable(last.station_id, 60).strip() if last else ""),
        ("X-Faxgate-Duration", str(round(last.seconds)) if last and last.seconds is not None else ""),
        ("Media-Accept-Features", _FEATURES if action is Action.DELIVERED else ""),
    ]


def _far_end_took_part(outcome: Outcome, last: Attempt | None) -> bool:
    if last is None:
        return False
    return outcome in _ANSWERED or (outcome is Outcome.LINE_TROUBLE and bool(last.pages_sent or last.station_id))


def _diagnostic(transmission: Transmission, outcome: Outcome, last: Attempt | None) -> str:
    """`x-fax; user_busy (attempt 3 of 3)`: the carrier's own word, else ours; the reason where there was no call."""
    own = printable(last.carrier_code, 100).strip() if last and outcome is not Outcome.NO_CREDIT else ""
    note = f"attempt {last.n} of {max(transmission.attempts, last.n)}" if last else ""
    if last is None:
        note = printable(facts.reason_of(transmission, outcome, english_words()))
    return f"x-fax; {own or _public(outcome)}" + (f" ({note})" if note else "")


def _public(outcome: Outcome) -> str:
    """The outcome as a sender may read it: money at the carrier is the operator's business."""
    return (Outcome.CARRIER_TROUBLE if outcome is Outcome.NO_CREDIT else outcome).value


def _date(time: datetime, zone: ZoneInfo) -> str:
    return format_datetime(time.astimezone(zone))

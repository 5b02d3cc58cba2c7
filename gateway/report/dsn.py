"""Delivery status notifications: the machine-readable part of a report.

Promises what RFC 3464 wants of a reporting mail system, built from values, for those recipients only that deserve it
(the caller says which). Does not decide who is told. Reporting-MTA is us, because we made the attempt through the
carrier; the carrier's own word stands in Diagnostic-Code. The original mail goes back whole only where RET=FULL asked for
it, something failed, and the caller gives it; else its header: documents are private.

Sources: RFC 3461 section 6, RFC 3464, RFC 6522, RFC 2530; reference/internet-fax-standards.md rows DSN-11 to DSN-30,
sections 17 to 19.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from gateway.errors import Outcome
from gateway.fax import Attempt, Recipient, Submission, Transmission, TransmissionState
from gateway.lifecycle import TRAITS
from gateway.log import printable
from gateway.report import facts, mime
from gateway.report.words import english_words

_HEADER_LIMIT = 32 * 1024
"""Bytes of the original's header that go back."""
_HOST = re.compile(r"(?=[A-Za-z0-9.-]{1,255}\Z)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+\Z")
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
    RELAYED = "relayed"


_ACTIONS = {
    TransmissionState.FAILED: Action.FAILED,
    TransmissionState.CANCELLED: Action.FAILED,
    TransmissionState.DELIVERED: Action.DELIVERED,
}


_GOOD = frozenset({Action.DELIVERED, Action.RELAYED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One fax and those of its recipients that deserve a report."""

    transmission: Transmission
    recipients: Sequence[Recipient]
    attempts: Sequence[Attempt]
    until: datetime | None = None
    """Of one that has not ended: till when it is tried, where that is known."""

    @property
    def action(self) -> Action:
        if facts.is_relayed(self.transmission):
            return Action.RELAYED
        return _ACTIONS.get(self.transmission.state, Action.DELAYED)


def report(boundary: str, people: mime.Part, status: mime.Part, original: bytes, *, whole: bool = False) -> mime.Part:
    """The frame of RFC 6522: words for people, the machine part, the original where there is one: its header, or `whole`,
    where it is clean 7-bit, for the type allows no encoding."""
    parts = [people, status]
    data = original.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if whole and mime.is_clean(data):
        parts.append(mime.verbatim("message/rfc822", data))
    elif block := header_block(original):
        parts.append(mime.verbatim("text/rfc822-headers", block))
    return mime.multipart("report; report-type=delivery-status", boundary, parts)


def status_part(*, host: str, zone: ZoneInfo, submission: Submission, groups: Sequence[Group]) -> mime.Part:
    """`message/delivery-status`: the fields of the mail, then those of each recipient; every spelling of a number is one."""
    envelope = submission.envelope
    body = mime.block(
        [
            ("Reporting-MTA", f"dns; {host}"),
            ("Original-Envelope-Id", printable(envelope.envelope_id)),
            ("Received-From-MTA", f"dns; {envelope.helo}" if _HOST.match(envelope.helo) else ""),
            ("Arrival-Date", _date(groups[0].transmission.accepted_at, zone)),
            ("Future-Release-Request", printable(envelope.future_release)),
        ]
    )
    for group in groups:
        result = _result(group, zone)
        for recipient in group.recipients:
            body += b"\r\n" + mime.block([*names(recipient), *result])
    return mime.verbatim("message/delivery-status", body)


def status_of(group: Group) -> str:
    """The enhanced status code of one fax."""
    return _status(group.transmission, group.action, facts.outcome_of(group.transmission, group.attempts))


def status_code(action: Action, outcome: Outcome) -> str:
    """Enhanced status code; class 4 while the fax may still go out."""
    status = TRAITS[outcome].status
    return status if action is not Action.DELAYED or status.startswith("4") else "4.0.0"


def _status(transmission: Transmission, action: Action, outcome: Outcome) -> str:
    if transmission.status:
        return transmission.status
    if _is_well(transmission, outcome):
        return "4.0.0"
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


def names(recipient: Recipient) -> list[tuple[str, str]]:
    """Which recipient it is, as the sender wrote it."""
    original = printable(recipient.original_recipient, 500)
    return [
        ("Original-Recipient", original if _TYPED.match(original) else ""),
        ("Final-Recipient", f"rfc822;{printable(recipient.written, 500)}"),
    ]


def _result(group: Group, zone: ZoneInfo) -> list[tuple[str, str]]:
    """The fields that all spellings of one number share."""
    action, transmission, attempts = group.action, group.transmission, group.attempts
    outcome = facts.outcome_of(transmission, attempts)
    last, is_well = attempts[-1] if attempts else None, _is_well(transmission, outcome)
    return [
        ("Action", action.value),
        ("Status", _status(transmission, action, outcome)),
        ("Remote-MTA", f"x-gstn; {transmission.number}" if _far_end_took_part(action, outcome, last) else ""),
        ("Diagnostic-Code", "" if action in _GOOD or is_well else _diagnostic(transmission, outcome, last)),
        ("Last-Attempt-Date", _date(last.finished_at or last.submitted_at or last.opened_at, zone) if last else ""),
        ("Final-Log-ID", transmission.id),
        ("Will-Retry-Until", _date(group.until, zone) if group.until and action is Action.DELAYED else ""),
        ("X-Faxgate-Outcome", "relayed" if action is Action.RELAYED else "" if is_well else _public(outcome)),
        ("X-Faxgate-Pages", f"{facts.confirmed_pages(transmission)}/{transmission.pages}" if transmission.pages else ""),
        ("X-Faxgate-Remote-Id", printable(last.station_id, 60).strip() if last else ""),
        ("X-Faxgate-Bit-Rate", str(last.speed) if last and last.speed else ""),
        ("X-Faxgate-Resolution", printable(last.resolution, 12) if last else ""),
        ("X-Faxgate-Duration", str(round(last.seconds)) if last and last.seconds is not None else ""),
        ("Media-Accept-Features", _FEATURES if action is Action.DELIVERED else ""),
    ]


def _is_well(transmission: Transmission, outcome: Outcome) -> bool:
    """Whether it is on its way, and nothing is known to be wrong with it."""
    return facts.kind_of(transmission) == "delayed" and outcome is Outcome.UNKNOWN


def _far_end_took_part(action: Action, outcome: Outcome, last: Attempt | None) -> bool:
    if last is None or action is Action.RELAYED:
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

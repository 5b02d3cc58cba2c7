"""What a mail may say about one fax: every fact in words, on one line, in the reader's time zone.

The templates in `templates/mail/` see these values and nothing else, so that an operator's template cannot show more
than ours. All text from outside (subjects, station ids, names of parts, reasons) is cleaned here, once. What concerns
the operator's account at the carrier is never said to a sender (reference/internet-fax-standards.md section 17).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway import number
from gateway.errors import Outcome, Refused
from gateway.fax import Attempt, AttemptState, InboundFax, Recipient, Submission, Transmission, TransmissionState
from gateway.lifecycle import APPROVAL, PROOF, TRAITS, Kind
from gateway.report.mime import plain

#: An outcome in a few words, for subjects and the list of attempts.
SHORT: Mapping[Outcome, str] = {
    Outcome.DELIVERED: "delivered",
    Outcome.BUSY: "line busy",
    Outcome.NO_ANSWER: "no answer",
    Outcome.NOT_A_FAX: "a person or a voice system answered",
    Outcome.BAD_NUMBER: "no such number",
    Outcome.DISCONNECTED: "number out of service",
    Outcome.LINE_TROUBLE: "the call broke off",
    Outcome.PARTLY_SENT: "only some pages were confirmed",
    Outcome.DOCUMENT_REFUSED: "the document cannot be faxed",
    Outcome.RECIPIENT_BLOCKED: "faxes to this number are blocked",
    Outcome.NO_CREDIT: "the call could not be placed",
    Outcome.NOT_AUTHORISED: "not allowed",
    Outcome.CARRIER_TROUBLE: "fault at the telephone carrier",
    Outcome.GAVE_UP: "out of time",
    Outcome.CANCELLED: "cancelled",
    Outcome.UNKNOWN: "result unknown",
}
#: Where `lifecycle` speaks of a fax that may still go out, and this one will not.
_AT_THE_END = {
    Outcome.NO_CREDIT: "The service could not place the call, and nothing was sent. Send the fax again later.",
}
#: Where not a carrier but the account's own limits, or its approver, said so: what to do is beside it.
_STOPPED_HERE = "Nothing was sent. Why, and what you can do:"
_CANCELLED_IN_THE_CALL = "The fax was cancelled while it was being sent. Ask the receiver which pages arrived."
_HELD = "A person has to look at it first, and the operator has been told. You need not do anything; another mail follows."
_HELD_UNKNOWN = (
    "Nobody can say yet whether it arrived. The operator has been told and looks into it. "
    "Do not send it again now: it may arrive twice. Another mail follows."
)
_HELD_FOR_APPROVAL = (
    "Somebody has to agree to it before it is sent, and has been asked. You need not do anything; another mail follows."
)
#: The reason beside these is the operator's business.
_PRIVATE = frozenset({Outcome.NO_CREDIT, Outcome.CARRIER_TROUBLE})
_STATES = {
    AttemptState.UNCERTAIN: "result unknown",
    AttemptState.CANCELLED: "cancelled",
    AttemptState.FAILED: "not called, the carrier was busy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt."""

    n: int
    time: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What became of one part of the mail."""

    title: str
    pages: str
    """"page 1", "pages 2–4"; "" where it did not become pages."""
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingFax:
    """One fax to one recipient. Every text is one line; "" where there is nothing to say."""

    id: str
    number: str
    """For people, e.g. "+1 415 555 0123"."""
    full_number: str
    """The same with E.164 behind it."""
    sub_address: str
    subject: str
    outcome: str
    """A value of `errors.Outcome`, for templates that use words of their own."""
    short: str
    """The outcome in a few words."""
    sentence: str
    """What happened and what to do."""
    reason: str
    pages: str
    """e.g. "2 of 4 pages confirmed"."""
    accepted: str
    finished: str
    zone: str
    tries: tuple[Try, ...]
    pieces: tuple[Piece, ...]
    station: str
    """What the far end calls itself: a claim."""
    duration: str
    """Of the last call."""
    written: tuple[str, ...]
    """The addresses as the sender wrote them."""
    tags: tuple[str, ...]
    """References of the sender's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A fax that somebody must agree to. Every text is one line; "" where there is nothing to say."""

    fax: OutgoingFax
    sender: str
    account: str
    reason: str
    """Why it is asked for, e.g. "25 pages, more than 20"."""
    pages: str
    cost: str
    until: str
    """When it is rejected by itself."""
    approve: str
    """The address of the page that approves it."""
    reject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivedFax:
    """One received fax. Every text is one line; "" where there is nothing to say."""

    id: str
    caller: str
    """For people; "" when the network did not say."""
    full_caller: str
    station: str
    """What the sending machine calls itself: a claim."""
    line: str
    full_line: str
    sub_address: str
    pages: str
    complete: bool
    received: str
    duration: str
    zone: str


def outcome_of(transmission: Transmission, attempts: Sequence[Attempt]) -> Outcome:
    """The outcome a report speaks of. A fax that ran out of time failed for its last real reason (RFC 3463 X.4.7)."""
    if transmission.state is TransmissionState.DELIVERED:
        return Outcome.DELIVERED
    if transmission.state is TransmissionState.CANCELLED:
        return Outcome.CANCELLED
    if waits_for_approval(transmission):
        return Outcome.NOT_AUTHORISED
    if transmission.outcome is Outcome.GAVE_UP:
        reasons = [a.outcome for a in attempts if a.outcome and TRAITS[a.outcome].kind is Kind.TEMPORARY]
        return reasons[-1] if reasons else Outcome.GAVE_UP
    # A fax that was never handed over cannot have arrived.
    return transmission.outcome or (Outcome.UNKNOWN if attempts else Outcome.GAVE_UP)


def reason_of(transmission: Transmission, outcome: Outcome) -> str:
    """The reason as the sender may read it."""
    if waits_for_approval(transmission):
        return plain(f"Why: {_asked_for(transmission)}")
    hidden = outcome in _PRIVATE or transmission.state is TransmissionState.HELD
    return "" if hidden else plain(transmission.reason)


def waits_for_approval(transmission: Transmission) -> bool:
    """Whether it is held because somebody must agree to it: an approver, or who sent it."""
    return transmission.state is TransmissionState.HELD and transmission.reason.startswith((f"{APPROVAL}: ", f"{PROOF}: "))


def waits_for_proof(transmission: Transmission) -> bool:
    """Whether it is held because its sender is shown the pages first."""
    return transmission.state is TransmissionState.HELD and transmission.reason.startswith(f"{PROOF}: ")


def _asked_for(transmission: Transmission) -> str:
    """Why somebody must agree to it."""
    return transmission.reason.removeprefix(f"{APPROVAL}: ").removeprefix(f"{PROOF}: ")


def confirmed_pages(transmission: Transmission) -> int:
    """Pages the far end has. Not every carrier counts them, but delivered means all."""
    delivered = transmission.state is TransmissionState.DELIVERED
    return transmission.pages_sent or (transmission.pages if delivered else 0)


def outgoing(
    submission: Submission,
    transmission: Transmission,
    recipients: Sequence[Recipient],
    attempts: Sequence[Attempt],
    zone: ZoneInfo,
) -> OutgoingFax:
    """The facts about one fax we sent, or tried to."""
    outcome = outcome_of(transmission, attempts)
    last = attempts[-1] if attempts else None
    return OutgoingFax(
        id=transmission.id,
        number=readable(transmission.number),
        full_number=in_full(transmission.number),
        sub_address=plain(transmission.sub_address),
        subject=plain(submission.subject),
        outcome=outcome.value,
        short=SHORT[outcome],
        sentence=_sentence(transmission, outcome),
        reason=reason_of(transmission, outcome),
        pages=_pages_of(transmission, outcome),
        accepted=moment(transmission.accepted_at, zone),
        finished=moment(transmission.finished_at, zone) if transmission.finished_at else "",
        zone=zone.key,
        tries=tuple(_try(attempt, zone) for attempt in attempts),
        pieces=tuple(_piece(row) for row in _rows(transmission.manifest)),
        station=plain(last.station_id, 60) if last else "",
        duration=duration(last.seconds) if last else "",
        written=tuple(plain(recipient.written) for recipient in recipients),
        tags=tuple(plain(recipient.tag, 60) for recipient in recipients if recipient.tag),
    )


def question(
    submission: Submission,
    transmission: Transmission,
    recipients: Sequence[Recipient],
    zone: ZoneInfo,
    *,
    account: str,
    cost: str,
    links: tuple[str, str],
) -> Question:
    """What somebody is asked who must agree to a fax; `links` approve and reject it."""
    return Question(
        fax=outgoing(submission, transmission, recipients, (), zone),
        sender=plain(submission.envelope.sender) or plain(submission.from_header),
        account=plain(account),
        reason=plain(_asked_for(transmission)),
        pages=counted(transmission.pages),
        cost=cost,
        until=moment(transmission.due_at, zone) if transmission.due_at else "",
        approve=links[0],
        reject=links[1],
    )


def arrived(inbound: InboundFax, zone: ZoneInfo) -> ArrivedFax:
    """The facts about one fax we received."""
    return ArrivedFax(
        id=inbound.id,
        caller=readable(inbound.caller),
        full_caller=in_full(inbound.caller),
        station=plain(inbound.station_id, 60),
        line=readable(inbound.line),
        full_line=in_full(inbound.line),
        sub_address=plain(inbound.sub_address),
        pages=counted(inbound.pages),
        complete=inbound.complete,
        received=moment(inbound.received_at, zone),
        duration=duration(inbound.seconds),
        zone=zone.key,
    )


def readable(e164: str) -> str:
    """A number as people write it; one that libphonenumber cannot read stays as it is."""
    try:
        return number.parse(e164, "").readable
    except Refused:
        return plain(e164)


def in_full(e164: str) -> str:
    """e.g. "+44 20 7946 0123 (+442079460123)"."""
    shown, bare = readable(e164), plain(e164)
    return shown if shown == bare else f"{shown} ({bare})"


def moment(time: datetime, zone: ZoneInfo) -> str:
    """e.g. "Mon 2 Mar 2026, 10:00 CET"."""
    local = time.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M %Z}"


def counted(pages: int) -> str:
    """ "1 page", "4 pages"."""
    return "1 page" if pages == 1 else f"{pages} pages"


def _sentence(transmission: Transmission, outcome: Outcome) -> str:
    if waits_for_approval(transmission):
        return _HELD_FOR_APPROVAL
    if transmission.state is TransmissionState.HELD:
        return _HELD_UNKNOWN if outcome is Outcome.UNKNOWN else _HELD
    if outcome is Outcome.NOT_AUTHORISED and transmission.reason and not transmission.attempts:
        return _STOPPED_HERE
    if outcome is Outcome.CANCELLED and transmission.pages_sent:
        return _CANCELLED_IN_THE_CALL
    return _AT_THE_END.get(outcome, TRAITS[outcome].sentence)


def _pages_of(transmission: Transmission, outcome: Outcome) -> str:
    total, sent = transmission.pages, confirmed_pages(transmission)
    if not total:
        return "no pages were made"
    if outcome is Outcome.UNKNOWN and not sent:
        return f"{counted(total)}; none confirmed"
    if transmission.state is TransmissionState.HELD and not sent:
        return counted(total)
    if sent >= total:
        return f"{counted(total)}, all confirmed" if total > 1 else "1 page, confirmed"
    return f"{sent or 'none'} of {counted(total)} {'confirmed' if sent else 'sent'}"


def _try(attempt: Attempt, zone: ZoneInfo) -> Try:
    words = SHORT[attempt.outcome] if attempt.outcome else _STATES.get(attempt.state, "no result yet")
    if attempt.pages_sent:
        words += f", {counted(attempt.pages_sent)} confirmed"
    return Try(n=attempt.n, time=moment(attempt.opened_at, zone), words=words)


def has_loss(transmission: Transmission) -> bool:
    """Whether something of what was sent in is not on the pages, or not as it was (CNT-10)."""
    return any(row.get("loss") is True for row in _rows(transmission.manifest))


def _rows(manifest: str) -> list[dict[str, object]]:
    """The manifest is ours, but old rows outlive the code that wrote them: what cannot be read is not shown."""
    try:
        rows = json.loads(manifest) if manifest else []
    except ValueError:
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _piece(row: Mapping[str, object]) -> Piece:
    first, last = row.get("first_page"), row.get("last_page")
    pages = ""
    if isinstance(first, int) and isinstance(last, int) and 0 < first <= last:
        pages = f"page {first}" if first == last else f"pages {first}–{last}"
    title = str(row.get("title") or row.get("content_type") or "a part without a name")
    return Piece(title=plain(title, 120), pages=pages, note=plain(str(row.get("note") or "")))


def duration(seconds: float | None) -> str:
    """e.g. "1 min 5 s"; "" where it is not known."""
    if seconds is None or seconds < 0:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""What a mail may say about one fax: every fact in words, on one line, in the reader's time zone.

The templates in `templates/mail/` see these values and nothing else, so that an operator's template cannot show more
than ours; their words are those of the reader's language. All text from outside (subjects, station ids, names of parts,
reasons) is cleaned here, once. What concerns the operator's account at the carrier is never said to a sender
(reference/internet-fax-standards.md section 17).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway import number
from gateway.errors import Outcome, Refused
from gateway.fax import Attempt, AttemptState, InboundFax, Recipient, Submission, Transmission, TransmissionState
from gateway.lifecycle import APPROVAL, FINAL, PROOF, RELAYED, TRAITS, Kind
from gateway.report.mime import plain
from gateway.report.words import Words, english_words

#: Names of parts that have none of their own.
_OUR_TITLES = frozenset({"cover page", "message text", "message as HTML", "attached mail"})
#: The reason beside these is the operator's business.
_PRIVATE = frozenset({Outcome.NO_CREDIT, Outcome.CARRIER_TROUBLE})


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
    kind: str
    """The name of its template: delivered, relayed, partly, failed, cancelled, held or delayed."""
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
    sent: int
    """Pages confirmed."""
    total: int
    """Pages it has."""
    accepted: str
    started: str
    """When the last call began."""
    finished: str
    zone: str
    tries: tuple[Try, ...]
    pieces: tuple[Piece, ...]
    station: str
    """What the far end calls itself: a claim."""
    duration: str
    """Of the last call."""
    speed: str
    resolution: str
    carrier: str
    """Who dialled last, and the carrier's reference of it."""
    cost: str
    until: str
    """Of a delayed one: till when it is tried."""
    link: str
    """Where its pages can be read, for accounts that do not want them in mails."""
    link_until: str
    written: tuple[str, ...]
    """The addresses as the sender wrote them."""
    tags: tuple[str, ...]
    """References of the sender's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a report says and shows that is not of the fax itself."""

    until: datetime | None = None
    """Till when a fax that has not ended is tried; None: nobody knows."""
    cost: str = ""
    """As `units.eur` writes it; "" = not known."""
    link: str = ""
    """Where its pages can be read, till `link_until`."""
    link_until: datetime | None = None
    pdf: bytes = b""
    """The fax, to be attached; b"" = not."""
    first_page: bytes = b""
    """A PNG of its first page, to be shown; b"" = not."""
    whole: bool = False
    """The original mail is given whole and may go back so (DSN-12); else its header does."""


NOTHING = Beside()


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
    """For people, with the name where we know it; "" when the network did not say."""
    full_caller: str
    answerable: bool
    """Whether an answer can be a fax back: the network gave a number."""
    station: str
    """What the sending machine calls itself: a claim."""
    line: str
    full_line: str
    sub_address: str
    pages: str
    complete: bool
    received: str
    duration: str
    quality: str
    zone: str


def outcome_of(transmission: Transmission, attempts: Sequence[Attempt]) -> Outcome:
    """The outcome a report speaks of. A fax that ran out of time failed for its last real reason (RFC 3463 X.4.7)."""
    if transmission.state is TransmissionState.DELIVERED:
        return Outcome.DELIVERED
    if transmission.state is TransmissionState.CANCELLED:
        return Outcome.CANCELLED
    if waits_for_approval(transmission):
        return Outcome.NOT_AUTHORISED
    if kind_of(transmission) == "delayed":
        return next((a.outcome for a in reversed(attempts) if a.outcome), Outcome.UNKNOWN)
    if transmission.outcome is Outcome.GAVE_UP:
        reasons = [a.outcome for a in attempts if a.outcome and TRAITS[a.outcome].kind is Kind.TEMPORARY]
        return reasons[-1] if reasons else Outcome.GAVE_UP
    # A fax that was never handed over cannot have arrived.
    return transmission.outcome or (Outcome.UNKNOWN if attempts else Outcome.GAVE_UP)


def reason_of(transmission: Transmission, outcome: Outcome, w: Words) -> str:
    """The reason as the sender may read it."""
    if waits_for_approval(transmission):
        return w("why", reason=w.said(plain(_asked_for(transmission))))
    hidden = outcome in _PRIVATE or transmission.state is TransmissionState.HELD
    return "" if hidden else w.said(plain(transmission.reason))


def waits_for_approval(transmission: Transmission) -> bool:
    """Whether it is held because somebody must agree to it: an approver, or who sent it."""
    return transmission.state is TransmissionState.HELD and transmission.reason.startswith((f"{APPROVAL}: ", f"{PROOF}: "))


def waits_for_proof(transmission: Transmission) -> bool:
    """Whether it is held because its sender is shown the pages first."""
    return transmission.state is TransmissionState.HELD and transmission.reason.startswith(f"{PROOF}: ")


def _asked_for(transmission: Transmission) -> str:
    """Why somebody must agree to it."""
    return transmission.reason.removeprefix(f"{APPROVAL}: ").removeprefix(f"{PROOF}: ")


def is_relayed(transmission: Transmission) -> bool:
    """Whether its carrier took it and says no more: nobody confirmed anything."""
    return transmission.state is TransmissionState.DELIVERED and transmission.status == RELAYED


def answers(transmission: Transmission) -> str:
    """What its sender can ask by answering the mail about it: "stop", "again" (send it again, or to another number); "" =
    nothing that would help."""
    if transmission.state in FINAL:
        return "again" if transmission.pages else ""
    return "" if transmission.outcome is Outcome.UNKNOWN else "stop"


def kind_of(transmission: Transmission) -> str:
    """The name of the template that tells its state."""
    if is_relayed(transmission):
        return "relayed"
    if transmission.state is TransmissionState.FAILED and transmission.outcome is Outcome.PARTLY_SENT:
        return "partly" if transmission.pages_sent else "failed"
    told = transmission.state in FINAL or transmission.state is TransmissionState.HELD
    return transmission.state.value if told else "delayed"


def confirmed_pages(transmission: Transmission) -> int:
    """Pages the far end has. Not every carrier counts them, but delivered means all."""
    delivered = transmission.state is TransmissionState.DELIVERED and not is_relayed(transmission)
    return transmission.pages_sent or (transmission.pages if delivered else 0)


def outgoing(
    submission: Submission,
    transmission: Transmission,
    recipients: Sequence[Recipient],
    attempts: Sequence[Attempt],
    zone: ZoneInfo,
    w: Words,
    beside: Beside = NOTHING,
) -> OutgoingFax:
    """The facts about one fax we sent, or tried to. What nobody said is left out."""
    outcome = outcome_of(transmission, attempts)
    last = attempts[-1] if attempts else None
    return OutgoingFax(
        id=transmission.id,
        kind=kind_of(transmission),
        number=readable(transmission.number),
        full_number=in_full(transmission.number),
        sub_address=plain(transmission.sub_address),
        subject=plain(submission.subject),
        outcome=outcome.value,
        short=w.short(outcome),
        sentence=_sentence(transmission, outcome, w),
        reason=reason_of(transmission, outcome, w),
        pages=_pages_of(transmission, outcome, w),
        sent=confirmed_pages(transmission),
        total=transmission.pages,
        accepted=w.moment(transmission.accepted_at, zone),
        started=w.moment(last.submitted_at or last.opened_at, zone) if last else "",
        finished=w.moment(transmission.finished_at, zone) if transmission.finished_at else "",
        zone=zone.key,
        tries=tuple(_try(attempt, zone, w) for attempt in attempts),
        pieces=tuple(_piece(row, w) for row in _rows(transmission.manifest)),
        station=plain(last.station_id, 60) if last else "",
        duration=w.duration(last.seconds) if last else "",
        speed=w("speed", speed=last.speed) if last and last.speed else "",
        resolution=_resolution(last.resolution, w) if last else "",
        carrier=_carrier(last, w) if last else "",
        cost=w.money(beside.cost),
        until=w.moment(beside.until, zone) if beside.until else "",
        link=beside.link,
        link_until=w.moment(beside.link_until, zone) if beside.link_until else "",
        written=tuple(plain(recipient.written) for recipient in recipients),
        tags=tuple(plain(recipient.tag, 60) for recipient in recipients if recipient.tag),
    )


def question(
    submission: Submission,
    transmission: Transmission,
    recipients: Sequence[Recipient],
    zone: ZoneInfo,
    w: Words,
    *,
    account: str,
    cost: str,
    links: tuple[str, str],
) -> Question:
    """What somebody is asked who must agree to a fax; `links` approve and reject it."""
    return Question(
        fax=outgoing(submission, transmission, recipients, (), zone, w),
        sender=plain(submission.envelope.sender) or plain(submission.from_header),
        account=plain(account),
        reason=w.said(plain(_asked_for(transmission))),
        pages=w.pages(transmission.pages),
        cost=w.money(cost),
        until=w.moment(transmission.due_at, zone) if transmission.due_at else "",
        approve=links[0],
        reject=links[1],
    )


def arrived(inbound: InboundFax, zone: ZoneInfo, w: Words, name: str = "") -> ArrivedFax:
    """The facts about one fax we received; `name` is the caller's, where we know it."""

    def named(number: str) -> str:
        return w("caller_named", name=plain(name, 60), number=number) if name and number else number

    return ArrivedFax(
        id=inbound.id,
        caller=named(readable(inbound.caller)),
        full_caller=named(in_full(inbound.caller)),
        answerable=is_number(inbound.caller),
        station=plain(inbound.station_id, 60),
        line=readable(inbound.line),
        full_line=in_full(inbound.line),
        sub_address=plain(inbound.sub_address),
        pages=w.pages(inbound.pages),
        complete=inbound.complete,
        received=w.moment(inbound.received_at, zone),
        duration=w.duration(inbound.seconds),
        quality=_quality(inbound, w),
        zone=zone.key,
    )


def _quality(inbound: InboundFax, w: Words) -> str:
    """How fine it is, and how much was damaged; "" where nobody knows."""
    across, _, down = inbound.resolution.partition("x")
    dots = w("quality_dots", across=across, down=down) if down else ""
    damaged = w.count("quality_damaged", inbound.damaged) if inbound.damaged else ""
    return "; ".join(filter(None, (dots, damaged)))


def is_number(caller: str) -> bool:
    """Whether the network's word for who called is a number that can be called (E.164)."""
    return re.fullmatch(r"\+[0-9]{1,15}", caller) is not None


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
    """e.g. "Mon 2 Mar 2026, 10:00 CET", for pages and programs."""
    return english_words().moment(time, zone)


def counted(pages: int) -> str:
    """ "1 page", "4 pages", for pages and programs."""
    return english_words().pages(pages)


def short(outcome: Outcome) -> str:
    """An outcome in a few words, for pages and programs."""
    return english_words().short(outcome)


def _resolution(said: str, w: Words) -> str:
    return w(f"resolution_{said}") if said in ("standard", "fine", "superfine") else plain(said, 20)


def _carrier(attempt: Attempt, w: Words) -> str:
    name, reference = plain(attempt.carrier, 40), plain(attempt.carrier_ref, 60)
    return w("carrier_reference", carrier=name, reference=reference) if reference else name


def _sentence(transmission: Transmission, outcome: Outcome, w: Words) -> str:
    if is_relayed(transmission):
        return w["sentence_relayed"]
    if transmission.state not in FINAL and transmission.state is not TransmissionState.HELD:
        return w["sentence_delayed"]
    if waits_for_approval(transmission):
        return w["sentence_held_approval"]
    if transmission.state is TransmissionState.HELD:
        return w["sentence_held_unknown" if outcome is Outcome.UNKNOWN else "sentence_held"]
    if outcome is Outcome.NOT_AUTHORISED and transmission.reason and not transmission.attempts:
        return w["sentence_stopped_here"]
    if outcome is Outcome.CANCELLED and transmission.pages_sent:
        return w["sentence_cancelled_in_call"]
    return w.sentence(outcome)


def _pages_of(transmission: Transmission, outcome: Outcome, w: Words) -> str:
    total, sent = transmission.pages, confirmed_pages(transmission)
    is_final = transmission.state in FINAL
    if not total:
        return w["pages_none"] if is_final else ""
    if is_relayed(transmission):
        return w.count("pages_unknown", total)
    if outcome is Outcome.UNKNOWN and not sent:
        return w.count("pages_unknown", total)
    if not is_final and not sent:
        return w.pages(total)
    if sent >= total:
        return w.count("pages_confirmed", total)
    return w("pages_some", sent=sent, n=total) if sent else w.count("pages_unsent", total)


def _try(attempt: Attempt, zone: ZoneInfo, w: Words) -> Try:
    words = w.short(attempt.outcome) if attempt.outcome else _state(attempt.state, w)
    if attempt.pages_sent:
        words = w.count("try_pages", attempt.pages_sent, words=words)
    return Try(n=attempt.n, time=w.moment(attempt.opened_at, zone), words=words)


def _state(state: AttemptState, w: Words) -> str:
    """An attempt without an outcome."""
    match state:
        case AttemptState.UNCERTAIN:
            return w.short(Outcome.UNKNOWN)
        case AttemptState.CANCELLED:
            return w.short(Outcome.CANCELLED)
        case AttemptState.FAILED:
            return w["try_not_called"]
        case _:
            return w["try_pending"]


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


def _piece(row: Mapping[str, object], w: Words) -> Piece:
    first, last = row.get("first_page"), row.get("last_page")
    pages = ""
    if isinstance(first, int) and isinstance(last, int) and 0 < first <= last:
        pages = w("page_single", first=first) if first == last else w("page_from_to", first=first, last=last)
    title = str(row.get("title") or row.get("content_type") or w["nameless_part"])
    if title.partition(" (part ")[0] in _OUR_TITLES:
        title = w.said(title)
    return Piece(title=plain(title, 120), pages=pages, note=w.said(plain(str(row.get("note") or ""))))

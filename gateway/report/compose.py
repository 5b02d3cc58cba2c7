"""Outcome + template -> mail.

Promises a complete mail for one result, one received fax or one alarm: envelope, header, text and HTML, ready for the
mail server, the same bytes for the same values, so that a mail repeated after a crash is recognised by its Message-ID.
Decides who deserves a report (`wanted`); does not send, knows no database.

Sources: RFC 3461, 3464, 3834, 4160; reference/internet-fax-standards.md rows DSN, AUR, ONR and sections 17 to 19.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from zoneinfo import ZoneInfo

from gateway import message
from gateway.fax import Attempt, Door, InboundFax, OutboxId, Recipient, Submission, Transmission, TransmissionState
from gateway.log import printable
from gateway.report import dsn, facts, mime
from gateway.templates import Templates

_NAME = "Faxgate"
_NOTIFY = {
    TransmissionState.DELIVERED: "SUCCESS",
    TransmissionState.FAILED: "FAILURE",
    TransmissionState.CANCELLED: "FAILURE",
    TransmissionState.HELD: "DELAY",
}
_ACTIONS = {
    TransmissionState.DELIVERED: dsn.Action.DELIVERED,
    TransmissionState.FAILED: dsn.Action.FAILED,
    TransmissionState.CANCELLED: dsn.Action.FAILED,
    TransmissionState.HELD: dsn.Action.DELAYED,
}
#: Only what came by a mail transport may be answered by a delivery status notification (MDN-09).
_TRANSPORTS = frozenset({Door.SMTP, Door.LMTP})
_CALLER = re.compile(r"\+[0-9]{1,15}\Z")
_SIMPLE_ADDRESS = re.compile(r"[A-Za-z0-9._+=-]{1,64}@[A-Za-z0-9.-]{1,255}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who we are in mails."""

    address: str
    """Shown as From; answers to it reach a person."""
    operator: str
    host: str
    """Our name as a mail system."""
    domain: str
    """Of fax addresses, bounce addresses and Message-IDs."""
    zone: str
    """IANA name; times are shown in it."""
    page: str = ""
    """Where accounts see their faxes; "" = nowhere that we know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail, ready to be handed over."""

    envelope_from: str
    """"" is the empty return path, `<>`."""
    to: tuple[str, ...]
    content: bytes
    """7-bit, CRLF, no line over 998."""
    kind: str
    """delivered, failed, cancelled, held, approval, received, alarm or forwarded: the name of its template."""


@dataclass(frozen=True, slots=True)
class _Words:
    """A rendered template."""

    subject: str
    text: str
    html: str

    def alternative(self, boundary: str, html: mime.Part | None = None) -> mime.Part:
        return mime.multipart("alternative", boundary, [mime.text("plain", self.text), html or mime.text("html", self.html)])


def wanted(submission: Submission, transmission: Transmission, recipients: Sequence[Recipient]) -> list[Recipient]:
    """The recipients that deserve a report of this state: final, or held. None of them = the sender is not told.

    An empty return path silences everything, NOTIFY what it does not list. Without NOTIFY a failure is always told;
    good news and delays are told too, unless a program wrote the mail (AUR-01). Where one spelling of a number asks by
    NOTIFY for good news and another says nothing, the one that asked is answered: one event, one mail (AUR-09).
    """
    word = _NOTIFY.get(transmission.state)
    if word is None or not submission.envelope.sender:
        return []
    if word == "FAILURE":
        return [recipient for recipient in recipients if not recipient.notify or word in recipient.notify]
    asked = [recipient for recipient in recipients if word in recipient.notify]
    silent = [recipient for recipient in recipients if not recipient.notify]
    return asked or ([] if submission.auto_submitted else silent)


class Composer:
    """Makes every mail the gateway sends."""

    def __init__(self, templates: Templates, sender: Sender) -> None:
        self._templates = templates
        self._sender = sender
        self._zone = ZoneInfo(sender.zone)

    def result(
        self,
        *,
        outbox: OutboxId,
        submission: Submission,
        transmission: Transmission,
        recipients: Sequence[Recipient],
        attempts: Sequence[Attempt],
        original_headers: bytes,
        made_at: datetime,
        reply_to: str = "",
    ) -> Mail:
        """What became of a fax, for its sender.

        Of `recipients` those that deserve it are reported on; where there is none, the mail goes to the operator.
        """
        told = wanted(submission, transmission, recipients)
        fax = facts.outgoing(submission, transmission, told or recipients, attempts, self._zone)
        kind = transmission.state.value
        sender = mime.plain(submission.envelope.sender)
        words = self._rendered(kind, fax=fax, instead_of=None if told else sender)
        root = words.alternative(_boundary(outbox, "text"))
        if told and _is_notification(submission, transmission, told):
            status = dsn.status_part(
                action=_ACTIONS[transmission.state],
                host=self._sender.host,
                zone=self._zone,
                submission=submission,
                transmission=transmission,
                recipients=told,
                attempts=attempts,
            )
            root = dsn.report(_boundary(outbox, "report"), root, status, original_headers)
        to = submission.envelope.sender if told else self._sender.operator
        thread = _thread(submission) if told else []
        automatic = "auto-replied" if told else "auto-generated"
        header = self._header(outbox, to, words.subject, made_at, automatic, reply_to=reply_to if told else "")
        return Mail(envelope_from="", to=(to,), content=mime.mail([*header, *thread], root), kind=kind)

    def held(
        self,
        *,
        outbox: OutboxId,
        submission: Submission,
        transmission: Transmission,
        recipients: Sequence[Recipient],
        attempts: Sequence[Attempt],
        original_headers: bytes,
        made_at: datetime,
        reply_to: str = "",
    ) -> Mail:
        """The fax waits for a person; for its sender. The transmission is in state held."""
        return self.result(
            outbox=outbox,
            submission=submission,
            transmission=transmission,
            recipients=recipients,
            attempts=attempts,
            original_headers=original_headers,
            made_at=made_at,
            reply_to=reply_to,
        )

    def approval(
        self,
        *,
        outbox: OutboxId,
        question: facts.Question,
        to: str,
        first_page: bytes,
        made_at: datetime,
        reply_to: str = "",
    ) -> Mail:
        """Asks somebody to agree to a fax. `first_page` is a PNG; b"" shows none."""
        picture = f"page1.{outbox}@{self._sender.domain}" if first_page else ""
        words = self._rendered("approval", question=question, fax=question.fax, picture=picture)
        root = words.alternative(_boundary(outbox, "text"), _with_picture(words.html, outbox, picture, first_page))
        header = self._header(outbox, to, words.subject, made_at, "auto-generated", reply_to=reply_to)
        return Mail(envelope_from="", to=(to,), content=mime.mail(header, root), kind="approval")

    def proof(
        self,
        *,
        outbox: OutboxId,
        submission: Submission,
        question: facts.Question,
        seconds: float,
        to: str,
        pdf: bytes,
        first_page: bytes,
        made_at: datetime,
        reply_to: str = "",
    ) -> Mail:
        """Shows a fax to its sender before it is sent. `pdf` are its pages and `first_page` is a PNG, b"" where the mail is
        not to show them; `seconds` is how long they are on the wire, 0 where nobody knows."""
        picture = f"page1.{outbox}@{self._sender.domain}" if first_page else ""
        words = self._rendered(
            "proof",
            question=question,
            fax=question.fax,
            wire=facts.duration(seconds) if seconds else "",
            picture=picture,
            attached=bool(pdf),
            answers=bool(reply_to),
        )
        root = words.alternative(_boundary(outbox, "text"), _with_picture(words.html, outbox, picture, first_page))
        if pdf:
            document = _document(f"{question.fax.id}.pdf", pdf)
            root = mime.multipart("mixed", _boundary(outbox, "mixed"), [root, document])
        header = self._header(outbox, to, words.subject, made_at, "auto-replied", reply_to=reply_to)
        return Mail(envelope_from="", to=(to,), content=mime.mail([*header, *_thread(submission)], root), kind="proof")

    def answer(
        self,
        *,
        outbox: OutboxId,
        to: str,
        words: str,
        answer: str,
        fax: facts.OutgoingFax,
        message_id: str,
        made_at: datetime,
    ) -> Mail:
        """What came of a command that somebody has mailed; `words` is the command, "" = none that is known."""
        said = self._rendered("answer", words=mime.plain(words, 80), answer=mime.plain(answer, 500), fax=fax)
        header = self._header(outbox, to, said.subject, made_at, "auto-replied")
        ids = mime.message_ids([message_id])
        thread = [("In-Reply-To", ids), ("References", ids)]
        content = mime.mail([*header, *thread], said.alternative(_boundary(outbox, "text")))
        return Mail(envelope_from="", to=(to,), content=content, kind="answer")

    def received(
        self,
        *,
        outbox: OutboxId,
        inbound: InboundFax,
        to: str,
        pdf: bytes,
        first_page: bytes,
        made_at: datetime,
        reply_to: str = "",
    ) -> Mail:
        """A received fax for one mailbox. `first_page` is a PNG; b"" shows none. Without `pdf` it only says that one came."""
        fax = facts.arrived(inbound, self._zone)
        picture = f"page1.{outbox}@{self._sender.domain}" if first_page else ""
        words = self._rendered("received", fax=fax, picture=picture, attached=bool(pdf), page=self._sender.page)
        root = words.alternative(_boundary(outbox, "text"), _with_picture(words.html, outbox, picture, first_page))
        if pdf:
            root = mime.multipart("mixed", _boundary(outbox, "mixed"), [root, _document(file_name(inbound, self._zone), pdf)])
        header = self._header(outbox, to, words.subject, made_at, "auto-generated", self._caller(inbound), reply_to)
        content = mime.mail([self._trace(inbound), *header, *self._about(inbound)], root)
        return Mail(envelope_from=f"bounce+{inbound.id}@{self._sender.domain}", to=(to,), content=content, kind="received")

    def alarm(self, *, outbox: OutboxId, what: str, text: str, made_at: datetime) -> Mail:
        """Something the operator has to know. `what` is a short subject, `text` says what to do; it may have many lines."""
        lines = tuple(mime.plain(line, 500) for line in text.strip().splitlines())
        words = self._rendered(
            "alarm", what=mime.plain(what, 120), lines=lines, host=self._sender.host, time=facts.moment(made_at, self._zone)
        )
        root = words.alternative(_boundary(outbox, "text"))
        return self._to_operator("alarm", outbox, words.subject, made_at, root)

    def message(self, *, outbox: OutboxId, to: str, subject: str, text: str, made_at: datetime) -> Mail:
        """What an account writes, to itself: many lines, as they are."""
        lines = tuple(mime.plain(line, 1000) for line in text.splitlines())
        words = self._rendered("message", subject=mime.plain(subject, 200), lines=lines, host=self._sender.host)
        header = self._header(outbox, to, words.subject, made_at, "auto-generated")
        content = mime.mail(header, words.alternative(_boundary(outbox, "text")))
        return Mail(envelope_from="", to=(to,), content=content, kind="message")

    def forwarded(self, *, outbox: OutboxId, original: bytes, note: str, made_at: datetime) -> Mail:
        """A mail for postmaster, attached, for the operator. `note` says why it comes."""
        headers = message.headers(original)
        words = self._rendered(
            "forwarded",
            note=mime.plain(note, 500),
            author=mime.plain(headers.from_header),
            subject=mime.plain(headers.subject),
        )
        alternative = words.alternative(_boundary(outbox, "text"))
        root = mime.multipart("mixed", _boundary(outbox, "mixed"), [alternative, _attached_mail(original)])
        answer = headers.from_addresses[0] if len(headers.from_addresses) == 1 else ""
        reply_to = ("Reply-To", answer if _SIMPLE_ADDRESS.match(answer) else "")
        return self._to_operator("forwarded", outbox, words.subject, made_at, root, reply_to)

    def _rendered(self, name: str, **values: object) -> _Words:
        values["service"] = self._sender.domain
        subject = self._templates.render(f"mail/{name}-subject.txt", **values)
        text = self._templates.render(f"mail/{name}-body.txt", **values)
        html = self._templates.render(f"mail/{name}-body.html", **values, title=mime.plain(subject))
        return _Words(subject, text, html)

    def _header(
        self, outbox: OutboxId, to: str, subject: str, made_at: datetime, automatic: str, author: str = "", reply_to: str = ""
    ) -> list[tuple[str, str]]:
        return [
            ("From", author or mime.mailbox(_NAME, self._sender.address)),
            ("Reply-To", reply_to),
            ("To", mime.address(to)),
            ("Subject", mime.unstructured("Subject", subject)),
            ("Date", format_datetime(made_at.astimezone(self._zone))),
            ("Message-ID", f"<{outbox}@{self._sender.domain}>"),
            ("Auto-Submitted", automatic),
            ("X-Faxgate-Loop", self._sender.domain),
        ]

    def _to_operator(
        self, kind: str, outbox: OutboxId, subject: str, made_at: datetime, root: mime.Part, *more: tuple[str, str]
    ) -> Mail:
        header = self._header(outbox, self._sender.operator, subject, made_at, "auto-generated")
        content = mime.mail([*header, *more], root)
        return Mail(envelope_from="", to=(self._sender.operator,), content=content, kind=kind)

    def _caller(self, inbound: InboundFax) -> str:
        """From of a received fax: an answer to it is a fax back, where the caller is known (ONR-03, ONR-04)."""
        if not _CALLER.match(inbound.caller):
            return mime.mailbox("Unknown caller", f"no-reply@{self._sender.domain}")
        station = mime.plain(inbound.station_id, 40)
        name = station if station and "@" not in station else facts.readable(inbound.caller)
        return mime.mailbox(name, f"FAX={inbound.caller}@{self._sender.domain}")

    def _trace(self, inbound: InboundFax) -> tuple[str, str]:
        """The fax side of the way, as any mail system notes it (ONR-12)."""
        caller = inbound.caller if _CALLER.match(inbound.caller) else "unknown"
        date = format_datetime(inbound.received_at.astimezone(self._zone))
        return "Received", f"from {caller} by {self._sender.host}\r\n via GSTN with T30 id {inbound.id};\r\n {date}"

    def _about(self, inbound: InboundFax) -> list[tuple[str, str]]:
        station = printable(inbound.station_id, 60).strip()
        return [
            ("X-Fax-Id", inbound.id),
            ("X-Fax-Caller", printable(inbound.caller, 60)),
            ("X-Fax-Line", printable(inbound.line, 60)),
            ("X-Fax-Sub-Address", printable(inbound.sub_address, 60)),
            ("X-Fax-Pages", str(inbound.pages)),
            ("X-Fax-Complete", "yes" if inbound.complete else "no"),
            ("X-Fax-Received", format_datetime(inbound.received_at.astimezone(self._zone))),
            ("X-Fax-Station-Id", f"{station} (a claim of the sending machine)" if station else ""),
        ]


def _is_notification(submission: Submission, transmission: Transmission, told: Sequence[Recipient]) -> bool:
    """Whether a report has the frame of RFC 3464.

    Failures have; other news only where NOTIFY asked, because an unasked confirmation must not look like one (DSN-06).
    A program's mail gets nothing but notifications (AUR-01).
    """
    if submission.envelope.door not in _TRANSPORTS:
        return False
    asked = any(recipient.notify for recipient in told)
    return transmission.state is TransmissionState.FAILED or asked or submission.auto_submitted


def _thread(submission: Submission) -> list[tuple[str, str]]:
    chain = [*submission.references.split(), submission.message_id]
    return [("In-Reply-To", mime.message_ids([submission.message_id])), ("References", mime.message_ids(chain))]


def _with_picture(html: str, outbox: OutboxId, picture: str, png: bytes) -> mime.Part:
    page = mime.text("html", html)
    if not picture:
        return page
    more = (("Content-Disposition", 'inline; filename="page1.png"'), ("Content-ID", f"<{picture}>"))
    return mime.multipart("related", _boundary(outbox, "related"), [page, mime.binary("image/png", png, *more)])


def _document(name: str, pdf: bytes) -> mime.Part:
    disposition = ("Content-Disposition", f'attachment;\r\n filename="{name}"')
    return mime.binary(f'application/pdf;\r\n name="{name}"', pdf, disposition)


def file_name(inbound: InboundFax, zone: ZoneInfo) -> str:
    """e.g. `fax-2026-11-22-1415-from-14155550123-in_….pdf`: sorts by time, one name for one fax."""
    caller = f"-from-{inbound.caller[1:]}" if _CALLER.match(inbound.caller) else ""
    return f"fax-{inbound.received_at.astimezone(zone):%Y-%m-%d-%H%M}{caller}-{inbound.id}.pdf"


def _attached_mail(original: bytes) -> mime.Part:
    """As `message/rfc822`; one that is not clean 7-bit goes as a file, because the type allows no encoding (RFC 2046)."""
    data = original.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if mime.is_clean(data):
        return mime.verbatim("message/rfc822", data, ("Content-Disposition", 'attachment; filename="original.eml"'))
    disposition = ("Content-Disposition", 'attachment; filename="original.eml"')
    return mime.binary('application/octet-stream; name="original.eml"', original, disposition)


def _boundary(outbox: OutboxId, level: str) -> str:
    """Unknown to anybody who could write it into a document: the outbox id is fresh and random."""
    return f"=_{outbox}_{level}"

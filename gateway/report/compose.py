"""Outcome + template -> mail.

Promises a complete mail for one result, one received fax or one alarm: envelope, header, text and HTML, ready for the
mail server, the same bytes for the same values, so that a mail repeated after a crash is recognised by its Message-ID.
Who deserves a report is decided in `audience`; does not send, knows no database.

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
from gateway.config import Config
from gateway.fax import Attempt, InboundFax, OutboxId, Recipient, Submission, Transmission
from gateway.log import printable
from gateway.report import audience, dsn, facts, mdn, mime
from gateway.report.digest import digest
from gateway.report.words import ENGLISH, Catalogue, Words
from gateway.templates import Templates

_NAME = "Faxgate"
_MESSAGE_ID = re.compile(rb"^Message-ID:\s+(<[^>]+>)", re.MULTILINE)
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
    language: str = ENGLISH
    """Of mails to the operator, and to readers of whom no language is known that there are words of."""

    @classmethod
    def of(cls, config: Config) -> Sender:
        """As the configuration says."""
        return cls(
            address=config.mail.from_,
            operator=config.mail.operator,
            host=config.host,
            domain=config.domain[0],
            zone=config.zone,
            page=config.http.public_url and f"{config.http.public_url}/",
            language=config.mail.language,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail, ready to be handed over."""

    envelope_from: str
    """"" is the empty return path, `<>`."""
    to: tuple[str, ...]
    content: bytes
    """7-bit, CRLF, no line over 998."""
    kind: str
    """The name of its template: delivered, failed, digest, received, alarm …"""

    @property
    def message_id(self) -> str:
        """As it stands in the header, with its brackets."""
        found = _MESSAGE_ID.search(self.content, 0, self.content.find(b"\r\n\r\n"))
        assert found is not None  # every mail has one
        return found[1].decode("ascii")


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A rendered template."""

    subject: str
    text: str
    html: str

    def alternative(self, boundary: str, html: mime.Part | None = None) -> mime.Part:
        return mime.multipart("alternative", boundary, [mime.text("plain", self.text), html or mime.text("html", self.html)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an account wants its senders to be told."""

    good_news: bool = True
    """Where the mail says nothing of it."""
    receipts: bool = True
    """Disposition notifications, where a mail may ask for them."""


ALL = Told()


class Composer:
    """Makes every mail the gateway sends; `languages` are those of its reader, best first. Raises BadWords."""

    def __init__(self, templates: Templates, sender: Sender) -> None:
        self._templates = templates
        self._sender = sender
        self._zone = ZoneInfo(sender.zone)
        self._catalogue = Catalogue(templates.folders, sender.language)

    def result(
        self,
        *,
        outbox: OutboxId,
        submission: Submission,
        transmission: Transmission,
        recipients: Sequence[Recipient],
        attempts: Sequence[Attempt],
        original: bytes,
        made_at: datetime,
        languages: Sequence[str] = (),
        reply_to: str = "",
        beside: facts.Beside = facts.NOTHING,
        account: Told = ALL,
    ) -> Mail:
        """What became of a fax, or that it has not ended yet, for its sender. `original` is the mail, or its header only.

        Of `recipients` those that deserve it are reported on; where there is none, the mail goes to the operator.
        """
        receipt = audience.mdn_address(submission, transmission) if account.receipts else ""
        told = audience.wanted(submission, transmission, recipients, good_news=account.good_news or bool(receipt))
        group = dsn.Group(transmission=transmission, recipients=told, attempts=attempts, until=beside.until)
        w = self._catalogue.of(languages if told else ())
        shown = beside if told else facts.NOTHING
        fax = facts.outgoing(submission, transmission, told or recipients, attempts, self._zone, w, shown)
        picture = f"page1.{outbox}@{self._sender.domain}" if shown.first_page else ""
        instead_of = None if told else mime.plain(submission.envelope.sender)
        answers = facts.answers(transmission) if told and reply_to else ""
        words = self._rendered(w, fax.kind, fax=fax, instead_of=instead_of, picture=picture, answers=answers)
        root = words.alternative(_boundary(outbox, "text"), _with_picture(words.html, outbox, picture, shown.first_page))
        if shown.pdf:
            attached = _document(f"fax-{transmission.id}.pdf", shown.pdf)
            root = mime.multipart("mixed", _boundary(outbox, "mixed"), [root, attached])
        author, to = "", submission.envelope.sender if told else self._sender.operator
        if audience.gets_dsn(submission, transmission, told):
            root = self._dsn(outbox, root, submission, [group], original, whole=beside.whole)
        elif told and receipt:
            root = self._mdn(outbox, root, submission, group, original)
            author, to, reply_to = self._recipient(transmission), receipt, reply_to or self._sender.address
        header = self._header(
            outbox,
            to,
            words.subject,
            made_at,
            "auto-replied" if told else "auto-generated",
            author,
            reply_to if told else "",
        )
        thread = _thread(submission) if told else []
        return Mail(envelope_from="", to=(to,), content=mime.mail([*header, *thread], root), kind=fax.kind)

    def digest(
        self,
        *,
        outbox: OutboxId,
        submission: Submission,
        groups: Sequence[dsn.Group],
        original: bytes,
        made_at: datetime,
        languages: Sequence[str] = (),
        reply_to: str = "",
    ) -> Mail:
        """What became of several faxes of one mail, for its sender; each of `groups` deserves to be told of."""
        w = self._catalogue.of(languages)
        words = self._rendered(w, "digest", digest=digest(submission, groups, self._zone, w))
        root = words.alternative(_boundary(outbox, "text"))
        due = [group for group in groups if audience.gets_dsn(submission, group.transmission, group.recipients)]
        if due:
            root = self._dsn(outbox, root, submission, due, original)
        to = submission.envelope.sender
        header = self._header(outbox, to, words.subject, made_at, "auto-replied", reply_to=reply_to)
        content = mime.mail([*header, *_thread(submission)], root)
        return Mail(envelope_from="", to=(to,), content=content, kind="digest")

    def _dsn(
        self,
        outbox: OutboxId,
        words: mime.Part,
        submission: Submission,
        groups: Sequence[dsn.Group],
        original: bytes,
        *,
        whole: bool = False,
    ) -> mime.Part:
        """In the frame of RFC 3464. The whole mail goes back where it may, was asked for, and something failed (DSN-12)."""
        status = dsn.status_part(host=self._sender.host, zone=self._zone, submission=submission, groups=groups)
        whole &= submission.envelope.ret == "FULL" and any(group.action is dsn.Action.FAILED for group in groups)
        return dsn.report(_boundary(outbox, "report"), words, status, original, whole=whole)

    def _mdn(self, outbox: OutboxId, words: mime.Part, submission: Submission, group: dsn.Group, original: bytes) -> mime.Part:
        """In the frame of RFC 8098."""
        outcome = facts.outcome_of(group.transmission, group.attempts)
        calls = group.transmission.attempts
        disposition = mdn.disposition_part(
            host=self._sender.host,
            recipient=group.recipients[0],
            group=group,
            message_id=submission.message_id,
            words=f"{facts.short(outcome)}, {calls} attempt{'s' if calls != 1 else ''}",
        )
        return mdn.report(_boundary(outbox, "report"), words, disposition, original)

    def _recipient(self, transmission: Transmission) -> str:
        """From of a disposition notification: the address that was faxed (MDN-05)."""
        return mime.mailbox(facts.readable(transmission.number), f"FAX={transmission.number}@{self._sender.domain}")

    def approval(
        self,
        *,
        outbox: OutboxId,
        submission: Submission,
        transmission: Transmission,
        recipients: Sequence[Recipient],
        account: str,
        cost: str,
        links: tuple[str, str],
        to: str,
        first_page: bytes,
        made_at: datetime,
        languages: Sequence[str] = (),
        reply_to: str = "",
    ) -> Mail:
        """Asks somebody to agree to a fax; `links` approve and reject it. `first_page` is a PNG; b"" shows none."""
        w = self._catalogue.of(languages)
        question = facts.question(submission, transmission, recipients, self._zone, w, account=account, cost=cost, links=links)
        picture = f"page1.{outbox}@{self._sender.domain}" if first_page else ""
        words = self._rendered(w, "approval", question=question, fax=question.fax, picture=picture)
        root = words.alternative(_boundary(outbox, "text"), _with_picture(words.html, outbox, picture, first_page))
        header = self._header(outbox, to, words.subject, made_at, "auto-generated", reply_to=reply_to)
        return Mail(envelope_from="", to=(to,), content=mime.mail(header, root), kind="approval")

    def proof(
        self,
        *,
        outbox: OutboxId,
        submission: Submission,
        transmission: Transmission,
        recipients: Sequence[Recipient],
        account: str,
        cost: str,
        links: tuple[str, str],
        seconds: float,
        to: str,
        pdf: bytes,
        first_page: bytes,
        made_at: datetime,
        link: tuple[str, datetime] | None = None,
        languages: Sequence[str] = (),
        reply_to: str = "",
    ) -> Mail:
        """Shows a fax to its sender before it is sent; `links` send it or not, ("", "") for none. `pdf` are its pages and
        `first_page` is a PNG, b"" where the mail is not to show them: then `link` does, till a time. `seconds` on the wire,
        0 where nobody knows."""
        w = self._catalogue.of(languages)
        question = facts.question(submission, transmission, recipients, self._zone, w, account=account, cost=cost, links=links)
        picture = f"page1.{outbox}@{self._sender.domain}" if first_page else ""
        words = self._rendered(
            w,
            "proof",
            question=question,
            fax=question.fax,
            wire=w.duration(seconds) if seconds else "",
            picture=picture,
            attached=bool(pdf),
            link=link[0] if link else "",
            link_until=w.moment(link[1], self._zone) if link else "",
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
        submission: Submission,
        transmission: Transmission,
        recipients: Sequence[Recipient],
        to: str,
        words: str,
        answer: str,
        message_id: str,
        made_at: datetime,
        languages: Sequence[str] = (),
    ) -> Mail:
        """What came of a command that somebody has mailed; `words` is the command, "" = none that is known."""
        w = self._catalogue.of(languages)
        fax = facts.outgoing(submission, transmission, recipients, (), self._zone, w)
        answer = w.said(mime.plain(answer, 500))
        said = self._rendered(w, "answer", words=mime.plain(words, 80), answer=answer[:1].upper() + answer[1:], fax=fax)
        header = self._header(outbox, to, said.subject, made_at, "auto-replied")
        ids = mime.message_ids([message_id])
        thread = [("In-Reply-To", ids), ("References", ids)]
        content = mime.mail([*header, *thread], said.alternative(_boundary(outbox, "text")))
        return Mail(envelope_from="", to=(to,), content=content, kind="answer")

    def not_taken(
        self,
        *,
        outbox: OutboxId,
        to: str,
        subject: str,
        reason: str,
        message_id: str,
        references: Sequence[str],
        made_at: datetime,
        languages: Sequence[str] = (),
    ) -> Mail:
        """A mail that was found in a mailbox is not faxed; for its sender (AUR-03, AUR-05)."""
        w = self._catalogue.of(languages)
        reason = w.said(mime.plain(reason, 500))
        words = self._rendered(w, "not_taken", subject=mime.plain(subject, 200), reason=reason, host=self._sender.host)
        header = self._header(outbox, to, words.subject, made_at, "auto-replied")
        ids = mime.message_ids([message_id])
        thread = [("In-Reply-To", ids), ("References", mime.message_ids([*references, message_id]))]
        content = mime.mail([*header, *thread], words.alternative(_boundary(outbox, "text")))
        return Mail(envelope_from="", to=(to,), content=content, kind="not_taken")

    def received(
        self,
        *,
        outbox: OutboxId,
        inbound: InboundFax,
        to: str,
        pdf: bytes,
        first_page: bytes,
        made_at: datetime,
        languages: Sequence[str] = (),
        tiff: bytes = b"",
        name: str = "",
        too_large: bool = False,
        reply_to: str = "",
        bounce: str = "",
    ) -> Mail:
        """A received fax for one mailbox. `first_page` is a PNG; b"" shows none. Without `pdf` and `tiff` it only says that one
        came.

        tiff       the same pages as a TIFF of profile S (ONR-09)
        name       the caller's, where we know it; the station id is only what the machine says
        too_large  why the fax is not in this mail (ONR-19)
        bounce     where it comes back to
        """
        w = self._catalogue.of(languages)
        fax = facts.arrived(inbound, self._zone, w, name)
        picture = f"page1.{outbox}@{self._sender.domain}" if first_page else ""
        shown = {"picture": picture, "attached": bool(pdf or tiff), "pdf": bool(pdf), "too_large": too_large}
        words = self._rendered(w, "received", fax=fax, page=self._sender.page, **shown)
        root = words.alternative(_boundary(outbox, "text"), _with_picture(words.html, outbox, picture, first_page))
        stem = file_name(inbound, self._zone).removesuffix(".pdf")
        kinds = (("application/pdf", f"{stem}.pdf", pdf), ("image/tiff", f"{stem}.tif", tiff))
        if documents := [_document(file, content, kind) for kind, file, content in kinds if content]:
            root = mime.multipart("mixed", _boundary(outbox, "mixed"), [root, *documents])
        header = self._header(outbox, to, words.subject, made_at, "auto-generated", self._caller(inbound, name, w), reply_to)
        content = mime.mail([self._trace(inbound), *header, *self._about(inbound, name)], root)
        return Mail(envelope_from=bounce, to=(to,), content=content, kind="received")

    def alarm(self, *, outbox: OutboxId, what: str, text: str, made_at: datetime) -> Mail:
        """Something the operator has to know. `what` is a short subject, `text` says what to do; it may have many lines."""
        w = self._catalogue.house
        lines = tuple(w.said(mime.plain(line, 500)) for line in text.strip().splitlines())
        time = w.moment(made_at, self._zone)
        words = self._rendered(w, "alarm", what=w.said(mime.plain(what, 120)), lines=lines, host=self._sender.host, time=time)
        root = words.alternative(_boundary(outbox, "text"))
        return self._to_operator("alarm", outbox, words.subject, made_at, root)

    def message(
        self, *, outbox: OutboxId, to: str, subject: str, text: str, made_at: datetime, languages: Sequence[str] = ()
    ) -> Mail:
        """What an account writes, to itself: many lines, as they are."""
        lines = tuple(mime.plain(line, 1000) for line in text.splitlines())
        w = self._catalogue.of(languages)
        words = self._rendered(w, "message", subject=mime.plain(subject, 200), lines=lines, host=self._sender.host)
        header = self._header(outbox, to, words.subject, made_at, "auto-generated")
        content = mime.mail(header, words.alternative(_boundary(outbox, "text")))
        return Mail(envelope_from="", to=(to,), content=content, kind="message")

    def forwarded(self, *, outbox: OutboxId, original: bytes, to: str, sender: str, made_at: datetime) -> Mail:
        """A mail to a person here (`to`), attached, for the operator. `sender`: of its envelope."""
        headers, w = message.headers(original), self._catalogue.house
        words = self._rendered(
            w,
            "forwarded",
            note=w("forwarded_note", to=mime.plain(to), sender=mime.plain(sender) or w["forwarded_nobody"]),
            author=mime.plain(headers.from_header),
            subject=mime.plain(headers.subject),
        )
        alternative = words.alternative(_boundary(outbox, "text"))
        root = mime.multipart("mixed", _boundary(outbox, "mixed"), [alternative, _attached_mail(original)])
        answer = headers.from_addresses[0] if len(headers.from_addresses) == 1 else ""
        reply_to = ("Reply-To", answer if _SIMPLE_ADDRESS.match(answer) else "")
        return self._to_operator("forwarded", outbox, words.subject, made_at, root, reply_to)

    def _rendered(self, w: Words, name: str, **values: object) -> _Rendered:
        values |= {"service": self._sender.domain, "w": w}
        subject = self._templates.render(f"mail/{name}-subject.txt", **values)
        text = self._templates.render(f"mail/{name}-body.txt", **values)
        html = self._templates.render(f"mail/{name}-body.html", **values, title=mime.plain(subject))
        return _Rendered(subject, text, html)

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

    def _caller(self, inbound: InboundFax, name: str, w: Words) -> str:
        """From of a received fax: an answer to it is a fax back, where the caller is known (ONR-03, ONR-04). A station id is
        marked as what it is, a claim (ONR-14)."""
        if not facts.is_number(inbound.caller):
            return mime.mailbox(w["caller_unknown_name"], f"no-reply@{self._sender.domain}")
        station = mime.plain(inbound.station_id, 40)
        claim = w("station_claim", station=station) if station and "@" not in station else ""
        return mime.mailbox(name or claim or facts.readable(inbound.caller), f"FAX={inbound.caller}@{self._sender.domain}")

    def _trace(self, inbound: InboundFax) -> tuple[str, str]:
        """The fax side of the way, as any mail system notes it (ONR-12)."""
        caller = inbound.caller if facts.is_number(inbound.caller) else "unknown"
        date = format_datetime(inbound.received_at.astimezone(self._zone))
        return "Received", f"from {caller} by {self._sender.host}\r\n via GSTN with T30 id {inbound.id};\r\n {date}"

    def _about(self, inbound: InboundFax, name: str) -> list[tuple[str, str]]:
        station = printable(inbound.station_id, 60).strip()
        return [
            ("X-Fax-Id", inbound.id),
            ("X-Fax-Caller", printable(inbound.caller, 60)),
            ("X-Fax-Caller-Name", mime.unstructured("X-Fax-Caller-Name", name)),
            ("X-Fax-Line", printable(inbound.line, 60)),
            ("X-Fax-Sub-Address", printable(inbound.sub_address, 60)),
            ("X-Fax-Pages", str(inbound.pages)),
            ("X-Fax-Complete", "yes" if inbound.complete else "no"),
            ("X-Fax-Damaged-Pages", str(inbound.damaged or "")),
            ("X-Fax-Resolution", inbound.resolution),
            ("X-Fax-Seconds", "" if inbound.seconds is None else f"{inbound.seconds:.0f}"),
            ("X-Fax-Received", format_datetime(inbound.received_at.astimezone(self._zone))),
            ("X-Fax-Station-Id", f"{station} (a claim of the sending machine)" if station else ""),
        ]


def _thread(submission: Submission) -> list[tuple[str, str]]:
    chain = [*submission.references.split(), submission.message_id]
    return [("In-Reply-To", mime.message_ids([submission.message_id])), ("References", mime.message_ids(chain))]


def _with_picture(html: str, outbox: OutboxId, picture: str, png: bytes) -> mime.Part:
    page = mime.text("html", html)
    if not picture:
        return page
    more = (("Content-Disposition", 'inline; filename="page1.png"'), ("Content-ID", f"<{picture}>"))
    return mime.multipart("related", _boundary(outbox, "related"), [page, mime.binary("image/png", png, *more)])


def _document(name: str, content: bytes, kind: str = "application/pdf") -> mime.Part:
    disposition = ("Content-Disposition", f'attachment;\r\n filename="{name}"')
    return mime.binary(f'{kind};\r\n name="{name}"', content, disposition)


def file_name(inbound: InboundFax, zone: ZoneInfo) -> str:
    """e.g. `fax-2026-11-22-1415-from-14155550123-in_….pdf`: sorts by time, one name for one fax."""
    caller = f"-from-{inbound.caller[1:]}" if facts.is_number(inbound.caller) else ""
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

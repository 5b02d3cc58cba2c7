"""Invented faxes: one mail of every kind and turn, to look at, and to find a broken template before a report needs it."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jinja2
from PIL import Image, ImageDraw

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
from gateway.lifecycle import RELAYED
from gateway.report import dsn, facts
from gateway.report.compose import Composer, Mail, Sender
from gateway.report.words import BadWords, Catalogue
from gateway.templates import Templates

SENDER = Sender(
    address="fax@fax.example.com",
    operator="fax-admin@example.com",
    host="gw.fax.example.com",
    domain="fax.example.com",
    zone="Europe/Berlin",
    page="https://fax.example.com/",
)
"""Where there is no configuration."""
_NOW = datetime(2026, 3, 2, 9, 41, tzinfo=UTC)
_OUTBOX = OutboxId("ob_01jnaaaaaaaaaaaaaaaaaaaaaa")
_NUMBER, _LINE, _CALLER = "+14155550123", "+14155550100", "+442079460123"
_RECIPIENT = Recipient(written=f"FAX={_NUMBER}@fax.example.com", number=_NUMBER, tag="2026-117")
_MANIFEST = json.dumps(
    [
        {"title": "cover page", "first_page": 1, "last_page": 1},
        {"title": "2026-117.pdf", "first_page": 2, "last_page": 4},
        {"title": "logo.png", "note": "a picture that stands in most mails of this sender"},
    ]
)
_HEADER = b"From: Dr. Rossi <rossi@example.com>\r\nSubject: 2026-117, Dr. Rossi\r\n"
_SUBMISSION = Submission(
    id=SubmissionId("sub_01jnaaaaaaaaaaaaaaaaaaaaaa"),
    account=AccountId("acc_01jnaaaaaaaaaaaaaaaaaaaaaa"),
    envelope=Envelope(door=Door.SMTP, sender="rossi@example.com"),
    message_id="<117@example.com>",
    resent_message_id="",
    content_hash="",
    subject="2026-117, Dr. Rossi",
    from_header="Dr. Rossi <rossi@example.com>",
    references="",
    auto_submitted=False,
    document=Sha256("d" * 64),
    content_type="message/rfc822",
    accepted_at=_NOW - timedelta(minutes=38),
)
_FAX = Transmission(
    id=TransmissionId("tx_01jnaaaaaaaaaaaaaaaaaaaaaa"),
    submission=_SUBMISSION.id,
    account=_SUBMISSION.account,
    number=_NUMBER,
    sub_address="",
    carrier="main",
    caller=_LINE,
    state=TransmissionState.FAILED,
    outcome=Outcome.BUSY,
    reason="",
    document=None,
    pages=4,
    pages_sent=0,
    attempts=3,
    manifest=_MANIFEST,
    accepted_at=_SUBMISSION.accepted_at,
    updated_at=_NOW,
    finished_at=_NOW - timedelta(minutes=1),
    due_at=None,
)
_INBOUND = InboundFax(
    id=InboundId("in_01jnaaaaaaaaaaaaaaaaaaaaaa"),
    carrier="main",
    carrier_ref="1",
    line=_LINE,
    caller=_CALLER,
    station_id="STUDIO ROSSI",
    sub_address="",
    state=InboundState.FETCHED,
    document=Sha256("d" * 64),
    original=None,
    pages=2,
    complete=True,
    seconds=71.0,
    received_at=_NOW,
    reason="",
)


Make = Callable[[Composer, Sequence[str]], Mail]
"""The mail for a reader of these languages. Any below: fields of the noun, by name."""


def _attempt(n: int, outcome: Outcome | None, **changes: Any) -> Attempt:
    opened = _SUBMISSION.accepted_at + timedelta(minutes=12 * n)
    base = Attempt(
        id=AttemptId(f"at_{n}"),
        transmission=_FAX.id,
        n=n,
        carrier="main",
        reference="",
        carrier_ref="",
        state=AttemptState.DELIVERED if outcome is Outcome.DELIVERED else AttemptState.FAILED,
        outcome=outcome,
        carrier_code="",
        text="",
        pages_sent=0,
        station_id="",
        seconds=None,
        opened_at=opened,
        submitted_at=opened,
        finished_at=opened + timedelta(seconds=40),
    )
    return dataclasses.replace(base, **changes)


def _result(*attempts: Attempt, of: Submission = _SUBMISSION, beside: facts.Beside = facts.NOTHING, **changes: Any) -> Make:
    fax = dataclasses.replace(_FAX, **changes)
    fax = dataclasses.replace(fax, attempts=len(attempts))
    return lambda composer, languages: composer.result(
        outbox=_OUTBOX,
        submission=of,
        transmission=fax,
        recipients=[_RECIPIENT],
        attempts=attempts,
        original=_HEADER,
        made_at=_NOW,
        languages=languages,
        beside=beside,
    )


def _failed(outcome: Outcome, *attempts: Attempt, **changes: Any) -> Make:
    return _result(*attempts, outcome=outcome, **changes)


def _digest(composer: Composer, languages: Sequence[str]) -> Mail:
    def one(number: str, *attempts: Attempt, **changes: Any) -> dsn.Group:
        fax = dataclasses.replace(_FAX, number=number, attempts=len(attempts), **changes)
        return dsn.Group(transmission=fax, recipients=[dataclasses.replace(_RECIPIENT, number=number)], attempts=attempts)

    good: Mapping[str, Any] = {"state": TransmissionState.DELIVERED, "outcome": Outcome.DELIVERED, "pages_sent": 4}
    waits: Mapping[str, Any] = {"state": TransmissionState.DEFERRED, "finished_at": None}
    return composer.digest(
        outbox=_OUTBOX,
        submission=_SUBMISSION,
        groups=[one(_NUMBER, _CALL, **good), one("+14155550124", *_BUSY), one("+14155550125", _BUSY[0], **waits)],
        original=_HEADER,
        made_at=_NOW,
        languages=languages,
    )


def _approval(composer: Composer, languages: Sequence[str]) -> Mail:
    waiting = dataclasses.replace(
        _FAX,
        state=TransmissionState.HELD,
        reason="approval: 25 pages, more than 20",
        pages=25,
        due_at=_NOW + timedelta(days=3),
    )
    links = ("https://fax.example.com/approval/approve/7Qd0", "https://fax.example.com/approval/reject/k3Zx")
    return composer.approval(
        outbox=_OUTBOX,
        submission=_SUBMISSION,
        transmission=waiting,
        recipients=[_RECIPIENT],
        account="office",
        cost="2.25 EUR",
        links=links,
        to="boss@example.com",
        first_page=_page("PNG"),
        made_at=_NOW,
        languages=languages,
    )


def _proof(composer: Composer, languages: Sequence[str]) -> Mail:
    waiting = dataclasses.replace(
        _FAX, state=TransmissionState.HELD, reason="approval: you asked to see the pages first", due_at=_NOW + timedelta(days=3)
    )
    return composer.proof(
        outbox=_OUTBOX,
        submission=_SUBMISSION,
        transmission=waiting,
        recipients=[_RECIPIENT],
        account="office",
        cost="0.36 EUR",
        links=("https://fax.example.com/approval/approve/7Qd0", "https://fax.example.com/approval/reject/k3Zx"),
        seconds=131.0,
        to="rossi@example.com",
        pdf=_page("PDF"),
        first_page=_page("PNG"),
        made_at=_NOW,
        languages=languages,
        reply_to="fax+7qd0@fax.example.com",
    )


def _answer(composer: Composer, languages: Sequence[str]) -> Mail:
    return composer.answer(
        outbox=_OUTBOX,
        submission=_SUBMISSION,
        transmission=_FAX,
        recipients=[_RECIPIENT],
        to="rossi@example.com",
        words="STOP",
        answer="cancelled; nothing was sent",
        message_id="<118@example.com>",
        made_at=_NOW,
        languages=languages,
    )


def _not_taken(composer: Composer, languages: Sequence[str]) -> Mail:
    return composer.not_taken(
        outbox=_OUTBOX,
        to="rossi@example.com",
        subject="2026-117",
        reason="encrypted mail cannot be faxed",
        message_id="<117@example.com>",
        references=(),
        made_at=_NOW,
        languages=languages,
    )


def _received(*, pdf: bool = True, **changes: Any) -> Make:
    fax = dataclasses.replace(_INBOUND, **changes)
    return lambda composer, languages: composer.received(
        outbox=_OUTBOX,
        inbound=fax,
        to="office@example.com",
        pdf=_page("PDF") if pdf else b"",
        first_page=_page("PNG") if pdf else b"",
        made_at=_NOW,
        languages=languages,
    )


def _alarm(composer: Composer, languages: Sequence[str]) -> Mail:
    text = "The answer was lost.\n\nThe fax waits until you decide:\n\nfaxgate show " + _FAX.id
    return composer.alarm(outbox=_OUTBOX, what="a fax may have been sent", text=text, made_at=_NOW)


def _forwarded(composer: Composer, languages: Sequence[str]) -> Mail:
    original = b"From: Dr. Rossi <rossi@example.com>\r\nSubject: 2026-117\r\n\r\n2026-117?\r\n"
    to, sender = "postmaster@fax.example.com", "rossi@example.com"
    return composer.forwarded(outbox=_OUTBOX, original=original, to=to, sender=sender, made_at=_NOW)


def _message(composer: Composer, languages: Sequence[str]) -> Mail:
    return composer.message(
        outbox=_OUTBOX,
        to="rossi@example.com",
        subject="2026-117",
        text="2026-117: 4/4\n\nDr. Rossi",
        made_at=_NOW,
        languages=languages,
    )


@functools.cache
def _page(kind: str) -> bytes:
    """A page with bars where lines of text would be."""
    page = Image.new("1", (1728 // 2, 1100), 1)
    draw = ImageDraw.Draw(page)
    draw.rectangle((90, 90, 330, 120), 0)
    for n in range(24):
        draw.rectangle((90, 190 + 32 * n, 90 + (640 if n % 6 < 5 else 300), 198 + 32 * n), 0)
    out = io.BytesIO()
    page.save(out, kind)
    return out.getvalue()


_BUSY = (_attempt(1, Outcome.BUSY), _attempt(2, Outcome.NO_ANSWER), _attempt(3, Outcome.BUSY))
_CALL = _attempt(
    1,
    Outcome.DELIVERED,
    pages_sent=4,
    station_id="STUDIO BIANCHI",
    seconds=131.2,
    speed=14400,
    resolution="fine",
    carrier_ref="58213",
)
_LOST = _attempt(1, None, state=AttemptState.UNCERTAIN)
_HELD: Mapping[str, Any] = {"state": TransmissionState.HELD, "finished_at": None}
#: By name; what stands before a "-" is the kind.
SAMPLES: Mapping[str, Make] = {
    "delivered": _result(_CALL, state=TransmissionState.DELIVERED, outcome=Outcome.DELIVERED, pages_sent=4),
    "delivered-content": _result(
        _CALL,
        beside=facts.Beside(cost="0.36 EUR", pdf=_page("PDF"), first_page=_page("PNG")),
        state=TransmissionState.DELIVERED,
        outcome=Outcome.DELIVERED,
        pages_sent=4,
    ),
    "delivered-private": _result(
        _CALL,
        beside=facts.Beside(
            link=f"https://fax.example.com/view/{_FAX.id}/1773000000/7Qd0", link_until=_NOW + timedelta(days=7)
        ),
        state=TransmissionState.DELIVERED,
        outcome=Outcome.DELIVERED,
        pages_sent=4,
    ),
    "relayed": _result(
        _attempt(1, Outcome.UNKNOWN), state=TransmissionState.DELIVERED, outcome=Outcome.UNKNOWN, status=RELAYED
    ),
    "delayed": _result(
        *_BUSY,
        beside=facts.Beside(until=_NOW + timedelta(hours=4)),
        state=TransmissionState.DEFERRED,
        finished_at=None,
    ),
    "digest": _digest,
    "failed": _failed(Outcome.BUSY, *_BUSY),
    "failed-unknown": _failed(Outcome.UNKNOWN, _LOST),
    "partly": _failed(
        Outcome.PARTLY_SENT, _attempt(1, Outcome.PARTLY_SENT, pages_sent=2, seconds=64.0, station_id="STUDIO B"), pages_sent=2
    ),
    "failed-document": _failed(
        Outcome.DOCUMENT_REFUSED, pages=0, manifest="", status="5.6.5", reason="2026-117.xlsx is protected by a password"
    ),
    "failed-operator": _result(
        *_BUSY, of=dataclasses.replace(_SUBMISSION, envelope=dataclasses.replace(_SUBMISSION.envelope, sender=""))
    ),
    "cancelled": _result(state=TransmissionState.CANCELLED, outcome=Outcome.CANCELLED),
    "held": _result(_LOST, outcome=Outcome.UNKNOWN, **_HELD),
    "held-approval": _result(outcome=None, reason="approval: 25 pages, more than 20", **_HELD),
    "approval": _approval,
    "proof": _proof,
    "answer": _answer,
    "not_taken": _not_taken,
    "received": _received(),
    "received-incomplete": _received(complete=False, pages=1, caller="", station_id=""),
    "received-elsewhere": _received(pdf=False),
    "alarm": _alarm,
    "forwarded": _forwarded,
    "message": _message,
} | {
    f"failed-{outcome.value.replace('_', '-')}": _failed(outcome, _attempt(1, outcome))
    for outcome in Outcome
    if outcome not in (Outcome.DELIVERED, Outcome.BUSY, Outcome.UNKNOWN, Outcome.PARTLY_SENT, Outcome.DOCUMENT_REFUSED)
}


def mail(name: str, templates: Templates, sender: Sender, language: str) -> Mail:
    """One sample in one language. Raises KeyError for a name nobody knows, BadWords, TemplateError."""
    return SAMPLES[name](Composer(templates, dataclasses.replace(sender, language=language)), (language,))


def lacks(templates: Templates, language: str) -> str:
    """Why nothing can be written in a language; "" = it can."""
    try:
        known = Catalogue(templates.folders).languages
    except BadWords:
        return ""  # told by `problem`, with its place
    return "" if language in known else f"there are no mails in “{language}”; there are {', '.join(known)}"


def problem(templates: Templates, sender: Sender, only: str = "") -> str:
    """Tries every mail, or that of one name, in every language: file and line of what is wrong first; "" = nothing."""
    try:
        languages = Catalogue(templates.folders).languages
        for language in languages:
            composer = Composer(templates, dataclasses.replace(sender, language=language))
            for name in [only] if only else SAMPLES:
                try:
                    SAMPLES[name](composer, (language,))
                except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
                    return f"{templates.place(error)}{_said(error)} (the mail “{name}” in “{language}”)"
    except BadWords as error:
        return str(error)
    return ""


def _said(error: Exception) -> str:
    if isinstance(error, jinja2.TemplateNotFound):
        return f"there is no template {error.name}"
    return f"nobody knows {error}" if isinstance(error, LookupError) else str(error)

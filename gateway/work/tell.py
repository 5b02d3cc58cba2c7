"""The outbox is mailed: results to senders, received faxes to mailboxes, alarms to the operator.

What became of a fax of a program is told as its account says: by a call of its URL (`work.callback`), by a report of its
own, both, or not at all, for the program can ask.

A row is marked sent only after the mail server's 250; its Message-ID is made of the row's id, so that a mail sent twice
around a crash is recognised as one. What the server refuses for good is told to the operator.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import aiosmtplib

from gateway import metrics, number
from gateway.desk.approval import APPROVE, REJECT
from gateway.desk.replies import Scope
from gateway.errors import BadDocument, ConverterUnavailable, Refused
from gateway.fax import Door, InboundId, Settings, TransmissionState
from gateway.pages.fence import Fence
from gateway.report import compose, facts
from gateway.report.compose import Mail
from gateway.spool import commands, inbounds, outbox, queries, retention, steering, steps
from gateway.spool.commit import Transaction
from gateway.spool.outbox import Owed
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.work import proof, receive, records
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_TIMEOUT = 60.0  # seconds for each answer of the mail server
_HEADERS = 256 * 1024
#: An answer waits so long, in such steps, for what was asked to be done; then it says that it will be.
_PATIENCE, _SOON = timedelta(minutes=1), timedelta(seconds=0.5)
_NOTED = "noted; it is done as soon as the step in hand is over"
_OF_FAXES = frozenset({outbox.RESULT, outbox.HELD, outbox.CONFIRMATION})
#: Doors of programs: they are told as their account says.
_PROGRAMS = frozenset({Door.HELLOFAX})


async def step(shop: Workshop, claim: Claim) -> None:
    """Compose one mail, hand it over, record the answer."""
    owed = await shop.store.read_one(outbox.several, claim.subject)
    if owed is None or owed.state != outbox.WAITING:
        await shop.store.write(steps.done, claim)
        return
    if owed.kind == outbox.ANSWER and await _is_open(shop, owed):
        await shop.store.write(steps.put_back, claim, due_at=shop.now() + _SOON)
        return
    case = await shop.store.read_one(queries.cases, owed.about_id) if owed.kind in _OF_FAXES else None
    if case is not None and owed.kind != outbox.CONFIRMATION and case.submission.envelope.door in _PROGRAMS:
        await _tell_program(shop, claim, owed, case)
        records.sent(shop, owed, case, "program")
        return
    mail = await _compose(shop, owed, case)
    if mail is None:
        await shop.store.write(outbox.settled, claim, outbox.SILENT, "nobody wants to be told")
        records.sent(shop, owed, case, "nobody")
        return
    try:
        answer = await _send(shop, mail)
    except aiosmtplib.SMTPException as error:
        await _not_taken(shop, claim, owed, error)
        return
    except OSError as error:
        await _defer(shop, claim, owed, f"The mail server cannot be reached ({error.strerror or type(error).__name__}).")
        return
    metrics.MAILS.labels(owed.kind, "sent").inc()
    _log.info("%s %s mailed to %s", owed.kind, owed.about, ", ".join(mail.to), extra={"action": "mailed"})
    records.sent(shop, owed, case, "mail")
    await _record_sent(shop, claim, owed, answer)


async def _record_sent(shop: Workshop, claim: Claim, owed: Owed, answer: str) -> None:
    def record(t: Transaction) -> bool:
        if not outbox.settled(t, claim, outbox.SENT, answer):
            return False
        return owed.kind == outbox.RECEIVED and inbounds.mailed(t, InboundId(owed.about_id))

    whole = await shop.store.write(record)
    if owed.kind == outbox.RECEIVED and (inbound := await shop.store.read(inbounds.get, owed.about_id)) is not None:
        records.received(shop, inbound, owed.recipient)
    if whole:
        await receive.forget(shop, owed.about_id)


async def _tell_program(shop: Workshop, claim: Claim, owed: Owed, case: Case) -> None:
    """Owe what the account of a program wants, instead of a mail; the documents of a delivered fax go, unless it keeps them."""
    fax = case.transmission
    account = await shop.identity.by_id(fax.account)
    settings = account.settings if account else Settings()

    def record(t: Transaction) -> None:
        if not outbox.settled(t, claim, outbox.SILENT, "told as its account says"):
            return
        if settings.confirmations:
            outbox.owe(t, kind=outbox.CONFIRMATION, about=owed.about, of=claim)
        if owed.kind == outbox.HELD:
            return
        if settings.outbound_callback:
            outbox.owe_callback(t, fax.account, fax.id, claim)
        if fax.state is TransmissionState.DELIVERED and not settings.keep_documents:
            retention.discard(t, fax.id)

    await shop.store.write(record)


async def _compose(shop: Workshop, owed: Owed, case: Case | None) -> Mail | None:
    """The mail for a row; None: whoever would get it does not want it, and no operator needs to know."""
    made_at = shop.now()
    if owed.kind in _OF_FAXES:
        assert case is not None
        return await _about_transmission(shop, owed, case)
    if owed.kind == outbox.RECEIVED:
        inbound = await shop.store.read(inbounds.get, owed.about_id)
        assert inbound is not None
        assert inbound.document is not None
        account = await shop.identity.by_id(inbound.account)
        pdf = picture = b""
        if account is None or account.settings.received_pdf:
            pdf = await shop.documents.get(inbound.document)
            async with shop.documents.local(inbound.document) as file:
                picture = await first_page(shop.fence, file)
        return shop.composer.received(
            outbox=owed.id,
            inbound=inbound,
            to=owed.recipient,
            pdf=pdf,
            first_page=picture,
            made_at=made_at,
            reply_to=shop.replies.address(Scope.FAX, inbound.id, "", made_at) if _can_be_faxed(inbound.caller) else "",
        )
    if owed.kind == outbox.APPROVAL:
        return await _ask_approval(shop, owed)
    if owed.kind == outbox.PROOF:
        return await proof.mail(shop, owed)
    if owed.kind == outbox.ANSWER:
        return await _answer(shop, owed)
    if owed.kind == outbox.FORWARD:
        assert owed.document is not None
        original = await shop.documents.get(owed.document)
        note = f"Mail to {owed.subject} from {owed.text or 'an empty return path'}."
        return shop.composer.forwarded(outbox=owed.id, original=original, note=note, made_at=made_at)
    if owed.kind == outbox.MESSAGE:
        return shop.composer.message(outbox=owed.id, to=owed.recipient, subject=owed.subject, text=owed.text, made_at=made_at)
    return shop.composer.alarm(outbox=owed.id, what=owed.subject, text=_with_advice(owed), made_at=made_at)


async def _ask_approval(shop: Workshop, owed: Owed) -> Mail | None:
    """The mail to who must agree to a fax; None: it does not wait for that any more."""
    case = await shop.store.read_one(queries.cases, owed.about_id)
    if case is None or not facts.waits_for_approval(case.transmission):
        return None
    fax, account = case.transmission, await shop.identity.by_id(case.transmission.account)
    picture = b""
    if account is not None and fax.document is not None and shop.limits.shows_content(account):
        async with shop.documents.local(fax.document) as file:
            picture = await first_page(shop.fence, file)
    question = facts.question(
        case.submission,
        fax,
        case.recipients,
        ZoneInfo(shop.config.zone),
        account=account.name if account else "",
        cost=shop.limits.cost(fax.number, fax.pages),
        links=(shop.links.link(fax.id, APPROVE), shop.links.link(fax.id, REJECT)),
    )
    return shop.composer.approval(
        outbox=owed.id,
        question=question,
        to=owed.recipient,
        first_page=picture,
        made_at=shop.now(),
        reply_to=shop.replies.address(Scope.DECIDE, fax.id, owed.recipient, shop.now()),
    )


def _can_be_faxed(caller: str) -> bool:
    """Whether a received fax can be answered: it says from which number it came."""
    try:
        return caller.startswith("+") and bool(number.parse(caller, ""))
    except Refused:
        return False


async def _is_open(shop: Workshop, owed: Owed) -> bool:
    """Whether what was asked by mail has not been looked at yet, and may be soon."""
    asked = await shop.store.read(commands.of, owed.about)
    if asked is None or not asked.wish or shop.now() - owed.created_at > _PATIENCE:
        return False
    found: str | None = await shop.store.read(steering.answered, asked.wish)
    return found is None


async def _answer(shop: Workshop, owed: Owed) -> Mail | None:
    """What came of a command; None: its fax has been forgotten."""
    asked = await shop.store.read(commands.of, owed.about)
    case = await shop.store.read_one(queries.cases, owed.about_id)
    if asked is None or case is None:
        return None
    answer = asked.answer
    if asked.wish:
        found: str | None = await shop.store.read(steering.answered, asked.wish)
        answer = found or _NOTED
    return shop.composer.answer(
        outbox=owed.id,
        to=owed.recipient,
        words=asked.words,
        answer=answer,
        fax=facts.outgoing(case.submission, case.transmission, case.recipients, (), ZoneInfo(shop.config.zone)),
        message_id=asked.message_id,
        made_at=shop.now(),
    )


async def first_page(fence: Fence, pdf: Path) -> bytes:
    """The first page as PNG; b"" where it cannot be drawn: a fax must not stay here for want of a picture."""
    try:
        png = await fence.run("gateway.pages.raster:first_page_png", pdf)
    except (BadDocument, ConverterUnavailable) as error:
        _log.warning("%s has no picture: %s", pdf.name, error.text, extra={"action": "no_picture"})
        return b""
    assert isinstance(png, bytes)
    return png


def _with_advice(owed: Owed) -> str:
    """The text of an alarm, with the commands that show and decide it."""
    fax = owed.about_id
    if fax.startswith("in_"):
        return owed.text + receive.advice(fax)
    if not fax.startswith("tx_"):
        return owed.text
    return f"{owed.text}\n\nThe fax waits until you decide:\n\nfaxgate show {fax}\nfaxgate release {fax}"


async def _about_transmission(shop: Workshop, owed: Owed, case: Case) -> Mail | None:
    late = owed.about != case.transmission.id  # said of one moment, not of the end
    if late and case.transmission.state is not TransmissionState.HELD:
        return None  # a person has decided meanwhile; what became of it is told by a row of its own
    wanted = compose.wanted(case.submission, case.transmission, case.recipients)
    made_at, told = shop.now(), case.submission.envelope.sender
    if late and facts.waits_for_proof(case.transmission):
        return None  # the proof says so itself
    if not wanted and case.transmission.state is not TransmissionState.FAILED:
        return None  # a failure that its sender may not be told of goes to the operator: the composer sees to it
    tell = shop.composer.held if late else shop.composer.result
    mail = case.submission.document  # "" once it is given up
    return tell(
        outbox=owed.id,
        submission=case.submission,
        transmission=case.transmission,
        recipients=wanted,
        attempts=case.attempts,
        original_headers=await shop.documents.head(mail, _HEADERS) if mail else b"",
        made_at=made_at,
        reply_to=shop.replies.address(Scope.STEER, case.transmission.id, told, made_at) if told else "",
    )


async def _send(shop: Workshop, mail: Mail) -> str:
    """Hand one mail to the smarthost; its answer. Raises SMTPException, OSError."""
    config = shop.config.mail
    url = urlsplit(config.smarthost)
    implicit = url.scheme == "smtps"
    client = aiosmtplib.SMTP(
        hostname=url.hostname or "",
        port=url.port or (465 if implicit else 25),
        use_tls=implicit,
        start_tls=True if url.scheme == "smtp+starttls" else None,
        timeout=_TIMEOUT,
        local_hostname=shop.config.host,
        username=config.username or None,
        password=shop.mail_password or None,
    )
    async with client:
        refused, answer = await client.sendmail(mail.envelope_from, list(mail.to), mail.content)
    if refused:  # some of several recipients; ours has one
        raise aiosmtplib.SMTPRecipientsRefused(
            [aiosmtplib.SMTPRecipientRefused(code, text, to) for to, (code, text) in refused.items()]
        )
    return answer


async def _not_taken(shop: Workshop, claim: Claim, owed: Owed, error: aiosmtplib.SMTPException) -> None:
    codes, text = _codes(error)
    if not codes or any(code < 500 for code in codes):
        await _defer(shop, claim, owed, text)
    else:
        await _give_up(shop, claim, owed, f"The mail server refused it for good: {text}")


def _codes(error: aiosmtplib.SMTPException) -> tuple[list[int], str]:
    """Reply codes in an SMTP error, and its words."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return [one.code for one in error.recipients], "; ".join(f"{one.code} {one.message}" for one in error.recipients)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return [], f"The mail server does not accept our password ({error.code})."  # ours to mend: keep the mail
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return [error.code], f"{error.code} {error.message}"
    return [], str(error) or type(error).__name__


async def _defer(shop: Workshop, claim: Claim, owed: Owed, answer: str) -> None:
    if shop.now() - owed.created_at > shop.config.mail.give_up:
        await _give_up(shop, claim, owed, f"Given up: {answer}")
        return
    waits = shop.config.mail.retry
    wait = waits[min(claim.tries, len(waits)) - 1]
    metrics.MAILS.labels(owed.kind, "deferred").inc()
    _log.warning("%s %s not mailed: %s", owed.kind, owed.about, answer, extra={"action": "mail_deferred"})
    await shop.store.write(outbox.deferred, claim, answer, shop.now() + wait)


async def _give_up(shop: Workshop, claim: Claim, owed: Owed, answer: str) -> None:
    """Nobody was told: the operator is, once, and a received fax waits for a person. Never an alarm about an alarm."""
    metrics.MAILS.labels(owed.kind, "given up").inc()
    _log.error("%s %s cannot be mailed: %s", owed.kind, owed.about, answer, extra={"action": "mail_given_up"})

    def record(t: Transaction) -> None:
        if not outbox.settled(t, claim, outbox.GIVEN_UP, answer):
            return
        if owed.kind == outbox.RECEIVED:
            inbounds.undeliverable(t, InboundId(owed.about_id), answer)
        if owed.kind != outbox.ALARM:
            received = owed.kind == outbox.RECEIVED
            what = "a received fax cannot be mailed" if received else "a report cannot be mailed"
            advice = receive.advice(owed.about_id) if received else ""
            outbox.alarm(t, about=owed.id, what=what, text=f"{owed.about_id}: {answer}{advice}")

    await shop.store.write(record)

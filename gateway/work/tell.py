"""The outbox is mailed: results to senders, received faxes to mailboxes, alarms to the operator.

What became of a fax of a program is told as its account says: by a call of its URL (`work.callback`), by a report of its
own, both, or not at all, for the program can ask.

A row is marked sent only after the mail server's 250; its Message-ID is made of the row's id, so that a mail sent twice
around a crash is recognised as one. What the server refuses for good is told to the operator.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from datetime import datetime, timedelta

from gateway import metrics, number
from gateway.desk.approval import APPROVE, REJECT
from gateway.desk.replies import Scope
from gateway.errors import Refused, Unavailable, Uncertain
from gateway.fax import AccountId, Door, InboundId, Settings, SubmissionId, TransmissionState
from gateway.report import facts, smime
from gateway.report.compose import Mail
from gateway.spool import digests, inbounds, outbox, queries, retention, steps
from gateway.spool.commit import Transaction
from gateway.spool.outbox import Owed
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.work import answers, proof, receive, records, results
from gateway.work.picture import first_page, profile_s
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_HEADERS = 256 * 1024
#: An answer to a command waits in such steps for what was asked to be done.
_SOON = timedelta(seconds=0.5)
_OF_FAXES = frozenset({outbox.RESULT, outbox.HELD, outbox.CONFIRMATION, outbox.DELAYED})
#: Doors of programs: they are told as their account says.
_PROGRAMS = frozenset({Door.HELLOFAX})


async def step(shop: Workshop, claim: Claim) -> None:
    """Compose one mail, hand it over, record the answer."""
    owed = await shop.store.read_one(outbox.several, claim.subject)
    if owed is None or owed.state != outbox.WAITING:
        await shop.store.write(steps.done, claim)
        return
    if owed.kind == outbox.ANSWER and await answers.is_open(shop, owed):
        await shop.store.write(steps.put_back, claim, due_at=shop.now() + _SOON)
        return
    case = await shop.store.read_one(queries.cases, owed.about_id) if owed.kind in _OF_FAXES else None
    if owed.kind == outbox.DIGEST and not await results.closes(shop, claim, owed):
        return
    if await results.joins(shop, claim, owed, case):
        return
    if case is not None and owed.kind != outbox.CONFIRMATION and case.submission.envelope.door in _PROGRAMS:
        await _tell_program(shop, claim, owed, case)
        records.sent(shop, owed, case, "program")
        return
    mail = await _compose(shop, owed, case)
    if mail is None:
        await shop.store.write(_silent, claim, owed)
        records.sent(shop, owed, case, "nobody")
        return
    try:
        mail = await shop.post.signed(await _sealed(shop, owed, mail))
        answer = await shop.post.send(mail)
    except Refused as error:
        await _not_taken(shop, claim, owed, error)
        return
    except (Unavailable, Uncertain) as error:  # uncertain: one that comes twice is known by its Message-ID
        await _defer(shop, claim, owed, error.text)
        return
    metrics.MAILS.labels(owed.kind, "sent").inc()
    _log.info("%s %s mailed to %s", owed.kind, owed.about, ", ".join(mail.to), extra={"action": "mailed"})
    records.sent(shop, owed, case, "mail")
    for member in await results.members(shop, owed) if owed.kind == outbox.DIGEST else ():
        records.sent(shop, owed, member, "digest")
    await _record_sent(shop, claim, owed, mail, answer)


def _silent(t: Transaction, claim: Claim, owed: Owed) -> None:
    answer = "nobody wants to be told"
    if outbox.told(t, claim, owed, outbox.SILENT, answer) and owed.kind == outbox.DIGEST:
        digests.told(t, SubmissionId(owed.about), outbox.SILENT, answer)


async def _record_sent(shop: Workshop, claim: Claim, owed: Owed, mail: Mail, answer: str) -> None:
    digest = hashlib.sha256(mail.content).hexdigest()

    def record(t: Transaction) -> bool:
        if not outbox.told(t, claim, owed, outbox.SENT, answer, message_id=mail.message_id, mail=digest):
            return False
        if owed.kind == outbox.DIGEST:
            digests.told(t, SubmissionId(owed.about), outbox.SENT, answer, message_id=mail.message_id, sha256=digest)
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
        if not outbox.told(t, claim, owed, outbox.SILENT, "told as its account says") or owed.kind == outbox.DELAYED:
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
        return await results.about(shop, owed, case)
    if owed.kind == outbox.DIGEST:
        return await results.digest(shop, owed)
    if owed.kind == outbox.RECEIVED:
        return await _about_received(shop, owed, made_at)
    if owed.kind == outbox.APPROVAL:
        return await _ask_approval(shop, owed)
    if owed.kind == outbox.PROOF:
        return await proof.mail(shop, owed)
    if owed.kind == outbox.ANSWER:
        return await answers.mail(shop, owed)
    if owed.kind == outbox.FORWARD:
        assert owed.document is not None
        original = await shop.documents.get(owed.document)
        return shop.composer.forwarded(outbox=owed.id, original=original, to=owed.subject, sender=owed.text, made_at=made_at)
    if owed.kind == outbox.REFUSAL:
        words = json.loads(owed.text)
        return shop.composer.not_taken(outbox=owed.id, to=owed.recipient, subject=owed.subject, made_at=made_at, **words)
    if owed.kind == outbox.MESSAGE:
        return shop.composer.message(
            outbox=owed.id,
            to=owed.recipient,
            subject=owed.subject,
            text=owed.text,
            made_at=made_at,
            languages=await _languages(shop, AccountId(owed.about_id)),
        )
    return shop.composer.alarm(outbox=owed.id, what=owed.subject, text=_with_advice(owed), made_at=made_at)


async def _about_received(shop: Workshop, owed: Owed, made_at: datetime) -> Mail:
    """A received fax for one mailbox, in the forms its line wants; without it where a mail server found that too large."""
    inbound = await shop.store.read(inbounds.get, owed.about_id)
    assert inbound is not None
    assert inbound.document is not None
    account = await shop.identity.by_id(inbound.account)
    pdf = picture = tiff = b""
    too_large, wanted = owed.text == outbox.TOO_LARGE, shop.config.attached(inbound.line)
    if not too_large and (account is None or account.settings.received_pdf):
        async with shop.documents.local(inbound.document) as file:
            picture = await first_page(shop.fence, file)
            tiff = await profile_s(shop.fence, file) if "tiff" in wanted else b""
        pdf = await shop.documents.get(inbound.document) if "pdf" in wanted or not tiff else b""
    return shop.composer.received(
        outbox=owed.id,
        inbound=inbound,
        to=owed.recipient,
        pdf=pdf,
        first_page=picture,
        tiff=tiff,
        name=shop.config.callers.get(inbound.caller, ""),
        too_large=too_large,
        made_at=made_at,
        languages=shop.config.languages_of(account.name if account else ""),
        bounce=shop.bounces.address(owed.id),
        reply_to=shop.replies.address(Scope.FAX, inbound.id, "", made_at) if _can_be_faxed(inbound.caller) else "",
    )


def _can_be_faxed(caller: str) -> bool:
    """Whether a received fax can be answered: it says from which number it came."""
    try:
        return caller.startswith("+") and bool(number.parse(caller, ""))
    except Refused:
        return False


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
    return shop.composer.approval(
        outbox=owed.id,
        submission=case.submission,
        transmission=fax,
        recipients=case.recipients,
        account=account.name if account else "",
        cost=shop.limits.cost(fax.number, fax.pages),
        links=(shop.links.link(fax.id, APPROVE), shop.links.link(fax.id, REJECT)),
        to=owed.recipient,
        first_page=picture,
        made_at=shop.now(),
        languages=shop.config.languages_of(account.name if account else ""),
        reply_to=shop.replies.address(Scope.DECIDE, fax.id, owed.recipient, shop.now()),
    )


async def _languages(shop: Workshop, account: AccountId) -> tuple[str, ...]:
    """Those in which an account is told, best first."""
    found = await shop.identity.by_id(account)
    return shop.config.languages_of(found.name if found else "")


def _with_advice(owed: Owed) -> str:
    """The text of an alarm, with the commands that show and decide it."""
    fax = owed.about_id
    if fax.startswith("in_"):
        return owed.text + receive.advice(fax)
    if not fax.startswith("tx_"):
        return owed.text
    return f"{owed.text}\n\nThe fax waits until you decide:\n\nfaxgate show {fax}\nfaxgate release {fax}"


async def _sealed(shop: Workshop, owed: Owed, mail: Mail) -> Mail:
    """A received fax for a mailbox with a certificate is encrypted. Raises Refused: never in clear instead."""
    file = shop.config.mail.certificates.get(owed.recipient.lower()) if owed.kind == outbox.RECEIVED else None
    if file is None:
        return mail
    try:
        certificates = await asyncio.to_thread(smime.readers, file, shop.now())
    except (ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Refused(f"It cannot be encrypted for {owed.recipient}: {file.name}: {why}") from error
    return await asyncio.to_thread(smime.sealed, mail, shop.config.mail.from_, certificates)


async def _not_taken(shop: Workshop, claim: Claim, owed: Owed, error: Refused) -> None:
    if owed.kind == outbox.RECEIVED and owed.text != outbox.TOO_LARGE and _too_large(error.text):
        await shop.store.write(outbox.without_document, claim, error.text)
    else:
        await _give_up(shop, claim, owed, error.text)


def _too_large(text: str) -> bool:
    """Whether a mail server refuses a mail for its size (RFC 1870, RFC 3463): it may take the news alone (ONR-19)."""
    return re.search(r"^552\b|\b5\.(3\.4|2\.3)\b", text) is not None


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
        if not outbox.told(t, claim, owed, outbox.GIVEN_UP, answer):
            return
        if owed.kind == outbox.RECEIVED:
            inbounds.undeliverable(t, InboundId(owed.about_id), answer)
        if owed.kind == outbox.DIGEST:
            digests.told(t, SubmissionId(owed.about), outbox.GIVEN_UP, answer)
        if owed.kind != outbox.ALARM:
            received = owed.kind == outbox.RECEIVED
            what = "a received fax cannot be mailed" if received else "a report cannot be mailed"
            advice = receive.advice(owed.about_id) if received else ""
            advice += f"\n\nWhen that is mended, this mails it again:\n\nfaxgate retry {owed.id}"
            outbox.alarm(t, about=owed.id, what=what, text=f"{owed.about_id}: {answer}{advice}")

    await shop.store.write(record)

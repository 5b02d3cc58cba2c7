"""What the sender of a fax is told of it: the mail for a result, a fax that waits for a person, one that is late, a digest.

What a mail shows beside the fax is decided here: the pages, where the account wants them in mails; a link to them, where it is
private; what it cost, where that is known; till when it is tried.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gateway import message
from gateway.desk.replies import Scope
from gateway.fax import AccountId, SubmissionId, Transmission
from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL
from gateway.report import audience, dsn, facts
from gateway.report.compose import Mail, Told
from gateway.spool import digests, outbox, queries
from gateway.spool.outbox import Owed
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.telling import ReportSection
from gateway.units import eur
from gateway.work.picture import first_page
from gateway.work.workshop import Workshop

_HEADERS = 256 * 1024
_LARGEST_MAIL = 1_000_000
"""Bytes of a mail that goes back whole where RET=FULL asked for it (DSN-12)."""
_LARGEST_FAX = 5_000_000
"""Bytes of a fax that is attached to its report: more is too much for many mail servers, and the report must arrive."""


async def about(shop: Workshop, owed: Owed, case: Case) -> Mail | None:
    """The mail about one fax; None: whoever would get it does not want it, or it is not true any more."""
    fax = case.transmission
    if owed.kind == outbox.DELAYED:
        if facts.kind_of(fax) != "delayed" or await _digest_time(shop, case) is not None:
            return None
    elif owed.about != fax.id and fax.state is not T.HELD:  # said of one moment, not of the end
        return None  # a person has decided meanwhile; what became of it is told by a row of its own
    elif owed.about != fax.id and facts.waits_for_proof(fax):
        return None  # the proof says so itself
    original, name = await _original(shop, case), await _name(shop, fax.account)
    reports, sender = shop.config.reports_of(name), case.submission.envelope.sender
    account = Told(good_news=reports.delivered, receipts=reports.receipts)
    receipt = account.receipts and audience.mdn_address(case.submission, fax)
    told = audience.wanted(case.submission, fax, case.recipients, good_news=account.good_news or bool(receipt))
    if not told and fax.state is not T.FAILED:
        return None  # a failure that its sender may not be told of goes to the operator: the composer sees to it
    return shop.composer.result(
        outbox=owed.id,
        submission=case.submission,
        transmission=fax,
        recipients=told,
        attempts=case.attempts,
        original=original,
        made_at=shop.now(),
        languages=_languages(shop, original, name),
        reply_to=shop.replies.address(Scope.STEER, fax.id, sender, shop.now()) if sender else "",
        beside=replace(await _beside(shop, case, name, reports), whole=await _may_go_back(shop, case)),
        account=account,
    )


async def joins(shop: Workshop, claim: Claim, owed: Owed, case: Case | None) -> bool:
    """Whether a result is told in a digest, and is now waiting for that."""
    if owed.kind != outbox.RESULT or case is None or await _digest_time(shop, case) is None:
        return False
    reports = shop.config.reports_of(await _name(shop, case.transmission.account))
    if audience.wanted(case.submission, case.transmission, case.recipients, good_news=reports.delivered):
        return await shop.store.write(digests.join, claim, case.submission.id)
    await shop.store.write(digests.look, case.submission.id)
    return False


async def closes(shop: Workshop, claim: Claim, owed: Owed) -> bool:
    """Whether a digest is to be told now, with what it has; else it waits for the rest."""
    cases = await _cases(shop, owed)
    first = next(iter(cases.values()), None)
    wait = await _digest_time(shop, first) if first else None  # None: the account wants no digests any more
    until = first.submission.accepted_at + wait if first and wait is not None else shop.now()
    return await shop.store.write(digests.close, claim, SubmissionId(owed.about), until)


async def digest(shop: Workshop, owed: Owed) -> Mail | None:
    """The mail about the faxes that a digest has gathered, and about those of the submission that have not ended."""
    cases, told = await _cases(shop, owed), await shop.store.read(digests.members, SubmissionId(owed.about))
    groups = [
        dsn.Group(
            transmission=case.transmission,
            recipients=audience.wanted(case.submission, case.transmission, case.recipients),
            attempts=case.attempts,
            until=_until(shop, case),
        )
        for fax, case in cases.items()
        if fax in told or case.transmission.state not in FINAL
    ]
    groups = [group for group in groups if group.recipients]
    if not told or not groups:
        return None
    case = next(iter(cases.values()))
    original = await _original(shop, case)
    return shop.composer.digest(
        outbox=owed.id,
        submission=case.submission,
        groups=groups,
        original=original,
        made_at=shop.now(),
        languages=_languages(shop, original, await _name(shop, case.transmission.account)),
    )


async def members(shop: Workshop, owed: Owed) -> list[Case]:
    """The faxes that a digest tells of as ended."""
    told = await shop.store.read(digests.members, SubmissionId(owed.about))
    return [case for fax, case in (await _cases(shop, owed)).items() if fax in told]


async def _cases(shop: Workshop, owed: Owed) -> dict[str, Case]:
    faxes = await shop.store.read(digests.faxes, SubmissionId(owed.about))
    found = await shop.store.read(queries.cases, faxes)
    return {fax: found[fax] for fax in faxes if fax in found}


async def _digest_time(shop: Workshop, case: Case) -> timedelta | None:
    """How long a digest of this mail waits; None: its account wants none, or it did not come by a mail transport."""
    if case.submission.envelope.door not in audience.TRANSPORTS:
        return None
    return shop.config.reports_of(await _name(shop, case.transmission.account)).digest


async def _name(shop: Workshop, account: AccountId) -> str:
    found = await shop.identity.by_id(account)
    return found.name if found else ""


def _languages(shop: Workshop, original: bytes, account: str) -> tuple[str, ...]:
    """Those of the reader, best first: of the mail, of the account, of the house."""
    said = message.headers(original)
    return (*said.languages, *said.reads, *shop.config.languages_of(account))


async def _original(shop: Workshop, case: Case) -> bytes:
    """The mail, where it may go back whole, else its beginning with the header; b"" once it is given up."""
    mail = case.submission.document
    if not mail:
        return b""
    return await shop.documents.get(mail) if await _may_go_back(shop, case) else await shop.documents.head(mail, _HEADERS)


async def _may_go_back(shop: Workshop, case: Case) -> bool:
    """Whether the mail may be in a report: where its sender asked for it, it is small, and no secret of its account."""
    mail, private = case.submission.document, shop.config.is_private(await _name(shop, case.transmission.account))
    asked = bool(mail) and case.submission.envelope.ret == "FULL"
    return asked and not private and await shop.documents.size(mail) <= _LARGEST_MAIL


async def _beside(shop: Workshop, case: Case, account: str, reports: ReportSection) -> facts.Beside:
    fax = case.transmission
    if fax.finished_at is None or fax.document is None:
        return facts.Beside(until=_until(shop, case))
    cost = _cost(shop, fax)
    if reports.content and case.submission.envelope.ret != "HDRS":
        async with shop.documents.local(fax.document) as file:
            small = await shop.documents.size(fax.document) <= _LARGEST_FAX
            pdf = await shop.documents.get(fax.document) if small else b""
            return facts.Beside(cost=cost, pdf=pdf, first_page=await first_page(shop.fence, file))
    if not shop.config.is_private(account) or reports.content:
        return facts.Beside(cost=cost)
    until = fax.finished_at + min(reports.link, shop.config.keep_documents)
    return facts.Beside(cost=cost, link=shop.views.link(fax.id, until), link_until=until)


def _cost(shop: Workshop, fax: Transmission) -> str:
    """What was booked; else, where the file has prices, what its pages are worth."""
    if fax.cost is not None:
        return eur(fax.cost)
    return shop.limits.cost(fax.number, fax.pages_sent or fax.pages) if fax.state is T.DELIVERED else ""


def _until(shop: Workshop, case: Case) -> datetime | None:
    """Till when a fax is tried: `give_up` after its first call."""
    if not case.attempts or case.transmission.state in FINAL:
        return None
    first = case.attempts[0]
    return max(first.opened_at, first.planned_at or first.opened_at) + shop.config.retry.give_up

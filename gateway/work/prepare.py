"""accepted -> ready: the mail becomes fax pages, in the fence. What the account's limits do not let pass is held or fails."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

from gateway import metrics, options
from gateway.errors import BadDocument, ConverterUnavailable, Outcome
from gateway.fax import Sha256, TransmissionState
from gateway.message import headers
from gateway.pages import job
from gateway.pages.assemble import Job, Made
from gateway.spool import resent, steps, transmissions
from gateway.spool.approvals import Showing
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.spool.transmissions import Next
from gateway.work import approval
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_HEADERS = 256 * 1024
_CRASHES = 2  # a converter that dies so often on one mail will die again
_TROUBLES = 10
_CRASH_WAIT = timedelta(seconds=5)


async def prepare(shop: Workshop, claim: Claim, case: Case) -> None:
    """Make the pages and record them, or end the fax with the name of what cannot become pages."""
    if case.transmission.pages:
        await _known(shop, claim, case)
        return
    began, showing = time.monotonic(), await approval.showing(shop, case)
    try:
        async with shop.documents.local(case.submission.document) as mail:
            with shop.documents.scratch() as folder:
                made = await shop.fence.run("gateway.pages.assemble:make", await _job(shop, case, mail, folder, showing))
                assert isinstance(made, Made)
                document = await shop.documents.put_file(made.pdf)
    except (BadDocument, ConverterUnavailable) as error:
        await not_made(shop, claim, case, error)
        return
    shop.familiar.remember(case.submission.envelope.sender, case.submission.id, made.inline)
    metrics.CONVERSION.observe(time.monotonic() - began)
    metrics.PAGES.labels("out").inc(made.pages)
    manifest = json.dumps([asdict(entry) for entry in made.manifest], ensure_ascii=False)
    await _prepared(shop, claim, case, document.sha256, made.pages, manifest, showing)


async def _known(shop: Workshop, claim: Claim, case: Case) -> None:
    """The pages are those that its sender has agreed to, or those of an earlier fax: nothing is drawn anew."""
    fax = case.transmission
    if fax.document is not None:
        await _prepared(shop, claim, case, fax.document, fax.pages, fax.manifest)
        return
    of = await shop.store.read(resent.of, fax.id)
    assert of is not None  # written with the number of its pages
    try:
        async with shop.documents.local(of.document) as source:
            with shop.documents.scratch() as folder:
                out = folder / "pages.pdf"
                await shop.fence.run("gateway.pages.printed:some", source, out, of.first, of.last)
                document = await shop.documents.put_file(out)
    except (BadDocument, ConverterUnavailable) as error:
        await not_made(shop, claim, case, error)
        return
    title = f"pages {of.first} to {of.last} of an earlier fax, as they were sent"
    entry = {"title": title, "first_page": 1, "last_page": fax.pages, "note": "without a cover page of their own"}
    await _prepared(shop, claim, case, document.sha256, fax.pages, json.dumps([entry]))


async def _prepared(
    shop: Workshop, claim: Claim, case: Case, document: Sha256, pages: int, manifest: str, showing: Showing | None = None
) -> None:
    toll = await approval.toll(shop, case, pages)
    became = await shop.store.write(
        transmissions.prepared, claim, document=document, pages=pages, manifest=manifest, toll=toll, showing=showing
    )
    if became is TransmissionState.FAILED:
        metrics.RESULTS.labels(became).inc()


async def not_made(shop: Workshop, claim: Claim, case: Case, error: BadDocument | ConverterUnavailable) -> None:
    """The pages, or their form for the carrier, could not be made: end the fax or put it back."""
    if isinstance(error, BadDocument):
        await _refuse(shop, claim, error.text, error.reply.partition(" ")[2])
    else:
        await _not_converted(shop, claim, case, error)


async def _not_converted(shop: Workshop, claim: Claim, case: Case, error: ConverterUnavailable) -> None:
    """A converter that died at one part twice will die again: that part is refused. Trouble without a part is ours: the
    fax waits, and in the end a person looks at it."""
    _log.warning("%s: %s", case.transmission.id, error.text, extra={"action": "not_converted"})
    if error.part and claim.tries >= _CRASHES:
        await _refuse(shop, claim, f"The part “{error.part}” could not be converted: {error.text}", "5.6.5")
    elif claim.tries >= _TROUBLES:
        held = Next(state=TransmissionState.HELD, reason=error.text, alarm="a fax is held: the converter does not work")
        await shop.store.write(transmissions.settle, claim, held)
    else:
        await shop.store.write(steps.put_back, claim, due_at=shop.now() + claim.tries * _CRASH_WAIT)


async def _refuse(shop: Workshop, claim: Claim, reason: str, status: str) -> None:
    failed = Next(state=TransmissionState.FAILED, outcome=Outcome.DOCUMENT_REFUSED, reason=reason, status=status)
    if await shop.store.write(transmissions.settle, claim, failed):
        metrics.RESULTS.labels(failed.state).inc()


async def _job(shop: Workshop, case: Case, mail: Path, out: Path, showing: Showing | None) -> Job:
    submission = case.submission
    carrier = shop.carriers.get(case.transmission.carrier)
    account = next((one.name for one in await shop.identity.all() if one.id == submission.account), "")
    head = await shop.documents.head(submission.document, _HEADERS)
    asked = job.of_mail(
        shop.config,
        headers(head),
        case.recipients[0],
        source=mail,
        out=out,
        templates=shop.templates.folders,
        sender=submission.envelope.sender,
        sent=submission.accepted_at,
        reference=case.transmission.id,
        caller=case.transmission.caller,
        header=carrier is None or not carrier.capabilities.writes_header,
        content_type=submission.content_type,
        asked=replace(submission.cover, wanted=False) if carrier and carrier.makes_cover else submission.cover,
        account=account,
        written=job.written(shop.config, account, head) if submission.envelope.door in options.DOORS else None,
        familiar=shop.familiar.of(submission.envelope.sender, submission.id),
    )
    printed = showing is not None or (carrier is not None and (carrier.document != "pdf" or asked.fine is not None))
    return replace(asked, printed=printed)

"""ready, deferred -> sending: the attempt is written down first, then the carrier is called.

Three ways out of the call: accepted, refused (or certainly not sent), uncertain. Uncertain is never sent again here:
`track` asks the carrier. What this process cannot record (it dies, the disk is full) leaves the attempt *opening*,
which `track` treats as uncertain.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from gateway import log, metrics, options
from gateway.carriers.base import Carrier, Event, Order
from gateway.errors import (
    BadDocument,
    CarrierBusy,
    CarrierUncertain,
    ConverterUnavailable,
    GatewayError,
    Outcome,
    Refused,
    Unavailable,
    Uncertain,
)
from gateway.fax import Attempt, AttemptId, AttemptState, CoverPage, new_id
from gateway.fax import TransmissionState as T
from gateway.pages import job
from gateway.spool import steps, transmissions
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.spool.transmissions import Ending, Next
from gateway.work import conclude, prepare
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)


async def send(shop: Workshop, claim: Claim, case: Case) -> None:
    """One attempt."""
    transmission = case.transmission
    carrier = shop.carriers.get(transmission.carrier)
    if carrier is None:
        text = f"There is no carrier “{transmission.carrier}” in the configuration any more."
        await shop.store.write(
            transmissions.settle, claim, Next(state=T.HELD, reason=text, alarm="a fax is held: its carrier is gone")
        )
        return
    if ended := await _cannot_be_sent(shop, carrier, case):
        if await shop.store.write(transmissions.settle, claim, ended):
            metrics.RESULTS.labels(ended.state).inc()
        return
    assert transmission.document is not None  # ready means: the pages are made
    async with shop.documents.local(transmission.document) as document:
        if carrier.document == "tiff":
            await _as_tiff(shop, claim, case, carrier, document)
        else:
            await _attempt_call(shop, claim, case, carrier, document)


async def _as_tiff(shop: Workshop, claim: Claim, case: Case, carrier: Carrier, document: Path) -> None:
    """With the pages in the carrier's form, which is made before anything is written down about an attempt."""
    fine = options.fine(case.recipients[0]) is not False
    with shop.documents.scratch() as folder:
        try:
            await shop.fence.run("gateway.pages.printed:as_tiff", document, folder / "fax.tif", fine)
        except (BadDocument, ConverterUnavailable) as error:
            await prepare.not_made(shop, claim, case, error)
            return
        await _attempt_call(shop, claim, case, carrier, folder / "fax.tif")


async def _attempt_call(shop: Workshop, claim: Claim, case: Case, carrier: Carrier, document: Path) -> None:
    transmission, limit = case.transmission, carrier.capabilities.submit_limit
    if wait := shop.pauses.until(transmission.carrier, shop.now()):
        await shop.store.write(steps.put_back, claim, due_at=wait)
        return
    if not claim.outlives(2 * limit):
        await shop.store.write(steps.put_back, claim)
        return
    attempt = _attempt(shop, case, carrier)
    if not await shop.store.write(transmissions.open_attempt, claim, attempt, carrier.config.calls):
        _log.debug("%s waits for its turn, or was taken over", transmission.id, extra={"action": "not_called"})
        return
    await _call(shop, claim, case, carrier, attempt, document)


async def _call(shop: Workshop, claim: Claim, case: Case, carrier: Carrier, attempt: Attempt, document: Path) -> None:
    limit = carrier.capabilities.submit_limit
    order = Order(
        reference=attempt.reference,
        number=case.transmission.number,
        sub_address=case.transmission.sub_address,
        fine=options.fine(case.recipients[0]),
        caller=case.transmission.caller,
        document=document,
        content_type="image/tiff" if carrier.document == "tiff" else "application/pdf",
        pages=case.transmission.pages,
        subject=_subject(shop, case),
        cover=_cover(case) if carrier.makes_cover else None,
        send_at=attempt.planned_at,
        in_time=lambda: claim.outlives(0),
    )
    try:
        carrier_ref = await asyncio.wait_for(carrier.open(order), limit)
    except (TimeoutError, Uncertain):  # this step comes before anything can be sent
        await _end(shop, claim, case, carrier, attempt, Outcome.CARRIER_TROUBLE, "The carrier did not answer.")
        return
    except (Refused, Unavailable) as error:
        await _not_sent(shop, claim, case, carrier, attempt, error)
        return
    if carrier_ref:
        if not await shop.store.write(transmissions.opened_at_carrier, claim, attempt, carrier_ref):
            return
        attempt = replace(attempt, carrier_ref=carrier_ref)
    if not claim.outlives(limit):
        _log.warning("%s: the lease ran out before the call", attempt.id, extra={"action": "lease_expired"})
        return
    try:
        receipt = await asyncio.wait_for(carrier.submit(order, carrier_ref), limit)
    except (Refused, Unavailable) as error:
        await _not_sent(shop, claim, case, carrier, attempt, error)
    except Exception as error:  # noqa: BLE001  # whatever else an adapter raises: perhaps sent
        await _perhaps_sent(shop, claim, carrier, attempt, error)
    else:
        await _taken(shop, claim, attempt, receipt.carrier_ref)


def _subject(shop: Workshop, case: Case) -> str:
    """As a carrier may print it."""
    is_mail = case.submission.envelope.door in options.DOORS
    return job.subject(shop.config, case.submission.subject, case.recipients[0]) if is_mail else case.submission.subject


async def _taken(shop: Workshop, claim: Claim, attempt: Attempt, carrier_ref: str) -> None:
    """The carrier has it. If the claim is lost meanwhile, whoever has it now finds this among the statements."""
    shop.pauses.over(attempt.carrier)
    look_at = max(shop.now(), attempt.planned_at or shop.now()) + shop.config.work.poll
    if await shop.store.write(transmissions.submitted, claim, attempt, carrier_ref, look_at):
        return
    _log.warning("%s was taken, but its claim was lost", attempt.id, extra={"action": "receipt_late"})
    said = Event(
        key=f"receipt of {attempt.id}",
        carrier_ref=carrier_ref,
        reference=attempt.reference,
        state=AttemptState.SUBMITTED,
        at=shop.now(),
    )
    await shop.statements.keep(attempt.carrier, [said])


async def _perhaps_sent(shop: Workshop, claim: Claim, carrier: Carrier, attempt: Attempt, error: Exception) -> None:
    text = error.text if isinstance(error, GatewayError) else CarrierUncertain().text
    known = isinstance(error, GatewayError | TimeoutError)
    _log.warning(
        "%s at %s is uncertain: %s",
        attempt.id,
        attempt.carrier,
        text,
        exc_info=None if known else error,
        extra={"action": "submit_uncertain", "transmission": attempt.transmission},
    )
    look_at = shop.now() + timedelta(seconds=carrier.capabilities.listing_lag)
    await shop.store.write(transmissions.uncertain, claim, attempt, text, look_at)


async def _not_sent(
    shop: Workshop, claim: Claim, case: Case, carrier: Carrier, attempt: Attempt, error: Refused | Unavailable
) -> None:
    if isinstance(error, CarrierBusy):
        now = shop.now()
        wait = (shop.pauses.begin(attempt.carrier, now, error.retry_after) - now).total_seconds()
        await _end(shop, claim, case, carrier, attempt, None, error.text, retry_after=wait)
        return
    refused = isinstance(error, Refused)
    outcome = error.outcome if isinstance(error, Refused) else Outcome.CARRIER_TROUBLE
    after = error.retry_after if isinstance(error, Unavailable) else None
    # A carrier's plain no is not asked again; a carrier that cannot be reached is.
    await _end(shop, claim, case, carrier, attempt, outcome, error.text, retry_after=after, redial=not refused)


async def _end(
    shop: Workshop,
    claim: Claim,
    case: Case,
    carrier: Carrier,
    attempt: Attempt,
    outcome: Outcome | None,
    text: str,
    *,
    retry_after: float | None = None,
    redial: bool = True,
) -> None:
    """The attempt ended in the call: certainly nothing was sent. Without an outcome: it was not even a try."""
    ending = Ending(state=AttemptState.FAILED, outcome=outcome, text=text)
    await finish(shop, claim, case, carrier, attempt, ending, (), retry_after=retry_after, redial=redial)


async def finish(
    shop: Workshop,
    claim: Claim,
    case: Case,
    carrier: Carrier,
    attempt: Attempt,
    ending: Ending,
    applied: tuple[str, ...],
    *,
    retry_after: float | None = None,
    redial: bool = True,
) -> None:
    """Record how an attempt ended and where the fax goes from there; log and count it."""
    # Where nothing was dialled, nobody else can do it: a program would hear that it is not known whether the fax arrived.
    ours = case.submission.redial or ending.outcome is Outcome.CARRIER_TROUBLE
    redial = redial and ours and not carrier.capabilities.redials
    now = shop.now()
    following = conclude.following(
        case, ending, retry=shop.retry, redial=redial, now=now, dice=shop.dice, retry_after=retry_after
    )
    if following.due_at is not None and attempt.planned_at is not None:  # never before the time it was to be sent at
        following = replace(following, due_at=max(following.due_at, attempt.planned_at))
    if not await shop.store.write(transmissions.end_attempt, claim, attempt, ending, following, applied):
        _log.info("%s was concluded elsewhere", attempt.id, extra={"action": "concluded_elsewhere"})
        return
    outcome = ending.outcome or ending.state
    metrics.ATTEMPTS.labels(attempt.carrier, outcome).inc()
    if following.state in (T.DELIVERED, T.FAILED, T.CANCELLED):
        metrics.RESULTS.labels(following.state).inc()
    log.attempt(
        transmission=attempt.transmission,
        attempt_id=attempt.id,
        sender=case.submission.envelope.sender,
        called=case.transmission.number,
        tags=[one.tag for one in case.recipients if one.tag],
        carrier=attempt.carrier,
        carrier_ref=attempt.carrier_ref,
        pages=case.transmission.pages,
        pages_sent=ending.pages_sent,
        accepted_at=case.transmission.accepted_at,
        opened_at=attempt.opened_at,
        ended_at=now,
        seconds=ending.seconds,
        outcome=outcome,
        code=ending.carrier_code,
        text=ending.text,
    )


async def _cannot_be_sent(shop: Workshop, carrier: Carrier, case: Case) -> Next | None:
    """Reasons not to call at all."""
    transmission, able = case.transmission, carrier.capabilities
    if able.max_pages is not None and transmission.pages > able.max_pages:
        text = f"The fax has {transmission.pages} pages; the carrier takes at most {able.max_pages}."
        return Next(state=T.FAILED, outcome=Outcome.DOCUMENT_REFUSED, reason=text)
    if able.max_bytes is not None and transmission.document is not None:
        size = await shop.documents.size(transmission.document)
        if size > able.max_bytes:
            text = f"The fax has {size:,} bytes; the carrier takes at most {able.max_bytes:,}."
            return Next(state=T.FAILED, outcome=Outcome.DOCUMENT_REFUSED, reason=text)
    return None


def _cover(case: Case) -> CoverPage | None:
    """What a carrier's own cover page says; None = none is wanted."""
    asked, submission = case.submission.cover, case.submission
    if not asked.wanted:
        return None
    return CoverPage(
        to=asked.to or case.recipients[0].cover_name,
        sender=asked.sender or submission.from_header,
        message=asked.message or submission.subject,
    )


def _attempt(shop: Workshop, case: Case, carrier: Carrier) -> Attempt:
    identity, due = AttemptId(new_id("at")), case.transmission.due_at
    return Attempt(
        id=identity,
        transmission=case.transmission.id,
        n=len(case.attempts) + 1,
        carrier=case.transmission.carrier,
        reference=identity,
        carrier_ref="",
        state=AttemptState.OPENING,
        outcome=None,
        carrier_code="",
        text="",
        pages_sent=0,
        station_id="",
        seconds=None,
        opened_at=shop.now(),
        submitted_at=None,
        finished_at=None,
        planned_at=due if due is not None and carrier.delays(due) else None,
    )

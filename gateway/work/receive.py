"""A received fax: announced -> fetched, then the rules say who is owed a mail, or that it waits, or that nobody gets it
(`desk.routing`); its account may be owed a callback, the archive a copy."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace

from gateway import metrics
from gateway.desk import routing
from gateway.desk.routing import Arrival, Way
from gateway.errors import BadDocument, CarrierRefused, ConverterUnavailable, GatewayError, Unsupported
from gateway.fax import Account, InboundFax, InboundState, Sha256
from gateway.pages import ocr
from gateway.spool import blocks, inbounds, steps
from gateway.spool.inbounds import Fetched
from gateway.spool.steps import Claim
from gateway.work import records
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_CRASHES = 5  # a converter that dies so often on one fax will die again
_DONE = frozenset({InboundState.MAILED, InboundState.REFUSED})


async def step(shop: Workshop, claim: Claim) -> None:
    """Fetch, check that it is a real PDF or TIFF, store, owe the mails. Raises Unavailable: tried again."""
    inbound = await shop.store.read(inbounds.get, claim.subject)
    if inbound is None or inbound.state is not InboundState.ANNOUNCED:
        await shop.store.write(steps.done, claim)
        return
    if inbound.original is None and inbound.carrier not in shop.carriers:
        text = f"There is no carrier “{inbound.carrier}” in the configuration any more."
        await shop.store.write(inbounds.ended, claim, InboundState.HELD, text, "a received fax cannot be fetched")
        return
    try:
        original = await _original(shop, claim, inbound)
        made = await shop.fence.run("gateway.pages.received:looked_at", await shop.documents.get(original))
    except (CarrierRefused, Unsupported) as error:
        text = f"{inbound.carrier} no longer has it: {error.text}"
        await shop.store.write(inbounds.ended, claim, InboundState.FAILED, text, "a received fax is lost at the carrier")
        return
    except (BadDocument, ConverterUnavailable) as error:
        if isinstance(error, ConverterUnavailable) and claim.tries < _CRASHES:
            raise
        await shop.store.write(inbounds.ended, claim, InboundState.HELD, error.text, "a received fax cannot be read")
        return
    assert isinstance(made, tuple)
    await _decide(shop, claim, inbound, original, *made)


async def _decide(
    shop: Workshop, claim: Claim, inbound: InboundFax, original: Sha256, pdf: bytes, pages: int, resolution: str, damaged: int
) -> None:
    """Have it read where its line wants that, ask the rules, record. Raises ConverterUnavailable: tried again."""
    if languages := shop.config.ocr(inbound.line):
        pdf = await _with_text(shop, inbound, pdf, pages, languages)
    account = await shop.identity.by_id(inbound.account)
    way = await _way(shop, claim, inbound, pdf, account)
    document = await shop.documents.put(pdf)
    fetched = Fetched(
        document=document.sha256,
        original=original,
        pages=pages,
        resolution=resolution,
        damaged=damaged,
        route=way.why,
    )
    await _record(shop, claim, fetched, way, account)


async def _record(shop: Workshop, claim: Claim, made: Fetched, way: Way, account: Account | None) -> None:
    """Owe what is owed, or hold it, or let nobody have it."""
    if way.then == "deliver":
        callback = account.id if account and account.settings.inbound_callback else None
        # Somebody has to hear of it: without a callback the wish for no mail does not count.
        silent = account is not None and callback is not None and not account.settings.received_mail and not way.named
        mailboxes = () if silent else way.mailboxes
        done = await shop.store.write(
            inbounds.fetched, claim, made, mailboxes=mailboxes, archived=way.archived, callback=callback
        )
    else:
        done = await shop.store.write(inbounds.held_back if way.then == "hold" else inbounds.dropped, claim, made)
    if not done:
        return
    metrics.PAGES.labels("in").inc(made.pages)
    metrics.ARRIVALS.labels(way.then).inc()
    _log.info("%s fetched, %d pages: %s", claim.subject, made.pages, way.then, extra={"action": "inbound_fetched"})
    if way.then == "drop" and (inbound := await shop.store.read(inbounds.get, claim.subject)) is not None:
        records.dropped(shop, inbound)
        await forget(shop, inbound.id)


async def _way(shop: Workshop, claim: Claim, inbound: InboundFax, pdf: bytes, account: Account | None) -> Way:
    """What becomes of it. The page is looked at only where a rule asks. Raises ConverterUnavailable: tried again."""
    arrival = Arrival.of(inbound)
    if routing.asks_for_codes(shop.config, arrival):
        codes = await _read(shop, claim, "gateway.pages.barcodes:read", pdf)
        arrival = replace(arrival, codes=codes if isinstance(codes, tuple) else None)
    if shop.config.ocr(inbound.line) and routing.asks_for_words(shop.config, arrival):
        words = await _read(shop, claim, "gateway.pages.layer:words", pdf, routing.PAGES_READ)
        arrival = replace(arrival, words=words if isinstance(words, str) else None)
    return routing.way(
        shop.config,
        arrival,
        lines=await shop.identity.lines(),
        account=account,
        blocked=[one.pattern for one in await shop.store.read(blocks.callers)],
        released=inbound.released,
        mailboxes=inbound.mailbox,
    )


async def _read(shop: Workshop, claim: Claim, function: str, *args: object) -> object:
    """What is on the pages; None where nobody can say: such a rule does not fit, and the fax goes on."""
    try:
        return await shop.fence.run(function, *args)
    except (BadDocument, ConverterUnavailable) as error:
        if isinstance(error, ConverterUnavailable) and claim.tries < _CRASHES:
            raise
        _log.warning("%s is not looked at: %s", claim.subject, error.text, extra={"action": "page_not_read"})
        return None


async def _with_text(shop: Workshop, inbound: InboundFax, pdf: bytes, pages: int, languages: str) -> bytes:
    """The PDF with a text layer, or as it was: a fax must not stay here because it cannot be read by a program."""
    try:
        with shop.documents.scratch() as folder:
            made, trouble = await ocr.with_text(shop.fence, pdf, pages, languages, folder)
    except (BadDocument, ConverterUnavailable, OSError) as error:
        made, trouble = pdf, str(error)
    if trouble:
        _log.warning("%s has not all of its text: %s", inbound.id, trouble, extra={"action": "text_not_read"})
    return made


async def listing(shop: Workshop, name: str) -> None:
    """Ask one carrier for its received faxes, because an announcement can be lost; let it forget those that are mailed."""
    carrier = shop.carriers[name]
    said = await carrier.list_inbound()
    oldest = shop.now() - shop.config.keep_records  # what we have forgotten is not news
    known = await shop.store.read(inbounds.by_carrier_ref, name, [one.carrier_ref for one in said])
    await shop.statements.keep(name, [one for one in said if one.carrier_ref not in known and one.received_at > oldest])
    for carrier_ref, state in known.items():
        if state in _DONE:
            await carrier.forget_inbound(carrier_ref)


async def _original(shop: Workshop, claim: Claim, inbound: InboundFax) -> Sha256:
    """The carrier's file, in our spool."""
    if inbound.original is not None:
        return inbound.original
    document = await shop.documents.put(await shop.carriers[inbound.carrier].fetch_inbound(inbound.carrier_ref))
    await shop.store.write(inbounds.original_stored, claim, document.sha256)
    return document.sha256


async def forget(shop: Workshop, fax: str) -> None:
    """It has reached everybody: the carrier's copy may go. If that fails, the next listing does it."""
    inbound = await shop.store.read(inbounds.get, fax)
    if inbound and (carrier := shop.carriers.get(inbound.carrier)):
        with suppress(GatewayError):
            await carrier.forget_inbound(inbound.carrier_ref)


def advice(fax: str) -> str:
    """For an alarm about a received fax: what the operator can do."""
    return "\n\nIts story, its pages, and, where it is held, how it goes on:\n\n" + "\n".join(
        f"faxgate {verb} {fax}" for verb in ("show", "fetch", "release")
    )

"""A copy of a received fax goes into the archive: its PDF, then a JSON file beside it, which says what it is.

The copy is owed by a row of the outbox, like a mail, and tried until it is there: the fax is not *mailed*, and the carrier
keeps its copy, before that. A crash between the files and our record writes the same files once more, under the same names.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict
from datetime import timedelta
from zoneinfo import ZoneInfo

from gateway import metrics
from gateway.fax import InboundFax, InboundId
from gateway.report import facts
from gateway.spool import cabinet, inbounds, outbox, steps
from gateway.spool.cabinet import Cabinet
from gateway.spool.commit import Transaction
from gateway.spool.outbox import Owed
from gateway.spool.steps import Claim
from gateway.work import receive
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_WAITS = tuple(timedelta(seconds=seconds) for seconds in (2, 15, 60, 300, 900))
"""After a failure; the last one repeats, for ever."""
_TELL_AFTER = 4  # failures: a short outage is nobody's business
_NO_ARCHIVE = "There is no archive in the configuration any more."
_TOLD = (
    "id",
    "line",
    "caller",
    "station_id",
    "sub_address",
    "pages",
    "complete",
    "seconds",
    "resolution",
    "damaged",
    "carrier",
)


async def step(shop: Workshop, claim: Claim) -> None:
    """Write one copy, record it. What fails is tried again, and the operator is told once a day."""
    owed = await shop.store.read_one(outbox.several, claim.subject)
    if owed is None or owed.state != outbox.WAITING:
        await shop.store.write(steps.done, claim)
        return
    if shop.cabinet is None:
        await _settle(shop, claim, owed, outbox.SILENT, _NO_ARCHIVE)
        return
    inbound = await shop.store.read(inbounds.get, owed.about_id)
    assert inbound is not None
    assert inbound.document is not None
    try:
        pdf = await shop.documents.get(inbound.document)
        name = await _file(shop, shop.cabinet, inbound, pdf)
    except OSError as error:
        await _not_filed(shop, claim, owed, error.strerror or str(error) or type(error).__name__)
        return
    metrics.ARCHIVED.labels("done").inc()
    _log.info("%s is in the archive", inbound.id, extra={"action": "received_archived"})
    await _settle(shop, claim, owed, outbox.SENT, f"{name}.pdf")


def name_of(shop: Workshop, inbound: InboundFax, account: str) -> str:
    """Where its files are in the archive, without their ending."""
    assert shop.config.archive is not None
    at = inbound.received_at.astimezone(ZoneInfo(shop.config.zone))
    values = {
        "id": inbound.id,
        "line": inbound.line,
        "caller": inbound.caller,
        "station": inbound.station_id,
        "sub_address": inbound.sub_address,
        "account": account,
        "year": f"{at:%Y}",
        "month": f"{at:%m}",
        "day": f"{at:%d}",
        "time": f"{at:%Y%m%d-%H%M%S}",
    }
    return cabinet.name_of(shop.config.archive.path, values)


async def _file(shop: Workshop, archive: Cabinet, inbound: InboundFax, pdf: bytes) -> str:
    """Write both files; the JSON is the last one: where it is, the copy is whole. Raises OSError."""
    account = await shop.identity.by_id(inbound.account)
    name = name_of(shop, inbound, account.name if account else "")
    told = {key: value for key, value in asdict(inbound).items() if key in _TOLD}
    told |= {
        "account": account.name if account else "",
        "caller_name": shop.config.callers.get(inbound.caller, ""),
        "received_at": inbound.received_at.isoformat(),
        "route": inbound.route,
        "file": f"{name.rpartition('/')[2]}.pdf",
        "sha256": inbound.document,
        "bytes": len(pdf),
    }
    await asyncio.to_thread(archive.put, f"{name}.pdf", pdf, "application/pdf")
    content = json.dumps(told, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    await asyncio.to_thread(archive.put, f"{name}.json", content, "application/json")
    return name


async def _settle(shop: Workshop, claim: Claim, owed: Owed, state: str, answer: str) -> None:
    def record(t: Transaction) -> bool:
        if not outbox.settled(t, claim, state, answer):
            return False
        t.note(owed.about_id, "archived" if state == outbox.SENT else "not archived", answer)
        return inbounds.mailed(t, InboundId(owed.about_id))

    if await shop.store.write(record):
        await receive.forget(shop, owed.about_id)


async def _not_filed(shop: Workshop, claim: Claim, owed: Owed, why: str) -> None:
    metrics.ARCHIVED.labels("failed").inc()
    _log.warning("%s is not in the archive: %s", owed.about_id, why, extra={"action": "not_archived"})
    now = shop.now()
    again = now + _WAITS[min(claim.tries, len(_WAITS)) - 1]
    text = (
        f"{owed.about_id}, which came {facts.moment(owed.created_at, ZoneInfo(shop.config.zone))}, cannot be written: {why}. "
        "It is tried again until that works, and so are others; nothing is lost, and the mails are sent all the same. "
        "No other mail about this comes today."
    )

    def record(t: Transaction) -> None:
        if outbox.deferred(t, claim, why, again) and claim.tries >= _TELL_AFTER:
            outbox.alarm(t, about=f"archive#{now:%Y-%m-%d}", what="received faxes cannot be archived", text=text)

    await shop.store.write(record)

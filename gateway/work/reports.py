"""Transmission reports: fetched from the carrier after the end of an attempt, and kept with it.

The result stands before a report is asked for, and nothing that happens here changes it. A carrier that has none yet is asked
again for a quarter of an hour, one that cannot be reached for a day.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from gateway.errors import CarrierUnavailable, Refused
from gateway.spool import reports
from gateway.spool.reports import Owed
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_AT_ONCE = 100  # of one carrier in one round
_SILENT = 5  # reports that a carrier may keep back in one round before it counts as one that cannot be reached
_NOT_THERE, _NOT_REACHED = timedelta(minutes=15), timedelta(days=1)


async def fetch(shop: Workshop, name: str) -> None:
    """One round for one carrier. Raises SpoolUnavailable."""
    silent = 0
    for one in await shop.store.read(reports.owed, name, _AT_ONCE):
        try:
            await _fetch(shop, name, one)
        except (CarrierUnavailable, TimeoutError) as error:
            if shop.now() - one.ended_at < _NOT_REACHED:
                _log.debug("%s does not give the report of %s: %s", name, one.attempt, error)
                if (silent := silent + 1) >= _SILENT:
                    return  # nor the others
                continue
            await _none(shop, one, "the carrier could not be asked for it")


async def _fetch(shop: Workshop, name: str, one: Owed) -> None:
    carrier = shop.carriers[name]
    try:
        content = await asyncio.wait_for(carrier.report(one.carrier_ref), carrier.capabilities.submit_limit)
    except Refused as error:
        if shop.now() - one.ended_at > _NOT_THERE:
            await _none(shop, one, error.text)
        return
    document = await shop.documents.put(content)
    await shop.store.write(reports.keep, one, document.sha256)


async def _none(shop: Workshop, one: Owed, why: str) -> None:
    await shop.store.write(reports.give_up, one, why)
    _log.info("%s has no transmission report: %s", one.attempt, why, extra={"action": "no_report"})

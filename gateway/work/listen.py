"""What a carrier's listener hears: the faxes it speaks of are looked at now, not when their next look is due.

It is asked only while a fax is there. What it says is a reason to ask for the fax and no result, and each fax goes on being
asked for by itself (`track`), so a listener that is lost, or loses something, costs time only: where something may have been
missed, every fax is looked at. One that cannot be reached is tried again after a minute, doubling to an hour.
"""

from __future__ import annotations

import asyncio
import logging

from gateway.errors import CarrierUnavailable, Refused
from gateway.spool import attempts, steps
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_FIRST, _LONGEST = 60.0, 3600.0  # seconds


class Listening:
    """One carrier's listener."""

    def __init__(self, shop: Workshop, name: str) -> None:
        self._shop, self._name = shop, name
        self._again, self._wait = 0.0, _FIRST
        self._missed = False

    async def look(self) -> None:
        """Ask it once, where there is a fax to hear of. Raises SpoolUnavailable."""
        read, loop = self._shop.store.read, asyncio.get_running_loop()
        carrier = self._shop.carriers[self._name]
        if loop.time() < self._again or not await read(attempts.at_carrier, self._name):
            return
        try:
            heard = await asyncio.wait_for(carrier.changes(), carrier.capabilities.submit_limit)
        except (CarrierUnavailable, Refused, TimeoutError) as error:
            self._again, self._wait = loop.time() + self._wait, min(2 * self._wait, _LONGEST)
            text = "the listener of %s is not there (%s); its faxes are asked for one by one"
            _log.warning(text, self._name, getattr(error, "text", "no answer"), extra={"action": "listener_lost"})
            return
        self._wait, whole = _FIRST, heard.whole and not self._missed
        self._missed = True  # unless it is written down: the carrier says it once
        there = await read(attempts.at_carrier, self._name)  # those that came meanwhile, too
        wanted = {fax for ref, fax in there.items() if not whole or ref in heard.carrier_refs}
        if wanted:
            await self._shop.store.write(steps.nudge_all, wanted)
        self._missed = False

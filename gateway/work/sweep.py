"""The daily sweep: what a carrier says it was given, next to what we gave it.

Doubles should not happen; this is how an operator learns that one did. Two of the carrier's faxes with one reference of
ours, one of an attempt that was taken for never sent, so that there was perhaps another one, or one whose reference is
like ours and unknown to the spool, are alarms, once each. An attempt that the carrier took and does not list is logged
only: its result is asked for anyway. Carriers that cannot list are passed over.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from gateway.carriers.base import Listed
from gateway.errors import Unsupported
from gateway.fax import Attempt, AttemptState
from gateway.log import printable, shown
from gateway.spool import outbox, queries
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_BACK = timedelta(hours=25)  # a day, and what a clock change or a late start may cost
_ENDED = frozenset({AttemptState.FAILED, AttemptState.CANCELLED})
_OURS = "at_"  # how a reference of ours begins


async def sweep(shop: Workshop, name: str) -> None:
    """Compare the last day of one carrier. Raises what the carrier raises when it cannot be reached."""
    carrier, now = shop.carriers[name], shop.now()
    try:
        listed = await carrier.listing(now - _BACK)
    except Unsupported:
        _log.debug("%s cannot list its faxes", name)
        return
    by_reference = defaultdict[str, list[Listed]](list)
    for one in listed:
        if one.reference.startswith(_OURS):
            by_reference[one.reference].append(one)
    known = await shop.store.read(queries.attempts_of, name, by_reference.keys())
    for about, what, text in _wrong(name, by_reference, known):
        _log.error("%s: %s", what, text, extra={"action": "sweep_alarm"})
        await shop.store.write(outbox.alarm, about=about, what=what, text=text)
    settled = now - timedelta(seconds=carrier.capabilities.listing_lag + carrier.capabilities.submit_limit)
    submitted = await shop.store.read(queries.submitted, name, now - _BACK + timedelta(hours=1), settled)
    refs = {one.carrier_ref for one in listed}
    for attempt in submitted:
        if attempt.carrier_ref not in refs and attempt.reference not in by_reference:
            _log.warning("%s has %s, and does not list it", name, attempt.id, extra={"action": "sweep_not_listed"})


def _wrong(
    name: str, by_reference: Mapping[str, Sequence[Listed]], known: Mapping[str, Attempt]
) -> Sequence[tuple[str, str, str]]:
    """What the operator must know: (about, what, text) of each alarm. `about` is the same the next day."""
    found = []
    for reference, faxes in by_reference.items():
        attempt, refs = known.get(reference), sorted({fax.carrier_ref for fax in faxes})
        told = f"{', '.join(printable(ref, 80) for ref in refs)} to {shown(faxes[0].number)}"
        if len(refs) > 1:
            whose = attempt.transmission if attempt else "a fax that is not in the spool"
            text = f"{name} has {len(refs)} faxes for one attempt to send {whose}: {told}."
            found.append((_about(name, reference, *refs), "a fax was sent more than once", text))
        elif attempt is None:
            text = f"{name} has a fax with the reference {printable(reference, 40)}, which no attempt of ours has: {told}."
            found.append((_about(name, reference), "a fax at a carrier belongs to no attempt", text))
        elif attempt.state in _ENDED and not attempt.carrier_ref:
            text = f"{name} has a fax for {attempt.transmission} that was taken for never sent: {told}. faxgate show says more."
            found.append((_about(name, reference, *refs), "a fax was perhaps sent more than once", text))
    return found


def _about(*parts: str) -> str:
    """A short name of one finding: what a carrier gave us may be of any length."""
    return "sweep#" + hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]

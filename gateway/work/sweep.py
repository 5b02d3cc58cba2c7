"""The daily sweep: what a carrier says it was given, next to what we gave it; the numbers it holds for us, next to our lines.

Doubles should not happen; this is how an operator learns that one did. Two of the carrier's faxes with one reference of
ours, one of an attempt that was taken for never sent, so that there was perhaps another one, or one whose reference is
like ours and unknown to the spool, are alarms, once each. An attempt that the carrier took and does not list is logged
only: its result is asked for anyway. Carriers that cannot list are passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from gateway.carriers.base import Listed
from gateway.errors import Unsupported
from gateway.fax import Attempt, AttemptState
from gateway.log import printable, shown
from gateway.spool import attempts, outbox
from gateway.work.match import SKEW
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_BACK = timedelta(hours=25)  # a day, and what a clock change or a late start may cost
_MOST = 20  # alarms at a time about faxes of an account that is not ours alone
_ENDED = frozenset({AttemptState.FAILED, AttemptState.CANCELLED})
_OURS = "at_"  # how a reference of ours begins


async def sweep(shop: Workshop, name: str) -> None:
    """Compare the last day of one carrier, and the numbers held there. Raises what it raises when it cannot be reached."""
    try:
        listed = await shop.carriers[name].listing(shop.now() - _BACK)
    except Unsupported:
        _log.debug("%s cannot list its faxes", name)
    else:
        await _faxes(shop, name, listed)
    with contextlib.suppress(Unsupported):
        await _lines(shop, name, await shop.carriers[name].own_lines())


async def attention(shop: Workshop, name: str) -> None:
    """Tell the operator, once a day, what a carrier's account needs. Raises what it raises when it cannot be reached."""
    if text := await shop.carriers[name].attention():
        about = _about(name, "attention", f"{shop.now():%Y-%m-%d}")
        await _alarm(shop, [(about, "a carrier's account needs a person", f"{name}: {text}")])


async def _faxes(shop: Workshop, name: str, listed: Sequence[Listed]) -> None:
    able, now = shop.carriers[name].capabilities, shop.now()
    by_reference = defaultdict[str, list[Listed]](list)
    for one in listed:
        if one.reference.startswith(_OURS):
            by_reference[one.reference].append(one)
    known = await shop.store.read(attempts.by_reference, name, by_reference.keys())
    settled = now - timedelta(seconds=able.listing_lag + able.submit_limit)
    wrong = [*_wrong(name, by_reference, known)]
    if able.lists and not able.finds:  # it keeps no reference: what is ours is known by its own
        old = [one for one in listed if one.submitted_at < settled - SKEW]
        refs = await shop.store.read(attempts.known_refs, name, [one.carrier_ref for one in old])
        wrong += _strangers(name, [one for one in old if one.carrier_ref not in refs])
    await _alarm(shop, wrong)
    submitted = await shop.store.read(attempts.submitted, name, now - _BACK + timedelta(hours=1), settled)
    there = {one.carrier_ref for one in listed}
    for attempt in submitted:
        if attempt.carrier_ref not in there and attempt.reference not in by_reference and not able.forgets:
            _log.warning("%s has %s, and does not list it", name, attempt.id, extra={"action": "sweep_not_listed"})


async def _lines(shop: Workshop, name: str, held: Sequence[str]) -> None:
    """Numbers that only one of us knows: bought and never stored, or gone there and not here."""
    ours = {line.number for line in await shop.identity.lines() if line.carrier == name}
    unused, gone = sorted(set(held) - ours), sorted(ours - set(held))
    found = [
        (_about(name, "unused", number), "a number at a carrier is no line here", f"{name} holds {shown(number)} for us, and "
         "perhaps charges for it. Make it a line (faxgate line add), or give it back at the carrier.")
        for number in unused
    ]  # fmt: skip
    found += [
        (_about(name, "gone", number), "a line is not held at its carrier", f"{name} does not hold {shown(number)} for us "
         "any more: faxes to it do not come here.")
        for number in gone
    ]  # fmt: skip
    await _alarm(shop, found)


async def _alarm(shop: Workshop, wrong: Sequence[tuple[str, str, str]]) -> None:
    """Tell the operator of each finding (about, what, text) once."""
    for about, what, text in wrong:
        _log.error("%s: %s", what, text, extra={"action": "sweep_alarm"})
        await shop.store.write(outbox.alarm, about=about, what=what, text=text)


def _strangers(name: str, faxes: Sequence[Listed]) -> Sequence[tuple[str, str, str]]:
    """Faxes that no attempt has: a double, one whose answer was lost, or somebody else uses our account."""
    text = f"{name} has {{}} to {{}}, which no attempt of ours is known to have made: a held fax, or somebody else's."
    return [
        (
            _about(name, fax.carrier_ref),
            "a fax at a carrier belongs to no attempt",
            text.format(printable(fax.carrier_ref, 80), shown(fax.number)),
        )
        for fax in faxes[:_MOST]
    ]


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

"""Cancel, hold, release, retry, approve, reject: the verbs of every door that steers a fax.

A wish is stored and applied by whoever holds the fax's lease; this waits for the answer. Retrying a failed fax makes a
new transmission. A received fax that is held, or was dropped, can be released: it is fetched where it is not here, and mailed
and called back where that was given up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from gateway.desk import approval
from gateway.errors import NotAdmitted
from gateway.fax import InboundId, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL
from gateway.spool import approvals, inbounds, queries, steering, submissions
from gateway.spool.queries import Case
from gateway.spool.store import Store
from gateway.spool.submissions import Call

_log = logging.getLogger(__name__)
VERBS = ("retry", "cancel", "hold", "release", *approval.VERBS)
CHOICES = ("", "delivered", "retry", "fail")


async def steer(store: Store, transmission: str, verb: str, *, choice: str = "", by: str, patience: float = 10.0) -> str:
    """Ask for `verb`; the answer in words. Raises NotAdmitted for what cannot be asked of this fax at all."""
    if verb not in VERBS or choice not in (CHOICES if verb == "release" else ("",)):
        raise NotAdmitted(f"Nobody knows how to {verb} {choice}.".replace(" .", "."))
    case = await store.read(queries.case, TransmissionId(transmission))
    if case is None:
        raise NotAdmitted(f"There is no fax {transmission}.")
    state = case.transmission.state
    if verb in approval.VERBS:
        await _check_waits(store, case)
    if verb == "retry" and state in (T.FAILED, T.CANCELLED):
        return await _again(store, case, by)
    if state in FINAL:
        raise NotAdmitted(f"{transmission} is {state} already; there is nothing to {verb}.")
    wish = await store.write(steering.ask, case.transmission.id, verb, choice, by)
    _log.info("%s asked to %s %s", by, verb, transmission, extra={"action": "steered", "transmission": transmission})
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if (answer := await store.read(steering.answered, wish)) is not None:
            return answer
        await asyncio.sleep(0.05)
    return f"noted; it is applied as soon as the step in hand is over (now {state})"


async def _check_waits(store: Store, case: Case) -> None:
    """Raises NotAdmitted where a fax does not wait for somebody to agree to it."""
    fax = case.transmission.id
    if (found := await store.read(approvals.of, fax)) is None:
        raise NotAdmitted(f"{fax} needs no approval.")
    if found.decided_at is not None:
        raise NotAdmitted(f"{fax} is decided already: {found.words}")


async def release_received(store: Store, inbound: InboundId, by: str, mailbox: Sequence[str] = ()) -> str:
    """Let a received fax go on that is held or was dropped; the answer in words. Raises NotAdmitted where it is neither.

    mailbox  who is to get it; () = as rules and line say
    """
    if not await store.write(inbounds.released, inbound, by, mailbox):
        found = await store.read(inbounds.get, inbound)
        raise NotAdmitted(
            f"{inbound} is {found.state}; there is nothing to release." if found else f"There is no fax {inbound}."
        )
    _log.info("%s released %s", by, inbound, extra={"action": "inbound_released"})
    return "goes on: who has not got it is mailed and called again"


async def _again(store: Store, case: Case, by: str) -> str:
    """A fresh transmission of the same submission to the same number."""
    old = case.transmission
    call = Call(recipients=case.recipients, carrier=old.carrier, caller=old.caller, key="", price=old.price)
    fresh = await store.write(submissions.again, case.submission, call)
    _log.info("%s sent again by %s as %s", old.id, by, fresh, extra={"action": "sent_again", "transmission": fresh})
    return f"sent again as {fresh}"

"""Faxes that somebody must agree to: what they are asked for, and what becomes of them when that is decided, or is not."""

from __future__ import annotations

from collections.abc import Callable

from gateway.desk.approval import REJECT
from gateway.errors import Outcome
from gateway.fax import TransmissionState as T
from gateway.spool import approvals, schema, steps, transmissions
from gateway.spool.approvals import Toll
from gateway.spool.commit import Transaction
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.spool.transmissions import Next
from gateway.work.workshop import Workshop

_GONE = Toll(unknown="Its account has been removed, and with it the limits and the approver that it had.")
Move = Callable[[Transaction, Claim], bool]


async def toll(shop: Workshop, case: Case, pages: int) -> Toll:
    """What stands between the pages of a fax and its hand-over. Where its account has gone meanwhile, its limits have too."""
    fax = case.transmission
    account = await shop.identity.by_id(fax.account)
    if account is None:  # or another node has made it a moment ago
        shop.identity.forget()
        account = await shop.identity.by_id(fax.account)
    return shop.limits.toll(account, fax.number, pages, shop.now()) if account else _GONE


async def waits(shop: Workshop, case: Case) -> bool:
    """Whether a fax waits for somebody to agree."""
    found = await shop.store.read(approvals.of, case.transmission.id)
    return found is not None and found.decided_at is None


async def decide(shop: Workshop, case: Case, verb: str, by: str) -> tuple[Move | None, str]:
    """How the fax goes on, and the answer in words. None: it does not, for it does not wait for this."""
    found = await shop.store.read(approvals.of, case.transmission.id)
    if case.transmission.state is not T.HELD or found is None or found.decided_at is not None:
        return None, f"it is decided already: {found.words}" if found and found.words else "it does not wait to be approved"
    if verb == REJECT:
        rejected = _rejected(f"Not approved by {by}. Ask there before you send it again.")
        return lambda t, claim: transmissions.settle(t, claim, rejected), "rejected: it is not sent, and its sender is told"
    following = Next(state=T.READY, reason=f"Approved by {by}.", due_at=found.send_at)
    counts = (await toll(shop, case, case.transmission.pages)).counts
    answer = "approved: it is sent" + (" at its time" if found.send_at and found.send_at > shop.now() else "")
    return lambda t, claim: transmissions.approved(t, claim, following, counts), answer


async def wait_on(shop: Workshop, claim: Claim, case: Case) -> None:
    """A held fax waits on, unless the time in which it could be approved is over."""
    until = case.transmission.due_at if await waits(shop, case) else None
    if until is None or until > shop.now():
        await shop.store.write(steps.put_back, claim, kind=transmissions.HELD, due_at=until or schema.PARKED)
    else:
        await shop.store.write(
            transmissions.settle, claim, _rejected("Nobody approved it in time. Ask for it to be approved, and send it again.")
        )


def _rejected(reason: str) -> Next:
    return Next(state=T.FAILED, outcome=Outcome.NOT_AUTHORISED, reason=reason)

"""Faxes that somebody must agree to: what they are asked for, and what becomes of them when that is decided, or is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from gateway import options
from gateway.desk.approval import REJECT
from gateway.errors import Outcome
from gateway.fax import Door
from gateway.fax import TransmissionState as T
from gateway.spool import approvals, schema, steps, transmissions
from gateway.spool.approvals import Showing, Toll
from gateway.spool.commit import Transaction
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.spool.transmissions import Next
from gateway.work.workshop import Workshop

_GONE = Toll(unknown="Its account has been removed, and with it the limits and the approver that it had.")
#: Doors of people, who can answer a mail.
_OF_PEOPLE = options.DOORS | {Door.COMMAND}
Move = Callable[[Transaction, Claim], bool]


async def toll(shop: Workshop, case: Case, pages: int) -> Toll:
    """What stands between the pages of a fax and its hand-over. Where its account has gone meanwhile, its limits have too."""
    fax = case.transmission
    account = await shop.identity.by_id(fax.account)
    if account is None:  # or another node has made it a moment ago
        shop.identity.forget()
        account = await shop.identity.by_id(fax.account)
    return shop.limits.toll(account, fax.number, pages, shop.now()) if account else _GONE


async def showing(shop: Workshop, case: Case) -> Showing | None:
    """Whether its sender is to see the pages first, because the mail or the account asks for it. None: it goes on its way."""
    submission = case.submission
    if not submission.envelope.sender or submission.envelope.door not in _OF_PEOPLE:
        return None
    account = await shop.identity.by_id(submission.account)
    if any(options.value_of(one, "PREVIEW") for one in case.recipients):
        why = "you asked to see the pages first"
    elif account is not None and shop.config.proof_of(account.name):
        why = "faxes of this account are shown to their senders first"
    else:
        return None
    return Showing(to=submission.envelope.sender, why=why, wait=shop.config.pages.proof_wait)


async def waits(shop: Workshop, case: Case) -> bool:
    """Whether a fax waits for somebody to agree."""
    found = await shop.store.read(approvals.of, case.transmission.id)
    return found is not None and found.decided_at is None


async def decide(shop: Workshop, case: Case, verb: str, by: str) -> tuple[Move | None, str]:
    """How the fax goes on, and the answer in words. None: it does not, for it does not wait for this."""
    found = await shop.store.read(approvals.of, case.transmission.id)
    if case.transmission.state is not T.HELD or found is None or found.decided_at is not None:
        return None, f"it is decided already: {found.words}" if found and found.words else "it does not wait to be approved"
    if found.proof:
        return _of_proof(verb, by, found.send_at)
    if verb == REJECT:
        rejected = _rejected(f"Not approved by {by}. Ask there before you send it again.")
        return lambda t, claim: transmissions.settle(t, claim, rejected), "rejected: it is not sent, and its sender is told"
    following = Next(state=T.READY, reason=f"Approved by {by}.", due_at=found.send_at)
    counts = (await toll(shop, case, case.transmission.pages)).counts
    answer = "approved: it is sent" + (" at its time" if found.send_at and found.send_at > shop.now() else "")
    return lambda t, claim: transmissions.approved(t, claim, following, counts), answer


def _of_proof(verb: str, by: str, send_at: datetime | None) -> tuple[Move, str]:
    """Its sender has seen the pages. What is sent are these; the account's limits are looked at now."""
    if verb == REJECT:
        following = Next(state=T.CANCELLED, outcome=Outcome.CANCELLED, reason=f"Cancelled by {by}, who has seen its pages.")
        answer = "cancelled; nothing was sent"
    else:
        following = Next(state=T.ACCEPTED, reason=f"Its pages were approved by {by}.", due_at=send_at)
        answer = "approved: exactly the pages that you were shown are sent"
    return lambda t, claim: transmissions.settle(t, claim, following), answer


async def wait_on(shop: Workshop, claim: Claim, case: Case) -> None:
    """A held fax waits on, unless the time in which it could be approved is over."""
    found = await shop.store.read(approvals.of, case.transmission.id)
    waiting = found is not None and found.decided_at is None
    until = case.transmission.due_at if waiting else None
    if until is None or until > shop.now():
        await shop.store.write(steps.put_back, claim, kind=transmissions.HELD, due_at=until or schema.PARKED)
        return
    if found is not None and found.proof:
        reason = "Its pages were shown, and nobody answered in time. Nothing was sent; send the mail again."
        over = Next(state=T.CANCELLED, outcome=Outcome.CANCELLED, reason=reason)
    else:
        over = _rejected("Nobody approved it in time. Ask for it to be approved, and send it again.")
    await shop.store.write(transmissions.settle, claim, over)


def _rejected(reason: str) -> Next:
    return Next(state=T.FAILED, outcome=Outcome.NOT_AUTHORISED, reason=reason)

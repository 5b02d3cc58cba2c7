"""Cancel, hold, release, retry, approve, reject, send again, forward: the verbs of every door that steers a fax.

A wish is stored and applied by whoever holds the fax's lease; this waits for the answer. Sending a fax again makes a new
transmission: of a failed one by `retry`, of any that has ended by `resend`, to another number by `forward`. A received fax
that is held, or was dropped, can be released: it is fetched where it is not here, and mailed and called back where that was
given up. Who may ask is the door's to know.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.desk import approval
from gateway.desk.submit import Desk
from gateway.errors import NotAdmitted
from gateway.fax import Account, InboundId, OutboxId, Recipient, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL
from gateway.spool import approvals, inbounds, outbox, queries, resent, steering, submissions
from gateway.spool.commit import Transaction
from gateway.spool.queries import Case
from gateway.spool.store import Store
from gateway.spool.submissions import Call

_log = logging.getLogger(__name__)
VERBS = ("retry", "cancel", "hold", "release", *approval.VERBS)
CHOICES = ("", "delivered", "retry", "fail")
Also = Callable[[Transaction, str], None]
"""What is stored with a wish, or with a new transmission, whose id it is told: both or neither."""


def _nothing(_t: Transaction, _made: str) -> None:
    pass


async def steer(
    store: Store,
    transmission: str,
    verb: str,
    *,
    choice: str = "",
    by: str,
    patience: float = 10.0,
    also: Also = _nothing,
) -> str:
    """Ask for `verb`; the answer in words. Raises NotAdmitted for what cannot be asked of this fax at all."""
    if verb not in VERBS or choice not in (CHOICES if verb == "release" else ("",)):
        raise NotAdmitted(f"Nobody knows how to {verb} {choice}.".replace(" .", "."))
    case = await _case(store, transmission)
    state = case.transmission.state
    if verb in approval.VERBS:
        await _check_waits(store, case)
    if verb == "retry" and state in (T.FAILED, T.CANCELLED):
        return await _again(store, case, by, also)
    if state in FINAL:
        raise NotAdmitted(f"{transmission} is {state} already; there is nothing to {verb}.")

    def ask(t: Transaction) -> str:
        wish = steering.ask(t, case.transmission.id, verb, choice, by)
        also(t, wish)
        return wish

    wish = await store.write(ask)
    _log.info("%s asked to %s %s", by, verb, transmission, extra={"action": "steered", "transmission": transmission})
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if (answer := await store.read(steering.answered, wish)) is not None:
            return answer
        await asyncio.sleep(0.05)
    return f"noted; it is applied as soon as the step in hand is over (now {state})"


async def resend(
    store: Store,
    desk: Desk,
    account: Account,
    transmission: str,
    *,
    pages: tuple[int, int] | None = None,
    by: str,
    also: Also = _nothing,
) -> TransmissionId:
    """Send a fax that has ended once more, with the pages that it had, or some of them; its id.

    It is admitted, counted and paid like any other. Raises Refused, Unavailable.
    """
    case = await _case(store, transmission)
    old = case.transmission
    if old.state not in FINAL:
        raise NotAdmitted(f"{transmission} has not ended yet (it is {old.state}); it is not sent a second time beside that.")
    if old.document is None and pages is not None:
        raise NotAdmitted("It has no pages here, so none of them can be sent again.")
    # Its sender has seen these pages, or agreed to them unseen.
    recipients = tuple(replace(one, options=tuple(o for o in one.options if o[0] != "PREVIEW")) for one in case.recipients)
    try:
        carrier, caller = await desk.route(account.id, old.caller)
    except NotAdmitted:  # its line has been given back
        carrier, caller = await desk.route(account.id)
    await desk.admit(account, recipients[0], caller=caller)
    call = desk.call(account, recipients, carrier=carrier, caller=caller)

    def send(t: Transaction) -> TransmissionId:
        if old.document is None:
            fresh = submissions.again(t, case.submission, call)
        else:
            fresh = resent.send(t, case.submission, call, old.id, pages)
        also(t, fresh)
        return fresh

    return await _sent(store, send, old.id, by, "again")


async def forward(
    store: Store, desk: Desk, account: Account, transmission: str, *, number: str, by: str, also: Also = _nothing
) -> TransmissionId:
    """Send the mail of a fax to another number too, with a cover page of its own; its id. Raises Refused, Unavailable."""
    case = await _case(store, transmission)
    if case.submission.cover.to:
        raise NotAdmitted("Its cover page names whom it was for: the program that sent it has to send it again.")
    recipient = Recipient(written=number, number=number)
    await desk.admit(account, recipient)
    carrier, caller = await desk.route(account.id)
    call = desk.call(account, (recipient,), carrier=carrier, caller=caller)

    def send(t: Transaction) -> TransmissionId:
        fresh = submissions.again(t, case.submission, call)
        also(t, fresh)
        return fresh

    return await _sent(store, send, case.transmission.id, by, "to another number")


async def _sent(store: Store, send: Callable[[Transaction], TransmissionId], old: str, by: str, how: str) -> TransmissionId:
    fresh = await store.write(send)
    _log.info("%s sent %s by %s as %s", old, how, by, fresh, extra={"action": "sent_again", "transmission": fresh})
    return fresh


async def _case(store: Store, transmission: str) -> Case:
    case = await store.read(queries.case, TransmissionId(transmission))
    if case is None:
        raise NotAdmitted(f"There is no fax {transmission}.")
    return case


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


async def mail_again(store: Store, mail: OutboxId, by: str) -> str:
    """Owe a mail anew that was given up, or came back; the answer in words. Raises NotAdmitted where it is neither."""
    if not await store.write(inbounds.mailed_again, mail, by):
        found = await store.read(outbox.get, mail)
        raise NotAdmitted(f"{mail} is {found.state}; there is nothing to mail again." if found else f"There is no mail {mail}.")
    _log.info("%s asked to mail %s again", by, mail, extra={"action": "mail_again"})
    return "is mailed again"


async def _again(store: Store, case: Case, by: str, also: Also) -> str:
    """A fresh transmission of the same submission to the same number."""
    old = case.transmission
    call = Call(recipients=case.recipients, carrier=old.carrier, caller=old.caller, key="", price=old.price)

    def send(t: Transaction) -> TransmissionId:
        fresh = submissions.again(t, case.submission, call)
        also(t, fresh)
        return fresh

    return f"sent again as {await _sent(store, send, old.id, by, 'again')}"

"""The fax log's lines about faxes that have come to their end: who, when, how long, how many pages, what became of it.

Kept for the operator's own counting (RFC 4161 §2.6, §3.2; rows LOG-01, LOG-02); subjects and documents are never in it.
"""

from __future__ import annotations

from gateway import log
from gateway.fax import InboundFax
from gateway.lifecycle import FINAL
from gateway.spool import outbox
from gateway.spool.outbox import Owed
from gateway.spool.queries import Case
from gateway.work.workshop import Workshop


def sent(shop: Workshop, owed: Owed, case: Case | None, told: str) -> None:
    """One line when the result of a fax has been told; `told`: to whom, in a word."""
    if case is None or owed.kind not in (outbox.RESULT, outbox.DIGEST) or case.transmission.state not in FINAL:
        return
    fax, submission = case.transmission, case.submission
    calls = [(one.submitted_at or one.opened_at, one.finished_at) for one in case.attempts]
    log.ended(
        transmission=fax.id,
        called=fax.number,
        written=[recipient.written for recipient in case.recipients],
        submission=submission.id,
        account=fax.account,
        door=submission.envelope.door.value,
        sender=submission.envelope.sender,
        carrier=fax.carrier,
        state=fax.state.value,
        outcome=fax.outcome.value if fax.outcome else "",
        status=fax.status,
        pages=fax.pages,
        pages_sent=fax.pages_sent,
        attempts=fax.attempts,
        calls=[[begun, ended] for begun, ended in calls],
        call_s=sum(one.seconds or 0.0 for one in case.attempts),
        accepted=fax.accepted_at,
        finished=fax.finished_at,
        told=told,
        reported=shop.now(),
    )


def dropped(shop: Workshop, inbound: InboundFax) -> None:
    """One line when nobody gets a received fax."""
    log.dropped(
        inbound=inbound.id,
        caller=inbound.caller,
        line=inbound.line,
        account=inbound.withheld_from,
        carrier=inbound.carrier,
        station=log.shown(inbound.station_id),
        pages=inbound.pages,
        arrived=inbound.received_at,
        why=log.shown(inbound.route),
    )


def received(shop: Workshop, inbound: InboundFax, mailbox: str) -> None:
    """One line when the mail with a received fax has been taken."""
    log.received(
        inbound=inbound.id,
        caller=inbound.caller,
        line=inbound.line,
        account=inbound.account,
        carrier=inbound.carrier,
        station=log.shown(inbound.station_id),
        pages=inbound.pages,
        complete=inbound.complete,
        call_s=inbound.seconds,
        arrived=inbound.received_at,
        mailbox=mailbox,
        mailed=shop.now(),
    )

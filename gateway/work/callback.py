"""Callbacks we owe: the program of an account is told what became of its fax, or what arrived on its line.

Only the answer 200 counts. Everything else is tried again: up to three times a few seconds apart, and that in rounds, the
last one 16 h 30 after the first try (reference/hellofax.md section 9.4; its figures are read as offsets). How often and
since when stands in the row, so a process that dies in between loses nothing; a try whose record is lost is made again.
A callback that is given up is told to the operator, and stands in the fax's history like every try.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from gateway import metrics
from gateway.errors import CallbackNotTaken
from gateway.fax import Account, InboundId
from gateway.spool import inbounds, outbox, queries, steps
from gateway.spool.commit import Transaction
from gateway.spool.outbox import Owed
from gateway.spool.steps import Claim
from gateway.work import receive
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
#: After the first try.
ROUNDS = tuple(timedelta(minutes=minutes) for minutes in (0, 15, 45, 90, 165, 240, 495, 990))
TRIES = 3  # in one round
BETWEEN = timedelta(seconds=5)
#: From the end of a round to the next one, where this gateway was away when that was due.
_SOONEST = timedelta(minutes=10)
_NO_URL = "The account has no URL for callbacks any more."


async def step(shop: Workshop, claim: Claim) -> None:
    """One try of one callback."""
    owed = await shop.store.read_one(outbox.several, claim.subject)
    if owed is None or owed.state != outbox.WAITING:
        await shop.store.write(steps.done, claim)
        return
    account, began = await shop.identity.by_id(owed.recipient), shop.now()
    url = account and (account.settings.inbound_callback if _is_inbound(owed) else account.settings.outbound_callback)
    if account is None or not url:
        await _not_wanted(shop, claim, owed)
        return
    try:
        answer = await _call(shop, account, owed)
    except CallbackNotTaken as error:
        await _not_taken(shop, claim, owed, error.text, began)
    else:
        await _taken(shop, claim, owed, answer)


def due(tried_at: datetime, failures: int, now: datetime) -> datetime | None:
    """When to try again after so many failures since `tried_at`; None: never."""
    rounds, in_this_round = divmod(failures, TRIES)
    if in_this_round:
        return now + BETWEEN
    return max(tried_at + ROUNDS[rounds], now + _SOONEST) if rounds < len(ROUNDS) else None


def _is_inbound(owed: Owed) -> bool:
    return owed.about.startswith("in_")


async def _call(shop: Workshop, account: Account, owed: Owed) -> str:
    if not _is_inbound(owed):
        case = await shop.store.read_one(queries.cases, owed.about)
        assert case is not None
        return await shop.notifier.sent(account, case.transmission)
    inbound = await shop.store.read(inbounds.get, owed.about)
    assert inbound is not None
    assert inbound.document is not None
    return await shop.notifier.received(account, inbound, await shop.documents.get(inbound.document))


async def _taken(shop: Workshop, claim: Claim, owed: Owed, answer: str) -> None:
    metrics.CALLS.labels(_direction(owed), "taken").inc()
    _log.info("callback about %s was taken", owed.about, extra={"action": "called_back"})

    def record(t: Transaction) -> bool:
        if not outbox.settled(t, claim, outbox.SENT, answer):
            return False
        t.note(owed.about, "callback", answer)
        return _is_inbound(owed) and inbounds.mailed(t, InboundId(owed.about))

    if await shop.store.write(record):
        await receive.forget(shop, owed.about)


async def _not_taken(shop: Workshop, claim: Claim, owed: Owed, answer: str, began: datetime) -> None:
    failures, first = owed.failures + 1, owed.tried_at or began
    again = due(first, failures, shop.now())
    if again is None:
        await _give_up(shop, claim, owed, f"{answer}; given up after {failures} tries")
        return
    metrics.CALLS.labels(_direction(owed), "not taken").inc()
    _log.warning("callback about %s was not taken (%d)", owed.about, failures, extra={"action": "callback_deferred"})
    text = f"{answer}; again at {again:%Y-%m-%d %H:%M:%S} UTC"

    def record(t: Transaction) -> None:
        if outbox.not_taken(t, claim, answer, first, again):
            t.note(owed.about, "callback", text)

    await shop.store.write(record)


async def _give_up(shop: Workshop, claim: Claim, owed: Owed, answer: str) -> None:
    metrics.CALLS.labels(_direction(owed), "given up").inc()
    _log.error("callback about %s is given up", owed.about, extra={"action": "callback_given_up"})

    def record(t: Transaction) -> None:
        if not outbox.settled(t, claim, outbox.GIVEN_UP, answer):
            return
        t.note(owed.about, "callback", answer)
        outbox.alarm(t, about=owed.id, what="a callback was not taken", text=f"{owed.about}: {answer}{_advice(owed)}")
        if _is_inbound(owed):
            inbounds.not_called(t, InboundId(owed.about), answer)

    await shop.store.write(record)


async def _not_wanted(shop: Workshop, claim: Claim, owed: Owed) -> None:
    """Its URL was taken away meanwhile. A received fax that nobody else is told of waits for a person."""
    if _is_inbound(owed):
        await _give_up(shop, claim, owed, _NO_URL)
        return

    def record(t: Transaction) -> None:
        if outbox.settled(t, claim, outbox.SILENT, _NO_URL):
            t.note(owed.about, "callback", _NO_URL)

    await shop.store.write(record)


def _direction(owed: Owed) -> str:
    return "in" if _is_inbound(owed) else "out"


def _advice(owed: Owed) -> str:
    return receive.advice(owed.about) if _is_inbound(owed) else ""

"""Small values for the tests of the spool and of the steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import update

from gateway.errors import Outcome
from gateway.fax import (
    AccountId,
    Attempt,
    AttemptId,
    AttemptState,
    Door,
    Envelope,
    Recipient,
    Sha256,
    Submission,
    SubmissionId,
    TransmissionId,
    new_id,
)
from gateway.spool import queries, schema, steps, submissions, transmissions
from gateway.spool.commit import Transaction
from gateway.spool.events import Statement
from gateway.spool.inbounds import News
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.spool.store import Store
from gateway.spool.submissions import Accepted, Call
from gateway.spool.transmissions import Ending

NUMBER = "+14155550123"
LANE = steps.carrier_lane("main")
SHA = Sha256("a" * 64)
LEASE = 180.0
AT = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def submission(account: str = "acc_1") -> Submission:
    return Submission(
        id=SubmissionId(new_id("sub")),
        account=AccountId(account),
        envelope=Envelope(door=Door.SMTP, sender="ann@example.com", client="127.0.0.1", helo="it's", tls=True),
        message_id="<1@example.com>",
        resent_message_id="",
        content_hash="c" * 64,
        subject="Größe \N{SNOWMAN}",
        from_header="Ann <ann@example.com>",
        references="<0@example.com> <1@example.com>",
        auto_submitted=False,
        document=SHA,
        content_type="message/rfc822",
        accepted_at=AT,
    )


def call(number: str = NUMBER, key: str = "", *written: str) -> Call:
    recipients = tuple(
        Recipient(written=spelling, number=number, options=(("X", "1"),), notify=("SUCCESS", "FAILURE"))
        for spelling in written or (number,)
    )
    return Call(recipients=recipients, carrier="main", caller="+14155550100", key=key)


async def accept(store: Store, *calls: Call) -> Accepted:
    return await store.write(submissions.accept, submission(), calls or (call(),))


async def claim(store: Store, lane: str = LANE, lease: float = LEASE) -> Claim:
    """The one due step of a lane."""
    (one,) = await store.write(steps.claim, lane, 10, lease, steps.uptime())
    return one


async def claim_or_none(store: Store, lane: str = LANE) -> Claim | None:
    taken = await store.write(steps.claim, lane, 1, LEASE, steps.uptime())
    return taken[0] if taken else None


async def ready(store: Store) -> TransmissionId:
    """A transmission whose pages are made."""
    accepted = await accept(store)
    done = await store.write(
        transmissions.prepared, await claim(store, steps.CONVERT), document=SHA, pages=2, manifest='[{"part": 1}]'
    )
    assert done
    return accepted.transmissions[0]


async def many_ready(store: Store, numbers: Sequence[str]) -> list[TransmissionId]:
    """Transmissions to these numbers, whose pages are made."""
    accepted = await asyncio.gather(*(accept(store, call(number)) for number in numbers))
    claims = await store.write(steps.claim, steps.CONVERT, len(numbers), LEASE, steps.uptime())
    made = (store.write(transmissions.prepared, one, document=SHA, pages=2, manifest="[]") for one in claims)
    assert all(await asyncio.gather(*made))
    return [transmission for one in accepted for transmission in one.transmissions]


def attempt(transmission: TransmissionId, n: int = 1) -> Attempt:
    identity = AttemptId(new_id("at"))
    return Attempt(
        id=identity,
        transmission=transmission,
        n=n,
        carrier="main",
        reference=identity,
        carrier_ref="",
        state=AttemptState.OPENING,
        outcome=None,
        carrier_code="",
        text="",
        pages_sent=0,
        station_id="",
        seconds=None,
        opened_at=AT,
        submitted_at=None,
        finished_at=None,
    )


async def opening(store: Store) -> tuple[Claim, Attempt]:
    """A transmission with an attempt that was written down a moment ago, and the claim on it."""
    transmission = await ready(store)
    mine, tried = await claim(store), attempt(transmission)
    assert await store.write(transmissions.open_attempt, mine, tried, None)
    return mine, tried


async def sending(store: Store, carrier_ref: str = "ref-1") -> tuple[Claim, Attempt]:
    """A transmission with a submitted attempt, and a fresh claim on it."""
    mine, tried = await opening(store)
    assert await store.write(transmissions.submitted, mine, tried, carrier_ref, store.now())
    return await claim(store), await open_attempt(store, tried.transmission)


async def case(store: Store, transmission: TransmissionId) -> Case:
    found = await store.read(queries.case, transmission)
    assert found is not None
    return found


async def open_attempt(store: Store, transmission: TransmissionId) -> Attempt:
    found = (await case(store, transmission)).open_attempt
    assert found is not None
    return found


def ending(state: AttemptState = AttemptState.DELIVERED, outcome: Outcome | None = Outcome.DELIVERED) -> Ending:
    return Ending(state=state, outcome=outcome, pages_sent=2, station_id="FAX 1", seconds=31.5, carrier_code="ok", text="fine")


def statement(
    key: str = "k1",
    carrier_ref: str = "ref-1",
    reference: str = "",
    state: AttemptState = AttemptState.DELIVERED,
    outcome: Outcome | None = Outcome.DELIVERED,
    at: datetime = AT,
) -> Statement:
    return Statement(
        key=key,
        carrier_ref=carrier_ref,
        reference=reference,
        state=state,
        outcome=outcome,
        carrier_code="200",
        text="all pages",
        pages_sent=2,
        station_id="FAX 1",
        seconds=31.5,
        at=at,
        believed=True,
        raw=b"\0raw",
    )


def news(carrier_ref: str = "in-1") -> News:
    return News(
        carrier_ref=carrier_ref,
        line="+14155550100",
        caller="+12125550000",
        station_id="BOB",
        sub_address="",
        pages=2,
        complete=True,
        seconds=12.0,
        received_at=AT,
        document=None,
    )


def force(t: Transaction, transmission: TransmissionId, state: str) -> None:
    """Put a transmission into a state, legal or not."""
    t.db.execute(update(schema.transmission).where(schema.transmission.c.id == transmission).values(state=state))

"""The way of many faxes through the store alone: real verbs and reads, the carrier and the mail server cost nothing.

    accept; claim, prepared; claim, open_attempt, submitted; the carrier's statement stored; claim, end_attempt with the
    report that is owed; claim, told

The reads between them are those of `work`. Doors and lanes run at the same time over one `Store`, as in the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from gateway.errors import Outcome
from gateway.fax import AttemptState, Submission, SubmissionId, TransmissionState, new_id
from gateway.spool import events, outbox, queries, schema, steps, submissions, transmissions
from gateway.spool.commit import Transaction
from gateway.spool.queries import Case
from gateway.spool.steps import Claim
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from tests.spool import values

_LANES = (steps.CONVERT, values.LANE, steps.MAIL)
_WIDTH = 100  # steps of one lane at once
_DOORS = 200  # mails being accepted at once
_LOOK = 1.0  # seconds between looks of an idle lane, as in work/loop.py
_POLL = timedelta(minutes=10)
_CALLS = 100  # of the carrier at a time
_CHUNK = 500  # faxes accepted in one transaction where a queue is only filled


def open_store(folder: Path, url: str, node: str = "bench") -> Store:
    """A store that is open and takes writes."""
    store = Store(folder, url, now=lambda: datetime.now(UTC), node=node)
    store.open()
    store.start()
    return store


@dataclass(slots=True)
class Way:
    """Doors and lanes; `told` counts the faxes whose report was sent, `done` the steps of all faxes, five of each."""

    store: Store
    wanted: int
    told: int = 0
    done: int = 0
    at_end: int = 0
    """Steps done when the last wanted fax was told."""
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def walk(self, accepting: int) -> float:
        """Accept `accepting` faxes while the lanes work, until `wanted` are told; seconds from first to last."""
        lanes = [asyncio.create_task(self._lane(lane)) for lane in _LANES]
        began = time.perf_counter()
        doors = [asyncio.create_task(self._door(accepting // _DOORS + (n < accepting % _DOORS))) for n in range(_DOORS)]
        stop = asyncio.create_task(self.finished.wait())
        await asyncio.wait([stop, *lanes], return_when=asyncio.FIRST_COMPLETED)
        took, self.at_end = time.perf_counter() - began, self.done
        stop.cancel()
        await asyncio.gather(*doors)
        await asyncio.gather(*lanes)
        return took

    async def _door(self, faxes: int) -> None:
        for _ in range(faxes):
            await self.store.write(submissions.accept, *_letter())
            self.done += 1

    async def _lane(self, lane: str) -> None:
        """As `work.loop` does it."""
        woken, mine = self.store.woken(lane), set[asyncio.Task[None]]()
        while not self.finished.is_set():
            woken.clear()
            free = _WIDTH - len(mine)
            claims = await self._claim(lane, free) if free else []
            for claim in claims:
                task = asyncio.create_task(_STEPS[claim.kind](self, claim))
                mine.add(task)
                task.add_done_callback(mine.discard)
                task.add_done_callback(lambda _: woken.set())
            if not claims:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), _LOOK)
        await asyncio.gather(*mine)

    async def _claim(self, lane: str, free: int) -> list[Claim]:
        calls = _CALLS if lane == values.LANE else None
        return await self.store.write(steps.claim, lane, free, values.LEASE, steps.uptime(), calls)

    async def _case(self, claim: Claim) -> Case:
        case = await self.store.read_one(queries.cases, claim.subject)
        assert case is not None
        assert not case.wishes
        return case

    async def prepare(self, claim: Claim) -> None:
        case = await self._case(claim)
        assert case.transmission.state is TransmissionState.ACCEPTED
        assert await self.store.write(transmissions.prepared, claim, document=values.SHA, pages=2, manifest='[{"part": 1}]')
        self.done += 1

    async def send(self, claim: Claim) -> None:
        case = await self._case(claim)
        attempt = replace(values.attempt(case.transmission.id), opened_at=self.store.now())
        assert await self.store.write(transmissions.open_attempt, claim, attempt, _CALLS)
        carrier_ref = f"ref-{attempt.id}"
        assert await self.store.write(transmissions.submitted, claim, attempt, carrier_ref, self.store.now() + _POLL)
        said = values.statement(key=f"end of {attempt.id}", carrier_ref=carrier_ref, reference=attempt.id, at=self.store.now())
        assert await self.store.write(events.store, attempt.carrier, said) is events.Kept.NEW
        self.done += 1

    async def track(self, claim: Claim) -> None:
        case = await self._case(claim)
        attempt = case.open_attempt
        assert attempt is not None
        said = await self.store.read_one(events.waiting_about, (attempt.carrier, attempt.carrier_ref, attempt.reference))
        delivered = Next(state=TransmissionState.DELIVERED, outcome=Outcome.DELIVERED, pages_sent=2)
        assert attempt.state is AttemptState.SUBMITTED
        ids = [stored.id for stored in said or ()]
        assert await self.store.write(transmissions.end_attempt, claim, attempt, values.ending(), delivered, ids)
        self.done += 1

    async def tell(self, claim: Claim) -> None:
        owed = await self.store.read_one(outbox.several, claim.subject)
        assert owed is not None
        assert await self.store.read_one(queries.cases, owed.about_id)
        assert await self.store.write(
            outbox.told, claim, owed, outbox.SENT, "250 2.0.0 taken", message_id=owed.id, mail=values.SHA
        )
        self.told, self.done = self.told + 1, self.done + 1
        if self.told == self.wanted:
            self.finished.set()


_STEPS: dict[str, Callable[[Way, Claim], Coroutine[None, None, None]]] = {
    "prepare": Way.prepare,
    "send": Way.send,
    "track": Way.track,
    "tell": Way.tell,
}


def _letter() -> tuple[Submission, list[submissions.Call]]:
    submission = replace(values.submission(), id=SubmissionId(new_id("sub")))
    number = f"+1415{secrets.randbelow(10**7):07}"
    return submission, [values.call(number, f"{submission.id:0>64}")]


async def fill(store: Store, faxes: int, say: Callable[[str], None]) -> None:
    """Queue faxes, with the verb that the doors use."""

    def many(t: Transaction, count: int) -> None:
        for _ in range(count):
            submissions.accept(t, *_letter())

    for begun in range(0, faxes, _CHUNK):
        await store.write(many, min(_CHUNK, faxes - begun))
        if begun % 20_000 == 0:
            say(f"{begun:,} of {faxes:,} queued")


async def park(store: Store) -> None:
    """What waits in the queue waits for a person."""

    def all_of_it(t: Transaction) -> None:
        t.db.execute(update(schema.step).values(due_at=schema.PARKED, kind="held"))

    await store.write(all_of_it)


async def idle(store: Store, seconds: float) -> None:
    """Lanes that look for work and find none."""
    way = Way(store, wanted=1)
    lanes = [asyncio.create_task(way._lane(lane)) for lane in _LANES]
    await asyncio.sleep(seconds)
    way.finished.set()
    await asyncio.gather(*lanes)


async def pick_up(here: Store, there: Store, faxes: int) -> list[float]:
    """Seconds from the 250 for a fax at one node to its claim at another (or the same), one by one, all idle."""
    claimed: asyncio.Queue[float] = asyncio.Queue()

    async def lane() -> None:
        woken = there.woken(steps.CONVERT)
        while True:
            woken.clear()
            if await there.write(steps.claim, steps.CONVERT, 1, values.LEASE, steps.uptime()):
                claimed.put_nowait(time.perf_counter())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), _LOOK)

    waits, looking = list[float](), asyncio.create_task(lane())
    for _ in range(faxes):
        await asyncio.sleep(0.005)  # the lane is asleep when the fax comes
        await here.write(submissions.accept, *_letter())
        accepted = time.perf_counter()
        waits.append(max(0.0, await claimed.get() - accepted))
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    return waits

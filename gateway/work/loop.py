"""Claim, step, record: the lanes, their width, the heartbeat, the drain.

Each lane (conversion, each carrier, receiving, mail, callbacks, archive) claims as many due steps as it has free hands. A step
that ends without recording anything (a crash, a cut-off stop) becomes due again when its lease ends. An exception nobody
expected pushes its step away before it is logged, so that one poisonous row cannot stop a lane; a fax that fails so
again and again is held for a person. One process never works on one subject twice at once, whatever its clock says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial

from gateway.errors import GatewayError, SpoolUnavailable, Unavailable
from gateway.fax import InboundState, TransmissionState
from gateway.spool import inbounds, steps, transmissions
from gateway.spool.steps import Claim
from gateway.spool.transmissions import Next
from gateway.work import callback, delays, filing, receive, reports, sweep, tell, tidy, transmission
from gateway.work.listen import Listening
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_LOOK = 1.0  # seconds between looks at an idle lane; what this process makes due wakes it at once
_LONGEST = 300.0  # seconds a failing step is pushed away at most
_POISON = 12  # tries of one step: after these, about half an hour, an unexpected failure is a person's business
_LIST_EVERY = 60.0  # seconds between looks at a carrier's received faxes
_COMPARE_EVERY = 86400.0  # seconds between looks at what a carrier says it was given
_ATTENTION_EVERY = 3600.0  # seconds between looks at what a carrier's account needs
_REPORTS_EVERY = 20.0  # seconds between looks for reports that a carrier owes
_STRAY_EVERY = 60.0  # seconds between looks for lanes that nobody works in
_TIDY_EVERY = 3600.0  # seconds
_DISCARD_EVERY = 300.0  # seconds
_SWEEP_EVERY = 86400.0  # seconds

Step = Callable[[Workshop, Claim], Awaitable[None]]
STEPS: Mapping[str, Step] = {
    "prepare": transmission.step,
    "send": transmission.step,
    "track": transmission.step,
    "held": transmission.step,
    "receive": receive.step,
    "tell": tell.step,
    "call": callback.step,
    "archive": filing.step,
}


class Loop:
    """Runs every lane until it is stopped."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        work = shop.config.work
        self._lease = work.lease.total_seconds()
        self._lanes = {steps.CONVERT: work.convert, steps.MAIL: work.mails, steps.RECEIVE: work.convert}
        self._lanes |= {steps.CALLBACK: work.callbacks, steps.ARCHIVE: work.mails}
        self._lanes |= {steps.carrier_lane(name): work.calls for name in shop.carriers}
        self._calls = {steps.carrier_lane(name): carrier.config.calls for name, carrier in shop.carriers.items()}
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._lanes_at_work: list[asyncio.Task[None]] = []
        self._side: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.looked_at = 0.0
        """Loop time of the last look at any lane, for the watchdog."""

    def start(self) -> None:
        self._lanes_at_work = [self._lane(lane, width) for lane, width in self._lanes.items()]
        chores: list[tuple[str, float, Callable[[], Awaitable[object]]]] = [
            ("tidying", _TIDY_EVERY, partial(tidy.tidy, self._shop)),
            ("removing documents", _DISCARD_EVERY, partial(tidy.discard, self._shop)),
            ("looking for orphaned documents", _SWEEP_EVERY, partial(tidy.sweep, self._shop)),
            ("looking for late faxes", delays.every(self._shop), partial(delays.look, self._shop)),
            ("sealing what happened", self._shop.config.evidence.every.total_seconds(), self._shop.notary.seal),
            ("looking for strays", _STRAY_EVERY, self._strays),
            *(
                (f"comparing with {name}", _COMPARE_EVERY, partial(sweep.sweep, self._shop, name))
                for name in self._shop.carriers
            ),
            *(
                (f"looking at the account at {name}", _ATTENTION_EVERY, partial(sweep.attention, self._shop, name))
                for name in self._shop.carriers
            ),
            *(
                (f"listing received faxes of {name}", _LIST_EVERY, partial(receive.listing, self._shop, name))
                for name, carrier in self._shop.carriers.items()
                if carrier.capabilities.receives
            ),
            *(
                (f"fetching reports of {name}", _REPORTS_EVERY, partial(reports.fetch, self._shop, name))
                for name, carrier in self._shop.carriers.items()
                if carrier.capabilities.reports
            ),
            *(
                (f"listening to {name}", carrier.listens, Listening(self._shop, name).look)
                for name, carrier in self._shop.carriers.items()
                if carrier.listens
            ),
        ]
        self._side = [
            asyncio.create_task(self._heartbeat(), name="heartbeat"),
            *(asyncio.create_task(self._every(seconds, name, chore), name=name) for name, seconds, chore in chores),
        ]

    def _lane(self, lane: str, width: int) -> asyncio.Task[None]:
        return asyncio.create_task(self._work(lane, width), name=f"lane {lane}")

    def failed(self) -> str:
        """The name of a lane or side task that died; "" while all live. Death of one means: stop the service."""
        for task in (*self._lanes_at_work, *self._side):
            if task.done() and not self._stopping.is_set():
                return task.get_name()
        return ""

    async def stop(self) -> None:
        """Claim nothing more, give work in hand time to finish, then let go. What is cut off is not a failed attempt."""
        self._stopping.set()
        for lane in self._lanes:
            self._shop.store.woken(lane).set()
        for task in self._side:
            task.cancel()
        await asyncio.gather(*self._lanes_at_work, *self._side, return_exceptions=True)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=self._shop.config.work.drain.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _work(self, lane: str, width: int) -> None:
        woken, mine = self._shop.store.woken(lane), set[asyncio.Task[None]]()
        while not self._stopping.is_set():
            self.looked_at = asyncio.get_running_loop().time()
            woken.clear()
            claims = await self._claim(lane, width - len(mine))
            in_hand = {claim.subject: task for task, claim in self._running.items()}
            for claim in claims:
                step = self._step(claim, in_hand.get(claim.subject))
                task = asyncio.create_task(step, name=f"{claim.kind} {claim.subject}")
                mine.add(task)
                self._running[task] = claim
                task.add_done_callback(mine.discard)
                task.add_done_callback(self._ended)
                task.add_done_callback(lambda _: woken.set())
            if not claims or len(mine) >= width:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), _LOOK)

    async def _claim(self, lane: str, free: int) -> list[Claim]:
        if free <= 0:
            return []
        try:
            calls = self._calls_at_once(lane)
            return await self._shop.store.write(steps.claim, lane, free, self._lease, steps.uptime(), calls)
        except SpoolUnavailable as error:
            _log.error("cannot claim work: %s", error.text, extra={"action": "claim_failed"})
            return []

    def _calls_at_once(self, lane: str) -> int | None:
        """How many calls the carrier of a lane takes at a time: none while it wants us to wait. None = no carrier's lane."""
        calls = self._calls.get(lane)
        paused = calls is not None and self._shop.pauses.until(steps.carrier_of(lane), self._shop.now())
        return 0 if paused else calls

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)

    async def _step(self, claim: Claim, before: asyncio.Task[None] | None) -> None:
        if before is not None:  # it has just put its subject back, or the clock has jumped and ended its lease too early
            await asyncio.wait([before])
        try:
            await STEPS[claim.kind](self._shop, claim)
        except Unavailable as error:
            _log.warning("%s %s put off: %s", claim.kind, claim.subject, error.text, extra={"action": "put_off"})
            await self._push_away(claim, error.retry_after)
        except Exception:  # noqa: BLE001  # a border: one poisonous row must not stop a lane
            await self._push_away(claim, None, poison=claim.tries >= _POISON)
            _log.exception("%s %s failed unexpectedly", claim.kind, claim.subject, extra={"action": "step_failed"})

    async def _push_away(self, claim: Claim, retry_after: float | None, *, poison: bool = False) -> None:
        seconds = max(retry_after or 0.0, min(_LONGEST, 2.0 ** min(claim.tries, 9)))
        due = self._shop.now() + timedelta(seconds=seconds)
        with contextlib.suppress(SpoolUnavailable):  # then the lease ends by itself
            if not (poison and await self._set_aside(claim)):
                await self._shop.store.write(steps.put_back, claim, due_at=due)

    async def _set_aside(self, claim: Claim) -> bool:
        """A fax whose step cannot be done is held, and the operator told. Mails and callbacks go on being tried."""
        text, write = f"The step “{claim.kind}” failed {claim.tries} times; the log says how.", self._shop.store.write
        if claim.kind in ("tell", "call", "archive"):
            return False
        if claim.kind == "receive":
            return await write(inbounds.ended, claim, InboundState.HELD, text, "a received fax is held")
        return await write(transmissions.settle, claim, Next(state=TransmissionState.HELD, reason=text, alarm="a fax is held"))

    async def _strays(self) -> None:
        """Faxes of carriers that are not configured any more are looked at too: they are held, and can be cancelled."""
        for lane in await self._shop.store.read(steps.lanes):
            if lane not in self._lanes and not self._stopping.is_set():
                self._lanes[lane] = 1
                self._lanes_at_work.append(self._lane(lane, 1))

    async def _every(self, seconds: float, name: str, chore: Callable[[], Awaitable[object]]) -> None:
        while True:
            wait = seconds
            try:
                await chore()
            except GatewayError as error:
                wait = min(seconds, _LONGEST)
                _log.warning("%s put off: %s", name, error.text)
            except Exception:  # noqa: BLE001  # a border: one adapter's fault must not stop the service
                _log.exception("%s failed unexpectedly", name, extra={"action": "chore_failed"})
            await asyncio.sleep(wait)

    async def _heartbeat(self) -> None:
        """Extend the leases of what may take long. A hand-over never: its lease must end when it says."""
        while True:
            await asyncio.sleep(self._lease / 3)
            for claim in list(self._running.values()):
                if claim.kind not in ("send", "track"):
                    with contextlib.suppress(SpoolUnavailable):
                        await self._shop.store.write(steps.renew, claim)

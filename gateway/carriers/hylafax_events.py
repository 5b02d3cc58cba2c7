"""What HylaFAX tells of its jobs while it happens: on a connection that it opens to us (SITE TRIGGER after EPRT), or, where
it cannot reach us, by waiting for the end of each job (JWAIT).

An event is a reason to ask for a job, and no result: whatever is lost, the job is asked for by itself. In passive mode
hfaxd 6.0.7 accepts SITE TRIGGER and tells nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Collection

from gateway.carriers.base import Changes
from gateway.carriers.hylafax_job import Name
from gateway.carriers.hylafax_server import Server
from gateway.carriers.hylafax_wire import Broken
from gateway.errors import CarrierRefused, CarrierUnavailable

_log = logging.getLogger(__name__)
_JOB = re.compile(rb"JOB ([0-9]{1,9}) ")
_LONGEST_CALL = 6 * 3600.0  # seconds that one JWAIT may last
_AGAIN = 300.0  # seconds before EPRT is tried once more where it failed
_MOST_KNOWN = 10_000


class Events:
    """The listener. Its tasks run from the first `changes` on, until `stop`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._jobs: dict[int, Name] = {}
        self._heard: set[int] = set()
        self._missed = True
        self._told = False  # the server has a connection to us
        self._retry_at = 0.0
        self._listener: asyncio.Task[None] | None = None
        self._waits: dict[int, asyncio.Task[None]] = {}

    @property
    def works(self) -> bool:
        """It tells of every job by itself just now."""
        return self._told

    def expect(self, name: Name) -> None:
        """A job that has not ended."""
        if len(self._jobs) >= _MOST_KNOWN:
            self._jobs.pop(next(iter(self._jobs)))
        self._jobs[name.job] = name

    def ended(self, name: Name) -> None:
        """Nobody has to hear of it any more."""
        if self._jobs.get(name.job) == name:
            del self._jobs[name.job]
        if wait := self._waits.pop(name.job, None):
            wait.cancel()

    async def changes(self) -> Changes:
        """What was heard since the last call. Raises CarrierUnavailable where nothing can be heard."""
        loop = asyncio.get_running_loop()
        if self._listener is None or self._listener.done():
            self._told = False
            if loop.time() >= self._retry_at:
                self._retry_at = loop.time() + _AGAIN
                await self._begin()
        if not self._told:
            self._wait_for_each()
        heard, missed = self._heard, self._missed
        self._heard, self._missed = set(), False
        return Changes(carrier_refs=self._names(heard), whole=not missed)

    def _names(self, jobs: Collection[int]) -> Collection[str]:
        return {str(self._jobs[job]) for job in jobs if job in self._jobs}

    async def stop(self) -> None:
        tasks = [task for task in (self._listener, *self._waits.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener, self._waits, self._told = None, {}, False

    async def _begin(self) -> None:
        """Have the server connect to us; what happened before that may have been missed."""
        ready = asyncio.Event()
        self._listener = asyncio.create_task(self._listen(ready), name="hylafax events")
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._listener, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self._missed = True

    async def _listen(self, ready: asyncio.Event) -> None:
        """For as long as both connections last."""
        try:
            async with self._server.session() as wire:
                self._server.check(await wire.ask("TYPE A"))
                async with wire.events('SITE TRIGGER "J*S*"') as lines:
                    self._told = True
                    self._retry_at = 0.0
                    ready.set()
                    while line := await lines.readline():
                        self._heard |= {int(found[1]) for found in _JOB.finditer(line)}
                wire.close()
        except (CarrierUnavailable, CarrierRefused, OSError, ValueError) as error:
            _log.info("the fax server tells us no events: %s", error)
        finally:
            self._told, self._missed = False, True

    def _wait_for_each(self) -> None:
        self._waits = {job: task for job, task in self._waits.items() if not task.done()}
        for job in self._jobs.keys() - self._waits.keys():
            self._waits[job] = asyncio.create_task(self._wait(job), name=f"hylafax job {job}")

    async def _wait(self, job: int) -> None:
        """Until the job has ended, or nobody can say so: the job is asked for then, too."""
        with contextlib.suppress(CarrierUnavailable, CarrierRefused):
            try:
                async with self._server.session() as wire:
                    await wire.patiently(f"JWAIT {job}", _LONGEST_CALL)
                    self._heard.add(job)
            except Broken as error:
                raise self._server.gone(error) from error

"""A process that takes up steps as a node does, and writes how long each had been due, in milliseconds."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway.spool import steps
from gateway.spool.commit import Transaction
from gateway.spool.store import Store

LANE = "latency"


def take(t: Transaction) -> list[float]:
    claims = steps.claim(t, LANE, 10, 60.0, steps.uptime())
    for claim in claims:
        steps.done(t, claim)
    return [(t.now - claim.age).total_seconds() * 1000 for claim in claims]


async def pick(url: str, count: int) -> None:
    store = Store(Path.cwd(), url, now=lambda: datetime.now(UTC), node="picker")
    store.open()
    store.start()
    woken = store.woken(LANE)
    await asyncio.wait_for(woken.wait(), 10)  # it listens
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while count:
        woken.clear()
        for waited in await store.write(take):
            sys.stdout.write(f"{waited}\n")
            count -= 1
        if count:
            await asyncio.wait_for(woken.wait(), 10)
    await store.close()


if __name__ == "__main__":
    asyncio.run(pick(sys.argv[1], int(sys.argv[2])))

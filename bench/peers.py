"""Peers of the spool: the same five durable steps of a fax (accepted, prepared, handed over, concluded, told) as a
stranger would write them with a job queue (procrastinate) and with a library of durable workflows (DBOS).

Both need `pip install faxgate[bench]`; nothing but the bench uses them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import procrastinate
from dbos import DBOS

_STEPS = ("prepare", "send", "track", "tell")
_DOORS = 200
_WIDTH = 100


async def run_procrastinate(url: str, faxes: int) -> float:
    """Each step is a job that puts the next one into the queue; seconds for all."""
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=20)
    app = procrastinate.App(connector=connector)
    told, finished = 0, asyncio.Event()

    async def step(fax: str, n: int) -> None:
        nonlocal told
        if n + 1 < len(_STEPS):
            await job.defer_async(fax=fax, n=n + 1)
            return
        told += 1
        if told == faxes:
            finished.set()

    job = app.task(name="step")(step)

    async def door(first: int) -> None:
        for n in range(first, faxes, _DOORS):
            await job.defer_async(fax=f"fax {n}", n=0)

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(app.run_worker_async(concurrency=_WIDTH, install_signal_handlers=False))
        began = time.perf_counter()
        doors = [asyncio.create_task(door(n)) for n in range(_DOORS)]
        await finished.wait()
        took = time.perf_counter() - began
        await asyncio.gather(*doors)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return took


async def run_dbos(url: str, faxes: int) -> float:
    """A fax is a workflow of four steps, and starting it accepts it; seconds for all."""
    DBOS(config={"name": "faxes", "system_database_url": url, "log_level": "ERROR"})

    async def work(fax: str, name: str) -> str:
        return f"{name} {fax}"

    async def way(fax: str) -> None:
        for name in _STEPS:
            await step(fax, name)

    step = DBOS.step()(work)
    workflow = DBOS.workflow()(way)
    DBOS.launch()
    places = asyncio.Semaphore(_WIDTH)

    async def one(n: int) -> None:
        async with places:
            handle = await DBOS.start_workflow_async(workflow, f"fax {n}")
            await handle.get_result()

    began = time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(faxes)))
    took = time.perf_counter() - began
    await asyncio.to_thread(DBOS.destroy)
    return took


def run(name: str, folder: Path, url: str, faxes: int) -> float:
    """One peer; "" as URL means SQLite in `folder`."""
    logging.disable(logging.WARNING)
    if name == "procrastinate":
        return asyncio.run(run_procrastinate(url, faxes))
    target = url.replace("postgresql://", "postgresql+psycopg://") or f"sqlite:///{folder / 'dbos.db'}"
    return asyncio.run(run_dbos(target, faxes))

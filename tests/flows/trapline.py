"""A carrier of the tests: the loopback network, whose adapter stops or kills its own process around one hand-over, and
whose far end may have a clock of its own.

`install` makes it known to programs that are started afterwards, as a package of its own would be.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

from gateway.carriers.base import Capabilities, CarrierConfig, Order, Receipt, Tools
from gateway.carriers.loopback import Loopback, LoopbackConfig
from gateway.errors import CarrierUnavailable
from gateway.spool import steps


class TraplineConfig(LoopbackConfig):
    """Before or after the hand-over of a fax to `trap_number`, or between the last look at the lease and the hand-over,
    the process sends itself `sign`, once."""

    trap: Literal["", "before", "between", "after"] = ""
    trap_number: str = ""
    sign: Literal["SIGKILL", "SIGSTOP"] = "SIGKILL"
    own_clock: bool = False
    """The far end is right about the time when this machine's clock is set."""


class Trapline(Loopback):
    """Short limits, so that leases can be short too."""

    Config: ClassVar[type[CarrierConfig]] = TraplineConfig
    capabilities: ClassVar[Capabilities] = dataclasses.replace(Loopback.capabilities, submit_limit=2.0)
    config: TraplineConfig

    def __init__(self, tools: Tools, config: TraplineConfig) -> None:
        super().__init__(dataclasses.replace(tools, now=_own_time) if config.own_clock else tools, config)
        self._sprung = False

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        trap = self.config.trap if order.number == self.config.trap_number and not self._sprung else ""
        self._sprung = self._sprung or bool(trap)
        if trap == "between":
            return await asyncio.to_thread(self._late, order)
        if trap == "before":
            os.kill(os.getpid(), signal.Signals[self.config.sign])
        receipt = await super().submit(order, carrier_ref)
        if trap == "after":
            os.kill(os.getpid(), signal.Signals[self.config.sign])
        return receipt

    def _late(self, order: Order) -> Receipt:
        """The last look, and then the write, which nobody can cancel any more."""
        if not order.in_time():
            raise CarrierUnavailable
        os.kill(os.getpid(), signal.Signals[self.config.sign])
        return asyncio.run(self._write(dataclasses.replace(order, in_time=lambda: True)))

    async def _write(self, order: Order) -> Receipt:
        """To the far end as it is now, by a connection of its own."""
        line = Loopback(dataclasses.replace(self.tools, lines=_none), self.config)
        await line.start()
        try:
            return await line.submit(order)
        finally:
            await line.stop()


async def _none() -> Sequence[str]:
    return ()


def _own_time() -> datetime:
    """The same for all processes of this machine, whatever its wall clock says."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=steps.uptime())


def install(folder: Path) -> Path:
    """A folder for PYTHONPATH."""
    about = folder / "trapline-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: trapline\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[gateway.carriers]\ntrapline = tests.flows.trapline:Trapline\n")
    return folder

"""A carrier of the tests: the loopback network, whose adapter stops or kills its own process around one hand-over, and
whose far end may have a clock of its own.

`install` makes it known to programs that are started afterwards, as a package of its own would be.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from gateway.carriers.base import Capabilities, CarrierConfig, Order, Receipt, Tools
from gateway.carriers.loopback import Loopback, LoopbackConfig
from gateway.desk.submit import Desk
from gateway.errors import CarrierUnavailable
from gateway.fax import Account, Envelope, Recipient, TransmissionId
from gateway.spool import steps

Accept = Callable[..., Awaitable[list[TransmissionId]]]


class TraplineConfig(LoopbackConfig):
    """Before or after the hand-over of a fax to `trap_number`, or between the last look at the lease and the hand-over,
    or when an API door has stored it and not answered yet, the process sends itself `sign`, once."""

    trap: Literal["", "accepted", "before", "between", "after"] = ""
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

    async def start(self) -> None:
        await super().start()
        if self.config.trap == "accepted":
            setattr(Desk, "submit_call", self._trapped(Desk.submit_call))  # noqa: B010  # a method, put in another's place

    def _trapped(self, submit: Accept) -> Accept:
        async def submit_call(desk: Desk, account: Account, envelope: Envelope, to: Sequence[Recipient], *more: Any,
                              **wishes: Any) -> list[TransmissionId]:  # fmt: skip
            taken = await submit(desk, account, envelope, to, *more, **wishes)
            if self.config.trap_number in [one.number for one in to]:
                os.kill(os.getpid(), signal.Signals[self.config.sign])
            return taken

        return submit_call

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

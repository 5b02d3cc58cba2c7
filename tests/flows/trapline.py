"""A carrier of the tests: the loopback network, whose adapter stops or kills its own process around one hand-over.

`install` makes it known to programs that are started afterwards, as a package of its own would be.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import ClassVar, Literal

from gateway.carriers.base import Capabilities, CarrierConfig, Order, Receipt
from gateway.carriers.loopback import Loopback, LoopbackConfig


class TraplineConfig(LoopbackConfig):
    """Before or after the hand-over of a fax to `trap_number`, the process sends itself `sign`."""

    trap: Literal["", "before", "after"] = ""
    trap_number: str = ""
    sign: Literal["SIGKILL", "SIGSTOP"] = "SIGKILL"


class Trapline(Loopback):
    """Short limits, so that leases can be short too."""

    Config: ClassVar[type[CarrierConfig]] = TraplineConfig
    capabilities: ClassVar[Capabilities] = dataclasses.replace(Loopback.capabilities, submit_limit=2.0)
    config: TraplineConfig

    async def submit(self, order: Order, carrier_ref: str = "") -> Receipt:
        trapped = order.number == self.config.trap_number
        if trapped and self.config.trap == "before":
            os.kill(os.getpid(), signal.Signals[self.config.sign])
        receipt = await super().submit(order, carrier_ref)
        if trapped and self.config.trap == "after":
            os.kill(os.getpid(), signal.Signals[self.config.sign])
        return receipt


def install(folder: Path) -> Path:
    """A folder for PYTHONPATH."""
    about = folder / "trapline-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: trapline\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[gateway.carriers]\ntrapline = tests.flows.trapline:Trapline\n")
    return folder

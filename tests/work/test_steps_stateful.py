"""Any order of hand-overs, lost answers, callbacks, wishes, faults and restarts: what must hold holds.

The real steps over a real SQLite spool, and a carrier whose far end remembers every call it took. Checked after every
move: at most one open attempt a fax; final states never move; exactly one report for each final fax; and the far end is
never called while an earlier call for the same fax may have got through.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.carriers.base import Order, Receipt
from gateway.errors import CarrierRefused, CarrierUnavailable, CarrierUncertain, Outcome
from gateway.fax import TransmissionId, TransmissionState
from gateway.lifecycle import FINAL
from gateway.spool import steering
from tests.carriers.tools import Clock
from tests.spool import values
from tests.work.shop import FarCall, FarEnd, House, Scripted, lost

R = TypeVar("R")
T = TransmissionState
HAND_OVERS = ("takes", "spoken", "lost sent", "lost unsent", "fault sent", "refused", "away", "killed sent", "killed unsent",
              "spool sent", "spool unsent")  # fmt: skip
#: How a call must have ended for another one to be right.
OVER = {"busy", "disconnected", "cancelled"}


class Faxes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.events = asyncio.new_event_loop()
        self.temporary = tempfile.TemporaryDirectory()
        self.clock, self.far = Clock(), FarEnd()
        self.able = Scripted.capabilities
        self.next: list[str] = []
        self.faxes: dict[TransmissionId, str] = {}
        self.final: dict[TransmissionId, T] = {}
        self.decided: set[TransmissionId] = set()
        self.fault = contextlib.ExitStack()
        self.house: House

    def do(self, work: Coroutine[Any, Any, R]) -> R:
        return self.events.run_until_complete(work)

    @initialize(finds=st.booleans(), proves=st.booleans())
    def begin(self, finds: bool, proves: bool) -> None:
        self.able = replace(self.able, finds=finds, absence_proves_unsent=finds and proves)
        self.open()

    def open(self) -> None:
        self.house = House(Path(self.temporary.name), self.clock, self.far, capabilities=self.able)
        self.do(self.house.open())
        self.do(self.house.never_wait())
        self.house.carrier.behaviour = self.hand_over

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.do(self.house.close())
        self.events.close()
        self.temporary.cleanup()

    # What the carrier does when it is called

    async def hand_over(self, order: Order) -> Receipt:
        before = self.far.to(order.number)
        assert all(call.status in OVER for call in before), f"called again while {before} may have got through"
        how = self.next.pop(0) if self.next else "takes"
        if how == "refused":
            raise CarrierRefused("no", outcome=Outcome.BAD_NUMBER)
        if how == "away":
            raise CarrierUnavailable
        call = None if how.endswith("unsent") else self.far.take(order)
        if how.startswith("killed"):
            raise asyncio.CancelledError
        if how.startswith("spool"):
            self.fault.enter_context(self.house.broken())
        if call is None:
            return await lost(order)
        if how == "lost sent":
            raise CarrierUncertain
        if how == "fault sent":
            raise ZeroDivisionError
        if how == "spoken":
            call.status = "delivered"
            await self.house.say(call)
        return Receipt(carrier_ref=call.ref)

    # What may happen

    @rule(hows=st.lists(st.sampled_from(HAND_OVERS), max_size=3))
    def fax(self, hows: list[str]) -> None:
        self.next += hows
        number = f"+1415555{len(self.faxes):04}"
        self.faxes[self.do(self.house.fax(number))] = number

    @rule()
    def work(self) -> None:
        try:
            self.do(self.house.work())
        except asyncio.CancelledError:  # killed: nothing of this process goes on
            self.do(self.house.close())
            self.open()
        finally:
            self.fault.close()

    @rule(seconds=st.sampled_from([1, 31, 70, 200, 1000, 20_000]))
    def wait(self, seconds: int) -> None:
        self.clock.forward(seconds)

    @rule(which=st.integers(0, 20), status=st.sampled_from(["delivered", "busy", "disconnected"]))
    def far_end(self, which: int, status: str) -> None:
        if (call := self.call(which)) and call.status == "sending":
            call.status = status

    @rule(which=st.integers(0, 20), early=st.booleans())
    def callback(self, which: int, early: bool) -> None:
        if call := self.call(which):
            self.do(self.house.say(call, "sending" if early else ""))

    @rule(which=st.integers(0, 20), verb=st.sampled_from(["cancel", "hold", "release", "retry"]))
    def wish(self, which: int, verb: str) -> None:
        if fax := self.one(which):
            self.do(self.house.store.write(steering.ask, fax, verb, "", "ann"))

    @rule(which=st.integers(0, 20), choice=st.sampled_from(["delivered", "fail"]))
    def decide(self, which: int, choice: str) -> None:
        if fax := self.one(which):
            self.decided.add(fax)
            self.do(self.house.store.write(steering.ask, fax, "release", choice, "ann"))

    @rule()
    def restart(self) -> None:
        self.do(self.house.close())
        self.open()

    def call(self, which: int) -> FarCall | None:
        return self.far.calls[which % len(self.far.calls)] if self.far.calls else None

    def one(self, which: int) -> TransmissionId | None:
        return list(self.faxes)[which % len(self.faxes)] if self.faxes else None

    # What must hold

    @invariant()
    def holds(self) -> None:
        for fax, number in self.faxes.items():
            case = self.do(values.case(self.house.store, fax))
            state = case.transmission.state
            opened = [attempt for attempt in case.attempts if attempt.finished_at is None]
            assert len(opened) <= 1
            assert self.final.get(fax, state) is state, "a final state moved"
            assert self.do(self.house.owed("result", fax)) == (state in FINAL)
            calls = self.far.to(number)
            if state in FINAL:
                self.final[fax] = state
                assert not opened
                if fax not in self.decided:
                    delivered = [call for call in calls if call.status == "delivered"]
                    assert len(delivered) == (state is T.DELIVERED), (state, calls)
            assert len({call.reference for call in calls}) == len(calls), "one attempt was sent twice"


Faxes.TestCase.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestFaxes = Faxes.TestCase

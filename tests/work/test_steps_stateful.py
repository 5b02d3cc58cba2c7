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
from tests.work.shop import FarEnd, House, Scripted, lost

R = TypeVar("R")
T = TransmissionState
HAND_OVERS = ("takes", "spoken", "lost sent", "lost unsent", "fault sent", "refused", "away", "killed sent", "killed unsent",
              "spool sent", "spool unsent")  # fmt: skip
WORKS, SECONDS = st.integers(0, 3), st.sampled_from([0, 1, 31, 70, 200, 1000, 20_000])
WISHES = (("cancel", ""), ("hold", ""), ("retry", ""), ("release", ""), ("release", "delivered"), ("release", "fail"))
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
        self.called_again: list[str] = []
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
        if not all(call.status in OVER for call in before):  # noted, because the step swallows what is raised here
            self.called_again.append(f"called again while {before} may have got through")
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

    # What may happen; each time the gateway gets some time to work in

    def turn(self, works: int, seconds: int) -> None:
        for _ in range(works):
            self.work()
        self.clock.forward(seconds)
        if works:
            self.work()

    def work(self) -> None:
        try:
            self.do(self.house.work())
        except asyncio.CancelledError:  # killed: nothing of this process goes on
            self.restart()
        finally:
            self.fault.close()

    def restart(self) -> None:
        self.do(self.house.close())
        self.open()

    @rule(hows=st.lists(st.sampled_from(HAND_OVERS), min_size=1, max_size=3), works=WORKS, seconds=SECONDS)
    def fax(self, hows: list[str], works: int, seconds: int) -> None:
        self.next += hows
        number = f"+1415555{len(self.faxes):04}"
        self.faxes[self.do(self.house.fax(number))] = number
        self.turn(works, seconds)

    @rule(hows=st.lists(st.sampled_from(HAND_OVERS), max_size=3), works=WORKS, seconds=SECONDS, again=st.booleans())
    def time_passes(self, hows: list[str], works: int, seconds: int, again: bool) -> None:
        self.next += hows
        if again:
            self.restart()
        self.turn(works, seconds)

    @rule(
        which=st.integers(0, 20), status=st.sampled_from(["delivered", "busy", "disconnected"]),
        told=st.sampled_from(["", "now", "early", "twice"]), works=WORKS, seconds=SECONDS,
    )  # fmt: skip
    def a_call_ends(self, which: int, status: str, told: str, works: int, seconds: int) -> None:
        if not self.far.calls:
            return
        call = self.far.calls[which % len(self.far.calls)]
        if call.status == "sending":
            call.status = status
        for early in {"now": [False], "early": [True], "twice": [False, True, False]}.get(told, []):
            self.do(self.house.say(call, "sending" if early else ""))
        self.turn(works, seconds)

    @rule(which=st.integers(0, 20), wish=st.sampled_from(WISHES), works=WORKS, seconds=SECONDS)
    def somebody_wishes(self, which: int, wish: tuple[str, str], works: int, seconds: int) -> None:
        if not self.faxes:
            return
        fax = list(self.faxes)[which % len(self.faxes)]
        if wish[1]:
            self.decided.add(fax)
        self.do(self.house.store.write(steering.ask, fax, *wish, "ann"))
        self.turn(works, seconds)

    # What must hold

    @invariant()
    def holds(self) -> None:
        assert self.called_again == []
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
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestFaxes = Faxes.TestCase

"""Any order of what people ask, by every door: no state moves where it must not, and nothing is sent that nobody agreed to.

The machine of `test_steps_stateful`, with proofs, approvals, commands by mail that are repeated, and faxes forwarded. The
database itself writes down every move that a fax or an attempt makes, so that none is missed between two looks.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from gateway.carriers.base import Capabilities
from gateway.desk.admission import Admission
from gateway.desk.bounces import Bounces
from gateway.desk.commands import Commands, Wanted
from gateway.desk.limits import Limits
from gateway.desk.prices import Prices
from gateway.desk.replies import Scope
from gateway.desk.steer import steer
from gateway.desk.submit import Desk
from gateway.errors import NotAdmitted
from gateway.fax import Account, AccountId, AttemptState, TransmissionId, TransmissionState
from gateway.lifecycle import ATTEMPT_MOVES, MOVES
from gateway.spool import accounts, approvals, steps, submissions, transmissions
from gateway.spool.approvals import Showing
from gateway.spool.commit import Transaction
from gateway.spool.steps import Claim
from tests.spool import values
from tests.work.test_steps_stateful import HAND_OVERS, SECONDS, WORKS, Faxes

T = TransmissionState
ANN = "ann@example.com"
OFFICE = Account(id=AccountId("acc_1"), name="office", countries=("US",))
STEERED = (("cancel", ""), ("hold", ""), ("retry", ""), ("release", ""), ("approve", ""), ("reject", ""), ("release", "fail"))
ASKED = ("stop", "approve", "reject", "forward", "")
_WATCH = """CREATE TRIGGER IF NOT EXISTS moves_of_{0} AFTER UPDATE OF state ON {0} WHEN OLD.state <> NEW.state
    BEGIN INSERT INTO moves VALUES ('{0}', OLD.state, NEW.state); END"""
_MOVES = "CREATE TABLE IF NOT EXISTS moves (of_, old, new)"
#: No machine fails here: nothing has to reach a disk.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
SEEN: set[tuple[str, str]] = set()


def watch(t: Transaction) -> None:
    """Have the database write down every move."""
    for statement in (_MOVES, _WATCH.format("transmission"), _WATCH.format("attempt")):
        t.db.exec_driver_sql(statement).close()


class Steered(Faxes):
    def __init__(self) -> None:
        super().__init__()
        self.temporary.cleanup()
        self.temporary = tempfile.TemporaryDirectory(dir=_MEMORY)
        self.shown: set[TransmissionId] = set()
        self.mails: list[tuple[TransmissionId, Wanted]] = []
        self.commands: Commands

    def open(self) -> None:
        super().open()
        store, config = self.house.store, self.house.shop.config
        desk = Desk(
            store=store,
            documents=self.house.documents,
            identity=self.house.identity,
            admission=Admission({"main": Capabilities()}),
            prices=Prices(config),
            limits=Limits(config, Prices(config)),
            default_carrier="main",
            bounces=Bounces(lambda: bytes(32), "x.example"),
        )
        self.commands = Commands(store, desk, self.house.shop.replies)
        self.do(store.write(accounts.save_account, OFFICE))
        self.do(store.write(watch))
        self.house.fax = self.made  # type: ignore[method-assign]  # its own makes the pages of whichever comes first

    def work(self) -> None:
        for claim in self.do(self.house.loop._claim(steps.CONVERT, 100)):
            self.do(self.convert(claim))
        super().work()

    async def made(self, number: str = values.NUMBER, carrier: str = "main") -> TransmissionId:
        """A fax that is looked at once; its pages are made unless somebody has wished otherwise."""
        accepted = await self.house.store.write(submissions.accept, values.submission(), [values.call(number)])
        for claim in await self.house.loop._claim(steps.CONVERT, 100):
            await self.convert(claim)
        return accepted.transmissions[0]

    async def convert(self, claim: Claim) -> None:
        """As the loop does it, but nothing is drawn."""
        case = await values.case(self.house.store, TransmissionId(claim.subject))
        if case.wishes or case.transmission.document is not None or case.transmission.state is not T.ACCEPTED:
            await self.house.loop._step(claim, None)
            return
        document = await self.house.documents.put(b"%PDF-1.7 " + claim.subject.encode())
        showing = Showing(to=ANN, why="she asked", wait=timedelta(hours=1)) if claim.subject in self.shown else None
        await self.house.store.write(
            transmissions.prepared, claim, document=document.sha256, pages=2, manifest="[]", showing=showing
        )

    @rule(hows=st.lists(st.sampled_from(HAND_OVERS), max_size=2), works=WORKS, seconds=SECONDS)
    def a_fax_is_shown(self, hows: list[str], works: int, seconds: int) -> None:
        self.next += hows
        number = f"+1415555{len(self.faxes):04}"
        submission = replace(values.submission(), message_id=f"<{number}@example.com>")
        accepted = self.do(self.house.store.write(submissions.accept, submission, [values.call(number)]))
        (fax,) = accepted.transmissions
        self.faxes[fax] = number
        self.shown.add(fax)
        self.turn(works, seconds)

    @rule(how=st.sampled_from(["accepted", "ready", "away", "takes"]), wish=st.sampled_from(STEERED), works=st.integers(1, 3))
    def a_fax_is_steered_at_once(self, how: str, wish: tuple[str, str], works: int) -> None:
        """In whatever state it is then: not made into pages yet, ready, deferred, being sent."""
        self.next = [how] if how in HAND_OVERS else []
        number = f"+1415555{len(self.faxes):04}"
        if how == "accepted":
            accepted = self.do(self.house.store.write(submissions.accept, values.submission(), [values.call(number)]))
            fax = accepted.transmissions[0]
        else:
            fax = self.do(self.house.fax(number))
        self.faxes[fax] = number
        if self.next:
            self.work()
        if wish == ("release", "fail"):
            self.decided.add(fax)
        with contextlib.suppress(NotAdmitted):
            self.do(steer(self.house.store, fax, wish[0], choice=wish[1], by=ANN, patience=0))
        self.turn(works, 0)

    @rule(which=st.integers(0, 20), wish=st.sampled_from(STEERED), works=WORKS, seconds=SECONDS)
    def somebody_steers(self, which: int, wish: tuple[str, str], works: int, seconds: int) -> None:
        if not self.faxes:
            return
        fax = list(self.faxes)[which % len(self.faxes)]
        if wish == ("release", "fail"):
            self.decided.add(fax)
        if wish[0] == "retry" and self.do(values.case(self.house.store, fax)).transmission.finished_at:
            return  # a new fax to the same number: not told from a second call here
        with contextlib.suppress(NotAdmitted):
            self.do(steer(self.house.store, fax, wish[0], choice=wish[1], by=ANN, patience=0))
        self.turn(works, seconds)

    @rule(which=st.integers(0, 20), verb=st.sampled_from(ASKED), again=st.booleans(), works=WORKS, seconds=SECONDS)
    def somebody_answers(self, which: int, verb: str, again: bool, works: int, seconds: int) -> None:
        if not self.faxes:
            return
        if again and self.mails:
            fax, wanted = self.mails[which % len(self.mails)]
        else:
            fax = list(self.faxes)[which % len(self.faxes)]
            number = f"+1415555{len(self.faxes):04}" if verb == "forward" else ""
            wanted = Wanted(verb=verb, words=f"{verb.upper()} {number}".strip(), number=number, mail=str(len(self.mails)))
            self.mails.append((fax, wanted))
        before = self.known() if wanted.verb == "forward" else set[str]()
        replies, now = self.house.shop.replies, self.house.now()
        ticket = replies.read(replies.address(Scope.STEER, fax, ANN, now).partition("@")[0], now)
        self.do(self.commands.do(ticket, OFFICE, ANN, "", wanted))
        for new in (self.known() if wanted.verb == "forward" else set()) - before:
            assert not again or wanted.number not in self.faxes.values(), "a repeated command did it again"
            self.faxes[TransmissionId(new)] = wanted.number
        self.turn(works, seconds)

    def agreed(self) -> set[TransmissionId]:
        """Faxes that somebody has asked to be sent, by whatever door."""
        asked = "SELECT transmission_id FROM steering WHERE verb IN ('approve', 'release')"
        return {TransmissionId(row[0]) for row in self.rows(asked)}

    def known(self) -> set[str]:
        return {row[0] for row in self.rows("SELECT id FROM transmission")}

    def rows(self, query: str) -> list[tuple[str, ...]]:
        return self.do(self.house.store.read(lambda db: [tuple(row) for row in db.exec_driver_sql(query)]))

    @invariant()
    def nothing_is_sent_unseen(self) -> None:
        called = {fax for fax in self.shown if self.far.to(self.faxes[fax])}
        assert not called or called <= self.agreed(), "sent before its sender agreed"

    def teardown(self) -> None:
        try:
            if hasattr(self, "house"):
                self.look_back()
        finally:
            super().teardown()

    def look_back(self) -> None:
        """What the database has written down."""
        for of, old, new in self.rows("SELECT DISTINCT of_, old, new FROM moves"):
            if of == "transmission":
                assert T(new) in MOVES[T(old)], f"{old} -> {new}"
                SEEN.add((old, new))
            else:
                assert AttemptState(new) in ATTEMPT_MOVES[AttemptState(old)], f"{old} -> {new}"
        for fax in self.shown - self.agreed():
            found = self.do(self.house.store.read(approvals.of, fax))
            assert found is None or found.verdict != approvals.APPROVED
        ((mails, answers),) = self.rows(
            "SELECT (SELECT count(*) FROM command), (SELECT count(*) FROM outbox WHERE kind = 'answer')"
        )
        assert mails == answers, "every mail is answered once"


Steered.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestSteered = Steered.TestCase


def test_the_machine_has_gone_most_ways() -> None:
    """Of the 23 moves there are; which ones differs a little from run to run."""
    always = {("accepted", "ready"), ("accepted", "held"), ("ready", "sending"), ("held", "cancelled")}
    assert always <= SEEN
    assert len(SEEN) >= 9, sorted(SEEN)

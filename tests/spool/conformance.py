"""What the spool promises, on every database. A behaviour of the store is tested here and nowhere else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from gateway.errors import Outcome, SpoolUnavailable
from gateway.fax import (
    Account,
    AccountId,
    AttemptState,
    InboundId,
    InboundState,
    Line,
    Recipient,
    Sha256,
    TransmissionId,
    TransmissionState,
)
from gateway.lifecycle import FINAL, MOVES
from gateway.spool import (
    accounts,
    applications,
    blocks,
    events,
    inbounds,
    ledger,
    outbox,
    pamfax,
    queries,
    retention,
    schema,
    steering,
    steps,
    submissions,
    transmissions,
)
from gateway.spool.commit import Transaction
from gateway.spool.events import Kept
from gateway.spool.steps import Claim
from gateway.spool.store import Store
from gateway.spool.transmissions import Next
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.values import LANE, LEASE, NUMBER, SHA

T = TransmissionState
A = AttemptState
Reopen = Callable[[], Awaitable[Store]]
HELD = Next(state=T.HELD, reason="why", alarm="a fax is held")
FAILED = Next(state=T.FAILED, outcome=Outcome.BUSY)


def owed(store: Store) -> Awaitable[Counter[str]]:
    """Outbox rows by kind."""
    return store.read(lambda db: Counter(db.scalars(select(schema.outbox.c.kind))))


def count(store: Store, table: str) -> Awaitable[int]:
    return store.read(lambda db: int(db.scalar(text(f"SELECT count(*) FROM {table}")) or 0))


async def step_of(store: Store, subject: str) -> tuple[str, str, float, str | None]:
    """Kind, lane, seconds until it is due, token."""
    row = (await store.read(lambda db: db.execute(select(schema.step).where(schema.step.c.subject == subject)).all()))[0]
    return row.kind, row.lane, (row.due_at - store.now()).total_seconds(), row.token


class AcceptConformance:
    async def test_que_01_what_was_accepted_is_there_after_reopening(self, store: Store, reopen: Reopen) -> None:
        submission, call = values.submission(), values.call(NUMBER, "", "1@x", "/X=1/2@x")
        accepted = await store.write(submissions.accept, submission, [call])
        case = await values.case(await reopen(), accepted.transmissions[0])
        assert case.submission == submission
        assert case.recipients == call.recipients
        assert (case.transmission.state, case.transmission.number, case.transmission.caller) == (
            T.ACCEPTED, NUMBER, "+14155550100",
        )  # fmt: skip

    async def test_que_07_a_repetition_within_48_hours_is_the_same_fax(self, store: Store, clock: Clock) -> None:
        first = await values.accept(store, values.call(key="k"))
        clock.forward(48 * 3600 - 5)
        again = await values.accept(store, values.call(key="k"))
        assert again.transmissions == ()
        assert (again.submission, again.repeated) == (first.submission, first.transmissions)
        assert await count(store, "submission") == 1
        clock.forward(10)
        assert len((await values.accept(store, values.call(key="k"))).transmissions) == 1

    async def test_que_07_how_long_a_mail_is_remembered_is_each_call_s_own(self, store: Store, clock: Clock) -> None:
        short, long = (replace(values.call(key=key), memory=timedelta(hours=hours)) for key, hours in (("s", 1), ("l", 100)))
        first = await values.accept(store, short, long)
        clock.forward(99 * 3600)
        await store.write(submissions.forget, timedelta(hours=100))
        again, both = await asyncio.gather(values.accept(store, long), values.accept(store, short, long))
        assert again.repeated == (first.calls[1],)
        assert (both.repeated, len(both.transmissions)) == ((first.calls[1],), 1)
        clock.forward(2 * 3600)
        assert len((await values.accept(store, short, long)).transmissions) == 2

    async def test_que_07_a_partial_repetition_makes_only_what_is_new(self, store: Store) -> None:
        first = await values.accept(store, values.call(key="a"))
        second = await values.accept(store, values.call(key="a"), values.call("+14155550124", "b"))
        assert second.repeated == first.transmissions
        assert second.submission != first.submission
        assert (await values.case(store, second.transmissions[0])).transmission.number == "+14155550124"

    async def test_without_a_key_nothing_is_a_repetition(self, store: Store) -> None:
        first, second = await values.accept(store), await values.accept(store)
        assert first.transmissions != second.transmissions

    async def test_two_at_the_same_time_with_one_key_are_one_fax(self, store: Store) -> None:
        both = await asyncio.gather(*(values.accept(store, values.call(key="k")) for _ in range(10)))
        assert sum(len(accepted.transmissions) for accepted in both) == 1

    async def test_forget_drops_only_what_is_too_old(self, store: Store, clock: Clock) -> None:
        await values.accept(store, values.call(key="old"))
        clock.forward(49 * 3600)
        await values.accept(store, values.call(key="new"))
        assert await store.write(submissions.forget) == 1
        assert await count(store, "seen") == 1

    async def test_a_retry_is_a_new_transmission_of_the_old_submission(self, store: Store) -> None:
        accepted = await values.accept(store)
        old = await values.case(store, accepted.transmissions[0])
        fresh = await store.write(submissions.again, old.submission, values.call())
        case = await values.case(store, fresh)
        assert fresh != old.transmission.id
        assert (case.submission, case.transmission.state) == (old.submission, T.ACCEPTED)
        assert (await step_of(store, fresh))[:2] == ("prepare", steps.CONVERT)


class ClaimConformance:
    async def test_oldest_due_first_and_no_more_than_asked_for(self, store: Store, clock: Clock) -> None:
        made: list[TransmissionId] = []
        for _ in range(3):
            made += (await values.accept(store)).transmissions
            clock.forward(1)
        taken = await store.write(steps.claim, steps.CONVERT, 2, 60.0, steps.uptime())
        assert [claim.subject for claim in taken] == made[:2]
        assert [claim.tries for claim in taken] == [1, 1]

    async def test_what_is_claimed_is_not_claimed_again_until_the_lease_has_ended(self, store: Store, clock: Clock) -> None:
        await values.accept(store)
        first = await values.claim(store, steps.CONVERT)
        assert await store.write(steps.claim, steps.CONVERT, 1, 60.0, 0.0) == []
        clock.forward(values.LEASE + 1)
        second = await values.claim(store, steps.CONVERT)
        assert (second.subject, second.tries) == (first.subject, 2)
        assert second.token != first.token

    async def test_what_is_not_due_is_not_claimed(self, store: Store, clock: Clock) -> None:
        await values.accept(store)
        mine = await values.claim(store, steps.CONVERT)
        assert await store.write(steps.put_back, mine, due_at=store.now() + timedelta(seconds=30))
        assert await store.write(steps.claim, steps.CONVERT, 1, 60.0, 0.0) == []
        clock.forward(31)
        assert (await values.claim(store, steps.CONVERT)).subject == mine.subject

    async def test_lanes_do_not_see_each_other(self, store: Store) -> None:
        await values.accept(store)
        assert await store.write(steps.claim, LANE, 1, 60.0, 0.0) == []
        assert await store.read(steps.lanes) == [steps.CONVERT]

    async def test_a_following_step_inherits_the_age_of_its_fax(self, store: Store, clock: Clock) -> None:
        older = await values.ready(store)
        mine = await values.claim(store)
        clock.forward(100)
        younger = await values.ready(store)
        assert await store.write(steps.put_back, mine)
        taken = await store.write(steps.claim, LANE, 1, 60.0, 0.0)
        assert [claim.subject for claim in taken] == [older]
        assert (await store.write(steps.claim, LANE, 1, 60.0, 0.0))[0].subject == younger

    async def test_a_nudge_while_claimed_makes_the_step_due_when_it_is_put_back(self, store: Store) -> None:
        await values.ready(store)
        mine = await values.claim(store)
        assert await store.write(steps.nudge, mine.subject)
        assert await store.write(steps.claim, LANE, 1, 60.0, 0.0) == [], "the lease holder keeps it"
        assert await store.write(steps.put_back, mine, due_at=schema.PARKED)
        assert (await values.claim(store)).subject == mine.subject
        again = await values.claim_or_none(store)
        assert again is None, "a nudge counts once"

    async def test_a_nudge_makes_a_parked_step_due(self, store: Store) -> None:
        await values.ready(store)
        mine = await values.claim(store)
        await store.write(steps.put_back, mine, due_at=schema.PARKED)
        assert await values.claim_or_none(store) is None
        assert await store.write(steps.nudge, mine.subject)
        assert (await values.claim(store)).subject == mine.subject

    async def test_a_nudge_of_nothing_says_so(self, store: Store) -> None:
        assert not await store.write(steps.nudge, "tx_nowhere")

    async def test_renew_extends_a_claim_by_its_length(self, store: Store, clock: Clock) -> None:
        await values.ready(store)
        mine = await values.claim(store)
        clock.forward(values.LEASE - 10)
        assert await store.write(steps.renew, mine)
        clock.forward(values.LEASE - 10)
        assert await values.claim_or_none(store) is None

    async def test_a_step_put_back_as_another_kind_begins_to_count_again(self, store: Store) -> None:
        await values.ready(store)
        mine = await values.claim(store)
        await store.write(steps.put_back, mine)
        mine = await values.claim(store)
        assert mine.tries == 2
        await store.write(steps.put_back, mine, kind="track", lane="carrier:other")
        other = await values.claim(store, "carrier:other")
        assert (other.kind, other.tries) == ("track", 1)

    async def test_free_all_gives_back_what_a_dead_process_held(self, store: Store) -> None:
        transmission = await values.ready(store)
        mine = await values.claim(store)
        assert await store.write(steps.free_all) == 1
        assert not await store.write(steps.put_back, mine)
        assert (await values.claim(store)).subject == transmission

    async def test_free_all_leaves_parked_and_deferred_steps_alone(self, store: Store) -> None:
        await values.ready(store)
        await store.write(steps.put_back, await values.claim(store), due_at=store.now() + timedelta(hours=1))
        assert await store.write(steps.free_all) == 0
        assert await values.claim_or_none(store) is None

    async def test_whoever_works_in_a_lane_is_woken(self, store: Store) -> None:
        woken = store.woken(steps.CONVERT)
        assert not woken.is_set()
        await values.accept(store)
        await asyncio.wait_for(woken.wait(), 5)


_FETCHED = inbounds.Fetched(document=SHA, original=SHA, pages=1)
_TWO_PAGES = inbounds.Fetched(document=SHA, original=SHA, pages=2)
Verb = Callable[[Store, Claim], Awaitable[object]]
#: Every verb that takes a claim, on a transmission that is sending. None may do anything for an old claim.
FENCED: dict[str, Verb] = {
    "prepared": lambda s, c: s.write(transmissions.prepared, c, document=SHA, pages=1, manifest=""),
    "open_attempt": lambda s, c: s.write(transmissions.open_attempt, c, values.attempt(TransmissionId(c.subject), 2), None),
    "put_back": lambda s, c: s.write(steps.put_back, c),
    "renew": lambda s, c: s.write(steps.renew, c),
    "done": lambda s, c: s.write(steps.done, c),
    "settle": lambda s, c: s.write(transmissions.settle, c, HELD),
    "dial_now": lambda s, c: s.write(transmissions.dial_now, c),
    "settled": lambda s, c: s.write(outbox.settled, c, outbox.SENT, ""),
    "deferred": lambda s, c: s.write(outbox.deferred, c, "", s.now()),
    "original_stored": lambda s, c: s.write(inbounds.original_stored, c, SHA),
    "fetched": lambda s, c: s.write(inbounds.fetched, c, _FETCHED, mailboxes=()),
    "held_back": lambda s, c: s.write(inbounds.held_back, c, _FETCHED),
    "dropped": lambda s, c: s.write(inbounds.dropped, c, _FETCHED),
    "without_document": lambda s, c: s.write(outbox.without_document, c, ""),
    "ended": lambda s, c: s.write(inbounds.ended, c, InboundState.HELD, "", ""),
}


async def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """The whole database."""
    tables = schema.metadata.sorted_tables
    return await store.read(lambda db: {table.name: [tuple(row) for row in db.execute(select(table))] for table in tables})


class FenceConformance:
    @pytest.mark.parametrize("verb", FENCED)
    async def test_an_old_claim_changes_nothing(self, store: Store, clock: Clock, verb: str) -> None:
        old, _ = await values.sending(store)
        clock.forward(values.LEASE + 1)
        await values.claim(store)
        before = await everything(store)
        assert not await FENCED[verb](store, old)
        assert await everything(store) == before

    async def test_an_old_claim_changes_no_attempt(self, store: Store, clock: Clock) -> None:
        old, attempt = await values.opening(store)
        clock.forward(values.LEASE + 1)
        await values.claim(store)
        before = await everything(store)
        assert not await store.write(transmissions.opened_at_carrier, old, attempt, "x")
        assert not await store.write(transmissions.submitted, old, attempt, "x", store.now())
        assert not await store.write(transmissions.uncertain, old, attempt, "", store.now())
        assert not await store.write(transmissions.end_attempt, old, attempt, values.ending(), HELD, ())
        assert await everything(store) == before

    async def test_of_claims_that_come_together_only_the_old_ones_change_nothing(self, store: Store, clock: Clock) -> None:
        await values.many_ready(store, [f"+1415555{n:04}" for n in range(9)])
        claims = await store.write(steps.claim, LANE, 9, LEASE, steps.uptime())
        clock.forward(LEASE + 1)
        tried = {claim.subject: values.attempt(TransmissionId(claim.subject)) for claim in claims}

        async def together(write: Callable[[Claim], Awaitable[bool]]) -> None:
            """Another process takes over three; then all claims write at once."""
            nonlocal claims
            lost = {one.subject for one in await store.write(steps.claim, LANE, 3, LEASE, steps.uptime())}
            before, ran = await everything(store), store.transactions
            done = await asyncio.gather(*(write(claim) for claim in claims))
            assert store.transactions == ran + 1
            assert done == [claim.subject not in lost for claim in claims]
            assert len(lost.intersection(tried)) == 3
            after = await everything(store)
            for table in ("transmission", "attempt", "step"):
                assert [row for row in after[table] if lost.intersection(map(str, row))] == [
                    row for row in before[table] if lost.intersection(map(str, row))
                ], table
            claims = [claim for claim in claims if claim.subject not in lost]

        await together(lambda claim: store.write(transmissions.open_attempt, claim, tried[claim.subject], 50))
        await together(
            lambda claim: store.write(
                transmissions.submitted, claim, tried[claim.subject], f"ref {claim.subject}", store.now() - timedelta(hours=1)
            )
        )
        assert len(claims) == 3
        claims = await store.write(steps.claim, LANE, 3, LEASE, steps.uptime())
        tried = {claim.subject: await values.open_attempt(store, TransmissionId(claim.subject)) for claim in claims}
        following = Next(state=T.DELIVERED, outcome=Outcome.DELIVERED)
        await store.write(steps.put_back, claims[1])
        ends = [
            store.write(transmissions.end_attempt, one, tried[one.subject], values.ending(), following, ()) for one in claims
        ]
        assert await asyncio.gather(*ends) == [True, False, True]
        assert await owed(store) == {"result": 2}


class AttemptConformance:
    async def test_an_attempt_is_on_disk_before_the_carrier_is_called(self, store: Store, reopen: Reopen) -> None:
        _, attempt = await values.opening(store)
        case = await values.case(await reopen(), attempt.transmission)
        assert case.transmission.state is T.SENDING
        assert case.open_attempt == attempt

    @pytest.mark.parametrize("state", [A.OPENING, A.SUBMITTED, A.UNCERTAIN])
    async def test_there_is_no_second_attempt_while_one_is_open(self, store: Store, state: AttemptState) -> None:
        mine, attempt = await values.opening(store)
        if state is A.SUBMITTED:
            assert await store.write(transmissions.submitted, mine, attempt, "r", store.now())
            mine = await values.claim(store)
        elif state is A.UNCERTAIN:
            assert await store.write(transmissions.uncertain, mine, attempt, "", store.now())
            mine = await values.claim(store)
        # Even where the state of the fax would allow it.
        await store.write(values.force, attempt.transmission, "ready")
        assert not await store.write(transmissions.open_attempt, mine, values.attempt(attempt.transmission, 2), None)
        assert await count(store, "attempt") == 1

    @pytest.mark.parametrize("state", [state for state in T if state not in (T.READY, T.DEFERRED)])
    async def test_an_attempt_begins_only_when_the_fax_is_ready_or_deferred(self, store: Store, state: T) -> None:
        transmission = await values.ready(store)
        mine = await values.claim(store)
        await store.write(values.force, transmission, state.value)
        assert not await store.write(transmissions.open_attempt, mine, values.attempt(transmission), None)
        assert await count(store, "attempt") == 0

    async def test_submitted_looks_at_once_if_the_carrier_has_spoken_already(self, store: Store) -> None:
        mine, attempt = await values.opening(store)
        assert await store.write(events.store, "main", values.statement()) is Kept.NEW
        later = store.now() + timedelta(minutes=10)
        assert await store.write(transmissions.submitted, mine, attempt, "ref-1", later)
        found = await store.read(events.waiting, "main", "ref-1", attempt.reference)
        assert [stored.statement for stored in found] == [values.statement()]
        assert (await values.claim(store)).kind == "track"

    async def test_submitted_looks_later_if_nothing_was_said(self, store: Store) -> None:
        mine, attempt = await values.opening(store)
        later = store.now() + timedelta(minutes=10)
        assert await store.write(transmissions.submitted, mine, attempt, "ref-1", later)
        kind, lane, seconds, token = await step_of(store, attempt.transmission)
        assert (kind, lane, token) == ("track", LANE, None)
        assert 590 < seconds <= 600

    async def test_two_attempts_without_a_reference_of_the_carrier_do_not_clash(self, store: Store) -> None:
        for _ in range(2):
            mine, attempt = await values.opening(store)
            assert await store.write(transmissions.submitted, mine, attempt, "", store.now() + timedelta(hours=1))

    async def test_uncertain_waits_and_keeps_the_attempt_open(self, store: Store) -> None:
        mine, attempt = await values.opening(store)
        assert await store.write(transmissions.uncertain, mine, attempt, "no answer", store.now() + timedelta(minutes=1))
        found = await values.open_attempt(store, attempt.transmission)
        assert (found.state, found.text) == (A.UNCERTAIN, "no answer")
        assert await values.claim_or_none(store) is None

    @pytest.mark.parametrize("state", sorted(FINAL))
    async def test_a_final_state_and_its_report_are_one_transaction(self, store: Store, state: T) -> None:
        mine, attempt = await values.sending(store)
        before = store.transactions
        following = Next(state=state, outcome=Outcome.BUSY, pages_sent=2)
        assert await store.write(
            transmissions.end_attempt, mine, attempt, values.ending(A(state.value), Outcome.BUSY), following, ()
        )
        assert store.transactions == before + 1
        assert await owed(store) == {"result": 1}
        case = await values.case(store, attempt.transmission)
        assert (case.transmission.state, case.transmission.pages_sent, case.open_attempt) == (state, 2, None)
        assert case.transmission.finished_at is not None
        assert (case.attempts[0].station_id, case.attempts[0].seconds) == ("FAX 1", 31.5)
        assert await store.read(steps.lanes) == [steps.MAIL]

    async def test_a_deferred_fax_is_due_when_it_says(self, store: Store) -> None:
        mine, attempt = await values.sending(store)
        due = store.now() + timedelta(minutes=5)
        following = Next(state=T.DEFERRED, outcome=Outcome.BUSY, due_at=due)
        assert await store.write(transmissions.end_attempt, mine, attempt, values.ending(A.FAILED, Outcome.BUSY), following, ())
        assert (await values.case(store, attempt.transmission)).transmission.due_at == due
        assert 299 < (await step_of(store, attempt.transmission))[2] <= 300
        assert await owed(store) == {}

    async def test_a_held_fax_is_parked_and_the_operator_told(self, store: Store) -> None:
        mine, attempt = await values.sending(store)
        assert await store.write(transmissions.settle, mine, HELD)
        assert await owed(store) == {"held": 1, "alarm": 1}
        assert await values.claim_or_none(store) is None
        assert (await values.open_attempt(store, attempt.transmission)).state is A.SUBMITTED

    async def test_an_illegal_end_changes_nothing(self, store: Store) -> None:
        mine, attempt = await values.sending(store)
        before = await everything(store)
        ready = Next(state=T.READY)
        assert not await store.write(transmissions.end_attempt, mine, attempt, values.ending(), ready, ())
        assert await everything(store) == before

    async def test_a_fax_does_not_move_away_from_an_open_attempt(self, store: Store) -> None:
        mine, _ = await values.sending(store)
        before = await everything(store)
        assert not await store.write(transmissions.settle, mine, FAILED)
        assert await everything(store) == before

    async def test_a_held_fax_whose_attempt_failed_after_all_is_deferred(self, store: Store) -> None:
        mine, attempt = await values.sending(store)
        await store.write(transmissions.settle, mine, HELD)
        await store.write(steps.nudge, attempt.transmission)
        following = Next(state=T.DEFERRED, outcome=Outcome.BUSY, due_at=store.now())
        assert await store.write(
            transmissions.end_attempt, await values.claim(store), attempt, values.ending(A.FAILED, Outcome.BUSY), following, ()
        )
        assert (await values.case(store, attempt.transmission)).transmission.state is T.DEFERRED

    async def test_a_held_fax_that_was_submitted_after_all_is_sending(self, store: Store) -> None:
        mine, attempt = await values.opening(store)
        await store.write(transmissions.uncertain, mine, attempt, "", store.now())
        await store.write(transmissions.settle, await values.claim(store), HELD)
        await store.write(steps.nudge, attempt.transmission)
        found = await values.open_attempt(store, attempt.transmission)
        assert await store.write(transmissions.submitted, await values.claim(store), found, "ref-9", store.now())
        case = await values.case(store, attempt.transmission)
        assert case.transmission.state is T.SENDING
        assert case.open_attempt is not None
        assert (case.open_attempt.state, case.open_attempt.carrier_ref) == (A.SUBMITTED, "ref-9")

    async def test_dial_now_is_for_deferred_faxes_only(self, store: Store) -> None:
        mine, attempt = await values.sending(store)
        assert not await store.write(transmissions.dial_now, mine)
        following = Next(state=T.DEFERRED, outcome=Outcome.BUSY, due_at=store.now() + timedelta(hours=1))
        await store.write(transmissions.end_attempt, mine, attempt, values.ending(A.FAILED, Outcome.BUSY), following, ())
        await store.write(steps.nudge, attempt.transmission)
        assert await store.write(transmissions.dial_now, await values.claim(store))
        assert (await values.claim(store)).subject == attempt.transmission

    @pytest.mark.parametrize("old", list(T))
    async def test_settle_makes_exactly_the_legal_moves(self, store: Store, old: T) -> None:
        for new in T:
            transmission = await values.ready(store)
            mine = await values.claim(store)
            await store.write(values.force, transmission, old.value)
            moved = await store.write(transmissions.settle, mine, Next(state=new, due_at=store.now() + timedelta(days=1)))
            assert moved == (new in MOVES[old]), (old, new)
            found = (await values.case(store, transmission)).transmission.state
            assert found is (new if moved else old)
            await store.write(lambda t: t.db.execute(schema.step.delete()))


class EventConformance:
    async def test_a_statement_is_stored_once_by_carrier_and_key(self, store: Store) -> None:
        assert await store.write(events.store, "main", values.statement()) is Kept.NEW
        assert await store.write(events.store, "main", values.statement()) is Kept.KNOWN
        assert await store.write(events.store, "other", values.statement()) is Kept.NEW
        assert await count(store, "event") == 2

    async def test_of_the_same_statement_twice_in_one_batch_the_first_is_new(self, store: Store) -> None:
        said = [values.statement(key) for key in ("k1", "k2", "k1")]
        before = store.transactions
        kept = await asyncio.gather(*(store.write(events.store, "main", one) for one in said))
        assert store.transactions == before + 1
        assert kept == [Kept.NEW, Kept.NEW, Kept.KNOWN]
        assert await count(store, "event") == 2

    async def test_statements_of_one_batch_find_each_its_own_fax(self, store: Store) -> None:
        faxes = await values.many_ready(store, [f"+1415555{n:04}" for n in range(4)])
        claims = {one.subject: one for one in await store.write(steps.claim, LANE, 4, LEASE, steps.uptime())}
        tried = {fax: values.attempt(fax) for fax in faxes}
        later = store.now() + timedelta(hours=1)
        for fax in faxes:
            assert await store.write(transmissions.open_attempt, claims[fax], tried[fax], 9)
            assert await store.write(transmissions.submitted, claims[fax], tried[fax], f"ref {fax}", later)
        ours = values.statement("a", carrier_ref="", reference=tried[faxes[0]].reference)
        theirs = values.statement("b", carrier_ref=f"ref {faxes[1]}")
        nobodys = values.statement("c", carrier_ref="ref 9")
        others = ("other", values.statement("d", carrier_ref=f"ref {faxes[2]}", reference=tried[faxes[2]].reference))
        writes = [("main", ours), ("main", theirs), ("main", nobodys), others]
        assert await asyncio.gather(*(store.write(events.store, *one) for one in writes)) == [Kept.NEW] * 4
        looked_at = await store.write(steps.claim, LANE, 9, LEASE, steps.uptime())
        assert {claim.subject for claim in looked_at} == set(faxes[:2])
        abouts = [("main", f"ref {fax}", tried[fax].reference) for fax in faxes]
        said = await store.read(events.waiting_about, abouts)
        assert {about: [one.statement for one in stored] for about, stored in said.items()} == {
            abouts[0]: [ours], abouts[1]: [theirs],
        }  # fmt: skip

    async def test_a_statement_has_its_fax_looked_at(self, store: Store) -> None:
        mine, attempt = await values.sending(store)
        await store.write(steps.put_back, mine, due_at=store.now() + timedelta(hours=1))
        await store.write(events.store, "main", values.statement(carrier_ref="", reference=attempt.reference))
        assert (await values.claim(store)).subject == attempt.transmission

    async def test_statements_are_read_in_the_order_of_their_times(self, store: Store) -> None:
        second = values.statement("b", at=values.AT + timedelta(seconds=1))
        await store.write(events.store, "main", second)
        await store.write(events.store, "main", values.statement("a"))
        found = await store.read(events.waiting, "main", "ref-1", "at_x")
        assert [stored.statement.key for stored in found] == ["a", "b"]

    async def test_a_used_statement_does_not_wait_any_more(self, store: Store) -> None:
        mine, attempt = await values.sending(store)
        await store.write(events.store, "main", values.statement())
        said = await store.read(events.waiting, "main", "ref-1", attempt.reference)
        following = Next(state=T.DELIVERED, outcome=Outcome.DELIVERED)
        await store.write(transmissions.end_attempt, mine, attempt, values.ending(), following, [stored.id for stored in said])
        assert await store.read(events.waiting, "main", "ref-1", attempt.reference) == []

    @pytest.mark.parametrize(("state", "kept"), [(A.FAILED, Kept.LATE), (A.DELIVERED, Kept.NEW), (A.SUBMITTED, Kept.NEW)])
    async def test_a_late_statement_moves_nothing_and_a_different_one_is_flagged(
        self, store: Store, state: AttemptState, kept: Kept
    ) -> None:
        mine, attempt = await values.sending(store)
        following = Next(state=T.DELIVERED, outcome=Outcome.DELIVERED)
        await store.write(transmissions.end_attempt, mine, attempt, values.ending(), following, ())
        before = (await values.case(store, attempt.transmission)).transmission
        assert await store.write(events.store, "main", values.statement("late", state=state, outcome=None)) is kept
        assert (await values.case(store, attempt.transmission)).transmission == before
        history = [entry.what for entry in await store.read(queries.history, attempt.transmission)]
        assert history.count("late event") == (kept is Kept.LATE)
        assert await store.read(events.waiting, "main", "ref-1", attempt.reference) == []

    async def test_a_statement_about_an_earlier_attempt_is_late_though_the_fax_goes_on(self, store: Store) -> None:
        mine, attempt = await values.sending(store)
        following = Next(state=T.DEFERRED, outcome=Outcome.BUSY, due_at=store.now() + timedelta(hours=1))
        await store.write(transmissions.end_attempt, mine, attempt, values.ending(A.FAILED, Outcome.BUSY), following, ())
        assert await store.write(events.store, "main", values.statement("late")) is Kept.LATE
        assert (await values.case(store, attempt.transmission)).transmission.state is T.DEFERRED


class InboundConformance:
    async def test_a_received_fax_is_announced_once_by_carrier_and_reference(self, store: Store) -> None:
        assert await store.write(inbounds.announced, "main", values.news())
        assert not await store.write(inbounds.announced, "main", values.news())
        assert await store.write(inbounds.announced, "other", values.news())
        assert await count(store, "inbound") == 2
        assert await store.read(inbounds.by_carrier_ref, "main", ["in-1", "in-2"]) == {"in-1": InboundState.ANNOUNCED}

    async def test_a_received_fax_that_was_lost_is_taken_when_it_comes_and_a_held_one_is_released(self, store: Store) -> None:
        lost = replace(values.news(), document=None)
        await store.write(inbounds.announced, "main", lost)
        (claim,) = await store.write(steps.claim, steps.RECEIVE, 9, 60.0, steps.uptime())
        assert await store.write(inbounds.ended, claim, InboundState.FAILED, "gone", "lost")
        assert not await store.write(inbounds.announced, "main", lost)
        assert await store.write(inbounds.announced, "main", replace(lost, document=Sha256("0" * 64)))
        (claim,) = await store.write(steps.claim, steps.RECEIVE, 9, 60.0, steps.uptime())
        fax = InboundId(claim.subject)
        assert not await store.write(inbounds.released, fax, "ann")
        assert await store.write(inbounds.ended, claim, InboundState.HELD, "unreadable", "held")
        assert await store.write(inbounds.released, fax, "ann")
        (claim,) = await store.write(steps.claim, steps.RECEIVE, 9, 60.0, steps.uptime())
        assert claim.subject == fax

    async def test_fetched_owes_a_mail_to_each_mailbox_and_mailed_waits_for_all(self, store: Store) -> None:
        await store.write(inbounds.announced, "main", values.news())
        mine = await values.claim(store, steps.RECEIVE)
        assert await store.write(inbounds.fetched, mine, _TWO_PAGES, mailboxes=["a@example.com", "b@example.com"])
        found = await store.read(inbounds.get, mine.subject)
        assert found is not None
        assert (found.state, found.pages) == (InboundState.FETCHED, 2)
        first, second = await store.write(steps.claim, steps.MAIL, 5, 60.0, 0.0)
        assert await store.write(outbox.settled, first, outbox.SENT, "250")
        assert not await store.write(inbounds.mailed, found.id)
        assert await store.write(outbox.settled, second, outbox.SENT, "250")
        assert await store.write(inbounds.mailed, found.id)
        assert not await store.write(inbounds.mailed, found.id), "once"

    async def test_mailed_waits_for_the_archive_too(self, store: Store) -> None:
        await store.write(inbounds.announced, "main", values.news())
        mine = await values.claim(store, steps.RECEIVE)
        assert await store.write(inbounds.fetched, mine, _TWO_PAGES, mailboxes=["a@example.com"], archived=True)
        (mail,) = await store.write(steps.claim, steps.MAIL, 5, 60.0, 0.0)
        assert await store.write(outbox.settled, mail, outbox.SENT, "250")
        assert not await store.write(inbounds.mailed, InboundId(mine.subject))
        (copy,) = await store.write(steps.claim, steps.ARCHIVE, 5, 60.0, 0.0)
        assert await store.write(outbox.settled, copy, outbox.SENT, "2026/fax.pdf")
        assert await store.write(inbounds.mailed, InboundId(mine.subject))

    async def test_a_fax_that_was_dropped_is_kept_and_may_be_released(self, store: Store) -> None:
        await store.write(inbounds.announced, "main", values.news())
        mine = await values.claim(store, steps.RECEIVE)
        made = replace(_TWO_PAGES, route="the caller is blocked", resolution="204x98", damaged=1)
        assert await store.write(inbounds.dropped, mine, made)
        dropped = await store.read(inbounds.get, mine.subject)
        assert dropped is not None
        assert (dropped.state, dropped.document, dropped.resolution, dropped.damaged) == (
            InboundState.REFUSED, SHA, "204x98", 1,
        )  # fmt: skip
        assert (dropped.route, dropped.reason) == ("the caller is blocked", "Dropped: the caller is blocked.")
        assert await store.write(inbounds.released, dropped.id, "ann", ["b@example.com"])
        again = await store.read(inbounds.get, dropped.id)
        assert again is not None
        assert (again.state, again.released, again.mailbox) == (InboundState.ANNOUNCED, True, ("b@example.com",))

    async def test_callers_are_blocked_and_let_in_again(self, store: Store) -> None:
        for reason in ("spam", "much spam"):
            await store.write(blocks.add_caller, "+1900*", reason, "ann")
        assert [(one.pattern, one.reason) for one in await store.read(blocks.callers)] == [("+1900*", "much spam")]
        assert await store.write(blocks.remove_caller, "+1900*")
        assert not await store.write(blocks.remove_caller, "+1900*")
        assert await store.read(blocks.callers) == []

    async def test_a_refused_mailbox_holds_the_fax(self, store: Store) -> None:
        await store.write(inbounds.announced, "main", values.news())
        mine = await values.claim(store, steps.RECEIVE)
        await store.write(inbounds.fetched, mine, _TWO_PAGES, mailboxes=["a@example.com"])
        found = await store.read(inbounds.get, mine.subject)
        assert found is not None
        await store.write(inbounds.undeliverable, found.id, "no such mailbox")
        held = await store.read(inbounds.get, found.id)
        assert held is not None
        assert (held.state, held.reason) == (InboundState.HELD, "no such mailbox")

    async def test_what_cannot_be_fetched_ends_with_an_alarm(self, store: Store) -> None:
        await store.write(inbounds.announced, "main", values.news())
        mine = await values.claim(store, steps.RECEIVE)
        assert await store.write(inbounds.ended, mine, InboundState.FAILED, "gone", "a received fax is lost")
        assert await owed(store) == {"alarm": 1}
        assert not await store.write(inbounds.ended, mine, InboundState.HELD, "", "")

    async def test_a_fax_belongs_to_whoever_had_the_line_when_it_came(self, store: Store) -> None:
        for number, account in (("+14155550100", "acc_1"), ("+14155550200", "acc_2")):
            await store.write(accounts.save_line, Line(number=number, account=AccountId(account), carrier="main"))
        for n, number in enumerate(("+14155550100", "+14155550200", "+14155550300", "+14155550100"), 1):
            await store.write(inbounds.announced, "main", replace(values.news(f"in-{n}"), line=number))
        await store.write(accounts.remove_line, "+14155550100")
        every = await store.read(inbounds.page)
        assert [(fax.carrier_ref, fax.account) for fax in every] == [
            ("in-4", "acc_1"), ("in-3", ""), ("in-2", "acc_2"), ("in-1", "acc_1"),
        ]  # fmt: skip
        place = await store.read(inbounds.place, every[0].id)
        older = await store.read(inbounds.page, account=AccountId("acc_1"), before=place)
        assert [fax.carrier_ref for fax in older] == ["in-1"]
        assert await store.read(inbounds.find, every[2].id[:-1]) == [every[2].id]


class OutboxConformance:
    async def test_a_mail_is_owed_once_for_each_kind_subject_and_recipient(self, store: Store) -> None:
        for _ in range(2):
            await store.write(outbox.owe, kind=outbox.RESULT, about="tx_1")
            await store.write(outbox.owe, kind=outbox.RESULT, about="tx_1", recipient="a@example.com")
        assert await owed(store) == {"result": 2}
        assert len(await store.write(steps.claim, steps.MAIL, 9, 60.0, 0.0)) == 2

    async def test_a_deferred_mail_is_due_again_and_a_sent_one_never(self, store: Store, clock: Clock) -> None:
        await store.write(outbox.alarm, about="tx_1#2", what="trouble", text="in words")
        mine = await values.claim(store, steps.MAIL)
        assert await store.write(outbox.deferred, mine, "451 later", store.now() + timedelta(seconds=60))
        assert await store.write(steps.claim, steps.MAIL, 9, 60.0, 0.0) == []
        clock.forward(61)
        mine = await values.claim(store, steps.MAIL)
        assert await store.write(outbox.settled, mine, outbox.SENT, "250 ok")
        row = await store.read(outbox.get, mine.subject)
        assert row is not None
        assert (row.state, row.about_id, row.subject) == (outbox.SENT, "tx_1", "trouble")
        clock.forward(3600)
        assert await store.write(steps.claim, steps.MAIL, 9, 60.0, 0.0) == []
        assert outbox.WAITING not in await store.read(outbox.states, outbox.ALARM, "tx_1#2")

    async def test_a_callback_counts_its_failures_since_its_first_try(self, store: Store, clock: Clock) -> None:
        await values.ready(store)
        fax = await values.claim(store)
        await store.write(outbox.owe_callback, AccountId("acc_1"), fax.subject, fax)
        first = store.now()
        for n in range(3):
            mine = await values.claim(store, steps.CALLBACK)
            assert (mine.kind, mine.account) == ("call", "acc_1")
            row = await store.read(outbox.get, mine.subject)
            assert row is not None
            assert (row.failures, row.recipient, row.tried_at) == (n, "acc_1", first if n else None)
            assert await store.write(
                outbox.not_taken, mine, "503", store.now() if n else first, store.now() + timedelta(seconds=5)
            )
            assert not await store.write(outbox.not_taken, mine, "503", store.now(), store.now()), "the claim is over"
            assert await values.claim_or_none(store, steps.CALLBACK) is None
            clock.forward(6)
        assert await owed(store) == {"callback": 1}


class DiscardConformance:
    async def test_a_fax_lets_go_of_its_documents_and_of_its_mail_with_the_last_one(self, store: Store, clock: Clock) -> None:
        accepted = await values.accept(store, values.call("+14155550123"), values.call("+14155550124"))
        pages = {}
        for n, mine in enumerate(await store.write(steps.claim, steps.CONVERT, 9, 60.0, 0.0)):
            pages[mine.subject] = Sha256(f"{n}" * 64)
            await store.write(transmissions.prepared, mine, document=pages[mine.subject], pages=1, manifest="[]")
        for mine in await store.write(steps.claim, LANE, 9, 60.0, 0.0):
            assert await store.write(transmissions.settle, mine, Next(state=T.CANCELLED))
        one, two = accepted.transmissions
        await store.write(retention.discard, one)
        assert await store.read(retention.needed, [SHA, *pages.values()]) == {SHA, pages[two]}
        await store.write(retention.discard, one)
        await store.write(retention.discard, two)
        assert await store.read(retention.needed, [SHA, *pages.values()]) == set()
        assert await store.write(retention.discards, store.now() - timedelta(minutes=1)) == (0, set())
        clock.forward(61)
        assert await store.write(retention.discards, store.now() - timedelta(minutes=1)) == (3, {SHA, *pages.values()})
        assert await store.write(retention.discards, store.now()) == (0, set())
        case = await values.case(store, one)
        assert (case.transmission.document, case.transmission.pages, case.submission.document) == (None, 1, "")

    async def test_an_unfinished_fax_keeps_what_it_has(self, store: Store) -> None:
        transmission = await values.ready(store)
        await store.write(retention.discard, transmission)
        assert (await values.case(store, transmission)).transmission.document == SHA
        assert await count(store, "discarded") == 0


class SteeringConformance:
    async def test_a_wish_waits_until_it_is_answered(self, store: Store) -> None:
        transmission = await values.ready(store)
        await store.write(steps.put_back, await values.claim(store), due_at=schema.PARKED)
        wish = await store.write(steering.ask, transmission, "hold", "", "ann")
        assert (await values.claim(store)).subject == transmission, "asking has the fax looked at"
        assert [(one.id, one.verb, one.asked_by) for one in await store.read(steering.pending, transmission)] == [
            (wish, "hold", "ann")
        ]
        assert await store.read(steering.answered, wish) is None
        await store.write(steering.answer, wish, "held")
        assert await store.read(steering.answered, wish) == "held"
        assert await store.read(steering.pending, transmission) == []

    async def test_a_wish_that_the_end_of_the_fax_overtook_is_answered(self, store: Store) -> None:
        transmission = await values.ready(store)
        mine = await values.claim(store)
        before = await store.write(steering.ask, transmission, "hold", "", "ann")
        assert await store.write(transmissions.settle, mine, FAILED)
        after = await store.write(steering.ask, transmission, "cancel", "", "ann")
        assert await store.read(steering.answered, before) == steering.TOO_LATE
        assert await store.read(steering.answered, after) == steering.TOO_LATE


class QueryConformance:
    async def test_paging_by_key_shows_each_fax_once_newest_first(self, store: Store, clock: Clock) -> None:
        made: list[TransmissionId] = []
        for n in range(7):
            made += (await values.accept(store, values.call(), values.call("+14155550124"))).transmissions
            clock.forward(1 if n % 2 else 0)
        seen, before = [], None
        while page := await store.read(queries.page, before=before, limit=3):
            seen += [transmission.id for transmission in page]
            before = (page[-1].accepted_at, str(page[-1].id))
        assert len(seen) == 14
        assert set(seen) == set(made)
        whole = await store.read(queries.page, limit=100)
        assert [transmission.id for transmission in whole] == seen
        assert [t.accepted_at for t in whole] == sorted((t.accepted_at for t in whole), reverse=True)

    async def test_paging_by_state(self, store: Store) -> None:
        await values.ready(store)
        await values.accept(store)
        assert len(await store.read(queries.page, states=[T.READY])) == 1
        assert len(await store.read(queries.page, states=[T.READY, T.ACCEPTED])) == 2
        assert await store.read(queries.page, states=[T.FAILED]) == []

    async def test_unfinished_counts_by_state_and_names_the_oldest(self, store: Store, clock: Clock) -> None:
        await values.accept(store)
        oldest = (await store.read(queries.page))[0].accepted_at
        clock.forward(10)
        await values.accept(store)
        assert await store.read(queries.unfinished) == {T.ACCEPTED: (2, oldest)}

    async def test_find_by_the_beginning_of_an_id(self, store: Store) -> None:
        transmission = await values.ready(store)
        assert await store.read(queries.find, transmission[:20]) == [transmission]
        assert await store.read(queries.find, "tx%") == []

    async def test_the_history_of_a_fax_tells_its_way(self, store: Store) -> None:
        mine, attempt = await values.sending(store)
        following = Next(state=T.DELIVERED, outcome=Outcome.DELIVERED)
        await store.write(transmissions.end_attempt, mine, attempt, values.ending(), following, ())
        told = [entry.what for entry in await store.read(queries.history, attempt.transmission)]
        assert told == ["accepted", "ready", "attempt", "submitted", "attempt delivered", "delivered"]


class AccountConformance:
    ANN = Account(
        id=AccountId("acc_ann"),
        name="ann",
        login="ann@example.com",
        password_hash="h",
        senders=("*@example.com",),
        networks=("192.0.2.0/24",),
        countries=("US",),
        guid="0123456789abcdef0123456789abcdef01234567",
    )

    async def test_accounts_and_lines_are_kept_as_they_are(self, store: Store) -> None:
        line = Line(number="+14155550100", account=self.ANN.id, carrier="main", mailbox=("ann@example.com",))
        await store.write(accounts.save_account, self.ANN)
        await store.write(accounts.save_line, line)
        assert await store.read(accounts.accounts) == [self.ANN]
        assert await store.read(accounts.lines) == [line]
        assert await store.write(accounts.remove_account, "ann")
        assert await store.read(accounts.lines) == []
        assert not await store.write(accounts.remove_account, "ann")

    async def test_the_file_wins_and_what_it_no_longer_declares_goes(self, store: Store) -> None:
        declared = replace(self.ANN, declared=True)
        other = replace(self.ANN, id=AccountId("acc_bob"), name="bob", login="bob@example.com", guid="", declared=True)
        line = Line(number="+14155550100", account=self.ANN.id, carrier="main", declared=True)
        await store.write(accounts.declare, [declared, other], [line])
        await store.write(accounts.save_account, replace(self.ANN, id=AccountId("acc_made"), name="made", login="", guid=""))
        await store.write(accounts.declare, [declared], [])
        assert [account.name for account in await store.read(accounts.accounts)] == ["ann", "made"]
        assert await store.read(accounts.lines) == []

    async def test_two_declared_accounts_may_swap_their_logins(self, store: Store) -> None:
        ann = replace(self.ANN, declared=True)
        bob = replace(ann, id=AccountId("acc_bob"), name="bob", login="bob@example.com", guid="")
        await store.write(accounts.declare, [ann, bob], [])
        await store.write(accounts.declare, [replace(ann, login=bob.login), replace(bob, login=ann.login)], [])
        logins = {account.name: account.login for account in await store.read(accounts.accounts)}
        assert logins == {"ann": "bob@example.com", "bob": "ann@example.com"}


class CommitterConformance:
    async def test_two_hundred_writes_at_once_share_few_transactions(self, store: Store) -> None:
        before = store.transactions
        accepted = await asyncio.gather(*(values.accept(store) for _ in range(200)))
        assert len({one.transmissions for one in accepted}) == 200
        assert store.transactions - before <= 5
        assert await count(store, "transmission") == 200

    async def test_a_verb_that_fails_harms_only_its_own_caller(self, store: Store) -> None:
        def broken(t: Transaction) -> None:
            t.note("tx_1", "half done")
            raise KeyError("mine")

        def twice(t: Transaction) -> None:
            account = AccountConformance.ANN
            for identity in ("acc_1", "acc_2"):
                accounts.save_account(t, replace(account, id=AccountId(identity)))

        writes = [values.accept(store), store.write(broken), store.write(twice), values.accept(store)]
        first, second, third, fourth = await asyncio.gather(*writes, return_exceptions=True)
        assert isinstance(second, KeyError)
        assert isinstance(third, IntegrityError)
        assert not isinstance(first, BaseException)
        assert not isinstance(fourth, BaseException)
        assert await count(store, "transmission") == 2
        assert await store.read(queries.history, "tx_1") == []
        assert await count(store, "account") == 0

    async def test_one_that_cannot_be_stored_harms_none_of_those_it_came_with(self, store: Store) -> None:
        nothing: Any = None
        bad = replace(values.statement("bad"), raw=nothing)
        said = [values.statement("a"), bad, values.statement("b")]
        first, second, third = await asyncio.gather(
            *(store.write(events.store, "main", one) for one in said), return_exceptions=True
        )
        assert (first, third) == (Kept.NEW, Kept.NEW)
        assert isinstance(second, IntegrityError)
        letters = [values.submission(), replace(values.submission(), document=nothing), values.submission()]
        accepted = await asyncio.gather(
            *(store.write(submissions.accept, one, [values.call(key=one.id)]) for one in letters), return_exceptions=True
        )
        assert [isinstance(one, IntegrityError) for one in accepted] == [False, True, False]
        assert await count(store, "transmission") == await count(store, "seen") == 2

    async def test_rows_written_together_keep_what_is_and_what_is_not_there(self, store: Store) -> None:
        many = [replace(values.statement(f"k{n}"), outcome=None, seconds=n / 4 if n % 2 else None) for n in range(40)]
        await asyncio.gather(*(store.write(events.store, "main", one) for one in many))
        found = await store.read(events.waiting, "main", "ref-1", "at_x")
        assert sorted((one.statement for one in found), key=lambda one: int(one.key[1:])) == many

    async def test_a_verb_that_runs_out_of_something_is_answered_too(self, store: Store) -> None:
        with pytest.raises(RuntimeError):
            await store.write(lambda _: next(iter(())))
        await values.accept(store)

    async def test_the_write_of_a_cancelled_caller_still_happens(self, store: Store) -> None:
        task = asyncio.create_task(values.accept(store))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.write(lambda t: t.note("x", "after"))
        assert await count(store, "transmission") == 1

    async def test_closing_writes_what_waits_and_takes_nothing_more(self, store: Store, reopen: Reopen) -> None:
        waiting = [asyncio.create_task(values.accept(store)) for _ in range(20)]
        await asyncio.sleep(0)
        again = await reopen()
        assert len(await asyncio.gather(*waiting)) == 20
        assert await count(again, "transmission") == 20
        with pytest.raises(SpoolUnavailable):
            await values.accept(store)

    async def test_text_from_outside_is_kept_as_it_is(self, store: Store) -> None:
        nasty = "'; DROP TABLE step; -- %s \N{SNOWMAN} \U0001f600 \\ \t"
        recipient = Recipient(written=nasty, number=NUMBER, cover_name=nasty)
        call = submissions.Call(recipients=(recipient,), carrier="main", caller="", key="")
        accepted = await store.write(submissions.accept, replace(values.submission(), subject=nasty), [call])
        case = await values.case(store, accepted.transmissions[0])
        assert (case.submission.subject, case.recipients[0]) == (nasty, recipient)


class ProgramConformance:
    """What programs of the PamFax door make and say."""

    ANN = AccountConformance.ANN

    async def test_an_account_that_a_program_makes_is_made_once_and_its_name_and_login_are_its_own(self, store: Store) -> None:
        assert await store.write(accounts.add_account, self.ANN, "maker")
        for same in ("name", "login"):
            other = replace(
                self.ANN, id=AccountId("acc_2"), guid="", **{"name": "bob", "login": "bob", same: getattr(self.ANN, same)}
            )
            assert not await store.write(accounts.add_account, other, "maker")
        profile = await store.read(applications.profile_of, self.ANN.id)
        assert profile.body == {applications.MADE_BY: "maker"}

    async def test_an_account_is_closed_when_nothing_of_it_is_on_its_way_and_the_book_balances(self, store: Store) -> None:
        account = replace(self.ANN, id=AccountId("acc_1"))
        await store.write(accounts.add_account, account, "maker")
        await store.write(ledger.credit, account.id, 5_000_000, "cash")
        (fax,) = (await values.accept(store)).transmissions
        assert await store.write(accounts.close, account.id) is None
        await store.write(values.force, fax, "failed")
        await store.write(lambda t: t.db.execute(text("UPDATE transmission SET finished_at = accepted_at")))
        await store.write(accounts.save_line, Line(number=NUMBER, account=account.id, carrier="main"))
        assert await store.write(accounts.close, account.id) is None
        assert (await store.read(ledger.of, account.id)).available == 5_000_000
        await store.write(accounts.remove_line, NUMBER)
        assert await store.write(accounts.close, account.id) == 5_000_000
        assert await store.read(accounts.accounts) == []
        assert await store.read(ledger.imbalances) == []
        assert (await store.read(ledger.of, account.id)).balance == 0

    async def test_another_number_leads_to_one_account(self, store: Store) -> None:
        alias = "+14155550999"
        await store.write(
            applications.edit_profile, self.ANN.id, lambda body: body.update({applications.ALIASES: {NUMBER: alias}})
        )
        assert await store.read(applications.alias_taken, alias, AccountId("acc_2"))
        assert not await store.read(applications.alias_taken, alias, self.ANN.id)
        assert not await store.read(applications.alias_taken, alias[:-1], AccountId("acc_2"))

    async def test_faxes_are_counted_named_and_thrown_away_together(self, store: Store) -> None:
        account, now = AccountId("acc_1"), store.now()
        recipient = Recipient(written=NUMBER, number=NUMBER, cover_name="Ann")
        call = submissions.Call(recipients=(recipient,), carrier="main", caller="", key="")
        (fax,) = (await store.write(submissions.accept, values.submission(), [call])).transmissions
        await store.write(accounts.save_line, Line(number=values.news().line, account=account, carrier="main"))
        for n in range(3):
            await store.write(inbounds.announced, "main", values.news(f"in-{n}"))
        some = [one.id for one in await store.read(pamfax.received, account, limit=9)]
        said = await store.read(pamfax.said_of, [fax])
        assert {one: known.name for one, known in said.items()} == {fax: "Ann"}
        assert await store.read(pamfax.sent_count, account, [T.ACCEPTED]) == 1
        await store.write(pamfax.mark, account, some[0], "read")
        assert await store.read(pamfax.received_count, account) == 3
        assert await store.read(pamfax.received_count, account, unread=True) == 2
        long, soon = now - timedelta(days=9999), now + timedelta(days=1)
        assert sorted(await store.read(pamfax.between, account, long, soon, sent=True, received=True)) == sorted(some)
        assert await store.write(pamfax.mark_all, account, some, "trash") == sorted(some)
        assert await store.write(pamfax.mark_all, account, some, "trash") == []
        assert await store.read(pamfax.received_count, account) == 0

    async def test_fifteen_spam_marks_of_one_number_throw_its_next_fax_away(self, store: Store) -> None:
        account, news = AccountId("acc_1"), values.news()
        await store.write(accounts.save_line, Line(number=news.line, account=account, carrier="main"))
        for n in range(15):
            await store.write(inbounds.announced, "main", replace(news, carrier_ref=f"spam {n}"))
        for one in await store.read(pamfax.received, account, limit=99):
            await store.write(pamfax.mark, account, one.id, "spam")
        await store.write(inbounds.announced, "main", replace(news, carrier_ref="next"))
        await store.write(inbounds.announced, "main", replace(news, carrier_ref="other", caller="+14155550777"))
        assert await store.read(pamfax.received_count, account) == 16
        assert len(await store.read(pamfax.marks, account, kinds=("trash",))) == 1


class MigrationConformance:
    async def test_opening_again_changes_nothing(self, store: Store, reopen: Reopen) -> None:
        transmission = await values.ready(store)
        assert (await values.case(await reopen(), transmission)).transmission.state is T.READY

    async def test_the_tables_are_those_of_the_schema(self, store: Store) -> None:
        """The migrations make what schema.py says: each table can be read with all its columns."""
        assert set(await everything(store)) == set(schema.metadata.tables)

    async def test_a_newer_schema_is_refused(self, store: Store, reopen: Reopen) -> None:
        await store.write(lambda t: t.db.execute(text("UPDATE alembic_version SET version_num = 'r9999'")))
        with pytest.raises(SpoolUnavailable, match="newer faxgate"):
            await reopen()


class StoreConformance(
    AcceptConformance,
    ClaimConformance,
    FenceConformance,
    AttemptConformance,
    EventConformance,
    InboundConformance,
    OutboxConformance,
    DiscardConformance,
    SteeringConformance,
    QueryConformance,
    AccountConformance,
    CommitterConformance,
    ProgramConformance,
    MigrationConformance,
):
    """Derive from it, and give the fixtures `store` (open, started) and `reopen` (close it and open it anew)."""

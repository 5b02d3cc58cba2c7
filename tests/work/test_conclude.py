"""What the end of an attempt means for the fax."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.errors import Outcome
from gateway.fax import AttemptState, Recipient, Sha256, Transmission, TransmissionId, TransmissionState
from gateway.lifecycle import TRAITS, Kind, Retry
from gateway.spool.queries import Case
from gateway.spool.transmissions import Ending, Next
from gateway.work import conclude
from tests.spool import values
from tests.spool.values import AT

A = AttemptState
T = TransmissionState
MINUTE = timedelta(minutes=1)
RETRY = Retry(waits={outcome: [MINUTE, 5 * MINUTE] for outcome in Outcome}, spread=0.0)
FAX = TransmissionId("tx_1")


def case(*outcomes: Outcome, first_at: timedelta = timedelta()) -> Case:
    """A fax that is sending for the n-th time after attempts that ended so."""
    tried = [
        replace(values.attempt(FAX, n), outcome=o, state=A.FAILED, opened_at=AT + first_at) for n, o in enumerate(outcomes, 1)
    ]
    submission = values.submission()
    return Case(
        transmission=Transmission(
            id=FAX, submission=submission.id, account=submission.account, number=values.NUMBER, sub_address="",
            carrier="main", caller="", state=T.SENDING, outcome=None, reason="", document=Sha256("a" * 64), pages=3,
            pages_sent=0, attempts=len(tried) + 1, manifest="", accepted_at=AT - timedelta(days=1), updated_at=AT,
            finished_at=None, due_at=None,
        ),
        submission=submission,
        recipients=(Recipient(written="1", number=values.NUMBER),),
        attempts=(*tried, replace(values.attempt(FAX, len(tried) + 1), opened_at=AT)),
    )  # fmt: skip


def following(ending: Ending, of: Case | None = None, *, redial: bool = True, after: float | None = None) -> Next:
    return conclude.following(
        of or case(), ending, retry=RETRY, redial=redial, now=AT + MINUTE, dice=random.Random(1), retry_after=after
    )


@pytest.mark.parametrize(
    ("state", "outcome", "sent", "judged", "why"),
    [
        (A.DELIVERED, None, 3, A.DELIVERED, Outcome.DELIVERED),
        (A.DELIVERED, None, 0, A.DELIVERED, Outcome.DELIVERED),
        (A.DELIVERED, Outcome.DELIVERED, 2, A.FAILED, Outcome.PARTLY_SENT),
        (A.FAILED, Outcome.BUSY, 0, A.FAILED, Outcome.BUSY),
        (A.FAILED, Outcome.LINE_TROUBLE, 1, A.FAILED, Outcome.PARTLY_SENT),
        (A.FAILED, Outcome.NOT_A_FAX, 1, A.FAILED, Outcome.NOT_A_FAX),
        (A.FAILED, None, 0, A.FAILED, Outcome.UNKNOWN),
        (A.FAILED, Outcome.DELIVERED, 3, A.FAILED, Outcome.UNKNOWN),
        (A.CANCELLED, None, 0, A.CANCELLED, None),
    ],
)
def test_que_16_an_ending_is_judged_by_its_pages(
    state: AttemptState, outcome: Outcome | None, sent: int, judged: AttemptState, why: Outcome | None
) -> None:
    found = conclude.judged(Ending(state=state, outcome=outcome, pages_sent=sent), 3)
    assert (found.state, found.outcome) == (judged, why)


def test_a_carrier_that_does_not_count_pages_has_sent_all_of_them() -> None:
    assert conclude.judged(Ending(state=A.DELIVERED, outcome=None), 3).pages_sent == 3


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.CANCELLED])
def test_every_outcome_leads_where_its_kind_says(outcome: Outcome) -> None:
    state = A.DELIVERED if outcome is Outcome.DELIVERED else A.FAILED
    found = following(Ending(state=state, outcome=outcome, text="why"))
    expected = {Kind.SUCCESS: T.DELIVERED, Kind.TEMPORARY: T.DEFERRED, Kind.HOLD: T.HELD}.get(TRAITS[outcome].kind, T.FAILED)
    assert (found.state, found.outcome) == (expected, outcome)
    assert bool(found.alarm) == (expected is T.HELD)
    assert (found.due_at is not None) == (expected is T.DEFERRED)


def test_the_waits_are_counted_over_the_attempts_of_this_fax() -> None:
    busy = Ending(state=A.FAILED, outcome=Outcome.BUSY)
    assert following(busy).due_at == AT + 2 * MINUTE
    assert following(busy, case(Outcome.BUSY)).due_at == AT + 6 * MINUTE
    assert following(busy, case(Outcome.NO_ANSWER)).due_at == AT + 2 * MINUTE
    assert following(busy, case(Outcome.BUSY, Outcome.BUSY)).state is T.FAILED


def test_time_is_counted_from_the_first_call_not_from_the_mail() -> None:
    busy = Ending(state=A.FAILED, outcome=Outcome.BUSY)
    assert following(busy, case(Outcome.NO_ANSWER)).state is T.DEFERRED, "though the mail is a day old"
    assert following(busy, case(Outcome.NO_ANSWER, first_at=-timedelta(hours=4))).state is T.FAILED


def test_where_the_carrier_redials_we_do_not() -> None:
    assert following(Ending(state=A.FAILED, outcome=Outcome.BUSY), redial=False).state is T.FAILED


def test_a_wait_that_the_carrier_names_is_kept() -> None:
    assert following(Ending(state=A.FAILED, outcome=Outcome.CARRIER_TROUBLE), after=600.0).due_at == AT + 11 * MINUTE


def test_a_cancelled_attempt_cancels_the_fax() -> None:
    found = following(Ending(state=A.CANCELLED, outcome=None, text="by ann"))
    assert (found.state, found.outcome, found.reason) == (T.CANCELLED, Outcome.CANCELLED, "by ann")

"""Faxes that wait for somebody to agree: decided once, by whatever comes first, and rejected when nobody does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.desk.steer import steer
from gateway.errors import NotAdmitted, Outcome
from gateway.fax import Account, AccountId, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.spool import accounts, approvals, steering, steps, submissions, transmissions
from gateway.spool.approvals import Approval, Toll
from gateway.spool.queries import Case
from gateway.work import approval
from tests.carriers.tools import Clock
from tests.spool import values
from tests.spool.values import SHA
from tests.work.shop import House

BOSS = "boss@example.com"
ASKS = Toll(reasons=("2 pages, more than 1",), approver=BOSS, wait=timedelta(days=3))
DAY = 86400.0


async def waiting(house: House) -> TransmissionId:
    """A fax that waits to be approved."""
    done = await house.store.write(submissions.accept, values.submission(), [values.call()])
    claim = await values.claim(house.store, steps.CONVERT)
    await house.store.write(transmissions.prepared, claim, document=SHA, pages=2, manifest="[]", toll=ASKS)
    return done.transmissions[0]


async def looked(house: House) -> int:
    """The steps that are due in the lane of conversions, each once."""
    claims = await house.loop._claim(steps.CONVERT, 10)
    for claim in claims:
        await house.loop._step(claim, None)
    return len(claims)


async def of(house: House, fax: TransmissionId) -> tuple[Case, Approval]:
    found = await house.store.read(approvals.of, fax)
    assert found is not None
    return await values.case(house.store, fax), found


@pytest.mark.parametrize(
    ("verb", "choice", "state", "outcome", "verdict", "words"),
    [
        ("approve", "", T.READY, None, "approved", f"Approved by {BOSS}."),
        (
            "reject",
            "",
            T.FAILED,
            Outcome.NOT_AUTHORISED,
            "rejected",
            f"Not approved by {BOSS}. Ask there before you send it again.",
        ),
        ("release", "", T.READY, None, "approved", f"Approved by {BOSS}."),
        (
            "release",
            "fail",
            T.FAILED,
            Outcome.NOT_AUTHORISED,
            "rejected",
            f"Not approved by {BOSS}. Ask there before you send it again.",
        ),
        ("cancel", "", T.CANCELLED, Outcome.CANCELLED, "cancelled", f"Cancelled by {BOSS}."),
    ],
)
async def test_a_person_decides(
    house: House, verb: str, choice: str, state: T, outcome: Outcome | None, verdict: str, words: str
) -> None:
    fax = await waiting(house)
    await steer(house.store, fax, verb, choice=choice, by=BOSS, patience=0)
    assert await looked(house) == 1
    case, decided = await of(house, fax)
    assert (case.transmission.state, case.transmission.outcome) == (state, outcome)
    assert (decided.verdict, decided.words) == (verdict, words)
    assert case.transmission.due_at is None
    with pytest.raises(NotAdmitted, match="decided already"):
        await steer(house.store, fax, "approve", by="ann", patience=0)


async def test_of_two_who_click_at_the_same_moment_the_first_decides(house: House) -> None:
    fax = await waiting(house)
    for verb in ("approve", "reject"):
        await steer(house.store, fax, verb, by=verb, patience=0)
    while await looked(house):
        pass
    while await house.work():
        pass
    case, decided = await of(house, fax)
    assert case.transmission.state is not T.FAILED
    assert decided.words == "Approved by approve."
    assert await house.store.read(steering.pending, fax) == []


async def test_undecided_in_time_is_rejected_and_an_early_look_changes_nothing(house: House, clock: Clock) -> None:
    fax = await waiting(house)
    assert await looked(house) == 0, "nothing is due"
    await house.store.write(lambda t: steps.nudge(t, fax))
    assert await looked(house) == 1
    assert (await of(house, fax))[0].transmission.state is T.HELD
    await steer(house.store, fax, "hold", by="ann", patience=0)  # it is held already, and goes on waiting
    assert await looked(house) == 1
    clock.forward(2 * DAY)
    assert await looked(house) == 0
    clock.forward(DAY + 60)
    assert await looked(house) == 1
    case, decided = await of(house, fax)
    assert (case.transmission.state, case.transmission.outcome) == (T.FAILED, Outcome.NOT_AUTHORISED)
    assert (decided.verdict, decided.words) == (
        "rejected",
        "Nobody approved it in time. Ask for it to be approved, and send it again.",
    )
    assert await house.owed("result", fax) == 1


async def test_what_waits_for_something_else_cannot_be_approved(house: House) -> None:
    fax = await house.fax()
    with pytest.raises(NotAdmitted, match="needs no approval"):
        await steer(house.store, fax, "approve", by="ann", patience=0)


async def test_a_fax_whose_account_is_gone_waits_for_the_operator_and_is_sent_when_released(house: House) -> None:
    """Nobody can say any more whether somebody had to agree to it."""
    done = await house.store.write(submissions.accept, values.submission(), [values.call()])
    fax, claim = done.transmissions[0], await values.claim(house.store, steps.CONVERT)
    toll = await approval.toll(house.shop, await values.case(house.store, fax), 2)
    await house.store.write(transmissions.prepared, claim, document=SHA, pages=2, manifest="[]", toll=toll)
    held = (await values.case(house.store, fax)).transmission
    assert (held.state, held.reason.split(".")[0]) == (T.HELD, "Its account has been removed, and with it the limits and the "
    "approver that it had")  # fmt: skip
    assert await house.owed("alarm", fax) == await house.owed("held", fax) == 1
    await steer(house.store, fax, "release", by="ann", patience=0)
    assert await looked(house) == 1
    assert (await values.case(house.store, fax)).transmission.state is T.READY


async def test_the_limits_of_an_account_that_was_made_a_moment_ago_are_known(house: House) -> None:
    done = await house.store.write(submissions.accept, values.submission(), [values.call()])
    assert await house.identity.all() == []
    made = Account(id=AccountId("acc_1"), name="office", countries=("US",))
    await house.store.write(accounts.save_account, made)
    toll = await approval.toll(house.shop, await values.case(house.store, done.transmissions[0]), 2)
    assert toll.unknown == ""

"""How much an account may fax, and what somebody must agree to first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.carriers.base import Capabilities
from gateway.config import parse
from gateway.desk.admission import Admission
from gateway.desk.bounces import Bounces
from gateway.desk.identity import Identity
from gateway.desk.limits import Limits, Period, window
from gateway.desk.prices import Prices
from gateway.desk.submit import Desk
from gateway.errors import NotAdmitted, Outcome, OverLimit
from gateway.fax import Account, AccountId, Door, Envelope, Recipient
from gateway.spool import steps, transmissions
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from tests.carriers.tools import Clock
from tests.spool.values import LEASE, SHA

NUMBER = "+14155550123"
NEW_YORK = ZoneInfo("America/New_York")
OFFICE = Account(id=AccountId("acc_1"), name="office", countries=("US", "GB"))
PRICES = {"1": {"fixed": "0.10", "countries": ["US"]}, "2": {"fixed": "1.00"}}


def limits(house: dict[str, Any] | None = None, *, approval: dict[str, Any] | None = None, **own: Any) -> Limits:
    account: dict[str, Any] = {"name": "office", "countries": ["US", "GB"], "senders": ["*@example.com"], "limits": own}
    if approval is not None:
        account["approval"] = {"by": "boss@example.com", **approval}
    config = parse(
        {
            "domain": "fax.example.com",
            "region": "US",
            "zone": "America/New_York",
            "spool": "spool",
            "http": {"public_url": "https://fax.example.com"},
            "mail": {"from": "fax@fax.example.com", "operator": "operator@example.com"},
            "limits": house or {},
            "prices": PRICES,
            "account": [account],
        },
        "gateway.toml",
    )
    return Limits(config, Prices(config))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("now", "period", "begin", "end"),
    [
        ("2026-11-22 14:59", "hour", "2026-11-22 14:00", "2026-11-22 15:00"),
        ("2026-11-22 00:00", "day", "2026-11-22 00:00", "2026-11-23 00:00"),
        ("2026-11-22 23:59", "month", "2026-11-01 00:00", "2026-12-01 00:00"),
        ("2026-12-31 12:00", "month", "2026-12-01 00:00", "2027-01-01 00:00"),
        ("2026-03-08 12:00", "day", "2026-03-08 00:00", "2026-03-09 00:00"),  # 23 hours
        ("2026-11-01 12:00", "day", "2026-11-01 00:00", "2026-11-02 00:00"),  # 25 hours
    ],
)
def test_a_window_is_of_the_calendar_where_the_gateway_is(now: str, period: Period, begin: str, end: str) -> None:
    assert window(at(now).astimezone(UTC), period, NEW_YORK) == (at(begin).astimezone(UTC), at(end).astimezone(UTC))


@given(
    now=some.integers(0, 4 * 10**9).map(lambda second: datetime.fromtimestamp(second, UTC)),
    period=some.sampled_from(["hour", "day", "month"]),
    zone=some.sampled_from([NEW_YORK, ZoneInfo("Asia/Kolkata"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("Australia/Lord_Howe")]),
)
def test_windows_follow_one_another_without_a_gap(now: datetime, period: Period, zone: ZoneInfo) -> None:
    begin, end = window(now, period, zone)
    assert begin <= now < end
    assert window(end, period, zone)[0] == end
    assert window(end - timedelta(microseconds=1), period, zone) == (begin, end)


def test_an_accounts_own_limits_win_over_those_of_the_house() -> None:
    both = limits({"faxes_per_hour": 5, "faxes_per_day": 50}, faxes_per_hour=7)
    assert [one.most for one in both.faxes(OFFICE, at("2026-11-22 10:00"))] == [7, 50]
    made_by_command = replace(OFFICE, id=AccountId("acc_2"), name="branch")
    assert [one.most for one in both.faxes(made_by_command, at("2026-11-22 10:00"))] == [5, 50]
    assert limits().faxes(OFFICE, at("2026-11-22 10:00")) == ()


def test_aut_11_the_51st_page_of_a_50_page_day_waits_and_a_month_is_over() -> None:
    now = at("2026-11-22 10:00")
    fifty = limits(pages_per_day=50)
    counts = fifty.first(OFFICE, NUMBER, now)
    (key,) = [one.key for one, _ in counts]
    fifty.check(counts, {key: 49}, now)
    with pytest.raises(OverLimit, match=r"50 pages in one day.*Mon 23 Nov 2026, 00:00 EST") as caught:
        fifty.check(counts, {key: 50}, now)
    assert (caught.value.reply, caught.value.retry_after) == ("450 4.7.0", 14 * 3600)
    month = limits(money_per_month="5.00")
    counts = month.first(OFFICE, NUMBER, now)
    month.check(counts, {counts[0][0].key: 4_900_000}, now)
    with pytest.raises(NotAdmitted, match=r"5\.00 EUR worth in one month") as refused:
        month.check(counts, {counts[0][0].key: 4_900_001}, now)
    assert refused.value.reply == "550 5.7.1"


def test_a_number_that_costs_more_than_the_whole_limit_is_refused_for_good() -> None:
    now = at("2026-11-22 10:00")
    daily = limits(money_per_day="0.50")
    with pytest.raises(NotAdmitted):
        daily.check(daily.first(OFFICE, "+442079460123", now), {}, now)


@pytest.mark.parametrize(
    ("approval", "number", "pages", "reasons"),
    [
        ({"pages": 20}, NUMBER, 20, ()),
        ({"pages": 20}, NUMBER, 21, ("21 pages, more than 20",)),
        ({"cost": "2.00"}, NUMBER, 20, ()),
        ({"cost": "2.00"}, NUMBER, 21, ("2.10 EUR, more than 2.00 EUR",)),
        ({"countries": ["GB"]}, NUMBER, 1, ()),
        ({"countries": ["GB"], "pages": 1}, "+442079460123", 2, ("2 pages, more than 1", "to GB")),
        ({"always": True}, NUMBER, 1, ("every fax of this account",)),
    ],
)
def test_what_must_be_approved(approval: dict[str, Any], number: str, pages: int, reasons: tuple[str, ...]) -> None:
    toll = limits(approval=approval).toll(OFFICE, number, pages, at("2026-11-22 10:00"))
    assert (toll.reasons, toll.approver, toll.refused) == (reasons, "boss@example.com", "")


def test_too_many_pages_for_one_fax() -> None:
    toll = limits(pages_per_fax=3, pages_per_hour=9).toll(OFFICE, NUMBER, 4, at("2026-11-22 10:00"))
    assert toll.refused == "It has 4 pages; one fax of this account may have at most 3 pages. Send it in parts."
    assert toll.approver == ""
    assert [(one.most, amount) for one, amount in toll.counts] == [(9, 4)]


@pytest.fixture
async def desk(store: Store, documents: Documents, identity: Identity) -> Desk:
    made = limits(faxes_per_hour=2, pages_per_day=5)
    await identity.declare(made._config)
    return Desk(
        store=store,
        documents=documents,
        identity=identity,
        admission=Admission({"main": Capabilities()}),
        prices=Prices(made._config),
        limits=made,
        default_carrier="main",
        bounces=Bounces(lambda: bytes(32), "fax.example.com"),
    )


@pytest.fixture
async def office(desk: Desk, identity: Identity) -> Account:
    found = await identity.by_name("office")
    assert found is not None
    return found


ENVELOPE = Envelope(door=Door.SMTP, sender="ann@example.com")


def to(n: int) -> Recipient:
    return Recipient(written="x", number=f"+141555501{n:02}")


async def sent(desk: Desk, office: Account, *numbers: int) -> None:
    await desk.submit(office, ENVELOPE, [to(n) for n in numbers], trace=b"", content=b"Subject: x\r\n\r\ntext\r\n")


async def test_aut_11_the_door_counts_the_recipients_of_one_mail(desk: Desk, office: Account) -> None:
    await desk.admit(office, to(1), 1)
    with pytest.raises(OverLimit):
        await desk.admit(office, to(1), 2)
    with pytest.raises(NotAdmitted):  # no hour is long enough for all three
        await sent(desk, office, 1, 2, 3)
    await sent(desk, office, 1, 2)
    with pytest.raises(OverLimit):
        await desk.admit(office, to(3))
    with pytest.raises(OverLimit):
        await sent(desk, office, 3)


async def test_an_hour_begins_anew_on_a_clock_that_moves(desk: Desk, office: Account, clock: Clock) -> None:
    await sent(desk, office, 1, 2)
    clock.forward(3600)
    await desk.admit(office, to(3))
    await sent(desk, office, 3)
    clock.forward(-3600)  # set back: that hour has been used up already
    with pytest.raises(OverLimit):
        await desk.admit(office, to(4))


async def test_pages_of_today_are_known_at_the_door(desk: Desk, office: Account, store: Store) -> None:
    await sent(desk, office, 1)
    (claim,) = await store.write(steps.claim, steps.CONVERT, 1, LEASE, steps.uptime())
    toll = await desk.toll(office, to(1).number, 5)
    assert toll.refused == ""
    await store.write(transmissions.prepared, claim, document=SHA, pages=5, manifest="[]", toll=toll)
    with pytest.raises(OverLimit, match="5 pages in one day"):
        await desk.admit(office, to(2))
    assert "5 pages" in (await desk.toll(office, to(1).number, 1)).refused


async def test_a_blocked_number_is_refused_by_every_door(desk: Desk, office: Account) -> None:
    await desk.blocks.add(to(1).number, reason="asked", by="ann")
    for door in (desk.admit(office, to(1)), sent(desk, office, 1)):
        with pytest.raises(NotAdmitted, match="not to be faxed") as caught:
            await door
        assert (caught.value.reply, caught.value.outcome) == ("550 5.7.1", Outcome.RECIPIENT_BLOCKED)
    assert await desk.blocks.remove(to(1).number)
    await desk.admit(office, to(1))
    await desk.blocks.add(to(1).number, office.id, reason="", by="ann")
    with pytest.raises(NotAdmitted):
        await desk.admit(office, to(1))
    await desk.admit(replace(office, id=AccountId("acc_other")), to(1))

"""Prices, rates, and money at the counter."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, parse
from gateway.desk.identity import Identity
from gateway.desk.ledger import Ledger
from gateway.desk.prices import Prices
from gateway.desk.submit import Desk
from gateway.errors import ConfigError, NoCredit, NotAdmitted, Outcome
from gateway.fax import Account, CoverPage, Door, Envelope, Recipient
from gateway.number import FaxNumber
from gateway.spool import queries
from gateway.spool.ledger import Kind
from gateway.spool.store import Store
from gateway.units import eur
from tests.desk.conftest import ACCOUNT, configured

NUMBER = "+14155550123"
MAIL = b"From: ann@example.com\r\nSubject: x\r\n\r\nhello\r\n"


def with_sections(**more: Any) -> Config:
    base: Mapping[str, Any] = {"domain": "fax.example.com", "region": "US", "spool": "spool"}
    mail = {"from": "fax@fax.example.com", "operator": "operator@example.com"}
    return parse({**base, "mail": mail, **more}, "gateway.toml")


PRICES = {
    "1": {"fixed": "0.10", "mobile": "0.155", "countries": ["US", "DE"]},
    "2": {"fixed": "0.20", "countries": ["FR"]},
    "9": {"fixed": "1"},
}


@pytest.mark.parametrize(
    ("number", "zone", "kind", "amount"),
    [
        (NUMBER, "1", "FIXED", 100_000),  # mobile or fixed: nobody can say there
        ("+493012345678", "1", "FIXED", 100_000),
        ("+4915112345678", "1", "MOBILE", 155_000),
        ("+33612345678", "2", "MOBILE", 200_000),
        ("+81312345678", "9", "FIXED", 1_000_000),
        ("+881612345678", "9", "MOBILE", 1_000_000),  # of no country
    ],
)
def test_a_page_costs_what_its_zone_and_the_kind_of_number_say(number: str, zone: str, kind: str, amount: int) -> None:
    price = Prices(with_sections(prices=PRICES)).page(FaxNumber(number))
    assert (price.zone, price.kind, price.amount) == (zone, kind, amount)


def test_there_are_prices_where_the_file_names_none() -> None:
    prices = Prices(with_sections())
    assert prices.page(FaxNumber(NUMBER)).amount == 90_000
    assert prices.page(FaxNumber("+81312345678")).zone == "2"


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"prices": {"1": {"fixed": "0.1", "countries": ["US"]}}}, "prices"),
        ({"prices": {"1": {"fixed": "0.1"}, "2": {"fixed": "0.2"}}}, "prices"),
        ({"prices": {**PRICES, "3": {"fixed": "1", "countries": ["FR"]}}}, "prices"),
        ({"prices": {**PRICES, "3": {"fixed": "1", "countries": ["XX"]}}}, "prices.3.countries"),
        ({"prices": {"1": {"fixed": 0.1}}}, "prices.1.fixed"),
        ({"prices": {"1": {"fixed": "-1"}}}, "prices.1.fixed"),
        ({"prices": {"one": {"fixed": "1"}}}, "prices.one"),
        ({"currencies": {"USD": "0"}}, "currencies"),
        ({"currencies": {"EUR": "1"}}, "currencies"),
        ({"currencies": {"usd": "1"}}, "currencies.usd"),
    ],
)
def test_wrong_prices_and_rates_stop_the_start(sections: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as error:
        with_sections(**sections)
    assert error.value.key.startswith(key)


def test_amounts_become_other_currencies_only_when_they_are_told() -> None:
    prices = Prices(with_sections(currencies={"USD": "0.80"}))
    assert prices.rates() == {"EUR": Decimal(1), "USD": Decimal("0.8")}
    assert prices.converted(90_000, "USD") == Decimal("0.1125")
    assert prices.converted(90_000, "EUR") == prices.converted(90_000, "XXX") == Decimal("0.09")


def test_a_rates_file_wins_and_is_read_again_when_it_has_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "rates.toml"
    file.write_text('USD = "0.5"\nGBP = "1.25"\n')
    prices = Prices(with_sections(currencies={"USD": "0.80", "CHF": "1"}, rates=str(file)))
    assert prices.rates() == {"EUR": 1, "CHF": 1, "GBP": Decimal("1.25"), "USD": Decimal("0.5")}
    file.write_text('USD = "0.25"\n')
    os.utime(file, (1, 1))
    assert prices.rates()["USD"] == Decimal("0.25")
    file.write_text('USD = "a lot"\n')
    assert prices.rates()["USD"] == Decimal("0.25"), "the last good one counts"
    assert "rates" in caplog.text
    file.unlink()
    assert prices.rates()["USD"] == Decimal("0.25")


@pytest.mark.parametrize(
    ("amount", "text"),
    [(90_000, "0.09 EUR"), (12_345_678, "12.345678 EUR"), (-1_500_000, "-1.50 EUR"), (0, "0.00 EUR"), (1_000, "0.001 EUR")],
)
def test_amounts_are_exact_for_people(amount: int, text: str) -> None:
    assert eur(amount) == text


@pytest.fixture
async def office(identity: Identity) -> Account:
    await identity.declare(configured({**ACCOUNT, "prepaid": True}))
    account = await identity.by_name("office")
    assert account is not None
    return account


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def test_mail_is_refused_where_the_credit_does_not_do_for_a_page(desk: Desk, office: Account, ledger: Ledger) -> None:
    recipient = Recipient(written=NUMBER, number=NUMBER)
    await ledger.credit(office.id, 89_999, "cash")
    with pytest.raises(NoCredit, match=r"costs 0\.09 EUR; this account has 0\.089999 EUR left"):
        await desk.admit(office, recipient)
    await ledger.credit(office.id, 1, "cash")
    await desk.admit(office, recipient)


async def test_a_call_pays_for_its_pages_at_once(desk: Desk, office: Account, ledger: Ledger, store: Store) -> None:
    envelope = Envelope(door=Door.PAMFAX, sender="office@example.com")
    recipients = [Recipient(written=number, number=number) for number in (NUMBER, "+12125550123")]
    await ledger.credit(office.id, 400_000, "cash")
    with pytest.raises(NoCredit) as error:
        await desk.submit_call(office, envelope, recipients, MAIL, cover=CoverPage(), pages=3)
    assert error.value.outcome is Outcome.NO_CREDIT
    (first, _) = await desk.submit_call(office, envelope, recipients, MAIL, cover=CoverPage(), pages=2)
    has = await ledger.of(office.id)
    assert (has.available, has.held, has.balance) == (40_000, 360_000, 400_000)
    case = await store.read(queries.case, first)
    assert case is not None
    assert (case.transmission.price, case.transmission.held) == (90_000, 180_000)


async def test_other_accounts_pay_nothing(desk: Desk, identity: Identity, store: Store) -> None:
    await identity.declare(configured(ACCOUNT))
    account = await identity.by_name("office")
    assert account is not None
    envelope = Envelope(door=Door.PAMFAX, sender="office@example.com")
    recipients = [Recipient(written=NUMBER, number=NUMBER)]
    (fax,) = await desk.submit_call(account, envelope, recipients, MAIL, cover=CoverPage(), pages=3)
    case = await store.read(queries.case, fax)
    assert case is not None
    assert (case.transmission.price, case.transmission.held) == (None, None)


async def test_a_voucher_is_good_once_for_each_account(office: Account, ledger: Ledger) -> None:
    assert await ledger.redeem(office.id, "PCPC0815", 5_000_000)
    assert not await ledger.redeem(office.id, "PCPC0815", 5_000_000)
    assert (await ledger.of(office.id)).available == 5_000_000
    assert [(one.kind, one.note) for one in await ledger.entries(office.id)] == [(Kind.VOUCHER, "PCPC0815")]


@pytest.mark.parametrize("amount", [0, 2_000_000 * 1_000_000, -1])
async def test_amounts_that_cannot_be_meant_are_not_booked(office: Account, ledger: Ledger, amount: int) -> None:
    with pytest.raises(NotAdmitted):
        await ledger.credit(office.id, amount, "cash")
    assert await ledger.entries(office.id) == []


async def test_the_same_payment_is_not_booked_again(office: Account, ledger: Ledger) -> None:
    await ledger.credit(office.id, 1_000_000, "cash", about="invoice 7")
    with pytest.raises(NotAdmitted, match="booked before"):
        await ledger.credit(office.id, 1_000_000, "cash", about="invoice 7")
    assert (await ledger.of(office.id)).available == 1_000_000

"""Amounts as a caller is told them: kept in micro-EUR, told in the account's currency, at the rate of now."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from gateway.fax import Account
from gateway.spool import applications
from gateway.web.pamfax.house import House

_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "CHF": "CHF"}
_FINEST = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What an account can spend, and how it is told amounts."""

    currency: str
    rate_in_eur: Decimal
    """EUR for one unit of the currency."""
    available: int = 0
    """Micro-EUR."""
    limited: bool = False
    """It faxes for its credit only."""
    region: str = ""

    @property
    def rate(self) -> float:
        return float(self.rate_in_eur)

    @property
    def credit(self) -> float:
        return self.shown(self.available)

    def shown(self, amount: int | None) -> float:
        """Micro-EUR in the currency."""
        return float((Decimal(amount or 0) / 1_000_000 / self.rate_in_eur).quantize(_FINEST))

    def formatted(self, amount: int) -> str:
        return f"{Decimal(self.shown(amount)):.2f} {symbol(self.currency)}".replace(".", ",")

    def micro(self, written: Decimal) -> int:
        """An amount in the currency as micro-EUR."""
        return int((written * self.rate_in_eur * 1_000_000).to_integral_value())


def symbol(currency: str) -> str:
    return _SYMBOLS.get(currency, currency)


async def of(house: House, account: Account | None) -> Purse:
    """The purse of an account; of nobody: amounts are in EUR."""
    if account is None:
        return Purse(currency="EUR", rate_in_eur=Decimal(1))
    profile = await house.store.read(applications.profile_of, account.id)
    rates = house.prices.rates()
    currency = profile.currency or house.door.currency
    if currency not in rates:  # it was taken out of the configuration
        currency = "EUR"
    return Purse(
        currency=currency,
        rate_in_eur=rates[currency],
        available=(await house.ledger.of(account.id)).available,
        limited=account.prepaid,
        region=house.config.region,
    )

"""What a page to a number costs, and what amounts are in other currencies.

Prices are in EUR, by zone (a list of countries) and kind of number. Amounts are whole micro-EUR everywhere; only where they
are told to somebody they become another currency, at the rate of the configuration, or of a rates file that is read again
when it has changed.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from phonenumbers import PhoneNumberType
from phonenumbers import number_type as type_of
from phonenumbers import parse as known
from pydantic import TypeAdapter, ValidationError

from gateway.config import Config
from gateway.number import FaxNumber
from gateway.sections import PriceZone
from gateway.units import Money

_log = logging.getLogger(__name__)
_MICRO = Decimal(1_000_000)
_RATES = TypeAdapter(dict[str, Money])
_MOBILE = (PhoneNumberType.MOBILE,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a page to one number costs."""

    zone: str
    kind: str
    """FIXED or MOBILE."""
    amount: int
    """Micro-EUR."""


class Prices:
    """The price list of a configuration."""

    def __init__(self, config: Config) -> None:
        self.zones: Mapping[str, PriceZone] = config.prices
        self._zone_of = {country: zone for zone, section in config.prices.items() for country in section.countries}
        self._elsewhere = next(zone for zone, section in config.prices.items() if not section.countries)
        self._rates = dict(config.currencies)
        self._file = config.rates
        self._read: tuple[tuple[int, int], Mapping[str, int]] = ((0, 0), {})

    def page(self, number: FaxNumber) -> Price:
        """Of a page to a number; one that may be mobile or fixed (North America) is fixed."""
        zone = self.zone_of(number.country)
        mobile = type_of(known(number.e164)) in _MOBILE
        section = self.zones[zone]
        amount = section.mobile if mobile and section.mobile is not None else section.fixed
        return Price(zone=zone, kind="MOBILE" if mobile else "FIXED", amount=amount)

    def zone_of(self, country: str) -> str:
        """The zone of a country (ISO 3166)."""
        return self._zone_of.get(country, self._elsewhere)

    def rates(self) -> Mapping[str, Decimal]:
        """EUR for one unit of every known currency."""
        every = {**self._rates, **self._from_file()}
        return {"EUR": Decimal(1), **{code: rate / _MICRO for code, rate in sorted(every.items())}}

    def converted(self, amount: int, currency: str) -> Decimal:
        """Micro-EUR as an amount of a currency; one that is not known any more: EUR."""
        return amount / _MICRO / self.rates().get(currency, Decimal(1))

    def _from_file(self) -> Mapping[str, int]:
        """What stands in the rates file; what stood there before, where it cannot be read now."""
        if self._file is None:
            return {}
        try:
            found = os.stat(self._file)
            version = (found.st_mtime_ns, found.st_size)
            if version != self._read[0]:
                self._read = (version, read_rates(self._file))
        except (OSError, ValueError) as error:
            _log.warning("the rates file cannot be used: %s", error, extra={"action": "rates_unusable"})
        return self._read[1]


def read_rates(file: Path) -> Mapping[str, int]:
    """Micro-EUR for one unit of each currency in a rates file. Raises OSError, ValueError saying what is wrong."""
    try:
        rates = _RATES.validate_python(tomllib.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ValueError(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from error
    if wrong := [
        code for code, rate in rates.items() if not (len(code) == 3 and code.isascii() and code.isupper()) or not rate
    ]:
        raise ValueError(f"{wrong[0]} is not a currency with a rate above 0")
    return {code: rate for code, rate in rates.items() if code != "EUR"}

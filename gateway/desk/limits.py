"""How much an account may fax, and what somebody must agree to first.

Counted is what is accepted: a fax with its acceptance, its pages and what they cost when they are made, for only then are they
known. What is not delivered in the end gives its pages and its money back. A window is an hour, a day or a month of the
calendar, in the configuration's zone: whoever is told to try again is told when.
Sources: RFC 3965 §5.2.2, RFC 6409 §6.2; reference/internet-fax-standards.md row AUT-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from gateway.config import Config
from gateway.desk.prices import Prices
from gateway.errors import NotAdmitted, OverLimit
from gateway.fax import Account
from gateway.number import FaxNumber
from gateway.report.facts import counted, moment
from gateway.sections import LimitSection
from gateway.spool.approvals import Toll
from gateway.spool.usage import Allowance, Count
from gateway.units import eur

Unit = Literal["faxes", "pages", "money"]
Period = Literal["hour", "day", "month"]
_WINDOWS: Mapping[str, tuple[Unit, Period]] = {
    "faxes_per_hour": ("faxes", "hour"),
    "faxes_per_day": ("faxes", "day"),
    "pages_per_hour": ("pages", "hour"),
    "pages_per_day": ("pages", "day"),
    "money_per_day": ("money", "day"),
    "money_per_month": ("money", "month"),
}


class Limits:
    """The limits of a configuration, as values; what is used of them is in `spool.usage`."""

    def __init__(self, config: Config, prices: Prices) -> None:
        self._config, self._prices, self._zone = config, prices, ZoneInfo(config.zone)

    def faxes(self, account: Account, now: datetime) -> tuple[Allowance, ...]:
        """What one more fax of an account is counted in."""
        return tuple(one for unit, one in self._allowances(account, now) if unit == "faxes")

    def first(self, account: Account, called: str, now: datetime) -> list[Count]:
        """What must be left of what before a fax is accepted: itself, and one page."""
        return [(one, self._price(called) if unit == "money" else 1) for unit, one in self._allowances(account, now)]

    def check(self, counts: Sequence[Count], used: Mapping[str, int], now: datetime) -> None:
        """Raises OverLimit where there is not so much left of one of these, NotAdmitted where there never will be soon."""
        for one, amount in counts:
            if used.get(one.key, 0) + amount > one.most:
                if one.for_good or amount > one.most:
                    raise NotAdmitted(one.text)
                raise OverLimit(one.text, retry_after=(one.ends_at - now).total_seconds())

    def toll(self, account: Account, called: str, pages: int, now: datetime) -> Toll:
        """What stands between a fax of so many pages and its hand-over."""
        cost, limits = self._price(called) * pages, self._config.limits_of(account.name)
        needed = {"pages": pages, "money": cost}
        counts = tuple((one, needed[unit]) for unit, one in self._allowances(account, now) if unit in needed)
        refused = ""
        if limits.pages_per_fax is not None and pages > limits.pages_per_fax:
            most = counted(limits.pages_per_fax)
            refused = f"It has {counted(pages)}; one fax of this account may have at most {most}. Send it in parts."
        approval = self._config.approval_of(account.name)
        if approval is None:
            return Toll(counts=counts, refused=refused)
        reasons = []
        if approval.pages is not None and pages > approval.pages:
            reasons.append(f"{counted(pages)}, more than {approval.pages}")
        if approval.cost is not None and cost > approval.cost:
            reasons.append(f"{eur(cost)}, more than {eur(approval.cost)}")
        if (country := FaxNumber(called).country) in approval.countries:
            reasons.append(f"to {country}")
        if approval.always and not reasons:
            reasons.append("every fax of this account")
        return Toll(counts=counts, reasons=tuple(reasons), refused=refused, approver=approval.by, wait=approval.wait)

    def cost(self, called: str, pages: int) -> str:
        """What a fax costs, for people; "" where the file has no prices."""
        return eur(self._price(called) * pages) if "prices" in self._config.model_fields_set else ""

    def shows_content(self, account: Account) -> bool:
        """Whether who is asked to approve a fax may see it."""
        approval = self._config.approval_of(account.name)
        return approval is not None and approval.content

    def _price(self, called: str) -> int:
        return self._prices.page(FaxNumber(called)).amount

    def _allowances(self, account: Account, now: datetime) -> list[tuple[Unit, Allowance]]:
        limits = self._config.limits_of(account.name)
        return [
            (unit, self._allowance(account, limits, name, unit, period, now))
            for name, (unit, period) in _WINDOWS.items()
            if getattr(limits, name) is not None
        ]

    def _allowance(
        self, account: Account, limits: LimitSection, name: str, unit: Unit, period: Period, now: datetime
    ) -> Allowance:
        most: int = getattr(limits, name)
        begin, ends_at = window(now, period, self._zone)
        text = (
            f"This account may fax {eur(most) + ' worth' if unit == 'money' else f'{most} {unit}'} in one {period}, and there "
            f"is not enough left; send it again after {moment(ends_at, self._zone)}, when the next {period} begins."
        )
        key = f"{account.id} {unit} {period} {begin:%Y-%m-%dT%H}"
        return Allowance(key=key, most=most, ends_at=ends_at, text=text, for_good=period == "month")


def window(now: datetime, period: Period, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When the hour, day or month of a moment began and ends, UTC. A day may have 23 or 25 hours."""
    local = now.astimezone(zone)
    if period == "hour":  # by the hour of UTC less the minutes of the zone: no hour of it comes twice
        offset = (local.utcoffset() or timedelta(0)) % timedelta(hours=1)
        begin = (now.astimezone(UTC) + offset).replace(minute=0, second=0, microsecond=0) - offset
        return begin, begin + timedelta(hours=1)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "day":
        begin, ends_at = midnight, midnight + timedelta(days=1)
    else:
        begin = midnight.replace(day=1)
        ends_at = (begin + timedelta(days=31)).replace(day=1)
    return begin.astimezone(UTC), ends_at.astimezone(UTC)

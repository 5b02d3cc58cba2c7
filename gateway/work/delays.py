"""Faxes that take long: their senders are told once that they are still being tried, and need not be sent again.

What is meant for a later time is late only after that. A fax that waits for a person has had a report of its own.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from gateway import options
from gateway.fax import TransmissionState as T
from gateway.spool import delays, queries
from gateway.spool.queries import Case
from gateway.telling import ReportSection
from gateway.work.workshop import Workshop

_AT_ONCE = 500  # faxes looked at in one query
_LONGEST = 60.0  # seconds between two looks


def every(shop: Workshop) -> float:
    """Seconds between two looks: a report comes at most a tenth of its time late, or a minute."""
    shortest = _shortest(shop)
    return min(_LONGEST, max(0.2, shortest.total_seconds() / 10)) if shortest else _LONGEST


async def look(shop: Workshop) -> None:
    """Owe the report to every sender whose fax takes too long."""
    if (shortest := _shortest(shop)) is None:
        return
    now, after = shop.now(), None
    while found := await shop.store.read(delays.untold, now - shortest, after, _AT_ONCE):
        cases = await shop.store.read(queries.cases, [fax for _, fax in found])
        late = [fax for _, fax in found if fax in cases and await _is_late(shop, cases[fax], now)]
        if late:
            await shop.store.write(delays.owe, late)
        after = found[-1]


async def _is_late(shop: Workshop, case: Case, now: datetime) -> bool:
    account = await shop.identity.by_id(case.transmission.account)
    wait = _wait(shop.config.reports_of(account.name if account else ""))
    return wait is not None and _begins(case) + wait <= now


def _begins(case: Case) -> datetime:
    """When its sender expects it to go out."""
    fax = case.transmission
    meant = [options.begins(recipient) for recipient in case.recipients]
    meant += [case.attempts[0].planned_at] if case.attempts else []
    meant += [fax.due_at] if fax.state in (T.ACCEPTED, T.READY) else []
    return max([fax.accepted_at, *(time for time in meant if time is not None)])


def _wait(reports: ReportSection) -> timedelta | None:
    return reports.delayed if isinstance(reports.delayed, timedelta) else None


def _shortest(shop: Workshop) -> timedelta | None:
    """The shortest time after which any account wants to be told; None: nobody does."""
    waits = [_wait(shop.config.reports), *(_wait(shop.config.reports_of(one.name)) for one in shop.config.account)]
    return min((wait for wait in waits if wait is not None), default=None)

"""Who is connected to the mail listeners: how many at a time, and how often, of one client and of one account.

Each purpose has its own connections, so that strangers at port 25 take none from those who sign in.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from gateway import metrics
from gateway.desk.throttle import Tally, network_of
from gateway.errors import TooMany
from gateway.fax import AccountId
from gateway.listeners import Purpose, Smtp

T = TypeVar("T")
_FOR_OPERATOR = 100  # mails that one client may write to the operator at once, unproven; then one in ten seconds


@dataclass(slots=True, eq=False)
class Visit:
    """One connection as it is counted."""

    purpose: Purpose
    client: str = ""
    """Whom its address stands for; "" where it has none: it is not counted."""
    account: AccountId | None = None
    gone: bool = False


class Crowd:
    """All connections."""

    def __init__(self, settings: Smtp) -> None:
        self._settings = settings
        self._purposes = Counter[Purpose]()
        self._clients = Counter[str]()
        self._accounts = Counter[AccountId]()
        self._arrivals = Tally(settings.client_rate, 60.0 / settings.client_rate)
        self._letters = Tally(_FOR_OPERATOR, 10.0)

    def arrive(self, purpose: Purpose) -> Visit:
        """Somebody has connected. Raises TooMany."""
        if self._purposes[purpose] >= self._settings.max_connections:
            raise TooMany("Too many connections, come again later")
        self._purposes[purpose] += 1
        metrics.CONNECTIONS.inc()
        return Visit(purpose)

    def recognise(self, visit: Visit, address: str) -> None:
        """The address of who has connected is known; "" for none. Raises TooMany."""
        if not address:
            return
        client = network_of(address)
        if self._clients[client] >= self._settings.client_connections:
            raise TooMany("Too many connections from your network, come again later")
        if self._arrivals.wait(client) > 0:
            raise TooMany("Your network connects too often, come again later")
        self._arrivals.add(client)
        self._clients[client] += 1
        visit.client = client

    def sign_in(self, visit: Visit, account: AccountId) -> None:
        """Who has connected is this account. Raises TooMany."""
        if self._accounts[account] >= self._settings.account_connections:
            raise TooMany("This account has too many connections, come again later")
        self._accounts[account] += 1
        visit.account = account

    def may_write(self, visit: Visit) -> bool:
        """Whether an unproven client may write to the operator now."""
        return not visit.client or self._letters.wait(visit.client) <= 0

    def has_written(self, visit: Visit) -> None:
        """It has."""
        if visit.client:
            self._letters.add(visit.client)

    def leave(self, visit: Visit) -> None:
        """The connection is gone. May be said twice."""
        if visit.gone:
            return
        visit.gone = True
        metrics.CONNECTIONS.dec()
        _one_less(self._purposes, visit.purpose)
        if visit.client:
            _one_less(self._clients, visit.client)
        if visit.account:
            _one_less(self._accounts, visit.account)


def _one_less(counts: Counter[T], key: T) -> None:
    """What nobody has any more is forgotten, so that the counts do not grow with every client there ever was."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]

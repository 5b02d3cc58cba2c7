"""Failed sign-ins: who tries too many passwords has to wait. For every door that takes a login and a password.

Three counts, each of which leaks away with time: of one client with one login, of one client, and of one login. A client
that has signed in with a login before is stopped by the first alone, so that strangers can lock nobody out who is known.
At most two unknown sign-ins are looked at at a time: a thousand at once are counted as well as one after the other.

Limits: the counts are kept in memory, of the latest 10,000 of each kind, by each node for itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from gateway.desk.identity import Identity
from gateway.errors import TooMany
from gateway.fax import Account

_KEYS = 10_000
_LONGEST = 200  # characters of a login that are told apart
Clock = Callable[[], float]


class Tally:
    """Failures by key: `most` at once, then one in every `seconds`. Every call costs the same."""

    def __init__(self, most: int, seconds: float, clock: Clock = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until the key may try again; 0 = now."""
        return max(0.0, (self._level(key) - self._most + 1) * self._seconds)

    def add(self, key: str) -> None:
        """It has failed."""
        self._levels[key] = (self._level(key) + 1, self._clock())
        self._levels.move_to_end(key)
        if len(self._levels) > _KEYS:
            self._levels.popitem(last=False)

    def clear(self, key: str) -> None:
        self._levels.pop(key, None)

    def _level(self, key: str) -> float:
        level, at = self._levels.get(key, (0.0, 0.0))
        return max(0.0, level - (self._clock() - at) / self._seconds)


class Throttle:
    """Signs people in by password, and makes those wait who fail too often."""

    def __init__(self, identity: Identity, clock: Clock = time.monotonic) -> None:
        self._identity = identity
        self._pairs = Tally(10, 30.0, clock)
        self._clients = Tally(50, 10.0, clock)
        self._logins = Tally(100, 10.0, clock)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._turns = asyncio.Semaphore(2)

    async def by_password(self, client: str, login: str, password: str, *, digest: bool = False) -> Account | None:
        """The account that signs in so; None = wrong. Raises TooMany (how long to wait), SpoolUnavailable.

        client  its IP address, "" for a Unix socket
        digest  the password's MD5 will do, where the account has a hash of that
        """
        network, name = network_of(client), login.lower()[:_LONGEST]
        if f"{network} {name}" in self._known:
            return await self._tried(network, name, login, password, {}, digest=digest)
        async with self._turns:
            others = {network: self._clients, name: self._logins}
            return await self._tried(network, name, login, password, others, digest=digest)

    async def _tried(
        self, network: str, name: str, login: str, password: str, others: dict[str, Tally], *, digest: bool
    ) -> Account | None:
        pair = f"{network} {name}"
        counts = {pair: self._pairs, **others}
        wait = max(tally.wait(key) for key, tally in counts.items())
        if wait > 0:
            raise TooMany("Too many failed sign-ins: wait, and check login and password.", retry_after=wait)
        account = await self._identity.by_password(login, password, digest=digest)
        if account is None:
            for key, tally in counts.items():
                tally.add(key)
            return None
        self._pairs.clear(pair)
        self._logins.clear(name)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > _KEYS:
            self._known.popitem(last=False)
        return account


def network_of(client: str) -> str:
    """Whom an address stands for: of IPv6 one customer has at least a /64."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)

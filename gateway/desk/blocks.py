"""The do-not-fax list at the counter: numbers that nobody, or one account, may fax.

It is asked here where a recipient is named and when a fax is stored, and once more in the transaction that begins an attempt
(`spool.transmissions.open_attempt`), so that a number which is blocked meanwhile is not dialled any more. Beside it stands the
list of callers whose faxes nobody gets (`desk.routing`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from gateway.errors import NotAdmitted, Outcome
from gateway.fax import Account, AccountId
from gateway.spool import blocks
from gateway.spool.blocks import EVERYBODY, Block, BlockedCaller
from gateway.spool.store import Store

_FRESH = 2.0  # seconds the list is used before it is asked whether it has changed


class Blocks:
    """The list of one spool. What another node changes is known here two seconds later; before a call it counts at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: frozenset[tuple[str, str]] = frozenset()
        self._version: object = None
        self._asked_at = float("-inf")

    async def check(self, account: Account, number: str) -> None:
        """Raises NotAdmitted where the account may not fax this number (E.164), SpoolUnavailable."""
        await self._refresh()
        if (number, EVERYBODY) in self._known or (number, account.id) in self._known:
            text = "This number is on the list of those not to be faxed; ask the operator of the gateway if that is wrong."
            raise NotAdmitted(text, outcome=Outcome.RECIPIENT_BLOCKED)

    async def every(self) -> Sequence[Block]:
        """The list, by number."""
        return await self._store.read(blocks.every)

    async def add(self, number: str, account: AccountId = EVERYBODY, *, reason: str, by: str) -> None:
        """Let nobody, or one account not, fax a number any more."""
        await self._store.write(blocks.add, number, account, reason, by)
        self._version, self._asked_at = None, float("-inf")

    async def remove(self, number: str, account: AccountId = EVERYBODY) -> bool:
        """Let it be faxed again. False: it was not on the list."""
        removed = await self._store.write(blocks.remove, number, account)
        self._version, self._asked_at = None, float("-inf")
        return removed

    async def callers(self) -> Sequence[BlockedCaller]:
        """Callers whose faxes nobody gets; those in the configuration are not among them."""
        return await self._store.read(blocks.callers)

    async def add_caller(self, pattern: str, *, reason: str, by: str) -> None:
        """Drop what comes from these callers."""
        await self._store.write(blocks.add_caller, pattern, reason, by)

    async def remove_caller(self, pattern: str) -> bool:
        """Deliver what comes from them again. False: they were not blocked."""
        return await self._store.write(blocks.remove_caller, pattern)

    async def _refresh(self) -> None:
        if time.monotonic() - self._asked_at < _FRESH:
            return
        asked_at = time.monotonic()
        version = await self._store.read(blocks.version)
        if version != self._version:
            self._known = frozenset((one.number, one.account) for one in await self._store.read(blocks.every))
            self._version = version
        self._asked_at = asked_at

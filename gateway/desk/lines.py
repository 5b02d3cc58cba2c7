"""Fax numbers at the carriers: which areas are on sale, buying one, giving one back.

Buying costs money every month, so nothing is repeated here: a lost answer is `Uncertain`, and the operator is told. A
number is stored after the carrier has sold it; what a crash in between leaves behind is found by the daily comparison
(`work.sweep`). Giving back is asked of the carrier first: until it agrees the line is ours.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping, Sequence

from gateway.carriers.base import Carrier
from gateway.desk.identity import Identity, mailbox_of
from gateway.errors import CarrierRefused, CarrierUncertain, NotAdmitted, Refused, Unavailable, Uncertain, Unsupported
from gateway.fax import Account, Line, new_id
from gateway.log import shown
from gateway.spool import accounts, outbox
from gateway.spool.store import Store

_log = logging.getLogger(__name__)
_PERHAPS = "a number was perhaps bought"


class Lines:
    """The lines of one spool, and the carriers that sell them."""

    def __init__(
        self, identity: Identity, store: Store, carriers: Mapping[str, Carrier], *, domains: Collection[str] = ()
    ) -> None:
        self._identity, self._store, self._carriers = identity, store, carriers
        self._domains = domains  # that are faxed: a mailbox there would come back as a fax

    def sells(self) -> bool:
        """Whether numbers can be bought from any carrier."""
        return any(carrier.capabilities.sells for carrier in self._carriers.values())

    async def equipment(self) -> Mapping[str, Sequence[str]]:
        """What each carrier says of its modems, where it has some."""
        said: dict[str, Sequence[str]] = {}
        for name, carrier in self._carriers.items():
            try:
                said[name] = await carrier.equipment()
            except (Refused, Unavailable) as error:
                said[name] = (error.text,)
        return said

    async def areas(self, state: str, *, carrier: str = "") -> Sequence[str]:
        """Area codes in which a number can be bought, of a state like "CA". Raises Refused, Unavailable.

        carrier  its name in the configuration; "" = the first one that sells numbers
        """
        return await self._carriers[self._seller(carrier)].area_codes(state.strip().upper())

    async def buy(self, account: Account, area: str, *, carrier: str = "") -> Line:
        """Buy a number of an area for an account; what arrives there is mailed to its login where that is a mail address.

        Durable when it returns. Raises Refused, Unavailable, Uncertain (perhaps bought; the operator is told).
        """
        name = self._seller(carrier)
        try:
            number = await self._carriers[name].buy_line(area.strip())
        except Uncertain as error:
            text = f"For {account.name}, area code {area}, at {name}: {error.text}"
            await self._store.write(outbox.alarm, about=new_id("buy"), what=_PERHAPS, text=text)
            raise CarrierUncertain(
                "The carrier's answer was lost: the number may have been bought. The operator is told."
            ) from error
        mailbox = tuple(filter(None, [mailbox_of(account, self._domains)]))
        line = Line(number=number, account=account.id, carrier=name, mailbox=mailbox)
        if not await self._store.write(accounts.add_line, line):
            raise CarrierUncertain(f"The carrier sold {number}, which is a line here already.")
        self._identity.forget()
        _log.info("%s bought at %s for %s", shown(number), name, account.name, extra={"action": "line_bought"})
        return line

    async def release(self, account: Account, number: str) -> None:
        """Give a number (E.164) of an account back: the carrier first, then the line here.

        Raises NotAdmitted (not its line, or declared in the configuration file), Refused, Unavailable, Uncertain; it may
        be asked again after each of them.
        """
        line = next((line for line in await self._identity.lines() if line.number == number), None)
        if line is None or line.account != account.id:
            raise NotAdmitted(f"{number} is not one of this account's lines.")
        if line.declared:
            raise NotAdmitted(f"{number} is declared in the configuration file: remove it there first.")
        carrier = self._carriers.get(line.carrier)
        if carrier is None:
            raise Unavailable(f"The carrier “{line.carrier}” of this line is not in the configuration.")
        try:
            await carrier.release_line(number)
        except CarrierRefused:
            if number in await carrier.own_lines():
                raise
            # It is not there any more: an answer of an earlier time was lost.
        await self._store.write(accounts.remove_line, number)
        self._identity.forget()
        _log.info("%s given back to %s", shown(number), line.carrier, extra={"action": "line_released"})

    async def at_carriers(self) -> Mapping[str, Sequence[str]]:
        """The numbers each carrier says we hold there; carriers that cannot say are left out. Raises Unavailable."""
        held = {}
        for name, carrier in self._carriers.items():
            with contextlib.suppress(Unsupported):
                held[name] = await carrier.own_lines()
        return held

    def _seller(self, name: str) -> str:
        """The carrier that is meant. Raises NotAdmitted, Unsupported."""
        if name and name not in self._carriers:
            raise NotAdmitted(f"There is no carrier “{name}” in the configuration.")
        sellers = [one for one, carrier in self._carriers.items() if carrier.capabilities.sells and name in ("", one)]
        if not sellers:
            raise Unsupported(f"{name or 'No carrier here'} sells {'no ' if name else ''}numbers.")
        return sellers[0]

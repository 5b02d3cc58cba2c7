"""The addresses that answers to our mails go to: what such an answer may be about, signed.

    reply+ WHAT ID UNTIL MAC @ our domain        57 characters before the @, small letters and digits

WHAT says what may be done, ID is the fax, UNTIL the day on which it ends. Only the spool's key can make the MAC, which is also
over the address that the mail went to: whoever gets it from there cannot use it. Whether the answer is from there is a
matter of its proof; an address alone lets nobody do anything.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gateway.errors import BadAddress
from gateway.message import plain_address

_LOCAL = re.compile(r"reply\+([sdf])([0-9a-z]{26})([0-9a-z]{4})([a-z2-7]{20})", re.IGNORECASE)
_DAY = 86_400
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_UNKNOWN = "This reply address was not made here; reply to the mail as it is."


class Scope(StrEnum):
    """What an answer may do."""

    STEER = "s"  #: stop, send again or forward a fax, and agree to its proof
    DECIDE = "d"  #: approve or reject it
    FAX = "f"  #: be a fax to whoever sent the one that was received


@dataclass(frozen=True, slots=True)
class Ticket:
    """What stands in such an address. Nothing is proven by it before `Replies.is_for` says so."""

    scope: Scope
    subject: str
    """tx_… or in_…"""
    until: int
    """Day since 1970, UTC, after which it is worth nothing."""
    mac: str


class Replies:
    """The reply addresses of one spool; `key` gives the spool's. With a `life` of nothing there are none."""

    def __init__(self, key: Callable[[], bytes], domain: str, life: timedelta) -> None:
        self._key, self._domain, self._life = functools.cache(key), domain, life

    def address(self, scope: Scope, subject: str, to: str, now: datetime) -> str:
        """Where the answer to a mail about a fax goes, which is sent to `to`; "" = nowhere."""
        if self._life <= timedelta(0):
            return ""
        until = int((now + self._life).timestamp()) // _DAY
        mac = self._mac(scope, subject, until, to)
        return f"reply+{scope}{subject.partition('_')[2]}{_base36(until)}{mac}@{self._domain}"

    @staticmethod
    def read(local: str, now: datetime) -> Ticket:
        """What the local part of an address says. Raises BadAddress: it is none of ours, or its time is over."""
        found = _LOCAL.fullmatch(local)
        if found is None:
            raise BadAddress(_UNKNOWN, reply="550 5.1.1")
        scope, identity, until, mac = (one.lower() for one in found.groups())
        if int(until, 36) < int(now.timestamp()) // _DAY:
            raise BadAddress("This reply address has expired; write to the operator, or send a new fax.", reply="550 5.1.1")
        prefix = "in_" if scope == Scope.FAX else "tx_"
        return Ticket(Scope(scope), prefix + identity, int(until, 36), mac)

    def is_for(self, ticket: Ticket, address: str) -> bool:
        """Whether it was made here, and for the mail to this address."""
        made = self._mac(ticket.scope, ticket.subject, ticket.until, address)
        return hmac.compare_digest(made.encode(), ticket.mac.encode())

    def check(self, ticket: Ticket, *addresses: str) -> None:
        """Raises BadAddress where it is for none of these."""
        if not sum(self.is_for(ticket, address) for address in addresses):  # each is looked at, whichever it is
            raise BadAddress(_UNKNOWN, reply="550 5.1.1")

    def _mac(self, scope: Scope, subject: str, until: int, to: str) -> str:
        whom = "" if scope is Scope.FAX else plain_address(to)
        text = f"reply {scope} {subject} {until} {whom}".encode("utf-8", "surrogatepass")
        return base64.b32encode(hmac.digest(self._key(), text, hashlib.sha256)[:13])[:20].decode().lower()


def _base36(number: int) -> str:
    digits = ""
    for _ in range(4):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits

"""Whether a host may send mail for a domain: SPF.

pyspf reads the record; the questions go through `Lookups`, so that they are counted and timed with the others of the mail.
Sources: RFC 7208; RFC 8601 §2.7.2.
"""

from __future__ import annotations

from typing import Any

import spf

from gateway.errors import DnsUnavailable
from gateway.intake.resolver import Lookups
from gateway.intake.results import Result


def check(client: str, sender: str, helo: str, lookups: Lookups) -> Result:
    """What the domain of the envelope's sender says about this host: pass, fail, softfail, neutral, none, temperror, permerror.

    client  its IP address
    """
    try:
        result = str(_Query(client, sender, helo, lookups).check()[0])
    except (ValueError, UnicodeError, AssertionError, RecursionError, KeyError):  # pyspf, over a record beyond repair
        result = "permerror"
    return Result("spf", result, {"smtp.mailfrom": sender.rpartition("@")[2].lower()})


class _Query(spf.query):  # type: ignore[misc]  # pyspf has no types
    """One question of pyspf, with our DNS."""

    def __init__(self, client: str, sender: str, helo: str, lookups: Lookups) -> None:
        super().__init__(i=client, s=sender, h=helo)
        self._lookups = lookups
        self._void = 0

    def dns(self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[Any]:
        """As pyspf wants it: TXT as tuples of octets, MX as (preference, name), the others as text."""
        try:
            records = self._lookups.records(str(name), qtype)
        except DnsUnavailable as error:
            raise spf.TempError("the DNS does not answer") from error
        if not records and not ignore_void:
            self._void += 1
            if self._void > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("too many names that do not exist")
        return [_plain(record, qtype) for record in records]


def _plain(record: Any, kind: str) -> object:
    if kind == "TXT":
        return record.strings
    if kind == "MX":
        return record.preference, record.exchange.to_text(omit_final_dot=True)
    return record.target.to_text(omit_final_dot=True) if kind == "PTR" else record.address

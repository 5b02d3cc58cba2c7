"""Whose domain it is, and whether another one speaks for it: DMARC's alignment.

A signature or a host of `mail.corp.example` speaks for `corp.example` and the other way round, unless the owner asks for the
very same domain (`adkim=s`, `aspf=s`). Sources: RFC 7489 §3.1, §3.2, §6.3, §6.6.3.
"""

from __future__ import annotations

import functools
import re

from publicsuffixlist import PublicSuffixList

from gateway.intake.resolver import Lookups

_VERSION = re.compile(rb"v\s*=\s*DMARC1\s*(;|\Z)")


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def owner(domain: str) -> str:
    """The domain that somebody registered, e.g. "corp.example" of "mail.corp.example"; a public suffix is its own."""
    return _suffixes().privatesuffix(domain) or domain


def akin(one: str, other: str) -> bool:
    """Whether two domains (lower case, A-labels) are of one owner: what alignment asks at least."""
    return one == other or owner(one) == owner(other)


class Alignment:
    """Which domains speak for the author's. Asks for the owner's policy only where the answer depends on it."""

    def __init__(self, author: str, lookups: Lookups) -> None:
        self._author, self._lookups = author, lookups
        self._policy: dict[str, str] | None = None

    def holds(self, domain: str, tag: str) -> bool:
        """Whether `domain` speaks for the author's; `tag` is the policy's word for it, "adkim" or "aspf".

        Raises DnsUnavailable.
        """
        if domain == self._author:
            return True
        if not akin(domain, self._author):
            return False
        if self._policy is None:
            above = owner(self._author)
            self._policy = self._record(self._author) or (self._record(above) if above != self._author else {})
        return self._policy.get(tag, "r").lower() != "s"

    def _record(self, domain: str) -> dict[str, str]:
        """The tags of the domain's DMARC record; none where it has none, or more than one."""
        found = [text for text in self._lookups.txt(f"_dmarc.{domain}") if _VERSION.match(text)]
        if len(found) != 1:
            return {}
        tags = (tag.partition("=") for tag in found[0].decode("ascii", "replace").split(";"))
        return {name.strip().lower(): value.strip() for name, _, value in tags}

"""Questions to the DNS about a mail: few, and soon over.

`Resolver` knows the name servers and keeps answers as long as they are good; `Lookups` are the questions that one mail may
cause. They wait for answers, so they belong in a thread. What does not exist is an empty answer; a server that does not
answer, or cannot (SERVFAIL), is trouble, never an answer. Sources: RFC 1035, 7208 §4.6.4; row AUT-06.
"""

from __future__ import annotations

import time
from typing import Any

import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

from gateway.errors import DnsUnavailable
from gateway.sections import Dns

_MOST = 60  # questions for one mail: SPF may ask 10 times for 10 hosts each, keys and policies are few
_SECONDS = 20.0  # for all questions about one mail, RFC 7208 §4.6.4
_KEPT = 2000  # answers


class Resolver:
    """The name servers of `[dns]`, or those of the system."""

    def __init__(self, settings: Dns) -> None:
        self._settings = settings
        self._resolver: dns.resolver.Resolver | None = None

    def lookups(self) -> Lookups:
        """The questions of one mail."""
        return Lookups(self, time.monotonic() + _SECONDS)

    def ask(self, name: dns.name.Name, kind: str, seconds: float) -> dns.resolver.Answer:
        """Raises what dnspython raises."""
        lifetime = min(seconds, self._settings.timeout.total_seconds())
        return self._servers().resolve(name, kind, search=False, lifetime=lifetime, raise_on_no_answer=False)

    def _servers(self) -> dns.resolver.Resolver:
        if self._resolver is None:
            resolver = dns.resolver.Resolver(configure=not self._settings.servers)
            if self._settings.servers:
                resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in self._settings.endpoints]
            resolver.timeout = self._settings.timeout.total_seconds() / 2  # so that a second server is asked in time
            resolver.cache = _Answers(_KEPT)
            self._resolver = resolver
        return self._resolver


class _Answers(dns.resolver.LRUCache):
    """What there is. That there is nothing is not kept: where a server does not say how long, dnspython keeps it for years."""

    def put(self, key: dns.resolver.CacheKey, value: dns.resolver.Answer) -> None:
        if value.rrset is not None:
            super().put(key, value)


class Lookups:
    """At most so many questions, until then. For one thread."""

    def __init__(self, resolver: Resolver, until: float) -> None:
        self._resolver, self._until, self._left = resolver, until, _MOST

    def txt(self, name: str) -> list[bytes]:
        """The TXT records of a name, each in one piece; none where there is no such name. Raises DnsUnavailable."""
        return [b"".join(record.strings) for record in self.records(name, "TXT")]

    def records(self, name: str, kind: str) -> list[Any]:
        """The records of a kind ("A", "AAAA", "MX", "PTR", "TXT"). Raises DnsUnavailable."""
        try:
            asked = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return []  # no such name can exist
        seconds = self._until - time.monotonic()
        if seconds <= 0 or self._left <= 0:
            raise DnsUnavailable
        self._left -= 1
        try:
            answer = self._resolver.ask(asked, kind, seconds)
        except (dns.resolver.NXDOMAIN, dns.resolver.YXDOMAIN):
            return []
        except dns.exception.DNSException as error:
            raise DnsUnavailable from error
        return list(answer.rrset or ())

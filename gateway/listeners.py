"""`[smtp]` and `[lmtp]`: where mail comes in, for what purpose, and how much of it at a time."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from gateway.sections import Section
from gateway.units import Beside, Duration, Endpoint, Size, Text

_LOOPBACK = ("localhost", "::1")


class Purpose(StrEnum):
    """What a listener is for."""

    RELAY = "smtp"  #: mail servers (port 25), and clients whose network proves who they are
    SUBMISSION = "submission"  #: people's programs (port 587): STARTTLS, then AUTH
    SUBMISSIONS = "submissions"  #: the same with TLS from the first octet (port 465)
    LMTP = "lmtp"  #: the mail server beside us, one answer for each recipient


class Smtp(Section):
    """`[smtp]`: where mail comes in."""

    listen: tuple[Endpoint, ...] = ("127.0.0.1:2525",)
    """Addresses for mail servers, and for clients whose network proves who they are. Usually port 25."""
    submission: tuple[Endpoint, ...] = ()
    """Addresses for people's programs, which say STARTTLS and sign in before anything else. Usually port 587."""
    submissions: tuple[Endpoint, ...] = ()
    """The same with TLS from the first octet. Usually port 465."""
    tls_cert: Beside | None = None
    """PEM certificate chain; with `tls_key` it switches STARTTLS, and with it AUTH, on. Changed files are read again."""
    tls_key: Beside | None = None
    max_size: Size = 50_000_000
    """Largest mail taken, at least 64 KiB. Attachments grow by a third on the way in."""
    max_recipients: Annotated[int, Field(ge=100, le=10_000)] = 100
    """Recipients of one mail."""
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Connections at the same time, for each purpose; further ones are answered 421."""
    client_connections: Annotated[int, Field(ge=1, le=10_000)] = 50
    """The same for one client: an IPv4 address or an IPv6 /64."""
    client_rate: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    """New connections of one client in a minute."""
    account_connections: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Connections at the same time on which one account has signed in."""
    timeout: Duration = timedelta(minutes=5)
    """A client that says nothing for this long is cut off."""
    mail_time: Duration = timedelta(minutes=30)
    """A client that has not handed in a mail for this long, whatever it says meanwhile, is cut off."""
    hold: Duration = timedelta(days=7)
    """How long before it is faxed a mail may be handed in by who signs in (FUTURERELEASE). "0s": not offered."""
    hold_quota: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Unfinished faxes that an account may have with such a mail."""
    proxied: tuple[Endpoint, ...] = ()
    """Those of the addresses above on which every connection begins with a PROXY header."""
    proxies: tuple[Text, ...] = ()
    """Networks (CIDR) of the proxies; all others are cut off there."""
    relays: tuple[Text, ...] = ()
    """CIDR: mail servers that pass on other people's mail. Their address proves nothing, whatever an account's networks."""
    authserv_ids: tuple[Text, ...] = ()
    """Names under which the relays write Authentication-Results; empty: what they write there is not looked at."""

    @field_validator("proxies", "relays")
    @classmethod
    def _cidr(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @model_validator(mode="after")
    def _together(self) -> Smtp:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both or neither")
        if self.max_size < 65536:
            raise ValueError("max_size must be at least 64 KiB (65536 B)")
        if (self.submission or self.submissions) and self.tls_cert is None:
            raise ValueError("submission and submissions need tls_cert and tls_key: nobody signs in without TLS")
        if unknown := set(self.proxied) - {*self.listen, *self.submission, *self.submissions}:
            raise ValueError(f"proxied has {min(unknown)}, which is not listened on")
        if bool(self.proxied) != bool(self.proxies):
            raise ValueError("proxied and proxies belong together: set both or neither")
        if self.hold >= timedelta(days=365):
            raise ValueError('hold is less than "1y"')
        return self

    def endpoints(self) -> list[tuple[Purpose, str]]:
        """Every address with its purpose."""
        of = {Purpose.RELAY: self.listen, Purpose.SUBMISSION: self.submission, Purpose.SUBMISSIONS: self.submissions}
        return [(purpose, endpoint) for purpose, endpoints in of.items() for endpoint in endpoints]


class Lmtp(Section):
    """`[lmtp]`: the mail server of this machine hands over, and gets an answer for each recipient."""

    listen: tuple[Endpoint, ...] = ()
    """Unix sockets, or addresses of this machine alone; never port 25."""

    @field_validator("listen")
    @classmethod
    def _near(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in value:
            if endpoint.startswith("/"):
                continue
            host, _, port = endpoint.rpartition(":")
            if host.strip("[]") not in _LOOPBACK and not host.startswith("127."):
                raise ValueError(f"{endpoint}: LMTP is for this machine alone: a Unix socket, or 127.0.0.1 (LMT-05)")
            if int(port) == 25:
                raise ValueError(f"{endpoint}: LMTP is never spoken on port 25 (LMT-05)")
        return value

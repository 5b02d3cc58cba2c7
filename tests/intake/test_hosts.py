"""SPF over our own DNS: every mechanism that asks, for both kinds of addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.intake import hosts
from gateway.intake.resolver import Lookups, Resolver
from gateway.sections import Dns
from tests.nameserver import NameServer

RECORD = (
    "v=spf1 ip4:198.51.100.0/24 a:six.example mx ptr exists:%{ir}.%{l}.ok.example ?ip6:2001:db8:1::/48 ~ip4:203.0.113.1 -all"
)
ZONE = {
    ("six.example", "A"): ["192.0.2.5"],
    ("six.example", "AAAA"): ["2001:db8::5"],
    ("corp.example", "MX"): ["10 mx.example."],
    ("mx.example", "A"): ["192.0.2.6"],
    ("mx.example", "AAAA"): ["2001:db8::6"],
    ("7.2.0.192.in-addr.arpa", "PTR"): ["out.corp.example."],
    ("out.corp.example", "A"): ["192.0.2.7"],
    ("8.2.0.192.ann.ok.example", "A"): ["127.0.0.2"],
}


@pytest.fixture(scope="module")
def dns() -> Iterator[NameServer]:
    server = NameServer()
    server.zone |= ZONE
    server.txt("corp.example", RECORD)
    yield server
    server.close()


@pytest.fixture
def lookups(dns: NameServer) -> Lookups:
    return Resolver(Dns.model_validate({"servers": [f"127.0.0.1:{dns.port}"]})).lookups()


@pytest.mark.parametrize(
    ("client", "result"),
    [
        ("198.51.100.9", "pass"),
        ("192.0.2.5", "pass"),
        ("2001:db8::5", "pass"),
        ("::ffff:192.0.2.5", "pass"),
        ("192.0.2.6", "pass"),
        ("2001:db8::6", "pass"),
        ("192.0.2.7", "pass"),
        ("192.0.2.8", "pass"),
        ("2001:db8:1::1", "neutral"),
        ("203.0.113.1", "softfail"),
        ("192.0.2.9", "fail"),
        ("2001:db8::9", "fail"),
    ],
)
def test_a_host_is_judged_by_its_domain_s_record(lookups: Lookups, client: str, result: str) -> None:
    found = hosts.check(client, "ann@corp.example", "h.example", lookups)
    assert (found.result, found.domain("smtp.mailfrom")) == (result, "corp.example")


@pytest.mark.parametrize("sender", ['"a..b c"@corp.example', f"{'x' * 70}@corp.example", "%{l}@corp.example", "@corp.example"])
def test_a_strange_sender_finds_no_host_that_is_allowed(lookups: Lookups, sender: str) -> None:
    assert hosts.check("192.0.2.8", sender, "", lookups).result in ("fail", "permerror")


def test_a_domain_without_a_record_says_nothing(lookups: Lookups) -> None:
    assert hosts.check("192.0.2.8", "ann@gone.example", "", lookups).result == "none"

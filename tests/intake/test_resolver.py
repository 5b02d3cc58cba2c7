"""Questions to the DNS: what there is, what there is not, trouble, and an end in any case."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from gateway import config
from gateway.errors import ConfigError, DnsUnavailable
from gateway.intake.resolver import Lookups, Resolver
from gateway.sections import Dns
from tests.intake.recorder import configured
from tests.nameserver import NameServer


@pytest.fixture
def dns() -> Iterator[NameServer]:
    server = NameServer()
    server.txt("corp.example", "v=spf1 -all")
    yield server
    server.close()


def lookups(*servers: NameServer | str, timeout: str = "2s") -> Lookups:
    written = [one if isinstance(one, str) else f"127.0.0.1:{one.port}" for one in servers]
    return Resolver(Dns.model_validate({"servers": written, "timeout": timeout})).lookups()


def test_what_does_not_exist_is_an_empty_answer(dns: NameServer) -> None:
    asked = lookups(dns)
    assert asked.txt("corp.example") == [b"v=spf1 -all"]
    assert asked.txt("gone.example") == []
    assert asked.records("corp.example", "MX") == []
    for impossible in ("a..b", "x" * 64 + ".example", ".".join(["abcdefgh"] * 40), "\udcff.example"):
        assert asked.txt(impossible) == []


def test_a_long_record_comes_by_tcp_in_one_piece(dns: NameServer) -> None:
    dns.txt("big.example", "x" * 3000)
    dns.cut.add("big.example")
    assert lookups(dns).txt("big.example") == [b"x" * 3000]
    assert ("big.example", "TXT", "tcp") in dns.asked


def test_trouble_is_no_answer(dns: NameServer) -> None:
    dns.failing.add("corp.example")
    with pytest.raises(DnsUnavailable):
        lookups(dns).txt("corp.example")
    dns.silent.add("quiet.example")
    with pytest.raises(DnsUnavailable):
        lookups(dns, timeout="0.3s").txt("quiet.example")


def test_a_second_server_is_asked_where_the_first_is_silent(dns: NameServer) -> None:
    dead = NameServer()
    dead.silent.add("*")
    try:
        assert lookups(dead, dns, timeout="4s").txt("corp.example") == [b"v=spf1 -all"]
    finally:
        dead.close()


def test_one_mail_asks_so_often_and_no_more(dns: NameServer) -> None:
    asked = lookups(dns)
    with pytest.raises(DnsUnavailable):
        for n in range(100):
            asked.txt(f"n{n}.example")
    assert len(dns.asked) == 60


def test_one_mail_asks_so_long_and_no_longer(dns: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, began = lookups(dns), time.monotonic()
    monkeypatch.setattr("gateway.intake.resolver.time.monotonic", lambda: began + 21)
    with pytest.raises(DnsUnavailable):
        asked.txt("corp.example")
    assert dns.asked == []


def test_an_answer_is_kept_for_the_next_mail(dns: NameServer) -> None:
    resolver = Resolver(Dns.model_validate({"servers": [f"127.0.0.1:{dns.port}"]}))
    for _ in range(3):
        assert resolver.lookups().txt("corp.example")
    assert len(dns.asked) == 1


def test_that_there_is_nothing_is_asked_again(dns: NameServer) -> None:
    resolver = Resolver(Dns.model_validate({"servers": [f"127.0.0.1:{dns.port}"]}))
    assert resolver.lookups().txt("new.example") == []
    assert resolver.lookups().records("corp.example", "A") == []
    dns.txt("new.example", "here")
    dns.zone["corp.example", "A"] = ["192.0.2.1"]
    assert resolver.lookups().txt("new.example") == [b"here"]
    assert len(resolver.lookups().records("corp.example", "A")) == 1


def test_servers_are_written_with_or_without_a_port() -> None:
    written = ["192.0.2.53", "127.0.0.1:5353", "2001:db8::1", "[2001:db8::1]:54"]
    servers = configured({}, dns={"servers": written}).dns.endpoints
    assert servers == [("192.0.2.53", 53), ("127.0.0.1", 5353), ("2001:db8::1", 53), ("2001:db8::1", 54)]


@pytest.mark.parametrize("server", ["dns.example", "192.0.2.53:", "[192.0.2.53", "192.0.2.999", ""])
def test_what_is_no_server_stops_the_start(server: str) -> None:
    with pytest.raises(ConfigError) as error:
        configured({}, dns={"servers": [server]})
    assert error.value.key.startswith("dns.servers")


@pytest.mark.parametrize("sender", ["*", "*@*", "ann", "*@*example.com", "*@com", "*@*.com", "a@b@c.example"])
def test_dmarc_needs_senders_of_named_domains(sender: str) -> None:
    account = {"name": "office", "senders": [sender], "countries": ["US"]}
    assert configured({}, account=[account]).account[0].senders == (sender,)
    with pytest.raises(ConfigError) as error:
        configured({}, account=[{**account, "dmarc": True}])
    assert "senders of named domains" in error.value.problem


def test_a_relay_is_a_network() -> None:
    with pytest.raises(ConfigError) as error:
        configured({"relays": ["mx.corp.example"]})
    assert error.value.key.startswith("smtp.relays")
    assert isinstance(configured({"relays": ["192.0.2.0/24", "2001:db8::/32"]}), config.Config)

"""What proves the author of a mail, and what does not: a DNS on loopback, real signatures, everything a stranger may try."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.desk.identity import Roll
from gateway.fax import Account, AccountId, Recipient
from gateway.intake.authentication import Client, Proof
from gateway.intake.entrance import Entrance, Verdict
from tests.intake.recorder import configured
from tests.nameserver import NameServer
from tests.signing import publish, signed

ACCOUNT = Account(id=AccountId("acc_1"), name="corp", senders=("*@corp.example",), countries=("US",), dmarc=True)
NUMBER = "+14155550123"
FAX = Recipient(written="14155550123@fax.example", number=NUMBER)
HOST = "192.0.2.77"
RELAY = "198.51.100.1"
ANN = "ann@corp.example"
DATE = "Date: Mon, 5 Jan 2026 10:00:00 +0000\r\n"


def mail(fields: str = "", body: str = "Hello.\r\n", author: str = f"Ann <{ANN}>", to: str = FAX.written) -> bytes:
    top = f"From: {author}\r\nTo: {to}\r\nSubject: Contract\r\n{DATE}Message-ID: <1@corp.example>\r\n{fields}"
    return (top + "\r\n" + body).encode()


@pytest.fixture
def dns() -> Iterator[NameServer]:
    server = NameServer()
    publish(server, "corp.example")
    publish(server, "evil.example")
    server.zone["corp.example", "A"] = ["192.0.2.1"]
    yield server
    server.close()


Judge = Callable[..., Any]


@pytest.fixture
async def judge(dns: NameServer) -> Judge:
    async def ask(
        content: bytes,
        *,
        sender: str = ANN,
        client: str = HOST,
        to: tuple[Recipient, ...] = (FAX,),
        accounts: tuple[Account, ...] = (ACCOUNT,),
        signed_in: Account | None = None,
        timeout: str = "2s",
        **smtp: Any,
    ) -> Verdict:
        settings = {"relays": [f"{RELAY}/32"], "authserv_ids": ["mx.corp.example"], **smtp}
        config = configured(settings, dns={"servers": [f"127.0.0.1:{dns.port}"], "timeout": timeout})
        entrance = Entrance(config, Roll(accounts))
        try:
            who = Client(address=client, helo="host.corp.example", account=signed_in)
            return await entrance.judge(content, client=who, sender=sender, recipients=to)
        finally:
            entrance.close()

    return ask


# What proves it.


async def test_a_signature_of_the_author_s_domain_is_a_proof(judge: Judge) -> None:
    verdict = await judge(signed(mail(), "corp.example"))
    assert verdict.reply == ""
    assert verdict.standing.account == ACCOUNT
    assert verdict.standing.proof is Proof.DMARC
    assert [(one.method, one.domain("header.d")) for one in verdict.results] == [("dkim", "corp.example")]


async def test_a_host_that_the_author_s_domain_allows_is_a_proof(judge: Judge, dns: NameServer) -> None:
    dns.txt("corp.example", f"v=spf1 ip4:{HOST} -all")
    verdict = await judge(mail())
    assert verdict.reply == ""
    assert [(one.method, one.domain("smtp.mailfrom")) for one in verdict.results] == [("spf", "corp.example")]


async def test_spf_is_followed_over_includes_mx_and_hosts(judge: Judge, dns: NameServer) -> None:
    dns.txt("corp.example", "v=spf1 include:hosts.example mx -all")
    dns.txt("hosts.example", "v=spf1 a:out.hosts.example -all")
    dns.zone["out.hosts.example", "A"] = ["203.0.113.9"]
    dns.zone["corp.example", "MX"] = ["10 mx.corp.example."]
    dns.zone["mx.corp.example", "A"] = [HOST]
    assert (await judge(mail())).reply == ""
    assert (await judge(mail(), client="203.0.113.9")).reply == ""
    assert (await judge(mail(), client="203.0.113.10")).reply == "550 5.7.23"


async def test_a_subdomain_speaks_for_its_owner_unless_the_owner_is_strict(judge: Judge, dns: NameServer) -> None:
    publish(dns, "mail.corp.example")
    content = signed(mail(), "mail.corp.example")
    assert (await judge(content)).reply == ""
    dns.txt("_dmarc.corp.example", "v=DMARC1; p=reject; adkim=r; aspf=s")
    assert (await judge(content)).reply == ""
    dns.txt("_dmarc.corp.example", "v=DMARC1; p=reject; adkim=s")
    assert (await judge(content)).reply == "550 5.7.22"


async def test_the_policy_of_the_owner_counts_for_subdomains(judge: Judge, dns: NameServer) -> None:
    account = Account(id=AccountId("acc_2"), name="sub", senders=("*@*.corp.example",), countries=("US",), dmarc=True)
    content = signed(mail(author="ann@hq.corp.example"), "corp.example")
    assert (await judge(content, sender="ann@hq.corp.example", accounts=(account,))).reply == ""
    dns.txt("_dmarc.corp.example", "v=DMARC1; p=none; adkim=s")
    assert (await judge(content, sender="ann@hq.corp.example", accounts=(account,))).reply == "550 5.7.22"


async def test_a_long_key_comes_by_tcp(judge: Judge, dns: NameServer) -> None:
    publish(dns, "corp.example", selector="big", which="long")
    dns.cut.add("big._domainkey.corp.example")
    assert (await judge(signed(mail(), "corp.example", selector="big", which="long"))).reply == ""
    assert ("big._domainkey.corp.example", "TXT", "tcp") in dns.asked


async def test_the_domain_is_read_without_case_and_in_a_labels(judge: Judge, dns: NameServer) -> None:
    assert (await judge(signed(mail(author="Ann <ANN@CORP.Example>"), "Corp.Example"), sender="Ann@Corp.EXAMPLE")).reply == ""
    account = Account(id=AccountId("acc_3"), name="idn", senders=("*@bücher.example",), countries=("US",), dmarc=True)
    publish(dns, "xn--bcher-kva.example")
    for author in ("ann@bücher.example", "ann@xn--bcher-kva.example"):
        content = signed(mail(author=author), "xn--bcher-kva.example")
        assert (await judge(content, sender="ann@xn--bcher-kva.example", accounts=(account,))).reply == ""


# What does not. Each of these has everything right but one thing.

FORGED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "unsigned, no SPF": (mail, ANN, "550 5.7.1"),
    "signed by another": (lambda: signed(mail(), "evil.example"), ANN, "550 5.7.22"),
    "signed by a name that ends alike": (lambda: signed(mail(), "evilcorp.example"), ANN, "550 5.7.22"),
    "changed text": (lambda: signed(mail(), "corp.example").replace(b"Hello", b"HELLO"), ANN, "550 5.7.20"),
    "changed subject": (lambda: signed(mail(), "corp.example").replace(b"Contract", b"+1900555"), ANN, "550 5.7.20"),
    "another key": (lambda: signed(mail(), "corp.example", which="other"), ANN, "550 5.7.20"),
    "no such key": (lambda: signed(mail(), "corp.example", selector="gone"), ANN, "550 5.7.20"),
    "only a part signed": (lambda: signed(mail(), "corp.example", length=True) + b"More.\r\n", ANN, "550 5.7.21"),
    "subject not signed": (lambda: signed(mail(), "corp.example", fields=(b"from", b"to")), ANN, "550 5.7.21"),
    "recipients not signed": (lambda: signed(mail(), "corp.example", fields=(b"from", b"subject")), ANN, "550 5.7.21"),
    "date not signed": (lambda: signed(mail(), "corp.example", fields=(b"from", b"to", b"subject")), ANN, "550 5.7.21"),
    "no date": (lambda: signed(mail().replace(DATE.encode(), b""), "corp.example"), ANN, "550 5.7.21"),
    "sent again by somebody": (lambda: b"Resent-From: eve@evil\r\n" + signed(mail(), "corp.example"), ANN, "550 5.7.21"),
    "a copy added": (lambda: b"Cc: 14155550199@fax.example\r\n" + signed(mail(), "corp.example"), ANN, "550 5.7.21"),
    "a subject added": (lambda: b"Subject: other\r\n" + signed(mail(), "corp.example"), ANN, "550 5.7.21"),
    "a type added": (lambda: b"Content-Type: text/html\r\n" * 2 + signed(mail(), "corp.example"), ANN, "550 5.7.21"),
    "SHA-1": (lambda: signed(mail(), "corp.example", algorithm=b"rsa-sha1"), ANN, "550 5.7.21"),
    "for another number": (lambda: signed(mail(to="14155550199@fax.example"), "corp.example"), ANN, "550 5.7.21"),
    "for nobody here": (lambda: signed(mail(to="bob@corp.example"), "corp.example"), ANN, "550 5.7.21"),
    "garbled signature": (lambda: b"DKIM-Signature: v=1; d=corp.example\r\n" + mail(), ANN, "550 5.7.20"),
    "no signature at all": (lambda: b"DKIM-Signature: =;;\xff\r\n" + mail(), ANN, "550 5.7.22"),
    "a line that is no field": (lambda: signed(mail(), "corp.example").replace(b"To:", b"nonsense\r\nTo:"), ANN, "550 5.7.20"),
    "a second From": (lambda: b"From: eve@evil.example\r\n" + signed(mail(), "corp.example"), ANN, "550 5.7.1"),
    "an empty From above it": (lambda: b"From:\r\n" + signed(mail(), "corp.example"), ANN, "550 5.7.1"),
    "the same From twice": (lambda: f"From: {ANN}\r\n".encode() + signed(mail(), "corp.example"), ANN, "550 5.7.1"),
    "two authors": (lambda: signed(mail(author=f"{ANN}, eve@evil.example"), "corp.example"), ANN, "550 5.7.1"),
    "a group": (lambda: signed(mail(author=f"Corp: {ANN};"), "corp.example"), ANN, "550 5.7.1"),
    "a route": (lambda: signed(mail(author=f"<@evil.example:{ANN}>"), "corp.example"), ANN, "550 5.7.1"),
    "no author": (lambda: signed(mail(author=""), "corp.example"), ANN, "550 5.7.1"),
    "the address as a name": (lambda: signed(mail(author=f'"{ANN}" <eve@evil.example>'), "evil.example"), ANN, "550 5.7.1"),
    "a bare address as a name": (lambda: signed(mail(author=f"{ANN} <eve@evil.example>"), "evil.example"), ANN, "550 5.7.1"),
    "an encoded address": (lambda: signed(mail(author="=?utf-8?q?ann=40corp.example?="), "corp.example"), ANN, "550 5.7.1"),
    "an encoded name": (
        lambda: signed(mail(author="=?utf-8?q?ann=40corp.example?= <eve@evil.example>"), "evil.example"),
        ANN,
        "550 5.7.1",
    ),
    "a Cyrillic letter": (lambda: signed(mail(author="ann@сorp.example"), "evil.example"), ANN, "550 5.7.1"),
    "a comment": (lambda: signed(mail(author=f"eve@evil.example ({ANN})"), "evil.example"), ANN, "550 5.7.1"),
    "Sender is none": (lambda: signed(mail(f"Sender: {ANN}\r\n", author="eve@evil.example"), "evil.example"), ANN, "550 5.7.1"),
    "Resent-From is none": (
        lambda: signed(mail(f"Resent-From: {ANN}\r\n", author="eve@evil.example"), "evil.example"),
        ANN,
        "550 5.7.1",
    ),
    "Reply-To is none": (
        lambda: signed(mail(f"Reply-To: {ANN}\r\n", author="eve@evil.example"), "evil.example"),
        ANN,
        "550 5.7.1",
    ),
    "an envelope of another": (lambda: signed(mail(), "corp.example"), "eve@evil.example", "550 5.7.1"),
    "an empty envelope": (lambda: signed(mail(), "corp.example"), "", "550 5.7.1"),
    "an envelope that looks alike": (lambda: signed(mail(), "corp.example"), "ann@corp.example.evil.example", "550 5.7.1"),
    "written by a program": (
        lambda: signed(mail("Auto-Submitted: auto-generated\r\n"), "corp.example"),
        ANN,
        "550 5.7.1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
async def test_aut_02_a_claim_is_no_proof(case: str, judge: Judge) -> None:
    make, sender, reply = FORGED[case]
    verdict = await judge(make(), sender=sender)
    assert (verdict.reply, bool(verdict.reason)) == (reply, True), verdict


async def test_aut_06_two_checks_that_fail_are_said_as_such(judge: Judge, dns: NameServer) -> None:
    dns.txt("corp.example", "v=spf1 ip4:203.0.113.1 -all")
    assert (await judge(mail())).reply == "550 5.7.23"
    assert (await judge(signed(mail(), "corp.example", which="other"))).reply == "550 5.7.26"
    assert (await judge(signed(mail(), "evil.example"))).reply == "550 5.7.26"


@pytest.mark.parametrize("policy", ["~all", "?all", "-all"])
async def test_only_a_pass_of_spf_counts(policy: str, judge: Judge, dns: NameServer) -> None:
    dns.txt("corp.example", f"v=spf1 {policy}")
    assert (await judge(mail())).reply == "550 5.7.23"


@pytest.mark.parametrize(
    "record", ["v=spf1 nonsense", "v=spf1 include:corp.example", "v=spf1 a:%{x} -all", "v=spf1 redirect=corp.example"]
)
async def test_a_broken_spf_record_is_no_pass(record: str, judge: Judge, dns: NameServer) -> None:
    dns.txt("corp.example", record)
    assert (await judge(mail())).reply == "550 5.7.24"
    assert len(dns.asked) < 30


async def test_an_spf_pass_of_another_domain_proves_nothing(judge: Judge, dns: NameServer) -> None:
    account = Account(**{**_values(ACCOUNT), "senders": ("*@corp.example", "*@lists.example")})
    dns.txt("lists.example", f"v=spf1 ip4:{HOST} -all")
    verdict = await judge(mail(), sender="bounce@lists.example", accounts=(account,))
    assert verdict.reply == "550 5.7.1"


def _values(account: Account) -> dict[str, Any]:
    return {name: getattr(account, name) for name in Account.__dataclass_fields__}


async def test_a_key_for_tests_proves_nothing(judge: Judge, dns: NameServer) -> None:
    publish(dns, "corp.example", flags=" t=y;")
    assert (await judge(signed(mail(), "corp.example"))).reply == "550 5.7.21"


async def test_a_strict_key_is_not_for_subdomains(judge: Judge, dns: NameServer) -> None:
    publish(dns, "corp.example", flags=" t=s;")
    content = signed(mail(), "corp.example", identity=b"@hq.corp.example")
    assert (await judge(content)).reply == "550 5.7.21"
    assert (await judge(signed(mail(), "corp.example"))).reply == ""


async def test_many_signatures_cost_few_questions(judge: Judge, dns: NameServer) -> None:
    bad = b"".join(signed(mail(), "corp.example", selector=f"s{n}").partition(b"From:")[0] for n in range(20))
    assert (await judge(bad + mail())).reply == "550 5.7.20"
    assert len([asked for asked in dns.asked if "_domainkey" in asked[0]]) <= 3


async def test_aut_08_who_got_a_signed_mail_cannot_have_it_faxed_elsewhere(judge: Judge) -> None:
    content = signed(mail(to=f"{FAX.written}, bob@corp.example"), "corp.example")
    elsewhere = Recipient(written="14155550199@fax.example", number="+14155550199")
    assert (await judge(content)).reply == ""
    assert (await judge(content, to=(elsewhere,))).reply == "550 5.7.21"
    assert (await judge(content, to=(FAX, elsewhere))).reply == "550 5.7.21"


async def test_the_number_may_be_written_otherwise_in_to(judge: Judge) -> None:
    content = signed(mail(to="Bank <FAX=+1-415-555-0123@FAX.example>"), "corp.example")
    assert (await judge(content)).reply == ""


# The DNS in trouble.


async def test_aut_06_a_dns_that_does_not_answer_is_a_reason_to_come_again(judge: Judge, dns: NameServer) -> None:
    dns.silent.add("*")
    began = time.monotonic()
    assert (await judge(mail(), timeout="0.3s")).reply == "451 4.7.24"
    assert time.monotonic() - began < 20
    assert (await judge(signed(mail(), "evil.example"), timeout="0.3s")).reply == "451 4.7.24"


async def test_aut_06_a_key_that_cannot_be_had_now_is_no_final_no(judge: Judge, dns: NameServer) -> None:
    dns.failing.add("fax._domainkey.corp.example")
    assert (await judge(signed(mail(), "corp.example"))).reply == "451 4.4.3"
    dns.txt("corp.example", "v=spf1 -all")
    assert (await judge(signed(mail(), "corp.example"))).reply == "451 4.4.3"
    dns.txt("corp.example", f"v=spf1 ip4:{HOST} -all")
    assert (await judge(signed(mail(), "corp.example"))).reply == ""


async def test_aut_06_a_policy_that_cannot_be_had_now_is_no_grant(judge: Judge, dns: NameServer) -> None:
    publish(dns, "mail.corp.example")
    dns.failing.add("_dmarc.corp.example")
    assert (await judge(signed(mail(), "mail.corp.example"))).reply == "451 4.4.3"


async def test_spf_in_trouble_is_said_as_such(judge: Judge, dns: NameServer) -> None:
    dns.txt("corp.example", "v=spf1 include:down.example -all")
    dns.failing.add("down.example")
    assert (await judge(mail())).reply == "451 4.7.24"


async def test_nobody_is_asked_about_a_mail_that_is_refused_anyway(judge: Judge, dns: NameServer) -> None:
    for content in (mail(author="eve@evil.example"), mail("List-Id: <x>\r\n"), mail("X-Faxgate-Loop: 1\r\n")):
        assert (await judge(content)).reply.startswith("55")
    assert dns.asked == []


# Relays.

PASS = "Authentication-Results: mx.corp.example; dmarc=pass (p=reject) header.from=corp.example\r\n"
VIA = "Received: from x by mx.corp.example; Mon, 5 Jan 2026 10:00:00 +0000\r\n"
OLDER = "Received: from y by out.example; Mon, 5 Jan 2026 09:59:00 +0000\r\n"

TRUSTED = {
    "above the relay's Received": PASS + VIA + OLDER,
    "below it": VIA + PASS + OLDER,
    "without any other server": VIA + PASS,
    "a comment, a reason, more methods": VIA + "Authentication-Results: MX.corp.example (ours) 1;\r\n\tfoo=pass; dkim=fail"
    ' reason="bad; dmarc=fail";\r\n dmarc=pass header.from=Corp.Example\r\n' + OLDER,
    "SPF of the author's domain": VIA + f"Authentication-Results: mx.corp.example; spf=pass smtp.mailfrom={ANN}\r\n" + OLDER,
    "DKIM of the author's domain": VIA + "Authentication-Results: mx.corp.example; dkim=pass header.d=corp.example\r\n" + OLDER,
    "behind another's field": "Authentication-Results: filter.corp.example; dmarc=fail\r\n" + PASS + VIA + OLDER,
}  # fmt: skip


@pytest.mark.parametrize("case", TRUSTED)
async def test_the_relay_s_own_word_is_a_proof(case: str, judge: Judge, dns: NameServer) -> None:
    verdict = await judge(TRUSTED[case].encode() + mail(), client=RELAY)
    assert verdict.reply == "", verdict
    assert verdict.results
    assert dns.asked == []


async def test_aut_08_the_relay_s_word_about_a_signature_is_for_the_named_numbers(judge: Judge) -> None:
    elsewhere = Recipient(written="14155550199@fax.example", number="+14155550199")
    for word in (PASS, "Authentication-Results: mx.corp.example; dkim=pass header.d=corp.example\r\n"):
        content = (VIA + word + OLDER).encode() + mail()
        assert (await judge(content, client=RELAY)).reply == ""
        verdict = await judge(content, client=RELAY, to=(elsewhere,))
        assert (verdict.reply, "To or Cc" in verdict.reason) == ("550 5.7.21", True)
        assert (await judge(b"Resent-From: eve@evil.example\r\n" + content, client=RELAY)).reply == "550 5.7.21"
    both = PASS.replace("\r\n", f"; spf=pass smtp.mailfrom={ANN}\r\n")
    assert (await judge((VIA + both + OLDER).encode() + mail(), client=RELAY, to=(elsewhere,))).reply == ""


UNTRUSTED = {
    "nothing": VIA + OLDER,
    "written by a server before the relay": VIA + OLDER + PASS,
    "below the relay's word": VIA + PASS.replace("=pass", "=fail") + PASS + OLDER,
    "another id": VIA + PASS.replace("mx.corp.example;", "mx.evil.example;") + OLDER,
    "an id that looks alike": VIA + PASS.replace("mx.corp.example;", "mx.corp.example.evil.example;") + OLDER,
    "our own id": VIA + PASS.replace("mx.corp.example;", "gw.fax.example;") + OLDER,
    "another author": VIA + PASS.replace("from=corp", "from=evil") + OLDER,
    "no author": VIA + PASS.replace(" header.from=corp.example", "") + OLDER,
    "two authors": VIA + PASS.replace("header.from", "header.from=evil.example header.from") + OLDER,
    "in a comment": VIA + PASS.replace("dmarc=pass", "none (dmarc=pass").replace("\r\n", ")\r\n") + OLDER,
    "in a reason": VIA + 'Authentication-Results: mx.corp.example; spf=fail reason="; dmarc=pass header.from=corp.example"\r\n',
    "in a comment that does not end": VIA + PASS.replace("(p=reject)", "(p=reject") + OLDER,
    "an unknown method": VIA + PASS.replace("dmarc=", "foo=") + OLDER,
    "an unknown version": VIA + PASS.replace("dmarc=", "dmarc/2=") + OLDER,
    "an unknown version of the field": VIA + PASS.replace("mx.corp.example;", "mx.corp.example 2;") + OLDER,
    "an unknown result": VIA + PASS.replace("=pass", "=bestguesspass") + OLDER,
    "another's SPF": VIA + "Authentication-Results: mx.corp.example; spf=pass smtp.mailfrom=evil.example\r\n" + OLDER,
    "another's DKIM": VIA + "Authentication-Results: mx.corp.example; dkim=pass header.d=evil.example\r\n" + OLDER,
}  # fmt: skip


@pytest.mark.parametrize("case", UNTRUSTED)
async def test_aut_05_what_the_relay_did_not_say_is_no_proof(case: str, judge: Judge) -> None:
    verdict = await judge(UNTRUSTED[case].encode() + mail(), client=RELAY)
    assert verdict.reply.startswith("550 5.7."), verdict


async def test_aut_03_nobody_else_is_believed(judge: Judge) -> None:
    content = (VIA + PASS + OLDER).encode() + mail()
    assert (await judge(content, client=RELAY)).reply == ""
    assert (await judge(content, client=HOST)).reply == "550 5.7.1"
    assert (await judge(content, client=RELAY, authserv_ids=[])).reply == "550 5.7.1"


async def test_a_forged_author_behind_a_relay_is_refused_though_the_relay_is_in_a_network(
    judge: Judge, dns: NameServer
) -> None:
    account = Account(**{**_values(ACCOUNT), "networks": ("198.51.100.0/24",)})
    assert (await judge(VIA.encode() + mail(), client=RELAY, accounts=(account,))).reply == "550 5.7.1"
    assert (await judge(VIA.encode() + mail(), client="198.51.100.2", accounts=(account,))).reply == ""
    for unix_or_mapped in ("", f"::ffff:{RELAY}"):
        assert (await judge(VIA.encode() + mail(), client=unix_or_mapped, accounts=(account,))).reply == "550 5.7.1"
    dns.txt("corp.example", f"v=spf1 ip4:{RELAY} -all")  # the relay may send the domain's mail, but did not write this one
    assert (await judge(VIA.encode() + mail(), client=RELAY, accounts=(account,))).reply == "550 5.7.1"
    assert (await judge(VIA.encode() + signed(mail(), "corp.example"), client=RELAY, accounts=(account,))).reply == ""


async def test_who_signed_in_needs_no_other_proof(judge: Judge, dns: NameServer) -> None:
    verdict = await judge(mail(), signed_in=ACCOUNT, client=RELAY)
    assert (verdict.reply, verdict.standing.proof) == ("", Proof.LOGIN)
    assert (await judge(mail(author="eve@evil.example"), signed_in=ACCOUNT)).reply == "550 5.7.1"
    assert dns.asked == []


async def test_who_signed_in_before_the_account_was_changed_signs_in_again(judge: Judge) -> None:
    anew = Account(**{**_values(ACCOUNT), "password_hash": "$argon2id$other"})
    assert (await judge(mail(), signed_in=ACCOUNT, accounts=(anew,))).reply == "530 5.7.0"
    assert (await judge(mail(), signed_in=ACCOUNT, accounts=())).reply == "530 5.7.0"
    fewer = Account(**{**_values(ACCOUNT), "countries": ()})
    assert (await judge(mail(), signed_in=ACCOUNT, accounts=(fewer,))).standing.account == fewer


async def test_aut_01_dmarc_proves_nothing_for_an_account_that_does_not_ask_for_it(judge: Judge, dns: NameServer) -> None:
    closed = Account(**{**_values(ACCOUNT), "dmarc": False})
    assert (await judge(signed(mail(), "corp.example"), accounts=(closed,))).reply == "550 5.7.1"
    anybody = Account(**{**_values(ACCOUNT), "senders": ("*", "*@*", "*@example")})
    assert (await judge(signed(mail(), "corp.example"), accounts=(anybody,))).reply == "550 5.7.1"
    assert dns.asked == []

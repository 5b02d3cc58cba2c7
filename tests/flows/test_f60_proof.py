"""Mails that prove their author themselves: the real program, real signatures, a DNS and clients on loopback."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.flows.house import DOMAIN, House, as_bytes, fresh, letter
from tests.nameserver import NameServer
from tests.signing import publish, signed

AUTHOR = "ann@example.com"
VIA = b"Received: from out.example by mx.example.com; Mon, 5 Jan 2026 10:00:00 +0000\r\n"
PASS = b"Authentication-Results: mx.example.com; dmarc=pass header.from=example.com\r\n"


@dataclass
class Street:
    """A house without networks of its own, and the name server it asks."""

    house: House
    dns: NameServer

    def answer(self, mail: bytes, number: str, sender: str = AUTHOR) -> str:
        """What the mail is answered after its data; "" = taken."""
        try:
            self.house.send(mail, number, sender=sender)
        except smtplib.SMTPDataError as error:
            said = error.smtp_error if isinstance(error.smtp_error, str) else error.smtp_error.decode()
            return f"{error.smtp_code} {said.split()[0]}"
        return ""


def written(number: str, subject: str = "Contract") -> bytes:
    return as_bytes(letter(subject, To=f"{number}@{DOMAIN}"))


def street(house: House, dns: NameServer, **smtp: object) -> Street:
    house.settings["account"] = [
        {"name": "office", "senders": ["*@example.com", "*@*.example.com"], "dmarc": True, "countries": ["US"]}
    ]
    house.settings["dns"] = {"servers": [f"127.0.0.1:{dns.port}"], "timeout": "0.5s"}
    house.settings["smtp"] |= smtp
    house.start()
    return Street(house, dns)


@pytest.fixture(scope="module")
def dns() -> Iterator[NameServer]:
    server = NameServer()
    publish(server, "example.com")
    publish(server, "evil.example")
    yield server
    server.close()


@pytest.fixture(scope="module")
def mx(tmp_path_factory: pytest.TempPathFactory, dns: NameServer) -> Iterator[Street]:
    """A house that is the domain's MX."""
    house = House(tmp_path_factory.mktemp("mx"))
    try:
        yield street(house, dns)
    finally:
        house.close()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, dns: NameServer) -> Iterator[Street]:
    """A house behind a mail server that passes on everybody's mail."""
    house = House(tmp_path_factory.mktemp("behind"))
    try:
        yield street(house, dns, relays=["127.0.0.0/8"], authserv_ids=["mx.example.com"])
    finally:
        house.close()


def test_a_signed_mail_is_faxed_and_its_proof_kept(mx: Street) -> None:
    number = fresh()
    assert mx.answer(signed(written(number), "example.com"), number) == ""
    fax = mx.house.fax(number)
    assert fax["state"] == "delivered"
    ((document,),) = mx.house.sql(f"SELECT document FROM submission WHERE id = '{fax['submission']}'")
    stored = (mx.house.spool / "documents" / document[:2] / document).read_bytes()
    assert stored.startswith(b"Received: ")
    assert b"\r\nAuthentication-Results: fax.example.com;\r\n\tdkim=pass header.d=example.com header.s=fax\r\n" in stored


def test_aut_08_who_got_a_signed_mail_has_it_faxed_once_however_it_is_dressed_up(mx: Street, behind: Street) -> None:
    for house, top in ((mx, b""), (behind, VIA), (behind, VIA + PASS)):
        number = fresh()
        fields = (b"from", b"to", b"subject", b"date", b"mime-version")
        mail = signed(written(number), "example.com", fields=fields)
        assert house.answer(top + mail, number) == ""
        assert house.house.fax(number)["state"] == "delivered"
        assert b"Message-ID: <" in mail
        assert b"Content-Type: text/plain;" in mail
        for again, sender in (
            (mail, "eve@example.com"),
            (mail.replace(b"Message-ID: <", b"Message-ID: <x"), AUTHOR),
            (mail.replace(b"Content-Type: text/plain;", b"Content-Type: text/plain; x=y;"), AUTHOR),
            (mail.replace(b"Subject: ", b"Subject:  ").rstrip() + b"  \r\n\r\n\r\n", AUTHOR),
        ):
            assert house.answer(top + again, number, sender) == ""
        assert house.answer(b"Resent-Message-ID: <1@evil.example>\r\n" + top + mail, number) == "550 5.7.21"
        assert len(house.house.faxes(number)) == 1


def test_aut_02_a_forged_author_is_refused_and_nothing_is_left(mx: Street) -> None:
    number = fresh()
    assert mx.answer(written(number), number) == "550 5.7.1"
    assert mx.answer(signed(written(number), "evil.example"), number) == "550 5.7.22"
    assert mx.answer(PASS + VIA + written(number), number) == "550 5.7.1"
    assert mx.answer(signed(written(number), "example.com").replace(b"Please", b"Do not"), number) == "550 5.7.20"
    assert mx.house.faxes(number) == []


def test_who_only_claims_to_be_the_sender_learns_nothing_of_the_account(mx: Street) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        mx.house.send(written("x"), "+442079460123", sender=AUTHOR)
    ((code, text),) = refused.value.recipients.values()
    assert (code, text[:5]) == (550, b"5.7.1")
    assert b"GB" not in text
    assert b"US" not in text


def test_aut_10_the_refusal_is_in_the_dialogue_and_nobody_gets_mail(mx: Street) -> None:
    before, number = len(mx.house.sink.letters), fresh()
    assert mx.answer(written(number, subject="forged"), number) == "550 5.7.1"
    assert mx.house.sql("SELECT count(*) FROM outbox WHERE subject LIKE '%forged%'") == [(0,)]
    assert len(mx.house.sink.letters) == before


def test_a_host_that_the_domain_allows_may_send(mx: Street, dns: NameServer) -> None:
    allowed, other = "ann@allowed.example.com", "ann@other.example.com"
    for name in ("allowed", "other"):
        dns.txt(f"{name}.example.com", f"v=spf1 ip4:{'127.0.0.0/8' if name == 'allowed' else '192.0.2.0/24'} -all")
    numbers = {sender: fresh() for sender in (allowed, other)}
    mails = {sender: written(number).replace(AUTHOR.encode(), sender.encode()) for sender, number in numbers.items()}
    assert mx.answer(mails[allowed], numbers[allowed], allowed) == ""
    assert mx.answer(mails[other], numbers[other], other) == "550 5.7.23"
    assert mx.house.fax(numbers[allowed])["state"] == "delivered"
    assert mx.house.faxes(numbers[other]) == []


def test_aut_06_a_dns_in_trouble_means_later_and_then_it_is_faxed_once(mx: Street, dns: NameServer) -> None:
    number = fresh()
    publish(dns, "example.com", selector="late")
    mail = signed(written(number), "example.com", selector="late")
    dns.failing.add("late._domainkey.example.com")
    dns.silent.add("example.com")
    try:
        assert mx.answer(mail, number) == "451 4.7.24"
    finally:
        dns.failing.clear()
        dns.silent.clear()
    assert mx.house.faxes(number) == []
    assert mx.answer(mail, number) == ""
    assert mx.answer(mail, number) == ""
    assert mx.house.fax(number)["state"] == "delivered"
    assert len(mx.house.calls(number)) == 1


def test_others_are_served_while_the_dns_is_silent(mx: Street, dns: NameServer) -> None:
    number, other = fresh(), fresh()
    dns.silent.add("example.com")
    try:
        with mx.house.smtp() as waiting:
            waiting.ehlo()
            waiting.mail(AUTHOR)
            waiting.rcpt(f"{number}@{DOMAIN}")
            waiting.putcmd("DATA")
            waiting.getreply()
            waiting.send(written(number) + b".\r\n")
            assert mx.answer(signed(written(other), "example.com"), other) == ""
            assert waiting.getreply()[0] == 451
    finally:
        dns.silent.clear()


def test_a_relay_s_address_proves_nothing_and_its_word_does(behind: Street) -> None:
    number = fresh()
    assert behind.answer(VIA + written(number), number) == "550 5.7.1"
    assert behind.answer(VIA + VIA + PASS + written(number), number) == "550 5.7.1"
    assert behind.house.faxes(number) == []
    assert behind.answer(VIA + PASS + written(number), number) == ""
    assert behind.house.fax(number)["state"] == "delivered"


def test_behind_a_relay_a_signature_is_a_proof_and_the_relay_s_host_is_none(behind: Street, dns: NameServer) -> None:
    number, signed_number, allowed = fresh(), fresh(), "ann@allowed.example.com"
    dns.txt("allowed.example.com", "v=spf1 ip4:127.0.0.0/8 -all")
    mail = written(number).replace(AUTHOR.encode(), allowed.encode())
    assert behind.answer(VIA + mail, number, allowed) == "550 5.7.1"
    assert behind.house.faxes(number) == []
    assert behind.answer(VIA + signed(written(signed_number), "example.com"), signed_number) == ""
    assert behind.house.fax(signed_number)["state"] == "delivered"


@pytest.mark.parametrize(
    ("field", "reply"),
    [
        (("Auto-Submitted", "auto-replied"), "550 5.7.1"),
        (("List-Id", "<x.example>"), "550 5.7.1"),
        (("Precedence", "bulk"), "550 5.7.1"),
        (("X-Faxgate-Loop", "fax.example.com"), "554 5.4.6"),
        (("Content-Type", "application/pkcs7-mime; smime-type=enveloped-data"), "554 5.7.5"),
    ],
)
def test_aur_06_what_is_not_faxed_is_refused_in_the_dialogue(
    open_house: House, dns: NameServer, field: tuple[str, str], reply: str
) -> None:
    number = fresh()
    mail = letter(text=None)
    mail[field[0]] = field[1]
    assert Street(open_house, dns).answer(as_bytes(mail), number) == reply
    assert open_house.faxes(number) == []


def test_aur_08_a_report_of_ours_that_comes_back_is_not_faxed(open_house: House, dns: NameServer) -> None:
    mail, number, back = letter(), fresh(), fresh()
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    content = report.content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert Street(open_house, dns).answer(content, back) == "554 5.4.6"
    assert open_house.faxes(back) == []

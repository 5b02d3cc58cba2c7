"""SMTP AUTH over TLS, from a network that proves nothing."""

import smtplib
import ssl
from pathlib import Path

import pytest

from gateway.certificate import self_signed
from tests.flows.house import House, addresses, as_bytes, fresh, letter

PASSWORD = "correct horse"


@pytest.fixture
def outside(house: House, tmp_path: Path) -> House:
    """A running house whose account signs in; this machine is in none of its networks."""
    certificate, key = self_signed(tmp_path)
    secret = tmp_path / "office.password"
    secret.write_text(PASSWORD + "\n")
    account = house.settings["account"][0]
    account |= {"networks": ["192.0.2.0/24"], "login": "office@example.com", "password_file": str(secret)}
    house.settings["smtp"] |= {"tls_cert": str(certificate), "tls_key": str(key)}
    house.start()
    return house


def secured(house: House) -> smtplib.SMTP:
    client = house.smtp()
    context = ssl.create_default_context(cafile=str(house.folder / "certificate.pem"))
    client._host = "localhost"  # type: ignore[attr-defined]  # the name the certificate is checked against
    client.starttls(context=context)
    client.ehlo()
    return client


def test_sub_03_whoever_signs_in_over_tls_may_fax_from_anywhere(outside: House) -> None:
    mail, number = letter(), fresh()
    with secured(outside) as client:
        client.login("office@example.com", PASSWORD)
        assert client.sendmail("ann@example.com", addresses(number), as_bytes(mail)) == {}
    (report,) = outside.reports(mail)
    assert "delivered" in report.subject
    (call,) = outside.calls()
    assert call.number == number
    assert outside.sql("SELECT envelope FROM submission")[0][0].count("office@example.com") == 1


def test_sub_05_a_bad_password_is_refused_and_opens_nothing(outside: House) -> None:
    with secured(outside) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login("office@example.com", "wrong")
        assert refused.value.smtp_code == 535
        with pytest.raises(smtplib.SMTPRecipientsRefused) as unlisted:
            client.sendmail("ann@example.com", addresses(fresh()), as_bytes(letter()))
        assert [code for code, _ in unlisted.value.recipients.values()] == [550]
    assert outside.calls() == []
    assert PASSWORD not in outside.log.read_text()


def test_sub_03_no_password_is_taken_in_clear(outside: House) -> None:
    with outside.smtp() as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] == 538


def test_sub_07_a_login_is_no_licence_for_the_addresses_of_others(outside: House) -> None:
    with secured(outside) as client:
        client.login("office@example.com", PASSWORD)
        code, text = client.mail("mallory@elsewhere.example")
        assert (code, text[:5]) == (550, b"5.7.1")

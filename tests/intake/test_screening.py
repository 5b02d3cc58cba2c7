"""What is never faxed, whoever sends it, and what is faxed although it looks like it."""

from __future__ import annotations

import pytest

from gateway import message
from gateway.errors import Refused
from gateway.fax import Account, AccountId
from gateway.intake import screening
from gateway.intake.authentication import Proof, Standing

HOSTS = frozenset({"gw.fax.example", "fax.example"})
OFFICE = Account(id=AccountId("acc_1"), name="office", senders=("*@corp.example",), countries=("US",))
LISTS = Account(id=AccountId("acc_2"), name="lists", senders=("*@corp.example",), countries=("US",), bulk=True)
PLAIN = "Content-Type: text/plain\r\n"
PGP = "\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA\r\n-----END PGP MESSAGE-----\r\n"
OURS = "Received: from x ([192.0.2.1])\r\n\tby GW.fax.example (Faxgate) with ESMTP;\r\n\tSat, 31 Jan 2026 09:30:00 +0000\r\n"


def answer(fields: str, body: str = "Hello.\r\n", proof: Proof = Proof.NETWORK, account: Account = OFFICE) -> str:
    """The reply to a mail of this account; "" = faxed."""
    mail = f"From: ann@corp.example\r\n{fields}\r\n{body}".encode()
    headers = message.headers(mail)
    standing = Standing(account, proof)
    try:
        screening.check_loop(headers, HOSTS)
        screening.check_kind(headers, standing)
        screening.check_readable(headers, mail)
    except Refused as error:
        return error.reply if error.text else "no reason"
    return ""


@pytest.mark.parametrize(
    ("fields", "reply"),
    [
        ("Auto-Submitted: auto-replied\r\n", "550 5.7.1"),
        ("Auto-Submitted: Auto-Replied; x=1 (why)\r\n", "550 5.7.1"),
        ("Auto-Submitted: auto-replied(vacation)\r\n", "550 5.7.1"),
        ("Auto-Submitted:\r\n auto-replied\r\n", "550 5.7.1"),
        ("Precedence: auto_reply\r\n", "550 5.7.1"),
        ("X-Autoreply: yes\r\n", "550 5.7.1"),
        ("X-Autorespond: yes\r\n", "550 5.7.1"),
        ("Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n", "550 5.7.1"),
        ("Content-Type: Multipart/Report; report-type=disposition-notification; boundary=x\r\n", "550 5.7.1"),
        ("Auto-Submitted: no\r\n", ""),
        ("Auto-Submitted: auto-generated\r\n", ""),
        ("X-Auto-Response-Suppress: All\r\n", ""),
    ],
)
def test_aur_06_automatic_answers_are_never_faxed(fields: str, reply: str) -> None:
    assert answer(fields) == reply
    assert answer(fields, proof=Proof.LOGIN) == reply


@pytest.mark.parametrize("word", ["auto-generated", "auto-notified", "something-new; x=1"])
def test_aur_06_what_a_program_wrote_needs_a_client_that_is_known(word: str) -> None:
    assert answer(f"Auto-Submitted: {word}\r\n", proof=Proof.LOGIN) == ""
    assert answer(f"Auto-Submitted: {word}\r\n", proof=Proof.NETWORK) == ""
    assert answer(f"Auto-Submitted: {word}\r\n", proof=Proof.DMARC) == "550 5.7.1"


@pytest.mark.parametrize(
    "fields",
    [
        "List-Id: <x.example>\r\n",
        "List-Unsubscribe: <mailto:x@y.example>\r\n",
        "Precedence: list\r\n",
        "Precedence: Bulk\r\n",
        "Precedence: junk\r\n",
    ],
)
def test_aut_12_mail_of_lists_is_faxed_for_who_may(fields: str) -> None:
    assert answer(fields) == "550 5.7.1"
    assert answer(fields, proof=Proof.LOGIN) == "550 5.7.1"
    assert answer(fields, account=LISTS) == ""


@pytest.mark.parametrize(
    "fields",
    [
        "X-Faxgate-Loop: gw.fax.example\r\n",
        "Message-ID: <out_1@gw.fax.example>\r\n",
        "Message-ID: <out_1@FAX.example>\r\n",
        OURS,
        "Received: by mx.corp.example; x\r\n" + OURS,
        "Received: by mx.corp.example; x\r\n" * 101,
    ],
)
def test_aur_08_circles_are_broken(fields: str) -> None:
    assert answer(fields) == "554 5.4.6"


@pytest.mark.parametrize(
    "fields",
    [
        "Received: by mx.corp.example; x\r\n" * 100,
        OURS.replace("GW.fax.example", "gw.other.example"),
        "References: <out_1@gw.fax.example>\r\nMessage-ID: <1@corp.example>\r\n",
        "Message-ID: <1@notfax.example>\r\n",
    ],
)
def test_aur_08_an_answer_to_us_and_a_long_way_are_no_circle(fields: str) -> None:
    assert answer(fields) == ""


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ("Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n", "MIIB\r\n"),
        ("Content-Type: application/x-pkcs7-mime; name=smime.p7m\r\n", "MIIB\r\n"),
        ("Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data\r\n", "MIIB\r\n"),
        ('Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=x\r\n', "--x\r\n"),
        (PLAIN, PGP),
        (PLAIN, "Here it is:\r\n" + PGP),
        ("", PGP),
    ],
)
def test_cnt_09_encrypted_mail_is_refused_before_it_is_taken(fields: str, body: str) -> None:
    assert answer(fields, body) == "554 5.7.5"


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ("Content-Type: multipart/signed; protocol=application/pkcs7-signature; micalg=sha-256; boundary=x\r\n", "--x\r\n"),
        ("Content-Type: multipart/signed; protocol=application/pgp-signature; boundary=x\r\n", "--x\r\n"),
        ("Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n", "MIIB\r\n"),
        ("Content-Type: application/pkcs7-mime; name=smime.p7m\r\n", "MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglg\r\nhkgBZQ\r\n"),
        (PLAIN, "-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nHello.\r\n"),
    ],
)
def test_cnt_08_signed_mail_is_taken(fields: str, body: str) -> None:
    assert answer(fields, body) == ""

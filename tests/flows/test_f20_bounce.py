"""The mail with a received fax comes back, and answers to our reports reach a person."""

import json
import smtplib

import pytest

from tests.flows.house import OWN_LINE, House, letter


def test_onr_06_a_bounce_marks_the_received_fax_undelivered_and_tells_the_operator(house: House) -> None:
    house.start()
    house.send(letter("To ourselves", "One page.\n"), OWN_LINE)
    house.letters(2)
    received = next(mail for mail in house.sink.letters if mail.recipients == ["office@example.com"])
    assert received.sender.startswith("bounce+in_")
    bounce = b"From: mailer-daemon@example.com\r\nSubject: Undelivered\r\n\r\nNo such user.\r\n"
    with smtplib.SMTP("127.0.0.1", house.smtp_port) as client:
        assert client.sendmail("", [received.sender], bounce) == {}
    told = [mail for mail in house.letters(4) if mail.recipients == ["operator@example.com"]]
    assert sorted("did not reach" in mail.subject for mail in told) == [False, True]
    (fax,) = json.loads(house.cli("queue", "--received", "--json").stdout)
    assert fax["state"] == "undelivered"


def test_dsn_28_an_answer_to_a_report_reaches_the_operator(house: House) -> None:
    house.start()
    assert house.send(letter("Re: your report"), "fax@fax.example.com", sender="stranger@example.org") == {}
    (mail,) = house.letters(1)
    assert mail.recipients == ["operator@example.com"]
    assert house.faxes() == []


def test_a_bounce_address_that_is_none_is_refused(house: House) -> None:
    house.start()
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        house.send(letter("Bounce"), "bounce+in_1@fax.example.com", sender="")

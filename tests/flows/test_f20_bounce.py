"""The mail with a received fax comes back, and answers to our reports reach a person."""

from __future__ import annotations

import json
import re
import smtplib
from collections.abc import Iterator

import pytest

from gateway.fax import new_id
from tests.desk.test_bounces import DELAYED, FAILED, report
from tests.flows import postfix
from tests.flows.house import DOMAIN, OWN_LINE, House, Letter, letter
from tests.flows.test_f80_mail_out import lost_mails

VACATION = b"From: office@example.com\r\nSubject: Away\r\nAuto-Submitted: auto-replied\r\n\r\nBack on Monday.\r\n"
NOTE = b"From: mailer-daemon@example.com\r\nSubject: failure notice\r\n\r\nHi. This is qmail.\r\n"


@pytest.fixture
def received(house: House) -> Iterator[Letter]:
    """The mail with a received fax."""
    house.settings["mail"]["retry"] = ["0.3s"]
    house.start()
    house.send(letter("To ourselves", "One page.\n"), OWN_LINE)
    house.letters(2)
    yield next(mail for mail in house.sink.letters if mail.recipients == ["office@example.com"])
    assert not house.faults()


def comes_back(house: House, address: str, mail: bytes, sender: str = "") -> None:
    with house.smtp() as client:
        assert client.sendmail(sender, [address], mail) == {}


def of_operator(house: House) -> list[Letter]:
    return [mail for mail in house.sink.letters if mail.recipients == ["operator@example.com"]]


def the_fax(house: House) -> dict[str, str]:
    (fax,) = json.loads(house.cli("queue", "--received", "--json").stdout)
    assert isinstance(fax, dict)
    return fax


def test_onr_06_a_bounce_marks_the_fax_undelivered_alarms_once_and_it_can_be_mailed_again(
    house: House, received: Letter
) -> None:
    assert re.fullmatch(r"bounce\+out_[0-9a-z]{26}-[0-9a-f]{20}@fax\.example\.com", received.sender)
    comes_back(house, received.sender, report(DELAYED))
    assert the_fax(house)["state"] == "mailed", "it is still being tried"
    for _ in range(3):
        comes_back(house, received.sender.upper(), report(FAILED))
    comes_back(house, received.sender, VACATION)
    fax = the_fax(house)
    assert fax["state"] == "undelivered"
    house.wait(lambda: of_operator(house), what="the alarm")
    comes_back(house, received.sender, NOTE)
    house.wait(lambda: len(of_operator(house)) == 2, what="what a person has to read")
    alarm, note = of_operator(house)
    assert "did not reach its mailbox" in alarm.subject
    assert "550 5.1.1 <ann@example.com>: no such user" in alarm.flat
    assert f"the mail with {fax['id']} to office@example.com" in note.flat
    mail = received.sender.split("+")[1].split("-")[0]
    shown = house.cli("show", fax["id"]).stdout
    for line in ("undelivered", "mail delayed", "mail came back", "automatic answer", "no such user", f"{mail}"):
        assert line in shown
    assert house.cli("fetch", fax["id"], "--out", str(house.folder / "fax.pdf")).returncode == 0
    assert "came back" in house.cli("queue").stdout
    (lost,) = lost_mails(house)
    assert (lost["id"], lost["about"], lost["recipient"]) == (mail, fax["id"], "office@example.com")
    assert "no such user" in lost["returned"]

    house.cli("retry", mail)
    house.wait(lambda: the_fax(house)["state"] == "mailed", what="the fax to be mailed once more")
    again = [one for one in house.sink.letters if one.recipients == ["office@example.com"]]
    assert [one.mail["Message-ID"] for one in again] == [received.mail["Message-ID"]] * 2
    assert lost_mails(house) == []
    assert "nothing to mail again" in house.cli("retry", mail, check=False).stderr
    comes_back(house, received.sender, report(FAILED))
    house.wait(lambda: len(of_operator(house)) == 3, what="a new alarm about a new failure")
    assert the_fax(house)["state"] == "undelivered"
    status, metrics = house.get("/metrics")
    assert status == 200
    assert 'faxgate_bounces_total{result="failed"} 4.0' in metrics
    assert "faxgate_outbox " in metrics


def test_a_stranger_cannot_say_that_a_mail_came_back(house: House, received: Letter) -> None:
    token = received.sender.split("-")[1].split("@")[0]
    forged = received.sender.replace(token, token[:-1] + ("0" if token[-1] != "0" else "1"))
    others = f"bounce+{new_id('out')}-{token}@{DOMAIN}"
    for address in (forged, others, f"bounce+{the_fax(house)['id'][:-1]}@{DOMAIN}", f"bounce+in_1@{DOMAIN}"):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            comes_back(house, address, report(FAILED))
        assert b"5.1.1" in refused.value.recipients[address][1]
    assert the_fax(house)["state"] == "mailed"


@pytest.mark.skipif(bool(postfix.missing()), reason=postfix.missing())
def test_a_real_postfix_takes_the_mail_and_gives_it_back_later(house: House) -> None:
    """The mail server behind it knows nobody."""
    house.sink.refused_recipients.add("office@example.com")
    ways = {DOMAIN: f"smtp:[127.0.0.1]:{house.smtp_port}", "example.com": f"smtp:[127.0.0.1]:{house.sink.port}"}
    with postfix.running(ways) as server:
        house.settings["mail"]["smarthost"] = [f"smtp://127.0.0.1:{server.port}"]
        house.start()
        house.send(letter("To ourselves", "One page.\n"), OWN_LINE, sender="ann@example.com")
        house.wait(lambda: house.sql("SELECT state FROM inbound") == [("undelivered",)], 40, "Postfix's own report")
    shown = house.cli("show", the_fax(house)["id"]).stdout
    assert "nobody of that name" in shown
    assert "550" in shown
    assert house.sql("SELECT count(*) FROM outbox WHERE kind = 'alarm' AND about LIKE 'out%'") == [(1,)]


def test_dsn_28_an_answer_to_a_report_reaches_the_operator(house: House) -> None:
    house.start()
    assert house.send(letter("Re: your report"), "fax@fax.example.com", sender="stranger@example.org") == {}
    (mail,) = house.letters(1)
    assert mail.recipients == ["operator@example.com"]
    assert house.faxes() == []

"""Limits and the do-not-fax list over the real program: what the doors answer, what is not dialled any more, kill -9."""

from __future__ import annotations

import json
import smtplib
import subprocess
import threading

import pytest

from tests.flows.house import House, fresh, letter, pdf


@pytest.fixture
def limited(house: House) -> House:
    """An account that may send three faxes an hour and eight pages a day, at most five at a time."""
    house.settings["account"][0]["limits"] = {"faxes_per_hour": 3, "pages_per_day": 8, "pages_per_fax": 5}
    return house


def pages(n: int) -> list[tuple[str, str, bytes]]:
    """An attachment that makes a fax of n pages with its cover."""
    return [("a.pdf", "application/pdf", pdf(*(f"page {m}" for m in range(2, n + 1))))]


def test_aut_11_the_fourth_recipient_waits_and_the_mail_of_the_others_goes_out(limited: House) -> None:
    limited.start()
    numbers = [fresh() for _ in range(4)]
    refused = limited.send(letter(), *numbers)
    (answer,) = refused.values()
    assert answer[0] == 450
    assert answer[1].startswith(b"4.7.0 This account may fax 3 faxes in one hour")
    assert [limited.fax(number)["state"] for number in numbers[:3]] == ["delivered"] * 3
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        limited.send(letter(), numbers[3])
    ((code, _),) = caught.value.recipients.values()
    assert code == 450
    told = json.loads(_explained(limited, numbers[3]).stdout)
    assert (told["faxed"], told["recipients"][0]["reply"]) == (False, "450 4.7.0")
    assert "3 faxes in one hour" in told["recipients"][0]["reason"]


def _explained(house: House, number: str) -> subprocess.CompletedProcess[str]:
    file = house.folder / "mail.eml"
    file.write_bytes(letter().as_bytes())
    return house.cli("explain", str(file), "--to", number, "--json", check=False)


def test_pages_that_turn_out_to_be_too_many_fail_with_a_report(limited: House) -> None:
    limited.start()
    long, first, second = fresh(), fresh(), fresh()
    mails = [letter(files=pages(n)) for n in (6, 5, 4)]
    for mail, number in zip(mails, (long, first, second), strict=True):
        limited.send(mail, number)
        limited.fax(number)
    assert [limited.fax(number)["state"] for number in (long, first, second)] == ["failed", "delivered", "failed"]
    reports = [limited.reports(mail)[0].flat for mail in mails]
    assert "It has 6 pages; one fax of this account may have at most 5 pages." in reports[0]
    assert "This account may fax 8 pages in one day" in reports[2]
    assert limited.calls(long) == limited.calls(second) == []
    assert limited.fax(second)["outcome"] == "not_authorised"


def test_a_blocked_number_is_refused_and_what_waits_for_it_is_not_dialled_again(house: House) -> None:
    house.settings["retry"]["busy"] = ["2s", "2s", "2s"]
    house.start()
    number = fresh("11")
    mail = letter()
    house.send(mail, number)
    house.wait(lambda: house.calls(number), what="the first call")
    assert "blocked" in house.cli("block", number, "--reason", "asked us not to").stdout
    dialled = len(house.calls(number))
    fax = house.fax(number)
    assert (fax["state"], fax["outcome"]) == ("failed", "recipient_blocked")
    assert len(house.calls(number)) == dialled
    (report,) = house.reports(mail)
    assert "blocked" in report.subject or "blocked" in report.flat
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        house.send(letter(), number)
    ((code, text),) = caught.value.recipients.values()
    assert (code, text[:5]) == (550, b"5.7.1")
    assert b"asked us" not in text
    (one,) = json.loads(house.cli("blocked", "--json").stdout)
    assert (one["number"], one["account"], one["reason"]) == (number, "", "asked us not to")
    assert "asked us not to" in house.cli("blocked").stdout
    told = json.loads(_explained(house, number).stdout)
    assert told["recipients"][0]["reply"] == "550 5.7.1"
    wrong = house.cli("send", number, str(house.file), check=False)
    assert (wrong.returncode, "not to be faxed" in wrong.stderr) == (1, True)
    house.cli("unblock", number)
    assert house.cli("unblock", number, check=False).returncode == 1
    house.cli("block", number, "--account", "office")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        house.send(letter(), number)


def test_kill_9_leaves_nothing_counted_that_was_not_accepted(house: House) -> None:
    """Killed while many mails come in at once: what is counted is what is stored, and every 250 is among it."""
    house.settings["account"][0]["limits"] = {"faxes_per_day": 60}
    house.settings["smtp"]["max_connections"] = 50
    house.start()
    taken: list[str] = []

    def send(n: int) -> None:
        while True:
            number = fresh()
            try:
                if not house.send(letter(f"{n}"), number):
                    taken.append(number)
            except (OSError, smtplib.SMTPException):
                return

    threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    house.wait(lambda: len(taken) > 10, what="some mails")
    house.kill()
    for thread in threads:
        thread.join(60)
    house.start()
    ((counted,),) = house.sql("SELECT used FROM usage WHERE key LIKE '% faxes day %'")
    stored = {number for (number,) in house.sql("SELECT number FROM transmission")}
    assert counted == len(stored)
    assert set(taken) <= stored
    threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert house.sql("SELECT count(*) FROM transmission") == [(60,)], "and then exactly what is left"

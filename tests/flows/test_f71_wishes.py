"""Options really do something: cover, resolution, reference, a later time; and a mailbox with the number in the subject."""

from __future__ import annotations

import datetime as dt
import json
import smtplib
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pypdf
import pytest

from tests.flows.house import DOMAIN, SENDER, House, as_bytes, fresh, letter, pdf

ZONE = "Pacific/Kiritimati"  # nobody's clock is further ahead


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house in which one account may ask for everything, and another for nothing."""
    made = House(tmp_path_factory.mktemp("asking"))
    made.settings["number_in_subject"] = ["out"]
    made.settings["account"][0] |= {"options": ["cover", "fine", "ref", "at", "lang"], "zone": ZONE, "login": "ann"}
    made.settings["account"][0]["password"] = "correct horse"
    made.settings["account"].append(
        {"name": "plain", "senders": ["bob@plain.example"], "networks": ["127.0.0.0/8"], "countries": ["US"]}
    )
    made.start()
    try:
        yield made
    finally:
        made.close()


def test_what_is_asked_in_brackets_is_done_and_not_printed(asking: House) -> None:
    number = fresh()
    mail = letter(
        "[cover=none] [ref=inv-7] Contract", "[fine]\nPlease sign.\n", files=[("a.pdf", "application/pdf", pdf("one"))]
    )
    asking.send(mail, number)
    fax = asking.fax(number)
    assert (fax["state"], fax["pages"]) == ("delivered", 2), "the text and the attachment, without a cover page"
    (call,) = asking.calls(number)
    assert call.fine is True
    (report,) = asking.reports(mail)
    assert "inv-7" in report.text
    logged = [line for line in asking.log.read_text().splitlines() if fax["id"] in line and '"attempt"' in line]
    assert any('"tags": ["inv-7"]' in line or '"tags":["inv-7"]' in line for line in logged)


def test_options_are_cut_from_the_cover_page_and_the_text(asking: House) -> None:
    number = fresh()
    asking.send(letter("[ref=inv-8] Contract of sale", "[lang=de] Please sign.\n"), number)
    fax = asking.fax(number)
    (page,) = asking.pages(fax)
    assert "Contract of sale" in page
    assert "Please sign." in page
    assert "[" not in page
    assert "Betreff" in page, "the cover page is in German"


@pytest.mark.parametrize(("word", "lines"), [("fine", "196"), ("standard", "98")])
def test_the_resolution_is_that_of_the_pages(asking: House, word: str, lines: str) -> None:
    number = fresh()
    asking.send(letter(f"[{word}] Resolution", "Please sign.\n"), number)
    document = asking.fax(number)["document"]
    path = asking.spool / "documents" / document[:2] / document
    (picture,) = pypdf.PdfReader(path).pages[0]["/Resources"]["/XObject"].values()  # type: ignore[index]
    height = picture.get_object()["/Height"]
    assert round(height / 11) == int(lines)


def test_a_fax_for_later_waits_in_the_zone_of_its_account_and_can_be_cancelled(asking: House) -> None:
    number = fresh()
    here = dt.datetime.now(ZoneInfo(ZONE)) + dt.timedelta(hours=3)
    asking.send(letter(f"[at={here:%H:%M}] Later"), number)
    (fax,) = asking.faxes(number)
    meant = here.replace(second=0, microsecond=0)
    assert fax["state"] == "accepted"
    assert dt.datetime.fromisoformat(fax["due_at"]) == meant
    asking.cli("cancel", fax["id"])
    assert asking.fax(number)["state"] == "cancelled"
    assert asking.calls(number) == []


def test_the_same_in_addresses_each_for_its_own_recipient(asking: House) -> None:
    first, second = fresh(), fresh()
    mail = letter("Contract", "Please sign.\n", files=[("a.pdf", "application/pdf", pdf("one"))])
    asking.send(mail, f"{first}/COVER=none/REF=7@{DOMAIN}", f"{second}/REF=8@{DOMAIN}")
    assert asking.fax(first)["pages"] == 2
    assert asking.fax(second)["pages"] == 2
    texts = [asking.pages(asking.fax(number))[0] for number in (first, second)]
    assert ["Subject" in text for text in texts] == [False, True]


@pytest.mark.parametrize(
    ("sender", "subject", "reply", "word"),
    [
        (SENDER, "[covr=none] x", "5.6.0", "Did you mean [cover=none]"),
        (SENDER, "[at=24:61] x", "5.6.0", "no such time"),
        ("bob@plain.example", "[cover=none] x", "5.7.1", "may not use [cover=none]"),
        ("bob@plain.example", "[fine] x", "5.7.1", "may not use [fine]"),
    ],
)
def test_what_cannot_be_done_is_refused_after_the_data(asking: House, sender: str, subject: str, reply: str, word: str) -> None:
    number, mail = fresh(), letter(subject)
    mail.replace_header("From", sender)
    with pytest.raises(smtplib.SMTPDataError) as caught:
        asking.send(mail, number, sender=sender)
    assert caught.value.smtp_code == 550
    said = str(caught.value.smtp_error)
    assert reply in said
    assert word in said
    assert asking.faxes(number) == []


def test_what_an_address_may_not_ask_is_refused_at_rcpt(asking: House) -> None:
    with asking.smtp() as client:
        client.ehlo("client.example.com")
        client.mail("bob@plain.example")
        assert client.rcpt(f"{fresh()}/RES=fine@{DOMAIN}")[1].startswith(b"5.7.1")
        assert client.rcpt(f"{fresh()}/REF=7@{DOMAIN}")[1].startswith(b"5.7.1")
        assert client.rcpt(f"{fresh()}/COVER=none@{DOMAIN}")[0] == 250


def test_other_brackets_are_text_and_are_printed(asking: House) -> None:
    number, mail = fresh(), letter("[EXTERNAL] [ticket=12] Contract", "[fine] print\n")
    mail.replace_header("From", "bob@plain.example")
    asking.send(mail, number, sender="bob@plain.example")
    (page,) = asking.pages(asking.fax(number))
    assert "[EXTERNAL] [ticket=12] Contract" in page
    assert "[fine] print" in page


def test_the_number_in_the_subject_of_a_mail_to_a_fixed_mailbox(asking: House) -> None:
    number = fresh()
    mail = letter(f"+1 {number[2:5]} {number[5:8]} {number[8:]} [ref=9] Contract of sale")
    asking.send(mail, f"out@{DOMAIN}")
    fax = asking.fax(number)
    assert fax["state"] == "delivered"
    (page,) = asking.pages(fax)
    assert "Contract of sale" in page
    assert "[ref" not in page
    (recipient,) = asking.ask("show", id=fax["id"])["recipients"]
    assert (recipient["written"], recipient["tag"]) == (f"out@{DOMAIN}", "9")
    asking.reports(mail)
    for subject, reply in (("Contract", "5.1.3"), ("+44 20 7946 0123 x", "5.7.1"), ("+19005550123 x", "5.7.1")):
        with pytest.raises(smtplib.SMTPDataError) as caught:
            asking.send(letter(subject), f"out@{DOMAIN}")
        assert reply in str(caught.value.smtp_error)


def test_explain_says_the_decision_its_reason_and_what_was_asked(asking: House, tmp_path: Path) -> None:
    path = tmp_path / "mail.eml"
    path.write_bytes(as_bytes(letter("[cover=none] [ref=7] Contract")))
    before = len(asking.faxes())

    def told(*words: str) -> dict[str, object]:
        done = asking.cli("explain", str(path), "--to", fresh(), *words, "--json", check=False)
        verdict: dict[str, object] = json.loads(done.stdout)
        assert done.returncode == (0 if verdict["faxed"] else 1)
        return verdict

    verdict = told("--client", "127.0.0.1")
    assert (verdict["faxed"], verdict["proof"], verdict["account"]) == (True, "network", "office")
    assert verdict["recipients"][0]["asked"] == {"cover": "none", "ref": "7"}  # type: ignore[index]
    assert verdict["pages"] == 1
    verdict = told("--login", "ann")
    assert (verdict["faxed"], verdict["proof"]) == (True, "login")
    stranger = told("--client", "192.0.2.7")
    assert stranger["faxed"] is False
    assert stranger["recipients"][0]["reply"] == "550 5.7.1"  # type: ignore[index]
    assert "network" in str(stranger["recipients"])
    assert told("--login", "eve")["faxed"] is False
    path.write_bytes(as_bytes(letter("[covr=none] Contract")))
    assert "Did you mean" in str(told()["recipients"])
    words = asking.cli("explain", str(path), "--client", "somewhere", check=False)
    assert (words.returncode, "IP address" in words.stderr) == (1, True)
    assert (
        "speaks for office: from its network"
        in asking.cli("explain", str(path), "--to", fresh(), "--client", "127.0.0.1", check=False).stdout
    )
    assert len(asking.faxes()) == before

"""A fax to one of our own lines arrives as mail."""

import io
import json
import re

import pypdf

from tests.flows.house import OWN_LINE, House, Letter, letter, pdf

SECOND_LINE = "+14155550200"


def parts(one: Letter, kind: str) -> list[bytes]:
    found = [part.get_payload(decode=True) for part in one.mail.walk() if part.get_content_type() == kind]
    return [content for content in found if isinstance(content, bytes)]


def test_onr_01_a_fax_to_our_line_is_mailed_and_then_forgotten_by_the_carrier(house: House) -> None:
    house.settings["line"].append(
        {"number": SECOND_LINE, "account": "office", "carrier": "main", "mailbox": ["bob@example.com", "eve@example.com"]}
    )
    house.start()
    mail = letter("For the other office", files=[("a.pdf", "application/pdf", pdf("page two", "page three"))])
    house.send(mail, SECOND_LINE)
    (report,) = house.reports(mail)
    assert "delivered" in report.subject
    received = [one for one in house.letters(3) if one is not report]
    assert sorted(one.recipients[0] for one in received) == ["bob@example.com", "eve@example.com"]
    assert len({one.sender for one in received}) == 2
    (fax,) = json.loads(house.cli("queue", "--received", "--json").stdout)
    for one in received:
        mail_in = one.mail
        assert re.fullmatch(r"bounce\+out_[0-9a-z]{26}-[0-9a-f]{20}@fax\.example\.com", one.sender)
        assert mail_in["X-Fax-Id"] == fax["id"]
        assert mail_in["X-Fax-Caller"] == OWN_LINE
        assert mail_in["X-Fax-Line"] == SECOND_LINE
        assert mail_in["X-Fax-Pages"] == "3"
        assert mail_in["X-Fax-Complete"] == "yes"
        assert mail_in["Auto-Submitted"] == "auto-generated"
        assert OWN_LINE in str(mail_in["From"])
        assert "+1 415-555-0200" in one.subject
        (document,) = parts(one, "application/pdf")
        assert len(pypdf.PdfReader(io.BytesIO(document)).pages) == 3
        (picture,) = parts(one, "image/png")
        assert picture.startswith(b"\x89PNG")
        assert "3 pages" in one.flat
    house.wait(lambda: house.ask("received")[0]["state"] == "mailed", what="the received fax to be mailed")
    network = house.spool / "loopback" / "main"
    house.wait(lambda: "forgotten" in (network / "journal.jsonl").read_text(), what="the carrier's copy to be forgotten")
    assert list(network.glob("*.document")) == []
    document_of_ours = house.spool / "documents" / fax["document"][:2] / fax["document"]
    assert document_of_ours.is_file()


def test_onr_02_a_fax_for_a_line_without_mailbox_goes_to_the_operator(house: House) -> None:
    house.settings["line"][0]["mailbox"] = []
    house.start()
    house.send(letter(), OWN_LINE)
    received = house.wait(lambda: [one for one in list(house.sink.letters) if one.mail["X-Fax-Line"]], what="the received fax")
    assert [one.recipients for one in received] == [["operator@example.com"]]


def test_a_received_fax_waits_while_the_mail_server_is_away(house: House) -> None:
    house.settings["mail"]["retry"] = ["0.3s"]
    house.start()
    house.sink.stop()
    house.send(letter(), OWN_LINE)
    house.wait(lambda: [fax for fax in house.ask("received") if fax["state"] == "fetched"], what="the fax to be fetched")
    journal = house.spool / "loopback" / "main" / "journal.jsonl"
    assert "forgotten" not in journal.read_text()
    house.sink.start()
    house.letters(2)
    house.wait(lambda: "forgotten" in journal.read_text(), what="the carrier's copy to be forgotten")
    assert len([one for one in house.sink.letters if one.mail["X-Fax-Line"]]) == 1

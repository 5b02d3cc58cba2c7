"""A mail becomes a fax, and the answer comes back."""

import io

import pypdf

from tests.flows.house import House, letter, pdf


def test_a_mail_becomes_a_fax_and_the_answer_comes_back(house: House) -> None:
    house.start()
    mail = letter("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Hello.\n", files=[("contract.pdf", "application/pdf", pdf("one", "two"))])
    assert house.send(mail, "14155550123") == {}
    (report,) = house.letters(1)
    assert report.sender == ""
    assert report.recipients == ["ann@example.com"]
    assert "delivered" in report.subject.lower()
    assert report.mail["In-Reply-To"] == mail["Message-ID"]
    assert mail["Message-ID"] in report.mail["References"]
    assert report.mail["Auto-Submitted"] == "auto-replied"
    (call,) = house.calls()
    assert call.number == "+14155550123"
    assert call.pages == 3
    (fax,) = house.faxes()
    assert (fax["state"], fax["outcome"], fax["pages"], fax["pages_sent"], fax["attempts"]) == (
        "delivered",
        "delivered",
        3,
        3,
        1,
    )
    pages = pypdf.PdfReader(io.BytesIO((house.spool / "documents" / fax["document"][:2] / fax["document"]).read_bytes())).pages
    assert "Grüße" in pages[0].extract_text()
    assert "Hello." in pages[0].extract_text()
    assert [("one" in pages[1].extract_text()), ("two" in pages[2].extract_text())] == [True, True]

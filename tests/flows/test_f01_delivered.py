"""A mail becomes a fax, and the answer comes back."""

from tests.flows.house import House, fresh, letter, pdf


def test_a_mail_becomes_a_fax_and_the_answer_comes_back(open_house: House) -> None:
    number = fresh()
    mail = letter("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Hello.\n", files=[("contract.pdf", "application/pdf", pdf("one", "two"))])
    assert open_house.send(mail, number.lstrip("+")) == {}
    (report,) = open_house.reports(mail)
    assert report.sender == ""
    assert report.recipients == ["ann@example.com"]
    assert "delivered" in report.subject.lower()
    assert mail["Message-ID"] in report.mail["References"]
    assert report.mail["Auto-Submitted"] == "auto-replied"
    (call,) = open_house.calls(number)
    assert call.pages == 3
    fax = open_house.fax(number)
    told = (fax["state"], fax["outcome"], fax["pages"], fax["pages_sent"], fax["attempts"])
    assert told == ("delivered", "delivered", 3, 3, 1)
    pages = open_house.pages(fax)
    assert "Grüße" in pages[0]
    assert "Hello." in pages[0]
    assert ["one" in pages[1], "two" in pages[2]] == [True, True]

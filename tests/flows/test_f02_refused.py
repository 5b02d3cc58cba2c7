"""Who may not fax, and what is no fax number, is told at RCPT, and nothing is stored."""

import json
import smtplib

import pytest

from tests.flows.house import DOMAIN, House, addresses, fresh, letter

LISTED, STRANGER = "ann@example.com", "mallory@elsewhere.example"


def refusal(house: House, sender: str, recipient: str) -> tuple[int, str]:
    """What RCPT is answered; nothing may be left behind in the spool."""
    before = stored(house)
    with house.smtp() as client:
        client.ehlo()
        assert client.mail(sender)[0] == 250
        code, text = client.rcpt(recipient)
        assert client.docmd("DATA")[0] == 503
    assert stored(house) == before
    return code, text.decode()


def stored(house: House) -> list[tuple[int, ...]]:
    documents = sum(1 for path in (house.spool / "documents").rglob("*") if path.is_file())
    counts = [house.sql(f"SELECT count(*) FROM {table}")[0] for table in ("submission", "transmission", "outbox")]
    return [*counts, (documents,)]


@pytest.mark.parametrize(
    ("sender", "recipient", "reply", "word"),
    [
        (STRANGER, f"14155550123@{DOMAIN}", "550 5.7.1", "list the address"),
        ("", f"14155550123@{DOMAIN}", "550 5.7.1", "empty return path"),
        (LISTED, f"1415555012x@{DOMAIN}", "550 5.1.3", "letters are not dialled"),
        (LISTED, f"nobody@{DOMAIN}", "550 5.1.1", "+14155550123"),
        (LISTED, f"12@{DOMAIN}", "550 5.1.3", "number"),
        (LISTED, "14155550123@fax.example.net", "550 5.7.1", ""),
        (LISTED, f"+442079460123@{DOMAIN}", "550 5.7.1", "GB"),
        (LISTED, f"+19005550123@{DOMAIN}", "550 5.7.1", "premium"),
    ],
    ids=[
        "unlisted sender",
        "empty sender",
        "no number",
        "a name",
        "short number",
        "foreign domain",
        "country",
        "premium number",
    ],
)
def test_aut_01_it_is_refused_at_rcpt_with_the_reason(
    open_house: House, sender: str, recipient: str, reply: str, word: str
) -> None:
    code, text = refusal(open_house, sender, recipient)
    assert f"{code} {text}".startswith(reply)
    assert word in text


def test_aut_02_a_listed_sender_from_another_network_is_refused(house: House) -> None:
    house.settings["account"][0]["networks"] = ["192.0.2.0/24"]
    house.start()
    code, text = refusal(house, LISTED, addresses(fresh())[0])
    assert (code, text[:5]) == (550, "5.7.1")
    assert "sign in" in text
    assert house.faxes() == []
    assert house.calls() == []


def test_one_bad_recipient_does_not_keep_the_others(open_house: House) -> None:
    mail, good = letter(), fresh()
    refused = open_house.send(mail, good, f"12@{DOMAIN}")
    assert [(address, code) for address, (code, _) in refused.items()] == [(f"12@{DOMAIN}", 550)]
    (report,) = open_house.reports(mail)
    assert "delivered" in report.subject
    assert len(open_house.calls(good)) == 1


def test_aut_09_an_author_of_somebody_else_is_refused_after_data(open_house: House) -> None:
    mail, number = letter(), fresh()
    mail.replace_header("From", f"Boss <{STRANGER}>")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        open_house.send(mail, number)
    assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (550, b"5.7.1")
    assert open_house.faxes(number) == []


def test_mail_to_postmaster_is_taken_from_anybody_and_goes_to_the_operator(open_house: House) -> None:
    mail = letter("A question")
    assert open_house.send(mail, f"postmaster@{DOMAIN}", sender=STRANGER) == {}
    (found,) = open_house.wait(
        lambda: [one for one in list(open_house.sink.letters) if "A question" in one.subject], what="the forwarded mail"
    )
    assert found.recipients == ["operator@example.com"]
    assert json.dumps(mail["Message-ID"])[1:-1].encode() in found.content

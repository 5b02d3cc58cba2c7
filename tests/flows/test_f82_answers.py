"""Our mails are answered: faxes are steered by the first line, received faxes answered by a fax; and by nobody else."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.answers import answer
from tests.flows.house import DOMAIN, OWN_LINE, SENDER, House, Letter, as_bytes, fresh, letter, pdf
from tests.nameserver import NameServer
from tests.signing import publish, signed

SECOND_LINE = "+14155550200"
THREE = pdf("sheet one", "sheet two", "sheet three")
CAREFUL = "kim@careful.example"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("answers"))
    made.settings["prices"] = {"1": {"fixed": "0.10"}}
    made.settings["carrier"]["main"]["slow_time"] = "60s"
    here = {"networks": ["127.0.0.0/8"], "countries": ["US"]}
    made.settings["account"] += [
        {"name": "careful", "senders": ["*@careful.example"], "proof": True, **here},
        {"name": "other", "senders": ["*@other.example"], **here},
    ]
    made.settings["line"].append(
        {"number": SECOND_LINE, "account": "office", "carrier": "main", "mailbox": ["bob@example.com"]}
    )
    made.start()
    yield made
    made.close()


def reply_to(mail: Letter) -> str:
    address = str(mail.mail["Reply-To"])
    assert re.fullmatch(rf"reply\+[a-z0-9]{{51}}@{re.escape(DOMAIN)}", address)
    return address


def sent(house: House, number: str, subject: str = "Contract") -> Letter:
    """The report of a fax of four pages."""
    mail = letter(subject, files=[("contract.pdf", "application/pdf", THREE)])
    house.send(mail, number)
    house.fax(number)
    return house.reports(mail)[-1]


def held(house: House, number: str) -> Letter:
    """The report of a fax that waits for a person."""
    mail = letter(To=f"{number}@{DOMAIN}")
    with house.smtp() as client:
        client.ehlo("client.example")
        client.sendmail(SENDER, [f"{number}@{DOMAIN}"], as_bytes(mail))
    fax = house.faxes(number)[0]
    house.cli("hold", fax["id"])
    return house.reports(mail)[0]


def say(house: House, report: Letter, name: str, *, author: str = SENDER, to: str = "") -> bytes:
    """Answer a mail by one of the samples; what was sent."""
    address = to or reply_to(report)
    mail = answer(name, to=address, report=str(report.mail["Message-ID"]), author="" if author == SENDER else author)
    house.send(mail, address, sender=author)
    return mail


def told(house: House, mail: bytes) -> Letter:
    """What an answer was answered."""
    found = re.search(rb"^Message-ID: (\S+)", mail, re.MULTILINE)
    assert found
    mine = found[1].decode()

    def there() -> Letter | None:
        return next((one for one in list(house.sink.letters) if one.mail["In-Reply-To"] == mine), None)

    one = house.wait(there, what="the answer")
    assert one is not None
    assert one.sender == ""
    assert one.recipients == [SENDER] or CAREFUL in one.recipients
    assert one.mail["Auto-Submitted"] == "auto-replied"
    assert one.mail["X-Faxgate-Loop"] == DOMAIN
    return one


def refused(house: House, report: Letter, name: str, *, author: str = SENDER, to: str = "", envelope: str | None = None) -> str:
    """The answer of the dialogue to one that is not taken."""
    address = to or reply_to(report)
    mail = answer(name, to=address, author="" if author == SENDER else author)
    try:
        house.send(mail, address, sender=author if envelope is None else envelope)
    except smtplib.SMTPRecipientsRefused as error:
        ((code, text),) = error.recipients.values()
    except smtplib.SMTPDataError as error:
        code, text = error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else error.smtp_error.encode()
    else:
        raise AssertionError("it was taken")
    return f"{code} {text.decode()}"


def test_a_fax_is_sent_again_as_often_as_it_was_asked_in_other_words_and_with_the_pages_that_it_had(house: House) -> None:
    number = fresh()
    report = sent(house, number)
    (first,) = house.faxes(number)
    pages = house.pages(first)
    assert len(pages) == 4
    for name, wanted in (("outlook-base64-de", pages), ("gmail-top", pages[1:3]), ("gmail-html-fr", pages[1:2])):
        before = {fax["id"] for fax in house.faxes(number)}
        mail = say(house, report, name)
        fresh_id = re.search(r"tx_[0-9a-z]{26}", told(house, mail).flat)
        assert fresh_id
        assert fresh_id[0] not in before

        def over(fax: str = fresh_id[0]) -> dict[str, Any] | None:
            return next((one for one in house.faxes(number) if one["id"] == fax and one["state"] == "delivered"), None)

        new = house.wait(over, what="the fax to be sent again")
        assert new is not None
        assert house.pages(new) == wanted
        assert new["pages"] == len(wanted)
    assert len(house.calls(number)) == 4
    replayed = say(house, report, "gmail-top")
    assert "Done already, and not a second time: sent as tx_" in told(house, replayed).flat
    house.send(replayed, reply_to(report))  # the same mail once more: nobody hears of it
    assert "has 4 pages, so" in told(house, say_text(house, report, "RESEND 3-5")).flat
    assert len(house.calls(number)) == 4
    assert sum(one.mail["In-Reply-To"] == message_id(replayed) for one in house.sink.letters) == 1


def message_id(mail: bytes) -> str:
    found = re.search(rb"^Message-ID: (\S+)", mail, re.MULTILINE)
    assert found
    return found[1].decode()


def say_text(house: House, report: Letter, text: str) -> bytes:
    mail = as_bytes(letter("Re: fax", f"{text}\r\n", To=reply_to(report)))
    house.send(mail, reply_to(report))
    return mail


def test_a_fax_is_forwarded_to_another_number_with_a_cover_page_of_its_own(house: House) -> None:
    number, other = fresh(), "+14155559023"
    report = sent(house, number)
    mail = say(house, report, "apple-mail")
    assert "Sent as tx_" in told(house, mail).flat
    fax = house.fax(other)
    cover, *rest = house.pages(fax)
    assert "415-555-9023" in cover
    assert number[-4:] not in cover
    assert len(rest) == 3
    not_allowed = say_text(house, report, "FORWARD +442079460123")
    assert "Not done: " in told(house, not_allowed).flat
    assert house.calls("+442079460123") == []


@pytest.mark.parametrize("name", ["outlook-html-de", "thunderbird-bottom", "mail-fr"])
def test_a_fax_that_waits_is_stopped(house: House, name: str) -> None:
    number = fresh("18")
    report = held(house, number)
    mail = say(house, report, name)
    assert "Cancelled; " in told(house, mail).flat
    assert house.fax(number)["state"] == "cancelled"
    assert "cancelled already; there is nothing to cancel" in told(house, say(house, report, name)).flat


def test_a_fax_that_is_being_sent_is_stopped_only_as_the_carrier_confirms(house: House) -> None:
    number = fresh("18")
    report = held(house, number)
    house.cli("release", house.faxes(number)[0]["id"])
    house.wait(lambda: house.calls(number), what="the call")
    house.fax(number, "sending")
    assert "Cancelled; the carrier confirms it" in told(house, say(house, report, "thunderbird-bottom")).flat
    assert [call.status for call in house.calls(number)] in (["cancelled"], ["delivered"])
    assert house.fax(number)["state"] == "cancelled"


def test_aut_08_nobody_but_who_got_the_report_steers_the_fax(house: House) -> None:
    number = fresh()
    report = sent(house, number)
    stranger = refused(house, report, "outlook-base64-de", author="eve@evil.example")
    assert stranger.startswith("550 5.7.1 This sender may not fax")
    colleague = refused(house, report, "outlook-base64-de", author="bob@example.com")
    assert colleague.startswith("550 5.1.1 This reply address was not made here")
    other = refused(house, report, "outlook-base64-de", author="ann@other.example")
    assert other.startswith("550 5.1.1")
    address = reply_to(report)
    forged = address.replace(address[58 - 20 : 58], "a" * 20)
    assert refused(house, report, "outlook-base64-de", to=forged).startswith("550 5.1.1")
    other_fax = reply_to(sent(house, fresh()))
    mixed = address[:33] + other_fax[33:]
    assert refused(house, report, "outlook-base64-de", to=mixed).startswith("550 5.1.1")
    wider = address.replace("reply+s", "reply+d")
    assert refused(house, report, "outlook-base64-de", to=wider).startswith("550 5.1.1")
    # Who signed nothing but claims to be Ann in the From field only, or in the envelope only
    assert refused(house, report, "gmail-top", envelope="bob@other.example").startswith("550 5.7.1")
    assert len(house.calls(number)) == 1
    assert reply_to(report).partition("@")[0] not in house.log.read_text()


@pytest.mark.parametrize("name", ["vacation", "out-of-office", "bulk", "read-receipt"])
def test_aur_06_what_a_program_answers_by_itself_steers_nothing(house: House, name: str) -> None:
    number = fresh("18")
    report = held(house, number)
    assert refused(house, report, name).startswith("550 5.7.1")
    assert refused(house, report, "mail-fr", envelope="").startswith("550 5.7.1")
    assert house.fax(number, "held")["state"] == "held"


def passed_on(house: House, mail: str) -> bool:
    """Whether the operator has got that mail."""
    return any(one.recipients == ["operator@example.com"] and mail in one.content.decode() for one in list(house.sink.letters))


def test_what_is_no_command_goes_to_a_person_and_does_nothing(house: House) -> None:
    number = fresh("18")
    report = held(house, number)
    for name in ("question", "nothing-new", "outlook-history", "signature-only"):
        mail = say(house, report, name)
        assert "The first line is no command." in told(house, mail).flat
        house.wait(partial(passed_on, house, message_id(mail)), what="the operator's copy")
    assert "You are not asked to approve this fax" in told(house, say_text(house, report, "APPROVE")).flat
    assert "has not ended yet" in told(house, say_text(house, report, "RESEND")).flat
    assert house.fax(number, "held")["state"] == "held"


def test_onr_05_the_answer_to_a_received_fax_is_a_fax_back_from_the_line_it_came_in_on(house: House) -> None:
    house.send(letter("Hello there"), SECOND_LINE)

    def arrived() -> Letter | None:
        return next((one for one in list(house.sink.letters) if one.mail["X-Fax-Line"] == SECOND_LINE), None)

    received = house.wait(arrived, what="the received fax")
    assert received is not None
    address = reply_to(received)
    back = letter("Re: Hello there", "Thank you.\r\n", To=address)
    back.replace_header("From", "Bob <bob@example.com>")
    house.send(back, address, sender="bob@example.com")
    call = house.wait(lambda: house.calls(OWN_LINE), what="the fax back")[0]
    assert call.caller == SECOND_LINE
    assert "delivered" in house.reports(back)[-1].subject
    assert refused(house, received, "mail-fr", author="eve@evil.example").startswith("550 5.7.1")
    assert refused(house, received, "mail-fr", author="ann@other.example").startswith("550 5.7.1")
    assert refused(house, received, "mail-fr", envelope="").startswith("550 5.7.1")
    assert refused(house, received, "vacation").startswith("550 5.7.1 Automatic replies")
    assert len(house.calls(OWN_LINE)) == 1


def test_an_answer_goes_alone(house: House) -> None:
    address, number = reply_to(sent(house, fresh())), fresh()
    with house.smtp() as client:
        client.ehlo("client.example")
        for first, second in ((address, f"{number}@{DOMAIN}"), (f"{number}@{DOMAIN}", address)):
            client.mail(SENDER)
            assert client.rcpt(first)[0] == 250
            assert client.rcpt(second)[0] == 452
            client.rset()


def test_aut_08_a_mail_that_proves_itself_steers_only_where_it_names_the_address(tmp_path: Path) -> None:
    dns, mx = NameServer(), House(tmp_path)
    publish(dns, "example.com")
    try:
        mx.settings["account"] = [{"name": "office", "senders": ["*@example.com"], "dmarc": True, "countries": ["US"]}]
        mx.settings["dns"] = {"servers": [f"127.0.0.1:{dns.port}"], "timeout": "0.5s"}
        mx.start()
        number = fresh()
        mail = letter(To=f"{number}@{DOMAIN}")
        mx.send(signed(as_bytes(mail), "example.com"), number)
        (report,) = mx.reports(mail)
        address = reply_to(report)
        to_bob = signed(as_bytes(letter("Hello", "RESEND\r\n", To="bob@example.com")), "example.com")
        unsigned = as_bytes(letter("Re: fax", "RESEND\r\n", To=address))
        for forged, code in ((to_bob, "b'5.7.21"), (unsigned, "b'5.7.1"), (signed(unsigned, "example.com") + b"x", "b'5.7.20")):
            with pytest.raises(smtplib.SMTPDataError) as refused:
                mx.send(forged, address)
            assert str(refused.value.smtp_error).startswith(code)
        fields = (b"from", b"to", b"subject", b"date", b"mime-version")
        taken = signed(unsigned, "example.com", fields=fields)
        mx.send(taken, address, sender="ann+bounces@example.com")
        assert "Sent as tx_" in told(mx, taken).flat
        mx.send(taken, address)
        mx.wait(lambda: len(mx.calls(number)) == 2, what="the fax to be sent again")
        mx.send(taken.replace(b"Message-ID: <", b"Message-ID: <x"), address)
        mx.wait(lambda: any("Done already" in one.flat for one in list(mx.sink.letters)), what="the replay's answer")
        assert len(mx.calls(number)) == 2
    finally:
        mx.close()
        dns.close()


def shown(house: House, subject: str = "Contract", sender: str = CAREFUL) -> tuple[Letter, str]:
    """The proof of a fax, and its number."""
    number = fresh()
    mail = letter(
        subject,
        files=[("contract.pdf", "application/pdf", THREE), ("kim.vcf", "text/vcard", b"BEGIN:VCARD\nFN:Kim\nEND:VCARD\n")],
    )
    mail.replace_header("From", f"Kim <{sender}>")
    house.send(mail, number, sender=sender)
    house.fax(number, "held")
    (proof,) = house.reports(mail)
    return proof, number


def test_the_sender_sees_exactly_the_pages_that_are_sent_and_approves_them(house: House) -> None:
    proof, number = shown(house)
    assert proof.recipients == [CAREFUL]
    for fact in ("4 pages", "0.40 EUR", "about ", "kim.vcf", "APPROVE on the first line"):
        assert fact in proof.flat
    kinds = [part.get_content_type() for part in proof.mail.walk()]
    assert kinds.count("application/pdf") == 1
    assert kinds.count("image/png") == 1
    (attached,) = [part for part in proof.mail.walk() if part.get_content_type() == "application/pdf"]
    document = attached.get_payload(decode=True)
    fax = house.fax(number, "held")
    kept = house.spool / "documents" / fax["document"][:2] / fax["document"]
    assert document == kept.read_bytes()
    assert house.calls(number) == []
    approved = as_bytes(letter("Re: Send this fax?", "send\r\n", To=reply_to(proof)))
    approved = approved.replace(b"Ann Doe <ann@example.com>", CAREFUL.encode())
    house.send(approved, reply_to(proof), sender=CAREFUL)
    assert "exactly the pages that you were shown" in told(house, approved).flat
    assert house.fax(number)["document"] == fax["document"]
    (call,) = house.calls(number)
    assert call.pages == 4


def test_a_proof_that_is_rejected_is_not_sent_and_one_that_was_decided_is_decided(house: House) -> None:
    proof, number = shown(house)
    mail = say(house, proof, "thunderbird-html-bottom", author=CAREFUL)
    assert "Cancelled; nothing was sent" in told(house, mail).flat
    assert house.fax(number)["state"] == "cancelled"
    late = as_bytes(letter("Re: Send this fax?", "APPROVE\r\n", To=reply_to(proof))).replace(
        b"Ann Doe <ann@example.com>", CAREFUL.encode()
    )
    house.send(late, reply_to(proof), sender=CAREFUL)
    assert "decided already" in told(house, late).flat
    assert house.calls(number) == []


def test_preview_in_the_subject_shows_one_fax_first(house: House) -> None:
    proof, number = shown(house, "[preview] Größe", SENDER)
    assert "you asked to see the pages first" in proof.flat
    assert "preview" not in house.pages(house.fax(number, "held"))[0]
    mail = say_text(house, proof, "APPROVE")
    assert "Approved" in told(house, mail).flat
    assert house.fax(number)["state"] == "delivered"

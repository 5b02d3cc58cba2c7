"""Received faxes as mail, against reference/internet-fax-standards.md section 11."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fax import InboundFax
from gateway.report.compose import Mail
from tests.report.report_values import COMPOSER, OUTBOX, START, html_of, inbound, parsed, text_of

PDF, PNG = b"%PDF-1.4\r\n\x00\xff and so on", b"\x89PNG\r\n\x1a\n picture"


def received(fax: InboundFax, *, first_page: bytes = PNG) -> Mail:
    return COMPOSER.received(
        outbox=OUTBOX, inbound=fax, to="office@corp.example", pdf=PDF, first_page=first_page, made_at=START
    )


def test_the_header_of_a_received_fax() -> None:
    message = parsed(received(inbound(sub_address="77")))
    assert {name: str(value) for name, value in message.items() if not name.startswith("Content-")} == {
        "Received": "from +442079460123 by gw.fax.example via GSTN with T30 id in_01jncccccccccccccccccccccc;"
        " Mon, 02 Mar 2026 10:00:04 +0100",  # ONR-12
        "From": '"ACME LTD (unverified)" <FAX=+442079460123@fax.example>',  # ONR-03, ONR-14
        "To": "office@corp.example",
        "Subject": "Fax from +44 20 7946 0123 to +1 415-555-0100: 2 pages",
        "Date": "Mon, 02 Mar 2026 10:00:04 +0100",
        "Message-ID": "<ob_01jnaaaaaaaaaaaaaaaaaaaaaa@fax.example>",
        "Auto-Submitted": "auto-generated",  # ONR-13
        "X-Faxgate-Loop": "fax.example",  # AUR-08
        "X-Fax-Id": "in_01jncccccccccccccccccccccc",
        "X-Fax-Caller": "+442079460123",
        "X-Fax-Line": "+14155550100",
        "X-Fax-Sub-Address": "77",
        "X-Fax-Pages": "2",
        "X-Fax-Complete": "yes",
        "X-Fax-Seconds": "71",
        "X-Fax-Received": "Mon, 02 Mar 2026 10:00:04 +0100",
        "X-Fax-Station-Id": "ACME LTD (a claim of the sending machine)",  # ONR-14
        "MIME-Version": "1.0",
    }


def test_adr_12_the_callers_address_is_written_without_quotes() -> None:
    assert b'\r\nFrom: "ACME LTD (unverified)" <FAX=+442079460123@fax.example>\r\n' in received(inbound()).content


@pytest.mark.parametrize("caller", ["", "anonymous", "+44\r\nBcc: x@y.example"])
def test_onr_04_an_unknown_caller_gets_no_fax_back(caller: str) -> None:
    message = parsed(received(inbound(caller=caller)))
    assert message["From"] == "Unknown caller <no-reply@fax.example>"
    assert str(message["Received"]).startswith("from unknown by gw.fax.example")
    assert message["Bcc"] is None


@pytest.mark.parametrize(("station", "name"), [("", "+44 20 7946 0123"), ("ceo@corp.example", "+44 20 7946 0123")])
def test_onr_14_a_station_id_that_looks_like_an_address_is_not_the_name(station: str, name: str) -> None:
    assert parsed(received(inbound(station_id=station)))["From"].addresses[0].display_name == name


def test_onr_06_the_envelope_sender_takes_bounces_for_this_fax() -> None:
    mail = received(inbound())
    assert mail.envelope_from == "bounce+in_01jncccccccccccccccccccccc@fax.example"
    assert (mail.to, mail.kind) == (("office@corp.example",), "received")


def test_onr_10_one_document_in_one_attachment() -> None:
    message = parsed(received(inbound()))
    assert message.get_content_type() == "multipart/mixed"
    words, document = message.iter_parts()
    assert document.get_content_type() == "application/pdf"
    assert document.get_content_disposition() == "attachment"
    assert document.get_filename() == "fax-2026-03-02-1000-from-442079460123-in_01jncccccccccccccccccccccc.pdf"
    assert document.get_content() == PDF
    assert words.get_content_type() == "multipart/alternative"


def test_the_first_page_is_shown_in_the_html() -> None:
    message = parsed(received(inbound()))
    (picture,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert picture.get_payload(decode=True) == PNG
    assert picture.get_content_disposition() == "inline"
    assert f'src="cid:{picture["Content-ID"].strip("<>")}"' in html_of(message)


def test_without_a_picture_there_is_none_in_the_html() -> None:
    message = parsed(received(inbound(), first_page=b""))
    assert "<img" not in html_of(message)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf",
    ]  # fmt: skip


def test_onr_11_the_same_fax_for_the_same_mailbox_is_the_same_mail() -> None:
    assert received(inbound()) == received(inbound())


def test_onr_17_the_text_says_everything() -> None:
    text = text_of(parsed(received(inbound(sub_address="77")))).replace("\r\n", "\n")
    assert text == (
        "A fax arrived from +44 20 7946 0123: 2 pages.\n"
        "\n"
        "The whole fax is in the attached PDF.\n"
        "\n"
        "  From        +44 20 7946 0123 (+442079460123)\n"
        "  Station id  “ACME LTD” (the machine’s own claim)\n"
        "  To line     +1 415-555-0100 (+14155550100)\n"
        "  Sub-address 77\n"
        "  Pages       2 pages\n"
        "  Received    Mon 2 Mar 2026, 10:00 CET\n"
        "  Call        1 min 11 s\n"
        "  Fax id      in_01jncccccccccccccccccccccc\n"
        "\n"
        "Times are in the zone Europe/Rome.\n"
        "If you may send faxes here, an answer to this mail goes back to the\n"
        "caller as a fax. Caller number and station id can be forged; neither\n"
        "proves who sent it.\n"
    )


def test_onr_18_a_fax_cut_off_is_marked_incomplete() -> None:
    message = parsed(received(inbound(complete=False, pages=1)))
    assert message["Subject"] == "Incomplete fax from +44 20 7946 0123 to +1 415-555-0100: 1 page"
    assert message["X-Fax-Complete"] == "no"
    assert "The call broke off." in text_of(message)
    assert "The call broke off." in html_of(message)


_WORDS = st.text(max_size=80)


@settings(max_examples=60, deadline=None)
@given(station=_WORDS, caller=_WORDS, line=_WORDS, sub_address=_WORDS)
def test_hostile_callers_make_a_mail_that_can_be_read(**words: Any) -> None:
    mail = received(inbound(station_id=words.pop("station"), **words))
    message = parsed(mail)
    assert len(message.keys()) == len(set(message.keys()))
    assert {name for name in message if not name.startswith(("X-Fax-", "Content-"))} == {
        "Received", "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Faxgate-Loop", "MIME-Version",
    }  # fmt: skip
    (author,) = message["From"].addresses
    assert author.domain == "fax.example"

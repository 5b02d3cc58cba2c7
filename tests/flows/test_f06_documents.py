"""What cannot become pages is named in a report and nothing is dialled; what can is printed once."""

import email.message
import io

import pypdf
import pytest

from tests.flows.house import House, fresh, letter, pdf


def locked(document: bytes) -> bytes:
    """The same PDF with a password to open it."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(document))
    writer.encrypt("secret", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "kind", "content", "status"),
    [
        ("broken.pdf", "application/pdf", b"%PDF-1.7\n" + b"nothing of a PDF\n" * 20, "5.6.5"),
        ("locked.pdf", "application/pdf", locked(pdf("one")), "5.6.5"),
        ("lying.pdf", "application/pdf", b"\x89PNG\r\n\x1a\n" + b"0" * 100, "5.6.1"),
        ("lying.png", "image/png", pdf("one"), "5.6.1"),
        ("song.mp3", "audio/mpeg", b"ID3\x03\x00" + b"\x00" * 200, "5.6.1"),
        ("tables.xyz", "application/x-unheard-of", b"\x00\x01\x02" * 50, "5.6.1"),
        ("empty.pdf", "application/pdf", b"", "5.6.5"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.count(".") == 1 else "",
)
def test_cnt_01_a_part_that_cannot_be_printed_ends_the_fax_and_is_named(
    open_house: House, name: str, kind: str, content: bytes, status: str
) -> None:
    good = ("good.pdf", "application/pdf", pdf("a good page"))
    mail, number = letter(f"With {name}", files=[good, (name, kind, content)]), fresh()
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    assert "failed: the document cannot be faxed" in report.subject
    assert name in report.flat
    assert f"Status: {status}" in report.content.decode()
    fax = open_house.fax(number)
    assert (fax["state"], fax["outcome"], fax["attempts"]) == ("failed", "document_refused", 0)
    assert name in fax["reason"]
    assert open_house.calls(number) == []


def test_a_mail_without_a_body_is_its_document(open_house: House) -> None:
    mail, number = letter(text=None, files=[("a.pdf", "application/pdf", pdf("the only page"))]), fresh()
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    assert "delivered" in report.subject
    pages = open_house.pages(open_house.fax(number))
    assert len(pages) == 2
    assert "the only page" in pages[1]


def test_a_mail_without_anything_is_not_a_fax(open_house: House) -> None:
    mail, number = letter(text=None), fresh()
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    assert "there is nothing to fax" in report.flat
    assert open_house.fax(number)["outcome"] == "document_refused"
    assert open_house.calls(number) == []


def test_an_html_mail_is_printed_as_it_reads(open_house: House) -> None:
    mail, number = letter(text=None), fresh()
    mail.set_content("<p>Dear <b>Mr Collins</b>,</p><p>the meeting is at <i>noon</i>.</p>", subtype="html")
    open_house.send(mail, number)
    (report,) = open_house.reports(mail)
    assert "delivered" in report.subject
    text = " ".join(" ".join(open_house.pages(open_house.fax(number))).split())
    assert "Dear Mr Collins" in text
    assert "noon" in text
    assert "<b>" not in text


def test_cnt_07_an_alternative_is_printed_once(open_house: House) -> None:
    mail, number = alternative("the meeting is at noon"), fresh()
    open_house.send(mail, number)
    open_house.reports(mail)
    text = " ".join(" ".join(open_house.pages(open_house.fax(number))).split())
    assert text.count("the meeting is at noon") == 1


def alternative(sentence: str) -> email.message.EmailMessage:
    mail = letter(text=sentence + "\n")
    mail.add_alternative(f"<p>{sentence}</p>", subtype="html")
    return mail

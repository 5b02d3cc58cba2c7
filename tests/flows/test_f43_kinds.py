"""Every kind of document through the whole program; documents that mean harm are refused, and it goes on serving."""

from __future__ import annotations

import json
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.flows.house import House, fresh, letter, pdf
from tests.pages import fax_files as make
from tests.pages import office_files as files
from tests.pages.test_bombs import office_bomb, pixel_bomb, svg_bomb, zip_bomb

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.needs("soffice")
def test_one_mail_of_every_kind_is_one_fax_and_its_report_says_what_stands_where(open_house: House) -> None:
    archive = make.zipped({"inside.pdf": pdf("page in the archive")})
    wrapped = make.winmail("x", ("wrapped.pdf", pdf("page in the wrapping")))
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><text y="5" font-size="2">drawn</text></svg>'
    mail = letter(
        "Every kind",
        "Words on the cover.\n",
        files=[
            ("note.docx", DOCX, files.docx("Delivery note")),
            ("table.csv", "text/csv", b"Name;Menge\nSchraube;3\n"),
            ("plan.svg", "image/svg+xml", drawing),
            ("all.zip", "application/zip", archive),
            ("winmail.dat", "application/ms-tnef", wrapped),
            ("again.pdf", "application/pdf", pdf("page in the archive")),
            ("date.ics", "text/calendar", b"BEGIN:VCALENDAR\nEND:VCALENDAR\n"),
        ],
    )
    number = fresh()
    open_house.send(mail, number)
    (report,) = open_house.reports(mail, patience=60)
    fax = open_house.fax(number)
    assert "delivered" in report.subject, fax["reason"]
    pages = [" ".join(page.split()) for page in open_house.pages(fax)]
    words = [
        "Words on the cover.",
        "Delivery note",
        "Name Menge Schraube 3",
        "drawn",
        "page in the archive",
        "page in the wrapping",
    ]
    assert len(pages) == len(words)
    for page, expected in zip(pages, words, strict=True):
        assert expected in page
    for said in (
        "note.docx",
        "all.zip: inside.pdf",
        "winmail.dat: wrapped.pdf",
        "again.pdf",
        "the same file as all.zip: inside.pdf",
    ):
        assert said in report.flat
    assert "a calendar entry, not a document" in report.flat
    assert "a calendar entry, not a document" in open_house.cli("show", fax["id"]).stdout


def test_a_picture_of_most_mails_of_a_sender_is_left_out_of_the_next_and_the_report_says_so(open_house: House) -> None:
    banner = make.picture("PNG", (900, 301))
    counts = []
    for n in range(7):
        mail, number = letter(f"With a banner {n}", "words\n"), fresh()
        mail.add_alternative("<p>words</p><img src='cid:banner'>", subtype="html")
        html = mail.get_payload(1)
        assert isinstance(html, EmailMessage)
        html.add_related(banner, "image", "png", cid="<banner>")
        open_house.send(mail, number)
        (report,) = open_house.reports(mail, patience=60)
        counts.append(open_house.fax(number)["pages"])
    assert counts[:3] == [2, 2, 2]
    assert counts == sorted(counts, reverse=True)  # learned once; mails without it came before
    assert counts[-1] == 1
    assert "a picture that stands in most mails of this sender" in report.flat


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("zip.zip", "application/zip", zip_bomb()),
        ("pixels.png", "image/png", pixel_bomb()),
        ("laughs.svg", "image/svg+xml", svg_bomb()),
        pytest.param("words.docx", DOCX, office_bomb(), marks=pytest.mark.needs("soffice")),
    ],
    ids=lambda value: value if isinstance(value, str) and value.count(".") == 1 else "",
)
def test_cnt_16_a_bomb_is_refused_by_name_and_the_service_stays_up(
    open_house: House, name: str, kind: str, content: bytes
) -> None:
    mail, number = letter(f"With {name}", files=[(name, kind, content)]), fresh()
    open_house.send(mail, number)
    (report,) = open_house.reports(mail, patience=150)
    assert "failed: the document cannot be faxed" in report.subject
    assert name in report.flat
    assert open_house.calls(number) == []
    assert open_house.get("/healthz")[0] == 200
    small, other = letter("After it"), fresh()
    open_house.send(small, other)
    (after,) = open_house.reports(small, patience=60)
    assert "delivered" in after.subject


NASTY: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(5000),
    "every byte": bytes(range(256)) * 40,
    "comments in comments": b"To: " + b"(" * 5000 + b"\nFrom: " + b"(" * 5000 + b"\n\nwords",
    "names in raw bytes": b"From: \xff\xfe <a@\xff>\nTo: \xe9\xff@fax.example.com\nSubject: =?utf-8?b?\xff?=\n\nwords",
    "parts in parts": b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(2000)),
    "mails in mails": b"Content-Type: message/rfc822\n\n" * 2000,
    "unknown charsets": b"Content-Type: text/plain; charset=\"\x00x\"; name*0*=utf-8''%ff\n"
    b"Content-Transfer-Encoding: base64\n\n!!!",
    "addresses without an end": b"To: " + b"<" * 9000 + b"\n\nx",
    "lone surrogates": "To: \ud800@fax.example.com\nSubject: \udfff\n\n\ud800".encode("utf-8", "surrogatepass"),
}


@pytest.mark.parametrize("what", NASTY)
def test_explain_ends_in_words_and_never_in_a_traceback(open_house: House, tmp_path: Path, what: str) -> None:
    mail = tmp_path / "nasty.eml"
    mail.write_bytes(NASTY[what])
    done = open_house.cli("explain", str(mail), "--to", "+14155550123", "--json", check=False)
    assert (done.returncode, done.stderr) in ((0, ""), (1, ""))
    verdict = json.loads(done.stdout)
    assert verdict["faxed"] == (done.returncode == 0)
    if not verdict["faxed"]:
        one = verdict if verdict["reason"] else verdict["recipients"][0]
        assert one["reason"]
        assert one["reply"].split()[0] in ("550", "554", "451")
    assert "Traceback" not in open_house.cli("explain", str(mail), check=False).stderr


def test_explain_says_refusals_as_a_code_and_0_for_what_would_be_faxed(open_house: House, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.eml", tmp_path / "bad.eml"
    good.write_bytes(letter(files=[("a.docx", DOCX, files.docx("words"))]).as_bytes())
    bad.write_bytes(letter(files=[("a.exe", "application/octet-stream", b"MZ\x00\x00")]).as_bytes())
    done = open_house.cli("explain", str(good), "--to", "+14155550123", "--json", check=False)
    assert (done.returncode, json.loads(done.stdout)["pages"]) == (0, 2)
    done = open_house.cli("explain", str(bad), "--to", "+14155550123", "--json", check=False)
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["reply"]) == (1, "554 5.6.1")
    assert "a.exe" in verdict["reason"]

"""HTML laid out as pages, and text in every script, with the real WeasyPrint and the system's typefaces."""

from __future__ import annotations

import http.server
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pypdfium2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import quoted
from gateway.errors import BadDocument
from gateway.pages import image, markup, quotes
from gateway.pages.paper import PAPERS
from tests.pages import fax_files as make

LETTER = PAPERS["letter"]


def laid(source: str, **pictures: bytes) -> markup.Laid:
    shown = {name: ("image/png", content) for name, content in pictures.items()}
    found = markup.to_pages(source, "message", LETTER, limit=50, pictures=shown)
    assert found is not None
    return found


def html_mail(html: str) -> EmailMessage:
    mail = make.mail(None)
    mail.set_content(html, subtype="html")
    return mail


@pytest.mark.parametrize("style", ["float: left; width: 90%", "display: inline-block", "position: absolute", "height: 200px"])
def test_a_layout_that_loses_words_at_the_end_of_the_paper_gives_way_to_the_words(style: str) -> None:
    lines = "".join(f"<p>Paragraph {n} of a long letter</p>" for n in range(100))
    assert markup.to_pages(f'<p>x</p><div style="{style}">{lines}</div>', "message", LETTER, limit=50) is None


def test_what_styles_hide_is_no_reason_to_give_up_a_layout() -> None:
    hidden = "<style>.preheader { display: none }</style><span class=preheader>Open in your browser</span>"
    assert laid(f"{hidden}<table><tr><td>words</td></tr></table>").pages == 1


def test_a_mail_is_laid_out_as_its_author_saw_it_on_the_screen() -> None:
    source = "<style>@media print { .letter { display: none } }</style><div class=letter>words of the letter</div>"
    with pypdfium2.PdfDocument(laid(source).pdf) as document:
        assert "words of the letter" in document[0].get_textpage().get_text_range()


@pytest.fixture
def tracker() -> Iterator[tuple[str, list[str]]]:
    """A web server that nobody should ask, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_cnt_12_nothing_is_fetched_and_no_file_is_opened(tmp_path: Path, tracker: tuple[str, list[str]]) -> None:
    url, asked = tracker
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret words")
    source = (
        f"<link rel=stylesheet href={url}/a.css><link rel=attachment href=file://{secret}><base href={url}/>"
        f"<style>@import '{url}/b.css'; @font-face {{ font-family: X; src: url({url}/c.ttf) }} p {{ font-family: X;"
        f" background: url({url}/d.png); content: url(file://{secret}) }}</style><img src={url}/e.png><img src=relative.png>"
        f"<object data={url}/f.svg></object><embed src=file://{secret}><iframe src={url}/g></iframe><script>evil()</script>"
        f"<img src='data:image/svg+xml,<svg xmlns=%22http://www.w3.org/2000/svg%22><image href=%22file://{secret}%22/></svg>'>"
        "<table><tr><td>words</table>"
    )
    made = laid(source)
    assert make.texts(made.pdf) == ["words"]
    assert b"secret" not in made.pdf
    assert b"EmbeddedFile" not in made.pdf
    assert asked == []


def test_html_is_laid_out_behind_the_cover_page_with_its_pictures(tmp_path: Path) -> None:
    mail = make.mail("plain words")
    mail.add_alternative("<table border=1><tr><td>Menge<td>3</table><img src=cid:plan width=200>", subtype="html")
    html = mail.get_payload(1)
    assert isinstance(html, EmailMessage)
    html.add_related(make.picture("PNG", (200, 100)), "image", "png", cid="<plan>")
    made = make.fax(tmp_path, mail)
    pages = make.texts(made.pdf)
    assert (len(pages), pages[1]) == (2, "Menge 3")
    assert "plain words" not in pages[0]
    assert [(entry.content_type, entry.first_page, entry.note) for entry in made.manifest] == [
        ("text/plain", 0, "another rendering of the same text"),
        ("text/html", 2, ""),
        ("image/png", 0, "shown in the message"),
    ]
    with pypdfium2.PdfDocument(made.pdf) as document:
        assert any(one.type == 3 for one in document[1].get_objects())  # the picture is on the page


def test_pictures_that_are_elsewhere_are_said_to_be_missing(tmp_path: Path) -> None:
    made = make.fax(tmp_path, html_mail("<table><tr><td>words</table><img src='https://cdn.example/logo.png' alt=Logo>"))
    assert "not fetched" in made.manifest[0].note
    assert "words" in make.texts(made.pdf)[1]


def test_what_is_wider_than_the_paper_is_scaled_down_and_not_cut_off(tmp_path: Path) -> None:
    wide = "<table width=1100><tr><td>left<td align=right>right end</table>"
    made = make.fax(tmp_path, html_mail(wide), header="H")
    assert make.sizes(made.pdf) == [(612, 792)] * 2
    assert "left right end" in make.texts(made.pdf)[1]
    _, _, right, _ = make.ink(made.pdf, 1)
    assert right < 612 - 20


def test_the_paper_is_ours_whatever_the_mail_says() -> None:
    made = laid(
        "<style>@page WordSection1 { size: 300pt 300pt; margin: 2in } @page { size: landscape; margin: 0 }"
        "div { page: WordSection1 }</style><div>words</div>"
    )
    assert make.sizes(made.pdf) == [(612, 792)]
    left, top, _, _ = make.ink(made.pdf)
    assert left == pytest.approx(42, abs=3)
    assert 36 < top < 60


@pytest.mark.parametrize(
    "source",
    [
        "<table><tr><td>" * 300 + "deep",
        "<div style='display: flex'>" * 14 + "deep" + "</div>" * 14,
        "<table><tr><td colspan=99999 rowspan=99999>deep</table>",
        "<div>" * 5000 + "deep",
        "<p>deep " + "<b>x</b>" * 40_000,
    ],
)
def test_layouts_beyond_reason_are_printed_as_words_in_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(markup, "_PATIENCE", 1.5)
    began = time.process_time()
    made = make.fax(tmp_path, html_mail("<table></table>" + source), max_pages=200)
    assert time.process_time() - began < 12
    assert "deep" in " ".join(make.texts(made.pdf))
    assert "only its words are printed" in made.manifest[0].note


def test_cnt_16_a_picture_of_too_many_pixels_inside_html_is_refused(tmp_path: Path) -> None:
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    bomb += struct.pack(">I", 9) + b"IDAT" + bytes(13)
    with pytest.raises(BadDocument, match="too many pixels") as error:
        laid("<img src=cid:x>", x=bomb)
    assert error.value.reply == "554 5.3.4"


def test_too_many_pages_of_html_are_refused(tmp_path: Path) -> None:
    rows = "<tr><td>x" * 900
    error = make.refusal(tmp_path, html_mail(f"<table>{rows}</table>"), max_pages=5)
    assert error.reply == "554 5.3.4"


SCRIPTS = {
    "Latin": "Grüße",
    "Greek": "Καλημέρα",
    "Cyrillic": "Здравствуйте",
    "Chinese": "传真测试",
    "Japanese": "ファクス",
    "Korean": "팩스",
    "Arabic": "مرحبا",
    "Hebrew": "שלום",
    "emoji": "😀",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_comes_out_in_text_and_html(tmp_path: Path, script: str) -> None:
    words = SCRIPTS[script]
    for source in (html_mail(f"<table><tr><td>{words}</table>"), make.mail(words)):
        made = make.fax(tmp_path, source)
        assert not any("without a glyph" in entry.note for entry in made.manifest)
        if script not in ("Arabic", "Hebrew"):  # their letters stand in the order they are drawn
            assert words in " ".join(make.texts(made.pdf))
        assert make.ink(made.pdf, made.pages - 1)[1] > 0


def test_cnt_19_what_no_typeface_has_is_a_visible_mark_and_a_warning(tmp_path: Path) -> None:
    made = make.fax(tmp_path, make.mail("code \U000f1234 end"))
    assert "U+F1234" in made.manifest[0].note
    with_mark = make.ink(made.pdf, made.pages - 1)
    without = make.ink(make.fax(tmp_path, make.mail("code 你 end")).pdf, 1)
    assert with_mark[2] == pytest.approx(without[2], abs=12)


def test_a_text_of_nothing_but_unknown_signs_is_refused(tmp_path: Path) -> None:
    error = make.refusal(tmp_path, make.mail("\U000f1234" * 40))
    assert error.text == "message text: there is no typeface here for most of its letters"


def test_half_a_picture_is_still_refused_after_a_layout() -> None:
    laid("<p>x")
    with pytest.raises(BadDocument):
        image.to_pages(make.picture("JPEG", (800, 600))[:-2000], "a.jpg", LETTER, header=False, done=0, limit=9)


def test_the_same_html_gives_the_same_bytes() -> None:
    source = "<table><tr><td>words 你好 😀</table>"
    assert laid(source).pdf == laid(source).pdf


def test_markdown_and_csv_are_set_as_what_they_mean(tmp_path: Path) -> None:
    mail = make.mail(
        "see",
        (
            "text/markdown",
            b"# Head\n\n* one\n* two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<script>x</script> ![p](http://x/y)",
            "a.md",
        ),
        ("text/csv", 'Name;Menge\nMüller;3\n"a;b";4\n'.encode("cp1252"), "b.csv"),
    )
    made = make.fax(tmp_path, mail)
    pages = make.texts(made.pdf)
    assert pages[1].startswith("Head")
    assert "a b 1 2" in pages[1]
    assert "**" not in pages[1]
    assert pages[2] == "Name Menge Müller 3 a;b 4"


def test_a_drawing_becomes_a_page_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    space = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
    drawing = space + b'<rect width="50" height="50"/></svg>'
    made = make.fax(tmp_path, make.mail("see", ("image/svg+xml", drawing, "plan.svg")))
    left, top, right, bottom = make.ink(made.pdf, 1)
    assert right - left == pytest.approx(264, abs=4)
    assert bottom - top == pytest.approx(264, abs=4)
    error = make.refusal(tmp_path, make.mail("see", ("image/svg+xml", drawing[:80], "plan.svg")))
    assert (error.reply, error.part) == ("554 5.6.5", "plan.svg")


@given(st.text(alphabet="<>/=\"' abditrv!-&;:{}@#%\n", max_size=100))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_html_of_any_shape_is_laid_out_or_left_to_its_words(source: str) -> None:
    found = markup.to_pages("<style>p{" + source + "}</style><p>" + source, "message", LETTER, limit=50)
    assert found is None or found.pages >= 1


# --- what becomes of the message ----------------------------------------------------------------------------------------


def test_the_message_is_printed_by_the_accounts_settings(tmp_path: Path) -> None:
    rich = html_mail("<table><tr><td>the message</table>")
    with_file = html_mail("<table><tr><td>the message</table>")
    with_file.add_attachment(make.pdf("the file"), maintype="application", subtype="pdf", filename="a.pdf")

    def pages(mail: EmailMessage, body: str) -> list[str]:
        return [
            "message" * ("the message" in page) + "file" * ("the file" in page)
            for page in make.texts(make.fax(tmp_path, mail, body=body).pdf)
        ]

    assert pages(with_file, "always") == ["", "message", "file"]
    assert pages(with_file, "cover") == ["message", "file"]
    assert pages(with_file, "alone") == pages(with_file, "never") == ["", "file"]
    assert pages(rich, "alone") == ["", "message"]
    error = make.refusal(tmp_path, rich, body="never")
    assert (error.reply, "account's settings" in error.text) == ("554 5.6.0", True)
    made = make.fax(tmp_path, with_file, body="never")
    assert made.manifest[0].note == "the message itself is not faxed, by the account's settings"


NOTE = (
    "CONFIDENTIALITY NOTICE: this e-mail and its attachments are confidential and intended solely for the use of the "
    "addressee. If you are not the intended recipient, delete it."
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Yes.\n\nOn Mon, 1 Jan 2026 at 10:00, Ann wrote:\n> old\n> older\n", "Yes."),
        ("Yes.\n\nAm Montag schrieb Ann\n<ann@x.example>:\n\n> alt\n", "Yes."),
        ("Intro\n> question?\nanswer\n> other?\nno\n", "Intro\nanswer\nno"),
        ("Ja.\n\n-----Ursprüngliche Nachricht-----\nVon: Ann\n\nalt", "Ja."),
        ("Ok\n________________________________\nFrom: Ann <a@x>\nSent: Monday\nTo: Bob\nSubject: x\n\nold", "Ok"),
        (f"Please sign.\n\nBob\n\n{NOTE}\n", "Please sign.\n\nBob"),
        ("-----Original Message-----\nFrom: Ann\n\nall of it", "-----Original Message-----\nFrom: Ann\n\nall of it"),
        ("This is confidential: do not tell the recipient.", "This is confidential: do not tell the recipient."),
        ("From: here\nto there\n", "From: here\nto there"),
    ],
)
def test_quoted_history_and_notes_are_cut_from_text(text: str, kept: str) -> None:
    assert quoted.cut_text(text).strip() == kept


@pytest.mark.parametrize(
    "source",
    [
        "<p>Yes.</p><div class='gmail_quote x'><div>On Mon Ann wrote:<blockquote>old</blockquote></div></div>",
        "<p>Yes.</p><div id=appendonsend></div><hr><div id=divRplyFwdMsg>From: Ann</div><div>old</div>",
        "<p>Yes.</p><div style='border:none;border-top:solid #E1E1E1 1.0pt'><p>From: Ann</p></div><p>old</p>",
        "<p>Yes.</p><div class=moz-cite-prefix>Ann wrote:</div><blockquote type=cite>old</blockquote>",
        f"<p>Yes.</p><p>{NOTE}</p>",
    ],
)
def test_quoted_history_and_notes_are_cut_from_html(source: str) -> None:
    cut = quotes.cut_html(source)
    assert "Yes." in cut
    assert not any(word in cut for word in ("old", "Ann", "CONFIDENTIALITY"))


def test_a_forward_without_words_of_its_own_stays_whole() -> None:
    source = "<div class=gmail_quote>forwarded words</div>"
    assert quotes.cut_html(source) == source


def test_history_is_cut_only_where_the_account_asks(tmp_path: Path) -> None:
    mail = make.mail("Yes.\n\nOn Mon, 1 Jan 2026 at 10:00, Ann wrote:\n> old words\n")
    assert "old words" in make.texts(make.fax(tmp_path, mail).pdf)[0]
    assert "old words" not in make.texts(make.fax(tmp_path, mail, cut_quotes=True).pdf)[0]


def test_a_mail_that_is_passed_on_stays_whole_and_what_is_cut_is_said(tmp_path: Path) -> None:
    words = "Please fax this.\n\n---------- Forwarded message ---------\nFrom: Bob\n\n12 boxes of gloves\n"
    for subject, whole in (("Fwd: order", True), ("order", False)):
        mail = make.mail(words)
        del mail["Subject"]
        mail["Subject"] = subject
        made = make.fax(tmp_path, mail, cut_quotes=True)
        assert ("12 boxes" in "".join(make.texts(made.pdf))) is whole
        assert (made.manifest[0].note == "") is whole
        assert made.manifest[0].loss is not whole  # CNT-10
        assert whole or "quoted history" in made.manifest[0].note

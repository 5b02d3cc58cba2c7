"""A mail becomes one PDF: order, page counts, the cover page and the header line."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject, NumberObject

from gateway.pages import press, raster, wire
from gateway.pages.wording import BadTemplate
from tests.pages import fax_files as make


def test_cnt_02_parts_are_printed_in_the_order_of_the_mail_behind_the_cover(tmp_path: Path) -> None:
    mail = make.mail(
        "The message.",
        ("image/tiff", make.tiff(make.fax_page(1143), make.fax_page(1143)), "fax.tif"),
        ("application/pdf", make.pdf("PDF page one", "PDF page two"), "offer.pdf"),
        ("text/plain", b"Notes of the meeting", "notes.txt"),
        ("image/jpeg", make.picture("JPEG"), "photo.jpg"),
        ("image/png", make.picture("PNG"), "chart.png"),
    )
    made = make.fax(tmp_path, mail)
    pages = make.texts(made.pdf)
    assert made.pages == len(pages) == 8
    assert "The message." in pages[0]
    assert [pages[3], pages[4], pages[5]] == ["PDF page one", "PDF page two", "Notes of the meeting"]
    assert [(entry.title, entry.first_page, entry.last_page) for entry in made.manifest][1:] == [
        ("fax.tif", 2, 3),
        ("offer.pdf", 4, 5),
        ("notes.txt", 6, 6),
        ("photo.jpg", 7, 7),
        ("chart.png", 8, 8),
    ]
    assert set(make.sizes(made.pdf)) == {(612, 792)}


def test_cnt_17_cnt_19_the_cover_names_everything(tmp_path: Path) -> None:
    made = make.fax(tmp_path, make.mail("Kind regards, Bob", ("application/pdf", make.pdf("x", "y"), "x.pdf")))
    page = make.texts(made.pdf)[0]
    for words in (
        "FAX",
        "Ann Doe",
        "Example Corp",
        "+1 415-555-2671",
        "Bob Sender",
        "bob@sender.example",
        "Grüße",
        "22 November 2026, 15:04 CET (UTC+01:00)",
        "3 (with this page)",
        "Kind regards, Bob",
        "tx_01JABCDEFGHJKMNPQRSTVWXYZ",
        "fax-admin@example.com",
    ):
        assert words in page, words


@pytest.mark.parametrize("paper", ["letter", "a4"])
def test_a_long_message_goes_on_behind_the_cover_with_every_line_once(tmp_path: Path, paper: str) -> None:
    lines = [f"line-{n:03}." for n in range(150)]
    mail = make.mail("\n".join(lines), ("application/pdf", make.pdf("the end"), "end.pdf"))
    made = make.fax(tmp_path, mail, paper=paper)
    pages = make.texts(made.pdf)
    together = " ".join(pages)
    assert [together.count(line) for line in lines] == [1] * 150
    assert together.index("line-000.") < together.index("line-149.")
    assert pages[-1] == "the end"
    assert f"{made.pages} (with this page)" in pages[0]
    assert made.manifest[0].last_page == made.pages - 1 == len(pages) - 1


def test_long_and_foreign_names_stay_on_the_cover_page(tmp_path: Path) -> None:
    cover = replace(make.COVER, subject="Very important " * 200, to_name="Αλέξανδρος Фёдорович " * 8, from_name="")
    made = make.fax(tmp_path, make.mail("Short."), cover=cover)
    page = make.texts(made.pdf)[0]
    assert made.pages == 1
    assert "Αλέξανδρος Фёдорович" in page
    assert "…" in page
    assert "Short." in page
    left, _, right, bottom = make.ink(made.pdf)
    assert left >= 50
    assert right <= 612 - 50
    assert bottom <= 792 - 36


def test_values_cannot_add_lines_to_the_cover(tmp_path: Path) -> None:
    cover = replace(make.COVER, subject="x\nfield Pages | 99\nnonsense {{ reference }}")
    page = make.texts(make.fax(tmp_path, make.mail(), cover=cover).pdf)[0]
    assert "x field Pages | 99 nonsense {{ reference }}" in page


@pytest.fixture
def without_weasyprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(press, "markup", lambda: None)


@pytest.mark.usefixtures("without_weasyprint")
def test_cnt_19_undisplayable_characters_are_replaced_visibly_and_noted(tmp_path: Path) -> None:
    made = make.fax(tmp_path, make.mail("price → \ue000\ue001 €5"))
    assert "price -> �� €5" in make.texts(made.pdf)[0]
    assert "U+E000" in made.manifest[0].note


@pytest.mark.usefixtures("without_weasyprint")
def test_a_message_in_letters_we_have_no_typeface_for_is_refused_not_faxed_as_marks(tmp_path: Path) -> None:
    error = make.refusal(tmp_path, make.mail("这是一个测试文件。\n" * 5))
    assert (error.reply, error.part) == ("554 5.6.1", "message text")
    assert error.text == "message text: there is no typeface here for most of its letters"


def test_the_operators_template_changes_the_words(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    (folder / "cover").mkdir(parents=True)
    (folder / "cover" / "standard.txt").write_text("heading TELEFAX\nfield An | {{ to_name }}\nmessage Nachricht\n")
    page = make.texts(make.fax(tmp_path, make.mail("Hallo"), templates=(folder,)).pdf)[0]
    assert page == "TELEFAX An Ann Doe Nachricht Hallo"
    (folder / "cover" / "standard.txt").write_text("heading TELEFAX\nfeld An | x\n")
    with pytest.raises(BadTemplate, match="feld"):
        make.fax(tmp_path, make.mail("Hallo"), templates=(folder,))


@pytest.mark.usefixtures("without_weasyprint")
def test_without_weasyprint_html_is_readable_text(tmp_path: Path) -> None:
    mail = make.mail(None)
    mail.set_content(
        "<html><head><title>t</title><style>p{}</style></head><body><h1>Angebot</h1><script>evil()</script>"
        "<p>Für <b>Sie</b><table><tr><td>Menge</td><td>3</td></tr></table><img src='http://tracker.example/x.png'></body></html>",
        subtype="html",
    )
    made = make.fax(tmp_path, mail)
    page = make.texts(made.pdf)[0]
    assert "Angebot Für Sie Menge 3" in page
    assert "evil" not in page
    assert "not fetched" in made.manifest[0].note


def test_law_04_the_header_line_is_on_every_page_once_and_adds_none(tmp_path: Path) -> None:
    mail = make.mail("Hello", ("application/pdf", make.pdf("one", "two"), "a.pdf"), ("image/png", make.picture(), "p.png"))
    plain = make.fax(tmp_path, mail)
    made = make.fax(tmp_path, mail, header="Example Ltd  +1 415 555 0100")
    assert made.pages == plain.pages == 4
    for number, page in enumerate(make.texts(made.pdf), 1):
        assert page.count("Example Ltd +1 415 555 0100") == 1
        assert page.count(f"page {number}/4") == 1


def test_law_04_a_page_printed_to_its_edges_stays_clear_of_the_header_line(tmp_path: Path) -> None:
    black = make.tiff(Image.new("1", (1728, 2156), 0), dpi=(204, 196))
    made = make.fax(tmp_path, make.mail("x", ("image/tiff", black, "a.tif")), header="H")
    page = raster.to_fax_pages(made.pdf)[1].convert("L")
    strip = round(2151 * 20 / 792)
    assert page.crop((200, 0, 1500, strip)).getextrema() == (255, 255)
    assert page.crop((200, strip + 20, 1500, 2100)).getextrema() == (0, 0)


def test_law_04_content_that_spoils_the_coordinates_does_not_move_the_header(tmp_path: Path) -> None:
    spoilt = PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf("x", pageCompression=0))))
    data = spoilt.pages[0].get_contents()
    assert data is not None
    data.set_data(b"Q Q Q 0 0 0 0 0 0 cm " + data.get_data())
    spoilt.pages[0][NameObject("/Contents")] = spoilt._add_object(data)
    out = io.BytesIO()
    spoilt.write(out)
    made = make.fax(tmp_path, make.mail("x", ("application/pdf", out.getvalue(), "a.pdf")), header="THE HEADER")
    assert make.ink(made.pdf, 1)[1] < 20


def test_cnt_03_a_mail_of_plain_text_is_one_page_with_the_text(tmp_path: Path) -> None:
    made = make.fax(tmp_path, make.mail("Forty-two crates of oranges"), cover=None)
    assert [" ".join(words.split()) for words in make.texts(made.pdf)] == ["Forty-two crates of oranges"]


@pytest.mark.parametrize("lines", [1078, 2156], ids=["standard", "fine"])
def test_cnt_04_a_tiff_of_profile_s_reaches_the_far_end_as_it_is(tmp_path: Path, lines: int) -> None:
    fine = lines > 1143
    sheets = [wire.Bitmap.of(make.fax_page(high), 196 if fine else 98) for high in (lines, lines - 9)]
    mail = make.mail(None, ("image/tiff", wire.profile_s(sheets), "fax.tif"))
    made = make.fax(tmp_path, mail, cover=None)
    assert made.pages == 2
    for sheet, page in zip(sheets, raster.to_fax_pages(made.pdf, fine=fine), strict=True):
        assert page.width == sheet.width
        sent, printed = (one.convert("L").resize((216, 279), Image.Resampling.BOX) for one in (sheet.picture(), page))
        assert ImageStat.Stat(ImageChops.difference(sent, printed)).mean[0] < 3  # of 255: moved by less than a dot


@pytest.mark.parametrize(
    "fields",
    [
        b"To: nobody at all <<>\r\n",
        b"Date: the day before yesterday\r\nMIME-Version: x\r\n",
        b"Resent-From: a@example.com\r\nResent-From: b@example.com\r\nResent-Date: never\r\nResent-To: ,,\r\n",
        b"Subject: =?utf-8?b?////?=\r\nReply-To: ;;\r\nContent-Language: \xff\r\n",
    ],
)
def test_cnt_20_and_23_faulty_or_missing_header_fields_are_no_reason_to_refuse(tmp_path: Path, fields: bytes) -> None:
    made = make.fax(tmp_path, b"From: Bob <bob@sender.example>\r\n" + fields + b"\r\nForty-two crates\r\n")
    assert made.pages == 1
    assert "Forty-two crates" in make.texts(made.pdf)[0]


def test_cnt_14_a_mail_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    for mail in (make.mail(""), make.mail(" \n\t\n"), b"Subject: only this\n\n", b"Content-Type: text/html\n\n<p> </p><br>"):
        error = make.refusal(tmp_path, mail)
        assert (error.reply, "nothing to fax" in error.text) == ("554 5.6.0", True)


def test_cnt_01_one_bad_part_fails_the_whole_fax_with_its_name(tmp_path: Path) -> None:
    mail = make.mail("Hello", ("application/pdf", make.pdf("x"), "good.pdf"), ("application/x-foo", b"foo", "bad.foo"))
    error = make.refusal(tmp_path, mail)
    assert (error.reply, error.part) == ("554 5.6.1", "bad.foo")
    assert not (tmp_path / "fax.pdf").exists()


def test_cnt_15_a_locked_pdf_is_refused_in_plain_words(tmp_path: Path) -> None:
    error = make.refusal(tmp_path, make.mail("Hello", ("application/pdf", make.locked(), "locked.pdf")))
    assert (error.reply, error.part) == ("554 5.6.5", "locked.pdf")
    assert "password" in error.text


def test_a_pdf_that_only_restricts_its_reader_is_faxed(tmp_path: Path) -> None:
    made = make.fax(tmp_path, make.mail("Hello", ("application/pdf", make.locked(user=""), "a.pdf")))
    assert make.texts(made.pdf)[1] == "hidden"


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_cnt_06_a_broken_pdf_is_refused_with_its_name(tmp_path: Path, share: float) -> None:
    whole = make.pdf("x", "y")
    error = make.refusal(tmp_path, make.mail("Hello", ("application/pdf", whole[: int(len(whole) * share)], "cut.pdf")))
    assert (error.reply, error.part) == ("554 5.6.5", "cut.pdf")


def test_cnt_16_too_many_pages_are_refused_with_the_limit(tmp_path: Path) -> None:
    mail = make.mail("Hello", ("application/pdf", make.pdf(*"abcdef"), "long.pdf"))
    assert make.fax(tmp_path, mail, max_pages=7).pages == 7
    error = make.refusal(tmp_path, mail, max_pages=6)
    assert (error.reply, error.part) == ("554 5.3.4", "long.pdf")
    assert "6" in error.text
    for huge in ("line\n" * 100_000, "word " * 1_000_000, "\f".join("abcdefghijkl")):
        assert make.refusal(tmp_path, make.mail(huge), max_pages=6).reply == "554 5.3.4"


def test_a_posted_document_is_printed_behind_its_cover_or_without(tmp_path: Path) -> None:
    made = make.fax(tmp_path, make.pdf("posted"), content_type="application/pdf", title="offer.pdf")
    assert [page.endswith("posted") for page in make.texts(made.pdf)] == [False, True]
    assert (made.manifest[0].title, made.manifest[0].first_page) == ("offer.pdf", 2)
    bare = make.fax(tmp_path, make.pdf("posted"), content_type="application/pdf", cover=None)
    assert make.texts(bare.pdf) == ["posted"]
    error = make.refusal(tmp_path, b"", content_type="application/pdf", title="offer.pdf")
    assert error.part == "offer.pdf"


def test_the_same_job_gives_the_same_bytes(tmp_path: Path) -> None:
    mail = make.mail(
        "Hello", ("application/pdf", make.pdf("x"), "x.pdf"), ("image/jpeg", make.picture("JPEG"), "p.jpg")
    ).as_bytes()
    assert make.fax(tmp_path, mail, header="H").pdf.read_bytes() == make.fax(tmp_path, mail, header="H").pdf.read_bytes()


def test_describing_a_job_loads_none_of_the_heavy_libraries() -> None:
    program = (
        "import sys, gateway.pages.assemble, gateway.pages.fence, gateway.pages.parts\n"
        "print(sorted({'reportlab', 'PIL', 'pypdf', 'pypdfium2', 'numpy', 'lxml', 'inscriptis', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("size", [make.A4, (842.0, 595.0), (300.0, 500.0), (1684.0, 2384.0)])
def test_foreign_pages_come_upright_and_whole_onto_the_paper(tmp_path: Path, turn: int, size: tuple[float, float]) -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf("corner", size=size))))
    page = writer.pages[0]
    page[NameObject("/Rotate")] = NumberObject(turn)
    out = io.BytesIO()
    writer.write(out)
    made = make.fax(tmp_path, make.mail("x", ("application/pdf", out.getvalue(), "a.pdf")), header="")
    assert make.sizes(made.pdf)[1] == (612, 792)
    assert make.texts(made.pdf)[1] == "corner"
    left, top, right, bottom = make.ink(made.pdf, 1)
    upright = (size[0] > size[1]) == (turn in (90, 270))
    lying_words = turn in (90, 270)
    if not upright:
        lying_words = not lying_words
    assert (bottom - top > right - left) == lying_words


def test_a_picture_that_moves_is_printed_once_and_said_to_move(tmp_path: Path) -> None:
    first, second = (Image.new("L", (200, 200), tone) for tone in (0, 128))
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=[second])
    made = make.fax(tmp_path, make.mail("see", ("image/gif", out.getvalue(), "a.gif")))
    assert [(entry.title, entry.first_page, entry.last_page, entry.note) for entry in made.manifest[1:]] == [
        ("a.gif", 2, 2, "it moves: its first picture is printed")
    ]
    assert [entry.loss for entry in made.manifest] == [False, True]


def test_a_telephones_picture_with_a_second_view_is_a_photograph(tmp_path: Path) -> None:
    noise = Image.effect_noise((1600, 1200), 60)
    out = io.BytesIO()
    noise.save(out, "MPO", save_all=True, append_images=[noise])
    made = make.fax(tmp_path, make.mail("see", ("image/jpeg", out.getvalue(), "IMG_1.jpg")))
    assert (made.pages, made.manifest[1].note) == (2, "")
    picture = PdfReader(made.pdf).pages[1]["/Resources"]["/XObject"]["/Im"].get_object()  # type: ignore[index]
    assert picture["/Filter"] == "/DCTDecode"

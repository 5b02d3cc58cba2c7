"""Text, HTML, pictures and PDF, each to pages; and fax pages to pixels and back."""

from __future__ import annotations

import base64
import functools
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, FloatObject, NameObject, NumberObject, StreamObject, TextStringObject

from gateway.errors import BadDocument
from gateway.pages import fonts, html, image, pdf, printed, raster, received, sniff, text
from gateway.pages.paper import PAPERS
from tests.pages import fax_files as make

LETTER = PAPERS["letter"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of what it finds in broken files


def one_page(content: bytes, *, header: bool = False) -> bytes:
    return image.to_pages(content, "picture", LETTER, header=header, done=0, limit=9)


def attempt(made: Callable[[], bytes]) -> Any:
    """What was made, or the reply it was refused with; any other error is a failure."""
    try:
        return made()
    except BadDocument as refused:
        return refused.reply


# --- text ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "charset", "expected"),
    [
        ("Grüße".encode(), "", "Grüße"),
        ("Grüße".encode(), "us-ascii", "Grüße"),
        ("Grüße".encode(), "iso-8859-1", "Grüße"),
        ("Grüße".encode("latin-1"), "iso-8859-1", "Grüße"),
        ("Grüße".encode("cp1252"), "", "Grüße"),
        ("„Preis“ 5 €".encode("cp1252"), "iso-8859-1", "„Preis“ 5 €"),
        ("Привет".encode("koi8-r"), "koi8-r", "Привет"),
        ("Grüße".encode("utf-16"), "", "Grüße"),
        ("Grüße".encode("utf-16-le"), "utf-16le", "Grüße"),
        ("日本".encode("iso-2022-jp"), "iso-2022-jp", "日本"),
        ("Grüße".encode(), "no-such-charset", "Grüße"),
        ("Grüße".encode(), "utf\x00-8", "Grüße"),
        (b"4142", "hex", "4142"),
        (b"\\u0041", "unicode_escape", "\\u0041"),
        (b"\x81\xff", "utf-8", "\ufffdÿ"),
    ],
)
def test_text_is_read_in_any_charset(content: bytes, charset: str, expected: str) -> None:
    assert text.decode(content, charset) == expected


@given(st.binary(max_size=200), st.text(max_size=20))
def test_reading_text_never_fails(content: bytes, charset: str) -> None:
    assert isinstance(text.decode(content, charset), str)


@given(st.text(alphabet="ab \u00fc", max_size=300), st.floats(min_value=20, max_value=300))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_wrapping_keeps_every_letter_and_the_width(line: str, room: float) -> None:
    pieces = fonts.wrap(line, 10, room)
    assert "".join(pieces).replace(" ", "") == line.replace(" ", "")
    assert all(fonts.width(piece, 10) <= room for piece in pieces)


def test_form_feeds_begin_pages_and_tabs_are_widened() -> None:
    pages = make.texts(text.to_pdf("one\n\ftwo\f\f three\tx\n", LETTER))
    assert pages == ["one", "two", "three x"]
    assert text.pages("a\tb", first=9, other=9, room=400) == [["a       b"]]


def test_a_text_of_no_visible_words_is_one_page() -> None:
    assert len(make.texts(text.to_pdf("\f\f\n\n", LETTER))) == 1


# --- HTML ---------------------------------------------------------------------------------------------------------------


def test_html_300_tables_deep_keeps_its_words() -> None:
    words = html.to_text("<p>before" + "<table><tr><td>" * 300 + "deep" + "</table>" * 300 + "<p>after")
    assert words.split() == ["before", "deep", "after"]


def test_html_of_100000_open_elements_does_not_crash() -> None:
    assert html.to_text("<div>" * 100_000 + "words").strip() == "words"


@pytest.mark.parametrize(
    "source", ["", "words", "<head>no end <p>words", "\x00<p>wo\x00rds", "<p>words<script>x", "<![CDATA[", "<?xml"]
)
def test_html_that_is_hardly_html_does_not_fail(source: str) -> None:
    found = html.to_text(source)
    assert ("words" in found) == ("words" in source.replace("\x00", ""))


@given(st.text(alphabet="<>/=\"' abdiptrev!-&;\n", max_size=120))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_html_never_fails(source: str) -> None:
    assert isinstance(html.to_text(source), str)


def test_html_names_its_own_charset() -> None:
    assert html.charset(b'<meta http-equiv=x content="text/html; charset=koi8-r">') == "koi8-r"
    assert html.charset(b"<p>") == ""


# --- pictures -----------------------------------------------------------------------------------------------------------


def test_img_02_a_standard_fax_keeps_its_height() -> None:
    made = one_page(make.tiff(make.fax_page(1076)))
    left, top, right, bottom = make.ink(made)
    assert (right - left) / (bottom - top) == pytest.approx((764 / 204) / (215 / 98), rel=0.03)
    assert bottom == pytest.approx(792 * 0.25, rel=0.03)


@pytest.mark.parametrize("dpi", [(204, 98), (200, 100), None])
def test_img_03_both_names_of_a_resolution_and_none_at_all_are_the_same_page(dpi: tuple[float, float] | None) -> None:
    frame = next(image.frames(make.tiff(make.fax_page(1143), dpi=dpi), "x"))
    assert frame.height == pytest.approx(297 * 72 / 25.4, rel=0.03)
    assert frame.width == pytest.approx(215 * 72 / 25.4, rel=0.03)


def test_img_17_every_page_has_its_own_resolution() -> None:
    standard, fine = make.tiff(make.fax_page(1143)), make.tiff(make.fax_page(2287), dpi=(204, 196))
    heights = [next(image.frames(content, "x")).height for content in (standard, fine)]
    assert heights[0] == pytest.approx(heights[1], rel=0.01)


@pytest.mark.parametrize("compression", ["group3", "MR", "group4", "tiff_ccitt", "tiff_lzw", "packbits", "raw"])
def test_img_06_every_fax_coding_gives_the_same_pixels(compression: str) -> None:
    page = make.fax_page(300)
    two_dimensional = {292: 1} if compression == "MR" else {}
    content = make.tiff(page, compression="group3" if compression == "MR" else compression, tiffinfo=two_dimensional)
    assert next(image.frames(content, "x")).picture.tobytes() == page.tobytes()


def test_img_05_both_polarities_are_mostly_white() -> None:
    page = make.fax_page(300)
    one_is_white = make.tiff(page, compression="group4")
    one_is_black = bytearray(make.tiff(page.point([255] + [0] * 255), compression="group4"))
    tag = one_is_black.index(struct.pack("<HHI", 262, 3, 1))
    one_is_black[tag + 8] = 0
    for content in (one_is_white, bytes(one_is_black)):
        assert next(image.frames(content, "x")).picture.tobytes() == page.tobytes()


def test_img_04_both_bit_orders_decode_to_the_same_picture() -> None:
    page = make.fax_page(200)
    plain = make.tiff(page, compression="raw")
    with Image.open(io.BytesIO(plain)) as opened:
        offset, size = opened.tag_v2[273][0], sum(opened.tag_v2[279])  # type: ignore[attr-defined]
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in plain[offset : offset + size])
    out = io.BytesIO()
    page.save(out, "TIFF", compression="raw", tiffinfo={266: 2}, dpi=(204, 98))
    reordered = bytearray(out.getvalue())
    with Image.open(io.BytesIO(bytes(reordered))) as opened:
        offset, size = opened.tag_v2[273][0], sum(opened.tag_v2[279])  # type: ignore[attr-defined]
    reordered[offset : offset + size] = turned
    assert next(image.frames(bytes(reordered), "x")).picture.tobytes() == page.tobytes()


def test_img_18_a_wide_page_is_scaled_with_its_aspect_kept() -> None:
    page = Image.new("1", (2432, 3439), 1)
    ImageDraw.Draw(page).rectangle((300, 300, 1300, 1300), fill=0)
    left, top, right, bottom = make.ink(one_page(make.tiff(page, dpi=(204, 204))))
    assert (right - left) == pytest.approx(bottom - top, rel=0.02)


def test_a_phone_picture_is_turned_as_its_camera_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = make.picture("JPEG", (400, 300), exif=exif, dpi=(150, 150))
    frame = next(image.frames(content, "x"))
    assert frame.picture.size == (300, 400)
    assert frame.height > frame.width
    assert frame.picture.getpixel((250, 40)) < 60  # type: ignore[operator]
    assert frame.picture.getpixel((40, 40)) > 200  # type: ignore[operator]


def test_a_transparent_picture_is_on_white() -> None:
    clear = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    ImageDraw.Draw(clear).rectangle((10, 10, 50, 50), fill=(0, 0, 0, 255))
    out = io.BytesIO()
    clear.save(out, "PNG")
    assert next(image.frames(out.getvalue(), "x")).picture.getpixel((80, 80)) == 255


def test_sixteen_bit_grey_is_scaled_not_cut() -> None:
    out = io.BytesIO()
    Image.new("I;16", (10, 10), 0x8000).save(out, "PNG")
    assert next(image.frames(out.getvalue(), "x")).picture.getpixel((5, 5)) == pytest.approx(128, abs=1)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "LA", "RGB", "L", "1"])
def test_every_mode_of_picture_becomes_a_page(mode: str) -> None:
    out = io.BytesIO()
    drawn = Image.new("RGB", (200, 100), "white")
    ImageDraw.Draw(drawn).rectangle((20, 20, 80, 80), fill="black")
    drawn.convert(mode).save(out, "TIFF" if mode in ("CMYK", "YCbCr") else "PNG")
    left, top, right, bottom = make.ink(one_page(out.getvalue()))
    assert right - left == pytest.approx(60 * 72 / 96, abs=2)
    assert bottom - top == pytest.approx(60 * 72 / 96, abs=2)


def test_a_lying_picture_is_turned_and_fills_the_sheet() -> None:
    left, top, right, bottom = make.ink(one_page(make.picture("PNG", (3000, 2000))))
    assert (bottom - top) > (right - left)


def test_cnt_16_a_pixel_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = Image.new("1", (30_000, 30_000), 1)
    out = io.BytesIO()
    bomb.save(out, "PNG")
    del bomb
    with pytest.raises(BadDocument, match="30000 by 30000") as error:
        one_page(out.getvalue())
    assert error.value.reply == "554 5.3.4"


def test_img_15_broken_pictures_are_refused_with_their_name() -> None:
    for content in (
        make.picture("PNG")[:200],
        make.picture("JPEG")[:600],
        make.tiff(make.fax_page(300))[:40],
        b"II*\x00\xff\xff\xff\x7f",
        b"\x89PNG\r\n\x1a\n" + b"x" * 99,
        b"GIF89a\x00",
    ):
        with pytest.raises(BadDocument) as error:
            one_page(content)
        assert (error.value.reply, error.value.part) == ("554 5.6.5", "picture")


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_img_15_a_damaged_tiff_gives_pages_or_a_refusal(data: st.DataObject) -> None:
    content = bytearray(_TIFF)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    result = attempt(lambda: one_page(bytes(content)))
    assert result in ("554 5.6.5", "554 5.3.4") or make.sizes(result)


_TIFF = make.tiff(make.fax_page(60, 200), make.fax_page(60, 200), compression="raw")


HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoQABAAAAAAAAAGEAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA"
    "AADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA"
    "AAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAG"
    "ltZGF0AAAAXSgBrxOAE6dC5My1HGC1hARsdeYR/IpsB+5JCng4wFnSWDbDVtxAUpBb9LKtTqs5Jv605Y8opKmkDl49VNzexQ37Ac87v2Yg3ozp"
    "GDzG+scceH+71zvxuP4lRUP7gA=="
)


def test_a_telephones_heic_picture_becomes_a_page() -> None:
    assert sniff.kind(HEIC) == "heic"
    frame = next(image.frames(HEIC, "x"))
    assert (frame.picture.size, frame.picture.mode, frame.is_photo) == ((64, 48), "L", True)
    assert frame.picture.getpixel((10, 10)) < 60  # type: ignore[operator]
    assert frame.picture.getpixel((50, 40)) > 200  # type: ignore[operator]
    assert make.sizes(one_page(HEIC)) == [(612, 792)]


def test_without_its_library_a_heic_picture_is_refused_and_the_reason_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "HEIC", False)
    with pytest.raises(BadDocument, match="not installed") as error:
        one_page(HEIC)
    assert error.value.reply == "554 5.6.3"


# --- PDF ----------------------------------------------------------------------------------------------------------------


def _with_note(subtype: str, *, appearance: bool) -> bytes:
    """A page with an annotation that is a black square where it has an appearance."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf("x"))))
    note = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Annot"),
            NameObject("/Subtype"): NameObject(subtype),
            NameObject("/Rect"): ArrayObject([FloatObject(n) for n in (300, 300, 400, 400)]),
            NameObject("/F"): NumberObject(4),
            NameObject("/Contents"): TextStringObject("note"),
        }
    )
    if appearance:
        square = StreamObject()
        square.set_data(b"0 0 100 100 re f")
        square[NameObject("/Type")] = NameObject("/XObject")
        square[NameObject("/Subtype")] = NameObject("/Form")
        square[NameObject("/BBox")] = ArrayObject([FloatObject(n) for n in (0, 0, 100, 100)])
        note[NameObject("/AP")] = DictionaryObject({NameObject("/N"): writer._add_object(square)})
    writer.pages[0][NameObject("/Annots")] = ArrayObject([writer._add_object(note)])
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_notes_and_form_fields_are_printed() -> None:
    made = pdf.to_pages(_with_note("/Stamp", appearance=True), "a.pdf", LETTER, header=False, done=0, limit=9)
    _, _, right, bottom = make.ink(made)
    assert right == pytest.approx(400, abs=2)
    assert bottom == pytest.approx(492, abs=2)
    assert "/Annots" not in PdfReader(io.BytesIO(made)).pages[0]


def test_links_leave_nothing_on_paper() -> None:
    made = pdf.to_pages(_with_note("/Link", appearance=False), "a.pdf", LETTER, header=False, done=0, limit=9)
    assert make.ink(made)[3] < 110


def test_a_page_is_cropped_as_its_reader_would_show_it() -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf("outside"))))
    writer.pages[0].cropbox.upper_right = (612, 396)
    data = StreamObject()
    data.set_data(b"100 100 50 50 re f 100 600 50 50 re f")
    writer.pages[0][NameObject("/Contents")] = writer._add_object(data)
    out = io.BytesIO()
    writer.write(out)
    made = pdf.to_pages(out.getvalue(), "a.pdf", LETTER, header=False, done=0, limit=9)
    assert make.sizes(made) == [(612, 792)]
    left, top, right, bottom = make.ink(made)
    assert right - left == pytest.approx(50 * 792 / 612, abs=3)
    assert bottom - top == pytest.approx(50 * 792 / 612, abs=3)


def test_a_page_whose_corners_are_written_the_other_way_round_is_the_same_page() -> None:
    made = []
    for corners in ((0, 0, 612, 792), (612, 792, 0, 0)):
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf("words"))))
        writer.pages[0][NameObject("/MediaBox")] = ArrayObject(map(FloatObject, corners))
        out = io.BytesIO()
        writer.write(out)
        made.append(make.ink(pdf.to_pages(out.getvalue(), "a.pdf", LETTER, header=False, done=0, limit=9)))
    assert made[0] == made[1]


@pytest.mark.parametrize("compressed", [0, 1])
def test_cnt_06_a_cut_pdf_is_refused_or_has_all_of_its_words(compressed: int) -> None:
    words = ["first page " * 5, "second page " * 5]
    whole = make.pdf(*words, pageCompression=compressed)

    def pages_of(content: bytes) -> bytes:
        return pdf.to_pages(content, "a.pdf", LETTER, header=False, done=0, limit=9)

    for end in range(1, len(whole), 29):
        result = attempt(functools.partial(pages_of, whole[:end]))
        assert result == "554 5.6.5" or make.texts(result) == [text.strip() for text in words], end


def test_a_pdf_that_pypdf_cannot_read_is_rebuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make.pdf("rebuilt words", pageCompression=0)
    broken = whole.replace(b"/Type /Pages", b"/Type /Pagez").replace(b"startxref", b"startxxxx")
    read = []

    def once(source: io.BytesIO) -> PdfReader:
        read.append(len(source.getvalue()))
        if len(read) == 1:
            raise AssertionError("pypdf has a fault")
        return PdfReader(source)

    monkeypatch.setattr(pdf, "PdfReader", once)
    made = pdf.to_pages(broken, "a.pdf", LETTER, header=False, done=0, limit=9)
    assert make.texts(made) == ["rebuilt words"]
    assert len(read) == 2
    read.clear()
    monkeypatch.setattr(pdf, "pikepdf", None)
    assert make.texts(pdf.to_pages(whole, "a.pdf", LETTER, header=False, done=0, limit=9)) == ["rebuilt words"]


def test_scripts_in_a_pdf_do_not_run_and_do_not_come_along() -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf("words"))))
    script = DictionaryObject({NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("evil()")})
    writer._root_object[NameObject("/OpenAction")] = writer._add_object(script)
    out = io.BytesIO()
    writer.write(out)
    made = pdf.to_pages(out.getvalue(), "a.pdf", LETTER, header=False, done=0, limit=9)
    assert make.texts(made) == ["words"]
    assert b"evil" not in made
    assert b"/OpenAction" not in made


def test_a_page_whose_content_is_missing_is_not_sent_blank() -> None:
    whole = make.pdf("x", pageCompression=0)
    number = PdfReader(io.BytesIO(whole)).pages[0].raw_get("/Contents").idnum
    broken = whole.replace(f"/Contents {number} 0 R".encode(), f"/Contents {90 + number} 0 R".encode())
    with pytest.raises(BadDocument) as error:
        pdf.to_pages(broken, "a.pdf", LETTER, header=False, done=0, limit=9)
    assert error.value.reply == "554 5.6.5"


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_pdf_gives_pages_or_a_refusal(data: st.DataObject) -> None:
    content = bytearray(_PDF)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    result = attempt(lambda: pdf.to_pages(bytes(content), "a.pdf", LETTER, header=True, done=0, limit=9))
    assert result in ("554 5.6.5", "554 5.3.4") or make.sizes(result)


_PDF = make.pdf("one", "two", pageCompression=0)


# --- fax pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fine", "lines"), [(make.LETTER, True, 2151), (make.LETTER, False, 1076), (make.A4, True, 2287)]
)
def test_img_01_fax_pages_are_1728_wide_and_as_high_as_their_paper(size: tuple[float, float], fine: bool, lines: int) -> None:
    pages = raster.to_fax_pages(make.pdf("one", "two", size=size), fine=fine)
    assert [(page.mode, page.width) for page in pages] == [("1", 1728)] * 2
    assert pages[0].height == pytest.approx(lines, abs=1)
    assert 0 < pages[0].histogram()[0] < 20_000


def test_a_grey_area_leaves_marks_and_a_blank_page_none() -> None:
    def grey(canvas_grey: float) -> Image.Image:
        out = io.BytesIO()
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf("x"))))
        data = StreamObject()
        data.set_data(f"{canvas_grey} g 100 100 200 200 re f".encode())
        writer.pages[0][NameObject("/Contents")] = writer._add_object(data)
        writer.write(out)
        return raster.to_fax_pages(out.getvalue())[0]

    assert grey(0.7).histogram()[0] > 40_000
    assert grey(1).histogram()[0] == 0


def test_previews_are_png_of_the_width_asked_for() -> None:
    source = make.pdf("one", "two", "three")
    first = raster.first_page_png(source, 432)
    with Image.open(io.BytesIO(first)) as opened:
        assert (opened.format, opened.size) == ("PNG", (432, 559))
    assert len(raster.page_pngs(source, width=100, most=2)) == 2


def test_what_a_fax_machine_prints_is_deterministic_and_bilevel(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(make.pdf("one", "two", size=make.A4))
    assert printed.as_printed(tmp_path / "a.pdf", tmp_path / "b.pdf") == 2
    printed.as_printed(tmp_path / "a.pdf", tmp_path / "c.pdf")
    assert (tmp_path / "b.pdf").read_bytes() == (tmp_path / "c.pdf").read_bytes()
    assert make.sizes(tmp_path / "b.pdf") == [(595, 842)] * 2
    picture = PdfReader(tmp_path / "b.pdf").pages[0]["/Resources"]["/XObject"]["/Im"]  # type: ignore[index]
    assert (picture["/Filter"], picture["/Width"]) == ("/CCITTFaxDecode", 1728)
    sent, arrived = make.ink(tmp_path / "a.pdf"), make.ink(tmp_path / "b.pdf")
    assert sent == pytest.approx(arrived, abs=1.5)


def test_a_received_tiff_keeps_every_pixel_and_its_size() -> None:
    pages = [make.fax_page(1143), make.fax_page(900)]
    made, count = received.to_pdf(make.tiff(*pages))
    assert count == 2
    assert make.sizes(made)[0] == (610, 840)
    with pypdfium2.PdfDocument(made) as document:
        for number, page in enumerate(pages):
            picture = next(document[number].get_objects())
            assert picture.get_bitmap().to_pil().convert("1").tobytes() == page.tobytes()


def test_a_received_pdf_stays_as_it_is() -> None:
    source = make.pdf("one", "two")
    assert received.to_pdf(source) == (source, 2)


@pytest.mark.parametrize(
    "content", [b"", b"<html>404 not found", make.pdf("x")[:300], make.tiff(make.fax_page(100))[:30], make.picture()]
)
def test_a_received_fax_must_be_a_real_one(content: bytes) -> None:
    with pytest.raises(BadDocument):
        received.to_pdf(content)


def test_a_page_damaged_on_the_way_is_said_and_the_others_are_kept() -> None:
    content = bytearray(make.tiff(make.fax_page(500), make.fax_page(500), compression="tiff_lzw"))
    with Image.open(io.BytesIO(bytes(content))) as opened:
        opened.seek(1)
        offset = opened.tag_v2[273][0]  # type: ignore[attr-defined]
    content[offset : offset + 200] = b"\xff" * 200
    made, count = received.to_pdf(bytes(content))
    assert count == 2
    assert "Page 2 of this fax was damaged" in make.texts(made)[1]

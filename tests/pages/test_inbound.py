"""Received faxes: every pixel kept, no larger than the TIFF, damage counted and said, and text to search in."""

from __future__ import annotations

import functools
import io
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image
from pypdf import PdfReader

from gateway.errors import BadDocument
from gateway.pages import codes, cover, ocr, raster, received, tags
from gateway.pages.fence import Fence
from gateway.pages.paper import PAPERS
from tests.pages import fax_files as make

#: How libtiff is asked for each coding.
CODINGS: dict[str, tuple[str, dict[int, int]]] = {
    "mh": ("group3", {}), "mr": ("group3", {292: 1}), "mmr": ("group4", {}), "mh-bytes": ("tiff_ccitt", {}),
}  # fmt: skip


@functools.cache
def page(fine: bool = True) -> Image.Image:
    """A text page as a fax machine sends it."""
    text = cover.lay_out(cover.SAMPLE, "The quick brown fox jumps over the lazy dog. " * 30, PAPERS["letter"], ())
    with pypdfium2.PdfDocument(text.draw(1)) as document:
        grey = document[0].render(scale=3, grayscale=True).to_pil()
    resized: Image.Image = grey.resize((1728, 2156 if fine else 1078))
    return resized.point([0] * 150 + [255] * 106, "1")


def halftone() -> Image.Image:
    """A dithered picture: the worst case of MMR."""
    return Image.effect_noise((1728, 400), 90).point([0] * 140 + [255] * 116, "1")


def fax(
    *pages: Image.Image,
    coding: str = "mh",
    dots: tuple[float, float] = (204, 196),
    white_is_zero: bool = True,
    low_bit_first: bool = False,
    lines: int = 100_000,
) -> bytearray:
    """A TIFF as gateways write it: ink coded as black (`white_is_zero`) or the other way round; `lines` in a strip."""
    compression, options = CODINGS[coding]
    coded = [one.point([255] + [0] * 255) if white_is_zero else one for one in pages]
    out = io.BytesIO()
    about = {278: min(lines, pages[0].height), **options}
    coded[0].save(out, "TIFF", compression=compression, save_all=True, append_images=coded[1:], dpi=dots, tiffinfo=about)
    content = bytearray(out.getvalue())
    for directory in list(tags.directories(bytes(content))):
        if low_bit_first:
            for start, size in zip(directory.values[273], directory.values[279], strict=True):
                turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in content[int(start) : int(start + size)])
                content[int(start) : int(start + size)] = turned
            change(content, directory, 284, 266, 2)  # PlanarConfiguration becomes FillOrder
        change(content, directory, 262, 262, 0 if white_is_zero else 1)
    return content


def change(content: bytearray, directory: tags.Directory, tag: int, new_tag: int, value: int) -> None:
    (count,) = struct.unpack_from("<H", content, directory.at)
    for at in range(directory.at + 2, directory.at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, at) == (tag,):
            struct.pack_into("<HHIHH", content, at, new_tag, 3, 1, value, 0)
            return
    raise AssertionError(f"no tag {tag}")


def scans(pdf: bytes) -> list[bytes]:
    """The dots of each page's picture, as pdfium decodes them."""
    found = []
    with pypdfium2.PdfDocument(pdf) as document:
        for n in range(len(document)):
            (picture,) = document[n].get_objects(filter=[3])
            found.append(picture.get_bitmap().to_pil().convert("1").tobytes())
    return found


def about(pdf: bytes, number: int = 0) -> tuple[str, object]:
    """Filter of a page's picture, and K."""
    picture = PdfReader(io.BytesIO(pdf)).pages[number]["/Resources"]["/XObject"]["/I"]  # type: ignore[index]
    return str(picture["/Filter"]), picture.get("/DecodeParms", {}).get("/K")


@pytest.mark.parametrize("white_is_zero", [True, False])
@pytest.mark.parametrize("coding", CODINGS)
def test_img_05_img_06_every_pixel_is_kept_and_the_pdf_is_no_larger(coding: str, white_is_zero: bool) -> None:
    source = bytes(fax(page(), page(), page(), coding=coding, white_is_zero=white_is_zero))
    pdf, count = received.to_pdf(source)
    assert count == 3
    assert scans(pdf) == [page().tobytes()] * 3
    assert len(pdf) <= len(source) * (1.02 if coding == "mmr" else 0.8)
    assert about(pdf) == ("/CCITTFaxDecode", -1)
    assert make.sizes(pdf)[0] == (610, 792)
    assert received.to_pdf(source) == (pdf, count)


@pytest.mark.parametrize("coding", CODINGS)
def test_img_04_both_orders_of_bits_give_the_same_pdf(coding: str) -> None:
    usual, turned = (received.to_pdf(bytes(fax(page(), coding=coding, low_bit_first=low)))[0] for low in (False, True))
    assert usual == turned


def test_mmr_is_taken_over_as_it_is() -> None:
    source = bytes(fax(page(), coding="mmr"))
    (directory,) = tags.directories(source)
    ((strip, _),) = directory.strips()
    assert strip in received.to_pdf(source)[0]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("white_is_zero", [True, False])
def test_a_halftone_does_not_grow_in_mmr(coding: str, white_is_zero: bool) -> None:
    dots = halftone()
    source = bytes(fax(dots, coding=coding, white_is_zero=white_is_zero, dots=(204, 98)))
    pdf, _ = received.to_pdf(source)
    assert scans(pdf) == [dots.tobytes()]
    assert len(pdf) < 0.95 * len(source)
    assert about(pdf)[1] != -1


@pytest.mark.parametrize(
    ("dots", "size"), [((204, 98), (610, 792)), ((200, 100), (622, 776)), ((204, 196), (610, 396)), ((0, 0), (610, 792))]
)
def test_img_02_img_03_the_height_is_the_papers(dots: tuple[float, float], size: tuple[int, int]) -> None:
    source = fax(page(fine=False), dots=dots)
    assert make.sizes(received.to_pdf(bytes(source))[0]) == [size]


def test_img_17_pages_of_different_sizes_are_each_their_own() -> None:
    wide = Image.new("1", (2432, 800), 1)
    pdf, count = received.to_pdf(make.tiff(page(fine=False), wide, dpi=(204, 98)))
    assert (count, make.sizes(pdf)) == (2, [(610, 792), (858, 588)])


@pytest.mark.parametrize("coding", CODINGS)
def test_strips_are_put_together(coding: str) -> None:
    source = bytes(fax(page(), coding=coding, lines=300))
    assert len(next(tags.directories(source)).values[273]) > 5
    pdf, _ = received.to_pdf(source)
    assert scans(pdf) == [page().tobytes()]
    assert make.texts(pdf) == [""]


def test_img_07_six_end_of_line_codes_add_no_lines_and_are_no_damage() -> None:
    source = fax(page())
    (directory,) = tags.directories(bytes(source))
    start, size = int(directory.values[273][0]), int(directory.values[279][0])
    data = bytes(source[start : start + size])
    bits = f"{int.from_bytes(b'1' + data, 'big'):b}"[6:].rstrip("0") + "0" * 6 + "000000000001" * 6
    ended = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    source += ended
    for tag, value in ((273, len(source) - len(ended)), (279, len(ended))):
        (count,) = struct.unpack_from("<H", source, directory.at)
        for at in range(directory.at + 2, directory.at + 2 + 12 * count, 12):
            if struct.unpack_from("<H", source, at) == (tag,):
                struct.pack_into("<HHII", source, at, tag, 4, 1, value)
    pdf, _ = received.to_pdf(bytes(source))
    assert scans(pdf) == [page().tobytes()]
    assert make.texts(pdf) == [""]


@pytest.mark.parametrize("coding", CODINGS)
def test_the_line_reader_agrees_with_libtiff(coding: str) -> None:
    for dots in (page(), halftone(), Image.new("1", (2432, 30), 1), Image.new("1", (1728, 30), 0)):
        ((strip, lines),) = next(tags.directories(bytes(fax(dots, coding=coding, white_is_zero=False)))).strips()
        read = codes.read(strip, coding, dots.width, lines)
        assert (b"".join(read.rows) == dots.tobytes(), read.bad) == (True, 0)


@pytest.mark.parametrize("white_is_zero", [True, False])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_damaged_page_is_kept_as_far_as_it_decodes_and_marked(coding: str, white_is_zero: bool) -> None:
    source = fax(page(), page(), page(), coding=coding, white_is_zero=white_is_zero)
    _, second, _ = tags.directories(bytes(source))
    start, size = int(second.values[273][0]), int(second.values[279][0])
    hurt = start + size // 2
    source[hurt : hurt + 3] = b"\x00\x08\xff"
    pdf, count = received.to_pdf(bytes(source))
    assert count == 3
    pages = make.texts(pdf)
    assert "of the 2156 lines of this page were damaged on the way." in pages[1]
    assert (pages[0], pages[2]) == ("", "")
    first, hurt_page, last = scans(pdf)
    assert first == last == page().tobytes()
    half = len(first) * 4 // 10
    assert hurt_page[:half] == first[:half]  # what stands before the damage
    lost = int(pages[1].split()[0])
    if coding in ("mh", "mr"):
        assert lost < 20  # the end-of-line codes: it goes on behind the damage
    assert hurt_page.count(0) < len(hurt_page) / 3  # behind it there is paper, not ink
    assert make.sizes(pdf)[1][1] == make.sizes(pdf)[0][1] + 18  # the mark is below the scan, not on it


def test_what_the_receiving_machine_says_of_bad_lines_is_printed() -> None:
    source = fax(page())
    change(source, next(tags.directories(bytes(source))), 284, 327, 7)
    pdf, _ = received.to_pdf(bytes(source))
    assert make.texts(pdf) == ["7 of the 2156 lines of this page were damaged on the way."]
    assert scans(pdf) == [page().tobytes()]


def test_pages_behind_one_that_cannot_be_read_are_kept() -> None:
    source = fax(page(), page(), page())
    _, second, _ = tags.directories(bytes(source))
    change(source, second, 256, 256, 0)  # no width
    pdf, count = received.to_pdf(bytes(source))
    assert count == 3
    assert make.texts(pdf)[1] == "Page 2 of this fax was damaged on the way. It could not be read."


def test_the_beginning_of_a_file_that_was_cut_off_is_kept() -> None:
    source = fax(page(), page(), page())
    pdf, count = received.to_pdf(bytes(source[: len(source) * 6 // 10]))
    assert count == 2
    assert make.texts(pdf) == ["", "Page 2 of this fax was damaged on the way. It and any page after it could not be read."]


def test_img_15_pages_in_a_circle_end() -> None:
    source = fax(page())
    (directory,) = tags.directories(bytes(source))
    (count,) = struct.unpack_from("<H", source, directory.at)
    struct.pack_into("<I", source, directory.at + 2 + 12 * count, directory.at)
    assert received.to_pdf(bytes(source))[1] == 2  # the page, and one that says so


def test_img_15_whatever_the_file_holds_the_result_is_pages_or_a_refusal() -> None:
    small = page().crop((0, 300, 1728, 500))
    results = set()
    for seed in range(120):
        dice = random.Random(seed)
        source = fax(small, small, coding=dice.choice(list(CODINGS)), lines=dice.choice([70, 100_000]))
        for _ in range(dice.randrange(1, 30)):
            source[dice.randrange(4, len(source) if dice.random() < 0.5 else 300)] = dice.randrange(256)
        directory = next(tags.directories(bytes(fax(small)))).at
        source[directory % len(source)] ^= dice.randrange(256)
        try:
            pdf, count = received.to_pdf(bytes(source))
        except BadDocument as refused:
            results.add(refused.reply)
        else:
            results.add("pages")
            assert len(make.sizes(pdf)) == count
    assert results == {"pages", "554 5.6.5"}


@pytest.mark.parametrize(
    ("compression", "mode"), [("tiff_lzw", "1"), ("packbits", "1"), ("raw", "1"), ("tiff_lzw", "L"), ("jpeg", "RGB")]
)
def test_pages_in_other_codings_are_kept_too(compression: str, mode: str) -> None:
    picture = page(fine=False).convert(mode)
    out = io.BytesIO()
    picture.save(out, "TIFF", compression=None if compression == "raw" else compression, dpi=(204, 98))
    pdf, count = received.to_pdf(out.getvalue())
    assert (count, make.sizes(pdf)) == (1, [(610, 792)])
    if mode == "1":
        assert scans(pdf) == [picture.tobytes()]
    else:
        assert raster.page_pngs(pdf)


def test_a_fax_without_a_readable_page_is_refused() -> None:
    source = fax(page())
    change(source, next(tags.directories(bytes(source))), 256, 256, 0)
    with pytest.raises(BadDocument, match="no page that can be read"):
        received.to_pdf(bytes(source))


@pytest.fixture
async def fence(tmp_path: Path) -> AsyncIterator[Fence]:
    made = Fence(1_000_000_000, 60, tmp_path)
    yield made
    await made.close()


@pytest.mark.needs("tesseract")
async def test_words_of_a_received_fax_can_be_searched_and_no_pixel_changes(tmp_path: Path, fence: Fence) -> None:
    top = page(fine=False).crop((0, 0, 1728, 500))
    pdf, count = received.to_pdf(bytes(fax(top, Image.new("1", (1728, 100), 1), dots=(204, 98))))
    made, trouble = await ocr.with_text(fence, pdf, count, "eng", tmp_path)
    assert trouble == ""
    words = make.texts(made)[0]
    assert "Example Hospital" in words
    assert "The quick brown fox jumps over the lazy dog" in words
    assert scans(made) == scans(pdf)
    assert make.sizes(made) == make.sizes(pdf)
    assert raster.page_pngs(made) == raster.page_pngs(pdf)  # the words are not seen
    again, _ = await ocr.with_text(fence, made, 1, "eng", tmp_path)
    assert again == made  # what has text is left alone
    assert [path for path in tmp_path.iterdir() if path.name.startswith("ocr-")] == []


@pytest.mark.needs("tesseract")
async def test_a_reader_that_fails_leaves_the_fax_as_it_is(tmp_path: Path, fence: Fence) -> None:
    pdf, count = received.to_pdf(bytes(fax(page(fine=False).crop((0, 0, 1728, 100)))))
    assert await ocr.with_text(fence, pdf, count, "nosuch", tmp_path) == (pdf, "page 1 could not be read")


@pytest.mark.needs("tesseract")
def test_missing_languages_are_named() -> None:
    assert ocr.lacking("eng") == ""
    assert ocr.lacking("eng+xyz+abc") == "Tesseract has no data for xyz, abc"


def test_without_tesseract_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ocr.lacking("eng") == "Tesseract is not installed"

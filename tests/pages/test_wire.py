"""Fax pages on the wire: codings that others decode, and TIFF files as RFC 3949 wants them."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageSequence
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.pdfgen.canvas import Canvas

from gateway.pages import printed, raster, wire
from gateway.pages.wire import Bitmap


def page(lines: int = 300, *, density: int = 196, seed: int = 0) -> Bitmap:
    """Words, boxes and specks."""
    dice = random.Random(seed)
    drawn = Image.new("1", (1728, lines), 1)
    pen = ImageDraw.Draw(drawn)
    for _ in range(40):
        x, y = dice.randrange(1700), dice.randrange(lines)
        pen.rectangle((x, y, x + dice.randrange(60), y + dice.randrange(20)), fill=dice.randrange(2))
    pen.text((40, 10), "Forty-two crates of oranges", fill=0, font_size=40)
    return Bitmap.of(drawn, density)


def bits_of(coded: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in coded)


def directories(file: bytes) -> list[tuple[int, dict[int, tuple[int, ...]], int]]:
    """Of each page: where its directory is, its tags with their values, where the following directory is."""
    found = []
    (at,) = struct.unpack_from("<I", file, 4)
    while at:
        (count,) = struct.unpack_from("<H", file, at)
        tags: dict[int, tuple[int, ...]] = {}
        for n in range(count):
            tag, kind, many, value = struct.unpack_from("<HHII", file, at + 2 + 12 * n)
            if kind == 5:
                tags[tag] = struct.unpack_from("<II", file, value)
            elif kind == 3:
                tags[tag] = struct.unpack("<HH", struct.pack("<I", value))[:many]
            else:
                tags[tag] = (value,)
        (following,) = struct.unpack_from("<I", file, at + 2 + 12 * count)
        found.append((at, tags, following))
        at = following
    return found


@pytest.mark.parametrize("write", [wire.profile_s, wire.profile_f])
def test_others_read_every_pixel_of_our_tiff(write: Callable[[Sequence[Bitmap]], bytes]) -> None:
    pages = [page(301, seed=1), page(150, density=98, seed=2), page(300, seed=3)]
    with Image.open(io.BytesIO(write(pages))) as opened:
        frames = [(frame.tobytes(), frame.size, frame.info["dpi"]) for frame in ImageSequence.Iterator(opened)]
    assert frames == [(one.picture().tobytes(), (one.width, one.height), (204, one.lines_per_inch)) for one in pages]


def test_img_09_profile_s_has_its_parts_in_order() -> None:
    file = wire.profile_s([page(seed=1), page(seed=2)])
    assert file[:8] == b"II*\0\x08\0\0\0"
    found = directories(file)
    assert found[0][0] == 8
    for at, tags, following in found:
        end_of_directory = at + 2 + 12 * len(tags) + 4
        assert tags[273] == (end_of_directory + 16,)  # behind the two resolutions
        end = tags[273][0] + tags[279][0]
        assert (following >= end and following % 2 == 0) or (following == 0 and len(file) - end < 2)


def test_img_10_and_16_profile_s_has_these_tags_and_no_others() -> None:
    (_, first, _), (_, second, _) = directories(wire.profile_s([page(300), page(151, density=98)]))
    assert list(first) == sorted(first)
    for number, tags, lines, density in ((0, first, 300, 196), (1, second, 151, 98)):
        for changing in (273, 279):
            assert len(tags.pop(changing)) == 1
        assert tags == {
            254: (2,), 256: (1728,), 257: (lines,), 258: (1,), 259: (3,), 262: (0,), 266: (2,), 277: (1,), 278: (lines,),
            282: (204, 1), 283: (density, 1), 292: (0,), 296: (2,), 297: (number, 2),
        }  # fmt: skip


def test_img_11_and_12_an_eol_stands_before_every_line_and_none_behind_the_last() -> None:
    blank = Bitmap(1728, 3, 98, bytes(216 * 3))
    line = "000000000001" + "010011011" + "00110101"  # EOL, 1728 white: 1728 and 0
    bits = bits_of(wire.mh(blank))
    assert bits == (line * 3).ljust(len(bits), "0")
    assert len(bits) - 3 * len(line) < 8


def test_img_08_mmr_ends_with_eofb() -> None:
    bits = bits_of(wire.mmr(page()))
    assert bits.rstrip("0").endswith("000000000001" * 2)


@pytest.mark.parametrize("compression", [3, 4])
def test_both_coders_give_the_same_bytes(compression: int) -> None:
    drawn = page(500, seed=7)
    by_system = wire._by_system(drawn, compression)
    if by_system is None:
        pytest.skip("this system has no libtiff")
    assert by_system == wire._by_pillow(drawn, compression)


def test_ink_is_coded_as_black() -> None:
    """A white page is nearly nothing; with the colours changed about each line would begin with an empty white run."""
    assert len(wire.mmr(Bitmap(1728, 2000, 196, bytes(216 * 2000)))) < 260


def test_seconds_are_those_of_the_fastest_modem() -> None:
    assert wire.seconds(18_000) == 10.0
    assert wire.seconds(b"12345678" * 225) == 1.0


def test_a_page_without_lines_is_not_coded() -> None:
    with pytest.raises(ValueError, match="without lines"):
        wire.mmr(Bitmap(1728, 0, 196, b""))


@pytest.mark.parametrize("paper", [LETTER, A4])
def test_img_02_pages_that_were_printed_once_keep_every_dot_when_printed_again(
    tmp_path: Path, paper: tuple[float, float]
) -> None:
    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=paper, invariant=True)
    for grey in (0.4, 0.7):
        canvas.setFillGray(grey)
        canvas.rect(60.3, 300.7, 200, 90, fill=1, stroke=0)
        canvas.drawString(72, 700, "Grey words, and a ground")
        canvas.showPage()
    canvas.save()
    first = [page.bitmap for page in raster.fax_pages(tmp_path / "a.pdf")]
    assert printed.as_printed(tmp_path / "a.pdf", tmp_path / "b.pdf") == 2
    assert [page.bitmap for page in raster.fax_pages(tmp_path / "b.pdf")] == first
    assert printed.as_tiff(tmp_path / "b.pdf", tmp_path / "b.tif") == 2
    assert (tmp_path / "b.tif").read_bytes() == wire.profile_f(first)

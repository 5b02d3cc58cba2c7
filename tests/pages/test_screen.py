"""Photographs on fax pages: their tones stay, and what is no photograph is not touched."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageStat
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from gateway.pages import raster

PLACE = (72, 300, 400, 300)  # left, bottom, width, height of the picture on a letter page, in points
BARS = (72, 150)  # lower left corner of the bar code


def photo(size: tuple[int, int] = (800, 600)) -> Image.Image:
    """Soft shapes in every tone from dark to light."""
    ramp = Image.linear_gradient("L").rotate(90).resize(size)
    hills = Image.radial_gradient("L").resize(size)
    return Image.blend(ramp, hills, 0.5).point(lambda tone: 40 + tone * 0.7)


def page(picture: Image.Image | None, *, bars: bool = False, words: bool = True) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(612, 792), invariant=1)
    if words:
        for n in range(8):
            canvas.drawString(72, 740 - 14 * n, "Forty-two crates of oranges leave Valencia on Thursday.")
    if picture is not None:
        canvas.drawImage(ImageReader(picture), *PLACE)
    if bars:
        for n, wide in enumerate("1211212112212111221212"):
            canvas.rect(BARS[0] + 4 * n, BARS[1], 1.1 * int(wide), 60, stroke=0, fill=1)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def printed(source: bytes, *, fine: bool = True) -> Image.Image:
    (made,) = raster.to_fax_pages(source, fine=fine)
    return made


def pixels(place: tuple[float, float, float, float], of: Image.Image) -> tuple[int, int, int, int]:
    """A place on the letter page, in pixels from the top left."""
    left, bottom, width, height = place
    across, down = of.width / 612, of.height / 792
    return (
        round(left * across),
        round((792 - bottom - height) * down),
        round((left + width) * across),
        round((792 - bottom) * down),
    )


def mean(picture: Image.Image) -> float:
    return ImageStat.Stat(picture.convert("L")).mean[0]


@pytest.mark.parametrize("fine", [True, False])
def test_a_photograph_keeps_its_tones(fine: bool) -> None:
    source = page(photo())
    made = printed(source, fine=fine)
    screened = made.crop(pixels(PLACE, made))
    wanted = photo().resize(screened.size)
    w, h = screened.width // 4, screened.height // 4
    for x, y in ((n % 4 * w, n // 4 * h) for n in range(16)):
        part = (x, y, x + w, y + h)
        assert mean(screened.crop(part)) == pytest.approx(mean(wanted.crop(part)), abs=255 * 0.02)


@pytest.mark.parametrize(("paper", "ink"), [(250, 20), (238, 30), (200, 60)])
@pytest.mark.parametrize("size", [28, 40, 60])
def test_scanned_words_are_strokes_and_not_dots(paper: int, ink: int, size: int) -> None:
    """7 to 15 points at 288 dots an inch, on white and on grey paper."""
    scan = Image.new("L", (1600, 1200), paper)
    pen = ImageDraw.Draw(scan)
    for y in range(40, 1100, size + size // 3):
        pen.text((60, y), "Forty-two crates of oranges leave Valencia on Thursday.", fill=ink, font_size=size)
    source = page(scan.filter(ImageFilter.GaussianBlur(1)), words=False)
    made = printed(source)
    scanned = made.crop(pixels(PLACE, made)).convert("L")
    wanted = scan.point([0 if tone < (paper + ink) // 2 else 255 for tone in range(256)]).resize(scanned.size)
    assert mean(scanned) == pytest.approx(mean(wanted), abs=255 * 0.03)
    between = scanned.crop((0, 0, scanned.width, round(30 / 1200 * scanned.height)))
    assert between.getextrema() == (255, 255)  # no dots above the first line


def test_the_same_photograph_gives_the_same_dots() -> None:
    assert printed(page(photo())).tobytes() == printed(page(photo())).tobytes()


def test_what_lies_beside_a_photograph_is_not_touched() -> None:
    with_photo, without = printed(page(photo(), bars=True)), printed(page(None, bars=True))
    left, top, right, bottom = pixels(PLACE, with_photo)
    beside, expected = with_photo.convert("L"), without.convert("L")
    for picture in (beside, expected):
        picture.paste(255, (left - 2, top - 2, right + 2, bottom + 2))
    assert abs(mean(beside) - mean(expected)) < 0.2
    bars = pixels((*BARS, 90, 60), with_photo)
    assert 20 < mean(with_photo.crop(bars)) < 235
    assert mean(with_photo.crop(bars)) == pytest.approx(mean(without.crop(bars)), abs=2)

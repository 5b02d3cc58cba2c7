"""PDF pages as pixels: black-and-white fax pages, and grey previews for web pages.

A fax page is 1728 dots wide at 204 dots an inch (IMG-01) and as high as its paper at 196 (fine) or 98 lines an inch.
The threshold between paper and ink is Otsu's, page by page: on the measured corpus it reads four times better than a
fixed one. Photographs are screened (`screen`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

from gateway.errors import BadDocument
from gateway.pages.parts import BROKEN
from gateway.pages.screen import with_photos

WIDTH = 1728
_LINES_PER_POINT = {True: 7.7 * 25.4 / 72, False: 3.85 * 25.4 / 72}  # T.4 counts lines by the millimetre
_HIGHEST = 40_000  # lines; a fax machine prints endless pages, we do not
_DARKEST, _LIGHTEST = 64, 224  # Otsu's threshold on a page of one tone is anywhere


def to_fax_pages(pdf: bytes | Path, *, fine: bool = True) -> list[Image.Image]:
    """Every page in mode "1", `WIDTH` wide. Raises BadDocument when the PDF cannot be opened."""
    return [picture for picture, _ in fax_pages(pdf, fine=fine)]


def fax_pages(pdf: bytes | Path, *, fine: bool = True) -> Iterator[tuple[Image.Image, tuple[float, float]]]:
    """The same, one after another: a page of pixels takes megabytes. With each comes its size in points."""
    for page in _pages(pdf):
        width, height = page.get_size()
        lines = min(_HIGHEST, max(1, round(height * _LINES_PER_POINT[fine] * min(1.0, 612.0 / width))))
        grey = _grey(page, WIDTH, lines)
        yield with_photos(page, grey, _black_and_white(grey)), (width, height)


def first_page_png(pdf: bytes | Path, width: int = 864) -> bytes:
    """A preview of the first page, `width` pixels wide, as PNG."""
    return page_pngs(pdf, width=width, most=1)[0]


def page_pngs(pdf: bytes | Path, *, width: int = 864, most: int = 20) -> list[bytes]:
    """Previews of the first `most` pages, `width` pixels wide, as PNG."""
    previews = []
    for page in _pages(pdf):
        previews.append(_png(page, width))
        if len(previews) >= most:
            break
    return previews


def page_png(pdf: Path, wanted: int, width: int = 864) -> bytes | None:
    """A preview of one page, from 1, as PNG; None: there is no such page."""
    for number, page in enumerate(_pages(pdf), 1):
        if number == wanted:
            return _png(page, width)
    return None


def _png(page: pypdfium2.PdfPage, width: int) -> bytes:
    across, down = page.get_size()
    out = io.BytesIO()
    _grey(page, width, min(_HIGHEST, max(1, round(width * down / across)))).quantize(48).save(out, "PNG")
    return out.getvalue()


def _pages(pdf: bytes | Path) -> Iterator[pypdfium2.PdfPage]:
    try:
        with pypdfium2.PdfDocument(pdf) as document:
            if not len(document):
                raise BadDocument("the document has no pages", reply=BROKEN)
            for number in range(len(document)):
                page = document[number]
                try:
                    yield page
                finally:
                    page.close()
    except pypdfium2.PdfiumError as broken:
        raise BadDocument("the document cannot be opened", reply=BROKEN) from broken


def _grey(page: pypdfium2.PdfPage, width: int, height: int) -> Image.Image:
    """The page drawn onto exactly so many pixels; they need not be square."""
    bitmap = pypdfium2.PdfBitmap.new_native(width, height, pdfium.FPDFBitmap_Gray)
    try:
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
        pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, pdfium.FPDF_ANNOT | pdfium.FPDF_PRINTING)
        picture: Image.Image = bitmap.to_pil().copy()  # the bitmap's memory ends with it
        return picture
    finally:
        bitmap.close()


def _black_and_white(grey: Image.Image) -> Image.Image:
    threshold = min(_LIGHTEST, max(_DARKEST, otsu(grey.histogram())))
    return grey.point([0] * (threshold + 1) + [255] * (255 - threshold), "1")


def otsu(histogram: list[int]) -> int:
    """The tone that best parts 256 tones into two groups (Otsu 1979): it belongs to the dark one."""
    total, weighted = sum(histogram), sum(tone * count for tone, count in enumerate(histogram))
    best, best_spread, dark, dark_weighted = 127, 0.0, 0, 0
    for tone, count in enumerate(histogram):
        dark += count
        dark_weighted += tone * count
        light = total - dark
        if not dark or not light:
            continue
        spread = dark * light * (dark_weighted / dark - (weighted - dark_weighted) / light) ** 2
        if spread > best_spread:
            best, best_spread = tone, spread
    return best

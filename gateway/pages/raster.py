"""PDF pages as pixels: black-and-white fax pages, and grey previews for web pages.

A fax page is 1728 dots wide at 204 dots an inch (IMG-01) and as high as its paper at 196 (fine) or 98 lines an inch.
What is ink on it is decided by `binarise`, photographs are screened (`screen`). A page of plain black words and lines, which
most faxes are, needs no more than a threshold.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

from gateway.errors import BadDocument
from gateway.pages import binarise, fills, survey
from gateway.pages.parts import BROKEN
from gateway.pages.windows import Grey, Mask
from gateway.pages.wire import Bitmap

WIDTH = 1728
_LINES_PER_POINT = {True: 7.7 * 25.4 / 72, False: 3.85 * 25.4 / 72}  # T.4 counts lines by the millimetre
_HIGHEST = 40_000  # lines; a fax machine prints endless pages, we do not


def to_fax_pages(pdf: bytes | Path, *, fine: bool | None = True) -> list[Image.Image]:
    """Every page in mode "1", `WIDTH` wide. Raises BadDocument when the PDF cannot be opened."""
    return [page.bitmap.picture() for page in fax_pages(pdf, fine=fine)]


@dataclass(frozen=True, slots=True)
class FaxPage:
    """One page as a fax machine prints it."""

    bitmap: Bitmap
    width: float
    """Points."""
    height: float


def fax_pages(pdf: bytes | Path, *, fine: bool | None = True) -> Iterator[FaxPage]:
    """One page after another. `fine` None: each in standard resolution, unless that would harm it. Raises BadDocument."""
    sheet = _sheet(0)
    for page in _pages(pdf):
        width, height = page.get_size()
        facts = survey.of(page)
        finely = facts.small if fine is None else fine
        lines = _lines(width, height, fine=finely)
        if len(sheet) != WIDTH * lines:
            sheet = _sheet(WIDTH * lines)
        with _tones(page, (WIDTH, lines), sheet) as grey:
            rows = np.packbits(_ink(grey, page, facts, fine=finely), axis=1).tobytes()
        yield FaxPage(Bitmap(WIDTH, lines, 196 if finely else 98, rows), width, height)


def drawn_twice(page: pypdfium2.PdfPage, facts: survey.Survey) -> tuple[Grey, Mask]:
    """The page in tones and in ink, at fine resolution."""
    size = WIDTH, _lines(*page.get_size(), fine=True)
    with _tones(page, size) as grey:
        return grey.copy(), _ink(grey, page, facts, fine=True)


def _sheet(size: int) -> ctypes.Array[ctypes.c_ubyte]:
    """Memory to draw on: fresh memory for every page costs as much as a part of the drawing."""
    return (ctypes.c_ubyte * size)()


def _has_tones(grey: Grey) -> bool:
    """Whether anything is neither black nor white."""
    return bool(np.any(grey - np.uint8(1) < 254))  # 0 becomes 255


def _lines(width: float, height: float, *, fine: bool) -> int:
    """How many lines a page of this size in points has; what is wider than letter paper is made narrower."""
    return min(_HIGHEST, max(1, round(height * _LINES_PER_POINT[fine] * min(1.0, 612.0 / width))))


def _ink(grey: Grey, page: pypdfium2.PdfPage, facts: survey.Survey, *, fine: bool) -> Mask:
    """Where the page is black."""
    if facts.plain:
        return grey < binarise.PLAIN
    if facts.pictures and not (_has_tones(grey[::32]) or _has_tones(grey)):  # printed before, in our very dots
        return grey < binarise.PLAIN
    return binarise.ink(grey, in_dots(facts.pictures, page.get_size(), (grey.shape[1], grey.shape[0])), fine=fine)


@contextlib.contextmanager
def _tones(page: pypdfium2.PdfPage, size: tuple[int, int], sheet: ctypes.Array[ctypes.c_ubyte] | None = None) -> Iterator[Grey]:
    """The page drawn; its memory ends with the context, or is the sheet's, which has just this size."""
    with _drawn(page, *size, sheet) as bitmap:
        yield np.ascontiguousarray(bitmap.to_numpy().reshape(size[1], bitmap.stride)[:, : size[0]])


def in_dots(
    boxes: Sequence[tuple[float, float, float, float]], paper: tuple[float, float], size: tuple[int, int]
) -> list[fills.Area]:
    """Places in points from the lower left as dots from the upper left, cut at the edges of the page."""
    across, down = size[0] / paper[0], size[1] / paper[1]
    areas = []
    for left, bottom, right, top in boxes:
        area = (
            max(0, int(left * across)),
            max(0, int((paper[1] - top) * down)),
            min(size[0], int(right * across) + 1),
            min(size[1], int((paper[1] - bottom) * down) + 1),
        )
        if area[2] > area[0] and area[3] > area[1]:
            areas.append(area)
    return areas


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
    with _drawn(page, width, height) as bitmap:
        picture: Image.Image = bitmap.to_pil().copy()  # the bitmap's memory ends with it
        return picture


@contextlib.contextmanager
def _drawn(
    page: pypdfium2.PdfPage, width: int, height: int, sheet: ctypes.Array[ctypes.c_ubyte] | None = None
) -> Iterator[pypdfium2.PdfBitmap]:
    bitmap = pypdfium2.PdfBitmap.new_native(width, height, pdfium.FPDFBitmap_Gray, buffer=sheet)
    try:
        ctypes.memset(bitmap.buffer, 255, bitmap.stride * height)
        pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, pdfium.FPDF_ANNOT | pdfium.FPDF_PRINTING)
        yield bitmap
    finally:
        bitmap.close()


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

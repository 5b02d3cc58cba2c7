"""The page of a line test: letters in eight sizes, lines, greys, checkerboards, codes; and what has become of it.

Each part goes wrong in its own way: a lost line cuts letters and lines, a page made smaller spoils the checkerboards, one
that was screened again the greys.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image
from reportlab.graphics import renderPDF
from reportlab.graphics.barcode import createBarcodeDrawing
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from gateway.errors import BadDocument
from gateway.pages import fonts, raster
from gateway.pages.paper import PAPERS
from gateway.pages.parts import BROKEN
from gateway.pages.windows import Mask

_LEFT, _ACROSS = 54.0, 504.0  # points
_SIZES = (6, 7, 8, 9, 10, 12, 15, 18)
_WIDTHS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_SQUARES = (0.75, 1.5, 3.0, 6.0)
_FINE = 147  # lines an inch, between standard (98) and fine (196)


def draw(facts: Sequence[str], code: str) -> bytes:
    """A PDF of one letter sheet: the facts in words, `code` (ASCII) as a QR code and a bar code, the pattern."""
    paper, out = PAPERS["letter"], io.BytesIO()
    canvas = Canvas(out, pagesize=(paper.width, paper.height), invariant=True)
    fonts.draw(canvas, _LEFT, 716, "Line test", 24, bold=True)
    for n, fact in enumerate(facts):
        fonts.draw(canvas, _LEFT, 694 - 15 * n, fact, 11)
    renderPDF.draw(createBarcodeDrawing("QR", value=code, width=90, height=90, barBorder=0), canvas, _LEFT + _ACROSS - 90, 645)
    y = 610.0
    for size in _SIZES:
        y -= 1.3 * size
        fonts.draw(canvas, _LEFT, y, f"{size} pt: sphinx of black quartz, judge my vow 0123456789", size)
    _lines(canvas, y - 20)
    _greys(canvas, y - 150)
    _checkerboards(canvas, y - 215)
    bars = createBarcodeDrawing("Code128", value=code, barHeight=24, barWidth=0.9, humanReadable=False, quiet=False)
    renderPDF.draw(bars, canvas, _LEFT, y - 255)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def _lines(canvas: Canvas, top: float) -> None:
    """Level, upright and oblique ones of several widths."""
    for n, width in enumerate(_WIDTHS):
        canvas.setLineWidth(width)
        canvas.line(_LEFT, top - 12 * n, _LEFT + 150, top - 12 * n)
        canvas.line(_LEFT + 180 + 14 * n, top, _LEFT + 180 + 14 * n, top - 84)
        canvas.line(_LEFT + 310, top - 84, _LEFT + 320 + 26 * n, top)


def _greys(canvas: Canvas, bottom: float) -> None:
    """A picture from white to black: plain greys would become hatching."""
    steps = Image.frombytes("L", (256, 1), bytes(range(255, -1, -1))).resize((1024, 24))
    canvas.drawImage(ImageReader(steps), _LEFT, bottom, _ACROSS, 24)


def _checkerboards(canvas: Canvas, bottom: float) -> None:
    for n, square in enumerate(_SQUARES):
        left, count = _LEFT + 128 * n, round(48 / square)
        for row in range(count):
            for column in range(row % 2, 2 * count, 2):
                canvas.rect(left + column * square, bottom + row * square, square, square, stroke=0, fill=1)


def compared(sent: bytes, received: bytes) -> tuple[tuple[int, int], ...]:
    """For each page that was sent, its dots and how many of them arrived otherwise; both are PDF.

    What a received page lacks in width is the whole page, in height those lines. Raises BadDocument.
    """
    arrived = _dots(received)
    found = []
    for n, fine in enumerate(_finely(sent, arrived)):
        page = list(raster.fax_pages(sent, fine=fine))[n].bitmap
        ink = np.unpackbits(np.frombuffer(page.rows, np.uint8)).reshape(page.height, page.width).astype(bool)
        found.append((ink.size, _different(ink, arrived[n] if n < len(arrived) else None)))
    return tuple(found)


def _different(sent: Mask, arrived: Mask | None) -> int:
    if arrived is None or arrived.shape[1] != sent.shape[1]:
        return int(sent.size)
    common = min(len(sent), len(arrived))
    return int(np.count_nonzero(sent[:common] != arrived[:common])) + sent[common:].size


def _finely(sent: bytes, arrived: Sequence[Mask]) -> list[bool]:
    """In which resolution each page that was sent has arrived."""
    try:
        with pypdfium2.PdfDocument(sent) as document:
            heights = [document.get_page_size(n)[1] for n in range(len(document))]
    except pypdfium2.PdfiumError as broken:
        raise BadDocument("the document cannot be opened", reply=BROKEN) from broken
    return [n >= len(arrived) or len(arrived[n]) * 72 / height > _FINE for n, height in enumerate(heights)]


def _dots(received: bytes) -> list[Mask]:
    """The picture on each page, dot for dot, True where it is black; nothing where a page has none."""
    found = []
    try:
        with pypdfium2.PdfDocument(received) as document:
            for page in document:
                pictures = [one.get_bitmap().to_pil() for one in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE])]
                found.append(np.asarray(pictures[0].convert("L")) < 128 if pictures else np.zeros((0, 0), bool))
                page.close()
    except pypdfium2.PdfiumError as broken:
        raise BadDocument("the received fax cannot be opened", reply=BROKEN) from broken
    return found

"""Words that a reader of the file can see and the reader of the fax cannot: too small, or too pale for black and white.

The words of every page, with their places, are compared with the page as it will be printed. Words nobody can see in the
file either (the hidden text of a scan, white on white) are no loss. Words in pictures are not looked at.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from pathlib import Path

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from gateway.pages import raster, survey
from gateway.pages.windows import Grey, Mask

_TINY = 4.5  # points; at fine resolution an x is then six lines high
_SEEN = 12  # tones between words and ground that a reader of the file notices
_LEAST_INK, _MOST_INK = 0.01, 0.97  # shares of the place of words, which may be white on black
_MANY = 4000
_SHOWN, _LENGTH = 3, 40  # examples, and letters of each
_HIDDEN = (pdfium.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium.FPDF_TEXTRENDERMODE_CLIP)


def warnings(pdf: Path, first: int, last: int) -> str:
    """What the sender should know about these pages (from 1); "" if all words survive."""
    lost: list[str] = []
    with pypdfium2.PdfDocument(pdf) as document:
        for number in range(first - 1, min(last, len(document))):
            page = document[number]
            try:
                lost += [f"“{words}” on page {number + 1}" for words in _lost(page)]
            finally:
                page.close()
    if not lost:
        return ""
    more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    return f"words too small or too pale for a fax: {', '.join(lost[:_SHOWN])}{more}"


def _lost(page: pypdfium2.PdfPage) -> list[str]:
    facts = survey.of(page)
    if facts.plain and not facts.small:
        return []  # black on white, of a good size
    drawn = None if facts.plain else raster.drawn_twice(page, facts)
    found = []
    words_of = page.get_textpage()
    try:
        for thing in itertools.islice(page.get_objects((pdfium.FPDF_PAGEOBJ_TEXT,), max_depth=8), _MANY):
            if pdfium.FPDFTextObj_GetTextRenderMode(thing.raw) in _HIDDEN:
                continue
            if _size(thing.raw) < _TINY or (drawn is not None and _vanishes(page, thing.get_bounds(), *drawn)):
                words = _words(thing.raw, words_of.raw)
                if len(words) > 1:
                    found.append(words if len(words) <= _LENGTH else words[:_LENGTH].rstrip() + "…")
    finally:
        words_of.close()
    return found


def _vanishes(page: pypdfium2.PdfPage, box: tuple[float, float, float, float], grey: Grey, black: Mask) -> bool:
    """Whether there is a difference in tone where the words are, and none in ink."""
    for left, top, right, bottom in raster.in_dots([box], page.get_size(), (grey.shape[1], grey.shape[0])):
        tones = grey[top:bottom, left:right]
        share = np.count_nonzero(black[top:bottom, left:right]) / tones.size
        return int(tones.max()) - int(tones.min()) > _SEEN and not _LEAST_INK < share < _MOST_INK
    return False  # beside the sheet


def _size(thing: object) -> float:
    """Points on paper; many where it is not known."""
    size, matrix = ctypes.c_float(), pdfium.FS_MATRIX()
    if not pdfium.FPDFTextObj_GetFontSize(thing, size) or not pdfium.FPDFPageObj_GetMatrix(thing, matrix):
        return _TINY
    return float(size.value * math.hypot(matrix.c, matrix.d))


def _words(thing: object, page: object) -> str:
    length = pdfium.FPDFTextObj_GetText(thing, page, None, 0)
    buffer = ctypes.create_string_buffer(max(2, length))
    pdfium.FPDFTextObj_GetText(thing, page, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
    return " ".join("".join(c for c in buffer.raw.decode("utf-16-le", "replace") if c.isprintable()).split())

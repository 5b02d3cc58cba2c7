"""What is on a PDF page, without drawing it: its pictures, whether all of it is plain black, how small its words are."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import pypdfium2
import pypdfium2.raw as pdfium

_MANY = 4000  # things on a page that are looked at; a page of more is treated with care, not as plain text
_DEEP = 8  # forms within forms
_WORDS, _PATH, _PICTURE, _FORM = (
    pdfium.FPDF_PAGEOBJ_TEXT,
    pdfium.FPDF_PAGEOBJ_PATH,
    pdfium.FPDF_PAGEOBJ_IMAGE,
    pdfium.FPDF_PAGEOBJ_FORM,
)
_BLACK = 40  # a colour no lighter than this is printed as black
SMALL = 8.0  #: points; smaller words need fine resolution


@dataclass(frozen=True, slots=True)
class Survey:
    """The facts of one page."""

    plain: bool
    """Nothing but black words and lines on white: no tone, no picture, nothing that lets light through."""
    small: bool
    """It has words below `SMALL`, or lying ones, or pictures: standard resolution would harm it."""
    pictures: tuple[tuple[float, float, float, float], ...]
    """Left, bottom, right, top in points of the page as it is shown."""


def of(page: pypdfium2.PdfPage) -> Survey:
    """Look at every object once."""
    plain = small = False
    pictures = []
    seen = 0
    plain = not pdfium.FPDFPage_GetAnnotCount(page)
    for kind, thing in itertools.islice(_things(page.raw), _MANY):
        seen += 1
        if kind == _PICTURE:
            plain, small = False, True
            pictures.append(_bounds(thing))
        elif kind == _WORDS:
            plain = plain and _is_black(thing, words=True)
            small = small or _is_small(thing)
        elif kind == _PATH:
            plain = plain and _is_black(thing, words=False)
        elif kind != _FORM:
            plain = False
    return Survey(plain and 0 < seen < _MANY, small or seen == _MANY, tuple(pictures))


def _things(holder: object, depth: int = 0) -> Iterator[tuple[int, object]]:
    """Kind and handle of every object on a page, or within a form of this depth."""
    count, get = (
        (pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject)
        if depth
        else (pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject)
    )
    for n in range(count(holder)):
        thing = get(holder, n)
        kind = pdfium.FPDFPageObj_GetType(thing)
        yield kind, thing
        if kind == _FORM and depth + 1 < _DEEP:
            yield from _things(thing, depth + 1)


def _bounds(thing: object) -> tuple[float, float, float, float]:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not pdfium.FPDFPageObj_GetBounds(thing, left, bottom, right, top):
        raise pypdfium2.PdfiumError("a picture without a place")
    return left.value, bottom.value, right.value, top.value


def _is_black(thing: object, *, words: bool) -> bool:
    """Whether it is drawn in black only (a path: filled in black, not in white, which could be light words on a ground)."""
    if pdfium.FPDFPageObj_HasTransparency(thing):
        return False
    stroked, filled = True, True
    if words:
        mode = pdfium.FPDFTextObj_GetTextRenderMode(thing)
        stroked, filled = mode in (1, 2, 5, 6), mode in (0, 2, 4, 6)
    else:
        fill_mode, has_stroke = ctypes.c_int(), pdfium.FPDF_BOOL()
        pdfium.FPDFPath_GetDrawMode(thing, fill_mode, has_stroke)
        stroked, filled = bool(has_stroke.value), fill_mode.value != pdfium.FPDF_FILLMODE_NONE
    return (not filled or _tone(pdfium.FPDFPageObj_GetFillColor, thing)) and (
        not stroked or _tone(pdfium.FPDFPageObj_GetStrokeColor, thing)
    )


def _tone(ask: object, thing: object) -> bool:
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    if not ask(thing, red, green, blue, alpha):  # type: ignore[operator]  # a function of the library
        return False
    return max(red.value, green.value, blue.value) <= _BLACK and alpha.value == 255


def _is_small(thing: object) -> bool:
    size, matrix = ctypes.c_float(), pdfium.FS_MATRIX()
    if not pdfium.FPDFTextObj_GetFontSize(thing, size) or not pdfium.FPDFPageObj_GetMatrix(thing, matrix):
        return True
    return size.value * math.hypot(matrix.c, matrix.d) < SMALL or abs(matrix.b) > abs(matrix.a)

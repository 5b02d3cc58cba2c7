"""What can be read again on a fax page: words by Tesseract, bar codes by zxing-cpp.

Standard pages are doubled in height, and every page is blurred a little and scaled to 300 dots an inch, about as a person
sees it. The error rate is the sum of edit distances over the sum of letters, at most one a letter in each block.
"""

from __future__ import annotations

import functools
import glob

import tesserocr
import zxingcpp
from PIL import Image, ImageFilter

from bench.corpus import HIGH, WIDE, Block, Page

_DPI = 300
_MARGIN = 8  # pixels of paper around what Tesseract sees


class Reader:
    """Tesseract, loaded once."""

    def __init__(self) -> None:
        data = sorted(glob.glob("/usr/share/tesseract-ocr/*/tessdata"))[-1]
        self._api = tesserocr.PyTessBaseAPI(path=data, lang="eng", psm=tesserocr.PSM.SINGLE_BLOCK)

    @classmethod
    @functools.cache
    def shared(cls) -> Reader:
        """The one of this process."""
        return cls()

    def errors(self, picture: Image.Image, page: Page) -> tuple[int, int]:
        """Wrong letters and letters of all blocks of a page; `picture` is in mode "1"."""
        seen = _as_seen(picture)
        wrong = letters = 0
        for block in page.blocks:
            wanted = " ".join(block.words.split())
            wrong += min(len(wanted), distance(wanted, self._read(seen, block)))
            letters += len(wanted)
        return wrong, letters

    def _read(self, seen: Image.Image, block: Block) -> str:
        left, top, right, bottom = block.box
        across, down = seen.width / WIDE, seen.height / HIGH
        piece = seen.crop((round(left * across), round(top * down), round(right * across), round(bottom * down)))
        if block.sideways:
            piece = piece.transpose(Image.Transpose.ROTATE_270)
        framed = Image.new("L", (piece.width + 2 * _MARGIN, piece.height + 2 * _MARGIN), 255)
        framed.paste(piece, (_MARGIN, _MARGIN))
        one_line = block.words and (right - left if block.sideways else bottom - top) < 36 and " " not in block.words[90:]
        self._api.SetPageSegMode(tesserocr.PSM.SINGLE_LINE if one_line else tesserocr.PSM.SINGLE_BLOCK)
        self._api.SetImage(framed)
        return " ".join(self._api.GetUTF8Text().split())


def codes_found(picture: Image.Image, page: Page) -> int:
    """How many of the page's codes can be decoded."""
    seen = _doubled(picture)
    said = {found.text for found in zxingcpp.read_barcodes(seen)}
    said |= {found.text for found in zxingcpp.read_barcodes(seen.filter(ImageFilter.GaussianBlur(1)))}
    return sum(code in said for code in page.codes)


def distance(wanted: str, found: str) -> int:
    """Levenshtein's."""
    before = list(range(len(found) + 1))
    for n, letter in enumerate(wanted, 1):
        row = [n]
        for m, other in enumerate(found, 1):
            row.append(min(before[m] + 1, row[-1] + 1, before[m - 1] + (letter != other)))
        before = row
    return before[-1]


def _doubled(picture: Image.Image) -> Image.Image:
    grey = picture.convert("L")
    if grey.height < grey.width:
        grey = grey.resize((grey.width, grey.height * 2), Image.Resampling.NEAREST)
    return grey


def _as_seen(picture: Image.Image) -> Image.Image:
    grey = _doubled(picture).filter(ImageFilter.GaussianBlur(0.7))
    return grey.resize((round(WIDE * _DPI / 72), round(HIGH * _DPI / 72)), Image.Resampling.BICUBIC)

"""Letters that our own typeface lacks, drawn as pictures with the typefaces of the system: names and subjects on cover pages.

Which file has which letters is a table of the Noto family and what commonly stands in for it. Where a file is not
installed its letters are missing, as before. Pillow sets the lines (Raqm: right to left, joined letters).

Limits: a line of two scripts is set from left to right, piece by piece.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
_PIXELS = 109  # the one size of the colour emoji; ten times what a fax can show of the others
_EMOJI = "NotoColorEmoji.ttf"
_DARK, _DARK_EMOJI = 150, 215  # tones below are ink
_OF_NO_SCRIPT = frozenset(" ,.;:!?\"'()-/+0123456789")
_CJK = ("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "DroidSansFallbackFull.ttf", "wqy-zenhei.ttc")
_SYMBOLS = ("NotoSansSymbols2-Regular.ttf", "NotoSansSymbols-Regular.ttf", "DejaVuSans.ttf")
_HEBREW = ("LiberationSans-Regular.ttf", "DejaVuSans.ttf", "NotoSansHebrew-Regular.ttf")  # with commas, unlike Noto's
#: First and last letter, and files by preference.
_BLOCKS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0x0530, 0x058F, ("NotoSansArmenian-Regular.ttf", "DejaVuSans.ttf")),
    (0x0590, 0x05FF, _HEBREW),
    (0x0600, 0x077F, ("NotoSansArabic-Regular.ttf", "NotoNaskhArabic-Regular.ttf", "DejaVuSans.ttf")),
    (0x0900, 0x097F, ("NotoSansDevanagari-Regular.ttf",)),
    (0x0980, 0x09FF, ("NotoSansBengali-Regular.ttf",)),
    (0x0A00, 0x0A7F, ("NotoSansGurmukhi-Regular.ttf",)),
    (0x0A80, 0x0AFF, ("NotoSansGujarati-Regular.ttf",)),
    (0x0B80, 0x0BFF, ("NotoSansTamil-Regular.ttf",)),
    (0x0C00, 0x0C7F, ("NotoSansTelugu-Regular.ttf",)),
    (0x0C80, 0x0CFF, ("NotoSansKannada-Regular.ttf",)),
    (0x0D00, 0x0D7F, ("NotoSansMalayalam-Regular.ttf",)),
    (0x0D80, 0x0DFF, ("NotoSansSinhala-Regular.ttf",)),
    (0x0E00, 0x0E7F, ("NotoSansThai-Regular.ttf",)),
    (0x10A0, 0x10FF, ("NotoSansGeorgian-Regular.ttf", "DejaVuSans.ttf")),
    (0x1100, 0x11FF, _CJK),
    (0x1200, 0x139F, ("NotoSansEthiopic-Regular.ttf",)),
    (0x2100, 0x2BFF, (*_SYMBOLS, _EMOJI)),
    (0x2E80, 0xD7FF, _CJK),
    (0xF900, 0xFAFF, _CJK),
    (0xFB1D, 0xFB4F, _HEBREW),
    (0xFE30, 0xFE4F, _CJK),
    (0xFF00, 0xFFEF, _CJK),
    (0x1F000, 0x1FAFF, (_EMOJI, *_SYMBOLS)),
    (0x20000, 0x3FFFF, _CJK),
)


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of a line in one typeface."""

    text: str
    file: str
    """"" for our own typeface."""


def has(letter: str) -> bool:
    """Whether a typeface of the system has it."""
    return bool(_file(letter))


@functools.lru_cache(maxsize=20_000)
def width(letter: str) -> float:
    """How wide it is at a size of 1."""
    return float(_font(_file(letter)).getlength(letter)) / _PIXELS


def runs(line: str, foreign: frozenset[str]) -> Iterator[Run]:
    """The line cut where the typeface changes; what stands between `foreign` letters of one typeface belongs to them, if it
    is of no script: the order of words depends on it."""
    start, file = 0, ""
    between = 0  # such characters at the end of the current piece
    for at, letter in enumerate(line):
        wanted = _file(letter) if letter in foreign else ""
        if wanted == file:
            between = 0
        elif file and letter in _OF_NO_SCRIPT and (letter == " " or _shows(file, letter)):
            between += 1
        else:
            if at - between > start:
                yield Run(line[start : at - between], file)
            start, file, between = at - between, wanted, 0
            if wanted and line[start:at]:
                yield Run(line[start:at], "")
                start = at
    if start < len(line) - between:
        yield Run(line[start : len(line) - between], file)
    if between:
        yield Run(line[len(line) - between :], "")


def picture(run: Run) -> tuple[Image.Image, float, float]:
    """The piece in black on white (mode "1"), its height, and how far it goes below the base line, both at a size of 1."""
    font = _font(run.file)
    left, top, right, bottom = font.getbbox(run.text, anchor="ls")
    box = (max(1, round(right - min(left, 0))), max(1, round(bottom - top)))
    drawn = Image.new("RGB", box, "white")
    ImageDraw.Draw(drawn).text(
        (-min(left, 0), -top), run.text, fill="black", font=font, anchor="ls", embedded_color=run.file == _EMOJI
    )
    dark = _DARK_EMOJI if run.file == _EMOJI else _DARK
    return drawn.convert("L").point([0] * dark + [255] * (256 - dark), "1"), box[1] / _PIXELS, bottom / _PIXELS


@functools.lru_cache(maxsize=20_000)
def _file(letter: str) -> str:
    """The name of the typeface that has the letter; "" for none."""
    code = ord(letter)
    for first, last, files in _BLOCKS:
        if first <= code <= last:
            return next((file for file in files if _shows(file, letter)), "")
    return ""


@functools.lru_cache(maxsize=20_000)
def _shows(file: str, letter: str) -> bool:
    if file not in _installed():
        return False
    font = _font(file)
    mask = font.getmask(letter)
    return mask.getbbox() is not None and bytes(mask) != _unknown(file)


@functools.cache
def _unknown(file: str) -> bytes:
    """What the typeface draws for a letter it has not."""
    return bytes(_font(file).getmask("\U0010fffd"))


@functools.cache
def _font(file: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_installed()[file], _PIXELS)


@functools.cache
def _installed() -> dict[str, str]:
    """Where the files of the table are."""
    wanted = {file for _, _, files in _BLOCKS for file in files}
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for where, _, names in os.walk(folder):
            found |= {name: os.path.join(where, name) for name in wanted.intersection(names)}
    return found

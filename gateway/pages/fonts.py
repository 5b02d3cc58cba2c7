"""The typeface of everything we set ourselves: Noto Sans (Latin, Greek, Cyrillic), embedded into the PDF.

`printable` promises that no visible character vanishes: what the face lacks is spelled out ("→" as "->") or stands as
a replacement mark, and the caller learns which characters those were.

Limits: no shaping and no right-to-left setting; letters of other scripts are drawn as pictures where that is asked for and
the system has a typeface (`scripts`).
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass

import fontpkg
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from gateway.pages import scripts

NAME = "FaxgateSans"
REPLACEMENT = "\ufffd"
_BOLD_STROKE, _SMALL_STROKE = 0.035, 0.02  # line width around bold letters, as a share of their size; the face has one weight
_SMALL = 10.0  # points: a fax of 98 lines an inch closes the gaps of smaller bold letters

_SPELLED = {
    **dict.fromkeys("→⟶➔➜➡", "->"),
    **dict.fromkeys("←⟵⬅", "<-"),
    **dict.fromkeys("⇒➨", "=>"),
    **dict.fromkeys("●■▪◦○◆◼⬤∙", "•"),
    **dict.fromkeys("✓✔☑✅", "[x]"),
    **dict.fromkeys("☐□▢", "[ ]"),
    **dict.fromkeys("★☆⭐", "*"),
    **dict.fromkeys("─━═", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼", "+"),
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "☎": "Tel.",
    "✉": "Mail",
}


@dataclass(frozen=True, slots=True)
class Printable:
    """Text that can be set, and the characters that had to be replaced by a mark."""

    text: str
    missing: tuple[str, ...]

    @property
    def note(self) -> str:
        """For the manifest; "" when nothing is missing."""
        if not self.missing:
            return ""
        shown = " ".join(f"U+{ord(c):04X}" for c in self.missing[:8])
        return f"characters without a glyph were replaced: {shown}{' …' if len(self.missing) > 8 else ''}"


@functools.cache
def face() -> TTFont:
    """The typeface, loaded and known to reportlab."""
    font = TTFont(NAME, str(fontpkg.path("Noto Sans")))
    pdfmetrics.registerFont(font)
    return font


def printable(text: str, *, any_script: bool = False) -> Printable:
    """Every character of `text` in a form the face can show. Line feeds, form feeds and tabs stay.

    With `any_script` letters that a typeface of the system has stay too, and are drawn as pictures.
    """
    glyphs = face().face.charToGlyph
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    if text.isascii() and text.isprintable():
        return Printable(text, ())
    missing: dict[str, None] = {}
    changes: dict[int, str] = {}
    for c in set(text):
        if c in "\n\f\t":
            continue
        category = unicodedata.category(c)
        if category in ("Zl", "Zp"):
            changes[ord(c)] = "\n"
        elif category == "Zs":
            changes[ord(c)] = " " if c != "\u00a0" else c
        elif category == "Cf" or "\ufe00" <= c <= "\ufe0f":
            changes[ord(c)] = ""  # marks of direction, joining and variation: they have no picture of their own
        elif c in _SPELLED and ord(c) not in glyphs:
            changes[ord(c)] = _SPELLED[c]
        elif any_script and ord(c) not in glyphs and scripts.has(c):
            continue
        elif category == "Cc" or ord(c) not in glyphs:
            changes[ord(c)] = REPLACEMENT
            missing[c] = None
    return Printable(text.translate(changes), tuple(sorted(missing)))


def width(text: str, size: float) -> float:
    """How wide `text` is, in points."""
    widths = face().face.charWidths
    return float(sum(widths[ord(c)] if ord(c) in widths else _foreign_width(c) for c in text)) * size / 1000


def _foreign_width(c: str) -> float:
    return scripts.width(c) * 1000 if scripts.has(c) else float(face().face.defaultWidth)


def wrap(line: str, size: float, room: float) -> list[str]:
    """Break one line to fit into `room` points: at spaces, else inside a word. Only the spaces at breaks are left out."""
    if width(line, size) <= room:
        return [line]
    widths = {ord(c): width(c, 1000) for c in set(line)}
    room = room * 1000 / size
    broken: list[str] = []
    start, used, space = 0, 0.0, -1  # the current line, its width, the last space in it
    i = 0
    while i < len(line):
        used += widths[ord(line[i])]
        if line[i] == " ":
            space = i
        elif used > room and i > start:
            at_space = space > start and bool(line[start:space].strip())
            end = space if at_space else i
            broken.append(line[start:end].rstrip(" "))
            start = end
            while at_space and start < i and line[start] == " ":
                start += 1
            used = sum(widths[ord(c)] for c in line[start : i + 1])
            space = -1
        i += 1
    broken.append(line[start:].rstrip(" "))
    return broken


def draw(canvas: Canvas, x: float, y: float, text: str, size: float, *, bold: bool = False) -> None:
    """Set one line with its base line at `y`."""
    glyphs = face().face.charToGlyph
    foreign = frozenset(c for c in text if ord(c) not in glyphs and scripts.has(c))
    for run in scripts.runs(text, foreign) if foreign else (scripts.Run(text, ""),):
        if run.file:
            x += _draw_picture(canvas, x, y, run, size)
        else:
            _draw_own(canvas, x, y, run.text, size, bold)
            x += width(run.text, size) if foreign else 0.0


def _draw_picture(canvas: Canvas, x: float, y: float, run: scripts.Run, size: float) -> float:
    """Returns how wide it is: letters that join or combine take less room than each for itself."""
    picture, height, below = scripts.picture(run)
    across = min(width(run.text, size), picture.width / picture.height * height * size)
    canvas.drawImage(ImageReader(picture), x, y - below * size, across, height * size)
    return across


def _draw_own(canvas: Canvas, x: float, y: float, text: str, size: float, bold: bool) -> None:
    pen = canvas.beginText(x, y)
    pen.setFont(face().fontName, size)
    if bold:
        canvas.saveState()
        canvas.setLineWidth(size * (_BOLD_STROKE if size >= _SMALL else _SMALL_STROKE))
        pen.setTextRenderMode(2)
    pen.textOut(text)
    if bold:
        pen.setTextRenderMode(0)
    canvas.drawText(pen)
    if bold:
        canvas.restoreState()

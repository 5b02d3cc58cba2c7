"""Plain text to pages. Any charset is read; long lines are wrapped, form feeds begin a page, no line is left out."""

from __future__ import annotations

import codecs
import io
import re

from reportlab.pdfgen.canvas import Canvas

from gateway.pages import fonts
from gateway.pages.paper import Paper

SIZE = 10.5
LEADING = 14.0
_TAB = 8
#: Python codecs that are no charsets of mail; some of them are slow or decode to something else than text.
_NOT_CHARSETS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
#: One byte a character: in such a charset nearly every byte string is valid, in UTF-8 hardly any by accident.
_SINGLE_BYTE = re.compile(r"ascii|iso8859|cp125\d|cp437|cp85\d|koi8|mac|latin|tis")
_SAME_BUT_POORER = {"iso8859-1": "cp1252", "ascii": "cp1252"}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(content: bytes, charset: str) -> str:
    """Read bytes as text: by byte-order mark, as UTF-8 where it is UTF-8, as declared, else as Windows-1252. Never fails."""
    declared = _codec(charset)
    order = [name for bom, name in _BOMS if content.startswith(bom)][:1]
    order += [declared, "utf-8"] if declared and not _SINGLE_BYTE.match(declared) else ["utf-8", declared]
    for name in filter(None, order):
        try:
            return content.decode(_SAME_BUT_POORER.get(name, name))
        except (ValueError, LookupError):  # "hex" and its like are codecs of Python too, and no charsets
            continue
    return content.decode("cp1252", "replace")


def pages(text: str, *, first: int, other: int, room: float, size: float = SIZE) -> list[list[str]]:
    """Break `text` into pages of lines. The first page holds `first` lines, the others `other`; `room` is in points."""
    done: list[list[str]] = []
    page: list[str] = []
    for n, sheet in enumerate(text.strip("\n").split("\f")):
        if n and (page or n > 1):
            done.append(page)
            page = []
        for line in sheet.strip("\n").split("\n") if n else sheet.split("\n"):
            for piece in fonts.wrap(line.expandtabs(_TAB).rstrip(), size, room):
                if len(page) >= (other if done else first):
                    done.append(page)
                    page = []
                page.append(piece)
    done.append(page)
    return [page for n, page in enumerate(done) if n == 0 or any(line.strip() for line in page)]


def to_pdf(text: str, paper: Paper) -> bytes:
    """Set text that `fonts.printable` has passed. Returns a PDF on this paper."""
    area = paper.text_area()
    lines = int(area.height // LEADING)
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(paper.width, paper.height), invariant=1, pageCompression=1)
    for page in pages(text, first=lines, other=lines, room=area.width):
        draw_lines(canvas, page, area.left, area.bottom + area.height)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def draw_lines(canvas: Canvas, lines: list[str], left: float, top: float) -> None:
    """Set lines below one another, the first one under `top`."""
    for n, line in enumerate(lines):
        if line:
            fonts.draw(canvas, left, top - SIZE - n * LEADING, line, SIZE)


def _codec(charset: str) -> str:
    """Python's name of a charset; "" when it is none."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):  # a name with a zero byte is a ValueError
        return ""
    return "" if name.replace("-", "_") in _NOT_CHARSETS else name

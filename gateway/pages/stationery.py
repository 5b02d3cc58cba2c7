"""The parts of a cover page, drawn: letterhead, heading, table of facts, frames, logo, flowers.

Everything is black on white and thin, as a fax machine shows it best. Each function takes the y under which it draws and
returns the y under which the next one goes; without a canvas it only measures. Lengths in points, origin bottom left.
"""

from __future__ import annotations

import io
import math
from itertools import zip_longest

from PIL import Image, ImageOps
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from gateway.pages import fonts, raster
from gateway.pages.paper import Box
from gateway.pages.wording import Field, Look

HAIR = 0.75
_LABEL, _SMALLEST = 0.8, 8.5  # size of a label, as a share of its value's; smaller ones run together in bold
_LEAD = 1.28
_MOST_LINES = 6
_PAD = 5.0  # between a line and what stands beside it
_COLUMN_GAP = 18.0
_LOGO_ROOM = (190.0, 64.0)
_LOGO_DOTS = 300 / 72  # a point: finer than a fax, so that edges stay clean when it is made one
_LOGO_PIXELS = 40_000_000


def logo(content: bytes) -> Image.Image:
    """A logo in black and white, at most as large as its place. Raises ValueError when it is no PNG or JPEG."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
            if opened.width * opened.height > _LOGO_PIXELS:
                raise ValueError("it has too many pixels")
            clear = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, SyntaxError) as error:
        raise ValueError("it is not a PNG or JPEG picture") from error
    picture = Image.new("RGBA", clear.size, "white")
    picture.alpha_composite(clear)
    grey = picture.convert("L")
    grey.thumbnail((_LOGO_ROOM[0] * _LOGO_DOTS, _LOGO_ROOM[1] * _LOGO_DOTS), Image.Resampling.LANCZOS)
    threshold = min(230, max(96, raster.otsu(grey.histogram())))
    return grey.point([0] * (threshold + 1) + [255] * (255 - threshold), "1")


def letterhead(canvas: Canvas | None, area: Box, y: float, lines: list[str], picture: Image.Image | None) -> float:
    """The logo on the left, the words on the right, a double line below."""
    if not lines and picture is None:
        return y
    right = area.left + area.width
    width, height = _logo_size(picture)
    room = area.width - width - (_COLUMN_GAP if picture else 0)
    at = y
    for n, line in enumerate(lines):
        size = 15.0 if n == 0 else 10.0
        for piece in _value_lines(line, size, room):
            at -= size * _LEAD
            if canvas is not None:
                fonts.draw(canvas, right - fonts.width(piece, size), at + size * 0.25, piece, size, bold=n == 0)
    if canvas is not None and picture is not None:
        _draw_logo(canvas, picture, area.left, y - height)
    y = min(at, y - height) - 8
    if canvas is not None:
        _rule(canvas, area, y, 1.5)
        _rule(canvas, area, y - 3, 0.5)
    return y - 14


def heading(canvas: Canvas | None, area: Box, y: float, words: str, look: Look, picture: Image.Image | None) -> float:
    """The heading, a logo in the corner it leaves free, or above where it leaves none, and the line below."""
    right = area.left + area.width
    width, height = _logo_size(picture)
    size = look.heading * min(1.0, area.width / max(1.0, fonts.width(words, look.heading) * 1.02))
    spare = area.width - fonts.width(words, size)
    shift = {"left": 0.0, "center": spare / 2, "right": spare}[look.align]
    beside = width + _COLUMN_GAP <= max(shift, spare - shift)
    tall = size * 1.1 if words else 0.0
    if picture is not None:
        if canvas is not None:
            _draw_logo(canvas, picture, area.left if look.align == "right" else right - width, y - height)
        if beside or not words:
            tall = max(tall, height + 4)
        else:
            y -= height + 4
    if not tall:
        return y
    if canvas is not None:
        fonts.draw(canvas, area.left + shift, y - tall + size * 0.3, words, size, bold=True)
        if look.rule:
            _rule(canvas, area, y - tall - 3, look.rule)
    return y - tall - 8 - look.rule


def table(canvas: Canvas | None, area: Box, y: float, fields: list[Field], look: Look) -> float:
    """The facts, in one column or two."""
    has_two = any(field.place == "right" for field in fields)
    gap = (0.0 if look.lines == "boxes" else _COLUMN_GAP) if has_two else 0.0
    half = (area.width - gap) / 2 if has_two else area.width
    columns = (area.left, area.left + half + gap)
    label_room = _label_room(fields, look, half)
    for row in _rows(fields):
        cells = [
            (columns[n], area.width if field and field.place == "wide" else half, field)
            for n, field in enumerate(row[: 2 if has_two else 1])
        ]
        tall = max(_cell(None, x, y, width, field, look, label_room) for x, width, field in cells if field)
        for x, width, field in cells:
            if canvas is not None and field:
                _cell(canvas, x, y, width, field, look, label_room)
            if canvas is not None and look.lines == "boxes" and not (row[0] and row[0].place == "wide" and field is None):
                canvas.setLineWidth(HAIR)
                canvas.rect(x, y - tall, width, tall)
        y -= tall
        if canvas is not None and look.lines == "rules":
            _rule(canvas, area, y, HAIR)
    return y - 12


def framed(canvas: Canvas, box: Box) -> None:
    canvas.setLineWidth(1.0)
    canvas.rect(box.left, box.bottom, box.width, box.height)


def note(canvas: Canvas | None, area: Box, bottom: float, words: Field | None) -> float:
    """The note in its frame above `bottom`. Returns its upper edge."""
    if words is None:
        return bottom
    size, lead = 8.5, 11.0
    lines = fonts.wrap(words.value, size, area.width - 2 * _PAD - 4)[:12]
    tall = (len(lines) + bool(words.label)) * lead + 2 * _PAD
    if canvas is not None:
        framed(canvas, Box(area.left, bottom, area.width, tall))
        y = bottom + tall - _PAD - size
        if words.label:
            fonts.draw(canvas, area.left + _PAD + 2, y, words.label, size, bold=True)
            y -= lead
        for n, line in enumerate(lines):
            fonts.draw(canvas, area.left + _PAD + 2, y - n * lead, line, size)
    return bottom + tall + 8


def footer(canvas: Canvas, area: Box, words: list[str]) -> None:
    """Small, at the foot of the page, under a line."""
    _rule(canvas, area, area.bottom + 14, HAIR)
    for n, piece in enumerate(fonts.wrap(" · ".join(words), 8.0, area.width)[:3]):
        fonts.draw(canvas, area.left, area.bottom + 3 - n * 10, piece, 8.0)


def flowers(canvas: Canvas, x: float, bottom: float, top: float) -> None:
    """A garland around the upright line at `x`: a waving stem, leaves on both sides, a flower at each turn."""
    wave, step = 11.0, 66.0
    turns = max(2, int((top - bottom) / step))
    step = (top - bottom) / turns
    canvas.saveState()
    canvas.setLineWidth(1.1)
    canvas.setFillGray(1)
    for n in range(turns):
        y, side = bottom + n * step, 1 if n % 2 else -1
        canvas.bezier(x, y, x + side * wave * 1.6, y + step / 3, x + side * wave * 1.6, y + step * 2 / 3, x, y + step)
        for share, turn in ((0.22, 0.5), (0.78, -0.5)):
            reach = side * wave * 1.2 * math.sin(math.pi * share)
            _leaf(canvas, x + reach, y + step * share, math.pi / 2 - side * (math.pi / 2 - turn), 17.0)
    for n in range(turns):
        side = 1 if n % 2 else -1
        _flower(canvas, x + side * wave * 1.2, bottom + (n + 0.5) * step, 12.5 if n % 2 else 10.0, 6 if n % 2 else 5)
    canvas.restoreState()


def _flower(canvas: Canvas, x: float, y: float, size: float, petals: int) -> None:
    for n in range(petals):
        angle = 2 * math.pi * n / petals + 0.3
        canvas.circle(x + math.cos(angle) * size * 0.62, y + math.sin(angle) * size * 0.62, size * 0.42, fill=1)
    canvas.circle(x, y, size * 0.34, fill=1)
    canvas.circle(x, y, size * 0.12, fill=1)


def _leaf(canvas: Canvas, x: float, y: float, angle: float, length: float) -> None:
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))

    def at(far: float, wide: float) -> tuple[float, float]:
        return (
            x + length * (far * along[0] + wide * across[0]),
            y + length * (far * along[1] + wide * across[1]),
        )

    path = canvas.beginPath()
    path.moveTo(x, y)
    path.curveTo(*at(0.35, 0.33), *at(0.75, 0.25), *at(1, 0))
    path.curveTo(*at(0.75, -0.25), *at(0.35, -0.33), x, y)
    canvas.drawPath(path, fill=1)
    canvas.line(x, y, *at(0.7, 0))


def _rows(fields: list[Field]) -> list[tuple[Field | None, Field | None]]:
    """Left and right column side by side; a wide one ends the rows before it."""
    rows: list[tuple[Field | None, Field | None]] = []
    left: list[Field] = []
    right: list[Field] = []
    for field in fields:
        if field.place == "wide":
            rows += [*zip_longest(left, right), (field, None)]
            left, right = [], []
        else:
            (right if field.place == "right" else left).append(field)
    return [*rows, *zip_longest(left, right)]


def _label_room(fields: list[Field], look: Look, width: float) -> float:
    """Width of the column of labels; 0 where they stand above their values."""
    if look.labels == "above":
        return 0.0
    widest = max((fonts.width(field.label, _label_size(look)) for field in fields), default=0.0)
    return min(widest + 14, width * 0.45)


def _label_size(look: Look) -> float:
    return max(_SMALLEST, look.size * _LABEL)


def _cell(canvas: Canvas | None, x: float, y: float, width: float, field: Field, look: Look, label_room: float) -> float:
    """One fact; returns its height."""
    pad = _PAD if look.lines == "boxes" else 0.0
    above = _PAD * (0.4 if look.lines == "none" else 0.8)
    label, lead = _label_size(look), look.size * _LEAD
    lines = _value_lines(field.value, look.size, width - 2 * pad - label_room)
    if canvas is not None:
        first = y - above - look.size
        if label_room:
            fonts.draw(canvas, x + pad, first, field.label, label, bold=True)
        else:
            fonts.draw(canvas, x + pad, y - above - label * 0.9, field.label, label, bold=True)
            first -= label * _LEAD
        for n, line in enumerate(lines):
            fonts.draw(canvas, x + pad + label_room, first - n * lead, line, look.size)
    return 2 * above + len(lines) * lead + (0.0 if label_room else label * _LEAD)


def _value_lines(value: str, size: float, room: float) -> list[str]:
    lines = fonts.wrap(value, size, room)
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], lines[_MOST_LINES - 1].rstrip()[:-1] + "…"]
    return lines


def _rule(canvas: Canvas, area: Box, y: float, thickness: float) -> None:
    canvas.setLineWidth(thickness)
    canvas.line(area.left, y, area.left + area.width, y)


def _logo_size(picture: Image.Image | None) -> tuple[float, float]:
    return (picture.width / _LOGO_DOTS, picture.height / _LOGO_DOTS) if picture else (0.0, 0.0)


def _draw_logo(canvas: Canvas, picture: Image.Image, x: float, y: float) -> None:
    width, height = _logo_size(picture)
    canvas.drawImage(ImageReader(picture), x, y, width, height)

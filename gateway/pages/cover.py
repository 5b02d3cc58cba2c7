"""The cover page: who faxes whom, about what, when, how many pages, and the message. Wording: `templates/cover/cover.txt`.

The message begins on the cover page and goes on over as many pages as it needs. The page count on the cover includes
these and everything after them, so a cover is laid out first (`Layout.count`) and drawn when the total is known.
"""

from __future__ import annotations

import functools
import io
import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from reportlab.pdfgen.canvas import Canvas

from gateway.pages import fonts, text
from gateway.pages.assemble import Cover
from gateway.pages.paper import MARGIN, Paper
from gateway.templates import Templates, built_in

TEMPLATE = "cover/cover.txt"
NAMED = ("flowers", "message", "simple")
"""Others that a caller may ask for."""

_HEADING = 38.0
_LABEL, _VALUE, _VALUE_LEADING = 10.0, 12.5, 16.0
_LABEL_ROOM = 92.0
_MOST_VALUE_LINES = 6
_LABEL_GAP = 10.0  # between the label over the message and its first line
_ROW_GAP = 7.0
_FOOTER = 8.0
_FOOTER_ROOM = 30.0


class BadTemplate(ValueError):
    """The operator's cover template has a line nobody understands."""


@dataclass(slots=True)
class Wording:
    """The filled-in template."""

    heading: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    message: str = ""
    continued: str = ""
    footer: list[str] = field(default_factory=list)
    flowers: bool = False


@dataclass(slots=True)
class Layout:
    """A cover page with its message broken into pages; drawn once the total is known."""

    cover: Cover
    paper: Paper
    templates: tuple[Path, ...]
    pages: list[list[str]] = field(default_factory=list)
    note: str = ""
    """Characters that could not be shown; for the manifest."""

    @property
    def count(self) -> int:
        """Pages of the cover and its message."""
        return len(self.pages)

    def draw(self, total: int) -> bytes:
        """The pages as PDF; `total` is the page count of the whole fax."""
        wording = words(self.cover, total, self.templates)
        out = io.BytesIO()
        canvas = Canvas(out, pagesize=(self.paper.width, self.paper.height), invariant=1, pageCompression=1)
        canvas.setTitle("Fax")
        for number, lines in enumerate(self.pages):
            top = _draw_head(canvas, self.paper, wording) if number == 0 else _top(self.paper)
            label = wording.message if number == 0 else wording.continued
            if lines:
                fonts.draw(canvas, MARGIN, top - _LABEL, label, _LABEL, bold=True)
                text.draw_lines(canvas, lines, MARGIN, top - _LABEL - _LABEL_GAP)
            _draw_footer(canvas, self.paper, wording)
            canvas.showPage()
        canvas.save()
        return out.getvalue()


def lay_out(cover: Cover, message: str, paper: Paper, templates: tuple[Path, ...]) -> Layout:
    """Break the message into pages behind the fields of the cover."""
    shown = fonts.printable(message)
    names = fonts.printable("".join((cover.to_name, cover.organisation, cover.from_name, cover.from_address, cover.subject)))
    layout = Layout(cover, paper, templates, note=fonts.Printable("", tuple(sorted({*shown.missing, *names.missing}))).note)
    wording = words(cover, 8888, templates)  # as wide as a total gets: the real one never needs more lines
    room = _top(paper) - (MARGIN + _FOOTER_ROOM) - _LABEL - _LABEL_GAP
    first = room - (_top(paper) - _head_bottom(paper, wording))
    layout.pages = [[]]
    if shown.text.strip():
        layout.pages = text.pages(
            shown.text, first=max(0, int(first // text.LEADING)), other=int(room // text.LEADING), room=paper.width - 2 * MARGIN
        )
    return layout


def words(cover: Cover, total: int, templates: tuple[Path, ...]) -> Wording:
    """Fill in the template. Raises BadTemplate."""
    values = {
        name: one_line(getattr(cover, name))
        for name in ("to_name", "to_number", "organisation", "from_name", "from_address", "subject", "reference", "contact")
    }
    template = f"cover/{cover.template}.txt" if cover.template in NAMED else TEMPLATE
    filled = _templates(templates[0] if templates and templates[0] != built_in() else None).render(
        template, **values, pages=total, when=cover.date, date=date_in_words(cover.date)
    )
    wording = Wording()
    for line in filter(None, (line.strip() for line in filled.splitlines())):
        kind, _, rest = line.partition(" ")
        rest = rest.strip()
        match kind:
            case "heading":
                wording.heading = rest
            case "flowers":
                wording.flowers = True
            case "message":
                wording.message = rest
            case "continued":
                wording.continued = rest
            case "footer":
                wording.footer.append(rest)
            case "field":
                label, _, value = rest.partition("|")
                wording.fields.append((label.strip(), value.strip()))
            case _:
                raise BadTemplate(f"{template}: a line begins with {kind!r}")
    return wording


@functools.cache
def _templates(operators: Path | None) -> Templates:
    """Kept, with what it has compiled: the built-in wording is then ready before the first job."""
    return Templates(operators)


def one_line(value: str) -> str:
    """A value as it may stand in a line of the template: printable, and unable to begin a line of its own."""
    return " ".join(fonts.printable(value).text.split())


def date_in_words(date: datetime) -> str:
    """E.g. "22 November 2026, 15:04 CET (UTC+01:00)"."""
    offset = date.strftime("%z")
    zone = f"UTC{offset[:3]}:{offset[3:5]}" if offset.strip("+-0") else "UTC"
    name = date.tzname() or zone
    named = name.isalpha() and name != "UTC"
    return f"{date.day} {date.strftime('%B %Y, %H:%M')} {f'{name} ({zone})' if named else zone}"


def _top(paper: Paper) -> float:
    return paper.height - MARGIN


def _head_bottom(paper: Paper, wording: Wording) -> float:
    """Where the message part begins, under the table of fields."""
    rows = sum(len(_value_lines(paper, value)) * _VALUE_LEADING + _ROW_GAP for _, value in wording.fields)
    return _top(paper) - _HEADING - 14 - rows - 12


def _value_lines(paper: Paper, value: str) -> list[str]:
    lines = fonts.wrap(value, _VALUE, paper.width - 2 * MARGIN - _LABEL_ROOM - 6)
    if len(lines) > _MOST_VALUE_LINES:
        lines = [*lines[: _MOST_VALUE_LINES - 1], lines[_MOST_VALUE_LINES - 1].rstrip()[:-1] + "…"]
    return lines


def _draw_head(canvas: Canvas, paper: Paper, wording: Wording) -> float:
    """Heading and table. Returns where the message part begins."""
    right = paper.width - MARGIN
    y = _top(paper) - _HEADING * 0.78
    fonts.draw(canvas, MARGIN - 2, y, wording.heading, _HEADING, bold=True)
    if wording.flowers:
        _draw_flowers(canvas, right, y)
    y -= 14
    canvas.setLineWidth(2.5)
    canvas.line(MARGIN, y, right, y)
    canvas.setLineWidth(0.75)
    y = _top(paper) - _HEADING - 14
    for label, value in wording.fields:
        fonts.draw(canvas, MARGIN, y - _VALUE - 1, label, _LABEL, bold=True)
        for line in _value_lines(paper, value):
            fonts.draw(canvas, MARGIN + _LABEL_ROOM, y - _VALUE - 1, line, _VALUE)
            y -= _VALUE_LEADING
        y -= _ROW_GAP
        canvas.line(MARGIN, y + 2, right, y + 2)
    return _head_bottom(paper, wording)


def _draw_flowers(canvas: Canvas, right: float, y: float) -> None:
    """Three of them, beside the heading: outlines, which a fax machine prints well."""
    canvas.setLineWidth(1.0)
    for n in range(3):
        x = right - 20 - n * 42
        for petal in range(6):
            turn = math.pi * petal / 3
            canvas.circle(x + 9 * math.cos(turn), y + 12 + 9 * math.sin(turn), 6, stroke=1, fill=0)
        canvas.circle(x, y + 12, 4, stroke=1, fill=1)


def _draw_footer(canvas: Canvas, paper: Paper, wording: Wording) -> None:
    canvas.setLineWidth(0.75)
    canvas.line(MARGIN, MARGIN + 14, paper.width - MARGIN, MARGIN + 14)
    line = " · ".join(wording.footer)
    for n, piece in enumerate(fonts.wrap(line, _FOOTER, paper.width - 2 * MARGIN)[:3]):
        fonts.draw(canvas, MARGIN, MARGIN + 3 - n * 10, piece, _FOOTER)

"""The cover page: who faxes whom, about what, when, how many pages, and the message.

The message begins on the cover page and goes on over as many pages as it needs. The page count on the cover includes
these and everything after them, so a cover is laid out first (`Layout.count`) and drawn when the total is known.
What it says comes from a template (`wording`), how its parts are drawn is in `stationery`.

A message with placeholders has the facts of the fax where it says `{ToName}`, `{FaxNumber}`, `{FromName}` and `{Date}`, and
`{Page}` and `{Pages}` when the total is known. Braces that say anything else stay as they are.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from gateway.errors import BadDocument
from gateway.pages import fonts, stationery, text, wording
from gateway.pages.assemble import Cover
from gateway.pages.paper import MARGIN, PAPERS, Box, Paper
from gateway.pages.wording import BadTemplate, Wording

_LABEL = 10.0  # size of the label over the message
_LABEL_GAP = 8.0  # between it and the first line
_FOOTER_ROOM = 26.0
_FRAME = 9.0  # between a frame and the message in it
_GARLAND = 46.0  # room for the flowers on the left
_LEAST = 4  # lines of the message that must fit on the cover, if it is to begin there
_PLACEHOLDER = re.compile(r"\{(ToName|FaxNumber|FromName|Date)\}")
_WIDEST_TOTAL = 8888  # as wide as a total gets: the real one never needs more lines

SAMPLE = Cover(
    to_name="Dr. Ann Example",
    to_number="+1 415-555-2671",
    organisation="Example Hospital",
    from_name="Bob Sender",
    from_address="bob@sender.example",
    subject="Your order of 20 November",
    date=datetime(2026, 11, 22, 15, 4, tzinfo=UTC),
    reference="tx_01jabcdefghjkmnpqrstvwxyz0",
    contact="fax-admin@example.com",
    from_organisation="Sender & Sons Ltd",
    from_phone="+1 415-555-0100",
    confidential="This fax is meant for the person named above only. If you got it by mistake, please call us.",
)  #: for previews, and to try a template


@dataclass(slots=True)
class Layout:
    """A cover page with its message broken into pages; drawn once the total is known."""

    cover: Cover
    paper: Paper
    templates: tuple[Path, ...]
    languages: tuple[str, ...]
    logo: Image.Image | None
    pages: list[list[str]] = field(default_factory=list)
    note: str = ""
    """Characters that could not be shown; for the manifest."""

    @property
    def count(self) -> int:
        """Pages of the cover and its message."""
        return len(self.pages)

    def draw(self, total: int) -> bytes:
        """The pages as PDF; `total` is the page count of the whole fax."""
        said = wording.fill(self.cover, total, self.templates, self.languages)
        out = io.BytesIO()
        canvas = Canvas(out, pagesize=(self.paper.width, self.paper.height), invariant=1, pageCompression=1)
        canvas.setTitle("Fax")
        for number, lines in enumerate(self.pages):
            area = _area(self.paper, said, first=number == 0)
            room = area
            if number == 0:
                if said.look.ornament == "flowers":
                    stationery.flowers(canvas, MARGIN + 8, area.bottom, area.bottom + area.height)
                room = _room(canvas, said, area, self.logo)
            if lines:
                if self.cover.placeholders:
                    lines = [line.replace("{Page}", str(number + 1)).replace("{Pages}", str(total)) for line in lines]
                _draw_message(canvas, said, room, lines, said.message if number == 0 else said.continued)
            stationery.footer(canvas, area, said.footer)
            canvas.showPage()
        canvas.save()
        return out.getvalue()


def lay_out(cover: Cover, message: str, paper: Paper, templates: tuple[Path, ...], languages: tuple[str, ...] = ()) -> Layout:
    """Break the message into pages behind the facts of the cover. Raises BadTemplate, BadDocument."""
    if cover.placeholders:
        message = _filled(message, cover, wording.words(templates, languages))
    shown = fonts.printable(message, any_script=True)
    facts = (cover.to_name, cover.organisation, cover.from_name, cover.from_address, cover.subject, cover.from_organisation)
    missing = fonts.Printable("", tuple(sorted({*shown.missing, *fonts.printable("".join(facts), any_script=True).missing})))
    layout = Layout(cover, paper, templates, languages, _logo(cover), note=missing.note)
    said = wording.fill(cover, _WIDEST_TOTAL, templates, languages)
    layout.pages = [[]]
    if shown.text.strip():
        first = _room(None, said, _area(paper, said, first=True), layout.logo)
        other = _area(paper, said, first=False)
        fitting = _lines(said, first, said.message)
        layout.pages = text.pages(
            shown.text,
            first=fitting if fitting >= _LEAST else 0,
            other=_lines(said, other, said.continued),
            room=min(first.width, other.width) - _inset(said) * 2,
            size=said.look.text,
        )
    return layout


def _filled(message: str, cover: Cover, words: Mapping[str, str]) -> str:
    facts = {
        "ToName": cover.to_name,
        "FaxNumber": cover.to_number,
        "FromName": cover.from_name,
        "Date": wording.date_in_words(cover.date, words),
    }
    return _PLACEHOLDER.sub(lambda found: wording.one_line(facts[found[1]]), message)


def problem(templates: Sequence[Path], template: str = "", language: str = wording.ENGLISH, picture: bytes = b"") -> str:
    """What is wrong with a cover page, its language or its logo; without `template`, with any of them. "" for nothing."""
    folders = tuple(templates)
    try:
        for name in [template] if template else wording.names(folders):
            for sample in (SAMPLE, replace(SAMPLE, to_name="", organisation="", from_phone="", contact="", subject="x" * 900)):
                lay_out(replace(sample, template=name), "A message.", PAPERS["letter"], folders, (language,)).draw(2)
        if not wording.speaks(folders, language):
            return f'there are no words for the language "{language}"'
        if picture:
            stationery.logo(picture)
    except BadDocument as error:
        return error.text
    except (BadTemplate, jinja2.TemplateError, UnicodeDecodeError) as error:
        return str(error)
    except ValueError as error:
        return f"the logo cannot be used: {error}"
    return ""


def _logo(cover: Cover) -> Image.Image | None:
    return stationery.logo(cover.logo) if cover.logo else None


def _area(paper: Paper, said: Wording, *, first: bool) -> Box:
    """Where everything of a page goes."""
    left = MARGIN + (_GARLAND if first and said.look.ornament == "flowers" else 0)
    return Box(left, MARGIN, paper.width - MARGIN - left, paper.height - 2 * MARGIN)


def _room(canvas: Canvas | None, said: Wording, area: Box, logo: Image.Image | None) -> Box:
    """Draw everything but the message and the footer; the room that is left for the message."""
    look = said.look
    in_letterhead = bool(said.letterhead) and look.logo == "left"
    y = area.bottom + area.height
    if said.letterhead:
        y = stationery.letterhead(canvas, area, y, said.letterhead, logo if in_letterhead else None)
    in_heading = logo if logo is not None and look.logo != "none" and not in_letterhead else None
    y = stationery.heading(canvas, area, y, said.heading, look, in_heading)
    y = stationery.table(canvas, area, y, said.fields, look)
    bottom = stationery.note(canvas, area, area.bottom + _FOOTER_ROOM, said.note)
    return Box(area.left, bottom, area.width, y - bottom)


def _inset(said: Wording) -> float:
    return _FRAME if said.look.message == "framed" else 0.0


def _lead(said: Wording) -> float:
    return said.look.text * text.LEADING / text.SIZE


def _lines(said: Wording, room: Box, label: str) -> int:
    """How many lines of the message fit."""
    footer = _FOOTER_ROOM if room.bottom <= MARGIN else 0.0
    height = room.height - footer - 2 * _inset(said) - (_LABEL + _LABEL_GAP if label else 0)
    return max(0, int(height // _lead(said)))


def _draw_message(canvas: Canvas, said: Wording, room: Box, lines: list[str], label: str) -> None:
    top, inset, size = room.bottom + room.height, _inset(said), said.look.text
    if label:
        fonts.draw(canvas, room.left, top - _LABEL, label, _LABEL, bold=True)
        top -= _LABEL + _LABEL_GAP
    if inset:
        bottom = max(room.bottom, MARGIN + _FOOTER_ROOM)
        stationery.framed(canvas, Box(room.left, bottom, room.width, top - bottom))
        top -= inset
    for n, line in enumerate(lines):
        if line:
            fonts.draw(canvas, room.left + inset, top - size - n * _lead(said), line, size)

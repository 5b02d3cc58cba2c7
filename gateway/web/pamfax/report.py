"""The transmission report: one page that says what became of one fax, as PDF."""

from __future__ import annotations

import io
from zoneinfo import ZoneInfo

from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from gateway.number import FaxNumber
from gateway.pages import fonts
from gateway.pages.paper import MARGIN, PAPERS
from gateway.report import facts
from gateway.spool.queries import Case

_HEADING, _SIZE, _LEADING, _LABEL = 22.0, 10.5, 18.0, 130.0
_MOST_ATTEMPTS = 25
_PICTURE = 320.0  # points, at most


def drawn(case: Case, zone: ZoneInfo, paper: str, picture: bytes | None = None) -> bytes:
    """The page; `picture` is the fax's first one, as PNG."""
    size, out = PAPERS[paper], io.BytesIO()
    canvas = Canvas(out, pagesize=(size.width, size.height), invariant=1)
    canvas.setTitle("Transmission report")
    y = size.height - MARGIN - _HEADING
    fonts.draw(canvas, MARGIN, y, "Transmission report", _HEADING, bold=True)
    y -= 2 * _LEADING
    for label, value in _rows(case, zone):
        fonts.draw(canvas, MARGIN, y, label, _SIZE, bold=True)
        fonts.draw(canvas, MARGIN + _LABEL, y, fonts.printable(value).text[:90], _SIZE, bold=False)
        y -= _LEADING
    if picture and y > 2 * MARGIN:
        shown, height = ImageReader(io.BytesIO(picture)), min(_PICTURE, y - MARGIN)
        width = height * shown.getSize()[0] / shown.getSize()[1]
        canvas.drawImage(shown, MARGIN, y - height, width, height)
        canvas.rect(MARGIN, y - height, width, height)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def _rows(case: Case, zone: ZoneInfo) -> list[tuple[str, str]]:
    fax = case.transmission
    rows = [
        ("Fax", fax.id),
        ("To", FaxNumber(fax.number).readable),
        ("From", FaxNumber(fax.caller).readable if fax.caller else ""),
        ("Accepted", facts.moment(fax.accepted_at, zone)),
        ("Ended", facts.moment(fax.finished_at, zone) if fax.finished_at else ""),
        ("Result", facts.short(fax.outcome) if fax.outcome else fax.state.value),
        ("Pages", f"{fax.pages_sent} of {fax.pages} confirmed"),
    ]
    for attempt in case.attempts[-_MOST_ATTEMPTS:]:
        ended = facts.short(attempt.outcome) if attempt.outcome else attempt.state.value
        rows.append((f"Attempt {attempt.n}", f"{facts.moment(attempt.opened_at, zone)}: {ended}"))
    return rows

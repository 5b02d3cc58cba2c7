"""Sheets of paper and the places on them. Lengths are points, 1/72 inch; the origin is at the bottom left, as in PDF."""

from __future__ import annotations

from dataclasses import dataclass

MM = 72 / 25.4
MARGIN = 54.0  #: left, right and bottom edge of our own text
HEADER = 22.0  #: strip at the top that belongs to the fax header line, and is left free on every page that has one


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    left: float
    bottom: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Paper:
    """One size of sheet, upright."""

    width: float
    height: float

    def area(self, *, header: bool) -> Box:
        """Where foreign pages go: the whole sheet, less the header strip where there is a header line."""
        return Box(0, 0, self.width, self.height - (HEADER if header else 0))

    def text_area(self) -> Box:
        """Where our own text goes."""
        return Box(MARGIN, MARGIN, self.width - 2 * MARGIN, self.height - 2 * MARGIN)


PAPERS = {"letter": Paper(612.0, 792.0), "a4": Paper(210 * MM, 297 * MM)}

"""Fax pages as files: what a fax machine prints."""

from __future__ import annotations

from pathlib import Path

from pypdf import PdfWriter

from gateway.pages import image, raster
from gateway.pages.paper import Box


def as_printed(source: Path, out: Path) -> int:
    """Write `source` (a PDF) to `out` as a fax machine would print it: black and white, 204 by 196 dots an inch.

    Returns the number of pages. The same source gives the same bytes. Raises BadDocument.
    """
    writer = PdfWriter()
    count = 0
    for page in raster.fax_pages(source):
        image.add_page(writer, page.bitmap.picture(), (page.width, page.height), Box(0, 0, page.width, page.height))
        count += 1
    with out.open("wb") as file:
        writer.write(file)
    return count

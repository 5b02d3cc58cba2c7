"""Fax pages as files: what a fax machine prints, and received faxes as PDF."""

from __future__ import annotations

import io
from pathlib import Path

import pypdfium2
from pypdf import PdfReader, PdfWriter

from gateway.errors import BadDocument
from gateway.pages import fonts, image, raster, sniff, text
from gateway.pages.paper import PAPERS, Box, Paper
from gateway.pages.parts import BROKEN

_MOST_PAGES = 5000


def as_printed(source: Path, out: Path) -> int:
    """Write `source` (a PDF) to `out` as a fax machine would print it: black and white, 204 by 196 dots an inch.

    Returns the number of pages. The same source gives the same bytes. Raises BadDocument.
    """
    writer = PdfWriter()
    count = 0
    for picture, (width, height) in raster.fax_pages(source):
        image.add_page(writer, picture, (width, height), Box(0, 0, width, height))
        count += 1
    with out.open("wb") as file:
        writer.write(file)
    return count


def inbound_to_pdf(data: bytes) -> tuple[bytes, int]:
    """A received fax as PDF, and its pages. Real PDF stays as it is; TIFF keeps every pixel. Raises BadDocument."""
    kind = sniff.kind(data)
    if kind == "pdf":
        try:
            with pypdfium2.PdfDocument(data) as document:
                if not len(document):
                    raise BadDocument("the received fax has no pages", reply=BROKEN)
                document[0].close()
                return data, len(document)
        except pypdfium2.PdfiumError as broken:
            raise BadDocument("the received fax is a broken PDF", reply=BROKEN) from broken
    if kind == "tiff":
        return _from_tiff(data)
    raise BadDocument("the received fax is neither PDF nor TIFF", reply=BROKEN)


def _from_tiff(data: bytes) -> tuple[bytes, int]:
    """A line can damage one page of many: what can be read is kept, and the rest is said on a page of its own."""
    writer = PdfWriter()
    pages = 0
    try:
        for frame in image.frames(data, "the received fax"):
            if pages >= _MOST_PAGES:
                raise BadDocument("the received fax has too many pages", reply=BROKEN)
            size = (frame.width, frame.height)
            image.add_page(writer, frame.picture, size, Box(0, 0, *size), is_photo=frame.is_photo)
            pages += 1
    except image.PILLOW_ERRORS as broken:
        if not pages:
            raise BadDocument("the received fax is a broken TIFF", reply=BROKEN) from broken
        pages += 1
        _say_broken(writer, pages)
    if not pages:
        raise BadDocument("the received fax has no pages", reply=BROKEN)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue(), pages


def _say_broken(writer: PdfWriter, page: int) -> None:
    last = writer.pages[-1].mediabox
    paper = Paper(max(float(last.width), PAPERS["letter"].width), max(float(last.height), PAPERS["letter"].height))
    words = fonts.printable(
        f"Page {page} of this fax was damaged on the way.\nIt and any page after it could not be read."
    ).text
    writer.append(PdfReader(io.BytesIO(text.to_pdf(words, paper))))

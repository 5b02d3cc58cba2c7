"""A fax as the far end prints it: PDF, TIFF and pictures of its pages, and how long each takes on the wire.

The same source gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from pypdf import PdfWriter
from pypdf.errors import PyPdfError
from pypdf.generic import DictionaryObject, NameObject, NumberObject, StreamObject

from gateway.errors import BadDocument
from gateway.pages import raster, wire
from gateway.pages.assemble import Measure, Print
from gateway.pages.raster import FaxPage


def as_printed(source: Path, out: Path, *, fine: bool = True) -> int:
    """Write `source` (a PDF) to `out` in black and white, 204 by 196 dots an inch, or by 98.

    Returns the number of pages. Raises BadDocument.
    """
    writer = PdfWriter()
    for page in raster.fax_pages(source, fine=fine):
        _add(writer, page, wire.mmr(page.bitmap))
    with out.open("wb") as file:
        writer.write(file)
    return len(writer.pages)


def as_tiff(source: Path, out: Path, fine: bool = True) -> int:
    """The same pages as a TIFF of profile F with MMR. What `as_printed` wrote so finely keeps every dot.

    Returns the number of pages. Raises BadDocument.
    """
    bitmaps = [page.bitmap for page in raster.fax_pages(source, fine=fine)]
    out.write_bytes(wire.profile_f(bitmaps))
    return len(bitmaps)


def profile_s(source: Path) -> bytes:
    """The pages as a TIFF of profile S, which any fax program reads: 1728 dots wide, each in the resolution it needs."""
    return wire.profile_s([page.bitmap for page in raster.fax_pages(source, fine=None)])


def some(source: Path, out: Path, first: int, last: int) -> int:
    """Write the pages `first` to `last` (from 1) of `source`, a fax of ours, to `out` as they are.

    Returns their number. Raises BadDocument: it has fewer, or cannot be read.
    """
    writer = PdfWriter()
    try:
        writer.append(str(source), pages=(first - 1, last), import_outline=False)
    except (PyPdfError, ValueError, IndexError) as error:
        raise BadDocument("The pages of the earlier fax cannot be read.") from error
    if len(writer.pages) != last - first + 1:
        raise BadDocument("The earlier fax has fewer pages.")
    with out.open("wb") as file:
        writer.write(file)
    return len(writer.pages)


def render(order: Print) -> tuple[Measure, ...]:
    """Write everything into the folder; the TIFF is of profile S, which any fax program reads. Raises BadDocument."""
    writer = PdfWriter()
    bitmaps, measures = [], []
    for page in raster.fax_pages(order.source, fine=order.fine):
        mmr = wire.mmr(page.bitmap)
        _add(writer, page, mmr)
        bitmaps.append(page.bitmap)
        measures.append((page.bitmap.height, page.bitmap.lines_per_inch, len(mmr), len(wire.mh(page.bitmap))))
        page.bitmap.picture().save(order.out / f"page-{len(bitmaps):03}.png", dpi=(204, page.bitmap.lines_per_inch))
    with (order.out / "printed.pdf").open("wb") as file:
        writer.write(file)
    (order.out / "printed.tif").write_bytes(wire.profile_s(bitmaps))
    return tuple(measures)


def _add(writer: PdfWriter, page: FaxPage, mmr: bytes) -> None:
    """A page that is one picture, coded as it goes over the wire."""
    sheet = writer.add_blank_page(page.width, page.height)
    picture = StreamObject()
    picture.set_data(mmr)
    width, height = NumberObject(page.bitmap.width), NumberObject(page.bitmap.height)
    parameters = {NameObject("/K"): NumberObject(-1), NameObject("/Columns"): width, NameObject("/Rows"): height}
    picture.update(
        {
            NameObject("/Type"): NameObject("/XObject"),
            NameObject("/Subtype"): NameObject("/Image"),
            NameObject("/ColorSpace"): NameObject("/DeviceGray"),
            NameObject("/BitsPerComponent"): NumberObject(1),
            NameObject("/Width"): width,
            NameObject("/Height"): height,
            NameObject("/Filter"): NameObject("/CCITTFaxDecode"),
            NameObject("/DecodeParms"): DictionaryObject(parameters),
        }
    )
    shown = DictionaryObject({NameObject("/Im"): writer._add_object(picture)})
    sheet[NameObject("/Resources")] = DictionaryObject({NameObject("/XObject"): shown})
    content = StreamObject()
    content.set_data(f"q {page.width:.4f} 0 0 {page.height:.4f} 0 0 cm /Im Do Q".encode())
    sheet[NameObject("/Contents")] = writer._add_object(content)

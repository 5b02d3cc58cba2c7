"""A text layer of a received fax, in the fence: the picture of a page for the reader, and his words laid over the scan."""

from __future__ import annotations

import io

import pypdfium2
from pypdf import PdfReader, PdfWriter

from gateway.errors import BadDocument
from gateway.pages.parts import BROKEN

_DOTS = 300
_MOST_DOTS = 20_000_000
_ENOUGH = 20  # characters: such a page has text
_MOST_TEXT = 100_000  # characters of a fax that are looked through


def picture(pdf: bytes, number: int) -> bytes:
    """A page as PNG for the reader, 300 dots an inch both ways; b"" when it has text. Raises BadDocument."""
    try:
        with pypdfium2.PdfDocument(pdf) as document:
            page = document[number]
            if len(page.get_textpage().get_text_bounded().strip()) >= _ENOUGH:
                return b""
            width, height = page.get_size()
            scale = min(_DOTS / 72, (_MOST_DOTS / max(1.0, width * height)) ** 0.5)
            drawn = page.render(scale=scale, grayscale=True).to_pil()
            out = io.BytesIO()
            drawn.save(out, "PNG", dpi=(scale * 72, scale * 72), compress_level=1)
            return out.getvalue()
    except pypdfium2.PdfiumError as broken:
        raise BadDocument("the received fax cannot be drawn", reply=BROKEN) from broken


def laid_over(pdf: bytes, layers: dict[int, bytes]) -> bytes:
    """The PDF with each layer (a PDF of one page with unseen text) over its page. The scans stay as they are."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    for number, layer in layers.items():
        page, text = writer.pages[number], PdfReader(io.BytesIO(layer)).pages[0]
        if page.rotation or not (text.mediabox.width and text.mediabox.height):
            continue
        scale = float(page.mediabox.width) / float(text.mediabox.width)
        left, bottom = float(page.mediabox.left), float(page.mediabox.bottom)
        page.merge_transformed_page(text, (scale, 0, 0, scale, left, bottom), expand=False)
    writer.compress_identical_objects()
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def words(pdf: bytes, pages: int) -> str:
    """The text of the first `pages` pages, at most 100,000 characters. Raises BadDocument."""
    found, left = list[str](), _MOST_TEXT
    try:
        with pypdfium2.PdfDocument(pdf) as document:
            for number in range(min(pages, len(document))):
                found.append(document[number].get_textpage().get_text_bounded()[:left])
                left -= len(found[-1])
    except pypdfium2.PdfiumError as broken:
        raise BadDocument("the received fax cannot be read", reply=BROKEN) from broken
    return "\n".join(found)

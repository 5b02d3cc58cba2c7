"""Bar codes and QR codes on the first page of a received fax, in the fence: zxing-cpp (extra `codes`) reads a drawn page.

What a code says is text from outside: one line, at most 300 characters.
"""

from __future__ import annotations

from importlib.util import find_spec

import pypdfium2

from gateway.errors import BadDocument
from gateway.pages.parts import BROKEN

_DOTS = 300
_MOST_DOTS = 12_000_000
_MOST = 20
_LONGEST = 300


def lacking() -> str:
    """What is missing to read codes, in words; "" for nothing."""
    return "" if find_spec("zxingcpp") else 'needs the extra "codes": pip install "faxgate[codes]"'


def read(pdf: bytes) -> tuple[str, ...]:
    """What the codes on the first page say, from the top. Raises BadDocument."""
    import zxingcpp  # not everybody has it

    try:
        with pypdfium2.PdfDocument(pdf) as document:
            page = document[0]
            width, height = page.get_size()
            scale = min(_DOTS / 72, (_MOST_DOTS / max(1.0, width * height)) ** 0.5)
            drawn = page.render(scale=scale, grayscale=True).to_pil()
    except pypdfium2.PdfiumError as broken:
        raise BadDocument("the received fax cannot be drawn", reply=BROKEN) from broken
    found = sorted(
        zxingcpp.read_barcodes(drawn, text_mode=zxingcpp.TextMode.Plain),
        key=lambda one: (one.position.top_left.y, one.position.top_left.x),
    )
    texts = ["".join(c if c.isprintable() else " " for c in one.text)[:_LONGEST].strip() for one in found[:_MOST]]
    return tuple(dict.fromkeys(filter(None, texts)))

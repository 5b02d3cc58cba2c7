"""What this machine makes pages of, and what becomes of the rest: for `check-config`. Found out inside the fence."""

from __future__ import annotations

from importlib.util import find_spec

from gateway.pages import barcodes, image, press, windows
from gateway.pages.paper import PAPERS

_SCRIPTS = {"Arabic": "مرحبا", "Hebrew": "שלום", "Chinese": "传真", "Japanese": "ファクス", "Korean": "팩스", "emoji": "😀"}


def describe() -> dict[str, str]:
    """A line for each, by what it is about."""
    setter = press.markup()
    return {
        "HTML mail, SVG": "laid out by WeasyPrint" if setter else "words only, SVG refused: WeasyPrint or Pango is missing",
        "scripts": _scripts() if setter else "Latin, Greek and Cyrillic only: WeasyPrint or Pango is missing",
        "broken PDF": "pypdf, pikepdf, pdfium" if find_spec("pikepdf") else "pypdf, pdfium; pikepdf is not installed",
        "fax pages": "OpenCV" if windows.opencv() else "numpy: the same pages, more slowly; OpenCV is not installed",
        "bar codes": barcodes.lacking() or "zxing-cpp",
        "HEIC pictures": "pi-heif" if image.HEIC else "refused: pi-heif is not installed",
    }


def _scripts() -> str:
    """Which letters the system's typefaces have beyond our own."""
    setter = press.markup()
    assert setter is not None
    lacking = []
    for name, words in _SCRIPTS.items():
        laid = setter.to_pages(setter.of_text(words), name, PAPERS["a4"], limit=9)
        if laid is None or laid.missing:
            lacking.append(name)
    return f"no typeface for {', '.join(lacking)}: install Noto fonts" if lacking else "all that were tried have a typeface"

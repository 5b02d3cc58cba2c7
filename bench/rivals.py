"""The other ways to make fax pages, as others call them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image, ImageSequence

from gateway.pages.raster import otsu

#: Makes mode "1" pages of a PDF in a file.
Pipeline = Callable[[Path, bool], list[Image.Image]]

_SETTRANSFER = "{{0.72 lt{0}{1}ifelse}settransfer}"


def gs_command(pdf: Path, out: Path, *, fine: bool, device: str = "tiffg4", tuned: bool = False) -> list[str]:
    """Ghostscript as HylaFAX's ps2fax calls it for letter paper; tuned: with a threshold instead of a halftone."""
    options = ["-sPAPERSIZE=letter", "-dFIXEDMEDIA", f"-r203.29x{196 if fine else 98}", "-dBATCH", f"-sOutputFile={out}"]
    command = ["gs", "-q", f"-sDEVICE={device}", "-dNOPAUSE", "-dSAFER", *options]
    if tuned:
        command += ["-c", f"<</Install{_SETTRANSFER}>>setpagedevice", "-f"]
    return [*command, str(pdf)]


def gs(pdf: Path, fine: bool, *, tuned: bool = False) -> list[Image.Image]:
    """Stock Ghostscript."""
    out = pdf.with_suffix(".tif")
    subprocess.run(gs_command(pdf, out, fine=fine, tuned=tuned), check=True, capture_output=True)
    with Image.open(out) as opened:
        return [frame.convert("1") for frame in ImageSequence.Iterator(opened)]


def gs_tuned(pdf: Path, fine: bool) -> list[Image.Image]:
    """Ghostscript with one line that most installations lack."""
    return gs(pdf, fine, tuned=True)


def pdfium_otsu(pdf: Path, fine: bool) -> list[Image.Image]:
    """A grey rendering and one threshold a page."""
    made = []
    with pypdfium2.PdfDocument(pdf) as document:
        for page in document:
            high = round(page.get_height() / 72 * 25.4 * (7.7 if fine else 3.85))
            bitmap = pypdfium2.PdfBitmap.new_native(1728, high, pdfium.FPDFBitmap_Gray)
            bitmap.fill_rect((255, 255, 255, 255), 0, 0, 1728, high)
            pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, 1728, high, 0, pdfium.FPDF_ANNOT | pdfium.FPDF_PRINTING)
            grey = bitmap.to_pil()
            threshold = otsu(grey.histogram())
            made.append(grey.point([0] * (threshold + 1) + [255] * (255 - threshold), "1"))
    return made

"""Received faxes and bound ones, measured: how large the PDF is beside its TIFF, whether a dot has changed, what it costs.

    python -m bench.received

The pages are those of `bench.corpus`, made fax pages by the gateway. Sizes are the same on every machine; times are
processor milliseconds, the best of three.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pypdfium2
from PIL import Image, ImageChops
from reportlab.pdfgen.canvas import Canvas

from bench import corpus
from gateway.pages import assemble, raster, received, wire
from gateway.pages.cover import SAMPLE
from gateway.pages.wire import Bitmap

T = TypeVar("T")
_BEST_OF = 3
_TARGET = 1.02  # of the TIFF, in MMR
_LONG = 300


def mr(pages: list[Bitmap]) -> bytes:
    """A TIFF in MR, by libtiff."""
    turned = [ImageChops.invert(page.picture().convert("L")).convert("1") for page in pages]
    out = io.BytesIO()
    about = {278: max(page.height for page in pages), 292: 1}
    turned[0].save(
        out, "TIFF", compression="group3", save_all=True, append_images=turned[1:], tiffinfo=about,
        dpi=(204, pages[0].lines_per_inch),
    )  # fmt: skip
    return out.getvalue()


def dots(pdf: bytes, number: int) -> Image.Image:
    """What pdfium decodes of a page's picture."""
    with pypdfium2.PdfDocument(pdf) as document:
        (picture,) = document[number].get_objects(filter=[3])
        decoded: Image.Image = picture.get_bitmap().to_pil().convert("1")
        return decoded


def main() -> None:
    """Print the tables."""
    print(f"{'received':<16}{'pages':>6}{'TIFF':>12}{'PDF':>12}{'ratio':>8}{'target':>8}{'changed':>9}{'ms/page':>9}")
    for fine in (True, False):
        pages = [next(raster.fax_pages(page.pdf, fine=fine)).bitmap for page in corpus.pages()]
        for name, write in (("MMR", wire.profile_f), ("MH", wire.profile_s), ("MR", mr)):
            row(f"{name} {'fine' if fine else 'standard'}", pages, write(pages))
    print()
    print(f"{'bound':<32}{'pages':>6}{'ms':>8}{'target':>8}{'bytes':>10}")
    for header in ("", "2026-11-22 15:04 CET  Example Ltd  +1 415 555 0100"):
        bound(header)


def row(name: str, pages: list[Bitmap], tiff: bytes) -> None:
    """One coding."""
    (pdf, count), took = best(lambda: received.to_pdf(tiff))
    changed = 0
    for number, page in enumerate(pages):
        wanted, found = page.picture(), dots(pdf, number)
        if name.startswith("MR"):
            found = ImageChops.invert(found.convert("L")).convert("1")  # libtiff writes the turned page as it is
        changed += sum(a != b for a, b in zip(wanted.tobytes(), found.tobytes(), strict=True))
    target = f"{_TARGET:.2f}" if name.startswith("MMR") else ""
    ratio = len(pdf) / len(tiff)
    print(f"{name:<16}{count:>6}{len(tiff):>12,}{len(pdf):>12,}{ratio:>8.3f}{target:>8}{changed:>9}{1000 * took / count:>9.1f}")


def bound(header: str) -> None:
    """A long PDF behind a cover page."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(612, 792), invariant=1)
    for number in range(_LONG):
        for line in range(40):
            canvas.drawString(72, 720 - 16 * line, f"page {number}, line {line}: the quick brown fox jumps over the lazy dog")
        canvas.showPage()
    canvas.save()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "long.pdf").write_bytes(out.getvalue())
        job = assemble.Job(
            source=folder / "long.pdf", content_type="application/pdf", out=folder, cover=SAMPLE, paper="letter",
            max_pages=_LONG + 1, header=header,
        )  # fmt: skip
        made, took = best(lambda: assemble.make(job))
        what = f"a PDF, cover{' and header line' if header else ''}"
        print(f"{what:<32}{made.pages:>6}{1000 * took:>8.0f}{1000:>8}{made.pdf.stat().st_size:>10,}")


def best(call: Callable[[], T]) -> tuple[T, float]:
    """The result, and the least processor time of several calls, in seconds."""
    took = []
    for _ in range(_BEST_OF):
        began = time.process_time()
        result = call()
        took.append(time.process_time() - began)
    return result, min(took)


if __name__ == "__main__":
    main()

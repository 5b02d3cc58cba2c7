"""Bar codes and QR codes on received faxes are read in the fence; hostile files are refused, hostile contents are one line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from bench import corpus
from gateway.errors import BadDocument
from gateway.pages import barcodes, layer, raster, received, wire
from gateway.pages.fence import Fence
from tests.pages import fax_files as make

PAGE = next(page for page in corpus.pages() if len(page.codes) >= 2)


def fax(pdf: bytes, *, fine: bool) -> bytes:
    """As it comes over the line."""
    return wire.profile_s([page.bitmap for page in raster.fax_pages(pdf, fine=fine)])


@pytest.mark.parametrize("fine", [True, False], ids=["fine", "standard"])
def test_codes_are_read_on_a_fax_page(fine: bool) -> None:
    pdf, pages, resolution, damaged = received.looked_at(fax(PAGE.pdf, fine=fine))
    assert (pages, resolution, damaged) == (1, "204x196" if fine else "204x98", 0)
    assert set(barcodes.read(pdf)) >= set(PAGE.codes)


def test_what_a_code_says_is_one_short_line() -> None:
    drawn = zxingcpp.create_barcode("RX\r\nBcc: eve@example.com\x1b[2J" + "x" * 500, zxingcpp.BarcodeFormat.QRCode)
    sheet = Image.new("1", (1728, 2200), 1)
    sheet.paste(Image.fromarray(drawn.to_image(scale=6)).convert("1"), (300, 300))
    out = io.BytesIO()
    sheet.save(out, "TIFF", compression="group4", dpi=(204, 196))
    (said,) = barcodes.read(received.to_pdf(out.getvalue())[0])
    assert said.startswith("RX  Bcc: eve@example.com [2J")
    assert said.isprintable()
    assert len(said) <= 300


async def test_the_fence_reads_them(tmp_path: Path) -> None:
    fence = Fence(memory=10**9, time_limit=30.0, folder=tmp_path)
    try:
        assert await fence.run("gateway.pages.barcodes:read", make.pdf("nothing to see")) == ()
        with pytest.raises(BadDocument):
            await fence.run("gateway.pages.barcodes:read", b"%PDF-1.4 broken")
        with pytest.raises(BadDocument):
            await fence.run("gateway.pages.layer:words", b"%PDF-1.4 broken", 3)
    finally:
        await fence.close()


def test_words_are_those_of_the_first_pages() -> None:
    assert layer.words(make.pdf("one", "two", "three", "four"), 3).split() == ["one", "two", "three"]
    assert len(layer.words(make.pdf(*["x" * 90_000] * 3), 3)) <= 100_002


def test_what_is_lacking_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert barcodes.lacking() == ""
    monkeypatch.setattr(barcodes, "find_spec", lambda _name: None)
    assert barcodes.lacking() == 'needs the extra "codes": pip install "faxgate[codes]"'

"""Fax pages from PDF: what stays, what goes, and that it is the same every time."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from bench import corpus
from gateway.pages import binarise, legible, printed, raster, windows, wire
from gateway.pages.assemble import Print

PAGES = {page.name: page for page in corpus.pages()}


def drawn(draw: Callable[[Canvas], object]) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(612, 792), invariant=1)
    draw(canvas)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def ink(pdf: bytes, box: tuple[float, float, float, float], *, fine: bool = True) -> float:
    """Share of ink in a place: left, bottom, right, top in points."""
    (picture,) = raster.to_fax_pages(pdf, fine=fine)
    across, down = picture.width / 612, picture.height / 792
    left, bottom, right, top = box
    piece = picture.crop((int(left * across), int((792 - top) * down), int(right * across), int((792 - bottom) * down)))
    return 1 - float(np.asarray(piece).mean())


def words(canvas: Canvas, tone: float, ground: float | None = None) -> None:
    if ground is not None:
        canvas.setFillGray(ground)
        canvas.rect(60, 480, 480, 140, stroke=0, fill=1)
    canvas.setFillGray(tone)
    canvas.setFont("Helvetica", 11)
    for n in range(8):
        canvas.drawString(72, 600 - 14 * n, "Forty-two crates of oranges leave Valencia on Thursday morning.")


TEXT_PLACE = (72, 495, 390, 612)


@pytest.mark.parametrize("fine", [True, False], ids=["fine", "standard"])
@pytest.mark.parametrize("ground", [None, 0.9, 0.75, 0.6])
def test_words_on_any_ground_are_the_same_words(ground: float | None, fine: bool) -> None:
    plain = ink(drawn(lambda canvas: words(canvas, 0)), TEXT_PLACE, fine=fine)
    assert ink(drawn(lambda canvas: words(canvas, 0, ground)), TEXT_PLACE, fine=fine) == pytest.approx(plain, rel=0.2)


@pytest.mark.parametrize("tone", [0.3, 0.5, 0.7])
def test_grey_words_are_printed_like_black_ones(tone: float) -> None:
    plain = ink(drawn(lambda canvas: words(canvas, 0)), TEXT_PLACE)
    assert ink(drawn(lambda canvas: words(canvas, tone)), TEXT_PLACE) == pytest.approx(plain, rel=0.25)


@pytest.mark.parametrize("ground", [0.0, 0.2, 0.4])
def test_light_words_on_a_dark_ground_are_turned_over(ground: float) -> None:
    plain = ink(drawn(lambda canvas: words(canvas, 0)), TEXT_PLACE)
    assert ink(drawn(lambda canvas: words(canvas, 1, ground)), TEXT_PLACE) == pytest.approx(plain, rel=0.3)


def test_solid_areas_stay_black_are_hatched_or_vanish() -> None:
    def areas(canvas: Canvas) -> None:
        for n, tone in enumerate((0.1, 0.6, 0.95)):
            canvas.setFillGray(tone)
            canvas.rect(100, 100 + 200 * n, 200, 100, stroke=0, fill=1)

    page = drawn(areas)
    dark, middle, pale = (ink(page, (110, 110 + 200 * n, 290, 190 + 200 * n)) for n in range(3))
    assert (dark, pale) == (1.0, 0.0)
    assert 0.1 < middle < 0.3


@pytest.mark.parametrize("fine", [True, False], ids=["fine", "standard"])
def test_pale_areas_of_any_size_are_paper(fine: bool) -> None:
    for tone in (225, 226, 230, 240):
        for lines in (12, 24, 200):
            grey = np.full((600, 1728), 255, dtype=np.uint8)
            grey[200 : 200 + lines, 300:1000] = tone
            grey[205:209, 400:420] = 0
            black = binarise.ink(grey, (), fine=fine)
            assert black[205:209, 400:420].all()
            assert black.sum() == 4 * 20, (tone, lines)


def test_without_opencv_the_pages_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if windows.opencv() is None:
        pytest.skip("OpenCV is not installed")
    names = ("invoice", "dark_slide", "bar_chart", "scan_150dpi", "product_sheet", "gradient_slide")
    with_it = [next(raster.fax_pages(PAGES[name].pdf, fine=n % 2 == 0)) for n, name in enumerate(names)]
    monkeypatch.setattr(windows, "opencv", lambda: None)
    assert [next(raster.fax_pages(PAGES[name].pdf, fine=n % 2 == 0)) for n, name in enumerate(names)] == with_it


@pytest.mark.parametrize("name", ["dense_8pt", "newsletter", "phone_snapshot"])
def test_the_same_page_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(PAGES[name].pdf)
    for out in ("b.pdf", "c.pdf"):
        assert printed.as_printed(tmp_path / "a.pdf", tmp_path / out) == 1
    assert (tmp_path / "b.pdf").read_bytes() == (tmp_path / "c.pdf").read_bytes()


def test_pages_with_small_or_lying_words_or_pictures_go_fine() -> None:
    fine = {name for name, page in PAGES.items() if next(raster.fax_pages(page.pdf, fine=None)).bitmap.lines_per_inch == 196}
    assert {"terms_6pt", "prescription_7pt", "table_sideways_7pt", "scan_150dpi", "product_sheet"} <= fine
    assert not {"letter_11pt", "minutes_10pt", "dark_mode", "bar_chart"} & fine


def test_a_photograph_costs_less_than_its_bitmap() -> None:
    page = next(raster.fax_pages(PAGES["landscape_whole"].pdf)).bitmap
    assert len(wire.mmr(page)) < 0.6 * len(page.rows)


def test_render_writes_pdf_tiff_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "in.pdf").write_bytes(PAGES["letter_11pt"].pdf)
    ((lines, density, mmr, mh),) = printed.render(Print(source=tmp_path / "in.pdf", out=tmp_path))
    assert (lines, density) == (1076, 98)
    assert 10_000 < mmr < mh < 40_000
    with Image.open(tmp_path / "page-001.png") as picture, Image.open(tmp_path / "printed.tif") as fax:
        assert picture.size == fax.size == (1728, 1076)
        assert picture.tobytes() == fax.tobytes()
    again = raster.to_fax_pages(tmp_path / "printed.pdf", fine=True)[0].convert("L").resize((864, 1076))
    with Image.open(tmp_path / "page-001.png") as picture:
        first = picture.convert("L").resize((864, 1076))
    difference = np.abs(np.asarray(again).astype(int) - np.asarray(first)).mean()
    assert difference < 20


def test_words_too_small_or_too_pale_are_named(tmp_path: Path) -> None:
    def page(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 3)
        canvas.drawString(72, 700, "tiny words")
        canvas.setFont("Helvetica", 11)
        for n, (tone, said) in enumerate(((0.94, "very pale words"), (0.6, "grey words"), (0.0, "black words"))):
            canvas.setFillGray(tone)
            canvas.drawString(72, 600 - 50 * n, said)

    (tmp_path / "a.pdf").write_bytes(drawn(page))
    said = legible.warnings(tmp_path / "a.pdf", 1, 1)
    assert "“tiny words” on page 1" in said
    assert "“very pale words” on page 1" in said
    assert "grey" not in said
    assert "black" not in said


@pytest.mark.parametrize(
    "name", ["dense_8pt", "grey_text", "dark_mode", "colour_on_colour", "invoice", "newsletter", "terms_6pt"]
)
def test_words_that_can_be_read_give_no_warning(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(PAGES[name].pdf)
    assert legible.warnings(tmp_path / "a.pdf", 1, 1) == ""


def test_white_words_on_black_can_be_read_and_words_as_dark_as_their_ground_cannot(tmp_path: Path) -> None:
    def page(canvas: Canvas) -> None:
        canvas.rect(36, 36, 540, 720, fill=1)
        canvas.setFillGray(1)
        canvas.drawString(72, 600, "WHITE ON BLACK words")
        canvas.setFillGray(0.1)
        canvas.drawString(72, 500, "nearly black words")

    (tmp_path / "a.pdf").write_bytes(drawn(page))
    said = legible.warnings(tmp_path / "a.pdf", 1, 1)
    assert "WHITE" not in said
    assert "nearly black words" in said


def test_hidden_words_are_no_loss(tmp_path: Path) -> None:
    def page(canvas: Canvas) -> None:
        text = canvas.beginText(72, 600)
        text.setTextRenderMode(3)
        text.textOut("the hidden text of a scan")
        canvas.drawText(text)
        canvas.setFillGray(1)
        canvas.drawString(72, 500, "white on white")
        canvas.setFillGray(0.5)
        canvas.drawString(72, 400, "grey")

    (tmp_path / "a.pdf").write_bytes(drawn(page))
    assert legible.warnings(tmp_path / "a.pdf", 1, 1) == ""

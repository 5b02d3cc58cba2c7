"""The page of a line test, and what has become of it."""

from __future__ import annotations

from PIL import Image

from gateway.pages import barcodes, pattern, raster, wire
from gateway.pages.received import to_pdf
from gateway.pages.wire import Bitmap
from tests.flows.house import pdf

PAGE = pattern.draw(["from here to there", "today"], "test_0123456789")


def sent(fine: bool = True) -> Bitmap:
    return next(raster.fax_pages(PAGE, fine=fine)).bitmap


def received(*pages: Image.Image, lines: int = 196) -> bytes:
    return to_pdf(wire.profile_f([Bitmap.of(page, lines) for page in pages]))[0]


def test_what_arrives_as_it_was_sent_differs_in_no_dot_in_either_resolution() -> None:
    for fine, lines in ((True, 196), (False, 98)):
        page = sent(fine)
        assert pattern.compared(PAGE, received(page.picture(), lines=lines)) == ((page.width * page.height, 0),)


def test_each_dot_that_differs_is_counted() -> None:
    page = sent().picture()
    for dot in ((0, 0), (5, 7), (1727, 2150)):
        page.putpixel(dot, 0)
    ((_, different),) = pattern.compared(PAGE, received(page))
    assert different == 3


def test_lines_that_are_missing_differ_and_so_does_a_page_of_another_width_or_none() -> None:
    page = sent()
    whole = page.width * page.height
    cut = page.picture().crop((0, 0, page.width, page.height - 10))
    assert pattern.compared(PAGE, received(cut)) == ((whole, 10 * page.width),)
    narrow = page.picture().crop((0, 0, 1000, page.height))
    assert pattern.compared(PAGE, received(narrow)) == ((whole, whole),)
    ((dots, different),) = pattern.compared(PAGE, pdf("no picture"))
    assert dots == different


def test_the_codes_on_it_can_be_read_on_the_fax_and_the_call_is_short() -> None:
    page = sent()
    assert set(barcodes.read(received(page.picture()))) == {"test_0123456789"}
    assert wire.seconds(len(wire.mmr(page))) < 20

"""A carrier is given the pages as laid out, as a black-and-white PDF, or as TIFF: the far end prints the same dots."""

import hashlib
import io

import pypdfium2
import pytest
from reportlab.lib.pagesizes import LETTER
from reportlab.pdfgen.canvas import Canvas

from gateway.pages import raster, wire
from tests.flows.house import OWN_LINE, House, letter


def coloured() -> bytes:
    """Two pages that a converter with halftones would make grey."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=LETTER, invariant=True)
    for page in (1, 2):
        canvas.setFillGray(0.45)
        canvas.drawString(72, 600, f"Grey words on page {page}")
        canvas.setFillColorRGB(0.1, 0.2, 0.6)
        canvas.rect(72, 300, 300, 120, fill=1, stroke=0)
        canvas.setFillGray(1)
        canvas.drawString(90, 350, "White words on blue ground, several of them")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def pictures(document: bytes) -> list[bytes]:
    """The dots of each page of a received fax."""
    with pypdfium2.PdfDocument(document) as pages:
        found = [next(iter(page.get_objects())) for page in pages]
        assert all(isinstance(one, pypdfium2.PdfImage) for one in found)
        return [one.get_bitmap().to_pil().convert("1").tobytes() for one in found]


@pytest.mark.parametrize("form", ["pdf", "fax-pdf", "tiff"])
def test_img_02_whatever_the_carrier_is_given_the_far_end_prints_the_same_dots(house: House, form: str) -> None:
    house.settings["carrier"]["main"]["document"] = form
    house.start()
    mail = letter("In colour", files=[("a.pdf", "application/pdf", coloured())])
    house.send(mail, OWN_LINE)
    (report,) = house.reports(mail)
    assert "delivered" in report.subject
    fax = house.fax(OWN_LINE)
    kept = house.spool / "documents" / fax["document"][:2] / fax["document"]
    sent = [page.bitmap for page in raster.fax_pages(kept)]
    assert fax["pages"] == len(sent) == 3
    (call,) = house.calls(OWN_LINE)
    handed_over = wire.profile_f(sent) if form == "tiff" else kept.read_bytes()
    assert (call.pages, call.sha256) == (3, hashlib.sha256(handed_over).hexdigest())
    assert bool("".join(house.pages(fax)).strip()) == (form == "pdf")  # pictures of pages have no text
    arrived = next(one for one in house.letters(2) if one.mail["X-Fax-Line"])
    (document,) = [part.get_content() for part in arrived.mail.walk() if part.get_content_type() == "application/pdf"]
    assert pictures(document) == [page.picture().tobytes() for page in sent]

"""An account's cover page, language and header line on a real fax, and its reports; what arrives can be searched."""

from __future__ import annotations

import io

import pypdf
import pytest
from PIL import Image

from tests.flows.house import OWN_LINE, House, fresh, letter


def test_the_account_says_how_its_faxes_look_and_a_mail_may_wish_otherwise(house: House) -> None:
    Image.new("L", (300, 100), 0).save(house.folder / "logo.png")
    house.settings["account"][0] |= {
        "cover": "formal",
        "language": "de",
        "organisation": "Muster GmbH",
        "phone": "+49 30 1234",
        "logo": "logo.png",
        "confidential": "Nur für die genannte Person.",
    }
    house.start()
    formal, simple, bare, unknown = fresh(), fresh(), fresh(), fresh()
    german = letter()
    house.send(german, formal)
    spanish = letter(X_Faxgate_Cover="simple")
    spanish["Content-Language"] = "es-MX"
    house.send(spanish, simple)
    house.send(letter(text="No cover, please.\n", X_Faxgate_Cover="no"), bare)
    wrong = letter(X_Faxgate_Cover="fromal")
    wrong["Accept-Language"] = "xx, fr-CA;q=0.3, it;q=0.8"
    house.send(wrong, unknown)
    (page,) = house.pages(house.fax(formal, "delivered"))
    for words in ("Muster GmbH", "Telefax", "+49 30 1234", "Betreff", "Vertraulich", "Nur für die genannte Person."):
        assert words in page, words
    (page,) = house.pages(house.fax(simple, "delivered"))
    assert "Asunto" in page
    assert "Telefax" not in page
    (page,) = house.pages(house.fax(bare, "delivered"))
    assert "No cover, please." in page
    assert "Betreff" not in page
    failed = house.fax(unknown, "failed")
    assert "fromal" in failed["reason"]
    assert [house.reports(mail)[0].subject.split(" +")[0] for mail in (german, spanish)] == ["Fax an", "Fax a"]
    (report,) = house.reports(wrong)
    assert "non riuscito" in report.subject
    assert "non esiste una copertina chiamata «fromal»" in " ".join(report.text.split())


@pytest.mark.needs("tesseract")
def test_a_fax_to_a_line_with_ocr_arrives_with_text_to_search_in(house: House) -> None:
    house.settings["line"][0]["ocr"] = "eng"
    house.start()
    house.send(letter(text="The quick brown fox jumps over the lazy dog.\n"), OWN_LINE)
    received = house.wait(
        lambda: [one for one in list(house.sink.letters) if one.mail["X-Fax-Line"]], patience=60, what="the fax"
    )
    (content,) = [
        part.get_payload(decode=True) for part in received[0].mail.walk() if part.get_content_type() == "application/pdf"
    ]
    assert isinstance(content, bytes)
    assert "quick brown fox" in pypdf.PdfReader(io.BytesIO(content)).pages[0].extract_text()

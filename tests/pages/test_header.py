"""The header line: on every page once, whatever the page is; cheap; in the language of the fax (LAW-01, LAW-04)."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject

from gateway.pages import header
from gateway.pages.paper import PAPERS
from tests.pages import fax_files as make

WORDS = "2026-11-22 15:04 CET  Example Ltd  +1 415 555 0100"
SHOWN = "2026-11-22 15:04 CET Example Ltd +1 415 555 0100"


def over(source: bytes, words: str = WORDS, page_word: str = "page") -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(source)))
    header.add(writer, PAPERS["letter"], words, page_word)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_law_04_a_fax_that_is_faxed_again_shows_both_lines_whole(tmp_path: Path) -> None:
    first = make.fax(tmp_path, make.mail("Hello"), header="FIRST").pdf.read_bytes()
    again = make.fax(tmp_path, make.mail("see", ("application/pdf", first, "fax.pdf")), header="SECOND")
    page = make.texts(again.pdf)[1]
    assert [page.count(words) for words in ("FIRST", "page 1/1", "SECOND", "page 2/2")] == [1, 1, 1, 1]


def test_pages_that_share_their_resources_keep_their_own_numbers() -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf("a", "b", "c"))))
    resources = writer.pages[0]["/Resources"].get_object()
    assert isinstance(resources, DictionaryObject)
    shared = writer._add_object(DictionaryObject(resources))
    for page in writer.pages:
        page[NameObject("/Resources")] = shared
    out = io.BytesIO()
    writer.write(out)
    pages = make.texts(over(out.getvalue()))
    assert [(page.count(SHOWN), page.count(f"page {n}/3")) for n, page in enumerate(pages, 1)] == [(1, 1)] * 3


@pytest.mark.parametrize("name", ["Αλέξανδρος Фёдорович", "Müller & Söhne (Köln) \\ “GmbH” €", "plain", "\U00010380\ue000"])
def test_cnt_19_names_in_any_letters_are_shown_or_visibly_replaced(name: str) -> None:
    (page,) = make.texts(over(make.pdf("x"), f"{name}  +1"))
    assert (name if name[0] < "\U00010000" else "��") in page
    assert "page 1/1" in page


def test_a_long_line_is_cut_and_leaves_the_number_readable() -> None:
    for words in ("Very long name " * 40, "Очень длинное имя " * 40):
        made = over(make.pdf("x"), words)
        (page,) = make.texts(made)
        assert "…" in page
        assert page.count("page 1/1") == 1
        assert make.ink(made)[2] <= 612 - 23


def test_the_number_is_in_the_language_of_the_fax(tmp_path: Path) -> None:
    made = make.fax(tmp_path, make.mail("Hallo", ("application/pdf", make.pdf("x"), "a.pdf")), header="H", languages=("de",))
    assert [f"Seite {n}/2" in page for n, page in enumerate(make.texts(made.pdf), 1)] == [True, True]


def test_it_costs_less_than_a_kilobyte_for_a_fax_and_a_quarter_for_each_page() -> None:
    sizes = [len(over(make.pdf(*["x"] * n), words)) - len(make.pdf(*["x"] * n)) for n in (1, 101) for words in (WORDS,)]
    bare = []
    for n in (1, 101):
        out = io.BytesIO()
        PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf(*["x"] * n)))).write(out)
        bare.append(len(out.getvalue()) - len(make.pdf(*["x"] * n)))
    assert sizes[0] - bare[0] < 1000
    assert (sizes[1] - bare[1] - sizes[0] + bare[0]) / 100 < 350


def test_300_pages_are_bound_in_less_than_a_second_of_cpu(tmp_path: Path) -> None:
    long = make.pdf(*[f"page {n} " + "words " * 10 for n in range(300)])
    mail = make.mail("Hello", ("application/pdf", long, "long.pdf"))
    took = []
    for _ in range(3):
        began = time.process_time()
        made = make.fax(tmp_path, mail, header=WORDS, max_pages=400)
        took.append(time.process_time() - began)
    assert made.pages == 301
    assert min(took) < 1.0
    assert "page 301/301" in make.texts(made.pdf)[300]

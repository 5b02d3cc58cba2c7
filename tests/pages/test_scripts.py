"""Letters that our typeface lacks: drawn with the system's typefaces, else visibly replaced and said (CNT-19)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import pypdfium2
import pytest
from pypdf import PdfReader, PdfWriter

from gateway.pages import cover, fonts, header, scripts
from gateway.pages.paper import PAPERS
from tests.pages import fax_files as make

NAMES = {"cjk": "王小明", "korean": "감사합니다", "hebrew": "חברת דוגמה", "arabic": "محمد أحمد", "emoji": "🎉"}
ALL = pytest.mark.needs("NotoSansCJK-Regular.ttc")


@pytest.fixture
def no_typefaces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without typefaces."""
    remembered = (scripts._installed, scripts._file, scripts._shows)
    monkeypatch.setattr(scripts, "_FOLDERS", ())
    for one in remembered:
        one.cache_clear()
    yield
    for one in remembered:
        one.cache_clear()


def drawn(subject: str) -> bytes:
    sample = replace(cover.SAMPLE, subject=subject, confidential="", contact="")
    return cover.lay_out(sample, "", PAPERS["letter"], ()).draw(1)


def pictures(pdf: bytes) -> int:
    with pypdfium2.PdfDocument(pdf) as document:
        return len(list(document[0].get_objects(filter=[3])))


@ALL
@pytest.mark.needs("NotoSansHebrew-Regular.ttf")
@pytest.mark.needs("NotoColorEmoji.ttf")
@pytest.mark.parametrize("script", NAMES)
def test_a_subject_in_another_script_is_drawn_among_our_letters(script: str) -> None:
    made = drawn(f"Re: {NAMES[script]} 2026 Grüße")
    assert "�" not in make.texts(made)[0]
    assert "Grüße" in make.texts(made)[0]
    assert pictures(made) == 1
    layout = cover.lay_out(replace(cover.SAMPLE, subject=NAMES[script]), "", PAPERS["letter"], ())
    assert layout.note == ""


@pytest.mark.usefixtures("no_typefaces")
@pytest.mark.parametrize("script", NAMES)
def test_without_a_typeface_it_is_replaced_and_said(script: str) -> None:
    made = drawn(f"Re: {NAMES[script]} 2026")
    assert "�" in make.texts(made)[0]
    assert pictures(made) == 0
    layout = cover.lay_out(replace(cover.SAMPLE, subject=NAMES[script]), "", PAPERS["letter"], ())
    assert f"U+{min(map(ord, NAMES[script].replace(' ', ''))):04X}" in layout.note


@ALL
def test_a_line_is_cut_where_the_typeface_changes_and_nothing_is_lost() -> None:
    line = "Re: 注文書 2026-11, 王 小 明 (x) 好"
    cjk = frozenset(c for c in line if ord(c) > 0x2E80)
    found = list(scripts.runs(line, cjk))
    assert "".join(run.text for run in found) == line
    assert [run.text for run in found if run.file] == ["注文書 2026-11, 王 小 明", "好"]
    for tricky in ("王", " 王 ", "王a王", "a", "王  ", "  "):
        assert "".join(run.text for run in scripts.runs(tricky, cjk)) == tricky


@ALL
def test_long_lines_of_another_script_are_wrapped_inside_the_margins() -> None:
    made = drawn("漢字" * 300)
    left, _, right, bottom = make.ink(made)
    assert left >= 50
    assert right <= 612 - 50
    assert bottom <= 792 - 30


@ALL
def test_the_header_line_shows_them_too_and_once_for_all_pages() -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(make.pdf("a", "b", "c"))))
    header.add(writer, PAPERS["letter"], "2026-11-22 王小明", "page")
    out = io.BytesIO()
    writer.write(out)
    assert ["page 3/3" in page for page in make.texts(out.getvalue())] == [False, False, True]
    for page in range(3):
        assert make.ink(out.getvalue(), page)[1] < 20
    assert "�" not in "".join(make.texts(out.getvalue()))


def test_texts_that_others_set_keep_saying_what_our_typeface_lacks() -> None:
    assert fonts.printable("你好").missing == ("你", "好")

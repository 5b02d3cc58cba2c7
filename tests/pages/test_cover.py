"""Cover pages: every template in every language says everything, inside the margins, with the right total; and the checks."""

from __future__ import annotations

import functools
import io
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

import pypdfium2
import pytest
from PIL import Image, ImageDraw

from gateway.errors import BadDocument
from gateway.pages import cover, raster, stationery, wording
from gateway.pages.assemble import Cover
from gateway.pages.paper import PAPERS
from gateway.templates import built_in
from tests.pages import fax_files as make

TEMPLATES = ["basic", "compact", "flowers", "formal", "message", "plain", "simple", "standard"]
LANGUAGES = ["de", "en", "es", "fr", "it", "nl"]
LONG = " ".join(["Donaudampfschifffahrtsgesellschaft"] * 60)


@functools.cache
def picture() -> bytes:
    """A logo with colours, a transparent ground, and thin and thick strokes."""
    drawn = Image.new("RGBA", (900, 240), (0, 0, 0, 0))
    pen = ImageDraw.Draw(drawn)
    pen.ellipse((20, 20, 220, 220), fill=(20, 60, 160))
    pen.rectangle((260, 60, 880, 180), outline=(200, 30, 30), width=12)
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue()


def drawn(sample: Cover, message: str = "Hello Ann.", *, language: str = "en", paper: str = "letter", total: int = 0) -> bytes:
    layout = cover.lay_out(sample, message, PAPERS[paper], (), (language,))
    return layout.draw(total or layout.count)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_says_everything_in_every_language(template: str, language: str) -> None:
    sample = replace(cover.SAMPLE, template=template, reply_to="desk@sender.example")
    (page,) = make.texts(drawn(sample, language=language, total=7))
    w = wording.words((), (language,))
    facts = (
        sample.to_name, sample.to_number, sample.organisation, sample.from_name, sample.from_organisation, sample.from_phone,
        "desk@sender.example", sample.subject,
        wording.date_in_words(sample.date, w), f"7 {w['with_this_page']}", "Hello Ann.", sample.confidential,
        sample.reference, sample.contact, w["to"], w["from"] if template != "formal" else w["date"], w["pages"], w["subject"],
        w["confidential"],
    )  # fmt: skip
    assert [fact for fact in facts if fact not in page] == []
    assert sample.from_address not in page  # the reply address stands for it


@pytest.mark.parametrize("paper", ["letter", "a4"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_long_stays_inside_the_margins(template: str, paper: str) -> None:
    sample = replace(
        cover.SAMPLE, template=template, to_name=LONG, organisation=LONG, from_name=LONG, subject=LONG, from_organisation=LONG,
        from_phone=LONG, confidential=LONG, logo=picture(),
    )  # fmt: skip
    made = drawn(sample, "\n".join(f"line {n}" for n in range(90)), language="de", paper=paper)
    sheet = PAPERS[paper]
    pages = make.texts(made)
    for number in range(len(pages)):
        left, top, right, bottom = make.ink(made, number)
        assert (left >= 30, top >= 40, right <= sheet.width - 50, bottom <= sheet.height - 30) == (True,) * 4, number
    together = " ".join(pages)
    assert [n for n in range(90) if together.count(f"line {n} ") + together.endswith(f"line {n}") != 1] == []


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_message_goes_on_behind_the_cover_in_the_same_size_with_its_label(template: str) -> None:
    message = "\n".join(f"line-{n:03}." for n in range(150))
    sample = replace(cover.SAMPLE, template=template)
    layout = cover.lay_out(sample, message, PAPERS["letter"], (), ("fr",))
    pages = make.texts(layout.draw(layout.count + 4))
    together = " ".join(pages)
    assert [together.count(f"line-{n:03}.") for n in range(150)] == [1] * 150
    assert f"{layout.count + 4} (cette page comprise)" in pages[0]
    assert all("Message (suite)" in page for page in pages[1:])
    assert "Message (suite)" not in pages[0]
    assert all(sample.reference in page for page in pages)
    assert len(pages) == layout.count > 1


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_not_known_leaves_no_empty_row(template: str) -> None:
    bare = replace(
        cover.SAMPLE, template=template, to_name="", organisation="", from_name="", from_organisation="", from_phone="",
        subject="", confidential="", contact="",
    )  # fmt: skip
    (page,) = make.texts(drawn(bare, ""))
    for word in ("Company", "Phone", "Subject", "Confidential", "Questions", "with this page"):
        assert word not in page, word
    assert "1 (this page)" in page
    assert page.count(bare.to_number) == 1
    assert bare.from_address in page


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_full_first_page_ends_above_the_note(template: str) -> None:
    layout = cover.lay_out(replace(cover.SAMPLE, template=template), "\n".join(["gj"] * 200), PAPERS["letter"], (), ())
    with pypdfium2.PdfDocument(layout.draw(layout.count)) as document:
        page = document[0].get_textpage()
        words = page.get_text_range()
        last_line = page.get_charbox(words.rindex("gj"))
        note = page.get_charbox(words.index("Confidential"))
    assert note[3] + 5 < last_line[1]
    assert last_line[1] < note[3] + 45  # and the room is used


def test_a_logo_is_black_and_white_keeps_its_shape_and_is_as_small_as_its_place() -> None:
    logo = stationery.logo(picture())
    assert logo.mode == "1"
    assert logo.width / logo.height == pytest.approx(900 / 240, rel=0.02)
    assert logo.width <= 190 * 300 / 72 + 1
    assert logo.getpixel((2, 2)) == 255  # transparent is paper
    assert logo.getpixel((logo.width // 8, logo.height // 2)) == 0
    ink = [
        raster.page_pngs(drawn(replace(cover.SAMPLE, template="plain", logo=content)), width=612)[0]
        for content in (picture(), b"")
    ]
    corners = [Image.open(io.BytesIO(png)).convert("L").crop((350, 40, 600, 120)) for png in ink]
    assert [min(corner.tobytes()) < 60 for corner in corners] == [True, False]


@pytest.mark.parametrize("content", [b"GIF89a", b"", b"\x89PNG\r\n\x1a\n" + b"x" * 50, b"<svg/>"])
def test_a_logo_that_is_no_picture_is_said(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a PNG or JPEG"):
        stationery.logo(content)


def test_a_wide_logo_and_a_centred_heading_do_not_overlap() -> None:
    wide = Image.new("L", (1900, 640), 0)
    out = io.BytesIO()
    wide.save(out, "PNG")
    sample = replace(cover.SAMPLE, template="message", logo=out.getvalue())
    alone = drawn(replace(sample, logo=b""), language="de")
    both = drawn(sample, language="de")
    assert make.ink(both)[1] < make.ink(alone)[1] + 1
    assert make.ink(both)[2] <= 612 - 50
    assert "Nachricht" in make.texts(both)[0]


@pytest.mark.parametrize(
    ("zone", "said"), [("Europe/Berlin", "CET (UTC+01:00)"), ("UTC", "15:04 UTC"), ("Asia/Kolkata", "IST (UTC+05:30)")]
)
def test_law_05_the_date_says_its_zone(zone: str, said: str) -> None:
    date = cover.SAMPLE.date.astimezone(ZoneInfo(zone))
    english = wording.date_in_words(date, wording.words((), ()))
    assert english.endswith(said)
    assert wording.date_in_words(date, wording.words((), ("es",))).startswith("22 de noviembre de 2026, ")


def test_the_first_language_with_words_is_taken_else_english() -> None:
    assert wording.words((), ("xx", "../de", "de", "fr"))["to"] == "An"
    assert wording.words((), ("xx",))["to"] == "To"
    assert wording.words((), ())["page"] == "page"


def test_every_language_has_every_word() -> None:
    found = sorted(path.stem for path in (built_in() / "cover" / "words").glob("*.toml"))
    assert found == LANGUAGES
    english = wording.words((), ("en",))
    for language in found:
        words = wording.words((), (language,))
        assert words.keys() == english.keys()
        assert all(word.strip() for word in words.values())


def test_an_operators_file_changes_single_words_or_adds_a_language(tmp_path: Path) -> None:
    folder = tmp_path / "cover" / "words"
    folder.mkdir(parents=True)
    (folder / "de.toml").write_text('fax = "TELEFAX"\n', encoding="utf-8")
    polish = (built_in() / "cover" / "words" / "en.toml").read_text(encoding="utf-8").replace('"Subject"', '"Temat"')
    (folder / "pl.toml").write_text(polish, encoding="utf-8")
    (folder / "cs.toml").write_text('fax = "FAX"\n', encoding="utf-8")
    assert wording.words((tmp_path,), ("de",))["fax"] == "TELEFAX"
    assert wording.words((tmp_path,), ("de",))["subject"] == "Betreff"
    assert wording.words((tmp_path,), ("pl",))["subject"] == "Temat"
    with pytest.raises(wording.BadTemplate, match=r"cs\.toml: lacks .*subject"):
        wording.words((tmp_path,), ("cs",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("feld An | x\n", "begins with 'feld'"),
        ("heading {{ nothing }}\n", "'nothing' is undefined"),
        ("heading {{ w.nothing }}\n", "nothing"),
        ("heading {% if %}\n", "Expected an expression"),
        ("look colour=red\n", "look knows no 'colour'"),
        ("look align=up\n", "align is one of left, center, right"),
        ("look size=99\n", "size is a number from 8 to 20"),
        ("look size=nan\n", "size is a number"),
        ('{% include "cover/parts/nowhere.txt" %}\n', "nowhere"),
    ],
)
def test_a_broken_template_is_named_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "cover").mkdir()
    (tmp_path / "cover" / "mine.txt").write_text(text, encoding="utf-8")
    for problem in (cover.problem((tmp_path,), "mine"), cover.problem((tmp_path,))):
        assert problem.startswith("cover/mine.txt: ")
        assert said in problem


def test_what_is_in_order_has_no_problem(tmp_path: Path) -> None:
    assert cover.problem((built_in(),)) == ""
    assert cover.problem((), "formal", "it", picture()) == ""
    assert cover.problem((), "formal", "xx") == 'there are no words for the language "xx"'
    assert cover.problem((), "fromal") == "there is no cover page called “fromal”"
    assert "not a PNG or JPEG" in cover.problem((), "formal", "en", b"x")


@pytest.mark.parametrize("name", ["nowhere", "../mail/outgoing", "parts/footer", "/etc/passwd", "", "x" * 300])
def test_a_mail_that_asks_for_an_unknown_cover_is_refused_by_name(tmp_path: Path, name: str) -> None:
    error = make.refusal(tmp_path, make.mail("Hello"), cover=replace(make.COVER, template=name))
    assert isinstance(error, BadDocument)
    assert (error.reply, error.part) == ("554 5.6.5", "the cover page")
    assert name[:40] in error.text


def test_a_cover_that_is_wanted_with_a_message_only_is_left_out_without_one(tmp_path: Path) -> None:
    wanted = replace(make.COVER, only_with_message=True)
    attached = ("application/pdf", make.pdf("the offer"), "offer.pdf")
    assert make.texts(make.fax(tmp_path, make.mail(None, attached), cover=wanted).pdf) == ["the offer"]
    assert make.texts(make.fax(tmp_path, make.mail(" \n ", attached), cover=wanted).pdf) == ["the offer"]
    assert make.fax(tmp_path, make.mail("See there", attached), cover=wanted).pages == 2
    laid_out = make.mail(None, attached)
    html = EmailMessage()
    html.set_content("<table><tr><td>See there</td></tr></table>", subtype="html")
    laid_out.attach(html)
    assert "FAX" in make.texts(make.fax(tmp_path, laid_out, cover=wanted).pdf)[0]
    posted = make.fax(tmp_path, make.pdf("x"), content_type="application/pdf", cover=replace(wanted, message="Look"))
    assert ["Look" in page for page in make.texts(posted.pdf)] == [True, False]
    assert make.fax(tmp_path, make.pdf("x"), content_type="application/pdf", cover=wanted).pages == 1

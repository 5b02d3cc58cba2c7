"""One part of a mail as pages on our paper, by its kind; and the words of a text."""

from __future__ import annotations

import csv
import functools
import io
import re
from dataclasses import dataclass
from types import ModuleType

import lxml.etree
from markdown_it import MarkdownIt
from pypdf import PdfReader

from gateway import quoted
from gateway.errors import BadDocument
from gateway.pages import child, fonts, html, image, pdf, quotes, sniff, text
from gateway.pages.manifest import BROKEN, MISSING, TOO_MUCH, UNSUPPORTED, Chosen
from gateway.pages.paper import Paper

_REMOTE = re.compile(rb"<img[^>]{0,2000}src\s*=\s*[\"']?\s*(https?:|//|file:)", re.IGNORECASE)
_AS_TEXT = "HTML printed as text"
_REALLY = "it is a "  # another kind of picture than it says
_CUT = "quoted history and notes about confidentiality are left out, by the account's settings"
_NOT_FETCHED = "pictures that are not in the mail are not fetched"
_SOME = 20  # replacement marks that are no reason to refuse a text
_TOO_LONG_TEXT = 4_000_000  # characters of one text; some thousand pages
_LINES_A_PAGE = 80  # more than any page has
_MOST_ROWS = 1500  # of a table that is drawn; a longer one is set line by line
_LARGEST_XML = 80_000_000  # bytes of text in an office document; real ones have a tenth of it
_SVG = '<img src="cid:svg" style="width: 100%">'


@dataclass(frozen=True, slots=True)
class Printed:
    """Pages, and what the reader of the manifest should know about them."""

    pdf: bytes
    pages: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Press:
    """What all parts of one fax are printed with."""

    paper: Paper
    header: bool
    """Whether the strip on top of each page is needed for the header line."""
    max_pages: int
    cut_quotes: bool = False

    def sheets(self, part: Chosen, done: int) -> Printed:
        """The part as pages; the fax has `done` already. Raises BadDocument, and ConverterUnavailable for office documents."""
        if part.kind in sniff.OFFICE:
            printed = self._office(part, done)
        elif part.kind in sniff.PICTURES:
            printed = self._picture(part.content, part.title, part.content_type, part.kind, done)
        elif part.kind == "pdf":
            printed = self._pdf(part.content, part.title, done)
        elif part.kind == "svg":
            printed = self._svg(part, done)
        elif part.kind == "html" and part.is_laid_out:
            printed = self._html(part, done)
        else:
            printed = self._text(part, done)
        if done + printed.pages > self.max_pages:
            raise pdf.too_long(self.max_pages, part.title)
        return printed

    def words(self, part: Chosen) -> tuple[str, str]:
        """The words of a text as they are printed, and a note."""
        return _words(part, self.cut_quotes, _AS_TEXT)

    def check(self, words: str, title: str) -> None:
        """Refuse at once what cannot fit, setting it would take minutes; and what would be a page of replacement marks."""
        if len(words) > _TOO_LONG_TEXT or words.count("\n") > self.max_pages * _LINES_A_PAGE:
            raise pdf.too_long(self.max_pages, title)
        if markup() is None and _is_mostly_marks(fonts.printable(words).text):
            raise _no_typeface(title)

    def _pdf(self, content: bytes, title: str, done: int, note: str = "") -> Printed:
        made = pdf.to_pages(content, title, self.paper, header=self.header, done=done, limit=self.max_pages)
        return Printed(made, _count(made), note)

    def _picture(self, content: bytes, title: str, content_type: str, kind: str, done: int) -> Printed:
        made = image.to_pages(content, title, self.paper, header=self.header, done=done, limit=self.max_pages)
        return Printed(made, _count(made), _about_picture(content, content_type, kind))

    def _office(self, part: Chosen, done: int) -> Printed:
        _check_size(part, self.max_pages)
        try:
            made = child.office(part.kind, part.content, self.max_pages + 1)
        except BadDocument as refused:
            raise BadDocument(f"{part.title}: {refused.text}", part=part.title, reply=refused.reply) from refused
        return self._pdf(made, part.title, done)

    def _svg(self, part: Chosen, done: int) -> Printed:
        setter = markup()
        if setter is None:
            raise BadDocument(f"{part.title}: SVG needs WeasyPrint, which is not installed", part=part.title, reply=MISSING)
        pictures = {"svg": ("image/svg+xml", part.content)}
        laid = None
        if _is_xml(part.content):
            laid = setter.to_pages(_SVG, part.title, self.paper, limit=self.max_pages - done, pictures=pictures)
        if laid is None:
            raise BadDocument(f"{part.title} is broken", part=part.title, reply=BROKEN)
        return self._fitted(laid, part.title, done)

    def _html(self, part: Chosen, done: int) -> Printed:
        """HTML as it is meant to look; where that cannot be had its words, and its pictures behind them."""
        setter = markup()
        pictures = {one.content_id: (one.content_type, one.content) for one in part.pictures}
        source = text.decode(part.content, part.charset or html.charset(part.content))
        source, cut = _cut_html(source, part, self.cut_quotes)
        preface = f"<pre>{_escaped(part.preface)}</pre>" if part.preface else ""
        laid = (
            setter.to_pages(source, part.title, self.paper, limit=self.max_pages - done, pictures=pictures, preface=preface)
            if setter is not None
            else None
        )
        if laid is not None:
            return self._fitted(laid, part.title, done, _joint(cut, _NOT_FETCHED if _REMOTE.search(part.content) else ""))
        printed = self._text(part, done, "its layout does not fit on paper: only its words are printed")
        for one in part.pictures:
            real = sniff.kind(one.content)
            if real in sniff.PICTURES:
                more = self._picture(one.content, part.title, one.content_type, real, done + printed.pages)
                printed = Printed(_joined(printed.pdf, more.pdf), printed.pages + more.pages, printed.note)
        return printed

    def _text(self, part: Chosen, done: int, about: str = _AS_TEXT) -> Printed:
        words, note = _words(part, self.cut_quotes, about)
        self.check(words, part.title)
        shown = fonts.printable(words)
        setter = markup()
        if setter is not None and (shown.missing or part.kind in ("csv", "markdown")):
            laid = setter.to_pages(_marked_up(part, words, setter), part.title, self.paper, limit=self.max_pages - done)
            if laid is not None:
                if laid.missing and _is_mostly_marks("".join(fonts.REPLACEMENT if c in laid.missing else c for c in words)):
                    raise _no_typeface(part.title)
                return self._fitted(laid, part.title, done, note)
        if _is_mostly_marks(shown.text):
            raise _no_typeface(part.title)
        made = text.to_pdf(shown.text, self.paper)
        return Printed(made, _count(made), _joint(note, shown.note))

    def _fitted(self, laid: object, title: str, done: int, note: str = "") -> Printed:
        """A layout on our paper, scaled down where its sheets are larger."""
        from gateway.pages.markup import Laid

        assert isinstance(laid, Laid)
        if done + laid.pages > self.max_pages:
            raise pdf.too_long(self.max_pages, title)
        note = _joint(note, fonts.Printable("", laid.missing).note)
        return self._pdf(laid.pdf, title, done, note) if laid.is_scaled else Printed(laid.pdf, laid.pages, note)


@functools.cache
def markup() -> ModuleType | None:
    """What lays HTML out; None where the extra `html` is not installed, or the system's Pango is missing."""
    try:
        from gateway.pages import markup as found
    except (ImportError, OSError):  # OSError: the package is there, its libraries are not
        return None
    return found


@functools.cache
def _words(part: Chosen, cut_quotes: bool, about_html: str) -> tuple[str, str]:
    """Asked for twice: is it empty, and what is it."""
    if part.kind != "html":
        words = text.decode(part.content, part.charset)
        kept = quoted.cut_text(words) if cut_quotes and part.is_body else words
        return part.preface + kept, "" if kept.split() == words.split() else _CUT
    source, cut = _cut_html(text.decode(part.content, part.charset or html.charset(part.content)), part, cut_quotes)
    not_fetched = _NOT_FETCHED if _REMOTE.search(part.content) else ""
    return part.preface + html.to_text(source), _joint(about_html, cut, not_fetched)


def _cut_html(source: str, part: Chosen, cut_quotes: bool) -> tuple[str, str]:
    """What is left of a message, and a note where that is less."""
    kept = quotes.cut_html(source) if cut_quotes and part.is_body else source
    return kept, "" if kept == source else _CUT


def tells_of_loss(note: str) -> bool:
    """Whether what is said of a printed part is that not all of it is on paper."""
    return any(said and said != _AS_TEXT and not said.startswith(_REALLY) for said in note.split("; "))


def _joint(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _marked_up(part: Chosen, words: str, setter: ModuleType) -> str:
    """A text as HTML, by its kind."""
    if part.kind == "markdown":
        made = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).render(words)
        return f'<div class="faxgate-marked">{made}</div>'
    if part.kind == "csv" and (rows := _rows(words)):
        return str(setter.of_rows(rows))
    return str(setter.of_text(words))


def _rows(words: str) -> list[list[str]]:
    """The cells of a CSV file; none where it is too long to draw, or no table."""
    separator = max(";,\t|", key=words[:10_000].count)
    try:
        rows = list(csv.reader(io.StringIO(words), delimiter=separator))
    except csv.Error:
        return []
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    return rows if len(rows) <= _MOST_ROWS and max(map(len, rows), default=0) <= 100 else []


def _check_size(part: Chosen, most_pages: int) -> None:
    """Refuse what no pages could hold, before LibreOffice spends minutes on it."""
    if not part.content.startswith(b"PK"):
        return
    if sniff.unpacked(part.content) > _LARGEST_XML:
        raise BadDocument(f"{part.title} is too large when it is unpacked", part=part.title, reply=TOO_MUCH)
    most_rows = most_pages * _LINES_A_PAGE
    if part.kind in ("xlsx", "ods") and sniff.rows(part.content, most_rows) > most_rows:
        raise pdf.too_long(most_pages, part.title)


def _about_picture(content: bytes, content_type: str, kind: str) -> str:
    declared = sniff.declared_picture(content_type)
    notes = [f"{_REALLY}{kind.upper()} picture"] if declared in sniff.PICTURES and declared != kind else []
    if kind not in ("tiff", "heic") and image.moves(content):
        notes.append("it moves: its first picture is printed")
    return "; ".join(notes)


def _is_mostly_marks(shown: str) -> bool:
    marks = shown.count(fonts.REPLACEMENT)
    return marks > _SOME and marks > len("".join(shown.split())) / 2


def _no_typeface(title: str) -> BadDocument:
    return BadDocument(f"{title}: there is no typeface here for most of its letters", part=title, reply=UNSUPPORTED)


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;")


def _count(document: bytes) -> int:
    return len(PdfReader(io.BytesIO(document)).pages)


def _joined(first: bytes, second: bytes) -> bytes:
    from pypdf import PdfWriter

    writer = PdfWriter()
    for document in (first, second):
        for page in PdfReader(io.BytesIO(document)).pages:
            writer.add_page(page)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _is_xml(content: bytes) -> bool:
    """Whether it is well-formed; entities are left alone, nothing is fetched."""
    try:
        lxml.etree.fromstring(content, lxml.etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
    except (lxml.etree.XMLSyntaxError, ValueError):
        return False
    return True

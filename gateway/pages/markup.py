"""HTML laid out as pages by WeasyPrint (extra `html`): nothing is fetched, no file is opened, no script runs (CNT-12).

Only pictures of the mail itself (`cid:`) and those written into the HTML (`data:`) are shown. The paper is ours whatever
the mail says about pages; what is wider than the paper is laid out on wider sheets and scaled down as a whole. Layouts
that take too long or too much depth, or put words beside the paper, give None: the caller then sets the words alone
(`html.to_text`). It is laid out as for a screen, which is where its author looked at it.
"""

from __future__ import annotations

import contextlib
import functools
import html
import io
import logging
import re
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any
from urllib.parse import unquote

import fontpkg
import lxml.html
import weasyprint
from PIL import Image, ImageFile
from weasyprint.text import ffi
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from gateway.errors import BadDocument
from gateway.pages.html import to_text
from gateway.pages.image import MOST_PIXELS, PILLOW_ERRORS
from gateway.pages.paper import Paper
from gateway.pages.parts import TOO_MUCH

ImageFile.LOAD_TRUNCATED_IMAGES = False  # WeasyPrint sets it, for all of us: half a scan would be faxed as a whole one

_LONGEST = 2_000_000  # characters
_MOST_ELEMENTS = 30_000
_MOST_CELLS = 1000  # spanned by one cell
_DEEPEST = 150
_PATIENCE = 12.0  # seconds of processor time for one layout
_ENDLESS = 1_000_000.0  # points; the height of a sheet that holds everything
_MARGIN = 42.0  # points; more than the strip of the header line
_WIDEST = 2.5  # times our paper
_WORD = re.compile(r"\w+")
_MISSING = "glyph rendered for Unicode string"
#: What WeasyPrint was seen to raise on markup it does not expect.
_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, OSError, TypeError, ValueError)
_BREAK, _LINE_FEED = "page-break-before: always", "\n"
_STYLE = """
html { font-family: "Noto Sans", "Noto Sans CJK JP", sans-serif; font-size: 10.5pt; line-height: 1.35 }
body { margin: 0 }
img, svg { max-width: 100% }
pre { white-space: pre-wrap; overflow-wrap: anywhere }
.faxgate-text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; margin: 0; font-family: inherit }
.faxgate-table { border-collapse: collapse; font-size: 9pt }
.faxgate-table td, .faxgate-table th { border: 0.5pt solid black; padding: 1.5pt 4pt; vertical-align: top; text-align: left }
.faxgate-marked table { border-collapse: collapse }
.faxgate-marked td, .faxgate-marked th { border: 0.5pt solid black; padding: 2pt 5pt }
.faxgate-marked pre, .faxgate-marked code { font-size: 9.5pt }
"""


@dataclass(frozen=True, slots=True)
class Laid:
    """HTML as pages."""

    pdf: bytes
    pages: int
    is_scaled: bool
    """Its sheets are larger than our paper."""
    missing: tuple[str, ...]
    """Characters that no typeface has; a mark stands in their place."""
    left_out: int
    """Pictures and styles that are not in the mail; they were not fetched."""


class _TooSlow(BaseException):
    """Not an Exception: the library must not take it for a fault of a picture."""


class _TooLarge(FatalURLFetchingError):  # type: ignore[misc]  # the library has no types
    """A picture has more pixels than we decode."""


class _Fetcher(URLFetcher):  # type: ignore[misc]  # the library has no types
    """Gives out the mail's own pictures, and nothing else."""

    def __init__(self, pictures: Mapping[str, tuple[str, bytes]]) -> None:
        super().__init__(allowed_protocols=["data"], allow_redirects=False)
        self.pictures = pictures
        self.refused: set[str] = set()

    def fetch(self, url: str, headers: Mapping[str, str] | None = None) -> URLFetcherResponse:
        scheme = url[:5].lower()
        if scheme.startswith("cid:") and (found := self.pictures.get(unquote(url[4:]))) is not None:
            content_type, content = found
            _check_pixels(content)
            return URLFetcherResponse(url, content, {"Content-Type": content_type})
        if scheme == "data:":
            answer = super().fetch(url, headers)
            content = answer.read()
            _check_pixels(content)
            return URLFetcherResponse(url, content, {"Content-Type": answer.headers.get_content_type()})
        self.refused.add(url)
        raise ValueError("not in the mail")


def to_pages(
    source: str,
    title: str,
    paper: Paper,
    *,
    limit: int,
    pictures: Mapping[str, tuple[str, bytes]] | None = None,
    preface: str = "",
) -> Laid | None:
    """Lay out HTML, with other HTML in front; `pictures` are type and content by Content-ID. None: too large, deep, slow,
    or words would fall off the sheets.

    Raises BadDocument: a picture with too many pixels.
    """
    if not _is_sound(source):
        return None
    fetcher = _Fetcher(pictures or {})
    missing = _Missing()
    try:
        with _patience(), missing.watched():
            document, wider = _fitted(preface + source, fetcher, paper)
            if len(document.pages) <= limit and _loses_words(document, preface + source, fetcher, paper):
                return None
            if len(document.pages) > limit:
                return Laid(b"", len(document.pages), wider, (), 0)
            pdf = document.write_pdf()
    except _TooLarge as large:
        raise BadDocument(f"{title}: one of its pictures has too many pixels", part=title, reply=TOO_MUCH) from large
    except (_TooSlow, RecursionError, *_FAULTS):
        return None
    return Laid(pdf, len(document.pages), wider, tuple(sorted(missing.found)), len(fetcher.refused))


def of_text(text: str) -> str:
    """Plain text as HTML: line breaks and blanks stay, every script runs in its own direction."""
    return "".join(
        f'<pre class="faxgate-text" style="{_BREAK if n else ""}">{html.escape(sheet.strip(_LINE_FEED) if n else sheet)}</pre>'
        for n, sheet in enumerate(text.strip("\n").split("\f"))
    )


def of_rows(rows: list[list[str]]) -> str:
    """A table as HTML."""
    lines = ("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table class="faxgate-table">{"".join(lines)}</table>'


def _fitted(source: str, fetcher: _Fetcher, paper: Paper) -> tuple[weasyprint.Document, bool]:
    """The layout on our paper, or on a larger sheet of the same shape where something sticks out at the right."""
    document = _laid(source, fetcher, paper, 1.0)
    room = (paper.width - 2 * _MARGIN) / 0.75  # in CSS pixels
    needed = max((_right_edge(page) for page in document.pages), default=0.0) - _MARGIN / 0.75
    if needed <= room * 1.01:
        return document, False
    return _laid(source, fetcher, paper, min(_WIDEST, needed / room * 1.01)), True


def _laid(source: str, fetcher: _Fetcher, paper: Paper, scale: float) -> weasyprint.Document:
    width, height = paper.width * scale, paper.height * scale
    margin = f"{_MARGIN * scale:.2f}pt"
    page = f"@page {{ size: {width:.2f}pt {height:.2f}pt !important; margin: {margin} !important }}"
    styles = [weasyprint.CSS(string=_STYLE + page, url_fetcher=fetcher, font_config=typefaces())]
    document = weasyprint.HTML(string=source, url_fetcher=fetcher, base_url=None, media_type="screen")
    return document.render(stylesheets=styles, presentational_hints=True, font_config=typefaces())


def _right_edge(page: weasyprint.Page) -> float:
    """Where the rightmost text or picture of a page ends, in CSS pixels."""
    kinds = (weasyprint.formatting_structure.boxes.TextBox, weasyprint.formatting_structure.boxes.ReplacedBox)
    edge = 0.0
    for box in page._page_box.descendants(placeholders=True):
        if isinstance(box, kinds) and isinstance(box.width, float | int):
            edge = max(edge, float(box.position_x) + float(box.width))
    return edge


def _loses_words(document: weasyprint.Document, source: str, fetcher: _Fetcher, paper: Paper) -> bool:
    """Whether words are beside the sheets, or gone: what floats or has a fixed height does not go on overleaf.

    What the document says is asked of the reader of words first; styles hide some of that, so that before a layout is
    given up it is compared with one on a sheet without an end.
    """
    if any(_is_beside(box, page) for page in document.pages for box in _texts(page)):
        return True
    shown = _words(document)
    if not Counter(_WORD.findall(to_text(source).lower())) - shown:
        return False
    scale = document.pages[0].width * 0.75 / paper.width
    return bool(_words(_laid(source, fetcher, Paper(paper.width, _ENDLESS), scale)) - shown)


def _words(document: weasyprint.Document) -> Counter[str]:
    return Counter(_WORD.findall(" ".join(box.text for page in document.pages for box in _texts(page)).lower()))


def _texts(page: weasyprint.Page) -> Iterator[Any]:
    """The pieces of text on a page."""
    kind = weasyprint.formatting_structure.boxes.TextBox
    return (box for box in page._page_box.descendants(placeholders=True) if isinstance(box, kind) and box.text.strip())


def _is_beside(box: Any, page: weasyprint.Page) -> bool:
    """Whether it stands below or right of the sheet."""
    below = float(box.position_y) + float(box.height) > page.height
    return bool(below or float(box.position_x) + float(box.width) > page.width)


@functools.cache
def typefaces() -> FontConfiguration:
    """The system's typefaces and the one that comes with us."""
    configuration = FontConfiguration()
    ffi.fontconfig.FcConfigAppFontAddFile(configuration._config, str(fontpkg.path("Noto Sans")).encode())
    return configuration


def _is_sound(source: str) -> bool:
    """Whether a layout is worth trying: not too long, not too deep, no table cell over thousands of others."""
    if len(source) > _LONGEST or not source.strip():
        return False
    try:
        tree = lxml.html.document_fromstring(
            source.replace("\x00", "").encode("utf-8", "replace"),
            parser=lxml.html.HTMLParser(huge_tree=True, no_network=True, encoding="utf-8"),
        )
    except (lxml.etree.LxmlError, ValueError, AssertionError):
        return False
    depth = deepest = count = 0
    for event, element in lxml.etree.iterwalk(tree, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
        count += event == "start"
        if event == "start" and any(_spans(element.get(name)) > _MOST_CELLS for name in ("colspan", "rowspan", "span")):
            return False
    return deepest <= _DEEPEST and count <= _MOST_ELEMENTS


def _spans(value: str | None) -> int:
    digits = (value or "").strip()[:9]
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _check_pixels(content: bytes) -> None:
    try:
        with Image.open(io.BytesIO(content)) as opened:
            width, height = opened.size
    except PILLOW_ERRORS:  # no picture: a stylesheet, an SVG, something broken
        return
    if width * height > MOST_PIXELS:
        raise _TooLarge(f"{width} by {height} pixels")


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Give up after `_PATIENCE`; some layouts take time that doubles with each level of nesting."""

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, _PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class _Missing(logging.Handler):
    """Listens to the library for characters that no typeface has: it tells them nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if _MISSING in str(record.msg) and isinstance(record.args, tuple) and record.args:
            self.found.add(str(record.args[0]))

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        talk = logging.getLogger("weasyprint")
        before, passed = logging.root.manager.disable, talk.propagate
        logging.disable(logging.NOTSET)
        talk.addHandler(self)
        talk.propagate = False  # what it says quotes the document
        try:
            yield
        finally:
            talk.removeHandler(self)
            talk.propagate = passed
            logging.disable(before)

"""The line at the top of every page: when, who, page and pages (LAW-01, LAW-04).

It lies over pages that were made with room for it, so none grows, and is shown before the page's own content: what that
content does to the coordinates cannot move it. All pages share one picture of the words, and a page adds its number.
The letters are Helvetica's, which every reader of PDF has, where it has them all; else the embedded typeface.
"""

from __future__ import annotations

import io

from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    FloatObject,
    IndirectObject,
    NameObject,
    StreamObject,
)
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from gateway.pages import fonts, wording
from gateway.pages.paper import HEADER, Paper

_SIZE = 8.0
_EDGE = 24.0  # points from the sides: what a fax machine is sure to print
_GAP = 12.0  # between the words and the page number
_FACE, _CODING = "Helvetica", "cp1252"


def add(writer: PdfWriter, paper: Paper, words: str, page_word: str) -> None:
    """Print the line on every page of `writer`; `page_word` stands before the number, e.g. "page"."""
    words = wording.one_line(words)
    total = len(writer.pages)
    y = paper.height - HEADER + 7
    counts = [f"{page_word} {number}/{total}" for number in range(1, total + 1)]
    room = paper.width - 2 * _EDGE - _GAP - stringWidth(counts[-1], _FACE, _SIZE)
    face = writer._add_object(_helvetica())
    form = _shared(writer, words, room, y, paper, face)
    for page, count in zip(writer.pages, counts, strict=True):
        resources = _dictionary(page, "/Resources")
        forms, faces = _dictionary(resources, "/XObject"), _dictionary(resources, "/Font")
        picture, letters = _free_name(forms), _free_name(faces)
        forms[NameObject(picture)], faces[NameObject(letters)] = form, face
        resources[NameObject("/XObject")], resources[NameObject("/Font")] = forms, faces
        page[NameObject("/Resources")] = resources
        x = paper.width - _EDGE - stringWidth(count, _FACE, _SIZE)
        _show_first(writer, page, b"q %s Do Q %s" % (picture.encode(), _line(letters, x, y, count)))


def _shared(writer: PdfWriter, words: str, room: float, y: float, paper: Paper, face: IndirectObject) -> IndirectObject:
    """The words as a form that all pages show."""
    form = StreamObject()
    try:
        words.encode(_CODING)
    except UnicodeEncodeError:
        page = PdfReader(io.BytesIO(_embedded(words, room, y, paper))).pages[0]
        content = page.get_contents()
        assert content is not None
        form.set_data(content.get_data())
        form[NameObject("/Resources")] = _dictionary(page, "/Resources").clone(writer)
    else:
        form.set_data(_line("/F", _EDGE, y, _cut(words, room)))
        faces = DictionaryObject({NameObject("/F"): face})
        form[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): faces})
    form[NameObject("/Type")] = NameObject("/XObject")
    form[NameObject("/Subtype")] = NameObject("/Form")
    form[NameObject("/BBox")] = ArrayObject([FloatObject(n) for n in (0, paper.height - HEADER, paper.width, paper.height)])
    return writer._add_object(form)


def _cut(words: str, room: float) -> str:
    """As much of the words as fits."""
    if stringWidth(words, _FACE, _SIZE) <= room:
        return words
    least, most = 0, len(words)
    while most - least > 1:
        middle = (least + most) // 2
        fits = stringWidth(words[:middle] + "…", _FACE, _SIZE) <= room
        least, most = (middle, most) if fits else (least, middle)
    return words[:least].rstrip() + "…"


def _embedded(words: str, room: float, y: float, paper: Paper) -> bytes:
    fitting = fonts.wrap(words, _SIZE, room)
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(paper.width, paper.height), invariant=1, pageCompression=0)
    fonts.draw(canvas, _EDGE, y, fitting[0] if len(fitting) == 1 else fitting[0] + "…", _SIZE)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def _line(face: str, x: float, y: float, words: str) -> bytes:
    text = words.encode(_CODING).replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    return b"q 0 g BT %s %.0f Tf %.2f %.2f Td (%s) Tj ET Q" % (face.encode(), _SIZE, x, y, text)


def _helvetica() -> DictionaryObject:
    names = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": f"/{_FACE}", "/Encoding": "/WinAnsiEncoding"}
    return DictionaryObject({NameObject(key): NameObject(value) for key, value in names.items()})


def _free_name(taken: DictionaryObject) -> str:
    """A page may come from a fax of ours and have a header line already: its names stay what they are."""
    name = "/Faxgate"
    while name in taken:
        name += "0"
    return name


def _show_first(writer: PdfWriter, page: PageObject, shown: bytes) -> None:
    stream = StreamObject()
    stream.set_data(shown + b"\n")
    raw = page.raw_get("/Contents") if "/Contents" in page else None
    content = raw.get_object() if raw is not None else None
    rest = list(content) if isinstance(content, ArrayObject) else [raw] if raw is not None else []
    page[NameObject("/Contents")] = ArrayObject([writer._add_object(stream), *rest])


def _dictionary(owner: DictionaryObject, key: str) -> DictionaryObject:
    """A copy of a dictionary below `owner`: pages share theirs, and the names differ. Empty when there is none."""
    found = owner.get(key)
    found = found.get_object() if found is not None else None
    return DictionaryObject(found) if isinstance(found, DictionaryObject) else DictionaryObject()

"""PDF attachments, brought onto our paper: scaled to fit, upright, centred, form fields and notes printed.

pypdf does the work. What it cannot read is rewritten by pikepdf (extra `repair`), then by pdfium, and is read again; then
it is refused.
Limits: UserUnit is ignored; XFA forms print the notice their author put there.
"""

from __future__ import annotations

import binascii
import io
import struct
import zlib

import pypdfium2
import pypdfium2.raw as pdfium
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.errors import PyPdfError
from pypdf.generic import ArrayObject, DictionaryObject, FloatObject, NameObject, NullObject, RectangleObject, StreamObject

try:
    import pikepdf
except ImportError:
    pikepdf = None  # type: ignore[assignment]

from gateway.errors import BadDocument
from gateway.pages.manifest import BROKEN, TOO_MUCH
from gateway.pages.paper import Box, Paper

#: Everything pypdf was seen to raise on broken files (971 test documents), and the arithmetic of hostile numbers. The one
#: place where a fault of a PDF is told from a fault of ours. Not MemoryError: that is no fault of the document alone.
PYPDF_ERRORS = (
    PyPdfError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    binascii.Error,
    struct.error,
    zlib.error,
)

_LARGEST_GROWTH = 1.5  # a small page is enlarged no more than this
_SIMPLE_NOTES = frozenset({"/Link", "/Popup"})  # annotations that show nothing on paper
_NOT_COPIED = ("/Annots", "/B", "/AA", "/Thumb", "/PieceInfo", "/StructParents", "/Metadata", "/Group", "/Trans", "/PresSteps")


def to_pages(content: bytes, title: str, paper: Paper, *, header: bool, done: int, limit: int) -> bytes:
    """Bring a PDF onto our paper; the fax has `done` pages already and may have `limit`.

    Raises BadDocument: broken or locked (5.6.5), too many pages (5.3.4).
    """
    area = paper.area(header=header)
    for repair in (_as_it_is, repaired):
        try:
            return _normalised(repair(content, title), title, paper, area, done, limit)
        except PYPDF_ERRORS:
            continue
    try:
        return _normalised(rewritten(content, title, flatten=False), title, paper, area, done, limit)
    except PYPDF_ERRORS as broken:
        raise BadDocument(f"{title} is broken", part=title, reply=BROKEN) from broken


def _as_it_is(content: bytes, _title: str) -> bytes:
    return content


def repaired(content: bytes, title: str) -> bytes:
    """The file as pikepdf rebuilds it, broken tables and all. Raises ValueError where it is not installed or gives up."""
    if pikepdf is None:
        raise ValueError("pikepdf is not installed")
    try:
        with pikepdf.open(io.BytesIO(content), attempt_recovery=True) as document:
            if any("/Contents" not in page for page in document.pages):
                raise ValueError("the content of a page is missing")  # it leaves out what it does not find
            out = io.BytesIO()
            document.save(out)
            return out.getvalue()
    except pikepdf.PasswordError as asked:
        raise locked(title) from asked
    except (pikepdf.PdfError, pikepdf.DataDecodingError, RuntimeError) as broken:
        raise ValueError("beyond repair") from broken


def rewritten(content: bytes, title: str, *, flatten: bool) -> bytes:
    """The file as pdfium understands it; with form fields and notes made part of the page where `flatten` is asked."""
    try:
        with pypdfium2.PdfDocument(content) as document:
            if flatten:
                document.init_forms()
                for page in document:
                    pdfium.FPDFPage_Flatten(page, pdfium.FLAT_PRINT)
                    page.close()
                out = io.BytesIO()
                document.save(out)
                return out.getvalue()
            with pypdfium2.PdfDocument.new() as copy:
                copy.import_pages(document)
                out = io.BytesIO()
                copy.save(out)
                return out.getvalue()
    except pypdfium2.PdfiumError as broken:
        if "password" in str(broken).lower():
            raise locked(title) from broken
        raise BadDocument(f"{title} is broken", part=title, reply=BROKEN) from broken


def locked(title: str) -> BadDocument:
    """The refusal of a document that asks for a password."""
    return BadDocument(f"{title} is protected by a password", part=title, reply=BROKEN)


def too_long(limit: int, title: str) -> BadDocument:
    """The refusal of a fax that gets too long; `limit` is in pages."""
    return BadDocument(f"with {title} the fax has more pages than the {limit} allowed", part=title, reply=TOO_MUCH)


def _normalised(content: bytes, title: str, paper: Paper, area: Box, done: int, limit: int) -> bytes:
    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise locked(title)
    pages = len(reader.pages)
    if done + pages > limit:
        raise too_long(limit, title)
    if not pages:
        raise PyPdfError("no pages")
    if not reader.is_encrypted and any(_shows_notes(page) for page in reader.pages):
        reader = PdfReader(io.BytesIO(rewritten(content, title, flatten=True)))
    writer = PdfWriter()
    for source in reader.pages:
        if _lost(source):
            raise BadDocument(f"{title} is broken: the content of a page is missing", part=title, reply=BROKEN)
        page = writer.add_page(source, excluded_keys=_NOT_COPIED)
        _fit(writer, page, paper, area)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _lost(page: PageObject) -> bool:
    """Whether the page names content that is not in the file: a truncated file would else be faxed as blank pages."""
    if "/Contents" not in page:
        return False
    content = page.raw_get("/Contents").get_object()
    pieces = [piece.get_object() for piece in content] if isinstance(content, ArrayObject) else [content]
    return any(piece is None or isinstance(piece, NullObject) for piece in pieces)


def _shows_notes(page: PageObject) -> bool:
    notes = page.get("/Annots")
    notes = notes.get_object() if notes is not None else None
    if not isinstance(notes, ArrayObject):
        return False
    for entry in notes:
        note = entry.get_object()
        if isinstance(note, DictionaryObject) and note.get("/Subtype") not in _SIMPLE_NOTES:
            return True
    return False


def _fit(writer: PdfWriter, page: PageObject, paper: Paper, area: Box) -> None:
    """Put a coordinate change before the page's content, instead of rewriting the content."""
    visible = _visible(page)
    turn = (int(page.get("/Rotate", 0) or 0) % 360) // 90
    width, height = (visible.width, visible.height) if turn % 2 == 0 else (visible.height, visible.width)
    if width > height * 1.02:  # lying: turned so that its top is at the left edge
        turn, width, height = (turn + 3) % 4, height, width
    scale = min(area.width / width, area.height / height, _LARGEST_GROWTH)
    left = area.left + (area.width - width * scale) / 2
    bottom = area.bottom + (area.height - height * scale) / 2
    x, y, w, h, s = visible.left, visible.bottom, visible.width, visible.height, scale
    matrix = (
        (s, 0, 0, s, left - s * x, bottom - s * y),
        (0, -s, s, 0, left - s * y, bottom + s * (x + w)),
        (-s, 0, 0, -s, left + s * (x + w), bottom + s * (y + h)),
        (0, s, -s, 0, left + s * (y + h), bottom - s * x),
    )[turn]
    clip = f"{x:.4f} {y:.4f} {w:.4f} {h:.4f} re W n"
    before = StreamObject()
    before.set_data(f"q {' '.join(f'{n:.6f}' for n in matrix)} cm {clip}\n".encode())
    after = StreamObject()
    after.set_data(b"\nQ\n")
    raw = page.raw_get("/Contents") if "/Contents" in page else None
    content = raw.get_object() if raw is not None else None
    middle = list(content) if isinstance(content, ArrayObject) else [raw] if raw is not None else []
    page[NameObject("/Contents")] = ArrayObject([writer._add_object(before), *middle, writer._add_object(after)])
    for key in ("/CropBox", "/TrimBox", "/BleedBox", "/ArtBox", "/Rotate", "/UserUnit"):
        page.pop(key, None)
    page[NameObject("/MediaBox")] = RectangleObject(
        [FloatObject(0), FloatObject(0), FloatObject(paper.width), FloatObject(paper.height)]
    )


def _visible(page: PageObject) -> Box:
    """What a viewer shows of a page, before it is turned."""
    media, crop = _corners(page.mediabox), _corners(page.cropbox)
    left, bottom = max(media[0], crop[0]), max(media[1], crop[1])
    right, top = min(media[2], crop[2]), min(media[3], crop[3])
    if right - left < 1 or top - bottom < 1:  # the crop box lies outside the page: viewers then ignore it
        left, bottom, right, top = media
    if right - left < 1 or top - bottom < 1:
        raise PyPdfError("a page has no area")
    return Box(left, bottom, right - left, top - bottom)


def _corners(box: RectangleObject) -> tuple[float, float, float, float]:
    """Lower left and upper right corner; any two opposite corners may be written in a file (ISO 32000 section 7.9.5)."""
    (x, u), (y, v) = sorted(map(float, (box.left, box.right))), sorted(map(float, (box.bottom, box.top)))
    return x, y, u, v

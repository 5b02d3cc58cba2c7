"""A received fax as PDF: every pixel stays, in the smallest of the codings a PDF knows.

A scan in MMR is taken over as it is; MH and MR become MMR where that is smaller, which for halftones it is not. A page that
was damaged on the way is kept as far as it can be read, and a line below it says so; one that cannot be read at all
is a page that says so. The pages behind it are read all the same.
"""

from __future__ import annotations

import io
import warnings
import zlib
from dataclasses import dataclass

import pypdfium2
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from gateway.errors import BadDocument
from gateway.pages import codes, image, sniff, tags
from gateway.pages.paper import PAPERS
from gateway.pages.parts import BROKEN
from gateway.pages.sheets import Scan, Sheets
from gateway.pages.tags import Directory

_MOST_PAGES = 5000
_WIDEST = 10_000  # dots; the widest fax has 4864
_HIGHEST = 200_000  # lines
_BY_PILLOW = {"mh": ("group3", {}), "mr": ("group3", {292: 1}), "mmr": ("group4", {}), "mh-bytes": ("tiff_ccitt", {})}
_DENSE = 4  # a halftone: where MMR makes a page no smaller than by this, other codings are tried


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of dots, read."""

    picture: Image.Image
    """Mode "1"; white where the coder saw black, so that it can be coded again as it was."""
    damaged: int
    """Lines."""
    coded: bytes
    """As it came, if it is one piece and in order; else b""."""


def to_pdf(data: bytes) -> tuple[bytes, int]:
    """A received fax as PDF, and its pages. Real PDF stays as it is. Raises BadDocument."""
    return looked_at(data)[:2]


def looked_at(data: bytes) -> tuple[bytes, int, str, int]:
    """The same, with the resolution of the first page ("204x196"; "" where the file does not say), and how many pages were
    damaged on the way, as far as that can be seen."""
    kind = sniff.kind(data)
    if kind == "pdf":
        return data, _count(data), "", 0
    if kind == "tiff":
        return _from_tiff(data)
    raise BadDocument("the received fax is neither PDF nor TIFF", reply=BROKEN)


def _count(data: bytes) -> int:
    try:
        with pypdfium2.PdfDocument(data) as document:
            if not len(document):
                raise BadDocument("the received fax has no pages", reply=BROKEN)
            document[0].close()
            return len(document)
    except pypdfium2.PdfiumError as broken:
        raise BadDocument("the received fax is a broken PDF", reply=BROKEN) from broken


def _from_tiff(data: bytes) -> tuple[bytes, int, str, int]:
    sheets, readable, damaged, resolution = Sheets(), 0, 0, ""
    try:
        for directory in tags.directories(data):
            if len(sheets) >= _MOST_PAGES:
                raise BadDocument("the received fax has too many pages", reply=BROKEN)
            scan = _scan(directory)
            if scan is None:
                _say_lost(sheets, "It could not be read.")
                damaged += 1
            else:
                resolution = resolution or "x".join(f"{round(dots)}" for dots in _dots(directory))
                sheets.add(scan)
                readable += 1
                damaged += bool(scan.note)
    except tags.BadTiff as broken:
        if not readable:
            raise BadDocument("the received fax is a broken TIFF", reply=BROKEN) from broken
        _say_lost(sheets, "It and any page after it could not be read.")
        damaged += 1
    if not readable:
        raise BadDocument("the received fax has no page that can be read", reply=BROKEN)
    return sheets.pdf(), len(sheets), resolution, damaged


def _say_lost(sheets: Sheets, what: str) -> None:
    paper = PAPERS["letter"]
    sheets.say(paper.width, paper.height, [f"Page {len(sheets) + 1} of this fax was damaged on the way.", what])


def _scan(directory: Directory) -> Scan | None:
    """One page; None when nothing of it can be read."""
    width, height = directory.width, directory.height
    if not (0 < width <= _WIDEST and 0 < height <= _HIGHEST and width * height <= image.MOST_PIXELS):
        return None
    if not directory.is_fax:
        return _other(directory)
    page = _read(directory)
    if page.damaged >= height:
        return None
    across, down = _dots(directory)
    data, about = _smallest(directory, page)
    lost = max(page.damaged, directory.bad_lines)
    note = f"{lost} of the {height} lines of this page were damaged on the way." if lost else ""
    return Scan(data, about | _size(width, height), width * 72 / across, height * 72 / down, note)


def _dots(directory: Directory) -> tuple[float, float]:
    """Dots an inch, by the file or, for a fax that does not say, by its width."""
    across, down = directory.dots
    if 30 <= across <= 4800 and 30 <= down <= 4800:
        return across, down
    return image.fax_dots(directory.width, directory.height)


def _read(directory: Directory) -> _Page:
    """The dots: by libtiff where coding them again gives the same data, else line by line."""
    width, strips = directory.width, list(directory.strips())
    paper = 0 if directory.white_is_zero else 1
    picture = Image.new("1", (width, directory.height), paper)
    damaged, top, sound = directory.height - sum(lines for _, lines in strips), 0, b""
    for data, lines in strips:
        found = _by_libtiff(data, directory, lines)
        if found is None:
            read = codes.read(data, directory.coding, width, lines, paper)
            damaged += read.bad
            found = Image.frombytes("1", (width, lines), b"".join(read.rows)), b""
        picture.paste(found[0], (0, top))
        top, sound = top + lines, found[1]
    return _Page(picture, damaged, sound if len(strips) == 1 else b"")


def _by_libtiff(data: bytes, directory: Directory, lines: int) -> tuple[Image.Image, bytes] | None:
    """The strip read and coded again; None unless that says the same, which it does not for damaged data."""
    coding = directory.coding
    try:
        with TiffImageFile(io.BytesIO(_one_strip(data, coding, directory.width, lines))) as opened:
            opened.load()
            picture = opened.copy()
    except image.PILLOW_ERRORS:
        return None
    again = _coded(picture, coding, directory.dots[1])
    return (picture, again) if codes.same(data, again, coding) else None


def _one_strip(data: bytes, coding: str, width: int, lines: int) -> bytes:
    """A TIFF file of one page around the data; its dots are not turned over."""
    compression = {"mmr": tags.T6, "mh-bytes": tags.MH_BYTES}.get(coding, tags.T4)
    entries = [(256, width), (257, lines), (258, 1), (259, compression), (262, 1), (273, 8), (277, 1), (278, lines)]
    entries += [(279, len(data)), (292, 1 if coding == "mr" else 0)]
    body = len(entries).to_bytes(2, "little")
    for tag, value in entries:
        body += tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
    padding = bytes(len(data) % 2)
    at = 8 + len(data) + len(padding)
    return b"II*\0" + at.to_bytes(4, "little") + data + padding + body + bytes(4)


def _coded(picture: Image.Image, coding: str, down: float = 0.0) -> bytes:
    """The dots as one strip, white ones with the black codes; `down`, lines an inch, is what MR decides by
    how often a line stands for itself."""
    compression, options = _BY_PILLOW[coding]
    out = io.BytesIO()
    about = {278: picture.height, **options}
    picture.save(out, "TIFF", compression=compression, tiffinfo=about, dpi=(200, 200 if down > 150 else 100))
    out.seek(0)
    page = next(tags.directories(out.getvalue()))
    return next(page.strips())[0]


def _smallest(directory: Directory, page: _Page) -> tuple[bytes, dict[str, str]]:
    """The data and how it is coded."""
    width, height, straight = directory.width, directory.height, directory.white_is_zero
    bare = (width + 7) // 8 * height
    found: list[tuple[bytes, dict[str, str]]] = []
    if page.coded and directory.coding == "mmr":
        found.append((page.coded, _ccitt(-1, width, height, straight)))
    else:
        found.append((image.g4(_ink(page.picture, straight)), _ccitt(-1, width, height, True)))
    if len(found[0][0]) > bare // _DENSE:
        ink = _ink(page.picture, straight)
        runs = _coded(_turned(ink), "mh-bytes")
        found.append((runs, _ccitt(0, width, height, True)))
        packed = zlib.compress(ink.tobytes(), 9)
        found.append((packed, {"/Filter": "/FlateDecode"}))
    return min(found, key=lambda one: len(one[0]))


def _ink(picture: Image.Image, straight: bool) -> Image.Image:
    """The page as it looks: black is ink. In `picture` the coder's black is white."""
    return _turned(picture) if straight else picture


def _turned(picture: Image.Image) -> Image.Image:
    return picture.point([255] + [0] * 255)


def _ccitt(k: int, width: int, height: int, straight: bool) -> dict[str, str]:
    rest = "" if straight else "/BlackIs1 true"
    rest += "/EncodedByteAlign true" if k == 0 else ""
    return {"/Filter": "/CCITTFaxDecode", "/DecodeParms": f"<</K {k}/Columns {width}/Rows {height}{rest}>>"}


def _size(width: int, height: int) -> dict[str, str]:
    return {"/Width": str(width), "/Height": str(height), "/BitsPerComponent": "1", "/ColorSpace": "/DeviceGray"}


def _other(directory: Directory) -> Scan | None:
    """A page in no fax coding, e.g. of a colour fax: grey, losslessly, or as JPEG where it came as one."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of a file that makes little sense
            frame = next(image.frames(tags.alone(directory), "the received fax"))
    except (*image.PILLOW_ERRORS, BadDocument, tags.BadTiff):
        return None
    picture = frame.picture
    if picture.mode == "1":
        data, about = image.g4(picture), _ccitt(-1, *picture.size, True)
        return Scan(data, about | _size(*picture.size), frame.width, frame.height)
    about = _size(*picture.size) | {"/BitsPerComponent": "8", "/Filter": "/FlateDecode"}
    return Scan(zlib.compress(picture.tobytes(), 9), about, frame.width, frame.height)

"""Pictures to pages: JPEG, PNG, TIFF of many pages and of every fax coding, GIF, BMP, WebP, HEIC (with pi-heif).

The physical size comes from the resolution in the file, so a fax of 204 by 98 dots an inch keeps its height (IMG-02).
Black and white stays black and white, coded as G4; everything else becomes grey. Size is checked before decoding.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile
from pypdf import PdfWriter
from pypdf.generic import BooleanObject, DictionaryObject, NameObject, NumberObject, StreamObject

from gateway.errors import BadDocument
from gateway.pages import sniff
from gateway.pages.manifest import BROKEN, MISSING, TOO_MUCH
from gateway.pages.paper import Box, Paper
from gateway.pages.pdf import too_long

try:  # what telephones take pictures in; the library is the extra `heic`
    import pi_heif
except ImportError:
    HEIC = False
else:
    pi_heif.register_heif_opener(thumbnails=False)
    HEIC = True

MOST_PIXELS = 120_000_000  #: of one picture: an A4 page at 1200 dots an inch, or a camera of 108 megapixels
Image.MAX_IMAGE_PIXELS = None  # the limit above is ours, it is checked before anything is decoded

#: What Pillow raises on broken pictures; its decoders share no base class.
PILLOW_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

_FORMATS = ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", *(("HEIF",) if HEIC else ()))
_PHOTOS = frozenset({"JPEG", "MPO", "HEIF"})  # MPO: a JPEG with another view of the same behind it, as telephones write it
_FAX_WIDTHS = {1728: 204, 2048: 204, 2432: 204, 2592: 300, 3072: 300, 3648: 300, 3456: 408, 4096: 408, 4864: 408}
_SCREEN = 96.0  # dots an inch of a picture that does not say
_FINEST = 300.0  # dots an inch of grey pictures on the page; a fax has 204
_BORDER = 28.0  # points around a picture; a fax keeps its own margins
_PAGE_WIDE = 0.9  # a black-and-white picture this wide, as a share of the sheet, is a page and not a picture on it


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a file, decoded: mode "1" or "L", upright."""

    picture: Image.Image
    width: float
    """Points, by the file's resolution."""
    height: float
    is_photo: bool


def to_pages(content: bytes, title: str, paper: Paper, *, header: bool, done: int, limit: int) -> bytes:
    """One page for each picture in the file; the fax has `done` pages already and may have `limit`.

    Raises BadDocument: broken (5.6.5), too many pages or pixels (5.3.4).
    """
    if not HEIC and sniff.kind(content[:64]) == "heic":
        raise BadDocument(f"{title}: HEIC pictures need pi-heif, which is not installed", part=title, reply=MISSING)
    writer = PdfWriter()
    count = done
    for frame in _sound_frames(content, title):
        count += 1
        if count > limit:
            raise too_long(limit, title)
        box, turned = _place(frame, paper, header=header)
        add_page(writer, frame.picture, (paper.width, paper.height), box, turned=turned, is_photo=frame.is_photo)
    if count == done:
        raise BadDocument(f"{title} is broken", part=title, reply=BROKEN)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def frames(content: bytes, title: str) -> Iterator[Frame]:
    """Decode the pictures of a file one after another. Raises PILLOW_ERRORS, and BadDocument for too many pixels."""
    with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
        if opened.format != "TIFF":
            yield _frame(opened, title)
            return
        number = 0
        while True:
            try:
                opened.seek(number)
            except EOFError:
                return
            yield _frame(opened, title)
            number += 1


def moves(content: bytes) -> bool:
    """Whether a file that is not a TIFF is an animation."""
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
            return bool(getattr(opened, "is_animated", False)) and opened.format not in _PHOTOS
    except PILLOW_ERRORS:
        return False


def add_page(
    writer: PdfWriter,
    picture: Image.Image,
    size: tuple[float, float],
    box: Box,
    *,
    turned: bool = False,
    is_photo: bool = False,
) -> None:
    """Append a page of `size` (points) that shows the picture in `box`, turned by 90 degrees where asked."""
    page = writer.add_blank_page(*size)
    name = NameObject("/Im")
    resources = DictionaryObject(
        {NameObject("/XObject"): DictionaryObject({name: writer._add_object(_stream(picture, is_photo))})}
    )
    page[NameObject("/Resources")] = resources
    if turned:
        matrix = f"0 {box.height:.4f} {-box.width:.4f} 0 {box.left + box.width:.4f} {box.bottom:.4f}"
    else:
        matrix = f"{box.width:.4f} 0 0 {box.height:.4f} {box.left:.4f} {box.bottom:.4f}"
    content = StreamObject()
    content.set_data(f"q {matrix} cm /Im Do Q".encode())
    page[NameObject("/Contents")] = writer._add_object(content)


def g4(picture: Image.Image) -> bytes:
    """The picture (mode "1") as one bare G4 strip in which ink is coded as black, as T.6 means it."""
    out = io.BytesIO()
    # Pillow codes white as ink; turned over first, the black runs get the black codes and the result is smaller.
    picture.point([255] + [0] * 255).save(out, "TIFF", compression="group4", tiffinfo={278: picture.height})
    out.seek(0)
    with TiffImageFile(out) as coded:
        offsets, sizes = coded.tag_v2[273], coded.tag_v2[279]
    data = out.getvalue()
    if len(offsets) != 1:
        raise ValueError("the coder made more than one strip")
    return data[offsets[0] : offsets[0] + sizes[0]]


def _sound_frames(content: bytes, title: str) -> Iterator[Frame]:
    try:
        yield from frames(content, title)
    except PILLOW_ERRORS as broken:
        raise BadDocument(f"{title} is broken", part=title, reply=BROKEN) from broken


def _frame(opened: Image.Image, title: str) -> Frame:
    width, height = opened.size
    if width * height > MOST_PIXELS:
        raise BadDocument(f"{title} has too many pixels ({width} by {height})", part=title, reply=TOO_MUCH)
    across, down = _resolution(opened)
    is_photo = opened.format in _PHOTOS or (opened.format == "WEBP" and opened.mode == "RGB")
    size = (width * 72 / across, height * 72 / down)
    if opened.format == "JPEG":
        opened.draft("L", (2550, 2550))  # the decoder leaves out what a fax cannot show
    opened.load()
    picture = _grey(opened)
    if opened.getexif().get(0x0112, 1) in (5, 6, 7, 8):
        size = size[1], size[0]
    picture = ImageOps.exif_transpose(picture) if picture is not opened else ImageOps.exif_transpose(opened)
    return Frame(picture, *size, is_photo)


def _grey(opened: Image.Image) -> Image.Image:
    """The picture in black and white or grey, on white where it is transparent."""
    if opened.mode in ("1", "L"):
        return opened
    if opened.mode.startswith("I"):  # 16 bits a pixel and more: Pillow would cut instead of scale
        picture = opened.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    elif opened.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in opened.info:
        clear = opened.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        white.alpha_composite(clear)
        picture = white.convert("L")
    else:
        picture = opened.convert("L")
    picture.info["exif"] = opened.info.get("exif", b"")
    return picture


def _resolution(opened: Image.Image) -> tuple[float, float]:
    """Dots an inch across and down, by the file or, for a fax that does not say, by its width."""
    try:
        across, down = (float(value) for value in opened.info.get("dpi", (0, 0)))
    except (TypeError, ValueError, ZeroDivisionError):
        across = down = 0.0
    if 30 <= across <= 4800 and 30 <= down <= 4800:
        return across, down
    if opened.format == "TIFF" and opened.mode == "1" and opened.width in _FAX_WIDTHS:
        return fax_dots(*opened.size)
    return _SCREEN, _SCREEN


def fax_dots(width: int, height: int) -> tuple[float, float]:
    """Dots an inch across and down of a fax that does not say: by its width, and by a page being higher than wide."""
    across = float(_FAX_WIDTHS.get(width, 204))
    return across, 98.0 if height * 1.1 < width else across * 196 / 204


def _place(frame: Frame, paper: Paper, *, header: bool) -> tuple[Box, bool]:
    """Where a picture goes on the sheet: at its own size if that fits, else smaller; lying ones are turned."""
    area = paper.area(header=header)
    if not (frame.picture.mode == "1" and frame.width >= paper.width * _PAGE_WIDE):
        area = Box(area.left + _BORDER, area.bottom + _BORDER, area.width - 2 * _BORDER, area.height - 2 * _BORDER)
    width, height = frame.width, frame.height
    turned = width > height * 1.1 and width > area.width
    if turned:
        width, height = height, width
    scale = min(1.0, area.width / width, area.height / height)
    width, height = width * scale, height * scale
    return Box(area.left + (area.width - width) / 2, area.bottom + area.height - height, width, height), turned


def _stream(picture: Image.Image, is_photo: bool) -> StreamObject:
    stream = StreamObject()
    stream.update(
        {
            NameObject("/Type"): NameObject("/XObject"),
            NameObject("/Subtype"): NameObject("/Image"),
            NameObject("/ColorSpace"): NameObject("/DeviceGray"),
        }
    )
    if picture.mode == "1":
        stream.set_data(g4(picture))
        parameters = {"/K": NumberObject(-1), "/Columns": NumberObject(picture.width), "/Rows": NumberObject(picture.height)}
        stream[NameObject("/DecodeParms")] = DictionaryObject(
            {NameObject(key): value for key, value in parameters.items()} | {NameObject("/BlackIs1"): BooleanObject(False)}
        )
        coding, bits = "/CCITTFaxDecode", 1
    elif is_photo:
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=85)
        stream.set_data(out.getvalue())
        coding, bits = "/DCTDecode", 8
    else:
        stream.set_data(zlib.compress(picture.tobytes(), 6))
        coding, bits = "/FlateDecode", 8
    stream[NameObject("/Filter")] = NameObject(coding)
    stream[NameObject("/BitsPerComponent")] = NumberObject(bits)
    stream[NameObject("/Width")] = NumberObject(picture.width)
    stream[NameObject("/Height")] = NumberObject(picture.height)
    return stream

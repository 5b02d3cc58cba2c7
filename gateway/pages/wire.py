"""Fax pages as they go over the line: MH and MMR (T.4 1-D, T.6), TIFF files of both, and how long that takes.

A page is a `Bitmap`: packed rows in which 1 is ink. Files are written here and not by libtiff, which puts the directory
behind the data (IMG-09): `II`, 42, then for each page its directory, the two resolutions and one strip. Profile S
(RFC 3949 section 3: MH, what any receiver reads) and profile F with MMR (section 4). Photometric is 0 and ink is coded with
the black codes; coded the other way round a page is up to a quarter longer.

The coder is libtiff: the system's own, called directly, where there is one; else the one in Pillow, which codes the same
bits in about twice the time.
"""

from __future__ import annotations

import ctypes
import functools
import io
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageChops

SPEED = 14_400  #: bit/s, the fastest modem of group 3 (V.17)
_MH, _MMR = 3, 4  # Compression of TIFF
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_LSB_FIRST = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Bitmap:
    """One black-and-white page."""

    width: int
    """Dots; divisible by eight."""
    height: int
    """Lines."""
    lines_per_inch: int
    """196 (fine) or 98 (standard)."""
    rows: bytes = field(repr=False)
    """`width / 8` bytes a line, the highest bit leftmost, 1 is ink."""

    def picture(self) -> Image.Image:
        """Mode "1", white paper."""
        return ImageChops.invert(self._ink())

    def _ink(self) -> Image.Image:
        return Image.frombytes("1", (self.width, self.height), self.rows)

    @classmethod
    def of(cls, picture: Image.Image, lines_per_inch: int) -> Bitmap:
        """A picture of mode "1" whose width is divisible by eight."""
        return cls(picture.width, picture.height, lines_per_inch, ImageChops.invert(picture).tobytes())


def mmr(page: Bitmap) -> bytes:
    """T.6, ended by EOFB (IMG-08)."""
    return _coded(page, _MMR)


def mh(page: Bitmap) -> bytes:
    """T.4 one-dimensional: an EOL before every line, not aligned to bytes, no RTC (IMG-11, IMG-12)."""
    return _coded(page, _MH)


def seconds(coded: bytes | int) -> float:
    """Time on the line at `SPEED`, without the handshakes around it."""
    return (coded if isinstance(coded, int) else len(coded)) * 8 / SPEED


def profile_s(pages: Sequence[Bitmap]) -> bytes:
    """A TIFF of profile S: MH, the exact tags of RFC 3949 section 3.6 (IMG-10, IMG-16)."""
    return _file(pages, ((page, mh(page)) for page in pages), _MH)


def profile_f(pages: Sequence[Bitmap]) -> bytes:
    """A TIFF of profile F with MMR: the same pages in about half of the bytes."""
    return _file(pages, ((page, mmr(page)) for page in pages), _MMR)


def _file(pages: Sequence[Bitmap], coded: Iterable[tuple[Bitmap, bytes]], compression: int) -> bytes:
    out = bytearray(b"II*\0\x08\0\0\0")
    for number, (page, data) in enumerate(coded):
        last = number == len(pages) - 1
        out += _directory(page, len(out), len(data), compression, (number, len(pages)), last=last)
        out += data.translate(_LSB_FIRST)
        out += bytes(-len(out) % 2)  # directories begin at even offsets
    return bytes(out)


def _directory(page: Bitmap, at: int, size: int, compression: int, place: tuple[int, int], *, last: bool) -> bytes:
    """The directory at offset `at` and the two RATIONALs behind it; the strip of `size` bytes follows at once."""
    count = 16
    rationals = at + 2 + count * 12 + 4
    strip = rationals + 16
    entries = (
        (254, _LONG, 1, 2),  # NewSubfileType: a page of several
        (256, _LONG, 1, page.width),
        (257, _LONG, 1, page.height),
        (258, _SHORT, 1, 1),
        (259, _SHORT, 1, compression),
        (262, _SHORT, 1, 0),  # 1 is black
        (266, _SHORT, 1, 2),  # the first bit on the line is the lowest of its byte
        (273, _LONG, 1, strip),
        (277, _SHORT, 1, 1),
        (278, _LONG, 1, page.height),
        (279, _LONG, 1, size),
        (282, _RATIONAL, 1, rationals),
        (283, _RATIONAL, 1, rationals + 8),
        (292 if compression == _MH else 293, _LONG, 1, 0),  # T4Options, T6Options
        (296, _SHORT, 1, 2),  # inches
        (297, _SHORT, 2, place[0] | place[1] << 16),
    )
    assert len(entries) == count
    following = 0 if last else strip + size + (strip + size) % 2
    return (
        struct.pack("<H", count)
        + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        + struct.pack("<IIIII", following, 204, 1, page.lines_per_inch, 1)
    )


def _coded(page: Bitmap, compression: int) -> bytes:
    """One strip as libtiff codes it."""
    if not page.height:
        raise ValueError("a page without lines cannot be coded")
    written = _by_system(page, compression)
    return written if written is not None else _by_pillow(page, compression)


def _by_pillow(page: Bitmap, compression: int) -> bytes:
    out = io.BytesIO()
    # Told that 1 is white, Pillow neither turns the page over nor knows that ink gets the black codes this way.
    page._ink().save(out, "TIFF", compression={_MH: "group3", _MMR: "group4"}[compression], tiffinfo={278: page.height})
    return _strip(out.getvalue())


def _by_system(page: Bitmap, compression: int) -> bytes | None:
    """None where the system has no libtiff."""
    library = _library()
    if library is None:
        return None
    with open(os.memfd_create("page"), "w+b") as file:
        tiff = ctypes.c_void_p(library.TIFFFdOpen(os.dup(file.fileno()), b"page", b"wl"))
        if not tiff:
            return None
        tags = {256: page.width, 257: page.height, 258: 1, 259: compression, 262: 0, 277: 1, 278: page.height}
        for tag, value in tags.items():
            library.TIFFSetField(tiff, ctypes.c_uint32(tag), ctypes.c_uint32(value))
        size = ctypes.c_ssize_t(len(page.rows))
        # Its coder may use the buffer as its own.
        done = library.TIFFWriteEncodedStrip(tiff, ctypes.c_uint32(0), ctypes.create_string_buffer(page.rows), size)
        library.TIFFClose(tiff)  # closes its descriptor
        file.seek(0)
        return _strip(file.read()) if done >= 0 else None


@functools.cache
def _library() -> ctypes.CDLL | None:
    for name in ("libtiff.so.6", "libtiff.so.5"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.TIFFFdOpen.restype = ctypes.c_void_p
        library.TIFFWriteEncodedStrip.restype = ctypes.c_ssize_t
        return library
    return None


def _strip(content: bytes) -> bytes:
    """The only strip of a little-endian TIFF with one page, written by libtiff."""
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    found = {}
    for n in range(count):
        tag, kind, many, value = struct.unpack_from("<HHII", content, at + 2 + n * 12)
        if tag in (273, 279):
            if many != 1:
                raise ValueError("the coder made more than one strip")
            found[tag] = value & 0xFFFF if kind == _SHORT else value
    return content[found[273] : found[273] + found[279]]

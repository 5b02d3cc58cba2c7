"""What a file really is, by its first bytes. The declared type and the name are checked against this (CNT-13).

`kind` gives one of `KINDS`, or a word for what we recognise and cannot print ("zip", "office", "rtf", …), or "" for
bytes that are nothing known. Nothing is opened, decoded or executed.
"""

from __future__ import annotations

import re
import struct

#: What can become pages.
KINDS = frozenset({"pdf", "text", "html", "jpeg", "png", "tiff", "gif", "bmp", "webp"})
PICTURES = frozenset({"jpeg", "png", "tiff", "gif", "bmp", "webp"})

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "office"),
    (b"{\\rtf", "rtf"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"MZ", "program"),
    (b"\x7fELF", "program"),
    (b"%!PS", "postscript"),
    (b"\x78\x9f\x3e\x22", "winmail"),
)
_OTHER_NAMES = {"jpg": "jpeg", "pjpeg": "jpeg", "jpe": "jpeg", "tif": "tiff", "apng": "png", "ms-bmp": "bmp"}
_HTML = re.compile(rb"\s*<(!doctype\s+html|html|head|body|table|div|p|meta)\b", re.IGNORECASE)
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_BINARY = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_BINARY_SHARE = 0.02  # more control bytes than this in a sample is no text


def declared_picture(content_type: str) -> str:
    """The kind of picture a type speaks of, "jpeg" for "image/pjpeg"; one that is not in `PICTURES` cannot be printed."""
    name = content_type.removeprefix("image/").removeprefix("x-")
    return _OTHER_NAMES.get(name, name)


def kind(data: bytes) -> str:
    """What these bytes are; "" when they are nothing we know."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            # "MZ" and "GIF89a" may also begin a text; the real ones have zero bytes near their start.
            return "text" if name in ("program", "gif") and b"\x00" not in data[:1024] else name
    if data.startswith(b"BM") and b"\x00" in data[:64]:
        return "bmp"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data[:1024].lstrip().startswith(b"%PDF-") or (b"%PDF-" in data[:1024] and not is_text(data)):
        return "pdf"  # readers allow some rubbish before the header; a text may talk about PDF
    if not is_text(data):
        return ""
    return "html" if _HTML.match(data[:4096]) else "text"


def is_text(data: bytes) -> bool:
    """Whether a person could read these bytes in some charset."""
    if data.startswith(_BOMS):
        return True
    sample = data[:65536]
    if not sample:
        return True
    return len(_BINARY.findall(sample)) <= len(sample) * _BINARY_SHARE


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG or GIF by its header, in pixels; None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    return None

"""What a file really is, by its first bytes. The declared type and the name are checked against this (CNT-13).

`kind` gives one of `KINDS`, or a word for what we recognise and cannot print ("zip", "office", "rtf", …), or "" for
bytes that are nothing known. Nothing is decoded or executed; of a zip file the list of names is read.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib

PICTURES = frozenset({"jpeg", "png", "tiff", "gif", "bmp", "webp", "heic"})
#: What LibreOffice makes pages of.
OFFICE = frozenset({"docx", "xlsx", "pptx", "odt", "ods", "odp", "rtf", "doc", "xls", "ppt"})
#: What can become pages, and what holds files that can: "zip", "winmail" (Outlook's wrapping), "mail".
KINDS = PICTURES | OFFICE | frozenset({"pdf", "text", "html", "svg", "csv", "markdown", "zip", "winmail", "mail"})

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "compound"),
    (b"{\\rtf", "rtf"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"MZ", "program"),
    (b"\x7fELF", "program"),
    (b"%!PS", "postscript"),
    (b"\x78\x9f\x3e\x22", "winmail"),
)
_OTHER_NAMES = {"jpg": "jpeg", "pjpeg": "jpeg", "jpe": "jpeg", "tif": "tiff", "apng": "png", "ms-bmp": "bmp", "heif": "heic"}
_HTML = re.compile(rb"\s*<(!doctype\s+html|html|head|body|table|div|p|meta)\b", re.IGNORECASE)
_ROW = re.compile(rb"<(?:row|table:table-row)[\s>]")
_SVG = re.compile(rb"<svg[\s>]|<svg:svg[\s>]", re.IGNORECASE)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
#: Streams of a compound file that say whose it is.
_STREAMS = (("EncryptedPackage", "locked"), ("WordDocument", "doc"), ("PowerPoint Document", "ppt"), ("Workbook", "xls"))
_PACKAGES = (("word/", "docx"), ("xl/", "xlsx"), ("ppt/", "pptx"))
_OPEN_TYPES = {b"text": "odt", b"spreadsheet": "ods", b"presentation": "odp"}
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
            if name in ("zip", "compound"):
                return _package(data) if name == "zip" else _compound(data)
            # "MZ" and "GIF89a" may also begin a text; the real ones have zero bytes near their start.
            return "text" if name in ("program", "gif") and b"\x00" not in data[:1024] else name
    if data[4:8] == b"ftyp":
        return "heic" if any(data[at : at + 4] in _HEIC_BRANDS for at in range(8, 40, 4)) else ""
    if data.startswith(b"BM") and b"\x00" in data[:64]:
        return "bmp"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data[:1024].lstrip().startswith(b"%PDF-") or (b"%PDF-" in data[:1024] and not is_text(data)):
        return "pdf"  # readers allow some rubbish before the header; a text may talk about PDF
    if not is_text(data):
        return ""
    if data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and _SVG.search(data[:4096]) and not _HTML.match(data[:4096]):
        return "svg"
    return "html" if _HTML.match(data[:4096]) else "text"


def _package(data: bytes) -> str:
    """What a zip file is by the names in it: an office document, "locked" where that needs a password, or just a "zip"."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            names = package.namelist()
            if "mimetype" in names and package.getinfo("mimetype").file_size < 200:
                kind = package.read("mimetype").strip().rpartition(b"opendocument.")[2].removesuffix(b"-template")
                if kind in _OPEN_TYPES:
                    return "locked" if _is_enciphered(package) else _OPEN_TYPES[kind]
    except (zipfile.BadZipFile, NotImplementedError, LookupError, OSError, RuntimeError, ValueError, struct.error, zlib.error):
        return "zip"
    if "[Content_Types].xml" in names:
        return next((kind for folder, kind in _PACKAGES if any(name.startswith(folder) for name in names)), "zip")
    return "zip"


def _is_enciphered(package: zipfile.ZipFile) -> bool:
    name = "META-INF/manifest.xml"
    if name not in package.namelist() or package.getinfo(name).file_size > 1_000_000:
        return False
    return b"encryption-data" in package.read(name)


def _compound(data: bytes) -> str:
    """What an older office file is by the names of its streams; "office" when it is none that can be printed."""
    return next((kind for stream, kind in _STREAMS if stream.encode("utf-16-le") in data), "office")


def unpacked(data: bytes) -> int:
    """Bytes of XML in an office document, as its list of files claims."""
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        return sum(one.file_size for one in package.infolist() if one.filename.endswith((".xml", ".rels")))


def rows(data: bytes, enough: int) -> int:
    """Rows of the largest sheet of a spreadsheet, counted in its packed XML until there are more than `enough`."""
    most = 0
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        for name in package.namelist():
            if name.startswith("xl/worksheets/") or name == "content.xml":
                most = max(most, _rows_of_sheet(package, name, enough))
    return most


def _rows_of_sheet(package: zipfile.ZipFile, name: str, enough: int) -> int:
    found, rest = 0, b""
    with package.open(name) as sheet:
        while found <= enough and (piece := sheet.read(1 << 20)):
            found += len(_ROW.findall(rest + piece))
            rest = (rest + piece)[-32:].rpartition(b"<")[2]
            rest = b"<" + rest if b">" not in rest else b""
    return found


def is_text(data: bytes) -> bool:
    """Whether a person could read these bytes in some charset."""
    if data.startswith(_BOMS):
        return True
    sample = data[:65536]
    if not sample:
        return True
    return len(_BINARY.findall(sample)) <= len(sample) * _BINARY_SHARE


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF or JPEG by its header, in pixels; None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    return _jpeg_size(data) if data.startswith(b"\xff\xd8\xff") else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + max(2, length)
    return None

"""What a file is, if its declared type, its name and its bytes agree (CNT-13). The type alone never selects a program."""

from __future__ import annotations

import re

from gateway.errors import BadDocument
from gateway.pages import sniff
from gateway.pages.manifest import BROKEN, UNSUPPORTED

_UNKNOWN_TYPES = frozenset(
    {
        "application/octet-stream",
        "application/octetstream",
        "application/x-octet-stream",
        "application/unknown",
        "application/binary",
        "application/force-download",
        "application/download",
        "application/x-download",
        "application/x-unknown",
        "binary/octet-stream",
    }
)
_PDF_TYPES = frozenset({"application/pdf", "application/x-pdf", "text/pdf"})
_ZIP_TYPES = frozenset({"application/zip", "application/x-zip", "application/x-zip-compressed"})
_WINMAIL_TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_OFFICE_TYPES = re.compile(
    r"application/(msword|rtf|x-rtf|vnd\.ms-(word|excel|powerpoint)[\w.-]*|vnd\.openxmlformats-officedocument\.[\w.-]+"
    r"|vnd\.oasis\.opendocument\.(text|spreadsheet|presentation)(-template)?)|text/(rtf|richtext)"
)
_SUFFIX_KINDS = {
    "pdf": "pdf",
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "jpe": "jpeg",
    "png": "png",
    "tif": "tiff",
    "tiff": "tiff",
    "gif": "gif",
    "bmp": "bmp",
    "webp": "webp",
    "heic": "heic",
    "heif": "heic",
    "svg": "svg",
    "htm": "html",
    "html": "html",
    "csv": "csv",
    "tsv": "csv",
    "md": "markdown",
    "markdown": "markdown",
    "eml": "mail",
    "zip": "zip",
    "dat": "winmail",
    **dict.fromkeys(("txt", "text", "log", "asc"), "text"),
    **{kind: kind for kind in sniff.OFFICE},
    "docm": "docx",
    "dotx": "docx",
    "xlsm": "xlsx",
    "pptm": "pptx",
    "ppsx": "pptx",
    "dot": "doc",
}
#: Kinds that are text by their bytes, and what they are is said by type or name alone.
_WRITTEN = frozenset({"text", "html", "csv", "markdown", "mail"})
_TEXT_TYPES = {
    "text/html": "html",
    "text/csv": "csv",
    "text/comma-separated-values": "csv",
    "text/tab-separated-values": "csv",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
}
#: Charsets of two and four bytes a character: full of zero bytes, and text all the same.
_WIDE = re.compile(r"utf-?(16|32)|ucs-?[24]|iso-10646")


def of(content: bytes, content_type: str, name: str, title: str, charset: str = "") -> str:
    """One of `sniff.KINDS`. Raises BadDocument with `title`: nothing we print, a password, or not what it claims to be."""
    real = sniff.kind(content)
    if real == "locked":
        raise BadDocument(f"{title} is protected by a password", part=title, reply=BROKEN)
    found = _agreed(real, content_type, _suffix_kind(name), "." in name, charset)
    if found is None:
        raise BadDocument(f"{title} is not what it claims to be ({content_type})", part=title, reply=UNSUPPORTED)
    if found in sniff.KINDS:
        return found
    if content_type in _UNKNOWN_TYPES:
        raise BadDocument(f"{title}: this kind of file cannot be faxed", part=title, reply=UNSUPPORTED)
    raise BadDocument(f"{title}: documents of the type {content_type} cannot be faxed", part=title, reply=UNSUPPORTED)


def _suffix_kind(name: str) -> str:
    """The kind a file's name speaks of; "" when it speaks of none that we know."""
    return _SUFFIX_KINDS.get(name.rpartition(".")[2].lower(), "") if "." in name else ""


def _agreed(real: str, content_type: str, named: str, has_suffix: bool, charset: str) -> str | None:
    """The kind on which type, name and bytes agree; "" for a type that is not printed; None where they contradict."""
    if content_type in _PDF_TYPES:
        return "pdf" if real == "pdf" else None
    if content_type == "image/svg+xml":
        return "svg" if real == "svg" else None
    if content_type.startswith("image/"):  # image/jpg, image/pjpeg, a PNG called JPEG: all are just pictures
        return real if real in sniff.PICTURES else None if sniff.declared_picture(content_type) in sniff.PICTURES else ""
    if _OFFICE_TYPES.fullmatch(content_type):
        if real == "text" and "ms-excel" in content_type:  # what a browser calls a CSV file where Excel is installed
            return "csv"
        return real if real in sniff.OFFICE else None
    if content_type in _ZIP_TYPES:
        return real if real == "zip" or real in sniff.OFFICE else None
    if content_type in _WINMAIL_TYPES:
        return "winmail" if real == "winmail" else None
    if content_type.startswith("text/"):
        return _written(real, _TEXT_TYPES.get(content_type) or (named if named in ("csv", "markdown") else "text"), charset)
    if content_type in _UNKNOWN_TYPES:
        return _by_name(real, named, has_suffix)
    return ""


def _written(real: str, wanted: str, charset: str) -> str | None:
    return wanted if real in ("text", "html", "svg") or _WIDE.match(charset.lower()) else None


def _by_name(real: str, named: str, has_suffix: bool) -> str | None:
    """A file of no declared type: by its bytes, and its name must not say otherwise."""
    if named in _WRITTEN and real in ("text", "html", "svg"):
        return named
    if not named:  # nothing known by that name: only bytes that speak for themselves
        return "" if has_suffix and real in ("text", "html") else real
    if named == real or {named, real} <= sniff.PICTURES or {named, real} <= sniff.OFFICE:
        return real
    return "" if real not in sniff.KINDS else None

"""The judgement: which parts of a mail become pages, in which order, and why not the others.

`judge` promises: every leaf of the mail is either chosen, or stands in the entries with the reason why it is not
printed, or the whole mail is refused with that part's name (CNT-01). Nothing is opened here beyond its first bytes.
Sources: RFC 2046 §5.1, RFC 2387, RFC 1847, RFC 3965 §2.2.4; rows CNT-01 … CNT-21.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway import message
from gateway.errors import BadDocument
from gateway.pages import sniff

NOTHING = "554 5.6.0"
UNSUPPORTED = "554 5.6.1"
MISSING = "554 5.6.3"
BROKEN = "554 5.6.5"
TOO_MUCH = "554 5.3.4"
ENCRYPTED = "554 5.7.5"

_MOST_PARTS = 1000  # of a mail with the mails in it; each of them stands in the report
_DEEPEST_MAIL = 5  # a forwarded mail in a forwarded mail in …
_TRACKING_PIXELS = 8  # a picture no wider and higher than this shows nothing
_SIGNATURES = frozenset(
    {"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature", "application/pgp-keys"}
)
_UNKNOWN_TYPES = frozenset(
    {
        "application/octet-stream",
        "application/force-download",
        "application/download",
        "application/x-unknown",
        "binary/octet-stream",
    }
)
_PDF_TYPES = frozenset({"application/pdf", "application/x-pdf", "text/pdf"})
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
    "htm": "html",
    "html": "html",
    **dict.fromkeys(("txt", "text", "log", "csv", "md", "asc", "tsv"), "text"),
}
#: Charsets of two and four bytes a character: full of zero bytes, and text all the same.
_WIDE = re.compile(r"utf-?(16|32)|ucs-?[24]|iso-10646")
_PGP_TEXT = b"-----BEGIN PGP MESSAGE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """What became of one part."""

    position: str
    """Like "1.2"; a part of an attached mail has that mail's position before a slash, "2/1"."""
    title: str
    content_type: str
    first_page: int = 0
    """Counted with the cover; 0 when it was not printed."""
    last_page: int = 0
    note: str = ""
    """Why it was not printed, or what the reader should know about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One part that becomes pages."""

    position: str
    title: str
    content_type: str
    kind: str
    """One of `sniff.KINDS`: what it really is."""
    content: bytes
    charset: str = ""
    is_body: bool = False
    """The text the sender wrote, as opposed to a file: the first one goes on the cover page."""
    preface: str = ""
    """Lines printed before it: who wrote an attached mail to whom, when, about what."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The parts to print, and the entries of those that are not printed; both in the order of the mail."""

    chosen: tuple[Chosen, ...]
    skipped: tuple[ManifestEntry, ...]


def judge(mail: message.Message) -> Judgement:
    """Choose what is printed of a mail. Raises BadDocument with the part's title."""
    return _Judge().mail(mail, prefix="", preface="", depth=0)


def document(content: bytes, content_type: str, title: str) -> Chosen:
    """A single posted file. Raises BadDocument when it is nothing we can print, or lies about its type."""
    return Chosen(
        position="",
        title=title,
        content_type=content_type,
        kind=_kind(content, content_type.lower(), title, title),
        content=content,
    )


class _Judge:
    def __init__(self) -> None:
        self.chosen: list[Chosen] = []
        self.skipped: list[ManifestEntry] = []
        self.prefix = ""
        self.preface = ""
        self.depth = 0

    def mail(self, mail: message.Message, *, prefix: str, preface: str, depth: int) -> Judgement:
        self.prefix, self.preface, self.depth = prefix, preface, depth
        self.part(mail.root)
        if self.preface:  # an attached mail without any text of its own: its headers are printed all the same
            content = self.preface.encode()
            self.chosen.insert(
                0,
                Chosen(position=prefix or "1", title="attached mail", content_type="text/plain", kind="text", content=content),
            )
        return Judgement(tuple(self.chosen), tuple(self.skipped))

    def part(self, part: message.Part) -> None:
        kind = part.content_type
        if part.problem:
            raise BadDocument(f"{part.title}: {part.problem}", part=part.title, reply=NOTHING)
        if kind == "multipart/encrypted" or _is_enciphered(part):
            raise BadDocument("encrypted mail cannot be faxed", part=part.title, reply=ENCRYPTED)
        if kind == "multipart/alternative":
            self.alternative(part)
        elif kind == "multipart/related":
            self.related(part)
        elif kind.startswith("multipart/"):
            for child in part.children:
                self.part(child)
        elif kind in _SIGNATURES:
            self.skip(part, "a signature, not content")
        elif kind == "message/rfc822":
            self.attached_mail(part)
        elif kind.startswith("message/"):  # external-body, partial, delivery-status: nothing is fetched or put together
            raise BadDocument(f"{part.title}: {kind} cannot be faxed", part=part.title, reply=UNSUPPORTED)
        else:
            self.leaf(part)
        if len(self.chosen) + len(self.skipped) > _MOST_PARTS:
            raise BadDocument(f"the mail has more than {_MOST_PARTS} parts", reply=TOO_MUCH)

    def alternative(self, part: message.Part) -> None:
        """One rendering of several (CNT-07). HTML is printed as text here, so the plain text wins where there is one."""
        best = max(reversed(part.children), key=_worth, default=None)  # the last one where several are equally good
        for child in part.children:
            if child is best:
                self.part(child)
                continue
            for leaf in _leaves(child):
                if leaf.content_type.startswith("image/"):
                    self.inline_picture(leaf)  # shown only in the other rendering, but shown
                else:
                    self.skip(leaf, "another rendering of the same text")

    def related(self, part: message.Part) -> None:
        """The root, then the pictures it shows, as pages of their own."""
        start = dict(part.parameters).get("start", "").strip().strip("<>")
        root = next((child for child in part.children if start and child.content_id == start), None)
        root = root or next(iter(part.children), None)
        if root is not None:
            self.part(root)
        for child in part.children:
            if child is root:
                continue
            if child.content_type.startswith("image/"):
                self.inline_picture(child)
            else:
                self.part(child)

    def inline_picture(self, part: message.Part) -> None:
        size = sniff.picture_size(part.content)
        if size and max(size) <= _TRACKING_PIXELS:
            self.skip(part, f"a picture of {size[0]} by {size[1]} pixels shows nothing")
        else:
            self.leaf(part)

    def attached_mail(self, part: message.Part) -> None:
        inner = part.inner
        if inner is None:
            raise BadDocument(f"{part.title} cannot be read", part=part.title, reply=BROKEN)
        if self.depth >= _DEEPEST_MAIL:
            raise BadDocument(f"{part.title}: too many mails within mails", part=part.title, reply=UNSUPPORTED)
        found = _Judge().mail(inner, prefix=f"{self.where(part)}/", preface=_preface(inner.headers), depth=self.depth + 1)
        self.chosen += found.chosen
        self.skipped += found.skipped

    def leaf(self, part: message.Part) -> None:
        content = part.content
        if part.is_cut:
            raise BadDocument(f"{part.title} is broken: its end is missing", part=part.title, reply=BROKEN)
        is_body = part.content_type in ("text/plain", "text/html") and part.disposition != "attachment" and not part.name
        if not content.strip():
            if is_body:
                self.skip(part, "empty")
                return
            raise BadDocument(f"{part.title} is empty", part=part.title, reply=BROKEN)
        kind = _kind(content, part.content_type, part.name, part.title, part.charset)
        if kind in ("text", "html") and _PGP_TEXT in content[:4096]:
            raise BadDocument("encrypted mail cannot be faxed", part=part.title, reply=ENCRYPTED)
        self.chosen.append(
            Chosen(
                position=self.where(part),
                title=part.title,
                content_type=part.content_type,
                kind=kind,
                content=content,
                charset=part.charset,
                is_body=is_body and not self.prefix,
                preface=self.preface if is_body else "",
            )
        )
        if is_body:
            self.preface = ""

    def skip(self, part: message.Part, why: str) -> None:
        self.skipped.append(
            ManifestEntry(position=self.where(part), title=part.title, content_type=part.content_type, note=why)
        )

    def where(self, part: message.Part) -> str:
        return f"{self.prefix}{part.position or '1'}"


def _kind(content: bytes, content_type: str, name: str, title: str, charset: str = "") -> str:
    """What this file is, if its type, its name and its bytes agree (CNT-13); else BadDocument."""
    real = sniff.kind(content)
    if content_type in _PDF_TYPES:
        agrees = real == "pdf"
    elif content_type.startswith("image/"):
        agrees = real in sniff.PICTURES  # image/jpg, image/pjpeg, a PNG called JPEG: all are just pictures
        if not agrees and sniff.declared_picture(content_type) not in sniff.PICTURES:  # HEIC, SVG
            raise _unsupported(content_type, title)
    elif content_type.startswith("text/") and content_type != "text/rtf":
        agrees = real in ("text", "html") or _WIDE.match(charset.lower()) is not None
        real = ("html" if content_type == "text/html" else "text") if agrees else real
    elif content_type in _UNKNOWN_TYPES:
        suffix = name.rpartition(".")[2].lower() if "." in name else ""
        wanted = _SUFFIX_KINDS.get(suffix)
        known = wanted is not None or not suffix or real not in ("text", "html")
        agrees = known and (
            wanted is None or wanted == real or {wanted, real} <= sniff.PICTURES or {wanted, real} == {"text", "html"}
        )
        real = wanted if agrees and wanted in ("text", "html") else real
    else:
        raise _unsupported(content_type, title)
    if real in sniff.KINDS and agrees:
        return real
    if agrees or (content_type in _UNKNOWN_TYPES and real not in sniff.KINDS):
        raise BadDocument(f"{title}: this kind of file cannot be faxed", part=title, reply=UNSUPPORTED)
    raise BadDocument(f"{title} is not what it claims to be ({content_type})", part=title, reply=UNSUPPORTED)


def _unsupported(content_type: str, title: str) -> BadDocument:
    return BadDocument(f"{title}: documents of the type {content_type} cannot be faxed", part=title, reply=UNSUPPORTED)


def _is_enciphered(part: message.Part) -> bool:
    if part.content_type not in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        return False
    return dict(part.parameters).get("smime-type", "enveloped-data").lower() in ("enveloped-data", "authenveloped-data")


def _leaves(part: message.Part) -> Iterator[message.Part]:
    return (leaf for leaf in part.walk() if not leaf.content_type.startswith("multipart/"))


def _worth(branch: message.Part) -> int:
    """How good one rendering is. A branch that carries files beats everything: else they would be dropped."""
    leaves = list(_leaves(branch))
    if any(_is_file(leaf) for leaf in leaves):
        return 4
    text = {leaf.content_type for leaf in leaves if leaf.content.strip()}
    if "text/plain" in text:
        return 3
    if "text/html" in text:
        return 2
    return 1 if any(leaf.content_type.startswith(("image/", "text/", "application/pdf")) for leaf in leaves) else 0


def _is_file(leaf: message.Part) -> bool:
    if leaf.content_type.startswith("text/") or leaf.content_type in _SIGNATURES:
        return leaf.disposition == "attachment"
    return leaf.disposition == "attachment" or not (leaf.content_type.startswith("image/") and leaf.content_id)


def _preface(headers: message.Headers) -> str:
    date = headers.date.strftime("%d %B %Y, %H:%M %z") if headers.date else ""
    lines = (("From", headers.from_header), ("Date", date), ("Subject", headers.subject))
    return "\n".join(["Attached mail", *(f"{label}: {value}" for label, value in lines if value)]) + "\n\n"

"""The judgement: which parts of a mail become pages, in which order, and why not the others.

`judge` promises: every leaf of the mail is either chosen, or stands in the entries with the reason why it is not
printed, or the whole mail is refused with that part's name (CNT-01). Mails, archives and Outlook's wrappings in the mail
are opened, and what is in them is judged alike. Other renderings of the same text share one entry.
Sources: RFC 2046 §5.1, RFC 2387, RFC 1847, RFC 3965 §2.2.4; rows CNT-01 … CNT-21.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html import unescape
from urllib.parse import unquote

from gateway import message, opening
from gateway.errors import BadDocument
from gateway.pages import archive, kinds, sniff, tnef
from gateway.pages.manifest import (
    BROKEN,
    ENCRYPTED,
    NOTHING,
    TOO_MUCH,
    UNSUPPORTED,
    Chosen,
    Judgement,
    ManifestEntry,
    Shown,
)

__all__ = [
    "BROKEN",
    "ENCRYPTED",
    "NOTHING",
    "TOO_MUCH",
    "UNSUPPORTED",
    "Chosen",
    "Judgement",
    "ManifestEntry",
    "judge",
]

_MOST_PARTS = 1000  # of a mail with the mails in it; each of them stands in the report
_DEEPEST = 5  # a forwarded mail in a forwarded mail in an archive in …
_TRACKING_PIXELS = 8  # a picture no wider and higher than this shows nothing
_LOGO = 40_000  # pixels of an inline picture that may be a logo: if it is much wider than high, or an icon
_BANNER = 400_000  # pixels; a larger one that comes again and again is a form or a scan that is sent to many
_ICON = 48  # pixels, the longer side
_MOST_UNPACKED = 400_000_000  # bytes, of all files within files of one mail
_SIGNATURES = frozenset(
    {"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature", "application/pgp-keys"}
)
_APPLE = "application/applefile"
_NOT_DOCUMENTS = {
    "text/calendar": "a calendar entry",
    "application/ics": "a calendar entry",
    "text/vcard": "a visiting card",
    "text/x-vcard": "a visiting card",
    "text/directory": "a visiting card",
    _APPLE: "what a Mac knows about the file beside it",
}
#: HTML that says more than its words: tables, drawings, what is struck out or raised, pictures written into it.
_SAYS_MORE = re.compile(
    rb"<(table|svg|s|strike|del|ins|sup|sub)[\s>]|line-through|src\s*=\s*[\"']?\s*data:image", re.IGNORECASE
)
_CID = re.compile(rb"cid:([^\"'\s<>)]{1,300})", re.IGNORECASE)
_PGP_TEXT = b"-----BEGIN PGP MESSAGE-----"


@dataclass(slots=True)
class _Tally:
    """What a mail and all the mails and archives in it share."""

    layout: bool
    familiar: frozenset[str]
    options: tuple[str, ...] = ()
    inline: set[str] = field(default_factory=set)  #: SHA-256 of pictures inside texts
    seen: dict[str, str] = field(default_factory=dict)  #: SHA-256 of a file: its title
    unpacked: int = 0


def judge(
    mail: message.Message,
    *,
    layout: bool = False,
    familiar: frozenset[str] = frozenset(),
    options: tuple[str, ...] = (),
) -> Judgement:
    """Choose what is printed of a mail. Raises BadDocument with the part's title.

    layout    HTML can be laid out; else its words are printed, and the pictures it shows as pages of their own
    familiar  SHA-256 of pictures that stand in most of this sender's mails
    options   what stands at the beginning of its text and is not printed
    """
    return _Judge(_Tally(layout, familiar, options)).mail(mail)


def document(content: bytes, content_type: str, title: str) -> Judgement:
    """A single posted file, or the files in it. Raises BadDocument when it is nothing we can print, or lies about its type."""
    judge = _Judge(_Tally(layout=False, familiar=frozenset()))
    judge.file("", title, content_type.lower(), title, content)
    return Judgement(tuple(judge.chosen), tuple(judge.skipped))


def digest(content: bytes) -> str:
    """What `familiar` holds of a picture."""
    return hashlib.sha256(content).hexdigest()


class _Judge:
    def __init__(self, tally: _Tally, prefix: str = "", preface: str = "", depth: int = 0) -> None:
        self.tally, self.prefix, self.preface, self.depth = tally, prefix, preface, depth
        self.chosen: list[Chosen] = []
        self.skipped: list[ManifestEntry] = []
        self.pictures: dict[str, message.Part] = {}  #: by Content-ID
        self.referred: set[str] = set()  #: Content-IDs that its HTML speaks of
        self.has_words = False

    def mail(self, mail: message.Message) -> Judgement:
        leaves = list(mail.root.walk())
        self.referred = {name for leaf in leaves if leaf.content_type == "text/html" for name in _shown_names(leaf.content)}
        self.pictures = {leaf.content_id: leaf for leaf in leaves if leaf.content_id and self.is_picture(leaf)}
        self.tally.inline |= {digest(part.content) for part in self.pictures.values()}
        self.part(mail.root)
        self.leave_out_shown()
        if self.preface:  # an attached mail without any text of its own: its headers are printed all the same
            position, content = self.prefix.rstrip("/") or "1", self.preface.encode()
            self.chosen.insert(
                0, Chosen(position=position, title="attached mail", content_type="text/plain", kind="text", content=content)
            )
        return Judgement(tuple(self.chosen), tuple(self.skipped), frozenset(self.tally.inline))

    def is_picture(self, leaf: message.Part) -> bool:
        """Whether it is one by its type, or by its bytes where the text shows it."""
        if leaf.content_type.startswith("image/"):
            return True
        return leaf.content_id in self.referred and sniff.kind(leaf.content) in sniff.PICTURES

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
        elif kind in _NOT_DOCUMENTS:
            self.skip(part, f"{_NOT_DOCUMENTS[kind]}, not a document", loss=kind != _APPLE)
        elif kind == "message/rfc822":
            if part.inner is None:
                raise BadDocument(f"{part.title} cannot be read", part=part.title, reply=BROKEN)
            self.inside(self.where(part), part.title, part.inner)
        elif kind.startswith("message/"):  # external-body, partial, delivery-status: nothing is fetched or put together
            raise BadDocument(f"{part.title}: {kind} cannot be faxed", part=part.title, reply=UNSUPPORTED)
        elif kind.startswith("image/") and part.content_id in self.referred:
            self.inline_picture(part)  # beside the text and not in one "related" with it, as some servers rebuild mails
        else:
            self.leaf(part)
        self.check_count()

    def alternative(self, part: message.Part) -> None:
        """One rendering of several (CNT-07): the last one we can print that says the most."""
        from gateway.pages import renderings  # reads HTML

        says_enough, is_complete = renderings.compare(part.children)

        def worth(n: int) -> tuple[bool, int, bool]:
            return says_enough[n], self.worth(part.children[n], is_complete=is_complete[n]), is_complete[n]

        best = max(reversed(range(len(part.children))), key=worth, default=None)  # the last where several are equally good
        others: list[message.Part] = []
        for n, child in enumerate(part.children):
            if n == best:
                self.part(child)
                continue
            for leaf in _leaves(child):
                if leaf.content_type.startswith("image/"):
                    self.inline_picture(leaf)  # shown only in the other rendering, but shown
                elif _is_file(leaf):
                    self.part(leaf)
                else:
                    others.append(leaf)
        if others:
            more = f" ({len(others)} of them)" if len(others) > 1 else ""
            self.skip(others[0], f"another rendering of the same text{more}")

    def worth(self, branch: message.Part, *, is_complete: bool) -> int:
        """How good one rendering is. One with files beats the others: they stand at their place between its words. Plain
        text is read more easily than the words of HTML, if it says all of them."""
        leaves = list(_leaves(branch))
        if any(_is_file(leaf) for leaf in leaves):
            return 6
        if any(leaf.content_type == "text/html" and self.says_more(leaf.content) for leaf in leaves):
            return 5
        kinds_of_text = {leaf.content_type for leaf in leaves if leaf.content.strip()}
        if "text/plain" in kinds_of_text and is_complete:
            return 4
        if "text/html" in kinds_of_text:
            return 3
        if "text/plain" in kinds_of_text:
            return 2
        return 1 if any(leaf.content_type.startswith(("image/", "text/", "application/pdf")) for leaf in leaves) else 0

    def related(self, part: message.Part) -> None:
        """The root, then the pictures with it: those that the root does not show are pages of their own."""
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
        where = self.where(part)
        is_shown = any(picture.position == where for one in self.chosen for picture in one.pictures)
        why = "shown in the message" if is_shown else self.decoration(part)
        if why:
            self.skip(part, why, loss=not is_shown and not _shows_nothing(part))
        else:
            self.leaf(part)

    def decoration(self, part: message.Part) -> str:
        """Why an inline picture is left out by rule; "" when it is printed."""
        size = sniff.picture_size(part.content)
        if size and _shows_nothing(part):
            return f"a picture of {size[0]} by {size[1]} pixels shows nothing"
        if part.disposition == "attachment":
            return ""
        if digest(part.content) in self.tally.familiar and not (size and size[0] * size[1] > _BANNER):
            return "a picture that stands in most mails of this sender"
        if size and (max(size) <= _ICON or (size[0] * size[1] <= _LOGO and size[0] >= 2 * size[1])):
            return f"a small picture of {size[0]} by {size[1]} pixels, like the logo of a signature"
        return ""

    def says_more(self, source: bytes) -> bool:
        """Whether this HTML is worth a layout: it has more than words, and a layout is possible."""
        if not self.tally.layout:
            return False
        return bool(_SAYS_MORE.search(source)) or any(
            not self.decoration(self.pictures[name]) for name in _shown_names(source) if name in self.pictures
        )

    def leave_out_shown(self) -> None:
        """Pictures that a layout shows are not pages of their own."""
        shown = {picture.position for part in self.chosen for picture in part.pictures}
        for part in [part for part in self.chosen if part.position in shown]:
            self.chosen.remove(part)
            self.skip_entry(part.position, part.title, part.content_type, "shown in the message")

    def leaf(self, part: message.Part) -> None:
        content = part.content
        if part.is_cut:
            raise BadDocument(f"{part.title} is broken: its end is missing", part=part.title, reply=BROKEN)
        is_text = part.content_type in ("text/plain", "text/html")
        is_body = is_text and part.disposition != "attachment" and not part.name
        if not content.strip() and is_text:  # Exchange appends blank ATT00001.txt by itself
            self.skip(part, "empty")
        elif is_body:
            if self.tally.options and not self.prefix and not self.has_words:
                content = opening.without(content, self.tally.options, is_html=part.content_type == "text/html")
            self.body(self.where(part), part.title, part.content_type, content, part.charset)
        else:
            self.file(self.where(part), part.title, part.content_type, part.name, content, part.charset)

    def body(self, position: str, title: str, content_type: str, content: bytes, charset: str) -> None:
        kind = kinds.of(content, content_type, "", title, charset)
        is_laid_out = kind == "html" and self.says_more(content)
        self.choose(position, title, content_type, kind, content, charset)
        self.chosen[-1] = replace(
            self.chosen[-1],
            is_body=not self.prefix,
            is_laid_out=is_laid_out,
            pictures=self.shown(content) if is_laid_out else (),
            preface=self.preface,
        )
        self.preface, self.has_words = "", True

    def shown(self, source: bytes) -> tuple[Shown, ...]:
        found = [self.pictures[name] for name in dict.fromkeys(_shown_names(source)) if name in self.pictures]
        return tuple(
            Shown(content_id=part.content_id, content_type=part.content_type, content=part.content, position=self.where(part))
            for part in found
        )

    def file(self, position: str, title: str, content_type: str, name: str, content: bytes, charset: str = "") -> None:
        """One file, and what is in it where it holds others."""
        if not content.strip():
            raise BadDocument(f"{title} is empty", part=title, reply=BROKEN)
        kind = kinds.of(content, content_type, name, title, charset)
        if kind in ("mail", "zip", "winmail"):
            self.tally.unpacked += len(content)
            if self.depth >= _DEEPEST or self.tally.unpacked > _MOST_UNPACKED:
                raise BadDocument(f"{title}: too many files within files", part=title, reply=TOO_MUCH)
        if kind == "mail":
            self.inside(position, title, message.parse(content))
        elif kind == "zip":
            self.zipped(position, title, content)
        elif kind == "winmail":
            self.wrapped(position, title, content)
        elif (key := digest(content)) in self.tally.seen:
            self.skip_entry(position, title, content_type, f"the same file as {self.tally.seen[key]}")
        else:
            self.tally.seen[key] = title
            self.choose(position, title, content_type, kind, content, charset)
        self.check_count()

    def inside(self, position: str, title: str, mail: message.Message) -> None:
        """A mail in the mail, with its headers in front."""
        if self.depth >= _DEEPEST:
            raise BadDocument(f"{title}: too many mails within mails", part=title, reply=UNSUPPORTED)
        found = _Judge(self.tally, f"{position}/", _preface(mail.headers), self.depth + 1).mail(mail)
        self.chosen += found.chosen
        self.skipped += found.skipped

    def zipped(self, position: str, title: str, content: bytes) -> None:
        inner = _Judge(self.tally, f"{position}/", depth=self.depth + 1)
        for n, (name, unpacked) in enumerate(archive.files(content, title), 1):
            self.tally.unpacked += len(unpacked)
            shown = message.decoded(name)[-200:]
            inner.file(f"{position}/{n}", f"{title}: {shown}", "application/octet-stream", shown, unpacked)
        self.take(inner, title)

    def wrapped(self, position: str, title: str, content: bytes) -> None:
        """What Outlook wraps: its files, and its words where the mail has none beside them."""
        inner = _Judge(self.tally, f"{position}/", depth=self.depth + 1)
        letter = tnef.read(content, title)
        if not self.has_words:
            words = (
                ("text/plain", "text", letter.text.encode()),
                ("text/html", "html", letter.html),
                ("application/rtf", "rtf", letter.rtf),
            )
            best = next((one for one in words if one[2].strip()), None)
            if best is not None:
                charset = "utf-8" if best[1] == "text" else ""
                inner.choose(f"{position}/1", f"{title}: message", *best, charset)
                inner.chosen[-1] = replace(inner.chosen[-1], is_body=best[1] != "rtf" and not self.prefix)
        for n, file in enumerate(letter.files, 2):
            name = message.decoded(file.name)[:200] or f"file {n - 1}"
            inner.file(f"{position}/{n}", f"{title}: {name}", "application/octet-stream", name, file.content)
        self.take(inner, title, "Outlook's wrapping of the same message" if self.has_words else "")

    def take(self, inner: _Judge, title: str, otherwise: str = "") -> None:
        """What was found in a file; a file with nothing in it is refused, or explained."""
        if not inner.chosen and not inner.skipped:
            if not otherwise:
                raise BadDocument(f"{title} is empty", part=title, reply=BROKEN)
            self.skip_entry(inner.prefix.rstrip("/"), title, "application/ms-tnef", otherwise)
        self.chosen += inner.chosen
        self.skipped += inner.skipped

    def choose(self, position: str, title: str, content_type: str, kind: str, content: bytes, charset: str) -> None:
        if kind in ("text", "html") and _PGP_TEXT in content[:4096]:
            raise BadDocument("encrypted mail cannot be faxed", part=title, reply=ENCRYPTED)
        self.chosen.append(
            Chosen(
                position=position,
                title=title,
                content_type=content_type,
                kind=kind,
                content=content,
                charset=charset,
                is_laid_out=kind == "html" and self.tally.layout,
            )
        )

    def check_count(self) -> None:
        if len(self.chosen) + len(self.skipped) > _MOST_PARTS:
            raise BadDocument(f"the mail has more than {_MOST_PARTS} parts", reply=TOO_MUCH)

    def skip(self, part: message.Part, why: str, *, loss: bool = False) -> None:
        self.skip_entry(self.where(part), part.title, part.content_type, why, loss=loss)

    def skip_entry(self, position: str, title: str, content_type: str, why: str, *, loss: bool = False) -> None:
        entry = ManifestEntry(position=position, title=title, content_type=content_type, note=why, loss=loss)
        self.skipped.append(entry)

    def where(self, part: message.Part) -> str:
        return f"{self.prefix}{part.position or '1'}"


def _is_enciphered(part: message.Part) -> bool:
    if part.content_type not in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        return False
    return dict(part.parameters).get("smime-type", "enveloped-data").lower() in ("enveloped-data", "authenveloped-data")


def _shows_nothing(picture: message.Part) -> bool:
    size = sniff.picture_size(picture.content)
    return bool(size and max(size) <= _TRACKING_PIXELS)


def _leaves(part: message.Part) -> Iterator[message.Part]:
    return (leaf for leaf in part.walk() if not leaf.content_type.startswith("multipart/"))


def _is_file(leaf: message.Part) -> bool:
    if leaf.content_type.startswith("text/") or leaf.content_type in _SIGNATURES or leaf.content_type in _NOT_DOCUMENTS:
        return leaf.disposition == "attachment"
    return leaf.disposition == "attachment" or not (leaf.content_type.startswith("image/") and leaf.content_id)


def _preface(headers: message.Headers) -> str:
    date = headers.date.strftime("%d %B %Y, %H:%M %z") if headers.date else ""
    lines = (("From", headers.from_header), ("Date", date), ("Subject", headers.subject))
    return "\n".join(["Attached mail", *(f"{label}: {value}" for label, value in lines if value)]) + "\n\n"


def _shown_names(source: bytes) -> list[str]:
    """The Content-IDs that HTML speaks of."""
    return [unquote(unescape(name.decode("utf-8", "replace"))) for name in _CID.findall(source)]

"""How the text of a mail begins, read without taking the whole mail apart.

Promises the first line of the first part if that is text, and "" for everything else, whatever the octets; looks at so much of
the mail only. Options may stand there (`options`).
"""

from __future__ import annotations

import base64
import binascii
import email.message
import email.parser
import email.policy
import html
import quopri
import re

LOOK = 128 * 1024  # octets from the beginning of the mail
_DEEPEST = 8
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_PARSER = email.parser.BytesHeaderParser(policy=email.policy.compat32)
#: What shows nothing where an HTML text begins: blanks, then what ends with a mark of its own, then any other tag.
_BLANKS = re.compile(rb"(?:[\s\xa0]|\xc2\xa0|\xef\xbb\xbf|&nbsp;|&#160;)+", re.IGNORECASE)
_OPENING = re.compile(rb"<!--|<!\[|<(head|style|script|title|xml)\b", re.IGNORECASE)
_CLOSING = {
    name: re.compile(rb"</" + name + rb"\s*>", re.IGNORECASE) for name in (b"head", b"style", b"script", b"title", b"xml")
}
_CLOSING |= {b"<!--": re.compile(rb"-->"), b"<![": re.compile(rb"\]>")}
_ANY_TAG = re.compile(rb"<[^>\[]*>")
_BEFORE_TEXT = re.compile(rb"(?:\s|\xef\xbb\xbf|\xc2\xa0)*")
_LINE_ENDS = re.compile(rb"\r|\n|<br|</?p\b|</?div|</?td|</?tr|<hr|<h[1-6]", re.IGNORECASE)
_TAG = re.compile(rb"<[^>]*>")
_LINE = 8192  # octets of a line of HTML, tags and all, that are looked at


def line(data: bytes) -> str:
    """The first line, decoded; "" where the mail does not begin with text."""
    start, head = 0, data[:LOOK]
    for _ in range(_DEEPEST):
        end = _END_OF_HEADERS.search(head, start)
        if end is None:
            return ""
        part = _PARSER.parsebytes(head[start : end.end()])
        boundary = _boundary(part)
        if not boundary:
            return _first(part, head[end.end() :])
        found = re.compile(rb"^--" + re.escape(boundary) + rb"[ \t]*\r?\n", re.MULTILINE).search(head, end.end() - 1)
        if found is None:
            return ""
        start = found.end()
    return ""


def without(content: bytes, written: tuple[str, ...], *, is_html: bool) -> bytes:
    """A text without these words, which stand at its beginning one after the other; a tag between them is kept."""
    before, position = (_before_html if is_html else _before_text), 0
    for word in (one.encode("ascii", "replace") for one in written):
        start = before(content, position)
        if not content.startswith(word, start):
            break
        position = start
        content = content[:position] + content[position + len(word) :]
    return content


def _boundary(part: email.message.Message) -> bytes:
    try:
        text = part.get_boundary() if part.get_content_maintype() == "multipart" else None
    except (LookupError, ValueError, UnicodeError, AttributeError):
        return b""
    return text.encode("ascii", "replace") if text else b""


def _first(part: email.message.Message, body: bytes) -> str:
    """The first line of one part."""
    kind = part.get_content_type()
    if kind not in ("text/plain", "text/html") or str(part.get("Content-Disposition", "")).lower().startswith("attachment"):
        return ""
    content = _decoded(body, str(part.get("Content-Transfer-Encoding", "")).strip().lower())
    if kind == "text/plain":
        return _text(content[_before_text(content, 0) :].split(b"\n", 1)[0]).strip()
    content = content[_before_html(content, 0) :]
    end = _LINE_ENDS.search(content)
    return html.unescape(_text(_TAG.sub(b"", content[: end.start() if end else _LINE][:_LINE]))).replace("\xa0", " ").strip()


def _before_text(content: bytes, at: int) -> int:
    """Where a text begins to show something."""
    found = _BEFORE_TEXT.match(content, at, LOOK)
    return found.end() if found else at


def _before_html(content: bytes, at: int) -> int:
    """The same of HTML. Each octet is looked at a few times at most, whatever a stranger wrote."""
    endless = set[bytes]()  # what begins here or there and never ends
    while True:
        if blanks := _BLANKS.match(content, at, LOOK):
            at = blanks.end()
        opening = _OPENING.match(content, at, LOOK)
        mark = (opening[1] or opening[0]).lower() if opening else b""
        if opening and mark not in endless:
            if closing := _CLOSING[mark].search(content, opening.end(), LOOK):
                at = closing.end()
                continue
            endless.add(mark)
        tag = _ANY_TAG.match(content, at, LOOK)
        if tag is None:
            return at
        at = tag.end()


def _decoded(body: bytes, coding: str) -> bytes:
    if coding == "quoted-printable":
        return quopri.decodestring(body)
    if coding != "base64":
        return body
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", body.partition(b"\n--")[0])
    try:
        return base64.b64decode(letters[: len(letters) // 4 * 4])
    except binascii.Error:
        return b""


def _text(content: bytes) -> str:
    """Options are ASCII: the charset does not matter."""
    return content[:1000].decode("utf-8", "replace")

"""What an IMAP server says, read: one response of it into its words, and folder names out of their coding.

Promises an `Answer` or ValueError, whatever the octets. Sources: RFC 3501 §5.1.3, §9; RFC 9051 §9.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_STATUS = (b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH")
_CODE = re.compile(rb"\[([A-Za-z0-9-]+)(?: ([^\]]*))?\] ?")
_TOKEN = re.compile(rb' *(?:(\()|(\))|"((?:[^"\\\r\n]|\\["\\])*)"|([^ ()"]+))')
_DEEPEST = 20
_CODED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_PLAIN = re.compile(r"[ -%'-~]+|&")

Word = bytes | None | list["Word"]
"""An atom or a string, NIL, or what stands in parentheses."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Octets whose number was said before them."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    tag: bytes
    """b"*" for what was not asked for by name, b"+" where the server waits for more."""
    kind: bytes
    """OK, NO, BAD, BYE, PREAUTH, SEARCH, LIST, FETCH, EXISTS …, upper case; b"" behind a +."""
    number: int | None = None
    """In front of the kind: of a message, or of messages."""
    words: list[Word] = field(default_factory=list)
    code: bytes = b""
    """Of a status: what stands in brackets, upper case."""
    values: bytes = b""
    """Behind the code."""
    text: str = ""
    """Of a status, for people: a claim of the server, printable."""


def read(head: bytes, pieces: Sequence[bytes | Literal] = ()) -> Answer:
    """One response: its text up to the first literal, and everything from there on. Raises ValueError."""
    tag, _, rest = head.partition(b" ")
    if tag == b"+" or not tag:
        return Answer(b"+" if tag else b"*", b"", text=_text(rest))
    first, _, behind = rest.partition(b" ")
    number = int(first) if re.fullmatch(rb"[0-9]{1,10}", first) else None
    if number is not None:
        first, _, behind = behind.partition(b" ")
    kind = first.upper()
    if kind in _STATUS and number is None:
        code = _CODE.match(behind)
        text = _text(behind[code.end() :] if code else behind)
        return Answer(tag, kind, code=code[1].upper() if code else b"", values=code[2] or b"" if code else b"", text=text)
    return Answer(tag, kind, number, _words([behind, *pieces]))


def _text(octets: bytes) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in octets.decode("ascii", "replace"))[:300]


def _words(pieces: Sequence[bytes | Literal]) -> list[Word]:
    whole: list[Word] = []
    open_lists = [whole]
    for mark, word in _tokens(pieces):
        if mark == b"(":
            if len(open_lists) > _DEEPEST:
                raise ValueError("nested too deeply")
            inner: list[Word] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif mark == b")":
            if len(open_lists) == 1:
                raise ValueError("a parenthesis too many")
            open_lists.pop()
        else:
            open_lists[-1].append(word)
    if len(open_lists) > 1:
        raise ValueError("a parenthesis is not closed")
    return whole


def _tokens(pieces: Sequence[bytes | Literal]) -> Iterator[tuple[bytes, bytes | None]]:
    """Parentheses as marks; everything else as words."""
    for piece in pieces:
        if isinstance(piece, Literal):
            yield b"", piece.octets
            continue
        at = 0
        while match := _TOKEN.match(piece, at):
            at = match.end()
            if match[3] is not None:
                yield b"", re.sub(rb"\\(.)", rb"\1", match[3])
            elif match[4] is not None:
                yield b"", None if match[4].upper() == b"NIL" else match[4]
            else:
                yield match[1] or match[2], None
        if piece[at:].strip(b" "):
            raise ValueError("makes no sense")


def pairs(words: Sequence[Word]) -> dict[bytes, Word]:
    """The items of a FETCH: names, upper case and without the origin of a part, and values. Raises ValueError."""
    items = words[0] if words else None
    if not isinstance(items, list) or len(items) % 2:
        raise ValueError("is no list of names and values")
    names = [re.sub(rb"<[0-9]+>$", b"", name.upper()) for name in items[::2] if isinstance(name, bytes)]
    if len(names) < len(items) // 2:
        raise ValueError("is no list of names and values")
    return dict(zip(names, items[1::2], strict=True))


def numbers(words: Sequence[Word]) -> list[int]:
    """The numbers of a SEARCH. Raises ValueError."""
    found = []
    for word in words:
        if isinstance(word, list):  # (MODSEQ n), RFC 7162
            continue
        if word is None or not re.fullmatch(rb"[0-9]{1,10}", word):
            raise ValueError("is no number")
        found.append(int(word))
    return found


def encoded(name: str) -> bytes:
    """A folder's name as the wire has it (modified UTF-7)."""
    out, at = [], 0
    while at < len(name):
        if plain := _PLAIN.match(name, at):
            out.append(plain[0].replace("&", "&-").encode("ascii"))
            at = plain.end()
            continue
        end = at
        while end < len(name) and not _PLAIN.match(name, end):
            end += 1
        coded = base64.b64encode(name[at:end].encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
        out.append(b"&" + coded + b"-")
        at = end
    return b"".join(out)


def decoded(name: bytes) -> str:
    """A folder's name for people; what makes no sense stays as it stands."""

    def letters(match: re.Match[bytes]) -> bytes:
        if not match[1]:
            return b"&"
        coded = match[1].replace(b",", b"/")
        try:
            return base64.b64decode(coded + b"=" * (-len(coded) % 4)).decode("utf-16-be").encode()
        except (binascii.Error, UnicodeDecodeError):
            return match[0]

    return _CODED.sub(letters, name).decode("utf-8", "replace")

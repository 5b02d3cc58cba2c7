"""What a reply to one of our mails asks: the first line of its new text, and nothing below it.

    STOP · RESEND · RESEND 3-5 · FORWARD +14155550123 · APPROVE · SEND · REJECT

Promises an order or None for any mail. The text is looked at as mail programs write it: plain or HTML only, any transfer
encoding, below or above the history, wrapped as format=flowed. The quoted history, what a divider or a signature begins, and
every line but the first are never read as an order.
"""

from __future__ import annotations

import html.parser
import re
from dataclasses import dataclass

from gateway import message, quoted
from gateway.message import Part

_MOST = 64 * 1024  # characters of a text that are looked at
_WORDS = {
    "stop": ("stop", "stopp", "cancel", "abbrechen", "stornieren", "annuler", "arrêter"),
    "resend": ("resend", "wiederholen", "renvoyer"),
    "forward": ("forward", "weiterleiten", "transférer"),
    "approve": ("approve", "send", "freigeben", "senden", "approuver", "envoyer"),
    "reject": ("reject", "ablehnen", "rejeter", "refuser"),
}
_VERBS = {word: verb for verb, words in _WORDS.items() for word in words}
_LINE = re.compile(r"([^\W\d_]{2,20})(?:[ \t]+([+0-9][0-9 ().\-\u2010-\u2014/]{0,39}))?[ \t]*[.!]?")
_PAGES = re.compile(r"([0-9]{1,4})(?:[ \t]*[-\u2010-\u2014][ \t]*([0-9]{1,4}))?")
_UNSEEN = dict.fromkeys([0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xAD]) | {0xA0: " ", 0x202F: " "}
_SIGNATURE = re.compile(r"--[ \t]*$|_{5,}[ \t]*$")


@dataclass(frozen=True, slots=True)
class Order:
    """One command."""

    verb: str
    """stop, resend, forward, approve, reject."""
    pages: tuple[int, int] | None = None
    """Of a `resend`: the first and the last one; None = all."""
    number: str = ""
    """Of a `forward`: as it was written, with its +."""

    @property
    def words(self) -> str:
        """In one spelling."""
        pages = f"{self.pages[0]}-{self.pages[1]}" if self.pages else ""
        return " ".join(filter(None, (self.verb.upper(), pages, self.number)))


def read(content: bytes) -> Order | None:
    """What a mail asks; None: nothing that is known here."""
    return of_line(first_line(content))


def of_line(line: str) -> Order | None:
    """One line as an order. None: it is something else, or half of one."""
    found = _LINE.fullmatch(line)
    verb = _VERBS.get(found[1].casefold()) if found else None
    if found is None or verb is None:
        return None
    rest = (found[2] or "").strip()
    if verb == "forward":
        digits = re.sub(r"[^+0-9]", "", rest)
        return Order(verb, number=digits) if re.fullmatch(r"\+[0-9]{7,15}", digits) else None
    if not rest:
        return Order(verb)
    pages = _PAGES.fullmatch(rest.rstrip(". ")) if verb == "resend" else None
    if pages is None:
        return None
    first, last = int(pages[1]), int(pages[2] or pages[1])
    return Order(verb, pages=(first, last)) if 1 <= first <= last else None


def first_line(content: bytes) -> str:
    """The first line of the new text; "" where there is none."""
    part = _text(message.parse(content).root)
    if part is None:
        return ""
    words = _decoded(part)[:_MOST]
    lines = _shown(words) if part.content_type == "text/html" else quoted.new_lines(words)
    for line in lines:
        line = line.translate(_UNSEEN).strip().strip("*_").strip()  # Gmail writes bold words so in plain text
        if _SIGNATURE.match(line):
            return ""
        if line:
            return line
    return ""


def _text(root: Part) -> Part | None:
    """The part that is read: plain text, else HTML; what is attached is nobody's new text."""
    texts = [
        part
        for part in root.walk()
        if part.content_type in ("text/plain", "text/html") and part.disposition != "attachment" and not part.name
    ]
    return next((part for part in texts if part.content_type == "text/plain" and _decoded(part).strip()), None) or next(
        (part for part in texts if part.content_type == "text/html"), None
    )


def _decoded(part: Part) -> str:
    try:
        words = part.content.decode(part.charset or "utf-8", "replace")
    except LookupError:
        words = part.content.decode("utf-8", "replace")
    return words.replace("\r\n", "\n").replace("\r", "\n")


def _shown(source: str) -> list[str]:
    """The new lines of an HTML text. One that marks no history may have written it as plain text is."""
    reader = _Reader()
    reader.feed(source)
    reader.close()
    return quoted.new_lines("".join(reader.words))


class _Reader(html.parser.HTMLParser):
    """Words of a page, a line for each block, without what mail programs mark as history.

    An element that never ends is history to the end of the page.
    """

    _BREAKS = frozenset({"br", "p", "div", "tr", "li", "hr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "body"})
    _UNREAD = frozenset({"head", "style", "script", "title", "blockquote", "xml"})
    _EMPTY = frozenset({"br", "hr", "img", "meta", "link", "input", "col", "area", "base", "wbr", "source"})
    _CLASSES = frozenset({"gmail_quote", "gmail_attr", "gmail_signature", "yahoo_quoted", "moz-cite-prefix", "moz-signature"})
    _BEGINS = frozenset(
        {"appendonsend", "divrplyfwdmsg", "mail-editor-reference-message-container", "ms-outlook-mobile-signature"}
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._within: list[str] = []
        """Open elements from the outermost one that is not read."""
        self._over = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._BREAKS:
            self.words.append("\n")
        of = {name: (value or "").lower() for name, value in attrs}
        style = of.get("style", "").replace(" ", "")
        if of.get("id", "") in self._BEGINS or "border-top:solid#e1e1e1" in style or "border-top:solid#b5c4df" in style:
            self._over = True
        if tag in self._EMPTY:
            return
        if self._within or tag in self._UNREAD or not self._CLASSES.isdisjoint(of.get("class", "").split()):
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._BREAKS:
            self.words.append("\n")
        if tag in self._within:  # what was left open inside it ends with it
            while self._within.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not self._within and not self._over:
            self.words.append(re.sub(r"\s+", " ", data))

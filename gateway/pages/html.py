"""HTML mail as readable text. No script runs, nothing is fetched, links and pictures are not followed (CNT-12).

Tables, lists and paragraphs are laid out by inscriptis, which opens elements within elements by recursion: deeper
documents than `_DEEPEST`, and longer ones than `_LONGEST`, are read by a flat reader that keeps words and line breaks.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

import lxml.etree
import lxml.html
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.html_engine import Inscriptis
from inscriptis.model.config import ParserConfig

_DEEPEST = 120
_LONGEST = 2_000_000
_UNSEEN = frozenset({"script", "style", "title", "template"})
_BREAKS = frozenset(
    {
        "br",
        "p",
        "div",
        "tr",
        "table",
        "li",
        "ul",
        "ol",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "blockquote",
        "pre",
        "section",
    }
)
_BLANK_LINES = re.compile(r"\n\s*\n(\s*\n)+")
_GAPS = re.compile(r"(?<=\S) {4,}")
_DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)


def charset(content: bytes) -> str:
    """The charset the document names itself; "" when it names none."""
    found = _DECLARED.search(content[:4096])
    return found.group(1).decode("ascii", "replace") if found else ""


def to_text(source: str) -> str:
    """The words of an HTML document, laid out as text."""
    source = source.replace("\x00", "")
    tree = _tree(source) if len(source) <= _LONGEST else None
    if tree is None:
        text = _flat(source)
    else:
        text = Inscriptis(tree, ParserConfig(css=CSS_PROFILES["strict"].copy(), display_images=True)).get_text()
    # Tables made for the eye leave wide gaps and blank lines.
    lines = "\n".join(_GAPS.sub("   ", line.rstrip()) for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", lines).strip("\n")


def _tree(source: str) -> lxml.html.HtmlElement | None:
    """The document as a tree; None when it is too deep to walk, or no document at all."""
    parser = lxml.html.HTMLParser(huge_tree=True, no_network=True, remove_comments=True, remove_pis=True, encoding="utf-8")
    try:
        tree = lxml.html.document_fromstring(source.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.LxmlError, ValueError, AssertionError):
        return None
    depth = 0
    for event, _ in lxml.etree.iterwalk(tree, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > _DEEPEST:
            return None
    lxml.etree.strip_elements(tree, *_UNSEEN, with_tail=False)
    return tree


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self.hidden += 1
        if tag in _BREAKS:
            self.words.append("\n")
        if tag == "img" and not self.hidden and (alt := dict(attrs).get("alt")):
            self.words.append(f"[{alt}]")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self.hidden = max(0, self.hidden - 1)
        if tag in _BREAKS:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(re.sub(r"\s+", " ", data))


def _flat(source: str) -> str:
    reader = _Words()
    reader.feed(source)
    reader.close()
    return "\n".join(line.strip() for line in "".join(reader.words).split("\n"))

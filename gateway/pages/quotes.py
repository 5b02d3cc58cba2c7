"""The quoted history and the paragraph about confidential mails in HTML, cut where the account asks; in a text: `quoted`.

A mail that has no words of its own before the history stays whole, and so does one that is forwarded
(`quoted.is_forward`): the history is then what it is about.
"""

from __future__ import annotations

import lxml.etree
import lxml.html

from gateway import quoted

_QUOTED = (
    "//blockquote[@type='cite']",
    "//*[contains(concat(' ', @class, ' '), ' gmail_quote ')]",
    "//*[contains(concat(' ', @class, ' '), ' yahoo_quoted ')]",
    "//*[contains(concat(' ', @class, ' '), ' moz-cite-prefix ')]",
)
#: From here on everything that follows is history: Outlook on the web, and on the desktop.
_BEGINS = (
    "//*[@id='appendonsend']",
    "//*[@id='divRplyFwdMsg']",
    "//div[contains(@style, 'border-top:solid #E1E1E1') or contains(@style, 'border-top:solid #B5C4DF')]",
)


def cut_html(source: str) -> str:
    """The page without its history and its note about confidentiality. What cannot be read stays as it is."""
    try:
        tree = lxml.html.document_fromstring(source.encode("utf-8", "replace"), parser=_parser())
    except (lxml.etree.LxmlError, ValueError, AssertionError):
        return source
    found = False
    for path in _BEGINS:
        for element in tree.xpath(path)[:1]:
            found = True
            _remove_following(element)
            _remove(element)
    for path in _QUOTED:
        for element in tree.xpath(path):
            found = True
            _remove(element)
    for element in tree.xpath("//p | //div[not(.//div or .//p or .//table)]"):
        if quoted.is_note(element.text_content()):
            found = True
            _remove(element)
    if not found or not tree.text_content().strip():
        return source
    return str(lxml.html.tostring(tree, encoding="unicode"))


def _parser() -> lxml.html.HTMLParser:
    return lxml.html.HTMLParser(huge_tree=True, no_network=True, encoding="utf-8")


def _remove_following(element: lxml.html.HtmlElement) -> None:
    for later in list(element.itersiblings()):
        _remove(later)


def _remove(element: lxml.html.HtmlElement) -> None:
    if element.getparent() is not None:
        element.drop_tree()

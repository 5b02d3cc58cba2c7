"""Several renderings of one text, compared: some programs write a plain text that says nothing, or HTML that is empty."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from gateway.message import Part
from gateway.pages import html, text

_FEW = 3  # words that one may lack of another
_SHARE = 4  # or one in so many
_WORD = re.compile(r"\w+")
_LINK = re.compile(r"(?:https?://|mailto:|www\.)\S+|\[cid:[^\]]*\]", re.IGNORECASE)


def compare(branches: Sequence[Part]) -> tuple[list[bool], list[bool]]:
    """Of each rendering: whether it says nearly all that any other says, and whether it says all of it."""
    words = [_words(branch) for branch in branches]
    enough = max(_FEW, max(map(len, words), default=0) // _SHARE)
    lacking = [max(len(other - mine) for other in words) for mine in words]
    nearly = [
        not missing or (missing <= enough and (bool(mine) or _draws(branch)))
        for missing, mine, branch in zip(lacking, words, branches, strict=True)
    ]
    return nearly, [not missing for missing in lacking]


def _words(branch: Part) -> frozenset[str]:
    texts = (leaf for leaf in branch.walk() if leaf.content_type in ("text/plain", "text/html"))
    return frozenset().union(*(_said(leaf) for leaf in texts if leaf.disposition != "attachment"))


@functools.lru_cache(maxsize=100)
def _said(leaf: Part) -> frozenset[str]:
    """Its words, without the addresses of links: a text writes them down and HTML does not. Asked for at every level of
    renderings within renderings."""
    if leaf.content_type == "text/html":
        words = html.to_text(text.decode(leaf.content, leaf.charset or html.charset(leaf.content)))
    else:
        words = text.decode(leaf.content, leaf.charset)
    return frozenset(_WORD.findall(_LINK.sub(" ", words).lower()))


def _draws(branch: Part) -> bool:
    """Whether pictures are written into its HTML."""
    return any(leaf.content_type == "text/html" and b"data:image" in leaf.content for leaf in branch.walk())

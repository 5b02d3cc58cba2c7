"""Several renderings of one text, compared: some programs write a plain text that says nothing, or HTML that is empty."""

from __future__ import annotations

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
    """What it says, without the addresses of links: a text writes them down and HTML does not."""
    said: list[str] = []
    for leaf in branch.walk():
        if leaf.content_type == "text/html" and leaf.disposition != "attachment":
            said.append(html.to_text(text.decode(leaf.content, leaf.charset or html.charset(leaf.content))))
        elif leaf.content_type == "text/plain" and leaf.disposition != "attachment":
            said.append(text.decode(leaf.content, leaf.charset))
    return frozenset(_WORD.findall(_LINK.sub(" ", "\n".join(said)).lower()))


def _draws(branch: Part) -> bool:
    """Whether pictures are written into its HTML."""
    return any(leaf.content_type == "text/html" and b"data:image" in leaf.content for leaf in branch.walk())

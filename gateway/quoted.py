"""What a reply drags behind it: the quoted history, and the paragraph about confidential mails; as mail programs write them
in plain text. What is above or below the history, or between its lines, is new.

Promises an answer for any text. HTML is `pages.quotes`' and `intake.order`'s.
"""

from __future__ import annotations

import re

_DIVIDER = re.compile(
    r"^\s*-{2,}\s*(original message|ursprüngliche nachricht|message d.origine|mensaje original|messaggio originale"
    r"|oorspronkelijk bericht|forwarded message|weitergeleitete nachricht)\s*-{2,}\s*$",
    re.IGNORECASE,
)
_FORWARD = re.compile(r"\s*(fwd?|wg|tr|rv|i|enc|doorst|inoltra?)\s*:", re.IGNORECASE)
_INTRODUCTION = re.compile(
    r"^(on\b.{5,300}\bwrote|am\b.{5,300}\bschrieb\b.{0,200}|le\b.{5,300}\ba écrit|el\b.{5,300}\bescribió"
    r"|il\b.{5,300}\bha scritto|op\b.{5,300}\bschreef\b.{0,200})\s*:\s*$",
    re.IGNORECASE | re.DOTALL,
)
_FROM = re.compile(r"^[\s*]*(from|von|de|da|van)\s*:[\s*]*\S", re.IGNORECASE)
_SENT = re.compile(r"^[\s*]*(sent|date|gesendet|datum|envoyé|enviado|inviato|data|fecha|verzonden)\s*:", re.IGNORECASE)
_TO = re.compile(r"^[\s*]*(to|an|à|para|a|aan)\s*:", re.IGNORECASE)
_CONFIDENTIAL = re.compile(
    r"confidential|vertraulich|confidentiel|confidencial|riservat|vertrouwelijk|disclaimer", re.IGNORECASE
)
_MEANT_FOR = re.compile(
    r"intended|recipient|addressee|empfänger|adressat|destinataire|destinatari|geadresseerde|bestemd", re.IGNORECASE
)
_SHORTEST_NOTE = 100  # letters of such a paragraph; a sentence about something confidential is shorter
_LONGEST_NOTE = 4000
_LAST_PARAGRAPHS = 4


def is_forward(subject: str) -> bool:
    """Whether a mail passes another one on, as mail programs of our languages mark it."""
    return _FORWARD.match(subject) is not None


def cut_text(words: str) -> str:
    """The text without its history and its note about confidentiality; the whole text where nothing else is in it."""
    cut = "\n".join(without_note(new_lines(words))).rstrip()
    return cut + "\n" if cut.strip() else words


def new_lines(words: str) -> list[str]:
    """The lines that its author wrote now."""
    lines = words.split("\n")
    for n, line in enumerate(lines):
        if _DIVIDER.match(line) or _is_header_block(lines, n):
            lines = lines[: n - 1] if n and set(lines[n - 1].strip()) == {"_"} else lines[:n]
            break
    return _without_marked(lines)


def _without_marked(lines: list[str]) -> list[str]:
    """Without the lines that begin with ">" and the line or two that introduce them; answers between them stay."""
    kept: list[str] = []
    for n, line in enumerate(lines):
        if not line.startswith(">"):
            kept.append(line)
            continue
        if n and not lines[n - 1].startswith(">"):
            while kept and not kept[-1].strip():
                kept.pop()
            for several in (1, 2, 3):
                if _INTRODUCTION.match("\n".join(kept[-several:]).strip()):
                    del kept[-several:]
                    break
    return kept


def _is_header_block(lines: list[str], n: int) -> bool:
    """Whether the fields of another mail begin here: from, then when and to whom within a few lines."""
    if not _FROM.match(lines[n]):
        return False
    following = lines[n + 1 : n + 6]
    return any(_SENT.match(line) for line in following) and any(_TO.match(line) for line in following)


def without_note(lines: list[str]) -> list[str]:
    """Without the paragraphs at the end that say that the mail is confidential."""
    paragraphs = re.split(r"\n[ \t]*\n", "\n".join(lines).rstrip())
    first = max(1, len(paragraphs) - _LAST_PARAGRAPHS)
    return "\n\n".join([*paragraphs[:first], *(one for one in paragraphs[first:] if not is_note(one))]).split("\n")


def is_note(paragraph: str) -> bool:
    """Whether it says that the mail is confidential."""
    shown = " ".join(paragraph.split())
    return bool(_SHORTEST_NOTE <= len(shown) <= _LONGEST_NOTE and _CONFIDENTIAL.search(shown) and _MEANT_FOR.search(shown))

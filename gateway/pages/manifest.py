"""What `parts` decides, as values: the parts to print, what became of every part, and the replies a refusal carries."""

from __future__ import annotations

from dataclasses import dataclass, field

NOTHING = "554 5.6.0"
UNSUPPORTED = "554 5.6.1"
MISSING = "554 5.6.3"
BROKEN = "554 5.6.5"
TOO_MUCH = "554 5.3.4"
ENCRYPTED = "554 5.7.5"


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
    loss: bool = False
    """Less of it is on paper than the sender wrote: left out by a rule or a setting, or harmed on the way (CNT-10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture of the mail that a text in HTML shows."""

    content_id: str
    content_type: str
    content: bytes = field(repr=False)
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One part that becomes pages."""

    position: str
    title: str
    content_type: str
    kind: str
    """One of `sniff.KINDS` that is a document itself: what it really is."""
    content: bytes = field(repr=False)
    charset: str = ""
    is_body: bool = False
    """The text the sender wrote, as opposed to a file: the first one goes on the cover page."""
    is_laid_out: bool = False
    """HTML that says more than its words: laid out as pages of its own, with its pictures."""
    pictures: tuple[Shown, ...] = ()
    preface: str = ""
    """Lines printed before it: who wrote an attached mail to whom, when, about what."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The parts to print, and the entries of those that are not printed; both in the order of the mail."""

    chosen: tuple[Chosen, ...]
    skipped: tuple[ManifestEntry, ...]
    pictures: frozenset[str] = frozenset()
    """SHA-256 of the pictures inside the mail's text."""

"""One document to one recipient: what is asked for, and what was made of it.

These values travel between the gateway and the fenced process that does the work; this module is therefore light, and
the libraries that make pages are imported inside the fence only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from gateway.pages.manifest import ManifestEntry

__all__ = ["Cover", "Job", "Made", "ManifestEntry", "Measure", "Print", "make"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """What the cover page says; it names this one recipient and no other (CNT-18)."""

    to_name: str
    to_number: str
    """As people write it, e.g. "+1 415-555-2671"."""
    organisation: str
    from_name: str
    from_address: str
    subject: str
    date: datetime
    """Aware, in the zone to print."""
    reference: str
    """Our id of the transmission."""
    contact: str
    """The operator's mail address."""
    message: str = ""
    """Text for the cover page where the mail has none of its own: a posted document, or a call's."""
    template: str = "standard"
    """Which one, by its name in `templates/cover/`."""
    placeholders: bool = False
    """The message says `{ToName}` and the like where the facts of this fax stand."""
    only_with_message: bool = False
    """Without a message there is no cover page."""
    reply_to: str = ""
    """Where that is not `from_address`."""
    from_organisation: str = ""
    from_phone: str = ""
    logo: bytes = field(default=b"", repr=False)
    """PNG or JPEG; b"" for none."""
    confidential: str = ""
    """Confidentiality note; "" for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to make."""

    source: Path
    content_type: str
    """`message/rfc822`, or the type of a single posted file."""
    out: Path
    """A folder that exists; the fax is written into it."""
    cover: Cover | None
    """None: without a cover page."""
    paper: str
    """"letter" or "a4"."""
    max_pages: int
    """With the cover page."""
    header: str = ""
    """Text of the line at the top of every page, to which the page number is added; "" for none."""
    languages: tuple[str, ...] = ()
    """Of the cover page and the header line, the preferred one first; the first that has words is taken, else English."""
    templates: tuple[Path, ...] = ()
    """Folders of templates, the operator's first; empty for the built-in ones."""
    title: str = "the document"
    """How a posted file is called in errors and in the manifest."""

    body: str = "always"
    """What becomes of the message: "always" printed, "alone" (only where there is no attachment), as words on the "cover"
    page, or "never"."""
    cut_quotes: bool = False
    """Leave the quoted history and notes about confidentiality out of the message."""
    printed: bool = False
    """The pages in black and white, as the far end prints them, and not as they were laid out."""
    fine: bool | None = None
    """`printed` in fine or standard resolution; None: as usual."""
    options: tuple[str, ...] = ()
    """What stands at the beginning of the text and is not printed."""
    familiar: frozenset[str] = frozenset()
    """SHA-256 of inline pictures that stand in most mails of this sender: logos, left out."""

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files and folders the fenced process may read."""
        return (self.source, *self.templates)

    @property
    def writes(self) -> tuple[Path, ...]:
        """The folders it may write into."""
        return (self.out,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made."""

    pdf: Path
    pages: int
    """With the cover page."""
    manifest: tuple[ManifestEntry, ...] = field(default=())
    """Every part of the mail in its order, printed or not."""
    inline: frozenset[str] = frozenset()
    """SHA-256 of the pictures inside the mail's text, for `Job.familiar` of the sender's next mails."""


#: Of one printed page: lines, lines an inch, bytes as MMR and as MH.
Measure = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """What to write; the fenced process may read and write no more than this names."""

    source: Path
    """A PDF."""
    out: Path
    """A folder that exists; `printed.pdf`, `printed.tif` and `page-001.png` and so on are written into it."""
    fine: bool | None = None
    """None: page by page."""

    @property
    def reads(self) -> tuple[Path, ...]:
        return (self.source,)

    @property
    def writes(self) -> tuple[Path, ...]:
        return (self.out,)


def make(job: Job) -> Made:
    """Make the fax; meant for `fence.Fence.run`.

    Raises BadDocument with the part's title in `part` and in the text: 554 5.6.0 nothing to fax, 5.6.1 cannot become
    pages, 5.6.5 broken or locked, 5.3.4 too many pages or pixels, 5.7.5 encrypted.
    """
    from gateway.pages import binding, child, printed

    made = binding.bind(job)
    if not job.printed:
        return made
    child.note("")
    pages = job.out / "printed.pdf"
    printed.as_printed(made.pdf, pages, fine=job.fine is not False)
    return replace(made, pdf=pages)

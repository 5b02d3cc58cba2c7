"""One document to one recipient: what is asked for, and what was made of it.

These values travel between the gateway and the fenced process that does the work; this module is therefore light, and
the libraries that make pages are imported inside the fence only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gateway.pages.parts import ManifestEntry

__all__ = ["Cover", "Job", "Made", "ManifestEntry", "make"]


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
    template: str = ""
    """Which one, by its name in `templates/cover/`; "" = the usual one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to make."""

    source: Path
    content_type: str
    """`message/rfc822`, or the type of a single posted file."""
    out: Path
    """A folder that exists; `fax.pdf` is written into it."""
    cover: Cover | None
    """None: without a cover page."""
    paper: str
    """"letter" or "a4"."""
    max_pages: int
    """With the cover page."""
    header: str = ""
    """Text of the line at the top of every page, to which the page number is added; "" for none."""
    templates: tuple[Path, ...] = ()
    """Folders of templates, the operator's first; empty for the built-in ones."""
    title: str = "the document"
    """How a posted file is called in errors and in the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made."""

    pdf: Path
    pages: int
    """With the cover page."""
    manifest: tuple[ManifestEntry, ...] = field(default=())
    """Every part of the mail in its order, printed or not."""


def make(job: Job) -> Made:
    """Make the fax; meant for `fence.Fence.run`.

    Raises BadDocument with the part's title in `part` and in the text: 554 5.6.0 nothing to fax, 5.6.1 cannot become
    pages, 5.6.5 broken or locked, 5.3.4 too many pages or pixels, 5.7.5 encrypted.
    """
    from gateway.pages import binding

    return binding.bind(job)

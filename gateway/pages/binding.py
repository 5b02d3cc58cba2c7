"""Binds a fax: cover page, then the parts in the order of the mail, then the header line on every page (LAW-01, LAW-04)."""

from __future__ import annotations

import functools
import io
import re
from dataclasses import dataclass

from pypdf import PdfReader, PdfWriter

from gateway import message
from gateway.errors import BadDocument
from gateway.pages import child, cover, fonts, header, html, image, parts, pdf, sniff, text, wording
from gateway.pages.assemble import Job, Made
from gateway.pages.paper import PAPERS, Paper
from gateway.pages.parts import Chosen, ManifestEntry

_REMOTE = re.compile(rb"<img[^>]{0,2000}src\s*=\s*[\"']?\s*(https?:|//|file:)", re.IGNORECASE)
_SOME = 20  # replacement marks that are no reason to refuse a text
_TOO_LONG_TEXT = 4_000_000  # characters of one text; some thousand pages


@dataclass(frozen=True, slots=True)
class _Section:
    """One part as pages."""

    entry: ManifestEntry
    document: bytes
    pages: int


def bind(job: Job) -> Made:
    """Make the fax that `job` describes. See `assemble.make` for the errors."""
    child.note("the mail" if job.content_type == "message/rfc822" else job.title)
    paper = PAPERS[job.paper]
    judgement, posted_text = _judged(job)
    sections: list[_Section] = []
    front: cover.Layout | None = None
    chosen = list(judgement.chosen)
    body_entry = None
    body = next((part for part in chosen if part.is_body), None)
    if job.cover is not None and (body or posted_text.strip() or not job.cover.only_with_message):
        words, note = posted_text, ""
        if body is not None:
            child.note(body.title)
            words, note = _words(body)
            chosen.remove(body)
        _check_text(words, body.title if body else job.title, job.max_pages)
        front = cover.lay_out(job.cover, words, paper, job.templates, job.languages)
        if front.count > job.max_pages:
            raise pdf.too_long(job.max_pages, body.title if body else "the cover page")
        if body is not None:
            body_entry = _entry(body, 1, front.count, "; ".join(filter(None, (note, front.note))))
    done = front.count if front else 0
    for part in chosen:
        child.note(part.title)
        section = _section(part, job, paper, done)
        sections.append(section)
        done += section.pages
    child.note("")
    target = job.out / "fax.pdf"
    with target.open("wb") as file:
        _bound(front, sections, paper, job, done).write(file)
    printed = [section.entry for section in sections] + ([body_entry] if body_entry else [])
    manifest = sorted([*printed, *judgement.skipped], key=_order)
    return Made(pdf=target, pages=done, manifest=tuple(manifest))


def _judged(job: Job) -> tuple[parts.Judgement, str]:
    content = job.source.read_bytes()
    if job.content_type == "message/rfc822":
        judgement = parts.judge(message.parse(content))
        # A body of blanks in some charset, or of markup only, is no body.
        empty = [part for part in judgement.chosen if part.is_body and not _words(part)[0].strip()]
        skipped = [
            ManifestEntry(position=part.position, title=part.title, content_type=part.content_type, note="empty")
            for part in empty
        ]
        chosen = tuple(part for part in judgement.chosen if part not in empty)
        if not chosen:
            raise BadDocument("there is nothing to fax: the mail has no text and no attachment", reply=parts.NOTHING)
        return parts.Judgement(chosen, (*judgement.skipped, *skipped)), ""
    if not content:
        raise BadDocument(f"{job.title} is empty", part=job.title, reply=parts.NOTHING)
    return parts.Judgement((parts.document(content, job.content_type, job.title),), ()), job.cover.message if job.cover else ""


def _section(part: Chosen, job: Job, paper: Paper, done: int) -> _Section:
    """One part as pages on our paper."""
    with_header = bool(job.header)
    note = ""
    if part.kind in ("text", "html"):
        words, note = _words(part)
        shown = fonts.printable(words)
        note = "; ".join(filter(None, (note, shown.note)))
        _check_text(words, part.title, job.max_pages)
        document = text.to_pdf(shown.text, paper)
    elif part.kind == "pdf":
        document = pdf.to_pages(part.content, part.title, paper, header=with_header, done=done, limit=job.max_pages)
    else:
        document = image.to_pages(part.content, part.title, paper, header=with_header, done=done, limit=job.max_pages)
        note = _about_picture(part)
    pages = len(PdfReader(io.BytesIO(document)).pages)
    if done + pages > job.max_pages:
        raise pdf.too_long(job.max_pages, part.title)
    return _Section(_entry(part, done + 1, done + pages, note), document, pages)


def _about_picture(part: Chosen) -> str:
    declared = sniff.declared_picture(part.content_type)
    notes = [f"it is a {part.kind.upper()} picture"] if declared in sniff.PICTURES and declared != part.kind else []
    if part.kind != "tiff" and image.moves(part.content):
        notes.append("it moves: its first picture is printed")
    return "; ".join(notes)


@functools.cache
def _words(part: Chosen) -> tuple[str, str]:
    """The text of a part, and what the reader of the manifest should know. Asked for twice: is it empty, and what is it."""
    if part.kind != "html":
        return part.preface + text.decode(part.content, part.charset), ""
    source = text.decode(part.content, part.charset or html.charset(part.content))
    note = "HTML printed as text"
    if _REMOTE.search(part.content):
        note += "; pictures that are not in the mail are not fetched"
    return part.preface + html.to_text(source), note


def _check_text(words: str, title: str, most: int) -> None:
    """Refuse at once what cannot fit, setting it would take minutes; and what would be a page of replacement marks."""
    if len(words) > _TOO_LONG_TEXT or words.count("\n") > most * 80:
        raise pdf.too_long(most, title)
    shown = fonts.printable(words).text
    marks = shown.count(fonts.REPLACEMENT)
    if marks > _SOME and marks > len("".join(shown.split())) / 2:
        raise BadDocument(f"{title}: there is no typeface here for most of its letters", part=title, reply=parts.UNSUPPORTED)


def _entry(part: Chosen, first: int, last: int, note: str) -> ManifestEntry:
    return ManifestEntry(
        position=part.position, title=part.title, content_type=part.content_type, first_page=first, last_page=last, note=note
    )


def _order(entry: ManifestEntry) -> list[list[int]]:
    """Positions like "2/1.3" in the order of the mail."""
    return [[int(n) for n in level.split(".") if n] for level in entry.position.split("/")]


def _bound(front: cover.Layout | None, sections: list[_Section], paper: Paper, job: Job, total: int) -> PdfWriter:
    writer = PdfWriter()
    documents = [section.document for section in sections]
    if front is not None:
        documents.insert(0, front.draw(total))
    for document in documents:
        for page in PdfReader(io.BytesIO(document)).pages:
            writer.add_page(page)
    if job.header:
        header.add(writer, paper, job.header, wording.words(job.templates, job.languages)["page"])
    return writer

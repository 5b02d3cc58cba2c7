"""Binds a fax: cover page, then the parts in the order of the mail, then the header line on every page (LAW-01, LAW-04)."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

from pypdf import PdfReader, PdfWriter

from gateway import message, quoted
from gateway.errors import BadDocument
from gateway.pages import child, cover, fonts, header, legible, parts, pdf, press, wording
from gateway.pages.assemble import Job, Made
from gateway.pages.paper import PAPERS, Paper
from gateway.pages.parts import Chosen, ManifestEntry
from gateway.pages.press import Press

_EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class _Section:
    """One part as pages."""

    entry: ManifestEntry
    document: bytes
    pages: int


def bind(job: Job) -> Made:
    """Make the fax that `job` describes. See `assemble.make` for the errors."""
    child.note("the mail" if job.content_type == "message/rfc822" else job.title)
    printer = Press(PAPERS[job.paper], bool(job.header), job.max_pages, job.cut_quotes and not _is_forward(job))
    judgement, posted_text = _judged(job, printer)
    chosen = list(judgement.chosen)
    body = next((part for part in chosen if part.is_body and not _has_own_pages(part, printer, job)), None)
    has_message = bool(posted_text.strip()) or any(part.is_body for part in chosen)
    front, body_entry = None, None
    if job.cover is not None and (has_message or not job.cover.only_with_message):
        words, note = posted_text, ""
        if body is not None:
            child.note(body.title)
            words, note = printer.words(body)
            chosen.remove(body)
        printer.check(words, body.title if body else job.title)
        front = cover.lay_out(job.cover, words, printer.paper, job.templates, job.languages)
        if front.count > job.max_pages:
            raise pdf.too_long(job.max_pages, body.title if body else "the cover page")
        if body is not None:
            body_entry = _entry(body, 1, front.count, "; ".join(filter(None, (note, front.note))))
    done = front.count if front else 0
    sections: list[_Section] = []
    for part in chosen:
        child.note(part.title)
        printed = printer.sheets(part, done)
        sections.append(_Section(_entry(part, done + 1, done + printed.pages, printed.note), printed.pdf, printed.pages))
        done += printed.pages
    target = job.out / "fax.pdf"
    with target.open("wb") as file:
        _bound(front, sections, printer.paper, job, done).write(file)
    printed_entries = [section.entry for section in sections] + ([body_entry] if body_entry else [])
    manifest = sorted([*(_warned(entry, target) for entry in printed_entries), *judgement.skipped], key=_order)
    child.note("")
    return Made(pdf=target, pages=done, manifest=tuple(manifest), inline=judgement.pictures)


def _is_forward(job: Job) -> bool:
    return job.content_type == "message/rfc822" and quoted.is_forward(message.headers(job.source.read_bytes()).subject)


def _has_own_pages(body: Chosen, printer: Press, job: Job) -> bool:
    """Whether the message is printed behind the cover page instead of on it: it is laid out, or it has letters that the
    typeface of the cover page lacks."""
    if job.body == "cover":
        return False
    return body.is_laid_out or (press.markup() is not None and bool(fonts.printable(printer.words(body)[0]).missing))


def _judged(job: Job, printer: Press) -> tuple[parts.Judgement, str]:
    content = job.source.read_bytes()
    if job.content_type != "message/rfc822":
        if not content:
            raise BadDocument(f"{job.title} is empty", part=job.title, reply=parts.NOTHING)
        return parts.document(content, job.content_type, job.title), job.cover.message if job.cover else ""
    layout = press.markup() is not None and not (job.body == "cover" and job.cover is not None)
    judgement = parts.judge(message.parse(content), layout=layout, familiar=job.familiar, options=job.options)
    # A body of blanks in some charset, or of markup only, is no body.
    dropped = {
        id(part): _EMPTY
        for part in judgement.chosen
        if part.is_body and not part.pictures and not printer.words(part)[0].strip()
    }
    bodies = [part for part in judgement.chosen if part.is_body and id(part) not in dropped]
    files = [part for part in judgement.chosen if not part.is_body]
    if job.body == "never" or (job.body == "alone" and files):
        dropped |= {id(part): "the message itself is not faxed, by the account's settings" for part in bodies}
    chosen = tuple(part for part in judgement.chosen if id(part) not in dropped)
    if not chosen:
        why = "the account's settings leave out the text, and there is no attachment" if bodies else "the mail has no text"
        why = why if bodies else f"{why} and no attachment"
        raise BadDocument(f"there is nothing to fax: {why}", reply=parts.NOTHING)
    skipped = [_left_out(part, dropped[id(part)]) for part in judgement.chosen if id(part) in dropped]
    return parts.Judgement(chosen, (*judgement.skipped, *skipped), judgement.pictures), job.cover.message if job.cover else ""


def _left_out(part: Chosen, why: str) -> ManifestEntry:
    loss = why != _EMPTY
    return ManifestEntry(position=part.position, title=part.title, content_type=part.content_type, note=why, loss=loss)


def _entry(part: Chosen, first: int, last: int, note: str) -> ManifestEntry:
    return ManifestEntry(
        position=part.position,
        title=part.title,
        content_type=part.content_type,
        first_page=first,
        last_page=last,
        note=note,
        loss=press.tells_of_loss(note),
    )


def _warned(entry: ManifestEntry, fax: Path) -> ManifestEntry:
    """With a note about words that the fax will not show."""
    child.note(entry.title)
    warning = legible.warnings(fax, entry.first_page, entry.last_page)
    return replace(entry, note="; ".join(filter(None, (entry.note, warning))), loss=entry.loss or bool(warning))


def _order(entry: ManifestEntry) -> list[list[int]]:
    """Positions like "2/1.3" in the order of the mail."""
    return [[int(n) for n in level.split(".") if n] for level in entry.position.split("/") if level]


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

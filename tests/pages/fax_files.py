"""Mails, documents and pictures made on the spot, and their text read back."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

import pypdfium2
from PIL import Image, ImageDraw
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen.canvas import Canvas

from gateway.errors import BadDocument
from gateway.pages import assemble
from gateway.pages.assemble import Cover, Job, Made

LETTER, A4 = (612.0, 792.0), (595.276, 841.89)

COVER = Cover(
    to_name="Ann Doe",
    to_number="+1 415-555-2671",
    organisation="Example Corp",
    from_name="Bob Sender",
    from_address="bob@sender.example",
    subject="Grüße",
    date=datetime(2026, 11, 22, 15, 4, tzinfo=ZoneInfo("Europe/Berlin")),
    reference="tx_01JABCDEFGHJKMNPQRSTVWXYZ",
    contact="fax-admin@example.com",
)


def pdf(*words: str, size: tuple[float, float] = LETTER, **about: object) -> bytes:
    """A PDF with one page for each of `words`."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=size, invariant=1, **about)
    for word in words:
        canvas.drawString(72, size[1] - 100, word)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def locked(user: str = "secret") -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf("hidden"))))
    writer.encrypt(user_password=user, owner_password="owner", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def picture(kind: str = "PNG", size: tuple[int, int] = (300, 200), **options: object) -> bytes:
    drawn = Image.new("RGB", size, "white")
    ImageDraw.Draw(drawn).rectangle((size[0] // 10, size[1] // 10, size[0] // 2, size[1] // 2), fill="black")
    out = io.BytesIO()
    drawn.save(out, kind, **options)
    return out.getvalue()


def fax_page(lines: int, width: int = 1728) -> Image.Image:
    """A page a fax machine might send: white with a black block at its upper left."""
    page = Image.new("1", (width, lines), 1)
    ImageDraw.Draw(page).rectangle((100, lines // 20, width // 2, lines // 4), fill=0)
    return page


def tiff(
    *pages: Image.Image, dpi: tuple[float, float] | None = (204, 98), compression: str = "group3", **options: object
) -> bytes:
    out = io.BytesIO()
    resolution = {} if dpi is None else {"dpi": dpi}
    pages[0].save(out, "TIFF", compression=compression, save_all=True, append_images=pages[1:], **resolution, **options)
    return out.getvalue()


def zipped(files: Mapping[str, bytes] | None = None) -> bytes:
    """A zip archive with these files, by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in ({"a.txt": b"a"} if files is None else files).items():
            file.writestr(name, content)
    return out.getvalue()


def winmail(text: str, *files: tuple[str, bytes]) -> bytes:
    """Outlook's wrapping (TNEF) of a text and files, by MS-OXTNEF."""

    def attribute(level: int, number: int, value: bytes) -> bytes:
        return struct.pack("<BHHI", level, number, 0, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)

    def named(number: int, value: str) -> bytes:
        coded = value.encode("utf-16-le") + b"\0\0"
        return struct.pack("<HHII", 0x1F, number, 1, len(coded)) + coded + bytes(-len(coded) % 4)

    made = struct.pack("<IH", 0x223E9F78, 1) + attribute(1, 0x9007, struct.pack("<II", 1252, 0))
    made += attribute(1, 0x9003, struct.pack("<I", 1) + named(0x1000, text))
    for name, content in files:
        made += attribute(2, 0x9002, bytes(14)) + attribute(2, 0x8010, b"SHORT~1.XXX\0") + attribute(2, 0x800F, content)
        made += attribute(2, 0x9005, struct.pack("<I", 1) + named(0x3707, name))
    return made


def mail(text: str | None = "Hello", *attachments: tuple[str, bytes, str]) -> EmailMessage:
    """A mail with a text and attachments of (type, content, name)."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Bob <bob@sender.example>", "+14155552671@fax.example", "Grüße"
    if text is not None:
        made.set_content(text)
    for content_type, content, name in attachments:
        main, _, sub = content_type.partition("/")
        made.add_attachment(content, maintype=main, subtype=sub, filename=name)
    return made


def fax(folder: Path, source: EmailMessage | bytes, *, content_type: str = "message/rfc822", **changes: object) -> Made:
    """Make the fax of a mail or a document."""
    content = source if isinstance(source, bytes) else source.as_bytes()
    (folder / "source").write_bytes(content)
    job = Job(source=folder / "source", content_type=content_type, out=folder, cover=COVER, paper="letter", max_pages=50)
    return assemble.make(replace(job, **changes))  # type: ignore[arg-type]


def refusal(folder: Path, source: EmailMessage | bytes, **changes: object) -> BadDocument:
    """The error that making the fax ends with."""
    try:
        made = fax(folder, source, **changes)  # type: ignore[arg-type]
    except BadDocument as refused:
        return refused
    raise AssertionError(f"it was made: {made}")


def texts(source: Path | bytes) -> list[str]:
    """The text of each page, on one line."""
    reader = PdfReader(io.BytesIO(source) if isinstance(source, bytes) else source)
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def sizes(source: Path | bytes) -> list[tuple[int, int]]:
    """The size of each page in whole points, as pdfium sees it."""
    with pypdfium2.PdfDocument(source) as document:
        return [(round(w), round(h)) for w, h in (document.get_page_size(n) for n in range(len(document)))]


def ink(source: Path | bytes, page: int = 0, *, tone: int = 128) -> tuple[float, float, float, float]:
    """The rectangle that holds everything dark on a page, in points from the upper left."""
    with pypdfium2.PdfDocument(source) as document:
        sheet = document[page]
        grey = sheet.render(scale=2, grayscale=True).to_pil().convert("L")
        sheet.close()
    box = grey.point(lambda value: 255 if value < tone else 0).getbbox()
    assert box is not None, "the page is blank"
    left, top, right, bottom = (value / 2 for value in box)
    return left, top, right, bottom

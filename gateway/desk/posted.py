"""What a program posts at an API door, as a mail: the files are attachments, so that it becomes pages like any other."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, formatdate

from gateway.log import printable

_ANY = "application/octet-stream"
_NAME = 120  # characters of a file name that are kept
_BOUNDARY = "=_faxgate"  # cannot stand in base64; always the same, so that the same call makes the same mail


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One posted file."""

    name: str
    """As the program called it; shown, never a path."""
    content_type: str
    """As the program declared it, "" = it did not. A wish: what it is is seen from its content."""
    content: bytes = field(repr=False)


def mail(
    files: Sequence[File], *, name: str, address: str, subject: str, at: datetime, message_id: str = "", text: str = ""
) -> bytes:
    """A multipart mail of the files in their order, with CRLF.

    name, address  of the account, shown in the header line where no line of ours is
    text           what a fax says that has no files: it stands on the cover page
    message_id     with one a repeated call is recognised; "" = nothing is a repetition
    """
    made = EmailMessage(policy=SMTP)
    made["From"] = formataddr((printable(name), address)) if address else printable(name)
    made["Date"] = formatdate(at.timestamp())
    made["Subject"] = printable(subject)
    if message_id:
        made["Message-ID"] = message_id
    made.make_mixed(boundary=_BOUNDARY)
    if text:
        said = EmailMessage(policy=SMTP)
        said.set_content(text)
        made.attach(said)
    for file in files:
        main, _, sub = _type(file).partition("/")
        part = EmailMessage(policy=SMTP)
        part.set_content(
            file.content, maintype=main, subtype=sub, disposition="attachment", filename=printable(file.name, _NAME)
        )
        made.attach(part)
    return made.as_bytes()


def _type(file: File) -> str:
    """The declared type without parameters; that of the name where none, or no real one, was declared."""
    declared = file.content_type.partition(";")[0].strip().lower()
    main, _, sub = declared.partition("/")
    proper = bool(main and sub) and all(c.isalnum() or c in "!#$&^_.+-" for c in main + sub) and declared.isascii()
    if proper and declared != _ANY and main not in ("multipart", "message"):
        return declared
    guessed, encoding = mimetypes.guess_type(file.name, strict=False)
    return guessed if guessed and not encoding and not guessed.startswith(("multipart/", "message/")) else _ANY

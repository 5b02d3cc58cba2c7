"""Answers to our mails as mail programs write them: `tests/intake/answers/*.eml`, addressed when they are sent."""

from __future__ import annotations

import email.utils
from pathlib import Path

ANSWERS = Path(__file__).parent / "intake" / "answers"


def answer(name: str, *, to: str = "reply@fax.example.com", report: str = "report@fax.example.com", author: str = "") -> bytes:
    """The file, to an address, about a mail; with a Message-ID of its own each time."""
    text = (ANSWERS / f"{name}.eml").read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    text = text.replace(b"<TO>", f"<{to}>".encode()).replace(b"REPORT", report.strip("<>").encode(), 2)
    if author:
        text = text.replace(b"Ann Doe <ann@example.com>", author.encode(), 1)
    head, _, rest = text.partition(b"\r\nMessage-ID: ")
    _, _, rest = rest.partition(b"\r\n")
    return head + b"\r\nMessage-ID: " + email.utils.make_msgid(domain="example.com").encode() + b"\r\n" + rest

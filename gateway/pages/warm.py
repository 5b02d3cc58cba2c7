"""Loads everything a conversion needs, once, in the fence's server: its jobs are forks and find it there."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from gateway.pages import assemble, printed, received, scripts, windows


def up() -> None:
    """Make one small fax of text, HTML and a picture, which loads libraries, typeface and template."""
    cover = assemble.Cover(
        to_name="",
        to_number="",
        organisation="",
        from_name="",
        from_address="",
        subject="",
        date=datetime.now(UTC),
        reference="",
        contact="",
    )
    mail = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nGr\xc3\xbc\xc3\x9fe\n"
        b"--b\nContent-Type: text/html; name=x.html\n\n<table><tr><td>x</table>\n--b--\n"
    )
    with tempfile.TemporaryDirectory(prefix="faxgate-") as folder:
        out = Path(folder)
        (out / "mail").write_bytes(mail)
        made = assemble.make(
            assemble.Job(
                source=out / "mail", content_type="message/rfc822", out=out, cover=cover, paper="a4", max_pages=9, header="x"
            )
        )
        printed.as_printed(made.pdf, out / "printed.pdf")
        received.to_pdf((out / "printed.pdf").read_bytes())
    windows.opencv()  # a plain page does not need it
    scripts.has("王")  # which typefaces there are

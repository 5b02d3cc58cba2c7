"""Golden mails of received faxes: header, parts and text of each, as they stand in `golden/`.

`python -m tests.report.test_received_golden` writes them anew; then read what has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.report.compose import Mail
from tests.report.report_values import COMPOSER, OUTBOX, START, inbound, parsed, text_of

GOLDEN = Path(__file__).with_name("golden")
PDF, PNG, TIFF = b"%PDF-1.4 and so on", b"\x89PNG\r\n\x1a\n picture", b"II*\0\x08\0\0\0 and so on"
#: What is known of the fax, and how its mail is made.
CASES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "received": ({"sub_address": "77", "resolution": "204x196"}, {}),
    "received-named": ({"resolution": "204x98"}, {"name": "Müller & Söhne"}),
    "received-unknown": ({"caller": "", "station_id": ""}, {}),
    "received-incomplete": ({"complete": False, "pages": 1, "damaged": 1, "resolution": "204x98"}, {}),
    "received-tiff": ({}, {"pdf": b"", "tiff": TIFF}),
    "received-both": ({}, {"tiff": TIFF, "languages": ("de",)}),
    "received-news": ({}, {"pdf": b"", "first_page": b""}),
    "received-too-large": ({}, {"pdf": b"", "first_page": b"", "too_large": True}),
    "received-hostile": (
        {"caller": "+44207\r\nBcc: x@y.example", "station_id": "ACME\r\nBcc: eve@x.example <b>", "sub_address": "7\n7"},
        {},
    ),
}


def made(name: str) -> Mail:
    about, how = CASES[name]
    how = {"pdf": PDF, "first_page": PNG, "bounce": f"bounce+{inbound().id}@fax.example", **how}
    return COMPOSER.received(outbox=OUTBOX, inbound=inbound(**about), to="office@corp.example", made_at=START, **how)


def shown(mail: Mail) -> str:
    """Envelope, header, parts, text."""
    message = parsed(mail)
    lines = [f"MAIL FROM:<{mail.envelope_from}> RCPT TO:<{'> <'.join(mail.to)}>"]
    lines += [f"{name}: {value}" for name, value in message.items() if name != "Content-Type"]
    for part in message.walk():
        lines.append(f"[{part.get_content_type()}{f' {name}' if (name := part.get_filename()) else ''}]")
    return "\n".join([*lines, "", text_of(message).replace("\r\n", "\n")])


@pytest.mark.parametrize("name", CASES)
def test_onr_17_the_mail_is_the_golden_one(name: str) -> None:
    assert shown(made(name)) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_every_golden_mail_has_a_case() -> None:
    assert {path.stem for path in GOLDEN.glob("received*.txt")} == set(CASES)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for case in CASES:
        (GOLDEN / f"{case}.txt").write_text(shown(made(case)), encoding="utf-8")

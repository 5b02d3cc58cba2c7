"""The first line of an answer, as mail programs write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake import order
from gateway.intake.order import Order
from tests.answers import ANSWERS, answer

ASKED = {
    "apple-mail": "FORWARD +14155559023",
    "gmail-html-fr": "RESEND 2-2",
    "gmail-top": "RESEND 2-3",
    "iphone": "RESEND 1-1",
    "mail-fr": "STOP",
    "nothing-new": "",
    "outlook-base64-de": "RESEND",
    "outlook-history": "",
    "outlook-html-de": "STOP",
    "question": "",
    "signature-only": "",
    "thunderbird-bottom": "STOP",
    "thunderbird-html-bottom": "REJECT",
}
#: What a program has sent by itself: the door refuses it before it is read.
AUTOMATIC = {"bulk", "out-of-office", "read-receipt", "vacation"}


def test_every_sample_is_looked_at() -> None:
    assert {path.stem for path in ANSWERS.glob("*.eml")} == ASKED.keys() | AUTOMATIC


@pytest.mark.parametrize(("name", "words"), ASKED.items())
def test_what_a_person_wrote_now_counts_and_what_is_quoted_does_not(name: str, words: str) -> None:
    found = order.read(answer(name))
    assert (found.words if found else "") == words


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("stop", Order("stop")),
        ("Stop!", Order("stop")),
        ("ANNULER", Order("stop")),
        ("resend", Order("resend")),
        ("Resend 3–5.", Order("resend", (3, 5))),
        ("RESEND 4", Order("resend", (4, 4))),
        ("wiederholen 1 - 2", Order("resend", (1, 2))),
        ("FORWARD +44 20 7946 0123", Order("forward", number="+442079460123")),
        ("send", Order("approve")),
        ("ablehnen", Order("reject")),
        ("STOP it", None),
        ("STOP 3", None),
        ("RESEND 5-3", None),
        ("RESEND 0", None),
        ("RESEND all", None),
        ("FORWARD", None),
        ("FORWARD 0123 456", None),
        ("FORWARD +1 415 555 0123 now", None),
        ("APPROVE or REJECT", None),
        ("Thanks, please stop", None),
        ("", None),
    ],
)
def test_a_line_is_a_command_as_a_whole_or_not_at_all(line: str, wanted: Order | None) -> None:
    assert order.of_line(line) == wanted


@given(st.binary(max_size=600) | st.text(alphabet="<>divblockquote= \"'/&;\n-STOP", max_size=600).map(str.encode))
def test_any_octets_have_a_first_line(octets: bytes) -> None:
    for kind in (b"text/plain", b"text/html"):
        line = order.first_line(b"Content-Type: " + kind + b"\r\n\r\n" + octets)
        assert "\n" not in line
        order.of_line(line)

"""Addresses of what comes back, and what is said to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.desk import bounces
from gateway.desk.bounces import Bounces, Verdict
from gateway.fax import OutboxId, new_id

MINE, OTHERS = Bounces(lambda: bytes(32), "fax.example.com"), Bounces(lambda: bytes(31) + b"x", "fax.example.com")
MAIL = OutboxId(new_id("out"))


def test_onr_06_an_address_is_known_again_in_any_case() -> None:
    address = MINE.address(MAIL)
    assert len(address.partition("@")[0]) <= 64
    assert [MINE.outbox(one) for one in (address, address.upper())] == [MAIL, MAIL]


def test_nobody_else_can_make_one() -> None:
    address = MINE.address(MAIL)
    assert OTHERS.outbox(address) is None
    assert MINE.outbox(address.replace(MAIL, new_id("out"))) is None
    assert not MINE.is_known(f"bounce+{MAIL}@fax.example.com")


def test_what_comes_to_an_address_of_an_earlier_version_is_taken_and_changes_nothing() -> None:
    former = f"bounce+{new_id('in')}@fax.example.com"
    assert MINE.is_known(former)
    assert MINE.outbox(former) is None


def report(*blocks: str, text: str = "This is the mail system.", kind: str = "report; report-type=delivery-status") -> bytes:
    """A report of a mail server about these recipients."""
    machine = "\r\n\r\n".join(("Reporting-MTA: dns; mx.example.com\r\nArrival-Date: Sun, 22 Nov 2026 12:00:00 +0000", *blocks))
    return (
        f"From: MAILER-DAEMON@mx.example.com\r\nSubject: Undelivered Mail\r\nAuto-Submitted: auto-replied\r\n"
        f'MIME-Version: 1.0\r\nContent-Type: multipart/{kind};\r\n boundary="b"\r\n\r\n--b\r\n\r\n{text}\r\n--b\r\n'
        f"Content-Type: message/delivery-status\r\n\r\n{machine}\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        "Subject: Fax\r\n\r\nbody\r\n--b--\r\n"
    ).encode()


FAILED = (
    "Final-Recipient: rfc822; ann@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <ann@example.com>:\r\n no such user"
)
DELAYED = "Final-Recipient: rfc822; ann@example.com\r\nAction: delayed (wait)\r\nStatus: 4.4.1\r\nWill-Retry-Until: Mon, 23 Nov"


@pytest.mark.parametrize(
    ("content", "verdict", "words"),
    [
        (report(FAILED), Verdict.FAILED, "ann@example.com, 5.1.1, 550 5.1.1 <ann@example.com>: no such user"),
        (report(DELAYED), Verdict.DELAYED, "ann@example.com, 4.4.1"),
        (report(DELAYED, FAILED), Verdict.FAILED, "ann@example.com, 5.1.1, 550 5.1.1 <ann@example.com>: no such user"),
        (report("Final-Recipient: rfc822; a@b.example\r\nAction: FAILED"), Verdict.FAILED, "a@b.example"),
        (report("Final-Recipient: rfc822; a@b.example\r\nStatus: 5.2.2"), Verdict.FAILED, "a@b.example, 5.2.2"),
        (report("Final-Recipient: rfc822; a@b.example\r\nAction: relayed"), Verdict.DELIVERED, "a@b.example"),
        (report(FAILED, kind="mixed"), Verdict.FAILED, "ann@example.com, 5.1.1, 550 5.1.1 <ann@example.com>: no such user"),
        (report("Action: perhaps"), Verdict.NOTE, "Undelivered Mail"),
        (b"Subject: Away\r\nAuto-Submitted: auto-replied (vacation)\r\n\r\nBack on Monday.\r\n", Verdict.AUTOMATIC, "Away"),
        (b"Subject: failure notice\r\n\r\nHi. This is qmail.\r\n", Verdict.NOTE, "failure notice"),
        (b"\xff\x00", Verdict.NOTE, "(no subject)"),
    ],
)  # fmt: skip
def test_what_a_mail_says(content: bytes, verdict: Verdict, words: str) -> None:
    found = bounces.read(content)
    assert (found.verdict, found.words) == (verdict, words)


def test_a_report_with_the_whole_mail_in_it_is_read_from_its_beginning() -> None:
    found = bounces.read(report(FAILED).replace(b"body", b"A" * 5_000_000))
    assert found.verdict is Verdict.FAILED


@given(st.binary(max_size=300), st.integers(0, 600), st.integers(0, 600))
def test_nothing_it_holds_raises(noise: bytes, start: int, end: int) -> None:
    content = report(FAILED)
    found = bounces.read(content[:start] + noise + content[end:])
    assert "\n" not in found.words

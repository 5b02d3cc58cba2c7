"""For which number a mail in a mailbox is, whatever somebody wrote on it, and where a disposition notification may go."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from gateway import message
from gateway.errors import MailboxUnavailable, Refused
from gateway.intake import delivery
from gateway.intake.fetched import Fetched
from gateway.intake.oauth import CommandTokens
from gateway.mailboxes import ImapSection

DOMAINS = ("fax.example.com",)
BY = "Received: from a.example (a [192.0.2.1])\r\n\tby {} with ESMTP; Sun, 22 Nov 2026 12:00:00 +0000\r\n"
OURS, STRANGE = BY.format("mx.example.com"), BY.format("mx.example.net")
END = "From: ann@example.com\r\nMessage-ID: <1@example.com>\r\n\r\nx\r\n"


def section(**more: Any) -> ImapSection:
    given = {"name": "office", "host": "imap.example.com", "username": "fax@example.com", "password": "x"}
    return ImapSection.model_validate({**given, "servers": ["MX.example.com"], **more})


def numbers(mail: str, **more: Any) -> list[str]:
    of, octets = section(**more), mail.encode()
    return [path for _, path in delivery.addressed(of, delivery.label(octets, of), octets, DOMAINS)]


def test_imp_10_the_topmost_field_of_the_named_host_says_the_address() -> None:
    to, forged = "Delivered-To: 14155550123@fax.example.com\r\n", "Delivered-To: 14155550199@fax.example.com\r\n"
    assert numbers(to + OURS + forged + END) == ["14155550123@fax.example.com"]
    assert numbers(to + forged + OURS + END) == ["14155550123@fax.example.com"]
    for nothing in (OURS + forged + END, to + STRANGE + OURS + END, to + END, OURS + OURS + forged + END):
        with pytest.raises(Refused):
            numbers(nothing)


def test_imp_10_a_host_may_write_several_received_fields_and_no_more_than_it_does() -> None:
    to = "X-Original-To: <fax+14155550123@Example.com>\r\n"
    more = {"received": 2, "delivery_header": "X-Original-To"}
    assert numbers(OURS + to + OURS + STRANGE + END, **more) == ["14155550123@fax.example.com"]
    hosts = BY.format("a.mail.example.net") + to + BY.format("2001:db8:1::2")
    assert numbers(hosts + END, servers=[".Mail.example.net", "2001:db8:"], **more) == ["14155550123@fax.example.com"]
    with pytest.raises(Refused):
        numbers(hosts + END, servers=[".il.example.net", "2001:db8:"], **more)
    for forged in (OURS + OURS + to + END, OURS + to + STRANGE + END):
        with pytest.raises(Refused):
            numbers(forged, **more)


def test_imp_11_to_and_cc_count_only_where_the_mailbox_is_set_so() -> None:
    mail = "To: 14155550123@fax.example.com, x@example.net\r\nCc: fax+14155550124@example.com, fax@example.com\r\n" + END
    with pytest.raises(Refused):
        numbers(OURS + mail)
    assert numbers(mail, number="fields") == ["14155550123@fax.example.com", "14155550124@fax.example.com"]
    with pytest.raises(Refused):
        numbers("To: x@example.net\r\n" + END, number="fields")


@pytest.mark.parametrize(
    ("asked", "path", "flags", "expected"),
    [
        ("ann@EXAMPLE.com", "ann@example.com", "", "ann@EXAMPLE.com"),
        ("Ann@example.com", "ann@example.com", "", ""),
        ("ann@example.com, bob@example.com", "ann@example.com", "", ""),
        ("ann@example.com", "", "", ""),
        ("ann@example.com", "ann@example.com", delivery.SENT, ""),
    ],
)
def test_mdn_02_a_notification_goes_to_the_return_path_alone(asked: str, path: str, flags: str, expected: str) -> None:
    mail = f"Return-Path: <{path}>\r\n{OURS}Disposition-Notification-To: {asked}\r\n{END}".encode()
    of = section()
    label = delivery.label(mail, of)

    def goes_to(**more: Any) -> str:
        set_so = {"section": of, "kept": True, **more}
        return delivery.disposition_to(set_so["section"], message.headers(mail), mail, label, {flags}, kept=set_so["kept"])

    assert goes_to() == expected
    assert goes_to(kept=False) == ""  # MDN-11
    assert goes_to(section=section(mdn=False)) == ""  # MDN-01


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ((b"a\r", b"\nb\r\n"), True),
        ((b"a\r\n", b"\r\n"), True),
        ((b"a\r", b"b\r\n"), False),
        ((b"a\n",), False),
        ((b"a\r",), False),
    ],
)
def test_a_line_that_does_not_end_in_both_is_refused(tmp_path: Any, pieces: tuple[bytes, ...], whole: bool) -> None:
    fetched = Fetched(tmp_path / "mail", 100)
    for piece in pieces:
        fetched.add(piece)
    if whole:
        assert fetched.content()[:] == b"".join(pieces)
    else:
        with pytest.raises(Refused):
            fetched.content()
    fetched.close()


def test_a_mail_larger_than_it_said_is_refused_on_the_way(tmp_path: Any) -> None:
    fetched = Fetched(tmp_path / "mail", 10)
    fetched.expect(10)
    with pytest.raises(Refused, match="larger"):
        fetched.add(b"x" * 11)
    fetched.close()


async def test_a_program_gives_the_token_and_its_failure_says_nothing_of_it() -> None:
    assert await CommandTokens([sys.executable, "-c", "print('secret-token')"]).get() == "secret-token"
    for bad in ("print('a b')", "print('secret-token'); raise SystemExit(1)", ""):
        with pytest.raises(MailboxUnavailable) as caught:
            await CommandTokens([sys.executable, "-c", bad]).get()
        assert "secret-token" not in caught.value.text

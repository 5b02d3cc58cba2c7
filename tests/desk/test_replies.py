"""Addresses for answers: signed, for one mail's addressee, for a time."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.desk.replies import Replies, Scope
from gateway.errors import BadAddress

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
FAX = "tx_01m81rcg0re45rn16hehra09x1"
REPLIES = Replies(lambda: bytes(range(32)), "fax.example.com", timedelta(days=30))
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def local(address: str) -> str:
    return address.partition("@")[0]


def test_it_is_for_who_got_the_mail_however_the_address_is_spelt() -> None:
    address = local(REPLIES.address(Scope.STEER, FAX, "Ann@Example.com", NOW))
    assert len(address) <= 64
    ticket = REPLIES.read(address.upper(), NOW)
    assert (ticket.scope, ticket.subject) == (Scope.STEER, FAX)
    REPLIES.check(ticket, "bob@example.com", "ann@EXAMPLE.com")
    with pytest.raises(BadAddress):
        REPLIES.check(ticket, "bob@example.com")
    with pytest.raises(BadAddress):
        REPLIES.check(ticket)


def test_another_spool_another_fax_and_another_use_have_another_one() -> None:
    address = local(REPLIES.address(Scope.DECIDE, FAX, "ann@example.com", NOW))
    other = Replies(lambda: bytes(32), "fax.example.com", timedelta(days=30))
    assert not other.is_for(other.read(address, NOW), "ann@example.com")
    for changed in (
        address.replace("reply+d", "reply+s"),
        address.replace("rn16h", "rn17h"),
        address[:-24] + "zzzz" + address[-20:],
    ):
        assert not REPLIES.is_for(REPLIES.read(changed, NOW), "ann@example.com")


def test_its_time_ends() -> None:
    address = local(REPLIES.address(Scope.FAX, "in_" + FAX[3:], "", NOW))
    assert REPLIES.read(address, NOW + timedelta(days=30)).subject.startswith("in_")
    with pytest.raises(BadAddress, match="expired"):
        REPLIES.read(address, NOW + timedelta(days=31))
    assert Replies(lambda: bytes(32), "fax.example.com", timedelta(0)).address(Scope.FAX, FAX, "", NOW) == ""


@given(st.integers(0, 19), st.sampled_from(LETTERS))
def test_one_letter_more_or_less_is_none(place: int, letter: str) -> None:
    address = local(REPLIES.address(Scope.STEER, FAX, "ann@example.com", NOW))
    at = len(address) - 20 + place
    forged = address[:at] + letter + address[at + 1 :]
    assert REPLIES.is_for(REPLIES.read(forged, NOW), "ann@example.com") == (forged == address)


@given(st.text(max_size=70))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for written in (text, "reply+" + text):
        with contextlib.suppress(BadAddress):
            assert len(REPLIES.read(written, NOW).mac) == 20

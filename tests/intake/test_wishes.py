"""What a mail asks beside being faxed: options in brackets and in addresses, and the number at the beginning of a subject."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import message, number, opening, options
from gateway.errors import BadAddress, NotAdmitted, Refused
from gateway.fax import Recipient
from gateway.intake.wishes import Wishes
from gateway.options import Option, Rules
from tests.intake.recorder import CORP, configured

NOW = dt.datetime(2026, 1, 31, 17, 30, tzinfo=dt.UTC)  # half past six in the evening in Berlin
BERLIN = ZoneInfo("Europe/Berlin")
ALL = Rules(allowed=tuple(options.NAMES), zone=BERLIN, now=NOW, farthest=dt.timedelta(days=7))
NONE = replace(ALL, allowed=())
TO = Recipient(written="14155550123@fax.example", number="+14155550123")


@pytest.mark.parametrize(
    ("text", "asked", "rest"),
    [
        ("Contract", (), "Contract"),
        ("[cover=none] Contract", (("COVER", "none"),), "Contract"),
        (
            "[Cover = None][FINE] [ref=Inv-7.1]  Contract [1]",
            (("COVER", "none"), ("RES", "fine"), ("REF", "Inv-7.1")),
            "Contract [1]",
        ),
        ("[standard] [lang=DE] x", (("RES", "standard"), ("LANG", "de")), "x"),
        ("[at=19:00]", (("AT", "2026-01-31T18:00:00+00:00"),), ""),
        ("[at=18:30] now is over: tomorrow", (("AT", "2026-02-01T17:30:00+00:00"),), "now is over: tomorrow"),
        ("[at=8.05] x", (("AT", "2026-02-01T07:05:00+00:00"),), "x"),
        ("[at=2026-02-03 0700] x", (("AT", "2026-02-03T06:00:00+00:00"),), "x"),
        ("[EXTERNAL] [cover=none] x", (), "[EXTERNAL] [cover=none] x"),
        ("[fine] [EXTERNAL] [cover=none] x", (("RES", "fine"),), "[EXTERNAL] [cover=none] x"),
        ("[#1234] x", (), "[#1234] x"),
        ("[1=2] x", (), "[1=2] x"),
        ("Contract [fine]", (), "Contract [fine]"),
        ("[fine Contract", (), "[fine Contract"),
    ],
)
def test_brackets_at_the_beginning_are_options(text: str, asked: tuple[Option, ...], rest: str) -> None:
    assert ALL.of_text(text) == asked
    assert options.rest(text) == rest


@pytest.mark.parametrize(
    ("text", "reply", "word"),
    [
        ("[covr=none] x", "550 5.6.0", "Did you mean [cover=none]"),
        ("[colour=red] x", "550 5.6.0", "Known are cover, fine, ref, at, lang"),
        ("[fien] x", "550 5.6.0", "Did you mean [fine]"),
        ("[fine] [at=25:00] x", "550 5.6.0", "no such time"),
        ("[at=2026-02-30 10:00] x", "550 5.6.0", "no such time"),
        ("[at=0001-01-01 00:00] x", "550 5.6.0", "no such time"),
        ("[at=9999-12-31 23:59] x", "550 5.6.0", "over"),
        ("[at=2026-01-31 18:00] x", "550 5.6.0", "over"),
        ("[at=2026-02-09 18:00] x", "550 5.6.0", "more than 7 days"),
        ("[at=soon] x", "550 5.6.0", "[at=18:00]"),
        ("[ref=a b] x", "550 5.6.0", "32 letters"),
        ("[ref=] x", "550 5.6.0", "32 letters"),
        ("[cover=../x] x", "550 5.6.0", "[cover=NAME]"),
        ("[fine=yes] x", "550 5.6.0", "[fine] or [standard]"),
        ("[cover] x", "550 5.6.0", "[cover=none]"),
    ],
)
def test_what_is_meant_as_an_option_and_is_none_is_refused_in_words(text: str, reply: str, word: str) -> None:
    with pytest.raises(Refused) as caught:
        ALL.of_text(text)
    assert caught.value.reply == reply
    assert word in caught.value.text


def test_an_account_uses_what_it_is_allowed_and_nothing_else() -> None:
    for text in ("[fine] x", "[cover=none] x", "[at=19:00] x"):
        with pytest.raises(NotAdmitted) as caught:
            NONE.of_text(text)
        assert caught.value.reply == "550 5.7.1"
    # Where no options are used, other brackets are a ticket system's or a mailing list's.
    for text in ("[ticket=123] x", "[fien] x", "[EXTERNAL] x"):
        assert NONE.of_text(text) == ()
        assert options.brackets(text) == ()
    some = replace(ALL, allowed=("ref",))
    assert some.of_text("[ref=7] x") == (("REF", "7"),)
    with pytest.raises(NotAdmitted):
        some.of_text("[ref=7] [fine] x")


def test_the_same_in_an_address() -> None:
    asked = (("Ref", "42"), ("res", "FINE"), ("at", "1900"), ("Cover", "Formal"), ("FOO", "bar"))
    found = ALL.of_address(replace(TO, options=asked))
    assert dict(found.options) == {
        "REF": "42",
        "RES": "fine",
        "AT": "2026-01-31T18:00:00+00:00",
        "COVER": "formal",
        "FOO": "bar",
    }
    assert (found.tag, options.fine(found), options.begins(found)) == ("42", True, NOW.replace(hour=18, minute=0))
    assert ALL.of_address(replace(TO, tag="mine", options=(("REF", "42"),))).tag == "mine"
    for option in (("AT", "1900"), ("RES", "fine"), ("REF", "1")):
        with pytest.raises(NotAdmitted):
            NONE.of_address(replace(TO, options=(option,)))
    free = replace(TO, options=(("COVER", "none"), ("LANG", "de"), ("OFNO", "4")))
    assert NONE.of_address(free) == free
    for bad in ((("AT", "noon"),), (("RES", "high"),), (("REF", "1"), ("ref", "2")), (("COVER", ".."),)):
        with pytest.raises(Refused) as caught:
            ALL.of_address(replace(TO, options=bad))
        assert caught.value.reply == "550 5.1.3"


@pytest.mark.parametrize(("day", "utc"), [("2026-03-28", "02:30"), ("2026-03-30", "01:30")])
def test_a_time_is_that_of_the_account_on_either_side_of_a_clock_change(day: str, utc: str) -> None:
    late = replace(ALL, now=dt.datetime(2026, 3, 27, 12, tzinfo=dt.UTC))
    ((_, at),) = late.of_text(f"[at={day} 03:30]")
    assert at == f"{day}T{utc}:00+00:00"


def test_the_address_wins_over_the_mail_and_two_wishes_for_one_call_are_refused() -> None:
    account: dict[str, Any] = {"name": "corp", "countries": ["US"], "options": ["cover", "ref"], "zone": "Europe/Berlin"}
    wishes = Wishes(configured({}, account=[account]), lambda: NOW)
    mail = b"Subject: [ref=7] [cover=none] Contract\r\n\r\n[cover=none] please\r\n"
    other = Recipient(written="x", number="+14155550124", options=(("COVER", "formal"),))
    one, two = wishes.of_mail(CORP, [TO, other], message.headers(mail), mail)
    assert (dict(one.options), one.tag) == ({"REF": "7", "COVER": "none"}, "7")
    assert dict(two.options) == {"REF": "7", "COVER": "formal"}
    contrary = b"Subject: [cover=none] Contract\r\n\r\n[cover=formal] please\r\n"
    with pytest.raises(Refused, match="two different things"):
        wishes.of_mail(CORP, [TO], message.headers(contrary), contrary)
    with pytest.raises(Refused, match="different things"):
        wishes.of_mail(CORP, [TO, replace(TO, written="y", options=(("COVER", "formal"),))], message.headers(mail), mail)


@pytest.mark.parametrize(
    ("subject", "called", "rest"),
    [
        ("+1 415 555 0123 Contract", "+14155550123", "Contract"),
        ("+14155550123: 7 pages", "+14155550123", "7 pages"),
        ("+1 (415) 555-0123, Contract", "+14155550123", "Contract"),
        ("+1 415 555 0123", "+14155550123", ""),
        ("  +44 (0)20 7946 0123 - Contract", "+442079460123", "Contract"),
        ("+49 30 123456 78: Vertrag", "+493012345678", "Vertrag"),
        ("+1 415 555 0123 (urgent)", "+14155550123", "(urgent)"),
    ],
)
def test_the_number_at_the_beginning_of_a_subject(subject: str, called: str, rest: str) -> None:
    found, following = number.leading(subject)
    assert (found.e164, following) == (called, rest)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "Contract",
        "2026-01-31 Contract",
        "415 555 0123 Contract",
        "Re: +1 415 555 0123",
        "+1 415 555 0123 2024 report",
        "+49 30 123456 12 Seiten",
        "+14155550123x",
        "+1 415 555",
        "\uff0b14155550123",
    ],
)
def test_a_number_that_cannot_be_told_is_never_guessed(subject: str) -> None:
    with pytest.raises(BadAddress) as caught:
        number.leading(subject)
    assert caught.value.reply == "550 5.1.3"


PLAIN = b"Subject: x\r\n\r\n"
BASE64 = b"Content-Transfer-Encoding: base64\r\nContent-Type: text/plain\r\n\r\n"
HTML = b"Content-Type: text/html\r\n\r\n"
MIXED = b"Content-Type: multipart/mixed; boundary=a\r\n\r\nx\r\n--a\r\n"
MIXED += b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n"


@pytest.mark.parametrize(
    ("mail", "line"),
    [
        (PLAIN + b"\r\n  [fine] Hello\r\nyou\r\n", "[fine] Hello"),
        (BASE64 + b"W2ZpbmVdIEhl\r\nbGxvCnlvdQo=\r\n", "[fine] Hello"),
        (MIXED + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n[cover=3Dnone] H=\r\ni\r\n--b--\r\n", "[cover=none] Hi"),
        (HTML + b"<html><head><style>x{}</style></head><body><p>&nbsp;[fine] <b>Hel</b>lo</p><p>you", "[fine] Hello"),
        (HTML + b"<!-- a --><div>[at=18:00]<br>Hello", "[at=18:00]"),
        (b"Content-Type: application/pdf\r\n\r\n[fine]", ""),
        (b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\n[fine]", ""),
        (b"Content-Type: multipart/mixed\r\n\r\n--\r\n\r\n[fine]", ""),
        (b"Content-Type: multipart/mixed; boundary=a\r\n\r\nno part", ""),
        (b"", ""),
    ],
)  # fmt: skip
def test_how_a_text_begins(mail: bytes, line: str) -> None:
    assert opening.line(mail) == line


@pytest.mark.parametrize(
    ("content", "left", "is_html"),
    [
        (b"\r\n[fine] [ref=7] Hello [fine]\r\n", b"\r\n  Hello [fine]\r\n", False),
        (b"\xef\xbb\xbf[fine] [ref=7]", b"\xef\xbb\xbf ", False),
        (b"<p class=a>[fine]&nbsp;<b>[ref=7]</b> Hello</p>", b"<p class=a>&nbsp;<b></b> Hello</p>", True),
        (b"<head><title>t</title></head><p>[fine]<br>[ref=7]<p>Hello", b"<head><title>t</title></head><p><br><p>Hello", True),
        (b"Hello [fine] [ref=7]", b"Hello [fine] [ref=7]", False),
    ],
)
def test_what_was_an_option_is_cut_and_nothing_else(content: bytes, left: bytes, is_html: bool) -> None:
    assert opening.without(content, ("[fine]", "[ref=7]"), is_html=is_html) == left


brackets = st.lists(
    st.sampled_from(
        ["[fine]", "[cover=none]", "[ref=1]", "[at=18:00]", "[x=1]", "[", "]", " ", "=", "[EXT]", "Hello", "<p>", "\n"]
    ),
    max_size=10,
).map("".join)


@given(brackets | st.text(max_size=40))
def test_any_text_is_read_refused_or_left(text: str) -> None:
    try:
        asked = ALL.of_text(text)
    except Refused:
        return
    written = options.brackets(text)
    assert len(written) == len(asked)
    assert text.replace(" ", "").endswith(options.rest(text).replace(" ", ""))
    assert asked or options.rest(text) == text.lstrip(" \t")


@given(
    st.binary(max_size=300),
    st.lists(st.sampled_from([PLAIN, MIXED, HTML, BASE64, b"--a\r\n", b"<style>", b"\r\n\r\n"]), max_size=6),
)
def test_any_octets_have_a_beginning(octets: bytes, pieces: list[bytes]) -> None:
    line = opening.line(b"".join(pieces) + octets)
    assert "\n" not in line.strip("\n")
    assert isinstance(opening.without(octets, ("[fine]",), is_html=True), bytes)


@pytest.mark.parametrize("piece", [b"<style>", b"<", b"<!--x>", b"<![x>", b"</p", b"&nbsp;<", b"x<", b"<script><title>"])
def test_a_text_that_opens_without_end_holds_nobody_up(piece: bytes) -> None:
    mail = HTML + piece * (opening.LOOK // len(piece))
    began = time.process_time()
    opening.line(mail)
    opening.without(mail, ("[fine]",), is_html=True)
    assert time.process_time() - began < 1

"""The octets after DATA: where a mail ends, what is undone, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.intake.content import Content, Room

STEP = 7


def read(stream: bytes, *, step: int, limit: int = 100_000) -> tuple[Content, bytes | None]:
    """Feed `stream` in pieces of `step` octets; the content, and what follows its end (None: no end yet)."""
    content = Content(limit, Room(limit))
    for at in range(0, len(stream), step):
        rest = content.feed(stream[at : at + step])
        if rest is not None:
            return content, rest + stream[at + step :]
    return content, None


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, STEP, 1000])
@pytest.mark.parametrize(
    ("wire", "mail"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"..hello\r\n...\r\n.x\r\n.\r\n", b".hello\r\n..\r\nx\r\n"),
        (b"\r\n\r\n..\r\n\r\n.\r\n", b"\r\n\r\n.\r\n\r\n"),
        (b"a\0.\r\nb\r\n.\r\n", b"a\0.\r\nb\r\n"),
        (b"x" * 998 + b"\r\n.\r\n", b"x" * 998 + b"\r\n"),
        (b".." + b"x" * 997 + b"\r\n.\r\n", b"." + b"x" * 997 + b"\r\n"),
    ],
)
def test_smt_03_dots_are_undone_once(wire: bytes, mail: bytes, step: int) -> None:
    content, rest = read(wire + b"QUIT\r\n", step=step)
    assert rest == b"QUIT\r\n"
    assert content.taken() == mail
    assert content.received == len(wire)


@pytest.mark.parametrize("step", [1, 2, 3, 5, STEP, 1000])
@pytest.mark.parametrize(
    "trick", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r.\r\n", b"\n\r.\n\r", b"\r\r\n.\n"]
)
def test_smt_01_no_trick_makes_two_mails_of_one(trick: bytes, step: int) -> None:
    first = b"From: ann@corp.example\r\n\r\nhello" + trick + b"MAIL FROM:<eve@evil.example>\r\n"
    content, rest = read(first + b".\r\nNOOP\r\n", step=step)
    assert rest == b"NOOP\r\n"
    if b"\0" in trick:
        assert content.taken() == first
    else:
        with pytest.raises(Refused) as caught:
            content.taken()
        assert caught.value.reply == "550 5.6.0"


@pytest.mark.parametrize("step", [1, STEP, 1000, 5000])
@pytest.mark.parametrize("size", [999, 2001, 5000])
def test_smt_25_long_lines_are_refused_not_cut(size: int, step: int) -> None:
    content, rest = read(b"a\r\n" + b"x" * size + b"\r\nb\r\n.\r\nNOOP", step=step)
    assert rest == b"NOOP"
    with pytest.raises(Refused) as caught:
        content.taken()
    assert caught.value.reply == "554 5.6.0"


@pytest.mark.parametrize("step", [1, 3, 64, 100_000])
def test_too_large_mails_are_read_to_their_end_and_not_kept(step: int) -> None:
    content, rest = read(b"0123456789\r\n" * 200 + b".\r\nNOOP", step=step, limit=2000)
    assert rest == b"NOOP"
    assert content._pieces == []
    with pytest.raises(Refused) as caught:
        content.taken()
    assert caught.value.reply == "552 5.3.4"


@given(
    st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"\r\n.", b"x" * 30]), max_size=60).map(b"".join), st.integers(1, 40)
)
def test_any_mail_comes_out_as_it_went_in(mail: bytes, step: int) -> None:
    mail += b"\r\n" if mail and not mail.endswith(b"\r\n") else b""
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in mail.split(b"\r\n")[:-1])
    content, rest = read(stuffed + b".\r\nNOOP", step=step)
    assert rest == b"NOOP"
    assert content.taken() == mail


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\0"]), max_size=60).map(b"".join), st.integers(1, 20))
def test_any_octets_end_at_the_first_lone_dot(stream: bytes, step: int) -> None:
    whole = stream + b"\r\n.\r\n"
    end = (b"\r\n" + whole).index(b"\r\n.\r\n")
    content, rest = read(whole, step=step)
    assert rest == (b"\r\n" + whole)[end + 5 :]
    body = (b"\r\n" + whole)[2:end]
    if body.count(b"\n") == body.count(b"\r\n") == body.count(b"\r"):
        assert content.taken().count(b"\n") == body.count(b"\n") + (end > 0)
    else:
        with pytest.raises(Refused):
            content.taken()


def test_room_is_taken_while_a_mail_is_in_hand_and_given_back_once() -> None:
    room = Room(1000)
    first, second = Content(900, room), Content(900, room)
    first.feed(b"x" * 600 + b"\r\n" + b"x")
    second.feed(b"y" * 600 + b"\r\n" + b"y")
    second.feed(b"\r\n.\r\n")
    with pytest.raises(Refused) as refused:
        second.taken()
    assert refused.value.reply == "452 4.3.1"
    first.feed(b"\r\n.\r\n")
    assert first.taken() == b"x" * 600 + b"\r\nx\r\n"
    assert room.used > 600
    for content in (first, first, second):
        content.close()
    assert room.used == 0

"""Mails taken apart: headers, parts, names; and that no bytes whatever make it raise."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import message

_HEADER_NAMES = [
    "From",
    "To",
    "Subject",
    "Date",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Message-ID",
    "References",
    "Received",
    "Auto-Submitted",
    "MIME-Version",
    "Content-ID",
    "List-Id",
]
_HEADER_VALUES = [
    b"multipart/mixed; boundary=b",
    b"multipart/mixed",
    b'multipart/signed; boundary="b"',
    b"message/rfc822",
    b"text/plain; charset=utf-8",
    b"text/plain; charset==?x?=",
    b"text/plain; name*=utf-8''a%00%ff",
    b"text/plain; name*0=a; name*2=b",
    b"base64",
    b"quoted-printable",
    b"x-uuencode",
    b"=?utf-8?q?Gr=C3=BC?=",
    b"=?utf-8?b?!!!?=",
    b"=?no-such?q?x?=",
    b'attachment; filename="../../x"',
    b"Mon, 99 Foo",
    b";;;=",
    b'a@b, <c@d>, "',
    b"<a@b> <c@d>",
    b"Thu, 1 Jan 99999 00:00:00 +9999",
    b'text/plain; charset="\xff"',
    b"message/external-body; x",
    b"message/partial",
    b"message/delivery-status",
]
_LINES = st.one_of(
    st.builds(
        lambda name, value: name.encode() + b": " + value,
        st.sampled_from(_HEADER_NAMES),
        st.one_of(st.sampled_from(_HEADER_VALUES), st.binary(max_size=40)),
    ),
    st.sampled_from([b"", b"--b", b"--b--", b"\tfolded", b"words", b"R3L8w5/DnwpX", b"=C3=BC", b"begin 644 x", b"\x00\xff"]),
)


def touch_everything(mail: message.Message) -> None:
    for part in mail.root.walk():
        assert isinstance(part.content, bytes)
        assert "\n" not in part.title
        assert all(c.isprintable() for c in part.name)
        if part.inner is not None:
            touch_everything(part.inner)
    found = mail.headers
    for text in (found.subject, found.from_header, found.from_name, found.message_id, found.reply_to):
        assert "\n" not in text
        assert "\r" not in text
        text.encode("utf-8")
    assert found.date is None or found.date.tzinfo is not None


@given(st.lists(_LINES, max_size=30), st.sampled_from([b"\n", b"\r\n"]))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_mail_makes_parsing_fail(lines: list[bytes], ending: bytes) -> None:
    data = ending.join(lines)
    touch_everything(message.parse(data))
    assert message.headers(data) == message.parse(data).headers or b"\n\n" not in data.replace(b"\r", b"")
    assert len(message.content_hash(data)) == 64


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_no_bytes_make_parsing_fail(data: bytes) -> None:
    touch_everything(message.parse(data))
    message.headers(data)
    message.content_hash(data)


@given(st.text(max_size=80))
def test_decoding_a_header_gives_one_printable_line(value: str) -> None:
    assert all(c.isprintable() for c in message.decoded(value))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?iso-8859-1?q?Gr=FC=DFe?= an =?utf-8?b?QW5u?=", "Grüße an Ann"),
        ("=?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?q?=C3=9Fe?=", "Grüße"),
        ("=?no-such-charset?q?x?=", "=?no-such-charset?q?x?="),
        ("a\r\n b\tc", "a b c"),
        ("x\x00\x1b[31my", "x [31my"),
    ],
)
def test_cnt_19_encoded_words_are_read(written: str, meant: str) -> None:
    assert message.decoded(written) == meant


def test_an_encoded_word_in_a_charset_that_cannot_be_a_name_stays_as_it_is() -> None:
    assert message.decoded("=?\u20actf-8?q?Gr=C3=BC=C3=9Fe?=") == "=?utf-8?q?Gr=C3=BC=C3=9Fe?=".replace("utf", "?tf")


@pytest.mark.parametrize("charset", ["utf-8", "cp1252"])
def test_raw_letters_in_headers_and_names_are_read(charset: str) -> None:
    mail = 'Subject: Grüße\nFrom: Jörg Ü <j@a.example>\nContent-Disposition: attachment; filename="Grüße.pdf"\n\n'.encode(
        charset
    )
    found = message.parse(mail)
    assert (found.headers.subject, found.headers.from_name, found.root.name) == ("Grüße", "Jörg Ü", "Grüße.pdf")
    assert found.headers.from_addresses == ("j@a.example",)


def test_the_headers_say_who_when_and_what() -> None:
    found = message.headers(
        b"From: =?utf-8?q?J=C3=B6rg?= <j@a.example>\r\nFrom: x@b.example\r\nSubject: Hi\r\n"
        b"Date: Sun, 22 Nov 2026 15:04:00 +0100\r\n"
        b"Message-ID: <1@a.example>\r\nReferences: <0@a.example>\r\n <00@a.example>\r\n"
        b"Auto-Submitted: auto-replied (vacation)\r\n"
        b"Received: a\r\nReceived: b\r\nX-Faxgate-Loop: me\r\n\r\nSubject: not a header\r\n"
    )
    assert found.from_addresses == ("j@a.example", "x@b.example")
    assert (found.from_name, found.subject, found.auto_submitted, found.received) == ("Jörg", "Hi", "auto-replied", 2)
    assert found.date == datetime(2026, 11, 22, 15, 4, tzinfo=timezone(timedelta(hours=1)))
    assert found.references == ("<0@a.example>", "<00@a.example>")
    assert (found.message_id, found.loop_marks) == ("<1@a.example>", ("me",))


def test_cnt_23_missing_and_faulty_headers_are_blanks() -> None:
    found = message.headers(b"Date: yesterday\nSubject:\n\n")
    assert (found.date, found.subject, found.from_addresses, found.auto_submitted) == (None, "", (), "no")
    assert message.headers(b"Date: Sun, 22 Nov 2026 15:04:00 -0000\n\n").date == datetime(2026, 11, 22, 15, 4, tzinfo=UTC)


def test_parts_have_positions_names_and_content() -> None:
    mail = EmailMessage()
    mail.set_content("Hello")
    mail.add_alternative("<p>Hello</p>", subtype="html")
    mail.add_attachment(b"\x00\x01", maintype="application", subtype="pdf", filename="Grüße.pdf")
    root = message.parse(mail.as_bytes()).root
    assert [(part.position, part.content_type) for part in root.walk()] == [
        ("", "multipart/mixed"),
        ("1", "multipart/alternative"),
        ("1.1", "text/plain"),
        ("1.2", "text/html"),
        ("2", "application/pdf"),
    ]
    last = root.children[1]
    assert (last.name, last.title, last.disposition, last.content) == ("Grüße.pdf", "Grüße.pdf", "attachment", b"\x00\x01")


def test_the_text_of_a_mail_is_known_as_its_message_at_any_depth() -> None:
    mail = message.parse(
        b"Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: multipart/alternative; boundary=a\n\n"
        b"--a\n\nwords\n--a\nContent-Type: text/html\n\n<p>words\n--a--\n"
        b"--m\nContent-Type: text/plain\nContent-Disposition: attachment\n\nfile\n--m--\n"
    )
    leaves = [part.title for part in mail.root.walk() if not part.children]
    assert leaves == ["message text", "message as HTML (part 1.2)", "text/plain (part 2)"]


def test_a_part_without_a_name_is_known_by_its_type_and_place() -> None:
    assert message.parse(b"Content-Type: image/png\n\nx").root.title == "image/png (part 1)"


@pytest.mark.parametrize("coding", ["7bit", "base64"])
def test_an_attached_mail_is_opened_even_if_it_was_encoded(coding: str) -> None:
    inner = b"Subject: inner\nContent-Type: text/plain\n\nwords\n"
    body = base64.encodebytes(inner) if coding == "base64" else inner
    mail = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: " + coding.encode() + b"\n\n" + body
    found = message.parse(mail).root.inner
    assert found is not None
    assert (found.headers.subject, found.root.content) == ("inner", b"words\n")


@pytest.mark.parametrize("depth", [200, 5000])
def test_parts_within_parts_end_somewhere(depth: int) -> None:
    data = b"Subject: deep\n"
    for n in range(depth):
        data += b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n)
    mail = message.parse(data)
    assert mail.headers.subject == "deep"
    assert [part.problem for part in mail.root.walk() if part.problem] == ["nested too deeply"]


def test_the_content_hash_ignores_the_route_and_sees_every_change() -> None:
    one = b"Received: a\r\nFrom: a@b.example\r\nSubject: x\r\n\r\nbody"
    assert message.content_hash(one) == message.content_hash(one.replace(b"Received: a", b"Received: other"))
    for changed in (one + b"!", one.replace(b"Subject: x", b"Subject: y"), one.replace(b"a@b", b"c@b")):
        assert message.content_hash(changed) != message.content_hash(one)


@pytest.mark.parametrize(
    ("field", "languages"),
    [
        ("", ()),
        ("de-AT", ("de",)),
        ("fr-CA;q=0.3, it ; q = 0.8,xx", ("xx", "it", "fr")),
        ("en;q=0, *, de;q=2, nl", ("nl",)),
        ("DE, " + "x" * 2000, ("de",)),
    ],
)
def test_what_an_author_likes_to_read_is_known_best_first(field: str, languages: tuple[str, ...]) -> None:
    assert message.headers(f"Accept-Language: {field}\r\n\r\n".encode()).reads == languages

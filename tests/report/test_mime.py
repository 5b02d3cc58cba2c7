"""The small MIME writer, read back with the library."""

from __future__ import annotations

import email
import email.policy
from email.header import decode_header, make_header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.report import mime

_TEXT = st.text(st.characters(codec=None) | st.sampled_from("\r\n\0\t =?_"), max_size=500)


@settings(max_examples=200, deadline=None)
@given(_TEXT)
def test_aur_10_any_subject_comes_back_as_it_was_shown(text: str) -> None:
    value = mime.unstructured("Subject", text)
    mail = email.message_from_bytes(mime.block([("Subject", value)]) + b"\r\n")
    assert str(make_header(decode_header(mail["Subject"] or ""))).replace("\r\n", "") == mime.plain(text, 400)
    assert max(map(len, ("Subject: " + value).split("\r\n"))) <= 76


@settings(max_examples=200, deadline=None)
@given(_TEXT)
def test_any_display_name_leaves_the_address_alone(name: str) -> None:
    block = mime.block([("From", mime.mailbox(name, "fax@fax.example"))])
    mail = email.message_from_bytes(block + b"\r\n", policy=email.policy.default)
    (address,) = mail["From"].addresses
    assert address.addr_spec == "fax@fax.example"


@settings(max_examples=200, deadline=None)
@given(_TEXT)
def test_plain_text_is_one_printable_line(text: str) -> None:
    line = mime.plain(text, 50)
    assert len(line) <= 50
    assert line == " ".join(line.split())
    assert all(c.isprintable() or c in "\u200c\u200d" for c in line)
    line.encode("utf-8")


def test_joiners_of_indic_and_persian_words_stay_and_direction_marks_go() -> None:
    assert mime.plain("می\u200cخواهم") == "می\u200cخواهم"
    assert mime.plain("invoice\u202efdp.exe") == "invoice fdp.exe"


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=2000))
def test_any_text_comes_back_line_by_line(text: str) -> None:
    mail = email.message_from_bytes(mime.mail([], mime.text("plain", text)))
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode("utf-8").split("\r\n")[:-1] == (text.splitlines() or [""])


@given(st.binary(max_size=2000))
def test_any_bytes_come_back(data: bytes) -> None:
    mail = email.message_from_bytes(mime.mail([], mime.binary("application/pdf", data)))
    assert mail.get_payload(decode=True) == data


@given(st.binary(max_size=2000).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b"\r\n")))
def test_text_like_bytes_come_back(data: bytes) -> None:
    part = mime.verbatim("text/rfc822-headers", data)
    assert mime.is_clean(part.body)
    assert email.message_from_bytes(mime.mail([], part)).get_payload(decode=True) == data


@pytest.mark.parametrize(
    "field",
    [
        ("Subject", "a\r\nBcc: b@corp.example"),
        ("Subject", "a\nb"),
        ("Subject", "Grüße"),
        ("Subject", "x\r\n\r\nbody"),
        ("Sub ject", "x"),
        ("Subject", "x" * 1000),
        ("Subject", "tab\there"),
    ],
)
def test_what_is_not_exactly_one_field_is_refused(field: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="not one header field"):
        mime.block([field])


@pytest.mark.parametrize("text", ["ann@corp.example", '"a,b"@corp.example', "FAX=+1@x/y"])
def test_a_foreign_address_is_shown_as_it_is(text: str) -> None:
    assert mime.address(text) == text


@pytest.mark.parametrize("text", ["", "a b@x", "a@x\r\nBcc: y", "müller@corp.example", "<a@x>", "a@" + "x" * 400])
def test_an_address_that_cannot_stand_in_a_header_is_not_shown(text: str) -> None:
    assert mime.address(text) == "undisclosed-recipients:;"

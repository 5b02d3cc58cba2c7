"""The text under a signature, and what a stranger may write to make us look for long."""

from __future__ import annotations

import hashlib
import time

import pytest
from dkim.canonicalization import CanonicalizationPolicy
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import message
from gateway.intake import bodies, results, signatures
from gateway.intake.resolver import Lookups, Resolver
from gateway.sections import Dns

LINES = st.lists(st.sampled_from([b"", b" ", b"\t ", b"a", b" a  b\t", b"x" * 50]), max_size=12)


@given(LINES, st.booleans(), st.sampled_from([1, 7, 1000]))
@example([b" " * 20, b"", b"x"], True, 1)
def test_the_text_is_hashed_as_the_library_for_signing_does(lines: list[bytes], is_relaxed: bool, piece: int) -> None:
    body = b"".join(line + b"\r\n" for line in lines)
    way = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed" if is_relaxed else b"simple/simple")
    expected = hashlib.sha256(way.canonicalize_body(body)).digest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "_PIECE", piece)
        assert bodies.sha256(b"From: a@b.example\r\n\r\n" + body, is_relaxed=is_relaxed) == expected


def lookups() -> Lookups:
    return Resolver(Dns.model_validate({"servers": ["127.0.0.1:9"], "timeout": "0.1s"})).lookups()


HEAD = b"From: a@corp.example\r\n"
SIGNATURE = b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=corp.example; s=x; h=from; bh=AA==; b=AA=="
LONG = {
    "lines of blanks": SIGNATURE + b"\r\n" + HEAD + b"\r\n" + (b" " * 990 + b"x\r\n") * 6000,
    "blanks in the signature": SIGNATURE + b"\r\n " * 40_000 + b"!\r\n" + HEAD + b"\r\n",
    "blanks in each signature": (SIGNATURE + (b" " * 98 + b"\r\n ") * 60 + b"!\r\n") * 30 + HEAD + b"\r\n",
    "many names": SIGNATURE.replace(b"h=from", b"h=from" + b":aa" * 20_000) + b"\r\n" + HEAD + b"\r\n",
    "many fields": SIGNATURE + b"\r\n" + b"A:\r\n" * 60_000 + HEAD + b"\r\n",
    "many signatures": (SIGNATURE + b"\r\n") * 2000 + HEAD + b"\r\n",
}


@pytest.mark.parametrize("case", LONG)
def test_a_hostile_mail_takes_no_longer_than_another_of_its_size(case: str) -> None:
    began = time.process_time()
    found = signatures.verify(LONG[case], lambda domain: domain == "corp.example", lookups())
    assert not [one for one in found if one.passed]
    assert time.process_time() - began < 5


QUOTES = '"' + '\\"' * 100_000
MARKS = [QUOTES, QUOTES[1:], "(" * 200_000, "(" + QUOTES, '"" ' * 60_000, "=?" * 100_000, ";=" * 100_000, "a" * 200_000]


@pytest.mark.parametrize("value", MARKS)
def test_hostile_fields_are_read_at_one_look(value: str) -> None:
    began = time.process_time()
    field = f"Authentication-Results: gw.fax.example; {value}\r\nFrom: {value}\r\n\r\n".encode()
    results.parse(value)
    results.cleansed(field, frozenset({"gw.fax.example"}))
    assert message.headers(field).from_group
    assert time.process_time() - began < 5

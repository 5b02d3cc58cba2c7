"""Authentication-Results: read as the standard has it, written, and taken out where it claims to be ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake import fields, results
from gateway.intake.results import Result

OURS = frozenset({"gw.fax.example", "fax.example"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("mx.example; none", ("mx.example", [])),
        ("mx.example 1; none", ("mx.example", [])),
        ("MX.example;spf=PASS smtp.mailfrom=a@b.example", ("mx.example", [("spf", "pass", {"smtp.mailfrom": "a@b.example"})])),
        ('"mx.example"; dkim = pass header.d = b.example', ("mx.example", [("dkim", "pass", {"header.d": "b.example"})])),
        (
            "mx.example (a (nested) comment; dmarc=pass); dkim=fail (no \\) key) reason=\"a; b=c\" header.d=b.example",
            ("mx.example", [("dkim", "fail", {"header.d": "b.example"})]),
        ),
        ("mx.example; foo/2=pass; spf=none", ("mx.example", [("foo/2", "pass", {}), ("spf", "none", {})])),
        ("mx.example; spf==pass", ("mx.example", [])),
        ("mx.example; spf=pass =x", ("mx.example", [])),
        ("mx.example; dkim=pass header.d=a.example header.d=b.example", ("mx.example", [])),
        ("mx.example 2; spf=pass", None),
        ("mx.example x y; spf=pass", None),
        ("spf=pass; mx.example", None),
        ("mx.example; spf=pass (never ends", None),
        ('mx.example; spf=pass "never ends', None),
        ("", None),
    ],
)  # fmt: skip
def test_aut_05_what_is_not_known_is_left_out(
    value: str, expected: tuple[str, list[tuple[str, str, dict[str, str]]]] | None
) -> None:
    found = results.parse(value)
    shown = None if found is None else (found[0], [(one.method, one.result, dict(one.properties)) for one in found[1]])
    assert shown == expected


@given(st.text(alphabet='mxdkimspf=;()"\\ .@\t12', max_size=60))
def test_any_text_is_read_without_harm(value: str) -> None:
    found = results.parse(value)
    assert found is None or (found[0] == found[0].lower() and all(one.method and one.result for one in found[1]))


def test_what_is_written_is_read_again() -> None:
    said = [
        Result("dkim", "pass", {"header.d": "corp.example", "header.s": "sel"}),
        Result("spf", "fail", {"smtp.mailfrom": 'a "b\r\nBcc: x'}),
    ]
    field = results.written("gw.fax.example", said)
    assert field.endswith(b"\r\n")
    assert field.count(b"\n") == 3
    (one,) = fields.fields(field + b"\r\n")
    found = results.parse(one.value)
    assert found is not None
    assert found[0] == "gw.fax.example"
    assert [(result.method, result.result) for result in found[1]] == [("dkim", "pass"), ("spf", "fail")]
    assert found[1][0].domain("header.d") == "corp.example"
    assert results.written("gw.fax.example", []) == b"Authentication-Results: gw.fax.example; none\r\n"


@pytest.mark.parametrize(
    "claim",
    [
        b"Authentication-Results: gw.fax.example; dmarc=pass header.from=corp.example\r\n",
        b"AUTHENTICATION-RESULTS:GW.Fax.Example;\r\n\tdmarc=pass\r\n",
        b"Authentication-Results: (who) fax.example 1; none\r\n",
        b'Authentication-Results: "fax.example"; dmarc=pass (and no end\r\n',
        b"Authentication-Results:\r\n fax.example nonsense; ;;\r\n",
    ],
)
def test_aut_04_a_field_that_claims_to_be_ours_is_taken_out(claim: bytes) -> None:
    rest = b"From: a@b.example\r\n"
    other = b"Authentication-Results: mx.corp.example; spf=pass\r\n"
    body = b"\r\n" + claim + b"in the text it stays\r\n"
    assert results.cleansed(claim + other + rest + claim + body, OURS) == other + rest + body
    assert results.cleansed(other + rest + body, OURS) == other + rest + body


@given(st.lists(st.sampled_from([b"A: b\r\n", b" c\r\n", b"no field\r\n", b"Authentication-Results: fax.example\r\n"])))
def test_nothing_else_is_touched(lines: list[bytes]) -> None:
    block, body = b"".join(lines), b"\r\nAuthentication-Results: fax.example\r\n\r\ntext\r\n"
    kept: list[bytes] = []
    for line in lines:
        if line.startswith(b"Auth") or (line.startswith(b" ") and kept and kept[-1] == b""):
            kept.append(b"")  # the field, and what continues it
        else:
            kept.append(line)
    assert results.cleansed(block + body, OURS) == b"".join(kept) + body
    assert results.cleansed(block, OURS) == b"".join(kept)

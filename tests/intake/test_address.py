"""Recipient addresses: every example of the grammar, and any octets at all.

The examples are in `addresses.tsv`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.fax import Recipient
from gateway.intake import address
from gateway.intake.address import Reply, Special

T = TypeVar("T")
DOMAINS = ("fax.example", "[192.0.2.10]")


@dataclass(frozen=True)
class Example:
    """One line of `addresses.tsv`."""

    n: int
    region: str
    path: str
    said: str
    number: str = ""
    read: str = ""

    @property
    def recipient(self) -> Recipient:
        words = [word.partition("=") for word in self.read.split("; ") if word]
        named = {name: value for name, _, value in words if name[0] != "/"}
        options = tuple((name[1:], value) for name, _, value in words if name[0] == "/")
        return replace(Recipient(written=self.path, number=self.number, options=options), **named)  # type: ignore[arg-type]  # texts


def _examples() -> list[Example]:
    lines = (Path(__file__).parent / "addresses.tsv").read_text(encoding="utf-8").splitlines()
    fields = [line.split("\t") for line in lines if not line.startswith("#")]
    return [Example(int(n), region, path.replace("\\r\\n", "\r\n"), *more) for n, region, path, *more in fields]


EXAMPLES = _examples()


def read(path: str, region: str = "US") -> Recipient | Special | Reply:
    return address.parse(path, domains=DOMAINS, region=region)


def refusal(path: str, region: str = "US") -> Refused:
    with pytest.raises(Refused) as caught:
        read(path, region)
    return caught.value


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"adr_{one.n}" for one in EXAMPLES])
def test_every_example_of_the_grammar(example: Example) -> None:
    if example.said == "valid":
        assert read(example.path, example.region) == example.recipient
    elif example.said == "special":
        found = read(example.path, example.region)
        assert isinstance(found, Special)
        assert (found.written, found.name) == (example.path, example.path.partition("@")[0].lower())
    else:
        error = refusal(example.path, example.region)
        assert error.reply == example.said
        assert error.text.isascii()
        assert error.text.endswith(".")


def test_every_example_of_the_standard_is_here() -> None:
    assert [one.n for one in EXAMPLES] == list(range(1, 85))


def test_adr_10_keywords_have_no_case_and_no_order() -> None:
    one, two = read("FAX=+14155550123/T33S=77/Attn=Jo@fax.example"), read("FAX=+14155550123/aTTN=Jo/t33s=77@fax.example")
    assert isinstance(one, Recipient)
    assert isinstance(two, Recipient)
    assert replace(one, written="") == replace(two, written="")


@pytest.mark.parametrize("path", ['"FAX=+14155550123"@fax.example', '"FAX=\\+14155550123"@fax.example'])
def test_adr_11_quoted_equals_unquoted(path: str) -> None:
    found = read(path)
    assert isinstance(found, Recipient)
    assert found == Recipient(written=path, number="+14155550123")


def test_adr_15_address_literal_only_where_it_is_ours() -> None:
    assert refusal("FAX=+14155550123@[192.0.2.11]").reply == "550 5.7.1"
    assert refusal("FAX=+14155550123@[IPv6:2001:db8::1]").reply == "550 5.7.1"


def test_adr_22_long_local_parts_are_read_and_endless_ones_refused() -> None:
    written = "FAX=+14155550123/ATTN=" + "x" * 42
    assert len(written) == 64
    found = read(written + "@fax.example")
    assert isinstance(found, Recipient)
    assert found.cover_name == "x" * 42
    assert refusal("FAX=+14155550123/ATTN=" + "x" * 300 + "@fax.example").reply == "501 5.1.3"


@pytest.mark.parametrize("domain", ["fax.example", "FAX.EXAMPLE.NET", "fax.example.net", "[192.0.2.10]"])
def test_adr_15_several_domains_are_ours(domain: str) -> None:
    path = f"FAX=+14155550123@{domain}"
    ours = ("fax.example", "fax.example.net", "[192.0.2.10]")
    assert address.parse(path, domains=ours, region="US") == Recipient(written=path, number="+14155550123")
    special = address.parse(f"postmaster@{domain}", domains=ours, region="US")
    assert isinstance(special, Special)
    assert refusal("FAX=+14155550123@fax.example.net").reply == "550 5.7.1"


@pytest.mark.parametrize("name", ["fax", "FAX", "Fax"])
def test_a_mailbox_with_the_number_in_the_subject(name: str) -> None:
    path = f"{name}@fax.example"
    assert refusal(path).reply == "550 5.1.1"
    found = address.parse(path, domains=DOMAINS, region="US", number_in_subject={"fax"})
    assert found == Recipient(written=path, number="")


def test_adr_25_only_postmaster_needs_no_domain() -> None:
    assert refusal("abuse").reply == "501 5.1.3"
    assert refusal("14155550123").reply == "501 5.1.3"
    assert refusal("postmaster@other.example").reply == "550 5.7.1"


@pytest.mark.parametrize(
    "path",
    ["FAX=+19005550123@fax.example", "9005550123@fax.example", "FAX=+449098790123@fax.example", "+14159765550@fax.example"],
)
def test_adr_26_premium_numbers_are_refused_by_policy(path: str) -> None:
    assert refusal(path).reply == "550 5.7.1"


def test_adr_30_shell_characters_are_no_number() -> None:
    assert refusal("FAX=+1`id`@fax.example").reply == "550 5.1.3"


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("FAX=+14155550123/@fax.example@fax.example", "501 5.1.3"),
        ("FAX=+14155550123/foo@fax.example", "550 5.1.3"),
        ("FAX=+14155550123/ISUB=x@fax.example", "550 5.1.3"),
        ("FAX=+14155550123/POSTD=hello@fax.example", "550 5.1.3"),
        ("FAX=+14155550123+5@fax.example", "550 5.1.3"),
        ("/VOICE=+14155550123@fax.example", "550 5.1.1"),
        ('""@fax.example', "550 5.1.1"),
        ("@fax.example", "501 5.1.3"),
        ("", "501 5.1.3"),
        ('"14155550123@fax.example', "501 5.1.3"),
        ("14155550123@fax.example\x1b[2J", "501 5.1.3"),
        ("14155550123@fax_example", "501 5.1.3"),
        ("1415w5550123@fax.example", "550 5.3.3"),
        ("14155550123+" + "x" * 33 + "@fax.example", "550 5.1.3"),
    ],
)
def test_refusals_beside_the_examples(path: str, reply: str) -> None:
    assert refusal(path).reply == reply


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("ann@corp.example", "ann@corp.example"),
        ("@relay.example,@b.example:ann@corp.example", "ann@corp.example"),
        ('"ann doe"@corp.example', '"ann doe"@corp.example'),
        ("root@[192.0.2.1]", "root@[192.0.2.1]"),
    ],
)
def test_senders_are_kept_as_written(path: str, expected: str) -> None:
    assert address.sender(path) == expected


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("ann@corp", "554 5.1.8"),
        ("ann", "501 5.1.7"),
        ("ann@corp.example>", "501 5.1.7"),
        ("änn@corp.example", "553 5.6.7"),
        ("ann@corp.example\n", "501 5.1.7"),
    ],
)
def test_sub_09_unusable_senders_are_refused(path: str, reply: str) -> None:
    with pytest.raises(Refused) as caught:
        address.sender(path)
    assert caught.value.reply == reply


def outcome(read: Callable[..., T], *arguments: str) -> T | Refused:
    """What comes back, be it a refusal; any other error fails the test."""
    try:
        return read(*arguments)
    except Refused as error:
        return error


octets = st.text(st.characters(max_codepoint=0x2FF), max_size=80)
tokens = st.lists(
    st.sampled_from(
        [*'+-.0159()"\\/=@<>% \t', "FAX=", "/T33S=", "/ATTN=", "1415555", "0123", "@fax.example", "John", "\uff11", "\u00b3"]
    ),
    max_size=14,
).map("".join)


@given(octets | tokens | tokens.map(lambda text: text + "@fax.example"), st.sampled_from(["US", "GB", "DE", "IT", "DK"]))
def test_anything_is_read_or_refused(path: str, region: str) -> None:
    found = outcome(read, path, region)
    if isinstance(found, Refused):
        assert found.reply in {"501 5.1.3", "550 5.1.3", "550 5.1.1", "550 5.3.3", "550 5.7.1", "553 5.6.7"}
        assert found.text.isascii()
        return
    assert found.written == path
    if isinstance(found, Recipient):
        assert found.number[0] == "+"
        assert found.number[1:].isascii()
        assert 7 <= len(found.number[1:]) <= 15
        assert found.sub_address == "" or found.sub_address.isascii()


@given(octets | tokens)
def test_any_sender_is_read_or_refused(path: str) -> None:
    found = outcome(address.sender, path)
    if isinstance(found, Refused):
        assert found.reply in {"501 5.1.7", "553 5.6.7", "554 5.1.8"}
    else:
        assert path.endswith(found)


@given(
    st.sampled_from(["+14155550123", "+442079460123", "+39040226338", "+33188335215"]),
    st.text("0123456789", max_size=20),
    st.text("abcXYZ0189 -_", max_size=20).map(str.strip),
    st.text("abc /=", max_size=20),
)
def test_what_is_written_is_read_again(number: str, sub_address: str, name: str, value: str) -> None:
    value = "x" + value.replace("/", "").strip() + "y"
    local = (
        f"FAX={number}" + (f"/T33S={sub_address}" if sub_address else "") + (f"/ATTN={name}" if name else "") + f"/FOO={value}"
    )
    found = read(f'"{local}"@fax.example')
    assert isinstance(found, Recipient)
    assert (found.number, found.sub_address, found.cover_name) == (number, sub_address, name)
    assert found.options == (("FOO", value),)

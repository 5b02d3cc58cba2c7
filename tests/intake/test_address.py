"""Recipient addresses: every example of the grammar, and any octets at all.

The numbers are those of reference/internet-fax-standards.md section 16.1. POSTD and ISUB (13 to 15) are refused by every
gateway here, because no carrier can send them; dial strings (45) likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.fax import Recipient
from gateway.intake import address
from gateway.intake.address import Special

T = TypeVar("T")
DOMAINS = ("fax.example", "[192.0.2.10]")

GOOD: list[tuple[int, str, str, str, dict[str, object]]] = [
    (1, "FAX=+14155550123@fax.example", "US", "+14155550123", {}),
    (2, "FAX=+3940226338@fax.example", "US", "+3940226338", {}),
    (3, "FAX=+39040226338@fax.example", "US", "+39040226338", {}),
    (4, "FAX=+12027653000/T33S=1387@fax.example", "US", "+12027653000", {"sub_address": "1387"}),
    (5, "fax=+12027653000/t33s=0042@FAX.Example", "US", "+12027653000", {"sub_address": "0042"}),
    (6, "/FAX=+33-1-88335215/@fax.example", "US", "+33188335215", {}),
    (7, "/FAX=+33188335215@fax.example", "US", "+33188335215", {}),
    (8, "FAX=+1.202.765.3000/T33S=6377@fax.example", "US", "+12027653000", {"sub_address": "6377"}),
    (9, '"FAX=+1.202.765.3000/T33S=6377"@fax.example', "US", "+12027653000", {"sub_address": "6377"}),
    (10, '"/FAX=+12027653000/T33S=1387/"@fax.example', "US", "+12027653000", {"sub_address": "1387"}),
    (11, "FAX=+12027653000/ATTN=Mark.Collins@fax.example", "US", "+12027653000", {"cover_name": "Mark Collins"}),
    (
        12,
        "FAX=+39040226338/ATTN=Carlo.CMLS.Nascimento/@fax.example",
        "US",
        "+39040226338",
        {"cover_name": "Carlo CMLS Nascimento"},
    ),
    (
        16,
        '"FAX=+441164960348/ATTN=J.Smith/ORG=Acme Ltd/OFNO=BLD2-44"@fax.example',
        "US",
        "+441164960348",
        {"cover_name": "J Smith", "organisation": "Acme Ltd", "options": (("OFNO", "BLD2-44"),)},
    ),
    (
        17,
        "FAX=+441164960348/OFNA=A/B/ORG=X@fax.example",
        "US",
        "+441164960348",
        {"organisation": "X", "options": (("OFNA", "A/B"),)},
    ),
    (18, "FAX=+441164960348/FOO=bar@fax.example", "US", "+441164960348", {"options": (("FOO", "bar"),)}),
    (19, "FAX=14155550123@fax.example", "US", "+14155550123", {}),
    (20, "+14155550123@fax.example", "US", "+14155550123", {}),
    (21, "14155550123@fax.example", "US", "+14155550123", {}),
    (22, "4155550123@fax.example", "US", "+14155550123", {}),
    (23, "415-555-0123@fax.example", "US", "+14155550123", {}),
    (24, "1.415.555.0123@fax.example", "US", "+14155550123", {}),
    (25, '"+1 (415) 555-0123"@fax.example', "US", "+14155550123", {}),
    (26, '"(415) 555-0123"@fax.example', "US", "+14155550123", {}),
    (27, '"+1\\ 415\\ 555\\ 0123"@fax.example', "US", "+14155550123", {}),
    (28, "+442079460123@fax.example", "US", "+442079460123", {}),
    (29, "442079460123@fax.example", "US", "+442079460123", {}),
    (30, "011442079460123@fax.example", "US", "+442079460123", {}),
    (31, '"+44 (0)20 7946 0123"@fax.example', "US", "+442079460123", {}),
    (32, "02079460123@fax.example", "GB", "+442079460123", {}),
    (33, "0014155550123@fax.example", "GB", "+14155550123", {}),
    (34, "14155550123/T33S=77@fax.example", "US", "+14155550123", {"sub_address": "77"}),
    (35, "14155550123+inv-2024.17@fax.example", "US", "+14155550123", {"tag": "inv-2024.17"}),
    (36, "+14155550123+5678@fax.example", "US", "+14155550123", {"tag": "5678"}),
    (37, "14155550123.John_Smith@fax.example", "US", "+14155550123", {"cover_name": "John Smith"}),
    (38, "John_Smith.14155550123@fax.example", "US", "+14155550123", {"cover_name": "John Smith"}),
    (39, "acme.jane-doe.+442079460123@fax.example", "US", "+442079460123", {"cover_name": "acme.jane-doe"}),
    (40, "@relay.example:FAX=+14155550123@fax.example", "US", "+14155550123", {}),
    (41, "FAX=+14155550123@[192.0.2.10]", "US", "+14155550123", {}),
]
BAD = [
    (13, "FAX=+12027653000/T33S=8745/PostD=p1w7005393w373@fax.example", "550 5.3.3"),
    (14, "FAX=+49.81.7856345/ISUB=12-34@fax.example", "550 5.3.3"),
    (15, "FAX=+441164960348/Isub=9823/T33S=4312@fax.example", "550 5.3.3"),
    (45, "FAX=9p040p22.63.38/t33s=4312@fax.example", "550 5.3.3"),
    (46, "FAX=/postd=w6743w99p51@fax.example", "550 5.3.3"),
    (47, "VOICE=+3940226338@fax.example", "550 5.1.1"),
    (48, "SMS=+33-1-88335215@fax.example", "550 5.1.1"),
    (49, "FAX=+@fax.example", "550 5.1.3"),
    (50, "FAX=+--@fax.example", "550 5.1.3"),
    (51, "FAX=+0123456789@fax.example", "550 5.1.3"),
    (52, "FAX=+1234567890123456@fax.example", "550 5.1.3"),
    (53, "FAX=+112@fax.example", "550 5.1.3"),
    (54, "911@fax.example", "550 5.1.3"),
    (55, "5550123@fax.example", "550 5.1.3"),
    (56, "FAX=+10155550123@fax.example", "550 5.1.3"),
    (57, "FAX=+210155550123@fax.example", "550 5.1.3"),
    (58, "FAX=+14155550123/T33S=@fax.example", "550 5.1.3"),
    (59, "FAX=+14155550123/T33S=12#34@fax.example", "550 5.1.3"),
    (60, "FAX=+14155550123/T33S=12a@fax.example", "550 5.1.3"),
    (61, "FAX=+14155550123/T33S=12/T33S=34@fax.example", "550 5.1.3"),
    (62, "FAX=+14155550123/T33S=123456789012345678901@fax.example", "550 5.1.3"),
    (63, "FAX=+14155550123//T33S=5@fax.example", "550 5.1.3"),
    (64, "FAX=+1415555O123@fax.example", "550 5.1.3"),
    (65, "1-800-FLOWERS@fax.example", "550 5.1.3"),
    (66, "FAX=+1..415.555.0123@fax.example", "501 5.1.3"),
    (67, ".14155550123@fax.example", "501 5.1.3"),
    (68, "FAX=+1 415 555 0123@fax.example", "501 5.1.3"),
    (69, "FAX=+1415(x)5550123@fax.example", "501 5.1.3"),
    (70, "FAX=+14155550123;ext=5@fax.example", "501 5.1.3"),
    (71, "fax:+14155550123@fax.example", "501 5.1.3"),
    (72, "14155550123@fax.example.", "501 5.1.3"),
    (73, "14155550123%carrier.example@fax.example", "550 5.1.3"),
    (74, "carrier.example!14155550123@fax.example", "550 5.1.1"),
    (75, "14155550123@other.example", "550 5.7.1"),
    (76, "FAX=+14155550123@sub.fax.example", "550 5.7.1"),
    (77, "FAX=%2B14155550123@fax.example", "550 5.1.3"),
    (78, "14155550123^NOCOVER@fax.example", "550 5.1.3"),
    (79, "room.12.14155550123@fax.example", "550 5.1.3"),
    (80, "john.smith@fax.example", "550 5.1.1"),
    (81, "//FAX=+14155550123@fax.example", "550 5.1.1"),
    (82, "１４１５５５５０１２３@fax.example", "553 5.6.7"),
    (83, "1415555012³@fax.example", "553 5.6.7"),
    (84, "14155550123\r\nDATA@fax.example", "501 5.1.3"),
]
SPECIAL = [
    (42, "postmaster"),
    (43, "PostMaster@fax.example"),
    (44, "abuse@fax.example"),
]


def read(path: str, region: str = "US") -> Recipient | Special:
    return address.parse(path, domains=DOMAINS, region=region)


def refusal(path: str, region: str = "US") -> Refused:
    with pytest.raises(Refused) as caught:
        read(path, region)
    return caught.value


@pytest.mark.parametrize(("n", "path", "region", "number", "more"), GOOD, ids=[f"adr_{row[0]}" for row in GOOD])
def test_example_is_read(n: int, path: str, region: str, number: str, more: dict[str, object]) -> None:
    expected = replace(Recipient(written=path, number=number), **more)  # type: ignore[arg-type]  # the table's own columns
    assert read(path, region) == expected


@pytest.mark.parametrize(("n", "path", "reply"), BAD, ids=[f"adr_{row[0]}" for row in BAD])
def test_example_is_refused_with_its_code(n: int, path: str, reply: str) -> None:
    error = refusal(path)
    assert error.reply == reply
    assert error.text.isascii()
    assert error.text.endswith(".")


@pytest.mark.parametrize(("n", "path"), SPECIAL, ids=[f"adr_{row[0]}" for row in SPECIAL])
def test_example_goes_to_a_person(n: int, path: str) -> None:
    found = read(path)
    assert isinstance(found, Special)
    assert found.written == path
    assert found.name in ("postmaster", "abuse")


def test_every_example_of_the_standard_is_here() -> None:
    numbers = [row[0] for row in GOOD] + [row[0] for row in BAD] + [row[0] for row in SPECIAL]
    assert sorted(numbers) == list(range(1, 85))


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

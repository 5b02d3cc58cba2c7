"""The PamFax checksum, arguments and answers, as both ends use them."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.carriers import pamfax_wire as wire
from gateway.carriers.pamfax_codes import CODES, NAMES
from gateway.carriers.pamfax_wire import Answer, Listing, apicheck, arguments, dumps_json, dumps_xml, elements, pairs, parse
from gateway.errors import Outcome

#: The wire reference, 3.3: number -> (arguments, the text that is hashed, checksum).
VECTORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "1 simple": (
        {"username": "testuser", "password": "somepass", "apikey": "k", "apicheck": "x", "usertoken": "t", "page": "p",
         "event": "e"},
        "somepasstestuserswordfish", "38bc90ad6cf6cb82373aafe031272436"),
    "2 with format": (
        {"username": "testuser", "password": "somepass", "apioutputformat": "API_FORMAT_JSON"},
        "API_FORMAT_JSONsomepasstestuserswordfish", "60f967a2609f28c8a2d5c7749e6d9203"),
    "3 booleans": (
        {"uuid": "AbC123", "mark_read": True, "siblings_too": False, "apioutputformat": "API_FORMAT_XML"},
        "API_FORMAT_XML10AbC123swordfish", "e221edc1292128459150b5b0b679e319"),
    "4 arrays": (
        {"numbers": ["+14155551212", "+493012345678"], "names": ["Ann", "Bob"], "apioutputformat": "API_FORMAT_JSON"},
        "API_FORMAT_JSONAnnBob+14155551212+493012345678swordfish", "9ee069d3840a728d032242475a31440e"),
    "5 unicode": (
        {"template_id": 1, "text": "Grüße aus Köln – 你好", "apioutputformat": "API_FORMAT_JSON"},
        "API_FORMAT_JSON1Grüße aus Köln – 你好swordfish", "b3d1601460053ec25fa58b6c6b099398"),
    "6 key case": (
        {"hashFunction": "md5", "Password": "abc", "old_password": "def", "apioutputformat": "API_FORMAT_JSON"},
        "API_FORMAT_JSONmd5defabcswordfish", "001cc730189b8fdac7d4ac25c7764e93"),
    "7 twelve elements": (
        {"uuids": list("abcdefghijkl")},
        "abcdefghijklswordfish", "227613a0edc0a8fefe2d4070928cd8d8"),
    "8 nested map": (
        {"contact_data": {"Name": "Zoe", "email": "z@example.com", "Address": {"Zip": "10115", "city": "Berlin"}},
         "group_uuid": "G1"},
        "Berlin10115z@example.comZoeG1swordfish", "39cce87be1031b7ef9ea3808a2549d54"),
    "9 empty and null": (
        {"filename": "a.pdf", "origin": "", "file_size": None, "file_contentmd5": "", "apioutputformat": "API_FORMAT_XML"},
        "API_FORMAT_XMLa.pdfswordfish", "4b60f8eb77c7428f0c5d20edb9c649fc"),
    "10 leading @": (
        {"template_id": 1, "text": "@home", "apioutputformat": "API_FORMAT_JSON"},
        "API_FORMAT_JSON1swordfish", "d390cf83eb4d2cd739f7089a0867ceb7"),
    "11 script tag": (
        {"template_id": 1, "text": "a<SCRIPT x>b</script>c", "apioutputformat": "API_FORMAT_JSON"},
        "API_FORMAT_JSON1abcswordfish", "612a9656245754b8e5ad7605a9c2faef"),
    "12 no arguments": ({}, "swordfish", "15b29ffdce66e10527a65bc6d71ad94d"),
    "13 numbers": (
        {"amount": 12.5, "count": 15, "neg": -3, "apioutputformat": "API_FORMAT_JSON"},
        "12.5API_FORMAT_JSON15-3swordfish", "b443f67814ba3b90e843def49f710667"),
    "14 boolean in map": (
        {"notifications": {"sms": False, "Email": True, "skypechat": 0}},
        "100swordfish", "dc545aa3ab03aa9ada22e406cd7bc2a2"),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_the_checksum_of_each_vector_of_the_reference(name: str) -> None:
    given_, hashed, checksum = VECTORS[name]
    assert hashlib.md5(hashed.encode()).hexdigest() == checksum
    assert apicheck(given_, "swordfish") == checksum


@pytest.mark.parametrize("name", VECTORS)
def test_the_checksum_is_computed_again_from_the_form_that_was_received(name: str) -> None:
    given_, _, checksum = VECTORS[name]
    body = urlencode(pairs(given_))
    assert apicheck(arguments(parse_qsl(body, keep_blank_values=True)), "swordfish") == checksum


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text("abXY{}_", min_size=1, max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first text of all takes long to draw
@given(st.dictionaries(st.text("abcdEFG_", min_size=1, max_size=8), _values, max_size=6))
def test_both_ends_compute_the_same_checksum_of_any_call(call: dict[str, Any]) -> None:
    received = arguments(parse_qsl(urlencode(pairs(call)), keep_blank_values=True))
    assert apicheck(received, "secret") == apicheck(call, "secret")
    assert apicheck(received, "secret") != apicheck(received, "Secret")


@given(st.dictionaries(st.text("abcXYZ", min_size=1), st.text(max_size=9), max_size=6), st.randoms())
def test_the_order_of_the_arguments_and_the_case_of_their_names_do_not_count(call: dict[str, str], dice: Any) -> None:
    call = {name.lower(): value for name, value in call.items()}
    mixed = list(call.items())
    dice.shuffle(mixed)
    assert apicheck({name.upper(): value for name, value in mixed}, "s") == apicheck(call, "s")


def test_values_that_were_not_utf_8_count_as_they_were_sent() -> None:
    text = b"Gr\xfc\xdfe".decode("utf-8", "surrogateescape")
    assert apicheck({"text": text}, "s") == hashlib.md5(b"Gr\xfc\xdfes").hexdigest()
    assert apicheck({"text": "\ud800"}, "s") == hashlib.md5(b"?s").hexdigest()


def test_script_tags_without_an_end_do_not_take_long() -> None:
    text = "<script" * 100_000
    assert apicheck({"text": text}, "s") == hashlib.md5(f"{text}s".encode()).hexdigest()


def test_bracket_notation_is_taken_apart() -> None:
    given_ = [("numbers[0]", "a"), ("numbers[]", "b"), ("data[{MyVar}]", "x"), ("c[d][e]", "1"), ("odd[", "2"), ("n", "1"),
              ("n", "2"), ("numbers[1]", "c"), ("s", "1"), ("s[0]", "2")]  # fmt: skip
    assert arguments(given_) == {
        "numbers": {"0": "a", "1": "c"}, "data": {"{MyVar}": "x"}, "c": {"d": {"e": "1"}}, "odd[": "2", "n": "2",
        "s": {"0": "2"},
    }  # fmt: skip
    assert elements({"10": "k", "9": "j", "0": "a"}) == ["a", "j", "k"]
    assert (elements("one"), elements(""), elements(None)) == (["one"], [], [])


@pytest.mark.parametrize("given_", [[("a" + "[b]" * 20, "x")], [(f"a{n}", "x") for n in range(2001)]])
def test_arguments_without_bounds_are_refused(given_: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError):
        arguments(given_)


@given(st.lists(st.tuples(st.text("ab[]0", max_size=60), st.text(max_size=3)), max_size=20))
def test_no_name_can_break_the_arguments(given_: list[tuple[str, str]]) -> None:
    try:
        found = arguments(given_)
    except ValueError:
        return
    assert len(apicheck(found, "s")) == 32


def test_the_seeds_answer_is_written_and_read_as_it_stands() -> None:
    seed = b"""<?xml version="1.0" encoding="UTF-8"?>
<Session>
<result>
    <code>success</code>
</result>
<User uuid="ab35" username="some" created="2008-04-30 11:49:33" credit="1.25" inactive_credit="0" name="Eric Smith"/>
<UserToken token="ip6d"/>
<UserRights type="list">
<UserRight name="see_credit" allowed="1"/>
<UserRight name="buy_credit" allowed="1"/>
</UserRights>
</Session>
"""
    user = {"uuid": "ab35", "username": "some", "created": "2008-04-30 11:49:33", "credit": Decimal("1.25"),
            "inactive_credit": 0, "name": "Eric Smith", "email": None}  # fmt: skip
    rights = [{"name": "see_credit", "allowed": True}, {"name": "buy_credit", "allowed": True}]
    answer = Answer(members={"User": user, "UserToken": {"token": "ip6d"}, "UserRights": rights})
    assert parse(dumps_xml("Session", answer)) == parse(seed) == parse(dumps_json(answer))
    assert b'<UserToken token="ip6d"/>' in dumps_xml("Session", answer)


def test_an_empty_list_has_no_content_and_count_counts_the_members() -> None:
    answer = Answer(members={"FaxContainer": {"state": "editing", "pages": None}, "Files": []})
    assert json.loads(dumps_json(answer)) == {
        "result": {"code": "success", "type": "", "count": 2, "message": ""},
        "FaxContainer": {"state": "editing", "pages": None},
        "Files": {"type": "list"},
    }
    assert parse(dumps_json(answer)).members["Files"] == parse(dumps_xml("FaxJob", answer)).members["Files"] == []


def test_a_list_may_have_attributes_and_a_name_for_its_entries() -> None:
    countries = Listing(entries=[{"code": "US"}], entry="Land", attributes={"revision": 3})
    answer = Answer(members={"CountryList": countries})
    assert b'<CountryList type="list" revision="3"><Land code="US"/></CountryList>' in dumps_xml("Common", answer)
    assert json.loads(dumps_json(answer))["CountryList"] == {"type": "list", "revision": 3, "content": [{"code": "US"}]}


@pytest.mark.parametrize(
    ("name", "entry"),
    [("UserRights", "UserRight"), ("ZoneList", "Zone"), ("InboxFaxes", "InboxFax"), ("Currencies", "Currency"),
     ("Data", "DataItem"), ("FaxInNumberList", "FaxInNumber"), ("AreaCodes", "AreaCode")],
)  # fmt: skip
def test_an_entry_is_named_by_the_singular(name: str, entry: str) -> None:
    assert wire.singular(name) == entry


_names = st.sampled_from(["uuid", "state", "price", "Pages", "note"])
_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals("0", "9", places=2) | st.text(max_size=20)
)  # fmt: skip
_members = st.recursive(
    st.dictionaries(_names, _scalars, max_size=4),
    lambda inner: st.lists(inner | _scalars, max_size=4) | st.dictionaries(_names, inner | _scalars, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["FaxContainer", "Files", "Price", "User"]), _members, max_size=4),
    st.sampled_from(["success", "no_fax", "403"]),
    st.text(max_size=30),
)
def test_the_same_answer_reads_the_same_in_both_formats(members: dict[str, Any], code: str, message: str) -> None:
    answer = Answer(code=code, message=message, members=members)
    as_xml, as_json = parse(dumps_xml("FaxJob", answer)), parse(dumps_json(answer))
    assert as_xml == as_json
    assert as_xml.code == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'\xef\xbb\xbf {"result": {"code": "Success"}}', "success"),
        (b'{"result": {"code": 4008, "type": "error"}}', "not_enough_credit"),
        (b'{"result": {"code": "403"}}', "403"),
        (b"<FaxJob><result><code> no_fax </code><message>&lt;b&gt;No</message></result></FaxJob>", "no_fax"),
        (b'<FaxJob><result code="success"/></FaxJob>', "success"),
    ],
)
def test_the_code_is_read_in_each_way_it_may_be_written(body: bytes, code: str) -> None:
    assert parse(body, "text/html").code == code


def test_a_key_that_comes_twice_and_numbers_as_text_do_no_harm() -> None:
    body = (
        b'{"result": {"code": "success"}, "FaxContainerFile": {"file_uuid": "f1", "file_order": 0, "price": 0.10},'
        b' "FaxContainerFile": {"state": "", "file_order": "1"},'
        b' "Odd": {"type": "list", "content": {"0": {"a": true}, "2": {}}}}'
    )
    members = parse(body).members
    assert members == {"FaxContainerFile": {"file_uuid": "f1", "file_order": "1", "price": "0.10"}, "Odd": [{"a": "1"}, ""]}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"<html>", b"<html/>", b'{"result": "success"}', b'{"result": {"code": null}}', b"\xff\xfe",
        b'{"result": {"code": "success"}, "x": NaN}', b"[" * 100_000, b"<a>" * 30 + b"</a>" * 30, b"plain",
        b'<!DOCTYPE a [<!ENTITY b "success">]><a><result><code>&b;</code></result></a>',
    ],
)  # fmt: skip
def test_what_is_no_answer_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse(body)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.booleans())
def test_no_answer_can_break_the_parser(noise: bytes, at: int, as_json: bool) -> None:
    answer = Answer(members={"Files": [{"state": "converted"}], "FaxContainer": {"uuid": "c1"}})
    good = dumps_json(answer) if as_json else dumps_xml("FaxJob", answer)
    try:
        parse(good[:at] + noise + good[at + len(noise) :])
    except ValueError:
        return


def test_a_name_that_people_typed_is_never_a_name_on_the_wire() -> None:
    with pytest.raises(ValueError):
        dumps_xml("FaxJob", Answer(members={"x": {'a="1"': "x"}}))


def test_every_code_has_its_number_and_what_it_means_for_a_fax() -> None:
    assert len(CODES) == 139
    assert CODES["not_enough_credit"] == (4008, Outcome.NO_CREDIT)
    assert NAMES["20000"] == "too_many_requests"
    assert len(NAMES) == len(CODES), "no number twice"
    assert all(outcome is not Outcome.DELIVERED for _, outcome in CODES.values())

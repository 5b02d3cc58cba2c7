"""Where a received fax goes: the first rule that fits; what is not known fits nothing; nobody is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Config, parse
from gateway.desk import routing
from gateway.desk.routing import Arrival, Way
from gateway.errors import ConfigError
from gateway.fax import Account, AccountId, Line

LINE, SECOND, CALLER = "+14155550100", "+14155550200", "+442079460123"
OFFICE = Account(id=AccountId("acc_1"), name="office")
LINES = [
    Line(number=LINE, account=OFFICE.id, carrier="main", mailbox=("office@example.com",)),
    Line(number=SECOND, account=OFFICE.id, carrier="main"),
]


def config(*rules: dict[str, Any], **more: Any) -> Config:
    """Any: TOML. The first line is read by OCR."""
    return parse(
        {
            "domain": "fax.example.com",
            "region": "US",
            "spool": "spool",
            "mail": {"from": "fax@fax.example.com", "operator": "operator@example.com"},
            "account": [{"name": "office", "countries": ["US"]}],
            "line": [
                {"number": LINE, "account": "office", "carrier": "main", "ocr": "eng"},
                {"number": SECOND, "account": "office", "carrier": "main"},
            ],
            "archive": {"folder": "archive", "every": False},
            "route": list(rules),
            **more,
        },
        "gateway.toml",
    )


def gone(rules: Config, account: Account | None = OFFICE, **more: Any) -> Way:
    """Any: facts of the arrival, and arguments of `way`."""
    facts = {"line": LINE, "caller": CALLER, **{k: more.pop(k) for k in list(more) if k in Arrival.__dataclass_fields__}}
    return routing.way(rules, Arrival(**facts), lines=LINES, account=account, **more)


def to(mailbox: str) -> dict[str, Any]:
    return {"mailbox": [f"{mailbox}@example.com"]}


@pytest.mark.parametrize(
    ("rule", "facts", "fits"),
    [
        ({"line": LINE}, {}, True),
        ({"line": [SECOND, "+1 415 555 0100"]}, {}, True),
        ({"line": SECOND}, {}, False),
        ({"caller": CALLER}, {}, True),
        ({"caller": "+44 20 7946 0123"}, {}, True),
        ({"caller": ["+49*", "+44*"]}, {}, True),
        ({"caller": "+44*"}, {"caller": ""}, False),
        ({"caller": "unknown"}, {"caller": ""}, True),
        ({"caller": "unknown"}, {"caller": "Anonymous"}, True),
        ({"caller": "unknown"}, {}, False),
        ({"station": "acme*"}, {"station": " ACME LTD "}, True),
        ({"station": "acme"}, {"station": "ACME LTD"}, False),
        ({"station": "*"}, {"station": ""}, False),
        ({"station": "a[b]?"}, {"station": "A[B]?"}, True),
        ({"station": "a[b]?"}, {"station": "ABC"}, False),
        ({"sub_address": "77"}, {"sub_address": "77"}, True),
        ({"sub_address": "*"}, {}, False),
        ({"code": "INV-*"}, {"codes": ("4711", "inv-2026")}, True),
        ({"code": "INV-*"}, {"codes": ()}, False),
        ({"code": "*"}, {"codes": None}, False),
        ({"words": "Purchase order"}, {"words": "our PURCHASE\n  order 7"}, True),
        ({"words": ["order"]}, {"words": "disorder, reordered"}, False),
        ({"words": "order"}, {"words": None}, False),
        ({"caller": "+44*", "sub_address": "77"}, {"sub_address": "78"}, False),
        ({"caller": "+44*", "sub_address": "77"}, {"sub_address": "77"}, True),
    ],
)
def test_onr_01_a_rule_fits_by_what_it_names(rule: dict[str, Any], facts: dict[str, Any], fits: bool) -> None:
    found = gone(config({**rule, **to("ann")}), **facts)
    assert found.mailboxes == (("ann@example.com",) if fits else ("office@example.com",))
    assert found.why == ("rule 1" if fits else "the line's mailboxes")


def test_the_first_that_fits_decides() -> None:
    rules = config(
        {"caller": "+49*", **to("berlin")},
        {"sub_address": "7", "name": "sevens", **to("seven")},
        {"caller": "+44*", **to("uk")},
    )
    assert gone(rules).mailboxes == ("uk@example.com",)
    assert gone(rules, sub_address="7").mailboxes == ("seven@example.com",)
    assert gone(rules, sub_address="7").why == "rule 2 (sevens)"


def test_onr_15_faxes_of_blocked_callers_are_dropped_before_any_rule() -> None:
    rules = config({"caller": "+44*", **to("uk")}, blocked_callers=["+4420*", "unknown"])
    assert gone(rules) == Way(then="drop", why="the caller is blocked (+4420*)")
    assert gone(rules, caller="").then == "drop"
    assert gone(rules, caller="+44301234567").then == "deliver"
    assert gone(rules, caller="+44301234567", blocked=["+44301234567"]).then == "drop"
    assert gone(rules, released=True).mailboxes == ("uk@example.com",), "a person wants it"


def test_onr_02_a_number_that_is_none_of_our_lines_waits_in_quarantine() -> None:
    nobody = gone(config(), account=None, line="+14155550999")
    assert (nobody.then, nobody.why) == ("hold", "+14155550999 is none of our lines")
    assert gone(config(), account=None, line="+14155550999", released=True).mailboxes == ("operator@example.com",)
    assert gone(config({"line": "+14155550999", **to("ann")}), account=None, line="+14155550999").then == "deliver"
    assert gone(config(), line="+14155550999").mailboxes == ("operator@example.com",), "its account is known"


def test_a_rule_may_hold_drop_and_archive() -> None:
    rules = config(
        {"sub_address": "1", "then": "hold", **to("later")},
        {"sub_address": "2", "then": "drop"},
        {"sub_address": "3", "mailbox": [], "archive": True},
        {"sub_address": "4", "archive": True},
    )
    assert gone(rules, sub_address="1").then == "hold"
    assert gone(rules, sub_address="1", released=True).mailboxes == ("later@example.com",)
    assert gone(rules, sub_address="1", released=True, mailboxes=("x@example.com",)).mailboxes == ("x@example.com",)
    assert gone(rules, sub_address="2").then == "drop"
    assert gone(rules, sub_address="2", released=True).mailboxes == ("office@example.com",)
    only_kept = gone(rules, sub_address="3")
    assert (only_kept.mailboxes, only_kept.archived, only_kept.named) == ((), True, True)
    both = gone(rules, sub_address="4")
    assert (both.mailboxes, both.archived) == (("office@example.com",), True)
    assert not gone(rules).archived


def test_pages_are_looked_at_only_where_that_may_decide() -> None:
    rules = config({"line": SECOND, "code": "A*", **to("a")}, {"line": LINE, "caller": "+44*", "words": "b", **to("b")})
    here, there = Arrival(line=LINE, caller=CALLER), Arrival(line=SECOND)
    assert (routing.asks_for_codes(rules, here), routing.asks_for_words(rules, here)) == (False, True)
    assert (routing.asks_for_codes(rules, there), routing.asks_for_words(rules, there)) == (True, False)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([{"line": SECOND, "words": "x"}], "route[1].words: can never fit: no line of these lines has ocr"),
        ([to("a"), {"caller": "+44*", **to("b")}], "route[2]: can never fit: route[1] takes every fax that it would"),
        ([{"caller": ["+1*", "+44*"], **to("a")}, {"caller": "+44*", "code": "x", **to("b")}], "route[2]: can never fit"),
        ([{"mailbox": []}], "nobody would get these faxes"),
        ([{"then": "drop", **to("a")}], "is for nobody"),
        ([{"mailbox": ["x@fax.example.com"]}], "route[1].mailbox: x@fax.example.com is at a domain that is faxed"),
        ([{"caller": "555"}], 'write a caller like "+14155550123"'),
        ([{"line": "5550100"}], "write it with + and country code"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rules: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(*rules)
    assert said in error.value.text


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        ({"folder": "a", "path": "../{id}"}, "is a path below the folder"),
        ({"folder": "a", "path": "/{id}"}, "is a path below the folder"),
        ({"folder": "a", "path": "{year}/{line}"}, "needs {id} in its last part"),
        ({"folder": "a", "path": "{id}/{line}"}, "needs {id} in its last part"),
        ({"folder": "a", "path": "{password}-{id}"}, "knows no {password}"),
        ({"folder": "a", "path": "{id!r}"}, "knows no {id}"),
        ({"folder": "a", "path": "{id"}, "cannot be read"),
    ],
)
def test_a_path_in_the_archive_stays_in_it(archive: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(archive=archive)
    assert said in error.value.text


_TEXT = st.text(max_size=30)
_RULE = st.fixed_dictionaries(
    {"mailbox": st.just(["ann@example.com"])},
    optional={
        "caller": st.sampled_from(["+44*", "unknown", CALLER]),
        "station": st.sampled_from(["*", "ACME*", "[!a]*"]),
        "sub_address": st.sampled_from(["7*", "77"]),
        "code": st.just("*1"),
        "words": st.sampled_from(["order", "(", "a+"]),
    },
)


@settings(max_examples=100, deadline=None)
@given(
    rules=st.lists(_RULE, max_size=3),
    facts=st.fixed_dictionaries({"caller": _TEXT, "station": _TEXT, "sub_address": _TEXT, "words": st.none() | _TEXT}),
    codes=st.none() | st.lists(_TEXT, max_size=3).map(tuple),
)
def test_whatever_callers_say_every_fax_goes_somewhere(
    rules: list[dict[str, Any]], facts: dict[str, Any], codes: tuple[str, ...] | None
) -> None:
    try:
        made = config(*rules)
    except ConfigError:
        return  # a rule behind one that takes everything
    found = gone(made, **facts, codes=codes)
    assert found.then == "deliver"
    assert found.mailboxes in (("ann@example.com",), ("office@example.com",))

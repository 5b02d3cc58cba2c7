"""Which fax of a carrier's list is which attempt: certain pairs only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.carriers.base import Listed
from gateway.fax import AttemptId
from gateway.spool.attempts import Unproven
from gateway.work.match import SKEW, match
from tests.spool.values import AT

NUMBERS = ("+14155550123", "+14155550124")
LINES = ("", "+14155550100", "+14155550101")
CALL = timedelta(seconds=60)


def attempt(name: str = "at_1", seconds: float = 0.0, **values: object) -> Unproven:
    made = Unproven(id=AttemptId(name), number=NUMBERS[0], caller=LINES[1], pages=2, opened_at=AT + timedelta(seconds=seconds))
    return replace(made, **values)  # type: ignore[arg-type]  # values come from these tests


def listed(ref: str = "far-1", seconds: float = 5.0, **values: object) -> Listed:
    made = Listed(
        carrier_ref=ref, reference="", number=NUMBERS[0], pages=2, submitted_at=AT + timedelta(seconds=seconds), caller=LINES[1]
    )
    return replace(made, **values)  # type: ignore[arg-type]  # values come from these tests


def test_one_fax_for_one_attempt_is_a_pair() -> None:
    assert match([listed()], [attempt()], CALL) == {"at_1": "far-1"}
    assert match([listed(pages=0, caller="")], [attempt()], CALL) == {"at_1": "far-1"}, "what is not told says nothing"
    assert match([listed()], [attempt(caller="")], CALL) == {"at_1": "far-1"}


@pytest.mark.parametrize(
    "other",
    [
        {"number": NUMBERS[1]},
        {"caller": LINES[2]},
        {"pages": 3},
        {"submitted_at": AT - SKEW - timedelta(seconds=1)},
        {"submitted_at": AT + CALL + SKEW + timedelta(seconds=1)},
    ],
)
def test_a_fax_that_does_not_fit_is_another_one(other: dict[str, Any]) -> None:
    assert match([listed(**other)], [attempt()], CALL) == {}
    assert match([listed(), listed("far-2", **other)], [attempt()], CALL) == {"at_1": "far-1"}


def test_two_that_fit_are_none() -> None:
    assert match([listed(), listed("far-2")], [attempt()], CALL) == {}
    assert match([listed()], [attempt(), attempt("at_2", 30)], CALL) == {}
    assert match([listed(), listed("far-2", 400)], [attempt(), attempt("at_2", 400)], CALL) == {
        "at_1": "far-1",
        "at_2": "far-2",
    }


SECONDS = st.integers(-400, 400)
ATTEMPTS = st.lists(
    st.builds(
        lambda n, seconds, number, caller, pages: attempt(f"at_{n}", seconds, number=number, caller=caller, pages=pages),
        st.integers(0, 50), SECONDS, st.sampled_from(NUMBERS), st.sampled_from(LINES), st.integers(1, 3),
    ),
    max_size=6, unique_by=lambda one: one.id,
)  # fmt: skip
LIST = st.lists(
    st.builds(
        lambda n, seconds, number, caller, pages: listed(f"far-{n}", seconds, number=number, caller=caller, pages=pages),
        st.integers(0, 50), SECONDS, st.sampled_from(NUMBERS), st.sampled_from(LINES), st.integers(0, 3),
    ),
    max_size=6, unique_by=lambda one: one.carrier_ref,
)  # fmt: skip


@given(LIST, ATTEMPTS)
def test_pairs_are_one_to_one_and_fit(faxes: list[Listed], attempts: list[Unproven]) -> None:
    pairs = match(faxes, attempts, CALL)
    by_ref, by_id = {one.carrier_ref: one for one in faxes}, {one.id: one for one in attempts}
    assert len(set(pairs.values())) == len(pairs)
    for name, ref in pairs.items():
        fax, tried = by_ref[ref], by_id[name]
        assert fax.number == tried.number
        assert -SKEW <= fax.submitted_at - tried.opened_at <= CALL + SKEW
        assert match([fax], [tried], CALL) == {name: ref}
        for other in faxes:
            assert other is fax or not match([other], [tried], CALL), "no other fax fits"
        for other_attempt in attempts:
            assert other_attempt is tried or not match([fax], [other_attempt], CALL), "nor any other attempt"


@given(LIST, ATTEMPTS, ATTEMPTS)
def test_more_attempts_never_make_another_pair(faxes: list[Listed], some: list[Unproven], more: list[Unproven]) -> None:
    every = list({one.id: one for one in [*more, *some]}.values())
    for name, ref in match(faxes, every, CALL).items():
        if name in {one.id for one in some}:
            assert match(faxes, some, CALL)[name] == ref


@given(LIST, ATTEMPTS)
def test_the_order_of_a_list_says_nothing(faxes: list[Listed], attempts: list[Unproven]) -> None:
    assert match(faxes[::-1], attempts[::-1], CALL) == match(faxes, attempts, CALL)

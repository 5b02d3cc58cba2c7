"""Every arrow that exists and every arrow that must not; what outcomes mean; when to dial again."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import lifecycle
from gateway.errors import Outcome
from gateway.fax import AttemptState, InboundState, TransmissionState
from gateway.lifecycle import FINAL, OPEN_ATTEMPT, TRAITS, Kind, Retry

#: As DESIGN draws them: state -> where it may go.
TRANSMISSION = """
accepted  -> ready held failed cancelled
ready     -> sending held failed cancelled
sending   -> delivered deferred failed held cancelled
deferred  -> sending held failed cancelled
held      -> accepted ready sending delivered failed cancelled
delivered ->
failed    ->
cancelled ->
"""
ATTEMPT = """
opening   -> submitted failed uncertain cancelled
submitted -> delivered failed cancelled
uncertain -> submitted delivered failed cancelled
delivered ->
failed    ->
cancelled ->
"""
INBOUND = """
announced   -> fetched held failed
held        -> announced fetched refused
fetched     -> held mailed refused
mailed      -> undelivered
undelivered -> fetched
refused     -> announced
failed      -> announced
"""


def arrows(drawn: str) -> dict[str, set[str]]:
    rows = (line.split("->") for line in drawn.strip().splitlines())
    return {old.strip(): set(new.split()) for old, new in rows}


@pytest.mark.parametrize(
    ("drawn", "moves", "states"),
    [
        (TRANSMISSION, lifecycle.MOVES, TransmissionState),
        (ATTEMPT, lifecycle.ATTEMPT_MOVES, AttemptState),
        (INBOUND, lifecycle.INBOUND_MOVES, InboundState),
    ],
)
def test_exactly_these_arrows_exist(drawn: str, moves: Mapping[StrEnum, frozenset[StrEnum]], states: type[StrEnum]) -> None:
    assert {old.value: {state.value for state in new} for old, new in moves.items()} == arrows(drawn)
    assert set(moves) == set(states), "every state has its arrows"


@pytest.mark.parametrize("old", list(TransmissionState))
@pytest.mark.parametrize("new", list(TransmissionState))
def test_may_move_says_what_is_drawn(old: TransmissionState, new: TransmissionState) -> None:
    assert lifecycle.may_move(old, new) == (new.value in arrows(TRANSMISSION)[old.value])


def test_the_module_draws_the_same_arrows() -> None:
    drawn = re.sub(r"\s*->\s*", " -> ", re.sub(r"[ ·]+", " ", lifecycle.__doc__ or ""))
    for old, new in arrows(TRANSMISSION).items():
        if new:
            found = re.search(rf"\b{old} -> ([a-z ]+)", drawn)
            assert found, old
            assert set(found[1].split()) == new, old


def test_final_states_are_final_and_open_attempts_are_not() -> None:
    assert {"delivered", "failed", "cancelled"} == FINAL
    assert all(lifecycle.ATTEMPT_MOVES[state] for state in OPEN_ATTEMPT)
    assert {state for state in AttemptState if lifecycle.ATTEMPT_MOVES[state]} == OPEN_ATTEMPT


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_traits(outcome: Outcome) -> None:
    trait = TRAITS[outcome]
    assert re.fullmatch(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", trait.status)
    if trait.other_carrier:
        assert trait.kind in (Kind.TEMPORARY, Kind.HOLD), "nothing was sent"


def test_success_has_a_class_of_its_own() -> None:
    assert [outcome for outcome in Outcome if TRAITS[outcome].kind is Kind.SUCCESS] == [Outcome.DELIVERED]
    assert [outcome for outcome in Outcome if TRAITS[outcome].status.startswith("2")] == [Outcome.DELIVERED]


def test_what_may_have_arrived_is_never_temporary() -> None:
    for outcome in (Outcome.UNKNOWN, Outcome.PARTLY_SENT, Outcome.NOT_A_FAX, Outcome.DELIVERED):
        assert TRAITS[outcome].kind is not Kind.TEMPORARY


MINUTE = timedelta(minutes=1)
RETRY = Retry(waits={Outcome.BUSY: [MINUTE, 2 * MINUTE], Outcome.NO_ANSWER: [5 * MINUTE]}, spread=0.0)


def wait(*outcomes: Outcome, age: timedelta = MINUTE, retry: Retry = RETRY, after: float | None = None) -> timedelta | None:
    return retry.next_wait(outcomes, age=age, dice=random.Random(1), retry_after=after)


def test_the_waits_are_counted_by_outcome() -> None:
    assert wait(Outcome.BUSY) == MINUTE
    assert wait(Outcome.BUSY, Outcome.BUSY) == 2 * MINUTE
    assert wait(Outcome.BUSY, Outcome.NO_ANSWER) == 5 * MINUTE
    assert wait(Outcome.BUSY, Outcome.NO_ANSWER, Outcome.BUSY) == 2 * MINUTE


def test_after_the_last_wait_there_is_none() -> None:
    assert wait(Outcome.BUSY, Outcome.BUSY, Outcome.BUSY) is None
    assert wait(Outcome.LINE_TROUBLE) is None, "no waits were given for it"


@pytest.mark.parametrize("outcome", [o for o in Outcome if TRAITS[o].kind is not Kind.TEMPORARY])
def test_only_what_is_temporary_is_dialled_again(outcome: Outcome) -> None:
    retry = Retry(waits={key: [MINUTE] for key in Outcome})
    assert wait(outcome, retry=retry) is None


def test_a_wait_that_the_carrier_names_wins_over_a_shorter_one() -> None:
    assert wait(Outcome.BUSY, after=600) == timedelta(seconds=600)
    assert wait(Outcome.BUSY, after=5) == MINUTE


def test_nothing_begins_after_giving_up() -> None:
    assert wait(Outcome.BUSY, age=timedelta(hours=4) - MINUTE) == MINUTE
    assert wait(Outcome.BUSY, age=timedelta(hours=4)) is None
    assert wait(Outcome.BUSY, after=5 * 3600) is None


@given(st.integers(), st.floats(0, 1))
def test_waits_are_spread_upwards_only(seed: int, spread: float) -> None:
    retry = Retry(waits={Outcome.BUSY: [MINUTE]}, spread=spread)
    found = retry.next_wait([Outcome.BUSY], age=timedelta(), dice=random.Random(seed))
    assert found is not None
    assert MINUTE <= found <= MINUTE * (1 + spread) + timedelta(microseconds=1)


def test_a_thousand_faxes_do_not_dial_in_the_same_second() -> None:
    retry, dice = Retry(waits={Outcome.BUSY: [10 * MINUTE]}), random.Random(7)
    waits = [retry.next_wait([Outcome.BUSY], age=timedelta(), dice=dice) for _ in range(1000)]
    seconds = {int(found.total_seconds()) for found in waits if found is not None}
    assert len(seconds) > 50

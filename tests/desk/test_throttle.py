"""Failed sign-ins: who has to wait, who has not, and what it costs us."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher

from gateway.desk.identity import Identity
from gateway.desk.throttle import Tally, Throttle
from gateway.errors import TooMany
from tests.desk.conftest import ACCOUNT, PASSWORD, configured

OFFICE = "office@example.com"
HOME, STRANGER = "192.0.2.1", "198.51.100.7"


class Seconds:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def throttle(identity: Identity, seconds: Seconds, monkeypatch: pytest.MonkeyPatch) -> Throttle:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # the costly one is measured elsewhere
    monkeypatch.setattr(identity, "_hasher", cheap)
    monkeypatch.setattr(identity, "_nobody", cheap.hash("nobody"))
    await identity.declare(configured(ACCOUNT))
    return Throttle(identity, seconds)


async def fail(throttle: Throttle, times: int, client: str = STRANGER, login: str = OFFICE) -> None:
    for _ in range(times):
        assert await throttle.by_password(client, login, "wrong") is None


def test_a_tally_lets_so_many_through_and_then_one_in_its_time(seconds: Seconds) -> None:
    tally = Tally(3, 10.0, seconds)
    for _ in range(3):
        assert tally.wait("a") == 0
        tally.add("a")
    assert tally.wait("a") == 10
    assert tally.wait("b") == 0
    seconds.now += 10
    assert tally.wait("a") == 0
    tally.add("a")
    assert tally.wait("a") == 10
    tally.clear("a")
    assert tally.wait("a") == 0


def test_a_tally_keeps_the_latest_ten_thousand(seconds: Seconds) -> None:
    tally = Tally(1, 1e9, seconds)
    for n in range(10_001):
        tally.add(str(n))
    assert tally.wait("0") == 0
    assert tally.wait("1") > 0
    assert tally.wait("10000") > 0


async def test_too_many_wrong_passwords_have_to_wait_even_with_the_right_one(throttle: Throttle, seconds: Seconds) -> None:
    await fail(throttle, 10)
    with pytest.raises(TooMany) as stopped:
        await throttle.by_password(STRANGER, OFFICE, PASSWORD)
    assert stopped.value.retry_after == pytest.approx(30)
    seconds.now += 31
    assert await throttle.by_password(STRANGER, OFFICE, PASSWORD) is not None


async def test_a_login_that_does_not_exist_is_treated_like_one_that_does(throttle: Throttle) -> None:
    await fail(throttle, 10, login="nobody@example.com")
    with pytest.raises(TooMany):
        await throttle.by_password(STRANGER, "nobody@example.com", "wrong")


async def test_a_success_clears_what_failed_before(throttle: Throttle) -> None:
    for _ in range(3):
        await fail(throttle, 9)
        assert await throttle.by_password(STRANGER, OFFICE, PASSWORD) is not None


async def test_the_case_of_a_login_makes_no_second_count(throttle: Throttle) -> None:
    await fail(throttle, 5)
    await fail(throttle, 5, login=OFFICE.upper())
    with pytest.raises(TooMany):
        await fail(throttle, 1)


async def test_a_client_that_tries_many_logins_has_to_wait(throttle: Throttle) -> None:
    for n in range(50):
        await fail(throttle, 1, login=f"{n}@example.com")
    with pytest.raises(TooMany):
        await fail(throttle, 1, login="another@example.com")


async def test_ipv6_addresses_of_one_network_are_one_client(throttle: Throttle) -> None:
    for n in range(10):
        await fail(throttle, 1, client=f"2001:db8::{n}")
    with pytest.raises(TooMany):
        await fail(throttle, 1, client="2001:db8::ffff")
    await fail(throttle, 1, client="2001:db8:0:1::1")


async def test_strangers_cannot_lock_out_who_has_signed_in_before(throttle: Throttle) -> None:
    assert await throttle.by_password(HOME, OFFICE, PASSWORD) is not None
    for n in range(100):
        await fail(throttle, 1, client=f"198.51.100.{n}")
    with pytest.raises(TooMany):
        await throttle.by_password("203.0.113.5", OFFICE, PASSWORD)
    assert await throttle.by_password(HOME, OFFICE, PASSWORD) is not None


async def test_many_guesses_at_once_are_counted_like_one_after_the_other(throttle: Throttle) -> None:
    guesses = (throttle.by_password(STRANGER, OFFICE, f"guess {n}") for n in range(40))
    results = await asyncio.gather(*guesses, return_exceptions=True)
    looked_at = [result for result in results if result is None]
    assert 10 <= len(looked_at) <= 11
    assert all(isinstance(result, TooMany) for result in results if result is not None)

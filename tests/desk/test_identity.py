"""Who somebody is: by password, or by sender and network. Neither is ever guessed, remembered too long or leaked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.desk.identity import Identity, Roll
from gateway.errors import ConfigError, NotAdmitted
from gateway.fax import Account, AccountId, Line
from gateway.spool import accounts
from gateway.spool.store import Store
from tests.carriers.tools import Clock
from tests.desk.conftest import ACCOUNT, LINE, PASSWORD, configured

LOGIN = "office@example.com"


@pytest.fixture
async def office(identity: Identity) -> Account:
    await identity.declare(configured(ACCOUNT, lines=(LINE,)))
    found = await identity.by_name("office")
    assert found is not None
    return found


async def test_the_right_password_signs_in_whatever_the_case_of_the_login(identity: Identity, office: Account) -> None:
    assert await identity.by_password(LOGIN, PASSWORD) == office
    assert await identity.by_password(LOGIN.upper(), PASSWORD) == office


@pytest.mark.parametrize(
    ("login", "password"),
    [
        (LOGIN, "wrong"),
        (LOGIN, ""),
        (LOGIN, PASSWORD.upper()),
        (LOGIN, PASSWORD + " "),
        ("nobody@example.com", PASSWORD),
        ("", PASSWORD),
        ("", ""),
        (f"{LOGIN}\0{PASSWORD}", ""),
        (LOGIN, "\udcff"),
        ("\udcff", PASSWORD),
        (LOGIN, "x" * 100_000),
    ],
)
async def test_anything_else_does_not(identity: Identity, office: Account, login: str, password: str) -> None:
    assert await identity.by_password(login, password) is None


async def test_the_stored_hash_is_no_password(identity: Identity, office: Account) -> None:
    assert office.password_hash.startswith("$argon2id$")
    assert await identity.by_password(LOGIN, office.password_hash) is None


async def test_the_file_may_hold_the_hash_instead_of_the_password(identity: Identity, office: Account) -> None:
    hashed = await identity.hashed("another")
    await identity.declare(configured({**ACCOUNT, "password": hashed}))
    assert await identity.by_password(LOGIN, "another") is not None
    assert await identity.by_password(LOGIN, hashed) is None
    assert await identity.by_password(LOGIN, PASSWORD) is None


async def test_an_account_without_a_password_never_signs_in(identity: Identity) -> None:
    await identity.save(Account(id=AccountId("acc_1"), name="robot", login="robot"))
    for password in ("", "x", PASSWORD):
        assert await identity.by_password("robot", password) is None


def counted(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often argon2 has run."""
    runs = 0
    verify = identity._verify

    def count(stored: str, password: str) -> bool:
        nonlocal runs
        runs += 1
        return verify(stored, password)

    monkeypatch.setattr(identity, "_verify", count)
    return lambda: runs


async def test_an_unknown_login_costs_as_much_as_a_wrong_password(
    identity: Identity, office: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = counted(identity, monkeypatch)
    await identity.by_password("nobody", "x")
    assert runs() == 1
    await identity.by_password(LOGIN, "x")
    assert runs() == 2


async def test_a_verified_password_is_remembered_for_a_minute_only(
    identity: Identity, office: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = counted(identity, monkeypatch)
    start = time.monotonic()
    for _ in range(5):
        assert await identity.by_password(LOGIN, PASSWORD)
    assert runs() == 1
    monkeypatch.setattr("gateway.desk.identity.time.monotonic", lambda: start + 61)
    assert await identity.by_password(LOGIN, PASSWORD)
    assert runs() == 2


async def test_a_wrong_password_is_never_remembered(
    identity: Identity, office: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = counted(identity, monkeypatch)
    for _ in range(3):
        assert await identity.by_password(LOGIN, "wrong") is None
    assert runs() == 3


async def test_what_is_remembered_holds_no_password(identity: Identity, office: Account) -> None:
    await identity.by_password(LOGIN, PASSWORD)
    assert identity._verified
    assert PASSWORD not in repr(vars(identity))
    assert PASSWORD.encode() not in b"".join(identity._verified)


async def test_a_changed_password_ends_the_old_one_at_once(identity: Identity, store: object) -> None:
    made = Account(id=AccountId("acc_1"), name="ann", login="ann", password_hash=await identity.hashed("old"))
    await identity.save(made)
    assert await identity.by_password("ann", "old")
    await identity.save(replace(made, password_hash=await identity.hashed("new")))
    assert await identity.by_password("ann", "old") is None
    assert await identity.by_password("ann", "new")


async def test_a_password_changed_by_another_node_ends_the_old_one_as_soon_as_it_is_read(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Account(id=AccountId("acc_1"), name="ann", login="ann", password_hash=await identity.hashed("old"))
    await identity.save(made)
    assert await identity.by_password("ann", "old")
    other = Identity(identity._store)
    await other.save(replace(made, password_hash=await identity.hashed("new")))
    other.close()
    start = time.monotonic()
    monkeypatch.setattr("gateway.desk.identity.time.monotonic", lambda: start + 3)
    assert await identity.by_password("ann", "old") is None


@pytest.mark.parametrize(
    ("sender", "client", "known"),
    [
        ("ann@example.com", "192.0.2.7", True),
        ("ANN@Example.COM", "192.0.2.7", True),
        ("boss@example.net", "192.0.2.7", True),
        ("ann@example.com", "::ffff:192.0.2.7", True),
        ("ann@example.com", "2001:db8::1", True),
        ("ann@example.com", "192.0.3.7", False),
        ("ann@example.com", "::ffff:192.0.3.7", False),
        ("ann@example.com", "", False),
        ("ann@example.com", "/run/faxgate/lmtp.sock", False),
        ("ann@example.com", "fe80::1%eth0", False),
        ("ann@example.net", "192.0.2.7", False),
        ("ann@evil.com", "192.0.2.7", False),
        ("ann@sub.example.com", "192.0.2.7", False),
        ("ann@example.com.evil.com", "192.0.2.7", False),
        ("ann@evil.com@example.com", "192.0.2.7", False),
        ("", "192.0.2.7", False),
        ("@", "192.0.2.7", False),
    ],
)
async def test_aut_01_sender_and_network_together(
    identity: Identity, office: Account, sender: str, client: str, known: bool
) -> None:
    assert (await identity.by_network(sender, client) is not None) == known


@pytest.mark.parametrize(
    ("pattern", "address", "owned"),
    [
        ("ann@example.com", "ann@example.com", True),
        ("*@example.com", "a.b+c@example.com", True),
        ("fax-*@example.com", "fax-1@example.com", True),
        ("a?n@example.com", "ann@example.com", False),
        ("a[n]n@example.com", "ann@example.com", False),
        ("a[n]n@example.com", "a[n]n@example.com", True),
        ("a?n@example.com", "a?n@example.com", True),
        ("*", "ann@example.com", True),
        ("*", "", False),
    ],
)
def test_patterns_know_only_the_star(pattern: str, address: str, owned: bool) -> None:
    account = Account(id=AccountId("acc_1"), name="x", senders=(pattern,))
    assert Identity.owns(account, address) == owned


@given(st.text(), st.text(max_size=30))
def test_no_address_and_no_pattern_makes_it_stumble(address: str, pattern: str) -> None:
    account = Account(id=AccountId("acc_1"), name="x", senders=(pattern,))
    if Identity.owns(account, address):
        assert address.lower().count("@") == 1


async def test_declaring_again_keeps_the_account_and_its_hash(identity: Identity, office: Account) -> None:
    await identity.declare(configured(ACCOUNT, lines=(LINE,)))
    assert await identity.by_name("office") == office
    assert [line.number for line in await identity.lines()] == ["+14155550100"]
    await identity.declare(configured({**ACCOUNT, "name": "bureau"}))
    assert await identity.by_name("office") is None
    assert list(await identity.lines()) == []


async def test_a_declared_login_that_a_made_account_has_stops_the_start(identity: Identity) -> None:
    await identity.save(Account(id=AccountId("acc_1"), name="made", login=LOGIN, password_hash=await identity.hashed("x")))
    with pytest.raises(ConfigError, match=r"gateway\.toml: account\[1\]\.login: the account \"made\""):
        await identity.declare(configured(ACCOUNT))


async def test_what_the_file_declares_is_not_changed_elsewhere(identity: Identity, office: Account) -> None:
    for changed in (office, replace(office, declared=False), replace(office, id=AccountId("acc_x"), login="")):
        with pytest.raises(NotAdmitted):
            await identity.save(changed)
    with pytest.raises(NotAdmitted, match="signs in as"):
        await identity.save(Account(id=AccountId("acc_2"), name="other", login=LOGIN.upper()))


async def test_the_lines_of_an_account_stand_in_the_order_they_came_so_that_buying_one_changes_no_sender(
    identity: Identity, store: Store, clock: Clock
) -> None:
    await identity.declare(configured(ACCOUNT, lines=(LINE,)))
    (office,) = await identity.all()
    for number in ("+13105550100", "+12125550100"):
        clock.forward(1)
        await store.write(accounts.add_line, Line(number=number, account=office.id, carrier="main"))
    await identity.declare(configured(ACCOUNT, lines=(LINE,)))
    clock.forward(1)
    await store.write(accounts.save_line, Line(number="+13105550100", account=office.id, carrier="other"))
    identity.forget()
    assert [line.number for line in await identity.lines()] == ["+14155550100", "+13105550100", "+12125550100"]


@pytest.mark.parametrize(
    ("pattern", "address"),
    [
        ("*@example.com", "ANN@Example.COM"),
        ("*@bücher.example", "ann@xn--bcher-kva.example"),
        ("*@xn--bcher-kva.example", "ann@BÜCHER.example"),
        ("ann@*.example.com", "Ann@hq.example.com"),
        ("*@[192.0.2.1]", "ann@[192.0.2.1]"),
    ],
)
def test_one_address_in_all_its_spellings_is_one_sender(pattern: str, address: str) -> None:
    assert Roll.owns(Account(id=AccountId("acc_1"), name="x", senders=(pattern,)), address)


@pytest.mark.parametrize(
    "address",
    [
        "ann@еxample.com",  # a Cyrillic letter
        "ann@exam\u212able.com",  # the Kelvin sign, which str.lower() takes for a k
        "аnn@example.com",
        "ann@example.com\x00",
        "ann@example.com ",
        "a nn@example.com",
        "ann@example.com.evil.example",
        "ann@evil.example@example.com",
        '"ann@example.com"@evil.example',
        "ann@example。com.evil.example",
        "ann@",
        "@example.com",
        "example.com",
        "",
    ],
)
def test_what_only_looks_alike_is_nobody(address: str) -> None:
    account = Account(id=AccountId("acc_1"), name="x", senders=("*@example.com", "*@examkble.com"))
    assert not Roll.owns(account, address)


async def test_only_an_account_that_takes_dmarc_is_found_by_its_author(identity: Identity) -> None:
    await identity.declare(configured({**ACCOUNT, "senders": ["*@example.com"]}))
    assert await identity.by_author("ann@example.com") is None
    await identity.declare(configured({**ACCOUNT, "senders": ["*@example.com"], "dmarc": True, "bulk": True}))
    found = await identity.by_author("ann@example.com")
    assert found is not None
    assert (found.name, found.dmarc, found.bulk) == ("office", True, True)
    assert await identity.by_author("ann@example.org") is None

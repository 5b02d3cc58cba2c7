"""Programs of the PamFax API: keys, secrets, and the password's MD5 that some of them send."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, parse
from gateway.desk.applications import Applications
from gateway.desk.identity import Identity
from gateway.errors import ConfigError, NotAdmitted, SpoolUnavailable
from gateway.fax import AccountId
from gateway.spool import applications as stored
from gateway.spool import schema
from gateway.spool.store import Store
from tests.desk.conftest import ACCOUNT, PASSWORD

KEY = bytes(range(32))


def with_door(tmp_path: Path, door: Mapping[str, Any], *accounts: Mapping[str, Any]) -> Config:
    (tmp_path / "word").write_text("swordfish\n")
    base: Mapping[str, Any] = {"domain": "fax.example.com", "region": "US", "spool": "spool"}
    mail = {"from": "fax@fax.example.com", "operator": "operator@example.com"}
    return parse({**base, "mail": mail, "account": list(accounts), "door": {"pamfax": door}}, str(tmp_path / "gateway.toml"))


async def test_an_application_has_a_key_and_a_secret_that_the_database_does_not_tell(store: Store) -> None:
    applications = Applications(store, KEY)
    made = await applications.add("demo", "Europe/Berlin")
    assert await applications.find(made.key) == made
    assert made.secret not in repr(made)
    (kept,) = await applications.every()
    assert made.secret not in kept.secret
    assert await Applications(store, KEY).find(made.key) == made, "after a restart"
    assert await applications.find("nobody") is None


async def test_a_database_with_another_key_tells_no_secret(store: Store) -> None:
    made = await Applications(store, KEY).add("demo")
    with pytest.raises(SpoolUnavailable):
        await Applications(store, bytes(32)).find(made.key)


async def test_a_secret_belongs_to_its_key(store: Store) -> None:
    applications = Applications(store, KEY)
    one, other = await applications.add("one"), await applications.add("other")
    (of_other,) = [kept.secret for kept in await applications.every() if kept.key == other.key]
    table = schema.application
    await store.write(lambda t: t.db.execute(table.update().where(table.c.key == one.key).values(secret=of_other)).rowcount)
    with pytest.raises(SpoolUnavailable):
        await Applications(store, KEY).find(one.key)


async def test_the_file_declares_applications_and_takes_them_away(store: Store, tmp_path: Path) -> None:
    applications = Applications(store, KEY)
    made = await applications.add("made")
    section = {"key": "k1", "secret_file": "word", "zone": "Europe/Berlin"}
    await applications.declare(with_door(tmp_path, {"application": [section]}))
    found = await applications.find("k1")
    assert found is not None
    assert (found.secret, found.zone) == ("swordfish", "Europe/Berlin")
    await applications.declare(with_door(tmp_path, {}))
    assert await applications.find("k1") is None
    assert await applications.find(made.key) == made


@pytest.mark.parametrize(
    ("door", "key"),
    [
        ({"application": [{"key": "a b", "secret_file": "word"}]}, "door.pamfax.application[1].key"),
        ({"application": [{"key": "a", "secret_file": "nowhere"}]}, "door.pamfax.application[1].secret_file"),
        ({"application": [{"key": "a", "secret_file": "word"}] * 2}, "door.pamfax"),
        ({"tls_cert": "cert.pem"}, "door.pamfax"),
        ({"tls_cert": "cert.pem", "tls_key": "key.pem"}, "door.pamfax"),
        ({"currency": "euro"}, "door.pamfax.currency"),
    ],
)
def test_a_wrong_door_stops_the_start(tmp_path: Path, door: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as error:
        with_door(tmp_path, door)
    assert error.value.key == key


async def test_some_programs_send_the_passwords_md5(identity: Identity, tmp_path: Path) -> None:
    digest = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
    await identity.declare(with_door(tmp_path, {}, ACCOUNT))
    assert await identity.by_password("office@example.com", digest, digest=True)
    assert await identity.by_password("office@example.com", digest.upper(), digest=True)
    assert await identity.by_password("office@example.com", PASSWORD, digest=True)
    assert await identity.by_password("office@example.com", digest) is None, "at other doors it is no password"
    assert await identity.by_password("office@example.com", "0" * 32, digest=True) is None


async def test_without_the_door_nobody_signs_in_by_md5(identity: Identity, tmp_path: Path) -> None:
    await identity.declare(with_door(tmp_path, {}, ACCOUNT))
    closed = with_door(tmp_path, {}, ACCOUNT).model_copy(update={"door": Config.model_fields["door"].default})
    await identity.declare(closed)
    digest = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
    assert await identity.by_password("office@example.com", digest, digest=True) is None


async def test_what_an_account_sets_is_laid_over_what_it_had(store: Store) -> None:
    who = AccountId("acc_1")
    assert await store.read(stored.profile_of, who) == stored.Profile(account=who)
    await store.write(stored.change_profile, who, currency="USD", body={"name": "Ann", "cover": 1})
    await store.write(stored.change_profile, who, zone="Europe/Berlin", body={"cover": None, "notify": [1]})
    assert await store.read(stored.profile_of, who) == stored.Profile(
        account=who, currency="USD", zone="Europe/Berlin", body={"name": "Ann", "notify": [1]}
    )


async def test_an_application_that_is_removed_may_call_no_more_at_any_node(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = Applications(store, KEY), Applications(store, KEY)
    made = await here.add("demo")
    assert await there.find(made.key) == made
    await here.remove(made.key)
    assert await here.find(made.key) is None
    monkeypatch.setattr("gateway.desk.applications._KNOWN", -1.0)  # seconds later
    assert await there.find(made.key) is None
    with pytest.raises(NotAdmitted):
        await here.remove(made.key)


async def test_a_declared_application_is_removed_in_the_file_only(store: Store, tmp_path: Path) -> None:
    applications = Applications(store, KEY)
    await applications.declare(with_door(tmp_path, {"application": [{"key": "k1", "secret_file": str(tmp_path / "word")}]}))
    with pytest.raises(NotAdmitted, match="file"):
        await applications.remove("k1")
    assert await applications.find("k1") is not None

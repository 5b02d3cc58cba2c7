"""Verbs of applications and profiles: whose program calls the PamFax API, and what an account has set there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from gateway.fax import AccountId
from gateway.spool.commit import Transaction
from gateway.spool.schema import application, pamfax_session, profile

T = TypeVar("T")
#: What the door itself keeps in a profile's body. Properties of programs begin with a letter.
ALIASES, COVERS, HIDDEN, NOTIFY, MADE_BY, AGENTS = ".aliases", ".covers", ".hidden", ".notify", ".made_by", ".agents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An application as it is kept."""

    key: str
    name: str
    secret: str = field(repr=False)
    """Encrypted."""
    zone: str
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What an account has set; empty before it has."""

    account: AccountId
    currency: str = ""
    """ISO 4217; "" = that of the door."""
    zone: str = ""
    """ "" = that of the application."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Any: what JSON holds."""


def every(db: Connection) -> list[Stored]:
    """All applications, by key."""
    return [
        Stored(key=row.key, name=row.name, secret=row.secret, zone=row.zone, declared=row.declared)
        for row in db.execute(select(application).order_by(application.c.key))
    ]


def add(t: Transaction, made: Stored) -> None:
    """A new one; its key is random."""
    t.db.execute(insert(application), _values(made, t))


def remove(t: Transaction, key: str) -> bool:
    """Its program may call no more, and nobody is signed in by it. False: there is no such one, or it is declared."""
    if not t.db.execute(delete(application).where(application.c.key == key, application.c.declared.is_(False))).rowcount:
        return False
    t.db.execute(delete(pamfax_session).where(pamfax_session.c.application == key))
    return True


def declare(t: Transaction, declared: Sequence[Stored]) -> None:
    """Make the declared ones exactly these; a made one with the same key becomes declared."""
    keys = [one.key for one in declared]
    t.db.execute(delete(application).where(application.c.declared.is_(True) | application.c.key.in_(keys)))
    if declared:
        t.db.execute(insert(application), [_values(one, t) for one in declared])


def profile_of(db: Connection, account: AccountId) -> Profile:
    row = db.execute(select(profile).where(profile.c.account_id == account)).first()
    if row is None:
        return Profile(account=account)
    return Profile(account=account, currency=row.currency, zone=row.zone, body=json.loads(row.body))


def change_profile(
    t: Transaction, account: AccountId, *, currency: str | None = None, zone: str | None = None, body: Mapping[str, Any]
) -> Profile:
    """Change some of it and leave the rest, whoever changes it at the same time; `body` is laid over the old one, and None
    in it takes away. What it is then."""
    t.insert_new(profile, [{"account_id": account, "currency": "", "zone": "", "body": "{}"}], own="account_id")
    t.db.execute(select(profile.c.account_id).where(profile.c.account_id == account).with_for_update())
    old = profile_of(t.db, account)
    merged = {name: value for name, value in {**old.body, **body}.items() if value is not None}
    values = {
        "currency": old.currency if currency is None else currency,
        "zone": old.zone if zone is None else zone,
        "body": json.dumps(merged),
    }
    t.db.execute(update(profile).where(profile.c.account_id == account).values(**values))
    return profile_of(t.db, account)


def edit_profile(t: Transaction, account: AccountId, edit: Callable[[dict[str, Any]], T]) -> T:
    """What `edit` does to the body, whoever changes it at the same time; its answer."""
    body = dict(change_profile(t, account, body={}).body)
    answer = edit(body)
    t.db.execute(update(profile).where(profile.c.account_id == account).values(body=json.dumps(body)))
    return answer


def alias_taken(db: Connection, alias: str, account: AccountId) -> bool:
    """Whether a number stands for a line of another account."""
    of = profile.c
    some = select(of.body).where(of.account_id != account, of.body.contains(alias, autoescape=True))
    return any(alias in json.loads(body).get(ALIASES, {}).values() for body in db.scalars(some))


def _values(made: Stored, t: Transaction) -> dict[str, Any]:
    """Any: what the columns take."""
    return {
        "key": made.key,
        "name": made.name,
        "secret": made.secret,
        "zone": made.zone,
        "declared": made.declared,
        "created_at": t.now,
    }

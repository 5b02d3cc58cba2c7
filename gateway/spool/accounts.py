"""Verbs of accounts and lines. What the configuration file declares wins and is read-only elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from gateway.fax import Account, AccountId, Line, new_id
from gateway.spool import applications, ledger, pamfax, rows, schema
from gateway.spool.commit import Transaction


def accounts(db: Connection) -> list[Account]:
    """Every account, by name."""
    return [rows.account(row) for row in db.execute(select(schema.account).order_by(schema.account.c.name))]


def created(db: Connection, account: AccountId) -> datetime | None:
    """When an account came into the spool."""
    return db.scalar(select(schema.account.c.created_at).where(schema.account.c.id == account))


def lines(db: Connection) -> list[Line]:
    """Every line: declared ones, then the others as they came. An account's first is the one it faxes from, so buying
    another must not change it."""
    of = schema.line.c
    order = (of.declared.desc(), of.added_at.is_not(None), of.added_at, of.number)
    return [rows.line(row) for row in db.execute(select(schema.line).order_by(*order))]


def save_account(t: Transaction, account: Account) -> None:
    """Insert, or replace the one with the same id."""
    values = rows.account_values(account)
    if not account.guid:
        known = t.db.execute(select(schema.account.c.guid).where(schema.account.c.id == account.id)).first()
        values["guid"] = known.guid if known else values["guid"]
    changed = t.db.execute(update(schema.account).where(schema.account.c.id == account.id).values(**values))
    if not changed.rowcount:
        t.db.execute(insert(schema.account), {**values, "created_at": t.now})


def add_account(t: Transaction, account: Account, made_by: str) -> bool:
    """Insert an account that an application (its key) makes. False: its name or login is taken."""
    if not t.insert_new(schema.account, [{**rows.account_values(account), "created_at": t.now}]):
        return False
    applications.change_profile(t, account.id, body={applications.MADE_BY: made_by})
    return True


def set_password(t: Transaction, account: AccountId, password_hash: str, digest_hash: str, token: str) -> None:
    """Another password; whoever is signed in at the PamFax door with the old one, but for the session `token`, is not any
    more."""
    values = {"password_hash": password_hash, "digest_hash": digest_hash}
    t.db.execute(update(schema.account).where(schema.account.c.id == account).values(**values))
    pamfax.end_all(t, account, but=token)


def busy(db: Connection, account: AccountId) -> bool:
    """Whether an account has unfinished faxes."""
    of = schema.transmission.c
    unfinished = select(of.id).where(of.account_id == account, of.finished_at.is_(None)).limit(1)
    return db.execute(unfinished).first() is not None


def close(t: Transaction, account: AccountId) -> int | None:
    """Remove an account that has nothing on its way, and what it has set; its faxes stay. What it had left, micro-EUR, is
    booked out. None, and nothing is changed: it has unfinished faxes, or lines."""
    lines = schema.line.c
    held = select(lines.number).where(lines.account_id == account).limit(1)
    if busy(t.db, account) or t.db.execute(held).first() is not None:
        return None
    left = ledger.of(t.db, account).available
    note = "the account was removed"
    if left and not ledger.credit(t, account, -left, new_id("pay"), kind=ledger.Kind.DEBIT, note=note):
        return None  # some of it was taken in this moment
    pamfax.forget(t, account)
    t.db.execute(delete(schema.profile).where(schema.profile.c.account_id == account))
    t.db.execute(delete(schema.account).where(schema.account.c.id == account))
    return left


def change_settings(t: Transaction, account: AccountId, changes: Mapping[str, str | bool]) -> Account | None:
    """Change some settings and leave the others, whoever changes them at the same time. None: there is no such account."""
    table = schema.account
    row = t.db.execute(select(table).where(table.c.id == account).with_for_update()).first()
    if row is None:
        return None
    old = rows.account(row)
    changed = replace(old, settings=replace(old.settings, **changes))  # type: ignore[arg-type]  # names come from our own code
    t.db.execute(update(table).where(table.c.id == account).values(settings=rows.account_values(changed)["settings"]))
    return changed


def remove_account(t: Transaction, name: str) -> bool:
    """Remove an account and its lines. Its faxes stay. False: there is none."""
    found = t.db.execute(select(schema.account.c.id).where(schema.account.c.name == name)).first()
    if found is None:
        return False
    t.db.execute(delete(schema.line).where(schema.line.c.account_id == found.id))
    t.db.execute(delete(schema.account).where(schema.account.c.id == found.id))
    return True


def save_line(t: Transaction, line: Line) -> None:
    """Insert, or replace the one with the same number."""
    old = t.db.execute(delete(schema.line).where(schema.line.c.number == line.number).returning(schema.line.c.added_at)).first()
    t.db.execute(insert(schema.line), {**rows.line_values(line), "added_at": old.added_at if old else t.now})


def add_line(t: Transaction, line: Line) -> bool:
    """Insert a line that is new. False: there is one with this number."""
    if t.db.scalar(select(schema.line.c.number).where(schema.line.c.number == line.number)) is not None:
        return False
    t.db.execute(insert(schema.line), {**rows.line_values(line), "added_at": t.now})
    return True


def remove_line(t: Transaction, number: str) -> bool:
    """Remove a line. False: there is none."""
    return t.db.execute(delete(schema.line).where(schema.line.c.number == number)).rowcount == 1


def declare(t: Transaction, accounts: Sequence[Account], lines: Sequence[Line]) -> None:
    """Make the declared accounts and lines exactly these.

    Made ones with the same name or number become declared; what is declared no longer is removed.
    """
    names = [account.name for account in accounts]
    t.db.execute(delete(schema.account).where(schema.account.c.declared.is_(True), schema.account.c.name.not_in(names)))
    t.db.execute(update(schema.account).where(schema.account.c.declared.is_(True)).values(login=None))  # two may have swapped
    t.db.execute(delete(schema.line).where(schema.line.c.declared.is_(True)))
    for account in accounts:
        save_account(t, account)
    for line in lines:
        save_line(t, line)

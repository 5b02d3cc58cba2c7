"""Verbs of money: what a prepaid account can spend, and why. Each runs in the transaction of what it is about.

Amounts are whole micro-EUR. A purse has what is available and what is held for unfinished faxes; entries say why, and are
only ever added. Money is held before the first call: with the acceptance where the pages are known then, else, or for pages
that came to it, with the attempt. It is settled with success, page by page that the carrier confirmed, never above what was
held; with any other end it is given back. A fax without a price is nobody's to pay.

A purse is taken from by one UPDATE that asks for enough credit itself: of two nodes that want the last cent, one gets it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, bindparam, func, literal, select, union_all, update

from gateway.errors import Outcome
from gateway.fax import AccountId, TransmissionId, TransmissionState, new_id
from gateway.spool import steering
from gateway.spool.commit import Transaction
from gateway.spool.schema import entry, purse, transmission
from gateway.units import eur

#: A fax that waits for credit no longer than this goes out by itself when credit comes.
UNPAID = timedelta(hours=2)


class Kind(StrEnum):
    """Why an entry was made."""

    HOLD = "hold"  #: set aside for a fax
    SETTLE = "settle"  #: what a delivered fax did not need of it
    REFUND = "refund"  #: all that was set aside for a fax that was not delivered
    CREDIT = "credit"
    DEBIT = "debit"
    VOUCHER = "voucher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """A purse; micro-EUR."""

    available: int = 0
    held: int = 0

    @property
    def balance(self) -> int:
        return self.available + self.held


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of an account's ledger."""

    at: datetime
    kind: Kind
    amount: int
    """Micro-EUR; negative: taken from what is available."""
    about: str
    """The fax, or whatever was paid for."""
    note: str


_amount = bindparam("amount", type_=purse.c.available.type)
_HOLD = (
    update(purse)
    .where(purse.c.account_id == bindparam("account"), purse.c.available >= _amount)
    .values(available=purse.c.available - _amount, held=purse.c.held + _amount)
)
_CLOSE = (
    update(purse)
    .where(purse.c.account_id == bindparam("account"))
    .values(available=purse.c.available + bindparam("back"), held=purse.c.held - bindparam("set_aside"))
)
_ADD = (
    update(purse)
    .where(purse.c.account_id == bindparam("account"), purse.c.available + _amount >= 0)
    .values(available=purse.c.available + _amount)
)


def hold(t: Transaction, account: AccountId, fax: TransmissionId, amount: int, n: int, note: str) -> bool:
    """Set money aside for a fax. False, and nothing is changed: there is not enough.

    `n` tells the holds of one fax apart: 0 with its acceptance, else the number of the attempt.
    """
    if not t.at_once.execute(_HOLD, {"account": account, "amount": amount}).rowcount:
        return False
    _book(t, account, Kind.HOLD, -amount, fax, n, note)
    return True


def settle(t: Transaction, account: AccountId, fax: TransmissionId, held: int, price: int, pages: int) -> int:
    """The fax was delivered: what it did not need of the money held is available again. Returns what it cost."""
    cost = min(price * pages, held)
    _close(t, account, held, held - cost)
    _book(t, account, Kind.SETTLE, held - cost, fax, 0, f"{pages} pages for {cost}")
    return cost


def refund(t: Transaction, account: AccountId, fax: TransmissionId, held: int) -> None:
    """The fax ended otherwise: all that was held for it is available again."""
    _close(t, account, held, held)
    _book(t, account, Kind.REFUND, held, fax, 0, "")


def credit(
    t: Transaction, account: AccountId, amount: int, about: str, *, kind: Kind = Kind.CREDIT, note: str = "", n: int = 0
) -> bool:
    """Book a payment, or with a negative amount a debit; faxes that wait for credit and can be paid now go on.

    False, and nothing is changed: it has been booked already (the same kind, `about` and `n`), or a debit is more than is
    available.
    """
    same = select(entry.c.id).where(entry.c.kind == kind.value, entry.c.about == about, entry.c.n == n)
    if t.db.execute(same).first() is not None:
        return False
    t.insert_new(purse, [{"account_id": account, "available": 0, "held": 0}], own="account_id")
    if not t.at_once.execute(_ADD, {"account": account, "amount": amount}).rowcount:
        return False
    _book(t, account, kind, amount, about, n, note)
    young = {fax for fax, _ in _unpaid(t.db, account, t.now - UNPAID)}
    for fax in affordable(t.db, account, young):
        steering.ask(t, fax, "release", "", "the account's new credit")
    return True


def of(db: Connection, account: AccountId) -> Credit:
    """The purse of an account; one that nothing was ever paid into is empty."""
    row = db.execute(select(purse).where(purse.c.account_id == account)).first()
    return Credit(available=row.available, held=row.held) if row else Credit()


def entries(db: Connection, account: AccountId, limit: int = 100, skip: int = 0) -> list[Entry]:
    """The ledger of an account, newest first."""
    found = select(entry).where(entry.c.account_id == account).order_by(entry.c.at.desc(), entry.c.id.desc())
    return [
        Entry(at=row.at, kind=Kind(row.kind), amount=row.amount, about=row.about, note=row.note)
        for row in db.execute(found.limit(limit).offset(skip))
    ]


def unpaid(db: Connection, account: AccountId) -> list[TransmissionId]:
    """Faxes of an account that wait for credit, oldest first."""
    return [fax for fax, _ in _unpaid(db, account, None)]


def affordable(db: Connection, account: AccountId, wanted: Collection[TransmissionId]) -> list[TransmissionId]:
    """Those of some faxes that wait for credit and for which there is enough now, oldest first."""
    left, paid = of(db, account).available, list[TransmissionId]()
    for fax, needed in _unpaid(db, account, None):
        if fax in wanted and needed <= left:
            left -= needed
            paid.append(fax)
    return paid


def imbalances(db: Connection) -> list[tuple[str, str]]:
    """What does not add up, with the account: its entries make what is available, its unfinished faxes what is held."""
    sums = defaultdict[str, dict[str, int]](dict)
    for account, what, amount in db.execute(_SUMS):  # one statement sees one moment, while others book
        sums[account][what] = int(amount)
    wrong = list[tuple[str, str]]()
    for account, found in sorted(sums.items()):
        available, booked = found.get("available", 0), found.get("booked", 0)
        held, unfinished = found.get("held", 0), found.get("unfinished", 0)
        if available < 0 or available != booked:
            wrong.append((account, f"{eur(available)} available, {eur(booked)} booked"))
        if held != unfinished:
            wrong.append((account, f"{eur(held)} held, {eur(unfinished)} for unfinished faxes"))
    return wrong


_SUMS = union_all(
    select(entry.c.account_id, literal("booked"), func.sum(entry.c.amount)).group_by(entry.c.account_id),
    select(transmission.c.account_id, literal("unfinished"), func.sum(transmission.c.held))
    .where(transmission.c.held.is_not(None), transmission.c.finished_at.is_(None))
    .group_by(transmission.c.account_id),
    select(purse.c.account_id, literal("available"), purse.c.available),
    select(purse.c.account_id, literal("held"), purse.c.held),
)


def _unpaid(db: Connection, account: AccountId, since: datetime | None) -> list[tuple[TransmissionId, int]]:
    """Held for want of our credit, not the carrier's: nothing is set aside for them. With what each needs."""
    of = transmission.c
    found = (
        select(of.id, of.price, of.pages)
        .where(of.account_id == account, of.state == TransmissionState.HELD.value, of.outcome == Outcome.NO_CREDIT.value)
        .where(of.price.is_not(None), of.attempts == 0)
        .order_by(of.accepted_at, of.id)
    )
    if since is not None:
        found = found.where(of.accepted_at >= since)
    return [(TransmissionId(row.id), row.price * row.pages) for row in db.execute(found)]


def _close(t: Transaction, account: AccountId, held: int, back: int) -> None:
    done = t.at_once.execute(_CLOSE, {"account": account, "set_aside": held, "back": back})
    if not done.rowcount:
        raise RuntimeError(f"{account} has no purse, but a fax of it has money in it")


def _book(t: Transaction, account: AccountId, kind: Kind, amount: int, about: str, n: int, note: str) -> None:
    values = {"id": new_id("le"), "account_id": account, "at": t.now, "kind": kind.value}
    t.add(entry, {**values, "amount": amount, "about": about, "n": n, "note": note})

"""Verbs of mailboxes that are read: who reads one, how far its folders are dealt with, what became of each mail.

One node reads a mailbox at a time, by a lease with a token; what is written about its mails names the token, and is refused
when another node has taken over. A mail is known by its number in the folder, and by its content where numbers have changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from gateway.errors import LeaseLost, MailTaken
from gateway.spool import outbox
from gateway.spool.commit import Transaction
from gateway.spool.schema import imap_folder, imap_mail, imap_mailbox

TAKEN, AGAIN, REFUSED = "taken", "again", "refused"
NEW, READING, FAILING = "new", "reading", "failing"
_FORGET = 500  # rows in one transaction


@dataclass(frozen=True, slots=True)
class Lease:
    """A node's claim on a mailbox."""

    mailbox: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a folder is dealt with."""

    validity: int
    next_uid: int
    found_uid: int
    """Mails below were there when the folder was found, or found to be numbered anew."""
    since: datetime
    """Mails that arrived before are left alone, unless their number says that they are new."""
    left_alone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail, and what became of it."""

    folder: str
    validity: int
    uid: int
    key: str = ""
    """By what it is known under another number, once it is taken; "" = it was not read."""
    state: str = TAKEN
    reason: str = ""
    notified: bool = False
    """A disposition notification was promised to its sender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a mail that was dealt with."""

    state: str
    notified: bool = False
    marked: bool
    """The mailbox shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What the sender of a refused mail is told."""

    recipient: str
    subject: str
    text: str


# --- who reads it


def claim(t: Transaction, lease: Lease, seconds: float) -> bool:
    """Take or keep a mailbox for so long; False: another node has it."""
    row = {"name": lease.mailbox, "token": lease.token, "node": t.node, "until": t.now + timedelta(seconds=seconds)}
    of = imap_mailbox.c
    free = of.token.is_(None) | (of.token == lease.token) | (of.until < t.now)
    if t.db.execute(update(imap_mailbox).where(of.name == lease.mailbox, free).values(row)).rowcount:
        return True
    return bool(t.insert_new(imap_mailbox, [{**row, "state": NEW, "detail": "", "since": t.now}], own="token"))


def release(t: Transaction, lease: Lease) -> None:
    """Let others read it."""
    of = imap_mailbox.c
    t.db.execute(update(imap_mailbox).where(of.name == lease.mailbox, of.token == lease.token).values(token=None))


def release_all(t: Transaction) -> None:
    """Of a spool that one process has alone: what its predecessor had."""
    t.db.execute(update(imap_mailbox).values(token=None))


def _hold(t: Transaction, lease: Lease) -> None:
    """Raises LeaseLost. The row stays locked: nobody takes over before this transaction has ended."""
    of = imap_mailbox.c
    row = t.db.execute(select(of.token, of.until).where(of.name == lease.mailbox).with_for_update()).one_or_none()
    if row is None or row.token != lease.token or row.until < t.now:
        raise LeaseLost


def say(t: Transaction, lease: Lease, state: str, detail: str) -> datetime:
    """How it goes; since when it goes so. Raises LeaseLost."""
    _hold(t, lease)
    of = imap_mailbox.c
    now = t.db.execute(select(of.state, of.since).where(of.name == lease.mailbox)).one()
    since: datetime = now.since if now.state == state else t.now
    t.db.execute(update(imap_mailbox).where(of.name == lease.mailbox).values(state=state, detail=detail, since=since))
    return since


# --- how far its folders are dealt with


def places(db: Connection, mailbox: str) -> dict[str, Place]:
    """Its folders that were looked at."""
    names = Place.__dataclass_fields__
    rows = db.execute(select(imap_folder).where(imap_folder.c.mailbox == mailbox))
    return {row.folder: Place(**{name: getattr(row, name) for name in names}) for row in rows}


def put(t: Transaction, lease: Lease, folder: str, now: Place) -> None:
    """Say how far a folder is dealt with. Raises LeaseLost."""
    _hold(t, lease)
    of, values = imap_folder.c, {name: getattr(now, name) for name in Place.__dataclass_fields__}
    here = and_(of.mailbox == lease.mailbox, of.folder == folder)
    if not t.db.execute(update(imap_folder).where(here).values(values)).rowcount:
        t.add(imap_folder, {"mailbox": lease.mailbox, "folder": folder, **values})


def known(db: Connection, mailbox: str, folder: str, now: Place) -> dict[int, Known]:
    """Mails from `next_uid` on that were dealt with."""
    of = imap_mail.c
    here = _in(mailbox, folder, now.validity) & (of.uid >= now.next_uid)
    rows = db.execute(select(of.uid, of.state, of.notified, of.marked).where(here))
    return {row.uid: Known(state=row.state, notified=row.notified, marked=row.marked) for row in rows}


# --- what became of its mails


def take(t: Transaction, lease: Lease, mail: Mail) -> None:
    """Remember a mail, once: with its faxes in the same transaction, both or neither. Raises MailTaken, LeaseLost."""
    _hold(t, lease)
    if not _insert(t, lease.mailbox, mail):
        raise MailTaken


def settle(t: Transaction, lease: Lease, mail: Mail, notice: Notice | None = None) -> bool:
    """Remember a mail of which there is no fax, or none again; its sender is told, where there is a notice. False: it was
    remembered before. Raises LeaseLost."""
    _hold(t, lease)
    if not _insert(t, lease.mailbox, mail):
        return False
    if notice is not None:
        told = about(lease.mailbox, mail)
        outbox.owe(t, kind=outbox.REFUSAL, about=told, recipient=notice.recipient, subject=notice.subject, text=notice.text)
    return True


def is_known(db: Connection, mailbox: str, key: str) -> bool:
    """Whether a mail with this content was dealt with, under whatever number."""
    of = imap_mail.c
    return db.scalar(select(of.uid).where(of.mailbox == mailbox, of.key == key).limit(1)) is not None


def mark(t: Transaction, lease: Lease, folder: str, validity: int, uids: Collection[int]) -> None:
    """The mailbox shows what became of these."""
    here = _in(lease.mailbox, folder, validity) & imap_mail.c.uid.in_(list(uids))
    t.db.execute(update(imap_mail).where(here).values(marked=True))


def overview(db: Connection) -> list[dict[str, Any]]:
    """Every mailbox that was ever read, with its folders and how many of its mails became what."""
    found = [dict(row._mapping) for row in db.execute(select(imap_mailbox).order_by(imap_mailbox.c.name))]
    of = imap_mail.c
    counted = db.execute(select(of.mailbox, of.state, func.count(), func.max(of.at)).group_by(of.mailbox, of.state)).all()
    unmarked = db.execute(select(of.mailbox, func.count()).where(~of.marked).group_by(of.mailbox)).all()
    folders = [dict(row._mapping) for row in db.execute(select(imap_folder).order_by(imap_folder.c.folder))]
    for one in found:
        one["read_by"] = one.pop("node") if one.pop("token") else ""
        one["mails"] = {state: count for mailbox, state, count, _ in counted if mailbox == one["name"]}
        one["last"] = max((at for mailbox, _, _, at in counted if mailbox == one["name"]), default=None)
        one["to_mark"] = sum(count for mailbox, count in unmarked if mailbox == one["name"])
        one["folders"] = [folder for folder in folders if folder["mailbox"] == one["name"]]
    return found


def forget(t: Transaction, before: datetime) -> int:
    """Drop what was dealt with before a time, some at a time; how many."""
    of = imap_mail.c
    rows = t.db.execute(
        select(of.mailbox, of.folder, of.validity, of.uid).where(of.at < before, of.marked).limit(_FORGET)
    ).all()
    for row in rows:
        t.db.execute(delete(imap_mail).where(_in(row.mailbox, row.folder, row.validity), of.uid == row.uid))
    return len(rows)


def about(mailbox: str, mail: Mail) -> str:
    """What a notice or an alarm about a mail is known by."""
    place = f"{mailbox}\0{mail.folder}\0{mail.validity}\0{mail.uid}"
    return f"imap:{hashlib.sha256(place.encode()).hexdigest()[:32]}"


def _in(mailbox: str, folder: str, validity: int) -> ColumnElement[bool]:
    of = imap_mail.c
    return and_(of.mailbox == mailbox, of.folder == folder, of.validity == validity)


def _insert(t: Transaction, mailbox: str, mail: Mail) -> bool:
    of = imap_mail.c
    key = mail.key if mail.state == TAKEN else ""  # one that was refused may be put back, and is looked at anew
    here = _in(mailbox, mail.folder, mail.validity) & (of.uid == mail.uid)
    same = here | ((of.mailbox == mailbox) & (of.key == key)) if key else here
    if t.db.scalar(select(of.uid).where(same).limit(1)) is not None:  # the mailbox's row is locked: nobody writes meanwhile
        return False
    values = {"folder": mail.folder, "validity": mail.validity, "uid": mail.uid, "notified": mail.notified}
    values |= {"state": mail.state, "reason": mail.reason}
    t.add(imap_mail, {"mailbox": mailbox, "key": key or None, "marked": False, "at": t.now, **values})
    return True

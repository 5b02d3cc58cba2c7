"""Verbs of the PamFax door: sessions, the faxes that programs put together there, and what accounts say about their faxes.

A job is a JSON record and the documents it needs; they are named by rows, so that nobody takes them away meanwhile. What
nobody has touched for a day is dropped when somebody begins another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update

from gateway.fax import AccountId, CoverPage, Sha256, Transmission, TransmissionId, TransmissionState
from gateway.lifecycle import FINAL
from gateway.spool import rows, steps
from gateway.spool.commit import Transaction
from gateway.spool.schema import (
    discarded,
    inbound,
    pamfax_file,
    pamfax_job,
    pamfax_mark,
    pamfax_session,
    recipient,
    step,
    submission,
    transmission,
)

Body = dict[str, Any]  # JSON
T = TypeVar("T")
_KEPT = timedelta(days=1)
_MOST_NOTES = 100
_SOME = 20
_SPAM = 15  # marks of one sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A program that has signed in."""

    token: str
    """SHA-256 of what the program holds, hex."""
    account: AccountId
    application: str
    """The key it came with."""
    state: Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What an account said about a fax."""

    about: str
    kind: str
    n: int
    at: datetime
    text: str


def begin(t: Transaction, session: Session, lifetime: int) -> None:
    """A new session, that ends `lifetime` seconds after its last call. Those that are long over go."""
    t.db.execute(delete(pamfax_session).where(pamfax_session.c.used_at < t.now - _KEPT))
    t.db.execute(
        insert(pamfax_session),
        {
            "token": session.token,
            "account_id": session.account,
            "application": session.application,
            "used_at": t.now,
            "lifetime": lifetime,
            "state": json.dumps(session.state),
        },
    )


def use(t: Transaction, token: str) -> Session | None:
    """The session, if it has not ended; it goes on from now."""
    row = t.db.execute(select(pamfax_session).where(pamfax_session.c.token == token)).first()
    if row is None or row.used_at + timedelta(seconds=row.lifetime) <= t.now:
        return None
    t.db.execute(update(pamfax_session).where(pamfax_session.c.token == token).values(used_at=t.now))
    return Session(token=row.token, account=row.account_id, application=row.application, state=json.loads(row.state))


def change_session(t: Transaction, token: str, changes: Mapping[str, Any]) -> None:
    """Change some of what a session knows."""
    one = pamfax_session.c.token == token
    row = t.db.execute(select(pamfax_session.c.state).where(one).with_for_update()).first()
    if row is not None:
        t.db.execute(update(pamfax_session).where(one).values(state=json.dumps({**json.loads(row.state), **changes})))


def end(t: Transaction, token: str) -> bool:
    """It has signed out. False: it was gone already."""
    return t.db.execute(delete(pamfax_session).where(pamfax_session.c.token == token)).rowcount > 0


def end_all(t: Transaction, account: AccountId, *, but: str = "") -> None:
    """Its password has changed: everybody has to sign in again, but for one session."""
    of = pamfax_session.c
    t.db.execute(delete(pamfax_session).where(of.account_id == account, of.token != but))


def forget(t: Transaction, account: AccountId) -> None:
    """Sessions, jobs and marks of an account that is removed."""
    end_all(t, account)
    for one in list(t.db.scalars(select(pamfax_job.c.id).where(pamfax_job.c.account_id == account))):
        _drop(t, one)
    t.db.execute(delete(pamfax_mark).where(pamfax_mark.c.account_id == account))


def open_job(t: Transaction, token: str, account: AccountId, job: str, body: Body) -> None:
    """A new job, which becomes the session's; some of those that everybody has forgotten go."""
    old = select(pamfax_job.c.id).where(pamfax_job.c.changed_at < t.now - _KEPT).order_by(pamfax_job.c.changed_at)
    for one in list(t.db.scalars(old.limit(_SOME).with_for_update(skip_locked=True))):
        _drop(t, one)
    values = {"id": job, "account_id": account, "body": json.dumps(body), "changed_at": t.now}
    t.db.execute(insert(pamfax_job), values)
    change_session(t, token, {"job": job})


def job(db: Connection, identity: str, account: AccountId) -> Body | None:
    """One job of an account."""
    one = (pamfax_job.c.id == identity, pamfax_job.c.account_id == account)
    body = db.scalar(select(pamfax_job.c.body).where(*one))
    return None if body is None else dict(json.loads(body))


def change_job(
    t: Transaction, identity: str, change: Callable[[Body], T], documents: Mapping[str, Sha256] | None = None
) -> T | None:
    """What `change` does to the record, whoever changes it at the same time; its answer. None: there is no such job.

    documents  that it needs from now on, by ids of theirs; those of its ids that the record no longer has under
               `documents` are let go of
    """
    row = t.db.execute(select(pamfax_job.c.body).where(pamfax_job.c.id == identity).with_for_update()).first()
    if row is None:
        return None
    body = json.loads(row.body)
    answer = change(body)
    values = {"body": json.dumps(body), "changed_at": t.now}
    t.db.execute(update(pamfax_job).where(pamfax_job.c.id == identity).values(**values))
    for name, document in (documents or {}).items():
        t.db.execute(insert(pamfax_file), {"id": name, "job_id": identity, "document": document})
    _let_go(t, identity, body.get("documents", ()))
    return answer


def files(db: Connection, job: str) -> dict[str, Sha256]:
    """The documents of a job, by their ids."""
    found = db.execute(select(pamfax_file.c.id, pamfax_file.c.document).where(pamfax_file.c.job_id == job))
    return {row.id: Sha256(row.document) for row in found}


def mark(t: Transaction, account: AccountId, about: str, kind: str, text: str = "") -> bool:
    """Say something about a fax, once. False: it was said before."""
    if _marked(t.db, account, about, kind):
        return False
    _insert_mark(t, account, about, kind, 0, text)
    return True


def mark_all(t: Transaction, account: AccountId, about: Collection[str], kind: str) -> list[str]:
    """The same of many; those of which it was not said before."""
    values = {"account_id": account, "kind": kind, "n": 0, "at": t.now, "text": ""}
    fresh = sorted(set(about).difference(t.db.scalars(_said(account, kind))))
    for one in fresh:
        t.db.execute(insert(pamfax_mark), {**values, "about": one})
    return fresh


def sort_out(t: Transaction, account: AccountId, fax: str, caller: str) -> None:
    """A fax that arrives from a number whose faxes the account has so often called spam is in its trash from the start. It
    is fetched, kept and mailed as ever."""
    of, marked = inbound.c, pamfax_mark.c
    mine = (marked.account_id == account, marked.kind == "spam", marked.about == of.id, of.caller == caller)
    if caller and int(t.db.scalar(select(func.count()).select_from(pamfax_mark).where(*mine)) or 0) >= _SPAM:
        mark(t, account, fax, "trash")


def unmark(t: Transaction, account: AccountId, about: str, kind: str) -> bool:
    """Take it back. False: it was not said."""
    of = pamfax_mark.c
    return t.db.execute(delete(pamfax_mark).where(of.account_id == account, of.about == about, of.kind == kind)).rowcount > 0


def note(t: Transaction, account: AccountId, about: str, text: str) -> bool:
    """Add a note to a fax. False: it has a hundred."""
    earlier = _marked(t.db, account, about, "note")
    if len(earlier) >= _MOST_NOTES:
        return False
    _insert_mark(t, account, about, "note", max(earlier, default=0) + 1, text)
    return True


def marks(db: Connection, account: AccountId, *, kinds: Sequence[str] = (), about: Sequence[str] = ()) -> list[Mark]:
    """What an account said, oldest first: of some kinds, about some faxes; "" or nothing = all."""
    of = pamfax_mark.c
    query = select(pamfax_mark).where(of.account_id == account).order_by(of.at, of.n)
    if kinds:
        query = query.where(of.kind.in_(kinds))
    if about:
        query = query.where(of.about.in_(about))
    return [Mark(about=row.about, kind=row.kind, n=row.n, at=row.at, text=row.text) for row in db.execute(query)]


def sent(
    db: Connection, account: AccountId, states: Collection[TransmissionState], *, limit: int, offset: int = 0
) -> list[Transmission]:
    """An account's faxes in some states that are not in its trash, newest first."""
    of = transmission.c
    query = (
        select(transmission)
        .where(of.account_id == account, of.state.in_([state.value for state in states]), of.id.not_in(_gone(account)))
        .order_by(of.accepted_at.desc(), of.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return [rows.transmission(row) for row in db.execute(query)]


def sent_count(db: Connection, account: AccountId, states: Collection[TransmissionState]) -> int:
    """How many `sent` would tell."""
    of = transmission.c
    mine = (of.account_id == account, of.state.in_([state.value for state in states]), of.id.not_in(_gone(account)))
    return int(db.scalar(select(func.count()).where(*mine)) or 0)


def received_count(db: Connection, account: AccountId, *, unread: bool = False) -> int:
    """How many `received` would tell; those that nobody has read."""
    of = inbound.c
    mine = [of.account_id == account, of.id.not_in(_gone(account))]
    if unread:
        mine.append(of.id.not_in(_said(account, "read")))
    return int(db.scalar(select(func.count()).where(*mine)) or 0)


def between(db: Connection, account: AccountId, first: datetime, last: datetime, *, sent: bool, received: bool) -> list[str]:
    """Ids of an account's faxes of a time, `last` not with it: those that have ended, and those that arrived."""
    found = list[str]()
    if sent:
        of, ended = transmission.c, [state.value for state in FINAL]
        mine = (of.account_id == account, of.state.in_(ended), of.accepted_at >= first, of.accepted_at < last)
        found += db.scalars(select(of.id).where(*mine))
    if received:
        to = inbound.c
        found += db.scalars(select(to.id).where(to.account_id == account, to.received_at >= first, to.received_at < last))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the sender of a fax said of it."""

    name: str
    """Of its recipient; "" = nothing."""
    cover: CoverPage


def said_of(db: Connection, faxes: Collection[str]) -> dict[str, Said]:
    """What was said of each of some faxes."""
    of = recipient.c
    found = db.execute(
        select(of.transmission_id, of.cover_name, submission.c.cover)
        .where(of.transmission_id.in_(list(faxes)), of.submission_id == submission.c.id)
        .order_by(of.n.desc())
    )
    return {row.transmission_id: Said(name=row.cover_name, cover=rows.cover(row.cover)) for row in found}


def received(db: Connection, account: AccountId, *, limit: int, offset: int = 0) -> list[Any]:
    """What arrived for an account and is not in its trash, newest first: `InboundFax`es."""
    of = inbound.c
    query = (
        select(inbound)
        .where(of.account_id == account, of.id.not_in(_gone(account)))
        .order_by(of.announced_at.desc(), of.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return [rows.inbound(row) for row in db.execute(query)]


def group(db: Connection, transmission_id: TransmissionId) -> list[Transmission]:
    """A fax and those that went out with it, in their order."""
    of = transmission.c
    same = select(of.submission_id).where(of.id == transmission_id).scalar_subquery()
    return [rows.transmission(row) for row in db.execute(select(transmission).where(of.submission_id == same).order_by(of.id))]


def changed(db: Connection, account: AccountId, since: datetime, limit: int) -> list[Transmission]:
    """An account's faxes that changed at a time or later, those that changed first first.

    Another node may still be writing one that changed before those that are told.
    """
    of = transmission.c
    query = (
        select(transmission).where(of.account_id == account, of.updated_at >= since).order_by(of.updated_at, of.id).limit(limit)
    )
    return [rows.transmission(row) for row in db.execute(query)]


def delay(t: Transaction, fax: TransmissionId, until: datetime) -> bool:
    """A fax that waits for its time goes out at another one. False: it does not wait for one any more."""
    of = transmission.c
    waiting = (of.id == fax, of.state == TransmissionState.ACCEPTED.value, of.due_at > t.now)
    if not t.db.execute(update(transmission).where(*waiting).values(due_at=until, updated_at=t.now)).rowcount:
        return False
    t.db.execute(update(step).where(step.c.subject == fax, step.c.token.is_(None)).values(due_at=until))
    t.woken.add(steps.CONVERT)
    return True


def _gone(account: AccountId) -> Any:
    """Ids of what is in the trash, or out of it for good. Any: a subquery."""
    of = pamfax_mark.c
    return select(of.about).where(of.account_id == account, of.kind.in_(("trash", "removed")))


def _said(account: AccountId, kind: str) -> Any:
    """Ids of what an account said this of. Any: a subquery."""
    of = pamfax_mark.c
    return select(of.about).where(of.account_id == account, of.kind == kind)


def _marked(db: Connection, account: AccountId, about: str, kind: str) -> list[int]:
    of = pamfax_mark.c
    return list(db.scalars(select(of.n).where(of.account_id == account, of.about == about, of.kind == kind)))


def _insert_mark(t: Transaction, account: AccountId, about: str, kind: str, n: int, text: str) -> None:
    values = {"account_id": account, "about": about, "kind": kind, "n": n, "at": t.now, "text": text}
    t.db.execute(insert(pamfax_mark), values)


def _drop(t: Transaction, identity: str) -> None:
    t.db.execute(delete(pamfax_job).where(pamfax_job.c.id == identity))
    _let_go(t, identity, ())


def _let_go(t: Transaction, identity: str, kept: Collection[str]) -> None:
    """The documents of a job that it no longer needs leave the shelf soon."""
    of = pamfax_file.c
    for row in t.db.execute(select(of.id, of.document).where(of.job_id == identity)).all():
        if row.id not in kept:
            t.db.execute(delete(pamfax_file).where(of.id == row.id))
            t.insert_new(discarded, [{"sha256": row.document, "at": t.now}], own="sha256")

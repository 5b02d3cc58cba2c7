"""Verbs of the outbox: mails and callbacks we owe. A row is marked sent only after the mail server's 250, or the 200 of the
program that is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from gateway.fax import AccountId, OutboxId, Sha256, new_id
from gateway.spool import schema, steps
from gateway.spool.commit import Transaction
from gateway.spool.steps import Claim

RESULT, HELD, RECEIVED, ALARM, FORWARD = "result", "held", "received", "alarm", "forward"
#: What an account writes itself.
MESSAGE = "message"
#: What a program's account may want instead of a result: a report by mail, and a call of its URL.
CONFIRMATION, CALLBACK = "confirm", "callback"
#: Somebody is asked to agree to a fax before it is sent.
APPROVAL = "approval"
#: The sender is shown the pages of a fax before it is sent.
PROOF = "proof"
#: What came of a command that was asked by mail.
ANSWER = "answer"
WAITING, SENT, SILENT, GIVEN_UP = "waiting", "sent", "silent", "given up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One mail or callback we owe."""

    id: OutboxId
    kind: str
    about: str
    """Id of the transmission, inbound fax or mail it is about; a `#n` may follow."""
    recipient: str
    """"" where the composer decides (the sender, the operator). Of a callback: the account."""
    subject: str
    text: str
    document: Sha256 | None
    state: str
    created_at: datetime
    failures: int = 0
    """How often a callback was not taken."""
    tried_at: datetime | None = None
    """When a callback was tried first."""

    @property
    def about_id(self) -> str:
        return self.about.split("#", 1)[0]


def owe(
    t: Transaction,
    *,
    kind: str,
    about: str,
    recipient: str = "",
    subject: str = "",
    text: str = "",
    document: Sha256 | None = None,
    of: Claim | None = None,
) -> None:
    """Owe a mail or a callback, once for each (kind, about, recipient). It is due now, in the turn of the fax it is `of`."""
    values = _row(t, kind=kind, about=about, recipient=recipient, subject=subject, text=text, document=document)
    if not t.insert_new(schema.outbox, [values]):
        return
    if kind != CALLBACK or (of and of.account):
        steps.add(t, str(values["id"]), *way(kind), like=of)
    else:
        band = steps.band(steps.waiting(t, recipient))
        steps.add(t, str(values["id"]), *way(kind), account=recipient, band=band)


def way(kind: str) -> tuple[str, str]:
    """Kind and lane of the step that does what a row of this kind owes."""
    return ("call", steps.CALLBACK) if kind == CALLBACK else ("tell", steps.MAIL)


def owe_callback(t: Transaction, account: AccountId, about: str, of: Claim) -> None:
    """Owe an account a call of its URL about a fax."""
    owe(t, kind=CALLBACK, about=about, recipient=account, of=of)


def owe_result(t: Transaction, claim: Claim) -> None:
    """Owe the report of a fax that has ended in this transaction: as it ends once, nobody owes it yet."""
    values = _row(t, kind=RESULT, about=claim.subject)
    t.add(schema.outbox, values)
    steps.add(t, str(values["id"]), "tell", steps.MAIL, like=claim)


def _row(
    t: Transaction,
    *,
    kind: str,
    about: str,
    recipient: str = "",
    subject: str = "",
    text: str = "",
    document: Sha256 | None = None,
) -> dict[str, Any]:
    return {
        "id": new_id("out"),
        "kind": kind,
        "about": about,
        "recipient": recipient,
        "subject": subject,
        "text": text,
        "document": document,
        "state": WAITING,
        "answer": "",
        "created_at": t.now,
    }


def alarm(t: Transaction, *, about: str, what: str, text: str) -> None:
    """Tell the operator."""
    owe(t, kind=ALARM, about=about, subject=what, text=text)


def get(db: Connection, outbox: str) -> Owed | None:
    """One row."""
    return several(db, [outbox]).get(outbox)


def several(db: Connection, outbox: Sequence[str]) -> dict[str, Owed]:
    """Those of the rows that there are, by id."""
    names = [name for name in Owed.__dataclass_fields__ if name != "id"]
    found = db.execute(_SEVERAL, {"wanted": outbox}).all()
    return {row.id: Owed(id=OutboxId(row.id), **{name: getattr(row, name) for name in names}) for row in found}


_SEVERAL = select(schema.outbox).where(schema.among(schema.outbox.c.id, "wanted"))


def settled(t: Transaction, claim: Claim, state: str, answer: str) -> bool:
    """waiting -> sent, silent or given up, with the mail server's answer; False: the claim is lost."""
    if not steps.done(t, claim):
        return False
    table = schema.outbox
    values = {"state": state, "answer": answer, "sent_at": t.now if state == SENT else None}
    t.change(table, {"id": claim.subject, "state": WAITING}, values)
    return True


def deferred(t: Transaction, claim: Claim, answer: str, due_at: datetime) -> bool:
    """Not taken now: try again at `due_at`."""
    t.db.execute(update(schema.outbox).where(schema.outbox.c.id == claim.subject).values(answer=answer))
    return steps.put_back(t, claim, due_at=due_at)


def not_taken(t: Transaction, claim: Claim, answer: str, tried_at: datetime, due_at: datetime) -> bool:
    """A callback was not taken: try again at `due_at`. False: the claim is lost."""
    if not steps.holds(t, claim):
        return False
    table = schema.outbox
    values = {
        "answer": answer,
        "failures": table.c.failures + 1,
        "tried_at": func.coalesce(table.c.tried_at, schema.moment(tried_at)),
    }
    t.db.execute(update(table).where(table.c.id == claim.subject).values(**values))
    return steps.put_back(t, claim, due_at=due_at)


def forget_given_up(t: Transaction, about: str) -> None:
    """What was given up about a received fax, and the alarm that was sent: so that they can be owed anew."""
    of = schema.outbox.c
    given_up = of.kind.in_([RECEIVED, CALLBACK]) & (of.state == GIVEN_UP)
    t.db.execute(delete(schema.outbox).where(of.about == about, given_up | ((of.kind == ALARM) & (of.state != WAITING))))


def states(db: Connection, kind: str, about: str) -> list[str]:
    """Of every mail of this kind about one fax."""
    table = schema.outbox
    return list(db.scalars(select(table.c.state).where(table.c.kind == kind, table.c.about == about)))

"""Verbs of the outbox: mails we owe. A row is marked sent only after the mail server's 250."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from gateway.fax import OutboxId, Sha256, new_id
from gateway.spool import schema, steps
from gateway.spool.commit import Transaction
from gateway.spool.steps import Claim

RESULT, HELD, RECEIVED, ALARM, FORWARD = "result", "held", "received", "alarm", "forward"
WAITING, SENT, SILENT, GIVEN_UP = "waiting", "sent", "silent", "given up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One mail we owe."""

    id: OutboxId
    kind: str
    about: str
    """Id of the transmission, inbound fax or mail it is about; a `#n` may follow."""
    recipient: str
    """"" where the composer decides (the sender, the operator)."""
    subject: str
    text: str
    document: Sha256 | None
    state: str
    created_at: datetime

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
    """Owe a mail, once for each (kind, about, recipient); it is due now, and has the turn of the fax it is `of`."""
    values = _row(t, kind=kind, about=about, recipient=recipient, subject=subject, text=text, document=document)
    if t.insert_new(schema.outbox, [values]):
        steps.add(t, str(values["id"]), "tell", steps.MAIL, like=of)


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


def unsent(db: Connection, kind: str, about: str) -> int:
    """How many mails of this kind are still owed about one fax."""
    table = schema.outbox
    rows = db.execute(select(table.c.id).where(table.c.kind == kind, table.c.about == about, table.c.state == WAITING))
    return len(rows.all())

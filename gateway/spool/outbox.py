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
#: `text` of a received fax's mail that goes without the fax, because a mail server did not take it so large.
TOO_LARGE = "too large"
#: What an account writes itself.
MESSAGE = "message"
#: What a program's account may want instead of a result: a report by mail, and a call of its URL.
CONFIRMATION, CALLBACK = "confirm", "callback"
#: A copy of a received fax in the archive.
ARCHIVE = "archive"
#: Somebody is asked to agree to a fax before it is sent.
APPROVAL = "approval"
#: A fax has not ended yet, and its sender may wonder; the faxes of a submission are reported in one mail.
DELAYED, DIGEST = "delayed", "digest"
#: Whoever wrote a mail that was found in a mailbox is told that it is not faxed.
REFUSAL = "refusal"
#: The sender is shown the pages of a fax before it is sent.
PROOF = "proof"
#: What came of a command that was asked by mail.
ANSWER = "answer"
WAITING, SENT, SILENT, GIVEN_UP = "waiting", "sent", "silent", "given up"
#: A result that a digest will tell.
GATHERED = "gathered"
#: What the history of a fax says when one of its mails, which follows by its id, is owed anew.
AGAIN = "owed again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One mail or callback we owe."""

    id: OutboxId
    kind: str
    about: str
    """Id of the transmission, submission (a digest), inbound fax or mail it is about; a `#n` may follow."""
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
    answer: str = ""
    """What was said to the last try."""
    returned: str = ""
    """What was said when it came back after all; "": it did not."""
    sent_at: datetime | None = None

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
    if kind == ARCHIVE:
        return ("archive", steps.ARCHIVE)
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


def told(t: Transaction, claim: Claim, owed: Owed, state: str, answer: str, *, message_id: str = "", mail: str = "") -> bool:
    """The same for a mail, with its Message-ID and the SHA-256 of its octets where it was sent; said in the fax's history."""
    if not steps.done(t, claim):
        return False
    values = {"state": state, "answer": answer, "sent_at": t.now if state == SENT else None}
    t.change(schema.outbox, {"id": claim.subject, "state": WAITING}, {**values, "message_id": message_id, "mail": mail})
    if owed.about_id.startswith(("tx_", "in_")):
        t.note(owed.about_id, "told", f"{owed.kind}: {state}; {answer}")
    return True


def deferred(t: Transaction, claim: Claim, answer: str, due_at: datetime) -> bool:
    """Not taken now: try again at `due_at`."""
    t.db.execute(update(schema.outbox).where(schema.outbox.c.id == claim.subject).values(answer=answer))
    return steps.put_back(t, claim, due_at=due_at)


def without_document(t: Transaction, claim: Claim, answer: str) -> bool:
    """The mail about a received fax was too large: it goes again, at once, without the fax."""
    if not steps.holds(t, claim):
        return False
    table = schema.outbox
    row = t.db.execute(
        update(table)
        .where(table.c.id == claim.subject)
        .values(answer=answer, text=TOO_LARGE)
        .returning(table.c.about, table.c.recipient)
    ).one()
    t.note(row.about, "too large", f"{row.recipient}: {answer}")
    return steps.put_back(t, claim)


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


def came_back(t: Transaction, outbox: OutboxId, words: str) -> bool:
    """A mail was given back after a server had taken it, as `words` say. False: that is known."""
    table = schema.outbox
    new = (table.c.id == outbox, table.c.returned == "")
    return t.db.execute(update(table).where(*new).values(returned=words)).rowcount == 1


def again(t: Transaction, outbox: OutboxId) -> bool:
    """A mail that was given up, or came back, is owed anew; one that waits is tried now. False: neither.

    What the operator was told about it is forgotten, so that it is told anew.
    """
    table = schema.outbox
    of = table.c
    failed = (of.state == GIVEN_UP) | ((of.state == SENT) & (of.returned != ""))
    values = {"state": WAITING, "returned": "", "sent_at": None, "created_at": t.now}
    if not t.db.execute(update(table).where(of.id == outbox, of.kind != CALLBACK, failed).values(**values)).rowcount:
        waits = t.db.scalar(select(of.id).where(of.id == outbox, of.kind != CALLBACK, of.state == WAITING))
        return waits is not None and steps.nudge(t, outbox)
    fax = t.db.scalar(select(of.about).where(of.id == outbox)) or ""
    if fax.startswith(("tx_", "in_")):
        t.note(fax.split("#", 1)[0], AGAIN, outbox)
    about = of.about.in_([outbox, f"{outbox}#back"])
    t.db.execute(delete(table).where(of.kind == ALARM, of.state != WAITING, about))
    steps.add(t, outbox, *way(t.db.scalar(select(of.kind).where(of.id == outbox)) or RESULT))
    return True


def mails(db: Connection, *, limit: int = 1000) -> list[Owed]:
    """Those that are on their way or have not arrived, oldest first."""
    of = schema.outbox.c
    wanted = of.state.in_([WAITING, GIVEN_UP]) | (of.returned != "")
    found = db.scalars(select(of.id).where(of.kind != CALLBACK, wanted).order_by(of.created_at, of.id).limit(limit)).all()
    known = several(db, found)
    return [known[one] for one in found]


def about(db: Connection, fax: str) -> list[Owed]:
    """Every mail about a fax, oldest first."""
    of = schema.outbox.c
    mine = (of.about == fax) | of.about.startswith(f"{fax}#", autoescape=True)
    found = db.scalars(select(of.id).where(of.kind != CALLBACK, mine).order_by(of.created_at, of.id)).all()
    known = several(db, found)
    return [known[one] for one in found]


def waiting(db: Connection) -> tuple[int, datetime | None]:
    """How many mails wait to be handed over, and since when the oldest does."""
    lane = schema.step.c.lane == steps.MAIL
    row = db.execute(select(func.count(), func.min(schema.step.c.age)).where(lane)).one()
    return row[0], row[1]


def find(db: Connection, beginning: str) -> list[str]:
    """Ids of mails that begin like this. At most ten."""
    of = schema.outbox.c
    mine = (of.id.startswith(beginning, autoescape=True), of.kind != CALLBACK)
    return list(db.scalars(select(of.id).where(*mine).order_by(of.id).limit(10)))


def states(db: Connection, kind: str, about: str) -> list[str]:
    """Of every mail of this kind about one fax."""
    table = schema.outbox
    return list(db.scalars(select(table.c.state).where(table.c.kind == kind, table.c.about == about)))

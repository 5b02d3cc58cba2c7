"""Verbs of what was asked by mail: each mail is known when it is handed in again, and what may be done once is.

A command is stored in the transaction that does what it asks, with the answer that is owed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.fax import TransmissionId, new_id
from gateway.spool import outbox, schema
from gateway.spool.commit import Transaction

_table = schema.command
_SHORT = 10  # digits by which the mails about one fax are told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What one mail asked."""

    transmission: TransmissionId
    mail: str
    """What makes the mail recognisable (SHA-256, hex)."""
    once: str = ""
    """What makes the command recognisable that may be done once; "" = it may be repeated."""
    words: str
    """e.g. "RESEND 3-5"; "" = none that is known."""
    asked_by: str
    message_id: str
    """Of the mail; "" = it had none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A command that was stored."""

    words: str
    message_id: str
    wish: str
    """The wish that it made; "" = the answer was known at once."""
    answer: str


class Repeated(Exception):
    """The same mail, or the same command, was here before; nothing is done."""

    def __init__(self, earlier: str | None) -> None:
        """`earlier`: what came of the command; None: it is the same mail."""
        super().__init__(earlier)
        self.earlier = earlier


def take(t: Transaction, command: Command, *, wish: str = "", answer: str = "") -> None:
    """Store a command that is done in this transaction, and owe its answer. Raises Repeated: nothing of it may be done."""
    values = {
        "id": new_id("cmd"),
        "mail": command.mail,
        "once": command.once or None,
        "transmission_id": command.transmission,
        "words": command.words,
        "asked_by": command.asked_by,
        "message_id": command.message_id,
        "wish": wish or None,
        "answer": answer,
        "at": t.now,
    }
    if not t.insert_new(_table, [values]):
        if t.db.scalar(select(_table.c.id).where(_table.c.mail == command.mail)) is not None:
            raise Repeated(None)
        earlier = t.db.scalar(select(_table.c.answer).where(_table.c.once == command.once))
        raise Repeated(str(earlier or ""))
    t.note(command.transmission, "asked by mail", f"{command.words or 'nothing that is known'} by {command.asked_by}")
    outbox.owe(t, kind=outbox.ANSWER, about=f"{command.transmission}#{command.mail[:_SHORT]}", recipient=command.asked_by)


def of(db: Connection, about: str) -> Asked | None:
    """The command that an answer is owed for (`about` of the outbox)."""
    fax, _, mail = about.partition("#")
    row = db.execute(select(_table).where(_table.c.transmission_id == fax, _table.c.mail.startswith(mail))).first()
    if row is None:
        return None
    return Asked(words=row.words, message_id=row.message_id, wish=row.wish or "", answer=row.answer)

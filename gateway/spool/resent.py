"""Verbs of faxes whose pages are those of an earlier one, as they were sent: kept until they are made."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update

from gateway.errors import NotAdmitted
from gateway.fax import Sha256, Submission, TransmissionId
from gateway.spool import schema, submissions
from gateway.spool.commit import Transaction
from gateway.spool.submissions import Call

_table = schema.again
_MADE = delete(_table).where(_table.c.transmission_id == bindparam("of"))


class Pages(NamedTuple):
    """Some pages of a document."""

    document: Sha256
    first: int
    """From 1."""
    last: int


def send(
    t: Transaction, submission: Submission, call: Call, old: TransmissionId, pages: tuple[int, int] | None
) -> TransmissionId:
    """A new transmission with pages of an earlier one, all of them where `pages` is None. Raises NotAdmitted: they are not
    here any more, or have no such pages."""
    of = schema.transmission.c
    row = t.db.execute(select(of.document, of.pages).where(of.id == old).with_for_update()).first()
    if row is None or not row.document:
        raise NotAdmitted("Its pages are not here any more: the mail has to be sent anew.")
    first, last = pages or (1, row.pages)
    if last > row.pages:
        raise NotAdmitted(f"It has {row.pages} page{'s' * (row.pages != 1)}, so {first}-{last} cannot be sent again.")
    fresh = submissions.again(t, submission, call)
    t.add(_table, {"transmission_id": fresh, "document": row.document, "first": first, "last": last})
    t.db.execute(update(schema.transmission).where(of.id == fresh).values(pages=last - first + 1))
    t.note(fresh, "pages", f"{first}-{last} of {old}")
    return fresh


def of(db: Connection, transmission: TransmissionId) -> Pages | None:
    """What a fax is made of; None: of its mail."""
    row = db.execute(select(_table).where(_table.c.transmission_id == transmission)).first()
    return Pages(Sha256(row.document), row.first, row.last) if row else None


def made(t: Transaction, transmission: TransmissionId) -> None:
    """Its pages are its own now."""
    t.put_off(_MADE, {"of": transmission}, sure=False)

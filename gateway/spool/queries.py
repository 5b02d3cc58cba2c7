"""Reading: what one fax is, and pages of many. No query here changes anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, tuple_, union_all

from gateway.fax import Attempt, InboundFax, Recipient, Submission, Transmission, TransmissionId, TransmissionState
from gateway.lifecycle import FINAL, OPEN_ATTEMPT
from gateway.spool import rows, schema, steering
from gateway.spool.steering import Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything about one transmission."""

    transmission: Transmission
    submission: Submission
    recipients: tuple[Recipient, ...]
    attempts: tuple[Attempt, ...]
    wishes: tuple[Wish, ...] = ()
    """What people asked for and nobody has answered yet, oldest first."""

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that is opening, submitted or uncertain."""
        return next((attempt for attempt in self.attempts if attempt.state in OPEN_ATTEMPT), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a fax's history."""

    at: datetime
    node: str
    what: str
    detail: str


def case(db: Connection, transmission: TransmissionId) -> Case | None:
    """One transmission with its submission, recipients, attempts and wishes."""
    return cases(db, [transmission]).get(transmission)


def cases(db: Connection, transmissions: Sequence[str]) -> dict[str, Case]:
    """Those of the transmissions that there are, in five statements however many they are."""
    found = {row.id: row for row in db.execute(_CASES, {"wanted": transmissions}).all()}
    wanted = {"wanted": list(found)}
    sources = {"wanted": [row.submission_id for row in found.values()]}
    submitted = {row.id: rows.submission(row) for row in db.execute(_SUBMISSIONS, sources).all()}
    recipients, attempts = defaultdict[str, list[Recipient]](list), defaultdict[str, list[Attempt]](list)
    for row in db.execute(_RECIPIENTS, wanted).all():
        recipients[row.transmission_id].append(rows.recipient(row))
    for row in db.execute(_ATTEMPTS, wanted).all():
        attempts[row.transmission_id].append(rows.attempt(row))
    wishes = steering.pending_of(db, list(found))
    return {
        tx: Case(
            transmission=rows.transmission(row),
            submission=submitted[row.submission_id],
            recipients=tuple(recipients[tx]),
            attempts=tuple(attempts[tx]),
            wishes=tuple(wishes.get(tx, ())),
        )
        for tx, row in found.items()
    }


def transmissions(db: Connection, wanted: Sequence[str]) -> dict[str, Transmission]:
    """Those of the transmissions that there are, without what belongs to them."""
    return {row.id: rows.transmission(row) for row in db.execute(_CASES, {"wanted": wanted})}


_of_recipient, _of_attempt = schema.recipient.c.transmission_id, schema.attempt.c.transmission_id
_CASES = select(schema.transmission).where(schema.among(schema.transmission.c.id, "wanted"))
_SUBMISSIONS = select(schema.submission).where(schema.among(schema.submission.c.id, "wanted"))
_RECIPIENTS = select(schema.recipient).where(schema.among(_of_recipient, "wanted")).order_by(schema.recipient.c.n)
_ATTEMPTS = select(schema.attempt).where(schema.among(_of_attempt, "wanted")).order_by(schema.attempt.c.n)


def history(db: Connection, subject: str) -> list[Entry]:
    """What happened to one fax, oldest first."""
    table = schema.history
    found = db.execute(select(table).where(table.c.subject == subject).order_by(table.c.id))
    return [Entry(at=row.at, node=row.node, what=row.what, detail=row.detail) for row in found]


def page(
    db: Connection,
    *,
    states: Sequence[TransmissionState] = (),
    account: str = "",
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[Transmission]:
    """Newest first, of one account or of all; the next page begins `before` the last one's (accepted_at, id).

    However many there are, a page reads as many rows as it has for each state: every state is read in its own index.
    """
    table = schema.transmission
    newest = (table.c.accepted_at.desc(), table.c.id.desc())
    some = select(table.c.id).order_by(*newest).limit(limit)
    if account:
        some = some.where(table.c.account_id == account)
    if before is not None:
        some = some.where(tuple_(table.c.accepted_at, table.c.id) < tuple_(schema.moment(before[0]), before[1]))
    if states:
        each = [some.where(table.c.state == state.value).subquery() for state in states]
        ids = union_all(*(select(one.c.id) for one in each)).subquery()
    else:
        ids = some.subquery()
    query = select(table).where(table.c.id.in_(select(ids.c.id))).order_by(*newest).limit(limit)
    return [rows.transmission(row) for row in db.execute(query)]


def place(db: Connection, transmission: TransmissionId) -> tuple[datetime, str] | None:
    """Where a transmission stands in the pages."""
    table = schema.transmission
    row = db.execute(select(table.c.accepted_at, table.c.id).where(table.c.id == transmission)).first()
    return (row.accepted_at, row.id) if row else None


def of_account(
    db: Connection, account: str, *, limit: int, offset: int = 0, before: tuple[datetime, str] | None = None
) -> list[Transmission | InboundFax]:
    """What an account sent and received, newest first: `limit` of them after `offset`, of those `before` a `place_of`."""
    some = []
    for table, at in _KEPT:
        mine = select(at.label("at"), table.c.id.label("id")).where(table.c.account_id == account)
        if before is not None:
            mine = mine.where(tuple_(at, table.c.id) < tuple_(schema.moment(before[0]), before[1]))
        some.append(mine.order_by(at.desc(), table.c.id.desc()).limit(offset + limit).subquery())
    both = union_all(*(select(one.c.at, one.c.id) for one in some)).subquery()
    page = select(both.c.id).order_by(both.c.at.desc(), both.c.id.desc()).limit(limit).offset(offset)
    ids = list(db.scalars(page))
    found: dict[str, Transmission | InboundFax] = {
        row.id: rows.transmission(row) for row in db.execute(_CASES, {"wanted": ids})
    }
    found |= {row.id: rows.inbound(row) for row in db.execute(_INBOUNDS, {"wanted": ids})}
    return [found[one] for one in ids if one in found]


def count_of_account(db: Connection, account: str, most: int) -> int:
    """How much an account sent and received, counted no further than `most`."""
    some = [select(table.c.id).where(table.c.account_id == account).limit(most).subquery() for table, _ in _KEPT]
    return min(most, sum(db.execute(select(func.count()).select_from(one)).scalar_one() for one in some))


def place_of(db: Connection, account: str, fax: str) -> tuple[datetime, str] | None:
    """Where one of an account's sent or received faxes stands in `of_account`."""
    for table, at in _KEPT:
        row = db.execute(select(at.label("at")).where(table.c.id == fax, table.c.account_id == account)).first()
        if row is not None:
            return row.at, fax
    return None


_KEPT = ((schema.transmission, schema.transmission.c.accepted_at), (schema.inbound, schema.inbound.c.announced_at))
_INBOUNDS = select(schema.inbound).where(schema.among(schema.inbound.c.id, "wanted"))


def unfinished(db: Connection) -> dict[TransmissionState, tuple[int, datetime]]:
    """How many transmissions are in each state that is not final, and when the oldest was accepted."""
    table = schema.transmission
    states = [state.value for state in TransmissionState if state not in FINAL]
    found = db.execute(
        select(table.c.state, func.count(), func.min(table.c.accepted_at))
        .where(table.c.state.in_(states))
        .group_by(table.c.state)
    )
    return {TransmissionState(state): (count, oldest) for state, count, oldest in found}


def find(db: Connection, beginning: str) -> list[str]:
    """Ids of transmissions that begin like this: people shorten them. At most ten."""
    table = schema.transmission
    found = db.scalars(
        select(table.c.id).where(table.c.id.startswith(beginning, autoescape=True)).order_by(table.c.id).limit(10)
    )
    return list(found)

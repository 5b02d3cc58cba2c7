"""Verbs of received faxes: announced -> fetched -> mailed. The carrier's copy may go only after that."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, tuple_, update

from gateway.fax import AccountId, InboundFax, InboundId, InboundState, OutboxId, Sha256, SubmissionId, new_id
from gateway.lifecycle import INBOUND_MOVES
from gateway.spool import digests, outbox, pamfax, rows, schema, steps
from gateway.spool.commit import Transaction
from gateway.spool.outbox import Owed
from gateway.spool.steps import Claim

#: States of a fax whose file may still come.
_WITHOUT = frozenset({InboundState.ANNOUNCED, InboundState.HELD, InboundState.FAILED})
_NOT_THERE = frozenset({InboundState.HELD, InboundState.UNDELIVERED})
_WAITS = frozenset({InboundState.HELD, InboundState.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A fax that is here, and what was decided about it."""

    document: Sha256
    """As PDF."""
    original: Sha256
    pages: int
    resolution: str = ""
    """Of the first page, e.g. "204x196"; "" = nobody says."""
    damaged: int = 0
    """Pages."""
    route: str = ""
    """What decided where it goes, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a carrier says about one received fax. The shape of `carriers.base.Announcement`."""

    carrier_ref: str
    line: str
    caller: str
    station_id: str
    sub_address: str
    pages: int
    complete: bool
    seconds: float | None
    received_at: datetime
    document: Sha256 | None
    """Stored already, where the callback carried it."""


def announced(t: Transaction, carrier: str, news: News) -> bool:
    """A new inbound fax, to be fetched; it belongs to whoever has the line now. One that was known comes with its document
    where it had none, perhaps after it was given up as lost. False: there is nothing new."""
    owner = t.at_once.scalar(select(schema.line.c.account_id).where(schema.line.c.number == news.line))
    values = {
        "id": new_id("in"),
        "carrier": carrier,
        "carrier_ref": news.carrier_ref,
        "line": news.line,
        "caller": news.caller,
        "station_id": news.station_id,
        "sub_address": news.sub_address,
        "state": InboundState.ANNOUNCED.value,
        "original": news.document,
        "pages": news.pages,
        "complete": news.complete,
        "seconds": news.seconds,
        "received_at": news.received_at,
        "announced_at": t.now,
        "reason": "",
        "account_id": owner or "",
    }
    if not t.insert_new(schema.inbound, [values]):
        return news.document is not None and _came_after_all(t, carrier, news)
    if owner:
        pamfax.sort_out(t, owner, str(values["id"]), news.caller)
    steps.add(t, str(values["id"]), "receive", steps.RECEIVE)
    t.note(str(values["id"]), "announced", carrier)
    return True


def _came_after_all(t: Transaction, carrier: str, news: News) -> bool:
    of = schema.inbound.c
    mine = (of.carrier == carrier, of.carrier_ref == news.carrier_ref, of.original.is_(None))
    found = t.db.execute(select(of.id, of.state).where(*mine).with_for_update()).first()
    if found is None or found.state not in _WITHOUT:
        return False
    _set(t, found.id, original=news.document, reason="")
    t.note(found.id, "announced", f"{carrier}, with its document")
    if _move(t, found.id, InboundState.ANNOUNCED):
        steps.add(t, found.id, "receive", steps.RECEIVE)
    return True


def original_stored(t: Transaction, claim: Claim, original: Sha256) -> bool:
    """The carrier's file is ours, as it came."""
    if not steps.holds(t, claim):
        return False
    t.db.execute(update(schema.inbound).where(schema.inbound.c.id == claim.subject).values(original=original))
    return True


def fetched(
    t: Transaction,
    claim: Claim,
    made: Fetched,
    *,
    mailboxes: Sequence[str],
    archived: bool = False,
    callback: AccountId | None = None,
) -> bool:
    """announced -> fetched, and a mail is owed to each mailbox, a copy to the archive, a callback to the account."""
    everybody = [*mailboxes, *["the archive"] * archived]
    if not _arrived(t, claim, made, f"to {', '.join(everybody) or 'nobody by mail'}"):
        return False
    for mailbox in mailboxes:
        outbox.owe(t, kind=outbox.RECEIVED, about=claim.subject, recipient=mailbox)
    if archived:
        outbox.owe(t, kind=outbox.ARCHIVE, about=claim.subject)
    if callback is not None:
        outbox.owe_callback(t, callback, claim.subject, claim)
    mailed(t, InboundId(claim.subject))  # one that was released, where nobody is left who has not got it
    return steps.done(t, claim)


def held_back(t: Transaction, claim: Claim, made: Fetched) -> bool:
    """announced -> fetched -> held: it waits in quarantine until a person releases it, and the operator is told."""
    if not _arrived(t, claim, made, "held"):
        return False
    _withhold(t, claim.subject)
    undeliverable(t, InboundId(claim.subject), f"In quarantine: {made.route}.")
    text = f"Nobody has got it: {made.route}."
    outbox.alarm(t, about=claim.subject, what="a received fax waits in quarantine", text=text)
    return steps.done(t, claim)


def dropped(t: Transaction, claim: Claim, made: Fetched) -> bool:
    """announced -> fetched -> refused: nobody gets it. The operator is told of the first one of each day (UTC)."""
    if not _arrived(t, claim, made, "dropped") or not _move(t, claim.subject, InboundState.REFUSED):
        return False
    _set(t, claim.subject, reason=f"Dropped: {made.route}.")
    _withhold(t, claim.subject)
    text = f"Today's first is {claim.subject}: {made.route}. No other mail comes today. All of them: faxgate queue --received"
    outbox.alarm(t, about=f"dropped#{t.now:%Y-%m-%d}", what="received faxes are dropped", text=text)
    return steps.done(t, claim)


def _withhold(t: Transaction, inbound: str) -> None:
    """No account sees it, whatever it asks: every door looks for faxes by their account."""
    of = schema.inbound.c
    hidden = update(schema.inbound).where(of.id == inbound, of.account_id != "")
    t.db.execute(hidden.values(withheld_from=of.account_id, account_id=""))


def _arrived(t: Transaction, claim: Claim, made: Fetched, what: str) -> bool:
    if not steps.holds(t, claim) or not _move(t, claim.subject, InboundState.FETCHED):
        return False
    _set(t, claim.subject, reason="", **asdict(made))
    t.note(claim.subject, "fetched", f"{made.pages} pages")
    t.note(claim.subject, "routed", f"{made.route}: {what}")
    return True


def ended(t: Transaction, claim: Claim, state: InboundState, reason: str, alarm: str) -> bool:
    """announced -> held or failed; the operator is told. Not failed where its document came in this very moment."""
    if not steps.holds(t, claim):
        return False
    came = select(schema.inbound.c.original).where(schema.inbound.c.id == claim.subject).with_for_update()
    if state is InboundState.FAILED and t.db.scalar(came) is not None:
        steps.put_back(t, claim)
        return False
    if not _move(t, claim.subject, state):
        return False
    _set(t, claim.subject, reason=reason)
    t.note(claim.subject, state, reason)
    outbox.alarm(t, about=claim.subject, what=alarm, text=reason)
    return steps.done(t, claim)


def mailed(t: Transaction, inbound: InboundId) -> bool:
    """fetched -> mailed, once no mail about it and no copy in the archive is owed any more; where no mail ever was, once the
    callback was taken. One of which a mail was given up is held, and one of which a mail has come back is undelivered."""
    _locked(t, inbound)
    owed = outbox.states(t.db, outbox.RECEIVED, inbound) or outbox.states(t.db, outbox.CALLBACK, inbound)
    if outbox.WAITING in (*owed, *outbox.states(t.db, outbox.ARCHIVE, inbound)):
        return False
    mails = [one for one in outbox.about(t.db, inbound) if one.kind == outbox.RECEIVED]
    if given_up := [one.answer for one in mails if one.state == outbox.GIVEN_UP]:
        undeliverable(t, inbound, given_up[0])
        return False
    if not _move(t, inbound, InboundState.MAILED):
        return False
    t.note(inbound, "mailed")
    if back := [one.returned for one in mails if one.returned]:
        _undelivered(t, inbound, back[0])
    return True


def not_called(t: Transaction, inbound: InboundId, reason: str) -> None:
    """Its callback will not be made. Where no mail tells of it either, fetched -> held: it waits to be fetched by hand."""
    if not outbox.states(t.db, outbox.RECEIVED, inbound):
        undeliverable(t, inbound, reason)


def undeliverable(t: Transaction, inbound: InboundId, reason: str) -> None:
    """fetched -> held: a mailbox's server refused the mail for good. The document stays."""
    if _move(t, inbound, InboundState.HELD):
        _set(t, inbound, reason=reason)
        t.note(inbound, "held", reason)


def returned(t: Transaction, mail: OutboxId, words: str) -> bool:
    """A server gave the mail with a received fax back for good: mailed -> undelivered. The document stays, the operator is
    told. False: that is known, or there is no such mail any more."""
    owed = outbox.get(t.db, mail)
    if owed is None or owed.kind != outbox.RECEIVED:
        return False
    fax = owed.about_id
    _locked(t, fax)
    if not outbox.came_back(t, mail, words):
        return False
    t.note(fax, "mail came back", f"{owed.recipient}: {words}")
    _undelivered(t, fax, f"{owed.recipient}: {words}")
    text = f"{fax} did not reach {owed.recipient}. What was said there:\n\n{words}\n\nThe fax is kept. Its story, and the mail"
    text += f" once more:\n\nfaxgate show {fax}\nfaxgate fetch {fax}\nfaxgate retry {mail}"
    outbox.alarm(t, about=f"{mail}#back", what="a received fax did not reach its mailbox", text=text)
    return True


def noted(t: Transaction, mail: OutboxId, what: str, words: str) -> Owed | None:
    """Something else was said about the mail with a received fax, for its history; which mail it is."""
    owed = outbox.get(t.db, mail)
    if owed is not None and owed.kind == outbox.RECEIVED:
        t.note(owed.about_id, what, f"{owed.recipient}: {words}")
    return owed


def _locked(t: Transaction, inbound: str) -> Row[Any] | None:
    """Its row, ours until the end: a mail that comes back while the last one is noted as sent would be missed by both. Any: a
    row of a query."""
    return t.db.execute(select(schema.inbound).where(schema.inbound.c.id == inbound).with_for_update()).first()


def _undelivered(t: Transaction, inbound: str, reason: str) -> None:
    if _move(t, inbound, InboundState.UNDELIVERED):
        _set(t, inbound, reason=reason)
        t.note(inbound, "undelivered", reason)


def mailed_again(t: Transaction, mail: OutboxId, by: str) -> bool:
    """The mail to one mailbox is owed anew: held or undelivered -> fetched. False: there is nothing to mail again."""
    owed = outbox.get(t.db, mail)
    if owed is None or owed.kind != outbox.RECEIVED:
        was_owed_anew = outbox.again(t, mail)
        if was_owed_anew and owed is not None and owed.kind == outbox.DIGEST and owed.state == outbox.GIVEN_UP:
            digests.gather_again(t, SubmissionId(owed.about))
        return was_owed_anew
    fax = _locked(t, owed.about_id)
    if fax is None or fax.document is None or not outbox.again(t, mail):
        return False
    t.note(fax.id, "mailed again", f"{owed.recipient}, by {by}")
    if _move(t, fax.id, InboundState.FETCHED, of=_NOT_THERE):
        _set(t, fax.id, reason="")
    return True


def released(t: Transaction, inbound: InboundId, by: str, mailbox: Sequence[str] = ()) -> bool:
    """held or refused -> announced: whoever did not take it is asked again, as rules, line and account say now; no rule holds
    or drops it any more. What was given up is not owed any more, so that it can be owed anew. False: it is in another state.

    mailbox  who is to get it; () = as the rules say
    """
    if not _move(t, inbound, InboundState.ANNOUNCED, of=_WAITS):
        return False
    _set(t, inbound, released=True, mailbox=json.dumps(list(mailbox)))
    of = schema.inbound.c
    hidden = update(schema.inbound).where(of.id == inbound, of.withheld_from != "")
    t.db.execute(hidden.values(account_id=of.withheld_from, withheld_from=""))
    outbox.forget_given_up(t, inbound)
    t.note(inbound, "released", f"{by}{', to ' if mailbox else ''}{', '.join(mailbox)}")
    steps.add(t, inbound, "receive", steps.RECEIVE)
    return True


def get(db: Connection, inbound: str) -> InboundFax | None:
    """One received fax."""
    row = db.execute(select(schema.inbound).where(schema.inbound.c.id == inbound)).first()
    return rows.inbound(row) if row else None


def page(
    db: Connection, *, account: AccountId | None = None, before: tuple[datetime, str] | None = None, limit: int = 50
) -> list[InboundFax]:
    """Newest first, of one account or of all; the next page begins `before` the last one's `place`."""
    table = schema.inbound
    some = select(table).order_by(table.c.announced_at.desc(), table.c.id.desc()).limit(limit)
    if account is not None:
        some = some.where(table.c.account_id == account)
    if before is not None:
        some = some.where(tuple_(table.c.announced_at, table.c.id) < tuple_(schema.moment(before[0]), before[1]))
    return [rows.inbound(row) for row in db.execute(some)]


def place(db: Connection, inbound: str) -> tuple[datetime, str] | None:
    """Where a received fax stands in the pages."""
    table = schema.inbound
    row = db.execute(select(table.c.announced_at, table.c.id).where(table.c.id == inbound)).first()
    return (row.announced_at, row.id) if row else None


def find(db: Connection, beginning: str) -> list[str]:
    """Ids of received faxes that begin like this. At most ten."""
    table = schema.inbound
    wanted = select(table.c.id).where(table.c.id.startswith(beginning, autoescape=True)).order_by(table.c.id).limit(10)
    return list(db.scalars(wanted))


def by_carrier_ref(db: Connection, carrier: str, carrier_refs: Sequence[str]) -> dict[str, InboundState]:
    """State of those of a carrier's received faxes that we know."""
    table = schema.inbound
    found = db.execute(
        select(table.c.carrier_ref, table.c.state).where(table.c.carrier == carrier, table.c.carrier_ref.in_(carrier_refs))
    )
    return {row.carrier_ref: InboundState(row.state) for row in found}


def _move(t: Transaction, inbound: str, to: InboundState, of: Collection[InboundState] = frozenset(InboundState)) -> bool:
    sources = [state.value for state, targets in INBOUND_MOVES.items() if to in targets and state in of]
    table = schema.inbound
    changed = t.db.execute(update(table).where(table.c.id == inbound, table.c.state.in_(sources)).values(state=to.value))
    return changed.rowcount == 1


def _set(t: Transaction, inbound: str, **values: object) -> None:
    t.db.execute(update(schema.inbound).where(schema.inbound.c.id == inbound).values(**values))

"""What happened to faxes, as links: read from the rows that the work leaves, each once what it says does not change any more.

A link is `{"key", "what", …}`. Its key names the row it is about, so that the same is not said twice, and so that a row that
was changed afterwards can be compared with what was said. Times of an open attempt are not said, for they move with the
clock; the history, which never does, has them. What a fax has given up is known from its history: hashes outlive documents.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from gateway.lifecycle import FINAL
from gateway.seal import Json, digest
from gateway.spool import outbox, schema
from gateway.spool.commit import Transaction
from gateway.spool.schema import ABOUT, attempt, event, history, inbound, recipient, submission, transmission
from gateway.spool.schema import outbox as mail

REMOVED = "documents removed"
_MADE = ("ready", "converted", "fetched")
_FINAL = frozenset(state.value for state in FINAL)
_When = tuple[datetime, int]
"""Where a link stands among those of its fax: its time, and what comes first at the same time."""
_Placed = tuple[_When, Json]
_FIRST: _When = (datetime.min.replace(tzinfo=UTC), 0)
_ENVELOPE = ("door", "sender", "client", "helo", "login", "tls", "envelope_id")
_SUBMISSION = ("message_id", "resent_message_id", "content_hash", "subject", "from_header", "content_type", "redial")
_RECIPIENT = ("written", "number", "sub_address", "cover_name", "organisation", "tag", "options", "notify")
_EVENT = ("carrier", "event_key", "carrier_ref", "reference", "state", "outcome", "carrier_code", "text", "pages_sent")
_ATTEMPT = ("state", "outcome", "carrier_ref", "carrier_code", "text", "pages_sent", "station_id", "seconds", "finished_at")
_INBOUND = ("carrier", "carrier_ref", "line", "caller", "station_id", "sub_address", "received_at", "announced_at")

_TRANSMISSIONS = select(transmission).where(schema.among(transmission.c.id, "wanted"))
_SUBMISSIONS = select(submission).where(schema.among(submission.c.id, "wanted"))
_RECIPIENTS = select(recipient).where(schema.among(recipient.c.transmission_id, "wanted")).order_by(recipient.c.n)
_ATTEMPTS = select(attempt).where(schema.among(attempt.c.transmission_id, "wanted"))
_OURS = select(event).where(schema.among(event.c.reference, "wanted"))
_THEIRS = select(event).where(event.c.carrier == bindparam("of"), schema.among(event.c.carrier_ref, "wanted"))
_OPEN = (outbox.WAITING, outbox.GATHERED)
_MAILS = select(mail, ABOUT.label("fax")).where(ABOUT.in_(bindparam("wanted", expanding=True)), mail.c.state.not_in(_OPEN))
_INBOUNDS = select(inbound).where(schema.among(inbound.c.id, "wanted"))
_HISTORY = select(history).where(schema.among(history.c.subject, "wanted")).order_by(history.c.id)


def note_removed(t: Transaction, fax: str, documents: Mapping[str, str | None]) -> None:
    """A fax lets go of documents; their names stay, by what they were: mail, pages, fax, original."""
    t.note(fax, REMOVED, json.dumps({what: sha256 for what, sha256 in documents.items() if sha256}))


def _documents(detail: str) -> dict[str, str]:
    """What such a line says; nothing, where somebody has written into it."""
    try:
        said = json.loads(detail)
    except ValueError:
        return {}
    return {what: sha256 for what, sha256 in said.items() if isinstance(sha256, str)} if isinstance(said, dict) else {}


def of(db: Connection, faxes: Iterable[str]) -> dict[str, list[Json]]:
    """The links of those of some faxes that there are, oldest first."""
    wanted = sorted(faxes)
    found = defaultdict[str, list[_Placed]](list)
    removed = defaultdict[str, dict[str, str]](dict)
    for row in db.execute(_HISTORY, {"wanted": wanted}):
        if row.what == REMOVED:
            removed[row.subject] |= _documents(row.detail)
        said = {"at": _time(row.at), "node": row.node, "detail": row.detail}
        found[row.subject].append(((row.at, row.id), {"key": f"noted:{row.id}", "what": "noted", "note": row.what, **said}))
    for row in db.execute(_MAILS, {"wanted": wanted}):
        times = sum(link.get("note") == outbox.AGAIN and link["detail"] == row.id for _, link in found[row.fax])
        found[row.fax].append(((row.sent_at or row.created_at, 0), _told(row, times)))
    sent = [fax for fax in wanted if fax.startswith("tx_")]
    there = _sent(db, sent, removed, found) if sent else set[str]()
    for row in db.execute(_INBOUNDS, {"wanted": [fax for fax in wanted if not fax.startswith("tx_")]}):
        there.add(row.id)
        found[row.id] += _received(row, removed[row.id], found[row.id])
    return {fax: [link for _, link in sorted(found[fax], key=lambda one: one[0])] for fax in wanted if fax in there}


def _sent(
    db: Connection, faxes: Sequence[str], removed: Mapping[str, Mapping[str, str]], found: dict[str, list[_Placed]]
) -> set[str]:
    rows = db.execute(_TRANSMISSIONS, {"wanted": faxes}).all()
    mails = {row.id: row for row in db.execute(_SUBMISSIONS, {"wanted": list({row.submission_id for row in rows})})}
    called = defaultdict[str, list[Json]](list)
    for row in db.execute(_RECIPIENTS, {"wanted": faxes}):
        called[row.transmission_id].append(_values(row, _RECIPIENT))
    for row in rows:
        was = removed.get(row.id, {})
        if pages := row.document or was.get("pages"):
            made = {"document": pages, "pages": row.pages, "manifest": row.manifest}
            found[row.id].append(_made(found[row.id], row.accepted_at, made))
        found[row.id].append((_FIRST, _accepted(row, mails[row.submission_id], called[row.id], was)))
        if row.state in _FINAL:
            ended = _values(row, ("state", "outcome", "reason", "pages_sent", "finished_at", "cost"))
            found[row.id].append(((row.finished_at or row.updated_at, 2**62), {"key": "ended", "what": "ended", **ended}))
    attempts = db.execute(_ATTEMPTS, {"wanted": faxes}).all()
    for row in attempts:
        found[row.transmission_id] += _tried(row)
    _said(db, attempts, found)
    return {row.id for row in rows}


def _accepted(row: Row[Any], source: Row[Any], recipients: list[Json], removed: Mapping[str, str]) -> Json:
    envelope = json.loads(source.envelope)
    return {
        "key": "accepted",
        "what": "accepted",
        "at": _time(row.accepted_at),
        "fax": row.id,
        "submission": source.id,
        "account": row.account_id,
        **_values(row, ("number", "sub_address")),
        "mail": source.document or removed.get("mail", ""),
        "envelope": {name: envelope[name] for name in _ENVELOPE if envelope.get(name)},
        "recipients": recipients,
        **_values(source, _SUBMISSION),
    }


def _tried(row: Row[Any]) -> list[_Placed]:
    told = {"attempt": row.id, "n": row.n}
    opened = {"key": f"attempt:{row.id}", "what": "attempt", **told, "carrier": row.carrier, "reference": row.reference}
    found: list[_Placed] = [((row.opened_at, 0), opened)]
    if row.submitted_at is not None and row.carrier_ref:
        taken = {"key": f"submitted:{row.id}", "what": "submitted", **told, "carrier_ref": row.carrier_ref}
        found.append(((row.submitted_at, 0), taken))
    if row.finished_at is not None:
        ended = {"key": f"ended:{row.id}", "what": "attempt ended", **told, **_values(row, _ATTEMPT)}
        found.append(((row.finished_at, 0), ended))
    return found


def _said(db: Connection, attempts: Sequence[Row[Any]], found: dict[str, list[_Placed]]) -> None:
    """What carriers said about attempts, known by our reference or by theirs."""
    whose = {("ours", row.carrier, row.reference): row.transmission_id for row in attempts}
    whose |= {("theirs", row.carrier, row.carrier_ref): row.transmission_id for row in attempts if row.carrier_ref}
    rows = {row.id: row for row in db.execute(_OURS, {"wanted": [row.reference for row in attempts]})}
    for carrier in sorted({row.carrier for row in attempts}):
        refs = [row.carrier_ref for row in attempts if row.carrier == carrier and row.carrier_ref]
        rows |= {row.id: row for row in db.execute(_THEIRS, {"of": carrier, "wanted": refs})}
    for row in rows.values():
        ours, theirs = ("ours", row.carrier, row.reference), ("theirs", row.carrier, row.carrier_ref)
        if fax := whose.get(ours) or whose.get(theirs):
            found[fax].append(((row.received_at, 0), _statement(row)))


def _statement(row: Row[Any]) -> Json:
    # What is said again with proof takes the place of what was said without: then it is said twice here.
    key = f"said:{row.id}" if row.believed else f"heard:{row.id}"
    times = {"at": _time(row.received_at), "carrier_time": _time(row.at)}
    raw = {"raw": digest(row.raw), "bytes": len(row.raw)}
    more = _values(row, (*_EVENT, "station_id", "seconds", "believed"))
    return {"key": key, "what": "carrier's statement", "event": row.id, **times, **more, **raw}


def _told(row: Row[Any], times: int) -> Json:
    """What became of a mail that was owed anew so many times: each time it is another link."""
    told = _values(row, ("kind", "recipient", "state", "answer", "message_id", "mail", "sent_at"))
    key = f"told:{row.id}:{times}" if times else f"told:{row.id}"
    return {"key": key, "what": "told", "outbox": row.id, **told}


def _received(row: Row[Any], removed: Mapping[str, str], noted: Sequence[_Placed]) -> list[_Placed]:
    came = {"key": "announced", "what": "announced", "fax": row.id, "account": row.account_id, **_values(row, _INBOUND)}
    found: list[_Placed] = [(_FIRST, came)]
    if document := row.document or removed.get("fax"):
        original = row.original or removed.get("original") or document
        kept = {"document": document, "original": original, **_values(row, ("pages", "complete", "seconds"))}
        found.append(_made(noted, row.announced_at, kept))
    return found


def _made(noted: Sequence[_Placed], began: datetime, values: Json) -> _Placed:
    """The pages, named by the line of the history that said so last: made anew, they are another link."""
    at = max((when for when, link in noted if link.get("note") in _MADE), default=(began, 0))
    return at, {"key": f"pages:{at[1]}", "what": "pages", **values}


def _values(row: Row[Any], names: Iterable[str]) -> Json:
    """Those columns of a row that say something."""
    return {
        name: _time(value) if isinstance(value, datetime) else value
        for name in names
        if (value := getattr(row, name)) is not None and value != ""
    }


@lru_cache(4096)  # most times are those of a transaction, which many faxes share
def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

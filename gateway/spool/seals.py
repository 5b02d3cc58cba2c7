"""Verbs of seals: what happened to faxes since the last one is read, and written down with the next, by whoever is first.

The links are made of rows that are durable already, apart from the transactions that wrote them: a fax that goes its way pays
nothing for it. Which faxes are to be looked at is known from the history, which every change of a fax writes a line of. On
PostgreSQL a line may become visible after one with a higher number, so the last minutes are looked at again; what is in a chain
is not put there twice.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update

from gateway import seal as seals
from gateway.errors import Refused
from gateway.seal import Json, Key, Seal, canonical
from gateway.spool import links, outbox, schema
from gateway.spool.commit import Transaction
from gateway.spool.schema import chain, history, seal, sealing_key

_LINES = 4000  # of the history in one seal
_LATE = timedelta(minutes=5)  # a transaction that takes longer is cut off by the server
_PAGE = 200
_LEAF = 32  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key of the gateway with its private part, encrypted; "" once another key has followed."""

    key: Key
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The links of one fax that come with one seal."""

    fax: str
    new: tuple[bytes, ...]
    links: int
    """With the earlier ones."""
    head: str
    last: int
    """The last line of the history that is among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What the next seal is to be over."""

    before: Seal | None
    """The newest seal."""
    segments: tuple[Segment, ...]
    scanned: int
    """The last line of the history that was looked at."""
    upto: int
    """The last one that need not be looked at again."""
    whole: bool
    """Nothing is left to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a chain has of one seal."""

    seal: int
    place: int
    links: int
    head: str
    new: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    """Of the whole tree."""


def keys(db: Connection) -> list[StoredKey]:
    """All keys, the first one first."""
    rows = db.execute(select(sealing_key).order_by(sealing_key.c.n))
    return [
        StoredKey(
            key=Key(statement=json.loads(row.statement), signature=row.signature, by_previous=row.by_previous),
            secret=row.secret,
        )
        for row in rows
    ]


def add_key(t: Transaction, made: StoredKey) -> bool:
    """The next key; the private part of the one before is forgotten. False: there is another one of that number."""
    n = made.key.statement["n"]
    if (t.db.scalar(select(func.max(sealing_key.c.n))) or 0) != n - 1:
        return False
    t.db.execute(update(sealing_key).values(secret=""))
    values = {"signature": made.key.signature, "by_previous": made.key.by_previous, "secret": made.secret}
    t.add(sealing_key, {"n": n, "statement": canonical(made.key.statement).decode(), **values})
    return True


def newest(db: Connection) -> Seal | None:
    row = db.execute(select(seal.c.statement, seal.c.signature).order_by(seal.c.n.desc()).limit(1)).first()
    return Seal(statement=json.loads(row.statement), signature=row.signature) if row else None


def due(db: Connection, after: int | None, now: datetime) -> Due:
    """What has happened since the last seal, or after a line of the history; not more than fits into one."""
    last = db.scalar(select(seal.c.upto).order_by(seal.c.n.desc()).limit(1)) or 0
    begin = last if after is None else after
    lines = db.execute(
        select(history.c.id, history.c.subject, history.c.at)
        .where(history.c.id > begin).order_by(history.c.id).limit(_LINES)
    ).all()  # fmt: skip
    last_line = {row.subject: row.id for row in lines if row.subject.startswith(("tx_", "in_"))}
    known = {row.subject: row.last for row in db.execute(_LAST, {"wanted": list(last_line)})}
    touched = [fax for fax, line in last_line.items() if line > known.get(fax, -1)]
    settled = [row.id for row in lines if db.dialect.name == "sqlite" or row.at < now - _LATE]
    return Due(
        before=newest(db),
        segments=_segments(db, touched),
        scanned=lines[-1].id if lines else begin,
        upto=max(last, settled[-1] if settled else 0),
        whole=len(lines) < _LINES,
    )


def due_of(db: Connection, fax: str) -> Due:
    """What has happened to one fax and is not sealed."""
    last = db.scalar(select(seal.c.upto).order_by(seal.c.n.desc()).limit(1)) or 0
    return Due(before=newest(db), segments=_segments(db, {fax}), scanned=last, upto=last, whole=True)


def _segments(db: Connection, faxes: Collection[str]) -> tuple[Segment, ...]:
    """The links that are not in a chain yet, of those faxes that have any; in the order of their places."""
    rows = defaultdict[str, list[bytes]](list)
    heads = dict[str, str]()
    for row in db.execute(_CHAINS, {"wanted": sorted(faxes)}):
        rows[row.subject] += unpacked(row.content)
        heads[row.subject] = row.head
    found = []
    for fax, every in links.of(db, faxes).items():
        known = {json.loads(link)["key"] for link in rows[fax]}
        if new := tuple(canonical(link) for link in every if link["key"] not in known):
            head = seals.extended(heads.get(fax) or seals.beginning(fax), new)
            last = max((int(link["key"][6:]) for link in every if link["what"] == "noted"), default=0)
            found.append(Segment(fax=fax, new=new, links=len(rows[fax]) + len(new), head=head, last=last))
    return tuple(found)


_LAST = (
    select(chain.c.subject, func.max(chain.c.last).label("last"))
    .where(schema.among(chain.c.subject, "wanted"))
    .group_by(chain.c.subject)
)
_CHAINS = select(chain).where(schema.among(chain.c.subject, "wanted")).order_by(chain.c.subject, chain.c.seal)


def append(t: Transaction, made: Seal, by: Key, due: Due) -> bool:
    """Write the next seal with its chains. False: another node was faster, or the key is not in use any more."""
    last = t.db.execute(select(seal.c.n).order_by(seal.c.n.desc()).limit(1)).scalar() or 0
    used = t.db.scalar(select(func.max(sealing_key.c.n)))
    if made.statement["n"] != last + 1 or used != by.statement["n"]:
        return False
    n = made.statement["n"]
    t.add(
        seal,
        {
            "n": n,
            "at": t.now,
            "statement": canonical(made.statement).decode(),
            "signature": made.signature,
            "leaves": b"".join(seals.leaf(one.fax, one.head, one.links) for one in due.segments),
            "upto": due.upto,
        },
    )
    for place, one in enumerate(due.segments):
        values = {"place": place, "links": one.links, "head": one.head, "last": one.last, "content": _packed(one.new)}
        t.add(chain, {"subject": one.fax, "seal": n, **values})
    return True


def _packed(new: Sequence[bytes]) -> bytes:
    packing = zlib.compressobj(zdict=_USUAL)
    return packing.compress(b"\n".join(new)) + packing.flush()


def unpacked(content: bytes) -> list[bytes]:
    """Links as they were stored; none, where somebody has written into them."""
    packed = zlib.decompressobj(zdict=_USUAL)
    try:
        links = packed.decompress(content)
    except zlib.error:
        return []
    return links.split(b"\n") if packed.eof else []


#: What links usually say: with it a chain takes half the room. What is stored was packed with it, so it is never changed.
_USUAL = (
    b'{"account":"acc_","announced_at":"2026-","caller":"+1","carrier":"main","fax":"in_","key":"announced","line":"+1",'
    b'"received_at":"2026-","station_id":"","what":"announced"}\n{"account":"acc_","at":"2026-11-22T10:00:00.000000Z",'
    b'"content_hash":"0","content_type":"message/rfc822","envelope":{"client":"127.0.0.1","door":"smtp","helo":"mail.",'
    b'"login":"","sender":"@example.com","tls":true},"fax":"tx_01","from_header":" <@example.com>","key":"accepted","mail":"",'
    b'"message_id":"<@example.com>","number":"+1","recipients":[{"notify":"[]","number":"+1","options":"[]","written":"@fax."}],'
    b'"redial":true,"subject":"","submission":"sub_01","what":"accepted"}\n'
    b'{"complete":true,"document":"","key":"pages:","original":"","pages":1,"what":"pages"}\n{"document":"","key":"pages:",'
    b'"manifest":"[{\\"title\\": \\"cover\\", \\"note\\": \\"\\", \\"pages\\": ","pages":1,"what":"pages"}\n'
    b'{"attempt":"at_01","carrier":"main","key":"attempt:at_01","n":1,"reference":"at_01","what":"attempt"}\n'
    b'{"attempt":"at_01","carrier_ref":"","key":"submitted:at_01","n":1,"what":"submitted"}\n'
    b'{"at":"2026-11-22T10:00:00.000000Z","believed":true,"bytes":100,"carrier":"main","carrier_code":"","carrier_ref":"",'
    b'"carrier_time":"2026-11-22T10:00:00.000000Z","event":"ev_01","event_key":"","key":"said:ev_01","outcome":"delivered",'
    b'"pages_sent":1,"raw":"","reference":"at_01","seconds":30.0,"state":"delivered","station_id":"","text":"",'
    b'"what":"carrier\'s statement"}\n{"attempt":"at_01","carrier_code":"","carrier_ref":"","finished_at":"2026-11-22T10:00:",'
    b'"key":"ended:at_01","n":1,"outcome":"delivered","pages_sent":1,"seconds":30.0,"state":"delivered","station_id":"",'
    b'"text":"","what":"attempt ended"}\n{"finished_at":"2026-11-22T10:00:00.000000Z","key":"ended","outcome":"delivered",'
    b'"pages_sent":1,"state":"delivered","what":"ended"}\n{"answer":"250 2.0.0 Ok: queued as ","key":"told:out_01",'
    b'"kind":"result","mail":"","message_id":"<out_01@fax.","outbox":"out_01","sent_at":"2026-11-22T10:00:00.000000Z",'
    b'"state":"sent","what":"told"}\n{"at":"2026-11-22T10:00:00.000000Z","detail":"at_01 at main","key":"noted:","node":"",'
    b'"note":"attempt","what":"noted"}","note":"submitted","what":"noted"}","note":"attempt delivered","what":"noted"}'
    b'","note":"delivered","what":"noted"}\n{"at":"2026-11-22T10:00:00.000000Z","detail":"result: sent; 250 2.0.0 Ok","key":'
    b'"noted:1","node":"","note":"told","what":"noted"}\n{"at":"2026-11-22T10:00:00.000000Z","detail":"2 pages","key":"noted:",'
    b'"node":"","note":"ready","what":"noted"}\n{"at":"2026-11-22T10:00:00.000000Z","detail":"smtp","key":"noted:","node":"",'
    b'"note":"accepted","what":"noted"}\n'
)


def _leaves(content: bytes) -> tuple[bytes, ...]:
    return tuple(content[n : n + _LEAF] for n in range(0, len(content), _LEAF))


def parts(db: Connection, fax: str) -> list[Part]:
    """The chain of a fax, seal by seal."""
    mine = select(chain, seal.c.leaves).join(seal, seal.c.n == chain.c.seal).where(chain.c.subject == fax)
    return [
        Part(
            seal=row.seal,
            place=row.place,
            links=row.links,
            head=row.head,
            new=tuple(unpacked(row.content)),
            leaves=_leaves(row.leaves),
        )
        for row in db.execute(mine.order_by(chain.c.seal))
    ]


def between(db: Connection, first: int, last: int) -> list[Seal]:
    """Seals by number, both included."""
    rows = db.execute(select(seal.c.statement, seal.c.signature).where(seal.c.n.between(first, last)).order_by(seal.c.n))
    return [Seal(statement=json.loads(row.statement), signature=row.signature) for row in rows]


def forget(t: Transaction, faxes: Sequence[str]) -> None:
    """The chains of faxes whose history is forgotten. Their leaves stay: the trees of the others need them, and say nothing."""
    t.db.execute(delete(chain).where(chain.c.subject.in_(faxes)))
    # SQLite gives the number of a removed last line to the next one, which would be taken for one that was looked at.
    last = select(func.coalesce(func.max(history.c.id), 0)).scalar_subquery()
    t.db.execute(
        update(seal).where(seal.c.n == select(func.max(seal.c.n)).scalar_subquery(), seal.c.upto > last).values(upto=last)
    )


def unsound(db: Connection) -> tuple[str, str] | None:
    """The first key or seal that does not follow the one before, is not signed, or has another tree; with what is wrong."""
    every, about = [stored.key for stored in keys(db)], "keys"
    before: Seal | None = None
    try:
        if every:
            seals.check_keys(every)
        for row in db.execution_options(yield_per=_PAGE).execute(select(seal).order_by(seal.c.n)):
            about, leaves = f"seal {row.n}", _leaves(row.leaves)
            one = Seal(statement=seals.parsed(row.statement.encode()), signature=row.signature)
            if before is None and one.statement.get("n") != 1:
                raise Refused("The seals before it are gone.")
            seals.check_seals([one], every, before)
            if not leaves or (seals.root(leaves), len(leaves)) != (one.statement["root"], one.statement["faxes"]):
                raise Refused("Its tree is not the one that was signed.")
            before = one
    except Refused as error:
        return about, error.text
    return None


def sealed(db: Connection, after: str) -> list[str]:
    """Some faxes that have a chain, in order."""
    of = chain.c.subject
    return list(db.scalars(select(of).where(of > after).distinct().order_by(of).limit(_PAGE)))


def changed(db: Connection, faxes: Collection[str]) -> list[tuple[str, str]]:
    """Of some faxes those whose chain or rows are not as they were sealed, each with what is different."""
    now, found = links.of(db, faxes), list[tuple[str, str]]()
    for fax in sorted(faxes):
        every = parts(db, fax)
        if wrong := _broken(fax, every):
            found.append((fax, wrong))
        there = {link["key"]: link for link in now.get(fax, ())}
        for link in (json.loads(text) for part in every for text in part.new):
            if different := _different(link, there):
                found.append((fax, f"{link['key']}: {different}"))
    return found


def _broken(fax: str, every: Sequence[Part]) -> str:
    head, count = seals.beginning(fax), 0
    for part in every:
        head, count = seals.extended(head, part.new), count + len(part.new)
        leaf = seals.leaf(fax, part.head, part.links)
        if (head, count) != (part.head, part.links) or part.leaves[part.place : part.place + 1] != (leaf,):
            return f"its chain is not the one that is in seal {part.seal}"
    return ""


def _different(link: Json, now: dict[str, Json]) -> str:
    """How a row differs from what was sealed of it; "" = not at all."""
    key = str(link["key"])
    there = now.get(key)
    if there is not None:
        return ", ".join(sorted(name for name in link.keys() | there.keys() if link.get(name) != there.get(name)))
    kind, _, name = key.partition(":")
    if kind == "heard":  # said again with proof
        return "" if f"said:{name}" in now else "gone"
    if kind == "pages":  # made anew
        return "" if any(int(one[6:]) > int(name) for one in now if one.startswith("pages:")) else "gone"
    if kind == "told":
        row, _, times = name.partition(":")
        again = sum(one.get("note") == outbox.AGAIN and one["detail"] == row for one in now.values())
        if again > int(times or 0):
            return ""
    if kind == "told" and (link["state"] == outbox.GIVEN_UP or link["kind"] == outbox.ALARM):  # owed anew
        return ""
    return "gone"

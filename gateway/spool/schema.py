"""The tables, in SQLAlchemy Core, the same on SQLite and PostgreSQL.

Times are aware UTC: `timestamptz` on PostgreSQL; on SQLite text of fixed width, which sorts and which a person can
read in the shell. Lists and small records are JSON text. Changes to this file need a migration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    bindparam,
    false,
    func,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

#: Due at this time = not due until somebody says so.
PARKED = datetime(9999, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return value if dialect.name == "postgresql" else _written(value)

    # Every row has several times: they are converted with nothing around it.
    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        return None if dialect.name == "postgresql" else _written

    def result_processor(self, dialect: Dialect, _coltype: object) -> Callable[[Any], datetime | None]:
        return _in_utc if dialect.name == "postgresql" else _read


@lru_cache(1024)  # most times in a transaction are that of the transaction
def _written(value: datetime | None) -> str | None:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z") if value else None


def _read(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _in_utc(value: datetime | None) -> datetime | None:
    return value.astimezone(UTC) if value else None


def moment(value: datetime) -> BindParameter[datetime]:
    """A time in an expression that is not a plain comparison with a column: there its type is not known of itself, and
    SQLite would get a text that sorts elsewhere."""
    return literal(value, Moment())


class _Names(TypeDecorator[list[str]]):
    """Many texts as one value: an array, or JSON."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return ARRAY(Text()) if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return json.dumps(list(value))


class _Among(FunctionElement[bool]):
    inherit_cache = True
    type = Boolean()

    def self_group(self, against: Any = None) -> _Among:
        """It is a condition as it stands; compared with 1, as truth is on SQLite, it would find no index."""
        return self


@compiles(_Among, "postgresql")
def _any(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, wanted = element.clauses
    return str(compiler.process(column == func.any(wanted), **options))


@compiles(_Among, "sqlite")
def _each(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, wanted = element.clauses
    return str(compiler.process(column.in_(select(func.json_each(wanted).table_valued("value").c.value)), **options))


def among(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether a column is one of the texts given as `name`. However many they are, it is one statement: the databases
    prepare it once."""
    return _Among(column, bindparam(name, type_=_Names()))


metadata = MetaData()

account = Table(
    "account",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("login", String, unique=True),  # lower case; NULL: cannot sign in
    Column("password_hash", String, nullable=False),
    Column("senders", Text, nullable=False),
    Column("networks", Text, nullable=False),
    Column("countries", Text, nullable=False),
    Column("declared", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("guid", String(40), nullable=False, server_default=""),
    Column("settings", Text, nullable=False, server_default="{}"),
    Column("prepaid", Boolean, nullable=False, server_default=false()),
    Column("digest_hash", String, nullable=False, server_default=""),  # for clients that send md5(password)
    Column("dmarc", Boolean, nullable=False, server_default=false()),
    Column("bulk", Boolean, nullable=False, server_default=false()),
    Index("ix_account_guid", "guid", unique=True),
)

line = Table(
    "line",
    metadata,
    Column("number", String(16), primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("carrier", String, nullable=False),
    Column("mailbox", Text, nullable=False),
    Column("declared", Boolean, nullable=False),
    Column("added_at", Moment),  # NULL: long ago
)

submission = Table(
    "submission",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("envelope", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("resent_message_id", Text, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("from_header", Text, nullable=False),
    Column("thread", Text, nullable=False),
    Column("auto_submitted", Boolean, nullable=False),
    Column("document", String(64), nullable=False),
    Column("content_type", String, nullable=False),
    Column("accepted_at", Moment, nullable=False),
    Column("cover", Text, nullable=False, server_default=""),  # "" = that of a mail
    Column("redial", Boolean, nullable=False, server_default=true()),
)

transmission = Table(
    "transmission",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("submission_id", String(32), nullable=False, index=True),
    Column("account_id", String(32), nullable=False),
    Column("number", String(16), nullable=False),
    Column("sub_address", String(20), nullable=False),
    Column("carrier", String, nullable=False),
    Column("caller", String(16), nullable=False),
    Column("state", String(12), nullable=False),
    Column("outcome", String(20)),
    Column("reason", Text, nullable=False),
    Column("document", String(64)),
    Column("pages", Integer, nullable=False),
    Column("pages_sent", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("accepted_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("due_at", Moment),
    Column("status", String(8)),
    Column("shredded_at", Moment),  # when it gave up its documents
    # Micro-EUR. What a page costs; NULL: nobody pays. What is held for it, from before the first call to the end; what it cost.
    Column("price", BigInteger),
    Column("held", BigInteger),
    Column("cost", BigInteger),
    Column("counted", Text),  # JSON: what its pages are counted in (`usage`), and how much; NULL: nothing
    Index("ix_transmission_newest", "accepted_at", "id"),
    Index("ix_transmission_account", "account_id", "accepted_at", "id"),
    Index("ix_transmission_state", "state", "accepted_at", "id"),
)

recipient = Table(
    "recipient",
    metadata,
    Column("submission_id", String(32), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("transmission_id", String(32), nullable=False, index=True),
    Column("written", Text, nullable=False),
    Column("number", String(16), nullable=False),
    Column("sub_address", String(20), nullable=False),
    Column("cover_name", Text, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("notify", Text, nullable=False),
    Column("original_recipient", Text, nullable=False),
)

#: What was accepted lately, so that a client that missed our 250 does not cause a second fax.
seen = Table(
    "seen",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("transmission_id", String(32), nullable=False),
    Column("submission_id", String(32), nullable=False),
    Column("seen_at", Moment, nullable=False, index=True),
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("transmission_id", String(32), nullable=False),
    Column("n", Integer, nullable=False),
    Column("carrier", String, nullable=False),
    Column("reference", String(32), nullable=False, unique=True),
    Column("carrier_ref", Text),  # NULL while unknown
    Column("state", String(12), nullable=False),
    Column("outcome", String(20)),
    Column("carrier_code", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("pages_sent", Integer, nullable=False),
    Column("station_id", Text, nullable=False),
    Column("seconds", Float),
    Column("opened_at", Moment, nullable=False),
    Column("submitted_at", Moment),
    Column("finished_at", Moment),
    # While it may be calling: the called number, and which of the carrier's calls it is. Two attempts never share one.
    Column("dialling", String(16)),
    Column("slot", Integer),
    Column("planned_at", Moment),  # when the carrier was told to send it; NULL: at once
    Column("speed", Integer),  # bits a second, as the machines agreed; NULL: not said
    Column("resolution", String(12), nullable=False, server_default=""),
    Column("report", String(64)),  # the carrier's transmission report; "": to be fetched, NULL: there is none
    UniqueConstraint("transmission_id", "n"),
    UniqueConstraint("carrier", "carrier_ref"),
)
Index("ix_attempt_submitted", attempt.c.carrier, attempt.c.submitted_at)
_calling = attempt.c.slot.is_not(None)
Index("ix_attempt_dialling", attempt.c.dialling, unique=True, sqlite_where=_calling, postgresql_where=_calling)
Index("ix_attempt_slot", attempt.c.carrier, attempt.c.slot, unique=True, sqlite_where=_calling, postgresql_where=_calling)

#: The next step of one transmission, inbound fax or outbox row. `due_at` is both schedule and end of the lease. `band`
#: says how many of its account's steps were there before it, `rank` where it stands in its lane: 0 = only to be looked
#: at, else its band. `waits_for` is a number that another fax is calling.
step = Table(
    "step",
    metadata,
    Column("subject", String(32), primary_key=True),
    Column("kind", String(12), nullable=False),
    Column("lane", String, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("age", Moment, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("token", String(32)),
    Column("nudged", Boolean, nullable=False),
    Column("account_id", String(32), nullable=False, index=True, server_default=""),
    Column("band", Integer, nullable=False, server_default="1"),
    Column("rank", Integer, nullable=False, server_default="1"),
    Column("waits_for", String(16)),
    Index("ix_step_due", "lane", "rank", "due_at", "subject"),
)
_waits = step.c.waits_for.is_not(None)
Index("ix_step_waits", step.c.waits_for, step.c.band, step.c.age, sqlite_where=_waits, postgresql_where=_waits)

event = Table(
    "event",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("carrier", String, nullable=False),
    Column("event_key", Text, nullable=False),
    Column("carrier_ref", Text, nullable=False),
    Column("reference", String(32), nullable=False),
    Column("state", String(12), nullable=False),
    Column("outcome", String(20)),
    Column("carrier_code", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("pages_sent", Integer, nullable=False),
    Column("station_id", Text, nullable=False),
    Column("seconds", Float),
    Column("at", Moment, nullable=False),
    Column("believed", Boolean, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("applied_at", Moment),
    Column("late", Boolean, nullable=False),
    Column("speed", Integer),
    Column("resolution", String(12), nullable=False, server_default=""),
    UniqueConstraint("carrier", "event_key"),
    Index("ix_event_ref", "carrier", "carrier_ref"),
    Index("ix_event_reference", "reference"),
)

#: What a person asked for: cancel, hold, release, retry. Applied by whoever holds the lease.
steering = Table(
    "steering",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("transmission_id", String(32), nullable=False, index=True),
    Column("verb", String(12), nullable=False),
    Column("choice", String(12), nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_at", Moment, nullable=False),
    Column("applied_at", Moment),
    Column("answer", Text, nullable=False),
)

inbound = Table(
    "inbound",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("carrier", String, nullable=False),
    Column("carrier_ref", Text, nullable=False),
    Column("line", String(16), nullable=False),
    Column("caller", String, nullable=False),
    Column("station_id", Text, nullable=False),
    Column("sub_address", String(20), nullable=False),
    Column("state", String(12), nullable=False),
    Column("document", String(64)),
    Column("original", String(64)),
    Column("pages", Integer, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("seconds", Float),
    Column("received_at", Moment, nullable=False),
    Column("announced_at", Moment, nullable=False),
    Column("reason", Text, nullable=False),
    Column("account_id", String(32), nullable=False, server_default=""),  # whose line it was; "" = nobody's
    Column("route", Text, nullable=False, server_default=""),  # what decided where it goes, in words
    Column("released", Boolean, nullable=False, server_default=false()),  # by a person: rules hold and drop it no more
    Column("mailbox", Text, nullable=False, server_default="[]"),  # who is to get it, where that person said so
    Column("withheld_from", String(32), nullable=False, server_default=""),  # whose it is, while nobody may see it
    Column("resolution", String(16), nullable=False, server_default=""),  # dots by lines an inch, of the first page
    Column("damaged", Integer, nullable=False, server_default="0"),  # pages
    UniqueConstraint("carrier", "carrier_ref"),
    Index("ix_inbound_newest", "announced_at", "id"),
    Index("ix_inbound_account", "account_id", "announced_at", "id"),
)

#: Mails and callbacks we owe: results, received faxes, alarms. Sent only when the mail server said 250, the program 200.
outbox = Table(
    "outbox",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(12), nullable=False),
    Column("about", String(40), nullable=False),
    Column("recipient", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("document", String(64)),
    Column("state", String(12), nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("sent_at", Moment),
    # Of a callback: how often it was not taken, and when it was tried first.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("tried_at", Moment),
    # What was said when it came back after all; "": it did not.
    Column("returned", Text, nullable=False, server_default=""),
    # Of a mail that was sent: its Message-ID, and the SHA-256 of its octets.
    Column("message_id", Text, nullable=False, server_default=""),
    Column("mail", String(64), nullable=False, server_default=""),
    UniqueConstraint("kind", "about", "recipient"),
)

#: Documents that a fax has let go of before its time. They leave the shelf soon, unless a row names them again.
discarded = Table(
    "discarded",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("at", Moment, nullable=False, index=True),
)

#: A program signed in at the PamFax door. The token is kept as its SHA-256; `state` is JSON.
pamfax_session = Table(
    "pamfax_session",
    metadata,
    Column("token", String(64), primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("application", String(64), nullable=False),
    Column("used_at", Moment, nullable=False, index=True),
    Column("lifetime", Integer, nullable=False),  # seconds without a call after which it ends
    Column("state", Text, nullable=False),
)

#: A fax that a program is putting together, or has put together there. `body` is JSON.
pamfax_job = Table(
    "pamfax_job",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("changed_at", Moment, nullable=False, index=True),
)

#: The documents of such a fax: its files, and its pages once they are made.
pamfax_file = Table(
    "pamfax_file",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("job_id", String(32), nullable=False, index=True),
    Column("document", String(64), nullable=False, index=True),
)

#: What an account said about a fax there: read, in the trash, spam, published, a note.
pamfax_mark = Table(
    "pamfax_mark",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("about", String(40), primary_key=True),
    Column("kind", String(12), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("text", Text, nullable=False),
)

#: What a prepaid account can still spend, and what is held for its unfinished faxes; micro-EUR. `spool.ledger` alone
#: writes it, in the transaction of the entry that says why.
purse = Table(
    "purse",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("available", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
)

#: Why a purse is what it is; never changed, never removed. The amounts of an account add up to what is available.
entry = Table(
    "entry",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("at", Moment, nullable=False),
    Column("kind", String(8), nullable=False),  # hold, settle, refund, credit, debit, voucher
    Column("amount", BigInteger, nullable=False),
    Column("about", String(64), nullable=False),  # the fax, or whatever was paid for
    Column("n", Integer, nullable=False),
    Column("note", Text, nullable=False),
    UniqueConstraint("kind", "about", "n"),  # nothing is booked twice
    Index("ix_entry_account", "account_id", "at", "id"),
)

#: Programs that may call the PamFax API; the secret is needed in clear for checksums, and encrypted with the spool's key.
application = Table(
    "application",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("zone", String, nullable=False),
    Column("declared", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
)

#: What an account has set in the PamFax API: `body` is JSON, its profile and rights.
profile = Table(
    "profile",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("currency", String(3), nullable=False),  # "" = that of the door
    Column("zone", String, nullable=False),  # "" = that of the application
    Column("body", Text, nullable=False),
)

#: Numbers that nobody ("") or one account may fax.
blocked = Table(
    "blocked",
    metadata,
    Column("number", String(16), primary_key=True),
    Column("account_id", String(32), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("at", Moment, nullable=False),
)

#: Callers whose faxes nobody gets: a number, its beginning and "*", or "unknown".
blocked_caller = Table(
    "blocked_caller",
    metadata,
    Column("pattern", String(17), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("at", Moment, nullable=False),
)

#: What accounts have used of their limits: faxes, pages or micro-EUR in an hour, a day or a month.
usage = Table(
    "usage",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("ends_at", Moment, nullable=False, index=True),
)

#: Faxes that somebody must agree to before they are sent. `words` says how that was decided.
approval = Table(
    "approval",
    metadata,
    Column("transmission_id", String(32), primary_key=True),
    Column("approver", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_at", Moment, nullable=False),
    Column("decided_at", Moment),
    Column("verdict", String(12), nullable=False),
    Column("words", Text, nullable=False),
    Column("send_at", Moment),  # when it was to be sent, where it was asked for before that time
    Column("proof", Boolean, nullable=False, server_default=false()),  # its sender is shown the pages, and agrees to them
)

#: What was asked by mail. `mail` is known again when it is handed in again, `once` when the same is asked again.
command = Table(
    "command",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("mail", String(64), nullable=False, unique=True),
    Column("once", String(64), unique=True),
    Column("transmission_id", String(32), nullable=False, index=True),
    Column("words", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("wish", String(32)),  # of `steering`; NULL: the answer was known at once
    Column("answer", Text, nullable=False),
    Column("at", Moment, nullable=False),
)

#: Faxes whose pages are those of an earlier one, as they were sent.
again = Table(
    "again",
    metadata,
    Column("transmission_id", String(32), primary_key=True),
    Column("document", String(64), nullable=False, index=True),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
)

#: The gateway's own keys (`gateway.seal`). The private one is encrypted with the spool's; "" once another one follows.
sealing_key = Table(
    "sealing_key",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("statement", Text, nullable=False),
    Column("signature", String(128), nullable=False),
    Column("by_previous", String(128), nullable=False),
    Column("secret", Text, nullable=False),
)

#: Signed roots; never changed, never removed. `leaves` has 32 bytes for each fax in the tree, `upto` the last row of the
#: history that was looked at.
seal = Table(
    "seal",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("statement", Text, nullable=False),
    Column("signature", String(128), nullable=False),
    Column("leaves", LargeBinary, nullable=False),
    Column("upto", BigInteger, nullable=False),
)

#: What happened to one fax, as of one seal: `content` is the new links, one a line, compressed; `links` how many there are
#: with the earlier ones, `place` the leaf's in the tree, `last` the last line of the history that is among them.
chain = Table(
    "chain",
    metadata,
    Column("subject", String(32), primary_key=True),
    Column("seal", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, nullable=False),
    Column("links", Integer, nullable=False),
    Column("head", String(64), nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

#: Mailboxes that are read: by which node, until when that is certain, and how it goes.
imap_mailbox = Table(
    "imap_mailbox",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("token", String(32)),  # of who reads it; NULL: nobody
    Column("node", String, nullable=False),
    Column("until", Moment, nullable=False),
    Column("state", String(12), nullable=False),  # new, reading, failing
    Column("detail", Text, nullable=False),
    Column("since", Moment, nullable=False),  # when it came into this state
)

#: How far a folder was dealt with: no mail below `next_uid` is of interest any more.
imap_folder = Table(
    "imap_folder",
    metadata,
    Column("mailbox", String(40), primary_key=True),
    Column("folder", String, primary_key=True),
    Column("validity", BigInteger, nullable=False),  # its UIDVALIDITY: other numbers mean nothing
    Column("next_uid", BigInteger, nullable=False),
    Column("found_uid", BigInteger, nullable=False),  # the mails below were there when it was numbered so
    Column("since", Moment, nullable=False),  # mails that arrived before are left alone where numbers do not say so
    Column("left_alone", Integer, nullable=False),
)

#: What became of a mail; written in the transaction of its faxes. `key` is what it is known by when it has another number.
imap_mail = Table(
    "imap_mail",
    metadata,
    Column("mailbox", String(40), primary_key=True),
    Column("folder", String, primary_key=True),
    Column("validity", BigInteger, primary_key=True),
    Column("uid", BigInteger, primary_key=True),
    Column("key", String(64)),  # NULL: it was not faxed, or another row has the key
    Column("state", String(12), nullable=False),  # taken, again, refused
    Column("notified", Boolean, nullable=False),  # a disposition notification was promised
    Column("marked", Boolean, nullable=False),  # the mailbox shows it
    Column("reason", Text, nullable=False),
    Column("at", Moment, nullable=False, index=True),
    UniqueConstraint("mailbox", "key"),
)

history = Table(
    "history",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("subject", String(32), nullable=False, index=True),
    Column("at", Moment, nullable=False),
    Column("node", String, nullable=False),
    Column("what", String, nullable=False),
    Column("detail", Text, nullable=False),
)


def _partial(name: str, where: ColumnElement[bool], *columns: Column[Any]) -> None:
    """An index of those rows only."""
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


# What is over, by age; and who needs a document.
_ended = transmission.c.shredded_at.is_(None) & transmission.c.finished_at.is_not(None)
_partial("ix_transmission_kept", _ended, transmission.c.finished_at)
_partial("ix_transmission_shredded", transmission.c.shredded_at.is_not(None), transmission.c.finished_at)
_partial("ix_inbound_kept", inbound.c.original.is_not(None), inbound.c.announced_at)
_partial("ix_outbox_kept", outbox.c.document.is_not(None), outbox.c.created_at)
Index("ix_outbox_created", outbox.c.created_at)
#: The transmission or inbound fax a mail is about, without what may follow.
ABOUT = func.substr(outbox.c.about, text("1"), text("29"))
Index("ix_outbox_subject", ABOUT)
Index("ix_event_received", event.c.received_at)
Index("ix_submission_document", submission.c.document)
#: Every column that names a document. A submission that has given its own up has "".
DOCUMENTS = (
    submission.c.document,
    transmission.c.document,
    inbound.c.document,
    inbound.c.original,
    outbox.c.document,
    attempt.c.report,
    pamfax_file.c.document,
    again.c.document,
)
for _column in DOCUMENTS[1:6]:
    _partial(f"ix_{_column.table.name}_{_column.name}", _column.is_not(None), _column)

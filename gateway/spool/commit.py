"""The committer: concurrent writes share one transaction, and each waits until it is on disk.

A verb is a function of a `Transaction`. Whoever writes hands a verb over and waits; the committer takes all that wait,
runs them in one transaction in its own thread, commits, and answers all. A verb that raises undoes its batch, which is
then run one by one, so that a bad verb harms only its own caller; a verb may therefore run more than once. A verb that
many call at the same moment can be written for all calls of a batch at once (`together`). A batch that had
to give way to another node (a deadlock, a serialization failure) was certainly undone and is run again as a whole. A
database that cannot begin or commit is not asked again for every caller: all of them hear SpoolUnavailable, and after a
commit whose answer was lost nobody runs a second time. A caller that is cancelled does not undo its write: the committer
is never cancelled, only closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from sqlalchemy import Connection, Delete, Insert, Select, Table, Update, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from gateway.errors import SpoolUnavailable
from gateway.fax import AccountId, TransmissionId, TransmissionState
from gateway.spool import bulk, schema

_log = logging.getLogger(__name__)
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
_BATCH = 500
_TRIES = 3
_NOTHING: Mapping[str, Any] = {}
_DATABASE_FAULTS = ("OperationalError", "InterfaceError", "DatabaseError", "InternalError")
#: PostgreSQL: serialization failure, deadlock, unique key taken meanwhile. SQLite has one writer and knows none of them.
_COLLISIONS = frozenset({"40001", "40P01", "23505"})


class Held(NamedTuple):
    """Of a transmission whose claim is ours: what verbs look at."""

    id: TransmissionId
    number: str
    carrier: str
    state: TransmissionState
    account: AccountId
    pages: int
    price: int | None
    held: int | None
    counted: str | None


@dataclass(slots=True)
class Transaction:
    """What a verb works with."""

    at_once: Connection
    """For a statement that neither reads nor writes a row that is put off."""
    now: datetime
    """One time for everything in this transaction, UTC."""
    node: str
    woken: set[str] = field(default_factory=set)
    """Lanes in which something became due."""
    subjects: frozenset[str] = frozenset()
    """What the claims of all its verbs are about, so that they can be looked at together."""
    tokens: dict[str, str | None] = field(default_factory=dict)
    """Of the steps that are locked: who has them (`steps.holds`)."""
    rows: dict[str, Held] | None = None
    """Of the transmissions among `subjects`, read after their steps were locked (`transmissions`)."""
    trying: dict[str, dict[str, str]] | None = None
    """Their open attempts and the state of each, read then too (`transmissions`)."""
    counted: dict[str, int] = field(default_factory=dict)
    """Steps of some accounts, those of this transaction included (`steps.waiting`)."""
    slots: dict[str, tuple[set[int], Iterator[int]]] = field(default_factory=dict)
    """Of some carriers: those in use, or in use before this transaction; and the next ones to look at (`lines.take`)."""
    _unsure: set[bulk.Statement] = field(default_factory=set)
    _put_off: dict[bulk.Statement, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def db(self) -> Connection:
        """For any statement: what was put off is done before."""
        self.flush()
        return self.at_once

    def add(self, table: Table, values: dict[str, Any]) -> None:
        """Insert a row, together with others at the end of the transaction."""
        self._put_off.setdefault(_insert(table, tuple(values)), []).append(values)

    def change(self, table: Table, where: dict[str, Any], values: dict[str, Any]) -> None:
        """Update a row that is certainly there and locked, together with others at the end of the transaction."""
        statement = _update(table, tuple(where), tuple(values))
        self.put_off(statement, {**{f"old_{name}": value for name, value in where.items()}, **values})

    def put_off(self, statement: Update | Delete, values: dict[str, Any], *, sure: bool = True) -> None:
        """Run a statement together with the same one of other verbs. It changes exactly one row, unless not `sure`."""
        self._put_off.setdefault(statement, []).append(values)
        if not sure:
            self._unsure.add(statement)

    def flush(self) -> None:
        """Do what was put off. A batch in which a row was missed is undone, and its verbs are run one by one."""
        put_off, self._put_off = self._put_off, {}
        for statement, values in put_off.items():
            done = bulk.run(self.at_once, statement, values)
            if statement not in self._unsure and done != len(values):
                raise RuntimeError(f"{done} of {len(values)} rows were as expected: {statement}")

    def insert_new(self, table: Table, rows: Sequence[dict[str, Any]], own: str = "id") -> set[str]:
        """Insert those rows whose unique keys are not there yet, in this order. `own` is a column in which they are like
        no row before; its values in the inserted ones are the answer."""
        ours = {str(row[own]) for row in rows}
        if not rows or bulk.run(self.at_once, _insert_new(table, self.at_once.dialect.name), rows) == len(rows):
            return ours
        (key,) = table.primary_key
        return ours.intersection(self.at_once.scalars(_stored(table, own), {"wanted": [row[key.name] for row in rows]}))

    def note(self, subject: str, what: str, detail: str = "") -> None:
        """One line in the history of a fax."""
        self.add(schema.history, {"subject": subject, "at": self.now, "node": self.node, "what": what, "detail": detail})


@functools.cache
def _insert_new(table: Table, dialect: str) -> Insert:
    """The one statement that the two databases spell with different constructs."""
    module = postgresql if dialect == "postgresql" else sqlite
    statement: Insert = module.insert(table).on_conflict_do_nothing()
    return statement


@functools.cache
def _stored(table: Table, column: str) -> Select[tuple[str]]:
    (key,) = table.primary_key
    return select(table.c[column]).where(schema.among(key, "wanted"))


@functools.cache
def _insert(table: Table, _names: tuple[str, ...]) -> Insert:
    """One for each set of columns: rows are put off with those of the same shape."""
    return insert(table)


@functools.cache
def _update(table: Table, where: tuple[str, ...], _names: tuple[str, ...]) -> Update:
    return update(table).where(*(table.c[name] == bindparam(f"old_{name}") for name in where))


_TOGETHER: dict[Callable[..., Any], Callable[[Transaction, Sequence[Any]], list[Any]]] = {}


def together(
    many: Callable[[Transaction, Sequence[tuple[*Arguments]]], list[T]],
) -> Callable[[Transaction, *Arguments], T]:
    """A verb written for a list of calls: those of a batch are one list, and a single call is a list of one."""

    @functools.wraps(many)
    def one(t: Transaction, *arguments: *Arguments) -> T:
        return many(t, [arguments])[0]

    _TOGETHER[one] = many
    return one


@dataclass(slots=True)
class _Waiting:
    verb: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    subject: str
    check: Callable[[], None] | None
    answer: asyncio.Future[Any]


def _run(t: Transaction, batch: Sequence[_Waiting]) -> list[Any]:
    """The verbs of a batch, in its order."""
    for waiting in batch:
        if waiting.check:
            waiting.check()
    values = list[Any]()
    for verb, calls in groupby(batch, key=lambda waiting: waiting.verb):
        if many := _TOGETHER.get(verb):
            values += many(t, [call.arguments for call in calls])
        else:
            values += [verb(t, *call.arguments, **call.named) for call in calls]
    return values


_Result = tuple[Any, Exception | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """One transaction: committed, or undone by an error."""

    values: list[Any] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)
    error: Exception | None = None
    by_verb: bool = False
    """The error came while a verb ran, not from beginning or committing."""

    def results(self, batch: list[_Waiting]) -> list[_Result]:
        if self.error is None:
            return [(value, None) for value in self.values]
        return [(None, _named(self.error)) for _ in batch]


class Committer:
    """Runs verbs in shared transactions. `begin` opens one transaction as a context manager."""

    def __init__(
        self,
        begin: Callable[[], contextlib.AbstractContextManager[Transaction]],
        woken: Callable[[set[str]], None],
    ) -> None:
        self._begin, self._woken = begin, woken
        self._waiting: list[_Waiting] = []
        self._in_hand: list[_Waiting] = []
        self._something = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="committer")
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.transactions = 0
        """How many transactions were committed."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="committer")

    async def close(self) -> None:
        """Write what waits, then stop."""
        self._closing = True
        self._something.set()
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)  # one that died was told of when it did
        self._thread.shutdown(wait=True)

    async def write(
        self,
        verb: Callable[..., T],
        arguments: tuple[Any, ...] = (),
        named: Mapping[str, Any] = _NOTHING,
        subject: str = "",
        check: Callable[[], None] | None = None,
    ) -> T:
        """Run one verb; on disk when this returns. Raises SpoolUnavailable, or what the verb raises.

        `subject` is the fax whose rows it locks: a batch goes through them by id, so that two nodes seldom deadlock.
        `check` is called in the transaction before any verb of it, and may raise.
        """
        if self._closing:
            raise SpoolUnavailable
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(verb, arguments, named, subject, check, answer))
        self._something.set()
        return await answer

    @property
    def failed(self) -> bool:
        """Whether it has died: nothing is written any more."""
        return (
            self._task is not None and self._task.done() and not self._task.cancelled() and self._task.exception() is not None
        )

    async def _work(self) -> None:
        """Should it ever die, nobody waits for it for ever, and who comes then is told that nothing can be written."""
        try:
            await self._batches()
        except Exception:
            _log.exception("nothing can be written any more", extra={"action": "committer_died"})
            raise
        finally:
            self._closing = True
            for waiting in (*self._in_hand, *self._waiting):
                if not waiting.answer.done():
                    waiting.answer.set_exception(SpoolUnavailable())

    async def _batches(self) -> None:
        while True:
            await self._something.wait()
            await asyncio.sleep(0)  # those who were answered a moment ago, and write again
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            if not batch:
                if self._closing:
                    return
                self._something.clear()
                continue
            self._in_hand = batch
            batch.sort(key=lambda waiting: (getattr(waiting.verb, "__qualname__", ""), waiting.subject))  # a partial has none
            results, woken = await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, batch)
            for waiting, (value, error) in zip(batch, results, strict=True):
                if waiting.answer.cancelled():
                    continue
                if error is not None:
                    waiting.answer.set_exception(error)
                else:
                    waiting.answer.set_result(value)
            if woken:
                self._woken(woken)

    def _commit(self, batch: list[_Waiting]) -> tuple[list[_Result], set[str]]:
        """All in one transaction; where a verb spoils it, each in its own until the database itself is at fault."""
        ran = self._persistently(batch)
        if ran.error is None or not ran.by_verb or len(batch) == 1:
            return ran.results(batch), ran.woken
        results: list[_Result] = []
        woken: set[str] = set()
        for n, waiting in enumerate(batch):
            alone = self._persistently([waiting])
            if alone.error is not None and not alone.by_verb:
                results += alone.results(batch[n:])
                break
            results += alone.results([waiting])
            woken |= alone.woken
        return results, woken

    def _persistently(self, batch: list[_Waiting]) -> _Ran:
        """One transaction, again where another node was in its way."""
        for _ in range(_TRIES - 1):
            ran = self._transaction(batch)
            if ran.error is None or not _in_each_others_way(ran.error):
                return ran
        return self._transaction(batch)

    def _transaction(self, batch: list[_Waiting]) -> _Ran:
        by_verb = False
        try:
            with self._begin() as transaction:
                by_verb = True
                transaction.subjects = frozenset(waiting.subject for waiting in batch) - {""}
                values = _run(transaction, batch)
                transaction.flush()
                by_verb = False
            self.transactions += 1
            return _Ran(values=values, woken=transaction.woken)
        except Exception as error:  # noqa: BLE001  # every verb's failure belongs to its caller, whatever it is
            return _Ran(error=error, by_verb=by_verb)


def _in_each_others_way(error: Exception) -> bool:
    """Whether two nodes wrote the same rows at once and one of them had to give way: worth another try."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") in _COLLISIONS


def _named(error: Exception) -> Exception:
    """A database that cannot be written now is our word for it; anything else is the verb's own error."""
    if isinstance(error, DBAPIError) and type(error).__name__ in _DATABASE_FAULTS:
        unavailable = SpoolUnavailable("The spool's database cannot be written right now.")
        unavailable.__cause__ = error
        return unavailable
    if isinstance(error, StopIteration):  # the one exception that cannot be handed to a waiting caller
        return RuntimeError(f"a verb ran out of {error.value!r}")
    return error

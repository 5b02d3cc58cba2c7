"""The store: one database, its committer and its readers. Verbs and queries are in the modules beside it.

    await store.write(submissions.accept, submission, calls)     durable when it returns
    await store.read(queries.case, transmission_id)

SQLite (WAL, synchronous=FULL, BEGIN IMMEDIATE, one writer) or PostgreSQL, by URL. On SQLite one process owns the
spool: a lock file says so. On PostgreSQL several nodes work at once: the time is the database's, so that they agree on
when a lease ends, and what one makes due wakes the others. Writes run in the committer's thread, reads in a few of their
own, so that an fsync never stops the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from gateway.errors import SpoolBusy, SpoolUnavailable
from gateway.spool import clock, migrations
from gateway.spool.commit import Committer, Transaction
from gateway.spool.steps import Claim
from gateway.spool.wakeups import Wakeups, announce

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
_log = logging.getLogger(__name__)
#: What is asked for, and who waits for it.
_Asked = list[tuple[Any, asyncio.Future[Any]]]
_DATABASE = "faxgate.db"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: A database server that has gone without a word is noticed within half a minute, also while a commit waits for it.
_PATIENCE = {
    "connect_timeout": "10",
    "tcp_user_timeout": "20000",
    "keepalives_idle": "20",
    # A node that is frozen in the middle of a transaction must not keep the rows it has locked from the others.
    "options": "-c idle_in_transaction_session_timeout=10s -c lock_timeout=20s",
}
_TIME = text("SELECT clock_timestamp()")


class Store:
    """The database of one spool. `now` is the wall clock; `elapsed` runs on when that is set, default: the wall clock."""

    def __init__(
        self,
        spool: Path,
        url: str = "",
        *,
        now: Callable[[], datetime],
        elapsed: Callable[[], timedelta] | None = None,
        node: str = "",
    ) -> None:
        self._clock, self._elapsed = now, elapsed or (lambda: now() - _EPOCH)
        self._zero = now() - elapsed() if elapsed else _EPOCH
        self.times_set = 0
        """Another number whenever the times of everything unfinished were moved, because the clock was set."""
        self.node = node or f"{socket.gethostname()}:{os.getpid()}"
        self._spool = spool
        self.embedded = not url
        self._url = f"sqlite:///{spool / _DATABASE}" if self.embedded else _sqlalchemy_url(url)
        self._lock: int | None = None
        self._writer = _engine(self._url, size=1)
        self._reader = _engine(self._url, size=4)
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="reader")
        self._committer = Committer(self._begin, self._wake)
        self._asked: defaultdict[Any, _Asked] = defaultdict(list)
        self._woken: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._wakeups = None if self.embedded else Wakeups(self._writer.url, self._heard, self._wake_all)

    def now(self) -> datetime:
        """The time that leases and due times are judged by, UTC: on PostgreSQL that of the database, as of the last
        transaction, else this machine's, as of the last time that it was set; gone on with a clock that is not set."""
        return self._zero + self._elapsed()

    @staticmethod
    def exists(spool: Path) -> bool:
        """Whether a folder has an SQLite spool."""
        return (spool / _DATABASE).exists()

    def open(self) -> None:
        """Take the spool, bring its tables up to date. Raises SpoolBusy, SpoolUnavailable, ConfigError."""
        if self.embedded:
            self._take()
        try:
            migrations.upgrade(self._writer)
            with self._writer.begin() as connection:
                self._time(connection)
                if self.embedded:
                    self._not_ahead(connection)
        except DBAPIError as error:
            raise SpoolUnavailable(f"The database cannot be opened: {error.orig}") from error

    def start(self) -> None:
        """Begin to take writes, and to hear of other nodes' work; needs a running event loop."""
        self._committer.start()
        if self._wakeups is not None:
            self._wakeups.start()

    @property
    def failed(self) -> bool:
        """Whether nothing will ever be written any more. It means: stop the service."""
        return self._committer.failed

    async def close(self) -> None:
        """Write what waits, then let go of the spool."""
        if self._wakeups is not None:
            await self._wakeups.stop()
        await self._committer.close()
        self._readers.shutdown(wait=True)
        self.release()

    def release(self) -> None:
        """Let go of database and lock."""
        self._writer.dispose()
        self._reader.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def write(self, verb: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one verb in a transaction shared with others. On disk when this returns. Raises SpoolUnavailable."""
        subject = next((value.subject for value in args if isinstance(value, Claim)), "")
        times_set = self.times_set

        def check() -> None:
            if self.times_set != times_set:  # what it was told is due then is due at another time now
                raise SpoolUnavailable("The clock was set in this moment.")

        return await self._committer.write(verb, args, kwargs, subject, check)

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one query. Raises SpoolUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: self._read(query, *args, **kwargs))

    async def read_one(self, query: Callable[[Connection, Sequence[K]], Mapping[K, T]], key: K) -> T | None:
        """One result of a query for many; None where it has none. What is asked for at the same moment is read together:
        the steps of a lane begin at the same moment. Raises SpoolUnavailable."""
        asked = self._asked[query]
        if not asked:
            reading = asyncio.create_task(self._read_asked(query))
            reading.add_done_callback(partial(_answer, asked))
        answer: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        asked.append((key, answer))
        return await answer

    async def _read_asked(self, query: Callable[[Connection, Sequence[K]], Mapping[K, T]]) -> Mapping[K, T]:
        await asyncio.sleep(0)  # the others who are about to ask
        return await self.read(query, list({key for key, _ in self._asked.pop(query)}))

    def woken(self, lane: str) -> asyncio.Event:
        """Set when something became due in a lane."""
        return self._woken[lane]

    @property
    def transactions(self) -> int:
        """How many transactions were committed since the start."""
        return self._committer.transactions

    def _read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with self._reader.connect() as connection:
                return query(connection, *args, **kwargs)
        except DBAPIError as error:
            raise SpoolUnavailable("The spool's database cannot be read right now.") from error

    @contextlib.contextmanager
    def _begin(self) -> Iterator[Transaction]:
        with self._writer.begin() as connection:
            transaction = Transaction(connection, self._time(connection), self.node)
            yield transaction
            by = self._clock() - self.now() if self.embedded else timedelta(0)
            if was_set := abs(by) > clock.NOTICED:
                clock.move(connection, by)
            if transaction.woken and self._wakeups is not None:
                announce(connection, self._wakeups.name, transaction.woken)
        if was_set:
            self.times_set += 1  # once before and once after: whoever reads between them has neither number
            self._zero += by
            self.times_set += 1
            _log.warning("the clock was set by %s: what waits is moved along", by, extra={"action": "clock_set"})

    def _not_ahead(self, connection: Connection) -> None:
        """The clock may have been set back while nobody was here: then what was written last is still to come."""
        last = clock.latest(connection)
        if last is not None and last - self.now() > clock.NOTICED:
            clock.move(connection, self.now() - last)
            _log.warning("the clock was set back since the last stop", extra={"action": "clock_was_set"})

    def _time(self, connection: Connection) -> datetime:
        """The database's time; SQLite has none of its own."""
        if self.embedded:
            return self.now()
        now: datetime = connection.execute(_TIME).scalar_one().astimezone(UTC)
        self._zero = now - self._elapsed()
        return now

    def _wake(self, lanes: set[str]) -> None:
        for lane in lanes:
            self._woken[lane].set()

    def _heard(self, lanes: set[str]) -> None:
        self._wake(lanes & self._woken.keys())

    def _wake_all(self) -> None:
        self._wake(set(self._woken))

    def _take(self) -> None:
        try:
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Addresses and password hashes are in it; SQLite gives its other files the same rights.
            (self._spool / _DATABASE).touch(0o600)
            self._lock = os.open(self._spool / "faxgate.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpoolBusy(f"Another process owns the spool {self._spool}: one faxgate serves one SQLite spool.") from error
        except OSError as error:
            raise SpoolUnavailable(f"The spool {self._spool} cannot be used ({error.strerror}).") from error


def _answer(asked: _Asked, reading: asyncio.Task[Mapping[Any, Any]]) -> None:
    """Each of those who asked together; one that was cancelled has gone."""
    error = None if reading.cancelled() else reading.exception()
    for key, answer in asked:
        if reading.cancelled():
            answer.cancel()
        elif answer.done():
            continue
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(reading.result().get(key))


def _sqlalchemy_url(url: str) -> str:
    """`postgresql://` means psycopg 3 here."""
    return "postgresql+psycopg://" + url.split("://", 1)[1] if url.startswith(("postgresql://", "postgres://")) else url


def _engine(url: str, size: int) -> Engine:
    embedded = url.startswith("sqlite")
    wanted = make_url(url)
    if not embedded:
        wanted = wanted.set(query={**_PATIENCE, **wanted.query})
    engine = create_engine(
        wanted,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        connect_args={"check_same_thread": False} if embedded else {},
        pool_pre_ping=not embedded,  # a server that was restarted costs nobody a write
        **({} if embedded else {"isolation_level": "READ COMMITTED"}),
    )
    if embedded:
        event.listen(engine, "connect", _prepare_sqlite)
        # The driver's own transaction handling begins too late and without IMMEDIATE.
        event.listen(
            engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE" if size == 1 else "BEGIN")
        )
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "cache_size=-8000"):
        connection.execute(f"PRAGMA {pragma}").close()

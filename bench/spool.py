"""The spool alone, next to its peers in the same run: `python -m bench.spool [--faxes N] [--postgres] [--long]`.

    faxes/s     through all durable steps (bench/way.py), doors and lanes at once, on SQLite and with --postgres on a
                private PostgreSQL server with fsync on; peers (bench/peers.py): procrastinate, DBOS
    a fax       transactions, fsyncs, CPU ms of the process and of the database server
    queued      the rate with 100,000 (--long: 1,000,000) faxes queued, against an empty queue. Behind a queue the lanes
                are not in step: many more faxes are prepared than told meanwhile. So the rate is that of all steps done,
                five of which are a fax; on an empty queue that is the rate of faxes told. Both are printed.
    parked      CPU of idle lanes beside 100,000 parked faxes
    sealing     what evidence costs beside: CPU ms, statements and bytes of the database for each fax that has gone its way
    pick-up     time from the 250 to the claim, idle; with --postgres also at another node

The peers are needed only here: `pip install faxgate[bench]`. fsyncs are counted with strace where it is installed, in a
run of its own. Every measurement is a process of its own with a time limit, so none disturbs another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import Engine, event

from bench import way
from gateway.desk.notary import Notary
from gateway.spool.store import Store
from tests.spool import postgres

_LIMIT = 900.0  # seconds for one measurement
_TRACED = 300  # faxes under strace
_IDLE = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Figures:
    """What one measurement found."""

    rate: float = 0.0
    """Faxes a second, or of the idle ones the share of a core."""
    cpu: float = 0.0
    """CPU seconds of the measuring process."""
    transactions: int = 0
    waits: tuple[float, ...] = ()
    steps: float = 0.0
    """Steps done a second, by all faxes; five are a fax."""
    statements: int = 0
    bytes: int = 0
    """Of the database, that were added; 0: not known."""
    all_bytes: int = 0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--faxes", type=int, default=3000)
    arguments.add_argument("--queued", type=int, default=100_000)
    arguments.add_argument("--postgres", action="store_true", help="also on PostgreSQL")
    arguments.add_argument("--long", action="store_true", help="also with a million queued")
    arguments.add_argument("--only", choices=("rate", "queued", "parked", "sealing", "pick-up"), help="one part")
    arguments.add_argument("--measure", help=argparse.SUPPRESS)  # what a child process measures
    arguments.add_argument("--url", default="", help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.measure:
        print(json.dumps(asdict(_measured(chosen.measure, chosen.folder, chosen.url, chosen.faxes, chosen.queued))))
        return
    with contextlib.ExitStack() as stack:
        _bench(chosen, Bench("SQLite", ""))
        if chosen.postgres:
            server = stack.enter_context(postgres.server(fsync=True))
            _bench(chosen, Bench("PostgreSQL", server))


def _bench(chosen: argparse.Namespace, bench: Bench) -> None:
    parts = (chosen.only,) if chosen.only else ("rate", "queued", "parked", "sealing", "pick-up")
    if "rate" in parts:
        bench.rates(chosen.faxes)
    if "queued" in parts:
        for queued in (chosen.queued, 1_000_000) if chosen.long else (chosen.queued,):
            bench.queued(chosen.faxes, queued)
    if "parked" in parts:
        bench.parked(chosen.queued)
    if "sealing" in parts:
        bench.sealing(chosen.faxes)
    if "pick-up" in parts:
        bench.pick_up()


class Bench:
    """All measurements on one database."""

    def __init__(self, name: str, server: str) -> None:
        self._name, self._server, self._databases = name, server, 0

    def rates(self, faxes: int) -> None:
        with self._cpu_of_server() as server:
            ours = self._run("ours", faxes)
        self._rate("Faxgate", ours, faxes, server[0])
        peers = ["dbos"] if not self._server else ["procrastinate", "dbos"]
        for name in peers:
            count = max(100, faxes // 10) if name == "dbos" else max(200, faxes // 3)
            with self._cpu_of_server() as server:
                theirs = self._run(name, count)
            self._rate(name, theirs, count, server[0])
            self._say(f"ratio to {name:<14}{ours.rate / theirs.rate:9.1f}")

    def queued(self, faxes: int, queued: int) -> None:
        empty, full = self._run("ours", faxes), self._run("queued", faxes, queued)
        self._say(
            f"{queued:,} queued        {full.steps / 5:8.0f} faxes/s ({full.rate:.0f} told)   empty {empty.steps / 5:.0f}   "
            f"ratio {full.steps / empty.steps:.2f}"
        )

    def parked(self, queued: int) -> None:
        with self._cpu_of_server() as server:
            found = self._run("parked", 0, queued)
        note = "   (the server's share includes filling)" if self._server else ""
        self._say(f"{queued:,} parked        {found.rate * 100:8.2f} % of a core{note}   server {server[0]:.1f} s")

    def sealing(self, faxes: int) -> None:
        found = self._run("sealing", faxes)
        size = f"   {found.bytes / faxes:.0f} bytes, with its rows {found.all_bytes / faxes:.0f}" if found.bytes else ""
        self._say(
            f"sealing of {faxes:,}      {found.rate:9.1f} faxes/s   CPU {1000 * found.cpu / faxes:6.2f} ms a fax   "
            f"{found.statements / faxes:.3f} statements{size}"
        )

    def pick_up(self) -> None:
        for kind in ("pick-up", "pick-up-across") if self._server else ("pick-up",):
            waits = [1000 * wait for wait in self._run(kind, 200).waits]
            where = "at another node" if "across" in kind else "at the same node"
            middle, p99 = statistics.median(waits), statistics.quantiles(waits, n=100)[-1]
            self._say(f"pick-up {where:<16}{middle:7.1f} ms median   p99 {p99:.1f} ms")

    def _rate(self, name: str, found: Figures, faxes: int, server: float) -> None:
        parts = [f"{name:<22}{found.rate:9.1f} faxes/s", f"CPU {1000 * found.cpu / faxes:6.2f} ms a fax"]
        if self._server:
            parts.append(f"server {1000 * server / faxes:.2f} ms")
        if found.transactions:
            parts.append(f"transactions {found.transactions / faxes:.2f} a fax")
        syncs = self._syncs("ours" if name == "Faxgate" else name)
        if syncs is not None:
            parts.append(f"fsyncs {syncs:.2f} a fax")
        self._say("   ".join(parts))

    def _syncs(self, kind: str) -> float | None:
        """fsyncs a fax, counted in a run of its own; None where they cannot be counted."""
        if self._server:
            with self._wal_syncs() as syncs:
                self._run(kind, _TRACED)
            return syncs[0] / _TRACED
        strace = shutil.which("strace")
        if strace is None:
            return None
        with tempfile.NamedTemporaryFile("r", prefix="faxgate-bench-") as counts:
            self._run(kind, _TRACED, before=[strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", counts.name])
            return sum(" = 0" in line for line in counts) / _TRACED

    def _run(self, kind: str, faxes: int, queued: int = 0, before: list[str] | None = None) -> Figures:
        """One measurement in a process of its own, on an empty database."""
        self._databases += 1
        url = postgres.database(self._server, f"bench{self._databases}") if self._server else ""
        with tempfile.TemporaryDirectory(prefix="faxgate-bench-") as folder:
            command = [*(before or []), sys.executable, "-m", "bench.spool", "--measure", kind, "--faxes", str(faxes)]
            command += ["--queued", str(queued), "--url", url, "--folder", folder]
            _progress(f"{self._name}: {kind}, {faxes} faxes")
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_LIMIT, check=True)
        return Figures(**json.loads(done.stdout.splitlines()[-1]))

    @contextlib.contextmanager
    def _cpu_of_server(self) -> Iterator[list[float]]:
        """CPU seconds of the database server meanwhile."""
        found = [0.0]
        before = self._server_seconds()
        yield found
        found[0] = self._server_seconds() - before

    def _server_seconds(self) -> float:
        if not self._server:
            return 0.0
        with psycopg.connect(f"{self._server}/postgres") as connection:
            row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        time.sleep(0.1)  # the backends that have ended are counted with the server that waited for them
        parents = [
            process for process in psutil.process_iter() if process.name() == "postgres" and _serves(process, self._server)
        ]
        total = 0.0
        for process in parents:
            for one in (process, *process.children()):
                times = one.cpu_times()
                total += times.user + times.system
            total += process.cpu_times().children_user + process.cpu_times().children_system
        return total

    @contextlib.contextmanager
    def _wal_syncs(self) -> Iterator[list[int]]:
        found = [0]
        before = self._synced()
        yield found
        found[0] = self._synced() - before

    def _synced(self) -> int:
        time.sleep(1.1)  # the server gathers its statistics once a second
        with psycopg.connect(f"{self._server}/postgres") as connection:
            row = connection.execute("SELECT wal_sync FROM pg_stat_wal").fetchone()
        assert row is not None
        return int(row[0])

    def _say(self, line: str) -> None:
        print(f"{self._name:<11}{line}", flush=True)


def _serves(process: psutil.Process, server: str) -> bool:
    """Whether a process is the server behind a URL."""
    command = process.cmdline()
    return "-p" in command and command[command.index("-p") + 1] == server.rsplit(":", 1)[1]


def _progress(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _measured(kind: str, folder: Path, url: str, faxes: int, queued: int) -> Figures:
    """In the child process."""
    if kind in ("dbos", "procrastinate"):
        from bench import peers  # libraries that only this measurement needs

        cpu = time.process_time()
        took = peers.run(kind, folder, url, faxes)
        return Figures(rate=faxes / took, cpu=time.process_time() - cpu)
    return asyncio.run(_ours(kind, folder, url, faxes, queued))


async def _ours(kind: str, folder: Path, url: str, faxes: int, queued: int) -> Figures:
    store = way.open_store(folder, url)
    try:
        await way.fill(store, queued, _progress)
        if kind == "parked":
            await way.park(store)
            cpu = time.process_time()
            await way.idle(store, _IDLE)
            return Figures(rate=(time.process_time() - cpu) / _IDLE)
        if kind.startswith("pick-up"):
            there = way.open_store(folder, url, "other") if kind == "pick-up-across" else store
            waits = await way.pick_up(store, there, faxes)
            if there is not store:
                await there.close()
            return Figures(waits=tuple(waits))
        if kind == "sealing":
            return await _sealing(store, folder, faxes)
        cpu, transactions = time.process_time(), store.transactions
        walked = way.Way(store, wanted=faxes)
        took = await walked.walk(faxes)
        return Figures(
            rate=faxes / took,
            cpu=time.process_time() - cpu,
            transactions=store.transactions - transactions,
            steps=walked.at_end / took,
        )
    finally:
        await store.close()


async def _sealing(store: Store, folder: Path, faxes: int) -> Figures:
    """Faxes go their way, then all of them are sealed at once."""
    await way.Way(store, wanted=faxes).walk(faxes)
    before, statements = _size(folder), [0]

    def count(*_: object) -> None:
        statements[0] += 1

    event.listen(Engine, "before_cursor_execute", count)
    began, cpu = time.perf_counter(), time.process_time()
    await Notary(store, bytes(32)).seal()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    event.remove(Engine, "before_cursor_execute", count)
    size = _size(folder)
    return Figures(rate=faxes / took, cpu=cpu, statements=statements[0], bytes=size - before, all_bytes=size)


def _size(folder: Path) -> int:
    """Bytes of the SQLite database, without what waits in its log; 0 where it is another one."""
    file = folder / "faxgate.db"
    if not file.exists():
        return 0
    with sqlite3.connect(file) as database:
        (pages,), (size,) = database.execute("PRAGMA page_count").fetchone(), database.execute("PRAGMA page_size").fetchone()
    database.close()
    return int(pages) * int(size)


if __name__ == "__main__":
    main()

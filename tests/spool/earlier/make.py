"""How the spools in this folder were made: by the earlier program itself, stopped with faxes in every unfinished state.

    git worktree add /tmp/earlier COMMIT          the program whose tables have that revision
    python -m tests.spool.earlier.make /tmp/earlier r0001

COMMIT of r0001: 8c33118. It writes `r0001-DATABASE-HOW.tar.xz` here, DATABASE = sqlite, postgresql (plain SQL in both),
HOW = stopped, killed. Beside the dump there are the spool's files, and `mails.json`: called numbers and Message-IDs.
The earlier program runs with the Python and the libraries of now; where they have moved on too far, use those of its lock file.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from tests.flows import house
from tests.flows.house import OWN_LINE, House, as_toml, fresh, letter
from tests.spool import postgres

HERE = Path(__file__).parent
_KEPT = ("key", "documents", "loopback")
_WANTED = {
    "accepted": "SELECT 1 FROM transmission WHERE state = 'accepted'",
    "ready": "SELECT 1 FROM transmission WHERE state = 'ready'",
    "sending": "SELECT 1 FROM attempt WHERE state = 'submitted'",
    "deferred": "SELECT 1 FROM transmission WHERE state = 'deferred'",
    "held": "SELECT 1 FROM transmission WHERE state = 'held'",
    "report owed": "SELECT 1 FROM outbox WHERE state = 'waiting' AND kind = 'result'",
    "announced": "SELECT 1 FROM inbound WHERE state = 'announced'",
}
_OPENING = {"opening": "SELECT 1 FROM attempt WHERE state = 'opening'"}


class Earlier(House):
    """A house in which an earlier program lives."""

    def __init__(self, folder: Path, checkout: Path, database: str) -> None:
        super().__init__(folder)
        self.checkout, self.database = checkout, database
        self.mails: list[tuple[str, str]] = []
        self.settings["carrier"]["main"] |= {"slow_time": "30s"}
        self.settings["retry"] = {"busy": ["1m", "1m", "1m"]}
        self.settings["work"] = {"drain": "5s", "convert": 1}
        if database:
            self.settings["database"] = database

    def start(self, patience: float = 20.0) -> None:
        self.file.write_text(as_toml(self.settings), encoding="utf-8")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "-c", str(self.file)], stdout=log, stderr=log, cwd=self.checkout
            )
        self.wait(self._answers, patience, "the earlier program to start")

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        if not self.database:
            return super().sql(query)
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def hand_in(self, *numbers: str) -> None:
        """A mail each, on one connection."""
        with self.smtp() as client:
            for number in numbers:
                mail = letter(f"Fax to {number}")
                self.mails.append((number, str(mail["Message-ID"])))
                client.sendmail(house.SENDER, house.addresses(number), house.as_bytes(mail))

    def seen(self, wanted: dict[str, str]) -> bool:
        """Whether all this is so at one moment."""
        return all(self.sql(query) for query in wanted.values())


def fill(earlier: Earlier, wanted: dict[str, str]) -> None:
    """Faxes in every state; the program stands still (SIGSTOP) when this returns."""
    assert earlier.process is not None
    done = fresh()
    earlier.hand_in(done)
    earlier.fax(done)
    earlier.letters(1)
    earlier.sink.answer = "451 4.3.0 later"
    owed = fresh()
    earlier.hand_in(owed)
    earlier.fax(owed)
    earlier.hand_in(slow := fresh("18"))
    earlier.wait(lambda: earlier.calls(slow), 20, "a slow call")
    deferred, held = fresh("17"), fresh("17")
    earlier.hand_in(deferred, held)
    for number in (deferred, held):
        earlier.fax(number, "deferred")
    earlier.ask("steer", do="hold", id=earlier.fax(held, "deferred")["id"])
    earlier.fax(held, "held")
    for _ in range(5):
        earlier.hand_in(OWN_LINE, fresh(), OWN_LINE, fresh())
        until = time.monotonic() + 1
        while time.monotonic() < until:
            earlier.process.send_signal(signal.SIGSTOP)
            time.sleep(0.003)
            if earlier.seen(wanted):
                return
            earlier.process.send_signal(signal.SIGCONT)
            time.sleep(0.004)
    raise AssertionError(f"never at once: {[name for name, query in wanted.items() if not earlier.sql(query)]}")


def pack(earlier: Earlier, dump: str, target: Path) -> None:
    with tarfile.open(target, "w:xz") as tar:
        for name, content in (("dump.sql", dump), ("mails.json", json.dumps(earlier.mails))):
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            tar.addfile(info, io.BytesIO(content.encode()))
        for name in _KEPT:
            if (earlier.spool / name).exists():
                tar.add(earlier.spool / name, arcname=name)


def dumped(earlier: Earlier, url: str) -> str:
    if not earlier.database:
        database = sqlite3.connect(earlier.spool / "faxgate.db")
        try:
            return "\n".join(database.iterdump())
        finally:
            database.close()
    program = Path(max(Path("/").glob(postgres.PROGRAMS.lstrip("/")))).with_name("pg_dump")
    made = subprocess.run(
        [program, "--inserts", "--no-owner", "--no-privileges", url], capture_output=True, text=True, check=True
    )
    return "\n".join(line for line in made.stdout.splitlines() if not line.startswith("\\"))


def make(checkout: Path, revision: str, server: str, database: str, how: str) -> bool:
    """One spool; False: not all states were there at one moment."""
    folder = Path(tempfile.mkdtemp(prefix="earlier-"))
    url = postgres.database(server, f"earlier{time.monotonic_ns()}") if database == "postgresql" else ""
    earlier = Earlier(folder, checkout, url)
    try:
        earlier.start()
        fill(earlier, _WANTED | (_OPENING if how == "killed" else {}))
        assert earlier.process is not None
        if how == "killed":
            earlier.kill()
        else:
            earlier.process.terminate()
            earlier.process.send_signal(signal.SIGCONT)
            assert earlier.stop() == 0
        states = {name: len(earlier.sql(query)) for name, query in (_WANTED | _OPENING).items()}
        sys.stdout.write(f"{database} {how}: {states}\n")
        pack(earlier, dumped(earlier, url), HERE / f"{revision}-{database}-{how}.tar.xz")
        return all(states[name] for name in _WANTED if name != "announced" or how == "killed")
    except AssertionError as error:
        sys.stdout.write(f"{database} {how}: again, {str(error)[:200]}\n")
        return False
    finally:
        earlier.close()
        shutil.rmtree(folder)


def persistently(step: Callable[[], bool], times: int = 20) -> None:
    assert any(step() for _ in range(times))


def main(checkout: Path, revision: str) -> None:
    with postgres.server() as server:
        for database in ("sqlite", "postgresql"):
            for how in ("stopped", "killed"):
                persistently(lambda database=database, how=how: make(checkout, revision, server, database, how))  # type: ignore[misc]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

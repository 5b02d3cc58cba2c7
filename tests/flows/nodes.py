"""Several gateways on one spool: what they share, and a client that hands mails in."""

from __future__ import annotations

import contextlib
import email.message
import fcntl
import itertools
import signal
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from gateway.carriers.loopback import Call, calls
from tests.flows.house import BUSY, DOMAIN, House, Sink, addresses, as_bytes, letter, pdf

LEASE = 14.0  # seconds: the least that the trapline's limit allows
_KIND = "trapline"
_counted = itertools.count()


def fresh() -> str:
    """A number that is delivered to, and that no other test calls. A whole run takes some thousands of them, and an exchange
    like 311 or 411 does not exist."""
    exchange, subscriber = divmod(next(_counted), 100)
    return f"+1907{(320 if exchange < 90 else 330) + exchange}{subscriber:02d}23"


class Place:
    """What the nodes of one spool share: database, documents, the far end; and the mail sink of the tests."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database
        self.far = folder / "far"
        self.far.mkdir(parents=True)
        self.sink = Sink()
        self.sink.start()
        self.nodes: list[Node] = []
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def node(self) -> Node:
        """Another one, not started yet."""
        made = Node(self, f"node{len(self.nodes) + 1}")
        self.nodes.append(made)
        return made

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        if self._connection is not None:
            self._connection.close()
        self.sink.stop()

    def calls(self) -> list[Call]:
        """What was really dialled, by all nodes."""
        return calls(self.far / "main") if (self.far / "main" / "journal.jsonl").exists() else []

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        if not self.database:
            return self.nodes[0].sqlite(query)
        if self._connection is None or self._connection.broken:
            self._connection = psycopg.connect(self.database, autocommit=True)
        return self._connection.execute(query.encode()).fetchall()

    def finished(self) -> bool:
        """Nothing is left to do."""
        return self.sql("SELECT count(*) FROM step") == [(0,)]


class Node(House):
    """One `faxgate serve` of a place, with a folder of its own for its socket and scratch files."""

    def __init__(self, place: Place, name: str) -> None:
        folder = place.folder / name
        folder.mkdir()
        super().__init__(folder)
        self.sink.stop()
        self.sink, self.place = place.sink, place
        self.settings["mail"]["smarthost"] = f"smtp://127.0.0.1:{place.sink.port}"
        self.settings |= {"hostname": f"{name}.{DOMAIN}"}
        self.settings["carrier"] = {"main": {"kind": _KIND, "call_time": "0.05s"}}
        self.settings["work"] = {"poll": "0.5s", "drain": "5s", "lease": f"{LEASE:.0f}s"}
        if place.database:
            self.settings |= {"database": place.database, "documents": str(place.folder / "documents")}
        self.spool.mkdir()
        (self.spool / _KIND).symlink_to(place.far)

    def smtp(self, timeout: float = 5) -> smtplib.SMTP:
        return super().smtp(timeout)

    def sqlite(self, query: str) -> list[tuple[Any, ...]]:
        return super().sql(query)

    def sign(self, sign: signal.Signals) -> None:
        """Send a signal. A process is not stopped here while it holds the lock of the far end's journal, which would stop
        the far end too."""
        assert self.process is not None
        self.process.send_signal(sign)
        while sign is signal.SIGSTOP and self._holds_journal():
            self.process.send_signal(signal.SIGCONT)
            time.sleep(0.005)
            self.process.send_signal(sign)

    def _holds_journal(self) -> bool:
        time.sleep(0.002)  # a signal takes a moment
        journal = self.place.far / "main" / "journal.jsonl"
        if not journal.exists():
            return False
        with journal.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def history(self, what: str) -> int:
        """How many lines of this name this process has written into faxes' histories."""
        assert self.process is not None
        query = f"SELECT count(*) FROM history WHERE what = '{what}' AND node LIKE '%:{self.process.pid}'"
        return int(self.place.sql(query)[0][0])


class Client:
    """Hands mails in, one after the other, and remembers which got their 250."""

    def __init__(self) -> None:
        self.mails: dict[str, email.message.EmailMessage] = {}
        self.taken: set[str] = set()
        self.stop = threading.Event()

    def feed(self, nodes: list[Node], most: int) -> None:
        """Mails to the nodes in turn, until told to stop, or until one is not taken."""
        for n in range(most):
            if self.stop.is_set() or not self.hand_in(nodes[n % len(nodes)], self.write()):
                return

    def write(self) -> str:
        """Another mail; its number."""
        number = fresh()
        self.mails[number] = letter(f"Fax to {number}", files=[("a.pdf", "application/pdf", pdf(f"for {number}"))])
        return number

    def hand_in(self, node: Node, number: str) -> bool:
        """Whether it got its 250."""
        with contextlib.suppress(OSError, smtplib.SMTPException), node.smtp() as client:
            client.sendmail("ann@example.com", addresses(number), as_bytes(self.mails[number]))
            self.taken.add(number)
        return number in self.taken

    def repeat(self, node: Node) -> None:
        """What got no 250 is handed in again, as a mail server does."""
        for number in self.mails.keys() - self.taken:
            node.wait(partial(self.hand_in, node, number), 40, f"the mail to {number} to be taken")

    @contextlib.contextmanager
    def feeding(self, nodes: list[Node], most: int = 60) -> Iterator[None]:
        """Feed from a thread meanwhile."""
        feeder = threading.Thread(target=self.feed, args=(nodes, most))
        feeder.start()
        try:
            yield
        finally:
            self.stop.set()
            feeder.join(30)
            assert not feeder.is_alive()

    def called(self, place: Place) -> Counter[int]:
        """How many of these faxes were called how often."""
        counted = Counter(call.number for call in place.calls())
        return Counter(counted[number] for number in self.mails)


def until(ready: Callable[[], bool], patience: float, what: str) -> float:
    """Look very often; the seconds it took."""
    began = time.monotonic()
    while not ready():
        assert time.monotonic() - began < BUSY * patience, f"waited {patience} s for {what}"
    return time.monotonic() - began


def check(place: Place, clients: list[Client]) -> None:
    """Everything has ended: each fax called once, delivered, and told."""
    mails = {number: mail for client in clients for number, mail in client.mails.items()}
    assert mails
    counted = Counter(call.number for call in place.calls())
    assert {number: counted[number] for number in mails} == dict.fromkeys(mails, 1)
    states = place.sql("SELECT number, state FROM transmission")
    assert sorted(number for number, _ in states if number in mails) == sorted(mails)
    assert {state for number, state in states if number in mails} == {"delivered"}
    told: dict[str, set[str]] = {}
    for one in list(place.sink.letters):
        told.setdefault(str(one.mail["In-Reply-To"]), set()).add(str(one.mail["Message-ID"]))
    assert {number: len(told.get(str(mail["Message-ID"]), ())) for number, mail in mails.items()} == dict.fromkeys(mails, 1)

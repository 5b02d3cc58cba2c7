"""Mails taken a second, next to a private Postfix: `python -m bench.accept [--mails N] [--rounds N] [--nodes]`.

Both servers run in the same run on the same disk with fsync on, and get the same mails of 20 kB from the same client, in turn:
over 1, 10 and 50 connections that stay open, with PIPELINING, each connection one mail after the other's answer. Postfix throws
them away (`discard:`). A mail counts when its 250 has come: it is durable then. Our converters are stopped meanwhile
(SIGSTOP), as Postfix has no pages to make: it is taking mail that is compared. `working` shows it with the converters at work.

    --nodes    also one and two processes on one PostgreSQL, the connections divided between them

Everything runs on loopback, is bounded by --mails, and stops by itself. Needs root and the package postfix.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.flows import postfix
from tests.flows.house import DOMAIN, SENDER, House, as_bytes, letter, pdf
from tests.flows.nodes import Place
from tests.spool import postgres

CONNECTIONS = (1, 10, 50)
GOALS = {10: 0.6, 50: 0.9}
SIZE = 20_000
_counted = itertools.count()


@dataclass(slots=True)
class Run:
    """What one run showed."""

    seconds: float
    answers: list[float] = field(repr=False)
    """Seconds from the last octet of each mail to its 250."""
    cpu: float
    """Seconds of the server."""

    @property
    def rate(self) -> float:
        return len(self.answers) / self.seconds

    @property
    def p99(self) -> float:
        return sorted(self.answers)[int(len(self.answers) * 0.99)]


class Client(asyncio.Protocol):
    """One connection: hands mails in as long as there are some."""

    def __init__(self, mails: Iterator[tuple[bytes, bytes]], run: Run, done: asyncio.Future[None]) -> None:
        self._mails, self._run, self._done = mails, run, done
        self._expected = [b"220"]
        self._content, self._asked, self._ahead = b"", 0.0, b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._ahead = (self._ahead + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b" ":
                self._answer(line)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("closed in the middle"))

    def _answer(self, line: bytes) -> None:
        assert self._transport is not None
        wanted = self._expected.pop(0)
        if not line.startswith(wanted):
            self._done.set_exception(AssertionError(f"wanted {wanted!r}, got {line!r}"))
            self._transport.abort()
        elif wanted == b"220":
            self._expected = [b"250 "]
            self._transport.write(b"EHLO bench.example.com\r\n")
        elif wanted == b"354":
            self._expected = [b"250 "]
            self._transport.write(self._content)
            self._asked, self._content = time.perf_counter(), b""
        elif not self._expected:
            if self._asked:
                self._run.answers.append(time.perf_counter() - self._asked)
            self._next()

    def _next(self) -> None:
        assert self._transport is not None
        if (mail := next(self._mails, None)) is None:
            self._done.set_result(None)
            self._transport.close()
            return
        envelope, self._content = mail
        self._expected = [b"250", b"250", b"354"]
        self._transport.write(envelope)


def mails(n: int) -> list[tuple[bytes, bytes]]:
    """So many, each to a number of its own: envelope and content."""
    mail = letter("One page", None, message_id=False, files=[("one.pdf", "application/pdf", _page())])
    body = as_bytes(mail) + b".\r\n"
    made = []
    for k in itertools.islice(_counted, n):
        number = f"1415{555 + k // 10000 % 400}{k % 10000:04d}"
        envelope = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{number}@{DOMAIN}>\r\nDATA\r\n"
        made.append((envelope.encode(), b"Message-ID: <%d@bench.example.com>\r\n" % k + body))
    return made


def _page() -> bytes:
    """A PDF that makes a mail of the right size."""
    page = pdf("One page.")
    return page + b"%" + b"x" * (SIZE * 3 // 4 - 500 - len(page))


async def hand_in(ports: Sequence[int], connections: int, wanted: list[tuple[bytes, bytes]]) -> Run:
    """Everything over so many connections, divided between the ports."""
    loop, waiting = asyncio.get_running_loop(), iter(wanted)
    run, finished = Run(0, [], 0), [loop.create_future() for _ in range(connections)]
    clients = [Client(waiting, run, done) for done in finished]
    began = time.perf_counter()
    for n, client in enumerate(clients):
        await loop.create_connection(functools.partial(_itself, client), "127.0.0.1", ports[n % len(ports)])
    await asyncio.gather(*finished)
    run.seconds = time.perf_counter() - began
    return run


def _itself(client: Client) -> Client:
    return client


@dataclass(slots=True)
class Server:
    """One of those compared: how it is called, its processes, where it listens."""

    name: str
    pids: Sequence[int]
    ports: Sequence[int]

    def take(self, connections: int, n: int) -> Run:
        wanted, before = mails(n), _cpu(self.pids)
        run = asyncio.run(hand_in(self.ports, connections, wanted))
        run.cpu = _cpu(self.pids) - before
        return run


def _cpu(pids: Sequence[int]) -> float:
    """Seconds of some processes and what they have started; what has ended meanwhile is not counted."""
    used = 0.0
    for pid in pids:
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                used += sum(process.cpu_times()[:2])
    return used


@contextlib.contextmanager
def stopped(house: House) -> Iterator[None]:
    """Its converters do nothing for a while."""
    assert house.process is not None
    children = psutil.Process(house.process.pid).children(recursive=True)
    for child in children:
        child.suspend()
    try:
        yield
    finally:
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.resume()


def prepared(house: House) -> House:
    """Room for as many connections as there will be, and a converter that has started."""
    house.settings["smtp"] |= {"client_connections": 400, "max_connections": 400, "client_rate": 100_000}
    house.settings["carrier"] = {"main": {"kind": "loopback", "call_time": "0.01s"}}
    house.settings["work"].pop("lease", None)
    return house


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mails", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--nodes", action="store_true")
    asked = arguments.parse_args()
    if why := postfix.missing():
        raise SystemExit(f"bench.accept {why}")
    with tempfile.TemporaryDirectory(prefix="faxgate-bench-") as folder, postfix.running(in_flow_delay="0") as relay:
        assert relay.process is not None
        peer = Server("Postfix", [relay.process.pid], [relay.port])
        _one_process(Path(folder), peer, asked.mails, asked.rounds)
        if asked.nodes:
            _nodes(Path(folder), peer, asked.mails, asked.rounds)


def _one_process(folder: Path, peer: Server, n: int, rounds: int) -> None:
    house = prepared(House(folder))
    try:
        house.start()
        assert house.process is not None
        ours = Server("Faxgate", [house.process.pid], [house.smtp_port])
        ours.take(10, 50)  # everything is loaded
        with stopped(house):
            _compare(peer, ours, n, rounds)
        run = ours.take(10, n // 4)
        print(f"{'working':12} {10:3} connections   {_said(run)}")
    finally:
        house.close()


def _nodes(folder: Path, peer: Server, n: int, rounds: int) -> None:
    with postgres.server(fsync=True) as url:
        place = Place(folder / "place", postgres.database(url, "bench"))
        try:
            nodes = [prepared(place.node()) for _ in range(2)]
            for node in nodes:
                node.start()
            pids = [node.process.pid for node in nodes if node.process is not None]
            ports = [node.smtp_port for node in nodes]
            Server("", pids, ports).take(10, 50)
            with stopped(nodes[0]), stopped(nodes[1]):
                _compare(peer, Server("1 on PostgreSQL", pids[:1], ports[:1]), n, rounds)
                _compare(peer, Server("2 on PostgreSQL", pids, ports), n, rounds)
        finally:
            place.close()


def _compare(peer: Server, ours: Server, n: int, rounds: int) -> None:
    """Both in turn; the middle of the rounds."""
    for connections in CONNECTIONS:
        runs: dict[str, list[Run]] = {peer.name: [], ours.name: []}
        for _ in range(rounds):
            for server in (peer, ours):
                runs[server.name].append(server.take(connections, n if connections > 1 else n // 4))
        for name, some in runs.items():
            some.sort(key=lambda run: run.rate)
            print(f"{name:15} {connections:3} connections   {_said(some[len(some) // 2])}")
        ratios = [our.rate / their.rate for our, their in zip(runs[ours.name], runs[peer.name], strict=True)]
        goal = f", wanted {GOALS[connections]}" if connections in GOALS else ""
        print(f"{'':15} {connections:3} connections   {statistics.median(ratios):.2f} of Postfix's rate{goal}", flush=True)


def _said(run: Run) -> str:
    middle = statistics.median(run.answers) * 1000
    return (
        f"{run.rate:6.0f} mails/s   250 after p50 {middle:5.1f} ms, p99 {run.p99 * 1000:5.1f} ms"
        f"   {run.cpu / len(run.answers) * 1000:4.2f} ms of CPU a mail"
    )


if __name__ == "__main__":
    main()

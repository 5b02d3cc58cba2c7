"""The crash matrix: a node is killed, or frozen past its leases, at every named step; the far end's calls are counted.

In one column one spool goes through all the crashes. Where there are two nodes, the other one is frozen while the victim
takes mails, so that the step is the victim's own, and goes on when the victim is gone. A victim that was frozen is woken
after the others have finished everything. Where there is one node, each is frozen on a spool of its own, all for the same
time: the woken process itself finds that its leases are over. The matrix is printed at the end of the run.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.flows import trapline
from tests.flows.house import Letter
from tests.flows.matrix import STEP, Matrix
from tests.flows.nodes import LEASE, Client, Node, Place, check, until
from tests.spool import postgres

Look = Callable[[], bool]


def rows(query: str) -> Callable[[Node], Look]:
    """Seen when the query has a row that was not there when the victim started."""

    def look(node: Node) -> Look:
        before = set(node.place.sql(query))
        return lambda: not before.issuperset(node.place.sql(query))

    return look


def telling(node: Node) -> Look:
    """The mail server has the report and has not said 250 yet; it waits a moment, or until the victim is gone."""
    begun = threading.Event()

    def taken(_letter: Letter) -> None:
        node.place.sink.taken = None
        begun.set()
        time.sleep(0.3)

    node.place.sink.taken = taken
    return begun.is_set


def trapped(node: Node) -> Look:
    """The victim has done it itself."""
    process = node.process
    assert process is not None
    return lambda: process.poll() is not None or _stopped(process.pid)


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


STEPS: dict[str, Callable[[Node], Look]] = {
    "accepted": rows("SELECT subject FROM step WHERE kind = 'prepare' AND token IS NULL"),
    "preparing": rows("SELECT subject FROM step WHERE kind = 'prepare' AND token IS NOT NULL"),
    "ready": rows("SELECT id FROM transmission WHERE state = 'ready'"),
    "attempt opening": trapped,
    "sent, not recorded": trapped,
    "submitted": rows("SELECT id FROM attempt WHERE state = 'submitted'"),
    "event stored": rows("SELECT id FROM event WHERE applied_at IS NULL"),
    "ended": rows("SELECT id FROM outbox WHERE state = 'waiting'"),
    "telling": telling,
    "told": rows("SELECT id FROM outbox WHERE state = 'sent'"),
}
TRAPS = {"attempt opening": "before", "sent, not recorded": "after"}
COLUMNS = {
    "SQLite, killed": ("", 1, signal.SIGKILL),
    "PostgreSQL, killed": ("postgresql", 1, signal.SIGKILL),
    "PostgreSQL ×2, killed": ("postgresql", 2, signal.SIGKILL),
    "PostgreSQL ×2, frozen": ("postgresql", 2, signal.SIGSTOP),
}
ALONE = {"SQLite, frozen": "", "PostgreSQL, frozen": "postgresql"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


def crash(place: Place, victim: Node, step: str, sign: signal.Signals) -> Client:
    """Feed a fresh victim until it is seen at the step, and there it ends."""
    client = Client()
    chosen, trap = client.write(), TRAPS.get(step, "")
    victim.settings["carrier"]["main"] |= {"trap": trap, "trap_number": chosen, "sign": sign.name}
    if sign is signal.SIGSTOP:
        victim.settings["work"]["calls"] = 1  # the trapped call is the only one
    victim.start()
    look = STEPS[step](victim)
    with client.feeding([victim], 10 if trap else 60):
        client.hand_in(victim, chosen)
        until(look, 20, f"the step “{step}”")
        if not trap:
            victim.sign(sign)
    if sign is signal.SIGKILL:
        victim.kill()
    place.sink.taken = None
    return client


def go_through(place: Place, nodes: int, sign: signal.Signals) -> dict[str, Client]:
    """Every step one after the other on one spool; then everything has to end."""
    survivor = place.node() if nodes == 2 else None
    if survivor is not None:
        survivor.start()
    victim, clients = place.node(), dict[str, Client]()
    for step in STEPS:
        if survivor is not None:
            survivor.sign(signal.SIGSTOP)
        clients[step] = crash(place, victim, step, sign)
        if survivor is not None:
            survivor.sign(signal.SIGCONT)
            clients[step].repeat(survivor)
        if sign is signal.SIGSTOP:
            victim = place.node()  # the frozen one is needed later
    if survivor is None:
        victim.settings["carrier"]["main"]["trap"] = ""
        victim.start()
    last = survivor or victim
    for client in clients.values():
        client.repeat(last)
    last.wait(place.finished, 60, "the end of everything")
    return clients


def wake(place: Place) -> None:
    """Every frozen node goes on where it was."""
    for node in place.nodes:
        if node.process is not None:
            node.sign(signal.SIGCONT)
    until(lambda: all(node.get("/healthz")[0] == 200 for node in place.nodes if node.process), 20, "all to be awake")
    time.sleep(1.0)  # what they had in hand
    place.nodes[0].wait(place.finished, 30, "the end of everything")


@pytest.mark.needs("postgres")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("column", COLUMNS)
def test_que_01_at_every_step(
    column: str, matrix: Matrix, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, nodes, sign = COLUMNS[column]
    monkeypatch.setenv("PYTHONPATH", str(trapline.install(tmp_path / "site")))
    database = postgres.database(server, f"matrix{list(COLUMNS).index(column)}") if kind else ""
    place = Place(tmp_path / "place", database)
    try:
        clients = go_through(place, nodes, sign)
        if sign is signal.SIGSTOP:
            wake(place)
        for step, client in clients.items():
            matrix.enter(STEP, step, column, place, client)
        check(place, list(clients.values()))
    finally:
        place.close()


def awake(place: Place, client: Client) -> None:
    """The one node goes on where it was, a lease later, and finishes everything itself."""
    (node,) = place.nodes
    node.sign(signal.SIGCONT)
    client.repeat(node)
    node.wait(place.finished, 60, "the end of everything")
    assert node.process is not None
    assert node.process.poll() is None


@pytest.mark.needs("postgres")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("column", ALONE)
def test_que_01_one_node_frozen_at_every_step(
    column: str, matrix: Matrix, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(trapline.install(tmp_path / "site")))
    databases = [postgres.database(server, f"alone{n}") if ALONE[column] else "" for n in range(len(STEPS))]
    places = {step: Place(tmp_path / f"place{n}", databases[n]) for n, step in enumerate(STEPS)}
    for place in places.values():
        place.node()
    try:
        with ThreadPoolExecutor(3) as several:
            frozen = {s: several.submit(crash, place, place.nodes[0], s, signal.SIGSTOP) for s, place in places.items()}
            clients = {step: future.result() for step, future in frozen.items()}
        time.sleep(LEASE + 1)
        with ThreadPoolExecutor(3) as several:
            list(several.map(awake, places.values(), clients.values()))
        for step, place in places.items():
            matrix.enter(STEP, step, column, place, clients[step])
            check(place, [clients[step]])
        tried = {step: places[step].sql("SELECT count(*) FROM attempt WHERE state <> 'delivered'")[0][0] for step in TRAPS}
        assert tried == {"attempt opening": 1, "sent, not recorded": 0}, "too late for the call, and too late for its receipt"
    finally:
        for place in places.values():
            place.close()
